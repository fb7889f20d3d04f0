//! `Registrator::disarm`: it takes one interest back and leaves the other as it is.
//!
//! Contract: docs/contract.md, 2.4, 2.5, 4.4.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, fill_and_arm, kind_of, until_done, watchdog,
    BOTH, READABLE, WRITABLE,
};
use minimio::{is_closed, Events, Interests, Poll, Registrator};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

// 2.5
fn the_other_direction_of_a_stream_stays_armed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, BOTH).unwrap();
    registrator.disarm(&stream, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"one").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);

    registrator.register(&stream, 2, BOTH).unwrap();
    registrator.disarm(&stream, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    peer.write_all(b"three").unwrap();
    expect_no_events(&mut poll, &mut events);
    // Nothing was lost.
    registrator.register(&stream, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
}

// 2.5
fn a_writable_that_waits_for_room_is_disarmed_alone<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let mut left = fill_and_arm(&mut poll, &mut events, &stream, 1);
    registrator.register(&stream, 2, READABLE).unwrap();
    registrator.disarm(&stream, WRITABLE).unwrap();
    let mut sink = vec![0; 64 << 10];
    while left > 0 {
        left -= peer.read(&mut sink).unwrap();
    }
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    registrator.register(&stream, 3, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, false, true)]);
    assert_ne!(stream.write(b"more").unwrap(), 0);
}

// 2.5
fn an_event_that_is_due_does_not_come_any_more<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"here").unwrap();
    await_bytes(&stream, 4);
    for interests in [READABLE, BOTH] {
        registrator.register(&stream, 2, BOTH).unwrap();
        registrator.disarm(&stream, interests).unwrap();
        registrator.disarm(&stream, interests).unwrap();
        if interests == READABLE {
            expect_events(&mut poll, &mut events, &[(2, false, true)]);
        }
        expect_no_events(&mut poll, &mut events);
    }
    assert_eq!(until_done(|| stream.read(&mut [0; 8])).unwrap(), 4);
}

// 2.5
fn listeners_and_datagram_sockets_are_disarmed<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    registrator.register(&listener, 1, READABLE).unwrap();
    registrator.register(&socket, 2, BOTH).unwrap();
    registrator.disarm(&listener, READABLE).unwrap();
    registrator.disarm(&socket, READABLE).unwrap();
    let _client = F::Listener::connect(&address);
    let sender = <F::Datagram as DatagramEnd>::Peer::bind_of(0);
    let target = socket.address();
    sender.send_to(b"one", &target).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    expect_no_events(&mut poll, &mut events);
    registrator.register(&listener, 3, READABLE).unwrap();
    registrator.register(&socket, 4, BOTH).unwrap();
    registrator.disarm(&socket, WRITABLE).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(3, true, false), (4, true, false)],
    );
    assert_eq!(socket.recv_from(&mut [0; 8]).unwrap().0, 3);
    until_done(|| listener.accept()).unwrap();
}

// 2.4, 2.5, 4.4
fn what_cannot_be_disarmed_says_why<F: Family>() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let other = Poll::new().unwrap();
    let (stream, _peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let result = registrator.disarm(&stream, READABLE);
    assert_eq!(kind_of(result), ErrorKind::NotFound);
    registrator.register(&stream, 1, READABLE).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();
    let result = other.registrator().disarm(&stream, READABLE);
    assert_eq!(kind_of(result), ErrorKind::NotFound);
    for interests in [Interests::empty(), Interests::from_bits_retain(1 << 7)] {
        let result = registrator.disarm(&stream, interests);
        assert_eq!(kind_of(result), ErrorKind::InvalidInput);
    }
    for interests in [WRITABLE, BOTH] {
        let result = registrator.disarm(&listener, interests);
        assert_eq!(kind_of(result), ErrorKind::InvalidInput);
    }
    registrator.disarm(&stream, WRITABLE).unwrap();
    registrator.close_loop().unwrap();
    let error = registrator.disarm(&stream, READABLE).unwrap_err();
    assert!(is_closed(&error));
}

suite! {
    streams {
        the_other_direction_of_a_stream_stays_armed,
        a_writable_that_waits_for_room_is_disarmed_alone,
        an_event_that_is_due_does_not_come_any_more,
    }
    families {
        listeners_and_datagram_sockets_are_disarmed,
        what_cannot_be_disarmed_says_why,
    }
}
