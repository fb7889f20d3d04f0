//! Looks that say less, and marks that say more, than they seem to: peeks with an offset of their own, and urgent data.

#![cfg(any(target_os = "linux", target_os = "android"))]
#![allow(clippy::unwrap_used)] // a test

mod common;

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net;
use std::os::fd::{AsFd, AsRawFd};

use common::{
    await_bytes, await_that, expect_events, expect_no_events, pair, watchdog, BOTH, READABLE,
};
use minimio::{Events, Interests, Poll, TcpStream, UdpSocket};
use socket2::SockRef;

/// Makes each peek go on from where the last one stopped.
fn set_peek_offset(socket: &impl AsFd, offset: libc::c_int) {
    // SAFETY: the value is as long as said, and read during the call only.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            std::ptr::addr_of!(offset).cast(),
            libc::socklen_t::try_from(std::mem::size_of_val(&offset)).unwrap(),
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

// 3.3, 8: a peek that finds nothing more says nothing of what a read would find.
#[test]
fn peeks_with_an_offset_lose_no_event() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = pair();
    set_peek_offset(&stream, 0);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let mut seen = 0;
    let mut buffer = [0; 64];
    while seen < 5 {
        seen += stream.peek(&mut buffer).unwrap();
    }
    let error = stream.peek(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
}

// 3.3
#[test]
fn peeks_at_datagrams_with_an_offset_lose_no_event() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(socket.local_addr().unwrap()).unwrap();
    socket.connect(sender.local_addr().unwrap()).unwrap();
    poll.registrator().register(&socket, 1, READABLE).unwrap();
    sender.send(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let mut buffer = [0; 64];
    for from in [true, false] {
        // Behind the end of what waits.
        set_peek_offset(&socket, 5);
        let peeked = if from {
            socket.peek_from(&mut buffer).map(|(count, _)| count)
        } else {
            socket.peek(&mut buffer)
        };
        assert!(
            matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "{peeked:?}"
        );
        poll.registrator().register(&socket, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
    }
    assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
}

/// A pair whose near end has as small a receive buffer as the system grants, and has used it: there Linux calls the urgent
/// byte alone "readable".
fn short_of_memory() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(1).unwrap();
    let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    let (mut near, _) = listener.accept().unwrap();
    // A segment of this size is what the window is measured against.
    let mut used = [0; 1000];
    peer.write_all(&used).unwrap();
    near.read_exact(&mut used).unwrap();
    (TcpStream::from_std(near).unwrap(), peer)
}

/// Waits until the urgent byte is there.
fn await_urgent(stream: &TcpStream) {
    let mut one = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    // SAFETY: there is one entry, and it may be written for the length of the call.
    let count = unsafe { libc::poll(&mut one, 1, 60_000) };
    assert_eq!(count, 1);
}

// 6.7, 8
#[test]
fn the_urgent_byte_alone_is_no_event_however_short_memory_is() {
    let _watchdog = watchdog();
    for registered_first in [true, false] {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let (mut stream, mut peer) = short_of_memory();
        if registered_first {
            poll.registrator().register(&stream, 1, READABLE).unwrap();
        }
        SockRef::from(&peer).send_out_of_band(b"X").unwrap();
        await_urgent(&stream);
        if !registered_first {
            poll.registrator().register(&stream, 1, READABLE).unwrap();
        }
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"def").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let mut buffer = [0; 64];
        assert_ne!(stream.read(&mut buffer).unwrap(), 0);
    }
}

// 6.7: the same if a read has filled its buffer before, so that the kernel was asked for the level.
#[test]
fn the_urgent_byte_alone_is_no_event_after_a_read_that_filled_its_buffer() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = pair();
    let registrator = poll.registrator();
    for _ in 0..2 {
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
    }
    registrator.register(&stream, 1, READABLE).unwrap();
    SockRef::from(&peer).send_out_of_band(b"X").unwrap();
    await_urgent(&stream);
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"def").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_ne!(stream.read(&mut [0; 64]).unwrap(), 0);
}

// 2.3, 3.8: a read stops where urgent data was, also if a call of the user's own has taken it before any event.
#[test]
fn what_is_behind_urgent_data_that_was_taken_is_told() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"ab").unwrap();
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    peer.write_all(b"cd").unwrap();
    await_that("the urgent byte", || {
        let mut byte = [MaybeUninit::uninit()];
        let taken = stream.try_io(READABLE, |stream| {
            SockRef::from(stream).recv_out_of_band(&mut byte)
        });
        taken.is_ok()
    });
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64]);
    for token in 2.. {
        poll.registrator()
            .register(&stream, token, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.len() == 4 {
            break;
        }
    }
    assert_eq!(bytes, b"abcd");
}

fn take_urgent(stream: &impl AsFd) {
    let mut byte = [MaybeUninit::uninit()];
    let taken = SockRef::from(stream).recv_out_of_band(&mut byte);
    assert_eq!(taken.unwrap(), 1);
}

// 2.3, 3.8: the same by a call on the borrowed descriptor, after an event has told of the urgent data.
#[test]
fn what_is_behind_urgent_data_that_was_told_and_taken_is_told() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = pair();
    peer.write_all(b"ab").unwrap();
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    peer.write_all(b"cd").unwrap();
    await_urgent(&stream);
    await_bytes(&stream, 2);
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    take_urgent(&stream);
    registrator.register(&stream, 2, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, true)]);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64]);
    for token in 3.. {
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.len() == 4 {
            break;
        }
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    assert_eq!(bytes, b"abcd");
}

// 3.2, 6.7: where memory is short, the place of the urgent byte is readable also after the byte was taken.
#[test]
fn the_place_of_an_urgent_byte_that_was_told_and_taken_is_no_event() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let registrator = poll.registrator();
    let (mut stream, mut peer) = short_of_memory();
    peer.write_all(b"a").unwrap();
    SockRef::from(&peer).send_out_of_band(b"X").unwrap();
    await_urgent(&stream);
    await_bytes(&stream, 1);
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
    take_urgent(&stream);
    registrator.register(&stream, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"def").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_ne!(stream.read(&mut [0; 64]).unwrap(), 0);
}

// 6.7: what the confirming peek takes away from the kernel is not lost.
#[test]
fn a_reset_beside_urgent_data_is_told() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, peer) = short_of_memory();
    SockRef::from(&peer).send_out_of_band(b"X").unwrap();
    await_urgent(&stream);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(peer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    for _ in 0..2 {
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

// 6.7: with an offset a peek would say something else than a read.
#[test]
fn urgent_data_beside_bytes_is_an_event_also_with_a_peek_offset() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = pair();
    set_peek_offset(&stream, 0);
    peer.write_all(b"abc").unwrap();
    await_bytes(&stream, 3);
    SockRef::from(&peer).send_out_of_band(b"X").unwrap();
    await_urgent(&stream);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);
}

// 3.5: Linux calls a write to it a broken pipe, as if the connection had ended.
#[test]
fn a_stream_that_was_never_connected_says_so() {
    let _watchdog = watchdog();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let mut stream = TcpStream::from_std(socket.into()).unwrap();
    for _ in 0..2 {
        let read = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(read.kind(), ErrorKind::NotConnected);
        let written = stream.write(b"x").unwrap_err();
        assert_eq!(written.kind(), ErrorKind::NotConnected);
        let shut = stream.shutdown(net::Shutdown::Both).unwrap_err();
        assert_eq!(shut.kind(), ErrorKind::NotConnected);
    }
    assert!(stream.take_error().unwrap().is_none());
}

// 3.8: a WouldBlock that meant something else loses no event.
#[test]
fn a_foreign_would_block_is_not_believed() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (mut stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let foreign = stream.try_io(Interests::READABLE, |_| {
        Err::<(), _>(ErrorKind::WouldBlock.into())
    });
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::WouldBlock);
    poll.registrator().register(&stream, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
}

// 3.2: such a message lies in the socket until the user takes it, and no read does. A time stamp for each packet that is
// sent makes one. Emulators of other machines may lack that option.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[test]
fn what_is_in_the_error_queue_is_not_told_again_and_again() {
    let _watchdog = watchdog();
    // The first read leaves room, and the second fills its buffer.
    for room in [8, 1] {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let (mut stream, mut peer) = pair();
        let stamps = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        // SAFETY: the kernel reads the number, whose length is given, as long as the call lasts.
        let set = unsafe {
            libc::setsockopt(
                stream.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPING,
                std::ptr::from_ref(&stamps).cast(),
                libc::socklen_t::try_from(std::mem::size_of_val(&stamps)).unwrap(),
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        let registrator = poll.registrator();
        registrator.register(&stream, 1, READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut vec![0; room]).unwrap(), 1);
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.write_all(b"answer").unwrap();
        await_that("a time stamp", || {
            let mut queue = libc::pollfd {
                fd: stream.as_fd().as_raw_fd(),
                events: 0,
                revents: 0,
            };
            // SAFETY: one entry may be written as long as the call lasts, which does not wait.
            unsafe { libc::poll(&mut queue, 1, 0) == 1 }
        });
        // The report of the error, and that of asking for edges, may each be an event.
        for _ in 0..2 {
            poll.poll(&mut events, Some(std::time::Duration::from_millis(50)))
                .unwrap();
            let kind = stream.read(&mut vec![0; room]).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::WouldBlock);
            registrator.register(&stream, 1, READABLE).unwrap();
        }
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"y").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut vec![0; room]).unwrap(), 1);
    }
}
