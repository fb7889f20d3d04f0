//! The receiving direction of a stream: the receive in flight, the bytes that it brought, and the end.
//!
//! | in flight | bytes, end or error | registering | `read` |
//! | --- | --- | --- | --- |
//! | no | none | starts a receive | asks the socket |
//! | with memory | none | stays with it | takes packets once, looks again, `WouldBlock` |
//! | without memory | none | stays with it | asks the socket |
//! | no | some | posts a note | serves them |
//!
//! A receive without memory tells that bytes are there, and leaves them. If somebody took them from the socket before its
//! packet is handled (`raided`), the packet proves nothing, and the socket is asked.

use std::io;
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::LentBuffer;
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::would_block;
use super::Shared;
use crate::event::{Event, Hints};
use crate::faults::{refused, Call};
use crate::interests::{Interests, Token};
use crate::rules::{holds, Rule};
use crate::sync::{lock, MutexGuard, Ordering};

/// How receiving has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has not.
    Open,
    /// The peer sends no more.
    Eof,
    /// The connection is broken. The system may tell it once only, so it is kept, and told every time.
    Broken { code: ffi::Code, told: bool },
    /// This receive failed; the next one need not. Told once.
    Failed(ffi::Code),
}

pub(super) struct Receiving {
    pub(super) side: Direction,
    pub(super) buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one without memory.
    lent: usize,
    /// Bytes were taken from the socket since the receive without memory started.
    raided: bool,
    end: End,
    /// Receiving was shut down on this side.
    shut: bool,
}

/// Where the next bytes are.
pub(super) enum Next<'a> {
    Lent(MutexGuard<'a, Receiving>),
    /// In the socket. It is to be asked under the lock.
    Socket(MutexGuard<'a, Receiving>),
    /// Nowhere.
    End,
}

/// Whether a failure is one of the connection, and not only of one call.
fn breaks_connection(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAECONNRESET
            | ffi::WSAECONNABORTED
            | ffi::WSAENETRESET
            | ffi::WSAETIMEDOUT
            | ffi::WSAENETUNREACH
            | ffi::WSAEHOSTUNREACH
    )
}

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            side: Direction::default(),
            buffer: LentBuffer::new(),
            lent: 0,
            raided: false,
            end: End::Open,
            shut: false,
        }
    }

    fn fail(&mut self, code: ffi::Code) {
        self.end = if self.shut {
            End::Eof
        } else if breaks_connection(code) {
            End::Broken { code, told: false }
        } else {
            End::Failed(code)
        };
    }

    /// Keeps the failure of a call on the socket that the system might not repeat.
    pub(super) fn note_failure(&mut self, result: &io::Result<usize>) {
        let code = result.as_ref().err().and_then(io::Error::raw_os_error);
        if let Some(code) = code.filter(|&code| breaks_connection(code)) {
            self.end = End::Broken { code, told: true };
        }
    }

    pub(super) fn take_failure(&mut self) -> Option<ffi::Code> {
        match self.end {
            End::Broken { code, told: false } => {
                self.end = End::Broken { code, told: true };
                Some(code)
            }
            End::Failed(code) => {
                self.end = End::Open;
                Some(code)
            }
            _ => None,
        }
    }

    /// Whether nothing of the socket is with us: no memory at the kernel, no bytes here.
    pub(super) fn can_be_released(&self) -> bool {
        self.buffer.unread().is_empty() && (!self.side.in_flight || self.lent == 0)
    }

    fn hints(&self) -> Hints {
        let broken = matches!(self.end, End::Broken { .. } | End::Failed(_));
        Hints {
            read_closed: self.end == End::Eof || self.shut,
            write_closed: false,
            error: broken,
        }
    }
}

impl Shared {
    /// Whether a read has something to tell without asking the socket.
    fn has_something(&self, receiving: &Receiving) -> bool {
        !receiving.buffer.unread().is_empty()
            || receiving.end != End::Open
            || receiving.shut
            || self.has_connect_failure()
    }

    /// Arms `READABLE`, and returns what was armed before.
    pub(super) fn arm_receive(&self, port: &Arc<Port>, token: Token) -> io::Result<Option<Token>> {
        let mut receiving = lock(&self.receiving);
        let before = receiving.side.armed.replace(token);
        // The end of the connect will look at the interest.
        let in_flight = receiving.side.in_flight && holds(Rule::OneFlight);
        if self.is_connecting() || in_flight || receiving.side.posted {
            return Ok(before);
        }
        if !self.has_something(&receiving) && self.start_receive(&mut receiving, port) {
            return Ok(before);
        }
        if let Err(error) = port.note(&self.receive) {
            receiving.side.armed = before;
            return Err(error);
        }
        receiving.side.posted = true;
        Ok(before)
    }

    /// Starts a receive, lending memory if the bound allows it. Returns whether one is in flight; if not, the `Poll` is
    /// gone or `end` says why.
    fn start_receive(&self, receiving: &mut Receiving, port: &Port) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed);
        let lent = if wanted > 0 && port.lending().reserve(wanted) {
            wanted
        } else {
            0
        };
        match self.launch_receive(receiving, port, lent) {
            // No room in the kernel for the pages: without memory there may be.
            Launch::Failed(ffi::WSAENOBUFS) if lent > 0 => {
                match self.launch_receive(receiving, port, 0) {
                    Launch::Failed(code) => receiving.fail(code),
                    Launch::Flying | Launch::Gone => {}
                }
            }
            Launch::Failed(code) => receiving.fail(code),
            Launch::Flying | Launch::Gone => {}
        }
        receiving.side.in_flight
    }

    fn launch_receive(&self, receiving: &mut Receiving, port: &Port, lent: usize) -> Launch {
        receiving.buffer.prepare(lent);
        let memory = receiving.buffer.lend();
        let launch = port.launch(&self.receive, |operation| {
            refused(Call::Receive)?;
            // SAFETY: the operation is held by its flight, and the buffer by the source ("hands off what is lent": it is
            // taken back when the packet is handled). The socket is open: the direction is locked and not closed.
            unsafe { ffi::wsa_recv(self.socket, memory, operation) }
        });
        if launch == Launch::Flying {
            receiving.side.in_flight = true;
            receiving.raided = false;
            receiving.lent = lent;
        } else {
            receiving.buffer.take_back();
            port.lending().release(lent);
        }
        launch
    }

    pub(super) fn receive_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        let receiving = &mut *receiving;
        receiving.side.in_flight = false;
        receiving.buffer.take_back();
        if holds(Rule::GivenBack) {
            port.lending().release(receiving.lent);
        }
        if receiving.side.closed {
            receiving.buffer.free();
            return;
        }
        let mut ready = false;
        match packet.result(Some(self.socket)) {
            Ok(_) if receiving.lent == 0 => {
                ready = !(receiving.raided && holds(Rule::Raided))
                    || ffi::peek_one(self.socket) != Err(ffi::WSAEWOULDBLOCK);
            }
            Ok(0) => receiving.end = End::Eof,
            Ok(count) => receiving.buffer.received(count),
            // Cancelled, by `shutdown`, the end of the `Poll` or that of the thread that started it: no failure. An interest
            // that is armed starts the next one.
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => receiving.fail(code),
        }
        self.fire_receive(receiving, ready, port, sink);
    }

    pub(super) fn receive_noted(&self, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        receiving.side.posted = false;
        self.fire_receive(&mut receiving, false, port, sink);
    }

    /// Makes the event, if the interest is armed and something is there (`ready`: in the socket); if nothing is, starts
    /// a receive. Without a batch to put the event into, a note has a poll look again.
    pub(super) fn fire_receive(
        &self,
        receiving: &mut Receiving,
        ready: bool,
        port: &Arc<Port>,
        sink: Sink<'_>,
    ) {
        if receiving.side.closed || receiving.side.in_flight {
            return;
        }
        let Some(token) = receiving.side.armed else {
            return;
        };
        if !ready && !self.has_something(receiving) {
            if !holds(Rule::StartInstead) {
                return;
            }
            if self.start_receive(receiving, port) {
                return;
            }
            if receiving.end == End::Open {
                // The `Poll` is gone.
                return;
            }
        }
        match sink {
            Some(events) => {
                if holds(Rule::OneShot) {
                    receiving.side.armed = None;
                }
                let mut hints = receiving.hints();
                hints.error |= self.has_connect_failure();
                let fits = events.push(Event::ready(token, Interests::READABLE, hints));
                debug_assert!(fits, "no more packets are taken than there is room");
            }
            None if !receiving.side.posted && holds(Rule::NoteOfPump) => {
                port.note_surely(&self.receive);
                receiving.side.posted = true;
            }
            None => {}
        }
    }

    /// Finds the next bytes. With a receive in flight it takes what is on the port, once.
    pub(super) fn next_bytes(&self) -> io::Result<Next<'_>> {
        self.check_connected()?;
        let mut pumped = false;
        loop {
            let mut receiving = lock(&self.receiving);
            if !receiving.buffer.unread().is_empty() {
                return Ok(Next::Lent(receiving));
            }
            match receiving.end {
                End::Open => {}
                End::Eof => return Ok(Next::End),
                End::Broken { code, .. } => {
                    receiving.end = End::Broken { code, told: true };
                    return Err(io::Error::from_raw_os_error(code));
                }
                End::Failed(code) => {
                    receiving.end = End::Open;
                    return Err(io::Error::from_raw_os_error(code));
                }
            }
            if !receiving.side.in_flight || receiving.lent == 0 || !holds(Rule::NoOvertaking) {
                if receiving.shut {
                    return Ok(Next::End);
                }
                receiving.raided = true;
                return Ok(Next::Socket(receiving));
            }
            if pumped {
                // Of a receive that was shut down, only the packet is still to come.
                return if receiving.shut {
                    Ok(Next::End)
                } else {
                    Err(would_block())
                };
            }
            drop(receiving);
            if let Some(port) = self.membership.port() {
                port.pump();
            }
            pumped = true;
        }
    }

    /// Ends receiving: what has been received can still be read, then comes the end.
    pub(super) fn shut_receive(&self, shutdown: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut receiving = lock(&self.receiving);
        shutdown()?;
        receiving.shut = true;
        if receiving.side.in_flight {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        } else if let Some(port) = self.membership.port() {
            self.fire_receive(&mut receiving, false, port, None);
        }
        Ok(())
    }

    /// Marks the direction as closed, and cancels what is in flight. The socket is still open.
    pub(super) fn close_receive(&self, receiving: &mut Receiving) {
        if holds(Rule::MarkedClosed) {
            receiving.side.armed = None;
            receiving.side.closed = true;
        }
        if receiving.side.in_flight && holds(Rule::HandsOff) {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        } else {
            receiving.buffer.free();
        }
    }

    pub(super) fn abandon_receive(&self) {
        let mut receiving = lock(&self.receiving);
        receiving.side.armed = None;
        if receiving.side.in_flight && !receiving.side.closed {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        }
    }
}
