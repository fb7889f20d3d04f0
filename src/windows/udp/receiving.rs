//! The receiving direction of a UDP socket: the receive in flight, and the datagram that it brought.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::{LentBuffer, DATAGRAM_BUFFER};
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{call_and_then, would_block};
use super::Shared;
use crate::error;
use crate::event::{Event, Hints};
use crate::hooks;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, MutexGuard, Ordering};
use crate::interests::{Interests, Token};

/// How many failures that are none of the receiver's one call skips.
const MAX_SKIPPED: usize = 256;

pub(super) struct Receiving {
    pub(super) side: Direction,
    buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one that peeks.
    lent: usize,
    /// Datagrams were taken from the socket since the receive that peeks started.
    raided: bool,
    /// The sender of the datagram in the buffer, if there is one.
    held: Option<SocketAddr>,
    /// A datagram that was met where a failure was expected. There is none in the buffer, then.
    met: Option<(Vec<u8>, SocketAddr)>,
    /// Why there is none. Told once.
    failed: Option<ffi::Code>,
}

/// Whether a failed receive only tells what became of a datagram that was sent: nobody listens there, its time to live was
/// over, or no way leads to its host.
fn is_about_sending(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAECONNRESET
            | ffi::WSAENETRESET
            | ffi::WSAENETUNREACH
            | ffi::WSAEHOSTUNREACH
            | ffi::WSAENETDOWN
    )
}

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            side: Direction::default(),
            buffer: LentBuffer::new(),
            lent: 0,
            raided: false,
            held: None,
            met: None,
            failed: None,
        }
    }

    /// Whether nothing of the socket is with us: no memory at the kernel, no datagram here.
    pub(super) fn can_be_released(&self) -> bool {
        self.held.is_none() && self.met.is_none() && (!self.side.in_flight || self.lent == 0)
    }

    fn has_something(&self) -> bool {
        self.has_datagram() || self.failed.is_some()
    }

    fn has_datagram(&self) -> bool {
        self.held.is_some() || self.met.is_some()
    }

    /// Copies of the datagram that is here what fits, and forgets it unless the user only peeks.
    fn serve(&mut self, buffer: &mut [u8], peek: bool) -> Option<(usize, SocketAddr)> {
        let (bytes, from) = match (&self.met, self.held) {
            (Some((bytes, from)), _) => (&bytes[..], *from),
            (None, Some(from)) => (self.buffer.unread(), from),
            (None, None) => return None,
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if !peek {
            (self.met, self.held) = (None, None);
        }
        Some((count, from))
    }
}

impl Shared {
    pub(super) fn receive_noted(&self, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        receiving.side.posted = false;
        self.fire_receive(&mut receiving, false, port, sink);
    }

    pub(super) fn abandon_receive(&self) {
        let mut receiving = lock(&self.receiving);
        receiving.side.armed = None;
        if receiving.side.in_flight && !receiving.side.closed {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        }
    }

    pub(super) fn arm_receive(&self, port: &Arc<Port>, token: Token) -> io::Result<Option<Token>> {
        let mut receiving = lock(&self.receiving);
        let before = receiving.side.armed.replace(token);
        if receiving.side.in_flight || receiving.side.posted {
            return Ok(before);
        }
        // Whoever ends a `try_io` that is on looks at the interest.
        if !receiving.has_something()
            && (receiving.side.is_trying() || self.start_receive(&mut receiving, port))
        {
            return Ok(before);
        }
        if let Err(error) = port.note(&self.receive) {
            receiving.side.armed = before;
            return Err(error);
        }
        receiving.side.posted = true;
        Ok(before)
    }

    /// Starts a receive. Returns whether one is in flight; if not, the `Poll` is gone or `failed` says why.
    fn start_receive(&self, receiving: &mut Receiving, port: &Port) -> bool {
        let lends = self.lends.load(Ordering::Relaxed) && port.lending().reserve(DATAGRAM_BUFFER);
        let mut lent = if lends { DATAGRAM_BUFFER } else { 0 };
        for _ in 0..MAX_SKIPPED {
            match self.launch_receive(receiving, port, lent) {
                Launch::Flying => return true,
                Launch::Gone => break,
                Launch::Failed(ffi::WSAENOBUFS) if lent > 0 => {
                    port.lending().release(lent);
                    lent = 0;
                }
                Launch::Failed(code) => {
                    receiving.failed = Some(code);
                    if lent == 0 && self.clear_failure(receiving, code) {
                        break;
                    }
                    if !is_about_sending(code) {
                        break;
                    }
                }
            }
        }
        port.lending().release(lent);
        false
    }

    fn launch_receive(&self, receiving: &mut Receiving, port: &Port, lent: usize) -> Launch {
        receiving.buffer.prepare(lent);
        receiving.failed = None;
        let memory = receiving.buffer.lend();
        let launch = port.launch(&self.receive, |operation| {
            if lent == 0 {
                // SAFETY: the operation is held by the flight. The socket is open: the direction is locked and not closed.
                return unsafe { ffi::wsa_peek(self.socket, operation) };
            }
            // SAFETY: the same, and the envelope is held by the flight, too, and the buffer by the source ("hands off what is
            // lent": it is taken back when the packet is handled).
            unsafe { ffi::wsa_recv_from(self.socket, memory, self.envelope.get(), operation) }
        });
        if launch == Launch::Flying {
            receiving.side.in_flight = true;
            receiving.raided = false;
            receiving.lent = lent;
        } else {
            receiving.buffer.take_back();
        }
        launch
    }

    pub(super) fn receive_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        receiving.side.in_flight = false;
        receiving.buffer.take_back();
        port.lending().release(receiving.lent);
        if receiving.side.closed {
            receiving.buffer.free();
            return;
        }
        let mut ready = false;
        match packet.result(Some(self.socket)) {
            Ok(_) | Err(ffi::WSAEMSGSIZE) if receiving.lent == 0 => {
                ready = !(receiving.raided && holds(Rule::Raided))
                    || match ffi::peek_one(self.socket) {
                        Err(ffi::WSAEWOULDBLOCK) => false,
                        Ok(_) | Err(ffi::WSAEMSGSIZE) => true,
                        // What is behind it, the next look tells.
                        Err(code) => {
                            if !is_about_sending(code) {
                                receiving.failed = Some(code);
                            }
                            self.clear_failure(&mut receiving, code)
                        }
                    };
            }
            Ok(_) | Err(ffi::WSAEMSGSIZE) => {
                receiving.buffer.received(packet.bytes());
                let envelope_bytes = std::mem::size_of::<ffi::Envelope>();
                hooks::windows::touched(self.envelope.get(), envelope_bytes);
                // SAFETY: the lock is held and the receive has ended, so the envelope is ours.
                let from = unsafe { (*self.envelope.get()).from };
                receiving.held = Some(from.to_std().unwrap_or_else(unknown_sender));
            }
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => {
                if !is_about_sending(code) {
                    receiving.failed = Some(code);
                }
                if receiving.lent == 0 {
                    self.clear_failure(&mut receiving, code);
                }
            }
        }
        self.fire_receive(&mut receiving, ready, port, sink);
    }

    /// Makes the event, if the interest is armed and a datagram is there (`ready`: in the socket); if none is, starts a
    /// receive.
    pub(super) fn fire_receive(
        &self,
        receiving: &mut MutexGuard<'_, Receiving>,
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
        let trying = receiving.side.is_trying();
        if (!ready || trying)
            && !receiving.has_something()
            && (trying || self.start_receive(receiving, port) || !receiving.has_something())
        {
            return;
        }
        match sink {
            Some(events) => {
                receiving.side.armed = None;
                let hints = Hints {
                    error: receiving.failed.is_some(),
                    ..Hints::default()
                };
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

    pub(super) fn close_receive(&self, receiving: &mut Receiving) {
        receiving.side.armed = None;
        receiving.side.closed = true;
        if receiving.side.in_flight {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        }
    }

    /// Receives or peeks a datagram: the one that was received before it was asked for, else from the socket.
    pub(super) fn next_datagram(
        &self,
        buffer: &mut [u8],
        peek: bool,
    ) -> io::Result<(usize, SocketAddr)> {
        let mut receiving = self.receive_direction()?;
        match receiving.serve(buffer, peek) {
            Some(served) => Ok(served),
            None if peek => self.direct_peek(&mut receiving, buffer),
            None => self.direct_datagram(buffer),
        }
    }

    /// The direction with a datagram, or when the socket may be asked for one, under the lock. With a receive in flight it
    /// takes what is on the port, once.
    fn receive_direction(&self) -> io::Result<MutexGuard<'_, Receiving>> {
        let mut pumped = false;
        loop {
            let mut receiving = lock(&self.receiving);
            if receiving.has_datagram() {
                return Ok(receiving);
            }
            if let Some(code) = receiving.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if !receiving.side.in_flight || receiving.lent == 0 || !holds(Rule::NoOvertaking) {
                receiving.raided = true;
                return Ok(receiving);
            }
            if pumped {
                return Err(would_block());
            }
            drop(receiving);
            if let Some(port) = self.membership.port() {
                port.pump();
            }
            pumped = true;
        }
    }

    /// Makes a call of the user's own that receives.
    pub(super) fn try_receive<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        {
            let mut receiving = self.receive_direction()?;
            if receiving.has_datagram() {
                return Err(error::bytes_unread());
            }
            receiving.side.trying += 1;
        }
        call_and_then(call, |_| {
            let mut receiving = lock(&self.receiving);
            receiving.side.trying -= 1;
            if let Some(port) = self.membership.port().filter(|_| holds(Rule::TryResumes)) {
                self.fire_receive(&mut receiving, false, port, None);
            }
        })
    }

    fn direct_datagram(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut result = Err(ffi::WSAEWOULDBLOCK);
        for _ in 0..MAX_SKIPPED {
            result = ffi::recv_from(self.socket, buffer, false);
            if !matches!(result, Err(code) if is_about_sending(code)) {
                break;
            }
        }
        let (count, from) = result.map_err(io::Error::from_raw_os_error)?;
        Ok((count, from.unwrap_or_else(unknown_sender)))
    }

    fn direct_peek(
        &self,
        receiving: &mut Receiving,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let mut last = ffi::WSAEWOULDBLOCK;
        for _ in 0..MAX_SKIPPED {
            match ffi::recv_from(self.socket, buffer, true) {
                Ok((count, from)) => return Ok((count, from.unwrap_or_else(unknown_sender))),
                Err(ffi::WSAEWOULDBLOCK) => return Err(would_block()),
                Err(code) => {
                    self.clear_failure(receiving, code);
                    if !is_about_sending(code) {
                        return Err(io::Error::from_raw_os_error(code));
                    }
                    last = code;
                }
            }
            if let Some(served) = receiving.serve(buffer, true) {
                return Ok(served);
            }
            if let Some(code) = receiving.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
        }
        Err(io::Error::from_raw_os_error(last))
    }

    /// Takes away a failure that a look has met. On Windows a receive with `MSG_PEEK` leaves it where it is, and the next one
    /// meets it again; a plain receive does not. If that meets a datagram instead, it is kept. Returns whether something is
    /// to be told now.
    ///
    /// No receive with memory is in flight: this one would overtake it.
    fn clear_failure(&self, receiving: &mut Receiving, met: ffi::Code) -> bool {
        if !holds(Rule::FailureCleared) {
            return false;
        }
        let mut bytes = vec![0; DATAGRAM_BUFFER];
        match ffi::recv_from(self.socket, &mut bytes, false) {
            Ok((count, from)) => {
                bytes.truncate(count);
                receiving.met = Some((bytes, from.unwrap_or_else(unknown_sender)));
                if receiving.failed.is_some_and(is_about_sending) {
                    receiving.failed = None;
                }
            }
            Err(ffi::WSAEWOULDBLOCK) => {}
            Err(code) if code == met || is_about_sending(code) => {}
            Err(code) => receiving.failed = Some(code),
        }
        receiving.has_datagram() || receiving.failed.is_some_and(|code| !is_about_sending(code))
    }
}

/// A connected socket need not say who has sent.
fn unknown_sender() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}
