//! Model checks with [`loom`](https://docs.rs/loom): the state machine, the queue and the wakes, against a kernel in
//! miniature, in every interleaving within the bound of [`PREEMPTIONS`].
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib model`
//!
//! **What is real**: `readiness.rs`, `queue.rs`, `slots.rs`, `wakes.rs`. **What is played here**: the kernel ([`Fake`]),
//! the calls of `sources.rs` ([`World::read`], [`World::fill`]: tick, call, record, as there) and the loop of `select`
//! ([`World::poll`]: number the wait, reap, handle, as there). The kernel is as weak as the real one: the set has a
//! lock of its own, and what a socket holds is read without the socket's lock, by a relaxed load, so nothing orders
//! a wait after a receive but the fences of the crate.
//!
//! **What is checked**: no event is lost (at the end nothing is armed whose condition holds), none comes twice, none
//! without its condition, none after `deregister` or drop has returned, no wake is lost, and the poller never sleeps
//! with work due. Each check has its counterpart that leaves one [`Rule`] out and must fail.
//!
//! **What is not**: `OnceLock` and the standard `Arc` are not the checker's (their order counts as given), the number
//! of threads (at most three beside the poller) and of operations is small, and no wait has to be woken up from.

#![allow(clippy::unwrap_used)] // a test

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use crate::event::{Events, Hints};
use crate::hooks::sync::{lock, AtomicBool, AtomicU32, Mutex, Ordering};
use crate::interests::{Interests, Token};
use crate::unix::ending::Ending;
use crate::unix::queue::{Queue, Registrator, System};
use crate::unix::readiness::{Direction, Edge, Key, Kind};
use crate::unix::source;

const R: Interests = Interests::READABLE;
const W: Interests = Interests::WRITABLE;

/// How often a thread may be stopped between two operations although it could go on. Most bugs need one or two.
/// `LOOM_MAX_PREEMPTIONS` asks for another bound.
const PREEMPTIONS: usize = 3;

/// What a socket holds: the count of bytes in the low bits, and these.
const FIN: u32 = 1 << 16;
const FULL: u32 = 1 << 17;
const BYTES: u32 = FIN - 1;

/// Which interests hold, as `epoll` and `poll(2)` see it.
fn ready(held: u32) -> Interests {
    let mut ready = Interests::empty();
    ready.set(R, held & (BYTES | FIN) != 0);
    ready.set(W, held & FULL == 0);
    ready
}

/// A socket of the kernel in miniature. It is changed under its lock, and looked at without.
#[derive(Debug)]
struct Socket {
    lock: Mutex<()>,
    held: AtomicU32,
}

/// The kernel's queue: what is watched, and the list of what is ready.
#[derive(Debug)]
struct Set {
    items: Vec<Option<(Interests, Key)>>,
    /// Numbers of sockets; `None` is the notice.
    ready: VecDeque<Option<usize>>,
}

impl Set {
    fn push(&mut self, entry: Option<usize>) {
        if !self.ready.contains(&entry) {
            self.ready.push_back(entry);
        }
    }
}

#[derive(Debug)]
struct Fake {
    sockets: Vec<Socket>,
    set: Mutex<Set>,
}

impl Fake {
    /// Changes what a socket holds, and reports `interests` if they are asked for, as `ep_poll_callback` does.
    fn change(&self, socket: usize, interests: Interests, change: impl FnOnce(u32) -> u32) {
        let _lock = lock(&self.sockets[socket].lock);
        let held = self.sockets[socket].held.load(Ordering::Relaxed);
        self.sockets[socket]
            .held
            .store(change(held), Ordering::Relaxed);
        let mut set = lock(&self.set);
        if matches!(set.items[socket], Some((asked, _)) if asked.intersects(interests)) {
            set.push(Some(socket));
        }
    }

    fn deliver(&self, socket: usize, bytes: u32) {
        self.change(socket, R, |held| held + bytes);
    }

    fn finish(&self, socket: usize) {
        self.change(socket, R, |held| held | FIN);
    }

    fn make_room(&self, socket: usize) {
        self.change(socket, W, |held| held & !FULL);
    }

    fn receive(&self, socket: usize, room: u32) -> io::Result<u32> {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        let count = room.min(held & BYTES);
        if count == 0 && held & FIN == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.held.store(held - count, Ordering::Relaxed);
        Ok(count)
    }

    /// A write of more than there is room for: short, or `WouldBlock`.
    fn send_much(&self, socket: usize) -> io::Result<u32> {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        if held & FULL != 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.held.store(held | FULL, Ordering::Relaxed);
        Ok(1)
    }

    fn holds(&self, socket: usize) -> Interests {
        ready(self.sockets[socket].held.load(Ordering::Relaxed))
    }

    /// `epoll_wait` with no time: each entry as slot and edge, or the notice.
    fn reap(&self, most: usize, wait: u32) -> Vec<Option<(u32, Edge)>> {
        let mut set = lock(&self.set);
        let mut reaped = Vec::new();
        while reaped.len() < most {
            let Some(entry) = set.ready.pop_front() else {
                break;
            };
            let Some(socket) = entry else {
                reaped.push(None);
                continue;
            };
            let Some((asked, key)) = set.items[socket] else {
                continue;
            };
            let held = self.sockets[socket].held.load(Ordering::Relaxed);
            let ready = ready(held) & asked;
            if ready.is_empty() {
                continue;
            }
            let mut odd = Interests::empty();
            odd.set(R, held & FIN != 0);
            let edge = Edge {
                stamp: key.stamp,
                wait,
                told: Interests::all(),
                ready,
                odd,
                waiting: 0,
                urgent: false,
                hints: Hints::default(),
            };
            reaped.push(Some((key.slot, edge)));
        }
        reaped
    }
}

fn number(fd: BorrowedFd<'_>) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap()
}

impl System for Fake {
    fn ask(
        &self,
        fd: BorrowedFd<'_>,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()> {
        let socket = number(fd);
        let mut set = lock(&self.set);
        match (before, set.items[socket]) {
            (None, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(_), None) => return Err(ErrorKind::NotFound.into()),
            _ => {}
        }
        set.items[socket] = Some((interests, key));
        if self.holds(socket).intersects(interests) {
            set.push(Some(socket));
        }
        Ok(())
    }

    fn confirm(&self, fd: BorrowedFd<'_>, interests: Interests) -> Interests {
        self.holds(number(fd)) & interests
    }

    fn leave(&self, fd: BorrowedFd<'_>, _asked: Interests) {
        let socket = number(fd);
        let mut set = lock(&self.set);
        set.items[socket] = None;
        set.ready.retain(|entry| *entry != Some(socket));
    }

    fn notice(&self) {
        lock(&self.set).push(None);
    }
}

/// A descriptor of the kernel in miniature: the number of a socket.
struct Descriptor(usize);

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is a number that only `Fake` looks at, and never the system.
        unsafe { BorrowedFd::borrow_raw(i32::try_from(self.0).unwrap()) }
    }
}

type Source = source::Source<Fake, Descriptor>;

/// A `Poll` and its sources, each with a socket.
struct World {
    queue: Arc<Queue<Fake>>,
    registrator: Registrator<Fake>,
    sources: Vec<Arc<Source>>,
}

/// What events have said: a token, and an interest or none.
type Said = Vec<(Token, Interests)>;

impl World {
    fn new(held: &[u32]) -> Arc<World> {
        let sockets = held.iter().map(|&held| Socket {
            lock: Mutex::new(()),
            held: AtomicU32::new(held),
        });
        let set = Mutex::new(Set {
            items: vec![None; held.len()],
            ready: VecDeque::new(),
        });
        let sockets = sockets.collect();
        let queue = Arc::new(Queue::new(Fake { sockets, set }));
        let sources = (0..held.len()).map(|socket| Source::new(Descriptor(socket), Kind::Stream));
        Arc::new(World {
            registrator: Registrator::new(&queue),
            sources: sources.collect(),
            queue,
        })
    }

    fn kernel(&self) -> &Fake {
        self.queue.system()
    }

    fn register(&self, source: usize, token: Token, interests: Interests) {
        self.registrator
            .register(&self.sources[source], token, interests)
            .expect("a register failed");
    }

    fn deregister(&self, source: usize) {
        self.registrator
            .disarm(&self.sources[source], Interests::all())
            .unwrap();
    }

    /// As `Drop` of a handle does.
    fn drop_source(&self, source: usize) {
        self.queue.leave(&self.sources[source]);
    }

    /// As `sources.rs` reads from a stream.
    fn read(&self, source: usize, room: u32) -> io::Result<u32> {
        let readiness = &self.sources[source].readiness;
        let tick = readiness.tick(Direction::Read);
        let result = self.kernel().receive(source, room);
        match &result {
            Ok(count) if (1..room).contains(count) => {
                readiness.moved_short(Direction::Read, tick, *count as usize);
            }
            Ok(_) => {}
            Err(_) => readiness.note(Direction::Read, tick),
        }
        result
    }

    /// As `sources.rs` writes to a stream, and more than it takes.
    fn fill(&self, source: usize) {
        let readiness = &self.sources[source].readiness;
        let tick = readiness.tick(Direction::Write);
        match self.kernel().send_much(source) {
            Ok(count) => readiness.moved_short(Direction::Write, tick, count as usize),
            Err(_) => readiness.note(Direction::Write, tick),
        }
    }

    /// As `select` polls once, without waiting. Returns how many entries were reaped, too.
    fn poll(&self, capacity: usize) -> (Said, usize) {
        let mut events = Events::with_capacity(capacity);
        let wait = self.queue.begin_wait();
        let reaped = self.kernel().reap(capacity, wait);
        let batch = self.queue.batch();
        for (index, entry) in reaped.iter().enumerate() {
            match entry {
                None => batch.notice(reaped.len() - index - 1, &mut events),
                Some((slot, edge)) => batch.edge(*slot, edge, &mut events),
            }
        }
        drop(batch);
        assert!(events.len() <= capacity, "more events than fit");
        let mut said = Vec::new();
        for event in &events {
            if event.is_readable() {
                said.push((event.id(), R));
            }
            if event.is_writable() {
                said.push((event.id(), W));
            }
            if !event.is_readable() && !event.is_writable() {
                said.push((event.id(), Interests::empty()));
            }
        }
        (said, reaped.len())
    }

    /// Polls as often as said, beside the other threads.
    fn polls(&self, times: usize, capacity: usize) -> Said {
        (0..times).flat_map(|_| self.poll(capacity).0).collect()
    }

    /// When all other threads are done: takes what is left, and checks what holds of all that was said.
    fn settle(&self, said: &mut Said, capacity: usize) {
        loop {
            let (more, reaped) = self.poll(capacity);
            said.extend(more);
            if reaped == 0 {
                break;
            }
        }
        for (index, one) in said.iter().enumerate() {
            assert!(!said[..index].contains(one), "twice: {one:?} in {said:?}");
        }
        for source in &self.sources {
            let due = source.readiness.lock().armed & self.kernel().holds(source.socket.0);
            assert!(due.is_empty(), "lost: {due:?} is due, after {said:?}");
        }
    }

    /// Lets go of the sources, which point to the queue that points to them.
    fn end(&self) {
        for source in &self.sources {
            if source.membership.get().is_some() {
                self.queue.leave(source);
            }
        }
    }
}

fn spawn(world: &Arc<World>, run: impl FnOnce(&World) + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || run(&world))
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

fn explore(scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(PREEMPTIONS);
    model.check(scenario);
}

/// Token 2 is armed for `interests` at the end and nobody has read or written since: its event came if, and only if,
/// the condition holds.
fn second_event_is_right(world: &World, said: &Said, interest: Interests) {
    let came = said.contains(&(2, interest));
    let holds = world.kernel().holds(0).contains(interest);
    assert!(
        !came || holds,
        "false: {interest:?} does not hold, {said:?}"
    );
    assert!(came || !holds, "lost: {interest:?} holds, {said:?}");
}

/// An edge is queued; a thread takes the bytes and registers anew; more bytes may come.
fn a_reader_overtakes_the_poller(rooms: &'static [u32], more: bool) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 2);
        let mut threads = vec![spawn(&world, move |world| {
            for &room in rooms {
                drop(world.read(0, room));
            }
            world.register(0, 2, R);
        })];
        if more {
            threads.push(spawn(&world, |world| world.kernel().deliver(0, 1)));
        }
        let mut said = world.polls(2, 8);
        join(threads);
        world.settle(&mut said, 8);
        second_event_is_right(&world, &said, R);
        world.end();
    });
}

/// The event has come, nothing is armed, and the kernel owes; bytes come while a thread reads and registers.
fn bytes_come_while_a_reader_registers(reads: usize, arrivals: usize) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let mut said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        assert_eq!(world.read(0, 8).unwrap(), 1);
        let reader = spawn(&world, move |world| {
            for _ in 0..reads {
                drop(world.read(0, 8));
            }
            world.register(0, 2, R);
        });
        let peer = spawn(&world, move |world| {
            for _ in 0..arrivals {
                world.kernel().deliver(0, 1);
            }
        });
        said.extend(world.polls(2, 8));
        join([reader, peer]);
        world.settle(&mut said, 8);
        second_event_is_right(&world, &said, R);
        world.end();
    });
}

/// Nothing is owed when bytes come; a thread takes them and registers, which asks anew, before their edge is handled.
fn a_reader_asks_anew_before_the_edge_is_handled(more: bool) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let mut said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        assert_eq!(world.read(0, 1).unwrap(), 1);
        world.kernel().deliver(0, 1);
        let mut threads = vec![spawn(&world, |world| {
            drop(world.read(0, 1));
            world.register(0, 2, R);
        })];
        if more {
            threads.push(spawn(&world, |world| world.kernel().deliver(0, 1)));
        }
        said.extend(world.polls(2, 8));
        join(threads);
        world.settle(&mut said, 8);
        second_event_is_right(&world, &said, R);
        world.end();
    });
}

/// Bytes and then the end of the stream, read short, and registered anew.
fn the_end_comes_while_a_reader_reads_short() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let peer = spawn(&world, |world| world.kernel().finish(0));
        let mut said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        let reader = spawn(&world, |world| {
            assert_eq!(world.read(0, 8).unwrap(), 1);
            world.register(0, 2, R);
        });
        said.extend(world.polls(1, 8));
        join([peer, reader]);
        world.settle(&mut said, 8);
        second_event_is_right(&world, &said, R);
        world.end();
    });
}

/// The same as with bytes, for room: a writer fills the stream behind the poller's back.
fn a_writer_overtakes_the_poller() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, W);
        let writer = spawn(&world, |world| {
            world.fill(0);
            world.register(0, 2, W);
        });
        let peer = spawn(&world, |world| world.kernel().make_room(0));
        let mut said = world.polls(2, 8);
        join([writer, peer]);
        world.settle(&mut said, 8);
        second_event_is_right(&world, &said, W);
        world.end();
    });
}

/// Both directions under two tokens, and room for one event.
fn both_directions_fit_one_at_a_time() {
    explore(|| {
        let world = World::new(&[FULL]);
        world.register(0, 1, R);
        let writer = spawn(&world, |world| world.register(0, 2, W));
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().make_room(0);
        });
        let mut said = world.polls(2, 1);
        join([writer, peer]);
        world.settle(&mut said, 1);
        said.sort_by_key(|(token, _)| *token);
        assert_eq!(said, [(1, R), (2, W)]);
        world.end();
    });
}

/// Two threads register a source that is known to the queue, or is not, and bytes come.
fn two_threads_register(known: bool) {
    explore(move || {
        let world = World::new(&[0]);
        if known {
            world.register(0, 1, R);
            world.kernel().deliver(0, 1);
            assert_eq!(world.polls(1, 8), [(1, R)]);
            assert!(world.read(0, 8).is_ok());
        }
        let threads = [
            spawn(&world, |world| world.register(0, 2, R)),
            spawn(&world, |world| world.register(0, 3, R)),
            spawn(&world, |world| world.kernel().deliver(0, 1)),
        ];
        let mut said = world.polls(1, 8);
        join(threads);
        world.settle(&mut said, 8);
        assert!(!said.is_empty(), "lost: neither came");
        world.end();
    });
}

/// Bytes come again and again after one registration.
fn bytes_come_after_the_event() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().deliver(0, 1);
        });
        let mut said = world.polls(2, 8);
        join([peer]);
        said.extend(world.polls(1, 8));
        assert!(!said.is_empty(), "lost: nothing came");
        world.kernel().deliver(0, 1);
        world.settle(&mut said, 8);
        world.end();
    });
}

/// A thread deregisters while an edge is reaped and handled, and may register anew.
fn a_thread_deregisters(and_registers: bool) {
    explore(move || {
        let world = World::new(&[1]);
        let gone = Arc::new(AtomicBool::new(false));
        world.register(0, 1, R);
        let thread = spawn(&world, {
            let gone = Arc::clone(&gone);
            move |world| {
                world.deregister(0);
                gone.store(true, Ordering::SeqCst);
                if and_registers {
                    world.register(0, 2, R);
                }
            }
        });
        let mut said = Vec::new();
        for _ in 0..2 {
            let was_gone = gone.load(Ordering::SeqCst);
            let now = world.poll(8).0;
            assert!(
                !was_gone || !now.contains(&(1, R)),
                "an event after the deregister"
            );
            said.extend(now);
        }
        join([thread]);
        let before = said.len();
        world.settle(&mut said, 8);
        assert!(
            !said[before..].contains(&(1, R)),
            "an event after the deregister"
        );
        assert_eq!(said.contains(&(2, R)), and_registers, "lost: {said:?}");
        world.end();
    });
}

/// A source is dropped while its edge is reaped and handled, and another takes its slot.
fn a_source_is_dropped_and_its_slot_used_again() {
    explore(|| {
        let world = World::new(&[1, 0]);
        let gone = Arc::new(AtomicBool::new(false));
        world.register(0, 1, R);
        let thread = spawn(&world, {
            let gone = Arc::clone(&gone);
            move |world| {
                world.drop_source(0);
                gone.store(true, Ordering::SeqCst);
                world.register(1, 2, R);
            }
        });
        let mut said = Vec::new();
        for _ in 0..2 {
            let was_gone = gone.load(Ordering::SeqCst);
            let now = world.poll(8).0;
            assert!(
                !was_gone || !now.contains(&(1, R)),
                "an event after the drop"
            );
            said.extend(now);
        }
        join([thread]);
        said.extend(world.poll(8).0);
        assert!(
            !said.contains(&(2, R)),
            "false: the other has nothing to read"
        );
        world.kernel().deliver(1, 1);
        let now = world.poll(8).0;
        assert_eq!(now, [(2, R)], "lost: the other's event");
        world.queue.leave(&world.sources[1]);
    });
}

/// Two threads wake, and the poller has room for one event at a time, or for all.
fn two_threads_wake(capacity: usize) {
    explore(move || {
        let world = World::new(&[]);
        let woken = Arc::new(AtomicBool::new(false));
        let threads = [
            spawn(&world, |world| world.registrator.wake(1).unwrap()),
            spawn(&world, {
                let woken = Arc::clone(&woken);
                move |world| {
                    world.registrator.wake(2).unwrap();
                    woken.store(true, Ordering::SeqCst);
                }
            }),
        ];
        let was_woken = woken.load(Ordering::SeqCst);
        let mut said = world.polls(1, capacity);
        if was_woken && capacity > 1 {
            let came = said.contains(&(2, Interests::empty()));
            assert!(came, "sleeps: a wake had returned, {said:?}");
        }
        join(threads);
        world.settle(&mut said, capacity);
        said.sort_by_key(|(token, _)| *token);
        assert_eq!(
            said,
            [(1, Interests::empty()), (2, Interests::empty())],
            "a wake was lost"
        );
    });
}

/// A thread wakes and another closes, while the poller goes to sleep.
fn a_wake_races_the_close() {
    explore(|| {
        let world = World::new(&[]);
        let accepted = Arc::new(AtomicBool::new(false));
        let threads = [
            spawn(&world, {
                let accepted = Arc::clone(&accepted);
                move |world| accepted.store(world.registrator.wake(1).is_ok(), Ordering::SeqCst)
            }),
            spawn(&world, |world| world.registrator.close_loop().unwrap()),
        ];
        let mut said = Vec::new();
        let (mut over, mut asleep) = (false, false);
        for _ in 0..2 {
            let was_closed = world.queue.is_closed();
            let (now, reaped) = world.poll(8);
            said.extend(now);
            if reaped == 0 {
                // A closed loop reports its end; another waits until something is queued.
                over = was_closed;
                asleep = !was_closed;
                break;
            }
        }
        join(threads);
        let woken = lock(&world.kernel().set).ready.front().is_some();
        assert!(!asleep || woken, "sleeps: the loop is closed");
        if !over {
            world.settle(&mut said, 8);
        }
        let came = said.contains(&(1, Interests::empty()));
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            came,
            "an accepted wake was lost"
        );
    });
}

/// A read meets the end while a write is told of a reset: whichever was first, every later read says the same.
#[test]
fn an_end_and_a_failure_agree_on_which_was_first() {
    const RESET: i32 = 104;
    explore(|| {
        let ending = Arc::new(Ending::new());
        let writer = thread::spawn({
            let ending = Arc::clone(&ending);
            move || assert!(ending.failed(Direction::Write, RESET))
        });
        let first = ending.read_ended();
        writer.join().unwrap();
        assert_eq!(ending.read_ended(), first);
        assert_eq!(ending.failed(Direction::Read, RESET), first.is_some());
        assert_eq!(ending.take(), Some(RESET));
        assert_eq!(ending.take(), None);
    });
}

#[test]
fn a_reader_that_reads_short_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[3], true);
}

#[test]
fn a_reader_that_fills_its_buffer_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[2], true);
}

#[test]
fn a_reader_that_reads_until_it_would_block_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[2, 2], true);
}

#[test]
fn a_reader_that_leaves_bytes_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[1], true);
}

#[test]
fn a_reader_that_asks_anew_overtakes_the_poller() {
    a_reader_asks_anew_before_the_edge_is_handled(true);
}

#[test]
fn bytes_come_while_a_reader_finds_nothing_and_registers() {
    bytes_come_while_a_reader_registers(1, 2);
}

#[test]
fn bytes_come_while_nobody_waits_and_a_thread_registers() {
    bytes_come_while_a_reader_registers(0, 3);
}

#[test]
fn one_event_comes_of_many_arrivals() {
    bytes_come_after_the_event();
}

#[test]
fn the_end_of_the_stream_is_told_after_a_short_read() {
    the_end_comes_while_a_reader_reads_short();
}

#[test]
fn a_writer_that_fills_the_stream_overtakes_the_poller() {
    a_writer_overtakes_the_poller();
}

#[test]
fn both_directions_come_once_with_room_for_one() {
    both_directions_fit_one_at_a_time();
}

#[test]
fn two_threads_register_a_known_source() {
    two_threads_register(true);
}

#[test]
fn two_threads_register_a_new_source() {
    two_threads_register(false);
}

#[test]
fn no_event_after_a_deregister() {
    a_thread_deregisters(false);
}

#[test]
fn a_registration_after_a_deregister_fires() {
    a_thread_deregisters(true);
}

#[test]
fn no_event_after_a_drop() {
    a_source_is_dropped_and_its_slot_used_again();
}

#[test]
fn wakes_of_two_threads_both_come() {
    two_threads_wake(8);
}

#[test]
fn wakes_that_do_not_fit_come_later() {
    two_threads_wake(1);
}

#[test]
fn a_wake_beside_a_close_comes_or_fails() {
    a_wake_races_the_close();
}
