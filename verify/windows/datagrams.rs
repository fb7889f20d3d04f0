//! Datagram sockets: whole datagrams, with memory and without.

use super::*;
use crate::windows::lending::DATAGRAM_BUFFER;

type Udp = Arc<Careful<UdpSocket>>;

/// A bound under which a receive has memory, and one under which it only peeks.
const ENOUGH: usize = DATAGRAM_BUFFER;
const TOO_LITTLE: usize = 64;

fn socket(room: usize) -> (Udp, SOCKET) {
    let std = ffi::datagram_socket(room);
    let socket = ffi::socket_of(&std);
    let udp = UdpSocket::from_std(std).unwrap();
    (Arc::new(Careful::new(udp)), socket)
}

/// Receives once: a datagram and its sender, or nothing.
fn receive(udp: &Udp) -> Option<(Vec<u8>, u16)> {
    let mut buffer = [0; 8];
    match udp.recv_from(&mut buffer) {
        Ok((count, from)) => Some((buffer[..count].to_vec(), from.port())),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "told: {error}");
            None
        }
    }
}

fn receive_rest(udp: &Udp) -> Vec<(Vec<u8>, u16)> {
    std::iter::from_fn(|| receive(udp)).collect()
}

fn datagram(number: u16) -> (Vec<u8>, u16) {
    (vec![b'd'; usize::from(number) + 1], number)
}

fn drop_in(socket: SOCKET, number: u16) {
    let (bytes, from) = datagram(number);
    ffi::drop_in(socket, from, &bytes);
}

/// Datagrams come while a thread receives one and registers anew.
fn a_reader_meets_the_packet(limit: usize) {
    explore(move || {
        let mut world = World::lending(limit);
        let (udp, socket) = socket(0);
        world.register(&udp, 1, R);
        let peer = thread::spawn(move || {
            drop_in(socket, 1);
            drop_in(socket, 2);
        });
        let (mine, registrator) = (Arc::clone(&udp), world.registrator());
        let reader = thread::spawn(move || {
            let first = receive(&mine);
            mine.register(&registrator, 2, R).unwrap();
            first
        });
        world.wait_for((2, R));
        let mut all: Vec<_> = join(reader).into_iter().collect();
        join(peer);
        let more = receive_rest(&udp);
        assert!(!more.is_empty(), "false: no datagram");
        all.extend(more);
        assert_eq!(all, [datagram(1), datagram(2)], "datagrams");
        world.settle();
        world.end([udp]);
    });
}

/// What is there is received before more comes; whoever polls must not be told before.
fn an_event_means_a_datagram(limit: usize) {
    explore(move || {
        let mut world = World::lending(limit);
        let (udp, socket) = socket(0);
        world.register(&udp, 1, R);
        drop_in(socket, 1);
        let (mine, registrator) = (Arc::clone(&udp), world.registrator());
        let reader = thread::spawn(move || {
            let first = receive(&mine);
            mine.register(&registrator, 2, R).unwrap();
            first
        });
        for _ in 0..2 {
            world.glance();
        }
        let first = join(reader);
        world.settle();
        let told = world.said.contains(&(2, R));
        // A receive whose packet the poller has right now finds nothing.
        let more = receive(&udp);
        assert!(first.is_some() != more.is_some(), "datagrams");
        assert_eq!(told, more.is_some(), "false or lost: {first:?} {more:?}");
        world.end([udp]);
    });
}

/// With a receive in flight, datagrams come while two threads receive: each once, and in order.
fn datagrams_keep_their_order(limit: usize) {
    explore(move || {
        let mut world = World::lending(limit);
        let (udp, socket) = socket(0);
        world.register(&udp, 1, R);
        let peer = thread::spawn(move || {
            for number in 1..=3 {
                drop_in(socket, number);
            }
        });
        let mine = Arc::clone(&udp);
        let reader = thread::spawn(move || {
            let mut some: Vec<_> = receive(&mine).into_iter().collect();
            some.extend(receive(&mine));
            some
        });
        world.wait_for((1, R));
        let mut all = join(reader);
        join(peer);
        all.extend(receive_rest(&udp));
        assert_eq!(all, [datagram(1), datagram(2), datagram(3)], "datagrams");
        world.settle();
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end([udp]);
    });
}

/// Something that was sent could not be delivered, while a datagram comes and a thread receives: the one is not told, and the
/// other is received once.
fn a_failure_comes_with_a_datagram(limit: usize) {
    explore(move || {
        let mut world = World::lending(limit);
        let (udp, socket) = socket(0);
        world.register(&udp, 1, R);
        let peer = thread::spawn(move || {
            ffi::drop_in_failure(socket);
            drop_in(socket, 1);
        });
        let mine = Arc::clone(&udp);
        let reader = thread::spawn(move || {
            let seen = mine.peek_from(&mut [0; 8]);
            match &seen {
                Ok((count, from)) => assert_eq!((*count, from.port()), (2, 1), "datagrams"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "told: {error}"),
            }
        });
        world.wait_for((1, R));
        join(reader);
        join(peer);
        assert_eq!(receive_rest(&udp), [datagram(1)], "datagrams");
        world.settle();
        world.end([udp]);
    });
}

fn a_socket_is_dropped_with_a_receive() {
    a_source_is_dropped(ENOUGH + LENT, || socket(0), |socket| drop_in(socket, 1));
}

fn a_socket_is_deregistered() {
    let arrive = |socket| drop_in(socket, 1);
    a_source_is_deregistered(|| socket(0), arrive, receive_rest, || vec![datagram(1)]);
}

/// A socket whose datagram the kernel has not taken yet.
fn a_send_in_flight() -> (World, Udp, SOCKET) {
    let mut world = World::new();
    let (udp, socket) = socket(0);
    world.register(&udp, 1, W);
    world.wait_for((1, W));
    assert_eq!(udp.send(b"ab").unwrap(), 2);
    (world, udp, socket)
}

/// A socket is dropped with a datagram in flight: it goes out, and then the socket is closed.
fn a_socket_is_dropped_with_a_send() {
    explore(|| {
        let (mut world, udp, socket) = a_send_in_flight();
        let peer = thread::spawn(move || ffi::make_room(socket, 1));
        let dropper = thread::spawn(move || drop(udp));
        world.glance();
        join(dropper);
        join(peer);
        world.settle();
        assert_eq!(ffi::sent_datagrams(socket), [b"ab"], "sent");
        assert!(!ffi::is_open(socket), "open: nothing is in flight");
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// A writer meets the end of its send: nothing overtakes, and the writable event comes.
fn a_writer_meets_the_packet() {
    explore(|| {
        let (mut world, udp, socket) = a_send_in_flight();
        let peer = thread::spawn(move || ffi::make_room(socket, 2));
        let (mine, registrator) = (Arc::clone(&udp), world.registrator());
        let writer = thread::spawn(move || {
            let result = mine.send(b"c");
            assert!(result.is_ok() || is_would_block(&result), "{result:?}");
            mine.register(&registrator, 2, W).unwrap();
            result.is_ok()
        });
        world.wait_for((2, W));
        let written = join(writer);
        join(peer);
        world.settle();
        let expected: &[&[u8]] = if written { &[b"ab", b"c"] } else { &[b"ab"] };
        assert_eq!(ffi::sent_datagrams(socket), expected, "sent");
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end([udp]);
    });
}

/// A socket and its `Poll` are dropped, with a receive in flight, or with a send.
fn all_is_dropped(sends: bool) {
    explore(move || {
        let (world, udp, socket) = if sends {
            a_send_in_flight()
        } else {
            let world = World::lending(ENOUGH);
            let (udp, socket) = socket(0);
            world.register(&udp, 1, R);
            (world, udp, socket)
        };
        let peer = thread::spawn(move || {
            if sends {
                ffi::make_room(socket, 1);
            } else {
                drop_in(socket, 1);
            }
        });
        let dropper = thread::spawn(move || drop(udp));
        drop(world);
        join(dropper);
        join(peer);
    });
}

#[test]
fn a_reader_meets_the_packet_of_a_datagram() {
    a_reader_meets_the_packet(ENOUGH);
}

#[test]
fn a_reader_meets_the_packet_of_a_look() {
    a_reader_meets_the_packet(TOO_LITTLE);
}

#[test]
fn an_event_means_a_datagram_with_memory() {
    an_event_means_a_datagram(ENOUGH);
}

#[test]
fn an_event_means_a_datagram_without_memory() {
    an_event_means_a_datagram(TOO_LITTLE);
}

#[test]
fn each_datagram_is_received_once_and_in_order() {
    datagrams_keep_their_order(ENOUGH);
}

#[test]
fn each_datagram_is_received_once_and_in_order_without_memory() {
    datagrams_keep_their_order(TOO_LITTLE);
}

#[test]
fn a_failure_of_a_sent_datagram_is_not_told() {
    a_failure_comes_with_a_datagram(ENOUGH);
}

#[test]
fn a_failure_that_a_look_meets_is_not_told() {
    a_failure_comes_with_a_datagram(TOO_LITTLE);
}

#[test]
fn a_dropped_socket_with_a_receive_is_gone() {
    a_socket_is_dropped_with_a_receive();
}

#[test]
fn no_event_after_a_socket_is_deregistered() {
    a_socket_is_deregistered();
}

#[test]
fn a_dropped_socket_sends_its_datagram() {
    a_socket_is_dropped_with_a_send();
}

#[test]
fn a_writer_meets_the_packet_of_a_datagram() {
    a_writer_meets_the_packet();
}

#[test]
fn all_dropped_with_a_receive_of_a_datagram_leaves_nothing() {
    all_is_dropped(false);
}

#[test]
fn all_dropped_with_a_datagram_sends_it() {
    all_is_dropped(true);
}
