//! Models of the Unix half for [`loom`](https://docs.rs/loom), which runs each in every interleaving of its threads
//! within the bound of [`PREEMPTIONS`].
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib model_unix`
//!
//! **What is real**: `readiness.rs`, `queue.rs`, `slots.rs`, `wakes.rs`, `ending.rs` and the `Source` of `source.rs`.
//!
//! **What is played**: the kernel ([`kernel`]), the reads and writes of `stream.rs` ([`World::read`], [`World::fill`]:
//! take the tick, make the call, record how it ended) and the loop of `selector.rs` ([`World::poll`]: number the wait,
//! reap, handle). The kernel is as weak as the real one: its set has a lock of its own, and a wait reads what a socket
//! holds without the socket's lock, by a relaxed load. So only the fences of the crate put a wait after a receive.
//!
//! **What is checked**: no event is lost (at the end nothing is armed whose condition holds), none comes twice, none
//! comes without its condition, none comes after `deregister` or a drop has returned, no wake is lost, and the poller
//! does not sleep while there is something to do. `verify/mutants/unix-*.patch` break the rules behind this one by one,
//! and name the check that notices.
//!
//! **What is not checked**: the order that `OnceLock` and `Arc` give, since `std`'s are used here, and which counts as
//! given. There are at most three threads beside the poller, each with few operations, and no wait blocks.

#![allow(clippy::unwrap_used)] // a test

mod descriptors;
mod edges;
mod endings;
mod kernel;
mod levels;
mod registrations;
mod unix_streams;
mod wakes;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use kernel::{number, Fake, Set, Socket};
use loom::thread::{self, JoinHandle};

use crate::event::Events;
use crate::hooks::sync::{AtomicU32, Mutex};
use crate::interests::{Interests, Token};
use crate::unix::ffi::Moved;
use crate::unix::queue::{Queue, Registrator};
use crate::unix::readiness::{Direction, Kind};
use crate::unix::source::{self, Number, Socket as _};

const R: Interests = Interests::READABLE;
const W: Interests = Interests::WRITABLE;

/// How often a thread may be stopped between two operations although it could go on. Most bugs need one or two.
/// `LOOM_MAX_PREEMPTIONS` asks for another bound.
const PREEMPTIONS: usize = 3;

/// The number is that of a socket of the played kernel.
type Source = source::Source<Fake, Number>;

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
        World::of(Kind::Stream, held)
    }

    fn of(kind: Kind, held: &[u32]) -> Arc<World> {
        World::on(false, kind, held)
    }

    /// On a kernel that has levels, or has none. The other models are without, so that they check the edges.
    fn on(has_levels: bool, kind: Kind, held: &[u32]) -> Arc<World> {
        let sockets = held.iter().map(|&held| Socket {
            lock: Mutex::new(()),
            held: AtomicU32::new(held),
        });
        let set = Mutex::new(Set {
            items: vec![None; held.len()],
            levels: vec![false; held.len()],
            ready: VecDeque::new(),
        });
        let sockets = sockets.collect();
        let queue = Arc::new(Queue::new(Fake {
            has_levels,
            sockets,
            set,
        }));
        let sources = (0..held.len()).map(|socket| {
            let source = Source::new(Number::new(), kind);
            source.socket.set(i32::try_from(socket).unwrap());
            source
        });
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
        let source = &self.sources[source];
        let number = source.socket.number();
        let registered = self.registrator.register(source, number, token, interests);
        registered.expect("a register failed");
    }

    fn deregister(&self, source: usize) {
        self.registrator
            .disarm(&*self.sources[source], Interests::all())
            .unwrap();
    }

    /// As `Drop` of a handle does.
    fn drop_source(&self, source: usize) {
        let source = &self.sources[source];
        self.queue.leave(&**source, source.socket.number());
        assert_eq!(Arc::strong_count(source), 1, "the table keeps the dropped");
    }

    /// As `stream.rs` reads.
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

    /// As `stream.rs` reads from a Unix stream.
    fn read_unix(&self, source: usize, room: u32) -> io::Result<u32> {
        let readiness = &self.sources[source].readiness;
        let tick = readiness.tick(Direction::Read);
        match self.kernel().receive_unix(source, room) {
            Ok((count, is_all)) => {
                let moved = Moved::read(count as usize, room as usize, is_all);
                if moved.bytes < moved.room {
                    readiness.moved_short(Direction::Read, tick, moved.bytes);
                }
                Ok(count)
            }
            Err(error) => {
                readiness.note(Direction::Read, tick);
                Err(error)
            }
        }
    }

    /// As `stream.rs` writes, and more than there is room for.
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
        self.poll_and(capacity, || ())
    }

    /// The same, with something to do between reaping and handling.
    fn poll_and(&self, capacity: usize, when_reaped: impl FnOnce()) -> (Said, usize) {
        let mut events = Events::with_capacity(capacity);
        let wait = self.queue.begin_wait();
        let reaped = self.kernel().reap(capacity, wait);
        when_reaped();
        let mut batch = self.queue.batch();
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
            let socket = number(source.socket.number());
            let due = source.readiness.lock().armed & self.kernel().holds(socket);
            assert!(due.is_empty(), "lost: {due:?} is due, after {said:?}");
        }
    }

    /// Lets go of the sources, which point to the queue that points to them.
    fn end(&self) {
        for source in 0..self.sources.len() {
            if self.sources[source].membership.get().is_some() {
                self.drop_source(source);
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

/// Polls while `threads` run, and then until nothing is left, after `said` was handed out. Token 2 is armed for
/// `interest` at the end, and nobody has read or written since. So its event has come if, and only if, the condition
/// holds.
fn expect_second_event(
    world: &World,
    mut said: Said,
    threads: impl IntoIterator<Item = JoinHandle<()>>,
    polls: usize,
    interest: Interests,
) {
    said.extend(world.polls(polls, 8));
    join(threads);
    world.settle(&mut said, 8);
    let came = said.contains(&(2, interest));
    let holds = world.kernel().holds(0).contains(interest);
    assert!(
        !came || holds,
        "false: {interest:?} does not hold, {said:?}"
    );
    assert!(came || !holds, "lost: {interest:?} holds, {said:?}");
    world.end();
}
