//! Threads wake and close while the poller takes wakes.

use std::sync::Arc;

use super::{explore, join, spawn, World};
use crate::hooks::sync::{lock, AtomicBool, Ordering};
use crate::interests::Interests;

/// Two threads wake, and the poller has room for one event at a time, or for all.
fn two_threads_wake(capacity: usize) {
    explore(move || {
        let world = World::new(&[]);
        let woken = Arc::new(AtomicBool::new(false));
        let threads = [
            spawn(&world, |world| world.registrator.wake(1).unwrap()),
            spawn(&world, {
                let woken = Arc::clone(&woken);
                move |world| {
                    world.registrator.wake(2).unwrap();
                    woken.store(true, Ordering::SeqCst);
                }
            }),
        ];
        let was_woken = woken.load(Ordering::SeqCst);
        let mut said = world.polls(1, capacity);
        if was_woken && capacity > 1 {
            let came = said.contains(&(2, Interests::empty()));
            assert!(came, "sleeps: a wake had returned, {said:?}");
        }
        join(threads);
        world.settle(&mut said, capacity);
        said.sort_by_key(|(token, _)| *token);
        assert_eq!(
            said,
            [(1, Interests::empty()), (2, Interests::empty())],
            "a wake was lost"
        );
    });
}

/// Wakes of tokens that are still to be handed out merge, so that the line cannot grow; the next wake counts again.
#[test]
fn wakes_merge_until_they_are_handed_out() {
    explore(|| {
        let world = World::new(&[]);
        for tokens in [[1, 2, 2, 3, 2, 3, 1], [3, 3, 2, 1, 2, 1, 3]] {
            for token in tokens {
                world.registrator.wake(token).unwrap();
            }
            let mut said = Vec::new();
            world.settle(&mut said, 2);
            said.sort_by_key(|(token, _)| *token);
            let each = [1, 2, 3].map(|token| (token, Interests::empty()));
            assert_eq!(said, each, "a wake was lost");
        }
    });
}

/// A thread wakes and another closes, while the poller goes to sleep.
#[test]
fn a_wake_beside_a_close_comes_or_fails() {
    explore(|| {
        let world = World::new(&[]);
        let accepted = Arc::new(AtomicBool::new(false));
        let threads = [
            spawn(&world, {
                let accepted = Arc::clone(&accepted);
                move |world| accepted.store(world.registrator.wake(1).is_ok(), Ordering::SeqCst)
            }),
            spawn(&world, |world| world.registrator.close_loop().unwrap()),
        ];
        let mut said = Vec::new();
        let (mut over, mut asleep) = (false, false);
        for _ in 0..2 {
            let was_closed = world.queue.is_closed();
            let (now, reaped) = world.poll(8);
            said.extend(now);
            if reaped == 0 {
                // A closed loop reports its end; another waits until something is queued.
                over = was_closed;
                asleep = !was_closed;
                break;
            }
        }
        join(threads);
        let woken = lock(&world.kernel().set).ready.front().is_some();
        assert!(!asleep || woken, "sleeps: the loop is closed");
        if !over {
            world.settle(&mut said, 8);
        }
        let came = said.contains(&(1, Interests::empty()));
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            came,
            "an accepted wake was lost"
        );
    });
}

#[test]
fn wakes_of_two_threads_both_come() {
    two_threads_wake(8);
}

#[test]
fn wakes_that_do_not_fit_come_later() {
    two_threads_wake(1);
}
