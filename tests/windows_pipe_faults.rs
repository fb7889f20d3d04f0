//! Calls on pipes that fail, and packets that tell of failures or come late.
#![cfg(all(windows, minimio_hooks))]
#![allow(clippy::unwrap_used)]

mod common;
mod named_pipes;

use std::io::{self, ErrorKind, Read, Write};

use common::{
    await_that, expect_events, expect_no_events, expect_nothing_queued, watchdog, BOTH, READABLE,
    WRITABLE,
};
use minimio::hooks::windows::{delay_packets, fail_packet};
use minimio::hooks::{fail, Call};
use minimio::os::windows::NamedPipe;
use named_pipes::{expect_bytes, expect_kind, name, pair, queue};

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
