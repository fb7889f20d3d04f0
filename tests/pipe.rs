//! Pipes, between threads and to child processes. Contract: 9.3.
#![allow(clippy::unwrap_used)]

mod children;
mod common;

use std::io::{ErrorKind, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use children::{child, pattern, write_pattern, BEGIN};
use common::{
    effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, let_it_block, said,
    until_done, watchdog, Said, HANG, READABLE, WRITABLE,
};
use minimio::{pipe, ChildExit, Events, PipeReader, PipeWriter, Poll, Registrator};

#[test]
fn a_child_does_its_job() {
    children::job();
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

/// Writes all of it, waiting for room by events.
fn write_by_events(poll: &mut Poll, events: &mut Events, mut writer: &PipeWriter, bytes: &[u8]) {
    let mut written = 0;
    while written < bytes.len() {
        match writer.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                let registrator = poll.registrator();
                registrator.register(writer, 90, WRITABLE).unwrap();
                expect_events(poll, events, &[(90, false, true)]);
            }
        }
    }
}

/// Reads by events to the end of the stream, one read an event, and gives each piece to `take`.
fn read_to_end_by_events(
    poll: &mut Poll,
    events: &mut Events,
    mut reader: &PipeReader,
    mut take: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let registrator = poll.registrator();
        registrator.register(reader, 91, READABLE).unwrap();
        expect_events(poll, events, &[(91, true, false)]);
        let count = reader.read(&mut buffer).unwrap();
        if count == 0 {
            return;
        }
        take(&buffer[..count]);
    }
}

#[test]
fn what_is_written_is_read_with_an_event_for_each_registration() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    registrator.register(&reader, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    assert_eq!(until_done(|| writer.write(b"hello")).unwrap(), 5);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_no_events(&mut poll, &mut events);
    let mut buffer = [0; 3];
    assert_eq!(reader.read(&mut buffer).unwrap(), 3);
    registrator.register(&reader, 2, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    assert_eq!(reader.read(&mut buffer).unwrap(), 2);
    assert_eq!(&buffer[..2], b"lo");
    registrator.register(&reader, 3, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.deregister(&reader).unwrap();
    assert_eq!(until_done(|| writer.write(b"!")).unwrap(), 1);
    expect_no_events(&mut poll, &mut events);
    registrator.register(&reader, 4, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(4, true, false)]);
}

#[test]
fn a_pipe_that_is_not_registered_reads_and_writes_without_blocking() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe().unwrap();
    assert_eq!(kind_of(reader.read(&mut [0; 4])), ErrorKind::WouldBlock);
    assert_eq!(reader.read(&mut []).unwrap(), 0);
    // A side that was never registered may refuse to write where the system has no call that ends at once.
    let poll = Poll::new().unwrap();
    poll.registrator().register(&writer, 0, WRITABLE).unwrap();
    assert_eq!(writer.write(b"abc").unwrap(), 3);
    assert_eq!(writer.write(&[]).unwrap(), 0);
    let mut buffer = [0; 8];
    assert_eq!(until_done(|| reader.read(&mut buffer)).unwrap(), 3);
    assert_eq!(&buffer[..3], b"abc");
    assert_eq!(kind_of(reader.read(&mut buffer)), ErrorKind::WouldBlock);
}

#[test]
fn the_end_comes_after_the_bytes_and_stays() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    registrator.register(&writer, 0, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(0, false, true)]);
    assert_eq!(writer.write(b"last words").unwrap(), 10);
    drop(writer);
    let mut bytes = Vec::new();
    read_to_end_by_events(&mut poll, &mut events, &reader, |some| {
        bytes.extend_from_slice(some);
    });
    assert_eq!(bytes, b"last words");
    for token in 2..5 {
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
        registrator.register(&reader, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
}

#[test]
fn an_end_wakes_a_reader_that_waits() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, writer) = pipe().unwrap();
    registrator.register(&reader, 1, READABLE).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let_it_block();
            drop(writer);
        });
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
    });
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn a_writer_whose_reader_is_gone_is_told() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (reader, mut writer) = pipe().unwrap();
    drop(reader);
    registrator.register(&writer, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let error = loop {
        match writer.write(b"x") {
            // Where a write is a copy in flight, it may be the next that is told.
            Ok(count) => {
                assert_eq!(count, 1);
                registrator.register(&writer, 2, WRITABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(2, false, true)]);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(kind_of(writer.write(b"x")), ErrorKind::BrokenPipe);
}

#[test]
fn a_full_pipe_waits_for_room_and_loses_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    registrator.register(&writer, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let mut written = 0;
    let chunk: Vec<u8> = (0..251).map(pattern).collect();
    let mut refused = 0;
    while refused < 20 {
        match writer.write(&chunk[written % 251..]) {
            Ok(count) => (written, refused) = (written + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    registrator.register(&writer, 2, WRITABLE).unwrap();
    let mut taken = 0;
    let mut buffer = [0; 1000];
    while taken < written {
        let count = until_done(|| reader.read(&mut buffer)).unwrap();
        let right = buffer[..count].iter().enumerate();
        assert!(right
            .into_iter()
            .all(|(at, &byte)| byte == pattern(taken + at)));
        taken += count;
    }
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    assert!(writer.write(b"more").unwrap() > 0);
}

/// Windows' own pipes have messages without bytes; between two ends of this crate none is sent.
#[test]
fn empty_writes_are_no_end() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    registrator.register(&reader, 1, READABLE).unwrap();
    for _ in 0..10 {
        assert_eq!(writer.write(&[]).unwrap(), 0);
    }
    expect_no_events(&mut poll, &mut events);
    assert_eq!(kind_of(reader.read(&mut [0; 4])), ErrorKind::WouldBlock);
}

#[test]
fn many_bytes_cross_between_two_loops() {
    let _watchdog = watchdog();
    let total = effort(8 << 20);
    let (reader, writer) = pipe().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut poll, _, mut events) = queue();
            let mut at = 0;
            while at < total {
                let some: Vec<u8> = (at..total.min(at + 50_000)).map(pattern).collect();
                write_by_events(&mut poll, &mut events, &writer, &some);
                at += some.len();
            }
        });
        let (mut poll, _, mut events) = queue();
        let mut at = 0;
        read_to_end_by_events(&mut poll, &mut events, &reader, |some| {
            assert!(some
                .iter()
                .enumerate()
                .all(|(n, &byte)| byte == pattern(at + n)));
            at += some.len();
        });
        assert_eq!(at, total);
    });
}

#[test]
fn all_accepted_bytes_arrive_after_writer_and_poll_are_dropped() {
    let _watchdog = watchdog();
    for _ in 0..effort(10) {
        let (mut poll, registrator, mut events) = queue();
        let (reader, mut writer) = pipe().unwrap();
        registrator.register(&writer, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let mut written = 0;
        loop {
            match writer.write(&[pattern(written); 1]) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
            if written == 3_000 {
                break;
            }
        }
        drop(writer);
        drop(poll);
        let mut reader_poll = Poll::new().unwrap();
        let mut at = 0;
        read_to_end_by_events(&mut reader_poll, &mut events, &reader, |some| {
            assert!(some
                .iter()
                .enumerate()
                .all(|(n, &byte)| byte == pattern(at + n)));
            at += some.len();
        });
        assert_eq!(at, written);
    }
}

#[test]
fn readers_and_writers_dropped_while_armed_tell_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for round in 0..effort(100) {
        let (reader, writer) = pipe().unwrap();
        registrator.register(&reader, round, READABLE).unwrap();
        if round % 2 == 0 {
            drop(reader);
            drop(writer);
        } else {
            registrator.deregister(&reader).unwrap();
            drop(writer);
            drop(reader);
        }
    }
    expect_no_events(&mut poll, &mut events);
}

#[test]
fn two_threads_share_a_pipe() {
    let _watchdog = watchdog();
    let (reader, writer) = pipe().unwrap();
    let rounds = effort(2_000);
    thread::scope(|scope| {
        let writer = &writer;
        scope.spawn(move || {
            let (mut poll, _, mut events) = queue();
            for _ in 0..rounds {
                write_by_events(&mut poll, &mut events, writer, b"0123456789");
            }
        });
        let (mut poll, registrator, mut events) = queue();
        let mut taken = 0;
        while taken < rounds * 10 {
            registrator.register(&reader, 1, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, false)]);
            loop {
                match (&reader).read(&mut [0; 64]) {
                    Ok(count) => taken += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
        assert_eq!(taken, rounds * 10);
    });
}

#[test]
fn ends_are_sent_shared_and_shown() {
    fn all<T: Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    let (reader, writer) = pipe().unwrap();
    all(&reader);
    all(&writer);
    assert!(format!("{reader:?}{writer:?}").contains("PipeReader"));
}

/// What stands behind the mark, read to the end.
fn output_of(poll: &mut Poll, events: &mut Events, reader: &PipeReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    read_to_end_by_events(poll, events, reader, |some| bytes.extend_from_slice(some));
    let at = bytes
        .windows(BEGIN.len())
        .position(|part| part == BEGIN)
        .expect("the child has begun");
    bytes.split_off(at + BEGIN.len())
}

#[test]
fn the_output_of_a_child_comes_whole_and_ends() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    for count in [0, 1, 70_000, effort(1 << 20)] {
        let (reader, stdout) = PipeReader::with_stdio().unwrap();
        let mut command = child(&format!("write {count}"));
        let mut started = command.stdout(stdout).spawn().unwrap();
        // The command still holds the other end.
        drop(command);
        let bytes = output_of(&mut poll, &mut events, &reader);
        assert_eq!(bytes.len(), count);
        assert!(bytes
            .iter()
            .enumerate()
            .all(|(at, &byte)| byte == pattern(at)));
        assert!(started.wait().unwrap().success());
    }
}

#[test]
fn a_child_reads_what_is_written_to_it() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let count = effort(1 << 20);
    let (writer, stdin) = PipeWriter::with_stdio().unwrap();
    let mut command = child(&format!("read {count}"));
    let mut started = command.stdin(stdin).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    write_pattern(&mut bytes, count);
    write_by_events(&mut poll, &mut events, &writer, &bytes);
    let exit = ChildExit::new(&mut started).unwrap();
    registrator.register(&exit, 1, READABLE).unwrap();
    drop(writer);
    // On Windows the last bytes may still wait for room. Then it is the poll that closes the pipe after them.
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert!(started.wait().unwrap().success());
}

#[test]
fn a_child_answers() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, stdout) = PipeReader::with_stdio().unwrap();
    let (writer, stdin) = PipeWriter::with_stdio().unwrap();
    let mut command = child("echo");
    let mut started = command.stdin(stdin).stdout(stdout).spawn().unwrap();
    drop(command);
    let mut read = |poll: &mut Poll, events: &mut Events, wanted: &[u8]| {
        let mut bytes = Vec::new();
        while !bytes.ends_with(wanted) {
            registrator.register(&reader, 1, READABLE).unwrap();
            expect_events(poll, events, &[(1, true, false)]);
            let mut buffer = [0; 64];
            let count = reader.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the child has ended: {bytes:?}");
            bytes.extend_from_slice(&buffer[..count]);
        }
    };
    read(&mut poll, &mut events, BEGIN);
    for round in 0..effort(100) {
        let message = format!("message {round}\n");
        write_by_events(&mut poll, &mut events, &writer, message.as_bytes());
        read(&mut poll, &mut events, message.as_bytes());
    }
    drop(writer);
    assert!(started.wait().unwrap().success());
}

/// Another child that lives longer must not have the first one's ends: its output would not end.
#[test]
fn an_end_is_not_held_up_by_other_children() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let (reader, stdout) = PipeReader::with_stdio().unwrap();
    let mut other = child("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut command = child("write 10");
    let mut started = command.stdout(stdout).spawn().unwrap();
    drop(command);
    let mut third = child("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(output_of(&mut poll, &mut events, &reader).len(), 10);
    for child in [&mut other, &mut third] {
        assert!(child.try_wait().unwrap().is_none(), "it still runs");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    started.wait().unwrap();
}

#[test]
fn the_pipes_that_std_makes_become_sources() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let mut started = child("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = PipeReader::from(started.stdout.take().unwrap());
    let writer = PipeWriter::from(started.stdin.take().unwrap());
    write_by_events(&mut poll, &mut events, &writer, b"to and fro");
    drop(writer);
    assert_eq!(output_of(&mut poll, &mut events, &reader), b"to and fro");
    assert!(started.wait().unwrap().success());

    let mut started = child("complain 5000")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let reader = PipeReader::from(started.stderr.take().unwrap());
    let mut count = 0;
    read_to_end_by_events(&mut poll, &mut events, &reader, |some| count += some.len());
    assert_eq!(count, 5_000);
    assert!(started.wait().unwrap().success());
}

/// 1 GiB with an effort of 32: every byte, and no more memory than a few pieces.
#[test]
fn a_flood_from_a_child_comes_whole() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let count = effort(32 << 20);
    let (reader, stdout) = PipeReader::with_stdio().unwrap();
    let mut command = child(&format!("write {count}"));
    let mut started = command.stdout(stdout).spawn().unwrap();
    drop(command);
    // What comes before the mark is short.
    let mut before = Some(Vec::new());
    let mut at = 0;
    read_to_end_by_events(&mut poll, &mut events, &reader, |some| {
        let mut check = |some: &[u8]| {
            assert!(some
                .iter()
                .enumerate()
                .all(|(n, &byte)| byte == pattern(at + n)));
            at += some.len();
        };
        let Some(begun) = &mut before else {
            return check(some);
        };
        begun.extend_from_slice(some);
        if let Some(begin) = begun.windows(BEGIN.len()).position(|part| part == BEGIN) {
            check(&begun[begin + BEGIN.len()..]);
            before = None;
        }
    });
    assert_eq!(at, count);
    assert!(started.wait().unwrap().success());
    assert!(registrator.lent_bytes() <= 1 << 20);
}

#[test]
fn a_pipe_belongs_to_one_poll() {
    let _watchdog = watchdog();
    let (_poll, registrator, _events) = queue();
    let (reader, _writer) = pipe().unwrap();
    registrator.register(&reader, 1, READABLE).unwrap();
    let other = Poll::new().unwrap();
    let refused = other.registrator().register(&reader, 1, READABLE);
    assert_eq!(kind_of(refused), ErrorKind::AlreadyExists);
    let refused = other.registrator().deregister(&reader);
    assert_eq!(kind_of(refused), ErrorKind::NotFound);
}

#[test]
fn events_of_many_pipes_all_come() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(3);
    let pipes: Vec<_> = (0..effort(100)).map(|_| pipe().unwrap()).collect();
    for (token, (reader, writer)) in pipes.iter().enumerate() {
        registrator.register(reader, token, READABLE).unwrap();
        registrator.register(writer, token, WRITABLE).unwrap();
    }
    let writable: Vec<_> = (0..pipes.len()).map(|token| (token, false, true)).collect();
    expect_events(&mut poll, &mut events, &writable);
    for (_, writer) in &pipes {
        let mut writer = writer;
        assert_eq!(writer.write(b"a").unwrap(), 1);
    }
    let mut missing = pipes.len();
    while missing > 0 {
        assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
        for one in said(&events) {
            assert!(matches!(one, Said::Readable(_)), "{one:?}");
            missing -= 1;
        }
    }
    expect_nothing_queued(&mut poll, &mut events);
}
