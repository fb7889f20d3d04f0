//! The load: clients that send a message, wait for its answer, and send the next. It is the same for every server, and
//! runs on the other core if threads can be pinned.

#[cfg(windows)]
mod blocking;
#[cfg(not(windows))]
mod spinning;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::measure::Figures;
use crate::system::{self, CallCounter, CpuClock};

#[cfg(windows)]
pub use blocking::Load;
#[cfg(not(windows))]
pub use spinning::Load;

/// A server. It echoes on the streams that it is given until one of them ends, and then gives them back.
pub type Serve = fn(Vec<TcpStream>) -> io::Result<Vec<TcpStream>>;

/// Connected pairs: the streams for the server, and their other ends.
pub type Pairs = (Vec<TcpStream>, Vec<TcpStream>);

/// After this time without any event a benchmark gives up.
const STALLED: Duration = Duration::from_secs(20);

/// Reads a figure of a server that only grows while the server works (CPU time, system calls), when the server has gone
/// back to sleep after its last answer. That is when the figure stays as it is for a millisecond. If a server never
/// rests, the figure is taken as it is after 100 of them.
pub fn settled<T: PartialEq>(mut figure: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const REST: Duration = Duration::from_millis(1);
    const MOST_RESTS: usize = 100;
    let mut last = figure()?;
    for _ in 0..MOST_RESTS {
        std::thread::sleep(REST);
        let now = figure()?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

/// A message for an echo server.
fn echoed(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn wrong_answer() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "not the answer to what was sent",
    )
}

/// Connected pairs, all non-blocking and without Nagle's delay.
pub fn pairs(count: usize) -> io::Result<Pairs> {
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
        crate::what::joined(self.thread.join())
    }
}

impl Load {
    /// A warm-up, whose figures are not used, and then a run for which the server's CPU time is measured.
    /// `cpu` tells how much that is.
    pub fn measure(
        &mut self,
        seconds: f64,
        mut cpu: impl FnMut() -> io::Result<Duration>,
    ) -> io::Result<Figures> {
        self.run(Duration::from_secs_f64(seconds / 4.0))?;
        let before = settled(&mut cpu)?;
        let (count, elapsed) = self.run(Duration::from_secs_f64(seconds))?;
        let cpu = settled(&mut cpu)? - before;
        let count = count as f64;
        Ok(vec![
            ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / count),
            ("msgs_per_s", count / elapsed.as_secs_f64()),
            ("p50_us", self.latencies.percentile(0.5)),
            ("p99_us", self.latencies.percentile(0.99)),
            ("p999_us", self.latencies.percentile(0.999)),
        ])
    }

    /// System calls per message. They are counted in a separate run, since counting makes it slower.
    pub fn calls_per_message(&mut self, counters: &[CallCounter], seconds: f64) -> io::Result<f64> {
        let total = || {
            counters
                .iter()
                .map(CallCounter::count)
                .sum::<io::Result<u64>>()
        };
        let before = total()?;
        let (count, _) = self.run(Duration::from_secs_f64(seconds))?;
        Ok((settled(total)? - before) as f64 / count as f64)
    }
}
