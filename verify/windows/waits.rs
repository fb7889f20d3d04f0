//! Waits for a handle, as streams use them whose connect somebody else began: the callback against the end, a look, a drop,
//! a deregistration and the end of the `Poll`.

use super::streams::expect_told;
use super::*;
use crate::windows::ffi::{refuse, Refused};

/// A stream whose connect is under way, and its socket.
fn connecting() -> (Stream, SOCKET) {
    let std = ffi::connecting_socket();
    let socket = ffi::socket_of(&std);
    let stream = TcpStream::from_std(std).unwrap();
    stream.set_lent_buffer(LENT);
    (Arc::new(Careful::new(stream)), socket)
}

/// The connect ends, and the pool's thread calls what is due, until the model says that no more will come.
fn end_and_serve(socket: SOCKET, well: bool) -> JoinHandle<()> {
    thread::spawn(move || {
        ffi::end_foreign_connect(socket, well);
        if well {
            ffi::deliver(socket, b"ab");
        }
        ffi::serve_waits();
    })
}

/// The connect ends, well or not, while a thread reads: each direction is told once.
fn a_foreign_connect_ends(well: bool) {
    explore_within(2, move || {
        let mut world = World::new();
        let (stream, socket) = connecting();
        let pool = end_and_serve(socket, well);
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || mine.read(&mut [0]));
        world.register(&stream, 1, R | W);
        world.wait_for((1, W));
        world.wait_for((1, R));
        let first = join(reader);
        stop(pool);
        expect_told(world, stream, first, well);
    });
}

/// Nobody polls, and the pool has no thread to spare: whoever asks sees the end.
fn a_foreign_connect_is_looked_at(well: bool) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = connecting();
        world.register(&stream, 1, W);
        ffi::end_foreign_connect(socket, well);
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

/// The stream is dropped, and perhaps its `Poll`, while the connect ends.
fn a_connecting_stream_is_dropped(poll_too: bool) {
    a_waiting_stream_is_dropped(
        |_| connecting(),
        |socket| end_and_serve(socket, true),
        R | W,
        poll_too,
    );
}

/// The `Poll` is dropped while the connect ends and a thread registers. The stream lives on.
fn the_poll_is_dropped_with_a_wait(registered: bool, reads: bool) {
    explore(move || {
        let world = World::new();
        let (stream, socket) = connecting();
        if registered {
            world.register(&stream, 1, R | W);
        }
        let pool = end_and_serve(socket, true);
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            if !registrator.is_closed() {
                mine.register(&registrator, 2, R | W).unwrap();
            }
        });
        drop(world);
        join(other);
        stop(pool);
        if reads {
            // What a receive brought is read when its packet was taken, by whoever did.
            let bytes = read_rest(&stream);
            assert!(bytes.is_empty() || bytes == b"ab", "bytes: {bytes:?}");
            assert!(stream.take_error().unwrap().is_none());
        }
        drop(stream);
    });
}

/// A registration is taken back while the connect ends.
fn a_connecting_stream_is_deregistered() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = connecting();
        world.register(&stream, 1, W);
        let pool = end_and_serve(socket, true);
        let done = Arc::new(AtomicBool::new(false));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let told = Arc::clone(&done);
        let other = thread::spawn(move || {
            mine.disarm(&registrator, R | W).unwrap();
            told.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            let was_done = done.load(Ordering::SeqCst);
            let said = world.glance();
            assert!(!was_done || said.is_empty(), "an event after: {said:?}");
        }
        join(other);
        stop(pool);
        world.settle_silently();
        world.register(&stream, 2, W);
        world.wait_for((2, W));
        world.end([stream]);
    });
}

/// Two threads register a stream whose connect ends meanwhile: it is taken over once.
fn two_threads_take_over() {
    explore_within(2, || {
        let mut world = World::new();
        let (stream, socket) = connecting();
        let pool = end_and_serve(socket, true);
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || mine.register(&registrator, 1, R).unwrap());
        world.register(&stream, 2, W);
        world.wait_for((2, W));
        world.wait_for((1, R));
        join(other);
        stop(pool);
        assert_eq!(read_rest(&stream), b"ab", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// The wait cannot be started: the registration says so, and the next one goes on.
fn a_wait_is_refused() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = connecting();
        refuse(Refused::Wait, 1);
        let refused = stream.register(&world.registrator, 1, R | W);
        assert!(refused.is_err(), "told");
        world.settle_silently();
        let pool = end_and_serve(socket, true);
        world.register(&stream, 2, W);
        world.wait_for((2, W));
        stop(pool);
        world.settle();
        world.end([stream]);
    });
}

/// The packet of a signal is refused: the next poll tells what it was to tell.
fn a_signal_is_refused() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = connecting();
        world.register(&stream, 1, W);
        refuse(Refused::Post, 1);
        let pool = end_and_serve(socket, true);
        stop(pool);
        assert_eq!(world.glance(), [(1, W)], "lost");
        world.settle();
        world.end([stream]);
    });
}

#[test]
fn a_foreign_connect_that_ends_well_is_told() {
    a_foreign_connect_ends(true);
}

#[test]
fn a_foreign_connect_that_fails_is_told() {
    a_foreign_connect_ends(false);
}

#[test]
fn a_foreign_connect_that_ended_well_is_seen() {
    a_foreign_connect_is_looked_at(true);
}

#[test]
fn a_foreign_connect_that_failed_is_seen() {
    a_foreign_connect_is_looked_at(false);
}

#[test]
fn a_stream_dropped_in_mid_connect_is_gone() {
    a_connecting_stream_is_dropped(false);
}

#[test]
fn all_dropped_in_mid_connect_leaves_nothing() {
    a_connecting_stream_is_dropped(true);
}

#[test]
fn a_dropped_poll_ends_a_wait() {
    the_poll_is_dropped_with_a_wait(true, true);
}

#[test]
fn a_dropped_poll_starts_no_wait() {
    the_poll_is_dropped_with_a_wait(false, false);
}

#[test]
fn a_stream_taken_over_outlives_its_poll() {
    the_poll_is_dropped_with_a_wait(false, true);
}

#[test]
fn no_event_after_a_connecting_stream_is_deregistered() {
    a_connecting_stream_is_deregistered();
}

#[test]
fn two_threads_take_a_connect_over_once() {
    two_threads_take_over();
}

#[test]
fn a_refused_wait_is_told_and_the_next_goes_on() {
    a_wait_is_refused();
}

#[test]
fn a_refused_signal_is_kept() {
    a_signal_is_refused();
}
