//! The receiving direction of a UDP socket: the receive in flight, and the datagram that it brought.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::direction::{Side, Started, Transfer};
use super::super::ffi;
use super::super::lending::{LentBuffer, DATAGRAM_BUFFER};
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::Shared;
use crate::error;
use crate::hooks;
use crate::hooks::sync::Ordering;
use crate::interests::Interests;

/// How many failures that concern sent datagrams one call skips.
const MAX_SKIPPED: usize = 256;

#[derive(Default)]
pub(super) struct Receiving {
    side: Side,
    buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one that peeks.
    lent: usize,
    /// Datagrams were taken from the socket since the receive that peeks started.
    raided: bool,
    /// The sender of the datagram in the buffer, if there is one.
    held: Option<SocketAddr>,
}

/// Whether a failed receive only tells what became of a datagram that was sent: nobody listens there, its time to live was
/// over, or there is no route to its host.
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

impl Transfer for Receiving {
    type Source = Shared;
    const INTEREST: Interests = Interests::READABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    fn holds_something(&self) -> bool {
        self.held.is_some()
    }

    /// A receive that peeks takes nothing.
    fn is_in_the_way(&self) -> bool {
        self.lent > 0
    }

    /// Starts a receive, and lends memory if the bound allows it.
    fn start(&mut self, socket: &Shared, port: &Port) -> Started {
        let lends = socket.lends.load(Ordering::Relaxed) && port.lending().reserve(DATAGRAM_BUFFER);
        let mut lent = if lends { DATAGRAM_BUFFER } else { 0 };
        for _ in 0..MAX_SKIPPED {
            match self.launch(socket, port, lent) {
                Launch::Flying => return Started::Flying,
                Launch::Gone => {
                    port.lending().release(lent);
                    return Started::Gone;
                }
                Launch::Failed(ffi::WSAENOBUFS) if lent > 0 => {
                    port.lending().release(lent);
                    lent = 0;
                }
                Launch::Failed(code) => {
                    self.side.failed = Some(code);
                    if (lent == 0 && self.clear_failure(socket, code)) || !is_about_sending(code) {
                        break;
                    }
                }
            }
        }
        port.lending().release(lent);
        Started::Ready
    }

    fn call_begins(&mut self) -> io::Result<()> {
        if self.held.is_some() {
            return Err(error::bytes_unread());
        }
        self.raided = true;
        Ok(())
    }

    fn closing(&mut self, _: &Shared) {
        // Nobody receives from it any more, and a send in flight may keep the memory alive for a while. If it is lent, this
        // leaves it alone.
        self.buffer.free();
    }
}

impl Receiving {
    fn launch(&mut self, socket: &Shared, port: &Port, lent: usize) -> Launch {
        self.buffer.prepare(lent);
        self.side.failed = None;
        let memory = (lent > 0).then(|| self.buffer.lend());
        let receiving = &socket.receiving;
        let launch = receiving.launch(&mut self.side, port, |operation| {
            let Some(memory) = memory else {
                // SAFETY: the operation is held by the flight. The socket is open: the direction is locked and not closed.
                return unsafe { ffi::wsa_peek(socket.socket, operation) };
            };
            // SAFETY: the same, and the envelope is held by the flight, too, and the buffer by the source ("hands off what is
            // lent": it is taken back when the packet is handled).
            unsafe { ffi::wsa_recv_from(socket.socket, memory, socket.envelope.get(), operation) }
        });
        if launch == Launch::Flying {
            self.raided = false;
            self.lent = lent;
        } else {
            self.buffer.take_back();
        }
        launch
    }

    /// Copies as much of the datagram in the buffer as fits. The datagram stays there if the user only peeks.
    fn serve(&mut self, buffer: &mut [u8], peek: bool) -> Option<(usize, SocketAddr)> {
        let from = self.held?;
        let bytes = self.buffer.unread();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if !peek {
            self.held = None;
        }
        Some((count, from))
    }

    /// The receive in flight, or a look after it, has met a failure.
    fn met_failure(&mut self, socket: &Shared, code: ffi::Code) {
        if !is_about_sending(code) {
            self.side.failed = Some(code);
        }
        if self.lent == 0 {
            self.clear_failure(socket, code);
        }
    }

    /// Takes away a failure that a look has met. On Windows a receive with `MSG_PEEK` leaves the failure in the socket, and the
    /// next one meets it again; a plain receive takes it away. If that receive brings a datagram instead, the datagram is kept
    /// in the buffer. Returns whether there is something to tell now.
    ///
    /// No receive with memory may be in flight, since this one would overtake it.
    fn clear_failure(&mut self, socket: &Shared, met: ffi::Code) -> bool {
        let mut bytes = vec![0; DATAGRAM_BUFFER];
        match ffi::recv_from(socket.socket, &mut bytes, false) {
            Ok((count, from)) => {
                self.buffer.fill(&[IoSlice::new(&bytes)], count);
                self.held = Some(from.unwrap_or_else(unknown_sender));
                self.side.failed = self.side.failed.filter(|&code| !is_about_sending(code));
            }
            Err(ffi::WSAEWOULDBLOCK) => {}
            Err(code) if code == met || is_about_sending(code) => {}
            Err(code) => self.side.failed = Some(code),
        }
        self.held.is_some() || self.side.failed.is_some_and(|code| !is_about_sending(code))
    }
}

impl Shared {
    pub(super) fn receive_completed(&self, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut receiving = self.receiving.lock_ended();
        let receiving = &mut *receiving;
        receiving.buffer.take_back();
        port.lending().release(receiving.lent);
        if receiving.side.closed {
            receiving.buffer.free();
            return;
        }
        let mut ready = false;
        match packet.result(self.socket) {
            Ok(_) | Err(ffi::WSAEMSGSIZE) if receiving.lent == 0 => {
                // If a datagram was taken since the receive was started, the packet proves nothing.
                let found = if receiving.raided {
                    ffi::peek_one(self.socket)
                } else {
                    Ok(0)
                };
                match found {
                    Ok(_) | Err(ffi::WSAEMSGSIZE) => ready = true,
                    Err(ffi::WSAEWOULDBLOCK) => {}
                    // The next look tells what is behind this failure.
                    Err(code) => receiving.met_failure(self, code),
                }
            }
            Ok(_) | Err(ffi::WSAEMSGSIZE) => {
                receiving.buffer.received(packet.bytes());
                let envelope_bytes = std::mem::size_of::<ffi::Envelope>();
                hooks::windows::touched(self.envelope.get(), envelope_bytes);
                // SAFETY: the lock is held and the receive has ended, so the envelope is ours.
                let from = unsafe { (*self.envelope.get()).from };
                receiving.held = Some(from.to_std().unwrap_or_else(unknown_sender));
            }
            // Cancelled, by the end of the `Poll` or of the thread that started it: if the interest is armed, the next receive
            // is started.
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => receiving.met_failure(self, code),
        }
        self.receiving.fire(receiving, self, ready, port, &mut sink);
    }

    /// Receives or peeks a datagram: the one that was received before it was asked for, else from the socket.
    pub(super) fn next_datagram(
        &self,
        buffer: &mut [u8],
        peek: bool,
    ) -> io::Result<(usize, SocketAddr)> {
        let mut receiving = self.receiving.claim(self)?;
        if let Some(served) = receiving.serve(buffer, peek) {
            return Ok(served);
        }
        receiving.raided = true;
        let mut last = ffi::WSAEWOULDBLOCK;
        for _ in 0..MAX_SKIPPED {
            match ffi::recv_from(self.socket, buffer, peek) {
                Ok((count, from)) => return Ok((count, from.unwrap_or_else(unknown_sender))),
                Err(code) => last = code,
            }
            if peek && last != ffi::WSAEWOULDBLOCK {
                receiving.clear_failure(self, last);
            }
            if !is_about_sending(last) {
                break;
            }
            if let Some(served) = receiving.serve(buffer, true) {
                return Ok(served);
            }
            if let Some(code) = receiving.side.failed.take() {
                last = code;
                break;
            }
        }
        Err(io::Error::from_raw_os_error(last))
    }
}

/// A connected socket need not say who has sent.
fn unknown_sender() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}
