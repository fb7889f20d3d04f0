//! Two requests to a slow server, sent at once and answered in the order of their delays.
//!
//! One thread, the reactor, does nothing but poll and pass on the tokens of the events. Another, the
//! executor, keeps a closure for each token and calls it when that token comes: the rest of the work
//! that waits for the event. Most runtimes are made of these two halves.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use std::{env, thread};

use minimio::{Events, Interests, Poll, Registrator, TcpStream, Token};

const USAGE: &str = "\
usage: delayed [--connect ADDR]

Sends `GET /delay/1500` and `GET /delay/500` at once and prints the answers as they arrive.
  --connect ADDR    ask this server, instead of one inside the program, for its answer after so
                    many milliseconds; it closes the connection after its answer
";

/// The requests: the token of each, and the delay asked for, in milliseconds.
const REQUESTS: [(Token, u64); 2] = [(10, 1500), (11, 500)];
const STOP: Token = 0;
/// How long, after Ctrl-C, to wait for the answers that are still to come.
const GRACE: Duration = Duration::from_secs(1);
/// More than an answer or a request may have: a peer cannot fill our memory.
const MAX_BYTES: usize = 64 << 10;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Hands every event's token to the executor, until the loop is closed.
fn react(mut poll: Poll, executor: &Sender<Token>) -> io::Result<()> {
    let mut events = Events::with_capacity(64);
    loop {
        match poll.poll(&mut events, None) {
            Ok(_) => {}
            Err(error) if minimio::is_closed(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &events {
            // It fails only if the executor is gone: then nobody wants to know.
            let _ = executor.send(event.id());
        }
    }
}

/// The rest of some work, called after each event of its token. It returns true when it is done;
/// before it returns false it has registered for the next event.
type Task = Box<dyn FnMut() -> io::Result<bool>>;

struct Executor {
    tasks: HashMap<Token, Task>,
    events: Receiver<Token>,
}

impl Executor {
    /// Runs until no task is left, or Ctrl-C and a little longer.
    fn run(&mut self) -> io::Result<()> {
        let mut deadline = None;
        while !self.tasks.is_empty() {
            if INTERRUPTED.load(Ordering::Acquire) && deadline.is_none() {
                deadline = Some(Instant::now() + GRACE);
                let count = self.tasks.len();
                println!("interrupted: waiting a little for {count} more");
            }
            let rest = deadline.map_or(Duration::MAX, |end| end - Instant::now());
            match self.events.recv_timeout(rest) {
                Ok(token) => self.resume(token)?,
                // The time is up; or the reactor has failed, and says why when it is joined.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn resume(&mut self, token: Token) -> io::Result<()> {
        if let Some(task) = self.tasks.get_mut(&token) {
            if task()? {
                self.tasks.remove(&token);
            }
        }
        Ok(())
    }
}

/// Sends a request and returns the task that takes its answer.
fn request(
    server: &str,
    registrator: &Registrator,
    (token, delay): (Token, u64),
) -> io::Result<Task> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server)?;
    let head =
        format!("GET /delay/{delay} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    // A new connection has room for so few bytes. If it had not, this would be `WouldBlock`.
    stream.write_all(head.as_bytes())?;
    registrator.register(&stream, token, Interests::READABLE)?;

    let registrator = registrator.clone();
    let mut answer = Vec::new();
    Ok(Box::new(move || {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) if answer.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => {
                let text = String::from_utf8_lossy(&answer);
                let body = text.split_once("\r\n\r\n").map_or(&*text, |(_, body)| body);
                println!("token {token}, after {:.1?}: {body}", begun.elapsed());
                return Ok(true);
            }
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if answer.len() > MAX_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidData, "too long"));
        }
        // This thread registers while the other polls. The event can come before this returns: its
        // token waits in the channel until the executor is back there.
        registrator.register(&stream, token, Interests::READABLE)?;
        Ok(false)
    }))
}

fn run(server: &str) -> io::Result<()> {
    let poll = Poll::new()?;
    let registrator = poll.registrator();
    let (to_executor, events) = mpsc::channel();
    let reactor = thread::spawn(move || react(poll, &to_executor));
    let tasks = HashMap::new();
    let mut executor = Executor { tasks, events };
    for (token, delay) in REQUESTS {
        println!("token {token}: asking for an answer after {delay} ms");
        let task = request(server, &registrator, (token, delay))?;
        executor.tasks.insert(token, task);
    }
    let waker = registrator.clone();
    ctrlc::set_handler(move || {
        INTERRUPTED.store(true, Ordering::Release);
        let _ = waker.wake(STOP);
    })
    .map_err(|error| io::Error::new(ErrorKind::Other, error))?;

    executor.run()?;
    // Nobody waits for an event any more. Closing the loop lets the reactor return; if it has done
    // that by itself, the loop is closed already.
    let _ = registrator.close_loop();
    reactor.join().expect("the reactor does not panic")
}

/// The slow server, with a thread a connection and the blocking calls of `std`.
fn serve(listener: net::TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: net::TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_BYTES {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head
        .split(' ')
        .nth(1)
        .and_then(|path| path.strip_prefix("/delay/"));
    let (status, body) = match path.and_then(|delay| delay.parse().ok()) {
        Some(delay) => {
            thread::sleep(Duration::from_millis(delay));
            ("200 OK", format!("the answer, {delay} ms late"))
        }
        None => ("404 Not Found", String::from("ask for /delay/MILLISECONDS")),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = match arguments[..] {
        ["--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ["--connect", address] => Ok(address.to_string()),
        [] => net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            let address = listener.local_addr()?;
            thread::spawn(move || serve(listener));
            Ok(address.to_string())
        }),
        _ => {
            eprint!("delayed: wrong arguments\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match server.and_then(|server| run(&server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("delayed: {error}");
            ExitCode::FAILURE
        }
    }
}
