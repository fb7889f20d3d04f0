//! The few errors that are ours and not the operating system's: one function each.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// What an `io::Error` of a closed loop carries, so that it can be told from that of a broken stream.
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
/// The kind of such an error is [`BrokenPipe`](ErrorKind::BrokenPipe), which a `write` to a stream can have, too: this
/// function knows one from the other. (It is not [`Interrupted`](ErrorKind::Interrupted), which many loops try again.)
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

/// `deregister` of a source that this `Poll` does not know.
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
        "the source belongs to the Poll with which it was registered first: use that one's Registrator",
    )
}

/// `register` of a socket that the system does not tie to the port. It has one code for both causes, and no documented way to
/// tell them apart.
#[cfg(any(windows, all(loom, test)))]
pub(crate) fn tied_elsewhere() -> io::Error {
    io::Error::new(
        ErrorKind::AlreadyExists,
        "the socket cannot be tied to this Poll: it, or a duplicate of it, belongs to another Poll or completion port for life, \
         or it was made without WSA_FLAG_OVERLAPPED",
    )
}

/// `register` without an interest.
pub(crate) fn no_interests() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "no interest given: ask for READABLE, WRITABLE or both",
    )
}

/// `register` with bits that are no interest.
pub(crate) fn unknown_interests() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "unknown bits in the interests: use READABLE and WRITABLE only",
    )
}

/// `register` of a listener with `WRITABLE`, and the other calls that take an interest.
pub(crate) fn listener_not_writable() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "a listener is never writable: use READABLE alone",
    )
}

/// `try_io` with no interest, or with both.
pub(crate) fn not_one_interest() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "try_io makes one call in one direction: give it READABLE or WRITABLE, and not both",
    )
}

/// `poll` with a batch that can take no event.
pub(crate) fn no_capacity() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "the batch has no room: make it with Events::with_capacity(1) or more",
    )
}

/// `try_io` while bytes or a datagram that were received wait in memory of ours, where no call finds them.
#[cfg(any(windows, all(loom, test)))]
pub(crate) fn bytes_unread() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "what was received before it was asked for waits unread: read it first, or call set_lent_buffer(0) before the first \
         registration, which keeps it in the socket",
    )
}

/// `try_io` of a listener that has accepted a connection already.
#[cfg(any(windows, all(loom, test)))]
pub(crate) fn connection_held() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "a connection that was accepted before it was asked for waits: take it with `accept` first",
    )
}
