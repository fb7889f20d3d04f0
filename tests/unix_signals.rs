//! Signals on Linux: they neither end a wait, nor lengthen it, nor come out of a write.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
// One test is about a system call's wrapper itself; the others go through the public API.
#[allow(dead_code)]
#[path = "../src/unix/ffi.rs"]
mod unix_ffi;

use std::io::{ErrorKind, IoSlice, Write};
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{expect_events, pair, said, watchdog, Said, READABLE};
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

/// A timer that sends the thread which made it a signal every millisecond.
struct Ticker {
    timer: libc::timer_t,
    before: usize,
}

impl Ticker {
    fn start() -> Ticker {
        handle(libc::SIGUSR1, count_tick);
        // SAFETY: all zeroes is a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR1;
        // SAFETY: it takes nothing and cannot fail.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
        assert_eq!(made, 0);
        let millisecond = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let every = libc::itimerspec {
            it_interval: millisecond,
            it_value: millisecond,
        };
        // SAFETY: the timer was made above; `every` is valid for the call.
        let set = unsafe { libc::timer_settime(timer, 0, &every, ptr::null_mut()) };
        assert_eq!(set, 0);
        let before = TICKS.load(Ordering::SeqCst);
        Ticker { timer, before }
    }

    fn ticks(&self) -> usize {
        TICKS.load(Ordering::SeqCst) - self.before
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // SAFETY: the timer was made in `start`, and only here is it deleted.
        unsafe { libc::timer_delete(self.timer) };
    }
}

// 4.2, 8
#[test]
fn a_signal_every_millisecond_neither_ends_a_wait_nor_lengthens_it() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let ticker = Ticker::start();
    // It goes on ticking: a wait that starts anew after each signal would never end.
    for millis in [300, 17, 3] {
        let timeout = Duration::from_millis(millis);
        let start = Instant::now();
        assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 0);
        assert!(start.elapsed() >= timeout);
    }
    // Else nothing was tested.
    assert!(ticker.ticks() > 10, "{}", ticker.ticks());
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
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100));
            peer.write_all(b"x").unwrap();
        });
        let ticker = Ticker::start();
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        assert_eq!(said(&events), [Said::Readable(1)]);
        assert!(ticker.ticks() > 10, "{}", ticker.ticks());
    });
}

// 4.2, 4.4
#[test]
fn the_only_interrupted_error_of_a_poll_under_signals_is_the_close() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100));
            registrator.close_loop().unwrap();
        });
        let ticker = Ticker::start();
        let error = poll.poll(&mut events, None).unwrap_err();
        assert!(is_closed(&error), "{error}");
        assert!(ticker.ticks() > 10, "{}", ticker.ticks());
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
    // SAFETY: it takes nothing and cannot fail.
    let process = unsafe { libc::getpid() };
    // SAFETY: it takes nothing and cannot fail.
    let looker = unsafe { libc::gettid() };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                // By number: a `pthread_t` is a pointer in musl, and cannot be lent to this thread.
                // SAFETY: it takes numbers only. The thread lives, since it waits for this one at the end of the scope.
                let sent =
                    unsafe { libc::syscall(libc::SYS_tgkill, process, looker, libc::SIGUSR2) };
                assert_eq!(sent, 0);
            }
        });
        let mut looked = Ok(0);
        let enough = KNOCKS.load(Ordering::SeqCst) + common::effort(5_000);
        while KNOCKS.load(Ordering::SeqCst) < enough {
            looked = unix_ffi::poll_now(socket.as_fd(), unix_ffi::POLLIN);
            if looked.is_err() {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        assert_eq!(looked.unwrap(), 0);
    });
}
