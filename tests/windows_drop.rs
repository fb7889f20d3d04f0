//! 5.2, 5.6: memory that is lent outlives its operation, whatever is dropped first.
//!
//! Every block that this program frees is overwritten and kept for a while; when its turn comes to be really freed, each
//! byte must be as it was left. So a kernel that writes into memory that was freed too early is caught, whatever that
//! memory was: an operation's state block, a buffer, the room for addresses. The count of live operations is asked for
//! with `--cfg minimio_hooks`.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{ErrorKind, Read, Write};
use std::net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
#[cfg(minimio_hooks)]
use std::time::Instant;

#[cfg(minimio_hooks)]
use common::HANG;
use common::{await_that, effort, expect_events, fill, minimio_pair, pair, watchdog};
use minimio::{Events, Interests, Poll, Registrator, TcpListener, TcpStream, UdpSocket};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

/// How many freed blocks are kept.
const KEPT: usize = 1 << 13;
/// Blocks up to this size: all that is lent is smaller.
const KEPT_SIZE: usize = 1 << 17;
const POISON: u8 = 0xdd;

static LATE_WRITES: AtomicUsize = AtomicUsize::new(0);

struct Quarantine {
    blocks: [(usize, usize, usize); KEPT],
    next: usize,
}

static QUARANTINE: Mutex<Quarantine> = Mutex::new(Quarantine {
    blocks: [(0, 0, 0); KEPT],
    next: 0,
});

struct Poisoning;

// SAFETY: it hands out the system's blocks, each until it is given back, and gives each back to the system once, later.
unsafe impl GlobalAlloc for Poisoning {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's duties.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() > KEPT_SIZE {
            // SAFETY: the caller's duties.
            unsafe { System.dealloc(block, layout) };
            return;
        }
        // SAFETY: the block is nobody's any more, and that large.
        unsafe { block.write_bytes(POISON, layout.size()) };
        let oldest = {
            // Neither locking nor what follows allocates.
            let mut quarantine = QUARANTINE.lock().unwrap_or_else(PoisonError::into_inner);
            let next = quarantine.next;
            quarantine.next = (next + 1) % KEPT;
            std::mem::replace(
                &mut quarantine.blocks[next],
                (block as usize, layout.size(), layout.align()),
            )
        };
        release(oldest);
    }
}

fn release((address, size, align): (usize, usize, usize)) {
    if address == 0 {
        return;
    }
    let block = address as *mut u8;
    // SAFETY: the block is kept, and that large.
    let bytes = unsafe { std::slice::from_raw_parts(block, size) };
    if bytes.iter().any(|&byte| byte != POISON) {
        LATE_WRITES.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: they are those of a layout.
    let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
    // SAFETY: it was made with this layout, and left the quarantine right now.
    unsafe { System.dealloc(block, layout) };
}

#[global_allocator]
static ALLOCATOR: Poisoning = Poisoning;

/// Checks that nothing is in flight any more, and that no freed memory was written to.
fn check_all_is_over() {
    #[cfg(minimio_hooks)]
    {
        let end = Instant::now() + HANG;
        while minimio::hooks::windows::live_operations() + minimio::hooks::windows::live_reapers()
            > 0
        {
            assert!(
                Instant::now() < end,
                "{} operations and {} reapers are left",
                minimio::hooks::windows::live_operations(),
                minimio::hooks::windows::live_reapers()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
    // Empties the quarantine.
    for _ in 0..KEPT {
        drop(std::hint::black_box(Box::new(1u8)));
    }
    assert_eq!(
        LATE_WRITES.load(Ordering::SeqCst),
        0,
        "freed memory was written to"
    );
}

/// The counts are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

/// Drops its things in the `which`-th of the six orders, each on a thread of its own if `which` is above 5.
fn drop_in_order<A: Send, B: Send, C: Send>(which: usize, a: A, b: B, c: C) {
    let (mut a, mut b, mut c) = (Some(a), Some(b), Some(c));
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let threads = which % 12 > 5;
    for step in orders[which % 6] {
        thread::scope(|scope| {
            let (a, b, c) = (&mut a, &mut b, &mut c);
            let mut act = move || match step {
                0 => drop(a.take()),
                1 => drop(b.take()),
                _ => drop(c.take()),
            };
            if threads {
                scope.spawn(act);
            } else {
                act();
            }
        });
    }
}

/// Each kind of operation in flight, the three things dropped in each order, and a peer that then writes.
#[test]
fn everything_is_dropped_in_all_orders_with_a_receive_in_flight() {
    let (_one, _watchdog) = (alone(), watchdog());
    for round in 0..effort(240) {
        let (poll, registrator, _events) = queue();
        let (stream, mut peer) = pair();
        if round % 3 == 0 {
            stream.set_lent_buffer(0);
        }
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        if round % 4 == 0 {
            // The packet may be on the port when all goes.
            peer.write_all(b"early").unwrap();
        }
        drop_in_order(round, poll, registrator, stream);
        // It may be reset by now.
        drop(peer.write_all(&[0xaa; 8192]));
        drop(peer.write_all(&[0xaa; 8192]));
    }
    check_all_is_over();
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_send_in_flight_and_nothing_is_lost() {
    let (_one, _watchdog) = (alone(), watchdog());
    for round in 0..effort(24) {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let accepted = fill(&stream);
        registrator
            .register(&stream, 2, READABLE | WRITABLE)
            .unwrap();
        drop_in_order(round, poll, registrator, stream);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), accepted);
        assert!(received.iter().all(|&byte| byte == 0x5a));
    }
    check_all_is_over();
}

/// Under Wine a send whose socket is closed goes on under the socket's number, into another connection.
#[test]
fn bytes_of_a_dropped_stream_reach_no_other_socket() {
    let (_one, _watchdog) = (alone(), watchdog());
    for _ in 0..effort(10) {
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let accepted = fill(&stream);
        drop(stream);
        // They would take the number.
        let others: Vec<_> = (0..4).map(|_| pair()).collect();
        let mut received = Vec::new();
        // The FIN goes out with the last byte, and the socket is closed when somebody takes the packet.
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), accepted);
        for (_, other) in &others {
            other.set_nonblocking(true).unwrap();
            let error = (&*other).read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    }
    check_all_is_over();
}

#[test]
fn everything_is_dropped_in_all_orders_with_an_accept_in_flight() {
    let (_one, _watchdog) = (alone(), watchdog());
    for round in 0..effort(240) {
        let (poll, registrator, _events) = queue();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        let client = (round % 3 == 0).then(|| net::TcpStream::connect(address).unwrap());
        drop_in_order(round, poll, registrator, listener);
        drop(client);
    }
    check_all_is_over();
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_connect_in_flight() {
    let (_one, _watchdog) = (alone(), watchdog());
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = match stream {
                Ok(stream) => stream,
                // Reset while it waited. (Wine 10 gives it without an address, which std takes for its own mistake.)
                Err(error) => {
                    let kinds = [
                        ErrorKind::ConnectionReset,
                        ErrorKind::ConnectionAborted,
                        ErrorKind::InvalidInput,
                    ];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    continue;
                }
            };
            let mut byte = [0];
            // The last client says so.
            if stream
                .set_read_timeout(Some(Duration::from_millis(1)))
                .is_ok()
                && stream.read(&mut byte).is_ok_and(|count| count == 1)
            {
                return;
            }
        }
    });
    for round in 0..effort(240) {
        let (poll, registrator, _events) = queue();
        let stream = TcpStream::connect_nonblocking(address).unwrap();
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        drop_in_order(round, poll, registrator, stream);
    }
    loop {
        let mut last = net::TcpStream::connect(address).unwrap();
        last.write_all(b"!").unwrap();
        thread::sleep(Duration::from_millis(20));
        if accepting.is_finished() {
            break;
        }
    }
    accepting.join().unwrap();
    check_all_is_over();
}

#[test]
fn everything_is_dropped_in_all_orders_with_a_datagram_awaited() {
    let (_one, _watchdog) = (alone(), watchdog());
    let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..effort(240) {
        let (poll, registrator, _events) = queue();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        if round % 3 == 0 {
            socket.set_lent_buffer(0);
        }
        registrator
            .register(&socket, 1, READABLE | WRITABLE)
            .unwrap();
        if round % 4 == 0 {
            sender.send_to(b"early", address).unwrap();
        }
        drop_in_order(round, poll, registrator, socket);
        sender.send_to(&[0xaa; 4096], address).unwrap();
    }
    check_all_is_over();
}

/// Sources go while another thread polls, in the middle of traffic.
#[test]
fn streams_are_dropped_under_a_polling_thread() {
    let (_one, _watchdog) = (alone(), watchdog());
    let (mut poll, registrator, mut events) = queue();
    let poller = thread::spawn(move || loop {
        match poll.poll(&mut events, None) {
            Ok(count) => assert_ne!(count, 0),
            Err(error) => {
                assert!(minimio::is_closed(&error));
                return;
            }
        }
    });
    for round in 0..effort(400) {
        let (mut near, far) = minimio_pair();
        registrator.register(&near, 1, READABLE | WRITABLE).unwrap();
        registrator.register(&far, 2, READABLE).unwrap();
        near.write_all(b"to the other").unwrap();
        if round % 2 == 0 {
            drop(far);
            drop(near.write_all(b"into a closed connection"));
        }
    }
    registrator.close_loop().unwrap();
    poller.join().unwrap();
    check_all_is_over();
}

#[test]
fn a_poll_dropped_first_leaves_streams_that_read_and_write() {
    let (_one, _watchdog) = (alone(), watchdog());
    for _ in 0..effort(50) {
        let (poll, registrator, _events) = queue();
        let (mut stream, mut peer) = pair();
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        drop(poll);
        // The receive was cancelled, and whoever comes after the poll takes its packet.
        await_that("nothing is lent", || registrator.lent_bytes() == 0);
        peer.write_all(b"hello").unwrap();
        assert_eq!(common::until_done(|| stream.read(&mut [0; 8])).unwrap(), 5);
        stream.write_all(b"bye").unwrap();
        let mut buffer = [0; 3];
        peer.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"bye");
    }
    check_all_is_over();
}

/// 5.6: a peer that never reads holds a dropped stream's socket no longer than the limit.
#[cfg(minimio_hooks)]
#[test]
fn a_deferred_close_is_given_up_in_the_end() {
    use minimio::hooks::windows::{live_operations, set_deferred_close};

    let (_one, _watchdog) = (alone(), watchdog());
    for drops_poll in [false, true] {
        set_deferred_close(Duration::from_millis(200));
        let (mut poll, registrator, mut events) = queue();
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let accepted = fill(&stream);
        let start = Instant::now();
        drop(stream);
        assert_eq!(live_operations(), 1);
        let mut poll = Some(poll);
        if drops_poll {
            drop(poll.take());
        }
        while live_operations() > 0 {
            assert!(start.elapsed() < HANG);
            match &mut poll {
                Some(poll) => assert_eq!(
                    poll.poll(&mut events, Some(Duration::from_millis(50)))
                        .unwrap(),
                    0
                ),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
        assert!(start.elapsed() >= Duration::from_millis(200));
        let mut received = Vec::new();
        let end = peer.read_to_end(&mut received);
        assert!(
            end.is_err() || received.len() < accepted,
            "the close is abortive"
        );
        set_deferred_close(Duration::from_secs(60));
    }
    check_all_is_over();
}
