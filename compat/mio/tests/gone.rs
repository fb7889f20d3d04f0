//! What is left when the `Poll` is gone before its sources.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net;
use std::thread;

use common::{any_port, drain, fill, pair, wait_for_bytes, watchdog, Loop, R, RW};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Token, Waker};

#[test]
fn sources_may_be_dropped_after_their_poll() {
    let _watchdog = watchdog();
    for round in 0..50 {
        let looping = Loop::new();
        let registry = looping.registry().try_clone().unwrap();
        let waker = Waker::new(&registry, Token(0)).unwrap();
        let (mut stream, mut peer) = pair();
        let mut listener = TcpListener::bind(any_port()).unwrap();
        let mut socket = UdpSocket::bind(any_port()).unwrap();
        let mut connecting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        registry.register(&mut stream, Token(1), RW).unwrap();
        registry.register(&mut listener, Token(2), RW).unwrap();
        registry.register(&mut socket, Token(3), RW).unwrap();
        registry.register(&mut connecting, Token(4), RW).unwrap();
        peer.write_all(b"word").unwrap();
        if round % 2 == 0 {
            fill(&stream);
        }
        drop(looping);
        waker.wake().unwrap();
        if round % 3 == 0 {
            registry.deregister(&mut stream).unwrap();
            registry.deregister(&mut listener).unwrap();
            registry.deregister(&mut socket).unwrap();
            registry.deregister(&mut connecting).unwrap();
        }
        if round % 5 == 0 {
            drop(registry);
        }
    }
}

#[test]
fn a_stream_reads_and_writes_after_its_poll() {
    let _watchdog = watchdog();
    let looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    assert_eq!(drain(&stream), (vec![], false));
    drop(looping);
    peer.write_all(b"word").unwrap();
    let mut came = Vec::new();
    while came.len() < 4 {
        came.extend(drain(&stream).0);
        thread::yield_now();
    }
    assert_eq!(came, b"word");
    assert_eq!(stream.write(b"back").unwrap(), 4);
    let mut four = [0; 4];
    peer.read_exact(&mut four).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut four).unwrap(), 0);
}

// No event will tell of what comes, so no read may say that nothing is there without having looked.
#[test]
fn each_read_after_the_poll_finds_what_is_there() {
    let looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, R);
    drop(looping);
    for _ in 0..3 {
        peer.write_all(b"word").unwrap();
        wait_for_bytes(&stream);
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 4);
    }
}

#[test]
fn a_stream_becomes_one_of_std_after_its_poll() {
    let _watchdog = watchdog();
    let looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    drop(looping);
    let mut stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    peer.write_all(b"word").unwrap();
    let mut four = [0; 4];
    stream.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"word");
}

#[test]
fn a_batch_outlives_its_poll() {
    let mut looping = Loop::new();
    let (mut stream, _peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    let Loop { poll, events } = looping;
    drop(poll);
    drop(stream);
    assert!(events.iter().any(|event| event.token() == Token(1)));
}

#[test]
fn a_stream_that_is_left_by_its_poll_while_it_connects_ends() {
    let _watchdog = watchdog();
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let looping = Loop::new();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    looping.register(&mut stream, 1, RW);
    drop(looping);
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::ConnectionAborted
        ),
        "{error}"
    );
}
