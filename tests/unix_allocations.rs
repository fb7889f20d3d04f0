//! No memory is asked for while events are handed out, sources registered again, and bytes moved.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net;
use std::time::Duration;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, StreamEnd};
use common::watchdog;
use minimio::{Events, Interests, Poll, Registrator, UdpSocket};

/// Counts the allocations of each thread, so that tests side by side do not disturb each other.
struct Counting;

thread_local! {
    // It is const; the lint overlooks that on Android.
    #[allow(clippy::missing_const_for_thread_local)]
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count_one() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

fn allocated() -> usize {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: the caller's duties are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;
const ROUNDS: usize = 100;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

/// Runs `round` once to warm up, then counts what `ROUNDS` more of them allocate on this thread.
fn allocations(mut round: impl FnMut(usize)) -> usize {
    round(0);
    let before = allocated();
    for number in 1..=ROUNDS {
        round(number);
    }
    allocated() - before
}

/// That the counter counts. The box is kept from the optimizer, which would leave it out.
#[test]
fn an_allocation_is_counted() {
    assert_eq!(
        allocations(|number| drop(black_box(Box::new(number)))),
        ROUNDS
    );
}

// 6.3
fn an_echo_allocates_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let mut buffer = [0; 4096];
    registrator
        .register(&stream, 1, READABLE | WRITABLE)
        .unwrap();
    let count = allocations(|token| {
        registrator
            .register(&stream, token, READABLE | WRITABLE)
            .unwrap();
        peer.write_all(b"hello").unwrap();
        let mut due = 2;
        while due > 0 {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                due -= usize::from(event.is_readable()) + usize::from(event.is_writable());
            }
        }
        assert_eq!(stream.peek(&mut buffer[..64]).unwrap(), 5);
        assert_eq!(stream.read(&mut buffer).unwrap(), 5);
        assert!(stream.read(&mut buffer).is_err());
        stream.write_all(&buffer[..5]).unwrap();
        peer.read_exact(&mut buffer[..5]).unwrap();
    });
    assert_eq!(count, 0);
}

// 6.3
fn vectored_calls_allocate_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    let (mut first, mut second) = ([0; 2], [0; 64]);
    let count = allocations(|_| {
        peer.write_all(b"hello").unwrap();
        common::await_readable(&stream);
        let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(stream.read_vectored(&mut parts).unwrap(), 5);
        let parts = [IoSlice::new(&first), IoSlice::new(&second[..3])];
        assert_eq!(stream.write_vectored(&parts).unwrap(), 5);
        peer.read_exact(&mut second[..5]).unwrap();
    });
    assert_eq!(count, 0);
}

// 6.3
fn a_read_allocates_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let mut buffer = [0; 64];
    let count = allocations(|token| {
        registrator.register(&stream, token, READABLE).unwrap();
        peer.write_all(b"hello").unwrap();
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(stream.read(&mut buffer).unwrap(), 5);
        assert!(stream.read(&mut buffer).is_err());
    });
    assert_eq!(count, 0);
}

// 6.3
fn a_write_allocates_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = S::pair();
    let mut buffer = [0; 5];
    let count = allocations(|token| {
        registrator.register(&stream, token, WRITABLE).unwrap();
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(stream.write(b"hello").unwrap(), 5);
        peer.read_exact(&mut buffer).unwrap();
    });
    assert_eq!(count, 0);
}

// 6.3
fn a_datagram_of_a_connected_socket_allocates_nothing<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (socket, peer) = D::connected();
    let mut buffer = [0; 64];
    let count = allocations(|token| {
        registrator.register(&socket, token, READABLE).unwrap();
        peer.send(b"hello").unwrap();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
        assert_eq!(socket.send(b"hello").unwrap(), 5);
        peer.recv(&mut buffer).unwrap();
    });
    assert_eq!(count, 0);
}

// 6.3
#[test]
fn a_datagram_allocates_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (here, there) = (socket.local_addr().unwrap(), peer.local_addr().unwrap());
    let mut buffer = [0; 64];
    let count = allocations(|token| {
        registrator.register(&socket, token, READABLE).unwrap();
        peer.send_to(b"hello", here).unwrap();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, there));
        assert_eq!(socket.send_to(b"hello", there).unwrap(), 5);
        peer.recv(&mut buffer).unwrap();
    });
    assert_eq!(count, 0);
}

// 6.3
fn waiting_in_vain_and_deregistering_allocate_nothing<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (stream, _peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let count = allocations(|token| {
        registrator.register(&listener, token, READABLE).unwrap();
        registrator.register(&stream, token, READABLE).unwrap();
        assert!(listener.accept().is_err());
        let timeout = Some(Duration::from_micros(10));
        assert_eq!(poll.poll(&mut events, timeout).unwrap(), 0);
        registrator.deregister(&stream).unwrap();
        registrator.deregister(&listener).unwrap();
    });
    assert_eq!(count, 0);
}

// 4.3: delivered wakes leave no memory behind. One at a time needs none but the set's.
#[test]
fn a_wake_allocates_at_most_once() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let count = allocations(|token| {
        registrator.wake(token).unwrap();
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert!(count <= ROUNDS, "{count} allocations for {ROUNDS} wakes");
}

suite! {
    sockets {
        an_echo_allocates_nothing,
        vectored_calls_allocate_nothing,
    }
    reading {
        a_read_allocates_nothing,
    }
    writing {
        a_write_allocates_nothing,
    }
    datagrams {
        a_datagram_of_a_connected_socket_allocates_nothing,
    }
    families {
        waiting_in_vain_and_deregistering_allocate_nothing,
    }
}
