//! The clients of `growth`, in a process of their own: one process may not have enough descriptors for both ends of all
//! connections. The parent tells it line by line what to do, and it answers each line with a line.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::http;
use super::Kind;
use crate::load::{prepared, Load};
use crate::system;

/// What one run has counted.
#[derive(Debug)]
pub struct Run {
    pub messages: u64,
    pub elapsed: Duration,
    /// The median, and the 99th percentile.
    pub latencies_us: [f64; 2],
}

/// The parent's end: the process, and a listener to which its clients connect.
#[derive(Debug)]
pub struct Clients {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    listener: TcpListener,
}

impl Clients {
    pub fn start() -> io::Result<Clients> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg(format!("clients:{}", listener.local_addr()?))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Clients {
            process,
            orders,
            answers,
            listener,
        })
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().expect("it is piped");
        writeln!(orders, "{order}")?;
        orders.flush()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            let text = "the process of the clients has ended";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        match line.trim().split_once("error: ") {
            Some((_, text)) => Err(io::Error::other(format!("clients: {text}"))),
            None => Ok(line.trim().to_owned()),
        }
    }

    /// Replaces all clients by this many new ones, and returns the servers' ends in the order of the clients.
    pub fn connect(&mut self, count: usize) -> io::Result<Vec<TcpStream>> {
        self.order(&format!("connect {count}"))?;
        let streams = (0..count).map(|_| prepared(self.listener.accept()?.0));
        let streams = streams.collect::<io::Result<_>>()?;
        self.answer()?;
        Ok(streams)
    }

    /// Chooses `busy` of the first `count` clients, evenly spread, to be those that send.
    pub fn choose(&mut self, count: usize, busy: usize, kind: Kind) -> io::Result<()> {
        self.order(&format!("choose {count} {busy} {}", kind.word()))?;
        self.answer().map(drop)
    }

    /// Lets the chosen clients send for that long.
    pub fn run(&mut self, seconds: f64) -> io::Result<Run> {
        self.order(&format!("run {seconds}"))?;
        let line = self.answer()?;
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        let mut next = || numbers.next()?.ok();
        let run = next().zip(next()).zip(next().zip(next()));
        let ((messages, seconds), (median, tail)) = run.ok_or(io::Error::other(line.clone()))?;
        Ok(Run {
            messages: messages as u64,
            elapsed: Duration::from_secs_f64(seconds),
            latencies_us: [median, tail],
        })
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.orders.take());
        // However it ends, nobody asks for its figures any more.
        drop(self.process.wait());
    }
}

/// The child: does what each line of its input says, until that ends.
pub fn serve(address: &str) -> io::Result<()> {
    system::most_descriptors();
    system::unpin();
    let address = address.parse().map_err(io::Error::other)?;
    let mut child = Chosen::new(address);
    for line in io::stdin().lock().lines() {
        let answer = match child.obey(&line?) {
            Ok(answer) => answer,
            Err(error) => format!("error: {error}"),
        };
        println!("{answer}");
    }
    Ok(())
}

/// All clients. Those that were chosen are in the load.
struct Chosen {
    address: SocketAddr,
    clients: Vec<Option<TcpStream>>,
    places: Vec<usize>,
    load: Option<Load>,
}

impl Chosen {
    fn new(address: SocketAddr) -> Chosen {
        Chosen {
            address,
            clients: Vec::new(),
            places: Vec::new(),
            load: None,
        }
    }

    fn obey(&mut self, line: &str) -> io::Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().map_err(io::Error::other);
        match words[..] {
            ["connect", count] => {
                self.put_back();
                self.clients.clear();
                for _ in 0..number(count)? {
                    let client = prepared(TcpStream::connect(self.address)?)?;
                    // Nineteen thousand ports in TIME_WAIT would be missing later.
                    system::reset_on_close(&client);
                    self.clients.push(Some(client));
                }
                Ok("connected".into())
            }
            ["choose", count, busy, kind] => {
                self.put_back();
                self.places = spread(number(count)?, number(busy)?);
                let clients = self.places.iter().map(|at| self.clients[*at].take());
                let clients = clients.map(|client| client.expect("it was put back"));
                let (message, answer) = match kind {
                    "http" => (http::REQUEST.to_vec(), http::ANSWER.to_vec()),
                    _ => (vec![7; super::SIZE], vec![7; super::SIZE]),
                };
                let load = Load::exchanging(clients.collect(), message, answer)?;
                self.load = Some(load.sleeping());
                Ok("chosen".into())
            }
            ["run", seconds] => {
                let load = self.load.as_mut().ok_or(ErrorKind::InvalidInput)?;
                let length = seconds.parse().map_err(io::Error::other)?;
                let (messages, elapsed) = load.run(Duration::from_secs_f64(length))?;
                let mut line = format!("{messages} {}", elapsed.as_secs_f64());
                for part in [0.5, 0.99] {
                    _ = write!(line, " {}", load.latencies.percentile(part));
                }
                Ok(line)
            }
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn put_back(&mut self) {
        if let Some(load) = self.load.take() {
            for (at, client) in self.places.drain(..).zip(load.into_clients()) {
                self.clients[at] = Some(client);
            }
        }
    }
}

/// The places of `busy` among `count`, evenly spread.
fn spread(count: usize, busy: usize) -> Vec<usize> {
    (0..busy).map(|at| at * count / busy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_ones_are_spread_evenly() {
        assert_eq!(spread(1, 1), [0]);
        assert_eq!(spread(4, 4), [0, 1, 2, 3]);
        assert_eq!(spread(20, 2), [0, 10]);
        assert_eq!(spread(19_000, 1_900).last(), Some(&18_990));
    }
}
