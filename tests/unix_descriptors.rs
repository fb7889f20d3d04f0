//! Running out of descriptors, and what becomes of them in a child. The limit is the process's, so these tests have a
//! program of their own, and take turns.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::Write;
use std::net;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{
    accept, descriptors, expect_events, expect_no_events, read_some, watchdog, LOOPBACKS,
};
use minimio::{Events, Interests, Poll, TcpListener, TcpStream, UdpSocket};

const READABLE: Interests = Interests::READABLE;

static TURN: Mutex<()> = Mutex::new(());

fn my_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No descriptor is left until this is dropped.
struct Exhausted {
    limit: libc::rlimit,
    fillers: Vec<File>,
}

impl Exhausted {
    fn new() -> Exhausted {
        let limit = descriptor_limit();
        let filler = File::open("/dev/null").unwrap();
        // A low limit, so that few descriptors fill it.
        // Signed on FreeBSD and DragonFly, where the conversion cannot fail.
        #[allow(clippy::unnecessary_fallible_conversions)]
        let low = libc::rlim_t::try_from(filler.as_raw_fd()).unwrap() + 16;
        set_descriptor_limit(&libc::rlimit {
            rlim_cur: low.min(limit.rlim_max),
            ..limit
        });
        let mut fillers = Vec::new();
        while let Ok(more) = filler.try_clone() {
            fillers.push(more);
        }
        fillers.push(filler);
        Exhausted { limit, fillers }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        self.fillers.clear();
        set_descriptor_limit(&self.limit);
    }
}

fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit may be written for the length of the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    limit
}

fn set_descriptor_limit(limit: &libc::rlimit) {
    // SAFETY: the limit is read during the call only.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    assert_eq!(result, 0);
}

// 8: out of descriptors in accept, then recovery. No connection is lost.
#[test]
fn an_accept_without_descriptors_fails_and_the_connection_waits() {
    let _turn = my_turn();
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let mut poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let mut events = Events::with_capacity(4);
        let listener = TcpListener::bind(loopback).unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..2)
            .map(|_| net::TcpStream::connect(address).unwrap())
            .collect();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);

        let exhausted = Exhausted::new();
        for token in 2..5 {
            let error = listener.accept().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            // The condition still holds, so a registration tells of it, and does not spin by itself.
            registrator.register(&listener, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            expect_no_events(&mut poll, &mut events);
        }
        drop(exhausted);

        // In whatever order they came.
        while !clients.is_empty() {
            registrator.register(&listener, 9, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(9, true, false)]);
            let (stream, from) = accept(&listener);
            let place = clients
                .iter()
                .position(|client| client.local_addr().unwrap() == from);
            let mut client = clients.remove(place.expect("one of the two"));
            client.write_all(b"hello").unwrap();
            assert_eq!(read_some(&stream, &mut [0; 16]), 5);
        }
    }
}

// 1: without descriptors everything that needs one says so, and leaves nothing behind.
#[test]
fn nothing_is_made_without_descriptors() {
    let _turn = my_turn();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let exhausted = Exhausted::new();
    let errors = [
        Poll::new().map(drop),
        TcpStream::connect(address).map(drop),
        TcpStream::connect_nonblocking(address).map(drop),
        TcpListener::bind("127.0.0.1:0").map(drop),
        UdpSocket::bind("127.0.0.1:0").map(drop),
    ];
    drop(exhausted);
    for error in errors {
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }
}

// 1: a Poll may need more descriptors than one; what it got before it failed is given back.
#[test]
fn a_poll_that_fails_half_way_leaves_no_descriptor_behind() {
    let _turn = my_turn();
    for spare in 1..4 {
        let mut exhausted = Exhausted::new();
        exhausted.fillers.truncate(exhausted.fillers.len() - spare);
        let before = descriptors();
        drop(Poll::new());
        assert_eq!(descriptors(), before, "{spare} spare descriptors");
    }
}

fn descriptor_flags(fd: RawFd) -> i32 {
    // SAFETY: it takes numbers only, and fails for one that is not open.
    unsafe { libc::fcntl(fd, libc::F_GETFD) }
}

// 4.7
#[test]
fn every_descriptor_is_close_on_exec() {
    let _turn = my_turn();
    let before: Vec<RawFd> = (0..4_096)
        .filter(|&fd| descriptor_flags(fd) != -1)
        .collect();
    let poll = Poll::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let streams = [
        TcpStream::connect(address).unwrap(),
        TcpStream::connect_nonblocking(address).unwrap(),
        accept(&listener).0,
        accept(&listener).0,
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut made = 0;
    for fd in (0..4_096).filter(|fd| !before.contains(fd)) {
        let flags = descriptor_flags(fd);
        if flags != -1 {
            assert_ne!(flags & libc::FD_CLOEXEC, 0, "descriptor {fd}");
            made += 1;
        }
    }
    // The system's queue, and what else it needs; the listener; the socket.
    assert!(made >= streams.len() + 3);
    drop((poll, socket));
}
