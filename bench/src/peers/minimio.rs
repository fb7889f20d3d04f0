//! `minimio`: one event a registration; read once, register again.

use std::io;
use std::net;
use std::time::Duration;

use minimio::{Event, Events, Interests, Poll, Registrator, TcpListener, TcpStream};

use super::{accept_all, read_once, Peer, EVENTS};

#[derive(Debug)]
pub struct Minimio {
    poll: Poll,
    registrator: Registrator,
}

impl Peer for Minimio {
    const NAME: &'static str = "minimio";

    type Events = Events;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Waker = (Registrator, usize);
    type Remote = Registrator;

    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registrator = poll.registrator();
        Ok(Minimio { poll, registrator })
    }

    fn events() -> Events {
        Events::with_capacity(EVENTS)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(events, timeout).map(drop)
    }

    fn keys(events: &Events) -> impl Iterator<Item = usize> + '_ {
        events.iter().map(Event::id)
    }

    fn wrap(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }

    fn adopt(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        self.registrator.register(stream, key, Interests::READABLE)
    }

    fn release(&self, stream: TcpStream) -> io::Result<net::TcpStream> {
        Ok(stream.into_std()?)
    }

    fn close(&self, stream: TcpStream) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    fn readable(
        &self,
        stream: &mut TcpStream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let open = read_once(stream, buffer, sink)?;
        if open {
            self.registrator
                .register(stream, key, Interests::READABLE)?;
        }
        Ok(open)
    }

    fn listen(&self, listener: net::TcpListener, key: usize) -> io::Result<TcpListener> {
        let listener = TcpListener::from_std(listener)?;
        self.registrator
            .register(&listener, key, Interests::READABLE)?;
        Ok(listener)
    }

    fn acceptable(
        &self,
        listener: &mut TcpListener,
        key: usize,
        mut accepted: impl FnMut(TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        accept_all(|| listener.accept(), |(stream, _)| accepted(stream))?;
        self.registrator
            .register(listener, key, Interests::READABLE)
    }

    fn waker(&self, key: usize) -> io::Result<(Registrator, usize)> {
        Ok((self.registrator.clone(), key))
    }

    fn wake((registrator, key): &(Registrator, usize)) -> io::Result<()> {
        registrator.wake(*key)
    }

    fn remote(&self) -> io::Result<Registrator> {
        Ok(self.registrator.clone())
    }

    fn rearm(registrator: &Registrator, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        registrator.register(stream, key, Interests::READABLE)
    }
}
