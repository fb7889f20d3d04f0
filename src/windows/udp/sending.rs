//! The sending direction of a UDP socket: the datagram in flight, and the socket of a source that was dropped meanwhile.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::direction::{Side, Started, Transfer};
use super::super::ffi;
use super::super::lending::{LentBuffer, DATAGRAM_BUFFER};
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::Shared;
use crate::hooks::sync::net;
use crate::interests::Interests;

#[derive(Default)]
pub(super) struct Sending {
    side: Side,
    copy: LentBuffer,
    /// How much of it counts as lent.
    lent: usize,
    /// The socket, when the source was dropped with a send in flight.
    orphan: Option<net::UdpSocket>,
}

impl Transfer for Sending {
    type Source = Shared;
    const INTEREST: Interests = Interests::WRITABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    /// With nothing in flight there is room, as far as is known.
    fn start(&mut self, _: &Shared, _: &Port) -> Started {
        Started::Ready
    }
}

impl Shared {
    pub(super) fn send(
        &self,
        socket: &net::UdpSocket,
        bytes: &[u8],
        target: Option<&SocketAddr>,
    ) -> io::Result<usize> {
        let mut sending = self.sending.claim(self)?;
        match ffi::send_at_once(socket, bytes, target) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send_copy(&mut sending, bytes, target)
            }
            sent => sent,
        }
    }

    /// Sends a copy of the datagram: whole, or not at all.
    fn send_copy(
        &self,
        sending: &mut Sending,
        bytes: &[u8],
        target: Option<&SocketAddr>,
    ) -> io::Result<usize> {
        let port = self.sending.port_for_copy(sending, self)?;
        if bytes.len() > DATAGRAM_BUFFER {
            return Err(io::Error::from_raw_os_error(ffi::WSAEMSGSIZE));
        }
        // Also past the bound: a datagram cannot be sent in part, and there is no other way to learn when there is room.
        port.lending().exceed(bytes.len());
        sending.copy.fill(&[IoSlice::new(bytes)], bytes.len());
        sending.lent = bytes.len();
        let memory = sending.copy.lend_rest();
        let launch = self.sending.launch(&mut sending.side, port, |operation| {
            // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is taken
            // back when the packet is handled). The socket is open: the source is in use.
            unsafe { ffi::wsa_send_to(self.socket, memory, target, operation) }
        });
        if launch != Launch::Flying {
            sending.free_copy(port);
        }
        launch.accepted(bytes.len())
    }

    pub(super) fn send_completed(&self, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut sending = self.sending.lock_ended();
        sending.free_copy(port);
        match packet.result(self.socket) {
            // A datagram that is lost with the thread that sent it is lost like any other.
            Ok(_) | Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => sending.side.failed = Some(code),
        }
        self.sending
            .fire(&mut sending, self, false, port, &mut sink);
        let orphan = sending.orphan.take();
        drop(sending);
        drop(orphan);
    }

    /// Ends the direction. With a send in flight, the socket stays with it until the send has ended; otherwise it is
    /// returned, to be closed.
    pub(super) fn close_send(&self, socket: net::UdpSocket) -> Option<net::UdpSocket> {
        let mut sending = self.sending.lock();
        self.sending.close(&mut sending, self);
        if !sending.side.in_flight {
            return Some(socket);
        }
        sending.orphan = Some(socket);
        drop(sending);
        self.membership.defer_close();
        None
    }

    /// A deferred close has lasted long enough.
    pub(super) fn give_up_send(&self) {
        let sending = self.sending.lock();
        if sending.side.in_flight && sending.orphan.is_some() {
            self.sending.cancel();
        }
    }
}

impl Sending {
    fn free_copy(&mut self, port: &Port) {
        self.copy.take_back();
        self.copy.free();
        port.lending().release(self.lent);
        self.lent = 0;
    }
}
