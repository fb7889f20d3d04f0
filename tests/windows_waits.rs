//! 3.5, 5, 9.5: waits for the end of a connect that somebody else began, and for handles of the user's, leave nothing behind,
//! whatever is dropped when.

#![cfg(all(windows, minimio_hooks))]
#![allow(clippy::unwrap_used)]

mod common;
mod under_way;

use std::io::{ErrorKind, Write};
use std::net;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    effort, expect_events, expect_no_events, handles, kind_of, until_done, watchdog, SetOnDrop,
    BOTH, HANG, READABLE, WRITABLE,
};
use minimio::hooks::windows::{delay_packets, live_operations, live_reapers, live_waits};
use minimio::hooks::{fail, Call};
use minimio::os::windows::Waitable;
use minimio::{Events, Poll, Registrator, TcpStream};
use under_way::{begun, bound, UnderWay};
use windows_sys::Win32::Networking::WinSock::WSAENOBUFS;
use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};

/// What the system opens at the first use of its thread pool, and of Winsock, and may open again for more threads.
const SPARE_HANDLES: u32 = 16;

/// Runs `body` alone in the process, some times (Wine 8 counts no handles: there the waits stand for them); the first time opens what stays. No operation may be left after any.
fn leaves_nothing(body: impl Fn(Poll, Registrator, Events)) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone: MutexGuard<'_, ()> = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _watchdog = watchdog();
    let mut before = u32::MAX - SPARE_HANDLES;
    for _ in 0..3 {
        let poll = Poll::new().unwrap();
        let registrator = poll.registrator();
        body(poll, registrator, Events::with_capacity(8));
        let end = Instant::now() + HANG;
        // A callback may be about to return.
        while live_operations() + live_reapers() + live_waits() > 0 {
            let live = (live_operations(), live_reapers(), live_waits());
            assert!(Instant::now() < end, "operations, reapers, waits: {live:?}");
            thread::sleep(Duration::from_millis(1));
        }
        while handles() > before + SPARE_HANDLES {
            let now = handles();
            assert!(Instant::now() < end, "{now} handles, {before} before");
            thread::sleep(Duration::from_millis(1));
        }
        before = before.min(handles());
    }
}

fn under_way() -> (TcpStream, UnderWayRest) {
    let under_way = UnderWay::new("127.0.0.1:0").unwrap();
    let UnderWay {
        socket,
        listener,
        others,
        ..
    } = under_way;
    let stream = TcpStream::from_std(socket.into()).unwrap();
    (stream, UnderWayRest { listener, others })
}

struct UnderWayRest {
    listener: Option<net::TcpListener>,
    others: Vec<socket2::Socket>,
}

impl UnderWayRest {
    fn end(self) -> Option<net::TcpStream> {
        UnderWay::end(self.listener, &self.others)
    }
}

/// As many handles as a run of the suite could not overlook.
const MANY: usize = 40;

// One wait at a time.
#[test]
fn a_registered_stream_waits_once() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (stream, rest) = under_way();
        for token in 0..3 {
            registrator.register(&stream, token, BOTH).unwrap();
            assert_eq!(live_operations(), 1);
        }
        expect_no_events(&mut poll, &mut events);
        match rest.end() {
            Some(_) => expect_events(&mut poll, &mut events, &[(2, false, true)]),
            None => expect_events(&mut poll, &mut events, &[(2, true, true)]),
        }
    });
}

// So many that a handle of each would be seen.
#[test]
fn streams_dropped_in_mid_connect_leave_nothing() {
    leaves_nothing(|_poll, registrator, _| {
        let under_way = UnderWay::new("127.0.0.1:0").unwrap();
        drop(under_way.socket);
        for _ in 0..MANY {
            let stream = TcpStream::from_std(begun(under_way.target).unwrap().into()).unwrap();
            registrator.register(&stream, 1, BOTH).unwrap();
            drop(stream);
        }
        assert_eq!(live_operations(), 0);
    });
}

#[test]
fn a_poll_dropped_in_mid_connect_leaves_nothing() {
    leaves_nothing(|poll, registrator, _| {
        let (mut stream, rest) = under_way();
        registrator.register(&stream, 1, BOTH).unwrap();
        drop(poll);
        assert_eq!(live_operations(), 0);
        if let Some(_peer) = rest.end() {
            assert_eq!(until_done(|| stream.write(b"hello")).unwrap(), 5);
        }
    });
}

#[test]
fn a_stream_given_back_in_mid_connect_leaves_nothing() {
    leaves_nothing(|_poll, registrator, _| {
        let (stream, _rest) = under_way();
        registrator.register(&stream, 1, BOTH).unwrap();
        stream.into_std().unwrap();
        assert_eq!(live_operations(), 0);
    });
}

// 2.4: nothing is armed, and the next registration goes on.
#[test]
fn a_wait_that_cannot_start_is_an_error_of_register() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (stream, rest) = under_way();
        fail(Call::Wait, WSAENOBUFS, 1);
        let refused = registrator.register(&stream, 1, BOTH).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(WSAENOBUFS));
        assert_eq!(live_operations(), 0);
        assert_eq!(kind_of(stream.peer_addr()), ErrorKind::NotConnected);
        let peer = rest.end();
        expect_no_events(&mut poll, &mut events);
        registrator.register(&stream, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        assert_eq!(stream.take_error().unwrap().is_none(), peer.is_some());
    });
}

#[test]
fn a_signal_whose_packet_comes_late_is_an_event() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let (stream, rest) = under_way();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        delay_packets(5);
        let peer = rest.end();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        delay_packets(0);
        assert_eq!(stream.take_error().unwrap().is_none(), peer.is_some());
    });
}

// The connect ends while all is dropped, in any order, with the callback in between.
#[test]
fn ends_that_race_with_drops_leave_nothing() {
    leaves_nothing(|poll, registrator, _| {
        let listener = minimio::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_refusing, nobody) = bound("127.0.0.1:0");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut poll = poll;
                let mut events = Events::with_capacity(8);
                while !stop.load(Ordering::SeqCst) {
                    poll.poll(&mut events, Some(Duration::from_millis(1)))
                        .unwrap();
                }
            });
            let _stop = SetOnDrop(&stop);
            for round in 0..effort(3) * MANY {
                let target = if round % 2 == 0 { address } else { nobody };
                let stream = TcpStream::from_std(begun(target).unwrap().into()).unwrap();
                registrator.register(&stream, round, BOTH).unwrap();
                match round % 5 {
                    0 => {}
                    1 => registrator.disarm(&stream, READABLE).unwrap(),
                    2 => drop(stream.take_error()),
                    3 => thread::yield_now(),
                    _ => {
                        drop(stream.into_std());
                        continue;
                    }
                }
                drop(stream);
                while let Ok(accepted) = listener.accept() {
                    drop(accepted);
                }
            }
        });
    });
}

// The same with the end of the `Poll`.
#[test]
fn ends_that_race_with_the_end_of_the_poll_leave_nothing() {
    leaves_nothing(|poll, registrator, _| {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams: Vec<_> = (0..MANY)
            .map(|token| {
                let stream = TcpStream::from_std(begun(address).unwrap().into()).unwrap();
                registrator.register(&stream, token, WRITABLE).unwrap();
                stream
            })
            .collect();
        let dropper = thread::spawn(move || drop(poll));
        for mut stream in streams {
            assert_eq!(until_done(|| stream.write(b"hello")).unwrap(), 5);
        }
        dropper.join().unwrap();
    });
}

/// An event object that is reset by the wait that it ends.
fn event() -> OwnedHandle {
    // SAFETY: no attributes and no name.
    let event = unsafe { CreateEventW(null(), 0, 0, null()) };
    assert!(!event.is_null());
    // SAFETY: it was made right now, and nobody else has it.
    unsafe { OwnedHandle::from_raw_handle(event) }
}

fn set(event: &OwnedHandle) {
    // SAFETY: the handle is open, being borrowed.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn armed(registrator: &Registrator, count: usize) -> Vec<Waitable<OwnedHandle>> {
    let arm = |token| {
        let object = Waitable::new(event());
        registrator.register(&object, token, READABLE).unwrap();
        object
    };
    (0..count).map(arm).collect()
}

// One wait at a time.
#[test]
fn a_registered_handle_waits_once() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let object = Waitable::new(event());
        for token in 0..3 {
            registrator.register(&object, token, READABLE).unwrap();
            assert_eq!(live_operations(), 1);
        }
        set(object.get());
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
        assert_eq!(live_operations(), 0);
        registrator.register(&object, 3, READABLE).unwrap();
        registrator.deregister(&object).unwrap();
        assert_eq!(live_operations(), 0);
    });
}

#[test]
fn handles_dropped_while_they_are_waited_for_leave_nothing() {
    leaves_nothing(|_poll, registrator, _| {
        drop(armed(&registrator, MANY));
        assert_eq!(live_operations(), 0);
    });
}

// The signals come while all is dropped, in any order.
#[test]
fn signals_that_race_with_drops_leave_nothing() {
    for poll_first in [false, true] {
        leaves_nothing(|poll, registrator, _| {
            let objects = armed(&registrator, effort(3) * MANY);
            let mine = |object: &Waitable<OwnedHandle>| object.get().try_clone().unwrap();
            let all: Vec<_> = objects.iter().map(mine).collect();
            let setter = thread::spawn(move || all.iter().for_each(set));
            if poll_first {
                drop(poll);
                drop(objects);
            } else {
                drop(objects);
                drop(poll);
            }
            setter.join().unwrap();
        });
    }
}

// 2.4: what was taken is told to the next registration.
#[test]
fn a_wait_that_is_refused_is_an_error_of_register() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let object = Waitable::new(event());
        fail(Call::Wait, WSAENOBUFS, 1);
        let refused = registrator.register(&object, 1, READABLE).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(WSAENOBUFS));
        assert_eq!(live_operations(), 0);
        set(object.get());
        expect_no_events(&mut poll, &mut events);
        // The note needs no packet, since nobody waits.
        fail(Call::Post, WSAENOBUFS, 1);
        registrator.register(&object, 2, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
    });
}

#[test]
fn a_handle_whose_packet_comes_late_is_an_event() {
    leaves_nothing(|mut poll, registrator, mut events| {
        let object = Waitable::new(event());
        registrator.register(&object, 1, READABLE).unwrap();
        delay_packets(5);
        set(object.get());
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        delay_packets(0);
    });
}
