//! The two system calls that a poll can wait with: `epoll_pwait2`, and `epoll_wait` where the other is missing. Both
//! keep the promises about time.

#![cfg(all(minimio_hooks, any(target_os = "linux", target_os = "android")))]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::unix::thread::JoinHandleExt;
use std::sync::{mpsc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{expect_events, let_it_block, pair, watchdog, HANG};
use minimio::hooks::force_epoll_wait;
use minimio::{is_closed, Events, Interests, Poll};

static TURN: Mutex<()> = Mutex::new(());

/// Which call is used. The switch is the process's, so whoever holds this keeps the other tests waiting.
struct Waits {
    _turn: MutexGuard<'static, ()>,
}

impl Waits {
    fn with_epoll_wait(forced: bool) -> Waits {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        force_epoll_wait(forced);
        Waits { _turn: turn }
    }

    /// Runs `test` once with each.
    fn with_both(test: impl Fn()) {
        for forced in [false, true] {
            let _waits = Waits::with_epoll_wait(forced);
            println!("epoll_wait forced: {forced}");
            test();
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        force_epoll_wait(false);
    }
}

/// Polls an idle queue, and returns how long that took.
fn idle(timeout: Duration) -> Duration {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let begun = Instant::now();
    assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 0);
    begun.elapsed()
}

// 4.2
#[test]
fn a_timeout_is_never_cut_short() {
    let _watchdog = watchdog();
    Waits::with_both(|| {
        for timeout in [
            Duration::from_nanos(1),
            Duration::from_micros(1),
            Duration::from_micros(999),
            Duration::from_millis(1),
            Duration::from_micros(1_001),
            Duration::from_nanos(2_000_001),
            Duration::from_micros(15_500),
            Duration::from_millis(120),
        ] {
            for _ in 0..5 {
                let waited = idle(timeout);
                assert!(waited >= timeout, "{waited:?} of {timeout:?}");
            }
        }
    });
}

// 4.2: whole milliseconds are rounded up. It also shows that the switch does something.
#[test]
fn epoll_wait_waits_a_millisecond_at_least() {
    let _watchdog = watchdog();
    let _waits = Waits::with_epoll_wait(true);
    for _ in 0..20 {
        let waited = idle(Duration::from_micros(20));
        assert!(waited >= Duration::from_millis(1), "{waited:?}");
    }
}

// 4.2: "to nanoseconds where it can"
#[test]
fn epoll_pwait2_waits_less_than_a_millisecond_if_asked() {
    let _watchdog = watchdog();
    let _waits = Waits::with_epoll_wait(false);
    // A busy machine delays some; not every one of so many.
    let shortest = (0..2_000).map(|_| idle(Duration::from_micros(20))).min();
    let shortest = shortest.unwrap();
    assert!(shortest < Duration::from_millis(1), "{shortest:?}");
}

// 4.2
#[test]
fn a_zero_timeout_does_not_block() {
    let _watchdog = watchdog();
    Waits::with_both(|| {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(1);
        for _ in 0..1_000 {
            assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        }
        poll.registrator().wake(1).unwrap();
        assert_eq!(poll.poll(&mut events, Some(Duration::ZERO)).unwrap(), 1);
    });
}

// 4.2: more than 2^31 milliseconds, than 2^63 nanoseconds, than any clock.
#[test]
fn a_huge_timeout_does_not_overflow() {
    let _watchdog = watchdog();
    Waits::with_both(|| {
        for timeout in [
            Duration::from_millis(0x7fff_ffff),
            Duration::from_millis(0x8000_0001),
            Duration::from_secs(10_000_000_000),
            Duration::from_secs(i64::MAX.unsigned_abs()),
            Duration::MAX,
        ] {
            let mut poll = Poll::new().unwrap();
            let registrator = poll.registrator();
            let mut events = Events::with_capacity(1);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let_it_block();
                    registrator.wake(7).unwrap();
                });
                assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 1);
            });
            assert_eq!(events.iter().next().unwrap().id(), 7);
        }
    });
}

extern "C" fn ignore(_: libc::c_int) {}

/// Makes `SIGUSR1` interrupt system calls and do nothing else.
fn catch_signal() {
    // SAFETY: zero is a valid value of every field: no flags, so calls are interrupted, and no other signal masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler does nothing, so it may run at any time; the action is read during the call only.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

// 4.2: a signal every millisecond.
#[test]
fn signals_neither_shorten_nor_lengthen_a_wait() {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let _watchdog = watchdog();
    catch_signal();
    Waits::with_both(|| {
        let (done, is_done) = mpsc::channel();
        let poller = thread::spawn(move || {
            let waited = idle(TIMEOUT);
            done.send(()).unwrap();
            waited
        });
        let mut signals = 0;
        while is_done.recv_timeout(Duration::from_millis(1)).is_err() {
            // SAFETY: the thread has not been joined, so its handle is good although it may have ended.
            let result = unsafe { libc::pthread_kill(poller.as_pthread_t(), libc::SIGUSR1) };
            assert!(result == 0 || result == libc::ESRCH);
            signals += 1;
            assert!(signals < 60_000, "the signals have lengthened the wait");
        }
        let waited = poller.join().unwrap();
        assert!(waited >= TIMEOUT, "{waited:?} of {TIMEOUT:?}");
        assert!(waited < HANG);
        assert!(signals > 10, "{signals} signals");
    });
}

// 4.2: a signal in a poll without a time-out.
#[test]
fn signals_do_not_end_a_poll_without_a_timeout() {
    let _watchdog = watchdog();
    catch_signal();
    Waits::with_both(|| {
        let mut poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let poller = thread::spawn(move || {
            let mut events = Events::with_capacity(1);
            poll.poll(&mut events, None).unwrap();
            events.iter().next().unwrap().id()
        });
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(1));
            // SAFETY: the thread has not been joined, so its handle is good.
            let result = unsafe { libc::pthread_kill(poller.as_pthread_t(), libc::SIGUSR1) };
            assert_eq!(result, 0);
        }
        registrator.wake(7).unwrap();
        assert_eq!(poller.join().unwrap(), 7);
    });
}

// 4.1: a timeout does not hide an event, and an event ends it.
#[test]
fn events_end_a_wait_with_a_timeout() {
    let _watchdog = watchdog();
    Waits::with_both(|| {
        let mut poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let mut events = Events::with_capacity(4);
        let (stream, mut peer) = pair();
        registrator
            .register(&stream, 1, Interests::READABLE)
            .unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let_it_block();
                peer.write_all(b"hello").unwrap();
            });
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
        });
    });
}

// 4.2, 6.4: wasted wakes during a wait do not cut it short.
#[test]
fn unwanted_edges_do_not_shorten_a_wait() {
    const TIMEOUT: Duration = Duration::from_millis(60);
    let _watchdog = watchdog();
    Waits::with_both(|| {
        let mut poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        let mut events = Events::with_capacity(1);
        let (stream, mut peer) = pair();
        registrator
            .register(&stream, 1, Interests::READABLE)
            .unwrap();
        registrator.deregister(&stream).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10 {
                    thread::sleep(Duration::from_millis(3));
                    peer.write_all(b"x").unwrap();
                }
            });
            let begun = Instant::now();
            assert_eq!(poll.poll(&mut events, Some(TIMEOUT)).unwrap(), 0);
            assert!(begun.elapsed() >= TIMEOUT);
        });
    });
}

// 4.4
#[test]
fn closing_ends_a_blocked_poll() {
    let _watchdog = watchdog();
    Waits::with_both(|| {
        for timeout in [None, Some(HANG)] {
            let mut poll = Poll::new().unwrap();
            let registrator = poll.registrator();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let_it_block();
                    registrator.close_loop().unwrap();
                });
                let error = poll.poll(&mut Events::with_capacity(1), timeout);
                assert!(is_closed(&error.unwrap_err()));
            });
        }
    });
}
