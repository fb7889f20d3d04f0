//! Reads of a Unix stream that stop although more follows, and of a TCP stream, where urgent data was.

use super::kernel::{BYTES, CONTROL, PLACE, URGENT};
use super::{explore, join, spawn, World, R};
use crate::unix::readiness::Kind;

/// Bytes behind descriptors come while a thread reads by one call and registers anew.
#[test]
fn bytes_behind_descriptors_are_told() {
    explore(|| {
        let world = World::of(Kind::UnixStream, &[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let peer = spawn(&world, |world| {
            world.kernel().change(0, R, |held| (held + 1) | CONTROL);
        });
        let reader = spawn(&world, |world| {
            drop(world.read_unix(0, 8));
            world.register(0, 2, R);
        });
        let mut said = world.polls(2, 8);
        join([peer, reader]);
        world.settle(&mut said, 8);
        world.end();
    });
}

/// A call of the user's own takes an urgent byte, which perhaps no edge has told of, while another thread reads and
/// registers anew. Bytes follow behind the urgent one.
#[test]
fn bytes_behind_an_urgent_byte_that_was_taken_are_told() {
    explore(|| {
        let world = World::of(Kind::UnixStream, &[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        world.kernel().change(0, R, |held| (held + 1) | URGENT);
        let taker = spawn(&world, |world| {
            world.sources[0].readiness.expect_own_read();
            world.kernel().take_urgent(0);
        });
        let reader = spawn(&world, |world| {
            drop(world.read_unix(0, 8));
            world.register(0, 2, R);
        });
        let mut said = world.polls(2, 8);
        join([taker, reader]);
        world.settle(&mut said, 8);
        world.end();
    });
}

/// Only the place of an urgent byte is left, after its edge. That counts as readable, and no read gives anything.
#[test]
fn the_place_of_an_urgent_byte_is_no_event() {
    for kind in [Kind::UnixStream, Kind::Stream] {
        explore(move || {
            let world = World::of(kind, &[0]);
            world.register(0, 1, R);
            world.kernel().change(0, R, |held| (held + 1) | URGENT);
            let (said, _) = world.poll(8);
            assert_eq!(said, [(1, R)]);
            let peer = spawn(&world, |world| world.kernel().deliver(0, 1));
            let taker = spawn(&world, |world| {
                world.kernel().take_urgent(0);
                // It fills the buffer, so that the registration asks.
                drop(world.read_unix(0, 1));
                world.register(0, 2, R);
            });
            join([taker]);
            let (said, _) = world.poll(8);
            let held = world.kernel().held(0);
            let is_there = held & BYTES != 0;
            assert!(said.is_empty() || is_there, "false: {said:?}, {held:#x}");
            join([peer]);
            let mut said = said;
            world.settle(&mut said, 8);
            assert_eq!(said, [(2, R)]);
            assert_eq!(world.kernel().held(0) & !PLACE, 1);
            world.end();
        });
    }
}
