//! A chat for `nc`: the first line is your name, every other line goes to all who have one.
//!
//! It shows what independent one-shot interests are good for: `READABLE` is always armed, `WRITABLE`
//! only while a client is owed what its socket did not take. What is owed is bounded. Who does not
//! read while the others talk is shown out, and so cannot fill the server's memory.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, iter, mem, process};

use minimio::{Events, Interests, Poll, Registrator, TcpListener, TcpStream, Token};

const USAGE: &str = "\
usage: chat [--listen ADDR]

A chat. Join with `nc ADDRESS PORT`; the first line is your name. Ctrl-C says goodbye and ends it.

  --listen ADDR   address and port, port 0 for any (default 127.0.0.1:7000)
";

const LISTENER: Token = 0;
const STOP: Token = 1;
const FIRST_CLIENT: Token = 2;

const BATCH: usize = 64;
const READ_SIZE: usize = 4 << 10;
/// A longer line counts as several.
const MAX_LINE: usize = 1 << 10;
const MAX_NAME: usize = 20;
/// Who is owed more does not read, or reads slower than the others talk.
const MAX_OWED: usize = 256 << 10;
/// How long the listener is left alone after it failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the goodbye may take.
const STOP_WITHIN: Duration = Duration::from_secs(1);

static STOPPING: AtomicBool = AtomicBool::new(false);

fn main() -> io::Result<()> {
    let address = address();
    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    // The handler runs on a thread, not inside the signal, so it may take the lock of `wake`. That
    // fails only if the loop has ended, and then there is nothing to wake.
    ctrlc::set_handler(move || {
        STOPPING.store(true, Ordering::Release);
        drop(registrator.wake(STOP));
    })
    .map_err(|error| io::Error::new(ErrorKind::Other, error))?;

    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let mut events = Events::with_capacity(BATCH);
    let mut room = Room {
        queue: poll.registrator(),
        clients: HashMap::new(),
        next: FIRST_CLIENT,
        gone: Vec::new(),
        ending: false,
    };
    let mut paused = room.accept(&listener).is_err();
    while !STOPPING.load(Ordering::Acquire) {
        poll.poll(&mut events, paused.then_some(ACCEPT_PAUSE))?;
        if paused || events.iter().any(|event| event.id() == LISTENER) {
            let accepted = room.accept(&listener);
            if let (Err(error), false) = (&accepted, paused) {
                eprintln!("cannot accept for now: {error}");
            }
            paused = accepted.is_err();
        }
        room.serve(&events);
    }

    drop(listener);
    room.say_goodbye();
    let deadline = Instant::now() + STOP_WITHIN;
    while !room.clients.is_empty() && Instant::now() < deadline {
        poll.poll(
            &mut events,
            Some(deadline.saturating_duration_since(Instant::now())),
        )?;
        room.serve(&events);
    }
    println!("stopped");
    Ok(())
}

struct Client {
    stream: TcpStream,
    /// Nobody hears from or of a client before it has said its name.
    name: Option<String>,
    input: Vec<u8>,
    owed: Vec<u8>,
    /// Whether `WRITABLE` is armed: its event goes on with the sending, so nobody else tries.
    armed: bool,
}

struct Room {
    queue: Registrator,
    /// Tokens are never used twice: an event that comes after its client has left finds nobody.
    clients: HashMap<Token, Client>,
    next: Token,
    /// Who is to leave, and how. They leave at the end of a batch, since it is said to all, and that
    /// can be too much for the next one.
    gone: Vec<(Token, &'static str)>,
    ending: bool,
}

impl Room {
    /// Accepts all who wait, and waits for more.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
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
        }
        self.queue.register(listener, LISTENER, Interests::READABLE)
    }

    fn serve(&mut self, events: &Events) {
        for event in events {
            let token = event.id();
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            client.armed &= !event.is_writable();
            if event.is_readable() {
                let read = self.read(token);
                self.note(token, read);
            }
        }
        self.settle();
    }

    /// Reads once. There is no rule to read until `WouldBlock`, so who talks without pause is not the
    /// only one to be heard.
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

    /// Says it to all who have a name, but for the one whom it comes from.
    fn say(&mut self, text: &str, from: Token) {
        for token in self.tokens() {
            if token != from && self.clients[&token].name.is_some() {
                self.tell(token, text);
            }
        }
    }

    /// Owes `text` to a client. It is sent at the end of the batch, with what else comes up, unless
    /// the bound is reached before.
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
        }
    }

    /// Sends what the socket takes. Only for what it does not take, `WRITABLE` is armed.
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
            // The stream stays until the client ends its side, or the deadline comes: to close with
            // received bytes unread resets the connection, and could take the goodbye back.
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

    /// Sends what is owed and lets go who is gone, until there is no more of either.
    fn settle(&mut self) {
        loop {
            for token in self.tokens() {
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

/// Takes the next line off the front. Invalid UTF-8 is replaced, and control characters, which could
/// play tricks on a terminal, are left out.
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

fn address() -> SocketAddr {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 7000));
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next().map(|text| text.parse())) {
            ("--help" | "-h", _) => {
                print!("{USAGE}");
                process::exit(0);
            }
            ("--listen", Some(Ok(parsed))) => address = parsed,
            _ => {
                eprint!("wrong argument: {name}\n\n{USAGE}");
                process::exit(2);
            }
        }
    }
    address
}
