//! `Poll`, `Events`, `Event`, `Interests` and `Token`: what a batch holds, how full it gets, and who is served.
//!
//! Contract: docs/contract.md, 1, 4.1, 4.6, 5.4, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net;
use std::thread;
use std::time::Duration;

use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, let_it_block, pair, said,
    watchdog, Said, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::{Event, Events, Interests, Poll, Selector, TcpListener, Token, UdpSocket};

// 1
#[test]
fn a_new_batch_is_empty_and_has_the_capacity_asked_for() {
    let events = Events::with_capacity(17);
    assert_eq!(events.capacity(), 17);
    assert_eq!(events.len(), 0);
    assert!(events.is_empty());
    assert_eq!(events.iter().count(), 0);
}

// 1
#[test]
fn a_batch_is_iterated_by_reference_and_by_iter_alike() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    for token in 0..3 {
        poll.registrator().wake(token).unwrap();
    }

    let count = poll.poll(&mut events, Some(HANG)).unwrap();
    let by_iter: Vec<Event> = events.iter().copied().collect();
    let mut by_reference: Vec<Event> = Vec::new();
    for event in &events {
        by_reference.push(*event);
    }

    assert_eq!(by_iter, by_reference);
    assert_eq!(by_iter.len(), count);
    assert_eq!(events.len(), count);
    assert!(!events.is_empty());
}

// 1
#[test]
fn clear_forgets_the_events_and_keeps_the_capacity() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(3);
    poll.registrator().wake(1).unwrap();
    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);

    events.clear();

    assert!(events.is_empty());
    assert_eq!(events.capacity(), 3);
    expect_nothing_queued(&mut poll, &mut events);
}

// 1
#[test]
fn an_event_is_a_copy_that_outlives_batch_source_and_poll() {
    let _watchdog = watchdog();
    let event: Event = {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(3);
        let (stream, mut peer) = pair();
        poll.registrator().register(&stream, 77, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        let copy = *events.iter().next().unwrap();
        copy
    };
    assert_eq!(event.id(), 77);
    assert!(event.is_readable());
    assert!(!event.is_writable());
}

// 1
#[test]
fn every_token_value_is_allowed_for_a_registration() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (stream, _peer) = pair();
    let high: Token = !(Token::MAX >> 1);
    for token in [0, 1, high - 1, high, Token::MAX - 1, Token::MAX] {
        poll.registrator()
            .register(&stream, token, WRITABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, false, true)]);
    }
}

// 1
#[test]
fn two_sources_under_one_token_yield_two_events() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (one, _peer_of_one) = pair();
    let (two, _peer_of_two) = pair();
    poll.registrator().register(&one, 5, WRITABLE).unwrap();
    poll.registrator().register(&two, 5, WRITABLE).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(5, false, true), (5, false, true)],
    );
    expect_nothing_queued(&mut poll, &mut events);
}

// 1
#[test]
fn interests_are_flags_that_tell_what_they_contain() {
    assert!(READABLE.is_readable() && !READABLE.is_writable());
    assert!(WRITABLE.is_writable() && !WRITABLE.is_readable());
    assert!(BOTH.is_readable() && BOTH.is_writable());
    assert!(!Interests::empty().is_readable() && !Interests::empty().is_writable());
    assert_eq!(Interests::all(), READABLE | WRITABLE);
    assert_eq!(BOTH - WRITABLE, READABLE);
}

// 1
#[test]
fn all_registrators_of_a_poll_are_alike() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    let first = poll.registrator();
    let second = poll.registrator();
    let clone = first.clone();

    first.register(&stream, 1, READABLE).unwrap();
    second.register(&stream, 2, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    drop((first, second));

    clone.register(&stream, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    clone.deregister(&stream).unwrap();
}

// 1, 5.4
#[test]
fn a_poll_with_a_lent_limit_works_like_any_other() {
    let _watchdog = watchdog();
    for limit in [0, 1, 1 << 20, usize::MAX] {
        let mut poll = Poll::with_lent_limit(limit).unwrap();
        let mut events = Events::with_capacity(8);
        let (mut stream, mut peer) = pair();
        poll.registrator().register(&stream, 1, READABLE).unwrap();
        assert!(poll.registrator().lent_bytes() <= limit);
        peer.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    }
}

// 1
#[test]
fn nothing_is_lent_while_nothing_is_registered() {
    let poll = Poll::new().unwrap();
    assert_eq!(poll.registrator().lent_bytes(), 0);
}

// 1
#[test]
fn a_selector_alone_waits_like_a_poll() {
    let _watchdog = watchdog();
    let mut selector = Selector::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    selector
        .registrator()
        .register(&stream, 9, READABLE)
        .unwrap();
    peer.write_all(b"x").unwrap();

    assert_eq!(selector.select(&mut events, Some(HANG)).unwrap(), 1);

    assert_eq!(said(&events), [Said::Readable(9)]);
    assert_eq!(
        selector.select(&mut events, Some(Duration::ZERO)).unwrap(),
        0
    );
    assert!(events.is_empty());
}

// 1
#[test]
fn a_closed_selector_hands_out_what_is_queued_and_then_returns_zero_at_once() {
    let _watchdog = watchdog();
    let mut selector = Selector::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    selector
        .registrator()
        .register(&stream, 9, READABLE)
        .unwrap();
    selector.registrator().close_loop().unwrap();

    assert_eq!(selector.select(&mut events, None).unwrap(), 1);
    assert_eq!(said(&events), [Said::Readable(9)]);
    for _ in 0..3 {
        assert_eq!(selector.select(&mut events, None).unwrap(), 0);
    }
}

// 1
#[test]
fn a_selector_refuses_a_batch_without_room() {
    let mut selector = Selector::new().unwrap();
    let error = selector
        .select(&mut Events::with_capacity(0), Some(Duration::ZERO))
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

// 4.1
#[test]
fn poll_clears_the_batch_first() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    poll.registrator().wake(1).unwrap();
    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);

    poll.registrator().wake(2).unwrap();
    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
    assert_eq!(said(&events), [Said::Wake(2)]);

    assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    assert!(events.is_empty());
}

// 4.1
#[test]
fn poll_refuses_a_batch_without_room() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    poll.registrator().wake(1).unwrap();
    for timeout in [None, Some(Duration::ZERO), Some(HANG)] {
        let error = poll
            .poll(&mut Events::with_capacity(0), timeout)
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    // The queued event is still there for a batch that has room.
    expect_events(
        &mut poll,
        &mut Events::with_capacity(1),
        &[(1, false, false)],
    );
}

// 4.1
#[test]
fn one_batch_may_be_used_with_several_polls() {
    let _watchdog = watchdog();
    let mut one = Poll::new().unwrap();
    let mut two = Poll::new().unwrap();
    let mut events = Events::with_capacity(2);
    one.registrator().wake(1).unwrap();
    two.registrator().wake(2).unwrap();
    expect_events(&mut one, &mut events, &[(1, false, false)]);
    expect_events(&mut two, &mut events, &[(2, false, false)]);
    expect_nothing_queued(&mut one, &mut events);
}

// 4.1, 8
#[test]
fn capacity_1_serves_ten_ready_sources_once_each() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut pairs = Vec::new();
    for token in 0..10 {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        pairs.push((stream, peer));
    }

    let mut served = [0; 10];
    for _ in 0..10 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        assert_eq!(events.len(), 1);
        served[events.iter().next().unwrap().id()] += 1;
    }

    assert_eq!(served, [1; 10]);
    expect_no_events(&mut poll, &mut events);
}

// 4.1, 8
#[test]
fn capacity_1_starves_no_source_although_the_served_one_stays_ready() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut pairs = Vec::new();
    for token in 0..10 {
        let (stream, mut peer) = pair();
        peer.write_all(b"never read").unwrap();
        await_bytes(&stream, 10);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        pairs.push((stream, peer));
    }

    let mut served = [0; 10];
    for _ in 0..200 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        let token = events.iter().next().unwrap().id();
        served[token] += 1;
        poll.registrator()
            .register(&pairs[token].0, token, READABLE)
            .unwrap();
    }

    assert!(served.iter().all(|&count| count > 0), "{served:?}");
}

// 4.1
#[test]
fn a_batch_smaller_than_what_is_ready_is_filled_again_until_all_have_come() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(3);
    let mut pairs = Vec::new();
    let mut expected = Vec::new();
    for token in 0..10 {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        poll.registrator().register(&stream, token, BOTH).unwrap();
        pairs.push((stream, peer));
        expected.push((token, true, true));
    }
    // `expect_events` asserts that no batch is larger than its capacity.
    expect_events(&mut poll, &mut events, &expected);
    expect_no_events(&mut poll, &mut events);
}

// 4.1
#[test]
fn capacity_1_hands_out_both_interests_of_one_source_under_two_tokens() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().register(&stream, 2, WRITABLE).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (2, false, true)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 4.1
#[test]
fn both_interests_under_one_token_share_an_event_on_linux_alone() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    let mut seen = 0;
    while seen < 2 {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        for event in &events {
            let both = event.is_readable() && event.is_writable();
            assert!(!both || cfg!(any(target_os = "linux", target_os = "android")));
            seen += 1 + usize::from(both);
        }
    }
    assert_eq!(seen, 2);
}

// 4.1
#[test]
fn a_large_batch_takes_many_ready_sources() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(100_000);
    let sockets: Vec<UdpSocket> = (0..150)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let mut expected = Vec::new();
    for (token, socket) in sockets.iter().enumerate() {
        poll.registrator()
            .register(socket, token, WRITABLE)
            .unwrap();
        expected.push((token, false, true));
    }
    expect_events(&mut poll, &mut events, &expected);
    expect_no_events(&mut poll, &mut events);
}

// 4.1
#[test]
fn one_poll_takes_1024_from_the_system_and_the_next_the_rest() {
    const MOST: usize = 1_024;
    let _watchdog = watchdog();
    #[cfg(unix)]
    common::allow_descriptors(2 * MOST);
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(2 * MOST);
    let sockets: Vec<UdpSocket> = (0..MOST + MOST / 2)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for (token, socket) in sockets.iter().enumerate() {
        poll.registrator()
            .register(socket, token, WRITABLE)
            .unwrap();
    }
    let mut tokens = Vec::new();
    while tokens.len() < sockets.len() {
        let count = poll.poll(&mut events, Some(HANG)).unwrap();
        assert!((1..=MOST).contains(&count), "{count} events");
        tokens.extend(events.iter().map(|event| event.id()));
    }
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..sockets.len()));
}

// 4.1
#[test]
fn poll_without_a_timeout_waits_until_something_comes() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 4, READABLE).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            peer.write_all(b"x").unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });

    assert_eq!(said(&events), [Said::Readable(4)]);
}

// 1, 4.1
#[test]
fn every_kind_of_source_yields_events() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, BOTH).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();
    registrator.register(&socket, 3, BOTH).unwrap();

    peer.write_all(b"x").unwrap();
    let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"x", socket.local_addr().unwrap()).unwrap();

    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, true), (2, true, false), (3, true, true)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 4.6
#[test]
fn an_event_of_a_healthy_stream_bears_no_hint() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().register(&stream, 2, WRITABLE).unwrap();

    let mut seen = 0;
    while seen < 2 {
        seen += poll.poll(&mut events, Some(HANG)).unwrap();
        for event in &events {
            assert!(!event.is_read_closed(), "{event:?}");
            assert!(!event.is_write_closed(), "{event:?}");
            assert!(!event.is_error(), "{event:?}");
        }
    }
}

// 4.6
#[test]
fn the_end_of_what_a_peer_sends_is_no_error_and_no_end_of_writing() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.shutdown(net::Shutdown::Write).unwrap();

    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);

    let event = *events.iter().next().unwrap();
    assert!(event.is_readable());
    assert!(!event.is_write_closed(), "{event:?}");
    assert!(!event.is_error(), "{event:?}");
    assert_eq!(stream.write(b"still open").unwrap(), 10);
    let mut buffer = [0; 10];
    peer.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"still open");
}

// 4.6
#[test]
fn a_read_closed_hint_never_comes_while_the_peer_can_send() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut stream, mut peer) = pair();
    // Our own direction ends. The peer can still send.
    stream.shutdown(net::Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"x").unwrap();

    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);

    let event = *events.iter().next().unwrap();
    assert!(!event.is_read_closed(), "{event:?}");
    assert!(!event.is_error(), "{event:?}");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
}

// 1
#[test]
fn everything_can_be_printed_for_debugging() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(2);
    poll.registrator().wake(1).unwrap();
    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
    let printed = [
        format!("{poll:?}"),
        format!("{:?}", poll.registrator()),
        format!("{:?}", Selector::new().unwrap()),
        format!("{events:?}"),
        format!("{:?}", events.iter().next().unwrap()),
        format!("{BOTH:?}"),
    ];
    for text in printed {
        assert!(!text.is_empty());
    }
}
