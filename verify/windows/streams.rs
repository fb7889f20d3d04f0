//! Streams: reading and writing beside packets, registrations, deregistering and drops.

use super::*;

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
pub(super) fn an_event_means_bytes(lent: usize, take: fn(&Stream) -> Vec<u8>) {
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

fn a_thread_deregisters() {
    let arrive = |socket| ffi::deliver(socket, b"a");
    a_source_is_deregistered(
        || stream(LENT, 0),
        arrive,
        |stream| read(stream, 1),
        || b"a".to_vec(),
    );
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

/// A stream whose connect is to begin, and its socket.
fn connecting() -> (Stream, SOCKET) {
    let target = "127.0.0.1:1".parse().unwrap();
    let stream = TcpStream::connect_nonblocking(&target).unwrap();
    let socket = ffi::socket_of(stream.as_std());
    (Arc::new(Careful::new(stream)), socket)
}

/// A connect has ended, `well` or not, and `first` is what a read beside it gave. If it has ended well, two bytes have come.
/// A byte comes once, and a failure is told every time.
pub(super) fn expect_told(mut world: World, stream: Stream, first: io::Result<usize>, well: bool) {
    let then = stream.read(&mut [0]);
    let told = |result: &io::Result<usize>| match result {
        Ok(count) => well && *count == 1,
        Err(error) => !well && error.kind() == ErrorKind::ConnectionRefused,
    };
    assert!(
        told(&first) || is_would_block(&first),
        "the first read: {first:?}"
    );
    assert!(told(&then), "not told: {first:?} {then:?}");
    let errors = [stream.take_error(), stream.take_error()];
    let errors = errors.map(|error| error.unwrap().is_some());
    assert_eq!(errors, [!well, false], "taken once");
    world.settle();
    world.end([stream]);
}

/// A connect ends, well or not, while a thread reads: each direction is told once.
fn a_connect_ends(well: bool) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = connecting();
        stream.set_lent_buffer(LENT);
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
        expect_told(world, stream, first, well);
    });
}

/// A connect ends while it is being started: its end is told, and the stream is connected.
#[test]
fn a_connect_that_ends_at_once_is_told() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = connecting();
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let starter = thread::spawn(move || mine.register(&registrator, 1, W).unwrap());
        let peer = thread::spawn(move || {
            while !ffi::end_connect(socket, true) {
                thread::yield_now();
            }
        });
        world.wait_for((1, W));
        join(starter);
        join(peer);
        let result = stream.read(&mut [0]);
        assert!(is_would_block(&result), "not connected: {result:?}");
        assert!(stream.peer_addr().is_ok(), "not connected");
        world.settle();
        world.end([stream]);
    });
}

/// A stream is dropped while its connect ends: no event comes, and nothing is left.
#[test]
fn a_stream_dropped_while_it_connects_is_gone() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = connecting();
        world.register(&stream, 1, R | W);
        let peer = thread::spawn(move || ffi::end_connect(socket, true));
        let dropper = thread::spawn(move || drop(stream));
        world.glance();
        join(dropper);
        join(peer);
        assert!(
            !ffi::is_open(socket),
            "open: the socket of a dropped stream"
        );
        world.settle_silently();
        world.end::<()>([]);
    });
}

/// Receiving is shut down while nothing comes: the receive in flight ends all the same, and the end is told.
#[test]
fn a_shutdown_ends_a_receive_that_waits() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let mine = Arc::clone(&stream);
        let other = thread::spawn(move || mine.shutdown(std::net::Shutdown::Read).unwrap());
        world.wait_for((1, R));
        join(other);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end");
        world.settle();
        world.end([stream]);
    });
}

/// Nobody polls: a read takes the packet of the receive itself, and then there is nothing to tell.
#[test]
fn a_read_takes_the_packet_of_the_receive() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        join(peer);
        assert_eq!(read(&stream, 1), b"a", "not taken");
        world.settle_silently();
        world.end([stream]);
    });
}

/// A connect has ended, and nobody took its packet: whoever asks finds that out first, and the event comes all the same.
fn a_connect_is_looked_at(well: bool) {
    explore(move || {
        let mut world = World::new();
        let (stream, socket) = connecting();
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
fn a_writer_meets_the_packet_of_a_send() {
    a_writer_meets_the_packet();
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
