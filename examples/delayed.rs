//! Two requests to a slow server, sent at once and answered in the order of their delays.
//! One thread, the reactor, polls and passes on the tokens of the events. Another thread, the
//! executor, keeps a closure for each token and calls it when that token comes. The closure is the
//! rest of the work that waits for the event. Most runtimes have these two halves.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, Registrator, TcpStream, Token};

mod common;
use common::{cannot, exit_code, Arguments, Stop};

const USAGE: &str = "\
usage: delayed [--connect ADDRESS]

Sends `GET /delay/1500` and `GET /delay/500` at once and prints the answers as they arrive.

  --connect ADDRESS   ask this server instead of the one inside the program; it must answer after so
                      many milliseconds, and then close the connection
";

/// The requests: the token of each, and the delay asked for, in milliseconds.
const REQUESTS: [(Token, u64); 2] = [(10, 1500), (11, 500)];
const STOP: Token = 0;
/// How long to wait after Ctrl-C for the answers that are still to come.
const GRACE: Duration = Duration::from_secs(1);
/// Longer answers and requests are refused, so that a peer cannot fill the memory.
const MAX_BYTES: usize = 64 << 10;

/// Hands the token of every event to the executor, until the loop is closed.
fn react(mut poll: Poll, executor: &Sender<Token>) -> io::Result<()> {
    let mut events = Events::with_capacity(64);
    loop {
        match poll.poll(&mut events, None) {
            Ok(_) => {}
            Err(error) if minimio::is_closed(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &events {
            // This fails only if the executor is gone. Then the token is not needed.
            let _ = executor.send(event.id());
        }
    }
}

/// The rest of some work. It is called after each event of its token, and returns true when it is
/// done. Before it returns false it registers for the next event.
type Task = Box<dyn FnMut() -> io::Result<bool>>;

struct Executor {
    tasks: HashMap<Token, Task>,
    events: Receiver<Token>,
    stop: Stop,
}

impl Executor {
    /// Runs until no task is left, or for a little while after Ctrl-C.
    fn run(&mut self) -> io::Result<()> {
        let mut deadline = None;
        while !self.tasks.is_empty() {
            if self.stop.is_asked() && deadline.is_none() {
                deadline = Some(Instant::now() + GRACE);
                let count = self.tasks.len();
                println!("interrupted: waiting a little for {count} more");
            }
            let rest = deadline.map_or(Duration::MAX, |end| end - Instant::now());
            match self.events.recv_timeout(rest) {
                Ok(token) => self.resume(token)?,
                // Either the time is up, or the reactor has failed and gives the reason when it is
                // joined.
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
    let connected = TcpStream::connect(server);
    let mut stream = connected.map_err(cannot(format_args!("connect to {server}")))?;
    let head =
        format!("GET /delay/{delay} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    // A new connection has room for so few bytes. If it had none, this would be `WouldBlock`.
    stream.write_all(head.as_bytes())?;
    registrator.register(&stream, token, Interests::READABLE)?;

    let registrator = registrator.clone();
    let mut answer = Vec::new();
    Ok(Box::new(move || {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) if answer.is_empty() => {
                let text = "the server closed a connection without an answer";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
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
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the answer is too long",
            ));
        }
        // This thread registers while the other polls. The event can come before this returns. Its
        // token then waits in the channel until the executor receives it.
        registrator.register(&stream, token, Interests::READABLE)?;
        Ok(false)
    }))
}

fn run(server: Option<String>) -> io::Result<bool> {
    let server = match server {
        Some(address) => address,
        None => {
            let listener = net::TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            thread::spawn(move || serve(listener));
            address.to_string()
        }
    };
    let poll = Poll::new()?;
    let registrator = poll.registrator();
    let (to_executor, events) = mpsc::channel();
    let reactor = thread::spawn(move || react(poll, &to_executor));
    let mut executor = Executor {
        tasks: HashMap::new(),
        events,
        stop: Stop::on_ctrl_c(registrator.clone(), STOP)?,
    };
    for (token, delay) in REQUESTS {
        println!("token {token}: asking for an answer after {delay} ms");
        let task = request(&server, &registrator, (token, delay))?;
        executor.tasks.insert(token, task);
    }

    executor.run()?;
    // No task waits for an event any more. Closing the loop makes the reactor return. If it has
    // already returned by itself, the loop is closed already.
    let _ = registrator.close_loop();
    let reacted = reactor.join().expect("the reactor does not panic");
    reacted.map(|()| true)
}

/// The slow server. It has one thread for each connection, and uses the blocking calls of `std`.
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
    let mut server = None;
    let mut arguments = Arguments::new("delayed", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--connect" => server = Some(arguments.address()),
            _ => arguments.unknown(),
        }
    }
    exit_code("delayed", run(server))
}
