//! Descriptors that somebody else owns, known by their numbers alone.

#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{drain, is_ours, Loop, R, RW, W};
use mio::unix::SourceFd;
use mio::Token;

/// Numbers are the whole process's, so these tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

/// Gives `stream` the number `number`, whatever had it.
fn renumber(stream: UnixStream, number: RawFd) -> UnixStream {
    let owned = OwnedFd::from(stream);
    if owned.as_raw_fd() == number {
        return owned.into();
    }
    // The lowest free number is the next: others are taken until it comes.
    let mut others = Vec::new();
    loop {
        let copy = owned.try_clone().unwrap();
        if copy.as_raw_fd() == number {
            return copy.into();
        }
        assert!(copy.as_raw_fd() < number, "the number is not free");
        others.push(copy);
    }
}

#[test]
fn reads_that_mio_does_not_see_leave_every_edge_an_event() {
    let _alone = alone();
    let mut looping = Loop::new();
    let (near, mut far) = pair();
    let mut source = SourceFd(&near.as_raw_fd());
    looping.register(&mut source, 1, RW);
    for _ in 0..100 {
        far.write_all(b"word").unwrap();
        looping.readable(1);
        assert_eq!(drain(&near).0, b"word");
    }
    // Also what comes before the last was read.
    far.write_all(b"unread").unwrap();
    looping.readable(1);
    drop(far);
    looping.until(1, "read-closed", |event| event.is_read_closed());
}

#[test]
fn a_registration_changes_and_ends() {
    let _alone = alone();
    let mut looping = Loop::new();
    let (near, mut far) = pair();
    far.write_all(b"unread").unwrap();
    let number = near.as_raw_fd();
    let registry = looping.registry();
    registry
        .register(&mut SourceFd(&number), Token(1), W)
        .unwrap();
    assert!(!looping.writable(1).is_readable());
    let registry = looping.registry();
    registry
        .reregister(&mut SourceFd(&number), Token(2), R)
        .unwrap();
    assert!(!looping.readable(2).is_writable());
    let registry = looping.registry();
    let twice = registry.register(&mut SourceFd(&number), Token(3), R);
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::AlreadyExists);
    registry.deregister(&mut SourceFd(&number)).unwrap();
    far.write_all(b"more").unwrap();
    assert_eq!(looping.rest().len(), 0);
    let registry = looping.registry();
    let gone = registry.deregister(&mut SourceFd(&number));
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    let gone = registry.reregister(&mut SourceFd(&number), Token(4), R);
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    registry
        .register(&mut SourceFd(&number), Token(5), R)
        .unwrap();
    looping.readable(5);
}

#[test]
fn a_number_that_was_closed_and_has_a_new_owner_is_registered_again() {
    let _alone = alone();
    let mut looping = Loop::new();
    let (near, _far) = pair();
    let number = near.as_raw_fd();
    let registry = looping.registry();
    registry
        .register(&mut SourceFd(&number), Token(1), RW)
        .unwrap();
    let (next, mut next_far) = pair();
    drop(near);
    let next = renumber(next, number);
    registry
        .register(&mut SourceFd(&number), Token(2), R)
        .unwrap();
    next_far.write_all(b"word").unwrap();
    looping.readable(2);
    assert_eq!(drain(&next).0, b"word");
    let rest = looping.rest();
    assert!(
        rest.iter().all(|event| event.token() == Token(2)),
        "{rest:?}"
    );
    looping
        .registry()
        .deregister(&mut SourceFd(&number))
        .unwrap();
    next_far.write_all(b"word").unwrap();
    assert_eq!(looping.rest().len(), 0);
}

// The system keeps the registration of a number that was closed as long as a duplicate of it is open.
#[test]
fn a_number_whose_old_owner_lives_on_as_a_duplicate_is_registered_again() {
    let _alone = alone();
    let mut looping = Loop::new();
    let (near, mut far) = pair();
    let number = near.as_raw_fd();
    let registry = looping.registry();
    registry
        .register(&mut SourceFd(&number), Token(1), RW)
        .unwrap();
    let _duplicate = near.try_clone().unwrap();
    let (next, mut next_far) = pair();
    drop(near);
    let next = renumber(next, number);
    registry
        .register(&mut SourceFd(&number), Token(2), R)
        .unwrap();
    for _ in 0..10 {
        far.write_all(b"old").unwrap();
        next_far.write_all(b"new").unwrap();
        looping.readable(2);
        assert_eq!(drain(&next).0, b"new");
    }
    if is_ours() {
        // Of the old one nothing is told any more. The real mio tells of it as long as the duplicate lives.
        far.write_all(b"old").unwrap();
        let rest = looping.rest();
        assert!(
            rest.iter().all(|event| event.token() == Token(2)),
            "{rest:?}"
        );
    }
}

#[test]
fn a_number_and_its_duplicate_are_two_sources() {
    let _alone = alone();
    let mut looping = Loop::new();
    let (near, mut far) = pair();
    let duplicate = near.try_clone().unwrap();
    let registry = looping.registry();
    let numbers = [near.as_raw_fd(), duplicate.as_raw_fd()];
    for (token, number) in numbers.iter().enumerate() {
        registry
            .register(&mut SourceFd(number), Token(token), R)
            .unwrap();
    }
    far.write_all(b"word").unwrap();
    looping.readable(0);
    drain(&near);
    far.write_all(b"word").unwrap();
    looping.readable(1);
    looping
        .registry()
        .deregister(&mut SourceFd(&numbers[0]))
        .unwrap();
    drop(near);
    far.write_all(b"word").unwrap();
    looping.readable(1);
    looping
        .registry()
        .deregister(&mut SourceFd(&numbers[1]))
        .unwrap();
    far.write_all(b"word").unwrap();
    assert_eq!(looping.rest().len(), 0);
}

#[test]
fn one_number_may_be_registered_with_two_polls() {
    let _alone = alone();
    let (near, mut far) = pair();
    let number = near.as_raw_fd();
    let mut loops = [Loop::new(), Loop::new()];
    for looping in &loops {
        let registry = looping.registry();
        registry
            .register(&mut SourceFd(&number), Token(1), R)
            .unwrap();
    }
    far.write_all(b"word").unwrap();
    for looping in &mut loops {
        looping.readable(1);
    }
}

#[test]
fn numbers_that_are_no_descriptors_are_errors() {
    let _alone = alone();
    let looping = Loop::new();
    let registry = looping.registry();
    for number in [-1, RawFd::MIN, RawFd::MAX, 1 << 20] {
        let mut source = SourceFd(&number);
        registry.register(&mut source, Token(1), R).unwrap_err();
        registry.reregister(&mut source, Token(1), R).unwrap_err();
        registry.deregister(&mut source).unwrap_err();
    }
}

#[test]
fn a_poll_is_dropped_while_numbers_are_registered_that_are_closed() {
    let _alone = alone();
    for _ in 0..10 {
        let looping = Loop::new();
        let (near, far) = pair();
        let (open, _peer) = pair();
        for stream in [&near, &far, &open] {
            let registry = looping.registry();
            registry
                .register(&mut SourceFd(&stream.as_raw_fd()), Token(1), RW)
                .unwrap();
        }
        drop(near);
        let number = far.into_raw_fd();
        // SAFETY: it is ours.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        drop(looping);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_plain_file_is_an_error() {
    let _alone = alone();
    let looping = Loop::new();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let mut source = SourceFd(&file.as_raw_fd());
    let registry = looping.registry();
    registry.register(&mut source, Token(1), R).unwrap_err();
    registry.deregister(&mut source).unwrap_err();
}

#[cfg(target_os = "linux")]
#[test]
fn a_poll_is_a_source_of_another_poll() {
    let _alone = alone();
    let (near, mut far) = pair();
    let mut outer = Loop::new();
    let mut inner = Loop::new();
    inner
        .registry()
        .register(&mut SourceFd(&near.as_raw_fd()), Token(1), R)
        .unwrap();
    outer
        .registry()
        .register(&mut SourceFd(&inner.poll.as_raw_fd()), Token(2), R)
        .unwrap();
    far.write_all(b"word").unwrap();
    outer.readable(2);
    inner.readable(1);
}
