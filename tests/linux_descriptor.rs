//! `os::unix::Descriptor` over what only Linux has. Contract: 9.1.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, watchdog, HANG,
    READABLE, WRITABLE,
};
use minimio::os::unix::Descriptor;
use minimio::{Events, Poll, Registrator};
use socket2::SockRef;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// Takes over a descriptor that a call has made.
fn made(result: i32) -> File {
    assert_ne!(result, -1, "{}", io::Error::last_os_error());
    // SAFETY: the call has just made it for us.
    File::from(unsafe { OwnedFd::from_raw_fd(result) })
}

fn eventfd() -> Descriptor<File> {
    // SAFETY: numbers only.
    Descriptor::new(made(unsafe {
        libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)
    }))
}

#[test]
fn an_eventfd_tells_of_each_count() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut counter = eventfd();
    for round in 1..effort(1_000) {
        registrator.register(&counter, round, READABLE).unwrap();
        counter.write_all(&1u64.to_ne_bytes()).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        // Sometimes it is read, sometimes the next one adds to it.
        if round % 3 != 0 {
            let mut count = [0; 8];
            counter.read_exact(&mut count).unwrap();
            assert!(u64::from_ne_bytes(count) >= 1);
            assert_eq!(kind_of(counter.read(&mut count)), ErrorKind::WouldBlock);
        }
    }
    registrator.register(&counter, 0, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(0, false, true)]);
}

fn timerfd() -> Descriptor<File> {
    // SAFETY: numbers only.
    Descriptor::new(made(unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
        )
    }))
}

/// The first time in `first`, and then each `interval`; with both zero, never.
fn set_timer(timer: &Descriptor<File>, first: Duration, interval: Duration) {
    let spec = |time: Duration| libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap(),
        // It is 32 or 64 bits long, and large enough either way.
        tv_nsec: time.subsec_nanos() as libc::c_long,
    };
    let times = libc::itimerspec {
        it_value: spec(first),
        it_interval: spec(interval),
    };
    // SAFETY: the times are readable; the old ones are not asked for.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &times, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_timer_of_a_millisecond_tells_of_each_time_that_is_read() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut timer = timerfd();
    let began = Instant::now();
    set_timer(&timer, Duration::from_millis(1), Duration::from_millis(1));
    let rounds = effort(200);
    let mut ticks = 0;
    for round in 0..rounds {
        registrator.register(&timer, round, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut count = [0; 8];
        timer.read_exact(&mut count).unwrap();
        ticks += u64::from_ne_bytes(count);
    }
    assert!(u128::from(ticks) <= began.elapsed().as_millis());
}

#[test]
fn a_timer_that_is_not_read_is_told_to_each_registration() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let timer = timerfd();
    set_timer(&timer, Duration::from_millis(1), Duration::ZERO);
    for round in 0..5 {
        registrator.register(&timer, round, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
    }
    // To set it anew makes it unready.
    registrator.register(&timer, 9, READABLE).unwrap();
    set_timer(&timer, Duration::from_secs(3_600), Duration::ZERO);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    registrator.register(&timer, 10, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

/// The set of one signal.
fn signal_set(signal: i32) -> libc::sigset_t {
    // SAFETY: all zeroes is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable.
    unsafe { libc::sigemptyset(&mut set) };
    // SAFETY: the same; the signal exists.
    unsafe { libc::sigaddset(&mut set, signal) };
    set
}

#[test]
fn a_signalfd_tells_of_each_signal() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let set = signal_set(libc::SIGURG);
    // SAFETY: the set is readable; the old one is not asked for.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    assert_eq!(blocked, 0);
    // SAFETY: the set is readable.
    let mut signals = Descriptor::new(made(unsafe {
        libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
    }));
    for round in 0..effort(200) {
        registrator.register(&signals, round, READABLE).unwrap();
        // SAFETY: the signal is blocked on this thread, to which it is sent.
        let sent = unsafe { libc::raise(libc::SIGURG) };
        assert_eq!(sent, 0);
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut record = [0; std::mem::size_of::<libc::signalfd_siginfo>()];
        signals.read_exact(&mut record).unwrap();
        assert_eq!(record[..4], libc::SIGURG.to_ne_bytes());
        assert_eq!(kind_of(signals.read(&mut record)), ErrorKind::WouldBlock);
    }
}

#[test]
fn inotify_tells_of_each_change() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let folder = std::env::temp_dir().join(format!("minimio-inotify-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // SAFETY: numbers only.
    let changes = Descriptor::new(made(unsafe {
        libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC)
    }));
    let name = std::ffi::CString::new(folder.to_str().unwrap()).unwrap();
    // SAFETY: the name is readable and ends in 0.
    let watch =
        unsafe { libc::inotify_add_watch(changes.as_raw_fd(), name.as_ptr(), libc::IN_CREATE) };
    assert!(watch >= 0);
    for round in 0..effort(100) {
        registrator.register(&changes, round, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        File::create(folder.join(format!("file-{round}"))).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut records = [0; 4096];
        assert!(changes.read(&mut records).unwrap() > 0);
        // A short read proves nothing, but here it was all.
        assert_eq!(kind_of(changes.read(&mut records)), ErrorKind::WouldBlock);
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn pidfd_of(id: u32) -> io::Result<File> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it for us.
    Ok(unsafe { File::from_raw_fd(RawFd::try_from(fd).unwrap()) })
}

#[test]
fn a_pidfd_tells_of_the_end_of_a_process() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let Ok(pidfd) = pidfd_of(child.id()) else {
        // Before Linux 5.3, or in a sandbox, there is none.
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    };
    let pidfd = Descriptor::new(pidfd);
    registrator.register(&pidfd, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(child.stdin.take());
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // It has ended for good, reaped or not.
    registrator.register(&pidfd, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert!(child.try_wait().unwrap().is_some());
    registrator.register(&pidfd, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
}

/// Files of `/proc` tell of changes by urgent data alone, which a look by `poll(2)` would take away.
#[test]
fn a_list_of_mounts_can_be_watched() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mounts = Descriptor::new(File::open("/proc/self/mounts").unwrap());
    // It is always readable.
    for round in 0..3 {
        registrator.register(&mounts, round, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
    }
}

// Both calls that wait are used: one for no time limit, the other for one.
#[test]
fn urgent_data_alone_is_an_edge() {
    let _watchdog = watchdog();
    for timeout in [None, Some(HANG)] {
        let (mut poll, registrator, mut events) = queue();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Descriptor::with_edges(listener.accept().unwrap().0);
        registrator.register(&stream, 1, READABLE).unwrap();
        for _ in 0..3 {
            SockRef::from(&peer).send_out_of_band(b"!").unwrap();
            assert_eq!(poll.poll(&mut events, timeout).unwrap(), 1);
            let event = *events.iter().next().unwrap();
            assert!(event.is_priority() && event.is_readable());
            let mut byte = [MaybeUninit::uninit()];
            let taken = SockRef::from(stream.get()).recv_out_of_band(&mut byte);
            assert_eq!(taken.unwrap(), 1);
        }
        registrator.disarm(&stream, READABLE).unwrap();
        SockRef::from(&peer).send_out_of_band(b"!").unwrap();
        expect_no_events(&mut poll, &mut events);
    }
}

#[test]
fn what_linux_cannot_watch_is_an_error_of_the_registration() {
    let registrator = Poll::new().unwrap().registrator();
    for name in [
        "/dev/null",
        "/dev/zero",
        "/dev/urandom",
        "/proc/self/exe",
        "/",
    ] {
        let thing = Descriptor::new(File::open(name).unwrap());
        let error = registrator.register(&thing, 1, READABLE).unwrap_err();
        assert!(error.to_string().len() > 20, "{name}: {error}");
    }
}

/// A descriptor in many loops at once, and one loop with many.
#[test]
fn a_thousand_timers_all_fire() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let count = effort(1_000).min(1_000);
    let timers: Vec<_> = (0..count).map(|_| timerfd()).collect();
    for (token, timer) in timers.iter().enumerate() {
        registrator.register(timer, token, READABLE).unwrap();
        set_timer(
            timer,
            Duration::from_millis(1 + token as u64 % 20),
            Duration::ZERO,
        );
    }
    let expected: Vec<_> = (0..count).map(|token| (token, true, false)).collect();
    expect_events(&mut poll, &mut events, &expected);
    expect_nothing_queued(&mut poll, &mut events);
}

/// A fork has the descriptors, too: what it takes is not told as ours for long.
#[test]
fn a_child_that_shares_a_pipe_takes_from_it() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut counter = eventfd();
    let shared = counter.as_fd().try_clone_to_owned().unwrap();
    registrator.register(&counter, 1, READABLE).unwrap();
    counter.write_all(&3u64.to_ne_bytes()).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let taken = Command::new("head")
        .args(["-c", "8"])
        .stdin(Stdio::from(shared))
        .output()
        .unwrap();
    // In either order: under an emulator, `head` is a program of the machine below.
    let taken = <[u8; 8]>::try_from(taken.stdout).unwrap();
    assert!([3u64.to_le_bytes(), 3u64.to_be_bytes()].contains(&taken));
    assert_eq!(kind_of(counter.read(&mut [0; 8])), ErrorKind::WouldBlock);
    registrator.register(&counter, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    counter.write_all(&1u64.to_ne_bytes()).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

/// kqueue has one place for each number, so there the later source takes it over.
#[test]
fn one_descriptor_cannot_be_in_two_sources() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let counter = std::sync::Arc::new(eventfd().into_inner());
    let one = Descriptor::new(std::sync::Arc::clone(&counter));
    let other = Descriptor::new(counter);
    registrator.register(&one, 1, READABLE).unwrap();
    let error = registrator.register(&other, 2, READABLE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    (&**one.get()).write_all(&1_u64.to_ne_bytes()).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    drop(one);
    registrator.register(&other, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
}

/// One that was borrowed mutably may stand for something else now, so another source gets the descriptor. If it is still
/// the same, it must not take that source out, neither when it is registered again nor when it is dropped.
#[test]
fn what_was_taken_over_stays_with_the_later_source() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let counter = std::sync::Arc::new(eventfd().into_inner());
    let mut one = Descriptor::new(std::sync::Arc::clone(&counter));
    let other = Descriptor::new(std::sync::Arc::clone(&counter));
    registrator.register(&one, 1, READABLE).unwrap();
    one.get_mut();
    registrator.register(&other, 2, READABLE).unwrap();
    let error = registrator.register(&one, 1, READABLE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    drop(one);
    (&*counter).write_all(&1_u64.to_ne_bytes()).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}
