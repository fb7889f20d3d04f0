//! `Registrator::register`: each interest yields one event, whatever held before and whatever is done to the other
//! interest.
//!
//! Contract: docs/contract.md, 2.1, 2.2, 2.3, 2.4, 2.8, 6.1, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, Peer, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, fill,
    read_exact_by_events, said, watchdog, write_all_by_events, Said, BOTH, HANG, QUIET, READABLE,
    WRITABLE,
};
use minimio::{Events, Interests, Poll, TcpStream};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

// 2.1
fn readable_yields_one_event_however_much_comes_after_it<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"first").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);

    for _ in 0..10 {
        peer.write_all(b"more").unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }

    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn writable_yields_one_event_although_there_is_room_for_ever<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);

    for _ in 0..10 {
        // Each write takes room, and the peer makes room again by reading.
        assert_eq!(stream.write(b"some").unwrap(), 4);
        peer.read_exact(&mut [0; 4]).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }

    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn both_interests_yield_one_event_each<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn of_both_interests_each_comes_when_its_own_condition_holds<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn each_interest_keeps_its_own_token<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().register(&stream, 2, WRITABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (2, false, true)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn registering_writable_does_not_fire_readable<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn registering_readable_does_not_fire_writable<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn registering_readable_again_does_not_arm_writable_again<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);

    for round in 2..50 {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        poll.registrator()
            .register(&stream, round, READABLE)
            .unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
    }

    expect_no_events(&mut poll, &mut events);
}

/// Writes until there is no room, and arms `WRITABLE` under `token`. Returns how many bytes were written.
fn fill_and_arm<S: StreamEnd>(poll: &Poll, stream: &S, token: usize) -> usize {
    let filled = fill(stream);
    poll.registrator()
        .register(stream, token, WRITABLE)
        .unwrap();
    filled
}

/// The system may move bytes of a full stream to the peer at any time, and then there is room. An event of that is a
/// true one if a write is accepted. Then this fills the stream and arms again.
fn refill_and_arm<S: StreamEnd>(poll: &Poll, stream: &S, token: usize) -> usize {
    let written = stream.write(&[0x5a; 64]).unwrap();
    assert_ne!(written, 0);
    written + fill_and_arm(poll, stream, token)
}

// 2.1
fn readable_events_leave_writable_armed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let mut filled = fill_and_arm(&poll, &stream, 100);
    for round in 0..20 {
        poll.registrator()
            .register(&stream, round, READABLE)
            .unwrap();
        peer.write_all(b"x").unwrap();
        let mut has_come = false;
        while !has_come {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                match one {
                    Said::Readable(token) if token == round => has_come = true,
                    Said::Writable(100) => filled += refill_and_arm(&poll, &stream, 100),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(
            stream.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    }

    peer.read_exact(&mut vec![0; filled]).unwrap();

    expect_events(&mut poll, &mut events, &[(100, false, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn writable_events_and_writes_leave_readable_armed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 100, READABLE).unwrap();
    for round in 0..20 {
        poll.registrator()
            .register(&stream, round, WRITABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(round, false, true)]);
        assert_eq!(stream.write(b"x").unwrap(), 1);
        peer.read_exact(&mut [0; 1]).unwrap();
    }

    peer.write_all(b"x").unwrap();

    expect_events(&mut poll, &mut events, &[(100, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn room_to_send_is_announced_once_after_a_full_buffer<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..3 {
        let mut filled = fill_and_arm(&poll, &stream, token);
        while poll.poll(&mut events, Some(QUIET)).unwrap() > 0 {
            assert_eq!(said(&events), [Said::Writable(token)]);
            filled += refill_and_arm(&poll, &stream, token);
        }
        peer.read_exact(&mut vec![0; filled]).unwrap();
        expect_events(&mut poll, &mut events, &[(token, false, true)]);
        expect_no_events(&mut poll, &mut events);
        assert_eq!(stream.write(b"x").unwrap(), 1);
        peer.read_exact(&mut [0; 1]).unwrap();
    }
}

// 2.1
fn there_is_no_rule_to_drain_a_stream<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let message: Vec<u8> = (0..100).collect();
    peer.write_all(&message).unwrap();
    await_bytes(&stream, message.len());

    let mut received = Vec::new();
    for token in 0..100 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        received.push(byte[0]);
    }

    assert_eq!(received, message);
    poll.registrator().register(&stream, 200, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn an_event_may_be_answered_without_reading_at_all<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"left where it is").unwrap();
    for token in 0..100 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn a_backlog_need_not_be_accepted_at_once<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (listener, address) = L::bind();
    let clients: Vec<_> = (0..5).map(|_| L::connect(&address)).collect();
    for token in 0..clients.len() {
        poll.registrator()
            .register(&listener, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        listener.await_accept();
    }
    poll.registrator()
        .register(&listener, 100, READABLE)
        .unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.1
fn datagrams_need_not_be_received_at_once<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let socket = D::bind();
    let sender = D::Peer::bind_of(0);
    for number in 0..5 {
        sender.send_to(&[number], &socket.address()).unwrap();
    }
    for number in 0..5_u8 {
        poll.registrator()
            .register(&socket, number.into(), READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(number.into(), true, false)]);
        let mut buffer = [0; 8];
        assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 1);
        assert_eq!(buffer[0], number);
    }
    poll.registrator().register(&socket, 100, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.2
fn registering_an_armed_interest_replaces_its_token_and_yields_one_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.2
fn the_token_is_replaced_also_when_the_condition_held_before_both_registrations<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    poll.registrator().register(&stream, 2, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.2
fn the_token_is_replaced_also_when_the_condition_came_between_the_registrations<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.2
fn replacing_the_token_of_one_interest_leaves_the_other_its_own<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, false, true), (2, true, false)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 2.2, 8
fn a_hundred_registrations_in_a_row_yield_one_event_with_the_last_token<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..100 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
    }
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(99, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.2, 8
fn a_hundred_registrations_in_a_row_on_a_ready_stream_yield_one_event_each_interest<
    S: StreamEnd,
>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    for token in 0..100 {
        poll.registrator().register(&stream, token, BOTH).unwrap();
    }
    expect_events(&mut poll, &mut events, &[(99, true, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.3
fn readable_event_comes_when_bytes_already_wait<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
}

// 2.3
fn readable_event_comes_when_the_peer_had_closed_before<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    drop(peer);
    // The end has certainly arrived once a read gives it.
    while stream.read(&mut [0; 1]).is_err() {}
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

// 2.3
fn readable_event_comes_when_the_peer_closes_later<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

// 2.3
fn writable_event_comes_when_the_peer_had_closed_before<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    drop(peer);
    while stream.read(&mut [0; 1]).is_err() {}
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
}

// 2.3
fn readable_event_comes_when_a_connection_already_waits<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (listener, address) = L::bind();
    let _client = L::connect(&address);
    poll.registrator().register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    listener.await_accept();
}

// 2.3
fn readable_event_comes_when_a_datagram_already_waits<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let socket = D::bind();
    let sender = D::Peer::bind_of(0);
    sender.send_to(b"x", &socket.address()).unwrap();
    poll.registrator().register(&socket, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(socket.recv_from(&mut [0; 8]).unwrap().0, 1);
}

// 2.3
fn bytes_that_come_between_the_event_and_the_next_registration_are_not_lost<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 0, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    for token in 1..100 {
        expect_events(&mut poll, &mut events, &[(token - 1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        // When the next byte comes, the stream is drained and nothing is armed.
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
    }
    expect_events(&mut poll, &mut events, &[(99, true, false)]);
}

// 2.3
fn bytes_whose_edge_was_polled_while_nothing_was_armed_are_not_lost<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..20 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        // The poll takes what the system reports of this byte. No interest is armed, so it makes no event.
        peer.write_all(b"y").unwrap();
        await_bytes(&stream, 1);
        expect_nothing_queued(&mut poll, &mut events);
        poll.registrator()
            .register(&stream, 1000 + token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(1000 + token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

// 2.3
fn bytes_read_between_registering_and_polling_take_no_later_event_with_them<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for token in 0..50 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        // The event of the byte that was read may come or not. The event of the next byte must come.
        if poll.poll(&mut events, Some(Duration::ZERO)).unwrap() > 0 {
            assert_eq!(said(&events), [Said::Readable(token)]);
            poll.registrator()
                .register(&stream, token, READABLE)
                .unwrap();
        }
        peer.write_all(b"y").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

/// Lets `read` take the only message, registers with nothing left to read, and checks that only a new message makes an
/// event.
fn second_registration_waits<S: StreamEnd>(mut read: impl FnMut(&S)) {
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    for round in 0..5 {
        poll.registrator()
            .register(&stream, round, READABLE)
            .unwrap();
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"four").unwrap();
        await_bytes(&stream, 4);
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        read(&stream);
    }
}

// 2.3, 8
fn a_second_registration_with_nothing_to_read_waits_after_a_larger_buffer<S: StreamEnd>() {
    let _watchdog = watchdog();
    second_registration_waits::<S>(|stream| assert_eq!(stream.read(&mut [0; 64]).unwrap(), 4));
}

// 2.3, 8
fn a_second_registration_with_nothing_to_read_waits_after_a_buffer_just_filled<S: StreamEnd>() {
    let _watchdog = watchdog();
    second_registration_waits::<S>(|stream| assert_eq!(stream.read(&mut [0; 4]).unwrap(), 4));
}

// 2.3, 8
fn a_second_registration_with_nothing_to_read_waits_after_reads_of_one_byte<S: StreamEnd>() {
    let _watchdog = watchdog();
    second_registration_waits::<S>(|stream| {
        for _ in 0..4 {
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
        }
    });
}

// 2.3, 8
fn a_second_registration_with_nothing_to_read_waits_after_would_block<S: StreamEnd>() {
    let _watchdog = watchdog();
    second_registration_waits::<S>(|stream| {
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 4);
        let error = stream.read(&mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

// 2.3, 8
fn end_of_stream_yields_one_event_each_registration_and_no_bytes_each_time<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"last").unwrap();
    drop(peer);
    let mut last = [0; 4];
    read_exact_by_events(&mut poll, &mut events, &stream, 1000, &mut last);
    assert_eq!(&last, b"last");

    for token in 0..20 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        expect_nothing_queued(&mut poll, &mut events);
    }

    expect_no_events(&mut poll, &mut events);
}

// 2.3, 6.1: a read that did not fill its buffer has not seen an end that came together with the bytes.
fn an_end_of_stream_that_came_with_the_last_bytes_is_reported_after_a_short_read<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    for round in 0..20 {
        let (stream, mut peer) = S::pair();
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        await_bytes(&stream, 4);
        poll.registrator()
            .register(&stream, round, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 4);
        poll.registrator()
            .register(&stream, 100 + round, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(100 + round, true, false)]);
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
    }
}

// 2.3, 8
fn end_of_stream_of_a_half_closed_peer_yields_one_event_each_registration<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    peer.shutdown(Shutdown::Write).unwrap();
    for token in 0..20 {
        poll.registrator().register(&stream, token, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, true)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        expect_nothing_queued(&mut poll, &mut events);
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.3
fn end_of_stream_left_unread_is_reported_by_every_registration<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    drop(peer);
    for token in 0..20 {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.4
fn no_interest_is_invalid_input<S: StreamEnd>() {
    let poll = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    let error = poll
        .registrator()
        .register(&stream, 1, Interests::empty())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

// 2.4
fn unknown_bits_are_invalid_input<S: StreamEnd>() {
    let poll = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    for bits in [0b100, 0b101, 0b111, 0b1000_0000, 0xff] {
        let interests = Interests::from_bits_retain(bits);
        let error = poll
            .registrator()
            .register(&stream, 1, interests)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bits:#b}");
    }
}

// 2.4
fn writable_on_a_listener_is_invalid_input<L: ListenerEnd>() {
    let poll = Poll::new().unwrap();
    let (listener, _address) = L::bind();
    for interests in [WRITABLE, BOTH] {
        let error = poll
            .registrator()
            .register(&listener, 1, interests)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

// 2.4
fn a_failed_register_arms_nothing<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = F::Stream::pair();
    let (listener, address) = F::Listener::bind();
    let unknown = Interests::from_bits_retain(0b111);
    assert!(poll.registrator().register(&stream, 1, unknown).is_err());
    assert!(poll.registrator().register(&listener, 2, BOTH).is_err());
    peer.write_all(b"x").unwrap();
    let _client = F::Listener::connect(&address);
    expect_no_events(&mut poll, &mut events);
}

// 2.4
fn a_failed_register_leaves_what_was_armed_and_its_token<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let other = Poll::new().unwrap();
    let (stream, mut peer) = F::Stream::pair();
    let (listener, address) = F::Listener::bind();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();

    let unknown = Interests::from_bits_retain(0b111);
    assert!(registrator.register(&stream, 3, unknown).is_err());
    assert!(registrator
        .register(&stream, 4, Interests::empty())
        .is_err());
    assert!(registrator.register(&listener, 5, BOTH).is_err());
    assert!(other.registrator().register(&stream, 6, BOTH).is_err());
    assert!(other
        .registrator()
        .register(&listener, 7, READABLE)
        .is_err());

    peer.write_all(b"x").unwrap();
    let _client = F::Listener::connect(&address);
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (2, true, false)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 2.4
fn a_source_of_one_poll_already_exists_for_another<F: Family>() {
    let _watchdog = watchdog();
    let first = Poll::new().unwrap();
    let (mut second, mut events) = poll_and_events();
    let (stream, mut peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    first.registrator().register(&stream, 1, READABLE).unwrap();
    first
        .registrator()
        .register(&listener, 2, READABLE)
        .unwrap();
    first.registrator().register(&socket, 3, READABLE).unwrap();

    let registrator = second.registrator();
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(registrator.register(&stream, 4, READABLE)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(registrator.register(&listener, 5, READABLE)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(registrator.register(&socket, 6, WRITABLE)),
        ErrorKind::AlreadyExists
    );

    peer.write_all(b"x").unwrap();
    expect_no_events(&mut second, &mut events);
}

// 2.4
fn a_source_belongs_to_its_first_poll_also_after_deregister<S: StreamEnd>() {
    let first = Poll::new().unwrap();
    let second = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    first.registrator().register(&stream, 1, READABLE).unwrap();
    first.registrator().deregister(&stream).unwrap();
    let error = second
        .registrator()
        .register(&stream, 2, READABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    first.registrator().register(&stream, 3, READABLE).unwrap();
}

// 2.4
fn a_source_belongs_to_its_first_poll_also_after_that_poll_is_gone<S: StreamEnd>() {
    let first = Poll::new().unwrap();
    let second = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    first.registrator().register(&stream, 1, READABLE).unwrap();
    drop(first);
    let error = second
        .registrator()
        .register(&stream, 2, READABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

// 2.4
fn a_refused_registration_does_not_tie_a_source_to_its_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let first = Poll::new().unwrap();
    let closed = Poll::new().unwrap();
    closed.registrator().close_loop().unwrap();
    let (mut second, mut events) = poll_and_events();
    let (stream, _peer) = S::pair();
    assert!(first
        .registrator()
        .register(&stream, 1, Interests::empty())
        .is_err());
    assert!(closed.registrator().register(&stream, 2, BOTH).is_err());
    second.registrator().register(&stream, 3, WRITABLE).unwrap();
    expect_events(&mut second, &mut events, &[(3, false, true)]);
}

// 2.8
fn a_peer_that_has_reset_the_connection_is_an_event_and_no_error_of_register<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    // The reset has certainly arrived once a second source of the same poll has had an event of it.
    poll.registrator().register(&stream, 0, READABLE).unwrap();
    stream.reset(peer);
    expect_events(&mut poll, &mut events, &[(0, true, false)]);

    poll.registrator().register(&stream, 1, BOTH).unwrap();

    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    expect_no_events(&mut poll, &mut events);
}

// 2.8
#[test]
fn a_refused_connect_is_an_event_and_no_error_of_register() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    // A port on which nobody listens. It stays bound, so that no other program gets it.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    bound.bind(&any.into()).unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap();

    let stream = TcpStream::connect_nonblocking(address).unwrap();
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();

    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let error = stream.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

// 2.1, 2.3
fn a_long_exchange_by_events_loses_and_doubles_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let rounds = S::effort(300);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; 5_000];
            for round in 0..rounds {
                let size = 1 + (round * 37) % 5_000;
                peer.read_exact(&mut buffer[..size]).unwrap();
                peer.write_all(&buffer[..size]).unwrap();
            }
        });
        // If this thread fails, the stream is closed, and so the peer does not wait for more.
        let stream = stream;
        for round in 0..rounds {
            let size = 1 + (round * 37) % 5_000;
            let message: Vec<u8> = (0..size)
                .map(|at| u8::try_from((at * 7 + round) % 251).unwrap())
                .collect();
            write_all_by_events(&mut poll, &mut events, &stream, 1, &message);
            let mut answer = vec![0; size];
            read_exact_by_events(&mut poll, &mut events, &stream, 2, &mut answer);
            assert_eq!(answer, message);
        }
        expect_nothing_queued(&mut poll, &mut events);
    });
}

suite! {
    streams {
        both_interests_yield_one_event_each,
        of_both_interests_each_comes_when_its_own_condition_holds,
        each_interest_keeps_its_own_token,
        registering_writable_does_not_fire_readable,
        registering_readable_does_not_fire_writable,
        registering_readable_again_does_not_arm_writable_again,
        readable_events_leave_writable_armed,
        writable_events_and_writes_leave_readable_armed,
        the_token_is_replaced_also_when_the_condition_held_before_both_registrations,
        replacing_the_token_of_one_interest_leaves_the_other_its_own,
        a_hundred_registrations_in_a_row_on_a_ready_stream_yield_one_event_each_interest,
        writable_event_comes_when_the_peer_had_closed_before,
        end_of_stream_of_a_half_closed_peer_yields_one_event_each_registration,
        a_long_exchange_by_events_loses_and_doubles_nothing,
    }
    sockets {
        a_peer_that_has_reset_the_connection_is_an_event_and_no_error_of_register,
    }
    reading {
        readable_yields_one_event_however_much_comes_after_it,
        there_is_no_rule_to_drain_a_stream,
        an_event_may_be_answered_without_reading_at_all,
        registering_an_armed_interest_replaces_its_token_and_yields_one_event,
        the_token_is_replaced_also_when_the_condition_came_between_the_registrations,
        a_hundred_registrations_in_a_row_yield_one_event_with_the_last_token,
        readable_event_comes_when_bytes_already_wait,
        readable_event_comes_when_the_peer_had_closed_before,
        readable_event_comes_when_the_peer_closes_later,
        bytes_that_come_between_the_event_and_the_next_registration_are_not_lost,
        bytes_whose_edge_was_polled_while_nothing_was_armed_are_not_lost,
        bytes_read_between_registering_and_polling_take_no_later_event_with_them,
        a_second_registration_with_nothing_to_read_waits_after_a_larger_buffer,
        a_second_registration_with_nothing_to_read_waits_after_a_buffer_just_filled,
        a_second_registration_with_nothing_to_read_waits_after_reads_of_one_byte,
        a_second_registration_with_nothing_to_read_waits_after_would_block,
        end_of_stream_yields_one_event_each_registration_and_no_bytes_each_time,
        end_of_stream_left_unread_is_reported_by_every_registration,
        no_interest_is_invalid_input,
        unknown_bits_are_invalid_input,
        a_source_belongs_to_its_first_poll_also_after_deregister,
        a_source_belongs_to_its_first_poll_also_after_that_poll_is_gone,
        an_end_of_stream_that_came_with_the_last_bytes_is_reported_after_a_short_read,
    }
    writing {
        writable_yields_one_event_although_there_is_room_for_ever,
        room_to_send_is_announced_once_after_a_full_buffer,
        a_refused_registration_does_not_tie_a_source_to_its_poll,
    }
    listeners {
        a_backlog_need_not_be_accepted_at_once,
        readable_event_comes_when_a_connection_already_waits,
        writable_on_a_listener_is_invalid_input,
    }
    datagrams {
        datagrams_need_not_be_received_at_once,
        readable_event_comes_when_a_datagram_already_waits,
    }
    families {
        a_failed_register_arms_nothing,
        a_failed_register_leaves_what_was_armed_and_its_token,
        a_source_of_one_poll_already_exists_for_another,
    }
}
