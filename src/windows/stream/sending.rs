//! The sending direction of a stream: the copy in flight, and the socket of a stream that was dropped meanwhile.
//!
//! `write` gives the bytes to the socket, which takes them at once as long as it has room. When it has none, one bounded
//! copy is sent overlapped: the kernel takes it when there is room, and *that* is what the writable event announces. Until
//! then further writes would overtake it, and are `WouldBlock`.
//!
//! A send that was cancelled, and not by us, has failed: the system does not say reliably how much of it went out, and bytes
//! that are sent twice are worse than an error.
//!
//! # A stream that is dropped with a send in flight
//! The socket stays open until the packet: closing it would lose the bytes. It is shut down for sending, so that the end of the
//! stream follows them. If the user has set the linger time to zero, he wants none of that: the send is cancelled, and its
//! packet closes the socket, which resets the connection. (To know costs one `getsockopt`, in this case alone.)
//!
//! # Calls of the user's own
//! While a `try_io` for writing is on, no copy is sent, which that call would overtake, and no event says that there is
//! room. Whoever ends the last of them looks at the interest again.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::{LentBuffer, MAX_BUFFER};
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::waits::Wait;
use super::super::{call_and_then, close_connection, would_block};
use super::broken::breaks_connection;
use super::Shared;
use crate::event::{Event, Hints};
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, net, MutexGuard};
use crate::interests::{Interests, Token};

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
    /// How a send failed, and whether `take_error` has said so: bytes that were accepted are lost.
    failed: Option<(ffi::Code, bool)>,
    /// Sending was shut down.
    shut: bool,
    /// The socket, when the stream was dropped with a send in flight.
    orphan: Option<net::TcpStream>,
    /// The send of an orphan was cancelled: the deferred close has lasted too long, or the linger time is zero.
    given_up: bool,
    /// The wait for the end of a connect that somebody else began, as long as it is on.
    pub(super) connect_wait: Option<Wait>,
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            side: Direction::default(),
            copy: LentBuffer::new(),
            lent: 0,
            failed: None,
            shut: false,
            orphan: None,
            given_up: false,
            connect_wait: None,
        }
    }

    pub(super) fn take_failure(
        &mut self,
        is_news: impl FnOnce(ffi::Code) -> bool,
    ) -> Option<ffi::Code> {
        match &mut self.failed {
            Some((code, taken)) if !*taken => {
                *taken = true;
                (!breaks_connection(*code) || is_news(*code)).then_some(*code)
            }
            _ => None,
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
    /// Tells how a send has failed, every time.
    fn check_failure(&self, sending: &Sending) -> io::Result<()> {
        let Some((code, _)) = sending.failed else {
            return Ok(());
        };
        self.broken.tell_if_breaking(Some(code));
        Err(io::Error::from_raw_os_error(code))
    }

    /// Arms `WRITABLE`.
    pub(super) fn arm_send(&self, port: &Arc<Port>, token: Token) -> io::Result<()> {
        let mut sending = lock(&self.sending);
        let before = sending.side.armed.replace(token);
        // The packet, the note, the end of the connect or of a call that is on will look at the interest.
        if sending.side.in_flight
            || sending.side.posted
            || sending.side.is_trying()
            || self.is_connecting()
        {
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
        let mut sending = self.send_direction()?;
        match direct() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send_copy(&mut sending, slices)
            }
            Err(error) => {
                self.broken.tell_if_breaking(error.raw_os_error());
                Err(error)
            }
            sent => sent,
        }
    }

    /// The sending direction when nothing is in flight there. With a send in flight it takes what is on the port, once.
    fn send_direction(&self) -> io::Result<MutexGuard<'_, Sending>> {
        self.check_connected()?;
        let mut pumped = false;
        loop {
            let sending = lock(&self.sending);
            self.check_failure(&sending)?;
            if !sending.side.in_flight || !holds(Rule::OneSend) {
                return Ok(sending);
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

    /// Makes a call of the user's own that sends.
    pub(super) fn try_send<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.send_direction()?.side.trying += 1;
        call_and_then(call, |failed| {
            self.broken.tell_if_breaking(failed);
            let mut sending = lock(&self.sending);
            sending.side.trying -= 1;
            if let Some(port) = self.membership.port().filter(|_| holds(Rule::TryResumes)) {
                self.fire_send(&mut sending, port, None);
            }
        })
    }

    /// Shuts sending down by `shutdown`, once: some systems take a second time for something else.
    pub(super) fn shut_send(&self, shutdown: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut sending = lock(&self.sending);
        if !sending.shut {
            shutdown()?;
            sending.shut = true;
        }
        Ok(())
    }

    /// Sends a copy of the first of these bytes, and returns how many.
    fn send_copy(&self, sending: &mut Sending, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if sending.side.is_trying() {
            return Err(would_block());
        }
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
        // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is taken
        // back when the packet is handled). The socket is open: the direction is locked, and not closed or an orphan's.
        let started = unsafe { ffi::wsa_send(self.socket, rest, operation) };
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
            // Not by us: see the head of this module.
            result = Err(ffi::WSAECONNABORTED);
        }
        if let Ok(count) = result {
            sending.copy.consume(count);
            // What was given up may have ended in part before the cancel came.
            let goes_on = !(sending.given_up && holds(Rule::NoRestGivenUp));
            if !sending.copy.unread().is_empty() && goes_on && holds(Rule::RestIsSent) {
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
        if sending.side.closed
            || sending.side.in_flight
            || sending.side.is_trying()
            || self.is_connecting()
        {
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
            let sending = lock(&self.sending);
            self.check_failure(&sending)?;
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
        self.end_connect_wait(&mut sending);
        sending.side.armed = None;
        sending.side.closed = true;
        if !sending.side.in_flight || !holds(Rule::OrphanStaysOpen) {
            return Some(stream);
        }
        if self.is_connect_in_flight() {
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
            return Some(stream);
        }
        let port = self.membership.port();
        if ffi::linger(self.socket) == Some(0) && holds(Rule::LingerZero) {
            sending.orphan = Some(stream);
            sending.given_up = true;
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
            drop(sending);
            // Most often the packet is there already, and the socket is closed now.
            if let Some(port) = port {
                port.pump();
            }
            return None;
        }
        // The end of the stream follows the bytes in flight. If the connection is broken already, they are lost anyway.
        drop(stream.shutdown(Shutdown::Write));
        sending.orphan = Some(stream);
        drop(sending);
        if let Some(port) = port {
            port.defer_close(self.me.clone());
        }
        None
    }

    pub(super) fn abandon_send(&self) {
        let mut sending = lock(&self.sending);
        sending.side.armed = None;
        self.abandon_connect_wait(&mut sending);
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

/// Closes the socket of a dropped stream that had a send in flight. The kernel has taken all its bytes, or it was given up.
fn close_orphan(stream: net::TcpStream, given_up: bool) {
    if given_up {
        ffi::set_abortive_close(ffi::socket_of(&stream));
    } else {
        discard_input(&stream);
    }
    close_connection(stream);
}

/// Throws away what nobody will read: with input unread, closing would reset the connection, and lose what the peer has not
/// taken yet. There is a bound to it, so that a peer that goes on sending holds nobody up.
pub(super) fn discard_input(mut stream: &net::TcpStream) {
    let mut input = [0; DISCARD_BYTES];
    for _ in 0..DISCARD_ROUNDS {
        match stream.read(&mut input) {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
}
