//! `try_io`: the crate takes into account what the call moves. No event is lost, and none is false.
//!
//! Contract: docs/contract.md, 3.2, 3.8.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, Plain, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, kind_of, until_done,
    watchdog, SetOnDrop, BOTH, READABLE, WRITABLE,
};
use minimio::{Events, Interests, Poll, Registrator};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// A stream that lends nothing, so that a call within `try_io` finds its bytes on every system.
fn plain_pair<S: StreamEnd>() -> (S, S::Peer) {
    let (stream, peer) = S::pair();
    stream.set_lent_buffer(0);
    (stream, peer)
}

fn try_read<S: StreamEnd>(stream: &S, buffer: &mut [u8]) -> io::Result<usize> {
    stream.try_io(READABLE, |std| std.read(buffer))
}

// 3.8
fn exactly_one_interest_is_named<F: Family>() {
    let _watchdog = watchdog();
    let (stream, _peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    for interests in [
        BOTH,
        Interests::empty(),
        Interests::from_bits_retain(1 << 7),
        READABLE | Interests::from_bits_retain(1 << 7),
    ] {
        let results = [
            stream.try_io(interests, |_| -> io::Result<()> { panic!("it is called") }),
            listener.try_io(interests, |_| panic!("it is called")),
            socket.try_io(interests, |_| panic!("it is called")),
        ];
        assert!(results
            .map(kind_of)
            .iter()
            .all(|&kind| kind == ErrorKind::InvalidInput));
    }
    let result: io::Result<()> = listener.try_io(WRITABLE, |_| panic!("it is called"));
    assert_eq!(kind_of(result), ErrorKind::InvalidInput);
}

// 3.8
fn what_the_call_says_is_passed_on<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    assert_eq!(kind_of(try_read(&stream, &mut [0])), ErrorKind::WouldBlock);
    let sent = stream.try_io(WRITABLE, |std| std.write(b"hello"));
    assert_eq!(sent.unwrap(), 5);
    let mut buffer = [0; 5];
    peer.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    peer.write_all(b"world").unwrap();
    let mut filled = 0;
    while filled < 5 {
        filled += until_done(|| try_read(&stream, &mut buffer[filled..])).unwrap();
    }
    assert_eq!(&buffer, b"world");
    let failed: io::Result<()> =
        stream.try_io(READABLE, |_| Err(io::Error::new(ErrorKind::Other, "mine")));
    assert_eq!(failed.unwrap_err().to_string(), "mine");
    assert_eq!(
        stream.try_io(WRITABLE, |_| Ok("anything")).unwrap(),
        "anything"
    );
}

// 3.8
fn a_call_reads_after_each_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<S>();
    let mut buffer = [0; 8];
    for round in 0..S::effort(100) {
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"ping").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut filled = 0;
        while filled < 4 {
            filled += until_done(|| try_read(&stream, &mut buffer[filled..])).unwrap();
        }
        assert_eq!(&buffer[..4], b"ping");
        if round % 2 == 0 {
            assert_eq!(
                kind_of(try_read(&stream, &mut buffer)),
                ErrorKind::WouldBlock
            );
        }
        registrator.register(&stream, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 3.8: bytes that the call takes count as read. A registration that was made before makes no event of them.
fn what_a_call_takes_is_no_event_any_more<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<S>();
    for round in 0..S::effort(100) {
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!(until_done(|| try_read(&stream, &mut [0; 8])).unwrap(), 1);
        registrator.register(&stream, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        peer.write_all(b"y").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(try_read(&stream, &mut [0; 8]).unwrap(), 1);
    }
}

// 3.8: `WouldBlock` of the call need not mean that nothing is there.
fn a_call_that_would_block_for_another_reason_loses_no_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<S>();
    registrator.register(&stream, 1, BOTH).unwrap();
    peer.write_all(b"here").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    for interest in [READABLE, WRITABLE] {
        let refused: io::Result<()> =
            stream.try_io(interest, |_| Err(ErrorKind::WouldBlock.into()));
        assert_eq!(kind_of(refused), ErrorKind::WouldBlock);
    }
    registrator.register(&stream, 2, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, true)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 4);
}

// 3.8
fn an_interest_that_the_call_arms_is_not_lost<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<S>();
    peer.write_all(b"ab").unwrap();
    await_bytes(&stream, 2);
    let mut byte = [0];
    let count = stream.try_io(READABLE, |std| {
        registrator.register(&stream, 1, BOTH)?;
        // One call is made inside the other.
        stream.try_io(READABLE, |_| Ok(()))?;
        std.read(&mut byte)
    });
    assert_eq!((count.unwrap(), &byte), (1, b"a"));
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    assert_eq!(until_done(|| try_read(&stream, &mut byte)).unwrap(), 1);
    // Now nothing is there any more.
    stream
        .try_io(WRITABLE, |_| registrator.register(&stream, 2, BOTH))
        .unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"c").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

// 3.8
fn a_call_that_panics_leaves_the_source_in_order<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<F::Stream>();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    socket.set_lent_buffer(0);
    for interest in [READABLE, WRITABLE] {
        let panics = || stream.try_io(interest, |_| -> io::Result<()> { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let panics = || socket.try_io(interest, |_| -> io::Result<()> { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    }
    let panics = || listener.try_io(READABLE, |_| -> io::Result<()> { panic!("on purpose") });
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    registrator.register(&stream, 1, BOTH).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();
    registrator.register(&socket, 3, BOTH).unwrap();
    peer.write_all(b"x").unwrap();
    let _client = F::Listener::connect(&address);
    let sender = <F::Datagram as DatagramEnd>::Peer::bind_of(0);
    sender.send_to(b"y", &socket.address()).unwrap();
    let expected = [(1, true, true), (2, true, false), (3, true, true)];
    expect_events(&mut poll, &mut events, &expected);
}

// 3.8
fn calls_of_a_listener_and_of_a_datagram_socket<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    let own = socket.address();
    socket.set_lent_buffer(0);
    let result = listener.try_io(READABLE, F::Listener::accept_plain);
    assert_eq!(kind_of(result), ErrorKind::WouldBlock);
    let client = F::Listener::connect(&address);
    let accepted = until_done(|| listener.try_io(READABLE, F::Listener::accept_plain));
    assert_eq!(accepted.unwrap(), F::Listener::name(&client));
    for round in 0..10 {
        registrator.register(&socket, round, READABLE).unwrap();
        let sent = socket.try_io(WRITABLE, |std| std.send_to(b"datagram", &own));
        assert_eq!(sent.unwrap(), 8);
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut buffer = [0; 16];
        let received = socket.try_io(READABLE, |std| std.recv_from(&mut buffer));
        assert_eq!(received.unwrap(), (8, own.clone()));
        registrator.register(&socket, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 3.2, 3.8: a failure that the call reports counts like that of any other call.
fn a_reset_that_a_call_tells_of_stays<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    stream.reset(peer);
    // The system decides what it reports first. A write is a broken pipe on the BSDs, and a read is an end under Wine
    // 8.
    let told = |stream: &S| {
        if cfg!(windows) {
            stream.try_io(WRITABLE, |std| std.write(b"x"))
        } else {
            stream.try_io(READABLE, |std| std.read(&mut [0; 8]))
        }
    };
    let error = loop {
        match told(&stream) {
            Ok(_) if cfg!(windows) => thread::yield_now(),
            Ok(count) => panic!("{count} bytes"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(
        [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted].contains(&error.kind()),
        "{error}"
    );
    for _ in 0..3 {
        assert_eq!(kind_of(stream.read(&mut [0; 8])), error.kind());
    }
    assert_eq!(stream.take_error().unwrap().unwrap().kind(), error.kind());
    assert!(stream.take_error().unwrap().is_none());
}

// 3.8: the call has used something else, whose failure it was. On Windows such a call has to use this source alone.
#[cfg(unix)]
#[test]
fn a_failure_of_something_else_is_no_failure_of_the_stream() {
    let _watchdog = watchdog();
    let (stream, mut peer) = common::pair();
    let result = stream.try_io(READABLE, |_| -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ECONNRESET))
    });
    assert_eq!(kind_of(result), ErrorKind::ConnectionReset);
    peer.write_all(b"x").unwrap();
    drop(peer);
    let mut buffer = [0; 8];
    assert_eq!(common::read_some(&stream, &mut buffer), 1);
    assert_eq!(common::read_some(&stream, &mut buffer), 0);
    assert!(stream.take_error().unwrap().is_none());
}

// 3.8: another thread reads while the poll goes on. Each byte comes once, and no event is lost.
fn calls_of_another_thread_lose_no_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = plain_pair::<S>();
    let total = S::effort(20_000);
    let ended = AtomicBool::new(false);
    let (mut by_event, mut by_thread) = (0, 0);
    thread::scope(|scope| {
        let (stream, ended) = (&stream, &ended);
        let thief = scope.spawn(move || {
            let mut count = 0;
            while !ended.load(Ordering::SeqCst) {
                count += try_read(stream, &mut [0; 1]).unwrap_or(0);
                thread::yield_now();
            }
            count
        });
        scope.spawn(move || {
            for _ in 0..total {
                peer.write_all(b"x").unwrap();
            }
            peer
        });
        let ends = SetOnDrop(ended);
        let mut ended_early = false;
        while !ended_early {
            registrator.register(stream, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            loop {
                match try_read(stream, &mut [0; 3]) {
                    Ok(0) => {
                        ended_early = true;
                        break;
                    }
                    Ok(count) => by_event += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
        drop(ends);
        by_thread = thief.join().unwrap();
    });
    assert_eq!(by_event + by_thread, total);
}

suite! {
    streams {
        what_the_call_says_is_passed_on,
        a_call_that_would_block_for_another_reason_loses_no_event,
        an_interest_that_the_call_arms_is_not_lost,
    }
    sockets {
        a_reset_that_a_call_tells_of_stays,
    }
    reading {
        a_call_reads_after_each_event,
        what_a_call_takes_is_no_event_any_more,
        calls_of_another_thread_lose_no_event,
    }
    families {
        exactly_one_interest_is_named,
        a_call_that_panics_leaves_the_source_in_order,
        calls_of_a_listener_and_of_a_datagram_socket,
    }
}
