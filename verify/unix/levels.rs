//! A stream or a pipe whose reads fill their buffer, on a kernel that can report the level.

use super::kernel::{BYTES, CONTROL, PLACE, URGENT};
use super::{expect_second_event, explore, join, spawn, Arc, Said, World, R, W};
use crate::hooks::sync::lock;
use crate::unix::readiness::Kind;

/// What is read in parts.
const KINDS: [Kind; 3] = [Kind::Stream, Kind::UnixStream, Kind::Reader];

/// A source that the kernel was asked for the level of. It is armed with token 3, and holds nothing.
fn world_with_a_level(kind: Kind) -> Arc<World> {
    let world = World::on(true, kind, &[0]);
    world.register(0, 1, R);
    world.kernel().deliver(0, 1);
    assert_eq!(world.polls(1, 8), [(1, R)]);
    assert_eq!(read(&world, kind, 1), 1);
    world.register(0, 3, R);
    assert!(lock(&world.kernel().set).levels[0]);
    world
}

/// As a source of that kind reads. Returns how many bytes came.
fn read(world: &World, kind: Kind, room: u32) -> u32 {
    let result = match kind {
        Kind::UnixStream => world.read_unix(0, room),
        _ => world.read(0, room),
    };
    result.unwrap_or(0)
}

/// The event has come. A thread reads some of the bytes or all, and registers; more bytes may come.
fn a_reader_registers_beside_the_poller(kind: Kind, held: u32, room: u32, more: bool) {
    explore(move || {
        let world = world_with_a_level(kind);
        world.kernel().deliver(0, held);
        let said = world.polls(1, 8);
        assert_eq!(said, [(3, R)]);
        let mut threads = vec![spawn(&world, move |world| {
            read(world, kind, room);
            world.register(0, 2, R);
        })];
        if more {
            threads.push(spawn(&world, |world| world.kernel().deliver(0, 1)));
        }
        expect_second_event(&world, said, threads, 2, R);
    });
}

#[test]
fn a_reader_that_leaves_bytes_registers() {
    for kind in KINDS {
        a_reader_registers_beside_the_poller(kind, 2, 1, false);
    }
}

#[test]
fn a_reader_that_fills_its_buffer_registers() {
    for kind in KINDS {
        a_reader_registers_beside_the_poller(kind, 1, 1, false);
        a_reader_registers_beside_the_poller(kind, 1, 1, true);
    }
}

#[test]
fn a_reader_that_drains_registers() {
    for kind in KINDS {
        a_reader_registers_beside_the_poller(kind, 1, 2, true);
    }
}

/// The level is reported while a thread takes the bytes and registers anew.
#[test]
fn a_reader_overtakes_the_poller() {
    for kind in KINDS {
        for room in [1, 8] {
            explore(move || {
                let world = world_with_a_level(kind);
                world.kernel().deliver(0, 2);
                let reader = spawn(&world, move |world| {
                    read(world, kind, room);
                    world.register(0, 2, R);
                });
                expect_second_event(&world, Said::new(), [reader], 2, R);
            });
        }
    }
}

/// Bytes behind descriptors come while a thread reads by one call and registers anew.
#[test]
fn bytes_behind_descriptors_are_told_by_the_level() {
    explore(|| {
        let world = world_with_a_level(Kind::UnixStream);
        world.kernel().deliver(0, 1);
        let peer = spawn(&world, |world| {
            world.kernel().change(0, R, |held| (held + 1) | CONTROL);
        });
        let reader = spawn(&world, |world| {
            read(world, Kind::UnixStream, 8);
            world.register(0, 2, R);
        });
        let mut said = world.polls(2, 8);
        join([peer, reader]);
        world.settle(&mut said, 8);
        world.end();
    });
}

/// A call of the user's own takes an urgent byte while another thread reads and registers anew. Bytes follow behind the
/// urgent one.
#[test]
fn bytes_behind_an_urgent_byte_that_was_taken_are_told_after_a_level() {
    explore(|| {
        let world = world_with_a_level(Kind::UnixStream);
        world.kernel().deliver(0, 1);
        world.kernel().change(0, R, |held| (held + 1) | URGENT);
        let taker = spawn(&world, |world| {
            world.sources[0].readiness.expect_own_read();
            world.kernel().take_urgent(0);
        });
        let reader = spawn(&world, |world| {
            read(world, Kind::UnixStream, 8);
            world.register(0, 2, R);
        });
        let mut said = world.polls(2, 8);
        join([taker, reader]);
        world.settle(&mut said, 8);
        world.end();
    });
}

#[test]
fn a_registration_for_writing_ends_the_level() {
    for kind in [Kind::Stream, Kind::UnixStream] {
        explore(move || {
            let world = world_with_a_level(kind);
            world.register(0, 4, W);
            world.kernel().deliver(0, 2);
            assert_eq!(world.polls(1, 8), [(3, R), (4, W)]);
            assert_eq!(read(&world, kind, 1), 1);
            world.register(0, 2, R);
            assert_eq!(world.polls(1, 8), [(2, R)], "lost");
            world.end();
        });
    }
}

#[test]
fn what_nobody_waits_for_wakes_once() {
    for kind in KINDS {
        explore(move || {
            let world = world_with_a_level(kind);
            world.kernel().deliver(0, 2);
            assert_eq!(world.polls(1, 8), [(3, R)]);
            let reaped: Vec<usize> = (0..3).map(|_| world.poll(8).1).collect();
            assert_eq!(reaped, [1, 0, 0], "the poller is woken again and again");
            world.register(0, 2, R);
            assert_eq!(world.polls(1, 8), [(2, R)]);
            world.end();
        });
    }
}

#[test]
fn the_urgent_byte_alone_wakes_no_more_than_twice() {
    for kind in [Kind::Stream, Kind::UnixStream] {
        explore(move || {
            let world = world_with_a_level(kind);
            world.kernel().change(0, R, |held| held | URGENT);
            let reaped: Vec<usize> = (0..4).map(|_| world.poll(8).1).collect();
            assert_eq!(reaped, [1, 1, 0, 0], "the poller is woken again and again");
            world.kernel().deliver(0, 1);
            assert_eq!(world.polls(1, 8), [(3, R)]);
            world.end();
        });
    }
}

/// Urgent data came, and was taken, before any read filled its buffer. Its place counts as readable, and no read gives
/// anything.
#[test]
fn the_place_of_an_urgent_byte_does_not_wake_again_and_again() {
    for kind in [Kind::UnixStream, Kind::Stream] {
        explore(move || {
            let world = World::on(true, kind, &[0]);
            world.register(0, 1, R);
            world.kernel().change(0, R, |held| (held + 1) | URGENT);
            assert_eq!(world.polls(1, 8), [(1, R)]);
            world.kernel().take_urgent(0);
            assert_eq!(read(&world, Kind::UnixStream, 1), 1);
            world.register(0, 2, R);
            assert_eq!(world.kernel().held(0), PLACE);
            let reaped: Vec<usize> = (0..3).map(|_| world.poll(8).1).collect();
            assert_eq!(reaped, [1, 0, 0], "the poller is woken again and again");
            world.kernel().deliver(0, 1);
            assert_eq!(world.polls(1, 8), [(2, R)]);
            assert_ne!(world.kernel().held(0) & BYTES, 0);
            world.end();
        });
    }
}
