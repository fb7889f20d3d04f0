//! A connect that is refused within the call (3.5), as FreeBSD does it often: the failure is an event, and kept, since
//! the kernel forgets it.

// Elsewhere a socket whose connect was not made has no events; there `broken.rs` meets the real refusals.
#![cfg(all(minimio_hooks, any(target_os = "linux", target_os = "android")))]
#![allow(clippy::unwrap_used)] // a test

mod common;

use std::io::{ErrorKind, Read, Write};

use common::{expect_events, watchdog, BOTH, WRITABLE};
use minimio::hooks::{fail, Call};
use minimio::{Events, Poll, TcpStream};

/// A stream whose connect was refused within the call, and its event taken.
fn refused_at_once() -> TcpStream {
    fail(Call::Connect, libc::ECONNREFUSED, 1);
    let stream = TcpStream::connect_nonblocking("127.0.0.1:1".parse().unwrap()).unwrap();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    assert!(events.iter().all(|event| event.is_error()), "{events:?}");
    stream
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_refusal_within_the_call_is_told_by_take_error_once() {
    let _watchdog = watchdog();
    let stream = refused_at_once();
    let told = stream.take_error().unwrap().unwrap();
    assert_eq!(told.kind(), ErrorKind::ConnectionRefused);
    assert!(stream.take_error().unwrap().is_none());
    for _ in 0..2 {
        assert_eq!(
            kind((&stream).read(&mut [0; 8])),
            Some(ErrorKind::ConnectionRefused)
        );
    }
}

#[test]
fn a_refusal_within_the_call_is_told_by_the_first_write() {
    let _watchdog = watchdog();
    let stream = refused_at_once();
    assert_eq!(
        kind((&stream).write(b"x")),
        Some(ErrorKind::ConnectionRefused)
    );
    assert_ne!(kind((&stream).write(b"x")), None);
    for _ in 0..2 {
        assert_eq!(
            kind((&stream).read(&mut [0; 8])),
            Some(ErrorKind::ConnectionRefused)
        );
    }
}

#[test]
fn a_refusal_within_the_call_is_told_by_every_read() {
    let _watchdog = watchdog();
    let stream = refused_at_once();
    for _ in 0..3 {
        assert_eq!(
            kind((&stream).read(&mut [0; 8])),
            Some(ErrorKind::ConnectionRefused)
        );
        assert_eq!(
            kind(stream.peek(&mut [0; 8])),
            Some(ErrorKind::ConnectionRefused)
        );
    }
}

#[test]
fn a_refusal_within_the_call_that_nobody_was_told_of_is_not_given_away() {
    let _watchdog = watchdog();
    fail(Call::Connect, libc::ETIMEDOUT, 1);
    let stream = TcpStream::connect_nonblocking("127.0.0.1:1".parse().unwrap()).unwrap();
    let error = stream.into_std().unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::TimedOut);
    error.into_source().into_std().unwrap();
}

// 3.5: no refusal, but a call that cannot be made.
#[test]
fn a_connect_that_cannot_be_begun_is_an_error_of_the_call() {
    for code in [libc::ENETUNREACH, libc::EADDRNOTAVAIL, libc::EACCES] {
        fail(Call::Connect, code, 1);
        let error = TcpStream::connect_nonblocking("127.0.0.1:1".parse().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
    }
}

// 3.5: what is kept fires also what is armed alone.
#[test]
fn a_refusal_within_the_call_fires_writable_alone() {
    let _watchdog = watchdog();
    fail(Call::Connect, libc::ECONNRESET, 1);
    let stream = TcpStream::connect_nonblocking("127.0.0.1:1".parse().unwrap()).unwrap();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    assert_eq!(
        stream.take_error().unwrap().map(|error| error.kind()),
        Some(ErrorKind::ConnectionReset)
    );
}
