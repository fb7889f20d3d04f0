//! Named pipes: clients that come and go, writes that end whole or not at all, and ends that are told after the bytes.

use std::ffi::OsStr;

use super::*;

type Pipe = Arc<Careful<NamedPipe>>;

/// One end of a pipe that is connected and lends `lent` bytes, and its number.
fn pipe(lent: usize, room: usize) -> (Pipe, SOCKET) {
    let owned = ffi::pipe(true, room);
    let number = ffi::socket_of(&owned);
    let pipe = NamedPipe::from_connected(owned);
    pipe.set_lent_buffer(lent);
    (Arc::new(Careful::new(pipe)), number)
}

/// A server's end without a client.
fn server() -> (Pipe, SOCKET) {
    let shape = ffi::PipeShape {
        open_mode: 0,
        pipe_mode: 0,
        max_instances: 1,
        out_bytes: 8,
        in_bytes: 8,
    };
    let pipe = NamedPipe::create(OsStr::new("pipe"), &shape).unwrap();
    pipe.set_lent_buffer(LENT);
    let number = SOCKET(pipe.as_owned().number().0);
    (Arc::new(Careful::new(pipe)), number)
}

/// Reads once: what came, or nothing.
fn take(pipe: &Pipe) -> Vec<u8> {
    let mut buffer = [0; 8];
    match pipe.read(&mut buffer) {
        Ok(count) => buffer[..count].to_vec(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            Vec::new()
        }
    }
}

/// A client comes and writes, while the server's end is registered and somebody asks for the client.
#[test]
fn a_client_ends_the_wait_of_a_server() {
    explore(|| {
        let mut world = World::new();
        let (server, number) = server();
        let peer = thread::spawn(move || {
            assert!(ffi::client_comes(number));
            ffi::deliver(number, b"a");
        });
        let mine = Arc::clone(&server);
        let asker = thread::spawn(move || mine.connect().is_ok());
        world.register(&server, 1, R | W);
        world.wait_for((1, W));
        server.connect().unwrap();
        world.wait_for((1, R));
        assert_eq!(take(&server), b"a", "bytes");
        join(asker);
        join(peer);
        world.settle();
        world.end([server]);
    });
}

/// A client that has gone before it was waited for: its bytes are still read, and then the end.
#[test]
fn a_client_that_came_and_went_is_read() {
    explore(|| {
        let mut world = World::new();
        let (server, number) = server();
        assert!(ffi::client_comes(number));
        ffi::deliver(number, b"a");
        ffi::finish(number);
        world.register(&server, 1, R | W);
        world.wait_for((1, W));
        world.wait_for((1, R));
        server.connect().unwrap();
        assert_eq!(take(&server), b"a", "bytes");
        assert_eq!(server.read(&mut [0]).unwrap(), 0, "the end");
        world.end([server]);
    });
}

/// The thread that has begun to wait for a client ends, and with it the wait: it goes on.
#[test]
fn a_wait_that_ends_with_its_thread_goes_on() {
    explore(|| {
        let mut world = World::new();
        let (server, number) = server();
        world.register(&server, 1, W);
        let system = thread::spawn(move || ffi::cancel_all(number));
        let said = world.glance();
        join(system);
        world.settle();
        assert!(said.is_empty() && world.said.is_empty(), "false: no client");
        assert!(ffi::client_comes(number));
        world.wait_for((1, W));
        server.connect().unwrap();
        world.end([server]);
    });
}

/// The end of a wait for a client meets a deregister.
#[test]
fn a_wait_for_a_client_meets_a_deregister() {
    a_source_is_deregistered(
        server,
        |number| assert!(ffi::client_comes(number)),
        |server| {
            drop(server.connect());
            Vec::<u8>::new()
        },
        Vec::new,
    );
}

/// The thread that has begun to wait for a client ends, and the pipe is dropped: the wait does not go on.
#[test]
fn a_wait_that_ends_with_its_thread_meets_the_drop() {
    a_source_is_dropped(64, server, ffi::cancel_all);
}

/// A client has come, which nobody knows yet, and is sent away: the pipe waits for the next one.
#[test]
fn a_client_that_was_sent_away_unseen_is_not_there() {
    explore(|| {
        let mut world = World::new();
        let (server, number) = server();
        world.register(&server, 1, W);
        let mine = Arc::clone(&server);
        let other = thread::spawn(move || {
            assert!(ffi::client_comes(number));
            mine.disconnect().unwrap();
            while !ffi::client_comes(number) {
                assert!(mine.connect().is_err(), "false: no client");
                thread::yield_now();
            }
        });
        world.glance();
        join(other);
        world.settle();
        server.connect().unwrap();
        world.end([server]);
    });
}

/// A thread that reads meets the next client's coming. It may find no client; that is not the end of the next one's stream.
#[test]
fn a_read_meets_the_wait_for_the_next_client() {
    explore(|| {
        let world = World::new();
        let (server, number) = pipe(LENT, 0);
        server.disconnect().unwrap();
        let mine = Arc::clone(&server);
        let reader = thread::spawn(move || drop(mine.read(&mut [0])));
        assert!(server.connect().is_err());
        assert!(ffi::client_comes(number));
        join(reader);
        drop(server.connect());
        ffi::deliver(number, b"a");
        assert_eq!(take(&server), b"a", "bytes");
        world.end([server]);
    });
}

/// A wait for a client meets the drop.
#[test]
fn a_wait_for_a_client_meets_the_drop() {
    a_source_is_dropped(64, server, |number| {
        ffi::client_comes(number);
    });
}

/// The end of the `Poll` meets a client: afterwards it can be asked for.
#[test]
fn a_wait_for_a_client_meets_the_end_of_the_poll() {
    explore(|| {
        let world = World::new();
        let (server, number) = server();
        world.register(&server, 1, R | W);
        let peer = thread::spawn(move || assert!(ffi::client_comes(number)));
        world.end::<()>([]);
        join(peer);
        while server.connect().is_err() {
            thread::yield_now();
        }
        ffi::deliver(number, b"a");
        assert_eq!(take(&server), b"a", "bytes");
        assert_eq!(server.write(b"b").unwrap(), 1);
        drop(server);
    });
}

/// The loop is closed while a client comes.
#[test]
fn a_wait_for_a_client_meets_a_close() {
    explore(|| {
        let mut world = World::new();
        let (server, number) = server();
        world.register(&server, 1, W);
        let peer = thread::spawn(move || assert!(ffi::client_comes(number)));
        let registrator = world.registrator();
        let closer = thread::spawn(move || registrator.close_loop().unwrap());
        while world.poll_or_closed().is_some() {}
        join(closer);
        join(peer);
        world.end([server]);
    });
}

/// The client is sent away while operations are in flight and another thread polls, and the next one comes. Its stream begins
/// anew.
#[test]
fn the_next_client_begins_anew() {
    explore_within(2, || {
        let mut world = World::new();
        let (server, number) = pipe(LENT, 0);
        world.register(&server, 1, R | W);
        world.wait_for((1, W));
        assert_eq!(server.write(b"xx").unwrap(), 2);
        let mine = Arc::clone(&server);
        let other = thread::spawn(move || {
            mine.disconnect().unwrap();
            // The packets of what was in flight may be with the poller.
            while mine.connect().is_err() && !ffi::client_comes(number) {
                thread::yield_now();
            }
            ffi::deliver(number, b"a");
        });
        world.glance();
        join(other);
        world.settle();
        server.connect().unwrap();
        world.register(&server, 2, R | W);
        world.wait_for((2, R));
        world.wait_for((2, W));
        assert_eq!(take(&server), b"a", "not the next client's");
        ffi::make_room(number, 1);
        assert_eq!(server.write(b"y").unwrap(), 1);
        world.settle();
        world.end([server]);
    });
}

/// A pipe is dropped with a write in flight: all of the write is sent, and nothing stays open.
#[test]
fn a_pipe_is_dropped_with_a_write_in_flight() {
    explore(|| {
        let mut world = World::new();
        let (pipe, number) = pipe(LENT, 0);
        world.register(&pipe, 1, R | W);
        world.wait_for((1, W));
        assert_eq!(pipe.write(b"ab").unwrap(), 2);
        let peer = thread::spawn(move || ffi::make_room(number, 2));
        let dropper = thread::spawn(move || drop(pipe));
        world.glance();
        join(dropper);
        join(peer);
        world.settle_silently();
        assert!(!ffi::is_open(number), "open: nothing is in flight");
        assert_eq!(ffi::sent(number), b"ab", "sent");
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// When its write has ended, a pipe is closed in the drop, since only that tells the peer of the end.
#[test]
fn a_drop_takes_the_packet_of_a_write() {
    explore(|| {
        let mut world = World::new();
        let (pipe, number) = pipe(LENT, 2);
        world.register(&pipe, 1, W);
        world.wait_for((1, W));
        assert_eq!(pipe.write(b"ab").unwrap(), 2);
        drop(pipe);
        assert!(!ffi::is_open(number), "open: nothing is in flight");
        world.end::<()>([]);
    });
}

/// The peer writes and closes, while a thread reads and registers anew. The end comes after the bytes, with an event.
fn an_end_comes_after_the_bytes(lent: usize) {
    explore(move || {
        let mut world = World::new();
        let (pipe, number) = pipe(lent, 0);
        world.register(&pipe, 1, R);
        let peer = thread::spawn(move || {
            ffi::deliver(number, b"a");
            ffi::finish(number);
        });
        let mine = Arc::clone(&pipe);
        let reader = thread::spawn(move || take(&mine));
        world.wait_for((1, R));
        let mut bytes = join(reader);
        join(peer);
        world.register(&pipe, 2, R);
        world.wait_for((2, R));
        bytes.extend(take(&pipe));
        assert_eq!(bytes, b"a", "bytes");
        for token in 3..5 {
            assert_eq!(pipe.read(&mut [0]).unwrap(), 0, "the end");
            world.register(&pipe, token, R);
            world.wait_for((token, R));
        }
        world.settle();
        world.end([pipe]);
    });
}

/// The peer writes nothing, and then something: only that is an event.
fn an_empty_write_is_nothing(lent: usize) {
    explore(move || {
        let mut world = World::new();
        let (pipe, number) = pipe(lent, 0);
        world.register(&pipe, 1, R);
        let peer = thread::spawn(move || {
            ffi::write_nothing(number);
            ffi::write_nothing(number);
        });
        let said = world.glance();
        join(peer);
        assert!(said.is_empty(), "false: no bytes");
        world.settle();
        assert!(world.said.is_empty(), "false: no bytes");
        ffi::deliver(number, b"a");
        world.wait_for((1, R));
        assert_eq!(take(&pipe), b"a", "bytes");
        world.end([pipe]);
    });
}

/// A pipe is registered for the first time while a thread writes: no read may start while calls do not wait.
#[test]
fn a_write_without_a_port_meets_a_registration() {
    explore(|| {
        let mut world = World::new();
        let (pipe, number) = pipe(LENT, 4);
        let mine = Arc::clone(&pipe);
        let writer = thread::spawn(move || {
            assert_eq!(mine.write(b"a").unwrap(), 1);
        });
        world.register(&pipe, 1, R);
        join(writer);
        world.settle();
        assert_eq!(ffi::sent(number), b"a", "sent");
        ffi::deliver(number, b"b");
        world.wait_for((1, R));
        assert_eq!(take(&pipe), b"b", "bytes");
        world.end([pipe]);
    });
}

#[test]
fn the_end_of_a_pipe_comes_after_the_bytes() {
    an_end_comes_after_the_bytes(LENT);
}

#[test]
fn the_end_of_a_pipe_comes_after_the_bytes_without_memory() {
    an_end_comes_after_the_bytes(0);
}

#[test]
fn an_empty_write_to_a_pipe_is_no_end() {
    an_empty_write_is_nothing(LENT);
}

#[test]
fn an_empty_write_to_a_pipe_is_no_event() {
    an_empty_write_is_nothing(0);
}
