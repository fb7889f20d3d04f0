//! 3.2: a broken stream stays broken, by Windows' ways to learn of it: packets, direct calls, and `SO_ERROR`.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::thread;
use std::time::Duration;

use common::{await_bytes, expect_events, fill_and_arm, pair, watchdog, BOTH, READABLE};
use minimio::{Events, Poll, Registrator, TcpStream};
use socket2::SockRef;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn reset(peer: net::TcpStream) {
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
}

/// Checks that `read` tells of this failure, every time.
#[track_caller]
fn expect_broken(mut stream: &TcpStream, kind: ErrorKind) {
    for _ in 0..3 {
        let read = stream.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(read, Err(kind));
        let seen = stream.peek(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(seen, Err(kind));
    }
}

/// Checks that `take_error` gives this failure, once.
#[track_caller]
fn expect_taken(stream: &TcpStream, kind: ErrorKind) {
    assert_eq!(
        stream.take_error().unwrap().map(|error| error.kind()),
        Some(kind)
    );
    for _ in 0..3 {
        assert!(stream.take_error().unwrap().is_none(), "taken once");
    }
}

/// Writes until the reset is told.
fn told_to_write(mut stream: &TcpStream) -> ErrorKind {
    let kind = loop {
        match stream.write(b"x") {
            Ok(_) => thread::yield_now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => break error.kind(),
        }
    };
    let expected = [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted];
    assert!(expected.contains(&kind), "{kind}");
    kind
}

#[test]
fn a_reset_that_a_write_has_told_of_is_read() {
    let _watchdog = watchdog();
    for taken_first in [false, true] {
        let (stream, peer) = pair();
        reset(peer);
        let kind = told_to_write(&stream);
        if taken_first {
            expect_taken(&stream, kind);
        }
        expect_broken(&stream, kind);
        if !taken_first {
            expect_taken(&stream, kind);
        }
        expect_broken(&stream, kind);
    }
}

// The packet of the send in flight knows it, and the socket forgets.
#[test]
fn a_reset_that_ended_a_send_in_flight_is_read() {
    let _watchdog = watchdog();
    for by_write in [true, false] {
        let (mut poll, _, mut events) = queue();
        let (stream, peer) = pair();
        fill_and_arm(&mut poll, &mut events, &stream, 1);
        reset(peer);
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        if by_write {
            let kind = told_to_write(&stream);
            expect_broken(&stream, kind);
            expect_taken(&stream, kind);
        } else {
            let error = stream.take_error().unwrap().expect("an error is kept");
            expect_broken(&stream, error.kind());
            assert!(stream.take_error().unwrap().is_none());
        }
    }
}

// One failure, that the packets of both directions tell of.
#[test]
fn a_reset_is_taken_once_whoever_tells_of_it() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, peer) = pair();
    fill_and_arm(&mut poll, &mut events, &stream, 1);
    registrator.register(&stream, 1, READABLE).unwrap();
    reset(peer);
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    let kind = told_to_write(&stream);
    let read = stream.read(&mut [0; 8]).unwrap_err().kind();
    expect_broken(&stream, read);
    assert!([kind, ErrorKind::ConnectionReset].contains(&read), "{read}");
    let error = stream.take_error().unwrap().expect("an error is kept");
    assert!([kind, read].contains(&error.kind()), "{error}");
    assert!(stream.take_error().unwrap().is_none(), "taken once");
    expect_broken(&stream, read);
}

#[test]
fn bytes_come_before_the_reset_that_a_write_has_told_of() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"last words").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    await_bytes(&stream, 10);
    reset(peer);
    let kind = told_to_write(&stream);
    let mut buffer = [0; 4];
    for part in [&b"last"[..], b" wor", b"ds"] {
        assert_eq!(stream.read(&mut buffer).unwrap(), part.len());
        assert_eq!(&buffer[..part.len()], part);
    }
    expect_broken(&stream, kind);
    // It is an event, each time.
    for token in 2..4 {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        expect_broken(&stream, kind);
    }
}

// 8: FIN and then RST, with all bytes read: a complete stream stays complete.
#[test]
fn an_end_that_was_read_stays_an_end() {
    let _watchdog = watchdog();
    for registered in [false, true] {
        let (mut poll, registrator, mut events) = queue();
        let (mut stream, mut peer) = pair();
        peer.write_all(b"all").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        await_bytes(&stream, 3);
        assert_eq!(stream.read(&mut [0; 3]).unwrap(), 3);
        if registered {
            registrator.register(&stream, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
        }
        assert_eq!(common::until_done(|| stream.read(&mut [0; 8])).unwrap(), 0);
        reset(peer);
        let kind = told_to_write(&stream);
        for _ in 0..3 {
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
            assert_eq!(stream.peek(&mut [0; 8]).unwrap(), 0);
        }
        expect_taken(&stream, kind);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }
}

// 3.2, 3.5: refused, and told to whoever asks first.
#[test]
fn a_refused_connect_is_read_every_time() {
    let _watchdog = watchdog();
    // Bound and not listening: nobody else gets the port.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let nobody = socket.local_addr().unwrap().as_socket().unwrap();
    for first in ["take_error", "write", "read"] {
        let (mut poll, registrator, mut events) = queue();
        let mut stream = TcpStream::connect_nonblocking(nobody).unwrap();
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, true)]);
        let kind = match first {
            "take_error" => stream.take_error().unwrap().expect("it was refused").kind(),
            "write" => stream.write(b"x").unwrap_err().kind(),
            _ => stream.read(&mut [0; 8]).unwrap_err().kind(),
        };
        assert_eq!(kind, ErrorKind::ConnectionRefused, "{first}");
        expect_broken(&stream, kind);
        if first != "take_error" {
            expect_taken(&stream, kind);
        }
        assert!(stream.take_error().unwrap().is_none(), "taken once");
        expect_broken(&stream, kind);
        // It is an event, each time.
        registrator.register(&stream, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        expect_broken(&stream, kind);
    }
}
