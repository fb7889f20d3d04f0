//! A worker: the event loop of one thread, its connections and their time-outs. Workers share
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use minimio::{Events, Poll, Registrator, TcpStream, Token};

use crate::connection::{Connection, Wait};
use crate::{BATCH, ROOM};

/// The only fixed token of a worker. Its event means that the queue of new streams has something.
/// The tokens of the connections come after it.
pub(crate) const STREAMS: Token = 0;

const READ_SIZE: usize = 16 << 10;
/// How long a client may take to end its side after we have ended ours.
const LINGER: Duration = Duration::from_secs(2);
/// How long requests that have begun may take after Ctrl-C.
const STOP_WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, Copy)]
pub(crate) struct TimeOuts {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
}

/// How many connections were not finished when their time was over.
#[derive(Default)]
pub(crate) struct CutOff {
    pub(crate) requests: usize,
    pub(crate) answers: usize,
}

pub(crate) struct Worker {
    poll: Poll,
    registrator: Registrator,
    streams: Receiver<TcpStream>,
    /// How many streams the queue of new streams holds.
    capacity: usize,
    acceptor: Registrator,
    time_outs: TimeOuts,
    /// A token is never used twice, so an event that comes after the end of its connection finds no
    /// connection. A tree frees the memory of connections that are gone, which a hash table does
    /// not.
    connections: BTreeMap<Token, Connection>,
    next_token: Token,
    /// When to look at which connection, the earliest first. `poll` waits until the first of these
    /// times. There is one entry for each connection and none for those that are gone, however fast
    /// they come and go.
    timers: BTreeSet<(Instant, Token)>,
    scratch: Vec<u8>,
    stop_by: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        streams: Receiver<TcpStream>,
        capacity: usize,
        acceptor: Registrator,
        time_outs: TimeOuts,
    ) -> io::Result<Worker> {
        let poll = Poll::new()?;
        Ok(Worker {
            registrator: poll.registrator(),
            poll,
            streams,
            capacity,
            acceptor,
            time_outs,
            connections: BTreeMap::new(),
            next_token: STREAMS + 1,
            timers: BTreeSet::new(),
            scratch: vec![0; READ_SIZE],
            stop_by: None,
        })
    }

    pub(crate) fn registrator(&self) -> Registrator {
        self.registrator.clone()
    }

    /// Serves until the queue of streams has ended, and after that until the last connection has
    /// ended or its time is over.
    pub(crate) fn run(&mut self) -> io::Result<CutOff> {
        let mut events = Events::with_capacity(BATCH);
        loop {
            let first = self.timers.first().map(|(at, _)| *at);
            let until = first.into_iter().chain(self.stop_by).min();
            self.poll.poll_until(&mut events, until)?;
            for event in &events {
                match event.id() {
                    STREAMS => self.take_streams(),
                    token => self.serve(token, event.is_readable()),
                }
            }
            self.expire();
            if let Some(stop_by) = self.stop_by {
                if self.connections.is_empty() || Instant::now() >= stop_by {
                    return Ok(self.cut_off());
                }
            }
        }
    }

    /// Takes at most as many streams as the queue holds, so that the other connections are not kept
    /// waiting.
    fn take_streams(&mut self) {
        for _ in 0..self.capacity {
            match self.streams.try_recv() {
                Ok(stream) => self.take(stream),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.begin_to_stop(),
            }
        }
        // The queue may have been full. Then the acceptor waits until it is told that there is room
        // again, and more streams may have come meanwhile. A wake fails only if its loop has ended,
        // and then it does not matter.
        drop(self.acceptor.wake(ROOM));
        drop(self.registrator.wake(STREAMS));
    }

    fn take(&mut self, stream: TcpStream) {
        drop(stream.set_nodelay(true)); // Only speed depends on it.
        let token = self.next_token;
        self.next_token += 1;
        self.connections.insert(token, Connection::new(stream));
        // If a request is there already, registering reports it.
        self.serve(token, false);
    }

    fn begin_to_stop(&mut self) {
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
            // Each connection makes one more read. A request that has arrived is answered, and a
            // connection without one is ended.
            for token in self.connections.keys().copied().collect::<Vec<_>>() {
                self.serve(token, true);
            }
        }
    }

    fn cut_off(&self) -> CutOff {
        let mut cut_off = CutOff::default();
        for connection in self.connections.values() {
            match connection.wait {
                Wait::Head | Wait::Body => cut_off.requests += 1,
                Wait::Write => cut_off.answers += 1,
                Wait::Idle | Wait::Linger => {}
            }
        }
        cut_off
    }

    /// Lets a connection do what it can, and then registers it for what it needs next, or drops it.
    /// A failure of one connection does not affect the others.
    fn serve(&mut self, token: Token, readable: bool) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let stopping = self.stop_by.is_some();
        let next = connection.turn(readable, stopping, &mut self.scratch);
        let registered = next.and_then(|interest| {
            self.registrator
                .register(&connection.stream, token, interest)
        });
        if registered.is_err() {
            self.remove(token);
        } else if connection.starts_to_wait() {
            let after = match connection.wait {
                Wait::Idle | Wait::Body | Wait::Write => self.time_outs.idle,
                Wait::Head => self.time_outs.head,
                Wait::Linger => LINGER,
            };
            self.set_deadline(token, Instant::now() + after);
        }
    }

    fn remove(&mut self, token: Token) {
        let connection = self.connections.remove(&token);
        if let Some(at) = connection.and_then(|connection| connection.look_at) {
            self.timers.remove(&(at, token));
        }
    }

    /// A deadline moves with every request. If it becomes later, the entry is left where it is,
    /// since moving it each time would cost too much. When the time of the entry comes, it is
    /// moved. If the deadline becomes earlier, the entry is moved at once.
    fn set_deadline(&mut self, token: Token, deadline: Instant) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.deadline = deadline;
        if let Some(at) = connection.look_at {
            if at <= deadline {
                return;
            }
            self.timers.remove(&(at, token));
        }
        connection.look_at = Some(deadline);
        self.timers.insert((deadline, token));
    }

    /// Looks at the connections whose time has come.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&(at, token)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            connection.look_at = None;
            if connection.deadline > now {
                let deadline = connection.deadline;
                self.set_deadline(token, deadline);
            } else if connection.time_out() {
                self.serve(token, false);
            } else {
                self.remove(token);
            }
        }
    }
}
