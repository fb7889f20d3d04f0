//! Reads that this package may spare on Windows, and ends of a stream at which it may look later: nothing is lost by that.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::time::Instant;

use common::{is_ours, pair, wait_for_bytes, Loop, HANG, R};
use mio::event::Event;
use mio::net::TcpStream;

/// A registered stream that was read after its event, without filling the buffer, and its peer.
fn read_once(looping: &mut Loop) -> (TcpStream, net::TcpStream) {
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, R);
    peer.write_all(b"first").unwrap();
    looping.readable(1);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
    (stream, peer)
}

#[test]
fn bytes_after_a_short_read_are_there_once_their_event_was_told() {
    if cfg!(windows) && !is_ours() {
        return; // mio tells it only after a read that would block.
    }
    let mut looping = Loop::new();
    let (mut stream, mut peer) = read_once(&mut looping);
    for _ in 0..3 {
        peer.write_all(b"next").unwrap();
        looping.readable(1);
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 4);
    }
}

#[test]
fn whoever_never_polls_comes_to_his_bytes() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = read_once(&mut looping);
    peer.write_all(b"second").unwrap();
    let began = Instant::now();
    let count = loop {
        match stream.read(&mut [0; 16]) {
            Ok(count) => break count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(began.elapsed() < HANG, "no read finds them");
    };
    assert_eq!(count, 6);
}

#[test]
fn bytes_are_there_after_a_deregistration() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = read_once(&mut looping);
    looping.registry().deregister(&mut stream).unwrap();
    peer.write_all(b"second").unwrap();
    wait_for_bytes(&stream);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 6);
}

#[test]
fn the_end_is_told_although_nobody_has_read_after_bytes() {
    let mut looping = Loop::new();
    let (_stream, peer) = read_once(&mut looping);
    peer.shutdown(Shutdown::Write).unwrap();
    looping.until(1, "closing", Event::is_read_closed);
}

#[test]
fn the_end_is_told_to_whoever_has_read_it() {
    let mut looping = Loop::new();
    let (mut stream, peer) = read_once(&mut looping);
    peer.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    let (mut was_told, mut was_read) = (false, false);
    while !(was_told && was_read) {
        was_told |= looping
            .until(1, "readable or closing", |_| true)
            .is_read_closed();
        was_read |= matches!(stream.read(&mut [0; 16]), Ok(0));
        assert!(began.elapsed() < HANG, "told: {was_told}, read: {was_read}");
    }
}

#[test]
fn an_open_stream_is_never_told_to_have_ended() {
    if cfg!(windows) && !common::is_ours() {
        return; // The real mio tells of more only after a read that would block.
    }
    let mut looping = Loop::new();
    let (mut stream, mut peer) = read_once(&mut looping);
    for _ in 0..10 {
        peer.write_all(b"next").unwrap();
        // It is told once, and not read until the poll after that.
        let event = looping.readable(1);
        assert!(!event.is_read_closed());
        let rest = looping.rest();
        assert!(rest.iter().all(|event| !event.is_read_closed()), "{rest:?}");
        while stream.read(&mut [0; 16]).is_ok() {}
    }
}
