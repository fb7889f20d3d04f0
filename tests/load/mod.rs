//! What the load tests of the systems share: a server on one `Poll`, and its peers in child processes. The peers come
//! and go. Some talk, some read slowly, some stay silent, some never read and some reset. Each test measures by itself
//! what this costs.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, TcpListener, TcpStream, Token};
use socket2::SockRef;

use crate::common::{HANG, READABLE, WRITABLE};

pub(crate) const CHILDREN: usize = 2;
const CHILD: &str = "MINIMIO_LOAD_CHILD";
const MESSAGE: usize = 64;
const LISTENER: Token = usize::MAX;

/// What a peer does. Its number decides.
fn is_silent(number: usize) -> bool {
    number % 16 == 3
}

fn reads_slowly(number: usize) -> bool {
    number % 16 == 5
}

/// How many peers of one child never read, and flood the server: a few, since the kernel holds megabytes for each.
pub(crate) const FLOODS: usize = 4;

fn never_reads(number: usize) -> bool {
    number < FLOODS
}

/// How many connections the peers of one child close in order. Each of them takes a port for minutes more, and Windows
/// has 16,384 ports. A connection that is reset takes none.
const MOST_ORDERLY: usize = 1_000;

/// Makes dropping `stream` reset its connection.
fn reset_at_end(stream: &net::TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Writes until the socket takes no more.
fn flood(mut stream: &net::TcpStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[7; 4096]).is_ok() {}
}

/// Returns whether this process is such a child. If so, it plays the peers first, each of which it connects with
/// `connect`. They talk until the time is up, and in each round they replace one connection in 32.
pub(crate) fn are_peers(connect: impl Fn(SocketAddr, usize) -> net::TcpStream) -> bool {
    let Ok(task) = std::env::var(CHILD) else {
        return false;
    };
    let mut task = task.split(' ');
    let address = task.next().unwrap().parse().unwrap();
    let mut number = || task.next().unwrap().parse::<usize>().unwrap();
    let (child, count, seconds) = (number(), number(), number());
    let connect = || {
        let stream = connect(address, child);
        stream.set_nodelay(true).unwrap();
        stream
    };
    let mut streams: Vec<_> = (0..count).map(|_| connect()).collect();
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let mut round = 0;
    let (mut orderly, mut replaced) = (0, 0);
    // It goes on until at least one connection was replaced, however slow the machine is.
    while replaced == 0 || Instant::now() < end {
        for (number, stream) in streams.iter_mut().enumerate() {
            if never_reads(number) {
                flood(stream);
            } else if reads_slowly(number) {
                // It reads half of what comes back. The server owes the rest, or it is on its way.
                stream.write_all(&[1; MESSAGE]).unwrap();
                stream.read_exact(&mut [0; MESSAGE / 2]).unwrap();
            } else if !is_silent(number) {
                let message = [number.to_le_bytes()[0]; MESSAGE];
                stream.write_all(&message).unwrap();
                let mut echo = [0; MESSAGE];
                stream.read_exact(&mut echo).unwrap();
                assert_eq!(echo, message);
                if (number + round) % 32 == 0 {
                    match round % 3 {
                        0 => reset_at_end(stream),
                        _ if orderly == MOST_ORDERLY => reset_at_end(stream),
                        1 => {
                            stream.shutdown(Shutdown::Write).unwrap();
                            assert_eq!(stream.read(&mut echo).unwrap(), 0);
                            orderly += 1;
                        }
                        _ => orderly += 1,
                    }
                    *stream = connect();
                    replaced += 1;
                }
            }
        }
        round += 1;
    }
    streams.iter().for_each(reset_at_end);
    true
}

/// A connection of the server, and the bytes that it has still to send back.
struct Client {
    stream: TcpStream,
    owed: Vec<u8>,
}

impl Client {
    /// Reads once and writes once. Returns what to wait for, or `None` at the end.
    fn serve(&mut self, buffer: &mut [u8]) -> Option<Interests> {
        if self.owed.is_empty() {
            match (&self.stream).read(buffer) {
                Ok(0) => return None,
                Ok(count) => self.owed.extend(&buffer[..count]),
                Err(error) => {
                    // An event has come and no other code reads, so this is not `WouldBlock`.
                    // Windows calls a reset an abort if it was about to send.
                    let aborted = cfg!(windows) && error.kind() == ErrorKind::ConnectionAborted;
                    let reset = error.kind() == ErrorKind::ConnectionReset;
                    assert!(reset || aborted, "{error}");
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

/// What a server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) most: usize,
    pub(crate) accepted: usize,
    pub(crate) events: u64,
}

/// Starts children, which are processes that run the test `name` again, and serves `count` peers of each until they
/// end. After each batch it tells `look` what was seen, and how many connections there are.
pub(crate) fn serve(
    poll: &mut Poll,
    name: &str,
    count: usize,
    seconds: usize,
    mut look: impl FnMut(&Seen, usize),
) -> Seen {
    let mut events = Events::with_capacity(256);
    let registrator = poll.registrator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, LISTENER, READABLE).unwrap();
    let address = listener.local_addr().unwrap();
    let mut children: Vec<_> = (0..CHILDREN)
        .map(|child| {
            Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(CHILD, format!("{address} {child} {count} {seconds}"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();

    let mut clients: HashMap<Token, Client> = HashMap::new();
    let mut buffer = vec![0; 4096];
    let mut seen = Seen::default();
    while seen.accepted < CHILDREN * count || !clients.is_empty() {
        let came = poll.poll(&mut events, Some(HANG)).unwrap();
        assert_ne!(came, 0, "{} clients, nothing came", clients.len());
        for event in &events {
            if event.id() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let token = seen.accepted;
                    registrator.register(&stream, token, READABLE).unwrap();
                    let owed = Vec::new();
                    clients.insert(token, Client { stream, owed });
                    seen.accepted += 1;
                }
                registrator.register(&listener, LISTENER, READABLE).unwrap();
                continue;
            }
            seen.events += 1;
            let client = clients.get_mut(&event.id()).expect("a client that is gone");
            match client.serve(&mut buffer) {
                Some(interests) => registrator
                    .register(&client.stream, event.id(), interests)
                    .unwrap(),
                None => drop(clients.remove(&event.id())),
            }
        }
        seen.most = seen.most.max(clients.len());
        look(&seen, clients.len());
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success(), "a peer failed");
    }
    assert!(seen.most >= CHILDREN * count * 9 / 10, "{seen:?}");
    assert!(
        seen.accepted > CHILDREN * count,
        "connections were replaced"
    );
    seen
}
