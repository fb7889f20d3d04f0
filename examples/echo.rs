//! An echo server and the load that tests it, in one process: two threads, each with its own `Poll`.
//! Both loops work in the same way. An event says that something can be done. The loop does it
//! once, and then registers for what the next step needs. It need not read until `WouldBlock`, so a
//! message costs the server one read and one write.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use minimio::{Event, Events, Interests, Poll, Registrator, TcpListener, TcpStream, Token};

mod common;
use common::{cannot, exit_code, listen, Arguments, Failures, Stop};

const USAGE: &str = "\
usage: echo [--listen ADDRESS | --connect ADDRESS] [--connections N] [--size BYTES] [--seconds S]

An echo server, and clients that wait for each echo and check every byte of it.

  --listen ADDRESS    only serve, until Ctrl-C
  --connect ADDRESS   only load a server elsewhere
  --connections N     number of clients (default 100)
  --size BYTES        length of a message (default 64)
  --seconds S         how long to send, fractions allowed (default 5)
The exit status is 1 if anything was lost or wrong.
";

/// Two tokens that no connection has. Every value is allowed, and connections count from 0.
const STOP: Token = Token::MAX;
const LISTENER: Token = Token::MAX - 1;
/// One poll takes at most this many events from the system.
const BATCH: usize = 1024;
/// The most that one read takes. So it is also the most that the server has to send back to one
/// connection.
const BUFFER: usize = 64 << 10;
/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long each side waits at its end for messages that are on their way.
const GRACE: Duration = Duration::from_secs(2);
/// How long the listener is not used after it failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Turns `WouldBlock` into 0 bytes. It is not a failure here, since an event will say when to try
/// again.
fn or_none(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// A connection on the side of the server.
struct Connection {
    stream: TcpStream,
    /// The bytes that were read and not written back yet. While there are any, nothing more is
    /// read. So a peer that does not take its echo costs at most `BUFFER` bytes here, and TCP slows
    /// it down.
    owed: Vec<u8>,
}

impl Connection {
    /// Does one step and registers for the next. Returns false at the end of the connection.
    fn step(
        &mut self,
        token: Token,
        buffer: &mut [u8],
        registrator: &Registrator,
        is_ending: bool,
    ) -> io::Result<bool> {
        if self.owed.is_empty() {
            let count = match self.stream.read(buffer) {
                // The peer has ended its side, and has got all of its bytes back.
                Ok(0) => return Ok(false),
                result => or_none(result)?,
            };
            self.owed.extend_from_slice(&buffer[..count]);
        }
        let written = or_none(self.stream.write(&self.owed))?;
        self.owed.drain(..written);
        let mut next = Interests::WRITABLE;
        if self.owed.is_empty() {
            next = Interests::READABLE;
            if is_ending {
                // Dropping a stream with bytes unread would reset the connection, and the peer
                // might lose an echo that is on its way. So this ends only one direction. The peer
                // ends the other.
                self.stream.shutdown(Shutdown::Write)?;
            }
        }
        registrator.register(&self.stream, token, next)?;
        Ok(true)
    }
}

/// Serves until it is asked to stop, and then prints how that went.
fn serve(mut poll: Poll, listener: TcpListener, stop: &Stop) -> io::Result<()> {
    let registrator = poll.registrator();
    let mut listener = Some(listener);
    // When to register the listener: at once, or some time after it failed.
    let mut listen_at = Some(Instant::now());
    let mut has_complained = false;
    // A tree frees the memory of connections that are gone, which a hash table does not.
    let mut connections = BTreeMap::new();
    let mut failures = Failures::default();
    // A token is never used twice, so an event is never mistaken for one of another connection.
    let mut next_token = 0;
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(BATCH);
    let mut deadline = None;
    loop {
        let now = Instant::now();
        if deadline.is_none() && stop.is_asked() {
            (listener, listen_at, deadline) = (None, None, Some(now + GRACE));
            // Wake each connection for a step. It echoes what has arrived, and then ends its
            // direction.
            for &token in connections.keys() {
                registrator.wake(token)?;
            }
        }
        if deadline.is_some_and(|end| connections.is_empty() || now >= end) {
            break;
        }
        if let (Some(listener), true) = (&listener, listen_at.is_some_and(|at| now >= at)) {
            registrator.register(listener, LISTENER, Interests::READABLE)?;
            listen_at = None;
        }
        poll.poll_until(&mut events, deadline.or(listen_at))?;
        for event in &events {
            let token = event.id();
            if let (LISTENER, Some(listener)) = (token, &listener) {
                // Accepts one connection. If more wait, the next registration reports them.
                listen_at = Some(now);
                match listener.accept() {
                    Ok((stream, _)) => {
                        // Otherwise a short message may have to wait until the one before it is
                        // acknowledged.
                        drop(stream.set_nodelay(true));
                        let owed = Vec::new();
                        connections.insert(next_token, Connection { stream, owed });
                        // A wake leads to a step like any event, and the step registers the stream.
                        registrator.wake(next_token)?;
                        next_token += 1;
                        has_complained = false;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => {
                        // Most likely no descriptor is left. Registering at once would give the
                        // same error again. After other connections have closed it may work.
                        listen_at = Some(now + ACCEPT_PAUSE);
                        if !has_complained {
                            eprintln!("echo: cannot accept for now: {error}");
                        }
                        has_complained = true;
                    }
                }
            } else if let Some(connection) = connections.get_mut(&token) {
                match connection.step(token, &mut buffer, &registrator, deadline.is_some()) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // A failure ends one connection, and never the server.
                    Err(error) => failures.count(&error),
                }
                connections.remove(&token);
            }
        }
    }
    let (failed, left) = (failures.total(), connections.len());
    println!("served {next_token} connections: {failed} failed, {left} did not end in time");
    print!("{failures}");
    Ok(())
}

/// A connection on the side of the clients.
struct Client {
    stream: TcpStream,
    /// The number of the message that is on its way, or 0 while connecting.
    number: u64,
    begun: Instant,
    sent: usize,
    echoed: usize,
}

impl Client {
    /// Does what the event allows and registers for what comes next. Returns false when everything
    /// is done.
    fn step(
        &mut self,
        event: &Event,
        load: &mut Load,
        registrator: &Registrator,
    ) -> io::Result<bool> {
        let token = event.id();
        if self.number == 0 {
            // The event says that the connect has ended. This says how.
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.stream.set_nodelay(true)?;
        } else if event.is_readable() {
            self.receive(token, load)?;
        }
        if self.number == 0 || self.echoed == load.size {
            if load.is_ending {
                return Ok(false);
            }
            (self.number, self.sent, self.echoed) = (self.number + 1, 0, 0);
            self.begun = Instant::now();
        }
        while self.sent < load.size {
            let part = &mut load.buffer[..BUFFER.min(load.size - self.sent)];
            fill(part, token, self.number, self.sent);
            let written = or_none(self.stream.write(part))?;
            self.sent += written;
            if written < part.len() {
                break;
            }
        }
        // The echo of a long message begins while the message is still being sent. If the client
        // did not read it, the server could not write, and would not read the rest of the message.
        // Then both would wait for ever. So both interests are armed.
        let mut next = Interests::READABLE;
        next.set(Interests::WRITABLE, self.sent < load.size);
        registrator.register(&self.stream, token, next)?;
        Ok(true)
    }

    fn receive(&mut self, token: Token, load: &mut Load) -> io::Result<()> {
        // The read gets the whole buffer although less will come. If a read does not fill its
        // buffer, minimio knows that nothing is left, and the next registration needs no system
        // call.
        let count = match self.stream.read(&mut load.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            result => or_none(result)?,
        };
        let (echo, expected) = (&load.buffer[..count], &mut load.expected[..count]);
        fill(expected, token, self.number, self.echoed);
        if echo != expected || count > self.sent - self.echoed {
            return Err(ErrorKind::InvalidData.into());
        }
        self.echoed += count;
        if self.echoed == load.size {
            load.count(self.begun.elapsed());
        }
        Ok(())
    }
}

/// Writes the part of a message that begins at `offset`. Each byte is computed from the number of
/// the connection, the number of the message and the place in it, so that a wrong byte is noticed.
fn fill(part: &mut [u8], token: Token, number: u64, offset: usize) {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let name = ((token as u64).rotate_left(40) ^ number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut sum = name.wrapping_add((offset as u64).wrapping_mul(STEP));
    for byte in part {
        *byte = sum.to_be_bytes()[0];
        sum = sum.wrapping_add(STEP);
    }
}

/// What the clients share, and the counts.
#[derive(Default)]
struct Load {
    size: usize,
    buffer: Vec<u8>,
    expected: Vec<u8>,
    is_ending: bool,
    messages: u64,
    lost: u64,
    corrupted: u64,
    failures: Failures,
    /// How many messages took how many nanoseconds. Only the five leading bits of a time are kept.
    /// So the map has at most a thousand entries, however many messages there are.
    latencies: BTreeMap<u64, u64>,
    slowest: Duration,
}

impl Load {
    fn count(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX) | 1;
        let dropped_bits = nanos.ilog2().saturating_sub(4);
        let rounded = nanos >> dropped_bits << dropped_bits;
        *self.latencies.entry(rounded).or_default() += 1;
        self.slowest = self.slowest.max(latency);
        self.messages += 1;
    }

    fn count_failure(&mut self, error: &io::Error) {
        self.failures.count(error);
        match error.kind() {
            ErrorKind::InvalidData => self.corrupted += 1,
            _ => self.lost += 1,
        }
    }

    fn percentile(&self, percent: u64) -> Duration {
        let mut seen = 0;
        for (&nanos, count) in &self.latencies {
            seen += count;
            if seen * 100 >= percent * self.messages {
                return Duration::from_nanos(nanos);
            }
        }
        Duration::ZERO
    }

    fn print(&self, elapsed: Duration) {
        let rate = self.messages as f64 / elapsed.as_secs_f64();
        println!("messages    {:>14}", self.messages);
        println!("messages/s  {rate:>14.0}");
        println!("latency p50 {:>14.1?}", self.percentile(50));
        println!("latency p99 {:>14.1?}", self.percentile(99));
        println!("latency max {:>14.1?}", self.slowest);
        println!("lost        {:>14}", self.lost);
        println!("corrupted   {:>14}", self.corrupted);
        print!("{}", self.failures);
    }
}

/// Sends messages to the server at `target` until the time is over or Ctrl-C. Returns true if
/// nothing went wrong.
fn load(options: &Options, target: SocketAddr) -> io::Result<bool> {
    let (connections, size, duration) = (options.connections, options.size, options.duration);
    println!("{connections} connections to {target}, messages of {size} bytes, for {duration:.1?}");
    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    let stop = Stop::on_ctrl_c(poll.registrator(), STOP)?;
    let mut load = Load {
        size,
        buffer: vec![0; BUFFER],
        expected: vec![0; BUFFER],
        ..Load::default()
    };
    let begun = Instant::now();
    let mut clients = HashMap::new();
    for token in 0..connections {
        let stream = TcpStream::connect_nonblocking(target).map_err(cannot(format_args!(
            "open connection {} to {target}",
            token + 1
        )))?;
        registrator.register(&stream, token, Interests::WRITABLE)?;
        let client = Client {
            stream,
            number: 0,
            begun,
            sent: 0,
            echoed: 0,
        };
        clients.insert(token, client);
    }
    let mut events = Events::with_capacity(BATCH);
    let mut deadline = begun + duration;
    let shows_progress = io::stderr().is_terminal();
    let mut shown = begun;
    while !clients.is_empty() {
        let now = Instant::now();
        if !load.is_ending && (now >= deadline || stop.is_asked()) {
            (load.is_ending, deadline) = (true, now + GRACE);
        }
        if now >= deadline {
            break;
        }
        if shows_progress && now - shown >= PROGRESS {
            shown = now;
            eprintln!("{:3.0?} {:12} messages", now - begun, load.messages);
        }
        poll.poll_until(&mut events, Some(deadline.min(now + PROGRESS)))?;
        for event in &events {
            let token = event.id();
            let Some(client) = clients.get_mut(&token) else {
                continue;
            };
            match client.step(event, &mut load, &registrator) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => load.count_failure(&error),
            }
            clients.remove(&token);
        }
    }
    for _ in clients.keys() {
        load.count_failure(&ErrorKind::TimedOut.into());
    }
    load.print(begun.elapsed());
    Ok(load.lost == 0 && load.corrupted == 0)
}

struct Options {
    listen: Option<String>,
    connect: Option<String>,
    connections: usize,
    size: usize,
    duration: Duration,
}

fn run(options: &Options) -> io::Result<bool> {
    if let Some(address) = &options.connect {
        // This blocks, as `std` does, until one of the addresses of the name answers. The clients
        // use that one.
        let found = TcpStream::connect(address).and_then(|stream| stream.peer_addr());
        let target = found.map_err(cannot(format_args!("connect to {address}")))?;
        return load(options, target);
    }
    let poll = Poll::new()?;
    let registrator = poll.registrator();
    if let Some(address) = &options.listen {
        let stop = Stop::on_ctrl_c(registrator, STOP)?;
        return serve(poll, listen(address)?, &stop).map(|()| true);
    }
    let listener = listen("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // Ctrl-C ends the clients. After that, when no message is on its way any more, the server is
    // asked to stop.
    let stop = Stop::new(registrator, STOP);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(poll, listener, &stop));
        let result = load(options, address);
        stop.ask();
        server.join().expect("the server does not panic")?;
        result
    })
}

fn main() -> ExitCode {
    let mut options = Options {
        listen: None,
        connect: None,
        connections: 100,
        size: 64,
        duration: Duration::from_secs(5),
    };
    let mut arguments = Arguments::new("echo", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--listen" => options.listen = Some(arguments.address()),
            "--connect" => options.connect = Some(arguments.address()),
            "--connections" => options.connections = arguments.number(1..=usize::MAX),
            "--size" => options.size = arguments.number(1..=usize::MAX),
            "--seconds" => options.duration = arguments.seconds(),
            _ => arguments.unknown(),
        }
    }
    if options.listen.is_some() && options.connect.is_some() {
        arguments.wrong("--listen and --connect exclude each other");
    }
    exit_code("echo", run(&options))
}
