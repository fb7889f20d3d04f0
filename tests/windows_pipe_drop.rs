//! 9.4, 5.6: pipes and their `Poll` are dropped in every order, and nothing is lost or left.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod named_pipes;

use std::io::{Read, Write};
use std::thread;
#[cfg(minimio_hooks)]
use std::time::{Duration, Instant};

use common::{await_that, effort, expect_events, until_done, watchdog, BOTH, WRITABLE};
use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use minimio::{Events, Poll, Registrator};
use named_pipes::{
    expect_bytes, leaves_nothing, name, pair, queue, reversed_pair, write_in_flight,
};

/// Drops its things in the `which`-th of the six orders, each on a thread of its own if `which` is above 5.
fn drop_in_order<A: Send, B: Send, C: Send>(which: usize, a: A, b: B, c: C) {
    let (mut a, mut b, mut c) = (Some(a), Some(b), Some(c));
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for step in orders[which % 6] {
        thread::scope(|scope| {
            let (a, b, c) = (&mut a, &mut b, &mut c);
            let mut act = move || match step {
                0 => drop(a.take()),
                1 => drop(b.take()),
                _ => drop(c.take()),
            };
            if which % 12 > 5 {
                scope.spawn(act);
            } else {
                act();
            }
        });
    }
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_read_in_flight() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(60) {
            let (poll, registrator, _events) = queue();
            let (near, mut far) = if round % 2 == 0 {
                pair()
            } else {
                reversed_pair()
            };
            if round % 3 == 0 {
                near.set_lent_buffer(0);
            }
            registrator.register(&near, 1, BOTH).unwrap();
            if round % 4 == 0 {
                // The packet may be on the port when all goes.
                far.write_all(b"early").unwrap();
            }
            drop_in_order(round, poll, registrator, near);
            // It is broken by now.
            drop(far.write(&[0xaa; 1000]));
        }
    });
}

/// Closing a pipe with a write in flight would lose all of the write.
#[test]
fn everything_is_dropped_in_all_orders_with_a_write_in_flight_and_nothing_is_lost() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(24) {
            let (mut poll, registrator, mut events) = queue();
            let (near, mut far) = if round % 2 == 0 {
                pair()
            } else {
                reversed_pair()
            };
            let accepted = write_in_flight(&mut poll, &mut events, &near);
            registrator.register(&near, 2, BOTH).unwrap();
            // Where the poll is dropped before it polls, a pump or the reaper takes the packet.
            let poller = (round % 3 == 0).then(|| {
                let poll = std::mem::replace(&mut poll, Poll::new().unwrap());
                poll_until_closed(poll, registrator.clone())
            });
            drop_in_order(round, poll, registrator.clone(), near);
            let mut received: Vec<u8> = Vec::new();
            let mut buffer = [0; 700];
            loop {
                match until_done(|| far.read(&mut buffer)).unwrap() {
                    0 => break,
                    count => received.extend(&buffer[..count]),
                }
            }
            assert_eq!(received.len(), accepted);
            assert!(received.iter().all(|&byte| byte == 0x5a));
            if let Some(poller) = poller {
                registrator.close_loop().unwrap();
                poller.join().unwrap();
            }
        }
    });
}

fn poll_until_closed(mut poll: Poll, _registrator: Registrator) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        while poll.poll(&mut events, None).is_ok() {}
    })
}

/// A write whose packet is on the port: the drop takes it, and the peer's end does not wait for a poll.
#[test]
fn a_pipe_that_is_dropped_after_its_write_has_ended_is_closed_at_once() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for (mut near, mut far) in [pair(), reversed_pair()] {
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert_eq!(near.write(b"last").unwrap(), 4);
        drop(near);
        expect_bytes(&mut far, b"last");
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_connect_in_flight() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(60) {
            let (poll, registrator, _events) = queue();
            let name = name();
            let server = NamedPipe::create(&name).unwrap();
            registrator.register(&server, 1, BOTH).unwrap();
            let client = (round % 3 == 0).then(|| NamedPipe::open(&name).unwrap());
            drop_in_order(round, poll, registrator, server);
            drop(client);
            // The name is free again.
            drop(
                NamedPipeOptions::new()
                    .max_instances(1)
                    .create(&name)
                    .unwrap(),
            );
        }
    });
}

#[test]
fn a_poll_dropped_first_leaves_pipes_that_read_and_write() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        let (poll, registrator, _events) = queue();
        let (mut near, mut far) = pair();
        near.set_lent_buffer(lent);
        registrator.register(&near, 1, BOTH).unwrap();
        drop(poll);
        await_that("nothing is lent", || registrator.lent_bytes() == 0);
        for _ in 0..3 {
            far.write_all(b"hello").unwrap();
            let mut buffer = [0; 8];
            assert_eq!(until_done(|| near.read(&mut buffer)).unwrap(), 5);
            assert_eq!(near.write(b"bye").unwrap(), 3);
            expect_bytes(&mut far, b"bye");
        }
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_closed_loop_leaves_pipes_that_read_and_write() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (mut near, mut far) = pair();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.close_loop().unwrap();
    far.write_all(b"hello").unwrap();
    assert_eq!(until_done(|| near.read(&mut [0; 8])).unwrap(), 5);
    assert_eq!(until_done(|| near.write(b"bye")).unwrap(), 3);
    expect_bytes(&mut far, b"bye");
}

/// A peer that never reads holds a dropped pipe no longer than the limit.
#[cfg(minimio_hooks)]
#[test]
fn a_deferred_close_is_given_up_in_the_end() {
    use minimio::hooks::windows::set_deferred_close;

    let _watchdog = watchdog();
    for drops_poll in [false, true] {
        leaves_nothing(|| {
            set_deferred_close(Duration::from_millis(200));
            let (mut poll, registrator, mut events) = queue();
            let (near, mut far) = pair();
            let accepted = write_in_flight(&mut poll, &mut events, &near);
            let start = Instant::now();
            drop(near);
            assert_ne!(registrator.lent_bytes(), 0);
            let mut poll = Some(poll);
            if drops_poll {
                drop(poll.take());
            }
            await_that("it is given up", || {
                if let Some(poll) = &mut poll {
                    let timeout = Some(Duration::from_millis(50));
                    assert_eq!(poll.poll(&mut events, timeout).unwrap(), 0);
                }
                registrator.lent_bytes() == 0
            });
            assert!(start.elapsed() >= Duration::from_millis(200));
            let (mut received, mut buffer) = (0, [0; 512]);
            loop {
                match until_done(|| far.read(&mut buffer)).unwrap() {
                    0 => break,
                    count => received += count,
                }
            }
            assert!(received < accepted, "it was cancelled");
            set_deferred_close(Duration::from_secs(60));
        });
    }
}
