//! Nothing raises `SIGPIPE`, although this program has put its default action back: to die of it.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{self, Shutdown};
use std::time::Duration;

use common::{pair_over, watchdog, LOOPBACKS};
use minimio::TcpStream;
use socket2::SockRef;

/// Rust ignores the signal at start-up; here it kills again, as in a program of another language.
fn die_of_sigpipe() {
    // SAFETY: the default action runs no code of ours.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// A stream whose peer has reset the connection.
fn reset_pair(loopback: &str) -> TcpStream {
    let (stream, peer): (TcpStream, net::TcpStream) = pair_over(loopback);
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    stream
}

/// Calls `write` until the reset has been told and a further write finds a pipe without an end.
fn until_broken(mut write: impl FnMut() -> std::io::Result<usize>) {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
            Err(error) => assert!(
                [ErrorKind::ConnectionReset, ErrorKind::WouldBlock].contains(&error.kind()),
                "{error}"
            ),
            Ok(_) => {}
        }
    }
}

// 3.9
#[test]
fn a_write_into_a_reset_connection_raises_no_signal() {
    let _watchdog = watchdog();
    die_of_sigpipe();
    for loopback in LOOPBACKS {
        let mut stream = reset_pair(loopback);
        until_broken(|| stream.write(b"hello"));
    }
}

// 3.9
#[test]
fn a_vectored_write_into_a_reset_connection_raises_no_signal() {
    let _watchdog = watchdog();
    die_of_sigpipe();
    for loopback in LOOPBACKS {
        let mut stream = reset_pair(loopback);
        let parts = [IoSlice::new(b"hel"), IoSlice::new(b"lo")];
        until_broken(|| stream.write_vectored(&parts));
    }
}

// 3.9
#[test]
fn a_write_after_a_shutdown_raises_no_signal() {
    let _watchdog = watchdog();
    die_of_sigpipe();
    for loopback in LOOPBACKS {
        let (mut stream, mut peer) = pair_over(loopback);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
        until_broken(|| stream.write(b"hello"));
        let parts = [IoSlice::new(b"hel"), IoSlice::new(b"lo")];
        until_broken(|| stream.write_vectored(&parts));
    }
}

// 3.9, 9.2: `std` writes to a Unix stream by `write(2)`, which would raise it.
#[test]
fn a_write_to_a_unix_socket_without_a_peer_raises_no_signal() {
    let _watchdog = watchdog();
    die_of_sigpipe();
    let (mut near, _) = minimio::os::unix::UnixStream::pair().unwrap();
    until_broken(|| near.write(b"hello"));
    until_broken(|| near.write_vectored(&[IoSlice::new(b"hel"), IoSlice::new(b"lo")]));
    let (near, _far) = minimio::os::unix::UnixDatagram::pair().unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    until_broken(|| near.send(b"hello"));
}
