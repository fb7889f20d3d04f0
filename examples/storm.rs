//! A storm of connections to a server: many at once, again and again.
//! It shows many non-blocking connects on one `Poll`. It is for finding out how a server copes with
//! connections that come faster than it can serve them, and whether it frees what belonged to those
//! that are gone.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, Registrator, TcpStream, Token};
use socket2::SockRef;

mod common;
use common::{cannot, exit_code, resolve, Arguments, Failures, Stop};

const USAGE: &str = "\
usage: storm --connect ADDRESS [--connections N] [--rounds N] [--send TEXT] [--reset]

Opens connections, holds them until all are there, and ends them all; that is a round.

  --connect ADDRESS   the server; if this is given several times, the connections are dealt out
  --connections N     how many at once, up to the limit of descriptors (default 100)
  --rounds N          how often (default 10; 0: until Ctrl-C)
  --send TEXT         send this over each, and count it as there when an answer has come
  --reset             end each by a reset, instead of half a close and a wait for the server's half
The exit status is 1 if a connection failed.
";

const STOP: Token = Token::MAX;
const BATCH: usize = 1024;
/// At most this many connects are under way at once. More could be too many for the backlog of the
/// server. The system repeats a connect that does not fit there only a second later.
const CONNECTING: usize = 64;
/// A round that takes longer than this has failed.
const ROUND_LIMIT: Duration = Duration::from_secs(120);

struct Options {
    /// With several addresses there are more free ports, and the system finds one sooner.
    servers: Vec<SocketAddr>,
    connections: usize,
    rounds: usize,
    message: String,
    reset: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The message was sent, and its answer has not come yet.
    Asking,
    /// It waits for the other connections.
    There,
    /// Our side has ended, and the side of the server has not.
    Closing,
}

struct Connection {
    stream: TcpStream,
    stage: Stage,
}

impl Connection {
    fn open(options: &Options, registrator: &Registrator, token: Token) -> io::Result<Connection> {
        let server = options.servers[token % options.servers.len()];
        let stream = TcpStream::connect_nonblocking(server)?;
        registrator.register(&stream, token, Interests::WRITABLE)?;
        let stage = Stage::Connecting;
        Ok(Connection { stream, stage })
    }

    /// Does what an event allows. Returns what to wait for next, if anything.
    fn step(&mut self, message: &str) -> io::Result<Option<Interests>> {
        match self.stage {
            Stage::Connecting => {
                // The event says that the connect has ended. This says how.
                if let Some(error) = self.stream.take_error()? {
                    return Err(error);
                }
                if message.is_empty() {
                    self.stage = Stage::There;
                    return Ok(None);
                }
                // A new connection has room for so few bytes.
                self.stream.write_all(message.as_bytes())?;
                self.stage = Stage::Asking;
            }
            Stage::Asking => match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    self.stage = Stage::There;
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            },
            Stage::There => return Ok(None),
            Stage::Closing => match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            },
        }
        Ok(Some(Interests::READABLE))
    }
}

struct Storm {
    poll: Poll,
    registrator: Registrator,
    events: Events,
    connections: HashMap<Token, Connection>,
    /// A token is never used twice, so an event is never mistaken for one of a connection of
    /// another round.
    next_token: Token,
    failures: Failures,
    stop: Stop,
}

impl Storm {
    /// Waits for events once, and returns the tokens of connections that need no more events: they
    /// have reached what was asked for, or have failed and are gone.
    fn turn(&mut self, message: &str, deadline: Instant) -> io::Result<usize> {
        self.poll.poll_until(&mut self.events, Some(deadline))?;
        let mut done = 0;
        for event in &self.events {
            let token = event.id();
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            let next = connection.step(message).and_then(|next| match next {
                Some(next) => self
                    .registrator
                    .register(&connection.stream, token, next)
                    .map(|()| true),
                None => Ok(false),
            });
            match next {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    self.failures.count(&error);
                    self.connections.remove(&token);
                }
            }
            done += 1;
        }
        Ok(done)
    }

    /// Opens all connections, and ends them when all are there.
    fn round(&mut self, options: &Options) -> io::Result<()> {
        let deadline = Instant::now() + ROUND_LIMIT;
        let (mut opened, mut done) = (0, 0);
        while done < options.connections && !self.is_over(deadline) {
            while opened < options.connections && opened - done < CONNECTING {
                let token = self.next_token;
                let connection = Connection::open(options, &self.registrator, token)
                    .map_err(cannot(format_args!("open connection {}", opened + 1)))?;
                self.connections.insert(token, connection);
                self.next_token += 1;
                opened += 1;
            }
            done += self.turn(&options.message, deadline)?;
        }
        if self.is_over(deadline) {
            // Ctrl-C is not a failure. A server that is too slow is one.
            self.count_late(options.connections - done);
            self.connections.clear();
            return Ok(());
        }
        if options.reset {
            for connection in self.connections.values() {
                // A socket with a linger time of 0 is reset when it is closed.
                SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO))?;
            }
            self.connections.clear();
            return Ok(());
        }
        for (&token, connection) in &mut self.connections {
            connection.stage = Stage::Closing;
            // This fails if the server has already ended the connection. The read will show that.
            drop(connection.stream.shutdown(Shutdown::Write));
            self.registrator
                .register(&connection.stream, token, Interests::READABLE)?;
        }
        let mut open = self.connections.len();
        while open > 0 && !self.is_over(deadline) {
            open -= self.turn(&options.message, deadline)?;
        }
        self.count_late(open);
        self.connections.clear();
        Ok(())
    }

    fn count_late(&mut self, connections: usize) {
        if !self.stop.is_asked() {
            for _ in 0..connections {
                self.failures.count(&ErrorKind::TimedOut.into());
            }
        }
    }

    fn is_over(&self, deadline: Instant) -> bool {
        self.stop.is_asked() || Instant::now() >= deadline
    }
}

fn run(options: &Options) -> io::Result<bool> {
    let poll = Poll::new()?;
    let mut storm = Storm {
        registrator: poll.registrator(),
        stop: Stop::on_ctrl_c(poll.registrator(), STOP)?,
        poll,
        events: Events::with_capacity(BATCH),
        connections: HashMap::new(),
        next_token: 0,
        failures: Failures::default(),
    };
    let (mut rounds, begun) = (0, Instant::now());
    while !storm.stop.is_asked() && (options.rounds == 0 || rounds < options.rounds) {
        storm.round(options)?;
        rounds += 1;
    }
    let (opened, failed) = (storm.next_token, storm.failures.total());
    let elapsed = begun.elapsed();
    println!("{rounds} rounds in {elapsed:.1?}, {opened} connections, {failed} failed");
    print!("{}", storm.failures);
    Ok(failed == 0)
}

fn main() -> ExitCode {
    let mut addresses = Vec::new();
    let mut options = Options {
        servers: Vec::new(),
        connections: 100,
        rounds: 10,
        message: String::new(),
        reset: false,
    };
    let mut arguments = Arguments::new("storm", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--connect" => addresses.push(arguments.address()),
            "--connections" => options.connections = arguments.number(1..=usize::MAX),
            "--rounds" => options.rounds = arguments.number(0..=usize::MAX),
            "--send" => options.message = arguments.text(),
            "--reset" => options.reset = true,
            _ => arguments.unknown(),
        }
    }
    if addresses.is_empty() {
        arguments.wrong("--connect is missing");
    }
    let servers = addresses.iter().map(|address| resolve(address));
    let result = servers.collect::<io::Result<Vec<_>>>().and_then(|servers| {
        options.servers = servers;
        run(&options)
    });
    exit_code("storm", result)
}
