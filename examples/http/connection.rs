//! A connection: a small state machine between the event loop and the requests.
//! It has two rules. Nothing is read while bytes wait to be sent, and no request is answered while
//! earlier answers fill the output buffer. Together they bound the memory of a connection. A client
//! that does not take its answers is not read from, so TCP slows it down.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use minimio::{Interests, TcpStream};

use crate::date::http_date;
use crate::request::{parse_head, Answer, Request, HELLO};

/// If this many bytes wait to be sent, the next request has to wait. One echo may exceed this by
/// the largest body.
const MAX_OUTPUT: usize = 64 << 10;
const BIG: usize = 8 << 20;

/// What a connection waits for. The time for it runs from its beginning, or from its last progress.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Idle,
    Head,
    Body,
    Write,
    Linger,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// No more requests are answered. The waiting bytes are sent, and then our side is ended.
    Closing,
    /// Our side has ended. What comes is read and thrown away, up to the end of the client's side.
    /// Closing with bytes unread would reset the connection, and the client could lose the answer.
    Lingering,
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    input: Buffer,
    output: Buffer,
    /// What is sent after `output`: the rest of `/big`, which is never copied.
    tail: &'static [u8],
    /// A request that waits for its body.
    request: Option<Request>,
    stage: Stage,
    pub(crate) wait: Wait,
    /// Whether the time begins anew, since a request was answered, a byte of an answer was sent or
    /// one of a body received. The bytes of a head do not count, since a client that sends one now
    /// and then could keep a connection for ever. A body has an end.
    progressed: bool,
    pub(crate) deadline: Instant,
    /// When the worker looks at this connection next, which is never after the deadline.
    pub(crate) look_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            input: Buffer::default(),
            output: Buffer::default(),
            tail: &[],
            request: None,
            stage: Stage::Open,
            wait: Wait::Idle,
            progressed: true, // so that the first wait has its deadline set
            deadline: Instant::now(),
            look_at: None,
        }
    }

    fn owes(&self) -> bool {
        !self.output.rest().is_empty() || !self.tail.is_empty()
    }

    fn waits_for(&self) -> Wait {
        match self.stage {
            Stage::Lingering => Wait::Linger,
            _ if self.owes() => Wait::Write,
            _ if self.request.is_some() => Wait::Body,
            _ if !self.input.rest().is_empty() => Wait::Head,
            _ => Wait::Idle,
        }
    }

    /// Whether it now waits for something else than before, which needs a new deadline.
    pub(crate) fn starts_to_wait(&mut self) -> bool {
        let before = self.wait;
        self.wait = self.waits_for();
        mem::take(&mut self.progressed) || before != self.wait
    }

    /// Does what an event allows, and returns what to wait for next. An error is the end of the
    /// connection.
    /// It reads once and answers the requests in that. It need not read until `WouldBlock`, since
    /// registering reports what is left. So a client that sends without pause does not get more
    /// than its turn.
    pub(crate) fn turn(
        &mut self,
        readable: bool,
        stop: bool,
        scratch: &mut [u8],
    ) -> io::Result<Interests> {
        if readable && !self.owes() {
            match self.stream.read(scratch) {
                // No bytes wait to be sent, so every request was answered. An incomplete request
                // gets no answer.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.stage == Stage::Lingering => {}
                Ok(count) => {
                    self.input.append(&scratch[..count]);
                    self.progressed |= self.request.is_some();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            self.answer_all(stop);
            if !self.owes() {
                break;
            }
            self.send()?;
            if self.owes() {
                return Ok(Interests::WRITABLE);
            }
        }
        if stop && self.waits_for() == Wait::Idle {
            self.stage = Stage::Closing;
        }
        if self.stage == Stage::Closing {
            self.stream.shutdown(Shutdown::Write)?;
            self.stage = Stage::Lingering;
        }
        Ok(Interests::READABLE)
    }

    /// Makes one write of everything that waits, of which the socket takes what it has room for.
    fn send(&mut self) -> io::Result<()> {
        let slices = [IoSlice::new(self.output.rest()), IoSlice::new(self.tail)];
        let used = if self.tail.is_empty() { 1 } else { 2 };
        match self.stream.write_vectored(&slices[..used]) {
            Ok(count) => {
                let from_output = count.min(self.output.rest().len());
                self.output.consume(from_output);
                self.tail = &self.tail[count - from_output..];
                self.progressed = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Answers the requests that are complete, in their order, while there is room for answers.
    fn answer_all(&mut self, stop: bool) {
        let has_room = |of: &Connection| of.tail.is_empty() && of.output.rest().len() < MAX_OUTPUT;
        while self.stage == Stage::Open && has_room(self) {
            let Some(request) = self.request.take() else {
                match parse_head(self.input.rest()) {
                    Ok(None) => return,
                    Ok(Some((length, request))) => {
                        self.input.consume(length);
                        if request.expects_continue && self.input.rest().len() < request.body {
                            self.output.append(b"HTTP/1.1 100 Continue\r\n\r\n");
                        }
                        self.request = Some(request);
                    }
                    Err(status) => self.answer(&Request::refused(status), stop),
                }
                continue;
            };
            if self.input.rest().len() < request.body {
                self.request = Some(request);
                return;
            }
            self.answer(&request, stop);
            self.input.consume(request.body);
        }
    }

    fn answer(&mut self, request: &Request, stop: bool) {
        let body = match request.answer {
            Answer::Hello => HELLO,
            Answer::Big => big(),
            Answer::Echo => &self.input.rest()[..request.body],
            Answer::Status => request.status.lines().next().unwrap_or_default().as_bytes(),
        };
        let (status, length) = (request.status, body.len());
        let keep_alive = request.keep_alive && !stop;
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let date = http_date(SystemTime::now());
        let head = format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        );
        self.output.append(head.as_bytes());
        match request.answer {
            _ if request.head_only => {}
            Answer::Big => self.tail = big(),
            _ => self.output.append(body),
        }
        if !keep_alive {
            self.stage = Stage::Closing;
        }
        self.progressed = true;
    }

    /// Called when the time is up. Returns whether the connection has something to do before its
    /// end.
    pub(crate) fn time_out(&mut self) -> bool {
        match self.wait {
            Wait::Idle => self.stage = Stage::Closing,
            Wait::Head | Wait::Body => {
                self.request = None;
                self.answer(&Request::refused("408 Request Timeout"), true);
            }
            Wait::Write | Wait::Linger => return false,
        }
        true
    }
}

/// The body of `/big`. It repeats the alphabet, so that a lost or doubled byte is noticed.
fn big() -> &'static [u8] {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    BODY.get_or_init(|| (b'a'..=b'z').cycle().take(BIG).collect())
}

/// Bytes that are added at the end and taken from the front.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn append(&mut self, more: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(more);
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
            // A large body must not take memory for as long as the connection lives.
            self.bytes.shrink_to(MAX_OUTPUT);
        }
    }
}
