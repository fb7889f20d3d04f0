//! The public sockets. Each is documented once, and each of its methods makes one call of the backend's type of the
//! same name. `socket.rs` has the traits that all of them implement in the same way.

mod into_std;
mod socket;
mod tcp;
mod udp;

pub use into_std::IntoStdError;
pub(crate) use socket::{reads, writes};
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
