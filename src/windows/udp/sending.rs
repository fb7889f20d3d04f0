//! The sending direction of a UDP socket: the datagram in flight, and the socket of a source that was dropped meanwhile.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::{LentBuffer, DATAGRAM_BUFFER};
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{call_and_then, would_block};
use super::Shared;
use crate::event::{Event, Hints};
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, net, MutexGuard};
use crate::interests::{Interests, Token};

pub(super) struct Sending {
    pub(super) side: Direction,
    copy: LentBuffer,
    lent: usize,
    failed: Option<ffi::Code>,
    /// The socket, when the source was dropped with a send in flight.
    orphan: Option<net::UdpSocket>,
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            side: Direction::default(),
            copy: LentBuffer::new(),
            lent: 0,
            failed: None,
            orphan: None,
        }
    }
}

impl Shared {
    pub(super) fn send_noted(&self, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        sending.side.posted = false;
        self.fire_send(&mut sending, port, sink);
    }

    /// Ends the direction. With a send in flight, the socket stays with it until the send has ended; otherwise it is
    /// returned, to be closed.
    pub(super) fn close_send(&self, socket: net::UdpSocket) -> Option<net::UdpSocket> {
        let mut sending = lock(&self.sending);
        sending.side.armed = None;
        sending.side.closed = true;
        if !sending.side.in_flight || !holds(Rule::OrphanStaysOpen) {
            return Some(socket);
        }
        sending.orphan = Some(socket);
        drop(sending);
        if let Some(port) = self.membership.port() {
            port.defer_close(self.me.clone());
        }
        None
    }

    pub(super) fn give_up_send(&self) {
        let sending = lock(&self.sending);
        if sending.side.in_flight && sending.orphan.is_some() {
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
        }
    }

    pub(super) fn arm_send(&self, port: &Arc<Port>, token: Token) -> io::Result<()> {
        let mut sending = lock(&self.sending);
        let before = sending.side.armed.replace(token);
        // The packet, the note or the end of a `try_io` that is on will look at the interest.
        if sending.side.in_flight || sending.side.posted || sending.side.is_trying() {
            return Ok(());
        }
        if let Err(error) = port.note(&self.send) {
            sending.side.armed = before;
            return Err(error);
        }
        sending.side.posted = true;
        Ok(())
    }

    pub(super) fn send(
        &self,
        socket: &net::UdpSocket,
        bytes: &[u8],
        target: Option<&SocketAddr>,
    ) -> io::Result<usize> {
        let mut sending = self.send_direction()?;
        match ffi::send_at_once(socket, bytes, target) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send_copy(&mut sending, bytes, target)
            }
            other => other,
        }
    }

    /// The direction when nothing is in flight there. With a send in flight it takes what is on the port, once.
    fn send_direction(&self) -> io::Result<MutexGuard<'_, Sending>> {
        let mut pumped = false;
        loop {
            let mut sending = lock(&self.sending);
            if let Some(code) = sending.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
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
        call_and_then(call, |_| {
            let mut sending = lock(&self.sending);
            sending.side.trying -= 1;
            if let Some(port) = self.membership.port().filter(|_| holds(Rule::TryResumes)) {
                self.fire_send(&mut sending, port, None);
            }
        })
    }

    /// Sends a copy of the datagram: whole, or not at all.
    fn send_copy(
        &self,
        sending: &mut Sending,
        bytes: &[u8],
        target: Option<&SocketAddr>,
    ) -> io::Result<usize> {
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
        if bytes.len() > DATAGRAM_BUFFER {
            return Err(io::Error::from_raw_os_error(ffi::WSAEMSGSIZE));
        }
        // Also past the bound: a datagram cannot be sent in part, and there is no other way to learn when there is room.
        port.lending().exceed(bytes.len());
        sending.copy.fill(&[IoSlice::new(bytes)], bytes.len());
        sending.lent = bytes.len();
        let memory = sending.copy.lend_rest();
        let launch = port.launch(&self.send, |operation| {
            // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is taken
            // back when the packet is handled). The socket is open: the source is in use.
            unsafe { ffi::wsa_send_to(self.socket, memory, target, operation) }
        });
        if launch == Launch::Flying {
            sending.side.in_flight = true;
            return Ok(bytes.len());
        }
        self.reclaim_copy(sending, port);
        match launch {
            Launch::Failed(code) => Err(io::Error::from_raw_os_error(code)),
            _ => Err(would_block()),
        }
    }

    fn reclaim_copy(&self, sending: &mut Sending, port: &Port) {
        sending.copy.take_back();
        sending.copy.free();
        port.lending().release(sending.lent);
        sending.lent = 0;
    }

    pub(super) fn send_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        sending.side.in_flight = false;
        self.reclaim_copy(&mut sending, port);
        match packet.result(Some(self.socket)) {
            // A datagram that is lost with the thread that sent it is lost like any other.
            Ok(_) | Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => sending.failed = Some(code),
        }
        if let Some(socket) = sending.orphan.take() {
            drop(sending);
            drop(socket);
            return;
        }
        self.fire_send(&mut sending, port, sink);
    }

    fn fire_send(&self, sending: &mut Sending, port: &Arc<Port>, sink: Sink<'_>) {
        if sending.side.closed || sending.side.in_flight || sending.side.is_trying() {
            return;
        }
        let Some(token) = sending.side.armed else {
            return;
        };
        match sink {
            Some(events) => {
                sending.side.armed = None;
                let hints = Hints {
                    error: sending.failed.is_some(),
                    ..Hints::default()
                };
                let fits = events.push(Event::ready(token, Interests::WRITABLE, hints));
                debug_assert!(fits, "no more packets are taken than there is room");
            }
            None if !sending.side.posted => {
                port.note_surely(&self.send);
                sending.side.posted = true;
            }
            None => {}
        }
    }
}
