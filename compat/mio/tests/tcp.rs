//! Streams and listeners: every edge is an event.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{any_port, drain, fill, is_ours, pair, watchdog, Loop, HANG, R, RW, W};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

#[test]
fn the_end_of_a_connect_is_a_writable_event() {
    let mut looping = Loop::new();
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    assert!(stream.take_error().unwrap().is_none());
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
}

#[test]
fn a_connect_that_ended_before_the_registration_is_an_event() {
    let mut looping = Loop::new();
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // On Unix the connection is there now. On Windows it may begin with the registration.
    #[cfg(unix)]
    let _peer = listener.accept().unwrap();
    looping.register(&mut stream, 1, W);
    looping.writable(1);
}

#[test]
fn a_refused_connect_is_an_event_with_an_error_to_take() {
    let mut looping = Loop::new();
    let unused = net::TcpListener::bind(any_port()).unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let Ok(mut stream) = TcpStream::connect(address) else {
        return; // A refusal may be the call's.
    };
    looping.register(&mut stream, 1, RW);
    looping.until(1, "failed connect", |event| {
        event.is_writable() || event.is_error()
    });
    let error = stream.take_error().unwrap();
    assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_waits_at_the_registration_is_an_event() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    peer.write_all(b"early").unwrap();
    let mut byte = [0];
    while stream.peek(&mut byte).is_err() {
        thread::yield_now();
    }
    looping.register(&mut stream, 1, R);
    looping.readable(1);
    assert_eq!(drain(&stream), (b"early".to_vec(), false));
}

#[test]
fn each_arrival_after_a_drain_is_an_event() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    for round in 0..300_u32 {
        peer.write_all(&round.to_ne_bytes()).unwrap();
        let mut came = Vec::new();
        while came.len() < 4 {
            looping.readable(1);
            came.extend(drain(&stream).0);
        }
        assert_eq!(came, round.to_ne_bytes());
    }
}

#[test]
fn what_came_while_nobody_polled_is_an_event() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    for _ in 0..10 {
        assert_eq!(drain(&stream).0.len(), 0);
        peer.write_all(b"a").unwrap();
        let mut byte = [0];
        while stream.peek(&mut byte).is_err() {
            thread::yield_now();
        }
        looping.readable(1);
        assert_eq!(drain(&stream).0, b"a");
    }
}

#[test]
fn a_peek_that_would_block_leaves_an_event_to_come() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, R);
    for _ in 0..20 {
        let error = stream.peek(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        peer.write_all(b"abcd").unwrap();
        looping.readable(1);
        let mut four = [0; 4];
        while stream.peek(&mut four).map_or(true, |count| count < 4) {
            thread::yield_now();
        }
        assert_eq!(&four, b"abcd");
        assert_eq!(drain(&stream).0, b"abcd");
    }
}

#[test]
fn a_call_of_the_users_own_that_would_block_leaves_an_event_to_come() {
    if cfg!(all(windows, feature = "lend")) {
        return; // Such a call misses what was received into lent memory.
    }
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    for _ in 0..20 {
        let read = || {
            let socket = socket2::SockRef::from(&stream);
            let mut byte = [std::mem::MaybeUninit::uninit()];
            socket.recv(&mut byte)
        };
        let error = stream.try_io(read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        peer.write_all(b"x").unwrap();
        looping.readable(1);
        assert_eq!(stream.try_io(read).unwrap(), 1);
    }
}

#[test]
fn room_after_a_write_that_would_block_is_an_event() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    for _ in 0..3 {
        looping.writable(1);
        let mut left = fill(&stream);
        assert!(left > 0);
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let room = left.min(buffer.len());
            left -= peer.read(&mut buffer[..room]).unwrap();
        }
    }
    looping.writable(1);
}

#[test]
fn the_peers_end_is_told_with_nothing_unread() {
    let mut looping = Loop::new();
    let (mut stream, peer) = pair();
    looping.register(&mut stream, 1, R);
    assert_eq!(drain(&stream), (vec![], false));
    peer.shutdown(Shutdown::Write).unwrap();
    looping.until(1, "read-closed", |event| {
        event.is_readable() && event.is_read_closed()
    });
    assert_eq!(drain(&stream), (vec![], true));
}

// On Windows the end is told once what comes before it was read, see `lib.rs`.
#[cfg(unix)]
#[test]
fn the_peers_end_is_told_although_nobody_drained() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    peer.write_all(b"unread").unwrap();
    looping.readable(1);
    drop(peer);
    looping.until(1, "read-closed", |event| {
        event.is_readable() && event.is_read_closed()
    });
    assert_eq!(drain(&stream), (b"unread".to_vec(), true));
}

#[test]
fn the_end_behind_bytes_is_told_once_they_are_read() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    peer.write_all(b"last words").unwrap();
    looping.readable(1);
    drop(peer);
    let mut words = [0; 10];
    let mut came = 0;
    while came < words.len() {
        match stream.read(&mut words[came..]) {
            Ok(count) => came += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    looping.until(1, "read-closed", |event| event.is_read_closed());
    assert_eq!(drain(&stream), (vec![], true));
}

#[test]
fn a_reset_is_told() {
    let mut looping = Loop::new();
    let (mut stream, peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    assert_eq!(drain(&stream), (vec![], false));
    socket2::SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    looping.readable(1);
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_shutdown_of_ones_own_reading_is_told() {
    if cfg!(windows) && !is_ours() {
        return; // The real mio under Wine does not tell it.
    }
    let mut looping = Loop::new();
    let (mut stream, _peer) = pair();
    looping.register(&mut stream, 1, R);
    assert_eq!(drain(&stream), (vec![], false));
    stream.shutdown(Shutdown::Read).unwrap();
    looping.readable(1);
    assert_eq!(drain(&stream), (vec![], true));
}

#[test]
fn a_reregistration_changes_the_token_and_tells_anew() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    peer.write_all(b"unread").unwrap();
    looping.readable(1);
    for token in 2..20 {
        looping
            .registry()
            .reregister(&mut stream, Token(token), RW)
            .unwrap();
        let event = looping.readable(token);
        assert_eq!(event.token(), Token(token));
        let rest = looping.rest();
        assert!(
            rest.iter().all(|event| event.token() == Token(token)),
            "{rest:?}"
        );
    }
}

#[test]
fn a_reregistration_changes_the_interests() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    let registry = looping.registry();
    registry.register(&mut stream, Token(1), R).unwrap();
    registry.reregister(&mut stream, Token(1), W).unwrap();
    peer.write_all(b"unread").unwrap();
    looping.writable(1);
    let mut byte = [0];
    while stream.peek(&mut byte).is_err() {
        thread::yield_now();
    }
    let rest = looping.rest();
    assert!(!rest.iter().any(|event| event.is_readable()), "{rest:?}");
    looping
        .registry()
        .reregister(&mut stream, Token(1), R)
        .unwrap();
    let event = looping.readable(1);
    assert!(!event.is_writable());
    let rest = looping.rest();
    assert!(!rest.iter().any(|event| event.is_writable()), "{rest:?}");
}

#[test]
fn a_source_that_was_deregistered_tells_nothing() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    let registry = looping.registry();
    registry.register(&mut stream, Token(1), RW).unwrap();
    peer.write_all(b"early").unwrap();
    let mut byte = [0];
    while stream.peek(&mut byte).is_err() {
        thread::yield_now();
    }
    registry.deregister(&mut stream).unwrap();
    peer.write_all(b"late").unwrap();
    assert_eq!(looping.rest().len(), 0);
    looping.register(&mut stream, 2, RW);
    looping.readable(2);
    looping.registry().deregister(&mut stream).unwrap();
    assert_eq!(looping.rest().len(), 0);
}

#[test]
fn a_source_that_was_dropped_tells_nothing() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    peer.write_all(b"early").unwrap();
    let mut byte = [0];
    while stream.peek(&mut byte).is_err() {
        thread::yield_now();
    }
    drop(stream);
    assert_eq!(looping.rest().len(), 0);
}

// On Windows a socket belongs to one completion port for life.
#[cfg(unix)]
#[test]
fn a_source_may_move_to_another_poll() {
    let (mut stream, mut peer) = pair();
    let mut loops = [Loop::new(), Loop::new()];
    for round in 0..10 {
        let looping = &mut loops[round % 2];
        looping.register(&mut stream, round, RW);
        peer.write_all(b"word").unwrap();
        looping.readable(round);
        assert_eq!(drain(&stream).0, b"word");
        looping.registry().deregister(&mut stream).unwrap();
        peer.write_all(b"more").unwrap();
        assert_eq!(loops[round % 2].rest().len(), 0);
        let other = &mut loops[(round + 1) % 2];
        other.registry().register(&mut stream, Token(9), R).unwrap();
        other.readable(9);
        assert_eq!(drain(&stream).0, b"more");
        other.registry().deregister(&mut stream).unwrap();
    }
}

#[test]
fn wrong_registrations_are_mios_errors() {
    let looping = Loop::new();
    let registry = looping.registry();
    let (mut stream, _peer) = pair();
    let unknown = registry.reregister(&mut stream, Token(1), R).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let unknown = registry.deregister(&mut stream).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    registry.register(&mut stream, Token(1), R).unwrap();
    let twice = registry.register(&mut stream, Token(1), R).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
    registry.deregister(&mut stream).unwrap();
    let unknown = registry.deregister(&mut stream).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    registry.register(&mut stream, Token(1), R).unwrap();
    let elsewhere = Poll::new().unwrap();
    let twice = elsewhere
        .registry()
        .register(&mut stream, Token(1), R)
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn clients_are_events_and_are_accepted_until_none_is_left() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let early = net::TcpStream::connect(address).unwrap();
    looping.register(&mut listener, 1, RW);
    let mut clients = vec![early];
    for round in 0..20 {
        let mut accepted = 0;
        while accepted < clients.len() {
            looping.readable(1);
            loop {
                match listener.accept() {
                    Ok((stream, _)) => {
                        accepted += 1;
                        assert_eq!(drain(&stream), (vec![], false), "it must not block");
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("cannot accept: {error}"),
                }
            }
        }
        assert_eq!(accepted, clients.len());
        clients.clear();
        for _ in 0..1 + round % 4 {
            clients.push(net::TcpStream::connect(address).unwrap());
        }
    }
}

#[test]
fn a_listener_tells_nothing_after_its_deregistration() {
    let mut looping = Loop::new();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let registry = looping.registry();
    registry.register(&mut listener, Token(1), R).unwrap();
    registry.deregister(&mut listener).unwrap();
    let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(looping.rest().len(), 0);
    looping.register(&mut listener, 2, R);
    looping.readable(2);
    listener.accept().unwrap();
}

#[test]
fn a_full_batch_loses_nothing() {
    let mut looping = Loop::with_capacity(1);
    let mut pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    for (token, (stream, _)) in pairs.iter_mut().enumerate() {
        looping
            .registry()
            .register(stream, Token(token), RW)
            .unwrap();
    }
    for (_, peer) in &mut pairs {
        peer.write_all(b"word").unwrap();
    }
    let mut came = vec![false; pairs.len()];
    let began = std::time::Instant::now();
    while came.contains(&false) {
        looping
            .poll
            .poll(&mut looping.events, Some(Duration::from_secs(1)))
            .unwrap();
        assert!(looping.events.iter().count() <= 1);
        for event in &looping.events {
            came[event.token().0] |= event.is_readable();
        }
        assert!(began.elapsed() < HANG, "{came:?}");
    }
}

#[test]
fn a_poll_without_a_time_limit_never_returns_without_an_event() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let registry = looping.registry().try_clone().unwrap();
    let (mut stream, mut peer) = pair();
    registry.register(&mut stream, Token(1), RW).unwrap();
    let (done, is_done) = mpsc::channel();
    let changing = thread::spawn(move || {
        let mut token = 1;
        while is_done.try_recv() == Err(mpsc::TryRecvError::Empty) {
            peer.write_all(b"word").unwrap();
            token = 3 - token;
            registry.reregister(&mut stream, Token(token), RW).unwrap();
            drain(&stream);
        }
        // The last poll must not hang.
        registry.reregister(&mut stream, Token(1), RW).unwrap();
        (stream, peer)
    });
    for _ in 0..3000 {
        looping.poll.poll(&mut looping.events, None).unwrap();
        assert!(!looping.events.is_empty());
    }
    done.send(()).unwrap();
    changing.join().unwrap();
}

#[test]
fn a_registration_of_another_thread_reaches_a_poll_that_waits() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let registry = looping.registry().try_clone().unwrap();
    let registering = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let (mut stream, peer) = pair();
        registry.register(&mut stream, Token(1), W).unwrap();
        (stream, peer)
    });
    looping.poll.poll(&mut looping.events, None).unwrap();
    assert!(looping.events.iter().any(|event| event.is_writable()));
    registering.join().unwrap();
}

#[test]
fn pieces_of_memory_go_and_come_together() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    let count = stream
        .write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")])
        .unwrap();
    stream.flush().unwrap();
    let mut four = [0; 4];
    peer.read_exact(&mut four[..count]).unwrap();
    assert_eq!(&four[..count], &b"abcd"[..count]);
    peer.write_all(b"efgh").unwrap();
    let mut came = [[0; 2]; 2];
    let mut all = 0;
    while all < 4 {
        looping.readable(1);
        let [first, second] = &mut came;
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let mut slices = &mut slices[..];
        IoSliceMut::advance_slices(&mut slices, all);
        while let Ok(count) = stream.read_vectored(slices) {
            all += count;
            if all == 4 {
                break;
            }
            IoSliceMut::advance_slices(&mut slices, count);
        }
    }
    assert_eq!(came, [*b"ef", *b"gh"]);
}

// A program may flush at each writable event.
#[test]
fn a_flush_is_no_reason_for_events() {
    let mut looping = Loop::new();
    let (mut stream, _peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    looping.rest();
    for _ in 0..10 {
        stream.flush().unwrap();
        let rest = looping.rest();
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_flush_does_not_wait_for_the_peer() {
    let mut looping = Loop::new();
    let (mut stream, _peer) = pair();
    looping.register(&mut stream, 1, RW);
    looping.writable(1);
    fill(&stream);
    stream.flush().unwrap();
}

#[test]
fn a_boxed_source_is_one() {
    let mut looping = Loop::new();
    let (stream, mut peer) = pair();
    let mut source: Box<dyn mio::event::Source> = Box::new(stream);
    let registry = looping.registry();
    registry.register(&mut source, Token(1), R).unwrap();
    peer.write_all(b"word").unwrap();
    looping.readable(1);
    let registry = looping.registry();
    registry
        .reregister(&mut source, Token(2), Interest::WRITABLE)
        .unwrap();
    looping.writable(2);
    looping.registry().deregister(&mut source).unwrap();
}

#[test]
fn two_threads_use_the_two_directions_of_one_stream() {
    let _watchdog = watchdog();
    const BYTES: usize = 4 << 20;
    let mut looping = Loop::new();
    let (mut stream, peer) = pair();
    looping.register(&mut stream, 1, RW);
    let (mut reads, mut writes) = (peer.try_clone().unwrap(), peer);
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut left = BYTES;
        while left > 0 {
            left -= reads.read(&mut buffer).unwrap();
        }
    });
    let writing = thread::spawn(move || {
        let buffer = vec![1; 64 << 10];
        for _ in 0..BYTES / buffer.len() {
            writes.write_all(&buffer).unwrap();
        }
        writes
    });
    let (mut came, mut went) = (0, 0);
    let buffer = vec![2; 64 << 10];
    while came < BYTES || went < BYTES {
        looping.poll.poll(&mut looping.events, Some(HANG)).unwrap();
        assert!(!looping.events.is_empty(), "hangs at {came} and {went}");
        came += drain(&stream).0.len();
        while went < BYTES {
            match stream.write(&buffer[..buffer.len().min(BYTES - went)]) {
                Ok(count) => went += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot write: {error}"),
            }
        }
    }
    reading.join().unwrap();
    writing.join().unwrap();
}
