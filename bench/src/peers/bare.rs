//! `bare`: a loop that uses the system's queue directly. The others are compared with it.
//! `bare-again` is the same code compiled once more. The difference between the two is noise.

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
