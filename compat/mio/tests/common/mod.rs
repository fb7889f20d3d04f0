//! What the tests share. They use `mio`'s interface and `std` alone, so that they run on the real mio, too
//! (by `compat/others/run`): that shows that they ask for what mio does, and not for what this package does.

// Every test file is a program of its own, and uses only a part of this module.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use mio::event::{Event, Source};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

/// How long a wait may last before it counts as hung. No passing test comes near it.
pub const HANG: Duration = Duration::from_secs(60);

/// How long a test waits for events that must not come. It does not find one that comes later.
pub const QUIET: Duration = Duration::from_millis(50);

pub const R: Interest = Interest::READABLE;
pub const W: Interest = Interest::WRITABLE;
pub const RW: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A `Poll` and its batch.
pub struct Loop {
    pub poll: Poll,
    pub events: Events,
}

impl Loop {
    pub fn new() -> Loop {
        Loop::with_capacity(64)
    }

    pub fn with_capacity(capacity: usize) -> Loop {
        Loop {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(capacity),
        }
    }

    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    #[track_caller]
    pub fn register(&self, source: &mut impl Source, token: usize, interest: Interest) {
        let registered = self.registry().register(source, Token(token), interest);
        registered.unwrap();
    }

    /// Polls until there is an event of `token` for which `is` holds, and returns it.
    #[track_caller]
    pub fn until(&mut self, token: usize, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let began = Instant::now();
        loop {
            self.poll
                .poll(&mut self.events, Some(Duration::from_secs(1)))
                .unwrap();
            let found = |event: &&Event| event.token() == Token(token) && is(event);
            if let Some(event) = self.events.iter().find(found) {
                return event.clone();
            }
            assert!(
                began.elapsed() < HANG,
                "no {what} event of {token} has come"
            );
        }
    }

    #[track_caller]
    pub fn readable(&mut self, token: usize) -> Event {
        self.until(token, "readable", Event::is_readable)
    }

    #[track_caller]
    pub fn writable(&mut self, token: usize) -> Event {
        self.until(token, "writable", Event::is_writable)
    }

    /// The events of a while in which not much should come.
    pub fn rest(&mut self) -> Vec<Event> {
        let until = Instant::now() + QUIET;
        let mut all = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.poll.poll(&mut self.events, Some(left)).unwrap();
            all.extend(self.events.iter().cloned());
        }
        all
    }
}

/// A stream of mio's that is connected and not registered, and its peer.
pub fn pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), peer)
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Reads until there is nothing for now, or the end. Says what came, and whether it was the end.
pub fn drain(mut from: impl Read) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return (all, true),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (all, false),
            Err(error) => panic!("cannot read: {error}"),
        }
    }
}

/// Waits until something is there to read, by calls that tell the stream nothing of it.
pub fn wait_for_bytes(stream: &TcpStream) {
    let began = Instant::now();
    while stream.peek(&mut [0]).is_err() {
        assert!(began.elapsed() < HANG, "nothing has come");
    }
}

/// Writes until there is no room. Says how much went.
pub fn fill(mut to: impl Write) -> usize {
    let mut all = 0;
    loop {
        match to.write(&[7; 64 << 10]) {
            Ok(count) => all += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("cannot write: {error}"),
        }
    }
}

/// Ends the process, and names the test, if the test that holds the returned value hangs.
#[must_use]
pub struct Watchdog(std::sync::mpsc::Sender<()>);

pub fn watchdog() -> Watchdog {
    let test = thread::current().name().unwrap_or("?").to_owned();
    let (alive, dead) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let ended = dead.recv_timeout(5 * HANG);
        if ended == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // `eprintln` would be kept back until the test has ended.
            drop(writeln!(std::io::stderr(), "{test} hangs"));
            std::process::exit(101);
        }
    });
    Watchdog(alive)
}

/// Of this package, and not of the real mio.
pub fn is_ours() -> bool {
    option_env!("REAL_MIO").is_none()
}
