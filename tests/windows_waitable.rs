//! Handles that are waited for. Contract: 9.5.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod children;
mod common;

use std::io::{self, ErrorKind};
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle, RawHandle,
};
use std::process::Stdio;
use std::ptr::{null, null_mut};
use std::thread;
use std::time::{Duration, Instant};

use children::child;
use common::{
    await_that, effort, expect_events, expect_no_events, expect_nothing_queued, kind_of,
    let_it_block, said, under_wine, watchdog, Said, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::os::windows::Waitable;
use minimio::{Events, Interests, Poll, Registrator};
use windows_sys::Win32::Foundation::{
    CloseHandle, DuplicateHandle, ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE, HANDLE,
    INVALID_HANDLE_VALUE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Memory::{CreateFileMappingW, PAGE_READWRITE};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateSemaphoreW, CreateWaitableTimerW, GetCurrentProcess, ReleaseSemaphore,
    ResetEvent, SetEvent, SetWaitableTimer, WaitForSingleObject,
};

#[test]
fn a_child_does_its_job() {
    children::job();
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn owned(handle: HANDLE) -> OwnedHandle {
    assert!(!handle.is_null());
    // SAFETY: it was made for this call, and nobody else has it.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

fn event(manual_reset: bool) -> OwnedHandle {
    // SAFETY: no attributes and no name.
    owned(unsafe { CreateEventW(null(), manual_reset.into(), 0, null()) })
}

fn semaphore() -> OwnedHandle {
    // SAFETY: no attributes and no name.
    owned(unsafe { CreateSemaphoreW(null(), 0, 1_000_000, null()) })
}

fn set(event: &impl AsHandle) {
    // SAFETY: the handle is open, being borrowed.
    assert_ne!(unsafe { SetEvent(event.as_handle().as_raw_handle()) }, 0);
}

fn reset(event: &impl AsHandle) {
    // SAFETY: the handle is open, being borrowed.
    assert_ne!(unsafe { ResetEvent(event.as_handle().as_raw_handle()) }, 0);
}

fn release(semaphore: &impl AsHandle, count: i32) {
    let handle = semaphore.as_handle().as_raw_handle();
    // SAFETY: the handle is open, being borrowed.
    assert_ne!(unsafe { ReleaseSemaphore(handle, count, null_mut()) }, 0);
}

/// Whether the object is signalled. What a wait takes is taken.
fn is_signalled(object: &impl AsHandle) -> bool {
    // SAFETY: the handle is open, being borrowed.
    match unsafe { WaitForSingleObject(object.as_handle().as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        other => panic!("{other}"),
    }
}

#[test]
fn a_manual_reset_event_fires_for_each_registration_until_it_is_reset() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(event(true));
    registrator.register(&object, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    set(&object);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_no_events(&mut poll, &mut events);
    for token in 2..5 {
        registrator.register(&object, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    reset(object.get());
    registrator.register(&object, 5, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    set(object.get());
    expect_events(&mut poll, &mut events, &[(5, true, false)]);
}

#[test]
fn an_auto_reset_event_gives_one_event_for_each_signal() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(event(false));
    for token in 0..effort(50) {
        let before = token % 2 == 0;
        if before {
            set(&object);
        }
        registrator.register(&object, token, READABLE).unwrap();
        if !before {
            set(&object);
        }
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert!(!is_signalled(&object), "the event has taken it");
    }
    registrator.register(&object, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

#[test]
fn a_semaphore_gives_as_many_events_as_it_was_released() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(semaphore());
    release(&object, 3);
    for token in 0..3 {
        registrator.register(&object, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    registrator.register(&object, 3, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    release(&object, 2);
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    registrator.register(&object, 4, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(4, true, false)]);
    assert!(!is_signalled(&object));
}

/// Registrations are taken back all the time, on one thread, while another releases: what a wait has taken is told later.
///
/// The pool of Wine 8 forgets a signal that it takes while the wait is unregistered. It says so if `WINEDEBUG` is
/// `warn+threadpool` ("triggered while object was destroyed"), and the call says that the wait has ended.
#[test]
fn no_signal_is_lost_between_disarming_and_registering() {
    /// Long enough for a signal to come on a busy machine.
    const LONG: Duration = Duration::from_secs(10);
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(semaphore());
    let count = effort(300);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..count {
                release(&object, 1);
                if round % 3 == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut told, mut forgotten) = (0, 0);
        let mut round = 0;
        while told + forgotten < count {
            registrator.register(&object, round, READABLE).unwrap();
            if round % 2 == 0 {
                registrator.deregister(&object).unwrap();
                registrator.register(&object, round, READABLE).unwrap();
            }
            let limit = match (round % 5, under_wine()) {
                (0, _) => Duration::ZERO,
                (_, true) => LONG,
                (_, false) => HANG,
            };
            if poll.poll(&mut events, Some(limit)).unwrap() == 0 && limit == LONG {
                forgotten += 1;
                assert!(forgotten * 20 <= count, "{told} of {count}");
            }
            for one in said(&events) {
                assert_eq!(one, Said::Readable(round));
                told += 1;
            }
            round += 1;
        }
    });
    registrator.register(&object, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    assert!(!is_signalled(&object));
}

#[test]
fn the_end_of_a_thread_is_an_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = Waitable::new(thread::spawn(move || {
        assert!(wait.recv().is_err());
        7
    }));
    registrator.register(&thread, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(go);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(thread.into_inner().join().unwrap(), 7);
}

#[test]
fn the_end_of_a_process_is_an_event() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut started = child("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = started.as_handle().try_clone_to_owned().unwrap();
    let process = Waitable::new(process);
    registrator.register(&process, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(started.stdin.take());
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert!(started.wait().unwrap().success());
}

#[test]
fn a_timer_fires_when_its_time_has_come() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    // SAFETY: no attributes and no name.
    let timer = Waitable::new(owned(unsafe { CreateWaitableTimerW(null(), 1, null()) }));
    registrator.register(&timer, 1, READABLE).unwrap();
    let begin = Instant::now();
    // In units of 100 ns; negative numbers count from now.
    let due = -500_000_i64;
    let handle = timer.as_handle().as_raw_handle();
    // SAFETY: the handle is open, and the time is read during the call. There is no routine.
    let started = unsafe { SetWaitableTimer(handle, &due, 0, None, null(), 0) };
    assert_ne!(started, 0);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // The clock of the system ticks every 16 ms.
    assert!(begin.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_source_dropped_while_armed_tells_nothing_and_takes_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mine = event(false);
    for round in 0..effort(50) {
        let object = Waitable::new(mine.try_clone().unwrap());
        registrator.register(&object, round, READABLE).unwrap();
        drop(object);
    }
    set(&mine);
    expect_no_events(&mut poll, &mut events);
    assert!(is_signalled(&mine), "somebody still waits");
    expect_nothing_queued(&mut poll, &mut events);
}

#[test]
fn a_disarmed_source_leaves_the_signal_and_can_be_armed_again() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(event(false));
    registrator.register(&object, 1, READABLE).unwrap();
    registrator.disarm(&object, READABLE).unwrap();
    set(&object);
    expect_no_events(&mut poll, &mut events);
    assert!(is_signalled(&object));
    registrator.register(&object, 2, READABLE).unwrap();
    registrator.register(&object, 3, READABLE).unwrap();
    set(&object);
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

/// A signal that has come and was not polled for yet is not lost by a disarming.
#[test]
fn a_signal_that_was_taken_is_kept_for_the_next_registration() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(event(false));
    registrator.register(&object, 1, READABLE).unwrap();
    set(&object);
    // Until the wait has taken it. What this test takes itself is given back.
    await_that("the wait takes it", || {
        let left = is_signalled(&object);
        if left {
            set(&object);
            let_it_block();
        }
        !left
    });
    // The pool of Wine 8 would forget it (see above) until its thread has handled it. That is so once it has handled another.
    let (mut other_poll, other_registrator, mut other_events) = queue();
    let other = Waitable::new(event(false));
    other_registrator.register(&other, 9, READABLE).unwrap();
    let_it_block();
    set(&other);
    expect_events(&mut other_poll, &mut other_events, &[(9, true, false)]);

    registrator.deregister(&object).unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.register(&object, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    registrator.register(&object, 3, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

/// A handle that is closed behind the borrow checker's back.
struct Careless(RawHandle);

// SAFETY: it is a number.
unsafe impl Send for Careless {}
// SAFETY: it is a number.
unsafe impl Sync for Careless {}

impl AsHandle for Careless {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: it need not be true: what is tested is what happens then.
        unsafe { BorrowedHandle::borrow_raw(self.0) }
    }
}

#[test]
fn the_users_handle_may_be_closed_while_the_wait_is_on() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mine = event(false);
    let number = mine.try_clone().unwrap();
    let object = Waitable::new(Careless(number.as_raw_handle()));
    registrator.register(&object, 1, READABLE).unwrap();
    drop(number);
    set(&mine);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // Its number may be another test's by now, so it is not registered again.
    expect_no_events(&mut poll, &mut events);
}

fn code_of(result: io::Result<()>) -> u32 {
    let code = result.unwrap_err().raw_os_error().unwrap();
    u32::try_from(code).unwrap()
}

#[test]
fn what_cannot_be_waited_for_is_an_error_of_register() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let none = Waitable::new(Careless(0x7ffc as RawHandle));
    let refused = registrator.register(&none, 1, READABLE);
    assert_eq!(code_of(refused), ERROR_INVALID_HANDLE);

    // One that may only be set.
    const EVENT_MODIFY_STATE: u32 = 2;
    let all = event(true);
    let mut limited: HANDLE = null_mut();
    // SAFETY: it takes nothing.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is open, and there is room for the other one.
    let duplicated = unsafe {
        let limited = &mut limited;
        DuplicateHandle(
            this,
            all.as_raw_handle(),
            this,
            limited,
            EVENT_MODIFY_STATE,
            0,
            0,
        )
    };
    assert_ne!(duplicated, 0);
    let limited = Waitable::new(owned(limited));
    let refused = registrator.register(&limited, 2, READABLE);
    assert_eq!(code_of(refused), ERROR_ACCESS_DENIED);

    // A piece of shared memory is no object that can be signalled.
    // SAFETY: no file, no attributes and no name.
    let memory = owned(unsafe {
        CreateFileMappingW(
            INVALID_HANDLE_VALUE,
            null(),
            PAGE_READWRITE,
            0,
            4096,
            null(),
        )
    });
    let memory = Waitable::new(memory);
    let refused = registrator.register(&memory, 3, READABLE);
    // Whichever the system looks at first: the sort of the object, or what may be done with it.
    let codes = [ERROR_INVALID_HANDLE, ERROR_ACCESS_DENIED];
    assert!(codes.contains(&code_of(refused)));

    set(&all);
    expect_no_events(&mut poll, &mut events);
}

#[test]
fn two_hundred_waits_at_once_all_come() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(7);
    let objects: Vec<_> = (0..200).map(|_| Waitable::new(event(false))).collect();
    for (token, object) in objects.iter().enumerate() {
        registrator.register(object, token, READABLE).unwrap();
    }
    objects.iter().for_each(set);
    let mut told = vec![false; objects.len()];
    while told.contains(&false) {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        for one in said(&events) {
            let Said::Readable(token) = one else {
                panic!("{one:?}");
            };
            assert!(!std::mem::replace(&mut told[token], true), "twice: {token}");
        }
    }
    expect_nothing_queued(&mut poll, &mut events);
}

/// One place in the batch, and more signals than that.
#[test]
fn signals_that_do_not_fit_come_with_the_next_poll() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(1);
    let objects: Vec<_> = (0..10).map(|_| Waitable::new(semaphore())).collect();
    for object in &objects {
        release(object, 2);
    }
    for round in 0..2 {
        for (token, object) in objects.iter().enumerate() {
            registrator.register(object, token, READABLE).unwrap();
        }
        let mut tokens: Vec<_> = (0..objects.len())
            .map(|_| {
                assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
                said(&events)[0]
            })
            .collect();
        tokens.sort_by_key(|one| match one {
            Said::Readable(token) => *token,
            other => panic!("{other:?}, round {round}"),
        });
        tokens.dedup();
        assert_eq!(tokens.len(), objects.len());
    }
}

#[test]
fn a_source_belongs_to_one_poll_and_is_never_writable() {
    let _watchdog = watchdog();
    let (_poll, registrator, _) = queue();
    let other = Poll::new().unwrap().registrator();
    let other_poll = Poll::new().unwrap();
    let object = Waitable::new(event(true));
    assert_eq!(
        kind_of(registrator.deregister(&object)),
        ErrorKind::NotFound
    );
    for interests in [WRITABLE, BOTH, Interests::empty()] {
        let refused = registrator.register(&object, 1, interests);
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
    }
    registrator.register(&object, 1, READABLE).unwrap();
    let refused = other_poll.registrator().register(&object, 1, READABLE);
    assert_eq!(kind_of(refused), ErrorKind::AlreadyExists);
    assert!(minimio::is_closed(
        &other.register(&object, 1, READABLE).unwrap_err()
    ));
    assert!(format!("{object:?}").starts_with("Waitable("));
}

#[test]
fn a_closed_loop_hands_out_what_was_signalled_and_ends() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let object = Waitable::new(event(true));
    set(&object);
    registrator.register(&object, 1, READABLE).unwrap();
    registrator.close_loop().unwrap();
    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    assert_eq!(said(&events), [Said::Readable(1)]);
    let ended = poll.poll(&mut events, None).unwrap_err();
    assert!(minimio::is_closed(&ended));
    drop(poll);
    drop(object.into_inner());
}

/// Another thread signals, drops and disarms while this one polls.
#[test]
fn threads_share_waits() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let count = effort(100);
    thread::scope(|scope| {
        let registrator = &registrator;
        scope.spawn(move || {
            for round in 0..count {
                let object = Waitable::new(event(round % 2 == 0));
                registrator.register(&object, round, READABLE).unwrap();
                set(&object);
                match round % 4 {
                    0 => drop(object),
                    1 => registrator.deregister(&object).unwrap(),
                    2 => registrator.register(&object, round, READABLE).unwrap(),
                    _ => thread::yield_now(),
                }
            }
            registrator.wake(usize::MAX).unwrap();
        });
        'polling: loop {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                match one {
                    Said::Wake(usize::MAX) => break 'polling,
                    Said::Readable(round) => assert!(round < count),
                    other => panic!("{other:?}"),
                }
            }
        }
    });
}

/// The handle of a source is closed by its owner alone.
#[test]
fn into_inner_gives_the_same_handle_back() {
    let _watchdog = watchdog();
    let (_poll, registrator, _) = queue();
    let mine = event(false);
    let number = mine.as_raw_handle();
    let object = Waitable::new(mine);
    registrator.register(&object, 1, READABLE).unwrap();
    let mine = object.into_inner();
    assert_eq!(mine.as_raw_handle(), number);
    set(&mine);
    assert!(is_signalled(&mine), "nobody waits for it any more");
    let number = mine.into_raw_handle();
    // SAFETY: it is ours, and this is its last use.
    assert_ne!(unsafe { CloseHandle(number) }, 0, "it was open");
}
