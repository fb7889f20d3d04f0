//! 3.3: what one `read` takes: all that is there up to the buffer's size, also where memory was lent. How many events a large
//! transfer makes, and how the lent size follows the traffic. It holds on every system; what is lent, Windows alone shows.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::thread;

use common::{
    await_bytes, effort, expect_events, minimio_pair, pair, until_done, watchdog, READABLE,
};
use minimio::{Events, Poll, Registrator, TcpStream};

const DEFAULT: usize = 4096;
const MOST: usize = 64 << 10;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

// 8: with a 64 KiB buffer, at most a fifth of the events of a read that ends with the 4,096 bytes lent at first.
#[test]
fn a_large_upload_makes_few_events() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    let total = effort(100) << 20;
    let writer = thread::spawn(move || {
        let chunk = pattern(251 << 12);
        let mut left = total;
        while left > 0 {
            let count = left.min(chunk.len());
            peer.write_all(&chunk[..count]).unwrap();
            left -= count;
        }
        peer
    });
    let mut buffer = vec![0; MOST];
    let (mut received, mut count) = (0, 0);
    while received < total {
        registrator.register(&stream, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        count += 1;
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the end, after {received} bytes");
        let bytes = buffer[..read].iter().enumerate();
        assert!(bytes
            .into_iter()
            .all(|(at, &byte)| usize::from(byte) == (received + at) % 251));
        received += read;
    }
    drop(writer.join().unwrap());
    let most = total / DEFAULT / 5;
    assert!(count <= most, "{count} events, {most} at most");
}

/// Registers, and waits until the event has come and all `count` bytes are there.
fn await_all(poll: &mut Poll, events: &mut Events, stream: &TcpStream, count: usize) {
    poll.registrator().register(stream, 1, READABLE).unwrap();
    expect_events(poll, events, &[(1, true, false)]);
    await_bytes(stream, count);
}

#[test]
fn a_read_takes_what_is_there_whatever_was_lent() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (mut stream, mut peer) = pair();
    for lent in [1, 7, 100, DEFAULT] {
        stream.set_lent_buffer(lent);
        let bytes = pattern(lent + 5000);
        for room in [lent, lent + 1, lent + 5000, 2 * MOST] {
            peer.write_all(&bytes).unwrap();
            await_all(&mut poll, &mut events, &stream, bytes.len());
            let mut buffer = vec![0; room];
            let count = stream.read(&mut buffer).unwrap();
            assert_eq!(count, room.min(bytes.len()), "{lent} lent");
            assert_eq!(buffer[..count], bytes[..count]);
            let mut rest = vec![0; bytes.len() - count];
            let mut filled = 0;
            while filled < rest.len() {
                filled += until_done(|| stream.read(&mut rest[filled..])).unwrap();
            }
            assert_eq!(rest, bytes[count..]);
        }
    }
}

#[test]
fn a_vectored_read_takes_what_is_there_whatever_was_lent() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (mut stream, mut peer) = pair();
    let bytes = pattern(100);
    for lent in 1..40 {
        stream.set_lent_buffer(lent);
        peer.write_all(&bytes).unwrap();
        await_all(&mut poll, &mut events, &stream, bytes.len());
        let mut buffers = [0, 3, 0, 17, 1, 0, 29, 0, 60].map(|len| vec![0; len]);
        let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        assert_eq!(stream.read_vectored(&mut slices).unwrap(), bytes.len());
        // The caller's own slices are as they were.
        let lengths: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
        assert_eq!(lengths, [0, 3, 0, 17, 1, 0, 29, 0, 60]);
        assert_eq!(buffers.concat()[..100], bytes, "{lent} lent");
    }
}

// 3.2: bytes first, then the end, which the same call met.
#[test]
fn an_end_behind_a_full_receive_is_the_next_read() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = pair();
    stream.set_lent_buffer(4);
    peer.write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    await_all(&mut poll, &mut events, &stream, 4);
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 4);
    assert_eq!(&buffer[..4], b"last");
    for token in 2..4 {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    }
}

// 3.3: also by more of them than one call of the system takes.
#[test]
fn vectored_calls_pass_over_leading_empty_buffers() {
    let _watchdog = watchdog();
    let (mut near, mut far) = minimio_pair();
    for empty in [1, 1023, 1024, 1025, 5000] {
        let mut slices = vec![IoSlice::new(b""); empty];
        slices.push(IoSlice::new(b"hello"));
        assert_eq!(near.write_vectored(&slices).unwrap(), 5, "{empty} empty");
        let mut buffer = [0; 8];
        let mut slices: Vec<IoSliceMut<'_>> =
            (0..empty).map(|_| IoSliceMut::new(&mut [])).collect();
        slices.push(IoSliceMut::new(&mut buffer));
        let count = until_done(|| far.read_vectored(&mut slices)).unwrap();
        assert_eq!(count, 5, "{empty} empty");
        assert_eq!(&buffer[..5], b"hello");
    }
    let mut nothing: Vec<IoSliceMut<'_>> = (0..5000).map(|_| IoSliceMut::new(&mut [])).collect();
    assert_eq!(far.read_vectored(&mut nothing).unwrap(), 0);
    assert_eq!(
        near.write_vectored(&vec![IoSlice::new(b""); 5000]).unwrap(),
        0
    );
}

/// Has a receive come back with `count` bytes, and returns how much the next one lends.
#[cfg(windows)]
fn lent_after(
    poll: &mut Poll,
    events: &mut Events,
    stream: &mut TcpStream,
    peer: &mut std::net::TcpStream,
    count: usize,
) -> usize {
    peer.write_all(&vec![1; count]).unwrap();
    // The receive starts with all of it there.
    await_bytes(stream, count.min(MOST));
    let registrator = poll.registrator();
    registrator.register(stream, 1, READABLE).unwrap();
    expect_events(poll, events, &[(1, true, false)]);
    let mut buffer = vec![0; 4 * MOST];
    let mut filled = 0;
    while filled < count {
        filled += until_done(|| stream.read(&mut buffer[filled..])).unwrap();
    }
    registrator.register(stream, 2, READABLE).unwrap();
    let lent = registrator.lent_bytes();
    // It ends with a byte, so that the next round begins with nothing in flight.
    peer.write_all(b"x").unwrap();
    expect_events(poll, events, &[(2, true, false)]);
    assert_eq!(stream.read(&mut buffer).unwrap(), 1);
    lent
}

#[cfg(windows)]
#[test]
fn the_lent_size_follows_the_traffic_until_one_is_chosen() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (mut stream, mut peer) = pair();
    let mut last = DEFAULT;
    for _ in 0..6 {
        let lent = lent_after(&mut poll, &mut events, &mut stream, &mut peer, MOST);
        // What has come fills no more than `MOST`.
        assert_eq!(lent, (2 * last).min(2 * MOST), "after {last}");
        last = lent;
    }
    let mut rounds = 0;
    while last > DEFAULT {
        let lent = lent_after(&mut poll, &mut events, &mut stream, &mut peer, 10);
        assert!(lent == last || lent == last / 2, "{lent} after {last}");
        last = lent;
        rounds += 1;
        assert!(rounds < 100, "it does not shrink");
    }
    assert!(rounds > 8, "it shrinks at once");
    stream.set_lent_buffer(1000);
    for _ in 0..3 {
        let lent = lent_after(&mut poll, &mut events, &mut stream, &mut peer, MOST);
        assert_eq!(lent, 1000);
    }
}

// 5.4: what is more than the first size never takes the last of the bound from others.
#[cfg(windows)]
#[test]
fn a_size_that_has_grown_leaves_room_for_others() {
    let _watchdog = watchdog();
    let mut poll = Poll::with_lent_limit(4 * DEFAULT).unwrap();
    let mut events = Events::with_capacity(16);
    let (mut stream, mut peer) = pair();
    for _ in 0..3 {
        let lent = lent_after(&mut poll, &mut events, &mut stream, &mut peer, MOST);
        assert!((DEFAULT..=2 * DEFAULT).contains(&lent), "{lent}");
    }
}
