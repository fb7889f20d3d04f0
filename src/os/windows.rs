//! What Windows alone has: named pipes, and handles to wait for.

#[cfg(not(windows))]
use super::elsewhere::windows as system;
/// What the sources are made of.
#[cfg(windows)]
mod system {
    pub(super) use crate::backend::{self, ffi};
    pub(super) use std::os::windows::io::{
        AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle,
    };
}

mod named_pipe;
mod waitable;

pub use named_pipe::{NamedPipe, NamedPipeOptions};
pub use waitable::Waitable;
