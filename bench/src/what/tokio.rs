//! `tokio`: what a message costs an echo server of tokio, on mio and on minimio.
//! One program cannot have both under the name of mio, so `compat/bench` is built once for each, and its path is given by
//! `--server`. Each configuration starts the servers as processes of their own. The load is in this process, and the same
//! for all. The CPU time is that of the whole process of a server.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::load::{prepared, Load};
use crate::measure::{Recorder, Setting};
use crate::options::Options;
use crate::system::{self, CallCounter};

/// The names that `--server` may give: those that a report knows.
pub const SERVERS: [&str; 4] = [
    crate::measure::TOKIO_FLOOR,
    "tokio-on-minimio",
    "tokio-on-minimio-lend",
    "tokio-on-mio-again",
];

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    for kind in ["current-thread", "multi-thread"] {
        for connections in options.connections_or(&[1, 64, 512]) {
            let mut subjects = Vec::new();
            for (name, path) in &options.servers {
                let known = SERVERS.iter().find(|known| *known == name);
                let name = *known.ok_or(io::Error::new(
                    ErrorKind::InvalidInput,
                    format!("{name} is none of {}", SERVERS.join(", ")),
                ))?;
                subjects.push((
                    name,
                    Subject::start(path, kind, connections, options.seconds)?,
                ));
            }
            let setting = Setting {
                bench: "tokio",
                connections,
                size: SIZE,
                more: vec![("kind", kind.into())],
            };
            // Under Wine the server on mio takes half a minute for a message of each of 512 connections.
            let rounds = match cfg!(windows) && connections > 128 {
                true => options.rounds.min(1),
                false => options.rounds,
            };
            let options = Options {
                rounds,
                ..options.clone()
            };
            recorder.rounds(&options, &setting, &mut subjects, |subject| {
                let Subject {
                    server,
                    load,
                    calls,
                } = subject;
                let mut figures = load.measure(options.seconds, || server.cpu())?;
                figures.extend(calls.map(|calls| ("calls_per_msg", calls)));
                Ok(figures)
            })?;
        }
    }
    Ok(())
}

const SIZE: usize = 64;

struct Subject {
    server: Server,
    load: Load,
    calls: Option<f64>,
}

impl Subject {
    fn start(path: &str, kind: &str, connections: usize, seconds: f64) -> io::Result<Subject> {
        let mut server = Server::start(path, kind)?;
        let address = format!("127.0.0.1:{}", server.line()?);
        let clients = (0..connections).map(|_| prepared(TcpStream::connect(&address)?));
        let mut load = Load::new(clients.collect::<io::Result<_>>()?, SIZE)?;
        // The first messages also wait until the server has accepted everybody.
        load.run(Duration::from_secs_f64(seconds / 4.0))?;
        let calls = match server.counters() {
            None => None,
            Some(counters) => Some(load.calls_per_message(&counters, seconds / 4.0)?),
        };
        Ok(Subject {
            server,
            load,
            calls,
        })
    }
}

/// A server process, which ends with its input.
struct Server {
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(path: &str, kind: &str) -> io::Result<Server> {
        let mut process = Command::new(path)
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Server {
            process,
            ask,
            answers,
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the server has ended",
            ));
        }
        Ok(line.trim().to_owned())
    }

    fn cpu(&mut self) -> io::Result<Duration> {
        self.ask.as_ref().expect("it is piped").write_all(b"\n")?;
        let line = self.line()?;
        let nanoseconds = line.parse().map_err(io::Error::other)?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// One for each of its threads.
    fn counters(&self) -> Option<Vec<CallCounter>> {
        let threads = system::threads_of(self.process.id())?;
        threads.into_iter().map(CallCounter::new).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.ask.take());
        // However it ends, nobody asks for its figures any more.
        drop(self.process.wait());
    }
}
