//! `bare`: the floor. A loop straight on the system's queue, with nothing in between.
//!
//! `bare-again` is the same code compiled once more: how far the two are apart is what noise looks like.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(windows)]
mod iocp;
#[cfg(all(unix, not(target_os = "linux")))]
mod kqueue;
#[cfg(unix)]
mod socket;

#[cfg(target_os = "linux")]
pub use epoll::{new_set, wait, watch, Bare, Batch};
#[cfg(windows)]
pub use iocp::Bare;
#[cfg(all(unix, not(target_os = "linux")))]
pub use kqueue::{new_set, wait, watch, Bare, Batch};
