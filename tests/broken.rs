//! A stream that is broken stays broken: once a call has reported a reset or a refused connect, no read gives an end of
//! stream. What a read has reported first stays: after an end, no read gives a failure.
//! Systems differ in which call they report a failure to, and in what they do with unread bytes. So a test here waits
//! for what must come, and asserts what must never come.
//!
//! Contract: docs/contract.md, 2.1, 2.8, 3.2, 3.3, 3.5, 8.

#![allow(clippy::unwrap_used)] // a test

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use common::ends::{suite, Peer, StreamEnd};
use common::{await_bytes, expect_events, watchdog, BOTH, HANG, READABLE, WRITABLE};
use minimio::{Events, Poll, TcpStream};

fn is_reset(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// Repeats `call` until it reports something.
#[track_caller]
fn until_told<T>(mut call: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + HANG;
    loop {
        if let Some(told) = call() {
            return told;
        }
        assert!(Instant::now() < end, "nothing was told");
        std::thread::yield_now();
    }
}

/// Writes until the write fails, and returns how.
#[track_caller]
fn write_until_it_fails<S: StreamEnd>(stream: &S) -> ErrorKind {
    until_told(|| match stream.write(b"x") {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(error.kind()),
    })
}

/// Reads until there is an error, which must come before any end. Returns how many bytes came before it.
#[track_caller]
fn read_until_it_fails<S: StreamEnd>(stream: &S) -> (usize, ErrorKind) {
    let mut bytes = 0;
    let kind = until_told(|| match stream.read(&mut [0; 64]) {
        Ok(0) => panic!("an end of stream on a broken stream, after {bytes} bytes"),
        Ok(count) => {
            bytes += count;
            None
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(error.kind()),
    });
    (bytes, kind)
}

/// Asserts that every way to read gives that failure, again and again, with an event for each registration.
#[track_caller]
fn stays_broken<S: StreamEnd>(stream: &S, kind: ErrorKind) {
    stays_broken_in(&mut Poll::new().unwrap(), stream, kind);
}

/// The same for a stream that belongs to `poll`.
#[track_caller]
fn stays_broken_in<S: StreamEnd>(poll: &mut Poll, stream: &S, kind: ErrorKind) {
    let mut events = Events::with_capacity(4);
    for _ in 0..3 {
        poll.registrator().register(stream, 1, READABLE).unwrap();
        expect_events(poll, &mut events, &[(1, true, false)]);
        let read = stream.read(&mut [0; 8]);
        assert_eq!(read.map_err(|error| error.kind()), Err(kind));
        let peeked = stream.peek(&mut [0; 8]);
        assert_eq!(peeked.map_err(|error| error.kind()), Err(kind));
        let [mut first, mut second] = [[0; 4]; 2];
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        let read = stream.read_vectored(&mut buffers);
        assert_eq!(read.map_err(|error| error.kind()), Err(kind));
    }
    // A read into an empty buffer asks for nothing, so it reports nothing.
    assert_eq!(stream.read(&mut []).unwrap(), 0);
}

/// What `take_error` returns from now on, until it returns `None`.
fn taken<S: StreamEnd>(stream: &S) -> Vec<ErrorKind> {
    std::iter::from_fn(|| stream.take_error().unwrap())
        .map(|error| error.kind())
        .collect()
}

// 3.2, 8
fn a_reset_that_a_write_told_is_what_reads_give<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    stream.reset(peer);
    let mut kind = write_until_it_fails(&stream);
    if S::WRITES_TELL_OF_A_RESET {
        // A broken pipe would mean that another call has reported the reset, which none has yet.
        assert!(is_reset(kind), "{kind:?}");
    } else {
        assert_eq!(kind, ErrorKind::BrokenPipe);
        kind = read_until_it_fails(&stream).1;
        assert!(is_reset(kind), "{kind:?}");
    }
    stays_broken(&stream, kind);
}

// 3.2, 8
fn a_reset_that_take_error_told_is_what_reads_give<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    let mut poll = Poll::new().unwrap();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    stream.reset(peer);
    expect_events(
        &mut poll,
        &mut Events::with_capacity(4),
        &[(1, true, false)],
    );
    let error = until_told(|| stream.take_error().unwrap());
    assert!(is_reset(error.kind()), "{error}");
    assert_eq!(taken(&stream), []);
    let read = stream.read(&mut [0; 8]);
    assert_eq!(read.map_err(|error| error.kind()), Err(error.kind()));
    drop(poll);
    for _ in 0..3 {
        let read = stream.read(&mut [0; 8]);
        assert_eq!(read.map_err(|error| error.kind()), Err(error.kind()));
    }
    assert_eq!(taken(&stream), []);
}

// 3.2, 8
fn a_reset_that_a_read_told_is_told_by_every_read_and_once_by_take_error<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    // Wine 8 reports a reset to a receive that is in flight, and calls it an end afterwards.
    let mut poll = Poll::new().unwrap();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    stream.reset(peer);
    let mut events = Events::with_capacity(4);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (bytes, kind) = read_until_it_fails(&stream);
    assert_eq!(bytes, 0);
    assert!(is_reset(kind), "{kind:?}");
    let taken = taken(&stream);
    assert!(taken.len() == 1 && is_reset(taken[0]), "{taken:?}");
    stays_broken_in(&mut poll, &stream, kind);
}

// 3.2: bytes that arrived before the reset are read first, if the system has kept them.
fn bytes_come_before_the_reset_that_a_write_told<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"hello").unwrap();
    await_bytes(&stream, 5);
    stream.reset(peer);
    let told = write_until_it_fails(&stream);
    assert_eq!(is_reset(told), S::WRITES_TELL_OF_A_RESET, "{told:?}");
    let (bytes, kind) = read_until_it_fails(&stream);
    assert!(bytes == 5 || bytes == 0, "{bytes}");
    assert!(is_reset(kind), "{kind:?}");
    stays_broken(&stream, kind);
}

// 4.6: the kernel reports the end alone, since it has told its error.
#[cfg(unix)]
#[test]
fn an_event_of_a_broken_stream_has_the_hint_of_an_error() {
    hints_at_what_broke_it::<TcpStream>();
    hints_at_what_broke_it::<minimio::os::unix::UnixStream>();
}

#[cfg(unix)]
fn hints_at_what_broke_it<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let (stream, peer) = S::pair();
    stream.reset(peer);
    until_told(|| stream.take_error().unwrap());
    for interest in [READABLE, WRITABLE] {
        poll.registrator().register(&stream, 1, interest).unwrap();
        assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
        assert!(events.iter().all(|event| event.is_error()), "{events:?}");
    }
}

// 3.2, 8: the answer was complete, and a read has reported the end. What comes after it changes nothing.
fn an_end_that_a_read_told_stays_an_end<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"answer").unwrap();
    drop(peer);
    let mut answer = Vec::new();
    until_told(|| match stream.read(&mut [0; 64]) {
        Ok(0) => Some(()),
        Ok(count) => {
            answer.push(count);
            None
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(answer.iter().sum::<usize>(), 6);
    // The peer is gone, so its system answers this write with a reset.
    let _how = write_until_it_fails(&stream);
    for _ in 0..3 {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(stream.peek(&mut [0; 8]).unwrap(), 0);
    }
    let _taken = taken(&stream);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

// 3.2: the end has arrived, but no call has reported it before the reset. (The write is then a broken pipe on Linux and
// the BSDs, which is no failure of reading.)
fn an_end_that_no_read_told_does_not_hide_a_reset<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // A call within `try_io` that did not read.
    let nothing = stream.try_io(READABLE, |_| Err::<(), _>(ErrorKind::WouldBlock.into()));
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.reset(peer);
    let kind = write_until_it_fails(&stream);
    let [first, second] = [(); 2].map(|()| stream.read(&mut [0; 8]).map_err(|error| error.kind()));
    if is_reset(kind) {
        assert_eq!(first, Err(kind));
    } else {
        assert_eq!(kind, ErrorKind::BrokenPipe);
        let may_be_told = !S::WRITES_TELL_OF_A_RESET;
        assert!(
            first == Ok(0) || may_be_told && first.is_err_and(is_reset),
            "{first:?}"
        );
    }
    assert_eq!(first, second);
}

/// An address at which nobody listens, as long as its holder lives.
fn nobody() -> (socket2::Socket, SocketAddr) {
    let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    holder.bind(&any.into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    (holder, address)
}

/// A stream whose connect was refused, which no call has reported yet.
fn refused() -> TcpStream {
    let (_holder, nobody) = nobody();
    let stream = TcpStream::connect_nonblocking(nobody).unwrap();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    stream
}

fn reads_say_refused(stream: &TcpStream) {
    for _ in 0..3 {
        let read = stream.read(&mut [0; 8]);
        assert_eq!(
            read.map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionRefused)
        );
        let peeked = stream.peek(&mut [0; 8]);
        assert_eq!(
            peeked.map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionRefused)
        );
    }
}

// 3.2, 3.5, 8
#[test]
fn a_refused_connect_that_take_error_told_is_what_reads_give() {
    let _watchdog = watchdog();
    let stream = refused();
    assert_eq!(taken(&stream), [ErrorKind::ConnectionRefused]);
    reads_say_refused(&stream);
    assert_eq!(taken(&stream), []);
}

// 3.2, 3.5, 8
#[test]
fn a_refused_connect_that_a_write_told_is_what_reads_give() {
    let _watchdog = watchdog();
    let stream = refused();
    let told = stream.write(b"x").unwrap_err();
    assert_eq!(told.kind(), ErrorKind::ConnectionRefused);
    reads_say_refused(&stream);
    assert_eq!(taken(&stream), [ErrorKind::ConnectionRefused]);
    reads_say_refused(&stream);
}

// 3.2, 3.5
#[test]
fn a_refused_connect_that_a_read_told_is_told_by_every_read_and_once_by_take_error() {
    let _watchdog = watchdog();
    let stream = refused();
    reads_say_refused(&stream);
    assert_eq!(taken(&stream), [ErrorKind::ConnectionRefused]);
    reads_say_refused(&stream);
}

// 3.5: `into_std` reports the failure, and does not hand over a socket that has failed.
#[test]
fn a_refused_connect_that_nobody_was_told_of_is_no_stream_to_give_back() {
    let _watchdog = watchdog();
    let error = refused().into_std().unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::ConnectionRefused);
    let stream = error.into_source();
    reads_say_refused(&stream);
    stream.into_std().unwrap();
}

// 3.3, 8: a system takes 16 to 1,024 buffers in one call.
fn any_number_of_empty_buffers_may_stand_in_front<S: StreamEnd>() {
    let _watchdog = watchdog();
    for empty in [1, 1023, 1024, 1025, 5000] {
        let (stream, other) = S::two();
        let mut written = vec![IoSlice::new(b""); empty];
        written.push(IoSlice::new(b"first"));
        written.push(IoSlice::new(b""));
        written.push(IoSlice::new(b"second"));
        let sent = stream.write_vectored(&written).unwrap();
        assert!(sent == 5 || sent == 11, "{empty} in front: {sent}");
        await_bytes(&other, sent);

        let mut bytes = [0; 11];
        let mut nothing = vec![[0_u8; 0]; empty];
        let mut buffers: Vec<_> = nothing
            .iter_mut()
            .map(|none| IoSliceMut::new(none))
            .collect();
        buffers.push(IoSliceMut::new(&mut bytes));
        let received = other.read_vectored(&mut buffers).unwrap();
        assert_eq!(received, sent, "{empty} in front");
        assert_eq!(bytes[..sent], b"firstsecond"[..sent]);
    }
}

// 3.3: if all buffers are empty, the call asks for nothing.
fn empty_buffers_alone_move_nothing<S: StreamEnd>() {
    let (stream, _peer) = S::pair();
    assert_eq!(
        stream
            .write_vectored(&vec![IoSlice::new(b""); 3000])
            .unwrap(),
        0
    );
    let mut nothing = [[0_u8; 0]; 3000];
    let mut buffers: Vec<_> = nothing
        .iter_mut()
        .map(|none| IoSliceMut::new(none))
        .collect();
    assert_eq!(stream.read_vectored(&mut buffers).unwrap(), 0);
}

// 3.2: a complete answer may still wait when a write is a broken pipe, so that is not remembered.
fn a_broken_pipe_is_no_failure_of_reading<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(stream.write(b"x").is_err());
    peer.write_all(b"answer").unwrap();
    drop(peer);
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let mut bytes = 0;
    loop {
        poll.registrator().register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        match stream.read(&mut [0; 64]).unwrap() {
            0 => break,
            count => bytes += count,
        }
    }
    assert_eq!(bytes, 6);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

// 2.1, 2.8: after a system has reported the reset, it goes on reporting the end.
fn what_is_armed_after_a_reset_was_told_fires_once_each<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, peer) = S::pair();
    stream.reset(peer);
    let kind = write_until_it_fails(&stream);
    assert_eq!(is_reset(kind), S::WRITES_TELL_OF_A_RESET, "{kind:?}");
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registrator().register(&stream, 1, BOTH).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, true)]);
    poll.registrator().register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
}

/// Reads to the end, which must come before any error. Returns how many bytes there were.
#[cfg(target_os = "linux")]
#[track_caller]
fn read_to_the_end(stream: &TcpStream) -> usize {
    let mut bytes = 0;
    until_told(|| match stream.read(&mut [0; 64]) {
        Ok(0) => Some(()),
        Ok(count) => {
            bytes += count;
            None
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    });
    bytes
}

// 3.5, 3.2: a later write that failed is no failure of the connect, and the answer is complete. (On other systems the
// reset may throw away bytes that were not read.)
#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_was_written_to_in_vain_is_given_back() {
    let _watchdog = watchdog();
    for reads_first in [true, false] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        poll.registrator().register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"answer").unwrap();
        await_bytes(&stream, 6);
        drop(peer);
        if reads_first {
            assert_eq!(read_to_the_end(&stream), 6);
        }
        // The peer's system answers this with a reset, which ends the connection.
        assert_eq!(stream.write(b"x").unwrap(), 1);
        until_told(|| stream.peer_addr().err());
        let stream = TcpStream::from_std(stream.into_std().unwrap()).unwrap();
        if !reads_first {
            assert_eq!(read_to_the_end(&stream), 6);
        }
    }
}

suite! {
    streams {
        any_number_of_empty_buffers_may_stand_in_front,
        empty_buffers_alone_move_nothing,
    }
    sockets {
        a_reset_that_a_write_told_is_what_reads_give,
        a_reset_that_take_error_told_is_what_reads_give,
        a_reset_that_a_read_told_is_told_by_every_read_and_once_by_take_error,
        bytes_come_before_the_reset_that_a_write_told,
        an_end_that_a_read_told_stays_an_end,
        an_end_that_no_read_told_does_not_hide_a_reset,
        a_broken_pipe_is_no_failure_of_reading,
        what_is_armed_after_a_reset_was_told_fires_once_each,
    }
}
