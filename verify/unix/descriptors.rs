//! Descriptors of the user's, for which the polling thread asks the kernel nothing, and lasting edges.

use std::sync::Arc;

use super::edges::both_directions_with_room_for_one;
use super::kernel::{FULL, PRIORITY};
use super::registrations::a_source_is_dropped;
use super::{explore, join, spawn, Said, World, R, W};
use crate::hooks::sync::{AtomicBool, Ordering};
use crate::unix::readiness::Kind;

/// What a thread does while something of a descriptor is postponed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// Reads until nothing is left, which only `WouldBlock` proves for a descriptor.
    Drains,
    /// Takes all that is there, by a read that proves nothing.
    TakesAll,
    Disarms,
}

#[test]
fn both_directions_of_a_descriptor_come_once_with_room_for_one() {
    both_directions_with_room_for_one(Kind::Descriptor);
}

#[test]
fn no_event_of_a_descriptor_after_a_drop() {
    a_source_is_dropped(Kind::Descriptor);
}

#[test]
fn no_lasting_edge_after_a_drop() {
    a_source_is_dropped(Kind::Edges);
}

/// One direction does not fit into the batch; a thread takes what it stands for, or disarms it, and may wait for more.
fn what_was_postponed_is_overtaken(meanwhile: Meanwhile, registers: bool) {
    let reads = meanwhile != Meanwhile::Disarms;
    explore(move || {
        let world = World::of(Kind::Descriptor, &[1]);
        // What was postponed goes first at the next edge. So now it is the reading that has its turn later.
        for turn in 0..2 {
            world.register(0, 1, R | W);
            world.register(0, 2, W);
            if turn == 0 {
                assert_eq!(world.polls(2, 1), [(1, R), (2, W)]);
            }
        }
        let gone = Arc::new(AtomicBool::new(false));
        let thread = spawn(&world, {
            let gone = Arc::clone(&gone);
            move |world| {
                match meanwhile {
                    Meanwhile::Drains => while world.read(0, 8).is_ok() {},
                    Meanwhile::TakesAll => assert_eq!(world.read(0, 8).ok(), Some(1)),
                    Meanwhile::Disarms => world.deregister(0),
                }
                gone.store(true, Ordering::SeqCst);
                if registers {
                    world.register(0, 3, R);
                }
            }
        });
        let mut said = Said::new();
        for _ in 0..2 {
            let was_gone = gone.load(Ordering::SeqCst);
            let now = world.poll(1).0;
            let late = now.iter().any(|&(token, interest)| match reads {
                true => interest == R,
                false => token != 3,
            });
            assert!(!was_gone || !late, "false: after the end, {now:?}");
            said.extend(now);
        }
        join([thread]);
        let before = said.len();
        world.settle(&mut said, 1);
        let late = reads && said[before..].iter().any(|(_, interest)| *interest == R);
        assert!(!late, "false: there is nothing to read, {said:?}");
        if registers && !reads {
            assert!(said.contains(&(3, R)), "lost: {said:?}");
        }
        world.end();
    });
}

#[test]
fn what_was_postponed_and_read_is_not_told() {
    what_was_postponed_is_overtaken(Meanwhile::Drains, false);
}

#[test]
fn what_was_postponed_and_read_is_not_told_to_the_next() {
    what_was_postponed_is_overtaken(Meanwhile::Drains, true);
}

/// Such an edge is not confirmed, so it takes the end of a call that began after it to know.
#[test]
fn what_was_postponed_with_a_priority_and_read_is_not_told() {
    explore(|| {
        let world = World::of(Kind::Descriptor, &[1 | PRIORITY]);
        world.register(0, 1, R | W);
        world.register(0, 2, W);
        assert_eq!(world.polls(2, 1), [(1, R), (2, W)]);
        // What was postponed goes first now.
        world.register(0, 1, R | W);
        world.register(0, 2, W);
        assert_eq!(world.poll(1).0, [(2, W)]);
        while world.read(0, 8).is_ok() {}
        let said = world.polls(2, 1);
        assert_eq!(said, [], "false: there is nothing to read");
        world.end();
    });
}

#[test]
fn an_end_from_before_an_edge_does_not_void_what_is_postponed() {
    explore(|| {
        let world = World::of(Kind::Descriptor, &[1]);
        world.register(0, 1, R | W);
        world.register(0, 2, W);
        assert_eq!(world.polls(2, 1), [(1, R), (2, W)]);
        while world.read(0, 8).is_ok() {}
        // What was postponed goes first now.
        world.register(0, 1, R | W);
        world.register(0, 2, W);
        world.kernel().deliver(0, 1);
        let said = world.polls(2, 1);
        assert_eq!(said, [(2, W), (1, R)], "lost: {said:?}");
        world.end();
    });
}

#[test]
fn what_was_postponed_and_is_gone_is_not_told() {
    what_was_postponed_is_overtaken(Meanwhile::TakesAll, false);
}

#[test]
fn what_was_postponed_and_is_gone_is_not_told_to_the_next() {
    what_was_postponed_is_overtaken(Meanwhile::TakesAll, true);
}

#[test]
fn what_was_postponed_and_disarmed_is_not_told() {
    what_was_postponed_is_overtaken(Meanwhile::Disarms, false);
}

#[test]
fn what_was_postponed_and_armed_anew_is_told() {
    what_was_postponed_is_overtaken(Meanwhile::Disarms, true);
}

/// Bytes come again and again after one lasting registration, with room for one event, while another direction has some,
/// too: after the last arrival there is an edge.
#[test]
fn each_arrival_is_followed_by_a_lasting_edge() {
    explore(|| {
        let world = World::of(Kind::Edges, &[FULL]);
        world.register(0, 1, R);
        world.register(0, 2, W);
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().make_room(0);
        });
        let mut said = world.polls(2, 1);
        join([peer]);
        said.extend(world.polls(4, 1));
        assert!(said.contains(&(1, R)), "lost: the bytes, {said:?}");
        assert!(said.contains(&(2, W)), "lost: the room, {said:?}");
        world.kernel().deliver(0, 1);
        let last = world.polls(3, 1);
        assert!(last.contains(&(1, R)), "lost: the last bytes, {last:?}");
        world.end();
    });
}

/// A thread ends a lasting registration, and may begin another one, which tells again what holds.
fn a_lasting_registration_is_disarmed(and_registers: bool) {
    explore(move || {
        let world = World::of(Kind::Edges, &[0]);
        world.register(0, 1, R);
        let gone = Arc::new(AtomicBool::new(false));
        let peer = spawn(&world, |world| world.kernel().deliver(0, 1));
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
        let mut said = Said::new();
        for _ in 0..2 {
            let was_gone = gone.load(Ordering::SeqCst);
            let now = world.poll(8).0;
            let late = was_gone && now.contains(&(1, R));
            assert!(!late, "an event after the deregister");
            said.extend(now);
        }
        join([peer, thread]);
        let now = world.polls(2, 8);
        assert!(!now.contains(&(1, R)), "an event after the deregister");
        said.extend(now);
        assert_eq!(said.contains(&(2, R)), and_registers, "lost: {said:?}");
        world.end();
    });
}

#[test]
fn no_lasting_edge_after_a_disarm() {
    a_lasting_registration_is_disarmed(false);
}

#[test]
fn a_lasting_registration_after_a_disarm_tells_what_holds() {
    a_lasting_registration_is_disarmed(true);
}

/// A descriptor gets another number while an edge of the old one is reaped and handled: what comes is the new one's.
#[test]
fn a_number_that_changes_enters_anew() {
    explore(|| {
        let world = World::of(Kind::Descriptor, &[1, 0]);
        world.register(0, 1, R);
        let thread = spawn(&world, |world| {
            let source = &world.sources[0];
            world.registrator.register(source, 1, 2, R).unwrap();
        });
        let said = world.polls(2, 8);
        join([thread]);
        assert!(!said.contains(&(2, R)), "false: {said:?}");
        assert_eq!(world.polls(1, 8), [], "false: nothing is there");
        world.kernel().deliver(1, 1);
        assert_eq!(world.poll(8).0, [(2, R)], "lost: the new one's bytes");
        world.end();
    });
}

/// A write meets the end of the room, and the edge that tells of room does not fit into the batch. The earlier end of the
/// room says nothing about that edge.
#[test]
fn what_was_postponed_outlives_an_earlier_end() {
    explore(|| {
        let world = World::of(Kind::Descriptor, &[FULL]);
        world.register(0, 1, R);
        world.register(0, 2, W);
        assert_eq!(world.polls(1, 1), []);
        world.fill(0);
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().make_room(0);
        });
        let mut said = world.polls(2, 1);
        join([peer]);
        world.settle(&mut said, 1);
        assert!(said.contains(&(1, R)), "lost: the bytes, {said:?}");
        assert!(said.contains(&(2, W)), "lost: the room, {said:?}");
        world.end();
    });
}
