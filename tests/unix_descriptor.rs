//! `os::unix::Descriptor`: whatever the system's queue can watch. Contract: 9.1.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;

use common::{
    await_that, effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, said,
    watchdog, Said, SetOnDrop, BOTH, QUIET, READABLE, WRITABLE,
};
use minimio::os::unix::Descriptor;
use minimio::{Events, Interests, Poll, Registrator};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// What a system call has returned, or its error.
fn done(result: i32) -> io::Result<i32> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Takes over a descriptor that a call has made.
fn made(result: i32) -> OwnedFd {
    let fd = done(result).unwrap();
    // SAFETY: the call has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn set_nonblocking(fd: &impl AsFd) {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: numbers only.
    let flags = done(unsafe { libc::fcntl(fd, libc::F_GETFL) }).unwrap();
    // SAFETY: numbers only.
    done(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).unwrap();
}

/// The two ends of a pipe, both non-blocking: the one to read from, the one to write to.
fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two numbers.
    done(unsafe { libc::pipe(ends.as_mut_ptr()) }).unwrap();
    let [reader, writer] = ends.map(made);
    set_nonblocking(&reader);
    set_nonblocking(&writer);
    (File::from(reader), File::from(writer))
}

/// The two ends of a pseudo-terminal, both non-blocking, without echo or lines: the master and the slave.
fn pty() -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: there is room for the numbers; the rest may be null.
    done(unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) })
        .unwrap();
    let [master, slave] = [master, slave].map(made);
    // SAFETY: all zeroes is a valid `termios`.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the settings are writable.
    done(unsafe { libc::tcgetattr(slave.as_raw_fd(), &mut settings) }).unwrap();
    // SAFETY: the same.
    unsafe { libc::cfmakeraw(&mut settings) };
    // SAFETY: the settings are readable.
    done(unsafe { libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &settings) }).unwrap();
    set_nonblocking(&master);
    set_nonblocking(&slave);
    (File::from(master), File::from(slave))
}

/// Reads until there is nothing, and returns how much there was.
fn drain<T: AsFd + Send + Sync + 'static>(descriptor: &Descriptor<T>) -> usize
where
    for<'a> &'a T: Read,
{
    let mut count = 0;
    loop {
        match descriptor.read(&mut [0; 4096]) {
            Ok(0) => return count,
            Ok(some) => count += some,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_pipe_is_readable_when_something_was_written_and_once() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::new(reader);
    registrator.register(&reader, 7, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    writer.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(7, true, false)]);
    // It is one-shot, and what waits is told to the next registration.
    expect_no_events(&mut poll, &mut events);
    registrator.register(&reader, 8, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(8, true, false)]);
    let mut buffer = [0; 3];
    assert_eq!(reader.read(&mut buffer).unwrap(), 3);
    // No draining rule: two bytes are left.
    registrator.register(&reader, 9, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(9, true, false)]);
    assert_eq!(reader.read(&mut buffer).unwrap(), 2);
    registrator.register(&reader, 10, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    writer.write_all(b"!").unwrap();
    expect_events(&mut poll, &mut events, &[(10, true, false)]);
}

#[test]
fn a_pipe_whose_writer_is_gone_is_readable_and_at_its_end() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::new(reader);
    registrator.register(&reader, 1, READABLE).unwrap();
    writer.write_all(b"abc").unwrap();
    drop(writer);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(reader.read(&mut [0; 16]).unwrap(), 3);
    for token in 2..5 {
        registrator.register(&reader, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    }
}

#[test]
fn a_full_pipe_is_writable_when_there_is_room_again() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, writer) = pipe();
    let writer = Descriptor::new(writer);
    registrator.register(&writer, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let mut written = 0;
    let refused = loop {
        match writer.write(&[b'x'; 4096]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    registrator.register(&writer, 2, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    let mut room = vec![0; written];
    reader.read_exact(&mut room).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    assert!(writer.write(&[b'y'; 4096]).unwrap() > 0);
}

#[test]
fn each_of_many_messages_is_told_however_it_is_read() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::new(reader);
    for round in 0..effort(2_000) {
        registrator.register(&reader, round, READABLE).unwrap();
        writer.write_all(&[0; 5]).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        // All of it, too much room, or a part and the rest by another event.
        let first = [5, 64, 2][round % 3];
        let mut left = 5 - reader.read(&mut vec![0; first]).unwrap();
        while left > 0 {
            registrator.register(&reader, round, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(round, true, false)]);
            left -= reader.read(&mut [0; 2]).unwrap();
        }
    }
    expect_nothing_queued(&mut poll, &mut events);
}

#[test]
fn bytes_that_come_while_a_reader_meets_the_end_are_told() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::new(reader);
    let rounds = effort(2_000);
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..rounds {
                writer.write_all(b"z").unwrap();
                thread::yield_now();
            }
        });
        // If this thread fails, the reader is closed, and so the writer does not wait for room.
        let reader = reader;
        let mut taken = 0;
        while taken < rounds {
            registrator.register(&reader, 3, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(3, true, false)]);
            taken += drain(&reader);
        }
        assert_eq!(taken, rounds);
    });
}

#[test]
fn nothing_about_the_thing_is_changed() {
    let (reader, writer) = pipe();
    let plain = made({
        // SAFETY: numbers only.
        unsafe { libc::dup(writer.as_raw_fd()) }
    });
    // SAFETY: numbers only.
    done(unsafe { libc::fcntl(plain.as_raw_fd(), libc::F_SETFL, 0) }).unwrap();
    let writer = Descriptor::new(writer);
    let poll = Poll::new().unwrap();
    poll.registrator().register(&writer, 0, WRITABLE).unwrap();
    let fd = writer.as_raw_fd();
    assert_eq!(writer.get().as_raw_fd(), fd);
    assert_eq!(writer.as_fd().as_raw_fd(), fd);
    // SAFETY: numbers only.
    let flags = done(unsafe { libc::fcntl(fd, libc::F_GETFL) }).unwrap();
    assert_eq!(flags & libc::O_NONBLOCK, 0);
    let inner = writer.into_inner();
    assert_eq!(inner.as_raw_fd(), fd);
    drop(reader);
}

#[test]
fn what_was_given_back_or_dropped_tells_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let kept = reader.try_clone().unwrap();
    let descriptor = Descriptor::new(reader);
    registrator.register(&descriptor, 1, READABLE).unwrap();
    let reader = descriptor.into_inner();
    writer.write_all(b"abc").unwrap();
    expect_no_events(&mut poll, &mut events);
    let descriptor = Descriptor::new(reader);
    registrator.register(&descriptor, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    registrator.register(&descriptor, 3, READABLE).unwrap();
    // A duplicate keeps the pipe open: the registration is gone all the same.
    drop(descriptor);
    writer.write_all(b"def").unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(kept);
}

#[test]
fn deregister_and_disarm_work_as_for_a_socket() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (near, far) = StdUnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = Descriptor::new(near);
    assert_eq!(kind_of(registrator.deregister(&near)), ErrorKind::NotFound);
    registrator.register(&near, 1, BOTH).unwrap();
    registrator.disarm(&near, WRITABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    (&far).write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    registrator.register(&near, 2, READABLE).unwrap();
    registrator.deregister(&near).unwrap();
    (&far).write_all(b"b").unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.register(&near, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    let other = Poll::new().unwrap();
    assert_eq!(
        kind_of(other.registrator().register(&near, 4, READABLE)),
        ErrorKind::AlreadyExists
    );
}

#[test]
fn a_plain_file_cannot_be_watched() {
    let (mut poll, registrator, mut events) = queue();
    let place = std::env::temp_dir().join(format!("minimio-file-{}", std::process::id()));
    let file = Descriptor::new(File::create(&place).unwrap());
    let error = registrator.register(&file, 1, READABLE).unwrap_err();
    std::fs::remove_file(&place).unwrap();
    assert!(!error.to_string().is_empty());
    // It can still be used and given back.
    file.get().set_len(3).unwrap();
    let directory = Descriptor::new(File::open(std::env::temp_dir()).unwrap());
    registrator.register(&directory, 1, READABLE).unwrap_err();
    expect_nothing_queued(&mut poll, &mut events);
    assert_eq!(file.into_inner().metadata().unwrap().len(), 3);
}

#[test]
fn a_poll_in_a_poll_is_readable_while_it_has_something() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let inner = Poll::new().unwrap();
    let wake = inner.registrator();
    let mut inner = Descriptor::new(inner);
    registrator.register(&inner, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    wake.wake(5).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // It is there until it was taken.
    registrator.register(&inner, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    let mut inner_events = Events::with_capacity(4);
    expect_events(inner.get_mut(), &mut inner_events, &[(5, false, false)]);
    registrator.register(&inner, 3, READABLE).unwrap();
    wake.wake(6).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
}

#[test]
fn a_terminal_tells_of_each_line_and_of_its_other_end() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (master, mut slave) = pty();
    let master = Descriptor::new(master);
    for round in 0..effort(200) {
        registrator.register(&master, round, READABLE).unwrap();
        slave.write_all(b"some text").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let mut count = 0;
        while count < 9 {
            match master.read(&mut [0; 64]) {
                Ok(some) => count += some,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    registrator.register(&master, round, READABLE).unwrap();
                    expect_events(&mut poll, &mut events, &[(round, true, false)]);
                }
            }
        }
    }
    registrator.register(&master, 1, READABLE).unwrap();
    drop(slave);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // Linux says EIO, the BSDs the end.
    match master.read(&mut [0; 64]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
    }
}

#[test]
fn much_output_of_a_terminal_comes_whole() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (master, slave) = pty();
    let master = Descriptor::new(master);
    let total = 60_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut sent, mut slave) = (0, &slave);
            while sent < total {
                match slave.write(&[b'o'; 777][..(total - sent).min(777)]) {
                    Ok(count) => sent += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        thread::yield_now();
                    }
                }
            }
        });
        let mut taken = 0;
        while taken < total {
            registrator.register(&master, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            // A short read proves nothing of a terminal.
            taken += master.read(&mut [0; 8192]).unwrap();
        }
        assert_eq!(taken, total);
    });
    expect_nothing_queued(&mut poll, &mut events);
}

#[test]
fn a_call_of_the_users_own_counts() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (near, far) = net_pair();
    let near = Descriptor::new(near);
    for round in 0..effort(500) {
        registrator.register(&near, round, READABLE).unwrap();
        (&far).write_all(b"abc").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        let count = near.try_io(READABLE, |mut socket| socket.read(&mut [0; 3]));
        assert_eq!(count.unwrap(), 3);
        let again = near.try_io(READABLE, |mut socket| socket.read(&mut [0; 3]));
        assert_eq!(kind_of(again), ErrorKind::WouldBlock);
    }
    for interests in [BOTH, Interests::empty()] {
        let refused = near.try_io(interests, |_| -> io::Result<()> { panic!("it is called") });
        assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
    }
}

/// Two connected sockets of `std`, as a foreign library would have them; the first does not block.
fn net_pair() -> (net::TcpStream, net::TcpStream) {
    let (near, far) = common::std_pair();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

/// What another process takes from a shared descriptor makes no false promise for long: the next read would block, and the
/// next registration waits.
#[test]
fn a_descriptor_that_others_read_from_too() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let mut other = reader.try_clone().unwrap();
    let reader = Descriptor::new(reader);
    for round in 0..effort(200) {
        writer.write_all(b"abc").unwrap();
        registrator.register(&reader, round, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        other.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(kind_of(reader.read(&mut [0; 3])), ErrorKind::WouldBlock);
        registrator.register(&reader, round, READABLE).unwrap();
        writer.write_all(b"d").unwrap();
        expect_events(&mut poll, &mut events, &[(round, true, false)]);
        assert_eq!(reader.read(&mut [0; 3]).unwrap(), 1);
    }
}

/// The other thing that is swapped in may even have got the number of the old one.
#[test]
fn what_is_swapped_in_is_watched_from_the_next_registration_on() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (first, mut first_writer) = pipe();
    let mut reader = Descriptor::new(first);
    registrator.register(&reader, 1, READABLE).unwrap();
    first_writer.write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    for token in 2..20 {
        let (second, mut second_writer) = pipe();
        let old = std::mem::replace(reader.get_mut(), second);
        if token % 2 == 0 {
            drop(old);
        } else {
            // The old one stays open: whatever it tells is nobody's.
            std::mem::forget(old);
        }
        registrator.register(&reader, token, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        second_writer.write_all(b"b").unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 1);
    }
}

#[test]
fn a_look_through_get_mut_keeps_the_registration() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let mut reader = Descriptor::new(reader);
    registrator.register(&reader, 1, READABLE).unwrap();
    assert!(reader.get_mut().as_raw_fd() >= 0);
    writer.write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
}

/// A number that was the old thing's and is a stranger's now is left alone.
#[test]
fn the_number_of_a_thing_that_is_gone_is_not_touched() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (first, _first_writer) = pipe();
    // Keeps what the number stood for open, so that the system's queue does not forget it by itself.
    let duplicate = first.try_clone().unwrap();
    let number = first.as_raw_fd();
    let mut reader = Descriptor::new(first);
    registrator.register(&reader, 1, READABLE).unwrap();
    let (second, mut second_writer) = pipe();
    drop(std::mem::replace(reader.get_mut(), second));
    // The next descriptor mostly gets the number that was just given up; it is asked for until it does.
    let (stranger, mut stranger_writer) = loop {
        let (stranger, writer) = pipe();
        if stranger.as_raw_fd() == number || writer.as_raw_fd() == number {
            assert_eq!(stranger.as_raw_fd(), number);
            break (Descriptor::new(stranger), writer);
        }
        assert!(stranger.as_raw_fd() < number + 100);
    };
    registrator.register(&stranger, 2, READABLE).unwrap();
    registrator.register(&reader, 3, READABLE).unwrap();
    drop(reader);
    stranger_writer.write_all(b"s").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    drop(duplicate);
    drop(second_writer.flush());
}

/// Two sources that exchange their things exchange what the system has for them, too.
#[test]
fn two_registered_descriptors_can_be_swapped() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let ((first, mut first_writer), (second, mut second_writer)) = (pipe(), pipe());
    let (mut first, mut second) = (Descriptor::new(first), Descriptor::new(second));
    registrator.register(&first, 1, READABLE).unwrap();
    registrator.register(&second, 2, READABLE).unwrap();
    for round in 0..4 {
        std::mem::swap(first.get_mut(), second.get_mut());
        std::mem::swap(&mut first_writer, &mut second_writer);
        registrator.register(&first, 1, READABLE).unwrap();
        if round % 2 == 0 {
            // The other one is armed still, and learns of it later.
            first_writer.write_all(b"a").unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            assert_eq!(first.read(&mut [0; 4]).unwrap(), 1);
            registrator.register(&first, 1, READABLE).unwrap();
        }
        registrator.register(&second, 2, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
        first_writer.write_all(b"b").unwrap();
        second_writer.write_all(b"c").unwrap();
        expect_events(
            &mut poll,
            &mut events,
            &[(1, true, false), (2, true, false)],
        );
        assert_eq!(first.read(&mut [0; 4]).unwrap(), 1);
        assert_eq!(second.read(&mut [0; 4]).unwrap(), 1);
    }
}

/// What was taken out of one source may be put into another one at once.
#[test]
fn a_thing_that_was_swapped_out_is_watched_by_another_source() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let ((first, mut first_writer), (second, _second_writer)) = (pipe(), pipe());
    let mut one = Descriptor::new(first);
    registrator.register(&one, 1, READABLE).unwrap();
    let other = Descriptor::new(std::mem::replace(one.get_mut(), second));
    registrator.register(&other, 2, READABLE).unwrap();
    first_writer.write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    drop(one);
    registrator.register(&other, 3, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
}

/// A library that connects anew may get the number of its last connection again.
#[test]
fn a_number_that_stands_for_something_else_is_entered_anew() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let ((first, mut first_writer), (second, mut second_writer)) = (pipe(), pipe());
    let descriptor = Descriptor::new(first);
    registrator.register(&descriptor, 1, READABLE).unwrap();
    first_writer.write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let number = descriptor.as_raw_fd();
    // SAFETY: the number stays open, and stands for another pipe from now on.
    done(unsafe { libc::dup2(second.as_raw_fd(), number) }).unwrap();
    registrator.register(&descriptor, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    second_writer.write_all(b"b").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

/// A thing that changes what it stands for by itself.
struct Changing(Mutex<Vec<File>>, Cell<usize>);

// SAFETY: the tests use the number from one thread at a time.
unsafe impl Sync for Changing {}

impl AsFd for Changing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let files = self.0.lock().unwrap();
        let fd = files[self.1.get()].as_raw_fd();
        // SAFETY: the files are closed with `self` alone, which is borrowed for as long.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

#[test]
fn a_thing_that_changes_its_descriptor_is_entered_anew() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let ((first, mut first_writer), (second, mut second_writer)) = (pipe(), pipe());
    let changing = Changing(Mutex::new(vec![first, second]), Cell::new(0));
    let descriptor = Descriptor::new(changing);
    registrator.register(&descriptor, 1, READABLE).unwrap();
    first_writer.write_all(b"a").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    descriptor.get().1.set(1);
    registrator.register(&descriptor, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    first_writer.write_all(b"b").unwrap();
    expect_no_events(&mut poll, &mut events);
    second_writer.write_all(b"c").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    descriptor.get().1.set(0);
    drop(descriptor);
}

/// A thing that panics when it is asked for its descriptor.
struct Panics {
    inner: File,
    now: AtomicBool,
}

impl AsFd for Panics {
    fn as_fd(&self) -> BorrowedFd<'_> {
        assert!(!self.now.load(Ordering::Relaxed), "so it is wanted");
        self.inner.as_fd()
    }
}

#[test]
fn a_thing_that_panics_leaves_when_it_is_dropped() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    // With a duplicate the system's queue goes on reporting what was closed.
    let _duplicate = reader.try_clone().unwrap();
    let reader = Descriptor::new(Panics {
        inner: reader,
        now: AtomicBool::new(false),
    });
    registrator.register(&reader, 1, READABLE).unwrap();
    reader.get().now.store(true, Ordering::Relaxed);
    let register = || registrator.register(&reader, 2, READABLE);
    assert!(catch_unwind(AssertUnwindSafe(register)).is_err());
    drop(reader);
    writer.write_all(b"x").unwrap();
    expect_nothing_queued(&mut poll, &mut events);
}

#[test]
fn lasting_edges_come_until_they_are_disarmed() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::with_edges(reader);
    registrator.register(&reader, 1, READABLE).unwrap();
    for _ in 0..effort(100) {
        writer.write_all(b"a").unwrap();
        await_edge(&mut poll, &mut events, 1);
        // Read where the crate cannot see it, to the end.
        let mut inside = reader.get();
        while inside.read(&mut [0; 16]).is_ok() {}
    }
    // A condition that holds is told again by a registration.
    writer.write_all(b"b").unwrap();
    await_edge(&mut poll, &mut events, 1);
    registrator.register(&reader, 2, READABLE).unwrap();
    await_edge(&mut poll, &mut events, 2);
    registrator.disarm(&reader, READABLE).unwrap();
    writer.write_all(b"c").unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.register(&reader, 3, READABLE).unwrap();
    await_edge(&mut poll, &mut events, 3);
}

/// Polls until an edge comes. Others of the same may follow it: edges may be false.
fn await_edge(poll: &mut Poll, events: &mut Events, token: usize) {
    let count = poll.poll(events, Some(common::HANG)).unwrap();
    assert!(count > 0, "no edge came");
    let all = said(events);
    assert!(
        all.iter().all(|&one| one == Said::Readable(token)),
        "{all:?}"
    );
    while poll.poll(events, Some(std::time::Duration::ZERO)).unwrap() > 0 {}
}

#[test]
fn lasting_edges_that_do_not_fit_come_later() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(1);
    let mut pipes: Vec<_> = (0..8).map(|_| pipe()).collect();
    let readers: Vec<_> = pipes
        .iter()
        .map(|(reader, _)| Descriptor::with_edges(reader.try_clone().unwrap()))
        .collect();
    for (token, reader) in readers.iter().enumerate() {
        registrator.register(reader, token, READABLE).unwrap();
    }
    for _ in 0..effort(50) {
        for (_, writer) in &mut pipes {
            writer.write_all(b"x").unwrap();
        }
        let mut seen = [false; 8];
        await_that("an edge of each", || {
            for event in &events_of(&mut poll, &mut events) {
                seen[*event] = true;
            }
            seen.iter().all(|&seen| seen)
        });
        for reader in &readers {
            let mut inside = reader.get();
            while inside.read(&mut [0; 16]).is_ok() {}
        }
    }
}

fn events_of(poll: &mut Poll, events: &mut Events) -> Vec<usize> {
    poll.poll(events, Some(std::time::Duration::ZERO)).unwrap();
    events.iter().map(minimio::Event::id).collect()
}

#[test]
fn both_directions_of_lasting_edges_fit_one_at_a_time() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(1);
    let (near, far) = net_pair();
    let near = Descriptor::with_edges(near);
    (&far).write_all(b"a").unwrap();
    registrator.register(&near, 1, READABLE).unwrap();
    registrator.register(&near, 2, WRITABLE).unwrap();
    let (mut readable, mut writable) = (false, false);
    await_that("an edge of each direction", || {
        poll.poll(&mut events, Some(std::time::Duration::ZERO))
            .unwrap();
        for one in said(&events) {
            readable |= one == Said::Readable(1);
            writable |= one == Said::Writable(2);
        }
        readable && writable
    });
}

/// The write meets the end of the room before the edge that does not fit, and so says nothing about it.
#[test]
fn an_edge_that_does_not_fit_outlives_an_earlier_would_block() {
    let _watchdog = watchdog();
    let makes: [fn(StdUnixStream) -> Descriptor<StdUnixStream>; 2] =
        [Descriptor::new, Descriptor::with_edges];
    for make in makes {
        let (mut poll, registrator, _) = queue();
        let mut events = Events::with_capacity(1);
        let (near, far) = StdUnixStream::pair().unwrap();
        set_nonblocking(&near);
        set_nonblocking(&far);
        let near = make(near);
        registrator.register(&near, 1, READABLE).unwrap();
        registrator.register(&near, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        let refused = loop {
            if let Err(error) = near.write(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        registrator.register(&near, 2, WRITABLE).unwrap();
        // Both directions become ready at once, and there is room for one event.
        while (&far).read(&mut [0; 65_536]).is_ok() {}
        (&far).write_all(b"x").unwrap();
        let (mut readable, mut writable) = (false, false);
        await_that("an event of each direction", || {
            let _ = poll
                .poll(&mut events, Some(std::time::Duration::ZERO))
                .unwrap();
            for one in said(&events) {
                readable |= one == Said::Readable(1);
                writable |= one == Said::Writable(2);
            }
            readable && writable
        });
    }
}

#[test]
fn wakes_do_not_starve_an_edge_that_does_not_fit() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(1);
    let (near, far) = net_pair();
    let near = Descriptor::new(near);
    (&far).write_all(b"a").unwrap();
    await_that("the byte", || near.get().peek(&mut [0]).is_ok());
    registrator.register(&near, 1, READABLE).unwrap();
    registrator.register(&near, 2, WRITABLE).unwrap();
    let mut all = Vec::new();
    for _ in 0..8 {
        registrator.wake(3).unwrap();
        all.extend(events_of(&mut poll, &mut events));
    }
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 3, 3, 3, 3, 3]);
}

/// More edges come than the batches have room for. They merge, as they do in the kernel, and are not told when it is
/// over.
#[test]
fn lasting_edges_that_do_not_fit_merge() {
    let _watchdog = watchdog();
    let (mut poll, registrator, _) = queue();
    let mut events = Events::with_capacity(1);
    let pairs: Vec<_> = (0..4).map(|_| net_pair()).collect();
    let nears: Vec<_> = pairs
        .iter()
        .map(|(near, _)| Descriptor::with_edges(near.try_clone().unwrap()))
        .collect();
    for (token, near) in nears.iter().enumerate() {
        registrator.register(near, token, READABLE).unwrap();
        registrator.register(near, token + 4, WRITABLE).unwrap();
    }
    for _ in 0..effort(500) {
        for (_, far) in &pairs {
            let mut far = far;
            far.write_all(b"x").unwrap();
        }
        events_of(&mut poll, &mut events);
        for (near, _) in &pairs {
            let mut near = near;
            while near.read(&mut [0; 16]).is_ok() {}
        }
    }
    let mut late = 0;
    while !events_of(&mut poll, &mut events).is_empty() {
        late += 1;
    }
    // Two of each descriptor are postponed or in the kernel, and on some systems bytes are still on their way.
    assert!(late <= 32, "{late} events");
}

/// Nothing can be disarmed any more, so a peer that goes on sending must not keep the polling from its end.
#[test]
fn lasting_edges_end_with_the_loop() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe();
    let reader = Descriptor::with_edges(reader);
    registrator.register(&reader, 1, READABLE).unwrap();
    writer.write_all(b"x").unwrap();
    registrator.close_loop().unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let mut polls = 0;
    writer.write_all(b"x").unwrap();
    while poll.poll(&mut events, None).is_ok() {
        writer.write_all(b"x").unwrap();
        polls += 1;
        assert!(polls < 100, "{events:?}");
    }
}

#[test]
fn urgent_data_is_a_hint() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (near, far) = net_pair();
    let near = Descriptor::new(near);
    (&far).write_all(b"plain").unwrap();
    registrator.register(&near, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert!(!events.iter().next().unwrap().is_priority());
    drain(&near);
    registrator.register(&near, 2, READABLE).unwrap();
    // SAFETY: one byte that is readable.
    let sent = unsafe { libc::send(far.as_raw_fd(), [b'!'].as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    (&far).write_all(b"more").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    if cfg!(any(target_os = "linux", target_os = "android")) {
        let mut priority = events.iter().next().unwrap().is_priority();
        // The event of the urgent byte may have come before the others.
        for _ in 0..100 {
            if priority {
                break;
            }
            registrator.register(&near, 2, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(2, true, false)]);
            priority = events.iter().next().unwrap().is_priority();
        }
        assert!(priority);
    }
}

#[test]
fn a_descriptor_is_shown_and_shared() {
    fn shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let (reader, writer) = pipe();
    let reader = Descriptor::new(reader);
    shared(&reader);
    shared(&Descriptor::with_edges(writer));
    assert!(format!("{reader:?}").contains("Descriptor"));
}

/// Many threads register, read and drop; nobody gets what is another's.
#[test]
fn descriptors_come_and_go_while_a_poll_runs() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let over = AtomicBool::new(false);
    let registrator = &registrator;
    let over = &over;
    thread::scope(|scope| {
        scope.spawn(move || {
            let _over = SetOnDrop(over);
            for round in 0..effort(3_000) {
                let (reader, mut writer) = pipe();
                let reader = Descriptor::new(reader);
                registrator.register(&reader, round, READABLE).unwrap();
                writer.write_all(b"a").unwrap();
                if round % 3 == 0 {
                    registrator.deregister(&reader).unwrap();
                }
                drop(reader);
            }
            registrator.wake(usize::MAX).unwrap();
        });
        while !over.load(Ordering::SeqCst) {
            poll.poll(&mut events, Some(QUIET)).unwrap();
        }
    });
    poll.poll(&mut events, Some(std::time::Duration::ZERO))
        .unwrap();
    expect_nothing_queued(&mut poll, &mut events);
}
