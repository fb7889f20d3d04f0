//! Time-outs of `poll`: a wait never ends early and always ends, whatever else happens meanwhile.
//!
//! Contract: docs/contract.md, 2.2, 2.5, 4.1, 4.2, 6.4.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    await_bytes, effort, expect_events, let_it_block, pair, read_some, said, watchdog, Said,
    SetOnDrop, BOTH, READABLE, WRITABLE,
};
use minimio::{Events, Poll};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

/// Polls for `timeout` while no event can come, and asserts that it took at least that long.
#[track_caller]
fn assert_waits(poll: &mut Poll, events: &mut Events, timeout: Duration) {
    let start = Instant::now();
    let count = poll.poll(events, Some(timeout)).unwrap();
    let waited = start.elapsed();
    assert_eq!(count, 0, "{events:?}");
    assert!(events.is_empty());
    assert!(waited >= timeout, "{waited:?} of {timeout:?}");
}

// 4.1, 4.2
#[test]
fn a_timeout_is_never_cut_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    for micros in [
        1, 10, 99, 400, 500, 900, 999, 1_000, 1_001, 1_500, 1_999, 2_000, 9_999, 15_600, 33_333,
    ] {
        for _ in 0..effort(3) {
            assert_waits(&mut poll, &mut events, Duration::from_micros(micros));
        }
    }
}

// 4.2
#[test]
fn the_shortest_timeout_returns_and_is_not_cut_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    for nanos in [1, 2, 999, 1_000_001] {
        assert_waits(&mut poll, &mut events, Duration::from_nanos(nanos));
    }
}

// 4.2
#[test]
fn armed_sources_that_stay_quiet_do_not_change_a_timeout() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let pairs: Vec<_> = (0..5).map(|_| pair()).collect();
    for (token, (stream, _)) in pairs.iter().enumerate() {
        poll.registrator()
            .register(stream, token, READABLE)
            .unwrap();
    }
    assert_waits(&mut poll, &mut events, Duration::from_millis(80));
}

// 4.2, 6.4
#[test]
fn what_happens_to_unarmed_sources_does_not_cut_a_timeout_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (mut stream, mut peer) = pair();
    // Both interests have fired, so the system may still report changes although nothing is armed.
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                peer.write_all(b"x").unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        let _done = SetOnDrop(&done);
        assert_waits(&mut poll, &mut events, Duration::from_millis(150));
    });
}

// 2.5, 4.2
#[test]
fn what_happens_to_a_deregistered_source_does_not_cut_a_timeout_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.deregister(&stream).unwrap();
            peer.write_all(b"x").unwrap();
            drop(peer);
        });
        assert_waits(&mut poll, &mut events, Duration::from_millis(150));
    });
}

// 2.2, 4.2
#[test]
fn registrations_from_another_thread_do_not_cut_a_timeout_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = pair();
    let registrator = poll.registrator();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for token in 0.. {
                registrator.register(&stream, token, READABLE).unwrap();
                thread::sleep(Duration::from_millis(1));
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let _done = SetOnDrop(&done);
        assert_waits(&mut poll, &mut events, Duration::from_millis(150));
    });
}

// 4.2
#[test]
fn a_zero_timeout_does_not_block() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    for _ in 0..10_000 {
        assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    }
}

// 4.2
#[test]
fn a_zero_timeout_hands_out_what_is_ready() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().wake(2).unwrap();
    let mut all = Vec::new();
    // One call need not hand out both events, but there must not be more calls than events.
    for _ in 0..2 {
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        all.extend(said(&events));
    }
    all.sort();
    assert_eq!(all, [Said::Readable(1), Said::Wake(2)]);
}

// 4.2
#[test]
fn an_event_ends_the_wait_before_the_timeout() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = pair();
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    // If the wait lasted this hour, the watchdog would end the test.
    let count = poll
        .poll(&mut events, Some(Duration::from_secs(3_600)))
        .unwrap();
    assert_eq!(count, 1);
}

// 4.2
#[test]
fn huge_timeouts_wait_and_do_not_overflow() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let huge = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(u64::MAX / 2),
        Duration::from_secs(u64::MAX / 2 + 1),
        Duration::from_secs(u64::from(u32::MAX)),
        Duration::from_millis(u64::MAX),
        Duration::from_nanos(u64::MAX),
        // The largest numbers of milliseconds that 32 bits hold, with and without a sign, and one more than each.
        Duration::from_millis(u64::from(u32::MAX)),
        Duration::from_millis(u64::from(u32::MAX) + 1),
        Duration::from_millis(0x7fff_ffff),
        Duration::from_millis(0x8000_0000),
        Duration::from_secs(2_147_483),
    ];
    for (token, timeout) in huge.into_iter().enumerate() {
        let registrator = poll.registrator();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(10));
                registrator.wake(token).unwrap();
            });
            let count = poll.poll(&mut events, Some(timeout)).unwrap();
            assert_eq!(count, 1, "{timeout:?} was cut short");
            assert_eq!(said(&events), [Said::Wake(token)]);
        });
    }
}

// 4.1
#[test]
fn poll_without_a_timeout_never_returns_zero() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (mut stream, mut peer) = pair();
    let registrator = poll.registrator();
    // What the system reports meanwhile concerns interests that are not armed.
    for token in 0..effort(20) {
        registrator.register(&stream, token, BOTH).unwrap();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        expect_events(&mut poll, &mut events, &[(token, true, true)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    peer.write_all(b"x").unwrap();
                    thread::yield_now();
                }
                // It reads, since a peek may show only the bytes of one write.
                let mut count = 0;
                while count < 5 {
                    count += read_some(&stream, &mut [0; 8]);
                }
                registrator.wake(1_000).unwrap();
            });
            assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
            assert_eq!(said(&events), [Said::Wake(1_000)]);
        });
    }
}

// 4.2
#[test]
fn one_wait_does_not_shorten_the_next() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    for round in 0..5 {
        poll.registrator().wake(round).unwrap();
        let timeout = Duration::from_millis(20);
        assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 1);
        assert_waits(&mut poll, &mut events, timeout);
    }
}
