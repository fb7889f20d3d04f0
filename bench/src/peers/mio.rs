//! `mio`: a stream is registered once, edge-triggered, and the server drains it after each event.
//! `drained` does what its documentation asks for on every platform: it reads until `WouldBlock`. On epoll and kqueue
//! it is enough to read until a read does not fill its buffer, and many users do that. On Windows only `WouldBlock`
//! asks for the next event, so there such a short read is followed by `reregister`. The same goes for writes that take
//! only a part.

use std::io;
use std::net;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::{accept_all, drain, fill, Peer, EVENTS};

#[derive(Debug)]
pub struct Mio<const SHORT_READ: bool> {
    poll: Poll,
}

impl<const SHORT_READ: bool> Peer for Mio<SHORT_READ> {
    const NAME: &'static str = if SHORT_READ {
        "mio-short-read"
    } else {
        "mio-drained"
    };

    type Events = Events;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Waker = Waker;
    type Remote = Registry;

    fn new() -> io::Result<Self> {
        Ok(Mio { poll: Poll::new()? })
    }

    fn events() -> Events {
        Events::with_capacity(EVENTS)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(events, timeout)
    }

    fn keys(events: &Events) -> impl Iterator<Item = usize> + '_ {
        events.iter().map(|event| event.token().0)
    }

    fn wrap(stream: net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream::from_std(stream))
    }

    fn adopt(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        self.poll
            .registry()
            .register(stream, Token(key), Interest::READABLE)
    }

    #[cfg(not(windows))]
    fn release(&self, mut stream: TcpStream) -> io::Result<net::TcpStream> {
        self.poll.registry().deregister(&mut stream)?;
        Ok(stream.into())
    }

    fn close(&self, stream: TcpStream) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    fn handle(
        registry: &Registry,
        stream: &mut TcpStream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let open = drain(stream, buffer, SHORT_READ, sink)?;
        if cfg!(windows) && SHORT_READ && open {
            registry.reregister(stream, Token(key), Interest::READABLE)?;
        }
        Ok(open)
    }

    fn adopt_sender(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        self.poll
            .registry()
            .register(stream, Token(key), Interest::WRITABLE)
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize> {
        let taken = fill(stream, chunk, left, SHORT_READ)?;
        if cfg!(windows) && SHORT_READ && taken < left {
            let registry = self.poll.registry();
            registry.reregister(stream, Token(key), Interest::WRITABLE)?;
        }
        Ok(taken)
    }

    fn listen(&self, listener: net::TcpListener, key: usize) -> io::Result<TcpListener> {
        let mut listener = TcpListener::from_std(listener);
        self.poll
            .registry()
            .register(&mut listener, Token(key), Interest::READABLE)?;
        Ok(listener)
    }

    fn acceptable(
        &self,
        listener: &mut TcpListener,
        _key: usize,
        mut accepted: impl FnMut(TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        accept_all(|| listener.accept(), |(stream, _)| accepted(stream))
    }

    fn waker(&self, key: usize) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(key))
    }

    fn wake(waker: &Waker) -> io::Result<()> {
        waker.wake()
    }

    fn remote(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    fn own(&self) -> &Registry {
        self.poll.registry()
    }

    fn rearm(registry: &Registry, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        registry.reregister(stream, Token(key), Interest::READABLE)
    }
}
