//! What Unix alone has: any descriptor as a source, and the sockets that have a path instead of an address.

#[cfg(not(unix))]
use super::elsewhere::unix as system;
/// What the sources are made of.
#[cfg(unix)]
mod system {
    pub(super) use crate::backend;
    pub(super) use crate::unix::readiness::Kind;
    pub(super) use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
    pub(super) use std::os::unix::net;
}

mod datagram;
mod descriptor;
mod stream;

pub use datagram::UnixDatagram;
pub use descriptor::Descriptor;
pub use stream::{UnixListener, UnixStream};
