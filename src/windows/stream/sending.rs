//! The sending direction of a stream: the copy in flight, and the socket of a stream that was dropped meanwhile.
//!
//! `write` gives the bytes to the socket, which takes them at once as long as it has room. When it has none, one bounded
//! copy is sent overlapped: the kernel takes it when there is room, and *that* is what the writable event announces. Until
//! then further writes would overtake it, and are `WouldBlock`. A pipe takes nothing at once, so on a pipe every write is such a
//! copy ([`pipe`](super::pipe) says why).
//!
//! If a send was cancelled, and not by us, it has failed: the system does not say reliably how much of it went out, and
//! bytes that are sent twice are worse than an error.
//!
//! # A stream that is dropped with a send in flight
//! The socket stays open until the packet, since closing it would lose the bytes. It is shut down for sending, so that the
//! end of the stream follows them. If the user has set the linger time to zero, the stream is to be reset instead: the send
//! is cancelled, and whoever handles its packet closes the socket. (To know the linger time costs one `getsockopt`, in this
//! case alone.)

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::super::direction::{Side, Started, Transfer};
use super::super::lending::{LentBuffer, MAX_BUFFER};
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::waits::Wait;
use super::super::{code_of, ffi};
use super::broken::breaks_connection;
use super::transport::{Closing, Transport};
use super::Shared;
use crate::event::Hints;
use crate::interests::Interests;

pub(crate) struct Sending<T: Transport> {
    pub(super) side: Side,
    copy: LentBuffer,
    /// How much of it counts as lent.
    lent: usize,
    /// How a send failed, and whether `take_error` has said so: bytes that were accepted are lost.
    pub(super) failed: Option<(ffi::Code, bool)>,
    /// Sending was shut down.
    pub(super) shut: bool,
    /// The socket or pipe, when the stream was dropped with a send in flight.
    orphan: Option<T::Owned>,
    /// The send of an orphan was cancelled: the deferred close has lasted too long, or the linger time is zero.
    given_up: bool,
    /// The wait for the end of a connect that somebody else began, as long as it is on.
    pub(super) connect_wait: Option<Wait>,
}

// Derived, it would want a default of what owns the file.
impl<T: Transport> Default for Sending<T> {
    fn default() -> Sending<T> {
        Sending {
            side: Side::default(),
            copy: LentBuffer::default(),
            lent: 0,
            failed: None,
            shut: false,
            orphan: None,
            given_up: false,
            connect_wait: None,
        }
    }
}

impl<T: Transport> Transfer for Sending<T> {
    type Source = Shared<T>;
    const INTEREST: Interests = Interests::WRITABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    fn is_connecting(stream: &Shared<T>) -> bool {
        stream.is_connecting()
    }

    /// With nothing in flight there is room, as far as is known.
    fn start(&mut self, _: &Shared<T>, _: &Port) -> Started {
        Started::Ready
    }

    fn hints(&self, stream: &Shared<T>) -> Hints {
        let failed = self.failed.is_some();
        Hints {
            read_closed: false,
            write_closed: failed,
            error: failed || stream.connect_failure().is_some(),
            priority: false,
        }
    }

    /// How a send has failed is told every time.
    fn check(&mut self, stream: &Shared<T>) -> io::Result<()> {
        let Some((code, _)) = self.failed else {
            return Ok(());
        };
        stream.broken.tell_if_breaking(Some(code));
        Err(io::Error::from_raw_os_error(code))
    }

    fn call_ended(&mut self, stream: &Shared<T>, failed: Option<ffi::Code>) {
        stream.broken.tell_if_breaking(failed);
    }

    fn closing(&mut self, stream: &Shared<T>) {
        stream.end_connect_wait(self);
    }
}

impl<T: Transport> Sending<T> {
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

impl<T: Transport> Shared<T> {
    pub(super) fn write(&self, owned: &T::Owned, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.check_connected()?;
        let mut sending = self.sending.claim(self)?;
        match T::send_at_once(owned, slices) {
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

    /// Sends a copy of the first of these bytes, and returns how many.
    fn send_copy(&self, sending: &mut Sending<T>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let port = match self.sending.port_for_copy(sending, self) {
            Ok(port) => port,
            // A call of the user's own is on.
            Err(error) if sending.side.is_held_back() => return Err(error),
            Err(_) => return T::send_alone(self, slices),
        };
        let total = slices
            .iter()
            .fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
        let wanted = total.min(MAX_BUFFER);
        let (len, lent) = if port.lending().reserve(wanted) {
            (wanted, wanted)
        } else {
            (total.min(T::PROBE), 0)
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
    fn launch_send(&self, sending: &mut Sending<T>, port: &Port) -> Launch {
        let rest = sending.copy.lend_rest();
        self.sending.launch(&mut sending.side, port, |operation| {
            // SAFETY: the operation is held by its flight, and the copy by the source ("hands off what is lent": it is taken
            // back when the packet is handled). The socket is open: the direction is locked, and not closed or an orphan's.
            unsafe { (T::SEND)(self.file, rest, operation) }
        })
    }

    pub(super) fn send_completed(&self, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut sending = self.sending.lock();
        let state = &mut *sending;
        state.copy.take_back();
        let mut result = (T::RESULT)(&packet, self.file);
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
            // The kernel has taken all its bytes, or it was given up.
            let how = if state.given_up {
                Closing::ByReset
            } else {
                Closing::WithoutInput
            };
            drop(sending);
            T::close(stream, how);
            return;
        }
        self.sending.fire(state, self, false, port, &mut sink);
    }

    /// Ends the direction. With a send in flight, the socket stays with it until the send has ended; otherwise it is
    /// returned, to be closed.
    pub(super) fn close_send(&self, owned: T::Owned) -> Option<T::Owned> {
        let mut sending = self.sending.lock();
        self.sending.close(&mut sending, self);
        if !sending.side.in_flight {
            return Some(owned);
        }
        if self.is_connect_in_flight() {
            self.sending.cancel();
            return Some(owned);
        }
        let resets = T::close_behind_send(&owned);
        if resets {
            self.sending.cancel();
        }
        sending.given_up = resets;
        sending.orphan = Some(owned);
        drop(sending);
        let port = self.membership.port();
        if let Some(port) = port.filter(|_| resets || T::ENDS_BY_CLOSE) {
            // Most often the packet is there already, and the file is closed now.
            port.pump();
        }
        if !resets && self.sending.lock().orphan.is_some() {
            self.membership.defer_close();
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
