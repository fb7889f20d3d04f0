//! `idle`: what a message costs on one busy connection among many idle ones. The idle ones should not change that.
//! The idle connections are made once, and each server registers them anew in its turn. A child process holds their
//! other ends, since one process may not have enough descriptors for both. On Windows a socket belongs to one port for
//! as long as it is open, so there each turn makes its own connections.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::echo;
use crate::load::{pairs, prepared, Load, Server};
use crate::measure::{Recorder, Setting};
use crate::options::Options;

const SIZE: usize = 64;

/// The names of the figures for each number of idle connections.
const FIGURES: [(usize, &str, &str); 4] = [
    (1, "cpu_us_1_idle", "flat_1_idle"),
    (100, "cpu_us_100_idle", "flat_100_idle"),
    (1_000, "cpu_us_1000_idle", "flat_1000_idle"),
    (10_000, "cpu_us_10000_idle", "flat_10000_idle"),
];

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let counts: Vec<_> = FIGURES
        .into_iter()
        .filter(|(count, _, _)| options.idle.contains(count))
        .collect();
    let most = counts.last().map_or(0, |(count, _, _)| *count);
    let mut idle = Idle::new(if cfg!(windows) { 0 } else { most })?;
    let setting = Setting {
        bench: "idle",
        connections: 1,
        size: SIZE,
        more: vec![("idle", most.into())],
    };
    let mut subjects = echo::servers(options);
    recorder.rounds(options, &setting, &mut subjects, |serve| {
        let mut figures = Vec::new();
        let mut one = None;
        for (count, cpu_name, flat_name) in &counts {
            let (mut streams, clients) = pairs(1)?;
            let (idle_ends, _other_ends) = idle.take(*count)?;
            streams.extend(idle_ends);
            let server = Server::start(*serve, streams);
            let mut load = Load::new(clients, SIZE)?;
            let measured = load.measure(options.seconds, || Ok(server.clock.now()))?;
            load.hang_up()?;
            let streams = server.join()?;
            idle.streams.extend(streams.into_iter().skip(1));
            let (_, cpu) = measured[0];
            figures.push((*cpu_name, cpu));
            figures.push((*flat_name, cpu / *one.get_or_insert(cpu)));
            if *count == most {
                figures.extend(measured);
            }
        }
        Ok(figures)
    })?;
    idle.end()
}

/// Connections on which nothing happens, and that wait for their next server.
struct Idle {
    streams: Vec<TcpStream>,
    holder: Option<Child>,
}

impl Idle {
    fn new(count: usize) -> io::Result<Idle> {
        let mut idle = Idle {
            streams: Vec::new(),
            holder: None,
        };
        if count == 0 {
            return Ok(idle);
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut holder = Command::new(std::env::current_exe()?)
            .arg(format!("hold:{}", listener.local_addr()?))
            .args(["--idle", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        while idle.streams.len() < count {
            idle.streams.push(prepared(listener.accept()?.0)?);
        }
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut line)?;
        idle.holder = Some(holder);
        Ok(idle)
    }

    /// This many connections for a server, and their other ends if they have to be held meanwhile.
    fn take(&mut self, count: usize) -> io::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
        match self.holder {
            Some(_) => Ok((
                self.streams.split_off(self.streams.len() - count),
                Vec::new(),
            )),
            None => pairs(count),
        }
    }

    fn end(mut self) -> io::Result<()> {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            holder.wait()?;
        }
        Ok(())
    }
}

/// The child: makes the connections, and holds them until its input ends.
pub fn hold(address: &str, count: &[usize]) -> io::Result<()> {
    crate::system::most_descriptors();
    let count = count.first().copied().unwrap_or(0);
    let held = (0..count)
        .map(|_| TcpStream::connect(address))
        .collect::<io::Result<Vec<_>>>()?;
    println!("holding {}", held.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
