//! 2.4, 3.7: a socket has one completion port for life, and the error of `register` says so.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::ErrorKind;
use std::net;

use common::{expect_events, watchdog, READABLE, WRITABLE};
use minimio::{Events, Poll, Source, TcpListener, TcpStream, UdpSocket};

/// A socket of each kind, twice.
fn twins() -> Vec<[Box<dyn Source>; 2]> {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    vec![
        [listener.try_clone().unwrap(), listener]
            .map(|twin| Box::new(TcpListener::from_std(twin).unwrap()) as Box<dyn Source>),
        [stream.try_clone().unwrap(), stream]
            .map(|twin| Box::new(TcpStream::from_std(twin).unwrap()) as Box<dyn Source>),
        [socket.try_clone().unwrap(), socket]
            .map(|twin| Box::new(UdpSocket::from_std(twin).unwrap()) as Box<dyn Source>),
    ]
}

// 3.7
#[test]
fn a_socket_whose_clone_was_once_tied_is_refused_for_ever() {
    let _watchdog = watchdog();
    for [clone, source] in twins() {
        let first = Poll::new().unwrap();
        let second = Poll::new().unwrap();
        first.registrator().register(&*clone, 1, READABLE).unwrap();
        // While the clone lives, when it is gone, and when its Poll is gone. The clone's own Poll is no exception.
        for poll in [&first, &second] {
            let error = poll.registrator().register(&*source, 2, READABLE);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        drop(clone);
        let error = second.registrator().register(&*source, 2, READABLE);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(first);
        let error = second.registrator().register(&*source, 2, READABLE);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

// 3.7: a refusal ties the socket to nothing.
#[test]
fn a_socket_that_was_refused_goes_on_working() {
    let _watchdog = watchdog();
    let (mut first, second) = (Poll::new().unwrap(), Poll::new().unwrap());
    let mut events = Events::with_capacity(4);
    let (stream, _peer) = common::pair();
    first.registrator().register(&stream, 1, READABLE).unwrap();
    assert!(second.registrator().register(&stream, 2, WRITABLE).is_err());
    first.registrator().register(&stream, 3, WRITABLE).unwrap();
    expect_events(&mut first, &mut events, &[(3, false, true)]);
}

// 1: a socket that was not made for overlapped use has no port to belong to. The error names this cause, too.
#[test]
fn a_socket_that_is_not_overlapped_is_refused_with_its_reason() {
    use std::os::windows::io::FromRawSocket;
    use windows_sys::Win32::Networking::WinSock::{
        WSASocketW, AF_INET, INVALID_SOCKET, IPPROTO_TCP, SOCK_STREAM,
    };

    let _watchdog = watchdog();
    // Has std start Winsock.
    let _listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: numbers only, and no protocol information.
    let socket = unsafe {
        WSASocketW(
            i32::from(AF_INET),
            SOCK_STREAM,
            IPPROTO_TCP,
            std::ptr::null(),
            0,
            0,
        )
    };
    assert_ne!(socket, INVALID_SOCKET);
    // SAFETY: it was made right now, and nobody else owns it.
    let socket =
        unsafe { net::TcpStream::from_raw_socket(socket as std::os::windows::io::RawSocket) };
    let stream = TcpStream::from_std(socket).unwrap();
    let poll = Poll::new().unwrap();
    let error = poll.registrator().register(&stream, 1, READABLE);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("WSA_FLAG_OVERLAPPED"), "{error}");
}
