//! What Linux alone has of Unix sockets: abstract addresses, credentials of senders, urgent data, and resets.

#![cfg(any(target_os = "linux", target_os = "android"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{expect_events, expect_no_events, kind_of, watchdog, READABLE, WRITABLE};
use minimio::os::unix::{UnixDatagram, UnixListener, UnixStream};
use minimio::{Events, Poll};
use socket2::SockRef;

fn queue() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(16))
}

/// An address without a file, which nobody else uses.
fn abstract_address() -> SocketAddr {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // A zero byte is as good as any other.
    let name = format!("minimio\0{}-{number}", std::process::id());
    SocketAddr::from_abstract_name(name).unwrap()
}

/// Reads once, after one event.
#[track_caller]
fn read_by_an_event(poll: &mut Poll, events: &mut Events, mut stream: &UnixStream) -> Vec<u8> {
    poll.registrator().register(stream, 9, READABLE).unwrap();
    expect_events(poll, events, &[(9, true, false)]);
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

fn send_urgent(stream: &UnixStream) {
    let sent = stream.try_io(WRITABLE, |stream| {
        SockRef::from(stream).send_out_of_band(b"!")
    });
    assert_eq!(sent.unwrap(), 1);
}

fn take_urgent(stream: &UnixStream) -> io::Result<usize> {
    stream.try_io(READABLE, |stream| {
        SockRef::from(stream).recv_out_of_band(&mut [MaybeUninit::uninit()])
    })
}

#[test]
fn abstract_addresses_serve_streams_and_datagrams() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let address = abstract_address();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let name = |address: &SocketAddr| address.as_abstract_name().map(<[u8]>::to_vec);
    assert_eq!(name(&listener.local_addr().unwrap()), name(&address));
    let again = UnixListener::bind_addr(&address);
    assert_eq!(kind_of(again), ErrorKind::AddrInUse);
    let mut client = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(name(&client.peer_addr().unwrap()), name(&address));
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (stream, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());
    client.write_all(b"hello").unwrap();
    assert_eq!(read_by_an_event(&mut poll, &mut events, &stream), b"hello");
    drop(listener);
    let nobody = UnixStream::connect_addr(&address);
    assert_eq!(kind_of(nobody), ErrorKind::ConnectionRefused);

    let (here, there) = (abstract_address(), abstract_address());
    let near = UnixDatagram::bind_addr(&here).unwrap();
    let far = UnixDatagram::bind_addr(&there).unwrap();
    far.connect_addr(&here).unwrap();
    far.send(b"one").unwrap();
    far.send_to_addr(b"two", &here).unwrap();
    for _ in 0..2 {
        let (count, from) = near.recv_from(&mut [0; 16]).unwrap();
        assert_eq!((count, name(&from)), (3, name(&there)));
    }
}

/// `socket2` has no such method for Android.
fn ask_for_credentials(stream: &UnixStream) {
    let on: libc::c_int = 1;
    // SAFETY: the value is as long as said, and read during the call only.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            std::ptr::addr_of!(on).cast(),
            libc::socklen_t::try_from(std::mem::size_of_val(&on)).unwrap(),
        )
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

// 9.2: with the credentials of senders asked for, a read stops between the messages of two processes.
#[test]
fn the_bytes_of_several_processes_are_all_reported() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixStream::pair().unwrap();
    ask_for_credentials(&near);
    let far = OwnedFd::from(far.into_std().unwrap());
    poll.registrator().register(&near, 9, READABLE).unwrap();
    let mut expected = Vec::new();
    for number in 0..4_u8 {
        let text = format!("process {number} ");
        let mut child = Command::new("printf");
        let child = child
            .arg(&text)
            .stdin(Stdio::null())
            .stdout(far.try_clone().unwrap());
        assert!(child.status().unwrap().success());
        expected.push(text.into_bytes());
    }
    for text in &expected {
        // The kernel stops there today. It may as well give more at once.
        assert_eq!(read_by_an_event(&mut poll, &mut events, &near), *text);
    }
    poll.registrator().register(&near, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

/// Sends a byte to a stream that is armed under 1, and expects its event. Nothing else is in the stream.
fn expect_a_byte(
    poll: &mut Poll,
    events: &mut Events,
    mut near: &UnixStream,
    mut far: &UnixStream,
) {
    far.write_all(b"x").unwrap();
    expect_events(poll, events, &[(1, true, false)]);
    assert_eq!(near.read(&mut [0; 16]).unwrap(), 1);
}

// 6.7: epoll says that it is readable, and a read would block.
#[test]
fn an_urgent_byte_alone_is_no_event() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    for _ in 0..3 {
        registrator.register(&near, 1, READABLE).unwrap();
        send_urgent(&far);
        expect_no_events(&mut poll, &mut events);
        // What comes behind it is one.
        expect_a_byte(&mut poll, &mut events, &near, &far);
    }
}

#[test]
fn an_urgent_byte_behind_others_is_told_by_a_hint() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    far.write_all(b"ab").unwrap();
    send_urgent(&far);
    registrator.register(&near, 1, READABLE).unwrap();
    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    assert!(events.iter().all(|event| event.is_priority()));
    // The read is full, so the next registration asks the kernel.
    assert_eq!((&near).read(&mut [0; 2]).unwrap(), 2);
    assert_eq!(take_urgent(&near).unwrap(), 1);
    // Its place stays in the stream, and the kernel calls that readable, without the mark of urgent data.
    registrator.register(&near, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    expect_a_byte(&mut poll, &mut events, &near, &far);
}

/// A stream that epoll reports the level of, since reads have filled their buffer, and its peer. It is armed.
fn stream_with_a_level(poll: &mut Poll, events: &mut Events) -> (UnixStream, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    for _ in 0..2 {
        poll.registrator().register(&near, 1, READABLE).unwrap();
        far.write_all(b"x").unwrap();
        expect_events(poll, events, &[(1, true, false)]);
        assert_eq!((&near).read(&mut [0; 1]).unwrap(), 1);
    }
    poll.registrator().register(&near, 1, READABLE).unwrap();
    (near, far)
}

// 6.7: the same where reads have filled their buffer.
#[test]
fn an_urgent_byte_alone_is_no_event_after_reads_that_filled_their_buffer() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = stream_with_a_level(&mut poll, &mut events);
    send_urgent(&far);
    expect_no_events(&mut poll, &mut events);
    expect_a_byte(&mut poll, &mut events, &near, &far);
}

// 3.2, 3.8: a call of the user's own takes the urgent byte before any event. What is left of it is reported once at most.
#[test]
fn the_place_of_an_urgent_byte_is_not_told_again_and_again() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = stream_with_a_level(&mut poll, &mut events);
    send_urgent(&far);
    assert_eq!(take_urgent(&near).unwrap(), 1);
    poll.poll(&mut events, Some(Duration::from_millis(20)))
        .unwrap();
    let read = (&near).read(&mut [0; 1]);
    assert_eq!(kind_of(read), ErrorKind::WouldBlock);
    poll.registrator().register(&near, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    expect_a_byte(&mut poll, &mut events, &near, &far);
}

// 4.1: it returns 0 only if nothing is there.
#[test]
fn a_poll_that_does_not_wait_tells_of_bytes_after_a_call_of_the_users_own() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = stream_with_a_level(&mut poll, &mut events);
    let nothing = near.try_io(READABLE, |_| -> io::Result<()> {
        Err(ErrorKind::WouldBlock.into())
    });
    assert_eq!(kind_of(nothing), ErrorKind::WouldBlock);
    for token in [1, 2, 3] {
        poll.registrator().register(&near, token, READABLE).unwrap();
        far.write_all(b"x").unwrap();
        assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 1);
        assert_eq!((&near).read(&mut [0; 1]).unwrap(), 1);
    }
}

// 6.1: a read stops where an urgent byte was, also if no edge has ever told of it.
#[test]
fn bytes_behind_an_urgent_byte_that_was_taken_are_reported() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 9, READABLE).unwrap();
    far.write_all(b"ab").unwrap();
    send_urgent(&far);
    far.write_all(b"cd").unwrap();
    assert_eq!(take_urgent(&near).unwrap(), 1);
    assert_eq!(read_by_an_event(&mut poll, &mut events, &near), b"ab");
    assert_eq!(read_by_an_event(&mut poll, &mut events, &near), b"cd");
}

// 3.2: bytes that the peer has left unread are a reset, after what it has sent. Linux tells it once.
#[test]
fn a_stream_whose_peer_left_bytes_unread_stays_broken() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.write_all(b"unread").unwrap();
    far.write_all(b"answer").unwrap();
    drop(far);
    assert_eq!(read_by_an_event(&mut poll, &mut events, &near), b"answer");
    let registrator = poll.registrator();
    for _ in 0..3 {
        registrator.register(&near, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(kind_of(near.read(&mut [0])), ErrorKind::ConnectionReset);
    }
    let error = near.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(near.take_error().unwrap().is_none());
    assert_eq!(kind_of(near.read(&mut [0])), ErrorKind::ConnectionReset);
    assert_eq!(kind_of(near.write(b"x")), ErrorKind::BrokenPipe);
}

// 3.2: the same, told first by `take_error`.
#[test]
fn a_reset_that_take_error_told_is_what_reads_give() {
    let _watchdog = watchdog();
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(b"unread").unwrap();
    drop(far);
    let error = near.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    for _ in 0..2 {
        assert_eq!(kind_of(near.read(&mut [0])), ErrorKind::ConnectionReset);
    }
}

// 3.2, 6.7: the peek that confirms an edge beside urgent data takes the error. It is told all the same.
#[test]
fn a_reset_that_the_crate_met_first_is_told() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (mut near, far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, READABLE).unwrap();
    send_urgent(&far);
    expect_no_events(&mut poll, &mut events);
    near.write_all(b"unread").unwrap();
    drop(far);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let failed = near.into_std().unwrap_err();
    assert_eq!(failed.error().kind(), ErrorKind::ConnectionReset);
    let mut near = failed.into_source();
    assert_eq!(kind_of(near.read(&mut [0])), ErrorKind::ConnectionReset);
    near.into_std().unwrap();
}

// 9.2: such a socket is writable whatever its receivers do, so the event comes at once. A helper tells the right time.
#[test]
fn a_helper_tells_when_a_receiver_has_room() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let address = abstract_address();
    let receiver = UnixDatagram::bind_addr(&address).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    let full = loop {
        if let Err(error) = sender.send_to_addr(b"x", &address) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    for _ in 0..3 {
        registrator.register(&sender, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let again = sender.send_to_addr(b"x", &address);
        assert_eq!(kind_of(again), ErrorKind::WouldBlock);
    }
    let helper = UnixDatagram::unbound().unwrap();
    helper.connect_addr(&address).unwrap();
    for _ in 0..2 {
        registrator.register(&helper, 2, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        receiver.recv(&mut [0]).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        assert_eq!(sender.send_to_addr(b"x", &address).unwrap(), 1);
    }
}
