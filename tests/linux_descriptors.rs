//! Descriptors on Linux: close-on-exec, numbers that are used again, duplicates that live on, and what cannot be
//! watched.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;

use common::{
    await_bytes, expect_events, expect_no_events, pair, std_pair, watchdog, BOTH, READABLE,
};
use minimio::{Events, Poll, TcpListener, TcpStream, UdpSocket};

fn is_close_on_exec(descriptor: BorrowedFd<'_>) -> bool {
    // SAFETY: it reads a flag of a descriptor that is open while it is borrowed.
    let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
    assert_ne!(flags, -1);
    flags & libc::FD_CLOEXEC != 0
}

/// A duplicate whose number is the lowest free one from `lowest` on. Tests run at once in this process: each takes its
/// numbers from a range of its own, so that nobody else takes them.
fn duplicate_from(descriptor: BorrowedFd<'_>, lowest: RawFd) -> OwnedFd {
    // SAFETY: `descriptor` is open while it is borrowed.
    let number = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    assert_ne!(number, -1, "{}", std::io::Error::last_os_error());
    // SAFETY: the system has just made it, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A stream whose descriptor has exactly this number, and its peer.
fn pair_with_number(number: RawFd) -> (TcpStream, net::TcpStream) {
    let (near, far) = std_pair();
    let near = net::TcpStream::from(duplicate_from(near.as_fd(), number));
    assert_eq!(near.as_raw_fd(), number);
    (TcpStream::from_std(near).unwrap(), far)
}

/// The descriptors that a program inherits which this one starts.
fn inherited() -> String {
    let listing = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    assert!(listing.status.success());
    String::from_utf8(listing.stdout).unwrap()
}

// 4.7
#[test]
fn every_descriptor_that_is_seen_is_close_on_exec() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connected = TcpStream::connect(address).unwrap();
    let connecting = TcpStream::connect_nonblocking(address).unwrap();
    poll.registrator().register(&listener, 1, READABLE).unwrap();
    let accepted = loop {
        if let Ok((accepted, _)) = listener.accept() {
            break accepted;
        }
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for descriptor in [
        poll.as_fd(),
        listener.as_fd(),
        connected.as_fd(),
        connecting.as_fd(),
        accepted.as_fd(),
        socket.as_fd(),
    ] {
        assert!(is_close_on_exec(descriptor));
    }
}

// 4.7
#[test]
fn a_program_inherits_no_descriptor_of_a_poll() {
    let _watchdog = watchdog();
    let before = inherited();
    let poll = Poll::new().unwrap();
    let (stream, _peer) = pair();
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    poll.registrator().wake(2).unwrap();
    assert_eq!(inherited(), before);
}

// 2.7, 8
#[test]
fn a_descriptor_number_used_again_never_shows_the_old_token() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    for round in 0..100 {
        let (old, mut peer_of_old) = pair_with_number(400);
        peer_of_old.write_all(b"x").unwrap();
        await_bytes(&old, 1);
        poll.registrator().register(&old, 1_000, BOTH).unwrap();
        drop(old);
        let (new, mut peer_of_new) = pair_with_number(400);
        poll.registrator().register(&new, round, READABLE).unwrap();
        drop(peer_of_old);
        if round % 10 == 0 {
            expect_no_events(&mut poll, &mut events);
        }
        peer_of_new.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
    }
}

// 2.7, 6.6
#[test]
fn a_duplicate_that_lives_on_never_shows_the_old_token_under_a_number_used_again() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (old, mut peer_of_old) = pair_with_number(500);
    let duplicate = old.as_fd().try_clone_to_owned().unwrap();
    poll.registrator().register(&old, 1_000, READABLE).unwrap();
    drop(old);
    let (new, mut peer_of_new) = pair_with_number(500);
    poll.registrator().register(&new, 1, READABLE).unwrap();

    // The duplicate becomes ready, and would fire if its registration had been left in the queue.
    peer_of_old.write_all(b"x").unwrap();
    expect_no_events(&mut poll, &mut events);
    peer_of_new.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);

    drop(duplicate);
    expect_no_events(&mut poll, &mut events);
}

// 2.7, 6.6
#[test]
fn a_duplicate_registered_for_itself_is_a_source_of_its_own() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (one, mut peer) = pair();
    let two = net::TcpStream::from(one.as_fd().try_clone_to_owned().unwrap());
    let two = TcpStream::from_std(two).unwrap();
    poll.registrator().register(&one, 1, READABLE).unwrap();
    poll.registrator().register(&two, 2, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (2, true, false)],
    );

    drop(one);
    poll.registrator().register(&two, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.8
#[test]
fn a_descriptor_that_cannot_be_watched_is_an_error_of_register() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    // A file is always ready, and epoll refuses it.
    let file = File::open("/proc/self/exe").unwrap();
    let stream = TcpStream::from_std(net::TcpStream::from(OwnedFd::from(file))).unwrap();
    for _ in 0..2 {
        let error = poll.registrator().register(&stream, 1, BOTH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    expect_no_events(&mut poll, &mut events);
}

// 2.8
#[test]
fn a_descriptor_that_is_not_open_is_an_error_of_register() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let (stream, _peer) = pair_with_number(600);
    // SAFETY: the stream is forgotten below, so nobody uses or closes the number 600 again.
    unsafe { libc::close(600) };
    let error = poll.registrator().register(&stream, 1, BOTH).unwrap_err();
    std::mem::forget(stream);
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
}

// 2.8
#[test]
fn a_poll_registers_more_after_a_registration_has_failed() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    for round in 0..100 {
        let file = File::open("/proc/self/exe").unwrap();
        let bad = TcpStream::from_std(net::TcpStream::from(OwnedFd::from(file))).unwrap();
        assert!(poll.registrator().register(&bad, 1_000, BOTH).is_err());
        drop(bad);
        let (stream, _peer) = pair();
        poll.registrator().register(&stream, round, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(round, false, true)]);
    }
}

// 4.5
#[test]
fn the_number_of_a_poll_is_not_used_again_under_a_living_registrator() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let number = poll.as_raw_fd();
    let registrator = poll.registrator();
    drop(poll);
    let (stream, _peer) = pair();
    let others: Vec<OwnedFd> = (0..50)
        .map(|_| stream.as_fd().try_clone_to_owned().unwrap())
        .collect();
    assert!(others.iter().all(|other| other.as_raw_fd() != number));
    assert!(registrator.is_closed());
}

// 4.5
#[test]
fn the_number_of_a_poll_is_not_used_again_under_a_living_source() {
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let number = poll.as_raw_fd();
    let (stream, _peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    drop(poll);
    let others: Vec<OwnedFd> = (0..50)
        .map(|_| stream.as_fd().try_clone_to_owned().unwrap())
        .collect();
    assert!(others.iter().all(|other| other.as_raw_fd() != number));
}
