//! `Registrator::deregister`: what it disarms, what it leaves, and when it fails.
//!
//! Contract: docs/contract.md, 2.3, 2.5, 2.6, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::thread;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, fill, let_it_block, said,
    watchdog, Said, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::{Events, Poll};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

// 2.5
fn a_deregistered_stream_yields_no_event_of_bytes_that_come_later<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().deregister(&stream).unwrap();
    peer.write_all(b"x").unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5
fn deregister_takes_back_events_that_the_system_had_queued<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    poll.registrator().deregister(&stream).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5
fn deregister_takes_back_an_event_that_did_not_fit_into_the_batch<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut pairs = Vec::new();
    for token in 0..3 {
        let (stream, mut peer) = S::pair();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        pairs.push((stream, peer));
    }
    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);

    for (stream, _) in &pairs {
        poll.registrator().deregister(stream).unwrap();
    }

    expect_no_events(&mut poll, &mut events);
}

// 2.5
fn deregister_disarms_a_full_stream_that_waits_for_room<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let filled = fill(&stream);
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    poll.registrator().deregister(&stream).unwrap();
    peer.read_exact(&mut vec![0; filled]).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5
fn deregister_disarms_listeners_and_datagram_sockets<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    poll.registrator().register(&listener, 1, READABLE).unwrap();
    poll.registrator().register(&socket, 2, READABLE).unwrap();

    poll.registrator().deregister(&listener).unwrap();
    poll.registrator().deregister(&socket).unwrap();

    let _client = F::Listener::connect(&address);
    let sender = <F::Datagram as DatagramEnd>::Peer::bind_of(0);
    sender.send_to(b"x", &socket.address()).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5, 8
fn bytes_that_came_before_deregister_stay_readable<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (poll, _) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"hello").unwrap();
    await_bytes(&stream, 5);
    poll.registrator().deregister(&stream).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
}

// 2.5, 8
fn bytes_that_come_after_deregister_are_readable<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (poll, _) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    // On Windows a receive is in flight now, so the bytes that come go to it.
    poll.registrator().deregister(&stream).unwrap();
    peer.write_all(b"hello").unwrap();
    await_bytes(&stream, 5);
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
}

// 2.5
fn a_source_that_was_never_registered_is_not_found<F: Family>() {
    let poll = Poll::new().unwrap();
    let (stream, _peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    let registrator = poll.registrator();
    assert_eq!(
        registrator.deregister(&stream).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        registrator.deregister(&listener).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        registrator.deregister(&socket).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

// 2.5
fn a_source_of_another_poll_is_not_found_and_stays_armed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let other = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    let error = other.registrator().deregister(&stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
}

// 2.5
fn a_source_whose_event_has_come_can_be_deregistered<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    poll.registrator().deregister(&stream).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.5: `NotFound` is only for a source that was *never* registered.
fn a_source_can_be_deregistered_twice<S: StreamEnd>() {
    let poll = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().deregister(&stream).unwrap();
    poll.registrator().deregister(&stream).unwrap();
}

// 2.5
fn a_deregistered_source_can_be_registered_again<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..50 {
        poll.registrator().register(&stream, 999, BOTH).unwrap();
        poll.registrator().deregister(&stream).unwrap();
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.3, 2.5
fn what_came_while_deregistered_counts_when_registering_again<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..20 {
        poll.registrator().register(&stream, 999, READABLE).unwrap();
        poll.registrator().deregister(&stream).unwrap();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        expect_nothing_queued(&mut poll, &mut events);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

// 2.5
fn deregistering_one_source_leaves_the_others<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (one, mut peer_of_one) = S::pair();
    let (two, mut peer_of_two) = S::pair();
    poll.registrator().register(&one, 1, READABLE).unwrap();
    poll.registrator().register(&two, 2, READABLE).unwrap();
    peer_of_one.write_all(b"x").unwrap();
    peer_of_two.write_all(b"x").unwrap();
    poll.registrator().deregister(&one).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.5, 2.6
fn deregister_takes_effect_on_a_poll_that_is_blocked<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.deregister(&stream).unwrap();
            peer.write_all(b"x").unwrap();
            await_bytes(&stream, 1);
            registrator.wake(2).unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(said(&events), [Said::Wake(2)]);
    });

    expect_no_events(&mut poll, &mut events);
}

suite! {
    streams {
        deregister_takes_back_events_that_the_system_had_queued,
        a_source_whose_event_has_come_can_be_deregistered,
        a_deregistered_source_can_be_registered_again,
    }
    reading {
        a_deregistered_stream_yields_no_event_of_bytes_that_come_later,
        deregister_takes_back_an_event_that_did_not_fit_into_the_batch,
        bytes_that_came_before_deregister_stay_readable,
        bytes_that_come_after_deregister_are_readable,
        a_source_can_be_deregistered_twice,
        what_came_while_deregistered_counts_when_registering_again,
        deregistering_one_source_leaves_the_others,
        deregister_takes_effect_on_a_poll_that_is_blocked,
    }
    writing {
        deregister_disarms_a_full_stream_that_waits_for_room,
        a_source_of_another_poll_is_not_found_and_stays_armed,
    }
    families {
        deregister_disarms_listeners_and_datagram_sockets,
        a_source_that_was_never_registered_is_not_found,
    }
}
