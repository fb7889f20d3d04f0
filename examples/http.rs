//! A keep-alive HTTP/1.1 server for real clients: `curl`, browsers, `wrk -c 256`.
//!
//! One thread accepts and deals the streams out to `--threads` workers, each with a `Poll` of its own.
//! This file has the threads, the event loops and the time-outs; `http/connection.rs` what happens on
//! a connection; `http/request.rs` what a request means.
//!
//! Paths: `/` greets, `/big` is 8 MiB, `POST /echo` sends the body back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use minimio::{Events, Interests, Poll, Registrator, TcpListener, TcpStream, Token};

#[path = "http/connection.rs"]
mod connection;
#[path = "http/request.rs"]
mod request;
use connection::{Connection, Wait};

const USAGE: &str = "\
usage: http [--listen ADDR] [--threads N] [--idle-timeout SECONDS] [--header-timeout SECONDS]

A keep-alive HTTP/1.1 server. Ctrl-C finishes what is in flight and ends it.

  --listen ADDR             address and port, port 0 for any (default 127.0.0.1:8080)
  --threads N               workers, beside the thread that accepts (default 1)
  --idle-timeout SECONDS    for a connection without a request or without progress (default 60)
  --header-timeout SECONDS  for the head of a request, from its first byte (default 10)
";

/// The acceptor's tokens.
const LISTENER: Token = 0;
const STOP: Token = 1;
/// The worker's only fixed token: look at the channel. Its connections' tokens come after it.
const CHANNEL: Token = 0;

const BATCH: usize = 256;
/// After so many accepts the acceptor looks whether it is to stop.
const ACCEPT_BATCH: usize = 64;
/// How long the listener is left alone after it failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const READ_SIZE: usize = 16 << 10;
/// How long a client may take to end its side after we have ended ours.
const LINGER: Duration = Duration::from_secs(2);
/// How long what is in flight may take after Ctrl-C.
const STOP_WITHIN: Duration = Duration::from_secs(3);

static STOPPING: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy)]
struct Options {
    listen: SocketAddr,
    threads: NonZeroUsize,
    idle: Duration,
    header: Duration,
}

fn main() -> io::Result<()> {
    let options = options();
    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    // The handler runs on a thread, not inside the signal, so it may take the lock of `wake`. That
    // fails only if the loop has ended, and then there is nothing to wake.
    ctrlc::set_handler(move || {
        STOPPING.store(true, Ordering::Release);
        drop(registrator.wake(STOP));
    })
    .map_err(|error| io::Error::new(ErrorKind::Other, error))?;

    let listener = TcpListener::bind(options.listen)?;
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..options.threads.get() {
        let (sender, streams) = mpsc::channel();
        let mut worker = Worker::new(streams, options)?;
        workers.push((sender, worker.registrator.clone()));
        threads.push(thread::spawn(move || worker.run()));
    }
    println!("listening on {}", listener.local_addr()?);

    let accepted = accept(&mut poll, &listener, &workers);
    drop(listener);
    for (sender, registrator) in workers {
        drop(sender); // The end of the channel tells the worker to stop.
        drop(registrator.wake(CHANNEL));
    }
    for thread in threads {
        thread.join().expect("a worker does not panic")?;
    }
    println!("stopped");
    accepted
}

/// Accepts until Ctrl-C, and deals the streams out in turn.
fn accept(
    poll: &mut Poll,
    listener: &TcpListener,
    workers: &[(Sender<TcpStream>, Registrator)],
) -> io::Result<()> {
    let mut events = Events::with_capacity(BATCH);
    let mut workers = workers.iter().cycle();
    let mut paused = false;
    loop {
        if !paused {
            poll.registrator()
                .register(listener, LISTENER, Interests::READABLE)?;
        }
        poll.poll(&mut events, paused.then_some(ACCEPT_PAUSE))?;
        if STOPPING.load(Ordering::Acquire) {
            return Ok(());
        }
        for _ in 0..ACCEPT_BATCH {
            match listener.accept() {
                Ok((stream, _)) => {
                    paused = false;
                    let (sender, registrator) = workers.next().expect("there is a worker");
                    // A worker that is gone has failed, and says so when it is joined.
                    if sender.send(stream).is_err() || registrator.wake(CHANNEL).is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    // The connection waits on, so registering at once would report it at once.
                    let failed = error.kind() != ErrorKind::WouldBlock;
                    if failed && !paused {
                        eprintln!("cannot accept for now: {error}");
                    }
                    paused = failed;
                    break;
                }
            }
        }
    }
}

/// One thread's event loop and its connections. Workers share nothing.
struct Worker {
    poll: Poll,
    registrator: Registrator,
    streams: Receiver<TcpStream>,
    options: Options,
    /// Tokens are never used twice: an event that comes after its connection's end finds nobody.
    connections: HashMap<Token, Connection>,
    next_token: Token,
    /// When to look at which connection, soonest first: the head is `poll`'s time-out.
    timers: BinaryHeap<Reverse<(Instant, Token, u64)>>,
    scratch: Vec<u8>,
    stop_by: Option<Instant>,
}

impl Worker {
    fn new(streams: Receiver<TcpStream>, options: Options) -> io::Result<Worker> {
        let poll = Poll::new()?;
        Ok(Worker {
            registrator: poll.registrator(),
            poll,
            streams,
            options,
            connections: HashMap::new(),
            next_token: CHANNEL + 1,
            timers: BinaryHeap::new(),
            scratch: vec![0; READ_SIZE],
            stop_by: None,
        })
    }

    /// Serves until the channel has ended, and then the last connection or the time for it.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(BATCH);
        loop {
            let first = self.timers.peek().map(|Reverse((at, ..))| *at);
            let until = first.into_iter().chain(self.stop_by).min();
            let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, timeout)?;
            for event in &events {
                match event.id() {
                    CHANNEL => self.take_streams(),
                    token => self.serve(token, event.is_readable()),
                }
            }
            self.expire();
            if let Some(stop_by) = self.stop_by {
                if self.connections.is_empty() || Instant::now() >= stop_by {
                    return Ok(());
                }
            }
        }
    }

    fn take_streams(&mut self) {
        loop {
            match self.streams.try_recv() {
                Ok(stream) => {
                    drop(stream.set_nodelay(true)); // Only speed depends on it.
                    let token = self.next_token;
                    self.next_token += 1;
                    self.connections.insert(token, Connection::new(stream));
                    // If a request is there already, registering reports it.
                    self.serve(token, false);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
            // One more read each: a request that has arrived is answered, who has none is let go.
            for token in self.connections.keys().copied().collect::<Vec<_>>() {
                self.serve(token, true);
            }
        }
    }

    /// Lets a connection do what it can, then waits for what it needs next, or drops it: whatever a
    /// client does to its own connection, it does to no other.
    fn serve(&mut self, token: Token, readable: bool) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let stopping = self.stop_by.is_some();
        let next = connection.turn(readable, stopping, &mut self.scratch);
        let registered = next.and_then(|interest| {
            self.registrator
                .register(&connection.stream, token, interest)
        });
        if registered.is_err() {
            self.connections.remove(&token);
        } else if connection.starts_to_wait() {
            let after = match connection.wait {
                Wait::Idle | Wait::Body | Wait::Write => self.options.idle,
                Wait::Head => self.options.header,
                Wait::Linger => LINGER,
            };
            self.set_deadline(token, Instant::now() + after);
        }
    }

    /// A deadline moves with every request. Were each move an entry, the heap would hold a minute's
    /// requests. So a later deadline is only noted, and its entry put off when it comes up; an earlier
    /// one gets an entry of a new generation, and the old entry is skipped when it comes up.
    fn set_deadline(&mut self, token: Token, deadline: Instant) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.deadline = deadline;
        if connection.queued.map_or(true, |queued| deadline < queued) {
            connection.queued = Some(deadline);
            connection.generation += 1;
            self.timers
                .push(Reverse((deadline, token, connection.generation)));
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, token, generation))) = self.timers.peek() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            if connection.generation != generation {
                continue;
            }
            connection.queued = None;
            if connection.deadline > now {
                let deadline = connection.deadline;
                self.set_deadline(token, deadline);
            } else if connection.time_out() {
                self.serve(token, false);
            } else {
                self.connections.remove(&token);
            }
        }
    }
}

fn options() -> Options {
    let mut options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
        threads: NonZeroUsize::MIN,
        idle: Duration::from_secs(60),
        header: Duration::from_secs(10),
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--help" | "-h" => {
                print!("{USAGE}");
                process::exit(0);
            }
            "--listen" => options.listen = parsed(&name, arguments.next()),
            "--threads" => options.threads = parsed(&name, arguments.next()),
            "--idle-timeout" => options.idle = seconds(&name, arguments.next()),
            "--header-timeout" => options.header = seconds(&name, arguments.next()),
            _ => wrong(&name),
        }
    }
    options
}

fn parsed<T: FromStr>(name: &str, value: Option<String>) -> T {
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| wrong(name))
}

fn seconds(name: &str, value: Option<String>) -> Duration {
    const MOST: f64 = 1e9; // 30 years: far from where an `Instant` overflows
    let seconds: f64 = parsed(name, value);
    if !(seconds > 0.0 && seconds <= MOST) {
        wrong(name);
    }
    Duration::from_secs_f64(seconds)
}

fn wrong(name: &str) -> ! {
    eprint!("wrong argument: {name}\n\n{USAGE}");
    process::exit(2);
}
