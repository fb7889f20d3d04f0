//! `polling`: one-shot, its default (read once, `modify`), or level-triggered (read once).

use std::io;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use super::{accept_all, fill, read_once, Peer, EVENTS};

#[derive(Debug)]
pub struct Polling<const LEVEL: bool> {
    poller: Arc<Poller>,
}

impl<const LEVEL: bool> Polling<LEVEL> {
    const MODE: PollMode = if LEVEL {
        PollMode::Level
    } else {
        PollMode::Oneshot
    };
}

impl<const LEVEL: bool> Peer for Polling<LEVEL> {
    const NAME: &'static str = if LEVEL {
        "polling-level"
    } else {
        "polling-oneshot"
    };

    type Events = Events;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Waker = Arc<Poller>;
    type Remote = Arc<Poller>;

    fn new() -> io::Result<Self> {
        Ok(Polling {
            poller: Arc::new(Poller::new()?),
        })
    }

    fn events() -> Events {
        Events::with_capacity(NonZeroUsize::new(EVENTS).expect("it is not zero"))
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.poller.wait(events, timeout).map(drop)
    }

    fn keys(events: &Events) -> impl Iterator<Item = usize> + '_ {
        events.iter().map(|event| event.key)
    }

    fn wrap(stream: TcpStream) -> io::Result<TcpStream> {
        Ok(stream)
    }

    fn adopt(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        // SAFETY: `release` and `close` take the stream out of the poller before it is closed.
        unsafe {
            self.poller
                .add_with_mode(&*stream, Event::readable(key), Self::MODE)
        }
    }

    #[cfg(not(windows))]
    fn release(&self, stream: TcpStream) -> io::Result<TcpStream> {
        self.poller.delete(&stream)?;
        Ok(stream)
    }

    fn close(&self, stream: TcpStream) -> io::Result<()> {
        self.poller.delete(&stream)
    }

    fn handle(
        poller: &Arc<Poller>,
        stream: &mut TcpStream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let open = read_once(stream, buffer, sink)?;
        if open && !LEVEL {
            poller.modify(stream, Event::readable(key))?;
        }
        Ok(open)
    }

    fn adopt_sender(&self, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        // SAFETY: `close` takes the stream out of the poller before it is closed.
        unsafe {
            self.poller
                .add_with_mode(&*stream, Event::writable(key), Self::MODE)
        }
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize> {
        let taken = fill(stream, chunk, left, true)?;
        if taken < left && !LEVEL {
            self.poller.modify(&*stream, Event::writable(key))?;
        }
        Ok(taken)
    }

    fn listen(&self, listener: TcpListener, key: usize) -> io::Result<TcpListener> {
        // SAFETY: the listener lives as long as the poller in every benchmark here.
        unsafe {
            self.poller
                .add_with_mode(&listener, Event::readable(key), Self::MODE)?;
        }
        Ok(listener)
    }

    fn acceptable(
        &self,
        listener: &mut TcpListener,
        key: usize,
        mut accepted: impl FnMut(TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        accept_all(
            || listener.accept(),
            |(stream, _)| {
                stream.set_nonblocking(true)?;
                accepted(stream)
            },
        )?;
        if !LEVEL {
            self.poller.modify(listener, Event::readable(key))?;
        }
        Ok(())
    }

    fn waker(&self, _key: usize) -> io::Result<Arc<Poller>> {
        Ok(Arc::clone(&self.poller))
    }

    fn wake(poller: &Arc<Poller>) -> io::Result<()> {
        poller.notify()
    }

    fn remote(&self) -> io::Result<Arc<Poller>> {
        Ok(Arc::clone(&self.poller))
    }

    fn own(&self) -> &Arc<Poller> {
        &self.poller
    }

    fn rearm(poller: &Arc<Poller>, stream: &mut TcpStream, key: usize) -> io::Result<()> {
        poller.modify_with_mode(stream, Event::readable(key), Self::MODE)
    }
}
