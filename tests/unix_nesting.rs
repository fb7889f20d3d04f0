//! A `Poll` inside another loop, on Unix: its descriptor is readable while something waits in its queue.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::{
    await_bytes, effort, expect_events, let_it_block, pair, said, watchdog, Said, BOTH, READABLE,
    WRITABLE,
};
use minimio::{is_closed, Events, Poll};

/// Whether the descriptor of `poll` is readable within `timeout_ms`, by the system's own `poll`.
fn readable_within(poll: &Poll, timeout_ms: i32) -> bool {
    let mut watched = libc::pollfd {
        fd: poll.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid structure, and its length is given as one.
    let count = unsafe { libc::poll(&mut watched, 1, timeout_ms) };
    assert_ne!(count, -1, "{}", std::io::Error::last_os_error());
    watched.revents & libc::POLLIN != 0
}

const LONG_MS: i32 = 60_000;

// 1
#[test]
fn the_borrowed_descriptor_and_the_raw_one_are_the_same() {
    let poll = Poll::new().unwrap();
    assert_eq!(poll.as_fd().as_raw_fd(), poll.as_raw_fd());
}

// 1
#[test]
fn an_idle_poll_is_not_readable() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let (stream, _peer) = pair();
    assert!(!readable_within(&poll, 0));
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    assert!(!readable_within(&poll, 30));
}

// 1
#[test]
fn a_ready_source_makes_its_poll_readable() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let_it_block();
            peer.write_all(b"x").unwrap();
        });
        assert!(readable_within(&poll, LONG_MS));
    });
    assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(said(&events), [Said::Readable(1)]);
}

// 1, 2.6
#[test]
fn a_registration_from_another_thread_makes_a_poll_readable() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, _peer) = pair();
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.register(&stream, 1, WRITABLE).unwrap();
        });
        assert!(readable_within(&poll, LONG_MS));
    });
    assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(said(&events), [Said::Writable(1)]);
}

// 1, 4.3
#[test]
fn a_wake_makes_a_poll_readable() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let registrator = poll.registrator();
    for token in 0..3 {
        thread::scope(|scope| {
            let registrator = &registrator;
            scope.spawn(move || {
                let_it_block();
                registrator.wake(token).unwrap();
            });
            assert!(readable_within(&poll, LONG_MS));
        });
        assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 1);
        assert_eq!(said(&events), [Said::Wake(token)]);
    }
}

// 4.1: such a loop asks without waiting. The stream is readable and armed all the time, while another thread arms it for
// writing, too.
#[test]
fn a_poll_that_does_not_wait_tells_of_what_another_thread_registers() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    let registrator = poll.registrator();
    for round in 0..effort(2000) {
        registrator.register(&stream, 1, READABLE).unwrap();
        let began = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                began.wait();
                // At another moment each time.
                (0..round % 97 * 4).for_each(|_| std::hint::spin_loop());
                registrator.register(&stream, 1, BOTH).unwrap();
            });
            began.wait();
            assert_ne!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        });
        registrator.deregister(&stream).unwrap();
    }
}

// 1, 4.1
#[test]
fn a_poll_stays_readable_while_a_full_batch_left_something() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut pairs = Vec::new();
    for token in 0..3 {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        await_bytes(&stream, 1);
        poll.registrator().register(&stream, token, BOTH).unwrap();
        poll.registrator().wake(100 + token).unwrap();
        pairs.push((stream, peer));
    }
    let mut all = Vec::new();
    // Three streams say two things each, three wakes one.
    while all.len() < 9 {
        assert!(readable_within(&poll, 0), "after {all:?}");
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        all.extend(said(&events));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 9);
}

// 1
#[test]
fn an_outer_loop_comes_to_rest_when_everything_was_handed_out() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    peer.write_all(b"x").unwrap();
    poll.registrator().wake(2).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, true), (2, false, false)],
    );
    // It may be readable with no event to hand out, but not again and again.
    let mut in_vain = 0;
    while readable_within(&poll, 0) {
        assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        in_vain += 1;
        assert!(in_vain < 10);
    }
}

// 1, 4.4
#[test]
fn a_close_makes_a_poll_readable() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(move || {
            let_it_block();
            registrator.close_loop().unwrap();
        });
        assert!(readable_within(&poll, LONG_MS));
    });
    let error = poll.poll(&mut events, Some(Duration::ZERO)).unwrap_err();
    assert!(is_closed(&error));
}
