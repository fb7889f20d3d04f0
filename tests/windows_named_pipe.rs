//! 9.4: named pipes. Peers are often files of `std`, which block: a plain handle without anything of this crate.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{effort, expect_events, expect_no_events, until_done, watchdog};
use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use minimio::{Events, Interests, Poll, Registrator};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

/// What each direction of a pipe here has room for.
const ROOM: usize = 4096;

/// A name that nobody else has.
fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!(r"\\.\pipe\minimio-test-{}-{number}", std::process::id())
}

fn options() -> NamedPipeOptions {
    let bytes = u32::try_from(ROOM).unwrap();
    let mut options = NamedPipeOptions::new();
    options.in_buffer(bytes).out_buffer(bytes);
    options
}

/// A server's end and its client's, connected. Neither is registered.
fn pair() -> (NamedPipe, NamedPipe) {
    let name = name();
    let server = options().create(&name).unwrap();
    let client = NamedPipe::open(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

/// The same, with the client's end first.
fn reversed_pair() -> (NamedPipe, NamedPipe) {
    let (server, client) = pair();
    (client, server)
}

/// A server's end, and a client that blocks.
fn pair_with_file() -> (NamedPipe, File) {
    let name = name();
    let server = options().create(&name).unwrap();
    let client = open_file(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

fn open_file(name: &str) -> io::Result<File> {
    File::options().read(true).write(true).open(name)
}

fn queue() -> (Poll, Registrator, Events) {
    queue_with(1 << 20)
}

fn queue_with(limit: usize) -> (Poll, Registrator, Events) {
    let poll = Poll::with_lent_limit(limit).unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

#[track_caller]
fn expect_kind<T: std::fmt::Debug>(result: io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

#[track_caller]
fn expect_bytes(pipe: &mut impl Read, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len() + 8];
    let count = pipe.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], bytes);
}

/// Has a write in flight that does not end before somebody reads. Returns how many bytes were accepted.
fn write_in_flight(poll: &mut Poll, events: &mut Events, mut pipe: &NamedPipe) -> usize {
    poll.registrator().register(pipe, 99, WRITABLE).unwrap();
    expect_events(poll, events, &[(99, false, true)]);
    let count = pipe.write(&vec![0x5a; ROOM + 1000]).unwrap();
    assert_eq!(count, ROOM + 1000);
    count
}

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
