//! System calls that fail as they can: the contract still holds after each, and nothing leaks.

#![cfg(all(minimio_hooks, any(target_os = "linux", target_os = "android")))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::{
    effort, expect_events, expect_no_events, minimio_pair, pair, watchdog, BOTH, READABLE, WRITABLE,
};
use minimio::hooks::{fail, Call};
use minimio::{Events, Poll, TcpListener, UdpSocket};
use socket2::SockRef;

static ALONE: Mutex<()> = Mutex::new(());

/// Counts the descriptors at its beginning and at its end. One test at a time, since they are the process's.
struct Counted {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

impl Counted {
    fn begin() -> Counted {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Counted {
            before: descriptors(),
            _alone: alone,
        }
    }

    fn end(self) {
        assert_eq!(descriptors(), self.before);
    }
}

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(8))
}

// 2.4: the limit on watches, memory, and whatever else a first registration can meet.
#[test]
fn a_first_registration_that_fails_leaves_nothing_and_can_be_tried_again() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [libc::ENOSPC, libc::ENOMEM] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = pair();
        fail(Call::Watch, code, 2);
        for _ in 0..2 {
            let error = registrator.register(&stream, 1, BOTH).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(code));
            let error = registrator.deregister(&stream).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        peer.write_all(b"x").unwrap();
        expect_no_events(&mut poll, &mut events);
        // It belongs to no queue, so another may have it.
        let (mut other, _) = poll_and_events();
        other.registrator().register(&stream, 2, READABLE).unwrap();
        expect_events(&mut other, &mut events, &[(2, true, false)]);
    }
    counted.end();
}

// 2.4
#[test]
fn a_registration_that_fails_leaves_armed_what_was() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        fail(Call::WatchAnew, libc::ENOMEM, 1);
        let error = registrator.register(&stream, 2, BOTH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        registrator.register(&stream, 3, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, true)]);
    }
    counted.end();
}

// 2.1, 6.4: the kernel refuses to keep unwanted edges to itself. What is armed beside them must not suffer.
#[test]
fn a_refused_silence_disarms_nothing() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        registrator.register(&socket, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        // Each datagram that was sent is an edge which nobody wants.
        fail(Call::WatchAnew, libc::ENOMEM, 1);
        socket.send_to(b"x", peer.local_addr().unwrap()).unwrap();
        expect_no_events(&mut poll, &mut events);
        peer.send_to(b"y", socket.local_addr().unwrap()).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
    }
    counted.end();
}

// 4.1: what does not fit cannot be asked for again. It stays armed, and comes after the next registration.
#[test]
fn what_does_not_fit_stays_armed_when_the_kernel_refuses() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(1);
        let registrator = poll.registrator();
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        common::await_bytes(&stream, 1);
        registrator.register(&stream, 1, READABLE).unwrap();
        registrator.register(&stream, 2, WRITABLE).unwrap();
        fail(Call::WatchAnew, libc::ENOMEM, 1);
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        let first = events.iter().next().unwrap().id();
        let (interest, left) = if first == 1 {
            (READABLE, (2, false, true))
        } else {
            (WRITABLE, (1, true, false))
        };
        let again = (3, interest == READABLE, interest == WRITABLE);
        registrator.register(&stream, 3, interest).unwrap();
        expect_events(&mut poll, &mut events, &[left, again]);
    }
    counted.end();
}

// 3.1, 8: a connection that was aborted is an error of that `accept`, and of no other.
#[test]
fn an_aborted_connection_is_an_error_of_one_accept() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [
        libc::ECONNABORTED,
        libc::EMFILE,
        libc::ENOBUFS,
        libc::EPROTO,
    ] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        fail(Call::Accept, code, 1);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
        // The connection that waits is reported again.
        registrator.register(&listener, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        listener.accept().unwrap();
        registrator.register(&listener, 3, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
    counted.end();
}

// 3.2: an error of a call says nothing of what the kernel owes.
#[test]
fn a_call_that_fails_loses_no_event() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [libc::ENOBUFS, libc::ENOMEM, libc::EINTR] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (mut stream, mut peer) = pair();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        registrator.register(&stream, 1, BOTH).unwrap();
        registrator.register(&socket, 2, WRITABLE).unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, true), (2, false, true)]);
        fail(Call::Receive, code, 1);
        fail(Call::Send, code, 2);
        assert_eq!(
            stream.read(&mut [0; 8]).unwrap_err().raw_os_error(),
            Some(code)
        );
        assert_eq!(stream.write(b"y").unwrap_err().raw_os_error(), Some(code));
        let result = socket.send_to(b"y", socket.local_addr().unwrap());
        assert_eq!(result.unwrap_err().raw_os_error(), Some(code));
        registrator.register(&stream, 3, BOTH).unwrap();
        registrator.register(&socket, 4, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(3, true, true), (4, false, true)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
    counted.end();
}

// 4.2
#[test]
fn a_wait_that_is_interrupted_again_and_again_goes_on() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        fail(Call::Wait, libc::EINTR, 10_000);
        let timeout = Duration::from_millis(100);
        let begun = std::time::Instant::now();
        assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 0);
        assert!(begun.elapsed() >= timeout);
    }
    counted.end();
}

// 1, 4.7: out of descriptors at each of the calls that `Poll::new` makes.
#[test]
fn a_poll_that_cannot_be_made_leaves_no_descriptor() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit may be written for the length of the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    // The lowest number that is free, and whether there is one more.
    let free = fs::File::open("/dev/null").unwrap().as_fd().as_raw_fd();
    for room in 0..2 {
        let low = libc::rlimit {
            rlim_cur: u64::try_from(free).unwrap() + room,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: the limit is read during the call only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &low) }, 0);
        let made = Poll::new();
        // SAFETY: as before.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        assert_eq!(made.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }
    Poll::new().unwrap();
    counted.end();
}

extern "C" fn ignore(_: libc::c_int) {}

// 3.3, 4.2: real signals hit every call of an exchange in small pieces, with buffers that are nearly always full.
#[test]
fn a_storm_of_signals_and_tiny_buffers_lose_nothing() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    // SAFETY: zero is a valid value of every field: no flags, so calls are interrupted, and no other signal masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler does nothing; the action is read during the call only.
    let result = unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    let total = effort(20_000);
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let exchange = thread::spawn(move || {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (near, far) = minimio_pair();
        SockRef::from(&near).set_send_buffer_size(1).unwrap();
        SockRef::from(&far).set_recv_buffer_size(1).unwrap();
        let (mut written, mut read) = (0, 0);
        let bytes: Vec<u8> = (0..=250).cycle().take(total).collect();
        registrator.register(&near, 1, WRITABLE).unwrap();
        registrator.register(&far, 2, READABLE).unwrap();
        while read < total {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                if event.id() == 1 {
                    let end = total.min(written + 5_000);
                    written += (&near).write(&bytes[written..end]).unwrap();
                    if written < total {
                        registrator.register(&near, 1, WRITABLE).unwrap();
                    }
                } else {
                    let mut buffer = [0; 3_000];
                    let count = (&far).read(&mut buffer).unwrap();
                    assert_eq!(buffer[..count], bytes[read..read + count]);
                    read += count;
                    registrator.register(&far, 2, READABLE).unwrap();
                }
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let mut signals = 0;
    while !over.load(Ordering::SeqCst) && !exchange.is_finished() {
        // SAFETY: the thread has not been joined, so its handle is good although it may have ended.
        let result = unsafe { libc::pthread_kill(exchange.as_pthread_t(), libc::SIGUSR2) };
        assert!(result == 0 || result == libc::ESRCH);
        signals += 1;
        thread::sleep(Duration::from_micros(50));
    }
    exchange.join().unwrap();
    println!("{signals} signals");
    counted.end();
}
