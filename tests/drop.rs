//! Dropping sources and polls, in any order and on any thread.
//!
//! Contract: docs/contract.md, 2.4, 2.6, 2.7, 3.7, 4.1, 4.5, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::thread;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, Plain, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, let_it_block, read_some,
    said, until_done, watchdog, Said, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::{Events, Poll};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

/// Streams with a byte to read, registered under their index, and their peers.
fn ready_streams<S: StreamEnd>(poll: &Poll, count: usize) -> Vec<(S, S::Peer)> {
    (0..count)
        .map(|token| {
            let (stream, mut peer) = S::pair();
            peer.write_all(b"x").unwrap();
            await_bytes(&stream, 1);
            poll.registrator()
                .register(&stream, token, READABLE)
                .unwrap();
            (stream, peer)
        })
        .collect()
}

// 2.7
fn a_dropped_stream_yields_no_event_although_it_was_armed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    drop(stream);
    // The peer may be told of a reset already.
    drop(peer.write_all(b"x"));
    expect_no_events(&mut poll, &mut events);
}

// 2.7
fn dropping_a_stream_takes_back_events_that_the_system_had_queued<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    drop(stream);
    expect_no_events(&mut poll, &mut events);
}

// 2.7
fn dropped_listeners_and_datagram_sockets_yield_no_events<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    let _client = F::Listener::connect(&address);
    let sender = <F::Datagram as DatagramEnd>::Peer::bind_of(0);
    sender.send_to(b"x", &socket.address()).unwrap();
    poll.registrator().register(&listener, 1, READABLE).unwrap();
    poll.registrator().register(&socket, 2, BOTH).unwrap();
    drop(listener);
    drop(socket);
    expect_no_events(&mut poll, &mut events);
}

// 2.7, 8
fn a_stream_dropped_while_its_batch_is_handled_yields_nothing_in_the_next_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let mut streams: Vec<_> = ready_streams::<S>(&poll, 2).into_iter().map(Some).collect();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        // Handling one of them drops the other, as a proxy does.
        for event in &events {
            seen.push(event.id());
            drop(streams[1 - event.id()].take());
        }
        if seen.len() == 1 {
            // The other stream was dropped before this poll starts.
            expect_no_events(&mut poll, &mut events);
            return;
        }
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.7, 4.1, 8
fn a_stream_dropped_before_its_event_fitted_into_a_batch_yields_none<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut streams: Vec<_> = ready_streams::<S>(&poll, 10)
        .into_iter()
        .map(Some)
        .collect();
    // The handler of each event drops its stream and another that still waits. So half of the streams are served.
    for _ in 0..5 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        let token = events.iter().next().unwrap().id();
        assert!(streams[token].take().is_some(), "{token} was dropped");
        let waiting = streams.iter_mut().find(|stream| stream.is_some());
        drop(waiting.unwrap().take());
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.7
fn a_stream_dropped_while_its_duplicate_lives_yields_no_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    let duplicate = stream.duplicate();
    drop(stream);
    peer.write_all(b"x").unwrap();
    expect_no_events(&mut poll, &mut events);
    // The duplicate keeps the connection open, so the peer sees no end.
    duplicate.set_nonblocking(false).unwrap();
    assert_eq!(duplicate.read(&mut [0; 8]).unwrap(), 1);
}

// 2.7, 8
fn streams_that_come_after_dropped_ones_never_show_an_old_token<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let mut next = 0;
    for _ in 0..S::effort(300) {
        // The dropped streams have events in the queue, and the new streams get their descriptor numbers.
        let mut old: Vec<_> = (0..3).map(|_| S::pair()).collect();
        for (stream, peer) in &mut old {
            peer.write_all(b"x").unwrap();
            poll.registrator().register(&*stream, next, BOTH).unwrap();
            next += 1;
        }
        drop(old);
        let mut new: Vec<_> = (0..3).map(|_| S::pair()).collect();
        let mut expected = Vec::new();
        for (stream, peer) in &mut new {
            peer.write_all(b"x").unwrap();
            poll.registrator().register(&*stream, next, BOTH).unwrap();
            expected.push((next, true, true));
            next += 1;
        }
        expect_events(&mut poll, &mut events, &expected);
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 2.6, 2.7
fn a_stream_dropped_on_another_thread_leaves_a_blocked_poll_in_peace<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let_it_block();
            drop(stream);
            drop(peer.write_all(b"x"));
            registrator.wake(2).unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(said(&events), [Said::Wake(2)]);
    });
    expect_no_events(&mut poll, &mut events);
}

// 2.7
fn a_shared_stream_yields_events_until_its_last_owner_drops_it<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let one = Arc::new(stream);
    let two = Arc::clone(&one);
    poll.registrator().register(&one, 1, READABLE).unwrap();
    drop(one);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    poll.registrator().register(&two, 2, READABLE).unwrap();
    drop(two);
    expect_no_events(&mut poll, &mut events);
}

// 2.7, 3.7
fn a_stream_given_back_to_std_yields_no_event_and_keeps_its_bytes<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    // Only WRITABLE is registered. With a receive in flight `into_std` would fail on Windows.
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    let given_back = stream.into_std().unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"x").unwrap();
    given_back.set_nonblocking(false).unwrap();
    assert_eq!(given_back.read(&mut [0; 8]).unwrap(), 1);
    expect_no_events(&mut poll, &mut events);
}

// 2.7
fn many_streams_come_and_go_and_the_poll_keeps_working<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (survivor, mut peer_of_survivor) = S::pair();
    let mut byte = [0];
    for round in 0..S::effort(300) {
        let (stream, mut peer) = S::pair();
        poll.registrator().register(&stream, round, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(round, false, true)]);
        if round % 2 == 0 {
            peer.write_all(b"x").unwrap();
            await_bytes(&stream, 1);
        }
        drop(stream);
        poll.registrator()
            .register(&survivor, 5_000, READABLE)
            .unwrap();
        peer_of_survivor.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(5_000, true, false)]);
        // Otherwise some hundred bytes, each in memory of its own, fill a socket.
        assert_eq!(survivor.read(&mut byte).unwrap(), 1);
    }
    expect_no_events(&mut poll, &mut events);
}

// 4.5, 8
fn a_poll_may_be_dropped_before_its_armed_sources<F: Family>() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let (near, far) = F::Stream::two();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.register(&far, 2, READABLE).unwrap();
    registrator.register(&listener, 3, READABLE).unwrap();
    registrator.register(&socket, 4, BOTH).unwrap();
    drop(poll);
    drop(registrator);
    drop((near, far, listener, socket));
}

// 4.5, 8
fn a_poll_may_be_dropped_after_all_else<S: StreamEnd>() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let (near, far) = S::two();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.register(&far, 2, READABLE).unwrap();
    drop((near, far));
    drop(registrator);
    drop(poll);
}

// 4.5, 8
fn a_poll_may_be_dropped_on_another_thread<S: StreamEnd>() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let (near, far) = S::two();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.register(&far, 2, READABLE).unwrap();

    thread::spawn(move || drop(poll)).join().unwrap();

    assert!(registrator.is_closed());
    // What was in flight on Windows may still be in the way, until its packet was handled behind the dropped `Poll`.
    assert_eq!(until_done(|| near.write(b"x")).unwrap(), 1);
    await_bytes(&far, 1);
    assert_eq!(until_done(|| far.read(&mut [0; 8])).unwrap(), 1);
}

// 4.5, 8
fn sources_and_poll_may_be_dropped_at_once_on_several_threads<S: StreamEnd>() {
    let _watchdog = watchdog();
    for _ in 0..S::effort(100) {
        let poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let (near, far) = S::two();
        registrator.register(&near, 1, BOTH).unwrap();
        registrator.register(&far, 2, READABLE).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || drop(poll));
            scope.spawn(move || drop(near));
            scope.spawn(move || drop(far));
            scope.spawn(move || drop(registrator));
        });
    }
}

// 4.5
fn sources_read_and_write_on_after_their_poll_is_dropped<F: Family>() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let (near, far) = F::Stream::two();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    poll.registrator().register(&near, 1, BOTH).unwrap();
    poll.registrator().register(&far, 2, BOTH).unwrap();
    poll.registrator().register(&listener, 3, READABLE).unwrap();
    poll.registrator().register(&socket, 4, BOTH).unwrap();
    near.write_all(b"before").unwrap();
    await_bytes(&far, 6);

    drop(poll);

    near.write_all(b" and after").unwrap();
    let mut buffer = [0; 32];
    // The second part may still be on its way. On Windows the first is in the lent buffer.
    let mut count = 0;
    while count < 16 {
        count += read_some(&far, &mut buffer[count..]);
    }
    assert_eq!(&buffer[..16], b"before and after");
    far.write_all(b"back").unwrap();
    await_bytes(&near, 4);
    assert_eq!(near.read(&mut buffer).unwrap(), 4);

    let _client = F::Listener::connect(&address);
    listener.await_accept();
    let own = socket.address();
    assert_eq!(socket.send_to(b"x", &own).unwrap(), 1);
    until_done(|| socket.recv_from(&mut buffer)).unwrap();
}

// 2.4, 4.5
fn polls_that_follow_dropped_ones_get_no_events_of_theirs<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut kept = Vec::new();
    for token in 0..S::effort(50) {
        let (mut poll, mut events) = poll_and_events();
        let (stream, mut peer) = S::pair();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        assert_eq!(said(&events), [Said::Readable(token)]);
        // This source is armed and ready when its poll is dropped.
        poll.registrator().register(&stream, token, BOTH).unwrap();
        kept.push((stream, peer));
        kept.truncate(20);
    }
}

suite! {
    streams {
        dropping_a_stream_takes_back_events_that_the_system_had_queued,
        streams_that_come_after_dropped_ones_never_show_an_old_token,
        many_streams_come_and_go_and_the_poll_keeps_working,
        a_poll_may_be_dropped_after_all_else,
        a_poll_may_be_dropped_on_another_thread,
        sources_and_poll_may_be_dropped_at_once_on_several_threads,
        polls_that_follow_dropped_ones_get_no_events_of_theirs,
    }
    sockets {
        a_stream_given_back_to_std_yields_no_event_and_keeps_its_bytes,
        a_stream_dropped_while_its_duplicate_lives_yields_no_event,
    }
    reading {
        a_dropped_stream_yields_no_event_although_it_was_armed,
        a_stream_dropped_while_its_batch_is_handled_yields_nothing_in_the_next_poll,
        a_stream_dropped_before_its_event_fitted_into_a_batch_yields_none,
        a_stream_dropped_on_another_thread_leaves_a_blocked_poll_in_peace,
        a_shared_stream_yields_events_until_its_last_owner_drops_it,
    }
    families {
        dropped_listeners_and_datagram_sockets_yield_no_events,
        a_poll_may_be_dropped_before_its_armed_sources,
        sources_read_and_write_on_after_their_poll_is_dropped,
    }
}
