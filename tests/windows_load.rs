//! A thousand live connections on one `Poll`, that come and go, talk, read slowly, stay silent, never read, and reset.
//! Memory, lent bytes and handles stay what they were.
//!
//! The peers are child processes: this program run again. `MINIMIO_EFFORT` scales the number of connections and the time.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod load;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    effort, expect_events, expect_no_events, handles, pair, start_a_child, watchdog,
    HANDLES_OF_OTHERS, HANG, READABLE,
};
use load::CHILDREN;
use minimio::{Events, Poll};
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessTimes};

/// What a stream lends for a receive, unless another size is chosen.
const LENT: usize = 4 << 10;
/// To the receive of a busy stream, at most.
const MOST_LENT: usize = 256 << 10;
/// For a send, at most.
const MOST_COPIED: usize = 64 << 10;

static HEAP: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated and not freed.
struct Counting;

// SAFETY: it passes everything on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counts are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that the process has spent on a processor.
fn processor_time() -> Duration {
    let zero = FILETIME {
        dwLowDateTime: 0,
        dwHighDateTime: 0,
    };
    let (mut made, mut ended, mut kernel, mut user) = (zero, zero, zero, zero);
    // SAFETY: it gives the number of a pseudo handle.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the four places are writable.
    let done = unsafe { GetProcessTimes(this, &mut made, &mut ended, &mut kernel, &mut user) };
    assert_ne!(done, 0);
    // In units of 100 ns.
    let of = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos((of(kernel) + of(user)) * 100)
}

#[test]
fn a_thousand_connections_with_churn_keep_memory_steady() {
    if load::are_peers(|address, _| net::TcpStream::connect(address).unwrap()) {
        return;
    }
    let (_one, _watchdog) = (alone(), watchdog());
    // What Winsock and std open at their first use stays open, and what Windows opens for a first child.
    drop((Poll::new().unwrap(), pair()));
    start_a_child();
    let handles_before = handles();
    let count = effort(1_000).max(CHILDREN) / CHILDREN;
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut heap = 0;
    let name = "a_thousand_connections_with_churn_keep_memory_steady";
    let seen = load::serve(&mut poll, name, count, effort(2), |_, clients| {
        heap = heap.max(HEAP.load(Ordering::Relaxed));
        // One receive each; dropped ones whose packet is still to come are few. A flood makes its receives larger, and there
        // is a copy of what its peer does not take.
        let lent = registrator.lent_bytes();
        let floods = load::FLOODS * CHILDREN * (MOST_LENT + MOST_COPIED);
        let bound = (clients + 256) * LENT + floods;
        assert!(lent <= bound, "{lent} bytes, {clients} clients");
    });
    println!("{seen:?}, {heap} bytes of heap at most");
    // A stream has its buffer, a copy for its send, what it owes here, and a share of the tables.
    let allowed = (seen.most + 256) * 4 * LENT;
    assert!(heap < allowed, "{heap} bytes, {allowed} allowed");
    let mut events = Events::with_capacity(256);
    let end = Instant::now() + HANG;
    while registrator.lent_bytes() > 0 {
        assert!(Instant::now() < end, "{} bytes", registrator.lent_bytes());
        drop(poll.poll(&mut events, Some(Duration::from_millis(10))));
    }
    drop((poll, registrator));
    while handles() > handles_before + HANDLES_OF_OTHERS {
        assert!(
            Instant::now() < end,
            "{} handles, {handles_before} before",
            handles()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// 5.3: one receive of one buffer, and then the peer's window is full: nothing goes round.
#[test]
fn a_peer_that_floods_a_stream_which_nobody_armed_costs_nothing() {
    let (_one, _watchdog) = (alone(), watchdog());
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(16);
    let (stream, peer) = pair();
    let flooder = thread::spawn(move || {
        let mut peer = &peer;
        // Ends with the stream.
        while peer.write(&[7; 64 << 10]).is_ok() {}
    });
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    for _ in 0..10 {
        expect_no_events(&mut poll, &mut events);
    }
    assert!(registrator.lent_bytes() <= LENT);
    let (before, start) = (processor_time(), Instant::now());
    assert_eq!(
        poll.poll(&mut events, Some(Duration::from_secs(1)))
            .unwrap(),
        0
    );
    let spent = processor_time() - before;
    assert!(start.elapsed() >= Duration::from_secs(1));
    println!("{spent:?} of processor time in a second");
    assert!(spent < Duration::from_millis(200), "{spent:?}");
    // That the system counts at all.
    let end = Instant::now() + HANG;
    while processor_time() - before <= spent {
        assert!(Instant::now() < end, "the clock of the processor stands");
    }
    drop(stream);
    flooder.join().unwrap();
}
