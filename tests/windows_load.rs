//! A thousand live connections on one `Poll`, that come and go, talk, read slowly, stay silent, never read, and reset.
//! Memory, lent bytes and handles stay what they were.
//!
//! The peers are child processes: this program run again. `MINIMIO_EFFORT` scales the number of connections and the time.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{effort, expect_events, expect_no_events, pair, watchdog, HANG, READABLE, WRITABLE};
use minimio::{Events, Interests, Poll, TcpListener, TcpStream, Token};
use socket2::SockRef;
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessHandleCount, GetProcessTimes,
};

const CHILD: &str = "MINIMIO_LOAD_CHILD";
const CHILDREN: usize = 2;
const MESSAGE: usize = 64;
const LISTENER: Token = usize::MAX;
/// What a stream lends for a receive, unless another size is chosen.
const LENT: usize = 4 << 10;

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

fn handles() -> u32 {
    let mut count = 0;
    // SAFETY: it gives the number of a pseudo handle.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the count is writable.
    let done = unsafe { GetProcessHandleCount(this, &mut count) };
    assert_ne!(done, 0);
    count
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

/// What a peer does, by its number.
fn is_silent(number: usize) -> bool {
    number % 16 == 3
}

fn reads_slowly(number: usize) -> bool {
    number % 16 == 5
}

/// A few only: the kernel holds megabytes for each.
fn never_reads(number: usize) -> bool {
    number < 4
}

fn connect(to: SocketAddr) -> net::TcpStream {
    let stream = net::TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes until nothing more is taken.
fn flood(mut stream: &net::TcpStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[7; 4096]).is_ok() {}
}

/// The peers of one child: talk, and replace one connection in 32 a round, until the time is up.
fn be_peers(task: &str) {
    let mut task = task.split(' ');
    let address = task.next().unwrap().parse().unwrap();
    let mut number = || task.next().unwrap().parse::<usize>().unwrap();
    let (count, seconds) = (number(), number());
    let mut streams: Vec<_> = (0..count).map(|_| connect(address)).collect();
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let mut round = 0;
    // Three rounds at least, so that there is churn however slow the machine.
    while round < 3 || Instant::now() < end {
        for (number, stream) in streams.iter_mut().enumerate() {
            if never_reads(number) {
                flood(stream);
            } else if reads_slowly(number) {
                // Half of what comes back: the rest is owed, or on its way.
                stream.write_all(&[1; MESSAGE]).unwrap();
                stream.read_exact(&mut [0; MESSAGE / 2]).unwrap();
            } else if !is_silent(number) {
                let message = [number.to_le_bytes()[0]; MESSAGE];
                stream.write_all(&message).unwrap();
                let mut echo = [0; MESSAGE];
                stream.read_exact(&mut echo).unwrap();
                assert_eq!(echo, message);
                if (number + round) % 32 == 0 {
                    match round % 3 {
                        0 => SockRef::from(&*stream)
                            .set_linger(Some(Duration::ZERO))
                            .unwrap(),
                        1 => {
                            stream.shutdown(Shutdown::Write).unwrap();
                            assert_eq!(stream.read(&mut echo).unwrap(), 0);
                        }
                        _ => {}
                    }
                    *stream = connect(address);
                }
            }
        }
        round += 1;
    }
}

/// A connection of the server, and what it owes.
struct Client {
    stream: TcpStream,
    owed: Vec<u8>,
}

impl Client {
    /// Reads once and writes once. Returns what to wait for, or nothing at the end.
    fn serve(&mut self, buffer: &mut [u8]) -> Option<Interests> {
        if self.owed.is_empty() {
            match (&self.stream).read(buffer) {
                Ok(0) => return None,
                Ok(count) => self.owed.extend(&buffer[..count]),
                Err(error) => {
                    // An event has come, and nobody else reads: it is not that it would block.
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                    return None;
                }
            }
        }
        match (&self.stream).write(&self.owed) {
            Ok(count) => drop(self.owed.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        Some(if self.owed.is_empty() {
            READABLE
        } else {
            WRITABLE
        })
    }
}

#[test]
fn a_thousand_connections_with_churn_keep_memory_steady() {
    if let Ok(task) = std::env::var(CHILD) {
        return be_peers(&task);
    }
    let (_one, _watchdog) = (alone(), watchdog());
    // What Winsock and std open at their first use stays open.
    drop((Poll::new().unwrap(), pair()));
    let handles_before = handles();
    let seconds = effort(2);
    let count = effort(1_000).max(CHILDREN) / CHILDREN;
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(256);
    let registrator = poll.registrator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, LISTENER, READABLE).unwrap();
    let address = listener.local_addr().unwrap();
    let mut children: Vec<_> = (0..CHILDREN)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "a_thousand_connections_with_churn_keep_memory_steady",
                    "--exact",
                ])
                .env(CHILD, format!("{address} {count} {seconds}"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();

    let mut clients: HashMap<Token, Client> = HashMap::new();
    let mut buffer = vec![0; 4096];
    let (mut accepted, mut served, mut most, mut heap) = (0, 0_u64, 0, 0);
    while accepted < CHILDREN * count || !clients.is_empty() {
        let came = poll.poll(&mut events, Some(HANG)).unwrap();
        assert_ne!(came, 0, "{} clients, nothing came", clients.len());
        for event in &events {
            if event.id() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    registrator.register(&stream, accepted, READABLE).unwrap();
                    let owed = Vec::new();
                    clients.insert(accepted, Client { stream, owed });
                    accepted += 1;
                }
                registrator.register(&listener, LISTENER, READABLE).unwrap();
                continue;
            }
            served += 1;
            let client = clients.get_mut(&event.id()).expect("a client that is gone");
            match client.serve(&mut buffer) {
                Some(interests) => registrator
                    .register(&client.stream, event.id(), interests)
                    .unwrap(),
                None => drop(clients.remove(&event.id())),
            }
        }
        most = most.max(clients.len());
        heap = heap.max(HEAP.load(Ordering::Relaxed));
        // One receive and one copy of a send each; dropped ones whose packet is still to come are few.
        let lent = registrator.lent_bytes();
        let bound = (clients.len() + 256) * LENT + 2 * 4 * CHILDREN * LENT;
        assert!(lent <= bound, "{lent} bytes, {} clients", clients.len());
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success(), "a peer failed");
    }
    println!("{most} at once, {accepted} in all, {served} events, {heap} bytes of heap at most");
    assert!(most >= CHILDREN * count * 9 / 10);
    assert!(accepted > CHILDREN * count, "connections were replaced");
    // A stream has its buffer, a copy for its send, what it owes here, and a share of the tables.
    let allowed = (most + 256) * 4 * LENT;
    assert!(heap < allowed, "{heap} bytes, {allowed} allowed");
    drop((children, clients, listener));
    let end = Instant::now() + HANG;
    while registrator.lent_bytes() > 0 {
        assert!(Instant::now() < end, "{} bytes", registrator.lent_bytes());
        drop(poll.poll(&mut events, Some(Duration::from_millis(10))));
    }
    drop((poll, registrator));
    while handles() > handles_before {
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
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        std::hint::black_box(start);
    }
    assert!(processor_time() - before > Duration::from_millis(300));
    drop(stream);
    flooder.join().unwrap();
}
