//! A chat for `nc`: your first line is your name, and every other line goes to all who have a name.
//! It shows what independent one-shot interests are good for. `READABLE` is always armed, and
//! `WRITABLE` only while bytes wait that a client's socket did not take. How many may wait is
//! bounded. A client that does not read while the others talk has to leave, so it cannot fill the
//! server's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{iter, mem};

use minimio::{Events, Interests, Poll, Registrator, TcpListener, TcpStream, Token};

mod common;
use common::{exit_code, listen, Arguments, Stop};

const USAGE: &str = "\
usage: chat [--listen ADDRESS]

A chat. Join with `nc HOST PORT`; the first line is your name. Ctrl-C says goodbye and ends it.

  --listen ADDRESS   where to listen, port 0 for any (default 127.0.0.1:7000)
";

const LISTENER: Token = 0;
const STOP: Token = 1;
const FIRST_CLIENT: Token = 2;

const BATCH: usize = 64;
/// After this many accepts it is the turn of the clients.
const ACCEPT_BATCH: usize = 64;
const READ_SIZE: usize = 4 << 10;
/// A line that is longer than this counts as several.
const MAX_LINE: usize = 1 << 10;
const MAX_NAME: usize = 20;
/// If more than this waits for a client, it does not read, or reads slower than the others talk.
const MAX_OWED: usize = 256 << 10;
/// How long the listener is not used after it failed, most likely because descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long sending the goodbye may take.
const STOP_WITHIN: Duration = Duration::from_secs(1);

fn run(address: &str) -> io::Result<bool> {
    let mut poll = Poll::new()?;
    let stop = Stop::on_ctrl_c(poll.registrator(), STOP)?;
    let listener = listen(address)?;
    let at = listener.local_addr()?;
    println!("join with: nc {} {}", at.ip(), at.port());
    let mut events = Events::with_capacity(BATCH);
    let mut room = Room {
        queue: poll.registrator(),
        clients: BTreeMap::new(),
        next: FIRST_CLIENT,
        to_send: BTreeSet::new(),
        gone: Vec::new(),
        ending: false,
    };
    room.queue
        .register(&listener, LISTENER, Interests::READABLE)?;
    // When to use the listener again after it has failed.
    let mut pause_until: Option<Instant> = None;
    let mut has_complained = false;
    while !stop.is_asked() {
        poll.poll_until(&mut events, pause_until)?;
        let pause_ends = pause_until.is_some_and(|until| Instant::now() >= until);
        if pause_ends || events.iter().any(|event| event.id() == LISTENER) {
            pause_until = None;
            let accepted = room.accept(&listener);
            if let Err(error) = &accepted {
                // Registering at once would give the same error again.
                pause_until = Some(Instant::now() + ACCEPT_PAUSE);
                if !has_complained {
                    eprintln!("chat: cannot accept for now: {error}");
                }
            }
            has_complained = accepted.is_err();
        }
        room.serve(&events);
    }

    drop(listener);
    room.say_goodbye();
    let deadline = Instant::now() + STOP_WITHIN;
    while !room.clients.is_empty() && Instant::now() < deadline {
        poll.poll_until(&mut events, Some(deadline))?;
        room.serve(&events);
    }
    match room.clients.len() {
        0 => println!("stopped"),
        left => println!("stopped; {left} clients had not left yet"),
    }
    Ok(true)
}

struct Client {
    stream: TcpStream,
    /// A client without a name gets nothing from the others, and they do not learn of it.
    name: Option<String>,
    input: Vec<u8>,
    owed: Vec<u8>,
    /// Whether `WRITABLE` is armed. If so, only its event goes on with the sending.
    armed: bool,
}

struct Room {
    queue: Registrator,
    /// A token is never used twice, so an event that comes after its client has left finds no
    /// client. A tree frees the memory of clients that are gone, which a hash table does not.
    clients: BTreeMap<Token, Client>,
    next: Token,
    /// Clients with new bytes that were not sent yet.
    to_send: BTreeSet<Token>,
    /// Clients that have to leave, and the reason. They leave at the end of a batch. The others are
    /// told of it, and then too much may wait for one of these, so that it has to leave as well.
    gone: Vec<(Token, &'static str)>,
    ending: bool,
}

impl Room {
    /// Accepts some of the connections that wait. The registration reports those that are left, or
    /// that come later.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let token = self.next;
            self.next += 1;
            self.queue.register(&stream, token, Interests::READABLE)?;
            let client = Client {
                stream,
                name: None,
                input: Vec::new(),
                owed: b"* your name?\n".to_vec(),
                armed: false,
            };
            self.clients.insert(token, client);
            self.to_send.insert(token);
        }
        self.queue.register(listener, LISTENER, Interests::READABLE)
    }

    fn serve(&mut self, events: &Events) {
        for event in events {
            let token = event.id();
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            if event.is_writable() {
                client.armed = false;
                self.to_send.insert(token);
            }
            if event.is_readable() {
                let read = self.read(token);
                self.note(token, read);
            }
        }
        self.settle();
    }

    /// Reads once. It need not read until `WouldBlock`, so a client that talks without pause does
    /// not keep the others from being read.
    fn read(&mut self, token: Token) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(());
        };
        let mut buffer = [0; READ_SIZE];
        match client.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => client.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.queue
            .register(&client.stream, token, Interests::READABLE)?;
        let lines: Vec<String> = iter::from_fn(|| take_line(&mut client.input)).collect();
        if !self.ending {
            lines.iter().for_each(|line| self.hear(token, line));
        }
        Ok(())
    }

    fn hear(&mut self, token: Token, line: &str) {
        let Some(client) = self.clients.get(&token) else {
            return;
        };
        if let Some(name) = &client.name {
            if !line.is_empty() {
                self.say(&format!("<{name}> {line}\n"), token);
            }
            return;
        }
        let others = self.clients.values().filter_map(|other| other.name.clone());
        let mut names: Vec<String> = others.collect();
        if line.is_empty() || line.chars().count() > MAX_NAME || names.iter().any(|n| n == line) {
            return self.tell(token, "* another name, please, and a short one\n");
        }
        names.push(line.to_owned());
        self.tell(token, &format!("* welcome; here: {}\n", names.join(", ")));
        self.say(&format!("* {line} joined\n"), token);
        if let Some(client) = self.clients.get_mut(&token) {
            client.name = Some(line.to_owned());
        }
    }

    /// Sends `text` to all clients that have a name, except the one from which it comes.
    fn say(&mut self, text: &str, from: Token) {
        for token in self.tokens() {
            if token != from && self.clients[&token].name.is_some() {
                self.tell(token, text);
            }
        }
    }

    /// Adds `text` to what waits for a client. It is sent at the end of the batch, together with
    /// whatever else comes up, or earlier if the bound is reached.
    fn tell(&mut self, token: Token, text: &str) {
        let owed = |room: &Room| {
            room.clients
                .get(&token)
                .map_or(0, |client| client.owed.len())
        };
        if owed(self) + text.len() > MAX_OWED {
            let sent = self.send(token);
            self.note(token, sent);
        }
        if owed(self) + text.len() > MAX_OWED {
            self.gone.push((token, "does not read, and was shown out"));
        } else if let Some(client) = self.clients.get_mut(&token) {
            client.owed.extend_from_slice(text.as_bytes());
            self.to_send.insert(token);
        }
    }

    /// Sends what the socket takes. If it does not take all, `WRITABLE` is armed for the rest.
    fn send(&mut self, token: Token) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(());
        };
        if client.armed || client.owed.is_empty() {
            return Ok(());
        }
        match client.stream.write(&client.owed) {
            Ok(count) => drop(client.owed.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !client.owed.is_empty() {
            client.armed = true;
            self.queue
                .register(&client.stream, token, Interests::WRITABLE)?;
        } else if self.ending {
            // The stream stays until the client ends its side or the deadline comes. Closing it
            // with received bytes unread would reset the connection, and the goodbye could be lost.
            client.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    fn tokens(&self) -> Vec<Token> {
        self.clients.keys().copied().collect()
    }

    fn note(&mut self, token: Token, result: io::Result<()>) {
        match result.map_err(|error| error.kind()) {
            Ok(()) => {}
            Err(ErrorKind::UnexpectedEof) => self.gone.push((token, "left")),
            Err(_) => self.gone.push((token, "was cut off")),
        }
    }

    /// Sends what waits and removes clients that are gone, until there is nothing left to do.
    fn settle(&mut self) {
        loop {
            for token in mem::take(&mut self.to_send) {
                let sent = self.send(token);
                self.note(token, sent);
            }
            if self.gone.is_empty() {
                return;
            }
            for (token, how) in mem::take(&mut self.gone) {
                let name = self.clients.remove(&token).and_then(|client| client.name);
                if let (Some(name), false) = (name, self.ending) {
                    self.say(&format!("* {name} {how}\n"), token);
                }
            }
        }
    }

    fn say_goodbye(&mut self) {
        self.ending = true;
        for token in self.tokens() {
            self.tell(token, "* the server ends, goodbye\n");
        }
        self.settle();
    }
}

/// Takes the next line off the front. Invalid UTF-8 is replaced. Control characters are left out,
/// since they could change the terminal of a reader.
fn take_line(input: &mut Vec<u8>) -> Option<String> {
    let end = input.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
    let length = match end {
        Some(end) => end + 1,
        None if input.len() < MAX_LINE => return None,
        None => MAX_LINE,
    };
    let line: Vec<u8> = input.drain(..length).collect();
    let text = String::from_utf8_lossy(&line).replace(char::is_control, "");
    Some(text.trim().to_owned())
}

fn main() -> ExitCode {
    let mut address = String::from("127.0.0.1:7000");
    let mut arguments = Arguments::new("chat", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--listen" => address = arguments.address(),
            _ => arguments.unknown(),
        }
    }
    exit_code("chat", run(&address))
}
