//! UDP sockets: datagrams that are whole, cut or empty, errors that come by ICMP, and the events around them.
//!
//! Contract: docs/contract.md, 1, 2.1, 2.3, 2.5, 2.7, 3.1, 3.2, 3.3, 3.6, 3.7, 3.8, 5.4, 6.4, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::ends::{suite, DatagramEnd, DatagramPeer};
use common::{
    effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, under_wine,
    until_done, watchdog, LOOPBACKS,
};
use minimio::{Events, Interests, Poll, Registrator, UdpSocket};
use socket2::SockRef;

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// A socket to test, and a blocking socket at the other end. They are not connected.
fn pair(loopback: &str) -> (UdpSocket, net::UdpSocket) {
    let socket = UdpSocket::bind(loopback).unwrap();
    (socket, net::UdpSocket::bind(loopback).unwrap())
}

/// The address of a socket that was closed a moment ago.
fn nobody(loopback: &str) -> SocketAddr {
    let socket = net::UdpSocket::bind(loopback).unwrap();
    socket.local_addr().unwrap()
}

// 3.1
fn an_unregistered_socket_sends_and_receives_without_blocking<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (socket, peer) = D::pair_of(kind);
        let (here, there) = (socket.address(), peer.address());
        let mut buffer = [0; 16];
        assert_eq!(
            kind_of(socket.recv_from(&mut buffer)),
            ErrorKind::WouldBlock
        );
        assert_eq!(
            kind_of(socket.peek_from(&mut buffer)),
            ErrorKind::WouldBlock
        );
        peer.send_to(b"hello", &here).unwrap();
        let received = until_done(|| socket.recv_from(&mut buffer)).unwrap();
        assert_eq!(received, (5, there.clone()));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(socket.send_to(b"world!", &there).unwrap(), 6);
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (6, here.clone()));
    }
}

// 3.1, 8
fn a_registered_socket_receives_before_any_event<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator.register(&socket, 1, READABLE).unwrap();
    peer.send(b"early").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(until_done(|| socket.recv(&mut buffer)).unwrap(), 5);
    registrator.register(&socket, 2, READABLE).unwrap();
    peer.send(b"later").unwrap();
    loop {
        assert_ne!(poll.poll(&mut events, Some(common::HANG)).unwrap(), 0);
        match socket.recv(&mut buffer) {
            Ok(count) => break assert_eq!(&buffer[..count], b"later"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        registrator.register(&socket, 2, READABLE).unwrap();
    }
}

// 2.1, 3.2
fn the_first_receive_after_an_event_gives_a_datagram<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::pair_of(kind);
        let (here, there) = (socket.address(), peer.address());
        let mut buffer = [0; 64];
        for token in 0..effort(100) {
            registrator.register(&socket, token, READABLE).unwrap();
            expect_nothing_queued(&mut poll, &mut events);
            peer.send_to(&token.to_ne_bytes(), &here).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, there);
            assert_eq!(buffer[..count], token.to_ne_bytes());
            if token % 2 == 0 {
                assert_eq!(
                    kind_of(socket.recv_from(&mut buffer)),
                    ErrorKind::WouldBlock
                );
            }
        }
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 2.3, 2.1: a receive that does not fill its buffer has taken one datagram. It does not show that this was the last
// one.
fn one_receive_an_event_takes_every_datagram_in_order<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::connected_of(kind);
        for number in 0..D::QUEUE {
            peer.send(&[number]).unwrap();
        }
        let mut buffer = [0; 64];
        for number in 0..D::QUEUE {
            registrator.register(&socket, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(socket.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
        registrator.register(&socket, 1, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
}

// 3.6, 8
fn datagrams_of_every_size_arrive_whole<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::connected_of(kind);
        // Some systems have no room for the largest datagram unless they are asked for it.
        socket.make_room(&peer);
        let mut buffer = vec![0; D::LARGEST + 1000];
        let sizes = [1, 1023, 1024, 1025, 4096, 4097, D::LARGEST];
        let sizes = sizes.into_iter().filter(|&size| size <= D::LARGEST);
        for (token, size) in sizes.enumerate() {
            let datagram: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            registrator.register(&socket, token, READABLE).unwrap();
            peer.send(&datagram).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            assert_eq!(socket.recv(&mut buffer).unwrap(), size);
            assert_eq!(buffer[..size], datagram);
            assert_eq!(socket.send(&datagram).unwrap(), size);
            assert_eq!(peer.recv(&mut buffer).unwrap(), size);
            assert_eq!(buffer[..size], datagram);
        }
    }
}

// 3.3, 8
fn an_empty_datagram_is_sent_and_received_as_one<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::pair_of(kind);
        let (here, there) = (socket.address(), peer.address());
        let mut buffer = [0; 16];
        registrator.register(&socket, 1, READABLE).unwrap();
        peer.send_to(&[], &here).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (0, there.clone()));
        assert_eq!(
            kind_of(socket.recv_from(&mut buffer)),
            ErrorKind::WouldBlock
        );
        assert_eq!(socket.send_to(&[], &there).unwrap(), 0);
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (0, here.clone()));

        socket.connect(&there).unwrap();
        peer.connect(&here).unwrap();
        registrator.register(&socket, 2, READABLE).unwrap();
        peer.send(&[]).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(socket.recv(&mut buffer).unwrap(), 0);
        assert_eq!(socket.send(&[]).unwrap(), 0);
        assert_eq!(peer.recv(&mut buffer).unwrap(), 0);
    }
}

// 3.6, 8
fn a_datagram_longer_than_the_buffer_is_cut_and_the_next_is_intact<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::pair_of(kind);
        let (here, there) = (socket.address(), peer.address());
        peer.send_to(b"0123456789", &here).unwrap();
        peer.send_to(b"abc", &here).unwrap();
        let mut buffer = [0; 4];
        for (token, expected) in [&b"0123"[..], b"abc"].into_iter().enumerate() {
            registrator.register(&socket, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..count], &from), (expected, &there));
        }
        // The same for a connected socket, down to an empty buffer.
        socket.connect(&there).unwrap();
        for room in (0..4).rev() {
            peer.send_to(b"0123456789", &here).unwrap();
            let count = until_done(|| socket.recv(&mut buffer[..room])).unwrap();
            assert_eq!(buffer[..count], b"0123"[..room]);
        }
        assert_eq!(kind_of(socket.recv(&mut buffer)), ErrorKind::WouldBlock);
    }
}

// 3.6
fn a_peek_into_a_short_buffer_cuts_nothing_off<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (socket, peer) = D::connected_of(kind);
        let there = peer.address();
        peer.send(b"0123456789").unwrap();
        let mut short = [0; 4];
        assert_eq!(
            until_done(|| socket.peek_from(&mut short)).unwrap(),
            (4, there.clone())
        );
        assert_eq!(socket.peek(&mut short).unwrap(), 4);
        assert_eq!(&short, b"0123");
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 10);
        assert_eq!(&buffer[..10], b"0123456789");
        assert_eq!(kind_of(socket.peek(&mut buffer)), ErrorKind::WouldBlock);
    }
}

// 3.3, 2.3
fn a_datagram_that_was_peeked_at_is_reported_again<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    peer.send(b"hello").unwrap();
    let mut buffer = [0; 16];
    for token in 0..3 {
        registrator.register(&socket, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(socket.peek(&mut buffer).unwrap(), 5);
    }
    assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
    registrator.register(&socket, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 1
fn a_datagram_too_long_to_be_sent_is_an_error<D: DatagramEnd>() {
    for kind in 0..D::KINDS {
        let (socket, peer) = D::pair_of(kind);
        let error = socket
            .send_to(&vec![0; D::TOO_LONG], &peer.address())
            .unwrap_err();
        assert_ne!(error.kind(), ErrorKind::WouldBlock);
    }
}

// 3.6, 8: an unreachable port, and a socket that is not connected.
#[test]
fn an_unreachable_port_fails_no_receive_of_an_unconnected_socket() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = pair(loopback);
        let nobody = nobody(loopback);
        registrator.register(&socket, 1, READABLE).unwrap();
        for _ in 0..3 {
            socket.send_to(b"anybody?", nobody).unwrap();
        }
        expect_no_events(&mut poll, &mut events);
        let mut buffer = [0; 16];
        assert_eq!(
            kind_of(socket.recv_from(&mut buffer)),
            ErrorKind::WouldBlock
        );
        peer.send_to(b"hello", socket.local_addr().unwrap())
            .unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let received = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(received, (5, peer.local_addr().unwrap()));
    }
}

// 3.2, 3.6, 8: an unreachable port, and a connected socket.
#[test]
fn an_unreachable_port_is_an_event_and_an_error_of_a_connected_socket() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = pair(loopback);
        socket.connect(nobody(loopback)).unwrap();
        registrator.register(&socket, 1, READABLE).unwrap();
        socket.send(b"anybody?").unwrap();
        let mut buffer = [0; 16];
        if cfg!(windows) && !under_wine() {
            // Windows has this switched off. Otherwise it would be the error of whatever is received next.
            expect_no_events(&mut poll, &mut events);
        } else {
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(
                kind_of(socket.recv(&mut buffer)),
                ErrorKind::ConnectionRefused
            );
        }
        assert_eq!(kind_of(socket.recv(&mut buffer)), ErrorKind::WouldBlock);

        // The socket works as before.
        socket.connect(peer.local_addr().unwrap()).unwrap();
        registrator.register(&socket, 2, READABLE).unwrap();
        peer.send_to(b"hello", socket.local_addr().unwrap())
            .unwrap();
        if under_wine() {
            // Under Wine 8 this error stops overlapped receives for good, even with another peer.
            expect_no_events(&mut poll, &mut events);
            continue;
        }
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
    }
}

// 1, 3.2: if the system keeps the error, `take_error` returns it once.
#[cfg(not(windows))]
#[test]
fn the_error_of_an_unreachable_port_is_taken_once() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(socket.take_error().unwrap().is_none());
    socket.connect(nobody("127.0.0.1:0")).unwrap();
    registrator.register(&socket, 1, READABLE).unwrap();
    socket.send(b"anybody?").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let error = socket.take_error().unwrap().expect("an error is kept");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(socket.take_error().unwrap().is_none());
}

// 2.1
fn an_idle_socket_is_writable_once_a_registration<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::pair_of(kind);
        let there = peer.address();
        for token in 0..5 {
            registrator.register(&socket, token, WRITABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, false, true)]);
            assert_eq!(socket.send_to(b"hello", &there).unwrap(), 5);
            expect_nothing_queued(&mut poll, &mut events);
        }
    }
}

// 2.1, 6.4: the kernel reports an edge each time it has sent a datagram, although nothing is armed.
fn sending_fires_no_readable<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator.register(&socket, 1, READABLE).unwrap();
    for _ in 0..20 {
        socket.send(b"hello").unwrap();
        peer.recv(&mut [0; 16]).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }
    peer.send(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
}

// 2.1
fn both_interests_fire_each_once<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator
        .register(&socket, 1, READABLE | WRITABLE)
        .unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    peer.send(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    peer.send(b"again").unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5
fn a_deregistered_socket_is_silent_and_receives<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator.register(&socket, 1, READABLE).unwrap();
    registrator.deregister(&socket).unwrap();
    peer.send(b"hello").unwrap();
    expect_no_events(&mut poll, &mut events);
    let mut buffer = [0; 16];
    assert_eq!(until_done(|| socket.recv(&mut buffer)).unwrap(), 5);
    registrator.register(&socket, 2, READABLE).unwrap();
    peer.send(b"again").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

// 2.7, 3.6
fn a_datagram_sent_just_before_the_drop_arrives<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator.register(&socket, 1, READABLE).unwrap();
    peer.send(b"unread").unwrap();
    // If the datagram came after the drop, its sender would get an ICMP message.
    until_done(|| socket.peek(&mut [0; 16])).unwrap();
    socket.send(b"last words").unwrap();
    drop(socket);
    expect_no_events(&mut poll, &mut events);
    assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 10);
}

// 1, 3.6: the socket does what that of `std` does.
fn a_connected_socket_hears_its_peer_only<D: DatagramEnd>() {
    let _watchdog = watchdog();
    for kind in 0..D::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (socket, peer) = D::connected_of(kind);
        let here = socket.address();
        assert_eq!(socket.peer_address().unwrap(), peer.address());
        let stranger = D::Peer::bind_of(kind);
        registrator.register(&socket, 1, READABLE).unwrap();
        stranger.send_to(b"psst", &here).unwrap();
        expect_no_events(&mut poll, &mut events);
        peer.send(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);

        // A new peer replaces the old one.
        socket.connect(&stranger.address()).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
        registrator.register(&socket, 2, READABLE).unwrap();
        stranger.send_to(b"ah", &here).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(socket.recv(&mut buffer).unwrap(), 2);
        assert_eq!(socket.send(b"oh").unwrap(), 2);
        assert_eq!(stranger.recv_from(&mut buffer).unwrap(), (2, here.clone()));
    }
}

// 1: the socket does what that of `std` does.
#[test]
fn addresses_are_resolved_as_std_does() {
    let (socket, peer) = pair("127.0.0.1:0");
    let there = peer.local_addr().unwrap();
    let none: [SocketAddr; 0] = [];
    assert_eq!(kind_of(socket.connect(&none[..])), ErrorKind::InvalidInput);
    assert_eq!(
        kind_of(socket.send_to(b"x", &none[..])),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind_of(socket.peer_addr()), ErrorKind::NotConnected);
    socket.send_to(b"x", ("127.0.0.1", there.port())).unwrap();
    // A socket of one address family cannot connect to an address of the other. So the next address is taken.
    let other: SocketAddr = "[::1]:9".parse().unwrap();
    socket.connect(&[other, there][..]).unwrap();
    assert_eq!(socket.peer_addr().unwrap(), there);
}

// 1
fn a_send_without_a_peer_is_an_error<D: DatagramEnd>() {
    let socket = D::bind();
    let error = socket.send(b"x").unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
}

// 1
#[test]
fn options_are_those_of_std() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for on in [true, false] {
        socket.set_broadcast(on).unwrap();
        assert_eq!(socket.broadcast().unwrap(), on);
        socket.set_multicast_loop_v4(on).unwrap();
        assert_eq!(socket.multicast_loop_v4().unwrap(), on);
    }
    socket.set_ttl(42).unwrap();
    assert_eq!(socket.ttl().unwrap(), 42);
    socket.set_multicast_ttl_v4(7).unwrap();
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
    assert!(socket.take_error().unwrap().is_none());

    let socket = UdpSocket::bind("[::1]:0").unwrap();
    for on in [true, false] {
        socket.set_multicast_loop_v6(on).unwrap();
        assert_eq!(socket.multicast_loop_v6().unwrap(), on);
    }
}

/// The answer of `std`, to compare ours with. Whether a group can be joined depends on the machine.
fn outcome(result: io::Result<()>) -> Option<Option<i32>> {
    result.err().map(|error| error.raw_os_error())
}

// 1
#[test]
fn multicast_groups_are_joined_and_left_as_std_does() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let interface = Ipv4Addr::LOCALHOST;
    let theirs = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        // The second time the group was already joined, or left.
        let expected = outcome(theirs.join_multicast_v4(&group, &interface));
        assert_eq!(
            outcome(ours.join_multicast_v4(&group, &interface)),
            expected
        );
    }
    for _ in 0..2 {
        let expected = outcome(theirs.leave_multicast_v4(&group, &interface));
        assert_eq!(
            outcome(ours.leave_multicast_v4(&group, &interface)),
            expected
        );
    }

    let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x1234, 1);
    let theirs = net::UdpSocket::bind("[::1]:0").unwrap();
    let ours = UdpSocket::bind("[::1]:0").unwrap();
    for interface in [0, 1, 9_999] {
        let expected = outcome(theirs.join_multicast_v6(&group, interface));
        assert_eq!(outcome(ours.join_multicast_v6(&group, interface)), expected);
        let expected = outcome(theirs.leave_multicast_v6(&group, interface));
        assert_eq!(
            outcome(ours.leave_multicast_v6(&group, interface)),
            expected
        );
    }
}

// 3.8
#[test]
fn options_can_be_set_while_a_socket_is_registered() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = UdpSocket::connected();
    registrator.register(&socket, 1, READABLE).unwrap();
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(50_000).unwrap();
    assert!(options.recv_buffer_size().unwrap() >= 50_000);
    options.set_send_buffer_size(50_000).unwrap();
    assert!(options.send_buffer_size().unwrap() >= 50_000);
    peer.send(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 5);
}

// 5.4: the call is accepted on every system.
fn a_lent_buffer_of_any_size_is_accepted<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    for (token, size) in [0, 1, usize::MAX].into_iter().enumerate() {
        socket.set_lent_buffer(size);
        registrator.register(&socket, token, READABLE).unwrap();
        peer.send(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 5);
    }
}

// 3.8: a call on the borrowed descriptor moves data.
fn datagrams_received_behind_the_crates_back_make_no_false_event<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    socket.set_lent_buffer(0);
    for token in 0..10 {
        registrator.register(&socket, token, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        peer.send(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(socket.recv_behind(&mut [0; 16]).unwrap(), 5);
    }
}

// 3.7
fn a_socket_of_std_becomes_non_blocking<D: DatagramEnd>() {
    let socket = D::Peer::bind_of(0);
    let address = socket.address();
    let socket = D::from_std(socket).unwrap();
    assert_eq!(socket.address(), address);
    assert_eq!(
        kind_of(socket.recv_from(&mut [0; 8])),
        ErrorKind::WouldBlock
    );
}

// 3.7
fn a_socket_given_back_to_std_works_and_fires_no_more<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    registrator.register(&socket, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let given_back = socket.into_std().unwrap();
    let mut buffer = [0; 16];
    assert_eq!(kind_of(given_back.recv(&mut buffer)), ErrorKind::WouldBlock);
    given_back.set_nonblocking(false).unwrap();
    peer.send(b"hello").unwrap();
    assert_eq!(given_back.recv(&mut buffer).unwrap(), 5);
    expect_no_events(&mut poll, &mut events);
}

// 1
fn sockets_can_be_sent_shared_and_shown<D: DatagramEnd>() {
    fn is_good<T: Send + Sync + Debug + 'static>(_: &T) {}
    let socket = D::bind();
    is_good(&socket);
    assert!(!format!("{socket:?}").is_empty());
}

// 1
#[cfg(unix)]
#[test]
fn a_descriptor_is_lent_not_given() {
    use std::os::fd::{AsFd, AsRawFd};
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(socket.as_fd().as_raw_fd(), socket.as_raw_fd());
}

suite! {
    datagrams {
        an_unregistered_socket_sends_and_receives_without_blocking,
        a_registered_socket_receives_before_any_event,
        the_first_receive_after_an_event_gives_a_datagram,
        one_receive_an_event_takes_every_datagram_in_order,
        datagrams_of_every_size_arrive_whole,
        an_empty_datagram_is_sent_and_received_as_one,
        a_datagram_longer_than_the_buffer_is_cut_and_the_next_is_intact,
        a_peek_into_a_short_buffer_cuts_nothing_off,
        a_datagram_that_was_peeked_at_is_reported_again,
        a_datagram_too_long_to_be_sent_is_an_error,
        an_idle_socket_is_writable_once_a_registration,
        sending_fires_no_readable,
        both_interests_fire_each_once,
        a_deregistered_socket_is_silent_and_receives,
        a_datagram_sent_just_before_the_drop_arrives,
        a_connected_socket_hears_its_peer_only,
        a_send_without_a_peer_is_an_error,
        a_lent_buffer_of_any_size_is_accepted,
        datagrams_received_behind_the_crates_back_make_no_false_event,
        a_socket_of_std_becomes_non_blocking,
        a_socket_given_back_to_std_works_and_fires_no_more,
        sockets_can_be_sent_shared_and_shown,
    }
}
