//! Datagram sockets: both directions, connected or not.

mod common;

use std::io::ErrorKind;
use std::net;

use common::{any_port, is_ours, Loop, R, RW, W};
use mio::net::UdpSocket;
use mio::Token;

/// A socket of mio's, and a peer of `std`'s.
fn sockets() -> (UdpSocket, net::UdpSocket) {
    let socket = UdpSocket::bind(any_port()).unwrap();
    let peer = net::UdpSocket::bind(any_port()).unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    (socket, peer)
}

/// Receives until there is nothing for now.
fn drain(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 1500];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((count, _)) => all.push(buffer[..count].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}

#[test]
fn each_arrival_after_a_drain_is_an_event() {
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    looping.register(&mut socket, 1, RW);
    for round in 0..200_u32 {
        peer.send(&round.to_ne_bytes()).unwrap();
        loop {
            looping.readable(1);
            let came = drain(&socket);
            if !came.is_empty() {
                assert_eq!(came, [round.to_ne_bytes()]);
                break;
            }
        }
    }
}

#[test]
fn what_waits_at_the_registration_is_an_event() {
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    peer.send(b"early").unwrap();
    while socket.peek_from(&mut [0; 8]).is_err() {
        std::thread::yield_now();
    }
    looping.register(&mut socket, 1, R);
    looping.readable(1);
    assert_eq!(drain(&socket), [b"early"]);
}

#[test]
fn many_datagrams_come_whole_and_once() {
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    looping.register(&mut socket, 1, R);
    for _ in 0..20 {
        for number in 0..10 {
            peer.send(&vec![number; 1 + usize::from(number)]).unwrap();
        }
        let mut came = Vec::new();
        while came.len() < 10 {
            looping.readable(1);
            came.extend(drain(&socket));
        }
        let sent: Vec<_> = (0..10)
            .map(|number| vec![number; 1 + usize::from(number)])
            .collect();
        assert_eq!(came, sent);
    }
}

#[test]
fn a_socket_is_writable_at_once_and_sends() {
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    looping.register(&mut socket, 1, W);
    looping.writable(1);
    let target = peer.local_addr().unwrap();
    assert_eq!(socket.send_to(b"word", target).unwrap(), 4);
    let mut buffer = [0; 8];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
    // As after each registration.
    looping
        .registry()
        .reregister(&mut socket, Token(2), RW)
        .unwrap();
    looping.writable(2);
    assert_eq!(socket.send_to(b"words", target).unwrap(), 5);
    assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
}

#[test]
fn two_sockets_of_mios_talk() {
    let mut looping = Loop::new();
    let mut near = UdpSocket::bind(any_port()).unwrap();
    let mut far = UdpSocket::bind(any_port()).unwrap();
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
    looping.register(&mut near, 1, RW);
    looping.register(&mut far, 2, RW);
    let mut buffer = [0; 16];
    for _ in 0..50 {
        assert_eq!(near.send(b"there").unwrap(), 5);
        looping.until(2, "readable", |event| event.is_readable());
        while far.peek(&mut buffer).is_err() {}
        assert_eq!(far.recv(&mut buffer).unwrap(), 5);
        assert_eq!(
            far.recv(&mut buffer).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(far.send(b"back").unwrap(), 4);
        looping.readable(1);
        while near.peek(&mut buffer).is_err() {}
        assert_eq!(near.recv(&mut buffer).unwrap(), 4);
        assert_eq!(
            near.recv(&mut buffer).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    }
}

#[test]
fn nothing_is_told_after_a_deregistration() {
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    let registry = looping.registry();
    registry.register(&mut socket, Token(1), RW).unwrap();
    peer.send(b"early").unwrap();
    while socket.peek_from(&mut [0; 8]).is_err() {
        std::thread::yield_now();
    }
    registry.deregister(&mut socket).unwrap();
    peer.send(b"late").unwrap();
    assert_eq!(looping.rest().len(), 0);
    looping.register(&mut socket, 2, R);
    looping.readable(2);
}

#[test]
fn a_call_of_the_users_own_that_would_block_leaves_an_event_to_come() {
    if cfg!(all(windows, feature = "lend")) {
        return; // Such a call misses what was received into lent memory.
    }
    let mut looping = Loop::new();
    let (mut socket, peer) = sockets();
    looping.register(&mut socket, 1, RW);
    looping.writable(1);
    for _ in 0..20 {
        let receive = || {
            let mut room = [std::mem::MaybeUninit::uninit(); 8];
            socket2::SockRef::from(&socket).recv(&mut room)
        };
        let error = socket.try_io(receive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        peer.send(b"word").unwrap();
        looping.readable(1);
        assert_eq!(socket.try_io(receive).unwrap(), 4);
    }
}

#[test]
fn options_are_the_sockets() {
    let (socket, _peer) = sockets();
    socket.set_ttl(7).unwrap();
    assert_eq!(socket.ttl().unwrap(), 7);
    socket.set_broadcast(true).unwrap();
    assert!(socket.broadcast().unwrap());
    assert!(socket.take_error().unwrap().is_none());
    // Wine says less than the real mio expects.
    if cfg!(unix) || is_ours() {
        if let Ok(socket) = UdpSocket::bind("[::1]:0".parse().unwrap()) {
            socket.only_v6().unwrap();
        }
    }
}
