//! 5.3, 5.4, 5.5: memory lent to the kernel: how much, when, and what happens past the bound. With public API alone.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net;
use std::thread;
use std::time::{Duration, Instant};

use common::{
    adopt_and_fill, await_bytes, await_nothing_lent, effort, expect_events, expect_no_events,
    expect_nothing_queued, kind_of, minimio_pair, pair, until_done, watchdog, HANG,
};
use minimio::{Events, Interests, Poll, TcpListener, TcpStream, UdpSocket};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;
/// What a stream lends at first.
const LENT: usize = 4096;
/// What a UDP socket lends.
const LENT_DATAGRAM: usize = 65_536;

fn queue_with(limit: usize) -> (Poll, Events) {
    (
        Poll::with_lent_limit(limit).unwrap(),
        Events::with_capacity(64),
    )
}

#[test]
fn a_registration_lends_one_buffer_and_further_ones_no_more() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    assert_eq!(registrator.lent_bytes(), 0);
    for token in 0..100 {
        registrator.register(&stream, token, READABLE).unwrap();
        assert_eq!(registrator.lent_bytes(), LENT);
    }
    registrator.deregister(&stream).unwrap();
    assert_eq!(registrator.lent_bytes(), LENT, "no receive is cancelled");
    registrator.register(&stream, 7, READABLE).unwrap();
    peer.write_all(b"back").unwrap();
    expect_events(&mut poll, &mut events, &[(7, true, false)]);
    assert_eq!(registrator.lent_bytes(), 0);
    registrator.register(&stream, 8, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(8, true, false)]);
    assert_eq!(
        registrator.lent_bytes(),
        0,
        "nothing is started while bytes wait"
    );
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 4);
}

#[test]
fn the_size_lent_is_the_one_chosen_from_the_next_receive_on() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    let bytes = vec![7; 40_000];
    for (chosen, lent) in [
        (1, 1),
        (0, 0),
        (100, 100),
        (65_536, 65_536),
        (1 << 20, 65_536),
        (4096, 4096),
    ] {
        stream.set_lent_buffer(chosen);
        registrator.register(&stream, chosen, READABLE).unwrap();
        assert_eq!(registrator.lent_bytes(), lent);
        peer.write_all(&bytes).unwrap();
        expect_events(&mut poll, &mut events, &[(chosen, true, false)]);
        let (mut buffer, mut count) = (vec![0; bytes.len()], 0);
        while count < bytes.len() {
            count += until_done(|| stream.read(&mut buffer[count..])).unwrap();
        }
        assert_eq!(buffer, bytes);
    }
}

#[test]
fn a_thousand_idle_streams_lend_at_most_the_bound_and_all_work() {
    const LIMIT: usize = 100 * LENT;
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(LIMIT);
    let registrator = poll.registrator();
    let mut pairs: Vec<_> = (0..effort(1000).min(4000)).map(|_| pair()).collect();
    for (token, (stream, _)) in pairs.iter().enumerate() {
        registrator.register(stream, token, READABLE).unwrap();
        assert!(registrator.lent_bytes() <= LIMIT);
    }
    assert_eq!(registrator.lent_bytes(), LIMIT.min(pairs.len() * LENT));
    expect_no_events(&mut poll, &mut events);
    let count = pairs.len();
    for which in (0..count).rev() {
        let (stream, peer) = &mut pairs[which];
        peer.write_all(&[1; 5000]).unwrap();
        expect_events(&mut poll, &mut events, &[(which, true, false)]);
        let mut buffer = [0; 5000];
        let mut filled = stream.read(&mut buffer).unwrap();
        assert_ne!(filled, 0);
        while filled < buffer.len() {
            filled += until_done(|| stream.read(&mut buffer[filled..])).unwrap();
        }
    }
    drop(pairs);
    await_nothing_lent(&mut poll, &mut events);
}

#[test]
fn without_any_memory_to_lend_everything_works() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(0);
    let registrator = poll.registrator();
    let (mut near, mut far) = minimio_pair();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    registrator.register(&near, 1, READABLE).unwrap();
    registrator.register(&socket, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    far.write_all(b"stream").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    socket
        .send_to(b"datagram", socket.local_addr().unwrap())
        .unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    let mut buffer = [0; 16];
    assert_eq!(near.read(&mut buffer).unwrap(), 6);
    assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 8);
    assert_eq!(kind_of(near.read(&mut buffer)), ErrorKind::WouldBlock);
    assert_eq!(
        kind_of(socket.recv_from(&mut buffer)),
        ErrorKind::WouldBlock
    );

    // A full stream probes for room with one byte.
    let accepted = adopt_and_fill(&mut poll, &mut events, &far);
    registrator.register(&far, 3, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    assert_eq!(registrator.lent_bytes(), 0);
    let mut received = 0;
    let mut sink = vec![0; 1 << 16];
    while received < accepted {
        received += until_done(|| near.read(&mut sink)).unwrap();
    }
    expect_events(&mut poll, &mut events, &[(3, false, true)]);
    assert_ne!(far.write(b"more").unwrap(), 0);
}

#[test]
fn an_event_of_a_receive_without_memory_is_never_one_without_bytes() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(0);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    for round in 0..effort(200) {
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        // Taken behind the back of the receive, whose packet is on the port by now or soon.
        assert_eq!(until_done(|| stream.read(&mut [0; 8])).unwrap(), 1);
        registrator.register(&stream, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        peer.write_all(b"y").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

// 5.4
#[test]
fn a_poll_lends_64_mebibytes_unless_it_was_told_otherwise() {
    const LIMIT: usize = 64 << 20;
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let registrator = poll.registrator();
    let sockets: Vec<UdpSocket> = (0..LIMIT / LENT_DATAGRAM + 2)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for (token, socket) in sockets.iter().enumerate() {
        registrator.register(socket, token, READABLE).unwrap();
        let lent = ((token + 1) * LENT_DATAGRAM).min(LIMIT);
        assert_eq!(registrator.lent_bytes(), lent);
    }
    // The last one is past the bound, and works.
    let (last, address) = (sockets.len() - 1, sockets.last().unwrap().local_addr());
    sockets[0].send_to(b"hello", address.unwrap()).unwrap();
    expect_events(&mut poll, &mut events, &[(last, true, false)]);
    assert_eq!(sockets[last].recv_from(&mut [0; 8]).unwrap().0, 5);
}

#[test]
fn udp_lends_room_for_any_datagram_or_none() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(LENT_DATAGRAM);
    let registrator = poll.registrator();
    let (first, second) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    registrator.register(&first, 1, READABLE).unwrap();
    registrator.register(&second, 2, READABLE).unwrap();
    assert_eq!(registrator.lent_bytes(), LENT_DATAGRAM);
    let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let largest = vec![9; 60_000];
    let mut buffer = vec![0; 65_536];
    for (socket, token) in [(&first, 1), (&second, 2)] {
        for datagram in [&largest[..], b"", b"short"] {
            registrator.register(socket, token, READABLE).unwrap();
            sender
                .send_to(datagram, socket.local_addr().unwrap())
                .unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            assert_eq!(socket.peek_from(&mut buffer).unwrap().0, datagram.len());
            assert_eq!(
                socket.recv_from(&mut buffer).unwrap(),
                (datagram.len(), sender.local_addr().unwrap())
            );
            assert_eq!(&buffer[..datagram.len()], datagram);
            assert_eq!(
                kind_of(socket.recv_from(&mut buffer)),
                ErrorKind::WouldBlock
            );
        }
    }
    first.set_lent_buffer(0);
    registrator.register(&first, 1, READABLE).unwrap();
    assert_eq!(registrator.lent_bytes(), 0);
}

#[test]
fn a_write_lends_a_bounded_copy_and_its_end_is_the_writable_event() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    let accepted = adopt_and_fill(&mut poll, &mut events, &stream);
    assert_eq!(registrator.lent_bytes(), 64 << 10);
    assert_eq!(kind_of(stream.write(b"x")), ErrorKind::WouldBlock);
    assert_eq!(kind_of(stream.flush()), ErrorKind::WouldBlock);
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    let reader = thread::spawn(move || {
        let mut received = vec![0; accepted];
        peer.read_exact(&mut received).unwrap();
        (peer, received)
    });
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    assert_eq!(registrator.lent_bytes(), 0);
    stream.flush().unwrap();
    assert_eq!(stream.write(b"more").unwrap(), 4);
    let (_peer, received) = reader.join().unwrap();
    assert!(received.iter().all(|&byte| byte == 0x5a));
}

#[test]
fn a_stream_that_is_not_registered_lends_nothing() {
    let _watchdog = watchdog();
    let (stream, _peer) = pair();
    // It stays full, once it is: every refused write would have lent a copy and been accepted.
    common::fill(&stream);
    (&stream).flush().unwrap();
}

// 3.1: with no poll running at all.
#[test]
fn reads_writes_and_accepts_take_their_packets_themselves() {
    let _watchdog = watchdog();
    let (poll, _) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, 1, READABLE).unwrap();
    let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, from) = until_done(|| listener.accept()).unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    registrator
        .register(&stream, 2, READABLE | WRITABLE)
        .unwrap();
    for _ in 0..effort(50) {
        peer.write_all(b"ping").unwrap();
        assert_eq!(until_done(|| stream.read(&mut [0; 8])).unwrap(), 4);
        registrator.register(&stream, 3, READABLE).unwrap();
    }
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received.len()
    });
    let mut written = 0;
    while written < 8 << 20 {
        written += until_done(|| stream.write(&[3; 100_000])).unwrap();
    }
    until_done(|| stream.flush()).unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), written);
}

// 5.5, and the transfer to a slow reader: 1 GiB with MINIMIO_EFFORT=64.
#[test]
fn a_transfer_to_a_slow_reader_is_bounded_and_complete() {
    const LIMIT: usize = 128 << 10;
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(LIMIT);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    let total = effort(16) << 20;
    let reader = thread::spawn(move || {
        let (mut sum, mut count) = (0u64, 0usize);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = peer.read(&mut buffer).unwrap();
            if read == 0 {
                return (count, sum);
            }
            for &byte in &buffer[..read] {
                sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
            }
            count += read;
            if count % (1 << 20) < read {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let chunk: Vec<u8> = (0..251).cycle().take(251 * 400).collect();
    let (mut written, mut sum, mut most) = (0, 0u64, 0);
    while written < total {
        let rest = &chunk[written % 251..][..(total - written).min(100_000)];
        match stream.write(rest) {
            Ok(count) => {
                for &byte in &rest[..count] {
                    sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
                }
                written += count;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                registrator.register(&stream, 1, WRITABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(1, false, true)]);
            }
        }
        most = most.max(registrator.lent_bytes());
    }
    drop(stream);
    // The rest is sent while nobody polls; the close is deferred until then.
    let end = Instant::now() + HANG;
    while !reader.is_finished() {
        poll.poll(&mut events, Some(Duration::from_millis(1)))
            .unwrap();
        assert!(Instant::now() < end);
    }
    assert_eq!(reader.join().unwrap(), (written, sum));
    assert!(most <= LIMIT, "{most}");
    await_nothing_lent(&mut poll, &mut events);
}

// 3.7
#[test]
fn a_source_is_given_back_unless_memory_is_lent_or_bytes_are_unread() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let (stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    let refused = stream.into_std().unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::WouldBlock);
    let mut stream = refused.into_source();
    peer.write_all(b"abc").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let refused = stream.into_std().unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::WouldBlock);
    stream = refused.into_source();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    peer.write_all(b"def").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);
    // It is tied to the port for life.
    let again = TcpStream::from_std(stream).unwrap();
    let other = Poll::new().unwrap();
    let error = other
        .registrator()
        .register(&again, 1, READABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

// 3.7
#[test]
fn a_socket_that_is_tied_through_a_clone_belongs_to_that_port() {
    let _watchdog = watchdog();
    let (poll, _) = queue_with(1 << 20);
    let other = Poll::new().unwrap();
    let (stream, _peer) = common::std_pair();
    let clone = TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    let error = other
        .registrator()
        .register(&clone, 1, READABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

// 5.2: packets of operations that are not ours.
#[test]
fn a_packet_of_somebody_elses_operation_is_dropped_unread() {
    use std::os::windows::io::AsRawSocket;
    use windows_sys::Win32::Networking::WinSock::{WSARecv, WSABUF};
    use windows_sys::Win32::System::IO::OVERLAPPED;

    let _watchdog = watchdog();
    let (mut poll, mut events) = queue_with(1 << 20);
    let registrator = poll.registrator();
    let (stream, mut peer) = common::std_pair();
    let clone = stream.try_clone().unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);

    let mut memory = [0u8; 8];
    let buffer = WSABUF {
        len: 8,
        buf: memory.as_mut_ptr(),
    };
    let mut flags = 0;
    // SAFETY: an all-zero block is what an operation starts with.
    let mut overlapped: OVERLAPPED = unsafe { std::mem::zeroed() };
    let socket = usize::try_from(clone.as_raw_socket()).unwrap();
    // SAFETY: block and memory outlive the operation: its packet is taken below.
    unsafe {
        WSARecv(
            socket,
            &buffer,
            1,
            std::ptr::null_mut(),
            &mut flags,
            &mut overlapped,
            None,
        )
    };
    peer.write_all(b"not ours").unwrap();
    expect_no_events(&mut poll, &mut events);
    assert_eq!(&memory, b"not ours");

    registrator.register(&stream, 2, READABLE).unwrap();
    peer.write_all(b"ours").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    await_bytes(&stream, 4);
}
