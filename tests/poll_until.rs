//! `Poll::poll_until`: the wait does not end before the deadline, and a deadline that has passed does not block.
//!
//! Contract: docs/contract.md, 4.2, 4.4.

#![allow(clippy::unwrap_used)] // a test

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{expect_nothing_queued, let_it_block, watchdog};
use minimio::{is_closed, Events, Poll};

fn queue() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(4))
}

// 4.2
#[test]
fn a_deadline_is_not_cut_short() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    for timeout in [1, 150, 999, 1_001, 15_600, 40_000].map(Duration::from_micros) {
        let deadline = Instant::now() + timeout;
        assert_eq!(poll.poll_until(&mut events, Some(deadline)).unwrap(), 0);
        assert!(Instant::now() >= deadline);
    }
}

// 4.2: if this call blocked, the watchdog would end the test.
#[test]
fn a_deadline_that_has_passed_does_not_block() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let passed = Instant::now();
    thread::sleep(Duration::from_millis(2));
    for _ in 0..100 {
        assert_eq!(poll.poll_until(&mut events, Some(passed)).unwrap(), 0);
    }
    // An event that is there is still handed out.
    poll.registrator().wake(3).unwrap();
    assert_eq!(poll.poll_until(&mut events, Some(passed)).unwrap(), 1);
    assert_eq!(events.iter().next().unwrap().id(), 3);
    expect_nothing_queued(&mut poll, &mut events);
}

// 4.2
#[test]
fn without_a_deadline_it_waits_for_an_event() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let waking = thread::spawn(move || {
        let_it_block();
        registrator.wake(5).unwrap();
    });
    assert_eq!(poll.poll_until(&mut events, None).unwrap(), 1);
    waking.join().unwrap();
}

// 4.2
#[test]
fn a_far_deadline_does_not_overflow() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let mut far = Instant::now();
    for seconds in [1_u64 << 40, 1 << 33, 1 << 31] {
        far = far.checked_add(Duration::from_secs(seconds)).unwrap_or(far);
    }
    poll.registrator().wake(5).unwrap();
    assert_eq!(poll.poll_until(&mut events, Some(far)).unwrap(), 1);
}

// 4.2, 4.4
#[test]
fn a_closed_loop_fails_before_the_deadline() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    poll.registrator().close_loop().unwrap();
    let far = Instant::now() + Duration::from_secs(600);
    assert!(is_closed(
        &poll.poll_until(&mut events, Some(far)).unwrap_err()
    ));
}
