//! Model checks with [`loom`](https://docs.rs/loom): the streams, operations and the port of this backend, against a kernel
//! in miniature (`kernel.rs`), in every interleaving within the bound of [`PREEMPTIONS`]. They run on any Unix.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib model`
//!
//! **What is real**: `windows.rs` with all that is below it, but for `ffi`. **What is played**: `ffi`, the sockets and the
//! clock of `std`, and the few lines of `Poll::poll` about the close ([`World::poll_or_closed`]).
//!
//! **What is checked**: no event is lost (a poller that waits for one that must come would never wake, which the checker
//! calls a deadlock), none comes twice, none without its condition, none after `deregister` or drop has returned; no wake is
//! lost; each byte is read once and in order, and what was accepted is sent; memory that the kernel has is neither used
//! nor freed; an operation has one flight at a time; no call is made on a socket that was closed; and at the end of every
//! interleaving nothing is lent, in flight, open or alive. For each rule there is a mutant in
//! `verify/mutants`: a patch that leaves the rule out, with which one of these checks must fail.
//!
//! Each subject has a file of its own.
//!
//! **What is not**: `OnceLock` and the standard `Arc` (their order counts as given), most of `into_std`, and failures of
//! other calls than those that post and start.

#![allow(clippy::unwrap_used)] // a test

mod datagrams;
mod detours;
mod endings;
mod listeners;
mod pipes;
mod ports;
mod refusals;
mod streams;
mod tries;
mod waitables;
mod waits;

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use crate::event::Events;
use crate::hooks::sync::{AtomicBool, Ordering};
use crate::interests::{Interests, Token};
use crate::windows::ffi::{self, Numbered, SOCKET};
use crate::windows::{NamedPipe, Registrator, Selector, TcpListener, TcpStream, UdpSocket};

const R: Interests = Interests::READABLE;
const W: Interests = Interests::WRITABLE;
const WAKE: Interests = Interests::empty();

/// How often a thread may be stopped between two operations although it could go on. `LOOM_MAX_PREEMPTIONS` asks for
/// another bound.
const PREEMPTIONS: usize = 3;

/// What a stream lends here.
const LENT: usize = 4;

/// Let go of in order, but by a check that has failed: there, what it would do is none of the interleavings.
#[derive(Debug)]
struct Careful<T>(Option<T>);

impl<T> Careful<T> {
    fn new(held: T) -> Careful<T> {
        Careful(Some(held))
    }

    fn into_inner(mut self) -> T {
        self.0.take().unwrap()
    }
}

impl<T> Deref for Careful<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for Careful<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl<T> Drop for Careful<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

type Stream = Arc<Careful<TcpStream>>;

/// A connected stream that lends `lent` bytes, and its socket.
fn stream(lent: usize, room: usize) -> (Stream, SOCKET) {
    let std = ffi::connected_socket(room);
    let socket = ffi::socket_of(&std);
    let stream = TcpStream::from_std(std).unwrap();
    stream.set_lent_buffer(lent);
    (Arc::new(Careful::new(stream)), socket)
}

/// Reads once: what came, or nothing.
fn read(stream: &Stream, room: usize) -> Vec<u8> {
    let mut buffer = vec![0; room];
    match stream.read(&mut buffer) {
        Ok(count) => buffer[..count].to_vec(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            Vec::new()
        }
    }
}

/// Reads until there is nothing.
fn read_rest(stream: &Stream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = read(stream, 8);
        if bytes.is_empty() {
            return all;
        }
        all.extend(bytes);
    }
}

/// What can be registered here.
trait Registered {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()>;
    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()>;
}

macro_rules! registered {
    ($($source:ty)*) => {$(
        impl Registered for Arc<Careful<$source>> {
            fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
                <$source>::register(self, with, token, interests)
            }

            fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
                <$source>::disarm(self, with, interests)
            }
        }
    )*};
}

registered!(TcpStream TcpListener UdpSocket NamedPipe);

/// What events have said: a token, and an interest or none.
type Said = Vec<(Token, Interests)>;

struct World {
    selector: Careful<Selector>,
    registrator: Careful<Registrator>,
    said: Said,
}

impl World {
    fn new() -> World {
        World::lending(64)
    }

    fn registrator(&self) -> Careful<Registrator> {
        Careful::new(Registrator::clone(&self.registrator))
    }

    /// With a bound on what is lent.
    fn lending(limit: usize) -> World {
        let selector = Selector::new(limit).unwrap();
        World {
            registrator: Careful::new(selector.registrator()),
            selector: Careful::new(selector),
            said: Said::new(),
        }
    }

    fn register(&self, source: &impl Registered, token: Token, interests: Interests) {
        source
            .register(&self.registrator, token, interests)
            .unwrap();
    }

    /// Polls once, and returns what came.
    fn poll(&mut self, timeout: Option<Duration>) -> Said {
        let mut events = Events::with_capacity(8);
        let count = self.selector.select(&mut events, timeout).unwrap();
        assert_eq!(count, events.len());
        let mut said = Said::new();
        for event in &events {
            if event.is_readable() {
                said.push((event.id(), R));
            }
            if event.is_writable() {
                said.push((event.id(), W));
            }
            if !event.is_readable() && !event.is_writable() {
                said.push((event.id(), WAKE));
            }
        }
        for one in &said {
            assert!(!self.said.contains(one), "twice: {one:?}");
            self.said.push(*one);
        }
        said
    }

    fn glance(&mut self) -> Said {
        self.poll(Some(Duration::ZERO))
    }

    /// Waits for an event that must come.
    fn wait_for(&mut self, one: (Token, Interests)) {
        while !self.said.contains(&one) {
            self.poll(None);
        }
    }

    /// As `Poll::poll` does: `None` when the loop is closed.
    fn poll_or_closed(&mut self) -> Option<Said> {
        let was_closed = self.registrator.is_closed();
        let said = self.poll(None);
        (!said.is_empty() || !was_closed).then_some(said)
    }

    /// When all other threads are done: takes what is left.
    fn settle(&mut self) {
        while ffi::packets() > 0 {
            self.glance();
        }
        // What is in memory.
        self.glance();
    }

    /// The same, when nothing must be told any more.
    fn settle_silently(&mut self) {
        while ffi::packets() > 0 {
            let said = self.glance();
            assert!(said.is_empty(), "an event after: {said:?}");
        }
        let said = self.glance();
        assert!(said.is_empty(), "an event after: {said:?}");
    }

    /// Lets go of everything. What is alive afterwards, the next `boot` finds.
    fn end<T>(self, sources: impl IntoIterator<Item = Arc<T>>) {
        for source in sources {
            assert_eq!(Arc::strong_count(&source), 1);
        }
        let registrator = self.registrator();
        drop(self);
        drop(registrator);
    }
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap()
}

fn explore(scenario: impl Fn() + Sync + Send + 'static) {
    explore_within(usize::MAX, scenario);
}

/// For what has so many interleavings that a wider bound would take many minutes.
fn explore_within(most: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    let bound = model.preemption_bound.unwrap_or(PREEMPTIONS);
    model.preemption_bound = Some(bound.min(most));
    model.check(move || {
        ffi::boot();
        scenario();
    });
    ffi::turn_off();
}

fn is_would_block(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A stream whose two bytes the socket has not taken yet.
fn a_send_in_flight() -> (World, Stream, SOCKET) {
    let mut world = World::new();
    let (stream, socket) = stream(LENT, 0);
    world.register(&stream, 1, W);
    world.wait_for((1, W));
    assert_eq!(stream.write(b"ab").unwrap(), 2);
    (world, stream, socket)
}

/// A source that is registered is dropped while something arrives for it, and another source's reads take packets.
fn a_source_is_dropped<S: Registered + Send + 'static>(
    limit: usize,
    make: fn() -> (S, SOCKET),
    arrive: fn(SOCKET),
) {
    explore(move || {
        let mut world = World::lending(limit);
        let (source, socket) = make();
        let (other, _) = stream(LENT, 0);
        world.register(&source, 1, R);
        world.register(&other, 2, R);
        let done = Arc::new(AtomicBool::new(false));
        let peer = thread::spawn(move || arrive(socket));
        let told = Arc::clone(&done);
        let dropper = thread::spawn(move || {
            drop(source);
            told.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            let was_done = done.load(Ordering::SeqCst);
            let said = world.glance();
            assert!(!was_done || said.is_empty(), "an event after: {said:?}");
            read(&other, 1);
        }
        join(dropper);
        join(peer);
        assert!(
            !ffi::is_open(socket),
            "open: the socket of a dropped source"
        );
        world.settle_silently();
        assert_eq!(world.registrator.lent_bytes(), LENT, "lent");
        world.end([other]);
    });
}

/// A stream is dropped, and perhaps its `Poll`, while a thread of the pool serves its waits: `begin` starts that thread.
fn a_waiting_stream_is_dropped(
    make: fn(&mut World) -> (Stream, SOCKET),
    begin: fn(SOCKET) -> JoinHandle<()>,
    interests: Interests,
    poll_too: bool,
) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = make(&mut world);
        world.register(&stream, 2, interests);
        let pool = begin(socket);
        let Some(mut world) = drop_while_served(world, stream, pool, poll_too) else {
            return;
        };
        assert!(
            !ffi::is_open(socket),
            "open: the socket of a dropped stream"
        );
        world.settle_silently();
        world.end::<()>([]);
    });
}

/// Drops a source, and perhaps its `Poll`, while a thread of the pool serves its waits. `None` if the `Poll` is gone.
fn drop_while_served<S: Send + 'static>(
    mut world: World,
    source: S,
    pool: JoinHandle<()>,
    poll_too: bool,
) -> Option<World> {
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let dropper = thread::spawn(move || {
        drop(source);
        told.store(true, Ordering::SeqCst);
    });
    if poll_too {
        drop(world);
        join(dropper);
        stop(pool);
        return None;
    }
    for _ in 0..2 {
        let was_done = done.load(Ordering::SeqCst);
        let said = world.glance();
        assert!(!was_done || said.is_empty(), "an event after: {said:?}");
    }
    join(dropper);
    stop(pool);
    Some(world)
}

/// Ends the pool's thread, which has called what is due.
fn stop(pool: JoinHandle<()>) {
    ffi::end_waits();
    join(pool);
}

/// A registration is taken back while something arrives; `look` takes what there is, and packets with it.
fn a_source_is_deregistered<
    S: Registered + Clone + Send + 'static,
    T: PartialEq + Debug + 'static,
>(
    make: fn() -> (S, SOCKET),
    arrive: fn(SOCKET),
    look: fn(&S) -> Vec<T>,
    expected: fn() -> Vec<T>,
) {
    explore(move || {
        let mut world = World::new();
        let (source, socket) = make();
        world.register(&source, 1, R);
        let done = Arc::new(AtomicBool::new(false));
        let peer = thread::spawn(move || arrive(socket));
        let (mine, registrator) = (source.clone(), world.registrator());
        let told = Arc::clone(&done);
        let other = thread::spawn(move || {
            mine.disarm(&registrator, Interests::all()).unwrap();
            told.store(true, Ordering::SeqCst);
        });
        let mut got = Vec::new();
        for _ in 0..2 {
            let was_done = done.load(Ordering::SeqCst);
            let said = world.glance();
            assert!(!was_done || said.is_empty(), "an event after: {said:?}");
            // Has the packet taken without a poll, and perhaps a note posted.
            got.extend(look(&source));
        }
        join(other);
        join(peer);
        world.settle_silently();
        got.extend(look(&source));
        assert_eq!(got, expected(), "what arrived");
        drop(source);
        world.end::<()>([]);
    });
}
