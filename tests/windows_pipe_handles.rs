//! 9.4, 3.7, 3.8: pipes that are taken over and given back, handles of other things, and calls of the user's own.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod named_pipes;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};

use common::{expect_events, expect_no_events, watchdog, BOTH, READABLE, WRITABLE};
use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use named_pipes::{
    expect_bytes, expect_kind, name, open_file, options, pair, queue, write_in_flight,
};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE,
};

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
fn a_clients_end_that_is_taken_over_is_connected() {
    let _watchdog = watchdog();
    for registers in [false, true] {
        let (mut poll, registrator, mut events) = queue();
        let name = name();
        let mut server = options().create(&name).unwrap();
        // It can only be written, and so not be asked whether it has a peer.
        let client = File::options()
            .write(true)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .open(&name)
            .unwrap();
        server.connect().unwrap();
        let mut client = NamedPipe::from_handle(client.into());
        if registers {
            registrator.register(&client, 1, WRITABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, false, true)]);
        }
        client.connect().unwrap();
        assert_eq!(client.write(b"hello").unwrap(), 5);
        expect_bytes(&mut server, b"hello");

        let (server, client) = pair();
        drop(server);
        let mut client = NamedPipe::from_handle(client.into_handle().unwrap());
        client.connect().unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        expect_kind(client.write(b"x"), ErrorKind::BrokenPipe);
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
    let handle = unsafe { OwnedHandle::from_raw_handle(number as RawHandle) };
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
