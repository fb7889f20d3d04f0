//! The port: wakes, closing, pumps, deferred closes, and what outlives its `Poll`.

use super::*;

/// A stream is dropped with a send in flight that never ends: a minute later it is cancelled, also if nobody did anything
/// but wait all the time.
fn a_dropped_stream_is_given_up() {
    explore(|| {
        let (mut world, stream, socket) = a_send_in_flight();
        let registrator = world.registrator();
        let other = thread::spawn(move || {
            drop(stream);
            ffi::let_time_pass();
            ffi::wait_until_closed(socket);
            registrator.wake(7).unwrap();
        });
        world.wait_for((7, WAKE));
        join(other);
        world.settle();
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.end::<()>([]);
    });
}

/// The same after the end of the `Poll`, which leaves the send to the reaper.
fn a_reaper_gives_up() {
    explore(|| {
        let (world, stream, socket) = a_send_in_flight();
        let other = thread::spawn(move || {
            drop(stream);
            ffi::let_time_pass();
            ffi::wait_until_closed(socket);
        });
        drop(world);
        join(other);
    });
}

/// The same where nobody polls: a read of another stream takes packets, and gives up what is overdue.
fn a_pump_gives_up() {
    explore(|| {
        let (mut world, sending, socket) = a_send_in_flight();
        let (other, _) = stream(LENT, 0);
        world.register(&other, 9, R);
        drop(sending);
        ffi::pass(Duration::from_secs(61));
        assert_eq!(read(&other, 1), b"");
        assert!(!ffi::is_open(socket), "open: nobody gave up");
        world.settle();
        world.end([other]);
    });
}

/// The `Poll` is dropped while a thread registers (and so starts a receive) and bytes come.
fn the_poll_is_dropped_with_a_receive(registered: bool, reads: bool) {
    explore(move || {
        let world = World::new();
        let (stream, socket) = stream(LENT, 0);
        if registered {
            world.register(&stream, 1, R);
        }
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            // It may come too late: then it is closed, or starts nothing.
            if !registrator.is_closed() {
                mine.register(&registrator, 2, R).unwrap();
            }
            if reads {
                return read(&mine, 1);
            }
            Vec::new()
        });
        drop(world);
        let mut bytes = join(other);
        join(peer);
        if reads {
            // The reaper may have the packet right now; dropping waits for nothing.
            bytes.extend(read_rest(&stream));
        }
        assert!(bytes.is_empty() || bytes == b"a", "bytes: {bytes:?}");
        drop(stream);
    });
}

/// The `Poll` is dropped while two threads register a source that is new: a receive that one of them starts is cancelled,
/// although the stream lives on.
fn the_poll_is_dropped_while_two_threads_register() {
    explore(|| {
        let world = World::new();
        let (stream, _) = stream(LENT, 0);
        let registrator = world.registrator();
        let threads = [1, 2].map(|token| {
            let (mine, registrator) = (Arc::clone(&stream), world.registrator());
            thread::spawn(move || {
                if !registrator.is_closed() {
                    mine.register(&registrator, token, R).unwrap();
                }
            })
        });
        drop(world);
        for thread in threads {
            join(thread);
        }
        // The reaper takes the packets in its own time.
        while registrator.lent_bytes() > 0 {
            thread::yield_now();
        }
        drop(stream);
    });
}

/// The `Poll` is dropped before its stream: its receive is cancelled, and gives its memory back.
fn the_end_of_the_poll_cancels_a_receive() {
    explore(|| {
        let world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let registrator = world.registrator();
        drop(world);
        assert_eq!(registrator.lent_bytes(), 0, "lent: it was not cancelled");
        drop(stream);
    });
}

/// A poll that does not wait, and has room for one event, looks behind a packet that makes none.
fn a_glance_behind_a_packet() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 1);
        world.register(&stream, 1, W);
        stream.disarm(&world.registrator, W).unwrap();
        world.registrator.wake(7).unwrap();
        let mut events = Events::with_capacity(1);
        let count = world.selector.select(&mut events, Some(Duration::ZERO));
        assert_eq!(count.unwrap(), 1, "missed: the wake behind a note");
        world.settle();
        world.end([stream]);
    });
}

/// A stream, and then its `Poll`, are dropped while its receive is cancelled or ends.
fn all_is_dropped_with_a_receive() {
    explore(|| {
        let world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let dropper = thread::spawn(move || drop(stream));
        drop(world);
        join(dropper);
        join(peer);
    });
}

/// A stream and its `Poll` are dropped while its send ends: all bytes go out, by whoever is left.
fn all_is_dropped_with_a_send() {
    explore_within(PREEMPTIONS, || {
        let (world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || {
            ffi::make_room(socket, 1);
            ffi::make_room(socket, 1);
        });
        let dropper = thread::spawn(move || drop(stream));
        drop(world);
        join(dropper);
        join(peer);
        ffi::wait_until_closed(socket);
        assert_eq!(ffi::sent(socket), b"ab", "sent: not all");
    });
}

/// The `Poll` is dropped while a send ends, and a thread that writes takes its packets.
/// There is room for all that it may write, or the deferred close would wait for its time limit.
fn the_poll_is_dropped_with_a_send(pieces: &'static [usize]) {
    explore_within(PREEMPTIONS, move || {
        let (world, stream, socket) = a_send_in_flight();
        let peer = thread::spawn(move || {
            for &piece in pieces {
                ffi::make_room(socket, piece);
            }
        });
        let writer = thread::spawn(move || {
            let result = stream.write(b"c");
            assert!(result.is_ok() || is_would_block(&result), "{result:?}");
        });
        drop(world);
        join(writer);
        join(peer);
    });
}

/// The same with two threads that write: each may take packets when there is nothing left but a nudge for the reaper.
fn the_poll_is_dropped_with_two_writers() {
    explore_within(2, || {
        let (world, stream, socket) = a_send_in_flight();
        let writers = [(); 2].map(|()| {
            let mine = Arc::clone(&stream);
            thread::spawn(move || {
                let result = mine.write(b"c");
                assert!(result.is_ok() || is_would_block(&result), "{result:?}");
            })
        });
        drop(world);
        ffi::make_room(socket, 4);
        for writer in writers {
            join(writer);
        }
        drop(stream);
    });
}

/// A blocked poll, and a close whose notice a read may take: the poll ends.
fn a_close_comes_beside_a_pump() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 9, R);
        let registrator = world.registrator();
        let closer = thread::spawn(move || registrator.close_loop().unwrap());
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || {
            read(&mine, 1);
        });
        while world.poll_or_closed().is_some() {}
        join(closer);
        join(reader);
        world.end([stream]);
    });
}

/// A blocked poll, a wake and a close: an accepted wake comes, and the poll ends.
fn a_wake_races_the_close() {
    explore(|| {
        let mut world = World::new();
        let registrator = world.registrator();
        let waker = thread::spawn(move || registrator.wake(1).is_ok());
        let registrator = world.registrator();
        let closer = thread::spawn(move || registrator.close_loop().unwrap());
        while world.poll_or_closed().is_some() {}
        let accepted = join(waker);
        join(closer);
        assert_eq!(
            world.said.contains(&(1, WAKE)),
            accepted,
            "an accepted wake was lost"
        );
        world.settle();
        world.end::<()>([]);
    });
}

/// Two wakes with two tokens, and one again after it came, while reads take packets.
fn wakes_come_beside_a_pump() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 9, R);
        let registrator = world.registrator();
        let waker = thread::spawn(move || {
            registrator.wake(1).unwrap();
            registrator.wake(2).unwrap();
        });
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || {
            read(&mine, 1);
        });
        world.wait_for((1, WAKE));
        world.wait_for((2, WAKE));
        join(waker);
        join(reader);
        world.said.clear();
        world.registrator.wake(1).unwrap();
        world.wait_for((1, WAKE));
        world.end([stream]);
    });
}

/// A poll waits while a thread registers what is there already, and registers again after the event.
fn a_note_is_made_beside_a_wait() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 1);
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || mine.register(&registrator, 1, W).unwrap());
        world.wait_for((1, W));
        world.register(&stream, 2, W);
        world.wait_for((2, W));
        join(other);
        world.settle_silently();
        world.end([stream]);
    });
}

/// A loop leaves a byte unread and registers again, so there is a note each time. A packet on the port comes all the same.
fn notes_are_made_all_the_time() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        ffi::deliver(socket, b"a");
        world.register(&stream, 1, R);
        world.wait_for((1, R));
        world.registrator.wake(9).unwrap();
        for token in 2..8 {
            world.register(&stream, token, R);
            world.poll(None);
        }
        assert!(world.said.contains(&(9, WAKE)), "starved: the wake");
        assert_eq!(read_rest(&stream), b"a", "bytes");
        world.settle();
        assert!(world.said.contains(&(7, R)), "lost");
        world.end([stream]);
    });
}

/// A poll that does not wait sees what was posted before, also what a pump has in its hands.
fn a_glance_beside_a_pump() {
    explore(|| {
        let mut world = World::new();
        let (stream_a, socket) = stream(LENT, 0);
        let (other, _) = stream(LENT, 0);
        world.register(&stream_a, 1, R);
        world.register(&other, 9, R);
        ffi::deliver(socket, b"a");
        world.wait_for((1, R));
        let mine = Arc::clone(&other);
        let reader = thread::spawn(move || {
            read(&mine, 1);
        });
        world.registrator.wake(7).unwrap();
        world.register(&stream_a, 2, R);
        let said = world.glance();
        assert!(said.contains(&(7, WAKE)), "missed: the wake");
        assert!(said.contains(&(2, R)), "missed: the note");
        join(reader);
        world.settle();
        world.end([stream_a, other]);
    });
}

/// A loop to which single packets have come for so long that a wait asks for one. No other thread runs yet, so this adds
/// no interleavings.
fn a_loop_that_asks_for_one() -> World {
    let mut world = World::new();
    for token in 100..116 {
        world.registrator.wake(token).unwrap();
        world.wait_for((token, WAKE));
    }
    world
}

/// A wait that asks for one packet leaves the others, and what is kept, to the next waits: bytes arrive, another thread
/// wakes, and the read of a third takes packets and posts them again.
fn waits_for_one_leave_nothing() {
    explore(|| {
        let mut world = a_loop_that_asks_for_one();
        let (first, socket) = stream(LENT, 0);
        let (second, _) = stream(LENT, 0);
        world.register(&first, 1, R);
        world.register(&second, 2, R);
        let registrator = world.registrator();
        let peer = thread::spawn(move || {
            ffi::deliver(socket, b"a");
            registrator.wake(7).unwrap();
        });
        let mine = Arc::clone(&second);
        let reader = thread::spawn(move || assert_eq!(read(&mine, 1), b""));
        world.wait_for((1, R));
        world.wait_for((7, WAKE));
        join(peer);
        join(reader);
        assert_eq!(read(&first, 1), b"a");
        world.settle();
        world.end([first, second]);
    });
}

/// A poll that does not wait may be the only one: it asks for all that is there, whatever the waits before it asked for.
fn a_glance_asks_for_all() {
    explore(|| {
        let mut world = a_loop_that_asks_for_one();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"a");
        world.registrator.wake(7).unwrap();
        let said = world.glance();
        assert_eq!(said, [(1, R), (7, WAKE)], "missed: one of two packets");
        world.settle();
        world.end([stream]);
    });
}

#[test]
fn a_dropped_stream_whose_send_never_ends_is_given_up() {
    a_dropped_stream_is_given_up();
}

#[test]
fn a_reaper_gives_up_a_send_that_never_ends() {
    a_reaper_gives_up();
}

#[test]
fn a_dropped_poll_waits_for_a_receive() {
    the_poll_is_dropped_with_a_receive(true, true);
}

#[test]
fn a_dropped_poll_starts_no_receive() {
    the_poll_is_dropped_with_a_receive(false, false);
}

#[test]
fn a_stream_that_outlives_its_poll_reads_on() {
    the_poll_is_dropped_with_a_receive(false, true);
}

#[test]
fn a_glance_looks_behind_a_packet_without_an_event() {
    a_glance_behind_a_packet();
}

#[test]
fn a_dropped_poll_cancels_what_two_threads_start() {
    the_poll_is_dropped_while_two_threads_register();
}

#[test]
fn a_dropped_poll_cancels_a_receive() {
    the_end_of_the_poll_cancels_a_receive();
}

#[test]
fn all_dropped_with_a_receive_leaves_nothing() {
    all_is_dropped_with_a_receive();
}

#[test]
fn all_dropped_with_a_send_leaves_nothing() {
    all_is_dropped_with_a_send();
}

#[test]
fn a_dropped_poll_waits_for_a_send() {
    the_poll_is_dropped_with_a_send(&[3]);
}

#[test]
fn a_dropped_poll_waits_for_the_rest_of_a_send() {
    the_poll_is_dropped_with_a_send(&[1, 2]);
}

#[test]
fn a_dropped_stream_is_given_up_by_a_pump() {
    a_pump_gives_up();
}

#[test]
fn a_dropped_poll_waits_for_a_send_that_two_threads_watch() {
    the_poll_is_dropped_with_two_writers();
}

#[test]
fn a_close_beside_a_pump_ends_the_poll() {
    a_close_comes_beside_a_pump();
}

#[test]
fn a_wake_beside_a_close_comes_or_fails() {
    a_wake_races_the_close();
}

#[test]
fn wakes_beside_a_pump_come() {
    wakes_come_beside_a_pump();
}

#[test]
fn a_note_beside_a_wait_comes() {
    a_note_is_made_beside_a_wait();
}

#[test]
fn notes_do_not_starve_the_port() {
    notes_are_made_all_the_time();
}

#[test]
fn a_glance_beside_a_pump_misses_nothing() {
    a_glance_beside_a_pump();
}

#[test]
fn waits_that_ask_for_one_packet_leave_none() {
    waits_for_one_leave_nothing();
}

#[test]
fn a_glance_of_a_loop_that_asks_for_one_packet_sees_all() {
    a_glance_asks_for_all();
}
