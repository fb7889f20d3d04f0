//! Named pipes.

#![cfg(windows)]

mod common;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{FromRawHandle, IntoRawHandle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{drain, is_ours, watchdog, Loop, R, RW, W};
use mio::windows::NamedPipe;
use mio::{Interest, Token};

const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;

fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\mio-{}-{number}", std::process::id())
}

/// The client's end, whose calls block.
fn client(name: &str) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap()
}

/// The same as mio's.
fn overlapped_client(name: &str) -> NamedPipe {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .open(name)
        .unwrap();
    // SAFETY: the handle is given away.
    unsafe { NamedPipe::from_raw_handle(file.into_raw_handle()) }
}

/// A server's end that is registered and has a client.
fn connected(looping: &mut Loop, interests: Interest) -> (NamedPipe, File, String) {
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looping.register(&mut server, 1, interests);
    let client = await_client(looping, &server, &name);
    (server, client, name)
}

/// Waits for a client, and opens it.
#[track_caller]
fn await_client(looping: &mut Loop, server: &NamedPipe, name: &str) -> File {
    let error = server.connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let file = client(name);
    looping.writable(1);
    file
}

/// Reads as many bytes as `word` has, event by event.
#[track_caller]
fn expect(looping: &mut Loop, pipe: &NamedPipe, token: usize, word: &[u8]) {
    let mut came = Vec::new();
    while came.len() < word.len() {
        looping.readable(token);
        came.extend(drain(pipe).0);
    }
    assert_eq!(came, word);
}

#[test]
fn a_client_is_a_writable_event() {
    let mut looping = Loop::new();
    connected(&mut looping, RW);
}

// mio's pipes tell of both directions, whatever they were registered for.
#[test]
fn a_client_is_a_writable_event_whatever_was_asked_for() {
    for interests in [R, W] {
        let mut looping = Loop::new();
        let (server, mut client, _) = connected(&mut looping, interests);
        client.write_all(b"word").unwrap();
        expect(&mut looping, &server, 1, b"word");
    }
}

#[test]
fn bytes_go_both_ways() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let (mut server, mut client, _) = connected(&mut looping, RW);
    for round in 0..50_u32 {
        client.write_all(&round.to_ne_bytes()).unwrap();
        expect(&mut looping, &server, 1, &round.to_ne_bytes());
        loop {
            match server.write(b"back") {
                Ok(count) => break assert_eq!(count, 4),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            looping.writable(1);
        }
        server.flush().unwrap();
        let mut four = [0; 4];
        client.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"back");
    }
}

#[test]
fn room_is_an_event() {
    let _watchdog = watchdog();
    const BYTES: usize = 1 << 20;
    let mut looping = Loop::new();
    let (mut server, mut client, _) = connected(&mut looping, RW);
    let reading = thread::spawn(move || {
        let mut left = BYTES;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            left -= client.read(&mut buffer).unwrap();
        }
        client
    });
    let mut left = BYTES;
    let buffer = vec![1; 100_000];
    while left > 0 {
        match server.write(&buffer[..left.min(buffer.len())]) {
            Ok(count) => left -= count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                looping.writable(1);
            }
        }
    }
    reading.join().unwrap();
}

#[test]
fn the_clients_end_is_told() {
    let mut looping = Loop::new();
    let (mut server, client, _) = connected(&mut looping, RW);
    let would_block = server.read(&mut [0]).unwrap_err();
    assert_eq!(would_block.kind(), ErrorKind::WouldBlock);
    drop(client);
    loop {
        looping.readable(1);
        match server.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_pipe_serves_one_client_after_the_other() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let (mut server, mut client, name) = connected(&mut looping, RW);
    for _ in 0..5 {
        client.write_all(b"word").unwrap();
        expect(&mut looping, &server, 1, b"word");
        drop(client);
        // Not until it would block: an end does not.
        loop {
            looping.readable(1);
            if server.read(&mut [0]).is_ok() {
                break;
            }
        }
        server.disconnect().unwrap();
        client = await_client(&mut looping, &server, &name);
    }
}

#[test]
fn a_client_that_was_sent_away_is_followed_by_the_next() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let (server, mut client, name) = connected(&mut looping, RW);
    for _ in 0..5 {
        client.write_all(b"word").unwrap();
        expect(&mut looping, &server, 1, b"word");
        // Nobody reads between the two.
        server.disconnect().unwrap();
        drop(client);
        looping.rest();
        client = await_client(&mut looping, &server, &name);
    }
}

#[test]
fn a_wait_for_a_client_may_begin_before_the_registration() {
    if !is_ours() {
        return; // The real mio wants the registration first.
    }
    let mut looping = Loop::new();
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    match server.connect() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?}"),
    }
    looping.register(&mut server, 1, RW);
    let mut client = client(&name);
    looping.writable(1);
    client.write_all(b"word").unwrap();
    expect(&mut looping, &server, 1, b"word");
}

#[test]
fn both_ends_may_be_mios() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looping.register(&mut server, 1, RW);
    server.connect().unwrap_err();
    let mut client = overlapped_client(&name);
    looping.register(&mut client, 2, RW);
    looping.until(1, "writable", |event| event.is_writable());
    for _ in 0..20 {
        while client.write(b"there").is_err() {
            looping.writable(2);
        }
        expect(&mut looping, &server, 1, b"there");
        while server.write(b"back").is_err() {
            looping.writable(1);
        }
        expect(&mut looping, &client, 2, b"back");
    }
    drop(server);
    loop {
        looping.readable(2);
        match client.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reregistration_tells_anew_under_its_token() {
    let mut looping = Loop::new();
    let (mut server, mut client, _) = connected(&mut looping, RW);
    client.write_all(b"word").unwrap();
    looping.readable(1);
    for token in 2..10 {
        looping
            .registry()
            .reregister(&mut server, Token(token), RW)
            .unwrap();
        looping.readable(token);
        looping.rest();
    }
    assert_eq!(drain(&server).0, b"word");
}

#[test]
fn nothing_is_told_after_a_deregistration() {
    let mut looping = Loop::new();
    let (mut server, mut client, _) = connected(&mut looping, RW);
    looping.rest();
    drain(&server);
    looping.registry().deregister(&mut server).unwrap();
    let error = looping.registry().deregister(&mut server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    client.write_all(b"word").unwrap();
    assert_eq!(looping.rest().len(), 0);
    looping.register(&mut server, 2, RW);
    expect(&mut looping, &server, 2, b"word");
}

#[test]
fn a_pipe_may_outlive_its_poll() {
    let _watchdog = watchdog();
    for round in 0..20 {
        let mut looping = Loop::new();
        let (mut server, client, _) = connected(&mut looping, RW);
        drain(&server);
        if round % 2 == 0 {
            drop(server.write(&[0; 1000]));
        }
        let waiting = NamedPipe::new(name()).unwrap();
        waiting.connect().unwrap_err();
        drop(looping);
        thread::sleep(Duration::from_millis(1));
        drop(client);
    }
}
