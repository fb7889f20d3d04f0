//! The public sockets: each documented once, each method one call of its backend namesake.

mod tcp;
mod udp;

pub use tcp::{IntoStdError, TcpListener, TcpStream};
pub use udp::UdpSocket;
