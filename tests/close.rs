//! `Registrator::close_loop` and the drop of a `Poll`: what fails from then on, and what is still handed out.
//!
//! Contract: docs/contract.md, 2.4, 4.1, 4.3, 4.4, 4.5, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::ends::{suite, StreamEnd};
use common::{
    await_bytes, effort, expect_events, let_it_block, said, watchdog, Said, BOTH, HANG, QUIET,
    READABLE, WRITABLE,
};
use minimio::{is_closed, Events, Poll};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

/// Asserts that this is the error of a closed loop.
#[track_caller]
fn assert_closed<T: fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

// 4.4
fn every_verb_of_a_registrator_fails_after_the_close<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (poll, _) = poll_and_events();
    let (armed, _peer) = S::pair();
    let (fresh, _peer_of_fresh) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&armed, 1, READABLE).unwrap();

    registrator.close_loop().unwrap();

    for registrator in [&registrator, &registrator.clone(), &poll.registrator()] {
        assert_closed(registrator.register(&armed, 2, BOTH));
        assert_closed(registrator.register(&fresh, 3, BOTH));
        assert_closed(registrator.deregister(&armed));
        assert_closed(registrator.deregister(&fresh));
        assert_closed(registrator.wake(4));
        assert_closed(registrator.close_loop());
    }
}

// 4.4
fn every_verb_fails_on_every_thread_from_the_moment_of_the_close<S: StreamEnd>() {
    let _watchdog = watchdog();
    for _ in 0..S::effort(50) {
        let poll = Poll::new().unwrap();
        let (stream, _peer) = S::pair();
        let closed = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..3 {
                let registrator = poll.registrator();
                let (stream, closed) = (&stream, &closed);
                scope.spawn(move || {
                    closed.wait();
                    assert_closed(registrator.register(stream, 1, BOTH));
                    assert_closed(registrator.deregister(stream));
                    assert_closed(registrator.wake(2));
                    assert_closed(registrator.close_loop());
                });
            }
            poll.registrator().close_loop().unwrap();
            closed.wait();
        });
    }
}

// 4.4
#[test]
fn poll_fails_every_time_after_the_close_whatever_its_timeout() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    poll.registrator().close_loop().unwrap();
    for timeout in [None, Some(Duration::ZERO), Some(HANG), None] {
        assert_closed(poll.poll(&mut events, timeout));
        assert!(events.is_empty());
    }
}

// 4.4
fn a_close_ends_a_poll_that_is_blocked<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.close_loop().unwrap();
        });
        assert_closed(poll.poll(&mut events, None));
    });
    assert!(events.is_empty());
}

// 4.4
#[test]
fn a_close_ends_a_blocked_poll_with_a_timeout_before_its_time() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.close_loop().unwrap();
        });
        assert_closed(poll.poll(&mut events, Some(HANG * 10)));
    });
}

// 4.4
#[test]
fn a_close_that_races_with_the_start_of_a_poll_ends_it() {
    let _watchdog = watchdog();
    for _ in 0..effort(500) {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                registrator.close_loop().unwrap();
            });
            start.wait();
            assert_closed(poll.poll(&mut events, None));
        });
    }
}

// 4.4, 8
fn data_that_was_there_before_the_close_is_handed_out_first<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().close_loop().unwrap();

    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_closed(poll.poll(&mut events, None));
    assert_closed(poll.poll(&mut events, None));
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
}

// 4.4, 8
fn data_and_close_together_give_a_blocked_poll_the_data_first<S: StreamEnd>() {
    let _watchdog = watchdog();
    for _ in 0..S::effort(20) {
        let (mut poll, mut events) = poll_and_events();
        let (stream, mut peer) = S::pair();
        let registrator = poll.registrator();
        registrator.register(&stream, 1, READABLE).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                peer.write_all(b"x").unwrap();
                await_bytes(&stream, 1);
                registrator.close_loop().unwrap();
            });
            assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
            assert_eq!(said(&events), [Said::Readable(1)]);
            assert_closed(poll.poll(&mut events, None));
        });
    }
}

// 4.1, 4.4
fn all_that_was_queued_is_handed_out_although_the_batch_is_small<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let mut pairs = Vec::new();
    let mut expected = Vec::new();
    for token in 0..10 {
        let (stream, mut peer) = S::pair();
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
    poll.registrator().close_loop().unwrap();

    expect_events(&mut poll, &mut events, &expected);
    assert_closed(poll.poll(&mut events, None));
}

// 4.3, 4.4
#[test]
fn a_wake_that_succeeded_is_delivered_although_the_loop_is_closed_at_once() {
    let _watchdog = watchdog();
    for _ in 0..effort(100) {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(3);
        let succeeded = AtomicUsize::new(0);
        let start = Barrier::new(5);
        let mut delivered = 0;
        thread::scope(|scope| {
            for thread in 0..4 {
                let registrator = poll.registrator();
                let (succeeded, start) = (&succeeded, &start);
                scope.spawn(move || {
                    start.wait();
                    for number in 0.. {
                        match registrator.wake(thread * 1_000_000 + number) {
                            Ok(()) => succeeded.fetch_add(1, Ordering::SeqCst),
                            Err(error) => {
                                assert!(is_closed(&error));
                                return;
                            }
                        };
                    }
                });
            }
            start.wait();
            let registrator = poll.registrator();
            scope.spawn(move || registrator.close_loop().unwrap());
            loop {
                match poll.poll(&mut events, None) {
                    Ok(count) => delivered += count,
                    Err(error) => {
                        assert!(is_closed(&error));
                        break;
                    }
                }
            }
        });
        assert_eq!(delivered, succeeded.load(Ordering::SeqCst));
    }
}

// 4.4
fn nothing_that_comes_after_the_close_is_waited_for<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = S::pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    poll.registrator().close_loop().unwrap();
    // The peer sends nothing, so waiting for an event would never end.
    assert_closed(poll.poll(&mut events, None));
}

// 4.4
fn closing_yields_no_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    await_bytes(&stream, 1);
    poll.registrator().register(&stream, 0, READABLE).unwrap();
    poll.registrator().close_loop().unwrap();
    let mut all = Vec::new();
    while poll.poll(&mut events, None).is_ok() {
        all.extend(said(&events));
    }
    assert_eq!(all, [Said::Readable(0)]);
}

// 4.4
#[test]
fn of_many_closes_at_once_one_succeeds() {
    let _watchdog = watchdog();
    for _ in 0..effort(50) {
        let poll = Poll::new().unwrap();
        let start = Barrier::new(8);
        let succeeded = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                let registrator = poll.registrator();
                let (start, succeeded) = (&start, &succeeded);
                scope.spawn(move || {
                    start.wait();
                    match registrator.close_loop() {
                        Ok(()) => drop(succeeded.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => assert!(is_closed(&error)),
                    }
                    assert!(registrator.is_closed());
                });
            }
        });
        assert_eq!(succeeded.load(Ordering::SeqCst), 1);
    }
}

// 4.4
#[test]
fn the_poll_whose_events_are_being_handled_may_be_closed() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let registrator = poll.registrator();
    registrator.wake(1).unwrap();
    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    for event in &events {
        registrator.close_loop().unwrap();
        assert_eq!(event.id(), 1);
    }
    assert_closed(poll.poll(&mut events, None));
}

// 4.4
#[test]
fn closing_one_loop_leaves_another() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let other = Poll::new().unwrap();
    other.registrator().close_loop().unwrap();
    assert!(!poll.registrator().is_closed());
    poll.registrator().wake(1).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, false)]);
}

// 4.4
#[test]
fn is_closed_of_a_registrator_tells_the_state_to_every_clone() {
    let poll = Poll::new().unwrap();
    let (one, two) = (poll.registrator(), poll.registrator());
    assert!(!one.is_closed() && !two.is_closed());
    one.close_loop().unwrap();
    assert!(one.is_closed() && two.is_closed() && two.clone().is_closed());
    drop(poll);
    assert!(one.is_closed());
}

// 4.4
#[test]
fn is_closed_knows_no_other_interrupted_error() {
    #[derive(Debug)]
    struct Closed;
    impl fmt::Display for Closed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the event loop is closed")
        }
    }
    impl Error for Closed {}

    assert!(!is_closed(&ErrorKind::BrokenPipe.into()));
    assert!(!is_closed(&io::Error::new(
        ErrorKind::BrokenPipe,
        "the event loop is closed"
    )));
    assert!(!is_closed(&io::Error::new(ErrorKind::BrokenPipe, Closed)));
    assert!(!is_closed(&ErrorKind::NotFound.into()));
    // 4 is EINTR on every Unix, and some error on Windows.
    assert!(!is_closed(&io::Error::from_raw_os_error(4)));
}

// 4.4
#[test]
fn the_closed_error_says_so() {
    let poll = Poll::new().unwrap();
    poll.registrator().close_loop().unwrap();
    let error = poll.registrator().wake(0).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

// 4.4
#[test]
fn a_waker_does_nothing_after_the_close() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let waker = poll.registrator().waker(1);
    poll.registrator().close_loop().unwrap();
    waker.wake_by_ref();
    waker.wake();
    assert_closed(poll.poll(&mut events, None));
}

// 4.5
fn dropping_the_poll_closes_the_loop<S: StreamEnd>() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let (stream, _peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();
    assert!(!registrator.is_closed());

    drop(poll);

    assert!(registrator.is_closed());
    assert_closed(registrator.register(&stream, 1, READABLE));
    assert_closed(registrator.deregister(&stream));
    assert_closed(registrator.wake(1));
    assert_closed(registrator.close_loop());
}

// 4.5
#[test]
fn a_poll_that_was_closed_can_be_dropped() {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    registrator.close_loop().unwrap();
    drop(poll);
    assert!(registrator.is_closed());
}

// 4.5
fn streams_read_and_write_on_after_the_close<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (poll, _) = poll_and_events();
    let (near, far) = S::two();
    poll.registrator().register(&near, 1, BOTH).unwrap();
    poll.registrator().register(&far, 2, BOTH).unwrap();
    poll.registrator().close_loop().unwrap();

    for _ in 0..10 {
        assert_eq!(near.write(b"ping").unwrap(), 4);
        await_bytes(&far, 4);
        let mut buffer = [0; 8];
        assert_eq!(far.read(&mut buffer).unwrap(), 4);
        assert_eq!(far.write(&buffer[..4]).unwrap(), 4);
        await_bytes(&near, 4);
        assert_eq!(near.read(&mut buffer).unwrap(), 4);
    }
}

// 2.4: a refused call arms nothing. 4.4: what is handed out after the close is bounded.
fn a_register_after_the_close_adds_nothing_to_what_is_handed_out<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, _peer) = S::pair();
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    poll.registrator().close_loop().unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    assert_closed(poll.registrator().register(&stream, 2, WRITABLE));
    assert_closed(poll.poll(&mut events, Some(QUIET)));
}

suite! {
    streams {
        streams_read_and_write_on_after_the_close,
    }
    reading {
        every_verb_of_a_registrator_fails_after_the_close,
        every_verb_fails_on_every_thread_from_the_moment_of_the_close,
        a_close_ends_a_poll_that_is_blocked,
        data_that_was_there_before_the_close_is_handed_out_first,
        data_and_close_together_give_a_blocked_poll_the_data_first,
        all_that_was_queued_is_handed_out_although_the_batch_is_small,
        nothing_that_comes_after_the_close_is_waited_for,
        closing_yields_no_event,
        dropping_the_poll_closes_the_loop,
    }
    writing {
        a_register_after_the_close_adds_nothing_to_what_is_handed_out,
    }
}
