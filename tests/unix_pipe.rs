//! What Unix alone can show of pipes and of the end of a child: descriptors, what only `WouldBlock` proves, system calls
//! that fail. Contract: 9.3, 9.6.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod children;
mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use children::child;
use common::{
    descriptors, effort, expect_events, expect_no_events, kind_of, watchdog, Watchdog, BOTH,
    READABLE, WRITABLE,
};
use minimio::{pipe, ChildExit, Events, Interests, PipeReader, PipeWriter, Poll, Registrator};

#[test]
fn a_child_does_its_job() {
    children::job();
}

static ALONE: Mutex<()> = Mutex::new(());

/// One test at a time, since descriptors and what signals do are the process's.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, watchdog())
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn start(job: &str) -> Child {
    child(job)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Writes until there is no room, and returns how much was written.
fn fill(mut writer: &PipeWriter) -> usize {
    let mut written = 0;
    loop {
        match writer.write(&[7; 1000]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

/// Whether a descriptor blocks, and whether it is closed when the process starts another program.
fn flags(fd: RawFd) -> (bool, bool) {
    // SAFETY: it takes numbers only.
    let status = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: it takes numbers only.
    let own = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert!(status >= 0 && own >= 0);
    (status & libc::O_NONBLOCK == 0, own & libc::FD_CLOEXEC != 0)
}

#[test]
fn ends_do_not_block_and_are_not_inherited() {
    let _alone = alone();
    let (reader, writer) = pipe().unwrap();
    assert_eq!(flags(reader.as_raw_fd()), (false, true));
    assert_eq!(flags(writer.as_raw_fd()), (false, true));
    let (reader, _stdio) = PipeReader::with_stdio().unwrap();
    let (writer, _stdio) = PipeWriter::with_stdio().unwrap();
    assert_eq!(flags(reader.as_raw_fd()), (false, true));
    assert_eq!(flags(writer.as_raw_fd()), (false, true));
    let mut started = child("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = PipeReader::from(started.stdout.take().unwrap());
    let writer = PipeWriter::from(started.stdin.take().unwrap());
    assert_eq!(flags(reader.as_raw_fd()), (false, true));
    assert_eq!(flags(writer.as_raw_fd()), (false, true));
    drop(writer);
    assert!(started.wait().unwrap().success());
}

#[cfg(target_os = "linux")]
fn open_numbers() -> std::collections::BTreeSet<RawFd> {
    let names = std::fs::read_dir("/proc/self/fd").unwrap();
    names
        .filter_map(|name| name.unwrap().file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_end_of_the_child_blocks_and_is_not_inherited_before_the_spawn() {
    let _alone = alone();
    let before = open_numbers();
    let (reader, stdout) = PipeReader::with_stdio().unwrap();
    let (writer, stdin) = PipeWriter::with_stdio().unwrap();
    let mine = [reader.as_raw_fd(), writer.as_raw_fd()];
    let mut theirs = 0;
    for fd in open_numbers().difference(&before) {
        // The directory that was just read is not there any more.
        // SAFETY: it takes numbers only.
        if mine.contains(fd) || unsafe { libc::fcntl(*fd, libc::F_GETFD) } < 0 {
            continue;
        }
        assert_eq!(flags(*fd), (true, true));
        theirs += 1;
    }
    assert_eq!(theirs, 2);
    drop((reader, writer, stdin, stdout));
    assert_eq!(open_numbers().len(), before.len());
}

#[test]
fn bytes_left_behind_are_reported_again_and_so_is_the_end() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    assert_eq!(writer.write(b"abc").unwrap(), 3);
    drop(writer);
    for (token, expected) in [&b"ab"[..], b"c", b"", b""].into_iter().enumerate() {
        registrator.register(&reader, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut buffer = [0; 2];
        let count = reader.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], expected);
    }
}

/// The writer's packets are read one by one, so a short read does not mean that there is nothing left.
#[cfg(target_os = "linux")]
#[test]
fn a_packet_behind_a_short_read_is_an_event() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    let fd = writer.as_raw_fd();
    // SAFETY: it takes numbers only.
    let packets = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_DIRECT | libc::O_NONBLOCK) };
    assert_eq!(packets, 0);
    for packet in [b"one", b"two", b"six"] {
        assert_eq!(writer.write(packet).unwrap(), 3);
    }
    for (token, packet) in [b"one", b"two", b"six"].into_iter().enumerate() {
        registrator.register(&reader, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let mut buffer = [0; 64];
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], packet);
    }
    registrator.register(&reader, 9, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

#[test]
fn room_after_a_short_write_is_an_event() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    registrator.register(&writer, 0, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(0, false, true)]);
    let filled = fill(&writer);
    let mut buffer = vec![0; filled];
    assert_eq!(reader.read(&mut buffer).unwrap(), filled);
    for token in 1..effort(20) {
        // More than there is room for: this fills the pipe without a `WouldBlock`.
        let count = writer.write(&vec![1; 2 * filled]).unwrap();
        assert!(count < 2 * filled);
        registrator.register(&writer, token, WRITABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        assert_eq!(reader.read(&mut vec![0; count]).unwrap(), count);
        expect_events(&mut poll, &mut events, &[(token, false, true)]);
    }
}

#[test]
fn a_full_pipe_whose_reader_goes_is_told() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe().unwrap();
    fill(&writer);
    registrator.register(&writer, 1, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(reader);
    for token in 1..4 {
        registrator.register(&writer, token, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, false, true)]);
        assert_eq!(kind_of(writer.write(b"x")), ErrorKind::BrokenPipe);
    }
}

#[test]
fn vectored_calls_move_all_parts() {
    let _alone = alone();
    let (mut reader, mut writer) = pipe().unwrap();
    let mut parts = vec![IoSlice::new(b""); 2000];
    parts.extend([IoSlice::new(b"hel"), IoSlice::new(b""), IoSlice::new(b"lo")]);
    assert_eq!(writer.write_vectored(&parts).unwrap(), 5);
    let (mut one, mut two) = ([0; 2], [0; 8]);
    let mut none: Vec<[u8; 0]> = vec![[]; 2000];
    let mut parts: Vec<_> = none.iter_mut().map(|one| IoSliceMut::new(one)).collect();
    parts.extend([IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]);
    assert_eq!(reader.read_vectored(&mut parts).unwrap(), 5);
    assert_eq!((&one, &two[..3]), (b"he", &b"llo"[..]));
    assert_eq!(writer.write_vectored(&[]).unwrap(), 0);
    assert_eq!(reader.read_vectored(&mut []).unwrap(), 0);
    writer.flush().unwrap();
}

#[test]
fn an_end_has_one_interest() {
    let _alone = alone();
    let (_poll, registrator, _) = queue();
    let (reader, writer) = pipe().unwrap();
    for interests in [WRITABLE, BOTH, Interests::empty()] {
        let refused = registrator.register(&reader, 1, interests);
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
        let refused = reader.try_io(interests, |_| Ok(()));
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
    }
    for interests in [READABLE, BOTH, Interests::empty()] {
        let refused = registrator.register(&writer, 1, interests);
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
        let refused = writer.try_io(interests, |_| Ok(()));
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
    }
    assert_eq!(
        kind_of(registrator.disarm(&reader, READABLE)),
        ErrorKind::NotFound
    );
}

/// A call of the user's own, with the descriptor.
fn read_plainly(reader: &PipeReader, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = reader.as_fd().as_raw_fd();
    // SAFETY: the buffer may be written for its length.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[test]
fn what_a_call_of_the_users_own_takes_makes_no_event() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe().unwrap();
    for token in 0..effort(50) {
        registrator.register(&reader, token, READABLE).unwrap();
        assert_eq!(writer.write(b"ab").unwrap(), 2);
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let read = |reader: &PipeReader| read_plainly(reader, &mut [0; 4]);
        assert_eq!(reader.try_io(READABLE, read).unwrap(), 2);
        assert_eq!(
            kind_of(reader.try_io(READABLE, read)),
            ErrorKind::WouldBlock
        );
        // One that means something else by it.
        let busy = reader.try_io::<()>(READABLE, |_| Err(ErrorKind::WouldBlock.into()));
        assert_eq!(kind_of(busy), ErrorKind::WouldBlock);
    }
    // Its `WouldBlock` is not believed: there is something to read.
    assert_eq!(writer.write(b"cd").unwrap(), 2);
    let busy = reader.try_io::<()>(READABLE, |_| Err(ErrorKind::WouldBlock.into()));
    assert_eq!(kind_of(busy), ErrorKind::WouldBlock);
    registrator.register(&reader, 70, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(70, true, false)]);
}

// 2.7, 9.6
#[test]
fn pipes_and_watches_leave_no_descriptor_behind() {
    let _alone = alone();
    let before = descriptors();
    for round in 0..effort(30) {
        let (poll, registrator, _) = queue();
        let (reader, writer) = pipe().unwrap();
        registrator.register(&reader, 1, READABLE).unwrap();
        registrator.register(&writer, 2, WRITABLE).unwrap();
        let (mine, stdio) = PipeReader::with_stdio().unwrap();
        registrator.register(&mine, 3, READABLE).unwrap();
        let mut started = start("exit 0");
        let exit = ChildExit::new(&mut started).unwrap();
        registrator.register(&exit, 4, READABLE).unwrap();
        if round % 2 == 0 {
            drop(poll);
            drop((reader, writer, mine, stdio, exit));
        } else {
            drop((exit, stdio, mine, writer, reader));
            drop(poll);
        }
        started.wait().unwrap();
        let ended = ChildExit::new(&mut started).unwrap();
        drop((ended, started));
    }
    assert_eq!(descriptors(), before);
}

/// Somebody else waits for the child, or the system throws its status away: it has ended all the same.
#[test]
fn a_child_that_somebody_else_has_waited_for_has_ended() {
    let _alone = alone();
    let (mut poll, registrator, mut events) = queue();
    for early in [false, true] {
        let mut started = start("wait");
        let exit = ChildExit::new(&mut started).unwrap();
        registrator.register(&exit, 1, READABLE).unwrap();
        drop(started.stdin.take());
        let number = libc::pid_t::try_from(started.id()).unwrap();
        // SAFETY: no status is asked for.
        let waited = unsafe { libc::waitpid(number, std::ptr::null_mut(), 0) };
        assert_eq!(waited, number);
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        if early {
            // What a ChildExit finds that comes too late.
            let exit = ChildExit::new(&mut started).unwrap();
            registrator.register(&exit, 2, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(2, true, false)]);
        }
        assert!(started.wait().is_err(), "its status is gone");
    }
}

#[test]
fn an_ignored_sigchld_hides_no_end() {
    let _alone = alone();
    // SAFETY: nothing of ours runs in a handler.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let (mut poll, registrator, mut events) = queue();
    let mut started = start("wait");
    let exit = ChildExit::new(&mut started).unwrap();
    registrator.register(&exit, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(started.stdin.take());
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let late = ChildExit::new(&mut started).unwrap();
    registrator.register(&late, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert!(started.wait().is_err(), "its status is gone");
    // SAFETY: as it was.
    unsafe { libc::signal(libc::SIGCHLD, before) };
}

/// System calls that fail.
#[cfg(minimio_hooks)]
mod refused {
    use super::*;
    use minimio::hooks::{fail, Call};

    fn code_of<T>(result: io::Result<T>) -> Option<i32> {
        result.err().unwrap().raw_os_error()
    }

    #[test]
    fn pipes_that_cannot_be_made_leave_nothing() {
        let _alone = alone();
        let before = descriptors();
        fail(Call::Pipe, libc::EMFILE, 3);
        assert_eq!(code_of(pipe()), Some(libc::EMFILE));
        assert_eq!(code_of(PipeReader::with_stdio()), Some(libc::EMFILE));
        assert_eq!(code_of(PipeWriter::with_stdio()), Some(libc::EMFILE));
        fail(Call::Nonblocking, libc::EACCES, 2);
        assert_eq!(code_of(PipeReader::with_stdio()), Some(libc::EACCES));
        assert_eq!(code_of(PipeWriter::with_stdio()), Some(libc::EACCES));
        assert_eq!(descriptors(), before);
        let (mut reader, mut writer) = pipe().unwrap();
        assert_eq!(writer.write(b"x").unwrap(), 1);
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
    }

    /// An end that blocks would block a thread in a read, so no call is made on it.
    #[test]
    fn an_end_that_stays_blocking_is_an_error_of_register() {
        let _alone = alone();
        let before = descriptors();
        let (_poll, registrator, _) = queue();
        let mut started = child("echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        fail(Call::Nonblocking, libc::EACCES, 2);
        let mut reader = PipeReader::from(started.stdout.take().unwrap());
        let mut writer = PipeWriter::from(started.stdin.take().unwrap());
        for _ in 0..2 {
            let refused = registrator.register(&reader, 1, READABLE);
            assert_eq!(code_of(refused), Some(libc::EACCES));
            let refused = registrator.register(&writer, 1, WRITABLE);
            assert_eq!(code_of(refused), Some(libc::EACCES));
            assert_eq!(code_of(reader.read(&mut [0; 4])), Some(libc::EACCES));
            assert_eq!(code_of(writer.write(b"x")), Some(libc::EACCES));
        }
        let never = registrator.deregister(&reader);
        assert_eq!(kind_of(never), ErrorKind::NotFound);
        drop(writer);
        assert!(started.wait().unwrap().success());
        drop((reader, registrator, _poll, started));
        assert_eq!(descriptors(), before);
    }

    #[test]
    fn a_child_that_cannot_be_watched_is_an_error() {
        let _alone = alone();
        let before = descriptors();
        let mut started = start("wait");
        let limits: &[i32] = if cfg!(target_os = "linux") {
            &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]
        } else {
            &[libc::ENOMEM]
        };
        for &code in limits {
            fail(Call::WatchChild, code, 1);
            assert_eq!(code_of(ChildExit::new(&mut started)), Some(code));
        }
        #[cfg(target_os = "linux")]
        for code in [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::ENOTSUP] {
            fail(Call::WatchChild, code, 1);
            let error = ChildExit::new(&mut started).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("pidfd_open"), "{error}");
        }
        drop(started.stdin.take());
        assert!(started.wait().unwrap().success());
        // Its number may be that of another process by now, so nothing is opened by it.
        fail(Call::WatchChild, libc::EMFILE, 1);
        drop(ChildExit::new(&mut started).unwrap());
        fail(Call::WatchChild, libc::EMFILE, 0);
        fail(Call::Pipe, libc::EMFILE, 1);
        assert_eq!(code_of(ChildExit::new(&mut started)), Some(libc::EMFILE));
        drop(started);
        assert_eq!(descriptors(), before);
    }

    /// The system may say that there is no such process although it has not been waited for.
    #[test]
    fn a_child_that_the_system_does_not_find_has_ended() {
        let _alone = alone();
        let (mut poll, registrator, mut events) = queue();
        let mut started = start("wait");
        fail(Call::WatchChild, libc::ESRCH, 1);
        let exit = ChildExit::new(&mut started).unwrap();
        for token in 1..3 {
            registrator.register(&exit, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
        }
        drop(started.stdin.take());
        assert!(started.wait().unwrap().success());
    }

    #[test]
    fn a_registration_that_fails_can_be_tried_again() {
        let _alone = alone();
        let (mut poll, registrator, mut events) = queue();
        let (reader, mut writer) = pipe().unwrap();
        for call in [Call::Watch, Call::WatchAnew] {
            fail(call, libc::ENOMEM, 1);
            let refused = registrator.register(&reader, 1, READABLE);
            assert_eq!(code_of(refused), Some(libc::ENOMEM));
            assert_eq!(writer.write(b"x").unwrap(), 1);
            expect_no_events(&mut poll, &mut events);
            registrator.register(&reader, 2, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(2, true, false)]);
        }
        assert_eq!((&reader).read(&mut [0; 8]).unwrap(), 2);
    }
}
