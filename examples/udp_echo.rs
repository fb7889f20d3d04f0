//! A UDP echo server and its client, on one `Poll` in one thread. Each has a token of its own.
//! UDP may lose datagrams. So the client sets a time by which the echo must be there, and `poll`
//! waits until that time and no longer. No other timer is needed.

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
/// The number of a datagram takes eight bytes, and IPv4 allows no datagram larger than the other
/// bound.
const SIZES: RangeInclusive<usize> = 8..=65_507;
/// Room for the largest datagram of both address families.
const BUFFER: usize = 1 << 16;
/// How long an echo may take before its datagram counts as lost.
const ECHO_LIMIT: Duration = Duration::from_millis(200);
/// How long to wait at the end for echoes that are still to come.
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

    /// Echoes one datagram. It need not take all of them, since the registration reports what is
    /// left.
    fn echo(&mut self, registrator: &Registrator, buffer: &mut [u8]) -> io::Result<()> {
        let received = self.socket.recv_from(buffer);
        let sent = received.and_then(|(count, peer)| self.socket.send_to(&buffer[..count], peer));
        match sent {
            Ok(_) => self.echoed += 1,
            // Either there was no datagram, or there is no room to send. In that case the datagram
            // is lost, as it could be in the network.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // If one peer cannot be reached, the server goes on serving the others.
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
    /// The datagram that was sent last. It repeats its own number.
    datagram: Vec<u8>,
    number: u64,
    sent_at: Instant,
    is_waiting: bool,
    echoed: u32,
    lost: u32,
    corrupted: u32,
    /// The sum of the times from sending to the echo.
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
        // From now on only datagrams of the server are received. Most systems then also report that
        // no server is there.
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
            // If there is no room, the datagram counts as lost on its way.
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
                // A datagram that was sent twice may come twice, so the echo of an older one is no
                // mistake.
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

    /// Adds the name of the server to the error of a call.
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

/// Runs the server, the client or both, until Ctrl-C or the end of the client's time.
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

/// Runs what was asked for. Returns true if the echoes came and were right.
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
