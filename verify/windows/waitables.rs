//! Handles of the user's that are waited for: the callback against a disarming, a drop, a close and the end of the `Poll`,
//! and signals that were taken and are kept.

use super::*;
use crate::windows::ffi::{refuse, Refused, HANDLE};
use crate::windows::Waitable;

/// A source for an object.
struct Awaited {
    waitable: Waitable,
    object: HANDLE,
}

type Source = Arc<Careful<Awaited>>;

/// One whose signals are taken, if they count.
fn awaited(counts: bool) -> Source {
    let object = ffi::open_object(counts);
    Arc::new(Careful::new(Awaited {
        waitable: Waitable::new(),
        object,
    }))
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            ffi::close_object(self.object);
        }
    }
}

impl Registered for Source {
    fn register(&self, with: &Registrator, token: Token, _: Interests) -> io::Result<()> {
        self.waitable.register(with, token, self.object)
    }

    fn disarm(&self, with: &Registrator, _: Interests) -> io::Result<()> {
        self.waitable.disarm(with)
    }
}

/// Signals the object, and the pool's thread calls what is due, until the model says that no more will come.
fn signal_and_serve(object: HANDLE, times: usize) -> JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..times {
            ffi::signal_object(object);
        }
        ffi::serve_waits();
    })
}

/// Each signal is one event, whichever thread takes its packet.
fn each_signal_is_told(times: usize) {
    explore_within(2, move || {
        let mut world = World::new();
        let source = awaited(true);
        let (other, _) = stream(LENT, 0);
        world.register(&other, 9, R);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, times);
        let mine = Arc::clone(&other);
        // Takes packets, and has no batch for events.
        let pumps = thread::spawn(move || drop(read(&mine, 1)));
        for token in 1..=times {
            world.wait_for((token, R));
            world.register(&source, token + 1, R);
        }
        join(pumps);
        stop(pool);
        world.settle_silently();
        drop(source);
        world.settle_silently();
        world.end([other]);
    });
}

/// An object that stays signalled is told to each registration.
fn a_lasting_signal_is_told_each_time() {
    explore(|| {
        let mut world = World::new();
        let source = awaited(false);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, 1);
        for token in 1..3 {
            world.wait_for((token, R));
            world.register(&source, token + 1, R);
        }
        world.wait_for((3, R));
        stop(pool);
        world.settle_silently();
        world.end([source]);
    });
}

/// A registration is taken back while the signal comes. It was taken and is told to the next registration, or it is left
/// to the user.
fn a_source_is_disarmed(registers_at_once: bool) {
    explore(move || {
        let mut world = World::new();
        let source = awaited(true);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, 1);
        let done = Arc::new(AtomicBool::new(false));
        let (mine, registrator) = (Arc::clone(&source), world.registrator());
        let told = Arc::clone(&done);
        let other = thread::spawn(move || {
            mine.disarm(&registrator, R).unwrap();
            told.store(true, Ordering::SeqCst);
            if registers_at_once {
                mine.register(&registrator, 2, R).unwrap();
            }
        });
        let mut first = false;
        for _ in 0..2 {
            let was_done = done.load(Ordering::SeqCst);
            let said = world.glance();
            let old = said.contains(&(1, R));
            assert!(!was_done || !old, "an event after: {said:?}");
            first |= old;
        }
        join(other);
        if !registers_at_once {
            stop(pool);
            world.settle_silently();
            if !first {
                world.register(&source, 2, R);
                assert_eq!(world.glance(), [(2, R)], "lost");
            }
        } else {
            let left = !first;
            if left {
                world.wait_for((2, R));
                // Nobody waits any more.
                ffi::signal_object(source.object);
            }
            stop(pool);
            let left = usize::from(left);
            assert_eq!(ffi::signals_of(source.object), left, "taken: unasked");
        }
        world.settle_silently();
        world.end([source]);
    });
}

/// Two signals come while a registration is taken back and another made: each is told, once, sooner or later.
fn two_signals_come_around_a_disarming() {
    explore_within(2, || {
        let mut world = World::new();
        let source = awaited(true);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, 2);
        let (mine, registrator) = (Arc::clone(&source), world.registrator());
        let other = thread::spawn(move || {
            mine.disarm(&registrator, R).unwrap();
            mine.register(&registrator, 2, R).unwrap();
        });
        world.glance();
        join(other);
        stop(pool);
        world.settle();
        let mut token = 3;
        while world.said.len() < 2 {
            world.register(&source, token, R);
            assert_eq!(world.glance(), [(token, R)], "lost");
            token += 1;
        }
        world.register(&source, token, R);
        world.settle_silently();
        assert_eq!(
            ffi::signals_of(source.object),
            0,
            "told: what was not taken"
        );
        world.end([source]);
    });
}

/// Once it is disarmed, nothing is taken any more.
fn a_later_signal_is_left_to_the_user() {
    explore(|| {
        let mut world = World::new();
        let source = awaited(true);
        world.register(&source, 1, R);
        source.disarm(&world.registrator, R).unwrap();
        let pool = signal_and_serve(source.object, 1);
        stop(pool);
        world.settle_silently();
        assert_eq!(ffi::signals_of(source.object), 1, "taken: unasked");
        world.end([source]);
    });
}

/// The same when the `Poll` is gone.
fn a_signal_without_a_poll_is_left_to_the_user() {
    explore(|| {
        let world = World::new();
        let source = awaited(true);
        world.register(&source, 1, R);
        drop(world);
        let pool = signal_and_serve(source.object, 1);
        stop(pool);
        assert_eq!(ffi::signals_of(source.object), 1, "taken: unasked");
        drop(source);
    });
}

/// The source is dropped, and perhaps its `Poll`, while the signal comes.
fn a_source_is_dropped_when_signalled(poll_too: bool) {
    explore(move || {
        let world = World::new();
        let source = awaited(false);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, 1);
        let Some(mut world) = drop_while_served(world, source, pool, poll_too) else {
            return;
        };
        world.settle_silently();
        world.end::<()>([]);
    });
}

/// The `Poll` is dropped while the signal comes and a thread registers. The source lives on.
fn the_poll_is_dropped(registered: bool) {
    explore(move || {
        let world = World::new();
        let source = awaited(true);
        if registered {
            world.register(&source, 1, R);
        }
        let pool = signal_and_serve(source.object, 1);
        let (mine, registrator) = (Arc::clone(&source), world.registrator());
        let other = thread::spawn(move || {
            if !registrator.is_closed() {
                mine.register(&registrator, 2, R).unwrap();
            }
        });
        drop(world);
        join(other);
        stop(pool);
        drop(source);
    });
}

/// The loop is closed while the signal comes: what was on the port is told, and then the loop ends.
fn the_loop_is_closed() {
    explore(|| {
        let mut world = World::new();
        let source = awaited(true);
        world.register(&source, 1, R);
        let pool = signal_and_serve(source.object, 1);
        let registrator = world.registrator();
        let closer = thread::spawn(move || registrator.close_loop().unwrap());
        while world.poll_or_closed().is_some() {}
        join(closer);
        stop(pool);
        world.end([source]);
    });
}

/// Two threads register it, and one of them takes that back.
fn two_threads_register() {
    explore_within(2, || {
        let mut world = World::new();
        let source = awaited(true);
        let pool = signal_and_serve(source.object, 1);
        let (mine, registrator) = (Arc::clone(&source), world.registrator());
        let other = thread::spawn(move || {
            mine.register(&registrator, 1, R).unwrap();
            mine.disarm(&registrator, R).unwrap();
        });
        world.register(&source, 2, R);
        join(other);
        world.glance();
        let told = !world.said.is_empty();
        stop(pool);
        world.settle();
        if !told && world.said.is_empty() {
            world.register(&source, 3, R);
            assert_eq!(world.glance(), [(3, R)], "lost");
        }
        assert_eq!(world.said.len(), 1, "twice: {:?}", world.said);
        world.end([source]);
    });
}

/// The system refuses the wait: the registration says so, and nothing is lost.
fn a_wait_is_refused() {
    explore(move || {
        let mut world = World::new();
        let source = awaited(true);
        refuse(Refused::Wait, 1);
        assert!(source.register(&world.registrator, 1, R).is_err(), "told");
        world.settle_silently();
        ffi::signal_object(source.object);
        world.register(&source, 2, R);
        assert_eq!(world.glance(), [(2, R)], "lost");
        world.settle_silently();
        world.end([source]);
    });
}

/// A packet is refused: the note for what was signalled before, if a poll waits at that moment. The registration says so, and
/// nothing is lost.
fn a_note_is_refused() {
    explore(|| {
        let mut world = World::new();
        let source = awaited(true);
        ffi::signal_object(source.object);
        refuse(Refused::Post, 1);
        let (mine, registrator) = (Arc::clone(&source), world.registrator());
        let other = thread::spawn(move || {
            let told = mine.register(&registrator, 1, R).is_err();
            while registrator.wake(7).is_err() {}
            told
        });
        world.wait_for((7, WAKE));
        if join(other) {
            world.settle();
            assert!(
                !world.said.contains(&(1, R)),
                "an event of what was refused"
            );
            world.register(&source, 2, R);
            assert_eq!(world.glance(), [(2, R)], "lost");
        } else {
            world.settle();
            assert!(world.said.contains(&(1, R)), "lost");
        }
        world.settle_silently();
        world.end([source]);
    });
}

/// The user's handle is closed, or the packet of the signal refused, when the wait is on.
fn nothing_else_is_needed() {
    explore(|| {
        let mut world = World::new();
        let object = ffi::open_object(true);
        let waitable = Careful::new(Waitable::new());
        waitable.register(&world.registrator, 1, object).unwrap();
        ffi::close_object(object);
        refuse(Refused::Post, 1);
        let pool = signal_and_serve(object, 1);
        stop(pool);
        assert_eq!(world.glance(), [(1, R)], "lost");
        let gone = waitable.register(&world.registrator, 2, object);
        assert!(gone.is_err(), "no handle any more");
        drop(waitable);
        world.settle_silently();
        world.end::<()>([]);
    });
}

#[test]
fn each_taken_signal_is_one_event() {
    each_signal_is_told(2);
}

#[test]
fn a_lasting_signal_is_an_event_for_each_registration() {
    a_lasting_signal_is_told_each_time();
}

#[test]
fn a_signal_taken_before_a_disarming_is_kept() {
    a_source_is_disarmed(false);
}

#[test]
fn a_signal_taken_before_a_disarming_goes_to_the_next_wait() {
    a_source_is_disarmed(true);
}

#[test]
fn two_signals_around_a_disarming_are_two_events() {
    two_signals_come_around_a_disarming();
}

#[test]
fn a_signal_after_a_disarming_is_left_alone() {
    a_later_signal_is_left_to_the_user();
}

#[test]
fn a_signal_after_the_end_of_the_poll_is_left_alone() {
    a_signal_without_a_poll_is_left_to_the_user();
}

#[test]
fn a_waitable_dropped_when_signalled_is_gone() {
    a_source_is_dropped_when_signalled(false);
}

#[test]
fn all_dropped_when_signalled_leaves_nothing() {
    a_source_is_dropped_when_signalled(true);
}

#[test]
fn a_dropped_poll_ends_the_wait_of_a_waitable() {
    the_poll_is_dropped(true);
}

#[test]
fn a_dropped_poll_starts_no_wait_of_a_waitable() {
    the_poll_is_dropped(false);
}

#[test]
fn a_closed_loop_ends_with_a_wait_on() {
    the_loop_is_closed();
}

#[test]
fn two_threads_register_a_waitable() {
    two_threads_register();
}

#[test]
fn a_wait_that_is_refused_is_told() {
    a_wait_is_refused();
}

#[test]
fn a_note_that_is_refused_is_told_and_the_signal_kept() {
    a_note_is_refused();
}

#[test]
fn a_wait_needs_no_handle_of_the_users() {
    nothing_else_is_needed();
}
