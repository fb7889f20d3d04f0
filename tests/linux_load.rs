//! Many live connections on one `Poll`, that come and go, talk, stay silent, never read, and reset.
//!
//! The peers are child processes: this program run again. `MINIMIO_EFFORT` scales the number of connections, up to what
//! the limit of descriptors allows less 200, and the time.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{effort, watchdog, HANG, READABLE, WRITABLE};
use minimio::{Events, Interests, Poll, TcpListener, TcpStream, Token};
use socket2::{Domain, SockRef, Socket, Type};

const CHILD: &str = "MINIMIO_LOAD_CHILD";
const CHILDREN: usize = 2;
/// Descriptors that are kept for all else.
const SPARE: usize = 200;
const MESSAGE: usize = 64;
const LISTENER: Token = usize::MAX;

/// What a peer does, by its number.
fn is_silent(number: usize) -> bool {
    number % 16 == 3
}

/// A few only: the kernel holds megabytes for each.
fn never_reads(number: usize) -> bool {
    number < 4
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1);
    kib.unwrap().parse().unwrap()
}

fn descriptor_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let limit = line.unwrap().split_whitespace().nth(3);
    limit.unwrap().parse().unwrap_or(usize::MAX)
}

/// Each child has an address of its own, so that ports do not run out.
fn connect(to: SocketAddr, child: usize) -> net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("127.0.0.{}:0", child + 2).parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = net::TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes until nothing more is taken.
fn flood(mut stream: &net::TcpStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[7; 4096]).is_ok() {}
}

/// The peers of one child: talk, and replace one connection in 32 a round, until the time is up.
fn be_peers(task: &str) {
    let mut task = task.split(' ');
    let address = task.next().unwrap().parse().unwrap();
    let mut number = || task.next().unwrap().parse::<usize>().unwrap();
    let (child, count, seconds) = (number(), number(), number());
    let mut streams: Vec<_> = (0..count).map(|_| connect(address, child)).collect();
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let mut round = 0;
    while Instant::now() < end {
        for (number, stream) in streams.iter_mut().enumerate() {
            if never_reads(number) {
                flood(stream);
            } else if !is_silent(number) {
                let message = [number.to_le_bytes()[0]; MESSAGE];
                stream.write_all(&message).unwrap();
                let mut echo = [0; MESSAGE];
                stream.read_exact(&mut echo).unwrap();
                assert_eq!(echo, message);
                if (number + round) % 32 == 0 {
                    match round % 3 {
                        0 => SockRef::from(&*stream)
                            .set_linger(Some(Duration::ZERO))
                            .unwrap(),
                        1 => {
                            stream.shutdown(Shutdown::Write).unwrap();
                            assert_eq!(stream.read(&mut echo).unwrap(), 0);
                        }
                        _ => {}
                    }
                    *stream = connect(address, child);
                }
            }
        }
        round += 1;
    }
}

/// A connection of the server, and what it owes.
struct Client {
    stream: TcpStream,
    owed: Vec<u8>,
}

impl Client {
    /// Reads once and writes once. Returns what to wait for, or nothing at the end.
    fn serve(&mut self, buffer: &mut [u8]) -> Option<Interests> {
        if self.owed.is_empty() {
            match (&self.stream).read(buffer) {
                Ok(0) => return None,
                Ok(count) => self.owed.extend(&buffer[..count]),
                Err(error) => {
                    // An event has come, and nobody else reads: it is not that it would block.
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                    return None;
                }
            }
        }
        match (&self.stream).write(&self.owed) {
            Ok(count) => drop(self.owed.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        Some(if self.owed.is_empty() {
            READABLE
        } else {
            WRITABLE
        })
    }
}

#[test]
fn many_connections_with_churn_keep_memory_steady() {
    if let Ok(task) = std::env::var(CHILD) {
        return be_peers(&task);
    }
    let _watchdog = watchdog();
    let seconds = effort(2);
    let count = effort(500).min(descriptor_limit().saturating_sub(SPARE)) / CHILDREN;
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(256);
    let registrator = poll.registrator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, LISTENER, READABLE).unwrap();
    let address = listener.local_addr().unwrap();
    let mut children: Vec<_> = (0..CHILDREN)
        .map(|child| {
            Command::new(std::env::current_exe().unwrap())
                .args(["many_connections_with_churn_keep_memory_steady", "--exact"])
                .env(CHILD, format!("{address} {child} {count} {seconds}"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();

    let mut clients: HashMap<Token, Client> = HashMap::new();
    let mut buffer = vec![0; 4096];
    let (mut accepted, mut served, mut most, mut steady) = (0, 0_u64, 0, None);
    while accepted < CHILDREN * count || !clients.is_empty() {
        let came = poll.poll(&mut events, Some(HANG)).unwrap();
        assert_ne!(came, 0, "{} clients, nothing came", clients.len());
        for event in &events {
            if event.id() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    registrator.register(&stream, accepted, READABLE).unwrap();
                    let owed = Vec::new();
                    clients.insert(accepted, Client { stream, owed });
                    accepted += 1;
                }
                registrator.register(&listener, LISTENER, READABLE).unwrap();
                continue;
            }
            served += 1;
            let client = clients.get_mut(&event.id()).expect("a client that is gone");
            match client.serve(&mut buffer) {
                Some(interests) => registrator
                    .register(&client.stream, event.id(), interests)
                    .unwrap(),
                None => drop(clients.remove(&event.id())),
            }
        }
        most = most.max(clients.len());
        // Every connection has been replaced a few times, or the most that were ever there have been.
        if steady.is_none() && accepted > 3 * CHILDREN * count / 2 {
            steady = Some(resident_kib());
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success(), "a peer failed");
    }
    let grown = steady.map(|steady| resident_kib().saturating_sub(steady));
    println!("{most} at once, {accepted} in all, {served} events, grown by {grown:?} KiB");
    assert!(most >= CHILDREN * count * 9 / 10);
    assert!(grown.unwrap_or(0) < 4_096, "{grown:?} KiB");
}
