//! Sources come, are disarmed and go while the poller reaps and handles edges.

use std::sync::Arc;

use super::{explore, join, spawn, World, R};
use crate::hooks::sync::{lock, AtomicBool, Ordering};
use crate::unix::readiness::Kind;

/// Two threads register a source that is known to the queue, or is not, and bytes come.
fn two_threads_register(known: bool) {
    explore(move || {
        let world = World::new(&[0]);
        if known {
            world.register(0, 1, R);
            world.kernel().deliver(0, 1);
            assert_eq!(world.polls(1, 8), [(1, R)]);
            assert!(world.read(0, 8).is_ok());
        }
        let threads = [
            spawn(&world, |world| world.register(0, 2, R)),
            spawn(&world, |world| world.register(0, 3, R)),
            spawn(&world, |world| world.kernel().deliver(0, 1)),
        ];
        let mut said = world.polls(1, 8);
        join(threads);
        world.settle(&mut said, 8);
        assert!(!said.is_empty(), "lost: neither came");
        world.end();
    });
}

/// A thread deregisters while an edge is reaped and handled, and may register anew.
fn a_thread_deregisters(and_registers: bool) {
    explore(move || {
        let world = World::new(&[1]);
        let gone = Arc::new(AtomicBool::new(false));
        world.register(0, 1, R);
        let thread = spawn(&world, {
            let gone = Arc::clone(&gone);
            move |world| {
                world.deregister(0);
                gone.store(true, Ordering::SeqCst);
                if and_registers {
                    world.register(0, 2, R);
                }
            }
        });
        let mut said = Vec::new();
        for _ in 0..2 {
            let was_gone = gone.load(Ordering::SeqCst);
            let now = world.poll(8).0;
            assert!(
                !was_gone || !now.contains(&(1, R)),
                "an event after the deregister"
            );
            said.extend(now);
        }
        join([thread]);
        let before = said.len();
        world.settle(&mut said, 8);
        assert!(
            !said[before..].contains(&(1, R)),
            "an event after the deregister"
        );
        assert_eq!(said.contains(&(2, R)), and_registers, "lost: {said:?}");
        world.end();
    });
}

/// A source is dropped while its edge is reaped and handled, and another takes its slot.
pub(super) fn a_source_is_dropped(kind: Kind) {
    explore(move || {
        let world = World::of(kind, &[1, 0]);
        let gone = Arc::new(AtomicBool::new(false));
        world.register(0, 1, R);
        let thread = spawn(&world, {
            let gone = Arc::clone(&gone);
            move |world| {
                world.drop_source(0);
                gone.store(true, Ordering::SeqCst);
                world.register(1, 2, R);
            }
        });
        let mut said = Vec::new();
        for _ in 0..2 {
            // Also if its edge was reaped before.
            let mut was_gone = false;
            let now = world
                .poll_and(8, || was_gone = gone.load(Ordering::SeqCst))
                .0;
            assert!(
                !was_gone || !now.contains(&(1, R)),
                "an event after the drop"
            );
            said.extend(now);
        }
        join([thread]);
        let watched = lock(&world.kernel().set).items[0].is_some();
        assert!(!watched, "the kernel still watches what was dropped");
        said.extend(world.poll(8).0);
        assert!(
            !said.contains(&(2, R)),
            "false: the other has nothing to read"
        );
        world.kernel().deliver(1, 1);
        let now = world.poll(8).0;
        assert_eq!(now, [(2, R)], "lost: the other's event");
        world.drop_source(1);
    });
}

#[test]
fn no_event_after_a_drop() {
    a_source_is_dropped(Kind::Stream);
}

#[test]
fn two_threads_register_a_known_source() {
    two_threads_register(true);
}

#[test]
fn two_threads_register_a_new_source() {
    two_threads_register(false);
}

#[test]
fn no_event_after_a_deregister() {
    a_thread_deregisters(false);
}

#[test]
fn a_registration_after_a_deregister_fires() {
    a_thread_deregisters(true);
}
