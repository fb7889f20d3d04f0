//! System calls that fail as they can: the contract still holds after each, and nothing leaks.

#![cfg(all(minimio_hooks, unix))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::ends::{suite, DatagramEnd, DatagramPeer, Family, ListenerEnd, StreamEnd};
use common::{
    descriptors, effort, expect_events, expect_no_events, minimio_pair, watchdog, BOTH, READABLE,
    WRITABLE,
};
use minimio::hooks::{fail, shorten, Call};
use minimio::{Events, Poll};
use socket2::SockRef;

static ALONE: Mutex<()> = Mutex::new(());

/// Counts the descriptors at its beginning and at its end. One test at a time, since they are the process's.
struct Counted {
    before: usize,
    _alone: MutexGuard<'static, ()>,
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
fn a_first_registration_that_fails_leaves_nothing_and_can_be_tried_again<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [libc::ENOSPC, libc::ENOMEM] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = S::pair();
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
fn a_registration_that_fails_leaves_armed_what_was<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = S::pair();
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
fn a_refused_silence_disarms_nothing<D: DatagramEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let socket = D::bind();
        let peer = D::Peer::bind_of(0);
        registrator.register(&socket, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        // Each datagram that was sent is an edge which nobody wants.
        fail(Call::WatchAnew, libc::ENOMEM, 1);
        socket.send_to(b"x", &peer.address()).unwrap();
        expect_no_events(&mut poll, &mut events);
        peer.send_to(b"y", &socket.address()).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
    }
    counted.end();
}

// 4.1: what does not fit cannot be asked for again. It stays armed, and comes after the next registration.
fn what_does_not_fit_stays_armed_when_the_kernel_refuses<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(1);
        let registrator = poll.registrator();
        let (stream, mut peer) = S::pair();
        peer.write_all(b"x").unwrap();
        common::await_bytes(&stream, 1);
        registrator.register(&stream, 1, READABLE).unwrap();
        registrator.register(&stream, 2, WRITABLE).unwrap();
        fail(Call::WatchAnew, libc::ENOMEM, 1);
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        // Where a direction is a filter of its own, nothing had to be asked for again.
        fail(Call::WatchAnew, 0, 0);
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
fn a_failed_accept_is_one_error_and_the_connection_waits<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [libc::EMFILE, libc::ENOBUFS, libc::EPROTO] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (listener, address) = L::bind();
        registrator.register(&listener, 1, READABLE).unwrap();
        let _client = L::connect(&address);
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

// 6.7: as FreeBSD reports connections that were reset while they waited.
fn an_accept_passes_over_64_aborted_connections_and_the_next_is_reported<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (listener, address) = L::bind();
        registrator.register(&listener, 1, READABLE).unwrap();
        let _client = L::connect(&address);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        fail(Call::Accept, libc::ECONNABORTED, 64 + 63);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        registrator.register(&listener, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        listener.accept().unwrap();
        registrator.register(&listener, 3, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
    counted.end();
}

// 3.2: an error of a call says nothing of what the kernel owes.
fn a_call_that_fails_loses_no_event<F: Family>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for code in [libc::ENOBUFS, libc::ENOMEM, libc::EINTR] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = F::Stream::pair();
        let socket = F::Datagram::bind();
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
        let result = socket.send_to(b"y", &socket.address());
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
    // The lowest number that is free, and with room for as many more, until it is enough: a system's queue may be one
    // descriptor, and what wakes it one or two more.
    let free = fs::File::open("/dev/null").unwrap().as_fd().as_raw_fd();
    let before = descriptors();
    for room in 0.. {
        let low = libc::rlimit {
            // Signed on FreeBSD and DragonFly, where the conversion cannot fail.
            #[allow(clippy::unnecessary_fallible_conversions)]
            rlim_cur: libc::rlim_t::try_from(free + room).unwrap(),
            rlim_max: limit.rlim_max,
        };
        // SAFETY: the limit is read during the call only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &low) }, 0);
        let made = Poll::new();
        // SAFETY: as before.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        match made {
            Ok(_) => {
                assert!((1..4).contains(&room), "{room} descriptors");
                break;
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
        }
        assert_eq!(descriptors(), before, "{room} descriptors");
    }
    counted.end();
}

/// Reads with room for 10 bytes, in one buffer or in four.
fn read_ten<S: StreamEnd>(stream: &S, vectored: bool) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    let count = if vectored {
        let (first, rest) = bytes.split_at_mut(2);
        let (second, third) = rest.split_at_mut(4);
        let mut buffers = [first, &mut [], second, third].map(IoSliceMut::new);
        stream.read_vectored(&mut buffers).unwrap()
    } else {
        stream.read(&mut bytes).unwrap()
    };
    bytes.truncate(count);
    bytes
}

fn write_in<S: StreamEnd>(stream: &S, bytes: &[u8], vectored: bool) -> usize {
    if vectored {
        let (first, second) = bytes.split_at(bytes.len().min(2));
        let buffers = [first, &[], second].map(IoSlice::new);
        stream.write_vectored(&buffers).unwrap()
    } else {
        stream.write(bytes).unwrap()
    }
}

// 6.1, 2.3: as many bytes as the system was asked for, though fewer than the user asked for, prove no end of them.
fn a_receive_that_was_handed_less_than_the_buffer_is_no_drain<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for vectored in [false, true] {
        for most in 1..9 {
            let (mut poll, mut events) = poll_and_events();
            let registrator = poll.registrator();
            let (stream, mut peer) = S::pair();
            peer.write_all(b"0123456789").unwrap();
            common::await_bytes(&stream, 10);
            let mut read = Vec::new();
            while read.len() < 10 {
                registrator.register(&stream, 1, READABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(1, true, false)]);
                shorten(Call::Receive, most, 1);
                let got = read_ten(&stream, vectored);
                assert_eq!(got.len(), most.min(10 - read.len()));
                read.extend(got);
            }
            assert_eq!(read, b"0123456789");
            registrator.register(&stream, 1, READABLE).unwrap();
            expect_no_events(&mut poll, &mut events);
        }
    }
    counted.end();
}

// 6.1, 2.3: the same for room.
fn a_send_that_was_handed_less_than_the_buffer_does_not_mean_full<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for vectored in [false, true] {
        for most in 1..9 {
            let (mut poll, mut events) = poll_and_events();
            let registrator = poll.registrator();
            let (stream, mut peer) = S::pair();
            let mut written = 0;
            while written < 10 {
                registrator.register(&stream, 1, WRITABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(1, false, true)]);
                shorten(Call::Send, most, 1);
                let count = write_in(&stream, &b"0123456789"[written..], vectored);
                assert_eq!(count, most.min(10 - written));
                written += count;
            }
            let mut bytes = [0; 10];
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"0123456789");
        }
    }
    counted.end();
}

// 6.1: and where the system itself moved less than it was handed, the drain is one, however short the hand-out was.
fn what_a_shortened_call_did_not_find_is_still_owed<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for vectored in [false, true] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (stream, mut peer) = S::pair();
        registrator.register(&stream, 1, READABLE).unwrap();
        for byte in 0..20 {
            peer.write_all(&[byte]).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            shorten(Call::Receive, 3, 1);
            assert_eq!(read_ten(&stream, vectored), [byte]);
            // It is the budget (6.3): an owed direction is armed without a call, which would fail.
            fail(Call::WatchAnew, libc::ENOMEM, 1);
            registrator.register(&stream, 1, READABLE).unwrap();
            fail(Call::WatchAnew, 0, 0);
        }
        expect_no_events(&mut poll, &mut events);
    }
    counted.end();
}

// 3.3, 6.1: an exchange both ways in which every call is cut to a length of its own.
fn an_exchange_of_shortened_calls_loses_nothing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    for vectored in [false, true] {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (near, far) = S::two();
        let total = S::effort(5_000);
        let bytes: Vec<u8> = (0..=250).cycle().take(total).collect();
        let (mut written, mut read) = ([0; 2], [0; 2]);
        let ends = [&near, &far];
        for (end, stream) in ends.into_iter().enumerate() {
            registrator.register(stream, end, BOTH).unwrap();
        }
        let mut round = 0;
        while read != [total; 2] {
            let count = poll.poll(&mut events, Some(common::HANG)).unwrap();
            assert_ne!(count, 0, "lost: {written:?} written, {read:?} read");
            for event in &events {
                let end = event.id();
                let stream = ends[end];
                round += 1;
                if event.is_writable() && written[end] < total {
                    shorten(Call::Send, round % 11, 1);
                    let until = total.min(written[end] + 9);
                    written[end] += write_in(stream, &bytes[written[end]..until], vectored);
                    if written[end] < total {
                        registrator.register(stream, end, WRITABLE).unwrap();
                    }
                }
                if event.is_readable() {
                    shorten(Call::Receive, round % 13, 1);
                    let got = read_ten(stream, vectored);
                    assert_eq!(got, bytes[read[end]..read[end] + got.len()]);
                    read[end] += got.len();
                    registrator.register(stream, end, READABLE).unwrap();
                }
            }
        }
    }
    counted.end();
}

// 2.3, 6.1: a datagram or a connection is one, and says nothing of the next, however much room there was.
fn one_datagram_and_one_accept_are_no_drain<F: Family>() {
    let _watchdog = watchdog();
    let counted = Counted::begin();
    {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let socket = F::Datagram::bind();
        let peer = <F::Datagram as DatagramEnd>::Peer::bind_of(0);
        let (listener, address) = F::Listener::bind();
        // Streams alone are shortened; a datagram is whole or cut by the user's buffer.
        shorten(Call::Receive, 1, usize::MAX);
        shorten(Call::Send, 1, usize::MAX);
        let mut clients = Vec::new();
        for _ in 0..3 {
            peer.send_to(b"abc", &socket.address()).unwrap();
            clients.push(F::Listener::connect(&address));
        }
        for _ in 0..3 {
            registrator.register(&socket, 1, READABLE).unwrap();
            registrator.register(&listener, 2, READABLE).unwrap();
            expect_events(
                &mut poll,
                &mut events,
                &[(1, true, false), (2, true, false)],
            );
            assert_eq!(socket.recv_from(&mut [0; 64]).unwrap().0, 3);
            listener.accept().unwrap();
        }
        registrator.register(&socket, 1, READABLE).unwrap();
        registrator.register(&listener, 2, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        let there = peer.address();
        assert_eq!(socket.send_to(b"whole", &there).unwrap(), 5);
    }
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
    // Made before the storm: std's `connect`, interrupted, begins anew, and a BSD says that it is under way already.
    let (near, far) = minimio_pair();
    // Linux raises this to what it thinks the least; on a BSD one byte would be one byte.
    SockRef::from(&near).set_send_buffer_size(4_096).unwrap();
    SockRef::from(&far).set_recv_buffer_size(4_096).unwrap();
    let exchange = thread::spawn(move || {
        let (mut poll, mut events) = poll_and_events();
        let registrator = poll.registrator();
        let (mut written, mut read) = (0, 0);
        let bytes: Vec<u8> = (0..=250).cycle().take(total).collect();
        registrator.register(&near, 1, WRITABLE).unwrap();
        registrator.register(&far, 2, READABLE).unwrap();
        while read < total {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                if event.id() == 1 {
                    let end = total.min(written + 5_000);
                    written += near.write(&bytes[written..end]).unwrap();
                    if written < total {
                        registrator.register(&near, 1, WRITABLE).unwrap();
                    }
                } else {
                    let mut buffer = [0; 3_000];
                    let count = far.read(&mut buffer).unwrap();
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

suite! {
    streams {
        a_first_registration_that_fails_leaves_nothing_and_can_be_tried_again,
        a_registration_that_fails_leaves_armed_what_was,
        what_does_not_fit_stays_armed_when_the_kernel_refuses,
        an_exchange_of_shortened_calls_loses_nothing,
    }
    reading {
        a_receive_that_was_handed_less_than_the_buffer_is_no_drain,
        what_a_shortened_call_did_not_find_is_still_owed,
    }
    writing {
        a_send_that_was_handed_less_than_the_buffer_does_not_mean_full,
    }
    listeners {
        a_failed_accept_is_one_error_and_the_connection_waits,
        an_accept_passes_over_64_aborted_connections_and_the_next_is_reported,
    }
    datagrams {
        a_refused_silence_disarms_nothing,
    }
    families {
        a_call_that_fails_loses_no_event,
        one_datagram_and_one_accept_are_no_drain,
    }
}
