//! 2.4, 3.7: a socket has one completion port for life, and the error of `register` says so.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net;
use std::os::windows::io::AsRawSocket;

use common::{await_that, expect_events, expect_no_events, watchdog, BOTH, READABLE, WRITABLE};
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

/// A TCP socket that is not connected, made with these flags.
fn raw_socket(flags: u32) -> net::TcpStream {
    use std::os::windows::io::{FromRawSocket, RawSocket};
    use windows_sys::Win32::Networking::WinSock::{
        WSASocketW, AF_INET, INVALID_SOCKET, IPPROTO_TCP, SOCK_STREAM,
    };

    let family = i32::from(AF_INET);
    // SAFETY: numbers only, and no protocol information.
    let socket =
        unsafe { WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, std::ptr::null(), 0, flags) };
    assert_ne!(socket, INVALID_SOCKET);
    // SAFETY: it was made right now, and nobody else owns it.
    unsafe { net::TcpStream::from_raw_socket(RawSocket::try_from(socket).unwrap()) }
}

// 1: a socket that was not made for overlapped use has no port to belong to. The error names this cause, too.
#[test]
fn a_socket_that_is_not_overlapped_is_refused_with_its_reason() {
    let _watchdog = watchdog();
    // Has std start Winsock.
    let _listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = raw_socket(0);
    let stream = TcpStream::from_std(socket).unwrap();
    let poll = Poll::new().unwrap();
    let error = poll.registrator().register(&stream, 1, READABLE);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("WSA_FLAG_OVERLAPPED"), "{error}");
}

/// Gives a stream back and takes it over again.
fn through_std(stream: TcpStream) -> TcpStream {
    TcpStream::from_std(stream.into_std().unwrap()).unwrap()
}

// 3.7: the events, the bytes and the end of a stream that came back, time and again, with and without lent memory.
#[test]
fn a_stream_that_was_given_back_comes_back_to_its_poll() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = common::pair();
    for round in 0..20_u8 {
        if round % 3 == 0 {
            stream.set_lent_buffer(0);
        }
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        peer.write_all(&[round]).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 4];
        assert_eq!(stream.read(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], round);
        stream.write_all(&[round]).unwrap();
        peer.read_exact(&mut buffer[..1]).unwrap();
        assert_eq!(buffer[0], round);
        stream = through_std(stream);
    }
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
}

// 3.7, 2.5: it is deregistered, dropped, or left behind by its `Poll` with a receive in flight.
#[test]
fn a_stream_that_came_back_is_dropped_like_any_other() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(4);
    let (stream, mut peer) = common::pair();
    stream.set_lent_buffer(0);
    registrator.register(&stream, 1, READABLE).unwrap();
    registrator.deregister(&stream).unwrap();
    let stream = through_std(stream);
    registrator.register(&stream, 2, READABLE).unwrap();
    registrator.deregister(&stream).unwrap();
    peer.write_all(b"x").unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.register(&stream, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    registrator.register(&stream, 4, READABLE).unwrap();
    drop(stream);
    expect_no_events(&mut poll, &mut events);
    // The close comes through: a reset, since a byte was not read.
    await_that(
        "the other end has it",
        || matches!(peer.write(b"y"), Err(error) if error.kind() != ErrorKind::WouldBlock),
    );

    let (stream, mut peer) = common::pair();
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let mut stream = through_std(stream);
    registrator.register(&stream, 2, READABLE).unwrap();
    drop(poll);
    // What is in flight is cancelled, and then the socket is read as without a `Poll`.
    peer.write_all(b"z").unwrap();
    await_that("the other end has it", || {
        matches!(stream.read(&mut [0; 4]), Ok(1))
    });
}

// 5.6: what a write has accepted arrives, also of a stream that came back and was dropped at once.
#[test]
fn what_a_stream_that_came_back_has_accepted_arrives() {
    let _watchdog = watchdog();
    for keeps_poll in [true, false] {
        let poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let (stream, mut peer) = common::pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        let mut stream = through_std(stream);
        registrator.register(&stream, 1, WRITABLE).unwrap();
        let bytes = vec![7; 1 << 20];
        let mut sent = 0;
        while let Ok(count) = stream.write(&bytes) {
            sent += count;
        }
        drop(stream);
        let poll = Some(poll).filter(|_| keeps_poll);
        let reader = std::thread::spawn(move || {
            peer.set_nonblocking(false).unwrap();
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        // Somebody has to take the packets.
        if let Some(mut poll) = poll {
            let mut events = Events::with_capacity(4);
            await_that("the other end has it", || {
                poll.poll(&mut events, Some(std::time::Duration::ZERO))
                    .unwrap();
                reader.is_finished()
            });
        }
        assert_eq!(reader.join().unwrap().unwrap(), sent);
    }
}

// 3.7
#[test]
fn listeners_and_datagram_sockets_come_back_to_their_poll() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(4);
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..10 {
        registrator.register(&listener, 1, READABLE).unwrap();
        let client = net::TcpStream::connect(address).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // An accept is in flight. It is cancelled, which may take a moment.
        registrator.register(&listener, 2, READABLE).unwrap();
        let mut given = Err(listener);
        await_that("the other end has it", || {
            let Err(held) = std::mem::replace(&mut given, Ok(None)) else {
                unreachable!("it is given back once")
            };
            given = held
                .into_std()
                .map(Some)
                .map_err(|error| error.into_source());
            given.is_ok()
        });
        listener = TcpListener::from_std(given.unwrap().unwrap()).unwrap();

        registrator.register(&socket, 3, READABLE).unwrap();
        sender
            .send_to(&[round], socket.local_addr().unwrap())
            .unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
        let mut buffer = [0; 4];
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((count, from), (1, sender.local_addr().unwrap()));
        assert_eq!(buffer[0], round);
        socket.send_to(b"back", from).unwrap();
        assert_eq!(sender.recv(&mut buffer).unwrap(), 4);
        let plain = socket.into_std().unwrap();
        socket = UdpSocket::from_std(plain).unwrap();
    }
}

// 2.4: the way back leads to the same `Poll` only.
#[test]
fn a_socket_that_was_given_back_is_refused_by_another_poll() {
    let _watchdog = watchdog();
    let (mut first, second) = (Poll::new().unwrap(), Poll::new().unwrap());
    let mut events = Events::with_capacity(4);
    let (stream, _peer) = common::pair();
    first.registrator().register(&stream, 1, WRITABLE).unwrap();
    let stream = through_std(stream);
    let error = second.registrator().register(&stream, 2, WRITABLE);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
    first.registrator().register(&stream, 3, WRITABLE).unwrap();
    expect_events(&mut first, &mut events, &[(3, false, true)]);
}

// 3.7: the number of a socket that was given back and closed may be a new socket's.
#[test]
fn the_number_of_a_socket_that_was_given_back_can_be_used_again() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(4);
    for round in 0..50 {
        let (stream, mut peer) = common::pair();
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut stream = stream;
        assert_eq!(stream.read(&mut [0; 4]).unwrap(), 1);
        drop(stream.into_std().unwrap());
    }
}

/// Gives a stream back to whoever has registered it with `poll`, closes it, and makes a socket with the number that it had.
/// `None`, if the system gives no number again.
fn same_number(poll: &Poll, flags: u32) -> Option<net::TcpStream> {
    for _ in 0..10 {
        let (stream, _peer) = common::pair();
        poll.registrator().register(&stream, 1, WRITABLE).unwrap();
        let number = stream.as_raw_socket();
        drop(stream.into_std().unwrap());
        // Smaller numbers may be free, too.
        let mut others = Vec::new();
        for _ in 0..100 {
            let socket = raw_socket(flags);
            if socket.as_raw_socket() == number {
                return Some(socket);
            }
            others.push(socket);
        }
    }
    None
}

// 3.7: the system has no packet for such a socket, so nobody could be told of anything.
#[test]
fn a_socket_that_is_not_overlapped_is_refused_under_a_number_that_was_given_back() {
    let _watchdog = watchdog();
    // Wine has every call wait on such a socket, also if it is non-blocking. So it cannot be told there.
    if common::under_wine() {
        return;
    }
    let poll = Poll::new().unwrap();
    let Some(socket) = same_number(&poll, 0) else {
        return;
    };
    let stream = TcpStream::from_std(socket).unwrap();
    let error = poll.registrator().register(&stream, 2, WRITABLE);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

// 3.7: whoever has the port of such a socket gets no packet of ours, whose address he would not know.
#[test]
fn another_port_gets_nothing_under_a_number_that_was_given_back() {
    use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
    use windows_sys::Win32::Networking::WinSock::WSA_FLAG_OVERLAPPED;
    use windows_sys::Win32::System::IO::{
        CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED,
    };

    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let Some(socket) = same_number(&poll, WSA_FLAG_OVERLAPPED) else {
        return;
    };
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    socket2::SockRef::from(&socket)
        .connect(&address.into())
        .unwrap();
    // SAFETY: numbers only.
    let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 0) };
    // SAFETY: the socket and the port are open.
    let tied = unsafe { CreateIoCompletionPort(socket.as_raw_socket() as _, port, 7, 0) };
    assert_eq!(tied, port);

    let mut stream = TcpStream::from_std(socket).unwrap();
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 1);
    let (mut bytes, mut key) = (0, 0);
    let mut block: *mut OVERLAPPED = std::ptr::null_mut();
    // SAFETY: the port is open, and the places are writable.
    let taken = unsafe { GetQueuedCompletionStatus(port, &mut bytes, &mut key, &mut block, 200) };
    let error = std::io::Error::last_os_error();
    assert_eq!(taken, 0);
    assert_eq!(error.raw_os_error(), Some(WAIT_TIMEOUT as i32));
}
