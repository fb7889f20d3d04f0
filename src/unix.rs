//! What the two Unix backends share: everything but the queue of the system itself.
//!
//! epoll and kqueue report *edges*: one report when a condition comes true. This crate promises *completions*: one
//! event for each registration. A state machine in user space ([`readiness`]) makes the one of the other. The rest
//! brings calls, edges and wakes to it:
//!
//! ```text
//!   stream, listener, datagrams, pipe     the calls of each sort of source
//!      |
//!   source     makes a call, and tells the state machine how it ended
//!      |    selector                the loop around a wait
//!      |   /
//!   queue      one Poll: which source sits in which slot, the number of the wait, the wakes, the closing
//!      |   \
//!      |    slots, wakes            a table with generations; a set of tokens
//!   readiness  what is armed, and what the kernel still owes
//!   ending     how a stream has ended, and what of that the user is still to be told
//! ```
//!
//! A backend adds a type that implements [`queue::System`] and [`selector::Wait`], which translate and do no more.
//!
//! # Glossary
//! The words that are this crate's own:
//!
//! | word | meaning |
//! | --- | --- |
//! | ask | To tell the kernel which directions of a source to report. It reports at once what holds already. |
//! | armed | A direction is armed while a registration waits for its event. |
//! | owed | A direction is owed if the kernel will report whatever makes it ready, now or later. |
//! | reaped, handled | A wait reaps an edge from the kernel. The edge is handled when it is turned into events. |
//! | tick | The count of the handled edges of a direction. A call that began at an older tick proves nothing. |
//! | note | The record that a call has met the end of the data or of the room, with the tick at which the call began. |
//! | mark | What the last edge of a direction said of short transfers. It is part of the tick. |
//! | stamp | The count of the askings of a slot. The kernel hands it back with each edge, so an old edge shows. |
//! | wasted | A wake-up of the polling thread by an edge that fires no event is wasted. |
//! | notice | What `wake` and `close_loop` put into the queue of the system, so that a wait ends. |

mod child;
mod datagrams;
mod descriptor;
pub(crate) mod ending;
pub(crate) mod ffi;
mod listener;
mod pipe;
pub(crate) mod queue;
pub(crate) mod readiness;
pub(crate) mod selector;
pub(crate) mod slots;
pub(crate) mod source;
mod stream;
pub(crate) mod wakes;

pub(crate) use child::ChildExit;
pub(crate) use datagrams::{UdpSocket, UnixDatagram};
pub(crate) use descriptor::Descriptor;
pub(crate) use listener::{TcpListener, UnixListener};
pub(crate) use pipe::{pipe, PipeReader, PipeWriter};
pub(crate) use stream::{TcpStream, UnixStream};

use std::os::fd::RawFd;

use crate::interests::Interests;

/// Which of `interests` hold right now. `poll(2)` with a time-out of zero knows the same conditions as an edge, and
/// leaves a pending error where it is.
pub(crate) fn confirm(fd: RawFd, interests: Interests) -> Interests {
    let broken = ffi::POLLERR | ffi::POLLHUP;
    let mut events = 0;
    if interests.is_readable() {
        events |= ffi::POLLIN;
    }
    if interests.is_writable() {
        events |= ffi::POLLOUT;
    }
    // This cannot fail with one descriptor. If it did, the edge would be all that is known.
    let found = ffi::poll_now(fd, events).unwrap_or(events);
    let mut ready = Interests::empty();
    ready.set(Interests::READABLE, found & (ffi::POLLIN | broken) != 0);
    ready.set(Interests::WRITABLE, found & (ffi::POLLOUT | broken) != 0);
    ready & interests
}

/// Whether the connection of a socket is gone or has never been there. If the call fails, this is `false`.
pub(crate) fn has_hung_up(socket: RawFd) -> bool {
    let found = ffi::poll_now(socket, 0).unwrap_or(0);
    found & (ffi::POLLERR | ffi::POLLHUP) != 0
}
