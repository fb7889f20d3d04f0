//! A stream that was given back and has come back to its port: the end of its operations is a signal, which a thread of the
//! pool passes on, against reads, drops and the end of the `Poll`.

use super::*;
use crate::windows::ffi::{refuse, Refused};

/// A stream that has come back, and its socket.
fn returned(world: &mut World) -> (Stream, SOCKET) {
    let (stream, socket) = stream(LENT, 64);
    world.register(&stream, 1, W);
    world.wait_for((1, W));
    let stream = Arc::into_inner(stream).unwrap().into_inner();
    let std = stream.into_std().map_err(|(_, error)| error).unwrap();
    let stream = TcpStream::from_std(std).unwrap();
    stream.set_lent_buffer(LENT);
    (Arc::new(Careful::new(stream)), socket)
}

/// Bytes come, and the pool's thread calls what is due, until the model says that no more will come.
fn deliver_and_serve(socket: SOCKET) -> JoinHandle<()> {
    thread::spawn(move || {
        ffi::deliver(socket, b"ab");
        ffi::serve_waits();
    })
}

/// Bytes come while a thread reads: they are told, and read once.
#[test]
fn a_returned_stream_tells_of_its_bytes() {
    explore_within(2, || {
        let mut world = World::new();
        let (stream, socket) = returned(&mut world);
        world.register(&stream, 2, R);
        let pool = deliver_and_serve(socket);
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || mine.read(&mut [0]));
        world.wait_for((2, R));
        let first = join(reader);
        assert!(
            matches!(first, Ok(1)) || is_would_block(&first),
            "the first read: {first:?}"
        );
        let rest = read_rest(&stream);
        let expected: &[u8] = if first.is_ok() { b"b" } else { b"ab" };
        assert_eq!(rest, expected, "bytes");
        stop(pool);
        world.settle();
        world.end([stream]);
    });
}

/// The stream is dropped, and perhaps its `Poll`, while bytes come.
fn a_returned_stream_is_dropped(poll_too: bool) {
    a_waiting_stream_is_dropped(returned, deliver_and_serve, R, poll_too);
}

#[test]
fn a_returned_stream_that_is_dropped_is_gone() {
    a_returned_stream_is_dropped(false);
}

#[test]
fn all_dropped_with_a_returned_stream_leaves_nothing() {
    a_returned_stream_is_dropped(true);
}

/// The `Poll` is dropped while bytes come, and the stream lives on: they are read when the packet of the signal was taken, by
/// whoever did.
#[test]
fn a_returned_stream_outlives_its_poll() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = returned(&mut world);
        world.register(&stream, 2, R);
        let pool = deliver_and_serve(socket);
        drop(world);
        stop(pool);
        let bytes = read_rest(&stream);
        assert!(bytes.is_empty() || bytes == b"ab", "bytes: {bytes:?}");
        drop(stream);
    });
}

/// The wait, or the operation, cannot be started: the failure is told, and the next registration goes on.
fn a_returned_stream_is_refused(what: Refused) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = returned(&mut world);
        // With lent memory and without.
        refuse(what, 2);
        world.register(&stream, 2, R);
        world.wait_for((2, R));
        let told = stream.read(&mut [0]);
        assert!(
            matches!(&told, Err(error) if error.kind() != ErrorKind::WouldBlock),
            "told: {told:?}"
        );
        world.register(&stream, 3, R);
        let pool = deliver_and_serve(socket);
        world.wait_for((3, R));
        assert_eq!(read_rest(&stream), b"ab", "bytes");
        stop(pool);
        world.settle();
        world.end([stream]);
    });
}

#[test]
fn a_returned_stream_tells_of_a_refused_wait() {
    a_returned_stream_is_refused(Refused::Wait);
}

#[test]
fn a_returned_stream_tells_of_a_refused_start() {
    a_returned_stream_is_refused(Refused::Start);
}
