//! [`Port`]: the completion port, and how a packet finds what it is about.
//!
//! There are five kinds of packets, told apart by their key. The kernel sends the packets of *operations*; the others we
//! make. A *note* makes a poll look at a source for which no operation will end: it has bytes that were received before
//! they were asked for, or room to send. A *signal* says that a handle was signalled that a source waits for, and carries
//! the number of the wait ([`waits`](super::waits)). A *wake* carries a token. A *nudge* carries nothing: it ends a wait, so
//! that the thread that waited looks at the flags again. Where a packet of the kernel has the address of an operation, one
//! of ours has a number, which is looked up in a table: it must not matter what has been freed when it is taken.
//!
//! Any thread may take packets, and does when a read or write wants to know how its operation went ([`Port::pump`]). A
//! thread that pumps has no batch to put events into. So an interest that should fire then gets a note, and packets that
//! only a poll can use are posted again. If the system refuses to post a packet whose loss nobody could be told of, the
//! packet is *kept* in memory, where the next wait takes it. So is a note that is made while nobody waits, as by a loop that
//! handles its events and registers again: to post that note would be one system call more.
//!
//! # Invariants
//! - **Nobody waits beside a note**: a wait says that it is on ([`Kept::awaited`]) under the lock of what is kept, and only
//!   if nothing is. As long as it says so, notes are posted.
//! - **Neither starves**: waits that take what was kept and do not look at the port are no more than [`MAX_UNLOOKED`] in a
//!   row. The next one begins with packets of the port.
//!
//! # Locks
//! `pumping` comes first, then the lock of a source, then those of this module and of `wakes`. The latter are leaves:
//! under one of them no other lock is taken, except that of `kept`, which is the last of all. No source's lock is held
//! while packets are taken, so handling a packet may lock any source. The system calls under locks (post, start, cancel)
//! do not block.

mod asking;
mod deferred;
mod detour;
mod flights;
mod reaper;

use std::collections::VecDeque;
use std::io;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::ffi;
use super::lending::Lending;
use super::operation::{Owner, Sink};
use super::wakes::Wakes;
use crate::error;
use crate::event::Event;
use crate::hooks;
use crate::hooks::sync::{lock, AtomicUsize, Instant, Mutex, Ordering, RwLock};
use crate::interests::Token;
use crate::numbers::NumberMap;
use crate::timeout;
use asking::Asking;
use detour::Detour;
use flights::Flights;
pub(super) use flights::Launch;

const KEY_OPERATION: usize = 0;
const KEY_NOTE: usize = 1;
const KEY_WAKE: usize = 2;
const KEY_NUDGE: usize = 3;
const KEY_SIGNAL: usize = 4;

/// The longest wait that is not one without end.
const MAX_WAIT_MS: u32 = ffi::INFINITE - 1;
/// How many waits in a row may leave the port alone, since there is something in memory: as many as a program makes that
/// reads a full receive ([`lending`](super::lending)) in pieces of 64 KiB.
const MAX_UNLOOKED: u8 = 3;
/// How many packets a pump takes at a time.
const PUMP_BATCH: usize = 16;
/// How often a pump does so at most: a bound, should others post as fast as it takes.
const PUMP_ROUNDS: usize = 1 << 12;

/// The queue that sources, registrators and the selector share. Its handle is open as long as any of them lives.
pub(super) struct Port {
    port: ffi::CompletionPort,
    lending: Lending,
    flights: Mutex<Flights>,
    /// Every source that is tied to the port and not dropped.
    sources: Mutex<NumberMap<Weak<dyn Owner>>>,
    /// The numbers of the sockets that are tied to the port and were given back. Some may be closed by now. There are no more
    /// of them than the process has had handles at one time.
    given_back: Mutex<NumberMap<()>>,
    /// Read-locked while a pump holds packets that it may post again. A poll that looks at the port once, without waiting,
    /// must not miss any of those: it takes the write lock first.
    pumping: RwLock<()>,
    wakes: Wakes,
    /// Closes that wait for a send, the oldest first, with the time at which they are given up.
    deferred: RareQueue<(Instant, Weak<dyn Owner>)>,
    kept: Mutex<Kept>,
}

/// Packets in memory.
#[derive(Default)]
struct Kept {
    /// As key and pointer, in their order: notes, and what could not be posted.
    packets: VecDeque<(usize, usize)>,
    /// A thread waits for packets of the port, or is about to.
    awaited: bool,
    /// How many waits in a row have taken what was kept, and have not looked at the port.
    unlooked: u8,
    /// Whether a wait asks the port for one packet, or for all that fit.
    asking: Asking,
}

impl Kept {
    /// A wait is over, and has looked at the port or not.
    fn looked(&mut self, looked: bool) {
        self.awaited = false;
        self.unlooked = match looked {
            true => 0,
            false => self.unlooked.saturating_add(1),
        };
    }
}

impl Port {
    pub(super) fn new(lent_limit: usize) -> io::Result<Port> {
        Ok(Port {
            port: ffi::create_completion_port()?,
            lending: Lending::new(lent_limit),
            flights: Mutex::default(),
            sources: Mutex::default(),
            given_back: Mutex::default(),
            pumping: RwLock::default(),
            wakes: Wakes::new(),
            deferred: RareQueue::new(),
            kept: Mutex::default(),
        })
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.lending
    }

    pub(super) fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Closes the loop, and ends the wait of the thread that polls.
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

    /// Posts a packet that must not be lost, or keeps it.
    fn post_or_keep(&self, key: usize, pointer: usize) {
        if self.post(key, pointer).is_err() {
            self.keep(key, pointer);
            if key == KEY_WAKE {
                // A thread that waits on the port right now learns of it from the next packet. A later wake must be one.
                self.wakes.taken(pointer);
            }
        }
    }

    fn keep(&self, key: usize, pointer: usize) {
        lock(&self.kept).packets.push_back((key, pointer));
    }

    /// Has a poll take the note with that number: by a packet, if one waits, and from memory otherwise.
    fn put_note(&self, number: usize) -> io::Result<()> {
        {
            let mut kept = lock(&self.kept);
            if !kept.awaited {
                kept.packets.push_back((KEY_NOTE, number));
                return Ok(());
            }
        }
        self.post(KEY_NOTE, number)
    }

    /// Takes packets that were kept.
    fn take_kept(&self, entries: &mut [ffi::OVERLAPPED_ENTRY]) -> usize {
        let mut kept = lock(&self.kept);
        let count = kept.packets.len().min(entries.len());
        for (entry, (key, pointer)) in entries.iter_mut().zip(kept.packets.drain(..count)) {
            *entry = ffi::OVERLAPPED_ENTRY::posted(key, pointer);
        }
        count
    }

    /// Takes what is on the port right now.
    fn take_posted(&self, entries: &mut [ffi::OVERLAPPED_ENTRY]) -> usize {
        // If this failed, what was kept would be lost by telling so. A failure that lasts is told by the next wait.
        ffi::get_queued_completion_status_ex(&self.port, entries, 0).unwrap_or(0)
    }

    /// Waits for packets: until the time is up (`None`: never), or a deferred close has waited long enough.
    pub(super) fn wait(
        &self,
        entries: &mut [ffi::OVERLAPPED_ENTRY],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = timeout.into_iter().chain(self.next_deferred()).min();
        // Without a wait this is the only look: it must see all that was posted before, also what a pump holds right now.
        let _no_pump = (timeout == Some(Duration::ZERO))
            .then(|| self.pumping.write().unwrap_or_else(PoisonError::into_inner));
        let (awaits, is_for_one, unlooked) = {
            let mut kept = lock(&self.kept);
            kept.awaited = kept.packets.is_empty();
            (kept.awaited, kept.asking.is_for_one(), kept.unlooked)
        };
        if awaits {
            let timeout_ms = timeout.map_or(ffi::INFINITE, |timeout| {
                timeout::milliseconds(timeout, MAX_WAIT_MS)
            });
            let is_for_one = is_for_one && timeout_ms > 0 && lock(&self.flights).are_few();
            let entries = match is_for_one {
                true => &mut entries[..1],
                false => entries,
            };
            let taken = ffi::get_queued_completion_status_ex(&self.port, entries, timeout_ms);
            let mut kept = lock(&self.kept);
            kept.looked(true);
            kept.asking.took(*taken.as_ref().unwrap_or(&0));
            return taken;
        }
        let port_first = unlooked >= MAX_UNLOOKED;
        let mut taken = match port_first {
            true => self.take_posted(entries),
            false => 0,
        };
        taken += self.take_kept(&mut entries[taken..]);
        let port_last = !port_first && timeout == Some(Duration::ZERO) && taken < entries.len();
        if port_last {
            taken += self.take_posted(&mut entries[taken..]);
        }
        lock(&self.kept).looked(port_first || port_last);
        Ok(taken)
    }

    /// Handles one packet. It makes at most one event. Returns whether the packet is for a poll and `sink` is none: then
    /// the packet must be posted again.
    pub(super) fn handle(self: &Arc<Self>, entry: &ffi::OVERLAPPED_ENTRY, sink: Sink<'_>) -> bool {
        let pointer = entry.lpOverlapped as usize;
        match (entry.lpCompletionKey, sink) {
            (KEY_OPERATION | KEY_SIGNAL, _) if hooks::windows::is_put_back(&self.port, entry) => {}
            (KEY_OPERATION | KEY_SIGNAL, sink) => self.land(entry, sink),
            (KEY_NOTE | KEY_WAKE | KEY_NUDGE, None) => return true,
            (KEY_NOTE, sink) => {
                if let Some((owner, kind)) = self.take_note(pointer) {
                    owner.noted(kind, self, sink);
                }
            }
            (KEY_WAKE, Some(events)) => {
                self.wakes.taken(pointer);
                events.push(Event::wake(pointer));
            }
            (KEY_NUDGE, _) => {}
            _ => debug_assert!(false, "a packet with a key that we never gave"),
        }
        false
    }

    /// Takes and handles what is on the port, without waiting and without events.
    pub(super) fn pump(self: &Arc<Self>) {
        // Where nobody polls, this is what ends a deferred close.
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
        if others.is_empty() {
            return;
        }
        // When the `Poll` is gone, nobody takes notes and wakes any more, but a reaper may wait for a nudge.
        let gone = lock(&self.flights).is_gone();
        for (key, pointer) in others {
            if !gone || key == KEY_NUDGE {
                self.post_or_keep(key, pointer);
            }
        }
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

/// A queue that is nearly always empty, which can be seen without its lock.
struct RareQueue<T> {
    queue: Mutex<VecDeque<T>>,
    /// The length. Written under the lock, read without.
    len: AtomicUsize,
}

impl<T> RareQueue<T> {
    fn new() -> RareQueue<T> {
        RareQueue {
            queue: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
        }
    }

    fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        let mut queue = lock(&self.queue);
        let result = change(&mut queue);
        self.len.store(queue.len(), Ordering::SeqCst);
        result
    }
}

/// Which port a source belongs to: none at first, then one, for life.
pub(super) struct Membership {
    /// The source.
    owner: Weak<dyn Owner>,
    port: OnceLock<Arc<Port>>,
    /// Written before the port, if the socket was tied to it before.
    detour: OnceLock<Box<Detour>>,
    /// Held while the source joins, so that the socket is tied once.
    joining: Mutex<()>,
}

// Its owner is behind a `dyn`, which hides that every owner has this trait. See `Operation`.
impl RefUnwindSafe for Membership {}

impl Membership {
    pub(super) fn new(owner: Weak<dyn Owner>) -> Membership {
        Membership {
            owner,
            port: OnceLock::new(),
            detour: OnceLock::new(),
            joining: Mutex::default(),
        }
    }

    pub(super) fn owner(&self) -> Option<Arc<dyn Owner>> {
        self.owner.upgrade()
    }

    pub(super) fn port(&self) -> Option<&Arc<Port>> {
        self.port.get()
    }

    /// Fails with `otherwise`, unless the source belongs to `port`.
    fn expect(&self, port: &Arc<Port>, otherwise: fn() -> io::Error) -> io::Result<()> {
        match self.port() {
            Some(mine) if Arc::ptr_eq(mine, port) => Ok(()),
            _ => Err(otherwise()),
        }
    }

    /// Fails if the source does not belong to `port`.
    pub(super) fn check(&self, port: &Arc<Port>) -> io::Result<()> {
        self.expect(port, error::not_registered)
    }

    /// Makes the source, whose file is open, a member of `port`, unless it is one.
    pub(super) fn join(&self, port: &Arc<Port>, file: ffi::HANDLE) -> io::Result<()> {
        if self.port().is_none() {
            let _joining = lock(&self.joining);
            if self.port().is_none() {
                let was_given_back = lock(&port.given_back).contains_key(&file.number());
                match ffi::create_io_completion_port(file, &port.port, KEY_OPERATION) {
                    // Both handles are good. So what is invalid is the state of the source's file.
                    Err(error) if error.raw_os_error() == Some(ffi::ERROR_INVALID_PARAMETER) => {
                        if !was_given_back || !ffi::is_overlapped(file) {
                            return Err(error::tied_elsewhere());
                        }
                        drop(self.detour.set(Box::default()));
                    }
                    tied => tied?,
                }
                if was_given_back {
                    lock(&port.given_back).remove(&file.number());
                }
                lock(&port.sources).insert(self.address(), Weak::clone(&self.owner));
                // Last: from here on operations may start, and the end of the `Poll` must know the source.
                drop(self.port.set(Arc::clone(port)));
            }
        }
        self.expect(port, error::other_poll)
    }

    /// The same for a source without a file that could be tied.
    pub(super) fn join_without_file(&self, port: &Arc<Port>) -> io::Result<()> {
        let joining = lock(&self.joining);
        if self.port().is_none() {
            lock(&port.sources).insert(self.address(), Weak::clone(&self.owner));
            // Last, as above.
            drop(self.port.set(Arc::clone(port)));
        }
        drop(joining);
        self.expect(port, error::other_poll)
    }

    /// Takes the source off its port's list.
    pub(super) fn leave(&self) {
        if let Some(port) = self.port() {
            lock(&port.sources).remove(&self.address());
        }
    }

    /// The source, which is closed, gives back its socket.
    pub(super) fn give_back(&self, socket: ffi::HANDLE) {
        if let Some(port) = self.port() {
            lock(&port.given_back).insert(socket.number(), ());
        }
    }

    /// Has the socket of the source closed some time from now at the latest.
    pub(super) fn defer_close(&self) {
        if let Some(port) = self.port() {
            port.defer_close(Weak::clone(&self.owner));
        }
    }

    /// What the source is known by: it does not move.
    fn address(&self) -> usize {
        self.owner.as_ptr().cast::<()>() as usize
    }
}
