//! A keep-alive HTTP/1.1 server for real clients: `curl`, browsers, `wrk -c 256`.
//! One thread accepts and hands the streams to `--threads` workers, each of which has its own
//! `Poll`. This file has the acceptor and starts the threads. `http/worker.rs` has the event loop
//! of a worker and the time-outs, `http/connection.rs` what happens on a connection,
//! `http/request.rs` what a request means, and `http/date.rs` how HTTP writes the time.
//!
//! Paths: `/` greets, `/big` is 8 MiB, `POST /echo` sends the body back.

use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, Registrator, TcpListener, TcpStream, Token};

mod common;
#[path = "http/connection.rs"]
mod connection;
#[path = "http/date.rs"]
mod date;
#[path = "http/request.rs"]
mod request;
#[path = "http/worker.rs"]
mod worker;
use common::{cannot, exit_code, listen, Arguments, Stop};
use worker::{CutOff, TimeOuts, Worker, STREAMS};

const USAGE: &str = "\
usage: http [--listen ADDRESS] [--threads N] [--idle-timeout SECONDS] [--header-timeout SECONDS]

A keep-alive HTTP/1.1 server. Ctrl-C finishes what is in flight and ends it.

  --listen ADDRESS          where to listen, port 0 for any (default 127.0.0.1:8080)
  --threads N               workers, beside the thread that accepts (default 1)
  --idle-timeout SECONDS    for a connection without a request or without progress (default 60)
  --header-timeout SECONDS  for the head of a request, from its first byte (default 10)
";

/// The tokens of the acceptor. `ROOM` comes from a worker whose queue was full and has room again.
const LISTENER: Token = 0;
const STOP: Token = 1;
const ROOM: Token = 2;

const BATCH: usize = 256;
/// After this many accepts the acceptor looks whether it is to stop.
const ACCEPT_BATCH: usize = 64;
/// At most this many accepted streams wait for a worker, in all queues together. Without a bound,
/// clients that connect faster than the workers can follow would take every descriptor. Connections
/// that are not accepted yet wait in the system's backlog, which has a bound.
const HAND_OVER: usize = 126;
/// How long the listener is not used after it failed, most likely because descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Options {
    listen: String,
    threads: usize,
    time_outs: TimeOuts,
}

/// What the acceptor has of a worker.
struct Hand {
    streams: SyncSender<TcpStream>,
    registrator: Registrator,
}

fn run(options: &Options) -> io::Result<bool> {
    let poll = Poll::new()?;
    let stop = Stop::on_ctrl_c(poll.registrator(), STOP)?;
    let listener = listen(&options.listen)?;
    println!("try: curl http://{}/", listener.local_addr()?);
    let (mut hands, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..options.threads {
        let capacity = HAND_OVER / options.threads;
        let (streams, taken) = mpsc::sync_channel(capacity);
        let mut worker = Worker::new(taken, capacity, poll.registrator(), options.time_outs)?;
        let registrator = worker.registrator();
        hands.push(Hand {
            streams,
            registrator,
        });
        let thread = thread::Builder::new().spawn(move || worker.run());
        threads.push(thread.map_err(cannot("start a worker"))?);
    }

    let accepted = accept(poll, &listener, &hands, &stop);
    drop(listener);
    for hand in hands {
        drop(hand.streams); // The end of its queue tells the worker to stop.
        drop(hand.registrator.wake(STREAMS));
    }
    let mut all = CutOff::default();
    for thread in threads {
        let cut_off = thread.join().expect("a worker does not panic")?;
        all.requests += cut_off.requests;
        all.answers += cut_off.answers;
    }
    match (all.requests, all.answers) {
        (0, 0) => println!("stopped; nothing was cut off"),
        (requests, answers) => println!("stopped; cut off: requests {requests}, answers {answers}"),
    }
    accepted.map(|()| true)
}

/// Accepts until Ctrl-C, and hands the streams to the workers in turn.
fn accept(mut poll: Poll, listener: &TcpListener, hands: &[Hand], stop: &Stop) -> io::Result<()> {
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(BATCH);
    let mut turn = 0;
    // A stream for which no queue has room. While there is one, no other connection is accepted.
    let mut in_hand = None;
    // When to use the listener again after it has failed.
    let mut pause_until: Option<Instant> = None;
    let mut has_complained = false;
    loop {
        if in_hand.is_none() && pause_until.is_none() {
            registrator.register(listener, LISTENER, Interests::READABLE)?;
        }
        poll.poll_until(&mut events, pause_until)?;
        if stop.is_asked() {
            if let Some(stream) = in_hand {
                // The workers go on taking streams, so there is room soon.
                drop(hands[turn].streams.send(stream));
            }
            return Ok(());
        }
        pause_until = pause_until.filter(|until| Instant::now() < *until);
        let may_accept = events.iter().any(|event| event.id() == LISTENER);
        for _ in 0..ACCEPT_BATCH {
            let stream = match in_hand.take() {
                Some(stream) => stream,
                None if !may_accept => break,
                None => match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => {
                        // The connection still waits, so registering at once would report it at
                        // once.
                        pause_until = Some(Instant::now() + ACCEPT_PAUSE);
                        if !has_complained {
                            eprintln!("http: cannot accept for now: {error}");
                        }
                        has_complained = true;
                        break;
                    }
                },
            };
            has_complained = false;
            in_hand = hand_over(stream, hands, &mut turn)?;
            if in_hand.is_some() {
                break;
            }
        }
    }
}

/// Puts a stream into the queue of the next worker that has room, or gives it back if none has.
fn hand_over(
    mut stream: TcpStream,
    hands: &[Hand],
    turn: &mut usize,
) -> io::Result<Option<TcpStream>> {
    for _ in hands {
        let hand = &hands[*turn];
        *turn = (*turn + 1) % hands.len();
        match hand.streams.try_send(stream) {
            Ok(()) => return hand.registrator.wake(STREAMS).map(|()| None),
            Err(TrySendError::Full(back)) => stream = back,
            // The worker has failed, and gives its error when it is joined.
            Err(TrySendError::Disconnected(_)) => return Err(ErrorKind::BrokenPipe.into()),
        }
    }
    Ok(Some(stream))
}

fn main() -> ExitCode {
    let mut options = Options {
        listen: String::from("127.0.0.1:8080"),
        threads: 1,
        time_outs: TimeOuts {
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
        },
    };
    let mut arguments = Arguments::new("http", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--listen" => options.listen = arguments.address(),
            "--threads" => options.threads = arguments.number(1..=HAND_OVER),
            "--idle-timeout" => options.time_outs.idle = arguments.seconds(),
            "--header-timeout" => options.time_outs.head = arguments.seconds(),
            _ => arguments.unknown(),
        }
    }
    exit_code("http", run(&options))
}
