//! What the tests share: connected pairs, a factor for the effort, a watchdog, and assertions about what a poll hands
//! out.
//! It uses only the public API, `std` and `socket2`, so that every system runs the same suite.
//! **Loopback takes time.** On Linux, what a call does to a connection has reached the other end when the call returns.
//! On FreeBSD, macOS and Windows it may not have: after a `connect` returns, the connection may not be at the listener
//! yet, and the same goes for the bytes of a `write` and the end of a `close`. Two peers may also overtake each other.
//! So a test waits for the event, or calls [`until_done`], [`accept`], [`read_some`] or [`await_bytes`]. It relies on
//! the result of a call at once only if an event has just promised that result. `.ci/slow-loopback` makes Linux as slow
//! as the other systems.

// Every test file is a program of its own, and uses only a part of this module.
#![allow(dead_code)]

pub(crate) mod ends;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{self, SocketAddr};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ends::StreamEnd;
use minimio::{Events, Interests, Poll, TcpListener, TcpStream, Token};

pub(crate) const READABLE: Interests = Interests::READABLE;
pub(crate) const WRITABLE: Interests = Interests::WRITABLE;
pub(crate) const BOTH: Interests = Interests::READABLE.union(Interests::WRITABLE);

/// How long a wait may last before it counts as hung. No passing test comes near it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// How long `expect_no_events` waits. It does not find an event that comes later.
pub(crate) const QUIET: Duration = Duration::from_millis(60);

/// The time limit of a test, which bounds everything that has no time-out of its own.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(120);

/// Scales a count by the environment variable `MINIMIO_EFFORT` (a factor, 1 if unset), to at least 1.
pub(crate) fn effort(count: usize) -> usize {
    scaled(count as f64 * effort_factor())
}

fn effort_factor() -> f64 {
    match std::env::var("MINIMIO_EFFORT") {
        Ok(factor) => factor
            .trim()
            .parse()
            .expect("MINIMIO_EFFORT must be a number"),
        Err(_) => 1.0,
    }
}

// Every count that a test can loop over is small enough for `f64` to be exact. A negative one becomes 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(count: f64) -> usize {
    (count as usize).max(1)
}

/// Ends the process, and names the test, if the test that holds the returned value runs far too long. Bind the value:
/// `let _watchdog = watchdog();`.
#[must_use]
pub(crate) struct Watchdog {
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[track_caller]
pub(crate) fn watchdog() -> Watchdog {
    let test = thread::current().name().unwrap_or("?").to_owned();
    let place = Location::caller();
    // A larger effort takes longer, so the limit grows with it.
    let limit = WATCHDOG_LIMIT.mul_f64(effort_factor().max(1.0));
    let (alive, dead) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        if dead.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {test} ({place}) still runs after {limit:?}");
            std::process::abort();
        }
    });
    Watchdog {
        alive: Some(alive),
        thread: Some(thread),
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic here would hide that of the test.
            drop(thread.join());
        }
    }
}

/// Two connected streams of `std`, both blocking and without Nagle's delay.
pub(crate) fn std_pair() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(from, near.local_addr().unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// A stream to test and its blocking peer.
pub(crate) fn pair() -> (TcpStream, net::TcpStream) {
    let (near, far) = std_pair();
    (TcpStream::from_std(near).unwrap(), far)
}

/// Two connected streams to test.
pub(crate) fn minimio_pair() -> (TcpStream, TcpStream) {
    let (near, far) = std_pair();
    (
        TcpStream::from_std(near).unwrap(),
        TcpStream::from_std(far).unwrap(),
    )
}

/// One thing that an event says. An event with both flags says two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Readable(Token),
    Writable(Token),
    Wake(Token),
}

/// What the events of a batch say, in their order.
pub(crate) fn said(events: &Events) -> Vec<Said> {
    let mut all = Vec::new();
    for event in events {
        all.extend(what(event.id(), event.is_readable(), event.is_writable()));
    }
    all
}

fn what(token: Token, readable: bool, writable: bool) -> Vec<Said> {
    match (readable, writable) {
        (false, false) => vec![Said::Wake(token)],
        (true, false) => vec![Said::Readable(token)],
        (false, true) => vec![Said::Writable(token)],
        (true, true) => vec![Said::Readable(token), Said::Writable(token)],
    }
}

/// Polls until exactly these `(token, readable, writable)` have come, in any order and in any number of batches. A wake
/// is `(token, false, false)`. Readable and writable under one token may come in one event or in two. Anything else
/// fails.
#[track_caller]
pub(crate) fn expect_events(
    poll: &mut Poll,
    events: &mut Events,
    expected: &[(Token, bool, bool)],
) {
    let mut missing: BTreeMap<Said, usize> = BTreeMap::new();
    for &(token, readable, writable) in expected {
        for one in what(token, readable, writable) {
            *missing.entry(one).or_default() += 1;
        }
    }
    let end = Instant::now() + HANG;
    while !missing.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let count = poll.poll(events, Some(left)).unwrap();
        assert_ne!(count, 0, "of {expected:?}, these did not come: {missing:?}");
        assert_eq!(count, events.len());
        assert!(count <= events.capacity());
        for one in said(events) {
            match missing.get_mut(&one) {
                Some(1) => drop(missing.remove(&one)),
                Some(left) => *left -= 1,
                None => {
                    panic!("{one:?} came in {events:?}; expected {expected:?}, left {missing:?}")
                }
            }
        }
    }
}

/// Tells another thread that the test is over, also when an assertion fails.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls for a short while and fails on any event.
#[track_caller]
pub(crate) fn expect_no_events(poll: &mut Poll, events: &mut Events) {
    let count = poll.poll(events, Some(QUIET)).unwrap();
    assert_eq!(count, 0, "no event was due: {events:?}");
}

/// Polls without waiting and fails on any event.
#[track_caller]
pub(crate) fn expect_nothing_queued(poll: &mut Poll, events: &mut Events) {
    let count = poll.poll(events, Some(Duration::ZERO)).unwrap();
    assert_eq!(count, 0, "no event was due: {events:?}");
}

/// See [`StreamEnd::await_bytes`].
#[track_caller]
pub(crate) fn await_bytes<S: StreamEnd>(stream: &S, count: usize) {
    stream.await_bytes(count);
}

/// Fills `buffer` from `stream`: it registers, waits for the event and reads once, again and again. Nothing else may be
/// armed.
#[track_caller]
pub(crate) fn read_exact_by_events<S: StreamEnd>(
    poll: &mut Poll,
    events: &mut Events,
    stream: &S,
    token: Token,
    buffer: &mut [u8],
) {
    let mut filled = 0;
    while filled < buffer.len() {
        poll.registrator()
            .register(stream, token, Interests::READABLE)
            .unwrap();
        expect_events(poll, events, &[(token, true, false)]);
        let count = stream.read(&mut buffer[filled..]).unwrap();
        assert_ne!(count, 0, "the stream ended after {filled} bytes");
        filled += count;
    }
}

/// Writes all of `bytes` to `stream`: it writes until the stream is full, registers and waits for the event, again and
/// again. Nothing else may be armed.
#[track_caller]
pub(crate) fn write_all_by_events<S: StreamEnd>(
    poll: &mut Poll,
    events: &mut Events,
    stream: &S,
    token: Token,
    bytes: &[u8],
) {
    let mut written = 0;
    while written < bytes.len() {
        poll.registrator()
            .register(stream, token, Interests::WRITABLE)
            .unwrap();
        expect_events(poll, events, &[(token, false, true)]);
        // The first write after the event accepts something. Later writes accept as much as fits.
        written += stream.write(&bytes[written..]).unwrap();
        while written < bytes.len() {
            match stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Writes until `stream` takes no more, and returns how many bytes it took. Its peer must not read meanwhile.
#[track_caller]
pub(crate) fn fill<S: StreamEnd>(stream: &S) -> usize {
    let chunk = vec![0x5a; 64 << 10];
    let mut written = 0;
    // A moment after the system has said that there is no room, it may move bytes to the peer or enlarge a buffer. So
    // the stream counts as full only when it stays full.
    let mut refused = 0;
    while refused < 20 {
        match stream.write(&chunk) {
            Ok(count) => {
                written += count;
                refused = 0;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// Gives a thread that is about to `poll` the time to block there. The tests are right in any case. This only makes the
/// interesting order likely.
pub(crate) fn let_it_block() {
    thread::sleep(Duration::from_millis(30));
}

/// A blocking server that answers after the delay that the request names.
/// The request is a line that contains `/delay/<milliseconds>`. A text may follow after another slash. If the line ends
/// in `HTTP/1.1`, header lines up to an empty line follow, and the answer is an HTTP response whose body is the text.
/// Otherwise the answer is the text and a line end. Then the server closes the connection.
pub(crate) struct DelayServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DelayServer {
    pub(crate) fn start() -> DelayServer {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    thread::spawn(move || serve_delayed(stream));
                }
            }
        });
        DelayServer {
            address,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DelayServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One more connection makes the thread return from `accept`.
        if net::TcpStream::connect(self.address).is_ok() {
            if let Some(thread) = self.thread.take() {
                drop(thread.join());
            }
        }
    }
}

/// Serves one connection. If the client goes away early, that is no error.
fn serve_delayed(stream: net::TcpStream) {
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let request = request.trim_end();
    let is_http = request.ends_with("HTTP/1.1");
    let mut header = String::new();
    while is_http && reader.read_line(&mut header).is_ok_and(|count| count > 2) {
        header.clear();
    }
    let Some((_, path)) = request.split_once("/delay/") else {
        return;
    };
    let path = path.split_whitespace().next().unwrap_or("");
    let (delay_ms, text) = path.split_once('/').unwrap_or((path, ""));
    let Ok(delay_ms) = delay_ms.parse() else {
        return;
    };
    thread::sleep(Duration::from_millis(delay_ms));
    let answer = if is_http {
        let length = text.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
    } else {
        format!("{text}\n")
    };
    drop((&stream).write_all(answer.as_bytes()));
}

/// Whether Wine runs this program. Where Wine is known to differ from Windows, a test asserts the difference.
#[cfg(windows)]
pub(crate) fn under_wine() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

    let name: Vec<u16> = "ntdll.dll\0".encode_utf16().collect();
    // SAFETY: the name is a UTF-16 string that ends in 0, and it lives as long as the call lasts.
    let ntdll = unsafe { GetModuleHandleW(name.as_ptr()) };
    if ntdll.is_null() {
        return false;
    }
    // SAFETY: `ntdll` stays loaded in every process, and the name ends in 0. The function is not called.
    unsafe { GetProcAddress(ntdll, b"wine_get_version\0".as_ptr()) }.is_some()
}

#[cfg(not(windows))]
pub(crate) fn under_wine() -> bool {
    false
}

/// Both loopback addresses. A test uses each if the address family may matter.
pub(crate) const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Does what `std_pair` does, over one of `LOOPBACKS`.
pub(crate) fn std_pair_over(loopback: &str) -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind(loopback).unwrap();
    let near = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(from, near.local_addr().unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Does what `pair` does, over one of `LOOPBACKS`.
pub(crate) fn pair_over(loopback: &str) -> (TcpStream, net::TcpStream) {
    let (near, far) = std_pair_over(loopback);
    (TcpStream::from_std(near).unwrap(), far)
}

/// Repeats a non-blocking call until it gives something else than `WouldBlock`. A test without a poll waits in this
/// way.
#[track_caller]
pub(crate) fn until_done<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    let end = Instant::now() + HANG;
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        assert!(Instant::now() < end, "it would still block after {HANG:?}");
        thread::yield_now();
    }
}

/// Accepts a connection that may still be on its way to the listener.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    until_done(|| listener.accept()).unwrap()
}

/// Reads once from a stream whose bytes, or whose end, may still be on their way.
#[track_caller]
pub(crate) fn read_some<S: StreamEnd>(stream: &S, buffer: &mut [u8]) -> usize {
    until_done(|| stream.read(buffer)).unwrap()
}

/// Waits until `holds` returns true, for something that another thread or the system does.
#[track_caller]
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + HANG;
    while !holds() {
        assert!(Instant::now() < end, "not within {HANG:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Asserts how a write fails after sending was shut down.
#[track_caller]
pub(crate) fn expect_shut_down<T: std::fmt::Debug>(result: std::io::Result<T>) {
    let error = result.unwrap_err();
    if cfg!(windows) {
        // WSAESHUTDOWN, for which `std` has no kind.
        assert_eq!(error.raw_os_error(), Some(10058));
    } else {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

/// The kind of error of a call that must fail.
#[track_caller]
pub(crate) fn kind_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.expect_err("the call must fail").kind()
}

/// Returns once `stream` has something to read, without an allocation.
#[track_caller]
pub(crate) fn await_readable<S: StreamEnd>(stream: &S) {
    assert_ne!(until_done(|| stream.peek(&mut [0])).unwrap(), 0, "it ended");
}

/// Makes `stream` a source of `poll` and fills it. On Windows the stream then sends a copy of what did not fit (5.5).
#[track_caller]
pub(crate) fn adopt_and_fill<S: StreamEnd>(
    poll: &mut Poll,
    events: &mut Events,
    stream: &S,
) -> usize {
    poll.registrator()
        .register(stream, 0, Interests::WRITABLE)
        .unwrap();
    expect_events(poll, events, &[(0, false, true)]);
    fill(stream)
}

/// Fills `stream` and arms `WRITABLE`, again and again until no event comes. Then the stream is full and waits for
/// room. Returns how many bytes were written. (The system may find some room a while after it had none.)
#[track_caller]
pub(crate) fn fill_and_arm<S: StreamEnd>(
    poll: &mut Poll,
    events: &mut Events,
    stream: &S,
    token: Token,
) -> usize {
    let mut written = fill(stream);
    let registrator = poll.registrator();
    for _ in 0..100 {
        registrator
            .register(stream, token, Interests::WRITABLE)
            .unwrap();
        if poll.poll(events, Some(QUIET)).unwrap() == 0 {
            return written;
        }
        assert_eq!(said(events), [Said::Writable(token)]);
        // The event was not false.
        written += stream.write(&[0x5a; 1024]).unwrap();
        written += fill(stream);
    }
    panic!("there is always room");
}

/// The memory that the process has in use, in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1);
    kib.unwrap().parse().unwrap()
}

/// The most memory that the process has had in use so far, in KiB. (On Linux this includes the program that ran in the
/// process before this one was started.)
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn resident_kib() -> usize {
    // SAFETY: all zeroes is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel may write the structure as long as the call lasts.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(result, 0);
    let most = usize::try_from(usage.ru_maxrss).unwrap();
    // Apple counts bytes.
    if cfg!(target_vendor = "apple") {
        most / 1024
    } else {
        most
    }
}

/// Lets this process have that many descriptors at least, where the limit was lower.
#[cfg(unix)]
pub(crate) fn allow_descriptors(count: usize) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel may write the limit as long as the call lasts.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    limit.rlim_cur = limit.rlim_cur.max(count as libc::rlim_t);
    // SAFETY: the kernel reads the limit as long as the call lasts.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// How many descriptors this process can have, less some for other uses.
#[cfg(unix)]
pub(crate) fn most_connections() -> usize {
    const SPARE: usize = 200;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel may write the limit as long as the call lasts.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    // "Unlimited" is a number that may not fit, or the largest that does.
    let limit = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    limit.saturating_sub(SPARE)
}

/// How many descriptors this process has. It looks only at low numbers, which are the ones that a process is given.
#[cfg(unix)]
pub(crate) fn descriptors() -> usize {
    (0..4_096)
        // SAFETY: the call takes only numbers, and fails for a descriptor that is not open.
        .filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1)
        .count()
}

/// How many handles the loader and the thread pool of Windows may open during a test, and keep. A leak of the crate
/// would be one handle for each repetition.
#[cfg(windows)]
pub(crate) const HANDLES_OF_OTHERS: u32 = 16;

/// Starts a child process and waits for its end. Windows keeps two or three handles of the first child process. So a
/// test calls this before it counts handles.
#[cfg(windows)]
pub(crate) fn start_a_child() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no test has this name"])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Polls until nothing is lent any more, and expects no event. An operation that was cancelled may end later, and its
/// memory comes back with its packet.
#[cfg(windows)]
#[track_caller]
pub(crate) fn await_nothing_lent(poll: &mut Poll, events: &mut Events) {
    let registrator = poll.registrator();
    await_that("what was lent is back", || {
        expect_nothing_queued(poll, events);
        registrator.lent_bytes() == 0
    });
}

/// How many handles this process has.
#[cfg(windows)]
pub(crate) fn handles() -> u32 {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};
    let mut count = 0;
    // SAFETY: the call returns the number of a pseudo handle.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is that of this process, and the count may be written.
    let done = unsafe { GetProcessHandleCount(this, &mut count) };
    assert_ne!(done, 0);
    count
}
