//! `Registrator::wake` and `waker`: which wakes may merge and which may not, that no wake is lost, and that wakes do
//! not starve other events.
//!
//! Contract: docs/contract.md, 1, 4.1, 4.3, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use common::{
    await_bytes, effort, expect_events, expect_no_events, expect_nothing_queued, let_it_block,
    pair, said, watchdog, Said, HANG, READABLE,
};
use minimio::{Events, Poll, Token};

fn poll_and_events(capacity: usize) -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(capacity))
}

// 4.3
#[test]
fn a_wake_before_the_poll_yields_an_event_without_a_flag() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    poll.registrator().wake(3).unwrap();

    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);

    let event = *events.iter().next().unwrap();
    assert_eq!(event.id(), 3);
    assert!(!event.is_readable() && !event.is_writable());
    assert!(!event.is_read_closed() && !event.is_write_closed() && !event.is_error());
}

// 4.3
#[test]
fn a_wake_ends_a_poll_that_is_blocked() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(move || {
            let_it_block();
            registrator.wake(3).unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert_eq!(said(&events), [Said::Wake(3)]);
}

// 4.3
#[test]
fn a_delivered_wake_is_gone() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    poll.registrator().wake(3).unwrap();
    expect_events(&mut poll, &mut events, &[(3, false, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 4.3
#[test]
fn every_token_value_is_allowed_for_a_wake() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let high: Token = !(Token::MAX >> 1);
    for token in [0, 1, high - 1, high, Token::MAX - 1, Token::MAX] {
        poll.registrator().wake(token).unwrap();
        expect_events(&mut poll, &mut events, &[(token, false, false)]);
    }
}

// 4.3
#[test]
fn undelivered_wakes_of_one_token_yield_at_least_one_event_and_no_more_than_wakes() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(64);
    for _ in 0..5 {
        poll.registrator().wake(3).unwrap();
    }
    let mut count = poll.poll(&mut events, Some(HANG)).unwrap();
    assert!(said(&events).iter().all(|one| *one == Said::Wake(3)));
    count += poll.poll(&mut events, Some(common::QUIET)).unwrap();
    assert!((1..=5).contains(&count), "{count}");
}

// 4.3
#[test]
fn a_wake_after_a_delivered_one_of_the_same_token_is_a_new_event() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    for _ in 0..1_000 {
        poll.registrator().wake(3).unwrap();
        expect_events(&mut poll, &mut events, &[(3, false, false)]);
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 4.3
#[test]
fn wakes_of_different_tokens_do_not_merge() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(256);
    let expected: Vec<_> = (0..100).map(|token| (token * 7, false, false)).collect();
    for &(token, ..) in &expected {
        poll.registrator().wake(token).unwrap();
    }
    expect_events(&mut poll, &mut events, &expected);
    expect_no_events(&mut poll, &mut events);
}

// 4.3
#[test]
fn a_wake_does_not_merge_with_the_event_of_a_source_under_its_token() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 3, READABLE).unwrap();
    poll.registrator().wake(3).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(3, true, false), (3, false, false)],
    );
    expect_no_events(&mut poll, &mut events);
}

// 4.3
#[test]
fn a_wake_disarms_no_source_under_its_token() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 3, READABLE).unwrap();
    poll.registrator().wake(3).unwrap();
    expect_events(&mut poll, &mut events, &[(3, false, false)]);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
}

// 4.3
#[test]
fn wakes_of_two_polls_do_not_mix() {
    let _watchdog = watchdog();
    let (mut one, mut events) = poll_and_events(8);
    let mut two = Poll::new().unwrap();
    one.registrator().wake(1).unwrap();
    two.registrator().wake(2).unwrap();
    expect_events(&mut one, &mut events, &[(1, false, false)]);
    expect_events(&mut two, &mut events, &[(2, false, false)]);
    expect_no_events(&mut one, &mut events);
    expect_no_events(&mut two, &mut events);
}

// 4.1, 4.3
#[test]
fn no_wake_is_lost_when_the_batch_is_full() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(1);
    for token in 0..10 {
        poll.registrator().wake(token).unwrap();
    }
    let mut woken = [0; 10];
    for _ in 0..10 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        woken[events.iter().next().unwrap().id()] += 1;
    }
    assert_eq!(woken, [1; 10]);
    expect_no_events(&mut poll, &mut events);
}

// 4.1, 4.3
#[test]
fn no_wake_is_lost_when_sources_fill_the_batch() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(2);
    let mut pairs = Vec::new();
    let mut expected = Vec::new();
    for token in 0..6 {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        poll.registrator().wake(100 + token).unwrap();
        expected.push((token, true, false));
        expected.push((100 + token, false, false));
        pairs.push((stream, peer));
    }
    expect_events(&mut poll, &mut events, &expected);
    expect_no_events(&mut poll, &mut events);
}

// 4.3
#[test]
fn a_hundred_thousand_tokens_come_once_each_through_a_small_batch() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(7);
    let tokens = effort(100_000);
    for token in 0..tokens {
        poll.registrator().wake(token).unwrap();
    }
    let mut woken = vec![0_u8; tokens];
    let mut count = 0;
    while count < tokens {
        let batch = poll.poll(&mut events, Some(HANG)).unwrap();
        assert!((1..=7).contains(&batch), "{batch} after {count}");
        count += batch;
        for event in &events {
            woken[event.id()] += 1;
        }
    }
    assert!(woken.iter().all(|&times| times == 1));
    expect_no_events(&mut poll, &mut events);
}

// 4.3
#[test]
fn many_tokens_one_after_the_other_come_once_each() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(4);
    for token in 0..effort(50_000) {
        poll.registrator().wake(token).unwrap();
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        assert_eq!(events.iter().next().unwrap().id(), token);
    }
    expect_no_events(&mut poll, &mut events);
}

/// Keeps ten wakes waiting at all times, and polls until the event of a ready stream has come.
fn poll_for_a_source_among_wakes(capacity: usize) {
    let (mut poll, mut events) = poll_and_events(capacity);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    for token in 0..10 {
        poll.registrator().wake(token).unwrap();
    }
    poll.registrator()
        .register(&stream, 1_000, READABLE)
        .unwrap();

    for _ in 0..200 {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        for one in said(&events) {
            match one {
                Said::Wake(token) => poll.registrator().wake(token).unwrap(),
                other => {
                    assert_eq!(other, Said::Readable(1_000));
                    return;
                }
            }
        }
    }
    panic!("200 polls for {capacity} events each brought wakes only");
}

// 4.1, 4.3
#[test]
fn wakes_do_not_starve_a_source_when_the_batch_holds_one() {
    let _watchdog = watchdog();
    poll_for_a_source_among_wakes(1);
}

// 4.1, 4.3
#[test]
fn wakes_do_not_starve_a_source_when_the_batch_holds_a_few() {
    let _watchdog = watchdog();
    for capacity in [2, 3, 9] {
        poll_for_a_source_among_wakes(capacity);
    }
}

// 4.1, 4.3
#[test]
fn sources_do_not_starve_a_wake_when_the_batch_holds_one() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(1);
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
    poll.registrator().wake(1_000).unwrap();

    for _ in 0..200 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        let event = *events.iter().next().unwrap();
        if event.id() == 1_000 {
            assert!(!event.is_readable());
            return;
        }
        // All ten streams are ready and armed all the time.
        poll.registrator()
            .register(&pairs[event.id()].0, event.id(), READABLE)
            .unwrap();
    }
    panic!("200 polls brought events of sources only");
}

// 4.3
#[test]
fn one_token_woken_again_and_again_starves_no_other() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(1);
    for token in 0..10 {
        poll.registrator().wake(token).unwrap();
    }
    let mut woken = [0; 10];
    for _ in 0..200 {
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        let token = events.iter().next().unwrap().id();
        woken[token] += 1;
        poll.registrator().wake(token).unwrap();
    }
    assert!(woken.iter().all(|&times| times > 0), "{woken:?}");
}

// 4.3, 8
#[test]
fn eight_threads_wake_with_eight_tokens_and_each_wake_is_answered() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(3);
    let rounds = effort(2_000);
    thread::scope(|scope| {
        let mut answers = Vec::new();
        for token in 0..8 {
            let registrator = poll.registrator();
            let (answer, answered) = mpsc::channel();
            answers.push(answer);
            scope.spawn(move || {
                for _ in 0..rounds {
                    registrator.wake(token).unwrap();
                    // The next wake comes after the event of this one, so they must not merge.
                    answered.recv_timeout(HANG).unwrap();
                }
            });
        }
        let mut left = 8 * rounds;
        while left > 0 {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for event in &events {
                answers[event.id()].send(()).unwrap();
                left -= 1;
            }
        }
    });
    expect_no_events(&mut poll, &mut events);
}

// 4.3, 8
#[test]
fn eight_threads_wake_at_once_and_no_token_is_missing() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(3);
    for _ in 0..effort(200) {
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for token in 0..8 {
                let registrator = poll.registrator();
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    registrator.wake(token).unwrap();
                });
            }
            let expected: Vec<_> = (0..8).map(|token| (token, false, false)).collect();
            expect_events(&mut poll, &mut events, &expected);
        });
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 4.3
#[test]
fn no_wake_is_lost_between_two_polls() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(4);
    let rounds = effort(20_000);
    let registrator = poll.registrator();
    let (seen, was_seen) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for token in 0..rounds {
                registrator.wake(token).unwrap();
                // The events of some wakes were seen. For others the poll may just be returning.
                if token % 3 == 0 {
                    while was_seen.recv_timeout(HANG).unwrap() != token {}
                }
            }
        });
        let mut next = 0;
        while next < rounds {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for event in &events {
                assert!(event.id() < rounds);
                next += 1;
                // The other thread may have ended.
                seen.send(event.id()).unwrap_or(());
            }
        }
        assert_eq!(next, rounds);
    });
    expect_no_events(&mut poll, &mut events);
}

// 1, 4.3
#[test]
fn a_waker_wakes_with_its_token() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let waker: Waker = poll.registrator().waker(12);
    waker.wake_by_ref();
    expect_events(&mut poll, &mut events, &[(12, false, false)]);
    waker.wake();
    expect_events(&mut poll, &mut events, &[(12, false, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 1, 4.3
#[test]
fn making_cloning_and_dropping_a_waker_wakes_nobody() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let waker = poll.registrator().waker(12);
    let clone = waker.clone();
    drop(waker);
    expect_no_events(&mut poll, &mut events);
    clone.wake();
    expect_events(&mut poll, &mut events, &[(12, false, false)]);
}

// 1, 4.3
#[test]
fn clones_of_a_waker_wake_alike() {
    let waker = Poll::new().unwrap().registrator().waker(12);
    assert!(waker.will_wake(&waker.clone()));
}

// 1, 4.3
#[test]
fn a_waker_wakes_a_blocked_poll_from_another_thread() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let waker = poll.registrator().waker(12);
    let other = thread::spawn(move || {
        let_it_block();
        waker.wake();
    });
    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    assert_eq!(said(&events), [Said::Wake(12)]);
    other.join().unwrap();
}

// 1, 4.3
#[test]
fn a_waker_may_outlive_its_poll() {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(poll.registrator().waker(12));
    drop(poll);
    waker.wake_by_ref();
    drop(waker);
}

/// A system may hand out one event at a time to a loop that has had one at a time for long.
// 4.1, 4.3
#[test]
fn many_wakes_come_after_a_long_time_with_one_at_a_time() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events(8);
    let registrator = poll.registrator();
    let crowd: Vec<Said> = (0..5).map(Said::Wake).collect();
    // Of different lengths, since how long is long enough is the system's matter.
    for singles in 40..70 {
        for _ in 0..singles {
            registrator.wake(9).unwrap();
            poll.poll(&mut events, Some(HANG)).unwrap();
            assert_eq!(said(&events), [Said::Wake(9)]);
        }
        (0..5).for_each(|token| registrator.wake(token).unwrap());
        if singles % 2 == 0 {
            let mut all = Vec::new();
            while all.len() < crowd.len() {
                poll.poll(&mut events, Some(HANG)).unwrap();
                all.extend(said(&events));
            }
            assert_eq!(all, crowd);
            expect_no_events(&mut poll, &mut events);
        } else {
            // It may be the only look, since it does not wait.
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(said(&events), crowd);
        }
    }
}
