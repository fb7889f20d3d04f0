//! What Windows alone has: a handle to wait for.

#[cfg(not(windows))]
use super::elsewhere::windows as system;
/// What the sources are made of.
#[cfg(windows)]
mod system {
    pub(super) use crate::backend;
    pub(super) use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
}

mod waitable;

pub use waitable::Waitable;
