//! The queue of one `Poll`: which sources are registered, the wakes, and the closing.
//!
//! The `Poll`, its `Registrator`s and its registered sources share it. It lives until the last of them is dropped, so
//! that none of them can be left with a closed queue, or with another file under the number of the queue's descriptor.
//!
//! # Invariants
//! 1. **Out of the queue before closed.** A source leaves the table and the queue of the system before its descriptor
//!    is closed, since a duplicate of the descriptor would keep an epoll registration alive. The `Drop` of a handle
//!    keeps this, by [`Queue::leave`].
//! 2. **In the table means alive.** The table holds a reference to each source. An edge is handled under the lock of
//!    the table, so when `leave` has returned, no edge of the source can fire an event any more.
//!
//! # Lock order
//! The table, then the state of a source; the table, then the wakes. No lock is held over a call that blocks.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, OnceLock};

use crate::error;
use crate::event::Events;
use crate::hooks::sync::{fence, lock, AtomicU32, Mutex, MutexGuard, Ordering};
use crate::interests::{Interests, Token};
use crate::numbers::NumberMap;
use crate::unix::ending::Ending;
use crate::unix::readiness::{next_wait, Edge, Kernel, Key, Overtaken, State};
use crate::unix::slots::Slots;
use crate::unix::source::{AnySource, Number, Socket, Source};
use crate::unix::wakes::Wakes;
use crate::unix::{self, ffi};

/// The queue of the system, as a backend translates it.
pub(crate) trait System: fmt::Debug + Send + Sync {
    /// See [`Kernel::ask`]. A number that is no open descriptor, or that is not in the queue, is an error.
    fn ask(
        &self,
        fd: RawFd,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()>;

    /// See [`Kernel::has_levels`].
    fn has_levels(&self) -> bool {
        false
    }

    /// See [`Kernel::ask_for_level`].
    fn ask_for_level(&self, _fd: RawFd, _interests: Interests, _key: Key) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`Kernel::confirm`].
    fn confirm(&self, fd: RawFd, interests: Interests) -> Interests {
        unix::confirm(fd, interests)
    }

    /// See [`Kernel::confirm_beside_urgent`]. A failure that this meets is kept in `ending`. A system whose edges never
    /// say too much has nothing to confirm.
    fn confirm_beside_urgent(&self, _fd: RawFd, _ending: &Ending) -> bool {
        true
    }

    /// Takes a descriptor out, which was asked for `asked`.
    fn leave(&self, fd: RawFd, asked: Interests);

    /// Puts a notice into the queue. Several may come as one. This must not block.
    fn notice(&self);

    /// The error that a call which moves data should have had, where the system gives a misleading one.
    fn meant(_socket: BorrowedFd<'_>, error: io::Error) -> io::Error {
        error
    }

    /// Prepares a socket that the user has made.
    fn adopt(_socket: BorrowedFd<'_>) {}
}

/// See the head of this module.
pub(crate) struct Queue<S> {
    system: S,
    /// The number of the present or last wait. Only the polling thread writes it, and a thread that arms reads it. The
    /// fences in `begin_wait` and `Readiness::arm` order the two.
    wait_number: AtomicU32,
    table: Mutex<Table<S>>,
    wakes: Wakes,
}

/// What belongs to a queue.
struct Table<S> {
    sources: Slots<Arc<AnySource<S>>>,
    /// What is left of edges that did not fit into the batch, by slot, for sources of which the polling thread must not
    /// ask the kernel again. It has its turn with the next notice.
    postponed: NumberMap<Edge>,
    /// The slots of what is postponed, each of them once, in the order in which they have their turn.
    turns: VecDeque<u32>,
    /// Whether the last notice handed out wakes before what was postponed. It changes each time, so that neither starves.
    wakes_first: bool,
}

/// To which queue a source belongs: none, until its first registration.
pub(crate) type Membership<S> = OnceLock<Arc<Queue<S>>>;

impl<S: System> Queue<S> {
    pub(crate) fn new(system: S) -> Queue<S> {
        Queue {
            system,
            wait_number: AtomicU32::new(0),
            table: Mutex::new(Table {
                sources: Slots::new(),
                postponed: NumberMap::default(),
                turns: VecDeque::new(),
                wakes_first: false,
            }),
            wakes: Wakes::new(),
        }
    }

    pub(crate) fn system(&self) -> &S {
        &self.system
    }

    /// Numbers the wait that is about to begin.
    pub(crate) fn begin_wait(&self) -> u32 {
        let wait = next_wait(self.wait_number.load(Ordering::Relaxed));
        self.wait_number.store(wait, Ordering::Relaxed);
        // This pairs with the fence in `Readiness::arm`, which is free on x86.
        fence(Ordering::SeqCst);
        wait
    }

    /// Locks the table, to handle what a wait has reaped.
    pub(crate) fn batch(&self) -> Batch<'_, S> {
        Batch {
            queue: self,
            table: lock(&self.table),
            was_overtaken: false,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.wakes.is_closed()
    }

    pub(crate) fn close(&self) -> bool {
        self.wakes.close(|| self.system.notice())
    }

    /// Takes a source in and arms it. The number of its descriptor is `number` now. It may have been in before with another
    /// number, and then it stays armed for what it was armed for. `false` if it is in with that number by now.
    fn enter(
        self: &Arc<Self>,
        source: &Arc<AnySource<S>>,
        number: RawFd,
        token: Token,
        interests: Interests,
    ) -> io::Result<bool> {
        let mut table = lock(&self.table);
        let mut state = source.readiness.lock();
        match source.membership.get() {
            Some(queue) if !Arc::ptr_eq(queue, self) => return Err(error::other_poll()),
            Some(_) if source.socket.is_still(number) => return Ok(false),
            Some(_) => drop(self.take_out(&mut table, &mut state, source, number)),
            None => {}
        }
        let key = table.sources.vacant().ok_or(io::ErrorKind::OutOfMemory)?;
        source.socket.set(number);
        let mut entered = state.enter(&self.at(source), key, token, interests);
        if matches!(&entered, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
            let mut holders = table.sources.iter().map(|other| &other.socket);
            if holders.any(|holder| holder.is_still(number)) {
                entered = Err(error::watched_twice());
            } else {
                // What the system still has there was exchanged, and its source is told by its next registration. If
                // that still has the same thing after all, it must not take out this source.
                let holders = table.sources.iter().map(|other| &other.socket);
                holders
                    .filter(|holder| holder.number() == number)
                    .for_each(|holder| holder.set(Number::NONE));
                self.system.leave(number, Interests::all());
                entered = state.enter(&self.at(source), key, token, interests);
            }
        }
        if let Err(error) = entered {
            state.key = Key::NONE;
            source.socket.set(Number::NONE);
            return Err(error);
        }
        table.sources.insert(Arc::clone(source));
        // It may have been set before, to the same queue.
        drop(source.membership.set(Arc::clone(self)));
        Ok(true)
    }

    /// Takes a source out. The number of its descriptor is `number` now. No edge of it fires after this has returned.
    pub(crate) fn leave(&self, source: &AnySource<S>, number: RawFd) {
        let mut table = lock(&self.table);
        let mut state = source.readiness.lock();
        let removed = self.take_out(&mut table, &mut state, source, number);
        drop(state);
        drop(table);
        // Outside the locks. The caller has another reference, but this function need not rely on that.
        drop(removed);
    }

    /// The system's queue is told only if the number is still the same: another one would be a stranger's, or would have
    /// been given up by now.
    fn take_out(
        &self,
        table: &mut Table<S>,
        state: &mut State,
        source: &AnySource<S>,
        number: RawFd,
    ) -> Option<Arc<AnySource<S>>> {
        let removed = table.sources.remove(state.key);
        if source.socket.number() == number {
            self.system.leave(number, state.asked);
        }
        state.leave();
        removed
    }

    fn at<'a>(&'a self, source: &'a AnySource<S>) -> At<'a, S> {
        At {
            queue: self,
            source,
        }
    }
}

// Not derived, since the sources in the table point back to the queue.
impl<S: fmt::Debug> fmt::Debug for Queue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

/// Handles what a wait has reaped. While it exists, no source enters or leaves the queue.
pub(crate) struct Batch<'a, S> {
    queue: &'a Queue<S>,
    table: MutexGuard<'a, Table<S>>,
    /// The kernel was asked anew for a source of which an edge had been reaped. It has reported again whatever held.
    was_overtaken: bool,
}

impl<S: System> Batch<'_, S> {
    /// Handles an edge of the source in `slot`, if there is one.
    pub(crate) fn edge(&mut self, slot: u32, edge: &Edge, events: &mut Events) {
        let Some(source) = self.table.sources.get(slot) else {
            return;
        };
        let kernel = self.queue.at(source);
        let mut rest = match source.readiness.edge(&kernel, edge, events) {
            Ok(Some(rest)) => rest,
            Ok(None) => return,
            Err(Overtaken) => {
                self.was_overtaken = true;
                return;
            }
        };
        match self.table.postponed.get(&(slot as usize)) {
            // This edge has told nothing of what is left of that one.
            Some(last) if last.stamp == rest.stamp => rest.ready |= last.ready - edge.ready,
            Some(_) => {}
            None => self.table.turns.push_back(slot),
        }
        self.table.postponed.insert(slot as usize, rest);
        self.queue.system.notice();
    }

    /// Whether the next wait finds what an edge would have told that was handled too late.
    pub(crate) fn was_overtaken(&self) -> bool {
        self.was_overtaken
    }

    /// Hands out what was postponed, as far as there is room.
    fn catch_up(&mut self, events: &mut Events) {
        while events.room() > 0 {
            let Some(slot) = self.table.turns.pop_front() else {
                return;
            };
            if let Some(rest) = self.table.postponed.remove(&(slot as usize)) {
                self.edge(slot, &rest, events);
            }
        }
        if !self.table.turns.is_empty() {
            self.queue.system.notice();
        }
    }

    /// Handles a notice. `behind` is how many entries of the wait come after it. A place in the batch is left for each
    /// of them, so that many wakes do not starve a source. Many sources do not starve a wake either, since the notice
    /// has its turn in the queue of the system.
    pub(crate) fn notice(&mut self, behind: usize, events: &mut Events) {
        let limit = events.room().saturating_sub(behind).max(1);
        let queue = self.queue;
        self.table.wakes_first = !self.table.wakes_first;
        for has_turn in [self.table.wakes_first, !self.table.wakes_first] {
            if has_turn {
                queue.wakes.take(events, limit, || queue.system.notice());
            } else {
                self.catch_up(events);
            }
        }
    }
}

/// A backend's `Registrator`: a reference to the queue.
#[derive(Debug)]
pub(crate) struct Registrator<S> {
    queue: Arc<Queue<S>>,
}

// Not derived, since a derived one would ask for `S: Clone`.
impl<S> Clone for Registrator<S> {
    fn clone(&self) -> Registrator<S> {
        Registrator {
            queue: Arc::clone(&self.queue),
        }
    }
}

impl<S: System> Registrator<S> {
    pub(crate) fn new(queue: &Arc<Queue<S>>) -> Registrator<S> {
        Registrator {
            queue: Arc::clone(queue),
        }
    }

    pub(crate) fn system(&self) -> &S {
        self.queue.system()
    }

    /// Arms a source. The number of its descriptor is `number` now. If it belongs to no queue yet, or if its descriptor may
    /// be another one than before, it enters this one.
    pub(crate) fn register<T: Socket>(
        &self,
        source: &Arc<Source<S, T>>,
        number: RawFd,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        let enter = || {
            let source: Arc<AnySource<S>> = Arc::<Source<S, T>>::clone(source);
            self.queue.enter(&source, number, token, interests)
        };
        let is_in = self.has(&**source) && source.socket.is_still(number);
        if !is_in && enter()? {
            return Ok(());
        }
        let armed = self.arm(&**source, token, interests);
        if matches!(&armed, Err(error) if error.raw_os_error() == Some(ffi::ENOENT)) {
            // The user has closed the descriptor and opened another one that got its number.
            source.socket.change();
            if enter()? {
                return Ok(());
            }
        }
        armed
    }

    /// Arms a source that is in this queue.
    fn arm(&self, source: &AnySource<S>, token: Token, interests: Interests) -> io::Result<()> {
        let queue = &self.queue;
        let kernel = queue.at(source);
        source
            .readiness
            .arm(&kernel, token, interests, &queue.wait_number)
    }

    pub(crate) fn disarm(&self, source: &AnySource<S>, interests: Interests) -> io::Result<()> {
        if !self.has(source) {
            return Err(error::not_registered());
        }
        source.readiness.disarm(interests);
        Ok(())
    }

    /// Whether a source belongs to this queue.
    fn has(&self, source: &AnySource<S>) -> bool {
        let queue = source.membership.get();
        queue.is_some_and(|queue| Arc::ptr_eq(queue, &self.queue))
    }

    pub(crate) fn wake(&self, token: Token) -> io::Result<()> {
        let open = self.queue.wakes.add(token, || self.queue.system.notice());
        open.then_some(()).ok_or_else(error::closed)
    }

    pub(crate) fn close_loop(&self) -> io::Result<()> {
        let was_open = self.queue.close();
        was_open.then_some(()).ok_or_else(error::closed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    // Only Windows lends memory to the kernel.
    pub(crate) fn lent_bytes(&self) -> usize {
        0
    }
}

/// The queue of the system, for one source.
struct At<'a, S> {
    queue: &'a Queue<S>,
    source: &'a AnySource<S>,
}

impl<S: System> Kernel for At<'_, S> {
    fn ask(&self, before: Option<Interests>, interests: Interests, key: Key) -> io::Result<()> {
        let fd = self.source.socket.number();
        self.queue.system.ask(fd, before, interests, key)
    }

    fn has_levels(&self) -> bool {
        self.queue.system.has_levels()
    }

    fn ask_for_level(&self, interests: Interests, key: Key) -> io::Result<()> {
        let fd = self.source.socket.number();
        self.queue.system.ask_for_level(fd, interests, key)
    }

    fn confirm(&self, interests: Interests) -> Interests {
        self.queue
            .system
            .confirm(self.source.socket.number(), interests)
    }

    fn confirm_beside_urgent(&self) -> bool {
        let ending = &self.source.readiness.ending;
        let system = &self.queue.system;
        system.confirm_beside_urgent(self.source.socket.number(), ending)
    }

    fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}
