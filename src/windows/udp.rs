//! [`UdpSocket`]: one receive and one send in flight at most, of whole datagrams.
//!
//! Registering `READABLE` lends room for the largest datagram there is, so that none is cut before it is known how much the
//! user wants of it. Past the bound, or when the user wants nothing lent, the receive only *peeks*, with no memory: it ends
//! when a datagram arrives, with the warning that it is longer than the buffer, and the datagram stays in the socket. (A
//! receive without memory that does not peek would throw it away.)
//!
//! On Windows an ICMP answer to something that was *sent* fails a later *receive* of the same socket. That is switched off,
//! and what comes in spite of it is skipped: one unreachable peer must not end a server. A look leaves such a failure where it
//! is, so a plain receive follows that takes it away.
//!
//! The invariants are those of `stream.rs`. What is lent beside the buffers is the [`ffi::Envelope`], which lies in
//! [`Shared`].

mod receiving;
mod sending;

use std::cell::UnsafeCell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::ffi;
use super::operation::{Kind, Operation, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::{still_lent, Registrator};
use crate::error;
use crate::hooks::sync::{lock, net, AtomicBool, Mutex, Ordering};
use crate::interests::{Interests, Token};
use receiving::Receiving;
use sending::Sending;

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
            Kind::Receive => self.receive_noted(port, sink),
            Kind::Send => self.send_noted(port, sink),
        }
    }

    fn abandon(&self) {
        self.abandon_receive();
        lock(&self.sending).side.armed = None;
    }

    fn give_up(&self) {
        self.give_up_send();
    }
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
                receiving: Mutex::new(Receiving::new()),
                sending: Mutex::new(Sending::new()),
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
            let free = !sending.side.in_flight && receiving.can_be_released();
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
        super::arm(
            interests,
            || shared.arm_receive(&with.port, token),
            || shared.arm_send(&with.port, token),
            |before| lock(&shared.receiving).side.armed = before,
        )
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        if !self.shared.membership.is_with(&with.port) {
            return Err(error::not_registered());
        }
        if interests.is_readable() {
            lock(&self.shared.receiving).side.armed = None;
        }
        if interests.is_writable() {
            lock(&self.shared.sending).side.armed = None;
        }
        Ok(())
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.is_readable() {
            self.shared.try_receive(|| call(self.as_std()))
        } else {
            self.shared.try_send(|| call(self.as_std()))
        }
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
        self.shared.send(self.as_std(), bytes, Some(target))
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.send(self.as_std(), bytes, None)
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
        // What comes back has no send in flight, and is closed here.
        drop(self.shared.close_send(socket));
    }
}
