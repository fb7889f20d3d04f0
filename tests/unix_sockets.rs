//! What is particular to Unix sockets. That they keep the contract of all streams, listeners and datagrams is the common
//! suite's to test.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{
    await_that, effort, expect_events, expect_no_events, kind_of, until_done, watchdog, BOTH,
    READABLE, WRITABLE,
};
use minimio::os::unix::{UnixDatagram, UnixListener, UnixStream};
use minimio::{Events, Interests, Poll};
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// A path that nobody else uses, whose file goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("minimio-{}-{number}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn queue() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(16))
}

/// Sends bytes, and a descriptor along with them.
fn send_with_descriptor(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let files = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    stream.try_io(WRITABLE, |stream| {
        let none = SendFlags::empty();
        Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, none)?)
    })
}

/// Receives bytes, and the descriptors that have come along with them.
fn receive_with_descriptors(
    stream: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = stream.try_io(READABLE, |stream| {
        let room = &mut [IoSliceMut::new(bytes)];
        Ok(recvmsg(stream, room, &mut control, RecvFlags::empty())?)
    })?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            files.extend(more);
        }
    }
    Ok((message.bytes, files))
}

/// Reads by one call an event, until all of `expected` has come.
#[track_caller]
fn read_by_events(poll: &mut Poll, events: &mut Events, mut stream: &UnixStream, expected: &[u8]) {
    let mut bytes = Vec::<u8>::new();
    while bytes.len() < expected.len() {
        let registrator = poll.registrator();
        registrator.register(stream, 9, READABLE).unwrap();
        expect_events(poll, events, &[(9, true, false)]);
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0);
        bytes.extend(&buffer[..count]);
    }
    assert_eq!(bytes, expected);
}

#[test]
fn a_listener_accepts_a_stream_that_echoes() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().as_pathname(),
        Some(&*place.0)
    );
    registrator.register(&listener, 1, READABLE).unwrap();
    let mut client = UnixStream::connect(&place.0).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (mut stream, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    registrator.register(&stream, 2, READABLE).unwrap();
    client.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    registrator
        .register(&client, 3, READABLE | WRITABLE)
        .unwrap();
    expect_events(&mut poll, &mut events, &[(3, false, true)]);
    stream.write_all(&buffer[..5]).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    assert_eq!(client.read(&mut buffer).unwrap(), 5);
    assert_eq!(kind_of(client.read(&mut buffer)), ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_comes_whole() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let (here, there) = (Place::new(), Place::new());
    let near = UnixDatagram::bind(&here.0).unwrap();
    let far = UnixDatagram::bind(&there.0).unwrap();
    registrator.register(&near, 1, READABLE).unwrap();
    for bytes in [&b"hello"[..], b""] {
        assert_eq!(far.send_to(bytes, &here.0).unwrap(), bytes.len());
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (count, from) = near.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(count, bytes.len());
        assert_eq!(from.as_pathname(), Some(&*there.0));
        registrator.register(&near, 1, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
}

#[test]
fn every_socket_is_close_on_exec_and_does_not_block() {
    let _watchdog = watchdog();
    let (place, other) = (Place::new(), Place::new());
    let listener = UnixListener::bind(&place.0).unwrap();
    let client = UnixStream::connect(&place.0).unwrap();
    let (accepted, _) = until_done(|| listener.accept()).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let bound = UnixDatagram::bind(&other.0).unwrap();
    let unbound = UnixDatagram::unbound().unwrap();
    let all: [&dyn AsRawFd; 9] = [
        &listener, &client, &accepted, &near, &far, &ours, &theirs, &bound, &unbound,
    ];
    for socket in all {
        let fd = socket.as_raw_fd();
        // SAFETY: the call takes only numbers.
        let of_descriptor = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // SAFETY: the call takes only numbers.
        let of_file = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        assert_eq!(of_descriptor & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        assert_eq!(of_file & libc::O_NONBLOCK, libc::O_NONBLOCK);
    }
}

#[test]
fn the_addresses_are_those_of_both_ends() {
    let _watchdog = watchdog();
    let (here, there) = (Place::new(), Place::new());
    let listener = UnixListener::bind(&here.0).unwrap();
    // A client may have a name, too.
    let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = |place: &Place| socket2::SockAddr::unix(&place.0).unwrap();
    client.bind(&address(&there)).unwrap();
    client.connect(&address(&here)).unwrap();
    let client = UnixStream::from_std(OwnedFd::from(client).into()).unwrap();
    let (accepted, peer) = until_done(|| listener.accept()).unwrap();
    assert_eq!(peer.as_pathname(), Some(&*there.0));
    let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_eq!(near.as_pathname(), Some(&*there.0));
    assert_eq!(far.as_pathname(), Some(&*here.0));
    assert_eq!(accepted.peer_addr().unwrap().as_pathname(), Some(&*there.0));
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn a_path_that_cannot_be_an_address_is_refused() {
    let _watchdog = watchdog();
    let socket = UnixDatagram::unbound().unwrap();
    let long = "x".repeat(200);
    for path in [&*long, "with a \0 in it"] {
        assert_eq!(kind_of(UnixListener::bind(path)), ErrorKind::InvalidInput);
        assert_eq!(kind_of(UnixStream::connect(path)), ErrorKind::InvalidInput);
        assert_eq!(kind_of(UnixDatagram::bind(path)), ErrorKind::InvalidInput);
        assert_eq!(kind_of(socket.connect(path)), ErrorKind::InvalidInput);
        assert_eq!(kind_of(socket.send_to(b"", path)), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_path_that_is_in_use_or_leads_nowhere_is_an_error() {
    let _watchdog = watchdog();
    let place = Place::new();
    let socket = UnixDatagram::unbound().unwrap();
    assert_eq!(kind_of(UnixStream::connect(&place.0)), ErrorKind::NotFound);
    assert_eq!(kind_of(socket.connect(&place.0)), ErrorKind::NotFound);
    assert_eq!(kind_of(socket.send_to(b"", &place.0)), ErrorKind::NotFound);
    let listener = UnixListener::bind(&place.0).unwrap();
    assert_eq!(kind_of(UnixListener::bind(&place.0)), ErrorKind::AddrInUse);
    assert_eq!(kind_of(UnixDatagram::bind(&place.0)), ErrorKind::AddrInUse);
    // The file outlives whoever has listened there.
    drop(listener);
    let refused = ErrorKind::ConnectionRefused;
    assert_eq!(kind_of(UnixStream::connect(&place.0)), refused);
    assert_eq!(kind_of(UnixListener::bind(&place.0)), ErrorKind::AddrInUse);
}

#[test]
fn connections_outlive_the_path() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    let mut client = UnixStream::connect(&place.0).unwrap();
    fs::remove_file(&place.0).unwrap();
    assert_eq!(kind_of(UnixStream::connect(&place.0)), ErrorKind::NotFound);
    let registrator = poll.registrator();
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (stream, _) = listener.accept().unwrap();
    drop(listener);
    client.write_all(b"hello").unwrap();
    read_by_events(&mut poll, &mut events, &stream, b"hello");
}

// 9.2: the connect ends within the call, and leaves nothing to wait for.
#[test]
fn a_full_backlog_is_an_error_and_no_wait() {
    let _watchdog = watchdog();
    let place = Place::new();
    let address = socket2::SockAddr::unix(&place.0).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(1).unwrap();
    let listener = UnixListener::from_std(OwnedFd::from(socket).into()).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        assert!(clients.len() < 1_000, "the backlog has no end");
        match UnixStream::connect(&place.0) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    let full = match cfg!(any(target_os = "linux", target_os = "android")) {
        true => ErrorKind::WouldBlock,
        false => ErrorKind::ConnectionRefused,
    };
    assert_eq!(error.kind(), full);
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    listener.accept().unwrap();
    UnixStream::connect(&place.0).unwrap();
}

// 9.2: on Linux the read ends behind the descriptor, on FreeBSD before it, and no edge tells of the rest.
#[test]
fn bytes_around_a_descriptor_are_all_reported() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 9, READABLE).unwrap();
    far.write_all(b"before ").unwrap();
    send_with_descriptor(&far, b"with ").unwrap();
    send_with_descriptor(&far, b"with another ").unwrap();
    far.write_all(b"after").unwrap();
    read_by_events(
        &mut poll,
        &mut events,
        &near,
        b"before with with another after",
    );
    registrator.register(&near, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 9.2: the same from one thread to another, in each order of the messages.
#[test]
fn no_request_with_descriptors_among_it_is_lost() {
    let _watchdog = watchdog();
    let rounds = effort(2_000);
    let (mut poll, mut events) = queue();
    let (near, far) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || {
        let far = far;
        for round in 0..rounds {
            for bit in 0..3 {
                let sent = match round >> bit & 1 {
                    0 => (&far).write(b"plain"),
                    _ => send_with_descriptor(&far, b"fancy"),
                };
                assert_eq!(sent.unwrap(), 5);
            }
            assert_eq!(until_done(|| (&far).read(&mut [0])).unwrap(), 1);
        }
    });
    let words = [&b"plain"[..], b"fancy"];
    for round in 0..rounds {
        let expected: Vec<u8> = (0..3)
            .flat_map(|bit| words[round >> bit & 1])
            .copied()
            .collect();
        read_by_events(&mut poll, &mut events, &near, &expected);
        assert_eq!((&near).write(b"!").unwrap(), 1);
    }
    peer.join().unwrap();
}

#[test]
fn a_descriptor_passed_by_calls_of_ones_own_is_the_same_file() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    for round in 0..3 {
        registrator.register(&near, 1, READABLE).unwrap();
        assert_eq!(send_with_descriptor(&far, b"it").unwrap(), 2);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (count, mut files) = receive_with_descriptors(&near, &mut [0; 16]).unwrap();
        assert_eq!((count, files.len()), (2, 1), "round {round}");
        // It is the far end itself.
        let mut same = net::UnixStream::from(files.remove(0));
        same.write_all(b"hello").unwrap();
        read_by_events(&mut poll, &mut events, &near, b"hello");
        (&near).write_all(b"x").unwrap();
        assert_eq!(until_done(|| far.read(&mut [0; 2])).unwrap(), 1);
        let nothing = receive_with_descriptors(&near, &mut [0; 16]);
        assert_eq!(kind_of(nothing), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_read_closes_the_descriptors_that_came_along() {
    let _watchdog = watchdog();
    let (mut near, far) = UnixStream::pair().unwrap();
    let (kept, sent) = UnixStream::pair().unwrap();
    let files = [sent.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    let none = SendFlags::empty();
    sendmsg(&far, &[IoSlice::new(b"x")], &mut control, none).unwrap();
    drop(sent);
    assert_eq!(kind_of((&kept).read(&mut [0])), ErrorKind::WouldBlock);
    assert_eq!(until_done(|| near.read(&mut [0; 4])).unwrap(), 1);
    assert_eq!(until_done(|| (&kept).read(&mut [0])).unwrap(), 0);
}

// 2.3, 9.2: room that the peer makes is an edge, after a write that fell short as after one that was refused.
#[test]
fn a_full_stream_is_writable_when_its_peer_has_read() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    let chunk = vec![7; 1 << 20];
    for refused in [false, true, false, true] {
        let mut written = (&near).write(&chunk).unwrap();
        if refused {
            let error = loop {
                match (&near).write(&chunk) {
                    Ok(count) => written += count,
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(error, ErrorKind::WouldBlock);
        }
        registrator.register(&near, 1, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        let mut read = 0;
        while read < written {
            read += until_done(|| (&far).read(&mut vec![0; 1 << 20])).unwrap();
        }
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        // The write direction is still asked for now, and what the peer reads is none of our business.
        registrator.register(&near, 2, READABLE).unwrap();
        (&near).write_all(b"x").unwrap();
        assert_eq!(until_done(|| (&far).read(&mut [0; 2])).unwrap(), 1);
        expect_no_events(&mut poll, &mut events);
    }
}

// 2.3: Linux calls a stream writable up to a quarter of its buffer, and takes more.
#[test]
fn a_stream_with_some_room_is_writable_once_its_peer_has_read() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    let mut filled = 0;
    // Half of what it takes.
    let room = {
        let (other, _peer) = UnixStream::pair().unwrap();
        let mut room = 0;
        while (&other).write(&[7; 1000]).is_ok() {
            room += 1000;
        }
        room
    };
    while filled < room / 2 {
        filled += (&near).write(&[7; 1000]).unwrap();
    }
    registrator.register(&near, 1, WRITABLE).unwrap();
    far.read_exact(&mut vec![0; filled]).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
}

// 3.2
#[test]
fn reads_end_at_once_when_reading_was_shut_down() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    near.shutdown(Shutdown::Read).unwrap();
    near.shutdown(Shutdown::Read).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(kind_of(far.write(b"x")), ErrorKind::BrokenPipe);
    for _ in 0..2 {
        assert_eq!(near.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(near.peek(&mut [0; 4]).unwrap(), 0);
        registrator.register(&near, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
    }
    // The other direction is as it was.
    near.write_all(b"hello").unwrap();
    read_by_events(&mut poll, &mut events, &far, b"hello");
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(kind_of(near.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(until_done(|| far.read(&mut [0])).unwrap(), 0);
}

#[test]
fn bytes_that_came_before_reading_was_shut_down_are_not_read() {
    let _watchdog = watchdog();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"hello").unwrap();
    near.shutdown(Shutdown::Read).unwrap();
    assert_eq!(near.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_peek_leaves_the_bytes() {
    let _watchdog = watchdog();
    let (near, mut far) = UnixStream::pair().unwrap();
    assert_eq!(kind_of(near.peek(&mut [0])), ErrorKind::WouldBlock);
    far.write_all(b"hello").unwrap();
    let mut buffer = [0; 16];
    for _ in 0..2 {
        assert_eq!(until_done(|| near.peek(&mut buffer)).unwrap(), 5);
    }
    let mut parts = [[0; 3], [1; 3]];
    let [first, second] = &mut parts;
    let mut room = [IoSliceMut::new(first), IoSliceMut::new(second)];
    assert_eq!((&near).read_vectored(&mut room).unwrap(), 5);
    assert_eq!(parts, [*b"hel", [b'l', b'o', 1]]);
}

#[test]
fn an_empty_buffer_changes_nothing() {
    let _watchdog = watchdog();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    assert_eq!(near.read(&mut []).unwrap(), 0);
    assert_eq!(near.write(&[]).unwrap(), 0);
    far.write_all(b"x").unwrap();
    assert_eq!(near.read(&mut []).unwrap(), 0);
    assert_eq!(until_done(|| near.read(&mut [0; 4])).unwrap(), 1);
}

#[test]
fn a_socket_of_std_is_taken_over_and_given_back() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, mut far) = net::UnixStream::pair().unwrap();
    let near = UnixStream::from_std(near).unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let mut near = near.into_std().unwrap();
    far.write_all(b"x").unwrap();
    expect_no_events(&mut poll, &mut events);
    assert_eq!(until_done(|| near.read(&mut [0; 4])).unwrap(), 1);
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap().into_std().unwrap();
    assert!(UnixListener::from_std(listener).is_ok());
    let socket = UnixDatagram::unbound().unwrap().into_std().unwrap();
    assert!(UnixDatagram::from_std(socket).is_ok());
}

#[test]
fn only_one_interest_goes_with_a_call_of_ones_own() {
    let _watchdog = watchdog();
    let (near, _far) = UnixStream::pair().unwrap();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    let refused = ErrorKind::InvalidInput;
    assert_eq!(kind_of(near.try_io(BOTH, |_| Ok(()))), refused);
    assert_eq!(kind_of(listener.try_io(WRITABLE, |_| Ok(()))), refused);
    let nothing = listener.try_io(READABLE, |listener| listener.accept());
    assert_eq!(kind_of(nothing), ErrorKind::WouldBlock);
    let (poll, _) = queue();
    let registrator = poll.registrator();
    let writable = registrator.register(&listener, 1, WRITABLE);
    assert_eq!(kind_of(writable), refused);
}

// 3.6
#[test]
fn a_long_datagram_is_cut_and_an_empty_one_is_one() {
    let _watchdog = watchdog();
    let (near, far) = UnixDatagram::pair().unwrap();
    far.send(b"a long one").unwrap();
    far.send(b"").unwrap();
    far.send(b"last").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(near.peek(&mut buffer).unwrap(), 4);
    assert_eq!(near.recv(&mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"a lo");
    assert_eq!(near.recv(&mut buffer).unwrap(), 0);
    // With no room, it is cut to nothing.
    assert_eq!(near.recv(&mut []).unwrap(), 0);
    assert_eq!(kind_of(near.recv(&mut buffer)), ErrorKind::WouldBlock);
    assert_eq!(kind_of(near.peek(&mut buffer)), ErrorKind::WouldBlock);
    assert_eq!(kind_of(near.recv_from(&mut buffer)), ErrorKind::WouldBlock);
}

#[test]
fn a_connected_datagram_socket_hears_its_peer_only() {
    let _watchdog = watchdog();
    let (here, there) = (Place::new(), Place::new());
    let near = UnixDatagram::bind(&here.0).unwrap();
    let far = UnixDatagram::bind(&there.0).unwrap();
    near.connect(&there.0).unwrap();
    let peer = near.peer_addr().unwrap();
    assert_eq!(peer.as_pathname(), Some(&*there.0));
    assert_eq!(near.send(b"hello").unwrap(), 5);
    let (count, from) = until_done(|| far.recv_from(&mut [0; 16])).unwrap();
    assert_eq!((count, from.as_pathname()), (5, Some(&*here.0)));
    far.send_to_addr(b"hi", &from).unwrap();
    assert_eq!(until_done(|| near.recv(&mut [0; 16])).unwrap(), 2);
    let stranger = UnixDatagram::unbound().unwrap();
    assert!(stranger.send_to(b"x", &here.0).is_err());
    assert!(near.take_error().unwrap().is_none());
    assert_eq!(near.local_addr().unwrap().as_pathname(), Some(&*here.0));
}

// 9.2: Linux says `WouldBlock` and reports the room; the others say an error, and report nothing.
#[test]
fn a_sender_to_a_full_receiver_can_wait_where_the_system_reports_room() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let place = Place::new();
    let receiver = UnixDatagram::bind(&place.0).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&place.0).unwrap();
    let mut sent = 0;
    let error = loop {
        assert!(sent < 100_000, "the receiver takes everything");
        match sender.send(b"x") {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
        return;
    }
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let registrator = poll.registrator();
    for _ in 0..3 {
        registrator.register(&sender, 1, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        receiver.recv(&mut [0]).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert_eq!(sender.send(b"x").unwrap(), 1);
        assert_eq!(kind_of(sender.send(b"x")), ErrorKind::WouldBlock);
    }
    // Another receiver may have room.
    registrator.register(&sender, 1, WRITABLE).unwrap();
    let other = Place::new();
    let roomy = UnixDatagram::bind(&other.0).unwrap();
    sender.connect(&other.0).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    assert_eq!(sender.send(b"x").unwrap(), 1);
    assert_eq!(roomy.recv(&mut [0]).unwrap(), 1);
}

#[test]
fn a_receiver_that_has_gone_is_an_error_of_the_next_send() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixDatagram::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, READABLE).unwrap();
    drop(far);
    let error = kind_of(near.send(b"x"));
    let gone = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
    assert!(gone.contains(&error), "{error}");
    assert!(near.send(b"x").is_err());
    // An event has an error to tell, and there is no second one.
    let mut told = 0;
    while poll.poll(&mut events, Some(common::QUIET)).unwrap() > 0 {
        assert_ne!(kind_of(near.recv(&mut [0])), ErrorKind::WouldBlock);
        told += 1;
        registrator.register(&near, 1, READABLE).unwrap();
    }
    assert!(told <= 1);
}

// 2.3: FreeBSD keeps the error without an edge, so a registration that comes later must ask.
#[test]
fn what_a_vanished_peer_leaves_is_reported_or_not_there() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixDatagram::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, READABLE).unwrap();
    far.send(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(near.recv(&mut [0]).unwrap(), 1);
    assert_eq!(kind_of(near.recv(&mut [0])), ErrorKind::WouldBlock);
    drop(far);
    registrator.register(&near, 1, READABLE).unwrap();
    let came = poll.poll(&mut events, Some(common::QUIET)).unwrap() > 0;
    let left = kind_of(near.recv(&mut [0])) != ErrorKind::WouldBlock;
    assert_eq!(came, left);
}

// 9.2: Linux reports such a socket as readable for good, and a receive would block.
#[test]
fn receives_end_at_once_when_reading_was_shut_down() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixDatagram::pair().unwrap();
    let registrator = poll.registrator();
    registrator.register(&near, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    near.shutdown(Shutdown::Read).unwrap();
    near.shutdown(Shutdown::Read).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert!(far.send(b"x").is_err());
    for _ in 0..2 {
        registrator.register(&near, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(near.recv(&mut [0]).unwrap(), 0);
        assert_eq!(near.peek(&mut [0]).unwrap(), 0);
        let (count, from) = near.recv_from(&mut [0]).unwrap();
        assert!(count == 0 && from.is_unnamed());
    }
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(kind_of(near.send(b"x")), ErrorKind::BrokenPipe);
}

// 2.1: what the peer receives makes edges of the write direction. Each may wake the polling thread once, and none is an
// event.
#[test]
fn what_the_peer_takes_is_no_event() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let (near, far) = UnixDatagram::pair().unwrap();
    let registrator = poll.registrator();
    let all: Interests = BOTH;
    registrator.register(&near, 1, all).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    for _ in 0..4 {
        near.send(b"x").unwrap();
        assert_eq!(until_done(|| far.recv(&mut [0])).unwrap(), 1);
        expect_no_events(&mut poll, &mut events);
    }
    far.send(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
}

// 2.7
#[test]
fn a_dropped_listener_refuses_those_who_wait() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    let mut client = UnixStream::connect(&place.0).unwrap();
    let registrator = poll.registrator();
    registrator.register(&client, 1, READABLE).unwrap();
    drop(listener);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // Linux: reset, and it stays so. FreeBSD: a broken pipe once, and then an end.
    let first = client.read(&mut [0]);
    if cfg!(any(target_os = "linux", target_os = "android")) {
        assert_eq!(kind_of(first), ErrorKind::ConnectionReset);
        assert_eq!(kind_of(client.read(&mut [0])), ErrorKind::ConnectionReset);
    }
    await_that("writes fail", || client.write(b"x").is_err());
}

#[test]
fn a_client_that_has_gone_can_still_be_read() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    let mut client = UnixStream::connect(&place.0).unwrap();
    client.write_all(b"hello").unwrap();
    drop(client);
    let registrator = poll.registrator();
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (mut stream, _) = listener.accept().unwrap();
    read_by_events(&mut poll, &mut events, &stream, b"hello");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
