//! [`UdpSocket`]: one receive and one send in flight at most, of whole datagrams.
//!
//! Registering `READABLE` lends room for the largest datagram there is, so that none is cut before it is known how much of it
//! the user wants. Past the bound, or if the user wants nothing lent, the receive only *peeks*, with no memory: it ends
//! when a datagram arrives, with the warning that the datagram is longer than the buffer, and the datagram stays in the
//! socket. (A receive without memory that does not peek would throw it away.)
//!
//! On Windows an ICMP answer to something that was *sent* fails a later *receive* of the same socket. That is switched off,
//! and such a failure that comes all the same is skipped: one unreachable peer must not end a server. A peek leaves such a
//! failure in the socket, so a plain receive follows that takes it away.
//!
//! The invariants are those of `direction.rs`. The [`ffi::Envelope`] is lent beside the buffers; it lies in [`Shared`].

mod receiving;
mod sending;

use std::cell::UnsafeCell;
use std::io;
use std::net::SocketAddr;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};

use super::direction::{Direction, Duplex};
use super::operation::{Kind, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::{ffi, still_lent, Registrator};
use crate::hooks::sync::{net, AtomicBool, Ordering};
use crate::interests::{Interests, Token};
use receiving::Receiving;
use sending::Sending;

/// What operations in flight need of a socket.
struct Shared {
    socket: ffi::SOCKET,
    membership: Membership,
    /// Whether the next receive lends memory. Chosen by the user at any time; it orders nothing.
    lends: AtomicBool,
    /// The kernel's while the receive is in flight.
    envelope: UnsafeCell<ffi::Envelope>,
    receiving: Direction<Receiving>,
    sending: Direction<Sending>,
}

// SAFETY: `envelope` is touched under the lock of `receiving` alone, and only with no receive in flight.
unsafe impl Sync for Shared {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Shared {}
// As for `Operation`.
impl RefUnwindSafe for Shared {}

impl Owner for Shared {
    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receive_completed(packet, port, sink),
            Kind::Send => self.send_completed(packet, port, sink),
        }
    }

    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receiving.noted(self, port, sink),
            Kind::Send => self.sending.noted(self, port, sink),
        }
    }

    fn abandon(&self) {
        self.receiving.abandon();
        self.sending.abandon();
    }

    fn give_up(&self) {
        self.give_up_send();
    }
}

impl Duplex for Shared {
    type Receiving = Receiving;
    type Sending = Sending;

    fn receiving(&self) -> &Direction<Receiving> {
        &self.receiving
    }

    fn sending(&self) -> &Direction<Sending> {
        &self.sending
    }
}

/// A UDP socket.
pub(crate) struct UdpSocket {
    shared: Arc<Shared>,
    // `None` only at the very end: it was given back, or handed to the send that is in flight.
    std: Option<net::UdpSocket>,
}

impl UdpSocket {
    pub(crate) fn from_std(std: net::UdpSocket) -> io::Result<UdpSocket> {
        std.set_nonblocking(true)?;
        let socket = ffi::socket_of(&std);
        ffi::ignore_icmp_errors(socket);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                socket,
                lends: AtomicBool::new(true),
                envelope: UnsafeCell::new(ffi::Envelope::new()),
                receiving: Direction::new(socket.handle(), &me, Kind::Receive),
                sending: Direction::new(socket.handle(), &me, Kind::Send),
                membership: Membership::new(me),
            }
        });
        let std = Some(std);
        Ok(UdpSocket { shared, std })
    }

    pub(crate) fn into_std(mut self) -> Result<net::UdpSocket, (UdpSocket, io::Error)> {
        if let Some(port) = self.shared.membership.port() {
            port.pump();
        }
        let given = self.shared.release().then(|| self.std.take()).flatten();
        if given.is_some() {
            let socket = self.shared.socket.handle();
            self.shared.membership.give_back(socket);
        }
        given.ok_or_else(|| (self, still_lent()))
    }

    pub(crate) fn as_std(&self) -> &net::UdpSocket {
        self.std.as_ref().expect("a socket that is in use is there")
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
        self.shared
            .membership
            .join(&with.port, self.shared.socket.handle())?;
        self.shared.arm(&with.port, token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.shared.disarm(with, interests)
    }

    /// Makes a call of the user's own.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.shared.try_io(interest, || call(self.as_std()))
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
        let shared = &*self.shared;
        shared.receiving.close(&mut shared.receiving.lock(), shared);
        shared.membership.leave();
        // If the socket comes back, no send is in flight, and the socket is closed here.
        drop(shared.close_send(socket));
    }
}
