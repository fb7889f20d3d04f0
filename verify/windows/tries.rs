//! Calls of the user's own (`try_io`) beside registrations, packets, disarming and drops.

use std::io::{Read, Write};

use super::streams::an_event_means_bytes;
use super::*;

/// Receives one byte by a call of the user's own: what came, or nothing.
fn try_read(stream: &Stream) -> Vec<u8> {
    let mut byte = [0];
    match stream.try_io(R, |mut std| std.read(&mut byte)) {
        Ok(count) => byte[..count].to_vec(),
        Err(error) => {
            // In the way of the call there may be a receive in flight, or what one has brought.
            let expected = [ErrorKind::WouldBlock, ErrorKind::InvalidInput];
            assert!(expected.contains(&error.kind()), "{error}");
            Vec::new()
        }
    }
}

/// A call of the user's own takes a byte while another thread registers and bytes come: each once, in order, and the event
/// comes.
fn a_call_meets_a_registration(lent: usize) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = stream(lent, 0);
        let peer = thread::spawn(move || {
            ffi::deliver(socket, b"a");
            ffi::deliver(socket, b"b");
        });
        let mine = Arc::clone(&stream);
        let caller = thread::spawn(move || try_read(&mine));
        world.register(&stream, 1, R);
        world.wait_for((1, R));
        let mut bytes = join(caller);
        join(peer);
        world.settle();
        bytes.extend(read_rest(&stream));
        assert_eq!(bytes, b"ab", "bytes");
        world.end([stream]);
    });
}

/// Two calls of the user's own at once, and an interest that is armed meanwhile: what remains is an event.
fn two_calls_at_once() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        ffi::deliver(socket, b"abc");
        let callers = [(); 2].map(|()| {
            let mine = Arc::clone(&stream);
            thread::spawn(move || try_read(&mine))
        });
        world.register(&stream, 1, R);
        world.wait_for((1, R));
        let mut bytes: Vec<u8> = callers.into_iter().flat_map(join).collect();
        world.settle();
        bytes.extend(read_rest(&stream));
        // Which of the two came first is not known here.
        bytes.sort_unstable();
        assert_eq!(bytes, b"abc", "bytes");
        world.end([stream]);
    });
}

/// A registration is taken back while a call of the user's own is on and bytes come.
fn a_thread_disarms_beside_a_call() {
    let arrive = |socket| ffi::deliver(socket, b"a");
    a_source_is_deregistered(|| stream(0, 0), arrive, try_read, || b"a".to_vec());
}

/// The last owners of a stream let go of it, one of them after a call of his own, while bytes come.
fn a_stream_is_dropped_after_a_call() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let mine = Arc::clone(&stream);
        let caller = thread::spawn(move || {
            try_read(&mine);
        });
        world.register(&stream, 1, R);
        drop(stream);
        world.glance();
        join(caller);
        join(peer);
        assert!(
            !ffi::is_open(socket),
            "open: the socket of a dropped source"
        );
        world.settle();
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// A call of the user's own sends while a write finds the socket full: no byte gets between those of another.
fn a_call_meets_a_write() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, W);
        world.wait_for((1, W));
        let peer = thread::spawn(move || {
            ffi::make_room(socket, 1);
            ffi::make_room(socket, 2);
        });
        let mine = Arc::clone(&stream);
        let caller = thread::spawn(move || mine.try_io(W, |mut std| std.write(b"x")).is_ok());
        let written = stream.write(b"ab").unwrap_or(0);
        world.register(&stream, 2, W);
        world.wait_for((2, W));
        let called = join(caller);
        join(peer);
        world.settle();
        let (mine, theirs) = (&b"ab"[..written], &b"x"[..usize::from(called)]);
        let sent = ffi::sent(socket);
        assert!(
            sent == [mine, theirs].concat() || sent == [theirs, mine].concat(),
            "sent: {sent:?}"
        );
        world.end([stream]);
    });
}

/// A call of the user's own takes a connection while another thread registers: each once, and the event comes.
fn a_call_meets_an_accept() {
    explore(|| {
        let mut world = World::new();
        let std = ffi::listening_socket();
        let socket = ffi::socket_of(&std);
        let listener = Arc::new(Careful::new(TcpListener::from_std(std).unwrap()));
        ffi::arrive(socket, 1);
        let mine = Arc::clone(&listener);
        let caller = thread::spawn(move || match mine.try_io(R, |std| std.accept()) {
            Ok((stream, _)) => {
                drop(Careful::new(stream).0.take());
                1
            }
            Err(error) => {
                let expected = [ErrorKind::WouldBlock, ErrorKind::InvalidInput];
                assert!(expected.contains(&error.kind()), "{error}");
                0
            }
        });
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || ffi::arrive(socket, 2));
        world.wait_for((1, R));
        let mut count = join(caller);
        join(peer);
        world.settle();
        while let Ok((stream, _)) = listener.accept() {
            drop(Careful::new(stream).0.take());
            count += 1;
        }
        assert_eq!(count, 2, "connections");
        world.settle();
        world.end([listener]);
    });
}

#[test]
fn a_call_beside_a_registration_keeps_the_order() {
    a_call_meets_a_registration(LENT);
}

#[test]
fn a_call_beside_a_registration_without_memory_loses_no_event() {
    a_call_meets_a_registration(0);
}

#[test]
fn two_calls_at_once_lose_no_event() {
    two_calls_at_once();
}

#[test]
fn an_event_means_bytes_that_no_call_has_taken() {
    an_event_means_bytes(0, try_read);
}

/// Bytes are there, and a call of the user's own that may be taking them is on: they are no event.
#[test]
fn no_event_comes_of_bytes_while_a_call_is_on() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(0, 0);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"a");
        let count = stream.try_io(R, |mut std| {
            let said = world.glance();
            assert!(said.is_empty(), "false: {said:?}");
            std.read(&mut [0])
        });
        assert_eq!(count.unwrap(), 1, "bytes");
        world.settle_silently();
        world.end([stream]);
    });
}

#[test]
fn no_event_after_a_disarming_beside_a_call() {
    a_thread_disarms_beside_a_call();
}

#[test]
fn a_stream_dropped_after_a_call_is_gone() {
    a_stream_is_dropped_after_a_call();
}

#[test]
fn a_call_beside_a_write_does_not_overtake() {
    a_call_meets_a_write();
}

#[test]
fn a_call_beside_an_accept_loses_no_connection() {
    a_call_meets_an_accept();
}
