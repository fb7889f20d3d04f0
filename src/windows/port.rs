//! [`Port`]: the completion port, what is in flight on it, and how a packet finds its source.
//!
//! There are five kinds of packets, told apart by their key. The kernel sends *operations*; the others we post. A *note*
//! makes a poll look at a source for which no operation will tell (bytes that were received before they were asked for,
//! room to send). A *signal* says that a handle was signalled that a source waits for, and carries the number of the wait
//! ([`waits`](super::waits)). A *wake* carries a token instead of a pointer. A *nudge* says nothing: it ends a wait, so that whoever
//! waits looks at the flags again. Nothing that is posted points to memory: a pointer to a stack variable, or to anything
//! that may be gone when the packet is taken, has no place in a packet.
//!
//! Any thread may take packets, and does when a read or write wants to know how its operation went ([`Port::pump`]). What
//! it takes is handled without a batch to put events into; an interest that should fire then gets a note. Where the system
//! refuses to post what nobody can be told of, it is *kept* here, and the next wait begins with it.
//!
//! # Locks
//! A source's lock comes before those of this module and of `wakes`, which are leaves: nobody takes another one under
//! them, but for `kept`, the last of all. No source's lock is held while packets are taken, so handling a packet may lock any source.
//! `pumping` comes before all. The system calls under locks (post, start, cancel) do not block.
//!
//! # The end
//! `gone` stands under the lock of the table of flights, so that after it is set no operation starts, and every one that
//! started before is in the table when [`Port::abandon`] goes through the sources. `handling` counts packets that were taken
//! and are being handled: only they may start another operation then (the rest of a send). With the table empty and
//! nothing being handled, the reaper has nothing to wait for, and the last of them nudges it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::ffi;
use super::lending::Lending;
use super::operation::{Kind, Operation, Owner, Sink};
use super::wakes::Wakes;
use crate::error;
use crate::event::Event;
use crate::hooks;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::Instant;
use crate::hooks::sync::{lock, thread, AtomicUsize, Mutex, Ordering, RwLock};
use crate::interests::Token;
use crate::numbers::NumberMap;
use crate::timeout;

const KEY_OPERATION: usize = 0;
const KEY_NOTE: usize = 1;
const KEY_WAKE: usize = 2;
const KEY_NUDGE: usize = 3;
const KEY_SIGNAL: usize = 4;

/// The longest wait that is not one without end.
const MAX_WAIT_MS: u32 = ffi::INFINITE - 1;
/// How many packets a pump takes at a time.
const PUMP_BATCH: usize = 16;
/// How often a pump does so at most: a bound, should others post as fast as it takes.
const PUMP_ROUNDS: usize = 1 << 12;
/// How long a dropped stream may keep its socket open for bytes that were accepted.
const DEFERRED_CLOSE: Duration = Duration::from_secs(60);

/// What is in flight. An entry holds its source.
#[derive(Default)]
struct Flights {
    operations: NumberMap<Arc<dyn Owner>>,
    /// Notes on their way, by the address of their direction's operation.
    notes: NumberMap<(Arc<dyn Owner>, Kind)>,
    /// Waits for a handle, by their numbers: those that are on, and those whose signal's packet was not taken yet.
    waits: NumberMap<Arc<dyn Owner>>,
    /// The number of the last of them.
    last_wait: usize,
    /// Packets of operations and signals that were taken and are being handled.
    handling: usize,
    /// The `Poll` is gone.
    gone: bool,
    /// A reaper waits for the last packet.
    reaper: bool,
}

impl Flights {
    fn is_idle(&self) -> bool {
        self.operations.is_empty()
            && (self.waits.is_empty() || !holds(Rule::WaitsCount))
            && (self.handling == 0 || !holds(Rule::HandlingCounts))
    }

    /// Whether the reaper waits for what was just taken out.
    fn was_the_last(&self) -> bool {
        self.gone && self.reaper && self.is_idle() && holds(Rule::ReaperNudged)
    }
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    /// A packet is owed.
    Flying,
    /// The `Poll` is gone: nothing was started.
    Gone,
    /// The system refused: there will be no packet.
    Failed(ffi::Code),
}

/// The queue that sources, registrators and the selector share. Its handle is open as long as any of them lives.
pub(super) struct Port {
    port: ffi::CompletionPort,
    lending: Lending,
    flights: Mutex<Flights>,
    /// Every source that is tied to the port and not dropped.
    sources: Mutex<NumberMap<Weak<dyn Owner>>>,
    /// Read-locked while packets are taken that may have to be posted again, so that a look at the port that must not
    /// miss any can wait for them.
    pumping: RwLock<()>,
    wakes: Wakes,
    /// Closes that wait for a send, the oldest first.
    deferred: Mutex<VecDeque<(Instant, Weak<dyn Owner>)>>,
    /// How many they are: written under their lock, read without it to spare the wait that lock.
    deferred_count: AtomicUsize,
    /// Packets that could not be posted, as key and pointer, in their order.
    kept: Mutex<VecDeque<(usize, usize)>>,
    /// How many: as with `deferred_count`.
    kept_count: AtomicUsize,
}

impl Port {
    pub(super) fn new(lent_limit: usize) -> io::Result<Port> {
        Ok(Port {
            port: ffi::create_completion_port()?,
            lending: Lending::new(lent_limit),
            flights: Mutex::default(),
            sources: Mutex::default(),
            pumping: RwLock::default(),
            wakes: Wakes::new(),
            deferred: Mutex::default(),
            deferred_count: AtomicUsize::new(0),
            kept: Mutex::default(),
            kept_count: AtomicUsize::new(0),
        })
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.lending
    }

    pub(super) fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Ends the wait of whoever polls, and has him find the loop closed.
    pub(super) fn close(&self) -> io::Result<()> {
        self.wakes.close(|| self.nudge())
    }

    pub(super) fn wake(&self, token: Token) -> io::Result<()> {
        self.wakes.add(token, || self.post(KEY_WAKE, token))
    }

    fn nudge(&self) -> io::Result<()> {
        self.post(KEY_NUDGE, 0)
    }

    fn post(&self, key: usize, pointer: usize) -> io::Result<()> {
        ffi::post_queued_completion_status(&self.port, 0, key, pointer)
    }

    /// Starts `operation` by calling `start`, which returns `Ok` if and only if a packet is owed.
    ///
    /// It is called under the lock of the operation's direction. A packet may be taken before this returns; whoever took
    /// it waits for that lock, and finds the state that the caller leaves.
    pub(super) fn launch(
        &self,
        operation: &Operation,
        start: impl FnOnce(*mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>,
    ) -> Launch {
        self.launch_unless(operation, start, |flights| flights.gone)
    }

    /// The same for what goes on with an operation whose packet is being handled: that may be after the end.
    pub(super) fn relaunch(
        &self,
        operation: &Operation,
        start: impl FnOnce(*mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>,
    ) -> Launch {
        self.launch_unless(operation, start, |_| false)
    }

    fn launch_unless(
        &self,
        operation: &Operation,
        start: impl FnOnce(*mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>,
        refused: impl FnOnce(&Flights) -> bool,
    ) -> Launch {
        let Some(owner) = operation.owner() else {
            return Launch::Gone;
        };
        let address = operation.address();
        {
            let mut flights = lock(&self.flights);
            if refused(&flights) && holds(Rule::GoneUnderLock) {
                return Launch::Gone;
            }
            if flights.operations.contains_key(&address) && holds(Rule::OneFlight) {
                debug_assert!(
                    false,
                    "one flight: an operation in flight is not started again"
                );
                return Launch::Failed(ffi::WSAEINVAL);
            }
            flights.operations.insert(address, owner);
        }
        hooks::windows::operation_started();
        // SAFETY: it is in the table by our own entry, so it was not in flight; the lock of its direction, which the
        // caller holds, keeps others from starting it.
        unsafe { operation.reset() };
        match start(operation.as_overlapped()) {
            Ok(()) => Launch::Flying,
            Err(code) => {
                let owner = lock(&self.flights).operations.remove(&address);
                hooks::windows::operation_ended();
                // Not the last reference: the caller has one. Still, no lock is held while it goes.
                drop(owner);
                Launch::Failed(code)
            }
        }
    }

    /// Posts a note for the direction of `operation`. Nothing is posted, and that is no error, when the `Poll` is gone.
    pub(super) fn note(&self, operation: &Operation) -> io::Result<()> {
        self.note_by(operation, |pointer| self.post(KEY_NOTE, pointer))
    }

    /// The same for an interest that was armed before: nobody is there to be told of a failure.
    pub(super) fn note_surely(&self, operation: &Operation) {
        let noted = self.note_by(operation, |pointer| {
            self.post_or_keep(KEY_NOTE, pointer);
            Ok(())
        });
        debug_assert!(noted.is_ok());
    }

    fn note_by(
        &self,
        operation: &Operation,
        post: impl FnOnce(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(owner) = operation.owner() else {
            return Ok(());
        };
        let mut flights = lock(&self.flights);
        if flights.gone {
            return Ok(());
        }
        post(operation.address())?;
        flights
            .notes
            .insert(operation.address(), (owner, operation.kind()));
        Ok(())
    }

    /// Posts a packet that must not be lost, or keeps it.
    fn post_or_keep(&self, key: usize, pointer: usize) {
        if self.post(key, pointer).is_err() && holds(Rule::Kept) {
            let mut kept = lock(&self.kept);
            kept.push_back((key, pointer));
            self.kept_count.store(kept.len(), Ordering::SeqCst);
        }
    }

    /// Hands out packets that were kept.
    fn take_kept(&self, entries: &mut [ffi::OVERLAPPED_ENTRY]) -> usize {
        if self.kept_count.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let mut kept = lock(&self.kept);
        let count = kept.len().min(entries.len());
        for (entry, (key, pointer)) in entries.iter_mut().zip(kept.drain(..count)) {
            *entry = ffi::OVERLAPPED_ENTRY::posted(key, pointer);
        }
        self.kept_count.store(kept.len(), Ordering::SeqCst);
        count
    }

    /// Waits for packets: until the time is up (`None`: never), or a deferred close has waited long enough.
    pub(super) fn wait(
        &self,
        entries: &mut [ffi::OVERLAPPED_ENTRY],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = match self.next_deferred() {
            Some(due) => Some(timeout.map_or(due, |timeout| timeout.min(due))),
            None => timeout,
        };
        // Without a wait this is the only look: all that was posted before is to be seen, also what a pump has right now.
        let _no_pump = (timeout == Some(Duration::ZERO) && holds(Rule::PumpsFirst))
            .then(|| self.pumping.write().unwrap_or_else(PoisonError::into_inner));
        let kept = self.take_kept(entries);
        if kept > 0 {
            return Ok(kept);
        }
        let timeout_ms = timeout.map_or(ffi::INFINITE, |timeout| {
            timeout::milliseconds(timeout, MAX_WAIT_MS)
        });
        ffi::get_queued_completion_status_ex(&self.port, entries, timeout_ms)
    }

    /// Handles one packet. It makes at most one event. Returns whether the packet is for a poll, and this is none: then
    /// it must be posted again.
    pub(super) fn handle(self: &Arc<Self>, entry: &ffi::OVERLAPPED_ENTRY, sink: Sink<'_>) -> bool {
        let pointer = entry.lpOverlapped as usize;
        match entry.lpCompletionKey {
            KEY_OPERATION | KEY_SIGNAL if hooks::windows::is_put_back(&self.port, entry) => {}
            KEY_OPERATION => self.take(entry, sink),
            KEY_SIGNAL => self.take_signal(pointer, sink),
            KEY_NOTE => {
                if sink.is_none() {
                    return true;
                }
                let note = lock(&self.flights).notes.remove(&pointer);
                if let Some((owner, kind)) = note {
                    owner.noted(kind, self, sink);
                }
            }
            KEY_WAKE => match sink {
                None => return true,
                Some(events) => {
                    self.wakes.taken(pointer);
                    events.push(Event::wake(pointer));
                }
            },
            KEY_NUDGE => return sink.is_none(),
            _ => debug_assert!(false, "a packet with a key that we never gave"),
        }
        false
    }

    /// Handles the packet of an operation, if it is one of ours.
    fn take(self: &Arc<Self>, entry: &ffi::OVERLAPPED_ENTRY, sink: Sink<'_>) {
        let owner = {
            let mut flights = lock(&self.flights);
            // Not ours: somebody has a duplicate of the socket. Nothing is known of that pointer, so it is not followed.
            let Some(owner) = flights.operations.remove(&(entry.lpOverlapped as usize)) else {
                return;
            };
            flights.handling += 1;
            owner
        };
        hooks::windows::operation_ended();
        // SAFETY: it was in the table: so it is an operation of ours, with the state block as its first field, and its
        // source is held by `owner`.
        let operation = unsafe { &*entry.lpOverlapped.cast::<Operation>() };
        // SAFETY: its packet was taken right now. Its direction still counts it as in flight, so nobody starts it.
        let packet = unsafe { operation.ended(entry.dwNumberOfBytesTransferred) };
        owner.completed(operation.kind(), packet, self, sink);
        self.handled(owner);
    }

    /// A packet that was taken has been handled.
    fn handled(&self, owner: Arc<dyn Owner>) {
        // May be the last reference: the source's memory goes, and no lock is held.
        drop(owner);
        let mut flights = lock(&self.flights);
        flights.handling -= 1;
        if flights.was_the_last() {
            drop(flights);
            drop(self.nudge());
        }
    }

    /// Enters a wait that is about to start, and returns its number; none, if the `Poll` is gone.
    pub(super) fn expect_signal(&self, owner: Arc<dyn Owner>) -> Option<usize> {
        let mut flights = lock(&self.flights);
        if flights.gone && holds(Rule::GoneUnderLock) {
            return None;
        }
        flights.last_wait += 1;
        let number = flights.last_wait;
        flights.waits.insert(number, owner);
        hooks::windows::operation_started();
        Some(number)
    }

    /// Takes a wait out that will have no packet, and returns what held its owner.
    pub(super) fn forget_signal(&self, number: usize) -> Option<Arc<dyn Owner>> {
        let mut flights = lock(&self.flights);
        let owner = flights.waits.remove(&number);
        let last = flights.was_the_last();
        drop(flights);
        if owner.is_some() {
            hooks::windows::operation_ended();
        }
        if last {
            drop(self.nudge());
        }
        owner
    }

    /// Posts the packet of a wait's signal. Called by its callback: the only lock is one for a packet that is refused.
    pub(super) fn post_signal(&self, number: usize) {
        self.post_or_keep(KEY_SIGNAL, number);
    }

    /// Handles the packet of a wait's signal.
    fn take_signal(self: &Arc<Self>, number: usize, sink: Sink<'_>) {
        let owner = {
            let mut flights = lock(&self.flights);
            let Some(owner) = flights.waits.remove(&number) else {
                debug_assert!(false, "a signal of a wait that is not in the table");
                return;
            };
            flights.handling += 1;
            owner
        };
        hooks::windows::operation_ended();
        owner.signalled(number, self, sink);
        self.handled(owner);
    }

    /// Takes and handles what is on the port, without waiting and without events.
    pub(super) fn pump(self: &Arc<Self>) {
        // Also where nobody polls, a deferred close has its end.
        let _ = self.next_deferred();
        let _pumping = self.pumping.read().unwrap_or_else(PoisonError::into_inner);
        let mut entries = [ffi::OVERLAPPED_ENTRY::zeroed(); PUMP_BATCH];
        // Posted again at the end only, or this loop would meet them again.
        let mut others = Vec::new();
        for _ in 0..PUMP_ROUNDS {
            let count =
                ffi::get_queued_completion_status_ex(&self.port, &mut entries, 0).unwrap_or(0);
            for entry in &entries[..count] {
                if self.handle(entry, None) {
                    others.push((entry.lpCompletionKey, entry.lpOverlapped as usize));
                }
            }
            if count < entries.len() {
                break;
            }
        }
        if others.is_empty() || !holds(Rule::PostAgain) {
            return;
        }
        // Once the `Poll` is gone nobody takes notes and wakes any more, and nudges are for the reaper.
        let (gone, reaper) = {
            let flights = lock(&self.flights);
            (flights.gone, flights.reaper)
        };
        for (key, pointer) in others {
            if !gone || (reaper && key == KEY_NUDGE) {
                self.post_or_keep(key, pointer);
            }
        }
    }

    /// Has the socket of `owner` closed some time from now at the latest.
    pub(super) fn defer_close(&self, owner: Weak<dyn Owner>) {
        let limit = hooks::windows::deferred_close(DEFERRED_CLOSE);
        {
            let mut deferred = lock(&self.deferred);
            deferred.push_back((Instant::now() + limit, owner));
            self.deferred_count.store(deferred.len(), Ordering::SeqCst);
        }
        // Whoever waits now does so without this end in mind.
        if holds(Rule::NudgeOfDefer) {
            drop(self.nudge());
        }
    }

    /// How long the oldest deferred close may still last. Those whose time is over are given up.
    fn next_deferred(&self) -> Option<Duration> {
        if self.deferred_count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        loop {
            let owner = {
                let mut deferred = lock(&self.deferred);
                let due = match deferred.front() {
                    None => return None,
                    // The send has ended, and nothing is left of the source.
                    Some((_, owner)) if owner.strong_count() == 0 => Duration::ZERO,
                    Some((end, _)) => end.saturating_duration_since(Instant::now()),
                };
                if due > Duration::ZERO {
                    return Some(due);
                }
                let owner = deferred.pop_front();
                self.deferred_count.store(deferred.len(), Ordering::SeqCst);
                owner
            };
            let owner = owner.and_then(|(_, owner)| owner.upgrade());
            if let Some(owner) = owner.filter(|_| holds(Rule::GivenUp)) {
                owner.give_up();
            }
        }
    }

    /// Ends the `Poll`: cancels what would wait for ever, takes what is there, and leaves the rest to a thread.
    pub(super) fn abandon(self: &Arc<Self>) {
        self.wakes.end();
        let notes = {
            let mut flights = lock(&self.flights);
            flights.gone = true;
            if !holds(Rule::FlightHolds) {
                flights.operations.clear();
            }
            std::mem::take(&mut flights.notes)
        };
        drop(notes);
        // A source that is not in the list by now finds the port gone when it starts something.
        let sources: Vec<Arc<dyn Owner>> = lock(&self.sources)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for source in sources {
            source.abandon();
        }
        self.pump();
        {
            let mut flights = lock(&self.flights);
            if flights.is_idle() {
                return;
            }
            flights.reaper = true;
        }
        let port = Arc::clone(self);
        hooks::windows::reaper_started();
        let spawned = thread::Builder::new()
            .name("minimio reaper".into())
            .spawn(move || port.reap());
        // Without a thread the rest stays in the table for ever, and so does its memory: lost, but never wrong. Reads and
        // writes on what still lives go on taking its packets.
        if spawned.is_err() {
            hooks::windows::reaper_ended();
        }
        drop(spawned);
    }

    /// The reaper: handles packets until the last one has come.
    fn reap(self: Arc<Self>) {
        let mut entries = [ffi::OVERLAPPED_ENTRY::zeroed(); PUMP_BATCH];
        loop {
            {
                let mut flights = lock(&self.flights);
                if flights.is_idle() {
                    flights.reaper = false;
                    break;
                }
            }
            let Ok(count) = self.wait(&mut entries, None) else {
                break;
            };
            for entry in &entries[..count] {
                self.handle(entry, None);
            }
        }
        drop(self);
        hooks::windows::reaper_ended();
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("port", &self.port)
            .field("wakes", &self.wakes)
            .finish_non_exhaustive()
    }
}

/// Which port a source belongs to: none at first, then one, for life.
#[derive(Debug, Default)]
pub(super) struct Membership {
    port: OnceLock<Arc<Port>>,
    /// Held while the source joins, so that the socket is tied once.
    joining: Mutex<()>,
}

impl Membership {
    pub(super) fn port(&self) -> Option<&Arc<Port>> {
        self.port.get()
    }

    /// Whether the source belongs to `port`.
    pub(super) fn is_with(&self, port: &Arc<Port>) -> bool {
        self.port().is_some_and(|mine| Arc::ptr_eq(mine, port))
    }

    /// Makes the source, whose socket is open, a member of `port`, unless it is one.
    pub(super) fn join(
        &self,
        port: &Arc<Port>,
        socket: ffi::SOCKET,
        owner: &Weak<dyn Owner>,
    ) -> io::Result<()> {
        if self.port().is_none() {
            let _joining = lock(&self.joining);
            if self.port().is_none() {
                ffi::create_io_completion_port(socket, &port.port, KEY_OPERATION).map_err(
                    |error| {
                        // Both handles are good, so it is the socket's state.
                        let tied = error.raw_os_error() == Some(ffi::ERROR_INVALID_PARAMETER);
                        if tied {
                            error::tied_elsewhere()
                        } else {
                            error
                        }
                    },
                )?;
                lock(&port.sources).insert(address_of(owner), Weak::clone(owner));
                // Last: from here on operations may start, and the end of the `Poll` must know the source.
                drop(self.port.set(Arc::clone(port)));
            }
        }
        if self.is_with(port) {
            Ok(())
        } else {
            Err(error::other_poll())
        }
    }

    /// Takes the source off its port's list.
    pub(super) fn leave(&self, owner: &Weak<dyn Owner>) {
        if let Some(port) = self.port() {
            lock(&port.sources).remove(&address_of(owner));
        }
    }
}

/// What a source is known by: it does not move.
fn address_of(owner: &Weak<dyn Owner>) -> usize {
    owner.as_ptr().cast::<()>() as usize
}
