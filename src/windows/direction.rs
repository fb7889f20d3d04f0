//! [`Direction`]: one direction of a source, with all that the directions of all sources have in common.
//!
//! A stream or a datagram socket has two directions, a listener has one. Each direction has an [`Operation`] of its own, and
//! a state under a lock of its own. This file has what is alike in all of them: arming and disarming an interest, making its
//! event, the note if there is no batch to put an event into, calls of the user's own (`try_io`), and the end of the source.
//! The state of a direction implements [`Transfer`], which says in what it differs from the others: what may wait in our
//! memory, how the operation is started, and whether the operation is in the way of a call.
//!
//! # How an event comes
//! Whoever registers an interest looks whether there is something to tell already. If there is, he posts a note; otherwise he
//! starts the operation. Whoever takes the packet of the note or of the operation calls [`Direction::fire`], which looks at the
//! interest. If it is armed and there is something to tell, that makes the event. If there is nothing to tell any more, because
//! a read was faster, it starts the operation again.
//!
//! # Invariants
//! - **The number is the socket's** as long as a direction's lock is held and that direction is not closed
//!   ([`Side::closed`]). Dropping a source closes each direction under its lock before it closes the socket. A source that
//!   is dropped with a send in flight hands its socket to the sending direction, which closes it after the send has ended.
//! - **No overtaking**: an operation in flight that takes bytes, datagrams or connections from the socket, or sends some, is in
//!   the way ([`Transfer::is_in_the_way`]) of every call that would do so in the same direction: the call is `WouldBlock`. And no
//!   operation starts while something waits in our memory, or while a call of the user's own is on. This is decided under the
//!   direction's lock, which is held over the (non-blocking) system call, too.
//! - **Armed means owed**: when an interest is armed and its direction's lock is free, something is on its way that will
//!   look at the interest: an operation in flight, a note, the end of a connect, or the end of a call of the user's own.
//!   Whoever ends one of them starts the next one, or posts a note, before he unlocks.
//!
//! # Locks
//! If both directions of a source are locked, the sending one is locked first. That is done only to give a socket back. The
//! locks of [`port`](super::port) come after them.

use std::io;
use std::sync::{Arc, Weak};

use super::ffi;
use super::operation::{Kind, Operation, Owner, Sink};
use super::port::{Launch, Port};
use super::{code_of, would_block, Registrator};
use crate::event::{Event, Hints};
use crate::hooks::sync::{lock, Mutex, MutexGuard};
use crate::interests::{Interests, Token};

/// What every direction keeps under its lock beside its own things.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// The token of the interest, if it is armed.
    pub(super) armed: Option<Token>,
    /// The operation was started, and its packet was not handled yet.
    pub(super) in_flight: bool,
    /// How the operation has failed. Told once.
    pub(super) failed: Option<ffi::Code>,
    /// The source was dropped or given back. The number of its socket may belong to another socket, and nothing starts.
    pub(super) closed: bool,
    /// A note is on its way.
    noted: bool,
    /// How many calls of the user's own are on. Meanwhile nothing starts.
    calls: usize,
}

impl Side {
    pub(super) fn is_held_back(&self) -> bool {
        self.calls > 0
    }
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    /// The operation is in flight.
    Flying,
    /// No operation is needed, or the system has refused it: there is something to tell.
    Ready,
    /// The operation cannot be started now. A note has the next poll try again.
    Later,
    /// The `Poll` is gone.
    Gone,
}

/// The state of a direction, and in what it differs from other directions. All of it is asked under the direction's lock.
pub(super) trait Transfer: Sized {
    type Source: Owner;
    const INTEREST: Interests;

    /// What it has in common with other directions.
    fn side(&mut self) -> &mut Side;

    /// Whether a connect is under way, whose end will look at the interest.
    fn is_connecting(_: &Self::Source) -> bool {
        false
    }

    /// Whether something waits in our memory that comes before what is in the socket: bytes, a datagram, a connection, or the
    /// end of the stream.
    fn holds_something(&self) -> bool {
        false
    }

    /// Whether there is something to tell for which the socket need not be asked, beside [`Side::failed`].
    fn has_news(&self, _: &Self::Source) -> bool {
        self.holds_something()
    }

    /// Fails with the failure that every call is told, if there is one.
    fn check(&mut self, _: &Self::Source) -> io::Result<()> {
        Ok(())
    }

    /// Whether the operation, if it is in flight, takes from the socket or sends what a call on the socket would.
    fn is_in_the_way(&self) -> bool {
        true
    }

    /// Starts the operation, if one is needed to learn when the condition of the interest holds.
    fn start(&mut self, source: &Self::Source, port: &Port) -> Started;

    fn hints(&self, _: &Self::Source) -> Hints {
        Hints::default()
    }

    /// A call of the user's own is about to be made on the socket. Fails if something waits in our memory that the call would
    /// overtake.
    fn call_begins(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// That call has ended. If it has failed, there is a code.
    fn call_ended(&mut self, _: &Self::Source, _: Option<ffi::Code>) {}

    /// Whether the socket can be given back: nothing waits in our memory, and the kernel has none of it.
    fn can_be_released(&mut self) -> bool {
        !(self.holds_something() || self.side().in_flight && self.is_in_the_way())
    }

    /// The source is about to be closed.
    fn closing(&mut self, _: &Self::Source) {}
}

/// Whether there is something to tell for which the socket need not be asked.
fn has_something<T: Transfer>(state: &mut T, source: &T::Source) -> bool {
    state.side().failed.is_some() || state.has_news(source)
}

/// One direction of a source.
pub(super) struct Direction<T> {
    file: ffi::HANDLE,
    operation: Operation,
    state: Mutex<T>,
}

impl<T: Transfer + Default> Direction<T> {
    /// `owner` is the source that it will be a part of.
    pub(super) fn new(file: ffi::HANDLE, owner: &Weak<dyn Owner>, kind: Kind) -> Direction<T> {
        Direction {
            file,
            operation: Operation::new(Weak::clone(owner), kind),
            state: Mutex::new(T::default()),
        }
    }
}

impl<T: Transfer> Direction<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.state)
    }

    /// Locks it for whoever handles the packet of its operation.
    pub(super) fn lock_ended(&self) -> MutexGuard<'_, T> {
        let mut state = self.lock();
        state.side().in_flight = false;
        state
    }

    /// Arms the interest, and returns what was armed before.
    pub(super) fn arm(
        &self,
        source: &T::Source,
        port: &Arc<Port>,
        token: Token,
    ) -> io::Result<Option<Token>> {
        let mut state = self.lock();
        let side = state.side();
        let before = side.armed.replace(token);
        if side.in_flight || side.noted || T::is_connecting(source) {
            return Ok(before);
        }
        if !has_something(&mut *state, source)
            && (state.side().is_held_back() || state.start(source, port) == Started::Flying)
        {
            return Ok(before);
        }
        if let Err(error) = port.note(&self.operation) {
            state.side().armed = before;
            return Err(error);
        }
        state.side().noted = true;
        Ok(before)
    }

    pub(super) fn disarm(&self) {
        self.lock().side().armed = None;
    }

    /// Starts the operation by calling `start`, which must return `Ok` if and only if a packet is owed. While the packet of
    /// the operation is being handled ([`Side::in_flight`] still says so), it may go on although the `Poll` is gone.
    pub(super) fn launch(
        &self,
        side: &mut Side,
        port: &Port,
        start: impl FnOnce(*mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>,
    ) -> Launch {
        let launch = port.launch(&self.operation, side.in_flight, start);
        side.in_flight = launch == Launch::Flying;
        launch
    }

    /// The port, for a copy of what the socket has no room for. `WouldBlock`, if none can be sent now.
    pub(super) fn port_for_copy<'a>(
        &self,
        state: &mut T,
        source: &'a T::Source,
    ) -> io::Result<&'a Arc<Port>> {
        let port = source.membership().port();
        port.filter(|port| !state.side().is_held_back() && !port.wakes().is_closed())
            .ok_or_else(would_block)
    }

    /// Cancels the operation, which is in flight. Its packet comes, and tells of its end or of the cancellation. The socket
    /// must be open.
    pub(super) fn cancel(&self) {
        ffi::cancel_io_ex(self.file, self.operation.as_overlapped());
    }

    /// The note was taken.
    pub(super) fn noted(&self, source: &T::Source, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut state = self.lock();
        state.side().noted = false;
        self.fire(&mut state, source, false, port, &mut sink);
    }

    /// Looks at the interest. If it is armed and there is something to tell, makes its event, and takes the batch out of
    /// `sink`, since a packet makes one event. `ready` says that there is something in the socket. If there is nothing to tell,
    /// the operation is started. If there is no batch to put the event into, a note has a poll look again.
    pub(super) fn fire(
        &self,
        state: &mut T,
        source: &T::Source,
        ready: bool,
        port: &Arc<Port>,
        sink: &mut Sink<'_>,
    ) {
        let side = state.side();
        let held_back = side.is_held_back();
        // None is armed in a closed direction.
        let Some(token) = side.armed else {
            return;
        };
        if side.in_flight || T::is_connecting(source) {
            return;
        }
        let mut later = false;
        // What is in the socket may be what a call of the user's own is taking right now.
        if (!ready || held_back) && !has_something(state, source) {
            if held_back {
                return;
            }
            match state.start(source, port) {
                Started::Flying | Started::Gone => return,
                started => later = started == Started::Later,
            }
        }
        if let Some(events) = sink.take().filter(|_| !later) {
            state.side().armed = None;
            let mut hints = state.hints(source);
            hints.error |= state.side().failed.is_some();
            let fits = events.push(Event::ready(token, T::INTEREST, hints));
            debug_assert!(fits, "no more packets are taken than there is room");
        } else if !state.side().noted {
            port.note_surely(&self.operation);
            state.side().noted = true;
        }
    }

    /// Locks the direction for a call that asks the socket, or takes what is here already. If an operation in flight is in
    /// the way, the packets on the port are taken once, since that of the operation may be among them.
    pub(super) fn claim(&self, source: &T::Source) -> io::Result<MutexGuard<'_, T>> {
        for last in [false, true] {
            let mut state = self.lock();
            if state.holds_something() {
                return Ok(state);
            }
            state.check(source)?;
            if let Some(code) = state.side().failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if !state.side().in_flight || !state.is_in_the_way() {
                return Ok(state);
            }
            drop(state);
            if let (false, Some(port)) = (last, source.membership().port()) {
                port.pump();
            }
        }
        Err(would_block())
    }

    /// Makes a call of the user's own. While it is on, no operation starts, which could overtake it or be overtaken.
    pub(super) fn try_io<R>(
        &self,
        source: &T::Source,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let mut state = self.claim(source)?;
        state.call_begins()?;
        let mut hold = self.hold_back(&mut state, source);
        drop(state);
        let result = call();
        hold.failed = code_of(&result);
        result
    }

    /// Has no operation start until what it returns is dropped.
    pub(super) fn hold_back<'a>(&'a self, state: &mut T, source: &'a T::Source) -> Hold<'a, T> {
        state.side().calls += 1;
        Hold {
            direction: self,
            source,
            failed: None,
        }
    }

    /// The source was dropped or is given back: nothing starts any more. The socket is still open. An operation that waits for
    /// the peer is cancelled; a send goes on.
    pub(super) fn close(&self, state: &mut T, source: &T::Source) {
        state.closing(source);
        let side = state.side();
        side.armed = None;
        side.closed = true;
        if side.in_flight && self.operation.kind() == Kind::Receive {
            self.cancel();
        }
    }

    /// The end of the `Poll`: no event comes any more, and an operation that waits for the peer is cancelled, since it might
    /// wait for ever.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        let side = state.side();
        side.armed = None;
        if side.in_flight && !side.closed && self.operation.kind() == Kind::Receive {
            self.cancel();
        }
    }
}

/// No operation of the direction starts as long as this lives.
pub(super) struct Hold<'a, T: Transfer> {
    direction: &'a Direction<T>,
    source: &'a T::Source,
    failed: Option<ffi::Code>,
}

impl<T: Transfer> Drop for Hold<'_, T> {
    fn drop(&mut self) {
        let mut state = self.direction.lock();
        state.side().calls -= 1;
        state.call_ended(self.source, self.failed);
        if let Some(port) = self.source.membership().port() {
            self.direction
                .fire(&mut state, self.source, false, port, &mut None);
        }
    }
}

/// A source with two directions.
pub(super) trait Duplex: Owner + Sized {
    type Receiving: Transfer<Source = Self>;
    type Sending: Transfer<Source = Self>;

    fn receiving(&self) -> &Direction<Self::Receiving>;
    fn sending(&self) -> &Direction<Self::Sending>;

    /// Arms what `interests` names, or nothing.
    fn arm(&self, port: &Arc<Port>, token: Token, interests: Interests) -> io::Result<()> {
        let mut before = None;
        if interests.is_readable() {
            before = self.receiving().arm(self, port, token)?;
        }
        if interests.is_writable() {
            if let Err(error) = self.sending().arm(self, port, token) {
                if interests.is_readable() {
                    self.receiving().lock().side().armed = before;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.membership().check(&with.port)?;
        if interests.is_readable() {
            self.receiving().disarm();
        }
        if interests.is_writable() {
            self.sending().disarm();
        }
        Ok(())
    }

    fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.is_readable() {
            self.receiving().try_io(self, call)
        } else {
            self.sending().try_io(self, call)
        }
    }

    /// Closes both directions if the socket can be given back.
    fn release(&self) -> bool {
        {
            let mut sending = self.sending().lock();
            let mut receiving = self.receiving().lock();
            if !sending.can_be_released() || !receiving.can_be_released() {
                return false;
            }
            self.sending().close(&mut sending, self);
            self.receiving().close(&mut receiving, self);
        }
        self.membership().leave();
        true
    }
}
