//! The list: each fault that the first version of this backend had, as a test that it would fail.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    await_nothing_lent, effort, expect_events, expect_no_events, expect_nothing_queued, kind_of,
    pair, until_done, watchdog,
};
use minimio::{is_closed, Events, Interests, Poll, Registrator, TcpStream};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// How many handles the process has open.
fn open_handles() -> u32 {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};
    let mut count = 0;
    // SAFETY: it only returns a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the pseudo handle is always valid, and the place writable.
    let done = unsafe { GetProcessHandleCount(process, &mut count) };
    assert_ne!(done, 0);
    count
}

#[test]
fn registering_again_does_not_associate_again() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    for token in 0..100 {
        registrator.register(&stream, token, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

#[test]
fn writable_is_an_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, _peer) = pair();
    registrator.register(&stream, 5, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(5, false, true)]);
    assert_eq!(stream.write(b"room").unwrap(), 4);
}

#[test]
fn a_receive_that_succeeds_at_once_yields_one_event_and_its_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    for token in 0..20 {
        peer.write_all(b"already there").unwrap();
        common::await_bytes(&stream, 13);
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut buffer = [0; 32];
        assert_eq!(stream.read(&mut buffer).unwrap(), 13);
        assert_eq!(&buffer[..13], b"already there");
        expect_nothing_queued(&mut poll, &mut events);
    }
}

#[test]
fn read_gives_what_arrived_and_not_the_whole_buffer() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    let mut buffer = [0xee; 8192];
    for message in [&b"a longer message"[..], b"short"] {
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(message).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), message.len());
        assert_eq!(&buffer[..message.len()], message);
    }
    assert!(
        buffer[16..].iter().all(|&byte| byte == 0xee),
        "no more than that was touched"
    );
}

#[test]
fn read_before_any_data_would_block_and_gives_no_zeros() {
    let _watchdog = watchdog();
    let (_poll, registrator, _) = queue();
    let (mut stream, _peer) = pair();
    assert_eq!(kind_of(stream.read(&mut [0; 1024])), ErrorKind::WouldBlock);
    registrator.register(&stream, 1, READABLE).unwrap();
    assert_eq!(kind_of(stream.read(&mut [0; 1024])), ErrorKind::WouldBlock);
}

#[test]
fn there_is_no_end_of_stream_after_1024_bytes_and_none_are_lost() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for size in [1023, 1024, 1025, 4095, 4096, 4097, 65_537] {
        let (mut stream, mut peer) = pair();
        let message: Vec<u8> = (0..251).cycle().take(size).collect();
        registrator.register(&stream, size, READABLE).unwrap();
        peer.write_all(&message).unwrap();
        expect_events(&mut poll, &mut events, &[(size, true, false)]);
        let mut received = Vec::new();
        let mut buffer = [0; 700];
        while received.len() < size {
            let count = until_done(|| stream.read(&mut buffer)).unwrap();
            assert_ne!(count, 0, "after {} bytes", received.len());
            received.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(received, message);
        assert_eq!(kind_of(stream.read(&mut buffer)), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_second_registration_does_not_lend_the_buffer_twice() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    registrator.register(&stream, 2, READABLE).unwrap();
    assert_eq!(registrator.lent_bytes(), 4096);
    peer.write_all(b"first").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    peer.write_all(b"second").unwrap();
    expect_no_events(&mut poll, &mut events);
    let mut buffer = [0; 11];
    let mut count = 0;
    while count < 11 {
        count += until_done(|| stream.read(&mut buffer[count..])).unwrap();
    }
    assert_eq!(&buffer, b"firstsecond");
}

#[test]
fn operations_are_freed() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut before = 0;
    for round in 0..effort(200) {
        let (mut stream, mut peer) = pair();
        for token in 0..3 {
            registrator.register(&stream, token, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        }
        registrator.register(&stream, 9, READABLE).unwrap();
        drop(stream);
        await_nothing_lent(&mut poll, &mut events);
        if round == 20 {
            before = open_handles();
        }
    }
    // Other tests run meanwhile: a leak would be one a round at least.
    let rounds = u32::try_from(effort(200)).unwrap();
    assert!(open_handles() < before + rounds.max(100) / 2 || rounds < 100);
}

#[test]
fn a_stream_is_dropped_with_a_receive_in_flight() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for _ in 0..effort(100) {
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        drop(stream);
        drop(peer.write_all(b"into a closed connection"));
    }
    expect_no_events(&mut poll, &mut events);
    await_nothing_lent(&mut poll, &mut events);
}

#[test]
fn closing_the_loop_wakes_a_blocked_poll_and_points_to_nothing() {
    let _watchdog = watchdog();
    for _ in 0..effort(50) {
        let (mut poll, registrator, mut events) = queue();
        let poller = thread::spawn(move || {
            let error = poll.poll(&mut events, None).unwrap_err();
            assert!(is_closed(&error));
            assert_eq!(events.len(), 0);
        });
        registrator.close_loop().unwrap();
        // The stack that a packet would point to is somebody else's now.
        std::hint::black_box([0xffu8; 4096]);
        poller.join().unwrap();
    }
}

#[test]
fn an_event_is_good_after_its_source_is_gone() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = pair();
    registrator.register(&stream, 42, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(42, true, false)]);
    drop((stream, peer, registrator, poll));
    assert_eq!(events.iter().next().map(|event| event.id()), Some(42));
}

#[test]
fn a_failed_receive_is_an_error_of_the_read_and_no_end() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    socket2::SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    poll.poll(&mut events, None).unwrap();
    let event = events.iter().next().unwrap();
    assert!(event.is_readable() && event.is_error() && !event.is_read_closed());
    for _ in 0..3 {
        assert_eq!(
            kind_of(stream.read(&mut [0; 8])),
            ErrorKind::ConnectionReset
        );
    }
}

#[test]
fn the_port_stays_open_under_its_users_and_nothing_panics() {
    let _watchdog = watchdog();
    for _ in 0..effort(50) {
        let (poll, registrator, _) = queue();
        let (mut stream, mut peer) = pair();
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        drop(poll);
        // Were the port closed, its number would be another's: these would act on that.
        let _others: Vec<_> = (0..4).map(|_| Poll::new().unwrap()).collect();
        assert!(is_closed(&registrator.wake(1).unwrap_err()));
        assert!(is_closed(
            &registrator.register(&stream, 1, READABLE).unwrap_err()
        ));
        assert!(is_closed(&registrator.deregister(&stream).unwrap_err()));
        assert!(is_closed(&registrator.close_loop().unwrap_err()));
        peer.write_all(b"x").unwrap();
        assert_eq!(until_done(|| stream.read(&mut [0; 8])).unwrap(), 1);
    }
}

#[test]
fn connecting_without_blocking_returns_at_once() {
    let _watchdog = watchdog();
    let (_poll, registrator, _) = queue();
    // Nobody answers there, and nobody refuses (RFC 5737).
    let nowhere: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let start = Instant::now();
    let stream = TcpStream::connect_nonblocking(nowhere).unwrap();
    registrator.register(&stream, 1, WRITABLE).unwrap();
    drop(stream);
    assert!(start.elapsed() < Duration::from_secs(10));

    let (mut poll, registrator, mut events) = queue();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
    registrator.register(&stream, 2, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    assert!(stream.take_error().unwrap().is_none());
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
}

#[test]
fn a_wake_ends_one_poll_and_not_the_loop() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for token in 0..10 {
        let waker = registrator.clone();
        let woken = thread::spawn(move || waker.wake(token).unwrap());
        expect_events(&mut poll, &mut events, &[(token, false, false)]);
        woken.join().unwrap();
    }
    expect_no_events(&mut poll, &mut events);
}
