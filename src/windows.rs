//! The backend for Windows: one completion port, and documented calls only.
//!
//! A completion port does not say that something *can* be done, it says that something *was* done. So what a program wants
//! to wait for has to be started first, with memory that belongs to the kernel until the port hands out a packet.
//! Registering `READABLE` on a stream therefore lends a buffer to the kernel and starts a receive; the packet of that
//! receive is the event, and `read` serves the bytes that came with it. The other directions follow the same idea: a
//! listener starts an accept, and a stream that is to be connected starts a connect. A write that finds the socket full
//! starts a send of a copy, and the end of that send is the writable event. An interest whose condition already holds
//! needs no operation: for it we make a packet ourselves.
//!
//! The price: memory is bound while nothing happens ([`lending`] puts a bound on it). What was started cannot be called
//! back, only cancelled and waited for ([`operation`] says who owns it until then). And received bytes are in our buffer, so
//! a `read` must look there first. While a receive is in flight it must not ask the socket, or later bytes would overtake
//! those of the receive ([`stream`]).
//!
//! # Glossary
//! - **direction**: receiving or sending of one source, with an operation and a lock of its own. A listener has one.
//! - **flight**: an operation from its start until its packet was taken. The port has a table of all flights.
//! - **file**: what a stream reads and writes: a socket or a pipe. In what the two differ is its **transport**.
//! - **lent**: memory that the kernel may write to or read from until the flight has ended.
//! - **note**, **wake**, **signal**, **nudge**: the packets that we make ourselves; the head of [`port`] says what for. A note
//!   is posted only if a poll waits, and is in memory otherwise.
//! - **pump**: to take and handle packets on a thread that does not poll, without waiting for any.
//! - **claim**: to lock a direction for a call on the socket, after a pump if an operation is in the way of that call.
//! - **hold back**: to let no operation start while a call of the user's own is on.
//! - **raided**: of a receive that lends no memory, that somebody has read from the socket since it started. Its end does
//!   not prove that there is still something to read.
//! - **membership**: to which port a source belongs. Windows ties a socket to one port for life. A source that is closed
//!   **leaves** its port.
//! - **close**, **abandon**, **give up**: what ends a direction: its source is dropped or given back; the `Poll` is dropped;
//!   the time of a deferred close is over.
//! - **orphan**: the socket of a source that was dropped during a send. Its **deferred close** comes when the send ends.
//! - **reaper**: a thread that takes the packets that are still to come when the `Poll` was dropped.
//!
//! # What the first version had wrong
//! The crate began as an exercise whose Windows part showed the principle with one `WSARecv`. These are the mistakes of that
//! version, and what this one does instead:
//! - It took "pending" for the only good answer. A call may also succeed at once, and then its packet comes just the same
//!   ([`ffi`]).
//! - It tied the socket to the port with each registration. The tie lasts for life, and making it again is an error.
//! - It took the completion key for the operation. The key names the socket; which operation has ended, only the address
//!   of its state block tells ([`operation`]).
//! - Its events pointed to the operation, which may have been freed when the user looks at the event. Events here are
//!   copies. It also took every packet for a success, but failed operations have packets, too.
//! - It freed memory while the kernel had it, or kept all of it in a list that only grew. The memory of an operation and
//!   its buffer belong to the kernel until the packet is taken, whatever is dropped before, and a buffer is lent to one
//!   receive at a time.
//! - Its `read` gave the whole buffer, or what an earlier message had left in it, or an end of stream where there was
//!   none. What `read` gives here is what the packet's byte count says, from where the last read has stopped.
//! - It closed the port under a thread that waited there, which need not even wake that thread. Here a wake or a close is
//!   a packet without a pointer, and the port stays open as long as anybody has it.
//! - It panicked in `drop`, and its connect blocked.
//!
//! # Manual
//! [I/O completion ports](https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports),
//! [overlapped I/O](https://learn.microsoft.com/windows/win32/winsock/overlapped-i-o-and-event-objects-2).

#[cfg(windows)]
mod child;
mod direction;
#[cfg_attr(all(loom, test), path = "../verify/windows/kernel.rs")]
pub(crate) mod ffi;
pub(crate) mod lending;
mod listener;
mod operation;
#[cfg(windows)]
mod pipe;
mod port;
mod status;
mod stream;
mod udp;
mod waitable;
mod waits;
mod wakes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Events;
use crate::hooks::sync::{net, thread};
use crate::interests::Token;
use crate::timeout::Deadline;
#[cfg(windows)]
pub(crate) use child::ChildExit;
pub(crate) use listener::TcpListener;
#[cfg(windows)]
pub(crate) use pipe::{pipe, PipeReader, PipeWriter};
use port::Port;
pub(crate) use stream::{NamedPipe, TcpStream};
pub(crate) use udp::UdpSocket;
pub(crate) use waitable::Waitable;

/// The most packets that one wait takes, however large the batch: 32 bytes each.
const MAX_PACKETS: usize = 1024;

/// The waiting end of the port.
#[derive(Debug)]
pub(crate) struct Selector {
    port: Arc<Port>,
    packets: Vec<ffi::OVERLAPPED_ENTRY>,
}

impl Selector {
    pub(crate) fn new(lent_limit: usize) -> io::Result<Selector> {
        Ok(Selector {
            port: Arc::new(Port::new(lent_limit)?),
            packets: Vec::new(),
        })
    }

    pub(crate) fn registrator(&self) -> Registrator {
        Registrator {
            port: Arc::clone(&self.port),
        }
    }

    /// Takes no more packets than there is room for events. Each packet makes at most one event, so none is left over.
    pub(crate) fn select(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let deadline = Deadline::after(timeout);
        let room = events.room().min(MAX_PACKETS);
        if self.packets.len() < room {
            self.packets.resize(room, ffi::OVERLAPPED_ENTRY::zeroed());
        }
        // How many packets without an event were taken after the time was over.
        let mut late = 0;
        loop {
            // Asked before the wait, so that the packets that were on the port when the loop was closed still become events.
            let closed = self.port.wakes().is_closed();
            // So does a wake that was accepted before, although its packet may not be on the port yet.
            let awaited = closed && self.port.wakes().is_posting();
            let timeout = match closed {
                true => Some(Duration::ZERO),
                false => deadline.remaining(),
            };
            let count = self.port.wait(&mut self.packets[..room], timeout)?;
            for packet in &self.packets[..count] {
                self.port.handle(packet, Some(events));
            }
            if !events.is_empty() {
                return Ok(events.len());
            }
            if awaited {
                thread::yield_now();
                continue;
            }
            // The system may end the wait a little early, by a tick of its clock, so the deadline is asked again.
            if closed || deadline.remaining() == Some(Duration::ZERO) {
                // There may be an event behind packets without one, so we go on. But not for ever: packets without an event
                // may come as fast as we take them, for instance from a listener that meets only dead connections.
                late += count;
                if count == 0 || late > MAX_PACKETS {
                    return Ok(0);
                }
            }
        }
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        self.port.abandon();
    }
}

/// What registers, wakes and closes.
#[derive(Debug, Clone)]
pub(crate) struct Registrator {
    port: Arc<Port>,
}

impl Registrator {
    pub(crate) fn wake(&self, token: Token) -> io::Result<()> {
        self.port.wake(token)
    }

    pub(crate) fn close_loop(&self) -> io::Result<()> {
        self.port.close()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.port.wakes().is_closed()
    }

    pub(crate) fn lent_bytes(&self) -> usize {
        self.port.lending().lent_bytes()
    }
}

/// The system's code of a failure, if it is one of the system's.
fn code_of<R>(result: &io::Result<R>) -> Option<ffi::Code> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Closes the socket of a connection, whatever its linger time.
///
/// If a linger time is set, Windows does not close a non-blocking socket that has unsent bytes: the call fails and the socket
/// stays open, which `std` would not notice. Then the time is taken away and the socket closed again, so that the system
/// sends the bytes in the background. Asking for the time first would cost every close one more call.
fn close_connection(stream: net::TcpStream) {
    if let Some(socket) = ffi::close_socket(stream.into()) {
        ffi::set_graceful_close(ffi::socket_of(&socket));
        ffi::close_socket(socket);
    }
}

/// The error of a call that has nothing to do right now.
fn would_block() -> io::Error {
    io::Error::from_raw_os_error(ffi::WSAEWOULDBLOCK)
}

/// The error of giving back a source that has memory lent to the kernel or holds something unread.
fn still_lent() -> io::Error {
    io::Error::new(
        io::ErrorKind::WouldBlock,
        "the source has memory lent to the kernel, or holds what was not read yet: read it, or wait for its event, first",
    )
}
