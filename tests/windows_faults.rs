//! Calls that fail as they can, packets that come late, and packets that tell of failures: the contract still holds after
//! each, and no operation, lent byte or handle is left.

#![cfg(all(windows, minimio_hooks))]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::sync::{mpsc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    await_that, expect_events, expect_no_events, fill, handles, kind_of, minimio_pair, pair,
    until_done, watchdog, BOTH, QUIET, READABLE, WRITABLE,
};
use minimio::hooks::windows::{delay_packets, fail_packet, live_operations, live_reapers};
use minimio::hooks::{fail, Call};
use minimio::{Events, Poll, Registrator, TcpListener, TcpStream, UdpSocket};
use windows_sys::Win32::Networking::WinSock::{
    WSAECONNABORTED, WSAECONNRESET, WSAEINVAL, WSAEMFILE, WSAENOBUFS, WSAEWOULDBLOCK,
};

const NO_SYSTEM_RESOURCES: i32 = 1450;
const STATUS_CANCELLED: u32 = 0xc000_0120;
const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
const STATUS_CONNECTION_RESET: u32 = 0xc000_020d;
const STATUS_CONNECTION_REFUSED: u32 = 0xc000_0236;
const STATUS_INVALID_CONNECTION: u32 = 0xc000_0140;

/// How often a body runs at most.
const ROUNDS: usize = 8;

/// Runs `body` alone in the process until a round leaves no more handles than it found; after each round no operation
/// may be left. What leaks does so each time. What Winsock and std open at their first use, and Windows' loader and its
/// thread pool whenever they like, does not.
fn leaves_nothing(body: impl Fn(Poll, Registrator, Events)) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone: MutexGuard<'_, ()> = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _watchdog = watchdog();
    for _ in 0..ROUNDS {
        let before = handles();
        let poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        body(poll, registrator.clone(), Events::with_capacity(8));
        await_that("no operation in flight, nothing lent", || {
            live_operations() + live_reapers() == 0 && registrator.lent_bytes() == 0
        });
        drop(registrator);
        // Handles may be closed by another thread's end.
        let end = Instant::now() + QUIET;
        while handles() > before && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        if handles() <= before {
            return;
        }
    }
    panic!("{ROUNDS} rounds, and each has left handles: {}", handles());
}

fn code_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

// 5.4: without room for the pages, a receive without memory.
#[test]
fn a_receive_that_finds_no_room_lends_nothing() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        fail(Call::Receive, WSAENOBUFS, 1);
        registrator.register(&stream, 1, READABLE).unwrap();
        assert_eq!((registrator.lent_bytes(), live_operations()), (0, 1));
        peer.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
    });
}

// 2.8, 5.8: told once, and the next registration goes on.
#[test]
fn a_receive_that_cannot_start_is_an_event_and_its_error() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        for code in [WSAENOBUFS, WSAEMFILE] {
            fail(Call::Receive, code, if code == WSAENOBUFS { 2 } else { 1 });
            registrator.register(&stream, 1, READABLE).unwrap();
            assert_eq!((registrator.lent_bytes(), live_operations()), (0, 0));
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(code_of(stream.read(&mut [0; 8])), code);
            registrator.register(&stream, 2, READABLE).unwrap();
            peer.write_all(b"hello").unwrap();
            expect_events(&mut poll, &mut events, &[(2, true, false)]);
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
        }
        fail(Call::Receive, WSAECONNABORTED, 1);
        registrator.register(&stream, 3, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
        // A broken connection stays broken.
        for _ in 0..2 {
            assert_eq!(code_of(stream.read(&mut [0; 8])), WSAECONNABORTED);
        }
    });
}

// 3.2, 5.5: "too many operations" has the code of "not ready", but no event would say when to try again.
#[test]
fn an_operation_too_many_is_a_failure_and_not_wouldblock() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, _peer) = pair();
        fail(Call::Receive, WSAEWOULDBLOCK, 2);
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(code_of(stream.read(&mut [0; 8])), WSAENOBUFS);
        fail(Call::Send, WSAEWOULDBLOCK, 1);
        let failure = loop {
            match stream.write(&[1; 4096]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(failure.raw_os_error(), Some(WSAENOBUFS));
        // Nothing is in flight, so the next one can be.
        assert_eq!(stream.write(b"x").unwrap(), 1);

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        fail(Call::Receive, WSAEWOULDBLOCK, 2);
        registrator.register(&socket, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(code_of(socket.recv_from(&mut [0; 8])), WSAENOBUFS);
    });
}

// 3.4, 5.5: what `write` did not take is not sent.
#[test]
fn a_send_that_cannot_start_takes_no_byte() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        let lent = registrator.lent_bytes();
        // Every copy fails to start, so the socket is as full as it gets.
        let mut sent = 0;
        fail(Call::Send, WSAENOBUFS, 1);
        let code = loop {
            match stream.write(&[1; 4096]) {
                Ok(count) => sent += count,
                Err(error) => break error.raw_os_error(),
            }
        };
        assert_eq!(code, Some(WSAENOBUFS));
        assert_eq!((registrator.lent_bytes(), live_operations()), (lent, 1));
        // And again, with room in the end.
        registrator.register(&stream, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        let count = until_done(|| stream.write(b"x")).unwrap();
        sent += count;
        stream.shutdown(net::Shutdown::Write).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        assert_eq!(reader.join().unwrap(), sent);
    });
}

// 5.7: the event comes, `accept` says why, and the connection that waits is not lost.
#[test]
fn an_accept_that_cannot_start_is_an_event_and_its_error() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = net::TcpStream::connect(address).unwrap();
        for (call, code) in [
            (Call::Socket, WSAEMFILE),
            (Call::Socket, WSAENOBUFS),
            (Call::Accept, WSAENOBUFS),
        ] {
            fail(call, code, 1);
            registrator.register(&listener, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(code_of(listener.accept()), code);
        }
        // One that met a connection which is gone is started again.
        fail(Call::Accept, WSAECONNRESET, 3);
        registrator.register(&listener, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
    });
}

// 3.5: its failure fires every armed interest, and is told once.
#[test]
fn a_connect_that_cannot_start_fires_what_is_armed() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
        fail(Call::Connect, WSAENOBUFS, 1);
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, true)]);
        let error = stream.take_error().unwrap().unwrap();
        assert_eq!(error.raw_os_error(), Some(WSAENOBUFS));
        assert!(stream.take_error().unwrap().is_none());
    });
}

/// Registers what makes an event at once, beside a thread that polls, until that needs a packet and the packet is refused:
/// it is not needed if that thread does not wait at that moment. Returns the `Poll`.
fn refused_beside_a_poll(
    mut poll: Poll,
    registrator: &Registrator,
    register: impl Fn() -> io::Result<()>,
) -> Poll {
    const LAST: usize = 99;
    let (tell, told) = mpsc::channel();
    let poller = thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        loop {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                if event.id() == LAST {
                    return poll;
                }
                tell.send(event.id()).unwrap();
            }
        }
    });
    loop {
        fail(Call::Post, NO_SYSTEM_RESOURCES, 1);
        let result = register();
        if result.is_err() {
            assert_eq!(code_of(result), NO_SYSTEM_RESOURCES);
            break;
        }
        told.recv().unwrap();
    }
    registrator.wake(LAST).unwrap();
    poller.join().unwrap()
}

// 4.3, 4.4, 2.4
#[test]
fn a_packet_that_cannot_be_posted_fails_its_call_and_changes_nothing() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        fail(Call::Post, NO_SYSTEM_RESOURCES, 2);
        assert_eq!(code_of(registrator.wake(3)), NO_SYSTEM_RESOURCES);
        assert_eq!(code_of(registrator.close_loop()), NO_SYSTEM_RESOURCES);
        assert!(!registrator.is_closed());
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        // Bytes that wait are told by a note, which needs no packet, since nobody polls.
        fail(Call::Post, NO_SYSTEM_RESOURCES, 1);
        registrator.register(&stream, 5, READABLE).unwrap();
        assert_eq!(code_of(registrator.wake(3)), NO_SYSTEM_RESOURCES);
        registrator.wake(3).unwrap();
        expect_events(
            &mut poll,
            &mut events,
            &[(5, true, false), (3, false, false)],
        );
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        registrator.close_loop().unwrap();
        assert!(minimio::is_closed(
            &poll.poll(&mut events, None).unwrap_err()
        ));
    });
}

// 2.4: nothing was armed, so nothing is: also not by a send that ends later.
#[test]
fn a_failed_registration_for_writing_arms_nothing() {
    leaves_nothing(|poll, registrator, mut events| {
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        let mut poll = refused_beside_a_poll(poll, &registrator, || {
            registrator.register(&stream, 2, WRITABLE)
        });
        let sent = fill(&stream);
        let reader = thread::spawn(move || peer.read_exact(&mut vec![0; sent]).map(|()| peer));
        expect_no_events(&mut poll, &mut events);
        let _peer = reader.join().unwrap().unwrap();
        expect_no_events(&mut poll, &mut events);
    });
}

// 2.3: an interest that was armed before is not lost.
#[test]
fn a_note_that_cannot_be_posted_is_kept() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"hello").unwrap();
        // Whoever reads takes the packet, and has to leave a note for the poll.
        fail(Call::Post, NO_SYSTEM_RESOURCES, 1);
        let seen = until_done(|| stream.peek(&mut [0; 8])).unwrap();
        assert_eq!(seen, 5);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
    });
}

// 4.3: a wake that a read has taken off the port.
#[test]
fn a_wake_that_cannot_be_posted_again_is_kept() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, _peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        registrator.wake(7).unwrap();
        fail(Call::Post, NO_SYSTEM_RESOURCES, 1);
        assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
        expect_events(&mut poll, &mut events, &[(7, false, false)]);
    });
}

// 5.5: a datagram cannot be sent in part, so the event would promise what no call keeps.
#[test]
fn a_datagram_is_sent_past_the_bound() {
    leaves_nothing(|_, _, mut events| {
        let mut poll = Poll::with_lent_limit(0).unwrap();
        let registrator = poll.registrator();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = receiver.local_addr().unwrap();
        for token in 0..3 {
            registrator.register(&socket, token, WRITABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, false, true)]);
            fail(Call::SendAtOnce, WSAEWOULDBLOCK, 1);
            assert_eq!(socket.send_to(b"hello", target).unwrap(), 5);
            assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
        }
        registrator.register(&socket, 9, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(9, false, true)]);
        assert_eq!(registrator.lent_bytes(), 0);
    });
}

// 5.2: only its packet ends an operation, and it may take its time.
#[test]
fn a_late_packet_loses_nothing() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut near, mut far) = minimio_pair();
        for size in [1, 5, 4_096, 5_000] {
            registrator.register(&near, 1, READABLE).unwrap();
            assert_eq!(until_done(|| far.write(&vec![7; size])).unwrap(), size);
            delay_packets(5);
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            let mut got = 0;
            while got < size {
                got += until_done(|| near.read(&mut [0; 3_000])).unwrap();
            }
            assert_eq!(kind_of(near.read(&mut [0; 1])), ErrorKind::WouldBlock);
        }
        // Dropped, with the packet on its way round.
        registrator.register(&near, 2, READABLE).unwrap();
        far.write_all(b"unread").unwrap();
        delay_packets(3);
        assert_eq!(kind_of(near.read(&mut [0; 8])), ErrorKind::WouldBlock);
        drop(near);
        expect_no_events(&mut poll, &mut events);
        delay_packets(0);
    });
}

// 5.6: the same for a `Poll` that is dropped first, and for a send.
#[test]
fn late_packets_are_awaited_by_who_comes_after_the_poll() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let accepted = fill(&stream);
        assert_eq!(live_operations(), 2);
        delay_packets(4);
        drop(stream);
        drop(poll);
        delay_packets(0);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), accepted);
    });
}

// 5.8
#[test]
fn a_packet_of_a_failed_receive_is_an_event_and_the_right_error() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        // Without memory the bytes stay in the socket whatever the packet says.
        stream.set_lent_buffer(0);
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"hello").unwrap();
        fail_packet(STATUS_INSUFFICIENT_RESOURCES);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(code_of(stream.read(&mut [0; 8])), WSAENOBUFS);
        // Cancelled, and not by us: it is started again.
        registrator.register(&stream, 2, READABLE).unwrap();
        fail_packet(STATUS_CANCELLED);
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
        registrator.register(&stream, 3, READABLE).unwrap();
        peer.write_all(b"lost").unwrap();
        fail_packet(STATUS_CONNECTION_RESET);
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
        for _ in 0..2 {
            assert_eq!(
                kind_of(stream.read(&mut [0; 8])),
                ErrorKind::ConnectionReset
            );
        }
    });
}

// 5.8: cancelled, and not by us. How much of it went out is not known, so nothing of it is sent again.
#[test]
fn a_send_that_was_cancelled_by_others_is_an_error_and_not_gone_on_with() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let accepted = fill(&stream);
        registrator.register(&stream, 2, WRITABLE).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        fail_packet(STATUS_CANCELLED);
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        for _ in 0..2 {
            assert_eq!(code_of(stream.write(b"x")), WSAECONNABORTED);
        }
        assert_eq!(code_of(stream.read(&mut [0; 8])), WSAEWOULDBLOCK);
        assert_eq!(live_operations(), 0, "nothing is sent again");
        drop(stream);
        assert!(reader.join().unwrap() <= accepted);
    });
}

// 3.10: a system that does not close a socket with a linger time is asked again, without.
#[test]
fn a_close_that_a_linger_time_hinders_is_made_without() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.write_all(b"the last words").unwrap();
        let linger = Some(Duration::from_secs(2));
        socket2::SockRef::from(&stream).set_linger(linger).unwrap();
        fail(Call::Close, WSAEWOULDBLOCK, 1);
        drop(stream);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"the last words");

        // The same with a send in flight: its packet closes the socket.
        let (stream, mut peer) = pair();
        registrator.register(&stream, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        let accepted = fill(&stream);
        socket2::SockRef::from(&stream).set_linger(linger).unwrap();
        fail(Call::Close, WSAEWOULDBLOCK, 1);
        drop(stream);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        while !reader.is_finished() {
            poll.poll(&mut events, Some(Duration::from_millis(1)))
                .unwrap();
        }
        assert_eq!(reader.join().unwrap(), accepted);

        // And a connection that a listener had accepted.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        registrator.register(&listener, 3, READABLE).unwrap();
        let mut client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
        fail(Call::Close, WSAEWOULDBLOCK, 1);
        drop(listener);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

// 3.4, 5.8: bytes that were accepted are lost, so every later write says so.
#[test]
fn a_packet_of_a_failed_send_is_an_event_and_the_error_of_every_write() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (mut stream, mut peer) = pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        fill(&stream);
        registrator.register(&stream, 2, WRITABLE).unwrap();
        fail_packet(STATUS_CONNECTION_RESET);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            drop(peer.read_to_end(&mut all));
        });
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        for _ in 0..2 {
            assert_eq!(kind_of(stream.write(b"x")), ErrorKind::ConnectionReset);
        }
        assert_eq!(registrator.lent_bytes(), 0);
        drop(stream);
        reader.join().unwrap();
    });
}

// 5.7, 3.5
#[test]
fn packets_of_failed_accepts_and_connects() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        let gone = net::TcpStream::connect(address).unwrap();
        fail_packet(STATUS_INVALID_CONNECTION);
        expect_no_events(&mut poll, &mut events);
        let client = net::TcpStream::connect(address).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        drop(gone);
        let stream = TcpStream::connect_nonblocking(address).unwrap();
        registrator.register(&stream, 2, BOTH).unwrap();
        fail_packet(STATUS_CONNECTION_REFUSED);
        expect_events(&mut poll, &mut events, &[(2, true, true)]);
        let error = stream.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

// 5.7
#[test]
fn datagrams_survive_faults() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        fail(Call::Receive, WSAENOBUFS, 1);
        registrator.register(&socket, 1, READABLE).unwrap();
        assert_eq!(registrator.lent_bytes(), 0);
        sender.send_to(b"one", address).unwrap();
        delay_packets(3);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(socket.recv_from(&mut [0; 8]).unwrap().0, 3);
        fail(Call::Receive, WSAEMFILE, 1);
        registrator.register(&socket, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(code_of(socket.recv_from(&mut [0; 8])), WSAEMFILE);
        // About a datagram that was sent: no failure of a receive.
        fail(Call::Receive, WSAECONNRESET, 2);
        registrator.register(&socket, 3, READABLE).unwrap();
        sender.send_to(b"three", address).unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
        assert_eq!(socket.recv_from(&mut [0; 8]).unwrap().0, 5);
    });
}

// 5.7, 5.8: what cannot be sent is told at once, or by the next call.
#[test]
fn datagrams_that_cannot_be_sent_are_told() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = receiver.local_addr().unwrap();
        registrator.register(&socket, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        fail(Call::SendAtOnce, WSAEWOULDBLOCK, 1);
        fail(Call::Send, WSAENOBUFS, 1);
        assert_eq!(code_of(socket.send_to(b"one", target)), WSAENOBUFS);
        assert_eq!((registrator.lent_bytes(), live_operations()), (0, 0));
        // The packet says that it was not sent. Until it is taken, nothing else is.
        fail(Call::SendAtOnce, WSAEWOULDBLOCK, 1);
        assert_eq!(socket.send_to(b"two", target).unwrap(), 3);
        fail_packet(STATUS_INSUFFICIENT_RESOURCES);
        registrator.register(&socket, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        assert_eq!(code_of(socket.send_to(b"three", target)), WSAENOBUFS);
        assert_eq!(socket.send_to(b"four", target).unwrap(), 4);
    });
}

// 5.9: however many connections were gone, nobody is told, and the listener goes on.
#[test]
fn a_flood_of_connections_that_were_gone_is_not_told() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        fail(Call::Accept, WSAECONNRESET, 500);
        registrator.register(&listener, 1, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        fail(Call::Accept, WSAECONNRESET, 0);
    });
}

// 4.1, 4.4: a listener that meets nothing but those tries again by notes, and they must not hold up a poll.
#[test]
fn connections_that_were_gone_without_end_hold_up_no_poll() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        fail(Call::Accept, WSAECONNRESET, usize::MAX);
        registrator.register(&listener, 1, READABLE).unwrap();
        assert_eq!(poll.poll(&mut events, Some(QUIET)).unwrap(), 0);
        registrator.close_loop().unwrap();
        let error = poll.poll(&mut events, None).unwrap_err();
        assert!(minimio::is_closed(&error), "{error}");
        fail(Call::Accept, WSAECONNRESET, 0);
    });
}

// 5.7: what takes a failure away may meet a datagram: it is kept, and no failure is told.
#[test]
fn a_datagram_met_in_the_place_of_a_failure_is_kept() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_lent_buffer(0);
        let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = sender.local_addr().unwrap();
        let target = socket.local_addr().unwrap();
        sender.send_to(b"first", target).unwrap();
        sender.send_to(b"second", target).unwrap();
        until_done(|| socket.peek_from(&mut [0; 8])).unwrap();
        fail(Call::Receive, WSAECONNRESET, 1);
        registrator.register(&socket, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 8];
        assert_eq!(socket.peek_from(&mut buffer[..2]).unwrap(), (2, from));
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, from));
        assert_eq!(&buffer[..5], b"first");
        registrator.register(&socket, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (6, from));
        assert_eq!(&buffer[..6], b"second");
        // And where there is none, a datagram that comes later is an event.
        for _ in 0..2 {
            fail(Call::Receive, WSAECONNRESET, 3);
            registrator.register(&socket, 3, READABLE).unwrap();
            expect_no_events(&mut poll, &mut events);
            sender.send_to(b"third", target).unwrap();
            expect_events(&mut poll, &mut events, &[(3, true, false)]);
            assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, from));
        }
    });
}

// 5.9: a provider that knows no hints for the backlog is asked for what it thinks reasonable.
#[test]
fn a_refused_backlog_is_asked_for_in_the_old_way() {
    leaves_nothing(|mut poll, registrator, mut events| {
        fail(Call::Listen, WSAEINVAL, 1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        listener.accept().unwrap();
    });
}
