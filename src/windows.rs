//! The backend for Windows: one completion port, and documented calls only.
//!
//! A completion port does not say that something *can* be done, it says that something *was* done: so whatever is to be
//! waited for has to be started first, into memory that is the kernel's until the port hands back a packet. Registering
//! `READABLE` on a stream therefore lends a buffer and starts a receive; its packet is the event, and `read` serves the
//! bytes that came with it. The other directions follow the same idea: a listener starts an accept, a stream that is to be
//! connected starts a connect, a write that finds the socket full starts a send of a copy, and the end of that send is
//! the writable event. An interest whose condition already holds needs no operation, and gets a packet that we post.
//!
//! The price: memory is bound while nothing happens ([`lending`] puts a bound on it); what was started cannot be called
//! back, only waited for ([`operation`] says who owns it until then); and the bytes are in our buffer, so a `read` must
//! look there first and never past a receive that is in flight, or it would overtake it ([`stream`]).
//!
//! # What the first version had wrong
//! The crate began as an exercise, and its Windows part showed the principle with one `WSARecv`. From it this one learned
//! what else belongs to it:
//! - "Pending" is what is expected, but success at once is an answer too and brings a packet just the same ([`ffi`]).
//! - The tie of a socket to a port lasts for life; making it again with each registration is an error.
//! - The completion key names the socket. Which operation ended, only its address tells ([`operation`]).
//! - An event that still points to an operation when the user looks at it points to freed memory one day: events here are
//!   copies. Failed operations have packets too, and are not events of success.
//! - The memory of an operation belongs to the kernel until its packet is taken, whatever is dropped before. So does a
//!   buffer, which is lent to one receive at a time. A list that only grows is safe, but is a leak.
//! - What `read` gives is what the packet's byte count says, from where the last read stopped: not the whole buffer, not
//!   what an earlier message left in it, and no end of stream where there is none.
//! - A wake or a close is a packet without a pointer. The port stays open as long as anybody has it: closing it under a
//!   thread that waits there need not even wake it.
//! - Nothing panics in `drop`, and no connect blocks.
//!
//! # Manual
//! [I/O completion ports](https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports),
//! [overlapped I/O](https://learn.microsoft.com/windows/win32/winsock/overlapped-i-o-and-event-objects-2).

#[cfg_attr(all(loom, test), path = "../verify/windows/kernel.rs")]
pub(crate) mod ffi;
pub(crate) mod lending;
mod listener;
mod operation;
mod port;
mod status;
mod stream;
mod udp;
mod waits;
mod wakes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Events;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{net, thread};
use crate::interests::{Interests, Token};
use crate::timeout::Deadline;
pub(crate) use listener::TcpListener;
use port::Port;
pub(crate) use stream::TcpStream;
pub(crate) use udp::UdpSocket;

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

    /// Takes no more packets than there is room for events, since each makes at most one: so nothing is left over that
    /// would have to be kept.
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
        // Packets without an event that were taken when the time was over.
        let mut late = 0;
        loop {
            // Asked before the wait: what was queued when the loop was closed is still handed out.
            let closed = self.port.wakes().is_closed();
            // And what was accepted before, although it may not be queued yet.
            let awaited = closed && self.port.wakes().is_posting();
            let timeout = if closed {
                Some(Duration::ZERO)
            } else {
                deadline.remaining()
            };
            let count = self.port.wait(&mut self.packets[..room], timeout)?;
            for packet in &self.packets[..count] {
                self.port.handle(packet, Some(events));
            }
            if !events.is_empty() {
                return Ok(events.len());
            }
            // The system may wake a little early, by its clock tick: the deadline decides.
            if awaited {
                thread::yield_now();
                continue;
            }
            if closed || deadline.remaining() == Some(Duration::ZERO) {
                // An event may be behind packets without one; but they may also go on coming (a listener that meets
                // nothing but dead connections tries again by a note), and the time is over.
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

/// Arms what `interests` names, or nothing: if `send` fails, `restore` arms for receiving what `receive` said was armed.
fn arm(
    interests: Interests,
    receive: impl FnOnce() -> io::Result<Option<Token>>,
    send: impl FnOnce() -> io::Result<()>,
    restore: impl FnOnce(Option<Token>),
) -> io::Result<()> {
    let before = if interests.is_readable() {
        Some(receive()?)
    } else {
        None
    };
    if interests.is_writable() {
        if let Err(error) = send() {
            if let Some(before) = before {
                restore(before);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Makes `call`, a call of the user's own, and then `end`, with the code of its failure; `end` also after a panic.
fn call_and_then<R>(
    call: impl FnOnce() -> io::Result<R>,
    end: impl FnOnce(Option<ffi::Code>),
) -> io::Result<R> {
    struct Guard<F: FnOnce(Option<ffi::Code>)> {
        end: Option<F>,
        failed: Option<ffi::Code>,
    }

    impl<F: FnOnce(Option<ffi::Code>)> Drop for Guard<F> {
        fn drop(&mut self) {
            if let Some(end) = self.end.take() {
                end(self.failed);
            }
        }
    }

    let mut guard = Guard {
        end: Some(end),
        failed: None,
    };
    let result = call();
    guard.failed = code_of(&result);
    drop(guard);
    result
}

/// The system's code of a failure, if it is one of the system's.
fn code_of<R>(result: &io::Result<R>) -> Option<ffi::Code> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Closes the socket of a connection, whatever its linger time.
///
/// With a time, Windows does not close a non-blocking socket that has unsent bytes: the call fails, the socket stays open, and
/// `std` would not notice. Then it is closed without that time, which sends the bytes in the background. To ask for the time
/// first would cost every close a call.
fn close_connection(stream: net::TcpStream) {
    if let Some(socket) = ffi::close_socket(stream.into()).filter(|_| holds(Rule::ClosedAnyway)) {
        ffi::set_graceful_close(ffi::socket_of(&socket));
        ffi::close_socket(socket);
    }
}

/// The error of a call that has nothing to do right now.
fn would_block() -> io::Error {
    io::Error::from_raw_os_error(ffi::WSAEWOULDBLOCK)
}

/// The error of giving back a source that the kernel still has something of.
fn still_lent() -> io::Error {
    io::Error::new(
        io::ErrorKind::WouldBlock,
        "the source has memory lent to the kernel, or holds what was not read yet: read it, or wait for its event, first",
    )
}
