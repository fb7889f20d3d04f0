//! 3.1, 4.7: a connection that an operation has brought and one that was taken from the socket are alike.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read};
use std::os::windows::io::{AsRawSocket, AsSocket};

use common::{expect_events, kind_of, until_done, watchdog, LOOPBACKS, READABLE};
use minimio::{Events, Poll, TcpListener, TcpStream};
use windows_sys::Win32::Foundation::{
    GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT, HANDLE_FLAG_PROTECT_FROM_CLOSE,
};

/// A stream that the operation of a registered listener has brought, and one that the next `accept` has taken from the
/// socket, with their peers.
fn accepted_both_ways(loopback: &str) -> [(TcpStream, std::net::TcpStream); 2] {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let listener = TcpListener::bind(loopback).unwrap();
    poll.registrator().register(&listener, 1, READABLE).unwrap();
    let client = || std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let first = client();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let second = client();
    [first, second].map(|client| {
        let (stream, from) = until_done(|| listener.accept()).unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(stream.peer_addr().unwrap(), from);
        (stream, client)
    })
}

// 3.1
#[test]
fn an_accepted_stream_does_not_block_whichever_call_has_brought_it() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for (mut stream, _client) in accepted_both_ways(loopback) {
            assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
        }
    }
}

// 4.7
#[test]
fn an_accepted_stream_is_not_inherited_whichever_call_has_brought_it() {
    let _watchdog = watchdog();
    for (stream, _client) in accepted_both_ways("127.0.0.1:0") {
        let socket = stream.as_socket().as_raw_socket() as HANDLE;
        let mut flags = !0;
        // SAFETY: the socket is open, and the flags are writable.
        assert_ne!(unsafe { GetHandleInformation(socket, &mut flags) }, 0);
        assert_eq!(flags & HANDLE_FLAG_INHERIT, 0);
        assert_eq!(flags & HANDLE_FLAG_PROTECT_FROM_CLOSE, 0);
    }
}
