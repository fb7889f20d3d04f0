//! How a source is registered, which is where the systems differ.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

use std::io;

/// The error of a source that is registered already.
pub(crate) fn registered_already() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the source is registered already: use `reregister`, or `deregister` it first",
    )
}

/// The error of a source that is not registered.
pub(crate) fn not_registered() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the source is not registered: use `register` first",
    )
}

/// The outcome of a call on a registration, which does not matter once the `Poll` is gone.
pub(crate) fn unless_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if minimio::is_closed(&error) => Ok(()),
        outcome => outcome,
    }
}
