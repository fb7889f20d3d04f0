//! Descriptors and memory, counted before and after. One test at a time, since the counts are the process's.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use common::ends::{share, suite, DatagramEnd, Family, ListenerEnd, StreamEnd};
use common::{
    descriptors, effort, expect_events, resident_kib, watchdog, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::{Events, Interests, Poll, Registrator};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // One test that failed is no reason for the others to.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A poll with sources of every kind, events queued and delivered.
fn live_and_die<F: Family>(order: usize) {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let registrator = poll.registrator();
    let (stream, mut peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    registrator.register(&stream, 1, BOTH).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();
    registrator.register(&socket, 3, BOTH).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true), (3, false, true)]);
    registrator.register(&stream, 4, BOTH).unwrap();
    registrator.wake(5).unwrap();
    match order % 3 {
        0 => {
            drop(poll);
            drop((stream, listener, socket));
        }
        1 => {
            drop((stream, listener, socket));
            drop(registrator);
            drop(poll);
        }
        _ => {
            registrator.close_loop().unwrap();
            drop(thread::spawn(move || drop(poll)).join());
            drop((listener, socket, stream));
        }
    }
}

// 2.7, 4.5
fn no_descriptor_is_left_after_polls_and_sources_are_dropped<F: Family>() {
    let _alone = alone();
    let _watchdog = watchdog();
    live_and_die::<F>(0);
    let before = descriptors();
    for order in 0..effort(300) {
        live_and_die::<F>(order);
    }
    assert_eq!(descriptors(), before);
}

/// Counts the descriptors around polls and ends that are armed for `interest`, ready, and dropped in either order.
fn ends_that_live_and_die<S: StreamEnd>(interest: Interests) {
    let _alone = alone();
    let _watchdog = watchdog();
    let live_and_die = |order: usize| {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let (stream, mut peer) = S::pair();
        if interest == READABLE {
            peer.write_all(b"x").unwrap();
        }
        poll.registrator().register(&stream, 1, interest).unwrap();
        let expected = (1, interest == READABLE, interest == WRITABLE);
        expect_events(&mut poll, &mut events, &[expected]);
        poll.registrator().register(&stream, 2, interest).unwrap();
        match order % 4 {
            0 => drop((poll, stream, peer)),
            1 => drop((stream, poll, peer)),
            2 => drop((peer, stream, poll)),
            _ => drop(thread::spawn(move || drop((peer, poll, stream))).join()),
        }
    };
    live_and_die(0);
    let before = descriptors();
    for order in 0..S::effort(300) {
        live_and_die(order);
    }
    assert_eq!(descriptors(), before);
}

// 2.7, 4.5
fn no_descriptor_is_left_of_an_end_that_was_ready_to_read<S: StreamEnd>() {
    ends_that_live_and_die::<S>(READABLE);
}

// 2.7, 4.5
fn no_descriptor_is_left_of_an_end_that_was_ready_to_write<S: StreamEnd>() {
    ends_that_live_and_die::<S>(WRITABLE);
}

/// Wakes with tokens that were never used before, and takes every event.
fn wake_and_take(
    poll: &mut Poll,
    registrator: &Registrator,
    events: &mut Events,
    first: usize,
    count: usize,
) {
    for burst in (first..first + count).step_by(100) {
        for token in burst..burst + 100 {
            registrator.wake(token).unwrap();
        }
        let mut left = 100;
        while left > 0 {
            left -= poll.poll(events, Some(HANG)).unwrap();
        }
    }
}

// 4.3
#[test]
fn delivered_wakes_leave_no_memory_behind() {
    let _alone = alone();
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(64);
    let registrator = poll.registrator();
    wake_and_take(&mut poll, &registrator, &mut events, 0, 100_000);
    let before = resident_kib();
    let count = effort(1_000_000);
    wake_and_take(&mut poll, &registrator, &mut events, 100_000, count);
    let grown = resident_kib().saturating_sub(before);
    // A token that stayed would cost 8 bytes or more: eight times this.
    assert!(grown < 1_024, "{grown} KiB for {count} wakes");
}

// 2.7
fn dropped_sources_leave_no_memory_behind<D: DatagramEnd>() {
    let _alone = alone();
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(64);
    let mut come_and_go = |count| {
        for token in 0..count {
            let socket = D::bind();
            poll.registrator().register(&socket, token, BOTH).unwrap();
            expect_events(&mut poll, &mut events, &[(token, false, true)]);
        }
    };
    come_and_go(2_000);
    let before = resident_kib();
    let count = share(D::SHARE.min(4), 20_000);
    come_and_go(count);
    let grown = resident_kib().saturating_sub(before);
    // 64 bytes each would be more, or 256 bytes each of fewer.
    assert!(grown < 1_024, "{grown} KiB for {count} sources");
}

suite! {
    reading {
        no_descriptor_is_left_of_an_end_that_was_ready_to_read,
    }
    writing {
        no_descriptor_is_left_of_an_end_that_was_ready_to_write,
    }
    datagrams {
        dropped_sources_leave_no_memory_behind,
    }
    families {
        no_descriptor_is_left_after_polls_and_sources_are_dropped,
    }
}
