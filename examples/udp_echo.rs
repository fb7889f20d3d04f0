//! A UDP echo server and its client, on one `Poll` in one thread: either is just one more token.
//!
//! UDP may lose what it is given, so the client sets a time by which the echo must be there, and
//! `poll` waits until that time and no longer. No timer is needed besides.

use std::net::ToSocketAddrs;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, io};

use minimio::{Events, Interests, Poll, Registrator, Token, UdpSocket};

const USAGE: &str = "\
usage: udp_echo [--listen ADDR | --connect ADDR] [--size BYTES] [--seconds S]

Sends datagrams, each when the echo of the one before is there, and again if that is lost.
  --listen ADDR     only serve, until Ctrl-C
  --connect ADDR    only send, to a server elsewhere
  --size BYTES      length of a datagram, 8 to 65507 (default 64)
  --seconds S       how long to send, fractions allowed (default 3)
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

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Echoes one datagram. There is no need to take them all: the registration reports what is left.
fn serve(socket: &UdpSocket, registrator: &Registrator, buffer: &mut [u8]) -> io::Result<()> {
    let received = socket.recv_from(buffer);
    let result = received.and_then(|(count, peer)| socket.send_to(&buffer[..count], peer));
    match result {
        // Nothing was there; or there is no room to send, and then the network loses a datagram a
        // little earlier than it might have otherwise.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // One peer that cannot be reached is no reason to leave the others.
        Err(error) => eprintln!("no echo: {error}"),
        Ok(_) => {}
    }
    registrator.register(socket, SERVER, Interests::READABLE)
}

struct Client {
    socket: UdpSocket,
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
        let mut targets = target.to_socket_addrs()?;
        let target = targets.next().ok_or(io::ErrorKind::NotFound)?;
        let any = if target.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        // From here on only the server is heard, and on most systems also that there is none.
        socket.connect(target)?;
        Ok(Client {
            socket,
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
            result => drop(result?),
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
            Ok(_) => {
                // What was sent twice may come twice: the echo of an older one is no mistake.
                let number = <[u8; 8]>::try_from(&buffer[..8]).map_or(0, u64::from_le_bytes);
                let newest_seen = self.number - u64::from(self.is_waiting);
                self.corrupted += u32::from(number > newest_seen);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        registrator.register(&self.socket, CLIENT, Interests::READABLE)
    }
}

/// Runs whichever of the two there is, until Ctrl-C or, for a client, the end of the time.
fn run(
    server: Option<&UdpSocket>,
    mut client: Option<&mut Client>,
    time: Duration,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    let waker = poll.registrator();
    ctrlc::set_handler(move || {
        INTERRUPTED.store(true, Ordering::Release);
        let _ = waker.wake(STOP);
    })
    .map_err(|error| io::Error::new(io::ErrorKind::Other, error))?;

    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(8);
    let mut is_ending = false;
    // A time beyond what the clock can express is none.
    let mut end = client
        .as_ref()
        .and_then(|_| Instant::now().checked_add(time));
    if let Some(socket) = server {
        registrator.register(socket, SERVER, Interests::READABLE)?;
    }
    loop {
        let now = Instant::now();
        if !is_ending && (is_interrupted() || end.is_some_and(|end| now >= end)) {
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
        poll.poll(&mut events, until.map(|until| until - now))?;
        for event in &events {
            match (event.id(), server, &mut client) {
                (SERVER, Some(socket), _) => serve(socket, &registrator, &mut buffer)?,
                (CLIENT, _, Some(client)) => client.receive(&registrator, &mut buffer)?,
                _ => {}
            }
        }
    }
}

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

struct Options {
    listen: Option<String>,
    connect: Option<String>,
    size: usize,
    time: Duration,
}

impl Options {
    fn set(&mut self, name: &str, value: String) -> Option<()> {
        match name {
            "--listen" if self.connect.is_none() => self.listen = Some(value),
            "--connect" if self.listen.is_none() => self.connect = Some(value),
            "--seconds" => self.time = Duration::try_from_secs_f64(value.parse().ok()?).ok()?,
            "--size" => self.size = value.parse().ok().filter(|size| SIZES.contains(size))?,
            _ => return None,
        }
        Some(())
    }

    /// Runs what was asked for. True if the echoes came and were right.
    fn run(&self) -> io::Result<bool> {
        if let Some(address) = &self.listen {
            let socket = UdpSocket::bind(address)?;
            println!("listening on {}", socket.local_addr()?);
            return run(Some(&socket), None, self.time).map(|()| true);
        }
        let (mut server, mut target) = (None, self.connect.clone());
        if target.is_none() {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            target = Some(socket.local_addr()?.to_string());
            server = Some(socket);
        }
        let mut client = Client::connect(&target.unwrap_or_default(), self.size)?;
        let result = run(server.as_ref(), Some(&mut client), self.time);
        let mean = client.waited / client.echoed.max(1);
        println!("echoed {}, each after {mean:.1?} on average", client.echoed);
        println!(
            "lost and resent {}, corrupted {}",
            client.lost, client.corrupted
        );
        let came = client.echoed > 0 || is_interrupted();
        result.map(|()| came && client.corrupted == 0)
    }
}

fn main() -> ExitCode {
    let mut options = Options {
        listen: None,
        connect: None,
        size: 64,
        time: Duration::from_secs(3),
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--help" {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        let value = arguments.next();
        if value.and_then(|value| options.set(&name, value)).is_none() {
            eprint!("udp_echo: wrong argument or value: {name}\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    match options.run() {
        Ok(is_well) => ExitCode::from(u8::from(!is_well)),
        Err(error) => {
            eprintln!("udp_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
