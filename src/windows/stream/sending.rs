//! The sending direction of a stream: the copy in flight, and the socket of a stream that was dropped meanwhile.
//!
//! `write` gives the bytes to the socket, which takes them at once as long as it has room. When it has none, one bounded
//! copy is sent overlapped: the kernel takes it when there is room, and *that* is what the writable event announces. Until
//! then further writes would overtake it, and are `WouldBlock`.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::{LentBuffer, MAX_BUFFER};
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{net, would_block};
use super::Shared;
use crate::event::{Event, Hints};
use crate::faults::{refused, Call};
use crate::interests::{Interests, Token};
use crate::rules::{holds, Rule};
use crate::sync::lock;

/// What is copied past the bound: enough to learn when there is room.
const PROBE: usize = 1;
/// How much unread input is thrown away before a deferred close, so that the close is none with bytes unread.
const DISCARD_ROUNDS: usize = 256;
const DISCARD_BYTES: usize = 4 << 10;

pub(super) struct Sending {
    pub(super) side: Direction,
    copy: LentBuffer,
    /// How much of it counts as lent.
    lent: usize,
    /// How a send failed, and whether anybody was told: bytes that were accepted are lost.
    failed: Option<(ffi::Code, bool)>,
    /// The socket, when the stream was dropped with a send in flight.
    orphan: Option<net::TcpStream>,
    /// The deferred close has lasted too long.
    given_up: bool,
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            side: Direction::default(),
            copy: LentBuffer::new(),
            lent: 0,
            failed: None,
            orphan: None,
            given_up: false,
        }
    }

    pub(super) fn take_failure(&mut self) -> Option<ffi::Code> {
        match &mut self.failed {
            Some((code, told)) if !*told => {
                *told = true;
                Some(*code)
            }
            _ => None,
        }
    }

    fn check_failure(&mut self) -> io::Result<()> {
        match &mut self.failed {
            Some((code, told)) => {
                *told = true;
                Err(io::Error::from_raw_os_error(*code))
            }
            None => Ok(()),
        }
    }

    fn hints(&self) -> Hints {
        let failed = self.failed.is_some();
        Hints {
            read_closed: false,
            write_closed: failed,
            error: failed,
        }
    }
}

impl Shared {
    /// Arms `WRITABLE`.
    pub(super) fn arm_send(&self, port: &Arc<Port>, token: Token) -> io::Result<()> {
        let mut sending = lock(&self.sending);
        let before = sending.side.armed.replace(token);
        if sending.side.in_flight || sending.side.posted || self.is_connecting() {
            return Ok(());
        }
        if let Err(error) = port.note(&self.send) {
            sending.side.armed = before;
            return Err(error);
        }
        sending.side.posted = true;
        Ok(())
    }

    pub(super) fn write(
        &self,
        slices: &[IoSlice<'_>],
        direct: impl Fn() -> io::Result<usize>,
    ) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.check_connected()?;
        let mut pumped = false;
        loop {
            let mut sending = lock(&self.sending);
            sending.check_failure()?;
            if !sending.side.in_flight || !holds(Rule::OneSend) {
                return match direct() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.send_copy(&mut sending, slices)
                    }
                    other => other,
                };
            }
            if pumped {
                return Err(would_block());
            }
            drop(sending);
            if let Some(port) = self.membership.port() {
                port.pump();
            }
            pumped = true;
        }
    }

    /// Sends a copy of the first of these bytes, and returns how many.
    fn send_copy(&self, sending: &mut Sending, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(port) = self
            .membership
            .port()
            .filter(|port| !port.wakes().is_closed())
        else {
            return Err(would_block());
        };
        let total = slices
            .iter()
            .fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
        let wanted = total.min(MAX_BUFFER);
        let (len, lent) = if port.lending().reserve(wanted) {
            (wanted, wanted)
        } else {
            (PROBE, 0)
        };
        sending.copy.fill(slices, len);
        sending.lent = lent;
        match port.launch(&self.send, |operation| self.start_send(sending, operation)) {
            Launch::Flying => {
                sending.side.in_flight = true;
                Ok(len)
            }
            Launch::Gone => {
                self.reclaim_copy(sending, port);
                Err(would_block())
            }
            Launch::Failed(code) => {
                self.reclaim_copy(sending, port);
                Err(io::Error::from_raw_os_error(code))
            }
        }
    }

    fn start_send(
        &self,
        sending: &mut Sending,
        operation: *mut ffi::WSAOVERLAPPED,
    ) -> Result<(), ffi::Code> {
        let rest = sending.copy.lend_rest();
        let started = refused(Call::Send).and_then(|()| {
            // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is
            // taken back when the packet is handled). The socket is open: the direction is locked, and not closed or an
            // orphan's.
            unsafe { ffi::wsa_send(self.socket, rest, operation) }
        });
        if started.is_err() {
            sending.copy.take_back();
        }
        started
    }

    fn reclaim_copy(&self, sending: &mut Sending, port: &Port) {
        port.lending().release(sending.lent);
        sending.lent = 0;
        sending.copy.free();
    }

    pub(super) fn send_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        if self.is_connect_in_flight() {
            self.connect_completed(packet, port, sink);
            return;
        }
        let mut sending = lock(&self.sending);
        sending.copy.take_back();
        let mut result = packet.result(Some(self.socket));
        if result == Err(ffi::WSA_OPERATION_ABORTED) && !sending.given_up {
            // Not by us: the thread that started it has ended. What it has not sent is still to be sent, if that is known:
            // better an error than bytes sent twice.
            result = if packet.is_unfinished() {
                Err(ffi::WSAECONNABORTED)
            } else {
                Ok(packet.bytes())
            };
        }
        if let Ok(count) = result {
            sending.copy.consume(count);
            if !sending.copy.unread().is_empty() && holds(Rule::RestIsSent) {
                match port.relaunch(&self.send, |operation| {
                    self.start_send(&mut sending, operation)
                }) {
                    Launch::Flying => return,
                    Launch::Gone => result = Err(ffi::WSAECONNABORTED),
                    Launch::Failed(code) => result = Err(code),
                }
            }
        }
        sending.side.in_flight = false;
        self.reclaim_copy(&mut sending, port);
        if let Err(code) = result {
            sending.failed = Some((code, false));
        }
        if let Some(stream) = sending.orphan.take() {
            let given_up = sending.given_up;
            drop(sending);
            close_orphan(stream, given_up);
            return;
        }
        self.fire_send(&mut sending, port, sink);
    }

    pub(super) fn send_noted(&self, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        sending.side.posted = false;
        self.fire_send(&mut sending, port, sink);
    }

    /// Makes the event, if the interest is armed and no send is in flight. Returns whether it did.
    pub(super) fn fire_send(
        &self,
        sending: &mut Sending,
        port: &Arc<Port>,
        sink: Sink<'_>,
    ) -> bool {
        if sending.side.closed || sending.side.in_flight {
            return false;
        }
        let Some(token) = sending.side.armed else {
            return false;
        };
        match sink {
            Some(events) => {
                sending.side.armed = None;
                let mut hints = sending.hints();
                hints.error |= self.has_connect_failure();
                let fits = events.push(Event::ready(token, Interests::WRITABLE, hints));
                debug_assert!(fits, "no more packets are taken than there is room");
                true
            }
            None => {
                if !sending.side.posted {
                    port.note_surely(&self.send);
                    sending.side.posted = true;
                }
                false
            }
        }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        for last in [false, true] {
            let mut sending = lock(&self.sending);
            sending.check_failure()?;
            if !sending.side.in_flight || self.is_connecting() {
                return Ok(());
            }
            drop(sending);
            if let (false, Some(port)) = (last, self.membership.port()) {
                port.pump();
            }
        }
        Err(would_block())
    }

    /// Ends the direction. With a send in flight, the socket stays with it until the send has ended; otherwise it is
    /// returned, to be closed.
    pub(super) fn close_send(&self, stream: net::TcpStream) -> Option<net::TcpStream> {
        let mut sending = lock(&self.sending);
        sending.side.armed = None;
        sending.side.closed = true;
        if !sending.side.in_flight || !holds(Rule::OrphanStaysOpen) {
            return Some(stream);
        }
        if self.is_connect_in_flight() {
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
            return Some(stream);
        }
        // The end of the stream follows the bytes in flight. If the connection is broken already, they are lost anyway.
        drop(stream.shutdown(Shutdown::Write));
        sending.orphan = Some(stream);
        drop(sending);
        if let Some(port) = self.membership.port() {
            port.defer_close(self.me.clone());
        }
        None
    }

    pub(super) fn abandon_send(&self) {
        let mut sending = lock(&self.sending);
        sending.side.armed = None;
        if sending.side.in_flight && !sending.side.closed && self.is_connect_in_flight() {
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
        }
    }

    pub(super) fn give_up_send(&self) {
        let mut sending = lock(&self.sending);
        if sending.side.in_flight && sending.orphan.is_some() {
            sending.given_up = true;
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
        }
    }
}

/// Closes the socket of a dropped stream, whose bytes the kernel has all taken.
fn close_orphan(mut stream: net::TcpStream, given_up: bool) {
    if given_up {
        ffi::set_abortive_close(ffi::socket_of(&stream));
        return;
    }
    // With input unread, closing would reset the connection, and lose what the peer has not taken yet.
    let mut input = [0; DISCARD_BYTES];
    for _ in 0..DISCARD_ROUNDS {
        match stream.read(&mut input) {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
}
