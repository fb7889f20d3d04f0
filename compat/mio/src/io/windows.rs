//! On Windows the sources are minimio's own, and each registration of theirs yields one event. mio's lasts until a call
//! would block. So a source is registered again after each call that would block: whoever reads until `WouldBlock`, as
//! mio's documentation asks, is told of all that comes later. A stream is registered again after each read, too, since mio
//! tells of its end even if nobody has read until `WouldBlock`.
//!
//! # Registering again is put off
//! It is put off until the next poll, as long as no poll is under way ([`Sources::poll`]). So a server that reads and answers
//! does not delay its answer by it, and a source that is read many times is registered once. While a poll is under way, a
//! source is registered at once, since that poll must see it. Both are decided under the lock of [`Sources`], so no source
//! falls between. If the system refuses a registration that was put off, the event is told as if it had come, and the call
//! that the user makes then registers at once and tells the failure.
//!
//! # A read that need not be made
//! A read that did not fill its buffer has left nothing. The stream will be registered again, and as long as its event was
//! not told, one further read is `WouldBlock` without asking the system ([`Reading::is_drained`]). tokio makes such a read after
//! each message. It is only one, so that whoever never polls still comes to his bytes.
//!
//! A peer that answers at once has often answered by the time of that read. Then making it saves the registration and the
//! wait. So it is made if the last event of the stream came alone, since most likely no other source waits for the thread
//! then.
//!
//! # The end of a stream
//! A receive without memory ends in the same way for bytes and for the end of the stream. mio tells the end by
//! [`READ_CLOSED`]. So one byte is looked at before the event is told. If the user has read since the last event, he is
//! expected to read again, and the look is put off until the next poll. It is made there only if he has not read, and an
//! end is told then by an event of its own.
//!
//! Events carry a number of this file's, since the source has to be found by it, and the user may use one token for many.

mod inner;
mod sources;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use minimio::{Interests, Registrator};
pub(crate) use minimio::{TcpListener, TcpStream, UdpSocket};

pub(crate) use self::inner::Inner;
use self::inner::LOOK_AGAIN;
pub(crate) use self::sources::Sources;
use self::sources::{End, Told};
use super::{not_registered, registered_already, unless_gone};
use crate::poll::Shared;
use crate::{Interest, Registry, Token};

/// A source, which may be registered.
pub(crate) struct Io<T: Inner> {
    /// `None` only at the very end.
    source: Option<Arc<Watched<T>>>,
    place: Mutex<Option<Place>>,
}

/// A source, and what its readable events depend on.
struct Watched<T> {
    source: T,
    reading: Reading,
}

/// How a stream is read. Each of these orders nothing but itself: what a thread must see first was told to it by an event.
#[derive(Default)]
struct Reading {
    /// The last read has left nothing, and the event of what comes next was not told yet. Reads set it, and clear it when
    /// they rely on it. The event clears it before it is told.
    is_drained: AtomicBool,
    /// It was read since the last event.
    is_read: AtomicBool,
    /// Its last event came alone.
    came_alone: AtomicBool,
}

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
            source: Some(Arc::new(Watched {
                source,
                reading: Reading::default(),
            })),
            place: Mutex::new(None),
        }
    }

    /// # Panics
    /// If the system does not make the socket non-blocking, which it does for every socket.
    pub(crate) fn from_std(socket: T::Std) -> Io<T> {
        Io::new(T::from_std(socket).expect("the system makes every socket non-blocking"))
    }

    pub(crate) fn get(&self) -> &T {
        &self.watched().source
    }

    fn watched(&self) -> &Arc<Watched<T>> {
        match &self.source {
            Some(source) => source,
            None => unreachable!("it is taken out at the very end"),
        }
    }

    /// Makes a call in one direction, and waits for more of it if it would block, or if that is how the source is.
    pub(crate) fn call<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = call(self.get());
        if interest == Interests::READABLE {
            self.watched().reading.is_read.store(true, Ordering::SeqCst);
        }
        match &result {
            // If it fails, the call that would block tells it.
            Ok(_) => drop(self.again(interest & T::AGAIN)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.again(interest)?;
            }
            Err(_) => {}
        }
        result
    }

    /// Reads from a stream, into so much room.
    pub(crate) fn read(
        &self,
        room: usize,
        call: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let reading = &self.watched().reading;
        let is_drained = reading.is_drained.swap(false, Ordering::SeqCst);
        if is_drained && !reading.came_alone.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = call(self.get());
        reading.is_read.store(true, Ordering::SeqCst);
        match &result {
            Ok(count) if (1..room).contains(count) => {
                // Before the registration, whose event clears it.
                reading.is_drained.store(true, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.again(Interests::READABLE)?;
                return result;
            }
            Err(_) => return result,
        }
        // If it fails, the next read is made, and tells it if it would block.
        if !matches!(self.again(Interests::READABLE), Ok(true)) {
            reading.is_drained.store(false, Ordering::SeqCst);
        }
        result
    }

    /// Makes a call of the user's own, of which nobody knows what it does.
    pub(crate) fn try_io<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let result = call();
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.again(Interests::all())?;
            }
            // As in `call`.
            _ => drop(self.again(T::AGAIN)),
        }
        result
    }

    /// Has it registered again, for those of these interests that it was registered for. Returns whether an event is owed:
    /// none is if it was registered for none of them, or if the `Poll` is gone.
    fn again(&self, interests: Interests) -> io::Result<bool> {
        if interests.is_empty() {
            return Ok(false);
        }
        let place = lock(&self.place);
        let Some(place) = &*place else {
            return Ok(false);
        };
        let interests = interests & place.interests;
        if interests.is_empty() {
            return Ok(false);
        }
        let Shared {
            registrator,
            sources,
        } = &*place.shared;
        // If the `Poll` is gone, there is no next poll, and the registration fails.
        if !registrator.is_closed() && sources.put_off(place.number, interests) {
            return Ok(true);
        }
        match registrator.register(self.get(), place.number, interests) {
            Err(error) if minimio::is_closed(&error) => Ok(false),
            registered => registered.map(|()| true),
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
        let number = shared.sources.add(token, self.watched());
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
        // Nothing is owed any more.
        let reading = &self.watched().reading;
        reading.is_drained.store(false, Ordering::SeqCst);
        reading.is_read.store(false, Ordering::SeqCst);
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
        let watched = source
            .and_then(Arc::into_inner)
            .expect("the table of sources has given up the only other reference");
        let mut source = watched.source;
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

impl<T: Inner> Told for Watched<T> {
    fn told(&self, is_alone: bool) -> End {
        let reading = &self.reading;
        reading.is_drained.store(false, Ordering::SeqCst);
        reading.came_alone.store(is_alone, Ordering::SeqCst);
        if !T::TELLS_END {
            return End::NotThere;
        }
        if reading.is_read.swap(false, Ordering::SeqCst) {
            return End::Unknown;
        }
        match self.source.has_ended() {
            true => End::Known,
            false => End::NotThere,
        }
    }

    fn has_ended_unread(&self) -> bool {
        !self.reading.is_read.load(Ordering::SeqCst) && self.source.has_ended()
    }

    fn register(&self, with: &Registrator, number: usize, interests: Interests) -> io::Result<()> {
        with.register(&self.source, number, interests)
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;

    use super::*;

    const TOKEN: Token = Token(7);

    #[test]
    fn a_read_behind_one_that_left_nothing_is_made_if_the_event_came_alone() {
        for is_alone in [true, false] {
            let mut poll = crate::Poll::new().unwrap();
            let mut events = crate::Events::with_capacity(4);
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            let other_handle = socket.try_clone().unwrap();
            let mut io = Io::<TcpStream>::from_std(socket);
            // The other handle could not see what is lent, as it is with the feature `lend`.
            io.get().set_lent_buffer(0);
            io.register(poll.registry(), TOKEN, Interest::READABLE)
                .unwrap();
            let mut send = || {
                peer.write_all(b"word").unwrap();
                // `WouldBlock` until it has arrived.
                while other_handle.peek(&mut [0]).is_err() {
                    thread::yield_now();
                }
            };
            let read = || io.read(8, |stream| (&mut &*stream).read(&mut [0; 8]));

            send();
            poll.poll(&mut events, None).unwrap();
            // It came alone. The second round has it the other way.
            io.watched().told(is_alone);
            assert_eq!(read().unwrap(), 4);
            send();
            if !is_alone {
                assert_eq!(read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }
            assert_eq!(read().unwrap(), 4);
        }
    }
}
