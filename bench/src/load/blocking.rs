//! The load on Windows. A thread that blocks writes to every connection, and then reads from each in order (a volley).
//! Under Wine each call on a socket is a request to the Wine server, which the server under test needs, too. A load
//! that does not block would make so many requests that it would measure itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::STALLED;
use crate::measure::Histogram;

/// The clients of one server.
#[derive(Debug)]
pub struct Load {
    clients: Vec<TcpStream>,
    sent_at: Vec<Instant>,
    message: Vec<u8>,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    pub latencies: Histogram,
}

impl Load {
    /// Clients of an echo server.
    pub fn new(clients: Vec<TcpStream>, size: usize) -> io::Result<Load> {
        let message = super::echoed(size);
        Load::exchanging(clients, message.clone(), message)
    }

    /// Clients that send `message` and get `answer`.
    pub fn exchanging(
        clients: Vec<TcpStream>,
        message: Vec<u8>,
        answer: Vec<u8>,
    ) -> io::Result<Load> {
        for client in &clients {
            client.set_nonblocking(false)?;
            client.set_read_timeout(Some(STALLED))?;
        }
        Ok(Load {
            sent_at: vec![Instant::now(); clients.len()],
            clients,
            buffer: vec![0; answer.len()],
            message,
            answer,
            latencies: Histogram::new(),
        })
    }

    /// It sleeps anyway when there is nothing to read.
    pub fn sleeping(self) -> Load {
        self
    }

    /// Gives the clients back.
    pub fn into_clients(self) -> Vec<TcpStream> {
        self.clients
    }

    /// Sends volleys for that long: one message from each client, and then it reads their answers. Returns how many
    /// came.
    pub fn run(&mut self, length: Duration) -> io::Result<(u64, Duration)> {
        self.latencies.clear();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < length {
            self.send_all()?;
            for (client, sent_at) in self.clients.iter_mut().zip(&self.sent_at) {
                client.read_exact(&mut self.buffer)?;
                if self.buffer != self.answer {
                    return Err(super::wrong_answer());
                }
                self.latencies.add(sent_at.elapsed().as_nanos() as u64);
            }
            count += self.clients.len() as u64;
        }
        Ok((count, start.elapsed()))
    }

    /// One message from each client.
    pub fn send_all(&mut self) -> io::Result<()> {
        for (client, sent_at) in self.clients.iter_mut().zip(&mut self.sent_at) {
            *sent_at = Instant::now();
            client.write_all(&self.message)?;
        }
        Ok(())
    }

    /// Ends one connection, which ends the server.
    pub fn hang_up(&self) -> io::Result<()> {
        self.clients[0].shutdown(Shutdown::Write)
    }
}
