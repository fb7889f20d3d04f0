//! What Unix alone has: any descriptor as a source, and the sockets that have a path instead of an address.

mod datagram;
mod descriptor;
mod stream;

pub use datagram::UnixDatagram;
pub use descriptor::Descriptor;
pub use stream::{UnixListener, UnixStream};
