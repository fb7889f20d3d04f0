//! [`UdpSocket`]: one receive and one send in flight at most, of whole datagrams.
//!
//! Registering `READABLE` lends room for the largest datagram there is, so that none is cut before it is known how much the
//! user wants of it. Past the bound, or when the user wants nothing lent, the receive only *peeks*, with no memory: it ends
//! when a datagram arrives, with the warning that it is longer than the buffer, and the datagram stays in the socket. (A
//! receive without memory that does not peek would throw it away.)
//!
//! On Windows an ICMP answer to something that was *sent* fails a later *receive* of the same socket. That is switched off,
//! and what comes in spite of it is skipped: one unreachable peer must not end a server.
//!
//! The invariants are those of `stream.rs`. What is lent beside the buffers is the [`ffi::Envelope`], which lies in
//! [`Shared`].

use std::cell::UnsafeCell;
use std::io::{self, IoSlice};
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::ffi;
use super::lending::{LentBuffer, DATAGRAM_BUFFER};
use super::operation::{Direction, Kind, Operation, Owner, Packet, Sink};
use super::port::{Launch, Membership, Port};
use super::{still_lent, would_block, Registrator};
use crate::error;
use crate::event::{Event, Hints};
use crate::interests::{Interests, Token};
use crate::sync::{lock, Mutex, MutexGuard};

/// How many failures that are none of the receiver's one call skips.
const MAX_SKIPPED: usize = 256;

struct Receiving {
    side: Direction,
    buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one that peeks.
    lent: usize,
    /// Datagrams were taken from the socket since the receive that peeks started.
    raided: bool,
    /// The sender of the datagram in the buffer, if there is one.
    held: Option<SocketAddr>,
    /// Why there is none. Told once.
    failed: Option<ffi::Code>,
}

struct Sending {
    side: Direction,
    copy: LentBuffer,
    lent: usize,
    failed: Option<ffi::Code>,
    /// The socket, when the source was dropped with a send in flight.
    orphan: Option<net::UdpSocket>,
}

struct Shared {
    socket: ffi::SOCKET,
    me: Weak<dyn Owner>,
    membership: Membership,
    /// Whether the next receive lends memory. Chosen by the user at any time; it orders nothing.
    lends: AtomicBool,
    receive: Operation,
    send: Operation,
    /// The kernel's while the receive is in flight.
    envelope: UnsafeCell<ffi::Envelope>,
    receiving: Mutex<Receiving>,
    sending: Mutex<Sending>,
}

// SAFETY: `envelope` is touched under the lock of `receiving` alone, and only with no receive in flight.
unsafe impl Sync for Shared {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Shared {}

impl Owner for Shared {
    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receive_completed(packet, port, sink),
            Kind::Send => self.send_completed(packet, port, sink),
        }
    }

    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => {
                let mut receiving = lock(&self.receiving);
                receiving.side.posted = false;
                self.fire_receive(&mut receiving, false, port, sink);
            }
            Kind::Send => {
                let mut sending = lock(&self.sending);
                sending.side.posted = false;
                self.fire_send(&mut sending, port, sink);
            }
        }
    }

    fn abandon(&self) {
        {
            let mut receiving = lock(&self.receiving);
            receiving.side.armed = None;
            if receiving.side.in_flight && !receiving.side.closed {
                ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
            }
        }
        lock(&self.sending).side.armed = None;
    }

    fn give_up(&self) {
        let sending = lock(&self.sending);
        if sending.side.in_flight && sending.orphan.is_some() {
            ffi::cancel_io_ex(self.socket, self.send.as_overlapped());
        }
    }
}

/// Whether a failed receive only tells what became of a datagram that was sent.
fn is_about_sending(code: ffi::Code) -> bool {
    matches!(code, ffi::WSAECONNRESET | ffi::WSAENETRESET)
}

impl Receiving {
    fn has_something(&self) -> bool {
        self.held.is_some() || self.failed.is_some()
    }
}

impl Shared {
    fn arm_receive(&self, port: &Arc<Port>, token: Token) -> io::Result<Option<Token>> {
        let mut receiving = lock(&self.receiving);
        let before = receiving.side.armed.replace(token);
        if receiving.side.in_flight || receiving.side.posted {
            return Ok(before);
        }
        if !receiving.has_something() && self.start_receive(&mut receiving, port) {
            return Ok(before);
        }
        if let Err(error) = port.note(&self.receive) {
            receiving.side.armed = before;
            return Err(error);
        }
        receiving.side.posted = true;
        Ok(before)
    }

    fn arm_send(&self, port: &Arc<Port>, token: Token) -> io::Result<()> {
        let mut sending = lock(&self.sending);
        let before = sending.side.armed.replace(token);
        if sending.side.in_flight || sending.side.posted {
            return Ok(());
        }
        if let Err(error) = port.note(&self.send) {
            sending.side.armed = before;
            return Err(error);
        }
        sending.side.posted = true;
        Ok(())
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
            // SAFETY: the operation and the envelope are held by the flight, and the buffer by the source ("hands off what
            // is lent": it is taken back when the packet is handled). The socket is open: the direction is locked and not
            // closed.
            unsafe {
                ffi::wsa_recv_from(
                    self.socket,
                    memory,
                    self.envelope.get(),
                    lent == 0,
                    operation,
                )
            }
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

    fn receive_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
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
                ready = !receiving.raided || ffi::peek_one(self.socket) != Err(ffi::WSAEWOULDBLOCK);
            }
            Ok(_) | Err(ffi::WSAEMSGSIZE) => {
                receiving.buffer.received(packet.bytes());
                // SAFETY: the lock is held and the receive has ended, so the envelope is ours.
                let from = unsafe { (*self.envelope.get()).from };
                receiving.held = Some(from.to_std().unwrap_or_else(unknown_sender));
            }
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) if is_about_sending(code) => {}
            Err(code) => receiving.failed = Some(code),
        }
        self.fire_receive(&mut receiving, ready, port, sink);
    }

    /// Makes the event, if the interest is armed and a datagram is there (`ready`: in the socket); if none is, starts a
    /// receive.
    fn fire_receive(
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
        if !ready
            && !receiving.has_something()
            && (self.start_receive(receiving, port) || !receiving.has_something())
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
            None if !receiving.side.posted => {
                receiving.side.posted = port.note(&self.receive).is_ok()
            }
            None => {}
        }
    }

    fn close_receive(&self, receiving: &mut Receiving) {
        receiving.side.armed = None;
        receiving.side.closed = true;
        if receiving.side.in_flight {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        }
    }

    /// Receives or peeks a datagram: the one that was received before it was asked for, else from the socket.
    fn next_datagram(&self, buffer: &mut [u8], peek: bool) -> io::Result<(usize, SocketAddr)> {
        let mut pumped = false;
        loop {
            let mut receiving = lock(&self.receiving);
            if let Some(from) = receiving.held {
                let count = receiving.buffer.unread().len().min(buffer.len());
                buffer[..count].copy_from_slice(&receiving.buffer.unread()[..count]);
                if !peek {
                    receiving.held = None;
                }
                return Ok((count, from));
            }
            if let Some(code) = receiving.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if !receiving.side.in_flight || receiving.lent == 0 {
                receiving.raided = true;
                return self.direct_datagram(buffer, peek);
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

    fn direct_datagram(&self, buffer: &mut [u8], peek: bool) -> io::Result<(usize, SocketAddr)> {
        let mut result = Err(ffi::WSAEWOULDBLOCK);
        for _ in 0..MAX_SKIPPED {
            result = ffi::recv_from(self.socket, buffer, peek);
            if !matches!(result, Err(code) if is_about_sending(code)) {
                break;
            }
        }
        let (count, from) = result.map_err(io::Error::from_raw_os_error)?;
        Ok((count, from.unwrap_or_else(unknown_sender)))
    }

    fn send(
        &self,
        bytes: &[u8],
        target: Option<&SocketAddr>,
        direct: impl Fn() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut pumped = false;
        loop {
            let mut sending = lock(&self.sending);
            if let Some(code) = sending.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if !sending.side.in_flight {
                return match direct() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.send_copy(&mut sending, bytes, target)
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

    /// Sends a copy of the datagram: whole, or not at all.
    fn send_copy(
        &self,
        sending: &mut Sending,
        bytes: &[u8],
        target: Option<&SocketAddr>,
    ) -> io::Result<usize> {
        let Some(port) = self.membership.port().filter(|port| !port.is_closed()) else {
            return Err(would_block());
        };
        if bytes.len() > DATAGRAM_BUFFER {
            return Err(io::Error::from_raw_os_error(ffi::WSAEMSGSIZE));
        }
        if !port.lending().reserve(bytes.len()) {
            return Err(would_block());
        }
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

    fn send_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        sending.side.in_flight = false;
        self.reclaim_copy(&mut sending, port);
        if let Err(code) = packet.result(Some(self.socket)) {
            sending.failed = Some(code);
        }
        if let Some(socket) = sending.orphan.take() {
            drop(sending);
            drop(socket);
            return;
        }
        self.fire_send(&mut sending, port, sink);
    }

    fn fire_send(&self, sending: &mut Sending, port: &Arc<Port>, sink: Sink<'_>) {
        if sending.side.closed || sending.side.in_flight {
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
            None if !sending.side.posted => sending.side.posted = port.note(&self.send).is_ok(),
            None => {}
        }
    }
}

/// A connected socket need not say who has sent.
fn unknown_sender() -> SocketAddr {
    SocketAddr::new(net::IpAddr::V4(net::Ipv4Addr::UNSPECIFIED), 0)
}

/// A UDP socket.
pub(crate) struct UdpSocket {
    shared: Arc<Shared>,
    // `None` only at the very end: it was given back, or handed to the send that is in flight.
    std: Option<net::UdpSocket>,
}

impl UdpSocket {
    pub(crate) fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        let number = ffi::socket_of(&socket);
        ffi::ignore_icmp_errors(number);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                socket: number,
                membership: Membership::default(),
                lends: AtomicBool::new(true),
                receive: Operation::new(Weak::clone(&me), Kind::Receive),
                send: Operation::new(Weak::clone(&me), Kind::Send),
                envelope: UnsafeCell::new(ffi::Envelope::new()),
                receiving: Mutex::new(Receiving {
                    side: Direction::default(),
                    buffer: LentBuffer::new(),
                    lent: 0,
                    raided: false,
                    held: None,
                    failed: None,
                }),
                sending: Mutex::new(Sending {
                    side: Direction::default(),
                    copy: LentBuffer::new(),
                    lent: 0,
                    failed: None,
                    orphan: None,
                }),
                me,
            }
        });
        Ok(UdpSocket {
            shared,
            std: Some(socket),
        })
    }

    pub(crate) fn into_std(mut self) -> Result<net::UdpSocket, (UdpSocket, io::Error)> {
        if let Some(port) = self.shared.membership.port() {
            port.pump();
        }
        let free = {
            let mut sending = lock(&self.shared.sending);
            let mut receiving = lock(&self.shared.receiving);
            let lent = receiving.side.in_flight && receiving.lent > 0;
            let free = !sending.side.in_flight && !lent && receiving.held.is_none();
            if free {
                sending.side.armed = None;
                sending.side.closed = true;
                self.shared.close_receive(&mut receiving);
            }
            free
        };
        let given = if free { self.std.take() } else { None };
        match given {
            Some(socket) => {
                self.shared.membership.leave(&self.shared.me);
                Ok(socket)
            }
            None => Err((self, still_lent())),
        }
    }

    pub(crate) fn as_std(&self) -> &net::UdpSocket {
        match &self.std {
            Some(socket) => socket,
            None => unreachable!("a socket that is in use is there"),
        }
    }

    pub(crate) fn set_lent_buffer(&self, bytes: usize) {
        self.shared.lends.store(bytes > 0, Ordering::Relaxed);
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        let shared = &*self.shared;
        shared
            .membership
            .join(&with.port, shared.socket, &shared.me)?;
        let before = if interests.is_readable() {
            Some(shared.arm_receive(&with.port, token)?)
        } else {
            None
        };
        if interests.is_writable() {
            if let Err(error) = shared.arm_send(&with.port, token) {
                if let Some(before) = before {
                    lock(&shared.receiving).side.armed = before;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn deregister(&self, with: &Registrator) -> io::Result<()> {
        if !self.shared.membership.is_with(&with.port) {
            return Err(error::not_registered());
        }
        lock(&self.shared.receiving).side.armed = None;
        lock(&self.shared.sending).side.armed = None;
        Ok(())
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.shared.next_datagram(buffer, false)
    }

    pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.shared.next_datagram(buffer, true)
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).map(|(count, _)| count)
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.peek_from(buffer).map(|(count, _)| count)
    }

    pub(crate) fn send_to(&self, bytes: &[u8], target: &SocketAddr) -> io::Result<usize> {
        self.shared
            .send(bytes, Some(target), || self.as_std().send_to(bytes, target))
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.send(bytes, None, || self.as_std().send(bytes))
    }

    pub(crate) fn connect(&self, address: &SocketAddr) -> io::Result<()> {
        self.as_std().connect(address)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let Some(socket) = self.std.take() else {
            return;
        };
        self.shared.close_receive(&mut lock(&self.shared.receiving));
        self.shared.membership.leave(&self.shared.me);
        let mut sending = lock(&self.shared.sending);
        sending.side.armed = None;
        sending.side.closed = true;
        if !sending.side.in_flight {
            drop(sending);
            return;
        }
        sending.orphan = Some(socket);
        drop(sending);
        if let Some(port) = self.shared.membership.port() {
            port.defer_close(self.shared.me.clone());
        }
    }
}
