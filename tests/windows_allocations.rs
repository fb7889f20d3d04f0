//! The bound: registering again, and all that follows of it, allocates nothing. A program of its own, since it
//! counts what the whole process allocates.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net;
use std::sync::atomic::{AtomicUsize, Ordering};

use minimio::{Events, Interests, Poll, TcpStream};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's duties.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn registering_again_allocates_nothing() {
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(16);
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..8 {
        peers.push(net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        streams.push(TcpStream::from_std(listener.accept().unwrap().0).unwrap());
    }
    let mut round = || {
        for (token, stream) in streams.iter_mut().enumerate() {
            registrator
                .register(stream, token, Interests::READABLE | Interests::WRITABLE)
                .unwrap();
            registrator.wake(100 + token).unwrap();
            peers[token].write_all(b"ping").unwrap();
        }
        // Both interests and a wake of each.
        let mut missing = streams.len() * 3;
        while missing > 0 {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                missing -= 1;
                if event.is_readable() {
                    assert_eq!(streams[event.id()].read(&mut [0; 8]).unwrap(), 4);
                }
            }
        }
    };
    // What is kept for later is allocated by then.
    for _ in 0..100 {
        round();
    }
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for _ in 0..200 {
        round();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst), before);
}
