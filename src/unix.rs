//! What the two Unix backends share: everything but the system's queue itself.
//!
//! Both epoll and kqueue can be asked for *edges*: a report when a condition comes true. This crate promises
//! *completions*: each registration yields one event. Between the two stands a state machine in user space
//! ([`readiness`]), and the rest is plumbing:
//!
//! ```text
//!   sources    TcpStream, TcpListener, UdpSocket: makes the calls, tells the state machine how they ended
//!      |    selector         the loop around a wait
//!      |   /
//!   queue      one Poll: which source sits in which slot, what the wait is numbered, the wakes, the closing
//!      |   \
//!      |    slots, wakes      a table with generations; a set of tokens
//!   readiness  what is armed, and what the kernel still owes
//!   ending     how a stream has ended, and what is still to be told of it
//! ```
//!
//! A backend adds a type that implements [`queue::System`] and [`selector::Wait`]: it translates, and no more.

mod datagrams;
pub(crate) mod ending;
pub(crate) mod ffi;
mod listener;
pub(crate) mod queue;
pub(crate) mod readiness;
pub(crate) mod selector;
pub(crate) mod slots;
pub(crate) mod source;
mod stream;
pub(crate) mod wakes;

pub(crate) use datagrams::UdpSocket;
pub(crate) use listener::TcpListener;
pub(crate) use stream::TcpStream;

use std::os::fd::BorrowedFd;

use crate::interests::Interests;

/// Which of `interests` hold right now, by `poll(2)` with a zero time-out: the bits that make an edge ready, and no
/// pending error is consumed.
pub(crate) fn confirm(fd: BorrowedFd<'_>, interests: Interests) -> Interests {
    let broken = ffi::POLLERR | ffi::POLLHUP;
    let mut events = 0;
    if interests.is_readable() {
        events |= ffi::POLLIN;
    }
    if interests.is_writable() {
        events |= ffi::POLLOUT;
    }
    // It cannot fail with one descriptor; if it did, the edge is what we know.
    let found = ffi::poll_now(fd, events).unwrap_or(events);
    let mut ready = Interests::empty();
    ready.set(Interests::READABLE, found & (ffi::POLLIN | broken) != 0);
    ready.set(Interests::WRITABLE, found & (ffi::POLLOUT | broken) != 0);
    ready & interests
}

/// Whether the connection of a socket is gone, or never was. A look that fails shows nothing.
pub(crate) fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    let found = ffi::poll_now(socket, 0).unwrap_or(0);
    found & (ffi::POLLERR | ffi::POLLHUP) != 0
}
