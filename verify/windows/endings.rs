//! How connections end: a read that goes on behind a full receive, resets that the system tells once, and linger times.

use std::io::Read;

use super::*;

/// A stream whose receive came back full with `a`, as long as what it lends is a byte.
fn a_full_receive() -> (World, Stream, SOCKET) {
    let mut world = World::new();
    let (stream, socket) = stream(1, 8);
    world.register(&stream, 1, R);
    ffi::deliver(socket, b"a");
    world.wait_for((1, R));
    (world, stream, socket)
}

/// A read goes on in the socket while another thread registers and bytes come: they keep their order.
fn a_read_goes_on() {
    explore(|| {
        let (mut world, stream, socket) = a_full_receive();
        let peer = thread::spawn(move || {
            ffi::deliver(socket, b"b");
            ffi::deliver(socket, b"c");
        });
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || mine.register(&registrator, 2, R).unwrap());
        let mut bytes = read(&stream, 8);
        join(other);
        join(peer);
        world.settle();
        bytes.extend(read_rest(&stream));
        assert_eq!(bytes, b"abc", "bytes");
        world.end([stream]);
    });
}

/// The connection is reset while a read goes on in the socket: what is behind the bytes is the reset, and never an end.
fn a_read_goes_on_to_a_reset() {
    explore(|| {
        let (world, stream, socket) = a_full_receive();
        let peer = thread::spawn(move || ffi::reset(socket));
        assert_eq!(read(&stream, 8), b"a", "bytes");
        join(peer);
        for _ in 0..2 {
            let then = stream.read(&mut [0]);
            assert!(is_reset(&then), "not an end: {then:?}");
        }
        world.end([stream]);
    });
}

fn is_reset(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

/// A writer, a reader and somebody who takes the error meet a reset, which the system tells once. Reads stay with what the first
/// of them has told; if anybody else was told before, that is the reset. The error is taken once.
/// `lent`: how much a receive in flight was lent, if there is one.
fn a_reset_is_told_by_whoever_comes_first(lent: Option<usize>) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(lent.unwrap_or(LENT), 1);
        if lent.is_some() {
            world.register(&stream, 1, R);
        }
        let peer = thread::spawn(move || ffi::reset(socket));
        let mine = Arc::clone(&stream);
        let writer = thread::spawn(move || is_reset(&mine.write(b"x")));
        let mut taken = usize::from(stream.take_error().unwrap().is_some());
        join(peer);
        let told = join(writer) || taken > 0;
        world.settle();
        let first = stream.read(&mut [0]);
        assert!(is_reset(&first) || !told, "not an end: {first:?}");
        for _ in 0..2 {
            let then = stream.read(&mut [0]);
            assert_eq!(is_reset(&first), is_reset(&then), "not an end: {then:?}");
            taken += usize::from(stream.take_error().unwrap().is_some());
        }
        assert_eq!(taken, 1, "taken once");
        let then = stream.read(&mut [0]);
        assert_eq!(is_reset(&first), is_reset(&then), "not an end: {then:?}");
        world.settle();
        world.end([stream]);
    });
}

/// A stream with a linger time of zero is dropped while its send ends by pieces: it is reset, and nothing stays open.
fn a_stream_that_resets_is_dropped_with_a_send() {
    explore(|| {
        let (mut world, stream, socket) = a_send_in_flight();
        ffi::set_linger(socket, 0);
        let peer = thread::spawn(move || ffi::make_room(socket, 1));
        let dropper = thread::spawn(move || drop(stream));
        world.glance();
        join(dropper);
        join(peer);
        world.settle();
        assert!(!ffi::is_open(socket), "open: nothing is in flight");
        assert!(ffi::was_aborted(socket), "open: it was to be reset");
        assert!(b"ab".starts_with(&ffi::sent(socket)), "sent");
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// A stream with a linger time is dropped, with a send in flight and without: all is sent, and nothing stays open.
fn a_stream_that_lingers_is_dropped(sends: bool) {
    explore(move || {
        let (mut world, stream, socket) = if sends {
            a_send_in_flight()
        } else {
            let (stream, socket) = stream(LENT, 2);
            (World::new(), stream, socket)
        };
        ffi::set_linger(socket, 2);
        let peer = thread::spawn(move || ffi::make_room(socket, 2));
        let dropper = thread::spawn(move || drop(stream));
        world.glance();
        join(dropper);
        join(peer);
        world.settle();
        assert!(!ffi::is_open(socket), "open: nothing is in flight");
        let expected: &[u8] = if sends { b"ab" } else { b"" };
        assert_eq!(ffi::sent(socket), expected, "sent");
        world.end::<()>([]);
    });
}

/// A peek goes on behind the bytes that were lent, and meets a reset there. The next one must not take what the system says
/// after it for the end.
#[test]
fn a_second_peek_does_not_hide_a_reset() {
    explore(|| {
        let (world, stream, socket) = a_full_receive();
        ffi::reset(socket);
        for _ in 0..2 {
            assert_eq!(stream.peek(&mut [0; 8]).unwrap(), 1);
        }
        assert_eq!(read(&stream, 1), b"a", "bytes");
        let then = stream.read(&mut [0]);
        assert!(is_reset(&then), "not an end: {then:?}");
        world.end([stream]);
    });
}

/// The look after a raid meets a reset, and takes it away from the system.
#[test]
fn a_look_after_a_raid_does_not_hide_a_reset() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(0, 1);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"a");
        assert_eq!(read(&stream, 8), b"a", "bytes");
        ffi::reset(socket);
        world.settle();
        for _ in 0..2 {
            let then = stream.read(&mut [0]);
            assert!(is_reset(&then), "not an end: {then:?}");
        }
        world.end([stream]);
    });
}

/// An end that a read has told stays the end, whatever other calls learn later.
#[test]
fn an_end_that_was_told_stays() {
    explore(|| {
        let world = World::new();
        let (stream, socket) = stream(LENT, 1);
        ffi::finish(socket);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end");
        ffi::reset(socket);
        let called = stream.try_io(R, |mut std| std.read(&mut [0]));
        assert!(is_reset(&called), "the call: {called:?}");
        let then = stream.read(&mut [0]);
        assert!(!is_reset(&then), "no end: after a call");
        ffi::reset(socket);
        assert!(is_reset(&stream.write(b"x")), "the write");
        let then = stream.read(&mut [0]);
        assert!(!is_reset(&then), "no end: after a write");
        world.end([stream]);
    });
}

#[test]
fn a_read_behind_a_full_receive_keeps_the_order() {
    a_read_goes_on();
}

#[test]
fn a_read_behind_a_full_receive_keeps_a_reset() {
    a_read_goes_on_to_a_reset();
}

#[test]
fn a_reset_that_is_told_once_is_read_every_time() {
    a_reset_is_told_by_whoever_comes_first(Some(LENT));
}

#[test]
fn a_reset_that_is_told_once_is_read_every_time_without_memory() {
    a_reset_is_told_by_whoever_comes_first(Some(0));
}

#[test]
fn a_reset_that_is_told_once_is_read_every_time_with_nothing_in_flight() {
    a_reset_is_told_by_whoever_comes_first(None);
}

#[test]
fn a_dropped_stream_without_linger_time_resets() {
    a_stream_that_resets_is_dropped_with_a_send();
}

#[test]
fn a_dropped_stream_with_a_linger_time_is_closed() {
    a_stream_that_lingers_is_dropped(false);
}

#[test]
fn a_dropped_stream_with_a_linger_time_sends_all() {
    a_stream_that_lingers_is_dropped(true);
}
