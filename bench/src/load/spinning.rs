//! The load on Unix. A thread sends one message on every connection (a volley), and takes the answers as they come.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::STALLED;
use crate::measure::Histogram;
use crate::peers::bare::{new_set, wait, watch, Batch};

/// The clients of one server.
#[derive(Debug)]
pub struct Load {
    set: OwnedFd,
    batch: Batch,
    clients: Vec<Client>,
    message: Vec<u8>,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    /// How long it waits when there is nothing to read.
    pause_ms: i32,
    last_echo: Instant,
    pub latencies: Histogram,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    got: usize,
    sent_at: Instant,
}

impl Load {
    /// Clients of an echo server.
    pub fn new(streams: Vec<TcpStream>, size: usize) -> io::Result<Load> {
        let message = super::echoed(size);
        Load::exchanging(streams, message.clone(), message)
    }

    /// Clients that send `message` and get `answer`.
    pub fn exchanging(
        streams: Vec<TcpStream>,
        message: Vec<u8>,
        answer: Vec<u8>,
    ) -> io::Result<Load> {
        let set = new_set()?;
        for (key, stream) in streams.iter().enumerate() {
            watch(set.as_fd(), stream.as_raw_fd(), key)?;
        }
        let sent_at = Instant::now();
        let client = |stream| Client {
            stream,
            got: 0,
            sent_at,
        };
        Ok(Load {
            set,
            batch: Batch::new(),
            clients: streams.into_iter().map(client).collect(),
            buffer: vec![0; answer.len()],
            message,
            answer,
            pause_ms: 0,
            last_echo: sent_at,
            latencies: Histogram::new(),
        })
    }

    /// From now on it sleeps when there is nothing to read, and leaves its core to the servers.
    pub fn sleeping(mut self) -> Load {
        // That often it looks whether a message was lost.
        self.pause_ms = 1_000;
        self
    }

    /// Gives the clients back.
    pub fn into_clients(self) -> Vec<TcpStream> {
        self.clients
            .into_iter()
            .map(|client| client.stream)
            .collect()
    }

    /// Sends volleys for that long: one message from each client, and then it reads their answers. Returns how many
    /// came.
    /// Usually it never sleeps. So no send of the server has to wake it, which would cost the server more than the message and
    /// depend on what else the machine does. It never reads from a socket that has nothing to read, so the two threads
    /// do not wait for each other's lock of a socket.
    pub fn run(&mut self, length: Duration) -> io::Result<(u64, Duration)> {
        self.latencies.clear();
        let start = Instant::now();
        self.last_echo = start;
        let mut count = 0;
        while start.elapsed() < length {
            self.send_all()?;
            let mut under_way = self.clients.len();
            while under_way > 0 {
                under_way -= self.receive()?;
            }
            count += self.clients.len() as u64;
        }
        Ok((count, start.elapsed()))
    }

    /// One message from each client.
    pub fn send_all(&mut self) -> io::Result<()> {
        for client in &mut self.clients {
            client.send(&self.message)?;
        }
        Ok(())
    }

    /// Reads what is there, and returns how many answers that completed.
    fn receive(&mut self) -> io::Result<usize> {
        wait(self.set.as_fd(), &mut self.batch, self.pause_ms)?;
        let now = Instant::now();
        let mut complete = 0;
        for key in self.batch.keys() {
            let client = &mut self.clients[key];
            let left = self.answer.len() - client.got;
            let got = client.stream.read(&mut self.buffer[..left])?;
            if got == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if self.buffer[..got] != self.answer[client.got..client.got + got] {
                return Err(super::wrong_answer());
            }
            client.got += got;
            if client.got == self.answer.len() {
                client.got = 0;
                complete += 1;
                self.last_echo = now;
                self.latencies.add((now - client.sent_at).as_nanos() as u64);
            }
        }
        if complete == 0 && now.saturating_duration_since(self.last_echo) > STALLED {
            return Err(io::Error::new(ErrorKind::TimedOut, "a message was lost"));
        }
        Ok(complete)
    }

    /// Ends one connection, which ends the server.
    pub fn hang_up(&self) -> io::Result<()> {
        self.clients[0].stream.shutdown(Shutdown::Write)
    }
}

impl Client {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.sent_at = Instant::now();
        // One message is under way at a time, and the socket's buffer is larger than that.
        self.stream.write_all(message)
    }
}
