//! 3.8: what stands in the way of calls of the user's own on Windows: operations in flight, and what they have brought.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net;

use common::{
    adopt_and_fill, expect_events, expect_nothing_queued, kind_of, pair, until_done, watchdog,
    BOTH, READABLE, WRITABLE,
};
use minimio::{Events, Poll, Registrator, TcpListener, TcpStream, UdpSocket};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// A call that must not be made.
fn never<T>(_: &T) -> io::Result<()> {
    panic!("the call is made");
}

#[track_caller]
fn expect_unread(result: io::Result<()>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("set_lent_buffer(0)"), "{text}");
}

#[test]
fn a_receive_with_memory_is_in_the_way_and_then_its_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    let refused = stream.try_io(READABLE, never);
    assert_eq!(kind_of(refused), ErrorKind::WouldBlock);
    // The other direction is free.
    assert_eq!(
        stream
            .try_io(WRITABLE, |mut std| std.write(b"hello"))
            .unwrap(),
        5
    );
    peer.write_all(b"lent").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_unread(stream.try_io(READABLE, never));
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 4);
    peer.write_all(b"here").unwrap();
    let mut buffer = [0; 8];
    let count = until_done(|| stream.try_io(READABLE, |mut std| std.read(&mut buffer)));
    assert_ne!(count.unwrap(), 0);
}

// 3.1: the packet is taken without a poll.
#[test]
fn a_call_takes_the_packets_that_are_there() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"lent").unwrap();
    expect_unread(until_done(|| stream.try_io(READABLE, never)));
}

#[test]
fn a_receive_without_memory_is_not_in_the_way() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = pair();
    stream.set_lent_buffer(0);
    registrator.register(&stream, 1, READABLE).unwrap();
    let mut buffer = [0; 8];
    let result = stream.try_io(READABLE, |mut std| std.read(&mut buffer));
    assert_eq!(kind_of(result), ErrorKind::WouldBlock);
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(
        stream
            .try_io(READABLE, |mut std| std.read(&mut buffer))
            .unwrap(),
        1
    );
}

#[test]
fn a_send_in_flight_is_in_the_way() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (stream, mut peer) = pair();
    let accepted = adopt_and_fill(&mut poll, &mut events, &stream);
    assert_eq!(
        kind_of(stream.try_io(WRITABLE, never)),
        ErrorKind::WouldBlock
    );
    let mut received = vec![0; accepted];
    peer.read_exact(&mut received).unwrap();
    let sent = until_done(|| stream.try_io(WRITABLE, |mut std| std.write(b"x")));
    assert_eq!(sent.unwrap(), 1);
}

#[test]
fn a_connect_under_way_is_in_the_way() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
    for interest in [READABLE, WRITABLE] {
        assert_eq!(
            kind_of(stream.try_io(interest, never)),
            ErrorKind::WouldBlock
        );
    }
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    assert_eq!(
        stream.try_io(WRITABLE, |mut std| std.write(b"x")).unwrap(),
        1
    );
}

#[test]
fn an_accept_in_flight_is_in_the_way_and_then_its_connection() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, 1, READABLE).unwrap();
    assert_eq!(
        kind_of(listener.try_io(READABLE, never)),
        ErrorKind::WouldBlock
    );
    let address = listener.local_addr().unwrap();
    let _first = net::TcpStream::connect(address).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let error = listener.try_io(READABLE, never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`accept`"), "{error}");
    listener.accept().unwrap();
    let second = net::TcpStream::connect(address).unwrap();
    let accepted = until_done(|| listener.try_io(READABLE, net::TcpListener::accept));
    assert_eq!(accepted.unwrap().1, second.local_addr().unwrap());
}

// An accept that starts meanwhile would get the connection that the call is about to take.
#[test]
fn nothing_starts_while_a_call_is_on() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (stream, mut peer) = pair();
    let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accept = || {
        listener.try_io(READABLE, |std| {
            registrator.register(&listener, 1, READABLE)?;
            std.accept()
        })
    };
    // The first call may come too early; the accept that starts after it would be in the way of the second.
    while common::kind_of(listener.try_io(READABLE, |_| -> io::Result<()> {
        Err(ErrorKind::Other.into())
    })) != ErrorKind::Other
    {}
    match accept() {
        Ok((_, from)) => assert_eq!(from, client.local_addr().unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            listener.accept().unwrap();
        }
    }
    peer.write_all(b"ab").unwrap();
    common::await_bytes(&stream, 2);
    let mut bytes = [0; 2];
    let result = stream.try_io(READABLE, |mut std| {
        registrator.register(&stream, 2, READABLE)?;
        assert_eq!(registrator.lent_bytes(), 0, "a receive has started");
        std.read(&mut bytes)
    });
    assert_eq!((result.unwrap(), &bytes), (2, b"ab"));
    assert_ne!(registrator.lent_bytes(), 0, "a receive starts after it");
    let lent = registrator.lent_bytes();
    socket
        .try_io(READABLE, |_| {
            registrator.register(&socket, 3, READABLE)?;
            assert_eq!(registrator.lent_bytes(), lent, "a receive has started");
            Ok(())
        })
        .unwrap();
    assert_ne!(registrator.lent_bytes(), lent, "a receive starts after it");
}

#[test]
fn a_datagram_that_waits_is_in_the_way() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    registrator.register(&socket, 1, BOTH).unwrap();
    assert_eq!(
        kind_of(socket.try_io(READABLE, never)),
        ErrorKind::WouldBlock
    );
    let sent = socket.try_io(WRITABLE, |std| std.send_to(b"x", address));
    assert_eq!(sent.unwrap(), 1);
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    expect_unread(socket.try_io(READABLE, never));
    assert_eq!(socket.recv_from(&mut [0; 8]).unwrap(), (1, address));
    expect_nothing_queued(&mut poll, &mut events);
}

// 3.2, 3.8: a call that the system would tell of an end is not made, and the reset told instead.
#[test]
fn a_reset_that_was_read_is_in_the_way() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    socket2::SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let kind = kind_of(stream.read(&mut [0; 8]));
    for _ in 0..2 {
        assert_eq!(kind_of(stream.try_io(READABLE, never)), kind);
    }
}
