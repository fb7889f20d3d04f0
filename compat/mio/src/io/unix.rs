//! On Unix every source is a descriptor with lasting edges: each report of the kernel becomes an event, and the calls go
//! straight to the socket. So what mio's documentation says of draining holds for the same reason as with mio.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minimio::os::unix::Descriptor;
use minimio::{Interests, Registrator};

use super::{not_registered, registered_already, unless_gone};
use crate::event::Event;
use crate::{Interest, Registry, Token};

/// Something with a descriptor, which may be registered.
pub(crate) struct Io<T: AsFd + Send + Sync + 'static> {
    /// `None` only while it is made anew.
    descriptor: Option<Descriptor<T>>,
    is_registered: bool,
}

impl<T: AsFd + Send + Sync + 'static> Io<T> {
    pub(crate) fn new(thing: T) -> Io<T> {
        Io {
            descriptor: Some(Descriptor::with_edges(thing)),
            is_registered: false,
        }
    }

    fn descriptor(&self) -> &Descriptor<T> {
        match &self.descriptor {
            Some(descriptor) => descriptor,
            None => unreachable!("it is made anew under an exclusive borrow"),
        }
    }

    /// Takes no lock, since tokio writes to a stream from a signal handler.
    pub(crate) fn get(&self) -> &T {
        self.descriptor().get()
    }

    pub(crate) fn from_std(thing: T) -> Io<T> {
        Io::new(thing)
    }

    pub(crate) fn into_std(self) -> T {
        match self.descriptor {
            Some(descriptor) => descriptor.into_inner(),
            None => unreachable!("it is made anew under an exclusive borrow"),
        }
    }

    /// Makes a call in one direction.
    pub(crate) fn call<R>(
        &self,
        _interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        call(self.get())
    }

    /// Reads from a stream.
    pub(crate) fn read(
        &self,
        _room: usize,
        call: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        call(self.get())
    }

    /// Makes a call of the user's own, of which nobody knows what it does.
    pub(crate) fn try_io<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        call()
    }

    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.is_registered {
            return Err(registered_already());
        }
        let registrator = &registry.shared().registrator;
        registrator.register(self.descriptor(), token.0, interest.interests())?;
        self.is_registered = true;
        Ok(())
    }

    pub(crate) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if !self.is_registered {
            return Err(not_registered());
        }
        reregister(
            &registry.shared().registrator,
            self.descriptor(),
            token,
            interest,
        )
    }

    /// Takes it out of the queue altogether. So it tells nothing any more, and may be registered with another `Poll`.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.is_registered {
            return Err(not_registered());
        }
        unless_gone(registry.shared().registrator.deregister(self.descriptor()))?;
        self.is_registered = false;
        let thing = self.descriptor.take().map(Descriptor::into_inner);
        self.descriptor = thing.map(Descriptor::with_edges);
        Ok(())
    }
}

fn reregister<T: AsFd + Send + Sync + 'static>(
    with: &Registrator,
    descriptor: &Descriptor<T>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    let interests = interest.interests();
    with.register(descriptor, token.0, interests)?;
    match Interests::all() - interests {
        rest if rest.is_empty() => Ok(()),
        rest => with.disarm(descriptor, rest),
    }
}

/// What was registered by [`SourceFd`](crate::unix::SourceFd): a number that somebody else owns, and may close at any time
/// without a word.
#[derive(Default)]
pub(crate) struct Sources(Mutex<HashMap<RawFd, Descriptor<Number>>>);

/// The number of a descriptor that somebody else owns.
struct Number {
    fd: RawFd,
    /// Another descriptor was registered under the number since, so this one must not be touched any more.
    replaced: bool,
    /// Stands in for the number then.
    queue: Registrator,
}

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.replaced {
            return self.queue.as_fd();
        }
        // SAFETY: minimio does not close it. The owner may close it while it is registered, and then minimio's calls
        // with the number fail, or meet whatever has the number now, which mio's documentation leaves to the owner.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Sources {
    /// Waits.
    pub(crate) fn poll(
        &self,
        _: &Registrator,
        _: &mut Vec<Event>,
        timeout: Option<Duration>,
        wait: impl FnOnce(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        wait(timeout)
    }

    /// The events as mio has them.
    pub(crate) fn tell(&self, batch: &minimio::Events, events: &mut Vec<Event>) {
        events.extend(
            batch
                .iter()
                .map(|event| Event::of(Token(event.id()), event)),
        );
    }

    /// There are none that were not told.
    pub(crate) fn tell_ends(&self, _capacity: usize, _events: &mut Vec<Event>) -> bool {
        false
    }

    /// The token under which a waker wakes.
    pub(crate) fn wakes(&self, token: Token) -> Token {
        token
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Descriptor<Number>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(
        &self,
        fd: RawFd,
        with: &Registrator,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if fd < 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor is never negative",
            ));
        }
        let number = Number {
            fd,
            replaced: false,
            queue: with.clone(),
        };
        let descriptor = Descriptor::with_edges(number);
        let mut table = self.lock();
        // If the number is still registered, this fails.
        with.register(&descriptor, token.0, interest.interests())?;
        if let Some(mut old) = table.insert(fd, descriptor) {
            // Its descriptor was closed, so the system has forgotten it.
            old.get_mut().replaced = true;
        }
        Ok(())
    }

    pub(crate) fn reregister(
        &self,
        fd: RawFd,
        with: &Registrator,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let table = self.lock();
        let descriptor = table.get(&fd).ok_or_else(not_registered)?;
        reregister(with, descriptor, token, interest)
    }

    pub(crate) fn deregister(&self, fd: RawFd) -> io::Result<()> {
        let removed = self.lock().remove(&fd);
        removed.map(drop).ok_or_else(not_registered)
    }
}

pub(crate) use std::net::{TcpListener, TcpStream, UdpSocket};

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    Ok(minimio::TcpStream::connect_nonblocking(address)?.into_std()?)
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    Ok(minimio::TcpListener::bind(address)?.into_std()?)
}

pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}
