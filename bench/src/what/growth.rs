//! `growth`: how the cost of a message, the messages a second, and the cost of a queue grow with the number of
//! connections, and what a second thread changes.
//! Three arrangements are compared: one thread with a queue; two threads, each with a queue and half of the connections;
//! and two threads that share a queue. In the last one the threads take turns to wait, since only one thread can wait on
//! a `Poll`; then each works off the events that its wait gave.
//! All arrangements, kinds and implementations have their turn in every round. A child process has the clients, and sleeps
//! when it has nothing to read: with two servers it would take one of two cores from them otherwise. For the same reason
//! no thread is pinned to a core, in any arrangement.
//! On Unix the connections are made once, and each server registers those that it needs in its turn. On Windows a socket
//! belongs to one port for as long as it is open, so there each turn makes its own.

pub mod clients;
mod http;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::memory::allocated;
use super::{each_peer, give_back};
use crate::load::settled;
use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;
use crate::peers::{Peer, BUFFER};
use crate::system::{self, CpuClock};
use clients::Clients;

/// Bytes of an echoed message.
const SIZE: usize = 64;

/// Of so many connections one is busy, if only a part is.
const ONE_OF: usize = 10;

/// The number of descriptors that are left for other things.
const SPARE: usize = 200;

/// Without `--only`, these take part: each implementation in the way that costs least.
const PARTICIPANTS: [&str; 4] = ["bare", "minimio", "mio-short-read", "bare-again"];

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Each connection echoes.
    Echo,
    /// One connection of ten echoes, and the others are idle.
    TenthBusy,
    /// Each connection answers requests of HTTP.
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrangement {
    OneThread,
    QueueEach,
    OneQueue,
}

impl Kind {
    /// As a report calls it.
    fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::TenthBusy => "echo, a tenth busy",
            Kind::Http => "http",
        }
    }

    /// As the process of the clients is told.
    fn word(self) -> &'static str {
        match self {
            Kind::Echo | Kind::TenthBusy => "echo",
            Kind::Http => "http",
        }
    }
}

impl Arrangement {
    fn name(self) -> &'static str {
        match self {
            Arrangement::OneThread => "1 thread",
            Arrangement::QueueEach => "2 threads, a queue each",
            Arrangement::OneQueue => "2 threads, one queue",
        }
    }
}

const CASES: [(Kind, Arrangement); 7] = [
    (Kind::Echo, Arrangement::OneThread),
    (Kind::Echo, Arrangement::QueueEach),
    (Kind::Echo, Arrangement::OneQueue),
    (Kind::Http, Arrangement::OneThread),
    (Kind::Http, Arrangement::QueueEach),
    (Kind::Http, Arrangement::OneQueue),
    (Kind::TenthBusy, Arrangement::OneThread),
];

type Start = fn(Vec<TcpStream>, Kind, Arrangement) -> io::Result<Servers>;
const STARTS: &[(&str, Start)] = each_peer!(start);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let counts = counts(options, system::most_descriptors());
    let participants: Vec<_> = match options.only {
        Some(_) => super::wanted(options, STARTS),
        None => {
            let mut some = STARTS.to_vec();
            some.retain(|(name, _)| PARTICIPANTS.contains(name));
            some
        }
    };
    let most = counts.last().copied().unwrap_or(0);
    let mut clients = Clients::start()?;
    let mut streams = Vec::new();
    for connections in counts {
        let mut subjects: Vec<Vec<_>> = CASES
            .iter()
            .map(|(kind, arrangement)| {
                let subject = |(name, start): &(_, Start)| (*name, (*kind, *arrangement, *start));
                participants.iter().map(subject).collect()
            })
            .collect();
        let mut cases: Vec<_> = CASES
            .iter()
            .zip(&mut subjects)
            .map(|((kind, arrangement), subjects)| {
                let setting = Setting {
                    bench: "growth",
                    connections,
                    size: 0,
                    more: vec![
                        ("kind", kind.name().into()),
                        ("arrangement", arrangement.name().into()),
                    ],
                };
                (setting, subjects.as_mut_slice())
            })
            .collect();
        recorder.cases(options, &mut cases, |(kind, arrangement, start)| {
            if streams.len() < connections {
                let needed = if cfg!(windows) { connections } else { most };
                streams = clients.connect(needed)?;
            }
            let served = streams.drain(..connections).collect();
            let servers = start(served, *kind, *arrangement)?;
            let figures = measure(options, &mut clients, &servers, connections, *kind);
            // If a server has ended with an error, that error is reported.
            let mut served = servers.stop()?;
            served.append(&mut streams);
            streams = served;
            figures
        })?;
    }
    Ok(())
}

/// The numbers of connections, as far as the limit of descriptors allows.
fn counts(options: &Options, limit: usize) -> Vec<usize> {
    let all = options.connections_or(match cfg!(windows) {
        true => &[1, 16, 128, 512],
        false => &[1, 16, 128, 1_024, 8_192, 19_000],
    });
    let most = limit.saturating_sub(SPARE).max(1);
    let mut counts: Vec<usize> = all.into_iter().map(|count| count.min(most)).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// A warm-up, whose figures are not used, and then a run for which the CPU time of the servers is measured.
fn measure(
    options: &Options,
    clients: &mut Clients,
    servers: &Servers,
    connections: usize,
    kind: Kind,
) -> io::Result<Figures> {
    let busy = match kind {
        Kind::TenthBusy => (connections / ONE_OF).max(1),
        Kind::Echo | Kind::Http => connections,
    };
    clients.choose(connections, busy, kind)?;
    clients.run(options.seconds / 4.0)?;
    let cpu = || settled(|| Ok(servers.cpu()));
    let before = cpu()?;
    let run = clients.run(options.seconds)?;
    let cpu = cpu()? - before;
    let messages = run.messages as f64;
    let [median, tail] = run.latencies_us;
    let mut figures = vec![
        ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / messages),
        ("msgs_per_s", messages / run.elapsed.as_secs_f64()),
        ("p50_us", median),
        ("p99_us", tail),
    ];
    if kind == Kind::TenthBusy {
        let kib = servers.bytes as f64 / 1024.0;
        let register_us = servers.registered_in.as_secs_f64() * 1e6;
        figures.extend([
            ("queue_kib", kib),
            ("register_us", register_us / connections as f64),
        ]);
    }
    Ok(figures)
}

/// The threads of a server, and what it cost to prepare it.
struct Servers {
    /// Each gives its streams back when it ends.
    threads: Vec<(CpuClock, JoinHandle<io::Result<Vec<TcpStream>>>)>,
    /// Asks the threads to end.
    stop: Box<dyn FnOnce()>,
    /// The heap of the queues, their batches of events and their registered streams.
    bytes: usize,
    registered_in: Duration,
}

impl Servers {
    fn cpu(&self) -> Duration {
        self.threads.iter().map(|(clock, _)| clock.now()).sum()
    }

    fn stop(self) -> io::Result<Vec<TcpStream>> {
        (self.stop)();
        let mut streams = Vec::new();
        for (_, thread) in self.threads {
            streams.append(&mut super::joined(thread.join())?);
        }
        Ok(streams)
    }
}

/// The key of the wake that ends a server. It is no stream's.
const WAKE: usize = usize::MAX;

fn start<P: Peer>(
    mut streams: Vec<TcpStream>,
    kind: Kind,
    arrangement: Arrangement,
) -> io::Result<Servers>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let over = Arc::new(AtomicBool::new(false));
    let mut servers = Servers {
        threads: Vec::new(),
        stop: Box::new(|| ()),
        bytes: 0,
        registered_in: Duration::ZERO,
    };
    let mut wakers = Vec::new();
    if arrangement == Arrangement::OneQueue {
        let queue = prepare(&mut servers, P::shared, &mut streams)?;
        wakers.push(queue.waker.clone());
        let remotes = [queue.queue.remote()?, queue.queue.remote()?];
        let shared = Arc::new(Shared::of(queue));
        for remote in remotes {
            let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
            servers.spawn(move || take_turns(shared, remote, kind, &over));
        }
    } else {
        let threads = if arrangement == Arrangement::QueueEach {
            2
        } else {
            1
        };
        let first_half = streams.len().div_ceil(threads);
        while servers.threads.len() < threads {
            let mut others = streams.split_off(first_half.min(streams.len()));
            let queue = prepare(&mut servers, P::new, &mut streams)?;
            streams.append(&mut others);
            wakers.push(queue.waker.clone());
            let over = Arc::clone(&over);
            servers.spawn(move || alone(queue, kind, &over));
        }
    }
    servers.stop = Box::new(move || {
        over.store(true, Ordering::SeqCst);
        for waker in wakers {
            // A server that has already ended need not be woken.
            drop(P::wake(&waker));
        }
    });
    Ok(servers)
}

/// A queue, its registered streams, and what wakes it.
struct Prepared<P: Peer>
where
    for<'a> &'a P::Stream: Read + Write,
{
    queue: P,
    streams: Vec<P::Stream>,
    waker: Arc<P::Waker>,
}

/// Makes a queue and registers the streams, and adds what that cost. It takes them out of the vector and leaves that vector's memory, so
/// that it does not count.
fn prepare<P: Peer>(
    servers: &mut Servers,
    make: fn() -> io::Result<P>,
    streams: &mut Vec<TcpStream>,
) -> io::Result<Prepared<P>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let before = allocated();
    let queue = make()?;
    let begun = Instant::now();
    let mut adopted = Vec::with_capacity(streams.len());
    for (key, stream) in streams.drain(..).enumerate() {
        let mut stream = P::wrap(stream)?;
        queue.adopt(&mut stream, key)?;
        adopted.push(stream);
    }
    servers.registered_in += begun.elapsed();
    // The server makes its own batch later.
    let batch = P::events();
    servers.bytes += allocated() - before;
    drop(batch);
    let waker = Arc::new(queue.waker(WAKE)?);
    Ok(Prepared {
        queue,
        streams: adopted,
        waker,
    })
}

impl Servers {
    /// Starts a thread that serves.
    fn spawn(&mut self, serve: impl FnOnce() -> io::Result<Vec<TcpStream>> + Send + 'static) {
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            system::unpin();
            let told = tell.send(CpuClock::of_this_thread());
            told.expect("the one who started it waits for it");
            serve()
        });
        let clock = told.recv().expect("it is the first thing that it does");
        self.threads.push((clock, thread));
    }
}

/// Waits, and tries again if a signal came.
fn wait<P: Peer>(queue: &mut P, events: &mut P::Events) -> io::Result<()>
where
    for<'a> &'a P::Stream: Read + Write,
{
    loop {
        match queue.wait(events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Answers what came on one stream. Clients do not send more before they have their answer, and no answer is larger than
/// a socket's buffer. So a write always writes everything, and a short write is an error.
fn answer<S>(kind: Kind, mut stream: &S, rest: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()>
where
    for<'a> &'a S: Write,
{
    let mut send = |bytes: &[u8]| match stream.write(bytes)? == bytes.len() {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::WriteZero, "a short write")),
    };
    match kind {
        Kind::Echo | Kind::TenthBusy => send(bytes),
        Kind::Http => http::answer(rest, bytes, send),
    }
}

/// No client hangs up while a server is there.
fn must_be_open(open: bool) -> io::Result<()> {
    match open {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// A thread that has a queue.
fn alone<P: Peer>(
    prepared: Prepared<P>,
    kind: Kind,
    over: &AtomicBool,
) -> io::Result<Vec<TcpStream>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let Prepared {
        mut queue,
        mut streams,
        waker: _waker,
    } = prepared;
    let mut rests = vec![Vec::new(); streams.len()];
    let mut events = P::events();
    let mut buffer = [0; BUFFER];
    while !over.load(Ordering::SeqCst) {
        wait(&mut queue, &mut events)?;
        for key in P::keys(&events).filter(|key| *key != WAKE) {
            let (stream, rest) = (&mut streams[key], &mut rests[key]);
            let open = queue.readable(stream, key, &mut buffer, |stream, bytes| {
                answer(kind, stream, rest, bytes)
            })?;
            must_be_open(open)?;
        }
    }
    give_back(&queue, streams)
}

/// What two threads share. Whoever has the queue waits; whoever has an event locks its stream, since bytes that come
/// meanwhile can be the next event of the other thread.
struct Shared<P: Peer>
where
    for<'a> &'a P::Stream: Read + Write,
{
    queue: Mutex<P>,
    streams: Vec<Mutex<(P::Stream, Vec<u8>)>>,
    _waker: Arc<P::Waker>,
}

impl<P: Peer> Shared<P>
where
    for<'a> &'a P::Stream: Read + Write,
{
    fn of(prepared: Prepared<P>) -> Shared<P> {
        let streams = prepared.streams.into_iter();
        Shared {
            queue: Mutex::new(prepared.queue),
            streams: streams
                .map(|stream| Mutex::new((stream, Vec::new())))
                .collect(),
            _waker: prepared.waker,
        }
    }
}

/// A thread that waits in turn with another one. The last one gives the streams back.
fn take_turns<P: Peer>(
    shared: Arc<Shared<P>>,
    remote: P::Remote,
    kind: Kind,
    over: &AtomicBool,
) -> io::Result<Vec<TcpStream>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    const NO_PANIC: &str = "the other thread has not panicked";
    let mut events = P::events();
    let mut buffer = [0; BUFFER];
    loop {
        {
            let mut queue = shared.queue.lock().expect(NO_PANIC);
            if over.load(Ordering::SeqCst) {
                break;
            }
            wait(&mut *queue, &mut events)?;
        }
        for key in P::keys(&events).filter(|key| *key != WAKE) {
            let mut connection = shared.streams[key].lock().expect(NO_PANIC);
            let (stream, rest) = &mut *connection;
            let open = P::handle(&remote, stream, key, &mut buffer, |stream, bytes| {
                answer(kind, stream, rest, bytes)
            })?;
            must_be_open(open)?;
        }
    }
    drop(remote);
    let Some(shared) = Arc::into_inner(shared) else {
        return Ok(Vec::new());
    };
    let streams = shared.streams.into_iter();
    let streams = streams.map(|stream| stream.into_inner().expect(NO_PANIC).0);
    give_back(
        &shared.queue.into_inner().expect(NO_PANIC),
        streams.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_is_above_the_limit_of_descriptors() {
        let options = |connections: &str| {
            let words = ["growth", "--connections", connections];
            Options::parse(words.map(str::to_owned)).expect("it is a command line")
        };
        assert_eq!(counts(&options("1,16,19000"), 20_000), [1, 16, 19_000]);
        assert_eq!(counts(&options("16,1,8192,19000"), 1_024), [1, 16, 824]);
    }
}
