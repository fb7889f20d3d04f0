//! `echo`: what a message costs its server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::each_peer;
use crate::load::{pairs, Load, Pairs, Serve, Server};
use crate::measure::{Recorder, Setting};
use crate::options::Options;
use crate::peers::{Peer, BUFFER};
use crate::system::CallCounter;

const SERVERS: &[(&str, Serve)] = each_peer!(serve);

/// Echoes until one of the streams ends, and gives them back.
/// Each client has one message on its way, and no message is larger than a socket's buffer. So a write always writes
/// everything, and a short write is an error.
pub fn serve<P: Peer>(streams: Vec<TcpStream>) -> io::Result<Vec<TcpStream>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let mut queue = P::new()?;
    let mut events = P::events();
    let mut buffer = [0; BUFFER];
    let mut streams = super::adopt_all(&queue, streams)?;
    let mut open = true;
    while open {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for key in P::keys(&events) {
            open &= queue.readable(&mut streams[key], key, &mut buffer, |mut stream, bytes| {
                if stream.write(bytes)? != bytes.len() {
                    return Err(io::Error::new(ErrorKind::WriteZero, "a short write"));
                }
                Ok(())
            })?;
        }
    }
    super::give_back(&queue, streams)
}

/// The implementations that take part.
pub fn servers(options: &Options) -> Vec<(&'static str, Serve)> {
    super::wanted(options, &with_io_uring(SERVERS))
}

/// These, and on Linux `io-uring` if the kernel has it.
pub fn with_io_uring(servers: &[(&'static str, Serve)]) -> Vec<(&'static str, Serve)> {
    #[cfg(target_os = "linux")]
    let limit: Option<(_, Serve)> = crate::peers::io_uring::is_available()
        .then_some(("io-uring", crate::peers::io_uring::serve));
    #[cfg(not(target_os = "linux"))]
    let limit = None;
    servers.iter().copied().chain(limit).collect()
}

struct Subject {
    server: Server,
    load: Load,
    calls: Option<f64>,
}

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    measure(options, recorder, "echo", &servers(options), pairs)
}

/// Measures these servers with connections that `pairs` makes.
pub fn measure(
    options: &Options,
    recorder: &mut Recorder,
    bench: &'static str,
    participants: &[(&'static str, Serve)],
    pairs: fn(usize) -> io::Result<Pairs>,
) -> io::Result<()> {
    for connections in options.connections_or(&[1, 16, 128, 512]) {
        for &size in &options.sizes {
            let mut subjects = Vec::new();
            for &(name, serve) in participants {
                let (servers, clients) = pairs(connections)?;
                let server = Server::start(serve, servers);
                let mut load = Load::new(clients, size)?;
                let calls = CallCounter::new(server.number)
                    .map(|counter| load.calls_per_message(&[counter], options.seconds / 4.0))
                    .transpose()?;
                subjects.push((
                    name,
                    Subject {
                        server,
                        load,
                        calls,
                    },
                ));
            }
            let setting = Setting {
                bench,
                connections,
                size,
                more: Vec::new(),
            };
            recorder.rounds(options, &setting, &mut subjects, |subject| {
                let mut figures = subject
                    .load
                    .measure(options.seconds, || Ok(subject.server.clock.now()))?;
                figures.extend(subject.calls.map(|calls| ("calls_per_msg", calls)));
                Ok(figures)
            })?;
            for (name, subject) in subjects {
                // If its server has ended with an error, that error is reported.
                let hung_up = subject.load.hang_up();
                let ended = subject.server.join().and(hung_up);
                recorder.allow(&setting, name, ended)?;
            }
        }
    }
    Ok(())
}
