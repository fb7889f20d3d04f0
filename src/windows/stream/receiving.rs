//! The receiving direction of a stream: the receive in flight, the bytes that it brought, and the end.
//!
//! | in flight | bytes, end or error | registering | `read` |
//! | --- | --- | --- | --- |
//! | no | none | starts a receive | asks the socket |
//! | with memory | none | stays with it | takes packets once, looks again, `WouldBlock` |
//! | without memory | none | stays with it | asks the socket |
//! | no | some | posts a note | serves them |
//!
//! A receive without memory tells that bytes are there, and leaves them. If somebody took them from the socket before its
//! packet is handled (`raided`), the packet proves nothing, and the socket is asked.
//!
//! # A receive that came back full
//! It filled what it was lent, so there may be more in the socket. A `read` that takes the last of its bytes and has room
//! left goes on with one receive from the socket. It still holds the lock: otherwise another thread could start a receive
//! in between, whose bytes would come before those of the socket. The read returns bytes, so what the second receive says
//! beside bytes is not told but kept for the next one: the system may tell it only once.
//!
//! # The end of receiving
//! A read that would give the end of the stream asks first whether the connection is known to be broken (`broken.rs`).
//! Whichever a read has told first, the end or the failure, stays.
//!
//! `shutdown(Read)` is not passed on to Windows, which would reset the connection when bytes come. It is a mark: bytes that wait
//! here are dropped, a receive in flight is cancelled, and what its packet brings is dropped as well.
//!
//! # Calls of the user's own
//! While a `try_io` for reading is on (`trying`), no receive starts and no event is made of what is in the socket, which the
//! call may be taking right now. Whoever ends the last of them looks at the interest again: so an armed interest is owed
//! that look, where it is otherwise owed a packet.

use std::io;
use std::sync::Arc;

use super::super::ffi;
use super::super::lending::{LentBuffer, LentSize};
use super::super::operation::{Direction, Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{call_and_then, code_of, would_block};
use super::broken::breaks_connection;
use super::{Shared, FOLLOWS_TRAFFIC};
use crate::error;
use crate::event::{Event, Hints};
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, MutexGuard, Ordering};
use crate::interests::{Interests, Token};

/// How receiving has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has not.
    Open,
    /// The peer sends no more. `told`: a read has said so.
    Eof { told: bool },
    /// The connection is broken. The system may tell it once only, so it is kept, and told every time. `told`: a read has.
    Broken { code: ffi::Code, told: bool },
    /// This receive failed; the next one need not. Told once.
    Failed(ffi::Code),
}

pub(super) struct Receiving {
    pub(super) side: Direction,
    pub(super) buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one without memory.
    lent: usize,
    /// How much the next one lends, if the user has not chosen.
    size: LentSize,
    /// The receive that the bytes in the buffer are of has filled what it was lent.
    full: bool,
    /// Bytes were taken from the socket since the receive without memory started.
    raided: bool,
    end: End,
    /// Receiving was shut down on this side.
    shut: bool,
}

/// Where the next bytes are.
pub(super) enum Next<'a> {
    Lent(MutexGuard<'a, Receiving>),
    /// In the socket. It is to be asked under the lock.
    Socket(MutexGuard<'a, Receiving>),
    /// Nowhere: the stream has ended, if nothing worse is known ([`Shared::tell_end`]).
    End(MutexGuard<'a, Receiving>),
}

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            side: Direction::default(),
            buffer: LentBuffer::new(),
            lent: 0,
            size: LentSize::new(),
            full: false,
            raided: false,
            end: End::Open,
            shut: false,
        }
    }

    /// Keeps a failure that nobody was told of.
    fn fail(&mut self, code: ffi::Code) {
        if self.is_settled() {
            return;
        }
        self.end = if breaks_connection(code) {
            End::Broken { code, told: false }
        } else {
            End::Failed(code)
        };
    }

    /// Whether a read has told how receiving ended: that stays.
    fn is_settled(&self) -> bool {
        matches!(
            self.end,
            End::Eof { told: true } | End::Broken { told: true, .. }
        )
    }

    /// Whether nothing is known of an end.
    pub(super) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    /// Whether all bytes of a receive that came back full are taken, and nothing keeps a read from asking the socket.
    pub(super) fn is_more_likely(&self) -> bool {
        self.full && self.is_open() && self.buffer.unread().is_empty()
    }

    /// Keeps what a receive (or a peek) says that followed bytes of the buffer, and returns how many bytes it brought. An
    /// empty socket says nothing.
    pub(super) fn keep(&mut self, result: &io::Result<usize>) -> usize {
        match result {
            Ok(0) => self.end = End::Eof { told: false },
            Ok(count) => return *count,
            Err(_) if !holds(Rule::KeptUntold) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                if let Some(code) = code_of(result) {
                    self.fail(code);
                }
            }
        }
        0
    }

    pub(super) fn take_failure(
        &mut self,
        is_news: impl FnOnce(ffi::Code) -> bool,
    ) -> Option<ffi::Code> {
        match self.end {
            End::Broken { code, .. } => is_news(code).then_some(code),
            End::Failed(code) => {
                self.end = End::Open;
                Some(code)
            }
            End::Open | End::Eof { .. } => None,
        }
    }

    /// Whether nothing of the socket is with us: no memory at the kernel, no bytes here.
    pub(super) fn can_be_released(&self) -> bool {
        self.buffer.unread().is_empty() && (!self.side.in_flight || self.lent == 0)
    }

    fn hints(&self) -> Hints {
        let broken = matches!(self.end, End::Broken { .. } | End::Failed(_));
        Hints {
            read_closed: matches!(self.end, End::Eof { .. }) || self.shut,
            write_closed: false,
            error: broken,
        }
    }
}

impl Shared {
    /// Whether a read has something to tell without asking the socket.
    fn has_something(&self, receiving: &Receiving) -> bool {
        !receiving.buffer.unread().is_empty()
            || receiving.end != End::Open
            || self.is_without_connection()
    }

    /// Arms `READABLE`, and returns what was armed before.
    pub(super) fn arm_receive(&self, port: &Arc<Port>, token: Token) -> io::Result<Option<Token>> {
        let mut receiving = lock(&self.receiving);
        let before = receiving.side.armed.replace(token);
        // The end of the connect will look at the interest.
        let in_flight = receiving.side.in_flight && holds(Rule::OneFlight);
        if self.is_connecting() || in_flight || receiving.side.posted {
            return Ok(before);
        }
        // Whoever ends the call that is on looks at the interest.
        if !self.has_something(&receiving)
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

    /// Starts a receive, lending memory if the bound allows it. Returns whether one is in flight; if not, the `Poll` is
    /// gone or `end` says why.
    fn start_receive(&self, receiving: &mut Receiving, port: &Port) -> bool {
        let chosen = self.wanted.load(Ordering::Relaxed);
        let lent = if chosen == FOLLOWS_TRAFFIC {
            receiving.size.reserve(port.lending())
        } else if chosen > 0 && port.lending().reserve(chosen) {
            chosen
        } else {
            0
        };
        match self.launch_receive(receiving, port, lent) {
            // No room in the kernel for the pages: without memory there may be.
            Launch::Failed(ffi::WSAENOBUFS) if lent > 0 => {
                match self.launch_receive(receiving, port, 0) {
                    Launch::Failed(code) => receiving.fail(code),
                    Launch::Flying | Launch::Gone => {}
                }
            }
            Launch::Failed(code) => receiving.fail(code),
            Launch::Flying | Launch::Gone => {}
        }
        receiving.side.in_flight
    }

    fn launch_receive(&self, receiving: &mut Receiving, port: &Port, lent: usize) -> Launch {
        receiving.buffer.prepare(lent);
        let memory = receiving.buffer.lend();
        let launch = port.launch(&self.receive, |operation| {
            // SAFETY: the operation is held by its flight, and the buffer by the source ("hands off what is lent": it is
            // taken back when the packet is handled). The socket is open: the direction is locked and not closed.
            unsafe { ffi::wsa_recv(self.socket, memory, operation) }
        });
        if launch == Launch::Flying {
            receiving.side.in_flight = true;
            receiving.raided = false;
            receiving.full = false;
            receiving.lent = lent;
        } else {
            receiving.buffer.take_back();
            port.lending().release(lent);
        }
        launch
    }

    pub(super) fn receive_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        let receiving = &mut *receiving;
        receiving.side.in_flight = false;
        receiving.buffer.take_back();
        if holds(Rule::GivenBack) {
            port.lending().release(receiving.lent);
        }
        if receiving.side.closed {
            receiving.buffer.free();
            return;
        }
        let mut ready = false;
        match packet.result(Some(self.socket)) {
            // What still came belongs to nobody. How the connection broke, `take_error` tells.
            result if receiving.shut && holds(Rule::ShutDiscards) => {
                receiving.buffer.free();
                self.broken.tell_if_breaking(result.err());
            }
            Ok(_) if receiving.lent == 0 => {
                ready = true;
                if receiving.raided && holds(Rule::Raided) {
                    match ffi::peek_one(self.socket) {
                        Ok(_) => {}
                        Err(ffi::WSAEWOULDBLOCK) => ready = false,
                        // The look may have taken it away.
                        Err(code) => receiving.fail(code),
                    }
                }
            }
            Ok(0) => receiving.end = End::Eof { told: false },
            Ok(count) => {
                receiving.buffer.received(count);
                receiving.full = count == receiving.lent;
                receiving.size.came_back(receiving.lent, count);
            }
            // Cancelled, by the end of the `Poll` or that of the thread that started it: no failure. An interest
            // that is armed starts the next one.
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => receiving.fail(code),
        }
        self.fire_receive(receiving, ready, port, sink);
    }

    pub(super) fn receive_noted(&self, port: &Arc<Port>, sink: Sink<'_>) {
        let mut receiving = lock(&self.receiving);
        receiving.side.posted = false;
        self.fire_receive(&mut receiving, false, port, sink);
    }

    /// Makes the event, if the interest is armed and something is there (`ready`: in the socket); if nothing is, starts
    /// a receive. Without a batch to put the event into, a note has a poll look again.
    pub(super) fn fire_receive(
        &self,
        receiving: &mut Receiving,
        ready: bool,
        port: &Arc<Port>,
        sink: Sink<'_>,
    ) {
        if receiving.side.closed || receiving.side.in_flight || self.is_connecting() {
            return;
        }
        let Some(token) = receiving.side.armed else {
            return;
        };
        let trying = receiving.side.is_trying();
        if (!ready || trying) && !self.has_something(receiving) {
            if trying || !holds(Rule::StartInstead) {
                return;
            }
            if self.start_receive(receiving, port) {
                return;
            }
            if receiving.end == End::Open {
                // The `Poll` is gone.
                return;
            }
        }
        match sink {
            Some(events) => {
                if holds(Rule::OneShot) {
                    receiving.side.armed = None;
                }
                let mut hints = receiving.hints();
                hints.error |= self.has_connect_failure();
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

    /// Finds the next bytes. With a receive in flight it takes what is on the port, once.
    pub(super) fn next_bytes(&self) -> io::Result<Next<'_>> {
        self.check_connected()?;
        let mut pumped = false;
        loop {
            let mut receiving = lock(&self.receiving);
            if !receiving.buffer.unread().is_empty() {
                return Ok(Next::Lent(receiving));
            }
            match receiving.end {
                End::Open => {}
                End::Eof { .. } => return Ok(Next::End(receiving)),
                End::Broken { code, .. } => return Err(self.tell_broken(&mut receiving, code)),
                End::Failed(code) => {
                    receiving.end = End::Open;
                    return Err(io::Error::from_raw_os_error(code));
                }
            }
            if !receiving.side.in_flight || receiving.lent == 0 || !holds(Rule::NoOvertaking) {
                receiving.raided = true;
                return Ok(Next::Socket(receiving));
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

    /// A read is about to give the end of the stream: it may, unless the connection is known to be broken and no read
    /// has given the end before.
    pub(super) fn tell_end(&self, receiving: &mut Receiving) -> io::Result<()> {
        if receiving.end != (End::Eof { told: true }) {
            if let Some(code) = self.broken.code().filter(|_| holds(Rule::StaysBroken)) {
                return Err(self.tell_broken(receiving, code));
            }
            receiving.end = End::Eof { told: true };
        }
        Ok(())
    }

    /// A read tells what broke the connection, and so does every later one.
    fn tell_broken(&self, receiving: &mut Receiving, code: ffi::Code) -> io::Error {
        receiving.end = End::Broken { code, told: true };
        self.broken.tell(code);
        io::Error::from_raw_os_error(code)
    }

    /// What a read or peek says that has asked the socket, under the lock all the time.
    pub(super) fn tell(
        &self,
        receiving: &mut Receiving,
        result: io::Result<usize>,
    ) -> io::Result<usize> {
        match result {
            Ok(0) => self.tell_end(receiving).map(|()| 0),
            Err(error) => {
                self.note_failure(receiving, error.raw_os_error());
                Err(error)
            }
            some => some,
        }
    }

    /// Keeps the failure of a call on the socket that the system might not repeat.
    fn note_failure(&self, receiving: &mut Receiving, code: Option<ffi::Code>) {
        let code = code.filter(|&code| breaks_connection(code) && !receiving.is_settled());
        if let Some(code) = code {
            drop(self.tell_broken(receiving, code));
        }
    }

    /// Makes a call of the user's own that receives.
    pub(super) fn try_receive<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self.next_bytes()? {
            Next::Lent(_) => return Err(error::bytes_unread()),
            // No receive starts any more. Nobody is told of the end by this: the call tells what it finds.
            Next::End(receiving) => {
                drop(receiving);
                return call();
            }
            Next::Socket(mut receiving) => receiving.side.trying += 1,
        }
        call_and_then(call, |failed| {
            let mut receiving = lock(&self.receiving);
            receiving.side.trying -= 1;
            self.note_failure(&mut receiving, failed);
            if let Some(port) = self.membership.port().filter(|_| holds(Rule::TryResumes)) {
                self.fire_receive(&mut receiving, false, port, None);
            }
        })
    }

    /// Ends receiving on this side. `connected` says whether there is a connection.
    pub(super) fn shut_receive(
        &self,
        connected: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut receiving = lock(&self.receiving);
        if receiving.shut {
            return Ok(());
        }
        connected()?;
        receiving.shut = true;
        if !receiving.is_settled() {
            if let End::Broken { code, .. } = receiving.end {
                // No read tells it any more. `take_error` does.
                self.broken.tell(code);
            }
            receiving.end = End::Eof { told: true };
        }
        if receiving.side.in_flight {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
            return Ok(());
        }
        receiving.buffer.free();
        if let Some(port) = self.membership.port() {
            self.fire_receive(&mut receiving, false, port, None);
        }
        Ok(())
    }

    /// Whether receiving was shut down on this side, so that nobody can read what the socket has.
    pub(super) fn is_receiving_shut(&self) -> bool {
        lock(&self.receiving).shut
    }

    /// Marks the direction as closed, and cancels what is in flight. The socket is still open.
    pub(super) fn close_receive(&self, receiving: &mut Receiving) {
        if holds(Rule::MarkedClosed) {
            receiving.side.armed = None;
            receiving.side.closed = true;
        }
        if receiving.side.in_flight && holds(Rule::HandsOff) {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        } else {
            receiving.buffer.free();
        }
    }

    pub(super) fn abandon_receive(&self) {
        let mut receiving = lock(&self.receiving);
        receiving.side.armed = None;
        if receiving.side.in_flight && !receiving.side.closed {
            ffi::cancel_io_ex(self.socket, self.receive.as_overlapped());
        }
    }
}
