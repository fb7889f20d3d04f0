//! The few errors that the crate makes itself. All others are the operating system's, and are passed on as they are.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use crate::interests::Interests;

/// What the closed error carries, so that [`is_closed`] can tell it from the error of a broken stream.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is closed: nothing can be registered, woken or polled any more")
    }
}

impl Error for Closed {}

/// The loop was closed by `close_loop` or by dropping its `Poll`.
pub(crate) fn closed() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, Closed)
}

/// Whether `error` says that the event loop was closed, by
/// [`Registrator::close_loop`](crate::Registrator::close_loop) or by dropping its [`Poll`](crate::Poll).
///
/// Such an error has the kind [`BrokenPipe`](ErrorKind::BrokenPipe). A `write` to a stream can fail with that kind too,
/// and this function tells the two apart. (The kind is not [`Interrupted`](ErrorKind::Interrupted), because many loops
/// try again when they see that one.)
///
/// ```
/// let mut poll = minimio::Poll::new()?;
/// let registrator = poll.registrator();
/// registrator.close_loop()?;
/// let error = registrator.wake(0).unwrap_err();
/// assert!(minimio::is_closed(&error));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn is_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// `disarm` or `deregister` of a source that was never registered with this `Poll`.
pub(crate) fn not_registered() -> io::Error {
    io::Error::new(
        ErrorKind::NotFound,
        "the source is not registered with this Poll: register it first",
    )
}

/// `register` of a source that belongs to another `Poll`.
pub(crate) fn other_poll() -> io::Error {
    io::Error::new(
        ErrorKind::AlreadyExists,
        "the source belongs to the Poll with which it was registered first: use the Registrator of that Poll",
    )
}

/// `register` of a descriptor that the queue of the system does not take.
#[cfg(unix)]
pub(crate) fn not_watchable() -> io::Error {
    io::Error::new(
        ErrorKind::Unsupported,
        "the system cannot watch this descriptor: a plain file, a directory or a device that never blocks. Read it with \
         `std`, on a thread if it is slow",
    )
}

/// `register` of a descriptor that another source of the same `Poll` watches.
#[cfg(unix)]
pub(crate) fn watched_twice() -> io::Error {
    io::Error::new(
        ErrorKind::AlreadyExists,
        "another source of this Poll watches this descriptor: drop that one first, or duplicate the descriptor",
    )
}

/// The end of a child cannot be watched.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn no_child_exit() -> io::Error {
    io::Error::new(
        ErrorKind::Unsupported,
        "the kernel does not have pidfd_open (Linux 5.3), or a sandbox refuses it: call `wait` on a thread",
    )
}

/// `register` of a socket that the system does not tie to the completion port. The system has one code for both causes
/// that the text names, and no documented way to tell them apart.
#[cfg_attr(not(windows), allow(dead_code))] // Only Windows has this error.
pub(crate) fn tied_elsewhere() -> io::Error {
    io::Error::new(
        ErrorKind::AlreadyExists,
        "the socket or pipe cannot be tied to this Poll: either it, or a duplicate of it, was tied to another Poll or completion \
         port, which lasts as long as it does; or it was made without WSA_FLAG_OVERLAPPED, or a pipe without FILE_FLAG_OVERLAPPED",
    )
}

/// `register` of a handle that is no pipe's, as one.
#[cfg_attr(not(windows), allow(dead_code))] // Only Windows has this error.
pub(crate) fn not_a_pipe() -> io::Error {
    invalid_input("the handle is not that of a pipe")
}

/// `create` of a pipe that nobody could use.
#[cfg_attr(not(windows), allow(dead_code))] // Only Windows has this error.
pub(crate) fn useless_pipe() -> io::Error {
    invalid_input("a pipe must be inbound, outbound or both, and have at least one instance")
}

/// `register` or `disarm` without an interest.
pub(crate) fn no_interests() -> io::Error {
    invalid_input("no interest given: ask for READABLE, WRITABLE or both")
}

/// An interest with bits that have no meaning.
pub(crate) fn unknown_interests() -> io::Error {
    invalid_input("unknown bits in the interests: use READABLE and WRITABLE only")
}

/// An interest that a source cannot have, in any call that takes an interest.
pub(crate) fn never(interests: Interests) -> io::Error {
    invalid_input(match interests.is_writable() {
        true => "a listener, the reader of a pipe and what only ends is never writable: use READABLE alone",
        false => "the writer of a pipe is never readable: use WRITABLE alone",
    })
}

/// `try_io` with no interest, or with both.
pub(crate) fn not_one_interest() -> io::Error {
    invalid_input("try_io makes a call in one direction: give it either READABLE or WRITABLE")
}

/// `poll` with a batch that can take no event.
pub(crate) fn no_capacity() -> io::Error {
    invalid_input("the batch has no room: make it with Events::with_capacity(1) or more")
}

/// `try_io` while bytes or a datagram wait in memory of the crate, where a call on the socket does not find them.
#[cfg_attr(not(windows), allow(dead_code))] // Only Windows has this error.
pub(crate) fn bytes_unread() -> io::Error {
    invalid_input(
        "bytes or a datagram were received into memory of minimio and wait there: read them first, or call \
         set_lent_buffer(0) before the first registration, which leaves them in the socket",
    )
}

/// `try_io` of a listener that has accepted a connection already.
#[cfg_attr(not(windows), allow(dead_code))] // Only Windows has this error.
pub(crate) fn connection_held() -> io::Error {
    invalid_input("the listener has accepted a connection that waits: take it with `accept` first")
}

fn invalid_input(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}
