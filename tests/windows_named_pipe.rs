//! 9.4: named pipes. Peers are often files of `std`, which block: a plain handle without anything of this crate.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    await_nothing_lent, await_that, effort, expect_events, expect_no_events, expect_nothing_queued,
    handles, under_wine, until_done, watchdog, BOTH, QUIET, READABLE, WRITABLE,
};
use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use minimio::{Events, Poll, Registrator};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE,
};

/// What each direction of a pipe here has room for.
const ROOM: usize = 4096;
const ERROR_ACCESS_DENIED: i32 = 5;
const ERROR_INVALID_NAME: i32 = 123;
const ERROR_PIPE_BUSY: i32 = 231;

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

// Waiting for clients.

#[test]
fn a_client_ends_the_wait_and_that_is_the_writable_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let mut server = NamedPipe::create(&name).unwrap();
    registrator.register(&server, 1, BOTH).unwrap();
    expect_no_events(&mut poll, &mut events);
    expect_kind(server.connect(), ErrorKind::WouldBlock);
    expect_kind(server.read(&mut [0; 8]), ErrorKind::WouldBlock);
    expect_kind(server.write(b"x"), ErrorKind::WouldBlock);
    let mut client = NamedPipe::open(&name).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    server.connect().unwrap();
    server.connect().unwrap();
    expect_no_events(&mut poll, &mut events);
    client.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_bytes(&mut server, b"hello");
    client.connect().unwrap();
}

#[test]
fn a_client_that_is_there_already_is_an_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let mut server = NamedPipe::create(&name).unwrap();
    let mut client = open_file(&name).unwrap();
    client.write_all(b"early").unwrap();
    expect_kind(server.read(&mut [0; 8]), ErrorKind::WouldBlock);
    registrator.register(&server, 1, BOTH).unwrap();
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (1, false, true)],
    );
    expect_bytes(&mut server, b"early");
    assert_eq!(server.write(b"answer").unwrap(), 6);
    expect_bytes(&mut client, b"answer");
}

#[test]
fn a_client_that_came_and_went_leaves_its_bytes_and_the_end() {
    let _watchdog = watchdog();
    for registers in [false, true] {
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let mut server = NamedPipe::create(&name).unwrap();
        let mut client = open_file(&name).unwrap();
        client.write_all(b"bye").unwrap();
        drop(client);
        if registers {
            registrator.register(&server, 1, BOTH).unwrap();
            expect_events(
                &mut poll,
                &mut events,
                &[(1, true, false), (1, false, true)],
            );
        }
        server.connect().unwrap();
        expect_bytes(&mut server, b"bye");
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        expect_kind(server.write(b"x"), ErrorKind::BrokenPipe);
    }
}

#[test]
fn an_end_that_is_not_registered_looks_for_a_client_with_each_call() {
    let _watchdog = watchdog();
    let name = name();
    let server = NamedPipe::create(&name).unwrap();
    for _ in 0..3 {
        expect_kind(server.connect(), ErrorKind::WouldBlock);
    }
    let _client = NamedPipe::open(&name).unwrap();
    server.connect().unwrap();
}

#[test]
fn a_wait_that_is_disarmed_goes_on_silently() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let server = NamedPipe::create(&name).unwrap();
    registrator.register(&server, 1, WRITABLE).unwrap();
    registrator.deregister(&server).unwrap();
    let _client = NamedPipe::open(&name).unwrap();
    expect_no_events(&mut poll, &mut events);
    server.connect().unwrap();
    registrator.register(&server, 2, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
}

#[test]
fn a_wait_ends_with_the_poll_and_can_be_looked_at_after_it() {
    let _watchdog = watchdog();
    let (poll, registrator, _events) = queue();
    let name = name();
    let mut server = NamedPipe::create(&name).unwrap();
    registrator.register(&server, 1, WRITABLE).unwrap();
    drop(poll);
    expect_kind(server.connect(), ErrorKind::WouldBlock);
    let mut client = NamedPipe::open(&name).unwrap();
    until_done(|| server.connect()).unwrap();
    assert_eq!(server.write(b"hello").unwrap(), 5);
    expect_bytes(&mut client, b"hello");
    assert_eq!(client.write(b"hello").unwrap(), 5);
    expect_bytes(&mut server, b"hello");
}

/// A server serves clients that come, write and vanish while it waits: each is served, and no other.
#[test]
fn clients_that_vanish_are_served_one_after_the_other() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let mut server = NamedPipe::create(&name).unwrap();
    let rounds = effort(100);
    let clients = thread::spawn({
        let name = name.clone();
        move || {
            for round in 0..rounds {
                let client = until_done(|| match open_file(&name) {
                    Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => {
                        Err(ErrorKind::WouldBlock.into())
                    }
                    opened => opened,
                });
                let mut client = client.unwrap();
                if round % 3 > 0 {
                    client
                        .write_all(format!("client {round}").as_bytes())
                        .unwrap();
                }
                if round % 3 == 2 {
                    thread::yield_now();
                }
            }
        }
    });
    for round in 0..rounds {
        registrator.register(&server, round, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, false, true)]);
        server.connect().unwrap();
        let mut bytes = Vec::new();
        loop {
            registrator.register(&server, round, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(round, true, false)]);
            let mut buffer = [0; 64];
            match server.read(&mut buffer).unwrap() {
                0 => break,
                count => bytes.extend(&buffer[..count]),
            }
        }
        let expected = if round % 3 > 0 {
            format!("client {round}")
        } else {
            String::new()
        };
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        server.disconnect().unwrap();
        if until_done_or_waits(&server) {
            // The next client is there already.
            registrator.deregister(&server).unwrap();
        }
    }
    clients.join().unwrap();
}

/// Begins to wait for the next client, and returns whether it is there.
fn until_done_or_waits(server: &NamedPipe) -> bool {
    match server.connect() {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

#[test]
fn a_server_that_closes_while_clients_open_leaves_fitting_errors() {
    let _watchdog = watchdog();
    for _ in 0..effort(50) {
        let (_poll, registrator, _events) = queue();
        let name = name();
        let server = NamedPipe::create(&name).unwrap();
        registrator.register(&server, 1, BOTH).unwrap();
        let opener = thread::spawn(move || NamedPipe::open(&name));
        drop(server);
        match opener.join().unwrap() {
            Ok(mut client) => {
                assert_eq!(until_done(|| client.read(&mut [0; 8])).unwrap(), 0);
                expect_kind(client.write(b"x"), ErrorKind::BrokenPipe);
            }
            Err(error) => assert!(
                error.kind() == ErrorKind::NotFound
                    || error.raw_os_error() == Some(ERROR_PIPE_BUSY),
                "{error:?}"
            ),
        }
    }
}

// Sending clients away.

#[test]
fn a_disconnect_discards_what_the_client_has_not_read() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut server, mut client) = pair();
    registrator.register(&server, 1, READABLE).unwrap();
    client.write_all(b"before").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(server.write(b"lost").unwrap(), 4);
    server.disconnect().unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    expect_kind(client.write(b"x"), ErrorKind::BrokenPipe);
    // What it had received before.
    expect_bytes(&mut server, b"before");
    for token in 2..4 {
        assert_eq!(until_done(|| server.read(&mut [0; 8])).unwrap(), 0);
        registrator.register(&server, token, BOTH).unwrap();
        expect_events(
            &mut poll,
            &mut events,
            &[(token, true, false), (token, false, true)],
        );
        expect_kind(server.write(b"x"), ErrorKind::BrokenPipe);
    }
    assert!(server.disconnect().is_err());
}

#[test]
fn a_disconnect_ends_what_is_in_flight_and_the_next_client_starts_anew() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let mut server = options().create(&name).unwrap();
        server.set_lent_buffer(lent);
        let mut old = NamedPipe::open(&name).unwrap();
        for round in 0..4 {
            write_in_flight(&mut poll, &mut events, &server);
            registrator.register(&server, 1, BOTH).unwrap();
            expect_no_events(&mut poll, &mut events);
            if round % 2 == 1 {
                // Unread when the next client comes: it is not that one's.
                old.write_all(b"stale").unwrap();
                expect_events(&mut poll, &mut events, &[(1, true, false)]);
                registrator.register(&server, 1, READABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(1, true, false)]);
                server.disconnect().unwrap();
                expect_events(&mut poll, &mut events, &[(1, false, true)]);
            } else {
                server.disconnect().unwrap();
                expect_events(
                    &mut poll,
                    &mut events,
                    &[(1, true, false), (1, false, true)],
                );
            }
            expect_kind(server.write(b"x"), ErrorKind::BrokenPipe);
            assert_eq!(registrator.lent_bytes(), 0);
            let refused = NamedPipe::open(&name).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(ERROR_PIPE_BUSY));

            expect_kind(server.connect(), ErrorKind::WouldBlock);
            registrator.register(&server, 2, BOTH).unwrap();
            expect_no_events(&mut poll, &mut events);
            let mut client = NamedPipe::open(&name).unwrap();
            expect_events(&mut poll, &mut events, &[(2, false, true)]);
            server.connect().unwrap();
            client.write_all(b"fresh").unwrap();
            expect_events(&mut poll, &mut events, &[(2, true, false)]);
            expect_bytes(&mut server, b"fresh");
            assert_eq!(server.write(b"answer").unwrap(), 6);
            expect_bytes(&mut client, b"answer");
            assert_eq!(old.read(&mut [0; 8]).unwrap(), 0);
            old = client;
        }
    }
}

#[test]
fn an_end_that_is_not_registered_serves_one_client_after_the_other() {
    let _watchdog = watchdog();
    let name = name();
    let mut server = NamedPipe::create(&name).unwrap();
    for round in 0..5u8 {
        expect_kind(server.connect(), ErrorKind::WouldBlock);
        let mut client = NamedPipe::open(&name).unwrap();
        server.connect().unwrap();
        client.write_all(&[round]).unwrap();
        expect_bytes(&mut server, &[round]);
        assert_eq!(server.write(b"lost").unwrap(), 4);
        server.disconnect().unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_disconnect_without_a_client_is_an_error() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let name = name();
    let server = NamedPipe::create(&name).unwrap();
    registrator.register(&server, 1, WRITABLE).unwrap();
    if server.disconnect().is_err() {
        let _client = NamedPipe::open(&name).unwrap();
        until_done(|| server.connect()).unwrap();
    }
    let (_server, client) = pair();
    assert!(client.disconnect().is_err());
}

// Names and instances.

#[test]
fn each_instance_has_a_client_of_its_own() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let mut next = options();
    next.first_instance(false);
    let servers = [
        options().create(&name).unwrap(),
        next.create(&name).unwrap(),
        next.create(&name).unwrap(),
    ];
    for (token, server) in servers.iter().enumerate() {
        registrator.register(server, token, WRITABLE).unwrap();
    }
    let clients: Vec<_> = (0..3).map(|_| NamedPipe::open(&name).unwrap()).collect();
    let all: Vec<_> = (0..3).map(|token| (token, false, true)).collect();
    expect_events(&mut poll, &mut events, &all);
    let busy = NamedPipe::open(&name).unwrap_err();
    assert_eq!(busy.raw_os_error(), Some(ERROR_PIPE_BUSY));
    for (at, mut client) in clients.iter().enumerate() {
        assert_eq!(client.write(&[at as u8]).unwrap(), 1);
    }
    let mut seen: Vec<u8> = servers
        .iter()
        .map(|mut server| {
            let mut byte = [0];
            assert_eq!(until_done(|| server.read(&mut byte)).unwrap(), 1);
            byte[0]
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn a_name_in_use_is_an_error() {
    let _watchdog = watchdog();
    let name = name();
    let _server = options().max_instances(1).create(&name).unwrap();
    let codes = [Some(ERROR_ACCESS_DENIED), Some(ERROR_PIPE_BUSY)];
    for first in [true, false] {
        let mut options = options();
        options.first_instance(first).max_instances(1);
        let error = options.create(&name).unwrap_err();
        assert!(codes.contains(&error.raw_os_error()), "{error:?}");
    }
    // Under Wine the mark is ignored (WINDOWS-SOURCES, 3: FIRST_PIPE_INSTANCE).
    let name = self::name();
    let _server = NamedPipe::create(&name).unwrap();
    assert_eq!(NamedPipe::create(&name).is_ok(), under_wine());
}

#[test]
fn names_that_are_none_are_errors() {
    let _watchdog = watchdog();
    for bad in [
        "",
        "minimio",
        r"C:\windows\win.ini",
        r"\\.\pipe\",
        r"\\.\pipe",
        r"\\.\nopipe\minimio",
        r"\pipe\x",
        r"\\.\C:\windows\win.ini",
    ] {
        for error in [
            NamedPipe::create(bad).unwrap_err(),
            NamedPipe::open(bad).unwrap_err(),
        ] {
            assert_eq!(error.raw_os_error(), Some(ERROR_INVALID_NAME), "{bad}");
        }
    }
    let with_nul = "\\\\.\\pipe\\minimio\0x";
    expect_kind(NamedPipe::create(with_nul), ErrorKind::InvalidInput);
    expect_kind(NamedPipe::open(with_nul), ErrorKind::InvalidInput);
    expect_kind(NamedPipe::open(name()), ErrorKind::NotFound);
    // As the system takes them.
    let name = name();
    let _server = NamedPipe::create(&name).unwrap();
    NamedPipe::open(name.replace(r"\pipe\", r"\PIPE\")).unwrap();
}

#[test]
fn a_pipe_of_one_direction_moves_bytes_in_that_direction() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for inbound in [true, false] {
        let name = name();
        let mut options = options();
        options.inbound(inbound).outbound(!inbound);
        let server = options.create(&name).unwrap();
        let client = NamedPipe::open(&name).unwrap();
        server.connect().unwrap();
        let (mut from, mut to) = if inbound {
            (client, server)
        } else {
            (server, client)
        };
        registrator.register(&to, 1, READABLE).unwrap();
        registrator.register(&from, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        assert_eq!(from.write(b"hello").unwrap(), 5);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        expect_bytes(&mut to, b"hello");
        let refused = to.write(b"x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(ERROR_ACCESS_DENIED));
        let refused = from.read(&mut [0; 8]).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(ERROR_ACCESS_DENIED));
    }
    let mut options = options();
    options.inbound(false).outbound(false);
    expect_kind(options.create(name()), ErrorKind::InvalidInput);
    expect_kind(
        self::options().max_instances(0).create(name()),
        ErrorKind::InvalidInput,
    );
}

// Ends.

/// Drops its things in the `which`-th of the six orders, each on a thread of its own if `which` is above 5.
fn drop_in_order<A: Send, B: Send, C: Send>(which: usize, a: A, b: B, c: C) {
    let (mut a, mut b, mut c) = (Some(a), Some(b), Some(c));
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for step in orders[which % 6] {
        thread::scope(|scope| {
            let (a, b, c) = (&mut a, &mut b, &mut c);
            let mut act = move || match step {
                0 => drop(a.take()),
                1 => drop(b.take()),
                _ => drop(c.take()),
            };
            if which % 12 > 5 {
                scope.spawn(act);
            } else {
                act();
            }
        });
    }
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_read_in_flight() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(60) {
            let (poll, registrator, _events) = queue();
            let (near, mut far) = if round % 2 == 0 {
                pair()
            } else {
                reversed_pair()
            };
            if round % 3 == 0 {
                near.set_lent_buffer(0);
            }
            registrator.register(&near, 1, BOTH).unwrap();
            if round % 4 == 0 {
                // The packet may be on the port when all goes.
                far.write_all(b"early").unwrap();
            }
            drop_in_order(round, poll, registrator, near);
            // It is broken by now.
            drop(far.write(&[0xaa; 1000]));
        }
    });
}

/// Closing a pipe with a write in flight would lose all of the write.
#[test]
fn everything_is_dropped_in_all_orders_with_a_write_in_flight_and_nothing_is_lost() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(24) {
            let (mut poll, registrator, mut events) = queue();
            let (near, mut far) = if round % 2 == 0 {
                pair()
            } else {
                reversed_pair()
            };
            let accepted = write_in_flight(&mut poll, &mut events, &near);
            registrator.register(&near, 2, BOTH).unwrap();
            // Where the poll is dropped before it polls, a pump or the reaper takes the packet.
            let poller = (round % 3 == 0).then(|| {
                let poll = std::mem::replace(&mut poll, Poll::new().unwrap());
                poll_until_closed(poll, registrator.clone())
            });
            drop_in_order(round, poll, registrator.clone(), near);
            let mut received: Vec<u8> = Vec::new();
            let mut buffer = [0; 700];
            loop {
                // No poll may run, and then this is who takes packets of that port.
                drop(registrator.lent_bytes());
                match until_done(|| far.read(&mut buffer)).unwrap() {
                    0 => break,
                    count => received.extend(&buffer[..count]),
                }
            }
            assert_eq!(received.len(), accepted);
            assert!(received.iter().all(|&byte| byte == 0x5a));
            if let Some(poller) = poller {
                registrator.close_loop().unwrap();
                poller.join().unwrap();
            }
        }
    });
}

fn poll_until_closed(mut poll: Poll, _registrator: Registrator) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        while poll.poll(&mut events, None).is_ok() {}
    })
}

/// A write whose packet is on the port: the drop takes it, and the peer's end does not wait for a poll.
#[test]
fn a_pipe_that_is_dropped_after_its_write_has_ended_is_closed_at_once() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for (mut near, mut far) in [pair(), reversed_pair()] {
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert_eq!(near.write(b"last").unwrap(), 4);
        drop(near);
        expect_bytes(&mut far, b"last");
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_connect_in_flight() {
    let _watchdog = watchdog();
    leaves_nothing(|| {
        for round in 0..effort(60) {
            let (poll, registrator, _events) = queue();
            let name = name();
            let server = NamedPipe::create(&name).unwrap();
            registrator.register(&server, 1, BOTH).unwrap();
            let client = (round % 3 == 0).then(|| NamedPipe::open(&name).unwrap());
            drop_in_order(round, poll, registrator, server);
            drop(client);
            // The name is free again.
            drop(
                NamedPipeOptions::new()
                    .max_instances(1)
                    .create(&name)
                    .unwrap(),
            );
        }
    });
}

#[test]
fn a_poll_dropped_first_leaves_pipes_that_read_and_write() {
    let _watchdog = watchdog();
    for lent in [0, 4096] {
        let (poll, registrator, _events) = queue();
        let (mut near, mut far) = pair();
        near.set_lent_buffer(lent);
        registrator.register(&near, 1, BOTH).unwrap();
        drop(poll);
        await_that("nothing is lent", || registrator.lent_bytes() == 0);
        for _ in 0..3 {
            far.write_all(b"hello").unwrap();
            let mut buffer = [0; 8];
            assert_eq!(until_done(|| near.read(&mut buffer)).unwrap(), 5);
            assert_eq!(near.write(b"bye").unwrap(), 3);
            expect_bytes(&mut far, b"bye");
        }
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_closed_loop_leaves_pipes_that_read_and_write() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (mut near, mut far) = pair();
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.close_loop().unwrap();
    far.write_all(b"hello").unwrap();
    assert_eq!(until_done(|| near.read(&mut [0; 8])).unwrap(), 5);
    assert_eq!(until_done(|| near.write(b"bye")).unwrap(), 3);
    expect_bytes(&mut far, b"bye");
}

/// A peer that never reads holds a dropped pipe no longer than the limit.
#[cfg(minimio_hooks)]
#[test]
fn a_deferred_close_is_given_up_in_the_end() {
    use minimio::hooks::windows::set_deferred_close;

    let _watchdog = watchdog();
    for drops_poll in [false, true] {
        leaves_nothing(|| {
            set_deferred_close(Duration::from_millis(200));
            let (mut poll, registrator, mut events) = queue();
            let (near, mut far) = pair();
            let accepted = write_in_flight(&mut poll, &mut events, &near);
            let start = Instant::now();
            drop(near);
            assert_ne!(registrator.lent_bytes(), 0);
            let mut poll = Some(poll);
            if drops_poll {
                drop(poll.take());
            }
            await_that("it is given up", || {
                if let Some(poll) = &mut poll {
                    let timeout = Some(Duration::from_millis(50));
                    assert_eq!(poll.poll(&mut events, timeout).unwrap(), 0);
                }
                registrator.lent_bytes() == 0
            });
            assert!(start.elapsed() >= Duration::from_millis(200));
            let (mut received, mut buffer) = (0, [0; 512]);
            loop {
                match until_done(|| far.read(&mut buffer)).unwrap() {
                    0 => break,
                    count => received += count,
                }
            }
            assert!(received < accepted, "it was cancelled");
            set_deferred_close(Duration::from_secs(60));
        });
    }
}

/// Runs `body` until a round leaves no more handles than it found, and nothing in flight. Only one test does so at a time;
/// the handles of other tests come and go.
fn leaves_nothing(body: impl Fn()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..20 {
        let before = handles();
        body();
        #[cfg(minimio_hooks)]
        await_that("no reaper runs", || {
            minimio::hooks::windows::live_reapers() == 0
        });
        let end = Instant::now() + QUIET;
        while handles() > before && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        if handles() <= before {
            return;
        }
    }
    panic!("each round has left handles: {}", handles());
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
    let byte_at = |at: usize| (at % 251) as u8;
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

// Handles.

#[test]
fn a_pipe_belongs_to_one_poll_for_life() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (_other, others, _) = queue();
    let (near, _far) = pair();
    registrator.register(&near, 1, READABLE).unwrap();
    expect_kind(
        others.register(&near, 1, READABLE),
        ErrorKind::AlreadyExists,
    );
    expect_kind(others.deregister(&near), ErrorKind::NotFound);
    let near = near.into_handle().map_err(drop);
    assert!(near.is_err(), "memory is lent");

    let (near, mut far) = pair();
    near.set_lent_buffer(0);
    registrator.register(&near, 1, READABLE).unwrap();
    let mut near = NamedPipe::from_handle(near.into_handle().unwrap());
    expect_kind(
        others.register(&near, 1, READABLE),
        ErrorKind::AlreadyExists,
    );
    // No packet of it comes to the port any more.
    far.write_all(b"x").unwrap();
    expect_bytes(&mut near, b"x");
}

#[test]
fn a_pipe_is_given_back_unless_memory_is_lent_or_bytes_are_unread() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (near, mut far) = pair();
    registrator.register(&near, 1, READABLE).unwrap();
    far.write_all(b"abc").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let refused = near.into_handle().unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::WouldBlock);
    let mut near = refused.into_source();
    expect_bytes(&mut near, b"abc");
    let accepted = write_in_flight(&mut poll, &mut events, &near);
    let refused = near.into_handle().unwrap_err();
    let near = refused.into_source();
    let mut received = 0;
    while received < accepted {
        received += far.read(&mut [0; 1000]).unwrap();
    }
    let mut near = NamedPipe::from_handle(near.into_handle().unwrap());
    assert_eq!(near.write(b"still a pipe").unwrap(), 12);
    expect_bytes(&mut far, b"still a pipe");

    let (_poll, registrator, _events) = queue();
    let waiting = NamedPipe::create(name()).unwrap();
    registrator.register(&waiting, 1, WRITABLE).unwrap();
    let refused = waiting.into_handle().unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_servers_end_is_taken_over_before_and_after_its_client() {
    let _watchdog = watchdog();
    for (inbound, registers) in [(true, true), (false, true), (true, false)] {
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let server = options().inbound(inbound).create(&name).unwrap();
        let mut server = NamedPipe::from_handle(server.into_handle().unwrap());
        expect_kind(server.connect(), ErrorKind::WouldBlock);
        if registers {
            registrator.register(&server, 1, WRITABLE).unwrap();
            expect_no_events(&mut poll, &mut events);
        }
        let mut client = NamedPipe::open(&name).unwrap();
        if registers {
            expect_events(&mut poll, &mut events, &[(1, false, true)]);
        }
        server.connect().unwrap();
        assert_eq!(server.write(b"hello").unwrap(), 5);
        expect_bytes(&mut client, b"hello");
        if inbound && !registers {
            let mut server = NamedPipe::from_handle(server.into_handle().unwrap());
            server.connect().unwrap();
            client.write_all(b"again").unwrap();
            expect_bytes(&mut server, b"again");
        }
    }
}

#[test]
fn handles_of_other_things_are_errors_of_register() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    // A plain file, opened for overlapped use or not.
    for flags in [0, FILE_FLAG_OVERLAPPED] {
        let file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(std::env::current_exe().unwrap())
            .unwrap();
        let file = NamedPipe::from_handle(file.into());
        expect_kind(
            registrator.register(&file, 1, READABLE),
            ErrorKind::InvalidInput,
        );
    }
    // A pipe that is not overlapped.
    let name = name();
    let mut server = options().create(&name).unwrap();
    let client = open_file(&name).unwrap();
    server.connect().unwrap();
    let mut plain = NamedPipe::from_handle(client.into());
    expect_kind(
        registrator.register(&plain, 1, READABLE),
        ErrorKind::AlreadyExists,
    );
    // Without a registration it does no harm.
    expect_kind(plain.read(&mut [0; 8]), ErrorKind::WouldBlock);
    assert_eq!(server.write(b"hello").unwrap(), 5);
    expect_bytes(&mut plain, b"hello");
    assert_eq!(plain.write(b"bye").unwrap(), 3);
    expect_bytes(&mut server, b"bye");
    // A socket.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let number = std::os::windows::io::IntoRawSocket::into_raw_socket(socket);
    // SAFETY: nobody else owns it. A socket is a handle to whatever asks here; closing it as one leaks what Winsock has.
    let handle = unsafe { OwnedHandle::from_raw_handle(number as usize as RawHandle) };
    let socket = NamedPipe::from_handle(handle);
    expect_kind(
        registrator.register(&socket, 1, READABLE),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn messages_are_read_as_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for lent in [0, 3, 4096] {
        let (server, mut client) = message_pair();
        let mut server = NamedPipe::from_handle(server);
        server.set_lent_buffer(lent);
        for token in 0..3 {
            client.write_all(b"messages").unwrap();
            let mut bytes: Vec<u8> = Vec::new();
            while bytes.len() < 8 {
                registrator.register(&server, token, READABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(token, true, false)]);
                let mut buffer = [0; 5];
                let count = server.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                bytes.extend(&buffer[..count]);
            }
            assert_eq!(bytes, b"messages");
        }
    }
}

/// A server's end that reads messages, and a client.
fn message_pair() -> (OwnedHandle, File) {
    let name = name();
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
    let kind = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE;
    // SAFETY: the name ends in 0, and there are no security attributes.
    let server = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            mode,
            kind,
            1,
            4096,
            4096,
            0,
            std::ptr::null(),
        )
    };
    assert_ne!(server, INVALID_HANDLE_VALUE);
    // SAFETY: it was made right now.
    let server = unsafe { OwnedHandle::from_raw_handle(server) };
    let client = open_file(&name).unwrap();
    (server, client)
}

/// 3.8: no read starts during a call of the user's own, and what waits in lent memory is in the way.
#[test]
fn a_call_of_the_users_own_holds_the_pipe() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut near, mut far) = pair();
    near.try_io(READABLE, |pipe| {
        registrator.register(pipe, 1, READABLE)?;
        assert_eq!(registrator.lent_bytes(), 0);
        Ok(())
    })
    .unwrap();
    expect_no_events(&mut poll, &mut events);
    expect_kind(near.try_io(READABLE, |_| Ok(())), ErrorKind::WouldBlock);
    far.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_kind(near.try_io(READABLE, |_| Ok(())), ErrorKind::InvalidInput);
    expect_bytes(&mut near, b"x");
    expect_kind(near.try_io(BOTH, |_| Ok(())), ErrorKind::InvalidInput);
    near.try_io(WRITABLE, |mut pipe| {
        registrator.register(pipe, 2, WRITABLE)?;
        expect_kind(pipe.write(b"y"), ErrorKind::WouldBlock);
        Ok(())
    })
    .unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
}

#[test]
fn pipes_are_sent_shared_and_shown() {
    fn all<T: Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    let (near, _far) = pair();
    all(&near);
    all(&NamedPipeOptions::default());
    let shown = format!("{near:?}");
    assert!(shown.starts_with("NamedPipe("), "{shown}");
    assert_eq!(near.as_raw_handle(), near.as_handle().as_raw_handle());
}

/// Calls that fail, and packets that tell of failures or come late.
#[cfg(minimio_hooks)]
mod faults {
    use super::*;
    use minimio::hooks::windows::{delay_packets, fail_packet};
    use minimio::hooks::{fail, Call};

    const NO_SYSTEM_RESOURCES: i32 = 1450;
    const TOO_MANY_HANDLES: i32 = 4;
    const STATUS_CANCELLED: u32 = 0xc000_0120;
    const STATUS_PIPE_DISCONNECTED: u32 = 0xc000_00b0;
    const STATUS_HANDLES_CLOSED: u32 = 0x8000_000a;
    const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;

    #[track_caller]
    fn expect_code<T: std::fmt::Debug>(result: io::Result<T>, code: i32) {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(code));
    }

    #[test]
    fn a_read_that_finds_no_room_lends_nothing() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair();
        fail(Call::Receive, NO_SYSTEM_RESOURCES, 1);
        registrator.register(&near, 1, READABLE).unwrap();
        assert_eq!(registrator.lent_bytes(), 0);
        far.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        expect_bytes(&mut near, b"hello");
    }

    #[test]
    fn a_read_that_cannot_start_is_an_event_and_its_error() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair();
        fail(Call::Receive, TOO_MANY_HANDLES, 1);
        registrator.register(&near, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        expect_code(near.read(&mut [0; 8]), TOO_MANY_HANDLES);
        registrator.register(&near, 2, READABLE).unwrap();
        far.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        expect_bytes(&mut near, b"hello");
    }

    #[test]
    fn a_write_that_cannot_start_takes_no_byte() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair();
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        fail(Call::Send, NO_SYSTEM_RESOURCES, 1);
        expect_code(near.write(b"never"), NO_SYSTEM_RESOURCES);
        assert_eq!(registrator.lent_bytes(), 0);
        assert_eq!(near.write(b"hello").unwrap(), 5);
        expect_bytes(&mut far, b"hello");
    }

    #[test]
    fn a_wait_for_a_client_that_cannot_start_is_an_event_and_its_error() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let mut server = NamedPipe::create(&name).unwrap();
        fail(Call::Connect, NO_SYSTEM_RESOURCES, 1);
        registrator.register(&server, 1, BOTH).unwrap();
        expect_events(
            &mut poll,
            &mut events,
            &[(1, true, false), (1, false, true)],
        );
        expect_code(server.read(&mut [0; 8]), NO_SYSTEM_RESOURCES);
        expect_code(server.connect(), NO_SYSTEM_RESOURCES);
        // The next one waits.
        expect_kind(server.connect(), ErrorKind::WouldBlock);
        registrator.register(&server, 2, BOTH).unwrap();
        expect_no_events(&mut poll, &mut events);
        let client = NamedPipe::open(&name).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        server.connect().unwrap();
        drop(client);
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        // What was told before is not told again in the place of the end.
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn packets_tell_of_the_end_by_several_names() {
        let _watchdog = watchdog();
        for status in [STATUS_PIPE_DISCONNECTED, STATUS_HANDLES_CLOSED] {
            let (mut poll, registrator, mut events) = queue();
            let (mut near, mut far) = pair();
            registrator.register(&near, 1, READABLE).unwrap();
            far.write_all(b"taken").unwrap();
            fail_packet(status);
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
            registrator.register(&near, 2, WRITABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(2, false, true)]);
            assert_eq!(near.write(b"x").unwrap(), 1);
            fail_packet(status);
            expect_kind(near.flush(), ErrorKind::BrokenPipe);
            for _ in 0..2 {
                expect_kind(near.write(b"x"), ErrorKind::BrokenPipe);
            }
        }
    }

    #[test]
    fn packets_of_failures_are_events_and_their_errors() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair();
        registrator.register(&near, 1, READABLE).unwrap();
        far.write_all(b"taken").unwrap();
        fail_packet(STATUS_INSUFFICIENT_RESOURCES);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        expect_code(near.read(&mut [0; 8]), NO_SYSTEM_RESOURCES);
        // Not cancelled by us: the read starts again. (Wine's server has given these bytes away.)
        registrator.register(&near, 2, READABLE).unwrap();
        far.write_all(b"taken").unwrap();
        fail_packet(STATUS_CANCELLED);
        expect_no_events(&mut poll, &mut events);
        far.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        expect_bytes(&mut near, b"hello");
        // How much of a write that was cancelled has gone out nobody knows.
        registrator.register(&near, 3, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(3, false, true)]);
        assert_eq!(near.write(b"x").unwrap(), 1);
        registrator.register(&near, 4, WRITABLE).unwrap();
        fail_packet(STATUS_CANCELLED);
        expect_events(&mut poll, &mut events, &[(4, false, true)]);
        for _ in 0..2 {
            expect_kind(near.write(b"x"), ErrorKind::ConnectionAborted);
        }
    }

    #[test]
    fn a_wait_for_a_client_that_somebody_cancelled_goes_on() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let server = NamedPipe::create(&name).unwrap();
        registrator.register(&server, 1, WRITABLE).unwrap();
        let _client = NamedPipe::open(&name).unwrap();
        fail_packet(STATUS_CANCELLED);
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        server.connect().unwrap();
    }

    #[test]
    fn packets_may_come_late() {
        let _watchdog = watchdog();
        let (mut poll, registrator, mut events) = queue();
        let (mut near, mut far) = pair();
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert_eq!(near.write(b"last").unwrap(), 4);
        // Not even the drop gets it.
        delay_packets(1);
        drop(near);
        expect_bytes(&mut far, b"last");
        expect_kind(far.read(&mut [0; 8]), ErrorKind::WouldBlock);
        expect_nothing_queued(&mut poll, &mut events);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);

        let (near, mut far) = pair();
        registrator.register(&near, 2, READABLE).unwrap();
        far.write_all(b"unread").unwrap();
        delay_packets(3);
        drop(near);
        drop(poll);
        await_that("nothing is lent", || registrator.lent_bytes() == 0);
    }
}
