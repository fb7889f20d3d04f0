//! `minimio`: each registration yields one event. The server reads once and registers again.
//! `minimio-drained` reads to `WouldBlock` first, which is not needed. It is measured on Windows, where users of `mio`
//! must do that, and where one more read costs more than the event. When they send, the first stops after a write that
//! took only a part, and the second goes on to `WouldBlock`.

use std::io;
use std::net;
use std::time::Duration;

use minimio::{Event, Events, Interests, Poll, Registrator, TcpListener, TcpStream};

use super::{accept_all, drain, fill, read_once, Peer, EVENTS};

#[derive(Debug)]
pub struct Minimio<const DRAINED: bool> {
    poll: Poll,
    registrator: Registrator,
}

impl<const DRAINED: bool> Peer for Minimio<DRAINED> {
    const NAME: &'static str = if DRAINED {
        "minimio-drained"
    } else {
        "minimio"
    };

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

    #[cfg(not(windows))]
    fn release(&self, stream: TcpStream) -> io::Result<net::TcpStream> {
        Ok(stream.into_std()?)
    }

    fn close(&self, stream: TcpStream) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    fn handle(
        registrator: &Registrator,
        stream: &mut TcpStream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let open = if DRAINED {
            drain(stream, buffer, false, sink)?
        } else {
            read_once(stream, buffer, sink)?
        };
        if open {
            registrator.register(stream, key, Interests::READABLE)?;
        }
        Ok(open)
    }

    fn adopt_sender(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        self.registrator.register(stream, key, Interests::WRITABLE)
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize> {
        let taken = fill(stream, chunk, left, !DRAINED)?;
        if taken < left {
            self.registrator
                .register(stream, key, Interests::WRITABLE)?;
        }
        Ok(taken)
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

    fn own(&self) -> &Registrator {
        &self.registrator
    }

    fn rearm(registrator: &Registrator, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        registrator.register(stream, key, Interests::READABLE)
    }

    fn lent_bytes(&self, _streams: usize) -> usize {
        self.registrator.lent_bytes()
    }
}
