//! `bare`: the floor. A loop straight on the system's queue, with nothing in between.
//!
//! `bare-again` is the same code compiled once more: how far the two are apart is what noise looks like.

#[cfg(target_os = "linux")]
pub mod epoll;
#[cfg(windows)]
mod iocp;

#[cfg(target_os = "linux")]
pub use epoll::Bare;
#[cfg(windows)]
pub use iocp::Bare;
