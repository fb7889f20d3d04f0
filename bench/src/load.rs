//! The load: clients that send a message, wait for its echo, and send the next. The same for every server, on the
//! other core.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::measure::{Figures, Histogram};
use crate::peers::bare::{control, new_set, wait, Batch};
use crate::system::{self, CallCounter, CpuClock};

/// A server: echoes on the streams it is given until one of them ends, then gives them back.
pub type Serve = fn(Vec<TcpStream>) -> io::Result<Vec<TcpStream>>;

/// How long nothing may happen before a benchmark gives up.
const STALLED: Duration = Duration::from_secs(20);

/// For a server to go back to sleep after its last echo, so that all it did is in its CPU time.
const SETTLE: Duration = Duration::from_millis(1);

/// Connected pairs: what the server gets, and the other ends. All without Nagle's delay, and non-blocking.
pub fn pairs(count: usize) -> io::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..count {
        clients.push(prepared(TcpStream::connect(address)?)?);
        servers.push(prepared(listener.accept()?.0)?);
    }
    Ok((servers, clients))
}

pub fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A server thread.
#[derive(Debug)]
pub struct Server {
    pub clock: CpuClock,
    pub number: i32,
    thread: JoinHandle<io::Result<Vec<TcpStream>>>,
}

impl Server {
    pub fn start(serve: Serve, streams: Vec<TcpStream>) -> Server {
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            system::pin(system::SERVER_CORE);
            let told = tell.send((CpuClock::of_this_thread(), system::thread_number()));
            told.expect("the load waits for it");
            serve(streams)
        });
        let (clock, number) = told
            .recv()
            .expect("it is the first thing that a server does");
        Server {
            clock,
            number,
            thread,
        }
    }

    pub fn join(self) -> io::Result<Vec<TcpStream>> {
        self.thread.join().expect("a server returns its errors")
    }
}

/// The clients of one server.
#[derive(Debug)]
pub struct Load {
    set: OwnedFd,
    batch: Batch,
    clients: Vec<Client>,
    message: Vec<u8>,
    buffer: Vec<u8>,
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
    pub fn new(streams: Vec<TcpStream>, size: usize) -> io::Result<Load> {
        let set = new_set()?;
        for (key, stream) in streams.iter().enumerate() {
            let fd = stream.as_raw_fd();
            control(set.as_fd(), libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, key)?;
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
            message: (0..size).map(|at| (at % 251) as u8).collect(),
            buffer: vec![0; size],
            last_echo: sent_at,
            latencies: Histogram::new(),
        })
    }

    /// Sends volleys for that long: one message from each client, then their echoes. Says how many came.
    ///
    /// It never sleeps. So no send of the server's has to wake it, which would cost the server more than the message
    /// and depend on what else the machine does; and it never touches a socket that has nothing to read, so the two
    /// do not meet at a socket's lock.
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

    /// Takes what is there, and says how many echoes it completed.
    fn receive(&mut self) -> io::Result<usize> {
        wait(self.set.as_fd(), &mut self.batch, 0)?;
        let now = Instant::now();
        let mut complete = 0;
        for key in self.batch.keys() {
            let client = &mut self.clients[key];
            let left = self.message.len() - client.got;
            let got = client.stream.read(&mut self.buffer[..left])?;
            if got == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if self.buffer[..got] != self.message[client.got..client.got + got] {
                return Err(io::Error::new(ErrorKind::InvalidData, "not what was sent"));
            }
            client.got += got;
            if client.got == self.message.len() {
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

    /// A warm-up, which is thrown away, and then a run of which the server's CPU time is taken.
    pub fn measure(&mut self, server: &Server, seconds: f64) -> io::Result<Figures> {
        self.run(Duration::from_secs_f64(seconds / 4.0))?;
        std::thread::sleep(SETTLE);
        let before = server.clock.now();
        let (count, elapsed) = self.run(Duration::from_secs_f64(seconds))?;
        std::thread::sleep(SETTLE);
        let cpu = server.clock.now() - before;
        let count = count as f64;
        Ok(vec![
            ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / count),
            ("msgs_per_s", count / elapsed.as_secs_f64()),
            ("p50_us", self.latencies.percentile(0.5)),
            ("p99_us", self.latencies.percentile(0.99)),
            ("p999_us", self.latencies.percentile(0.999)),
        ])
    }

    /// System calls a message, counted in a run of its own, which is slower by the counting.
    pub fn calls_per_message(&mut self, server: &Server, seconds: f64) -> io::Result<Option<f64>> {
        let Some(counter) = CallCounter::new(server.number) else {
            return Ok(None);
        };
        let before = counter.count()?;
        let (count, _) = self.run(Duration::from_secs_f64(seconds))?;
        std::thread::sleep(SETTLE);
        Ok(Some((counter.count()? - before) as f64 / count as f64))
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
