//! `TcpStream::shutdown`: after `Shutdown::Read` every read gives the end of the stream, at once and for good. A second
//! shutdown of a direction does nothing.
//!
//! Contract: docs/contract.md, 3.2, 3.4, 8.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::thread;

use common::ends::{suite, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_shut_down, kind_of, read_exact_by_events,
    until_done, watchdog, BOTH, READABLE,
};
use minimio::{Events, Poll, Registrator, TcpStream};
use socket2::{Domain, Socket, Type};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// Asserts that all kinds of reads give the end.
#[track_caller]
fn expect_end<S: StreamEnd>(stream: &S) {
    let mut buffer = [0; 8];
    assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    assert_eq!(stream.peek(&mut buffer).unwrap(), 0);
    let slices = &mut [IoSliceMut::new(&mut buffer)];
    assert_eq!(stream.read_vectored(slices).unwrap(), 0);
}

// 3.2
fn bytes_that_wait_are_behind_the_end<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        for registered in [false, true] {
            let (_poll, registrator, _events) = queue();
            let (stream, mut peer) = S::pair_of(kind);
            if registered {
                registrator.register(&stream, 1, READABLE).unwrap();
            }
            peer.write_all(b"unread").unwrap();
            await_bytes(&stream, 6);
            stream.shutdown(Shutdown::Read).unwrap();
            expect_end(&stream);
        }
    }
}

// 3.2, 8
fn bytes_that_come_later_are_behind_the_end<S: StreamEnd>() {
    let _watchdog = watchdog();
    for how in [Shutdown::Read, Shutdown::Both] {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.shutdown(how).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        for token in 2..5 {
            // After both directions were shut down, a system may refuse what the peer sends.
            drop(peer.write_all(b"more"));
            registrator.register(&stream, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            expect_end(&stream);
            // The bytes have arrived by now.
            expect_no_events(&mut poll, &mut events);
            expect_end(&stream);
        }
    }
}

// 3.2
fn an_armed_readable_fires_and_says_that_reading_is_closed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, _peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    thread::scope(|scope| {
        let stream = &stream;
        scope.spawn(move || {
            common::let_it_block();
            stream.shutdown(Shutdown::Read).unwrap();
        });
        assert_eq!(poll.poll(&mut events, Some(common::HANG)).unwrap(), 1);
    });
    let event = events.iter().next().unwrap();
    assert!(event.id() == 1 && event.is_readable() && event.is_read_closed());
    registrator.register(&stream, 2, READABLE).unwrap();
    assert_eq!(poll.poll(&mut events, Some(common::HANG)).unwrap(), 1);
    assert!(events.iter().next().unwrap().is_read_closed());
}

// 3.2, 8: if Windows were told of the shutdown, it would reset the connection when bytes come.
fn writing_goes_on_whatever_the_peer_sends<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"before").unwrap();
    await_bytes(&stream, 6);
    stream.shutdown(Shutdown::Read).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let mut received = [0; 8];
    for round in 0..20 {
        // A Unix socket tells the peer that nobody reads.
        drop(peer.write_all(&[round; 1000]));
        assert_eq!(until_done(|| stream.write(b"answered")).unwrap(), 8);
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"answered");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut received).unwrap(), 0);
    // With both directions shut down, the system may answer bytes of the peer that are still on their way with a reset.
    let written = stream.write(b"x");
    if !matches!(&written, Err(error) if error.kind() == ErrorKind::ConnectionReset) {
        expect_shut_down(written);
    }
    expect_end(&stream);
}

// 3.2, 8: BSD kernels take a second `shutdown(Write)` as the end of reading, so it is not passed on.
fn a_second_shutdown_of_a_direction_does_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    for _ in 0..3 {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    peer.write_all(b"the answer").unwrap();
    let mut received = [0; 10];
    read_exact_by_events(&mut poll, &mut events, &stream, 1, &mut received);
    assert_eq!(&received, b"the answer");
    assert_eq!(peer.read(&mut received).unwrap(), 0);
    for how in [
        Shutdown::Read,
        Shutdown::Both,
        Shutdown::Write,
        Shutdown::Read,
    ] {
        stream.shutdown(how).unwrap();
        expect_end(&stream);
    }
    drop(peer);
    registrator.register(&stream, 2, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, true)]);
    expect_shut_down(stream.write(b"x"));
}

// 3.2: a second shutdown is not passed on to the system, so it does not get the error that the system would give now.
fn a_second_shutdown_is_no_error_when_the_peer_is_gone<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    stream.shutdown(Shutdown::Both).unwrap();
    stream.reset(peer);
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        stream.shutdown(how).unwrap();
    }
}

// 3.2
#[test]
fn what_is_not_connected_cannot_be_shut_down() {
    let _watchdog = watchdog();
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let stream = TcpStream::from_std(socket.into()).unwrap();
        assert_eq!(kind_of(stream.shutdown(how)), ErrorKind::NotConnected);
        // The failed shutdown has changed nothing.
        assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::NotConnected);
    }
}

// 3.4: bytes that cannot be read any more must not make the drop lose bytes that were written.
#[cfg(windows)]
#[test]
fn a_stream_that_was_shut_for_reading_is_dropped_in_order() {
    let _watchdog = watchdog();
    for registered in [false, true] {
        let (_poll, registrator, _events) = queue();
        let (stream, mut peer) = TcpStream::pair();
        peer.write_all(&[1; 10_000]).unwrap();
        await_bytes(&stream, 10_000);
        if registered {
            registrator.register(&stream, 1, READABLE).unwrap();
        }
        stream.shutdown(Shutdown::Read).unwrap();
        stream.write_all(b"the answer").unwrap();
        drop(stream);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"the answer");
    }
}

suite! {
    sockets {
        bytes_that_wait_are_behind_the_end,
        bytes_that_come_later_are_behind_the_end,
        an_armed_readable_fires_and_says_that_reading_is_closed,
        writing_goes_on_whatever_the_peer_sends,
        a_second_shutdown_of_a_direction_does_nothing,
        a_second_shutdown_is_no_error_when_the_peer_is_gone,
    }
}
