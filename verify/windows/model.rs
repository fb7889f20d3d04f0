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
//! interleaving nothing is lent, in flight, open or alive. Each check has its counterpart that leaves one [`Rule`] out and
//! must fail.
//!
//! Listeners, datagrams, waits, what the system refuses, how connections end and calls of the user's own have files of their own.
//!
//! **What is not**: `OnceLock` and the standard `Arc` (their order counts as given), `into_std`, and failures of other calls
//! than those that post and start.

#![allow(clippy::unwrap_used)] // a test

mod datagrams;
mod endings;
mod listeners;
mod refusals;
mod tries;
mod waits;

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use crate::event::Events;
use crate::hooks::rules::{without, Rule};
use crate::hooks::sync::{AtomicBool, Ordering};
use crate::interests::{Interests, Token};
use crate::windows::ffi::{self, SOCKET};
use crate::windows::{Registrator, Selector, TcpListener, TcpStream, UdpSocket};

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

registered!(TcpStream TcpListener UdpSocket);

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
    }

    /// The same, when nothing must be told any more.
    fn settle_silently(&mut self) {
        while ffi::packets() > 0 {
            let said = self.glance();
            assert!(said.is_empty(), "an event after: {said:?}");
        }
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

/// Bytes come while a thread reads one and registers anew.
fn a_reader_meets_the_packet(lent: usize) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(lent, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || ffi::deliver(socket, b"ab"));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let reader = thread::spawn(move || {
            let bytes = read(&mine, 1);
            mine.register(&registrator, 2, R).unwrap();
            bytes
        });
        world.wait_for((2, R));
        let mut bytes = join(reader);
        join(peer);
        let more = read_rest(&stream);
        assert!(!more.is_empty(), "false: no bytes");
        bytes.extend(more);
        assert_eq!(bytes, b"ab", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// A thread reads what a note stands for: no event is made of it any more, and one of what comes then.
fn a_reader_takes_what_a_note_stands_for() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"a");
        world.wait_for((1, R));
        world.register(&stream, 2, R);
        let was_read = Arc::new(AtomicBool::new(false));
        let (mine, done) = (Arc::clone(&stream), Arc::clone(&was_read));
        let reader = thread::spawn(move || {
            let bytes = read(&mine, 1);
            done.store(true, Ordering::SeqCst);
            bytes
        });
        let was_read = was_read.load(Ordering::SeqCst);
        let said = world.glance();
        assert!(!was_read || said.is_empty(), "false: {said:?}");
        let peer = thread::spawn(move || ffi::deliver(socket, b"b"));
        world.wait_for((2, R));
        let mut bytes = join(reader);
        join(peer);
        bytes.extend(read_rest(&stream));
        assert_eq!(bytes, b"ab", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// All is read before the peer sends more; whoever polls must not be told before.
fn an_event_means_bytes(lent: usize, take: fn(&Stream) -> Vec<u8>) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(lent, 0);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"a");
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let reader = thread::spawn(move || {
            let bytes = take(&mine);
            mine.register(&registrator, 2, R).unwrap();
            bytes
        });
        let mut told = false;
        for _ in 0..2 {
            told |= world.glance().contains(&(2, R));
        }
        let bytes = join(reader);
        world.settle();
        told |= world.said.contains(&(2, R));
        // A read whose packet the poller has right now finds nothing.
        let more = read(&stream, 1);
        assert_eq!([&bytes[..], &more[..]].concat(), b"a", "bytes");
        assert_eq!(told, !more.is_empty(), "false or lost: {bytes:?} {more:?}");
        world.end([stream]);
    });
}

/// With a receive in flight, bytes come one by one while two threads read: each once, and in order.
fn bytes_keep_their_order(lent: usize) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(lent, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || {
            for byte in [b"a", b"b", b"c"] {
                ffi::deliver(socket, byte);
            }
        });
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || {
            let mut bytes = read(&mine, 1);
            bytes.extend(read(&mine, 1));
            bytes
        });
        world.wait_for((1, R));
        let mut bytes = join(reader);
        join(peer);
        bytes.extend(read_rest(&stream));
        assert_eq!(bytes, b"abc", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// Two threads register a source that is new, or has a receive in flight, while bytes come.
fn two_threads_register(new: bool) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        if !new {
            world.register(&stream, 1, R);
        }
        let threads = [2, 3].map(|token| {
            let (mine, registrator) = (Arc::clone(&stream), world.registrator());
            thread::spawn(move || mine.register(&registrator, token, R).unwrap())
        });
        world.glance();
        ffi::deliver(socket, b"a");
        while world.said.is_empty() {
            world.poll(None);
        }
        threads.into_iter().for_each(join);
        world.settle();
        assert_eq!(read_rest(&stream), b"a", "bytes");
        world.end([stream]);
    });
}

/// One event a registration, however many packets there are.
fn one_event_of_many_packets() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || {
            ffi::deliver(socket, b"a");
            ffi::deliver(socket, b"b");
        });
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || read(&mine, 1));
        world.wait_for((1, R));
        join(reader);
        join(peer);
        let before = world.registrator.lent_bytes();
        assert!(before <= LENT, "lent: {before}");
        world.settle();
        read_rest(&stream);
        world.settle();
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end([stream]);
    });
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

fn a_thread_deregisters() {
    let arrive = |socket| ffi::deliver(socket, b"a");
    a_source_is_deregistered(
        || stream(LENT, 0),
        arrive,
        |stream| read(stream, 1),
        || b"a".to_vec(),
    );
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

fn a_stream_is_dropped_with_a_receive() {
    let arrive = |socket| ffi::deliver(socket, b"a");
    a_source_is_dropped(2 * LENT, || stream(LENT, 0), arrive);
}

/// A stream is dropped with a send in flight, which ends by pieces: all bytes go out, and then the socket is closed.
fn a_stream_is_dropped_with_a_send() {
    explore(|| {
        let (mut world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || {
            ffi::make_room(socket, 1);
            ffi::make_room(socket, 1);
        });
        let dropper = thread::spawn(move || drop(stream));
        world.glance();
        join(dropper);
        join(peer);
        world.settle();
        assert_eq!(ffi::sent(socket), b"ab", "sent");
        assert!(!ffi::is_open(socket), "open: nothing is in flight");
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// A stream is dropped with a send in flight that never ends: a minute later it is cancelled, also if nobody did anything
/// but wait all the time.
fn a_dropped_stream_is_given_up() {
    explore(|| {
        let (mut world, stream, socket) = a_send_in_flight();
        let registrator = world.registrator();
        let other = thread::spawn(move || {
            drop(stream);
            ffi::let_time_pass();
            ffi::wait_until_closed(socket);
            registrator.wake(7).unwrap();
        });
        world.wait_for((7, WAKE));
        join(other);
        world.settle();
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// The same after the end of the `Poll`, which leaves the send to the reaper.
fn a_reaper_gives_up() {
    explore(|| {
        let (world, stream, socket) = a_send_in_flight();
        let other = thread::spawn(move || {
            drop(stream);
            ffi::let_time_pass();
            ffi::wait_until_closed(socket);
        });
        drop(world);
        join(other);
    });
}

/// A writer meets the end of its send: nothing overtakes, and the writable event comes.
fn a_writer_meets_the_packet() {
    explore(|| {
        let (mut world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || ffi::make_room(socket, 3));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let writer = thread::spawn(move || {
            let result = mine.write(b"c");
            assert!(result.is_ok() || is_would_block(&result), "{result:?}");
            mine.register(&registrator, 2, W).unwrap();
            result.is_ok()
        });
        world.wait_for((2, W));
        let written = join(writer);
        join(peer);
        world.settle();
        let expected: &[u8] = if written { b"abc" } else { b"ab" };
        assert_eq!(ffi::sent(socket), expected, "sent");
        world.end([stream]);
    });
}

/// The `Poll` is dropped while a thread registers (and so starts a receive) and bytes come.
fn the_poll_is_dropped_with_a_receive(registered: bool, reads: bool) {
    explore(move || {
        let world = World::new();
        let (stream, socket) = stream(LENT, 0);
        if registered {
            world.register(&stream, 1, R);
        }
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            // It may come too late: then it is closed, or starts nothing.
            if !registrator.is_closed() {
                mine.register(&registrator, 2, R).unwrap();
            }
            if reads {
                return read(&mine, 1);
            }
            Vec::new()
        });
        drop(world);
        let mut bytes = join(other);
        join(peer);
        if reads {
            // The reaper may have the packet right now; dropping waits for nothing.
            bytes.extend(read_rest(&stream));
        }
        assert!(bytes.is_empty() || bytes == b"a", "bytes: {bytes:?}");
        drop(stream);
    });
}

/// A stream, and then its `Poll`, are dropped while its receive is cancelled or ends.
fn all_is_dropped_with_a_receive() {
    explore(|| {
        let world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let dropper = thread::spawn(move || drop(stream));
        drop(world);
        join(dropper);
        join(peer);
    });
}

/// A stream and its `Poll` are dropped while its send ends: all bytes go out, by whoever is left.
fn all_is_dropped_with_a_send() {
    explore_within(PREEMPTIONS, || {
        let (world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || {
            ffi::make_room(socket, 1);
            ffi::make_room(socket, 1);
        });
        let dropper = thread::spawn(move || drop(stream));
        drop(world);
        join(dropper);
        join(peer);
    });
}

/// The `Poll` is dropped while a send ends, and a thread that writes takes its packets.
/// There is room for all that it may write, or the deferred close would wait for its time limit.
fn the_poll_is_dropped_with_a_send(pieces: &'static [usize]) {
    explore_within(PREEMPTIONS, move || {
        let (world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || {
            for &piece in pieces {
                ffi::make_room(socket, piece);
            }
        });
        let writer = thread::spawn(move || {
            let result = stream.write(b"c");
            assert!(result.is_ok() || is_would_block(&result), "{result:?}");
        });
        drop(world);
        join(writer);
        join(peer);
    });
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

/// A blocked poll, a wake and a close: an accepted wake comes, and the poll ends.
fn a_wake_races_the_close() {
    explore(|| {
        let mut world = World::new();
        let registrator = world.registrator();
        let waker = thread::spawn(move || registrator.wake(1).is_ok());
        let registrator = world.registrator();
        let closer = thread::spawn(move || registrator.close_loop().unwrap());
        while world.poll_or_closed().is_some() {}
        let accepted = join(waker);
        join(closer);
        assert_eq!(
            world.said.contains(&(1, WAKE)),
            accepted,
            "an accepted wake was lost"
        );
        world.settle();
        world.end::<()>([]);
    });
}

/// Two wakes with two tokens, and one again after it came, while reads take packets.
fn wakes_come_beside_a_pump() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 9, R);
        let registrator = world.registrator();
        let waker = thread::spawn(move || {
            registrator.wake(1).unwrap();
            registrator.wake(2).unwrap();
        });
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || {
            read(&mine, 1);
        });
        world.wait_for((1, WAKE));
        world.wait_for((2, WAKE));
        join(waker);
        join(reader);
        world.said.clear();
        world.registrator.wake(1).unwrap();
        world.wait_for((1, WAKE));
        world.end([stream]);
    });
}

/// A poll that does not wait sees what was posted before, also what a pump has in its hands.
fn a_glance_beside_a_pump() {
    explore(|| {
        let mut world = World::new();
        let (stream_a, socket) = stream(LENT, 0);
        let (other, _) = stream(LENT, 0);
        world.register(&stream_a, 1, R);
        world.register(&other, 9, R);
        ffi::deliver(socket, b"a");
        world.wait_for((1, R));
        let mine = Arc::clone(&other);
        let reader = thread::spawn(move || {
            read(&mine, 1);
        });
        world.registrator.wake(7).unwrap();
        world.register(&stream_a, 2, R);
        let said = world.glance();
        assert!(said.contains(&(7, WAKE)), "missed: the wake");
        assert!(said.contains(&(2, R)), "missed: the note");
        join(reader);
        world.settle();
        world.end([stream_a, other]);
    });
}

/// A connect ends, well or not, while a thread reads: each direction is told once.
fn a_connect_ends(well: bool) {
    explore(move || {
        let mut world = World::new();
        let target = "127.0.0.1:1".parse().unwrap();
        let stream = TcpStream::connect_nonblocking(&target).unwrap();
        let socket = ffi::socket_of(stream.as_std());
        stream.set_lent_buffer(LENT);
        let stream = Arc::new(Careful::new(stream));
        world.register(&stream, 1, R | W);
        let peer = thread::spawn(move || {
            ffi::end_connect(socket, well);
            if well {
                ffi::deliver(socket, b"ab");
            }
        });
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || mine.read(&mut [0]));
        world.wait_for((1, W));
        world.wait_for((1, R));
        let first = join(reader);
        join(peer);
        let then = stream.read(&mut [0]);
        let told = |result: &io::Result<usize>| match result {
            Ok(count) => well && *count == 1,
            Err(error) => !well && error.kind() == ErrorKind::ConnectionRefused,
        };
        assert!(
            told(&first) || is_would_block(&first),
            "the first read: {first:?}"
        );
        // A byte comes once; a failure is told every time.
        assert!(told(&then), "not told: {first:?} {then:?}");
        let errors = [stream.take_error(), stream.take_error()];
        let errors = errors.map(|error| error.unwrap().is_some());
        assert_eq!(errors, [!well, false], "taken once");
        world.settle();
        world.end([stream]);
    });
}

/// A connect has ended, and nobody took its packet: whoever asks finds that out first, and the event comes all the same.
fn a_connect_is_looked_at(well: bool) {
    explore(move || {
        let mut world = World::new();
        let target = "127.0.0.1:1".parse().unwrap();
        let stream = TcpStream::connect_nonblocking(&target).unwrap();
        let socket = ffi::socket_of(stream.as_std());
        let stream = Arc::new(Careful::new(stream));
        world.register(&stream, 1, W);
        let early = stream.shutdown(std::net::Shutdown::Write);
        assert!(early.is_err(), "before it has ended");
        ffi::end_connect(socket, well);
        if well {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        } else {
            let error = stream.take_error().unwrap().map(|error| error.kind());
            assert_eq!(error, Some(ErrorKind::ConnectionRefused), "not seen");
        }
        assert_eq!(world.glance(), [(1, W)], "lost");
        world.end([stream]);
    });
}

/// Receiving is shut down while its packet comes: the end is told.
fn receiving_is_shut_down() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let mine = Arc::clone(&stream);
        let other = thread::spawn(move || mine.shutdown(std::net::Shutdown::Read).unwrap());
        world.wait_for((1, R));
        join(other);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end");
        join(peer);
        world.settle();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end");
        world.register(&stream, 2, R);
        world.wait_for((2, R));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end");
        assert_eq!(stream.peek(&mut [0]).unwrap(), 0, "the end");
        world.settle();
        world.end([stream]);
    });
}

#[test]
fn a_reader_meets_the_packet_of_a_receive() {
    a_reader_meets_the_packet(LENT);
}

#[test]
fn a_reader_meets_the_packet_of_a_receive_without_memory() {
    a_reader_meets_the_packet(0);
}

#[test]
fn a_note_whose_bytes_were_read_starts_a_receive() {
    a_reader_takes_what_a_note_stands_for();
}

#[test]
fn an_event_means_bytes_with_memory() {
    an_event_means_bytes(LENT, |stream| read(stream, 1));
}

#[test]
fn an_event_means_bytes_without_memory() {
    an_event_means_bytes(0, |stream| read(stream, 1));
}

#[test]
fn each_byte_is_read_once_and_in_order() {
    bytes_keep_their_order(LENT);
}

#[test]
fn each_byte_is_read_once_and_in_order_in_small_pieces() {
    bytes_keep_their_order(1);
}

#[test]
fn two_threads_register_a_known_source() {
    two_threads_register(false);
}

#[test]
fn two_threads_register_a_new_source() {
    two_threads_register(true);
}

#[test]
fn one_event_comes_of_many_packets() {
    one_event_of_many_packets();
}

#[test]
fn no_event_after_a_deregister() {
    a_thread_deregisters();
}

#[test]
fn a_dropped_stream_with_a_receive_is_gone() {
    a_stream_is_dropped_with_a_receive();
}

#[test]
fn a_dropped_stream_with_a_send_sends_all() {
    a_stream_is_dropped_with_a_send();
}

#[test]
fn a_dropped_stream_whose_send_never_ends_is_given_up() {
    a_dropped_stream_is_given_up();
}

#[test]
fn a_reaper_gives_up_a_send_that_never_ends() {
    a_reaper_gives_up();
}

#[test]
fn a_writer_meets_the_packet_of_a_send() {
    a_writer_meets_the_packet();
}

#[test]
fn a_dropped_poll_waits_for_a_receive() {
    the_poll_is_dropped_with_a_receive(true, true);
}

#[test]
fn a_dropped_poll_starts_no_receive() {
    the_poll_is_dropped_with_a_receive(false, false);
}

#[test]
fn a_stream_that_outlives_its_poll_reads_on() {
    the_poll_is_dropped_with_a_receive(false, true);
}

#[test]
fn all_dropped_with_a_receive_leaves_nothing() {
    all_is_dropped_with_a_receive();
}

#[test]
fn all_dropped_with_a_send_leaves_nothing() {
    all_is_dropped_with_a_send();
}

#[test]
fn a_dropped_poll_waits_for_a_send() {
    the_poll_is_dropped_with_a_send(&[3]);
}

#[test]
fn a_dropped_poll_waits_for_the_rest_of_a_send() {
    the_poll_is_dropped_with_a_send(&[1, 2]);
}

#[test]
fn a_wake_beside_a_close_comes_or_fails() {
    a_wake_races_the_close();
}

#[test]
fn wakes_beside_a_pump_come() {
    wakes_come_beside_a_pump();
}

#[test]
fn a_glance_beside_a_pump_misses_nothing() {
    a_glance_beside_a_pump();
}

#[test]
fn a_connect_that_ends_well_is_told() {
    a_connect_ends(true);
}

#[test]
fn a_connect_that_fails_is_told() {
    a_connect_ends(false);
}

#[test]
fn a_connect_that_ended_well_is_seen() {
    a_connect_is_looked_at(true);
}

#[test]
fn a_connect_that_failed_is_seen() {
    a_connect_is_looked_at(false);
}

#[test]
fn a_shut_down_receive_tells_the_end() {
    receiving_is_shut_down();
}

// From here on a rule is left out, and the check must notice.

// `deadlock` is what the checker says when all threads wait: somebody sleeps with work due.

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_note_of_a_pump_an_event_is_lost() {
    without(Rule::NoteOfPump, || bytes_keep_their_order(LENT));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_receive_instead_of_a_note_an_event_is_lost() {
    without(Rule::StartInstead, a_reader_takes_what_a_note_stands_for);
}

#[test]
#[should_panic(expected = "false or lost: ")]
fn without_asking_after_a_raid_an_event_is_false() {
    without(Rule::Raided, || {
        an_event_means_bytes(0, |stream| read(stream, 1))
    });
}

#[test]
#[should_panic(expected = "twice: ")]
fn without_disarming_an_event_comes_twice() {
    without(Rule::OneShot, receiving_is_shut_down);
}

#[test]
#[should_panic(expected = "the end")]
fn without_dropping_what_comes_after_a_shutdown_it_is_read() {
    without(Rule::ShutDiscards, receiving_is_shut_down);
}

#[test]
#[should_panic(expected = "an event after")]
fn without_disarming_a_deregister_does_nothing() {
    without(Rule::Disarm, a_thread_deregisters);
}

#[test]
#[should_panic(expected = "an event after")]
fn without_the_mark_a_dropped_stream_fires() {
    without(Rule::MarkedClosed, a_stream_is_dropped_with_a_receive);
}

#[test]
#[should_panic(expected = "hands off: ")]
fn without_leaving_lent_memory_alone_it_is_freed() {
    without(Rule::HandsOff, a_stream_is_dropped_with_a_receive);
}

#[test]
#[should_panic(expected = "hands off: ")]
fn without_the_table_an_operation_is_freed_in_flight() {
    without(Rule::FlightHolds, all_is_dropped_with_a_receive);
}

#[test]
#[should_panic(expected = "hands off: ")]
fn without_a_look_at_the_flight_an_operation_starts_twice() {
    without(Rule::OneFlight, || two_threads_register(false));
}

#[test]
#[should_panic(expected = "left over: ")]
fn without_asking_whether_the_poll_is_gone_a_receive_starts() {
    without(Rule::GoneUnderLock, || {
        the_poll_is_dropped_with_a_receive(false, false);
    });
}

#[test]
#[should_panic(expected = "left over: ")]
fn without_counting_what_is_handled_the_reaper_leaves_too_early() {
    without(Rule::HandlingCounts, || {
        the_poll_is_dropped_with_a_send(&[1, 2]);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_last_nudge_the_reaper_stays() {
    without(Rule::ReaperNudged, || {
        the_poll_is_dropped_with_a_send(&[3]);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_posting_again_a_pump_swallows_a_wake() {
    without(Rule::PostAgain, wakes_come_beside_a_pump);
}

#[test]
#[should_panic(expected = "missed: ")]
fn without_letting_pumps_finish_a_glance_misses_a_wake() {
    without(Rule::PumpsFirst, a_glance_beside_a_pump);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_forgetting_a_wake_the_next_is_lost() {
    without(Rule::WakeForgotten, wakes_come_beside_a_pump);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_notice_of_the_close_the_poller_sleeps_on() {
    without(Rule::NoticeOfClose, a_wake_races_the_close);
}

#[test]
#[should_panic(expected = "an accepted wake was lost")]
fn without_refusing_wakes_after_the_close_one_is_lost() {
    without(Rule::NoWakeAfterClose, a_wake_races_the_close);
}

#[test]
#[should_panic(expected = "an accepted wake was lost")]
fn without_waiting_for_wakes_that_are_posted_one_is_lost() {
    without(Rule::PostingCounts, a_wake_races_the_close);
}

#[test]
#[should_panic(expected = "bytes")]
fn without_the_ban_on_overtaking_bytes_change_places() {
    without(Rule::NoOvertaking, || bytes_keep_their_order(1));
}

#[test]
#[should_panic(expected = "lent")]
fn without_giving_back_memory_counts_as_lent() {
    without(Rule::GivenBack, one_event_of_many_packets);
}

#[test]
#[should_panic(expected = "sent")]
fn without_one_send_at_a_time_bytes_change_places() {
    without(Rule::OneSend, a_writer_meets_the_packet);
}

#[test]
#[should_panic(expected = "sent")]
fn without_the_rest_bytes_are_not_sent() {
    without(Rule::RestIsSent, a_stream_is_dropped_with_a_send);
}

#[test]
#[should_panic(expected = "closed: ")]
fn without_an_orphan_the_bytes_of_a_dropped_stream_are_lost() {
    without(Rule::OrphanStaysOpen, a_stream_is_dropped_with_a_send);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_nudge_a_poller_sleeps_past_a_deferred_close() {
    without(Rule::NudgeOfDefer, a_dropped_stream_is_given_up);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_giving_up_a_dropped_stream_stays_for_ever() {
    without(Rule::GivenUp, a_dropped_stream_is_given_up);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_telling_both_of_a_connect_one_waits_for_ever() {
    without(Rule::ConnectTellsBoth, || a_connect_ends(true));
}

#[test]
#[should_panic(expected = "called `Result::unwrap()` on an `Err` value")]
fn without_a_look_a_connected_stream_says_that_it_is_not() {
    without(Rule::ConnectLookedAt, || a_connect_is_looked_at(true));
}

#[test]
#[should_panic(expected = "not seen")]
fn without_a_look_a_failed_connect_is_not_seen() {
    without(Rule::ConnectLookedAt, || a_connect_is_looked_at(false));
}
