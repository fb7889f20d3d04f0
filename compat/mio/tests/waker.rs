//! Wakers.

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{is_ours, pair, watchdog, Loop, R};
use mio::{Token, Waker};

#[test]
fn a_wake_before_the_poll_is_a_readable_event() {
    let mut looping = Loop::new();
    let waker = Waker::new(looping.registry(), Token(7)).unwrap();
    for _ in 0..10 {
        waker.wake().unwrap();
        looping.readable(7);
    }
    assert_eq!(looping.rest().len(), 0);
}

#[test]
fn many_wakes_are_one_event_or_more() {
    let mut looping = Loop::new();
    let waker = Waker::new(looping.registry(), Token(7)).unwrap();
    for _ in 0..100 {
        waker.wake().unwrap();
    }
    looping.readable(7);
    looping.rest();
    assert_eq!(looping.rest().len(), 0);
    waker.wake().unwrap();
    looping.readable(7);
}

#[test]
fn a_wake_ends_a_poll_of_another_thread() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let waker = Arc::new(Waker::new(looping.registry(), Token(7)).unwrap());
    for _ in 0..200 {
        let waker = Arc::clone(&waker);
        let waking = thread::spawn(move || waker.wake().unwrap());
        looping.poll.poll(&mut looping.events, None).unwrap();
        assert!(looping
            .events
            .iter()
            .all(|event| event.token() == Token(7) && event.is_readable()));
        assert!(!looping.events.is_empty());
        waking.join().unwrap();
    }
}

#[test]
fn a_waker_may_have_the_token_of_a_source() {
    let mut looping = Loop::new();
    let waker = Waker::new(looping.registry(), Token(1)).unwrap();
    let (mut stream, _peer) = pair();
    looping.register(&mut stream, 1, R);
    waker.wake().unwrap();
    looping.readable(1);
    looping.registry().deregister(&mut stream).unwrap();
    waker.wake().unwrap();
    looping.readable(1);
}

#[test]
fn a_wake_after_the_poll_is_no_error() {
    let looping = Loop::new();
    let waker = Waker::new(looping.registry(), Token(7)).unwrap();
    drop(looping);
    for _ in 0..3 {
        waker.wake().unwrap();
    }
}

#[test]
fn wakes_do_not_starve_a_source_nor_a_source_wakes() {
    let mut looping = Loop::with_capacity(1);
    let waker = Waker::new(looping.registry(), Token(7)).unwrap();
    let (mut stream, peer) = pair();
    looping.register(&mut stream, 1, R);
    drop(peer);
    for _ in 0..20 {
        waker.wake().unwrap();
        looping
            .registry()
            .reregister(&mut stream, Token(1), R)
            .unwrap();
        looping.readable(1);
        waker.wake().unwrap();
        looping
            .registry()
            .reregister(&mut stream, Token(1), R)
            .unwrap();
        looping.readable(7);
    }
}

// The real mio panics.
#[test]
fn a_poll_may_have_two_wakers() {
    if !is_ours() {
        return;
    }
    let mut looping = Loop::new();
    let wakers = [7, 8].map(|token| Waker::new(looping.registry(), Token(token)).unwrap());
    wakers[1].wake().unwrap();
    looping.readable(8);
    wakers[0].wake().unwrap();
    looping.readable(7);
}

#[test]
fn a_time_limit_may_have_any_length() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let waker = Waker::new(looping.registry(), Token(7)).unwrap();
    let limits = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(1500),
        Duration::from_secs(u64::from(u32::MAX)),
        Duration::MAX,
    ];
    for limit in limits {
        waker.wake().unwrap();
        looping.poll.poll(&mut looping.events, Some(limit)).unwrap();
        assert!(!looping.events.is_empty(), "{limit:?}");
    }
    let began = Instant::now();
    let limit = Duration::from_millis(30);
    looping.poll.poll(&mut looping.events, Some(limit)).unwrap();
    assert!(looping.events.is_empty());
    assert!(began.elapsed() >= limit);
}
