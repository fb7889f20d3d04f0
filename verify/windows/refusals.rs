//! Calls that the system refuses: nothing is lost, and what failed is told once.

use super::*;
use crate::windows::ffi::{refuse, Refused};

/// A packet cannot be posted while a reader takes packets: the next poll tells what it was to tell.
fn a_note_is_refused() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        world.register(&stream, 1, R);
        ffi::deliver(socket, b"ab");
        world.registrator.wake(7).unwrap();
        refuse(Refused::Post, 1);
        let mine = Arc::clone(&stream);
        let reader = thread::spawn(move || read(&mine, 1));
        world.glance();
        let mut bytes = join(reader);
        // Two kept packets may be two polls: what the system has comes after them.
        world.glance();
        world.glance();
        assert!(world.said.contains(&(1, R)), "lost: the event");
        assert!(world.said.contains(&(7, WAKE)), "lost: the wake");
        bytes.extend(read_rest(&stream));
        assert_eq!(bytes, b"ab", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// A reader may take a wake off the port and find that it cannot be posted again, while a poll waits. The poll is not told
/// of that, but it is of the next wake with this token.
fn a_wake_is_refused_to_a_reader() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 0);
        world.register(&stream, 1, R);
        world.registrator.wake(7).unwrap();
        refuse(Refused::Post, 1);
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            assert_eq!(read(&mine, 1), b"");
            while registrator.wake(7).is_err() {}
        });
        world.wait_for((7, WAKE));
        join(other);
        // The other one of the two comes now, if they have not merged.
        world.said.clear();
        world.settle();
        world.end([stream]);
    });
}

/// A packet is refused, that of a registration if a poll waits at that moment: the caller is told, nothing is armed, and
/// nothing holds the stream.
fn a_registration_is_refused() {
    explore(|| {
        let mut world = World::new();
        let (stream, _) = stream(LENT, 1);
        refuse(Refused::Post, 1);
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            let told = mine.register(&registrator, 1, W).is_err();
            while registrator.wake(7).is_err() {}
            told
        });
        world.wait_for((7, WAKE));
        let told = join(other);
        world.settle();
        assert_eq!(world.said.contains(&(1, W)), !told, "lost, or not refused");
        drop(stream);
        assert_eq!(ffi::operations(), 0, "left over: a stream that was dropped");
        world.end::<()>([]);
    });
}

/// Two threads wake with one token, and one of the packets is refused: whoever was told that it went well is right.
fn a_wake_is_refused() {
    explore(|| {
        let mut world = World::new();
        refuse(Refused::Post, 1);
        let wakers = [(); 2].map(|()| {
            let registrator = world.registrator();
            thread::spawn(move || registrator.wake(1).is_ok())
        });
        let accepted = wakers.map(join);
        assert!(accepted.contains(&true), "one packet was refused, not two");
        world.wait_for((1, WAKE));
        world.settle();
        world.end::<()>([]);
    });
}

/// Two threads wake with one token, and one of the packets is refused, while a thread whose wake has come already still has to
/// say that it was posted: it must not say so of another's.
fn a_wake_is_refused_after_another_came() {
    explore(|| {
        let mut world = World::new();
        let [first, second] = [world.registrator(), world.registrator()];
        let earlier = thread::spawn(move || first.wake(1).unwrap());
        world.wait_for((1, WAKE));
        world.said.clear();
        refuse(Refused::Post, 1);
        let other = thread::spawn(move || second.wake(1).is_ok());
        let accepted = [world.registrator.wake(1).is_ok(), join(other)];
        join(earlier);
        assert!(accepted.contains(&true), "one packet was refused, not two");
        world.wait_for((1, WAKE));
        world.settle();
        world.end::<()>([]);
    });
}

/// Two threads close, and one nudge is refused: if one of them is told that the loop is closed, it is, and a poll ends.
fn a_close_is_refused() {
    explore(|| {
        let mut world = World::new();
        refuse(Refused::Post, 1);
        let closers = [(); 2].map(|()| {
            let registrator = world.registrator();
            thread::spawn(move || match registrator.close_loop() {
                Ok(()) => true,
                Err(error) => error.raw_os_error().is_none(),
            })
        });
        let told = closers.map(join);
        assert!(told.contains(&true), "one packet was refused, not two");
        assert!(world.registrator.is_closed(), "told that it is closed");
        while world.poll_or_closed().is_some() {}
        world.end::<()>([]);
    });
}

/// A close is refused: nobody has seen the loop closed.
fn a_close_fails_unseen() {
    explore(|| {
        let world = World::new();
        refuse(Refused::Post, 1);
        let registrator = world.registrator();
        let closer = thread::spawn(move || assert!(registrator.close_loop().is_err()));
        assert!(!world.registrator.is_closed(), "seen as closed");
        join(closer);
        world.end::<()>([]);
    });
}

/// A receive, with memory and without, cannot be started while bytes come: that is told once, and nothing is lost.
fn a_receive_is_refused() {
    explore(|| {
        let mut world = World::new();
        let (stream, socket) = stream(LENT, 0);
        refuse(Refused::Start, 2);
        let peer = thread::spawn(move || ffi::deliver(socket, b"a"));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || mine.register(&registrator, 1, R).unwrap());
        world.wait_for((1, R));
        join(other);
        let failure = stream.read(&mut [0]);
        assert!(
            failure.is_err() && !is_would_block(&failure),
            "told: {failure:?}"
        );
        assert_eq!(world.registrator.lent_bytes(), 0, "lent");
        world.register(&stream, 2, R);
        world.wait_for((2, R));
        join(peer);
        assert_eq!(read_rest(&stream), b"a", "bytes");
        world.settle();
        world.end([stream]);
    });
}

/// The rest of a send cannot be started: the writer is told, and of a dropped stream nothing is left.
fn the_rest_of_a_send_is_refused(drops: bool) {
    explore(move || {
        let (mut world, stream, socket) = a_send_in_flight();
        refuse(Refused::Start, 1);
        let peer = thread::spawn(move || ffi::make_room(socket, 1));
        let (mine, registrator) = (Arc::clone(&stream), world.registrator());
        let other = thread::spawn(move || {
            if !drops {
                mine.register(&registrator, 2, W).unwrap();
            }
            drop(mine);
        });
        if drops {
            drop(stream);
            world.glance();
            join(other);
            join(peer);
            world.settle();
            assert!(!ffi::is_open(socket), "open: nothing is in flight");
            assert_eq!(world.registrator.lent_bytes(), 0, "lent");
            world.end::<()>([]);
        } else {
            world.wait_for((2, W));
            join(other);
            join(peer);
            let failure = stream.write(b"c");
            assert!(
                failure.is_err() && !is_would_block(&failure),
                "told: {failure:?}"
            );
            world.settle();
            world.end([stream]);
        }
        assert_eq!(ffi::sent(socket), b"a", "sent");
    });
}

#[test]
fn a_refused_note_is_kept() {
    a_note_is_refused();
}

#[test]
fn a_refused_registration_leaves_nothing() {
    a_registration_is_refused();
}

#[test]
fn a_refused_wake_is_an_error_and_the_next_one_comes() {
    a_wake_is_refused();
}

#[test]
fn a_refused_wake_is_no_other_threads() {
    a_wake_is_refused_after_another_came();
}

#[test]
fn a_wake_that_is_kept_beside_a_poll_keeps_no_later_one_from_it() {
    a_wake_is_refused_to_a_reader();
}

#[test]
fn a_refused_close_is_an_error_and_the_next_one_closes() {
    a_close_is_refused();
}

#[test]
fn a_refused_close_is_not_seen() {
    a_close_fails_unseen();
}

#[test]
fn a_refused_receive_is_told_once() {
    a_receive_is_refused();
}

#[test]
fn a_refused_rest_of_a_send_is_told() {
    the_rest_of_a_send_is_refused(false);
}

#[test]
fn a_refused_rest_of_a_dropped_send_leaves_nothing() {
    the_rest_of_a_send_is_refused(true);
}
