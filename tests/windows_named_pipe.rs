//! 9.4: what is written to a named pipe is read from it, and the memory that is lent for that.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod named_pipes;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::thread;

use common::{
    await_nothing_lent, effort, expect_events, expect_no_events, expect_nothing_queued, until_done,
    watchdog, BOTH, QUIET, READABLE, WRITABLE,
};
use minimio::os::windows::NamedPipe;
use named_pipes::{
    expect_bytes, expect_kind, name, options, pair, pair_with_file, queue, queue_with,
    reversed_pair, write_in_flight, ROOM,
};

#[test]
fn ends_that_are_not_registered_read_and_write() {
    let _watchdog = watchdog();
    for (mut near, mut far) in [pair(), reversed_pair()] {
        expect_kind(near.read(&mut [0; 8]), ErrorKind::WouldBlock);
        assert_eq!(near.write(b"hello").unwrap(), 5);
        near.flush().unwrap();
        expect_bytes(&mut far, b"hello");
        expect_kind(far.read(&mut [0; 8]), ErrorKind::WouldBlock);
        assert_eq!(near.read(&mut []).unwrap(), 0);
        assert_eq!(near.write(b"").unwrap(), 0);
    }
}

#[test]
fn an_end_that_is_not_registered_writes_until_the_pipe_is_full() {
    let _watchdog = watchdog();
    for (mut near, mut far) in [pair(), reversed_pair()] {
        let (bytes, mut sent) = (vec![7; 3 * ROOM], 0);
        let mut received: Vec<u8> = Vec::new();
        for _ in 0..5 {
            loop {
                match near.write(&bytes) {
                    Ok(count) => sent += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
            assert!(sent > received.len());
            while received.len() < sent {
                let mut buffer = [0; 1000];
                let count = far.read(&mut buffer).unwrap();
                received.extend(&buffer[..count]);
            }
            expect_kind(far.read(&mut [0]), ErrorKind::WouldBlock);
        }
        assert!(received.iter().all(|&byte| byte == 7));
    }
}

#[test]
fn several_pieces_of_memory_are_read_and_written() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut near, mut far) = pair();
    registrator.register(&near, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let slices = [b"".as_slice(), b"ab", b"", b"cde"].map(IoSlice::new);
    assert_eq!(near.write_vectored(&slices).unwrap(), 5);
    let (mut first, mut second) = ([0; 1], [0; 8]);
    let mut buffers = [&mut [], &mut first[..], &mut second[..]].map(IoSliceMut::new);
    // With nothing in lent memory, a read fills one piece.
    assert_eq!(far.read_vectored(&mut buffers).unwrap(), 1);
    assert_eq!(far.read_vectored(&mut buffers[2..]).unwrap(), 4);
    assert_eq!((&first, &second[..4]), (b"a", &b"bcde"[..]));
    let count = far.write_vectored(&slices).unwrap();
    assert_eq!(count, 2, "one piece");
}

#[test]
fn bytes_are_an_event_whatever_is_lent() {
    let _watchdog = watchdog();
    for lent in [None, Some(0), Some(3), Some(65_536)] {
        for (mut near, mut far) in [pair(), reversed_pair()] {
            let (mut poll, registrator, mut events) = queue();
            if let Some(lent) = lent {
                near.set_lent_buffer(lent);
            }
            for token in 0..3 {
                registrator.register(&near, token, READABLE).unwrap();
                expect_no_events(&mut poll, &mut events);
                far.write_all(b"hello").unwrap();
                expect_events(&mut poll, &mut events, &[(token, true, false)]);
                let mut buffer = [0; 8];
                let mut count = near.read(&mut buffer[..2]).unwrap();
                count += near.read(&mut buffer[count..]).unwrap();
                while count < 5 {
                    count += near.read(&mut buffer[count..]).unwrap();
                }
                assert_eq!(&buffer[..count], b"hello");
                expect_kind(near.read(&mut buffer), ErrorKind::WouldBlock);
            }
        }
    }
}

#[test]
fn a_write_is_a_copy_in_flight_and_its_end_is_the_writable_event() {
    let _watchdog = watchdog();
    for (mut near, mut far) in [pair(), reversed_pair()] {
        let (mut poll, registrator, mut events) = queue();
        let mut accepted = write_in_flight(&mut poll, &mut events, &near);
        assert_eq!(registrator.lent_bytes(), accepted);
        expect_kind(near.write(b"x"), ErrorKind::WouldBlock);
        expect_kind(near.flush(), ErrorKind::WouldBlock);
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        let mut buffer = vec![0; 1 << 16];
        accepted -= far.read(&mut buffer).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert_eq!(registrator.lent_bytes(), 0);
        near.flush().unwrap();
        accepted += near.write(b"more").unwrap();
        while accepted > 0 {
            accepted -= until_done(|| far.read(&mut buffer)).unwrap();
        }
    }
}

/// No poll runs: each write takes the packet of the last one.
#[test]
fn writes_follow_each_other_without_a_poll() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (mut near, mut far) = pair();
    registrator.register(&near, 1, WRITABLE).unwrap();
    for _ in 0..effort(100) {
        for _ in 0..10 {
            until_done(|| near.write(b"0123456789")).unwrap();
        }
        let mut count = 0;
        while count < 100 {
            count += until_done(|| far.read(&mut [0; 64])).unwrap();
        }
    }
}

#[test]
fn the_end_comes_after_the_bytes_and_stays() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        for (mut near, mut far) in [pair(), reversed_pair()] {
            let (mut poll, registrator, mut events) = queue();
            near.set_lent_buffer(lent);
            registrator.register(&near, 1, READABLE).unwrap();
            far.write_all(b"last").unwrap();
            drop(far);
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            expect_bytes(&mut near, b"last");
            for token in 2..5 {
                registrator.register(&near, token, READABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(token, true, false)]);
                assert!(events.iter().all(minimio::Event::is_read_closed));
                assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
            }
            for token in 5..8 {
                registrator.register(&near, token, WRITABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(token, false, true)]);
                expect_kind(near.write(b"x"), ErrorKind::BrokenPipe);
            }
        }
    }
}

#[test]
fn an_end_wakes_whoever_waits_for_bytes_or_room() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        let (mut poll, registrator, mut events) = queue();
        let (mut near, far) = pair();
        near.set_lent_buffer(lent);
        write_in_flight(&mut poll, &mut events, &near);
        registrator.register(&near, 1, READABLE | WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        drop(far);
        expect_events(
            &mut poll,
            &mut events,
            &[(1, true, false), (1, false, true)],
        );
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
        for _ in 0..3 {
            expect_kind(near.write(b"x"), ErrorKind::BrokenPipe);
        }
    }
}

/// Under Wine nothing comes of it; on Windows a read ends without bytes.
#[test]
fn an_empty_write_of_the_peer_is_no_end() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair_with_file();
        near.set_lent_buffer(lent);
        registrator.register(&near, 1, READABLE).unwrap();
        assert_eq!(far.write(b"").unwrap(), 0);
        expect_no_events(&mut poll, &mut events);
        expect_kind(near.read(&mut [0; 8]), ErrorKind::WouldBlock);
        far.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        expect_bytes(&mut near, b"x");
    }
}

// Lent memory.

#[test]
fn what_pipes_lend_is_bounded_and_all_work() {
    const LIMIT: usize = 10 * 4096;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue_with(LIMIT);
    let pairs: Vec<_> = (0..effort(40)).map(|_| pair()).collect();
    for (token, (near, _)) in pairs.iter().enumerate() {
        registrator.register(near, token, READABLE).unwrap();
        assert!(registrator.lent_bytes() <= LIMIT);
    }
    assert_eq!(registrator.lent_bytes(), LIMIT);
    expect_no_events(&mut poll, &mut events);
    for (token, (mut near, mut far)) in pairs.iter().map(|(near, far)| (near, far)).enumerate() {
        assert_eq!(far.write(&[1; 3000]).unwrap(), 3000);
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut count = 0;
        while count < 3000 {
            count += until_done(|| near.read(&mut [0; 1000])).unwrap();
        }
        registrator.register(near, token, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(token, false, true)]);
        assert!((1..=3000).contains(&near.write(&[1; 3000]).unwrap()));
        assert!(registrator.lent_bytes() <= LIMIT);
    }
    drop(pairs);
    await_nothing_lent(&mut poll, &mut events);
}

#[test]
fn without_any_memory_to_lend_pipes_work() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue_with(0);
    let (mut near, mut far) = pair();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.register(&far, 2, BOTH).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, false, true), (2, false, true)],
    );
    let (mut sent, mut received): (usize, Vec<u8>) = (0, Vec::new());
    while sent < 50_000 {
        match near.write(&[7; 10_000]) {
            Ok(count) => {
                assert_eq!(count, 512, "what a write takes past the bound");
                sent += count;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                registrator.register(&near, 1, WRITABLE).unwrap();
                registrator.register(&far, 2, READABLE).unwrap();
                assert_ne!(poll.poll(&mut events, None).unwrap(), 0);
                let mut buffer = [0; 3000];
                while let Ok(count) = far.read(&mut buffer) {
                    received.extend(&buffer[..count]);
                }
            }
        }
        assert_eq!(registrator.lent_bytes(), 0);
    }
    while received.len() < sent {
        let mut buffer = [0; 3000];
        let count = until_done(|| far.read(&mut buffer)).unwrap();
        received.extend(&buffer[..count]);
    }
    assert!(received.iter().all(|&byte| byte == 7));
}

/// A read without memory whose bytes somebody takes before its packet is handled.
#[test]
fn an_event_of_a_read_without_memory_is_never_one_without_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue_with(0);
    let (mut near, mut far) = pair();
    for round in 0..effort(200) {
        registrator.register(&near, round, READABLE).unwrap();
        far.write_all(b"x").unwrap();
        assert_eq!(until_done(|| near.read(&mut [0; 8])).unwrap(), 1);
        registrator.register(&near, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        far.write_all(b"y").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
    }
}

/// Both ways at once, with reads of odd sizes, lent and not.
#[test]
fn large_transfers_are_complete_and_in_order() {
    let _watchdog = watchdog();
    for limit in [1 << 20, 10_000] {
        let total = effort(4) << 20;
        let (near, far) = pair();
        thread::scope(|scope| {
            for pipe in [near, far] {
                scope.spawn(move || exchange(&pipe, total, limit));
            }
        });
    }
}

/// Sends and receives `total` bytes of a pattern.
fn exchange(mut pipe: &NamedPipe, total: usize, limit: usize) {
    let byte_at = |at: usize| u8::try_from(at % 251).unwrap();
    let (mut poll, registrator, mut events) = queue_with(limit);
    let chunk: Vec<u8> = (0..251 * 500).map(byte_at).collect();
    let mut buffer = vec![0; 30_011];
    let (mut sent, mut received) = (0, 0);
    registrator.register(pipe, 1, BOTH).unwrap();
    while sent < total || received < total {
        assert_ne!(poll.poll(&mut events, None).unwrap(), 0);
        for event in &events {
            if event.is_writable() && sent < total {
                let rest = (total - sent).min(100_000);
                sent += pipe.write(&chunk[sent % 251..][..rest]).unwrap();
                registrator.register(pipe, 1, WRITABLE).unwrap();
            }
            if event.is_readable() && received < total {
                let count = pipe.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                let right = |(at, &byte)| byte == byte_at(received + at);
                assert!(buffer[..count].iter().enumerate().all(right));
                received += count;
                registrator.register(pipe, 1, READABLE).unwrap();
            }
        }
        assert!(registrator.lent_bytes() <= limit);
    }
}

/// A thread that has started a read or a write may end before the packet comes.
#[test]
fn operations_outlive_the_threads_that_started_them() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let server = options().create(&name).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| registrator.register(&server, 1, BOTH).unwrap());
    });
    thread::sleep(QUIET);
    let mut client = NamedPipe::open(&name).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    server.connect().unwrap();
    let accepted = thread::scope(|scope| {
        let write = || (&server).write(&[3; ROOM + 1000]).unwrap();
        scope.spawn(write).join().unwrap()
    });
    thread::sleep(QUIET);
    let mut received = 0;
    while received < accepted {
        received += until_done(|| client.read(&mut [0; 1000])).unwrap();
    }
    client.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_bytes(&mut &server, b"hello");
    until_done(|| (&server).flush()).unwrap();
}
