//! `uds`: what a message costs its server over Unix sockets.
//! A pair of Unix sockets goes through the other modules as two `TcpStream`s, which are owners of descriptors and make
//! the same calls on them. `bare` and `io-uring` serve it as any socket. `minimio` and `mio` have types of their own for
//! Unix sockets, and are measured with those.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net;

use super::echo;
use crate::load::{Pairs, Serve};
use crate::measure::Recorder;
use crate::options::Options;
use crate::peers::bare::Bare;
use crate::peers::{drain, read_once, Peer, BUFFER, EVENTS};

const SERVERS: &[(&str, Serve)] = &[
    (Bare::<false>::NAME, echo::serve::<Bare<false>>),
    ("minimio", minimio),
    ("mio-drained", mio::<false>),
    ("mio-short-read", mio::<true>),
    (Bare::<true>::NAME, echo::serve::<Bare<true>>),
];

fn pairs(count: usize) -> io::Result<Pairs> {
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (server, client) = net::UnixStream::pair()?;
        for (stream, list) in [(server, &mut servers), (client, &mut clients)] {
            stream.set_nonblocking(true)?;
            list.push(OwnedFd::from(stream).into());
        }
    }
    Ok((servers, clients))
}

fn taken_over(streams: Vec<TcpStream>) -> impl Iterator<Item = net::UnixStream> {
    streams
        .into_iter()
        .map(|stream| OwnedFd::from(stream).into())
}

fn echo<S>(mut stream: &S, bytes: &[u8]) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    if stream.write(bytes)? != bytes.len() {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "a short write"));
    }
    Ok(())
}

fn minimio(streams: Vec<TcpStream>) -> io::Result<Vec<TcpStream>> {
    use minimio::os::unix::UnixStream;
    use minimio::{Events, Interests, Poll};

    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = [0; BUFFER];
    let streams = taken_over(streams).map(UnixStream::from_std);
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    for (key, stream) in streams.iter().enumerate() {
        registrator.register(stream, key, Interests::READABLE)?;
    }
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let stream = &streams[event.id()];
            if !read_once(stream, &mut buffer, echo)? {
                return Ok(Vec::new());
            }
            registrator.register(stream, event.id(), Interests::READABLE)?;
        }
    }
}

fn mio<const SHORT_READ: bool>(streams: Vec<TcpStream>) -> io::Result<Vec<TcpStream>> {
    use mio::net::UnixStream;
    use mio::{Events, Interest, Poll, Token};

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = [0; BUFFER];
    let mut streams: Vec<_> = taken_over(streams).map(UnixStream::from_std).collect();
    for (key, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(key), Interest::READABLE)?;
    }
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            let stream = &streams[event.token().0];
            if !drain(stream, &mut buffer, SHORT_READ, echo)? {
                return Ok(Vec::new());
            }
        }
    }
}

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let servers = super::wanted(options, &echo::with_io_uring(SERVERS));
    echo::measure(options, recorder, "uds", &servers, pairs)
}
