//! Signals: they neither end a wait, nor lengthen it, nor come out of a write.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
// One test is about a system call's wrapper itself; the others go through the public API.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../src/hooks/faults.rs"]
mod faults;
#[allow(dead_code, unused_imports)]
#[path = "../src/unix/ffi.rs"]
mod unix_ffi;

// As the crate names it.
mod hooks {
    pub(crate) use crate::faults;
}

use std::io::{ErrorKind, IoSlice, Write};
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{await_that, expect_events, pair, said, watchdog, Said, SetOnDrop, HANG, READABLE};
use minimio::{is_closed, Events, Poll};
use socket2::SockRef;

static TICKS: AtomicUsize = AtomicUsize::new(0);
static KNOCKS: AtomicUsize = AtomicUsize::new(0);
static BROKEN_PIPES: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_tick(_signal: libc::c_int) {
    TICKS.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn count_knock(_signal: libc::c_int) {
    KNOCKS.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn count_broken_pipe(_signal: libc::c_int) {
    BROKEN_PIPES.fetch_add(1, Ordering::SeqCst);
}

/// Handles `signal`, without `SA_RESTART`: system calls that it interrupts fail with `EINTR`.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: all zeroes is a valid `sigaction`: no flags, no mask, the default handler.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: `action` is valid for the call, and its handler touches only an atomic.
    let result = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// A thread, to be sent signals. (A `pthread_t` is a number here and a pointer there.)
#[derive(Clone, Copy)]
struct Target(libc::pthread_t);

// SAFETY: it names a thread and is never followed as a pointer.
unsafe impl Send for Target {}
// SAFETY: as before.
unsafe impl Sync for Target {}

impl Target {
    fn this_thread() -> Target {
        // SAFETY: it takes nothing and cannot fail.
        Target(unsafe { libc::pthread_self() })
    }

    /// The thread must live.
    fn signal(self, signal: libc::c_int) {
        // SAFETY: whoever made this keeps the thread alive until the last signal was sent.
        let sent = unsafe { libc::pthread_kill(self.0, signal) };
        assert_eq!(sent, 0);
    }
}

/// A thread that sends the one which made it a signal every millisecond, or as often as the system's clock ticks.
struct Ticker {
    before: usize,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The count of ticks is the process's, so one test at a time has a ticker.
    _alone: MutexGuard<'static, ()>,
}

impl Ticker {
    fn start() -> Ticker {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        handle(libc::SIGUSR1, count_tick);
        let before = TICKS.load(Ordering::SeqCst);
        let target = Target::this_thread();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = thread::spawn(move || {
            // All of it, and not the number alone, which may be a pointer.
            let target = target;
            while !is_over.load(Ordering::SeqCst) {
                target.signal(libc::SIGUSR1);
                thread::sleep(Duration::from_millis(1));
            }
        });
        Ticker {
            before,
            over,
            thread: Some(thread),
            _alone: alone,
        }
    }

    /// How often the thread was interrupted since this started.
    fn ticks(&self) -> usize {
        TICKS.load(Ordering::SeqCst) - self.before
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What it panics about, the test would have, too.
            drop(thread.join());
        }
    }
}

/// How many ticks a test wants to have met: with fewer it has tested nothing.
const ENOUGH: usize = 10;

// 4.2, 8
#[test]
fn a_signal_every_millisecond_neither_ends_a_wait_nor_lengthens_it() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let ticker = Ticker::start();
    // It goes on ticking: a wait that starts anew after each signal would never end.
    let begun = Instant::now();
    for millis in [300, 17, 3].into_iter().cycle() {
        let timeout = Duration::from_millis(millis);
        let start = Instant::now();
        assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 0);
        assert!(start.elapsed() >= timeout);
        if millis == 3 && ticker.ticks() > ENOUGH {
            break;
        }
        assert!(begun.elapsed() < HANG, "{} ticks", ticker.ticks());
    }
}

// 4.1, 4.2
#[test]
fn signals_do_not_end_a_wait_without_timeout() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = pair();
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        let ticker = Ticker::start();
        let before = ticker.before;
        scope.spawn(move || {
            await_that("ticks", || TICKS.load(Ordering::SeqCst) > before + ENOUGH);
            peer.write_all(b"x").unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(said(&events), [Said::Readable(1)]);
    });
}

// 4.2, 4.4
#[test]
fn the_only_error_of_a_poll_under_signals_is_the_close() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let registrator = poll.registrator();
    thread::scope(|scope| {
        let ticker = Ticker::start();
        let before = ticker.before;
        scope.spawn(move || {
            await_that("ticks", || TICKS.load(Ordering::SeqCst) > before + ENOUGH);
            registrator.close_loop().unwrap();
        });
        let error = poll.poll(&mut events, None).unwrap_err();
        assert!(is_closed(&error), "{error}");
    });
}

// 3.9
#[test]
fn writing_to_a_peer_that_is_gone_raises_no_signal() {
    let _watchdog = watchdog();
    handle(libc::SIGPIPE, count_broken_pipe);
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut stream, peer) = pair();
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    poll.registrator().register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);

    // The first takes the reset away; after it the system would signal.
    assert!(stream.write(b"x").is_err());
    let plain = stream.write(b"x").unwrap_err();
    let slices = [IoSlice::new(b"x"), IoSlice::new(b"y")];
    let vectored = stream.write_vectored(&slices).unwrap_err();

    assert_eq!(plain.kind(), ErrorKind::BrokenPipe);
    assert_eq!(vectored.kind(), ErrorKind::BrokenPipe);
    assert_eq!(BROKEN_PIPES.load(Ordering::SeqCst), 0);
}

// 6.2: the look that decides about an unsure edge. Taken for "ready", its failure would make an event without bytes.
#[test]
fn a_signal_does_not_make_the_look_at_a_quiet_socket_fail() {
    let _watchdog = watchdog();
    handle(libc::SIGUSR2, count_knock);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let done = AtomicBool::new(false);
    let looker = Target::this_thread();
    thread::scope(|scope| {
        scope.spawn(|| {
            // The looker's thread is alive, since it waits for this one at the end of the scope.
            while !done.load(Ordering::SeqCst) {
                looker.signal(libc::SIGUSR2);
            }
        });
        let _done = SetOnDrop(&done);
        let enough = KNOCKS.load(Ordering::SeqCst) + common::effort(5_000);
        while KNOCKS.load(Ordering::SeqCst) < enough {
            let looked = unix_ffi::poll_now(socket.as_raw_fd(), unix_ffi::POLLIN);
            assert_eq!(looked.unwrap(), 0);
        }
    });
}
