//! What the tests of named pipes share. Peers are often files of `std`, which block: a plain handle without anything of this
//! crate.

#![allow(dead_code)] // each file uses a part

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(minimio_hooks)]
use crate::common::await_that;
use crate::common::{expect_events, handles, QUIET, WRITABLE};
use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use minimio::{Events, Poll, Registrator};

/// What each direction of a pipe here has room for.
pub(crate) const ROOM: usize = 4096;
pub(crate) const ERROR_ACCESS_DENIED: i32 = 5;
pub(crate) const ERROR_INVALID_NAME: i32 = 123;
pub(crate) const ERROR_PIPE_BUSY: i32 = 231;

/// A name that nobody else has.
pub(crate) fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!(r"\\.\pipe\minimio-test-{}-{number}", std::process::id())
}

pub(crate) fn options() -> NamedPipeOptions {
    let bytes = u32::try_from(ROOM).unwrap();
    let mut options = NamedPipeOptions::new();
    options.in_buffer(bytes).out_buffer(bytes);
    options
}

/// A server's end and its client's, connected. Neither is registered.
pub(crate) fn pair() -> (NamedPipe, NamedPipe) {
    let name = name();
    let server = options().create(&name).unwrap();
    let client = NamedPipe::open(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

/// The same, with the client's end first.
pub(crate) fn reversed_pair() -> (NamedPipe, NamedPipe) {
    let (server, client) = pair();
    (client, server)
}

/// A server's end, and a client that blocks.
pub(crate) fn pair_with_file() -> (NamedPipe, File) {
    let name = name();
    let server = options().create(&name).unwrap();
    let client = open_file(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

pub(crate) fn open_file(name: &str) -> io::Result<File> {
    File::options().read(true).write(true).open(name)
}

pub(crate) fn queue() -> (Poll, Registrator, Events) {
    queue_with(1 << 20)
}

pub(crate) fn queue_with(limit: usize) -> (Poll, Registrator, Events) {
    let poll = Poll::with_lent_limit(limit).unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

#[track_caller]
pub(crate) fn expect_kind<T: std::fmt::Debug>(result: io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

#[track_caller]
pub(crate) fn expect_bytes(pipe: &mut impl Read, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len() + 8];
    let count = pipe.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], bytes);
}

/// Has a write in flight that does not end before somebody reads. Returns how many bytes were accepted.
pub(crate) fn write_in_flight(poll: &mut Poll, events: &mut Events, mut pipe: &NamedPipe) -> usize {
    poll.registrator().register(pipe, 99, WRITABLE).unwrap();
    expect_events(poll, events, &[(99, false, true)]);
    let count = pipe.write(&vec![0x5a; ROOM + 1000]).unwrap();
    assert_eq!(count, ROOM + 1000);
    count
}

/// Runs `body` until a round leaves no more handles than it found, and nothing in flight. Only one test does so at a time;
/// the handles of other tests come and go.
pub(crate) fn leaves_nothing(body: impl Fn()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..20 {
        let before = handles();
        body();
        #[cfg(minimio_hooks)]
        await_that("no reaper runs", || {
            minimio::hooks::windows::live_reapers() == 0
        });
        let end = Instant::now() + QUIET;
        while handles() > before && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        if handles() <= before {
            return;
        }
    }
    panic!("each round has left handles: {}", handles());
}
