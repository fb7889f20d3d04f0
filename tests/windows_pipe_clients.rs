//! 9.4: clients of named pipes that come, vanish and are sent away; names and instances.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod named_pipes;

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::{
    await_that, effort, expect_events, expect_no_events, under_wine, until_done, watchdog,
    SetOnDrop, BOTH, READABLE, WRITABLE,
};
use minimio::os::windows::NamedPipe;
use named_pipes::{
    expect_bytes, expect_kind, name, open_file, options, pair, queue, write_in_flight,
    ERROR_ACCESS_DENIED, ERROR_INVALID_NAME, ERROR_PIPE_BUSY,
};

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

/// The packet that tells of the client is still on the port when the client is sent away.
#[test]
fn a_client_that_is_sent_away_before_anybody_knew_of_it_is_not_there() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let name = name();
    let server = NamedPipe::create(&name).unwrap();
    registrator.register(&server, 1, WRITABLE).unwrap();
    for token in 2..5 {
        let _client = NamedPipe::open(&name).unwrap();
        server.disconnect().unwrap();
        expect_events(&mut poll, &mut events, &[(token - 1, false, true)]);
        expect_kind(server.connect(), ErrorKind::WouldBlock);
        registrator.register(&server, token, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
    let _client = NamedPipe::open(&name).unwrap();
    expect_events(&mut poll, &mut events, &[(4, false, true)]);
    server.connect().unwrap();
}

/// A thread reads all the time. That it meets the pipe without a client is not the end of the next client's stream.
#[test]
fn a_thread_that_reads_meets_each_next_client() {
    let _watchdog = watchdog();
    let name = name();
    let server = NamedPipe::create(&name).unwrap();
    let (seen, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = &server;
            while !stop.load(Ordering::SeqCst) {
                if let Ok(count) = reader.read(&mut [0; 8]) {
                    seen.fetch_add(count, Ordering::SeqCst);
                }
            }
        });
        let _stop = SetOnDrop(&stop);
        for round in 0..effort(50) {
            expect_kind(server.connect(), ErrorKind::WouldBlock);
            let mut client = open_file(&name).unwrap();
            server.connect().unwrap();
            client.write_all(b"x").unwrap();
            await_that("the byte comes", || {
                seen.load(Ordering::SeqCst) == round + 1
            });
            server.disconnect().unwrap();
        }
    });
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
    for (at, mut client) in (0u8..).zip(&clients) {
        assert_eq!(client.write(&[at]).unwrap(), 1);
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
    let name = named_pipes::name();
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
        r"\\.\pipe\..\C:\windows\win.ini",
        r"\\.\pipe\minimio/../..\C:\windows\win.ini",
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
        named_pipes::options().max_instances(0).create(name()),
        ErrorKind::InvalidInput,
    );
}
