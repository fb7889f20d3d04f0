//! Sources that become sockets of `std` again, and the other way round.

mod common;

use std::io::{Read, Write};
use std::net;
use std::thread;

use common::{any_port, drain, pair, watchdog, Loop, R, RW};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::Token;

#[test]
fn a_registered_stream_with_unread_bytes_is_given_back_with_them() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    peer.write_all(b"word").unwrap();
    looping.readable(1);
    let mut stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    let mut four = [0; 4];
    // A stream that lends loses what was received into its memory.
    if cfg!(not(all(windows, feature = "lend"))) {
        stream.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"word");
    }
    stream.write_all(b"back").unwrap();
    peer.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"back");
    assert_eq!(looping.rest().len(), 0);
}

#[test]
fn a_stream_that_waits_for_bytes_is_given_back() {
    let _watchdog = watchdog();
    let looping = Loop::new();
    let (mut stream, mut peer) = pair();
    let registry = looping.registry();
    registry.register(&mut stream, Token(1), R).unwrap();
    assert_eq!(drain(&stream), (vec![], false));
    registry.deregister(&mut stream).unwrap();
    let mut stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    peer.write_all(b"word").unwrap();
    let mut four = [0; 4];
    stream.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"word");
}

// With `lend` it waits for the peer, which reads in this thread.
#[cfg(not(all(windows, feature = "lend")))]
#[test]
fn a_stream_whose_peer_does_not_read_is_given_back_at_once() {
    let _watchdog = watchdog();
    let looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    let mut sent = 0;
    while let Ok(more) = stream.write(&[b'a'; 50_000]) {
        sent += more;
    }
    let mut stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    let mut came = vec![0; sent];
    peer.read_exact(&mut came).unwrap();
    assert!(came.iter().all(|byte| *byte == b'a'));
    // What is sent now comes after that, and what is received is not touched by anybody else.
    stream.write_all(b"word").unwrap();
    let mut four = [0; 4];
    peer.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"word");
    peer.write_all(b"back").unwrap();
    stream.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"back");
    drop(stream);
    assert_eq!(peer.read(&mut four).unwrap(), 0);
}

#[test]
fn a_listener_that_waits_is_given_back() {
    let _watchdog = watchdog();
    let looping = Loop::new();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    looping.register(&mut listener, 1, R);
    let listener = net::TcpListener::from(listener);
    listener.set_nonblocking(false).unwrap();
    let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_listener_whose_client_nobody_accepted_is_given_back() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    looping.register(&mut listener, 1, R);
    let _first = net::TcpStream::connect(address).unwrap();
    looping.readable(1);
    let listener = net::TcpListener::from(listener);
    listener.set_nonblocking(false).unwrap();
    let _second = net::TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_datagram_socket_is_given_back() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let peer = net::UdpSocket::bind(any_port()).unwrap();
    looping.register(&mut socket, 1, RW);
    peer.send_to(b"word", socket.local_addr().unwrap()).unwrap();
    looping.readable(1);
    let socket = net::UdpSocket::from(socket);
    socket.set_nonblocking(false).unwrap();
    peer.send_to(b"words", socket.local_addr().unwrap())
        .unwrap();
    socket.recv(&mut [0; 8]).unwrap();
}

#[test]
fn a_stream_that_was_never_registered_goes_there_and_back() {
    let (stream, mut peer) = pair();
    let stream = net::TcpStream::from(stream);
    let stream = TcpStream::from_std(stream);
    peer.write_all(b"word").unwrap();
    let mut came = Vec::new();
    while came.len() < 4 {
        came.extend(drain(&stream).0);
        thread::yield_now();
    }
    drop(peer);
    let mut stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

// Without a word to mio's registry, whose real one has the socket still.
#[test]
fn a_stream_that_was_given_back_is_registered_again() {
    // One that was given back while it lent is a duplicate, which minimio does not know.
    if !common::is_ours() || cfg!(all(windows, feature = "lend")) {
        return;
    }
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    for round in 0..10 {
        looping.register(&mut stream, round, RW);
        peer.write_all(b"word").unwrap();
        let mut came = Vec::new();
        while came.len() < 4 {
            looping.readable(round);
            came.extend(drain(&stream).0);
        }
        assert_eq!(came, b"word");
        stream = TcpStream::from_std(net::TcpStream::from(stream));
    }
}
