//! A UDP echo server and its client, on one `Poll` in one thread: either is just one more token.
//!
//! UDP may lose what it is given, so the client sets a time by which the echo must be there, and
//! `poll` waits until that time and no longer. No timer is needed besides.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, Registrator, Token, UdpSocket};

mod common;
use common::{cannot, exit_code, resolve, Arguments, Failures, Stop};

const USAGE: &str = "\
usage: udp_echo [--listen ADDRESS | --connect ADDRESS] [--size BYTES] [--seconds S]

Sends datagrams, each when the echo of the one before is there, and again if that is lost.

  --listen ADDRESS    only serve, until Ctrl-C
  --connect ADDRESS   only send, to a server elsewhere
  --size BYTES        length of a datagram, 8 to 65507 (default 64)
  --seconds S         how long to send, fractions allowed (default 3)
The exit status is 1 if an echo was wrong or none came.
";

const SERVER: Token = 0;
const CLIENT: Token = 1;
const STOP: Token = 2;
/// A datagram's number takes eight bytes, and IPv4 carries no more than the other.
const SIZES: RangeInclusive<usize> = 8..=65_507;
/// Room for the largest datagram of either family.
const BUFFER: usize = 1 << 16;
/// How long an echo may take before its datagram counts as lost.
const ECHO_LIMIT: Duration = Duration::from_millis(200);
/// How long to wait, at the end, for what is in flight.
const GRACE: Duration = Duration::from_secs(1);

struct Server {
    socket: UdpSocket,
    echoed: u64,
    failures: Failures,
}

impl Server {
    fn bind(address: &str) -> io::Result<Server> {
        let bound = UdpSocket::bind(address);
        let socket = bound.map_err(cannot(format_args!("listen on {address}")))?;
        println!("listening on {}", socket.local_addr()?);
        Ok(Server {
            socket,
            echoed: 0,
            failures: Failures::default(),
        })
    }

    /// Echoes one datagram. There is no need to take them all: the registration reports what is left.
    fn echo(&mut self, registrator: &Registrator, buffer: &mut [u8]) -> io::Result<()> {
        let received = self.socket.recv_from(buffer);
        let sent = received.and_then(|(count, peer)| self.socket.send_to(&buffer[..count], peer));
        match sent {
            Ok(_) => self.echoed += 1,
            // Nothing was there; or there is no room to send, and then the network loses a datagram
            // a little earlier than it might have otherwise.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // One peer that cannot be reached is no reason to leave the others.
            Err(error) => self.failures.count(&error),
        }
        registrator.register(&self.socket, SERVER, Interests::READABLE)
    }

    fn print(&self) {
        let failed = self.failures.total();
        println!("served {} datagrams, {failed} failed", self.echoed);
        print!("{}", self.failures);
    }
}

struct Client {
    socket: UdpSocket,
    target: SocketAddr,
    /// What is in flight, or was last: its number over and over.
    datagram: Vec<u8>,
    number: u64,
    sent_at: Instant,
    is_waiting: bool,
    echoed: u32,
    lost: u32,
    corrupted: u32,
    /// The sum of the times from sending to echo.
    waited: Duration,
}

impl Client {
    fn connect(target: &str, size: usize) -> io::Result<Client> {
        let target = resolve(target)?;
        let any = if target.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        // From here on only the server is heard, and on most systems also that there is none.
        let connected = socket.connect(target);
        connected.map_err(cannot(format_args!("connect to {target}")))?;
        println!("datagrams of {size} bytes to {target}");
        Ok(Client {
            socket,
            target,
            datagram: vec![0; size],
            number: 0,
            sent_at: Instant::now(),
            is_waiting: false,
            echoed: 0,
            lost: 0,
            corrupted: 0,
            waited: Duration::ZERO,
        })
    }

    /// Sends the next datagram, or the same again when its echo is overdue.
    fn send_if_due(&mut self, now: Instant, registrator: &Registrator) -> io::Result<()> {
        if self.is_waiting {
            if now < self.sent_at + ECHO_LIMIT {
                return Ok(());
            }
            self.lost += 1;
        } else {
            self.number += 1;
            let bytes = self.number.to_le_bytes().into_iter().cycle();
            self.datagram
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = from);
        }
        (self.is_waiting, self.sent_at) = (true, now);
        match self.socket.send(&self.datagram) {
            // Without room for it, it is as good as lost on the way.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(self.named(error)),
            Ok(_) => {}
        }
        registrator.register(&self.socket, CLIENT, Interests::READABLE)
    }

    fn receive(&mut self, registrator: &Registrator, buffer: &mut [u8]) -> io::Result<()> {
        match self.socket.recv(buffer) {
            Ok(count) if self.is_waiting && buffer[..count] == self.datagram => {
                self.is_waiting = false;
                self.echoed += 1;
                self.waited += self.sent_at.elapsed();
            }
            Ok(count) => {
                // What was sent twice may come twice: the echo of an older one is no mistake.
                let number = match buffer[..count].get(..8) {
                    Some(number) => number.try_into().map_or(0, u64::from_le_bytes),
                    None => u64::MAX, // Too short to have one.
                };
                let newest_seen = self.number - u64::from(self.is_waiting);
                self.corrupted += u32::from(number > newest_seen);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(self.named(error)),
        }
        registrator.register(&self.socket, CLIENT, Interests::READABLE)
    }

    /// The error of a call with the server's name in it.
    fn named(&self, error: io::Error) -> io::Error {
        cannot(format_args!("reach {}", self.target))(error)
    }

    fn print(&self) {
        match self.waited.checked_div(self.echoed) {
            Some(mean) => println!("echoed {}, each after {mean:.1?} on average", self.echoed),
            None => println!("no echo came"),
        }
        let (lost, corrupted) = (self.lost, self.corrupted);
        println!("lost and sent again {lost}, corrupted {corrupted}");
    }
}

/// Runs whichever of the two there is, until Ctrl-C or, for a client, the end of the time.
fn echo(
    mut poll: Poll,
    mut server: Option<&mut Server>,
    mut client: Option<&mut Client>,
    time: Duration,
    stop: &Stop,
) -> io::Result<()> {
    let registrator = poll.registrator();
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(8);
    let mut is_ending = false;
    let mut end = client.as_ref().map(|_| Instant::now() + time);
    if let Some(server) = &server {
        registrator.register(&server.socket, SERVER, Interests::READABLE)?;
    }
    loop {
        let now = Instant::now();
        if !is_ending && (stop.is_asked() || end.is_some_and(|end| now >= end)) {
            (is_ending, end) = (true, Some(now + GRACE));
        }
        let is_waiting = client.as_ref().is_some_and(|client| client.is_waiting);
        if is_ending && (!is_waiting || end.is_some_and(|end| now >= end)) {
            return Ok(());
        }
        let mut until = end;
        if let Some(client) = &mut client {
            client.send_if_due(now, &registrator)?;
            let due = client.sent_at + ECHO_LIMIT;
            until = Some(end.map_or(due, |end| end.min(due)));
        }
        poll.poll_until(&mut events, until)?;
        for event in &events {
            match (event.id(), &mut server, &mut client) {
                (SERVER, Some(server), _) => server.echo(&registrator, &mut buffer)?,
                (CLIENT, _, Some(client)) => client.receive(&registrator, &mut buffer)?,
                _ => {}
            }
        }
    }
}

struct Options {
    listen: Option<String>,
    connect: Option<String>,
    size: usize,
    time: Duration,
}

/// Runs what was asked for. True if the echoes came and were right.
fn run(options: &Options) -> io::Result<bool> {
    let poll = Poll::new()?;
    let stop = Stop::on_ctrl_c(poll.registrator(), STOP)?;
    if let Some(address) = &options.listen {
        let mut server = Server::bind(address)?;
        let result = echo(poll, Some(&mut server), None, options.time, &stop);
        server.print();
        return result.map(|()| true);
    }
    let (mut server, target) = match &options.connect {
        Some(address) => (None, address.clone()),
        None => {
            let server = Server::bind("127.0.0.1:0")?;
            let address = server.socket.local_addr()?;
            (Some(server), address.to_string())
        }
    };
    let mut client = Client::connect(&target, options.size)?;
    let result = echo(
        poll,
        server.as_mut(),
        Some(&mut client),
        options.time,
        &stop,
    );
    client.print();
    let came = client.echoed > 0 || stop.is_asked();
    result.map(|()| came && client.corrupted == 0)
}

fn main() -> ExitCode {
    let mut options = Options {
        listen: None,
        connect: None,
        size: 64,
        time: Duration::from_secs(3),
    };
    let mut arguments = Arguments::new("udp_echo", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--listen" => options.listen = Some(arguments.address()),
            "--connect" => options.connect = Some(arguments.address()),
            "--size" => options.size = arguments.number(SIZES),
            "--seconds" => options.time = arguments.seconds(),
            _ => arguments.unknown(),
        }
    }
    if options.listen.is_some() && options.connect.is_some() {
        arguments.wrong("--listen and --connect exclude each other");
    }
    exit_code("udp_echo", run(&options))
}
