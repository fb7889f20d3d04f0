//! Many idle connections: what each costs in memory, and that they cost a poll nothing.

// The counting of system calls knows this machine only, see linux_syscalls.rs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

mod common;
mod trace;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{effort, most_connections, watchdog};
use minimio::{Events, Interests, Poll, TcpStream};
use trace::{mark, traced};

/// Counts the bytes that are allocated, as they were asked for.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// What the contract allows a connection, on the heap and in the user's own hands.
const MOST_BYTES: usize = 300;

/// How many echoes are counted.
const N: usize = 200;
const MESSAGE: usize = 64;

/// 10,000 with an effort of 5. Child and parent have a descriptor each for every connection.
fn connections() -> usize {
    effort(2_000).min(most_connections())
}

/// The idle ends, and one that talks when all are connected.
fn peers(listener: net::TcpListener) {
    let mut idle = Vec::new();
    for _ in 0..connections() {
        idle.push(listener.accept().unwrap().0);
    }
    let (mut active, _) = listener.accept().unwrap();
    active.set_nodelay(true).unwrap();
    let mut message = [7; MESSAGE];
    for _ in 0..N {
        active.write_all(&message).unwrap();
        active.read_exact(&mut message).unwrap();
    }
    // Then one idle connection after the other speaks.
    for stream in &mut idle {
        stream.write_all(b"!").unwrap();
        active.read_exact(&mut message[..1]).unwrap();
    }
    drop(active.read(&mut message));
}

/// Registers all and measures. Runs in the traced child, of which nothing else is asked.
fn serve(address: SocketAddr) {
    let count = connections();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(64);
    let sockets: Vec<_> = (0..count)
        .map(|_| net::TcpStream::connect(address).unwrap())
        .collect();

    let before = live();
    let mut idle = Vec::with_capacity(count);
    for (token, socket) in sockets.into_iter().enumerate() {
        let stream = TcpStream::from_std(socket).unwrap();
        registrator
            .register(&stream, token, Interests::READABLE)
            .unwrap();
        idle.push(stream);
    }
    // The vector of `std` streams has gone meanwhile: 4 bytes each.
    let grown = live() + count * std::mem::size_of::<net::TcpStream>() - before;
    eprintln!("{count} connections: {} bytes each", grown / count);
    assert!(grown / count <= MOST_BYTES, "{} bytes each", grown / count);

    let mut active = TcpStream::connect(address).unwrap();
    let mut buffer = [0; 4096];
    let active_token = count;
    registrator
        .register(&active, active_token, Interests::READABLE)
        .unwrap();
    mark();
    for _ in 0..N {
        // One event each, whatever the number of the others.
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(events.iter().next().unwrap().id(), active_token);
        let received = active.read(&mut buffer).unwrap();
        registrator
            .register(&active, active_token, Interests::READABLE)
            .unwrap();
        active.write_all(&buffer[..received]).unwrap();
    }
    mark();

    // They were idle, not forgotten. (Each speaks once, in the order in which the other side accepted them.)
    let mut silent: BTreeSet<_> = (0..count).collect();
    while !silent.is_empty() {
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        let token = events.iter().next().unwrap().id();
        assert!(silent.remove(&token), "{token} has spoken before");
        assert_eq!(idle[token].read(&mut buffer).unwrap(), 1);
        active.write_all(&buffer[..1]).unwrap();
    }
}

// 6.3, 6.4
#[test]
fn idle_connections_cost_little_memory_and_a_poll_nothing() {
    let _watchdog = watchdog();
    let calls = traced(
        "idle_connections_cost_little_memory_and_a_poll_nothing",
        serve,
        peers,
    );
    println!("beside {} idle connections: {calls:?}", connections());
    assert_eq!((calls.receives(), calls.sends()), (N, N), "{calls:?}");
    assert_eq!(calls.waits(), N, "{calls:?}");
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}
