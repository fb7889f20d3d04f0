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

use std::collections::HashMap;
use std::io::{self, Write};
use std::mem;
use std::net::{self, SocketAddr};
use std::os::windows::io::{AsSocket, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use minimio::os::windows::NamedPipe;
use minimio::{Interests, IntoStdError, Registrator};
pub(crate) use minimio::{TcpListener, TcpStream, UdpSocket};

use super::{not_registered, registered_already, unless_gone};
use crate::event::{Event, READABLE, READ_CLOSED};
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

    /// Whether it is a stream of which mio tells the end.
    const TELLS_END: bool = false;
    /// Whether it is registered again after a call that has moved data, in these directions.
    const AGAIN: Interests = Interests::empty();

    /// Whether the peer is known to send nothing more.
    fn has_ended(&self) -> bool {
        false
    }
}

impl Inner for TcpStream {
    type Std = net::TcpStream;
    const POSSIBLE: Interests = Interests::all();
    const TELLS_END: bool = true;
    const AGAIN: Interests = Interests::READABLE;

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
    /// mio tells when a write has gone out.
    const AGAIN: Interests = Interests::all();

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

/// What a number stands for.
struct Entry {
    token: Token,
    /// `None` for a waker.
    source: Option<Weak<dyn Told>>,
    /// For what the next poll registers it again.
    put_off: Interests,
    /// The system has refused that. Until a call has registered it, nothing is put off.
    is_refused: bool,
}

/// What the user can know of the end of a stream when its event is told.
enum End {
    Known,
    NotThere,
    /// The look was put off.
    Unknown,
}

/// A source of which readable events are told.
trait Told: Send + Sync {
    /// An event is about to be told, alone or with others.
    fn told(&self, is_alone: bool) -> End;

    /// Whether it has ended, and the user has not read since the event.
    fn has_ended_unread(&self) -> bool;

    fn register(&self, with: &Registrator, number: usize, interests: Interests) -> io::Result<()>;
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

/// What was registered.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: usize,
    /// By the number that its events carry.
    entries: HashMap<usize, Entry>,
    /// The numbers of the streams at whose end nobody has looked when their event was told.
    unknown: Vec<usize>,
    /// The numbers of those that the next poll registers again.
    put_off: Vec<usize>,
    /// A poll has registered them, and may be waiting.
    is_polling: bool,
}

impl Sources {
    fn insert(&self, token: Token, source: Option<Weak<dyn Told>>) -> usize {
        let mut table = lock(&self.0);
        table.last += 1;
        let number = table.last;
        let entry = Entry {
            token,
            source,
            put_off: Interests::empty(),
            is_refused: false,
        };
        table.entries.insert(number, entry);
        number
    }

    fn add<T: Inner>(&self, token: Token, source: &Arc<Watched<T>>) -> usize {
        let source: Weak<Watched<T>> = Arc::downgrade(source);
        self.insert(token, Some(source))
    }

    fn remove(&self, number: usize) {
        lock(&self.0).entries.remove(&number);
    }

    /// Has the next poll register a source again. `false` if that has to be done now.
    fn put_off(&self, number: usize, interests: Interests) -> bool {
        let mut table = lock(&self.0);
        let Table {
            entries,
            put_off,
            is_polling,
            ..
        } = &mut *table;
        let Some(entry) = entries.get_mut(&number) else {
            return false;
        };
        if *is_polling || mem::take(&mut entry.is_refused) {
            return false;
        }
        if entry.put_off.is_empty() {
            put_off.push(number);
        }
        entry.put_off |= interests;
        true
    }

    /// Registers again what was put off, and waits. If the system refuses one, it is told. Then the wait is only a look, since
    /// other sources must have their events although one is refused again and again.
    pub(crate) fn poll(
        &self,
        registrator: &Registrator,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
        wait: impl FnOnce(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.begin(registrator, events);
        let waited = wait(match events.is_empty() {
            true => timeout,
            false => Some(Duration::ZERO),
        });
        lock(&self.0).is_polling = false;
        waited
    }

    /// The sources are registered under the lock: whoever takes one off the table may register it elsewhere at once.
    fn begin(&self, registrator: &Registrator, events: &mut Vec<Event>) {
        let mut table = lock(&self.0);
        table.is_polling = true;
        let Table {
            entries, put_off, ..
        } = &mut *table;
        for number in put_off.drain(..) {
            let Some(entry) = entries.get_mut(&number) else {
                continue;
            };
            let interests = mem::replace(&mut entry.put_off, Interests::empty());
            let Some(source) = entry.source() else {
                continue;
            };
            if source.register(registrator, number, interests).is_err() {
                entry.is_refused = true;
                // No read may take for granted that it was registered.
                source.told(false);
                events.push(Event::due(entry.token, interests));
            }
        }
    }

    /// The events as mio has them, without those of registrations that have ended. A source is asked under the lock, so
    /// that whoever has removed it has it for himself.
    pub(crate) fn tell(&self, batch: &minimio::Events, events: &mut Vec<Event>) {
        let mut table = lock(&self.0);
        let Table {
            entries, unknown, ..
        } = &mut *table;
        let is_alone = batch.len() == 1;
        for event in batch {
            let Some(entry) = entries.get(&event.id()) else {
                continue;
            };
            let mut told = Event::of(entry.token, event);
            if event.is_readable() {
                match entry.source().map(|source| source.told(is_alone)) {
                    Some(End::Known) => told.flags |= READ_CLOSED,
                    Some(End::Unknown) => unknown.push(event.id()),
                    Some(End::NotThere) | None => {}
                }
            }
            events.push(told);
        }
    }

    /// Tells the ends at which nobody has looked when the last events were told. Returns whether there are any.
    pub(crate) fn tell_ends(&self, capacity: usize, events: &mut Vec<Event>) -> bool {
        let mut table = lock(&self.0);
        let Table {
            entries, unknown, ..
        } = &mut *table;
        while events.len() < capacity {
            let Some(number) = unknown.pop() else {
                break;
            };
            let Some(entry) = entries.get(&number) else {
                continue;
            };
            if entry
                .source()
                .is_some_and(|source| source.has_ended_unread())
            {
                events.push(Event {
                    token: entry.token,
                    flags: READABLE | READ_CLOSED,
                });
            }
        }
        !events.is_empty()
    }

    /// The token under which a waker wakes.
    pub(crate) fn wakes(&self, token: Token) -> Token {
        Token(self.insert(token, None))
    }
}

impl Entry {
    fn source(&self) -> Option<Arc<dyn Told>> {
        self.source.as_ref().and_then(Weak::upgrade)
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
    use std::io::Read;

    use super::*;

    const TOKEN: Token = Token(7);

    /// Notes for what it is registered, and refuses if it is told to.
    #[derive(Default)]
    struct Fake {
        registered: Mutex<Vec<Interests>>,
        refuses: bool,
        was_told: AtomicBool,
    }

    impl Told for Fake {
        fn told(&self, _: bool) -> End {
            self.was_told.store(true, Ordering::SeqCst);
            End::NotThere
        }

        fn has_ended_unread(&self) -> bool {
            false
        }

        fn register(&self, _: &Registrator, _: usize, interests: Interests) -> io::Result<()> {
            lock(&self.registered).push(interests);
            match self.refuses {
                true => Err(io::ErrorKind::OutOfMemory.into()),
                false => Ok(()),
            }
        }
    }

    fn add(sources: &Sources, fake: Fake) -> (Arc<Fake>, usize) {
        let fake = Arc::new(fake);
        let told: Weak<Fake> = Arc::downgrade(&fake);
        let number = sources.insert(TOKEN, Some(told));
        (fake, number)
    }

    /// Polls without a time limit.
    fn poll(sources: &Sources, wait: impl FnOnce(Option<Duration>)) -> Vec<Event> {
        let mut events = Vec::new();
        let registrator = minimio::Poll::new().unwrap().registrator();
        let wait = |timeout| {
            wait(timeout);
            Ok(())
        };
        let polled = sources.poll(&registrator, &mut events, None, wait);
        polled.unwrap();
        events
    }

    #[test]
    fn a_poll_registers_once_for_all_that_was_put_off() {
        let sources = Sources::default();
        let (fake, number) = add(&sources, Fake::default());
        for interests in [
            Interests::READABLE,
            Interests::READABLE,
            Interests::WRITABLE,
        ] {
            assert!(sources.put_off(number, interests));
        }
        assert!(lock(&fake.registered).is_empty());
        for _ in 0..2 {
            let wait = |timeout| assert_eq!(timeout, None);
            assert!(poll(&sources, wait).is_empty());
            assert_eq!(*lock(&fake.registered), [Interests::all()]);
        }
        assert!(sources.put_off(number, Interests::READABLE));
        poll(&sources, |_| {});
        let registered = [Interests::all(), Interests::READABLE];
        assert_eq!(*lock(&fake.registered), registered);
    }

    #[test]
    fn nothing_is_put_off_during_a_poll() {
        let sources = Sources::default();
        let (_fake, number) = add(&sources, Fake::default());
        poll(&sources, |_| {
            assert!(!sources.put_off(number, Interests::READABLE));
        });
        assert!(sources.put_off(number, Interests::READABLE));
    }

    #[test]
    fn a_refusal_is_told_and_the_next_call_registers_at_once() {
        let refuses = Fake {
            refuses: true,
            ..Fake::default()
        };
        let sources = Sources::default();
        let (fake, number) = add(&sources, refuses);
        assert!(sources.put_off(number, Interests::READABLE));
        let mut waited = None;
        let events = poll(&sources, |timeout| waited = timeout);
        // Others may have events, too.
        assert_eq!(waited, Some(Duration::ZERO));
        // Otherwise the next read would rely on a registration that is not there.
        assert!(fake.was_told.load(Ordering::SeqCst));
        assert_eq!(events.len(), 1);
        assert!(events[0].token() == TOKEN && events[0].is_readable() && !events[0].is_writable());
        assert!(!sources.put_off(number, Interests::READABLE));
        assert!(sources.put_off(number, Interests::READABLE));
    }

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

    #[test]
    fn a_source_that_was_removed_is_not_registered() {
        let sources = Sources::default();
        let (fake, number) = add(&sources, Fake::default());
        assert!(sources.put_off(number, Interests::READABLE));
        sources.remove(number);
        assert!(poll(&sources, |_| {}).is_empty());
        assert!(lock(&fake.registered).is_empty());
    }
}
