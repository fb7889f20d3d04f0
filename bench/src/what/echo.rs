//! `echo`: what a message costs its server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::each_peer;
use crate::load::{pairs, Load, Serve, Server};
use crate::measure::{Recorder, Setting};
use crate::options::Options;
use crate::peers::{io_uring, Peer, BUFFER};

pub const SERVERS: [(&str, Serve); 7] = each_peer!(serve);

/// Echoes until one of the streams ends, and gives them back.
///
/// The clients have one message under way each, and no message is larger than a socket's buffer: a short write cannot
/// be, so it is an error.
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
    streams
        .into_iter()
        .map(|stream| queue.release(stream))
        .collect()
}

struct Subject {
    server: Server,
    load: Load,
    calls: Option<f64>,
}

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    for connections in options.connections_or(&[1, 16, 128, 512]) {
        for &size in &options.sizes {
            let mut subjects = Vec::new();
            let limit: (_, Serve) = ("io-uring", io_uring::serve);
            for (name, serve) in SERVERS.into_iter().chain([limit]) {
                let is_there = name != limit.0 || io_uring::is_available();
                if !options.wants(name) || !is_there {
                    continue;
                }
                let (servers, clients) = pairs(connections)?;
                let server = Server::start(serve, servers);
                let mut load = Load::new(clients, size)?;
                let calls = load.calls_per_message(&server, options.seconds / 4.0)?;
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
                bench: "echo",
                connections,
                size,
                more: Vec::new(),
            };
            recorder.rounds(options, &setting, &mut subjects, |subject| {
                let mut figures = subject.load.measure(&subject.server, options.seconds)?;
                figures.extend(subject.calls.map(|calls| ("calls_per_msg", calls)));
                Ok(figures)
            })?;
            for (_, subject) in subjects {
                subject.load.hang_up()?;
                subject.server.join()?;
            }
        }
    }
    Ok(())
}
