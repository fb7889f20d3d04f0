//! Threads read, write and register while the poller reaps and handles edges.

use super::kernel::FULL;
use super::{expect_second_event, explore, join, spawn, Said, World, R, W};
use crate::unix::readiness::Kind;

/// An edge is queued; a thread takes the bytes and registers anew; more bytes may come.
fn a_reader_overtakes_the_poller(rooms: &'static [u32], more: bool) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 2);
        let mut threads = vec![spawn(&world, move |world| {
            for &room in rooms {
                drop(world.read(0, room));
            }
            world.register(0, 2, R);
        })];
        if more {
            threads.push(spawn(&world, |world| world.kernel().deliver(0, 1)));
        }
        expect_second_event(&world, Said::new(), threads, 2, R);
    });
}

/// The event has come, nothing is armed, and the kernel owes; bytes come while a thread reads and registers.
fn bytes_come_while_a_reader_registers(reads: usize, arrivals: usize) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        assert_eq!(world.read(0, 8).unwrap(), 1);
        let reader = spawn(&world, move |world| {
            for _ in 0..reads {
                drop(world.read(0, 8));
            }
            world.register(0, 2, R);
        });
        let peer = spawn(&world, move |world| {
            for _ in 0..arrivals {
                world.kernel().deliver(0, 1);
            }
        });
        expect_second_event(&world, said, [reader, peer], 2, R);
    });
}

/// Nothing is owed when bytes come; a thread takes them and registers, which asks anew, before their edge is handled.
fn a_reader_asks_anew_before_the_edge_is_handled(more: bool) {
    explore(move || {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        assert_eq!(world.read(0, 1).unwrap(), 1);
        world.kernel().deliver(0, 1);
        let mut threads = vec![spawn(&world, |world| {
            drop(world.read(0, 1));
            world.register(0, 2, R);
        })];
        if more {
            threads.push(spawn(&world, |world| world.kernel().deliver(0, 1)));
        }
        expect_second_event(&world, said, threads, 2, R);
    });
}

/// Bytes and then the end of the stream, read short, and registered anew.
#[test]
fn the_end_of_the_stream_is_told_after_a_short_read() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        world.kernel().deliver(0, 1);
        let peer = spawn(&world, |world| world.kernel().finish(0));
        let said = world.polls(1, 8);
        assert_eq!(said, [(1, R)]);
        let reader = spawn(&world, |world| {
            assert_eq!(world.read(0, 8).unwrap(), 1);
            world.register(0, 2, R);
        });
        expect_second_event(&world, said, [peer, reader], 1, R);
    });
}

/// The same as with bytes, for room: a writer fills the stream behind the poller's back.
#[test]
fn a_writer_that_fills_the_stream_overtakes_the_poller() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, W);
        let writer = spawn(&world, |world| {
            world.fill(0);
            world.register(0, 2, W);
        });
        let peer = spawn(&world, |world| world.kernel().make_room(0));
        expect_second_event(&world, Said::new(), [writer, peer], 2, W);
    });
}

/// Both directions under two tokens, and room for one event.
pub(super) fn both_directions_with_room_for_one(kind: Kind) {
    explore(move || {
        let world = World::of(kind, &[FULL]);
        world.register(0, 1, R);
        let writer = spawn(&world, |world| world.register(0, 2, W));
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().make_room(0);
        });
        let mut said = world.polls(2, 1);
        join([writer, peer]);
        world.settle(&mut said, 1);
        said.sort_by_key(|(token, _)| *token);
        assert_eq!(said, [(1, R), (2, W)]);
        world.end();
    });
}

/// Bytes come again and again after one registration.
#[test]
fn one_event_comes_of_many_arrivals() {
    explore(|| {
        let world = World::new(&[0]);
        world.register(0, 1, R);
        let peer = spawn(&world, |world| {
            world.kernel().deliver(0, 1);
            world.kernel().deliver(0, 1);
        });
        let mut said = world.polls(2, 8);
        join([peer]);
        said.extend(world.polls(1, 8));
        assert!(!said.is_empty(), "lost: nothing came");
        world.kernel().deliver(0, 1);
        world.settle(&mut said, 8);
        world.end();
    });
}

#[test]
fn both_directions_come_once_with_room_for_one() {
    both_directions_with_room_for_one(Kind::Stream);
}

#[test]
fn a_reader_that_reads_short_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[3], true);
}

#[test]
fn a_reader_that_fills_its_buffer_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[2], true);
}

#[test]
fn a_reader_that_reads_until_it_would_block_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[2, 2], true);
}

#[test]
fn a_reader_that_leaves_bytes_overtakes_the_poller() {
    a_reader_overtakes_the_poller(&[1], true);
}

#[test]
fn a_reader_that_asks_anew_overtakes_the_poller() {
    a_reader_asks_anew_before_the_edge_is_handled(true);
}

#[test]
fn bytes_that_a_reader_took_before_it_asked_anew_make_no_event() {
    a_reader_asks_anew_before_the_edge_is_handled(false);
}

#[test]
fn bytes_come_while_a_reader_finds_nothing_and_registers() {
    bytes_come_while_a_reader_registers(1, 2);
}

#[test]
fn bytes_come_while_nobody_waits_and_a_thread_registers() {
    bytes_come_while_a_reader_registers(0, 3);
}
