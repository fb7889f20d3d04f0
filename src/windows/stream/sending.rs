//! The sending direction of a stream: the copy in flight, and the socket of a stream that was dropped meanwhile.
//!
//! `write` gives the bytes to the socket, which takes them at once as long as it has room. When it has none, one bounded
//! copy is sent overlapped: the kernel takes it when there is room, and *that* is what the writable event announces. Until
//! then further writes would overtake it, and are `WouldBlock`.
//!
//! If a send was cancelled, and not by us, it has failed: the system does not say reliably how much of it went out, and
//! bytes that are sent twice are worse than an error.
//!
//! # A stream that is dropped with a send in flight
//! The socket stays open until the packet, since closing it would lose the bytes. It is shut down for sending, so that the
//! end of the stream follows them. If the user has set the linger time to zero, the stream is to be reset instead: the send
//! is cancelled, and whoever handles its packet closes the socket. (To know the linger time costs one `getsockopt`, in this
//! case alone.)

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use super::super::direction::{Side, Started, Transfer};
use super::super::lending::{LentBuffer, MAX_BUFFER};
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::waits::Wait;
use super::super::{close_connection, code_of, ffi};
use super::broken::breaks_connection;
use super::Shared;
use crate::event::Hints;
use crate::hooks::sync::net;
use crate::interests::Interests;

/// How many bytes are copied past the bound: enough to learn when there is room.
const PROBE: usize = 1;
/// How much unread input is thrown away before a deferred close, so that the close does not reset the connection.
const DISCARD_ROUNDS: usize = 256;
const DISCARD_BYTES: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Sending {
    side: Side,
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

impl Transfer for Sending {
    type Source = Shared;
    const INTEREST: Interests = Interests::WRITABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    fn is_connecting(stream: &Shared) -> bool {
        stream.is_connecting()
    }

    /// With nothing in flight there is room, as far as is known.
    fn start(&mut self, _: &Shared, _: &Port) -> Started {
        Started::Ready
    }

    fn hints(&self, stream: &Shared) -> Hints {
        let failed = self.failed.is_some();
        Hints {
            read_closed: false,
            write_closed: failed,
            error: failed || stream.connect_failure().is_some(),
            priority: false,
        }
    }

    /// How a send has failed is told every time.
    fn check(&mut self, stream: &Shared) -> io::Result<()> {
        let Some((code, _)) = self.failed else {
            return Ok(());
        };
        stream.broken.tell_if_breaking(Some(code));
        Err(io::Error::from_raw_os_error(code))
    }

    fn call_ended(&mut self, stream: &Shared, failed: Option<ffi::Code>) {
        stream.broken.tell_if_breaking(failed);
    }

    fn closing(&mut self, stream: &Shared) {
        stream.end_connect_wait(self);
    }
}

impl Sending {
    /// For `take_error`. `is_news` says whether it has not returned the failure of the connection before.
    pub(super) fn take_failure(
        &mut self,
        is_news: impl FnOnce(&ffi::Code) -> bool,
    ) -> Option<ffi::Code> {
        let (code, taken) = self.failed.as_mut()?;
        if std::mem::replace(taken, true) {
            return None;
        }
        Some(*code).filter(|code| !breaks_connection(*code) || is_news(code))
    }

    fn free_copy(&mut self, port: &Port) {
        self.copy.take_back();
        self.copy.free();
        port.lending().release(self.lent);
        self.lent = 0;
    }
}

impl Shared {
    pub(super) fn write(
        &self,
        mut stream: &net::TcpStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.check_connected()?;
        let mut sending = self.sending.claim(self)?;
        let sent = match slices {
            [one] => stream.write(one),
            _ => stream.write_vectored(slices),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send_copy(&mut sending, slices)
            }
            sent => {
                self.broken.tell_if_breaking(code_of(&sent));
                sent
            }
        }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        // Before the connection is there, nothing was accepted.
        if self.is_connecting() {
            return Ok(());
        }
        self.sending.claim(self).map(drop)
    }

    /// Shuts sending down, once: some systems take a second time for something else. The end follows the bytes in flight.
    pub(super) fn shut_send(&self, stream: &net::TcpStream) -> io::Result<()> {
        let mut sending = self.sending.lock();
        if !sending.shut {
            stream.shutdown(Shutdown::Write)?;
            sending.shut = true;
        }
        Ok(())
    }

    /// Sends a copy of the first of these bytes, and returns how many.
    fn send_copy(&self, sending: &mut Sending, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let port = self.sending.port_for_copy(sending, self)?;
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
        let launch = self.launch_send(sending, port);
        if launch != Launch::Flying {
            sending.free_copy(port);
        }
        launch.accepted(len)
    }

    /// Gives the rest of the copy to the kernel.
    fn launch_send(&self, sending: &mut Sending, port: &Port) -> Launch {
        let rest = sending.copy.lend_rest();
        self.sending.launch(&mut sending.side, port, |operation| {
            // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is taken
            // back when the packet is handled). The socket is open: the direction is locked, and not closed or an orphan's.
            unsafe { ffi::wsa_send(self.socket, rest, operation) }
        })
    }

    pub(super) fn send_completed(&self, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut sending = self.sending.lock();
        let state = &mut *sending;
        state.copy.take_back();
        let mut result = packet.result(self.socket);
        if result == Err(ffi::WSA_OPERATION_ABORTED) && !state.given_up {
            // Not by us: see the head of this module.
            result = Err(ffi::WSAECONNABORTED);
        }
        if let Ok(count) = result {
            state.copy.consume(count);
            // What was given up may have ended in part before the cancellation came.
            if !state.copy.unread().is_empty() && !state.given_up {
                match self.launch_send(state, port) {
                    Launch::Flying => return,
                    Launch::Gone => result = Err(ffi::WSAECONNABORTED),
                    Launch::Failed(code) => result = Err(code),
                }
            }
        }
        state.side.in_flight = false;
        state.free_copy(port);
        if let Err(code) = result {
            state.failed = Some((code, false));
        }
        if let Some(stream) = state.orphan.take() {
            let given_up = state.given_up;
            drop(sending);
            close_orphan(stream, given_up);
            return;
        }
        self.sending.fire(state, self, false, port, &mut sink);
    }

    /// Ends the direction. With a send in flight, the socket stays with it until the send has ended; otherwise it is
    /// returned, to be closed.
    pub(super) fn close_send(&self, stream: net::TcpStream) -> Option<net::TcpStream> {
        let mut sending = self.sending.lock();
        self.sending.close(&mut sending, self);
        if !sending.side.in_flight {
            return Some(stream);
        }
        if self.is_connect_in_flight() {
            self.sending.cancel();
            return Some(stream);
        }
        let resets = ffi::linger(self.socket) == Some(0);
        if resets {
            self.sending.cancel();
        } else {
            // The end of the stream follows the bytes in flight. If the connection is broken already, they are lost anyway.
            drop(stream.shutdown(Shutdown::Write));
        }
        sending.given_up = resets;
        sending.orphan = Some(stream);
        drop(sending);
        match self.membership.port() {
            // Most often the packet is there already, and the socket is closed now.
            Some(port) if resets => port.pump(),
            _ => self.membership.defer_close(),
        }
        None
    }

    /// A deferred close has lasted long enough.
    pub(super) fn give_up_send(&self) {
        let mut sending = self.sending.lock();
        if sending.side.in_flight && sending.orphan.is_some() {
            sending.given_up = true;
            self.sending.cancel();
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

/// Throws away input that nobody will read: with input unread, closing would reset the connection, and lose bytes that the
/// peer has not taken yet. The amount has a bound, so that a peer that goes on sending holds nobody up.
pub(super) fn discard_input(mut stream: &net::TcpStream) {
    let mut input = [0; DISCARD_BYTES];
    for _ in 0..DISCARD_ROUNDS {
        if !matches!(stream.read(&mut input), Ok(count) if count > 0) {
            break;
        }
    }
}
