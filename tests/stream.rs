//! Streams: what read, write, peek and shutdown promise, with the events around them.
//!
//! Contract: docs/contract.md, 1, 2.1, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 3.1, 3.2, 3.3, 3.4, 3.7, 3.8, 4.6, 5.4, 5.5, 6.1,
//! 6.7, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::ends::{suite, ListenerEnd, Peer, Plain, StreamEnd};
use common::{
    await_bytes, effort, expect_events, expect_no_events, expect_nothing_queued, expect_shut_down,
    fill, fill_and_arm, kind_of, minimio_pair, pair, pair_over, read_exact_by_events, read_some,
    std_pair, under_wine, until_done, watchdog, write_all_by_events, SetOnDrop, HANG, LOOPBACKS,
};
use minimio::{Events, Interests, Poll, Registrator, TcpStream};
use socket2::SockRef;

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// Bytes that differ from place to place, and from one `seed` to another.
fn pattern(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        // Xorshift: four bytes a step.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend(state.to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// FNV-1a, a checksum that shows lost, doubled and swapped bytes.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Reads until the end or an error, and waits by events. Returns the bytes, and the error if there was one.
fn read_to_end_by_events<S: StreamEnd>(
    poll: &mut Poll,
    events: &mut Events,
    stream: &S,
) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        poll.registrator().register(stream, 1, READABLE).unwrap();
        expect_events(poll, events, &[(1, true, false)]);
        match stream.read(&mut buffer) {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

/// Reads what the peer still gets, while this thread polls and expects no event.
fn read_to_end_while_polling<P: Peer>(
    poll: &mut Poll,
    events: &mut Events,
    mut peer: P,
) -> Vec<u8> {
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    while !reader.is_finished() {
        let count = poll.poll(events, Some(Duration::from_millis(5))).unwrap();
        assert_eq!(count, 0, "no event was due: {events:?}");
    }
    reader.join().unwrap()
}

// 3.1
fn an_unregistered_stream_reads_and_writes_without_blocking<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (stream, mut peer) = S::pair_of(kind);
        let mut buffer = [0; 16];
        assert_eq!(kind_of(stream.read(&mut buffer)), ErrorKind::WouldBlock);

        peer.write_all(b"hello").unwrap();
        await_bytes(&stream, 5);
        assert_eq!(stream.read(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");

        assert_eq!(stream.write(b"world!").unwrap(), 6);
        peer.read_exact(&mut buffer[..6]).unwrap();
        assert_eq!(&buffer[..6], b"world!");
    }
}

// 3.1
fn a_full_stream_refuses_a_write_without_blocking<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    assert!(fill(&stream) > 0);
    refused_when_full(&stream, || stream.write(b"more"));
    let buffers = [IoSlice::new(b"more"), IoSlice::new(b"still")];
    refused_when_full(&stream, || stream.write_vectored(&buffers));
}

/// A system may find a little more room after the stream was full. Then this fills it again. The peer never reads, so
/// that has an end.
fn refused_when_full<S: StreamEnd>(stream: &S, mut write: impl FnMut() -> io::Result<usize>) {
    for _ in 0..100 {
        match write() {
            Ok(_) => fill(stream),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
        };
    }
    panic!("there is always room");
}

// 3.1, 8
fn a_registered_stream_reads_before_any_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"early").unwrap();
        let mut buffer = [0; 16];
        let count = until_done(|| stream.read(&mut buffer)).unwrap();
        assert_eq!(&buffer[..count], b"early");

        // Whatever the early read did to the event of the first bytes, the next bytes make an event.
        registrator.register(&stream, 2, READABLE).unwrap();
        peer.write_all(b"later").unwrap();
        let mut text = Vec::new();
        while text.len() < 5 {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            match stream.read(&mut buffer) {
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            registrator.register(&stream, 2, READABLE).unwrap();
        }
        assert_eq!(text, b"later");
    }
}

// 3.2
fn the_first_read_after_an_event_gives_bytes<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        let mut buffer = [0; 4096];
        for round in 0..S::effort(300) {
            registrator.register(&stream, round, READABLE).unwrap();
            peer.write_all(&round.to_ne_bytes()).unwrap();
            expect_events(&mut poll, &mut events, &[(round, true, false)]);
            // Loopback does not cut small writes.
            assert_eq!(stream.read(&mut buffer).unwrap(), size_of_token());
            assert_eq!(buffer[..size_of_token()], round.to_ne_bytes());
            // In every other round one more read looks and finds nothing.
            if round % 2 == 0 {
                assert_eq!(kind_of(stream.read(&mut buffer)), ErrorKind::WouldBlock);
            }
        }
    }
}

fn size_of_token() -> usize {
    std::mem::size_of::<minimio::Token>()
}

// 3.3, 8
fn messages_of_every_size_arrive_and_return_whole<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        for buffer_size in [1024, 4096, 100_000] {
            let (mut poll, registrator, mut events) = queue();
            let (stream, mut peer) = S::pair_of(kind);
            let mut buffer = vec![0; buffer_size];
            for (seed, size) in (1..).zip([1, 1023, 1024, 1025, 4096, 4097, 65_537]) {
                let message = pattern(seed, size);
                peer.write_all(&message).unwrap();
                let mut received = Vec::new();
                while received.len() < size {
                    registrator.register(&stream, 1, READABLE).unwrap();
                    expect_events(&mut poll, &mut events, &[(1, true, false)]);
                    let count = stream.read(&mut buffer).unwrap();
                    assert_ne!(count, 0);
                    received.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(checksum(&received), checksum(&message), "{size} bytes");

                write_all_by_events(&mut poll, &mut events, &stream, 1, &received);
                let mut echoed = vec![0; size];
                peer.read_exact(&mut echoed).unwrap();
                assert_eq!(checksum(&echoed), checksum(&message), "{size} bytes");
            }
        }
    }
}

// 3.3, 2.1, 8
fn mebibytes_cross_both_ways_at_once<S: StreamEnd>() {
    let size = (16 << 20) / S::SHARE;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, peer) = S::pair();
    let outgoing = pattern(1, size);
    let expected = checksum(&outgoing);
    let reader = thread::spawn({
        let mut peer = peer.duplicate();
        move || {
            let mut received = vec![0; size];
            peer.read_exact(&mut received).unwrap();
            checksum(&received)
        }
    });
    let writer = thread::spawn({
        let mut peer = peer;
        move || {
            let bytes = pattern(2, size);
            peer.write_all(&bytes).unwrap();
            (peer, checksum(&bytes))
        }
    });

    let mut incoming = Vec::with_capacity(size);
    let mut buffer = vec![0; 48 << 10];
    let mut written = 0;
    registrator
        .register(&stream, 1, READABLE | WRITABLE)
        .unwrap();
    while written < size || incoming.len() < size {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0, "stuck");
        for event in &events {
            if event.is_readable() {
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                incoming.extend_from_slice(&buffer[..count]);
                if incoming.len() < size {
                    registrator.register(&stream, 1, READABLE).unwrap();
                }
            }
            if event.is_writable() {
                written += stream.write(&outgoing[written..]).unwrap();
                if written < size {
                    registrator.register(&stream, 1, WRITABLE).unwrap();
                }
            }
        }
    }
    assert_eq!(reader.join().unwrap(), expected);
    let (_peer, sent) = writer.join().unwrap();
    assert_eq!(checksum(&incoming), sent);
}

// 3.3, 8
fn a_burst_is_read_byte_by_byte_with_an_event_for_each<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let burst = pattern(7, S::effort(3_000));
    registrator.register(&stream, 0, READABLE).unwrap();
    for part in burst.chunks(100) {
        peer.write_all(part).unwrap();
    }
    let mut byte = [0; 1];
    for (at, &expected) in burst.iter().enumerate() {
        registrator.register(&stream, at, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(at, true, false)]);
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], expected, "byte {at}");
    }
    assert_eq!(kind_of(stream.read(&mut byte)), ErrorKind::WouldBlock);
}

// 2.3, 8
fn an_event_comes_for_bytes_that_wait_already<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        peer.write_all(b"waiting").unwrap();
        await_bytes(&stream, 7);
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).unwrap(), 7);
    }
}

// 2.1
fn what_a_read_left_is_reported_by_the_next_registration<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"0123456789").unwrap();
    await_bytes(&stream, 10);
    for expected in [&b"0123"[..], b"4567", b"89"] {
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 4];
        let count = stream.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], expected);
    }
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.1, 2.3
fn an_event_that_is_answered_by_no_read_comes_again_when_registered_again<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"unread").unwrap();
    for token in 0..20 {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    expect_nothing_queued(&mut poll, &mut events);
}

// 3.2, 6.1
fn bytes_that_come_between_the_event_and_the_read_are_not_reported_twice<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"first").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    peer.write_all(b"second").unwrap();
    let mut buffer = [0; 64];
    // The second message may still be on its way. On Windows the first is in the lent buffer.
    let mut count = 0;
    while count < 11 {
        count += read_some(&stream, &mut buffer[count..]);
    }
    assert_eq!(&buffer[..count], b"firstsecond");

    // The kernel has an edge for the second message, but there is nothing left to read.
    registrator.register(&stream, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"third").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
}

// 3.2, 6.1
fn a_read_that_fills_its_buffer_hides_nothing_that_comes_later<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let mut buffer = [0; 8];
    for round in 0..S::effort(100) {
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(&[1; 8]).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 8);
    }
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.3, 3.2, 6.1: another thread handles an edge while a read is about to find nothing.
fn bytes_that_come_during_a_read_are_not_lost<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let (stream, mut peer) = S::pair();
    let rounds = S::effort(1_000);
    let sent = AtomicUsize::new(0);
    let wanted = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (readable, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = Events::with_capacity(4);
            while !stop.load(Ordering::SeqCst) {
                // This thread never blocks, so it handles edges as soon as they come, whether or not an interest is
                // armed.
                if poll.poll(&mut events, Some(Duration::ZERO)).unwrap() > 0 {
                    readable.send(()).unwrap();
                }
            }
        });
        scope.spawn(|| {
            for round in 1..=rounds {
                while wanted.load(Ordering::SeqCst) < round {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    std::hint::spin_loop();
                }
                for _ in 0..(round * 7) % 256 {
                    std::hint::spin_loop();
                }
                peer.write_all(&[1]).unwrap();
                sent.store(round, Ordering::SeqCst);
            }
        });
        let _stop = SetOnDrop(&stop);
        let mut buffer = [0; 16];
        for round in 1..=rounds {
            wanted.store(round, Ordering::SeqCst);
            loop {
                match stream.read(&mut buffer) {
                    Ok(count) => {
                        assert_eq!(count, 1);
                        break;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                // In some rounds the thread reads again and again, so that a read is under way when the byte comes.
                if round % 4 != 0 && sent.load(Ordering::SeqCst) < round {
                    continue;
                }
                registrator.register(&stream, round, READABLE).unwrap();
                let event = told.recv_timeout(HANG / 4);
                assert!(event.is_ok(), "no event came for a byte that waits");
            }
            // This event belongs to a registration whose bytes another read has taken.
            while told.try_recv().is_ok() {}
        }
    });
}

// 3.2, 8: the peer closes with data unread.
fn the_bytes_of_a_peer_that_closed_come_before_the_end<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, _, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        let last_words = pattern(3, 30_000);
        peer.write_all(&last_words).unwrap();
        drop(peer);
        let (received, error) = read_to_end_by_events(&mut poll, &mut events, &stream);
        assert_eq!(error, None);
        assert_eq!(checksum(&received), checksum(&last_words));
    }
}

// 3.2, 6.1: an end that came together with the bytes has no edge of its own.
fn three_bytes_and_the_end_read_with_a_large_buffer_leave_an_event_for_the_end<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        let mut buffer = [0; 100];
        peer.write_all(b"abc").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        await_bytes(&stream, 3);
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 3);
        for token in 2..5 {
            registrator.register(&stream, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            assert_eq!(stream.read(&mut buffer).unwrap(), 0);
        }
    }
}

// 3.2, 6.1: the end comes between the event and the read.
fn an_end_that_comes_between_the_event_and_the_read_is_reported<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for round in 0..S::effort(50) {
        let (stream, mut peer) = S::pair();
        let mut buffer = [0; 100];
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"abc").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        drop(peer);
        assert_eq!(stream.read(&mut buffer).unwrap(), 3);
        registrator.register(&stream, round, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    }
}

// 3.4, 8: a half-close.
fn after_the_peer_has_half_closed_bytes_still_go_to_it<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);

        let answer = pattern(4, 300_000);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            received
        });
        write_all_by_events(&mut poll, &mut events, &stream, 2, &answer);
        drop(stream);
        assert_eq!(checksum(&reader.join().unwrap()), checksum(&answer));
    }
}

// 3.2, 8: a half-close.
fn after_a_half_close_of_ours_bytes_still_come<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        expect_shut_down(stream.write(b"x"));
        expect_no_events(&mut poll, &mut events);

        let answer = pattern(5, 100_000);
        let writer = thread::spawn({
            let answer = answer.clone();
            move || peer.write_all(&answer).unwrap()
        });
        let mut received = vec![0; answer.len()];
        read_exact_by_events(&mut poll, &mut events, &stream, 2, &mut received);
        writer.join().unwrap();
        assert_eq!(checksum(&received), checksum(&answer));
    }
}

// 3.2
fn a_shutdown_of_reading_fires_an_armed_readable_and_ends_the_stream<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, _peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        stream.shutdown(Shutdown::Read).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }
}

// 3.2
fn a_shutdown_of_reading_that_wakes_a_blocked_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, _peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        let stream = &stream;
        scope.spawn(move || {
            common::let_it_block();
            stream.shutdown(Shutdown::Read).unwrap();
        });
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
    });
}

// 3.2
fn a_shutdown_of_both_directions_ends_reading_and_writing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    expect_shut_down(stream.write(b"x"));
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

// 2.8, 3.2, 8: a reset while an interest is armed.
fn a_reset_is_an_event_and_the_error_of_the_read<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.reset(peer);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 8];
        assert_eq!(
            kind_of(stream.read(&mut buffer)),
            ErrorKind::ConnectionReset
        );
    }
}

// 2.3, 8: a reset while an interest is armed.
fn a_reset_fires_a_writable_that_waits_for_room<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (stream, peer) = S::pair();
    fill_and_arm(&mut poll, &mut events, &stream, 1);
    stream.reset(peer);
    // The system may have moved bytes on meanwhile. That makes room, and a true event.
    let error = loop {
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        match stream.write(b"x") {
            Ok(count) => assert_ne!(count, 0),
            Err(error) => break error,
        }
        poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    };
    // Windows calls a reset an abort if it was about to send.
    let kinds = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
    ];
    let expected = if cfg!(windows) {
        &kinds[..]
    } else {
        &[ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]
    };
    assert!(expected.contains(&error.kind()), "{error}");
}

// 2.1, 8: a reset while both interests are armed: each has one event, and there is no third.
fn a_reset_fires_each_armed_interest_once<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, peer) = S::pair();
    fill_and_arm(&mut poll, &mut events, &stream, 1);
    registrator.register(&stream, 1, READABLE).unwrap();
    stream.reset(peer);
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    expect_no_events(&mut poll, &mut events);
}

// 3.2
fn the_error_of_a_reset_is_taken_once<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    stream.reset(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let error = stream.take_error().unwrap().expect("an error is kept");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(stream.take_error().unwrap().is_none());
}

// 3.2, 8: a reset while data is unread. A system may throw the bytes away, but a read must not give an end.
fn a_reset_with_bytes_unread_is_never_an_end_of_stream<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, _, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        peer.write_all(b"last words").unwrap();
        await_bytes(&stream, 10);
        stream.reset(peer);
        let (received, error) = read_to_end_by_events(&mut poll, &mut events, &stream);
        // Wine 8 reports a reset that came before the receive as an end. Wine 10 does not.
        let told = error == Some(ErrorKind::ConnectionReset);
        assert!(told || error.is_none() && under_wine(), "{error:?}");
        assert!(b"last words".starts_with(&received[..]));
    }
}

// 3.4: if the peer closes with our bytes unread, its system resets the connection. A BSD closes in order, and resets
// when more is sent.
fn bytes_that_the_peer_did_not_take_are_reported_as_a_reset<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, peer) = S::pair();
    stream.write_all(b"not taken").unwrap();
    peer.await_byte();
    registrator.register(&stream, 1, READABLE).unwrap();
    drop(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    if let Err(error) = stream.read(&mut [0; 8]) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        return;
    }
    if cfg!(any(target_os = "linux", target_os = "android", windows)) {
        panic!("an end of stream");
    }
    let end = Instant::now() + HANG;
    let error = loop {
        match stream.write(b"more") {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
            _ => assert!(Instant::now() < end, "it takes whatever comes"),
        }
    };
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
}

// 2.5, 8
fn bytes_stay_readable_after_a_deregistration<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"before").unwrap();
        await_bytes(&stream, 6);
        registrator.deregister(&stream).unwrap();
        peer.write_all(b" after").unwrap();
        expect_no_events(&mut poll, &mut events);
        let mut text = [0; 12];
        let mut filled = 0;
        while filled < text.len() {
            filled += until_done(|| stream.read(&mut text[filled..])).unwrap();
        }
        assert_eq!(&text, b"before after");
    }
}

// 2.5, 8: deregistering with a receive in flight, and then reading.
fn bytes_that_come_after_a_deregistration_are_read<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_nothing_queued(&mut poll, &mut events);
    registrator.deregister(&stream).unwrap();
    peer.write_all(b"later").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(until_done(|| stream.read(&mut buffer)).unwrap(), 5);
    assert_eq!(&buffer[..5], b"later");
    expect_no_events(&mut poll, &mut events);
}

// 3.4, 8
fn all_accepted_bytes_arrive_after_a_drop<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, peer) = S::pair_of(kind);
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let bytes = pattern(6, (8 << 20) / S::SHARE);
        let mut accepted = 0;
        while let Ok(count) = stream.write(&bytes[accepted..]) {
            accepted += count;
            if accepted == bytes.len() {
                break;
            }
        }
        drop(stream);
        let received = read_to_end_while_polling(&mut poll, &mut events, peer);
        assert_eq!(received.len(), accepted);
        assert_eq!(checksum(&received), checksum(&bytes[..accepted]));
    }
}

// 3.4
fn all_accepted_bytes_arrive_after_stream_and_poll_are_dropped<S: StreamEnd>() {
    let _watchdog = watchdog();
    for poll_first in [false, true] {
        let (poll, registrator, _) = queue();
        let (stream, mut peer) = S::pair();
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        stream.write_all(b"the last words").unwrap();
        if poll_first {
            drop(poll);
            drop(stream);
        } else {
            drop(stream);
            drop(poll);
        }
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"the last words");
    }
}

// 3.4: the order that the documentation recommends for a stream with bytes unread.
fn a_shutdown_and_a_read_to_the_end_lose_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"unread").unwrap();
    stream.write_all(b"the answer").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let peer = thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    let (received, error) = read_to_end_by_events(&mut poll, &mut events, &stream);
    assert_eq!((received.as_slice(), error), (&b"unread"[..], None));
    drop(stream);
    assert_eq!(peer.join().unwrap(), b"the answer");
}

// 3.4, 8
fn a_stream_whose_peer_never_reads_is_dropped_at_once_and_loses_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, peer) = S::pair();
    let accepted = fill_and_arm(&mut poll, &mut events, &stream, 1);
    registrator.register(&stream, 1, READABLE).unwrap();
    drop(stream);
    expect_no_events(&mut poll, &mut events);
    // The end of a named pipe comes when the poll has taken the packet of the last write.
    let received = read_to_end_while_polling(&mut poll, &mut events, peer);
    assert_eq!(received.len(), accepted);
}

// 2.1, 5.5
fn a_full_stream_is_writable_when_the_peer_has_read_and_then_takes_bytes<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, _, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        for token in 1..4 {
            let mut unread = fill_and_arm(&mut poll, &mut events, &stream, token);
            let mut buffer = vec![0; 64 << 10];
            while unread > 0 {
                unread -= peer.read(&mut buffer).unwrap();
            }
            expect_events(&mut poll, &mut events, &[(token, false, true)]);
            assert!(stream.write(b"room").unwrap() > 0);
            peer.read_exact(&mut buffer[..4]).unwrap();
        }
    }
}

// 2.1: the two directions are independent.
fn reading_and_writing_need_not_wait_for_each_other<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    fill_and_arm(&mut poll, &mut events, &stream, 9);
    let mut buffer = [0; 64];
    for token in 0..20 {
        registrator.register(&stream, token, READABLE).unwrap();
        peer.write_all(b"ping").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 4);
    }
}

// 6.1: urgent data is not part of the stream, but a read stops at its place.
#[test]
fn urgent_data_hides_no_later_bytes() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, _, mut events) = queue();
        let (stream, mut peer) = pair_over(loopback);
        peer.write_all(b"abc").unwrap();
        SockRef::from(&peer).send_out_of_band(b"X").unwrap();
        peer.write_all(b"def").unwrap();
        let mut received = [0; 6];
        read_large(&mut poll, &mut events, &stream, &mut received);
        assert_eq!(&received, b"abcdef");
    }
}

/// Fills `received` by reads into a buffer that is much larger than the messages.
fn read_large(poll: &mut Poll, events: &mut Events, stream: &TcpStream, received: &mut [u8]) {
    let mut buffer = [0; 256];
    let mut filled = 0;
    while filled < received.len() {
        poll.registrator().register(stream, 1, READABLE).unwrap();
        expect_events(poll, events, &[(1, true, false)]);
        let count = stream.read(&mut buffer).unwrap();
        received[filled..filled + count].copy_from_slice(&buffer[..count]);
        filled += count;
    }
}

// 6.1: urgent data comes after the event.
#[test]
fn urgent_data_between_the_event_and_the_read_hides_no_later_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = pair();
    for round in 0..effort(30) {
        registrator.register(&stream, round, READABLE).unwrap();
        peer.write_all(b"abc").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        SockRef::from(&peer).send_out_of_band(b"X").unwrap();
        peer.write_all(b"def").unwrap();
        let mut buffer = [0; 256];
        let count = stream.read(&mut buffer).unwrap();
        assert!(b"abcdef".starts_with(&buffer[..count]));
        let mut rest = vec![0; 6 - count];
        read_large(&mut poll, &mut events, &stream, &mut rest);
        assert_eq!(rest, &b"abcdef"[count..]);
    }
}

// 3.2, 6.7: no byte of the stream can be read, so an event would be false.
#[test]
fn urgent_data_alone_is_no_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    SockRef::from(&peer).send_out_of_band(b"X").unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"def").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let mut buffer = [0; 256];
    assert_eq!(stream.read(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"def");
}

// 3.3
fn peek_sees_the_bytes_and_leaves_them<S: StreamEnd>() {
    let _watchdog = watchdog();
    for kind in 0..S::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = S::pair_of(kind);
        let mut buffer = [0; 16];
        assert_eq!(kind_of(stream.peek(&mut buffer)), ErrorKind::WouldBlock);
        peer.write_all(b"hello").unwrap();
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.peek(&mut buffer[..2]).unwrap(), 2);
        assert_eq!(&buffer[..2], b"he");
        assert_eq!(stream.peek(&mut buffer).unwrap(), 5);
        // A peek takes nothing away, so a new registration fires.
        registrator.register(&stream, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        // A peek that finds nothing leaves the stream as it was.
        assert_eq!(kind_of(stream.peek(&mut buffer)), ErrorKind::WouldBlock);
        registrator.register(&stream, 3, READABLE).unwrap();
        peer.write_all(b"again").unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, false)]);
    }
}

// 3.3
fn an_empty_buffer_gives_zero_and_changes_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let nothing = |stream: &S, when: &str| {
        assert_eq!(stream.read(&mut []).unwrap(), 0, "read {when}");
        assert_eq!(stream.peek(&mut []).unwrap(), 0, "peek {when}");
        assert_eq!(stream.write(&[]).unwrap(), 0, "write {when}");
        let mut empty = [IoSliceMut::new(&mut [])];
        assert_eq!(stream.read_vectored(&mut empty).unwrap(), 0, "{when}");
        assert_eq!(stream.read_vectored(&mut []).unwrap(), 0, "{when}");
        let empty = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(stream.write_vectored(&empty).unwrap(), 0, "{when}");
        assert_eq!(stream.write_vectored(&[]).unwrap(), 0, "{when}");
    };
    nothing(&stream, "at first");
    registrator.register(&stream, 1, READABLE).unwrap();
    nothing(&stream, "while armed");
    peer.write_all(b"bytes").unwrap();
    nothing(&stream, "with bytes there");
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    nothing(&stream, "after the event");
    registrator.register(&stream, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    fill(&stream);
    nothing(&stream, "when full");
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    registrator.register(&stream, 3, READABLE).unwrap();
    nothing(&stream, "when drained");
    expect_no_events(&mut poll, &mut events);
    stream.reset(peer);
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    nothing(&stream, "after a reset");
}

// 3.3
fn several_buffers_are_read_in_order<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = S::pair();
    let (mut first, mut second, mut third) = ([0; 3], [0; 4], [0; 100]);
    let mut read_three = |stream: &S| {
        let mut buffers = [
            IoSliceMut::new(&mut first),
            IoSliceMut::new(&mut []),
            IoSliceMut::new(&mut second),
            IoSliceMut::new(&mut third),
        ];
        let count = stream.read_vectored(&mut buffers)?;
        let all = [&first[..], &second, &third].concat();
        Ok::<_, std::io::Error>(all[..count].to_vec())
    };
    assert_eq!(kind_of(read_three(&mut stream)), ErrorKind::WouldBlock);
    for token in 0..5 {
        registrator.register(&stream, token, READABLE).unwrap();
        peer.write_all(b"0123456789").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(read_three(&mut stream).unwrap(), b"0123456789");
    }
    registrator.register(&stream, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.3, 3.3: if a read has filled all of its buffers, bytes may be left.
fn what_a_read_into_several_buffers_left_is_reported<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"0123456789").unwrap();
    await_bytes(&stream, 10);
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (mut first, mut second) = ([0; 3], [0; 4]);
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(stream.read_vectored(&mut buffers).unwrap(), 7);
    registrator.register(&stream, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut first).unwrap(), 3);
    assert_eq!(&first, b"789");
}

// 3.3
fn several_buffers_are_written_in_order<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    let buffers = [
        IoSlice::new(b"012"),
        IoSlice::new(b""),
        IoSlice::new(b"3456"),
        IoSlice::new(b"789"),
    ];
    let count = stream.write_vectored(&buffers).unwrap();
    assert_eq!(count, if S::GATHERS { 10 } else { 3 });
    let mut received = [0; 10];
    peer.read_exact(&mut received[..count]).unwrap();
    assert_eq!(received[..count], b"0123456789"[..count]);
}

// 3.1, 3.3: a system takes 16 to 1,024 buffers in one call. More buffers are no error: the rest waits for the next
// call.
fn more_buffers_than_the_system_takes_are_moved_in_parts<S: StreamEnd>() {
    const COUNT: usize = 5_000;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let bytes = pattern(8, COUNT);
    let mut written = 0;
    while written < COUNT {
        let buffers: Vec<_> = bytes[written..].chunks(1).map(IoSlice::new).collect();
        let count = until_done(|| stream.write_vectored(&buffers)).unwrap();
        assert_ne!(count, 0);
        written += count;
    }
    let mut received = vec![0; COUNT];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(checksum(&received), checksum(&bytes));

    peer.write_all(&bytes).unwrap();
    received.fill(0);
    let mut filled = 0;
    while filled < COUNT {
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffers: Vec<_> = received[filled..]
            .chunks_mut(1)
            .map(IoSliceMut::new)
            .collect();
        filled += stream.read_vectored(&mut buffers).unwrap();
    }
    assert_eq!(checksum(&received), checksum(&bytes));
}

// 2.1, 3.3: a vectored write that did not write everything means that the stream is full, so an event must come.
fn a_vectored_write_that_fills_the_stream_is_followed_by_an_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let chunk = vec![3; 100_000];
    let buffers = [IoSlice::new(&chunk), IoSlice::new(&chunk)];
    let mut unread = 0;
    loop {
        match stream.write_vectored(&buffers) {
            Ok(count) if count == 2 * chunk.len() => unread += count,
            Ok(count) => {
                unread += count;
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    // The system may have moved bytes on, and there may be room again. Then the event comes before the peer reads.
    registrator.register(&stream, 1, WRITABLE).unwrap();
    let mut buffer = vec![0; 64 << 10];
    while unread > 0 {
        unread -= peer.read(&mut buffer).unwrap();
    }
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    expect_nothing_queued(&mut poll, &mut events);
}

// 3.8: a call on the borrowed descriptor moves data between an event and the next registration.
fn bytes_read_behind_the_crates_back_make_no_false_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    stream.set_lent_buffer(0);
    for token in 0..20 {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        peer.write_all(b"0123456789").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut buffer = [0; 64];
        if token % 2 == 0 {
            assert_eq!(stream.read_behind(&mut buffer).unwrap(), 10);
        } else {
            // Bytes that are left make an event.
            assert_eq!(stream.read_behind(&mut buffer[..4]).unwrap(), 4);
            registrator.register(&stream, 100, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(100, true, false)]);
            assert_eq!(stream.read(&mut buffer).unwrap(), 6);
        }
    }
}

// 3.8
fn bytes_written_behind_the_crates_back_make_no_false_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    stream.set_lent_buffer(0);
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let mut unread = 0;
    let mut refused = 0;
    while refused < 20 {
        match stream.write_behind(&[0; 16 << 10]) {
            Ok(count) => unread += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    unread += fill_and_arm(&mut poll, &mut events, &stream, 2);
    let mut buffer = vec![0; 64 << 10];
    while unread > 0 {
        unread -= peer.read(&mut buffer).unwrap();
    }
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
}

// 3.8
#[test]
fn options_can_be_set_while_a_stream_is_registered() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = pair_over(loopback);
        registrator.register(&stream, 1, READABLE).unwrap();

        for on in [false, true] {
            stream.set_nodelay(on).unwrap();
            assert_eq!(stream.nodelay().unwrap(), on);
        }
        let options = SockRef::from(&stream);
        options.set_keepalive(true).unwrap();
        assert!(options.keepalive().unwrap());
        // Linux doubles the sizes, and any system may round them up.
        options.set_recv_buffer_size(50_000).unwrap();
        assert!(options.recv_buffer_size().unwrap() >= 50_000);
        options.set_send_buffer_size(50_000).unwrap();
        assert!(options.send_buffer_size().unwrap() >= 50_000);
        let seconds = Duration::from_secs(3);
        options.set_linger(Some(seconds)).unwrap();
        assert_eq!(options.linger().unwrap(), Some(seconds));
        options.set_linger(None).unwrap();

        peer.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
    }
}

// 1
#[test]
fn a_time_to_live_is_set_and_read() {
    let (stream, _peer) = pair();
    stream.set_ttl(42).unwrap();
    assert_eq!(stream.ttl().unwrap(), 42);
}

// 1
#[test]
fn addresses_are_those_of_std() {
    for loopback in LOOPBACKS {
        let (stream, peer) = pair_over(loopback);
        assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
        assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
        let port = stream.local_addr().unwrap().port().to_string();
        assert!(format!("{stream:?}").contains(&port));
    }
}

// 1
fn a_healthy_stream_has_no_error_to_take_and_nothing_to_flush<S: StreamEnd>() {
    let (stream, _peer) = S::pair();
    assert!(stream.take_error().unwrap().is_none());
    stream.write_all(b"bytes").unwrap();
    stream.flush().unwrap();
    stream.flush().unwrap();
}

// 1
#[test]
fn a_stream_and_a_reference_to_one_read_and_write() {
    let _watchdog = watchdog();
    let (mut near, mut far) = minimio_pair();
    let mut buffer = [0; 5];
    Write::write_all(&mut &near, b"hello").unwrap();
    await_bytes(&far, 5);
    Read::read_exact(&mut &far, &mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    Write::write_all(&mut near, b"world").unwrap();
    await_bytes(&far, 5);
    Read::read_exact(&mut far, &mut buffer).unwrap();
    assert_eq!(&buffer, b"world");
    let parts = [IoSlice::new(b"by"), IoSlice::new(b"e")];
    assert_eq!(Write::write_vectored(&mut far, &parts).unwrap(), 3);
    await_bytes(&near, 3);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    assert_eq!(Read::read_vectored(&mut near, &mut parts).unwrap(), 3);
    assert_eq!(&buffer[..3], b"bye");
}

// 1
fn streams_can_be_sent_shared_and_shown<S: StreamEnd>() {
    fn is_good<T: Send + Sync + Debug + 'static>(_: &T) {}
    let (stream, _peer) = S::pair();
    is_good(&stream);
    assert!(!format!("{stream:?}").is_empty());
}

// 1
#[cfg(unix)]
#[test]
fn a_descriptor_is_lent_not_given() {
    use std::os::fd::{AsFd, AsRawFd};
    let (stream, _peer) = pair();
    assert_eq!(stream.as_fd().as_raw_fd(), stream.as_raw_fd());
}

// 3.7
fn a_stream_of_std_becomes_non_blocking<S: StreamEnd>() {
    let (near, far) = std_pair();
    near.set_nonblocking(false).unwrap();
    let stream = TcpStream::from_std(near).unwrap();
    assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
    stream.write_all(b"x").unwrap();
    far.read_exact(&mut [0; 1]).unwrap();
}

// 3.7
fn a_stream_given_back_to_std_works_and_fires_no_more<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    stream.set_lent_buffer(0);
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let given_back = stream.into_std().unwrap();
    assert_eq!(kind_of(given_back.read(&mut [0; 8])), ErrorKind::WouldBlock);
    given_back.set_nonblocking(false).unwrap();
    peer.write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    given_back.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    expect_no_events(&mut poll, &mut events);
}

// 3.7, 2.7: on Windows `into_std` fails because a receive is in flight, and gives the stream back.
fn an_armed_stream_is_given_back_to_std_or_kept<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    match stream.into_std() {
        Ok(given_back) => {
            peer.write_all(b"hello").unwrap();
            expect_no_events(&mut poll, &mut events);
            drop(given_back);
        }
        Err(error) => {
            assert_eq!(error.error().kind(), ErrorKind::WouldBlock);
            let stream = error.into_source();
            peer.write_all(b"hello").unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
        }
    }
}

// 2.4, 3.7: on Unix a socket can go to another Poll by `into_std` and `from_std`.
fn a_stream_that_went_through_std_can_join_another_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut first, first_registrator, mut events) = queue();
    let (mut second, second_registrator, _) = queue();
    let (stream, mut peer) = S::pair();
    first_registrator.register(&stream, 1, READABLE).unwrap();
    let error = second_registrator.register(&stream, 2, READABLE);
    assert_eq!(kind_of(error), ErrorKind::AlreadyExists);
    let stream = S::from_std(stream.into_std().unwrap()).unwrap();
    second_registrator.register(&stream, 2, READABLE).unwrap();
    peer.write_all(b"hello").unwrap();
    expect_events(&mut second, &mut events, &[(2, true, false)]);
    expect_no_events(&mut first, &mut events);
}

// 5.4: every size is accepted on every system, and no bytes are lost.
fn a_lent_buffer_of_any_size_is_accepted<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    for (token, size) in [0, 1, 4096, 65_536, usize::MAX].into_iter().enumerate() {
        stream.set_lent_buffer(size);
        registrator.register(&stream, token, READABLE).unwrap();
        peer.write_all(b"hello").unwrap();
        let mut received = [0; 5];
        let mut filled = 0;
        while filled < 5 {
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            filled += stream.read(&mut received[filled..]).unwrap();
            if filled < 5 {
                registrator.register(&stream, token, READABLE).unwrap();
            }
        }
        assert_eq!(&received, b"hello");
    }
    #[cfg(not(windows))]
    assert_eq!(registrator.lent_bytes(), 0);
}

// 4.6: hints are never false.
fn a_healthy_stream_gives_no_hint_of_an_end_or_an_error<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"bytes").unwrap();
    await_bytes(&stream, 5);
    registrator
        .register(&stream, 1, READABLE | WRITABLE)
        .unwrap();
    let mut due = 2;
    while due > 0 {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        for event in &events {
            assert!(!event.is_read_closed() && !event.is_write_closed() && !event.is_error());
            due -= usize::from(event.is_readable()) + usize::from(event.is_writable());
        }
    }
}

// 2.6: one thread reads a stream and another writes to it, while a third polls for both.
fn a_reader_and_a_writer_thread_share_a_stream<S: StreamEnd>() {
    const SIZE: usize = 2 << 20;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let bytes = pattern(9, SIZE);
    let (to_reader, readable) = mpsc::channel();
    let (to_writer, writable) = mpsc::channel();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            // The peer sends back whatever it receives.
            let mut buffer = vec![0; 30_000];
            let mut left = SIZE;
            while left > 0 {
                let count = peer.read(&mut buffer).unwrap();
                peer.write_all(&buffer[..count]).unwrap();
                left -= count;
            }
        });
        let (stream, registrator, bytes) = (&stream, &registrator, &bytes);
        let writer = scope.spawn(move || {
            let mut written = 0;
            while written < SIZE {
                registrator.register(stream, 2, WRITABLE).unwrap();
                writable.recv().unwrap();
                written += stream.write(&bytes[written..]).unwrap();
            }
        });
        let reader = scope.spawn(move || {
            let mut received = Vec::new();
            let mut buffer = vec![0; 10_000];
            while received.len() < SIZE {
                registrator.register(stream, 1, READABLE).unwrap();
                readable.recv().unwrap();
                let count = stream.read(&mut buffer).unwrap();
                received.extend_from_slice(&buffer[..count]);
            }
            registrator.wake(3).unwrap();
            checksum(&received)
        });
        let mut done = false;
        while !done {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0, "stuck");
            assert!(begun.elapsed() < 2 * HANG);
            for event in &events {
                done |= event.id() == 3;
                if event.is_readable() {
                    to_reader.send(()).unwrap();
                }
                if event.is_writable() {
                    to_writer.send(()).unwrap();
                }
            }
        }
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), checksum(bytes));
    });
}

// 2.8: dropping a listener does not affect the streams that it has accepted.
fn an_accepted_stream_outlives_its_listener<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    let mut peer = L::connect(&address);
    let (stream, _) = listener.await_accept();
    drop(listener);
    registrator.register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
}

suite! {
    streams {
        an_unregistered_stream_reads_and_writes_without_blocking,
        messages_of_every_size_arrive_and_return_whole,
        mebibytes_cross_both_ways_at_once,
        all_accepted_bytes_arrive_after_stream_and_poll_are_dropped,
        a_stream_whose_peer_never_reads_is_dropped_at_once_and_loses_nothing,
        reading_and_writing_need_not_wait_for_each_other,
        more_buffers_than_the_system_takes_are_moved_in_parts,
        streams_can_be_sent_shared_and_shown,
        a_healthy_stream_gives_no_hint_of_an_end_or_an_error,
        a_reader_and_a_writer_thread_share_a_stream,
    }
    sockets {
        after_the_peer_has_half_closed_bytes_still_go_to_it,
        after_a_half_close_of_ours_bytes_still_come,
        a_shutdown_of_reading_fires_an_armed_readable_and_ends_the_stream,
        a_shutdown_of_reading_that_wakes_a_blocked_poll,
        a_shutdown_of_both_directions_ends_reading_and_writing,
        a_reset_is_an_event_and_the_error_of_the_read,
        a_reset_fires_a_writable_that_waits_for_room,
        a_reset_fires_each_armed_interest_once,
        the_error_of_a_reset_is_taken_once,
        a_reset_with_bytes_unread_is_never_an_end_of_stream,
        bytes_that_the_peer_did_not_take_are_reported_as_a_reset,
        a_shutdown_and_a_read_to_the_end_lose_nothing,
        peek_sees_the_bytes_and_leaves_them,
        an_empty_buffer_gives_zero_and_changes_nothing,
        a_stream_of_std_becomes_non_blocking,
        a_stream_given_back_to_std_works_and_fires_no_more,
        an_armed_stream_is_given_back_to_std_or_kept,
        a_stream_that_went_through_std_can_join_another_poll,
        a_healthy_stream_has_no_error_to_take_and_nothing_to_flush,
    }
    reading {
        a_registered_stream_reads_before_any_event,
        the_first_read_after_an_event_gives_bytes,
        a_burst_is_read_byte_by_byte_with_an_event_for_each,
        an_event_comes_for_bytes_that_wait_already,
        what_a_read_left_is_reported_by_the_next_registration,
        an_event_that_is_answered_by_no_read_comes_again_when_registered_again,
        bytes_that_come_between_the_event_and_the_read_are_not_reported_twice,
        a_read_that_fills_its_buffer_hides_nothing_that_comes_later,
        bytes_that_come_during_a_read_are_not_lost,
        the_bytes_of_a_peer_that_closed_come_before_the_end,
        an_end_that_comes_between_the_event_and_the_read_is_reported,
        bytes_stay_readable_after_a_deregistration,
        bytes_that_come_after_a_deregistration_are_read,
        several_buffers_are_read_in_order,
        what_a_read_into_several_buffers_left_is_reported,
        three_bytes_and_the_end_read_with_a_large_buffer_leave_an_event_for_the_end,
        a_lent_buffer_of_any_size_is_accepted,
        bytes_read_behind_the_crates_back_make_no_false_event,
    }
    writing {
        a_full_stream_refuses_a_write_without_blocking,
        all_accepted_bytes_arrive_after_a_drop,
        a_full_stream_is_writable_when_the_peer_has_read_and_then_takes_bytes,
        several_buffers_are_written_in_order,
        a_vectored_write_that_fills_the_stream_is_followed_by_an_event,
        bytes_written_behind_the_crates_back_make_no_false_event,
    }
    listeners {
        an_accepted_stream_outlives_its_listener,
    }
}
