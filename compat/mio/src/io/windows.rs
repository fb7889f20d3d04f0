//! On Windows the sources are minimio's own, and each registration of theirs yields one event. mio's lasts. So a source is
//! registered again after each call that has moved data or would block: whoever reads until `WouldBlock`, as mio's
//! documentation asks, is told of all that comes later.
//!
//! A receive without memory ends in the same way for bytes and for the end of the stream. So after each such event one byte
//! is looked at, and an end is told as mio tells it, by [`READ_CLOSED`].
//!
//! Events carry a number of this file's, since the source has to be found by it, and the user may use one token for many.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{self, SocketAddr};
use std::os::windows::io::{AsSocket, OwnedHandle};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use minimio::os::windows::NamedPipe;
use minimio::{Interests, IntoStdError};
pub(crate) use minimio::{TcpListener, TcpStream, UdpSocket};

use super::{not_registered, registered_already, unless_gone};
use crate::event::{Event, READ_CLOSED};
use crate::poll::Shared;
use crate::{Interest, Registry, Token};

/// How long a stream that was given back goes on with a send in flight. minimio gives a stream that is dropped as long.
const LONGEST_SEND: Duration = Duration::from_secs(60);
/// How often to look whether what a source still does has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A source of minimio, and how it differs from others.
pub(crate) trait Inner: minimio::Source + Send + Sync + Sized + 'static {
    type Std;

    /// What can happen to it.
    const POSSIBLE: Interests;

    fn from_std(socket: Self::Std) -> io::Result<Self>;

    fn into_std(self) -> Result<Self::Std, IntoStdError<Self>>;

    /// Lends nothing, since mio's users may read the socket behind its back.
    fn lend_nothing(&self) {}

    /// Gives the socket back, after [`into_std`](Inner::into_std) has failed. What waits in our memory is lost. Fails if that
    /// is to be tried again, since a send goes on.
    fn let_go(self) -> Result<Self::Std, Self> {
        Err(self)
    }

    /// Whether the peer is known to send nothing more. Asked after an event.
    fn has_ended(&self) -> bool {
        false
    }
}

impl Inner for TcpStream {
    type Std = net::TcpStream;
    const POSSIBLE: Interests = Interests::all();

    fn from_std(socket: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(socket)
    }

    fn into_std(self) -> Result<net::TcpStream, IntoStdError<TcpStream>> {
        TcpStream::into_std(self)
    }

    /// During a send the source lives on in a thread, since its drop would shut down the sending side of the duplicate, too.
    /// A receive that has lent memory would take bytes from the duplicate meanwhile, so with `lend` this waits for the send.
    /// Without, and with no send in flight, it waits for a connect.
    fn let_go(self) -> Result<net::TcpStream, TcpStream> {
        let sends =
            matches!((&self).flush(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if sends == cfg!(feature = "lend") {
            return Err(self);
        }
        let Ok(socket) = self.as_socket().try_clone_to_owned() else {
            return Err(self);
        };
        if !sends {
            // Its drop calls back what it has lent.
            return Ok(socket.into());
        }
        let until = Instant::now() + LONGEST_SEND;
        let mut source = self;
        let wait = move || {
            while let Err(error) = source.into_std() {
                source = error.into_source();
                if Instant::now() > until {
                    break;
                }
                thread::sleep(LOOK_AGAIN);
            }
        };
        // Without a thread the source is dropped now.
        drop(thread::Builder::new().name("mio send".into()).spawn(wait));
        Ok(socket.into())
    }

    fn lend_nothing(&self) {
        if cfg!(not(feature = "lend")) {
            self.set_lent_buffer(0);
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.peek(&mut [0]), Ok(0))
    }
}

impl Inner for TcpListener {
    type Std = net::TcpListener;
    /// tokio registers its listeners for both.
    const POSSIBLE: Interests = Interests::READABLE;

    fn from_std(socket: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(socket)
    }

    fn into_std(self) -> Result<net::TcpListener, IntoStdError<TcpListener>> {
        TcpListener::into_std(self)
    }

    /// Sends away the client that an accept has brought already.
    fn let_go(self) -> Result<net::TcpListener, TcpListener> {
        drop(self.accept());
        Err(self)
    }
}

impl Inner for UdpSocket {
    type Std = net::UdpSocket;
    const POSSIBLE: Interests = Interests::all();

    fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }

    fn into_std(self) -> Result<net::UdpSocket, IntoStdError<UdpSocket>> {
        UdpSocket::into_std(self)
    }

    /// Not even with `lend`: tokio's `peek_sender` receives behind mio's back.
    fn lend_nothing(&self) {
        self.set_lent_buffer(0);
    }
}

impl Inner for NamedPipe {
    type Std = OwnedHandle;
    const POSSIBLE: Interests = Interests::all();

    fn from_std(handle: OwnedHandle) -> io::Result<NamedPipe> {
        Ok(NamedPipe::from_handle(handle))
    }

    fn into_std(self) -> Result<OwnedHandle, IntoStdError<NamedPipe>> {
        self.into_handle()
    }

    fn lend_nothing(&self) {
        if cfg!(not(feature = "lend")) {
            self.set_lent_buffer(0);
        }
    }
}

/// A source, which may be registered.
pub(crate) struct Io<T: Inner> {
    /// `None` only at the very end.
    source: Option<Arc<T>>,
    place: Mutex<Option<Place>>,
}

// A panic leaves nothing half done, since all that changes is behind locks or the system's. mio's sources have these, too.
impl<T: Inner> UnwindSafe for Io<T> {}
impl<T: Inner> RefUnwindSafe for Io<T> {}

/// Where a source is registered.
struct Place {
    shared: Arc<Shared>,
    number: usize,
    interests: Interests,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Inner> Io<T> {
    pub(crate) fn new(source: T) -> Io<T> {
        source.lend_nothing();
        Io {
            source: Some(Arc::new(source)),
            place: Mutex::new(None),
        }
    }

    /// # Panics
    /// If the system does not make the socket non-blocking, which it does for every socket.
    pub(crate) fn from_std(socket: T::Std) -> Io<T> {
        Io::new(T::from_std(socket).expect("the system makes every socket non-blocking"))
    }

    pub(crate) fn get(&self) -> &T {
        match &self.source {
            Some(source) => source,
            None => unreachable!("it is taken out at the very end"),
        }
    }

    fn source(&self) -> &Arc<T> {
        match &self.source {
            Some(source) => source,
            None => unreachable!("it is taken out at the very end"),
        }
    }

    /// Makes a call in one direction, and waits for more of it if it has moved data or would block.
    pub(crate) fn call<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = call(self.get());
        match &result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
            _ => self.again(interest),
        }
        result
    }

    /// Makes a call of the user's own, of which nobody knows what it does.
    pub(crate) fn try_io<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let result = call();
        self.again(Interests::all());
        result
    }

    fn again(&self, interests: Interests) {
        if let Some(place) = &*lock(&self.place) {
            let interests = interests & place.interests;
            if !interests.is_empty() {
                // It fails only if the loop is gone, or without memory, and the call cannot tell of that.
                drop(
                    place
                        .shared
                        .registrator
                        .register(self.get(), place.number, interests),
                );
            }
        }
    }

    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let mut place = lock(&self.place);
        if place.is_some() {
            return Err(registered_already());
        }
        let shared = Arc::clone(registry.shared());
        let interests = interest.interests() & T::POSSIBLE;
        let number = shared.sources.add(token, self.source());
        if !interests.is_empty() {
            if let Err(error) = shared.registrator.register(self.get(), number, interests) {
                shared.sources.remove(number);
                return Err(error);
            }
        }
        *place = Some(Place {
            shared,
            number,
            interests,
        });
        Ok(())
    }

    pub(crate) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.deregister(registry)?;
        self.register(registry, token, interest)
    }

    pub(crate) fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        let place = lock(&self.place).take().ok_or_else(not_registered)?;
        place.shared.sources.remove(place.number);
        match unless_gone(place.shared.registrator.deregister(self.get())) {
            // It was registered for nothing that can happen to it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

impl<T: Inner> Io<T> {
    /// Gives the socket back. If a send is in flight, this waits until it has ended, since its bytes were accepted.
    pub(crate) fn into_std(mut self) -> T::Std {
        let source = self.source.take();
        drop(self);
        let mut source = source
            .and_then(Arc::into_inner)
            .expect("the table of sources has given up the only other reference");
        loop {
            match source.into_std() {
                Ok(socket) => return socket,
                Err(error) => source = error.into_source(),
            }
            match source.let_go() {
                Ok(socket) => return socket,
                Err(kept) => source = kept,
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl<T: Inner> Drop for Io<T> {
    fn drop(&mut self) {
        if let Some(place) = lock(&self.place).take() {
            place.shared.sources.remove(place.number);
        }
    }
}

/// What a number stands for.
struct Entry {
    token: Token,
    /// `None` for a waker.
    source: Option<Weak<dyn Ended>>,
}

/// A source that can be asked whether it has ended.
trait Ended: Send + Sync {
    fn ended(&self) -> bool;
}

impl<T: Inner> Ended for T {
    fn ended(&self) -> bool {
        self.has_ended()
    }
}

/// What was registered, by the number that its events carry.
#[derive(Default)]
pub(crate) struct Sources(Mutex<(usize, HashMap<usize, Entry>)>);

impl Sources {
    fn insert(&self, token: Token, source: Option<Weak<dyn Ended>>) -> usize {
        let (next, entries) = &mut *lock(&self.0);
        *next += 1;
        entries.insert(*next, Entry { token, source });
        *next
    }

    fn add<T: Inner>(&self, token: Token, source: &Arc<T>) -> usize {
        let source: Weak<T> = Arc::downgrade(source);
        self.insert(token, Some(source))
    }

    fn remove(&self, number: usize) {
        lock(&self.0).1.remove(&number);
    }

    /// The event as mio has it. `None` if it is one of a registration that has ended. A source is asked under the lock, so
    /// that whoever has removed it has it for himself.
    pub(crate) fn told(&self, event: &minimio::Event) -> Option<Event> {
        let guard = lock(&self.0);
        let entry = guard.1.get(&event.id())?;
        let mut told = Event::of(entry.token, event);
        if event.is_readable() {
            let source = entry.source.as_ref().and_then(Weak::upgrade);
            if source.is_some_and(|source| source.ended()) {
                told.flags |= READ_CLOSED;
            }
        }
        Some(told)
    }

    /// The token under which a waker wakes.
    pub(crate) fn wakes(&self, token: Token) -> Token {
        Token(self.insert(token, None))
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_nonblocking(address)
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    listener.accept()
}
