//! What a poll hands out, and the trait of what can be registered.

use std::fmt;
use std::io;

use crate::{Interest, Registry, Token};

/// Something that can be registered. Implement it by passing the calls on to the sources that your type contains.
pub trait Source {
    /// Registers the source. Call [`Registry::register`] instead.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it is registered, and those of the system.
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Changes the token and the interests. Call [`Registry::reregister`] instead.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not registered, and those of the system.
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Ends the registration. Call [`Registry::deregister`] instead.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not registered.
    fn deregister(&mut self, registry: &Registry) -> io::Result<()>;
}

impl<T: Source + ?Sized> Source for Box<T> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        (**self).deregister(registry)
    }
}

/// One event.
#[derive(Clone)]
pub struct Event {
    pub(crate) token: Token,
    /// As minimio has told it, but for what [`Event::of`] adds.
    pub(crate) flags: u8,
}

pub(crate) const READABLE: u8 = 1;
const WRITABLE: u8 = 1 << 1;
const ERROR: u8 = 1 << 2;
/// What the peer does not send any more.
pub(crate) const READ_CLOSED: u8 = 1 << 3;
const WRITE_CLOSED: u8 = 1 << 4;
const PRIORITY: u8 = 1 << 5;

impl Event {
    /// Under the token of the user's. A wake of minimio has no flags, and one of mio is readable. An error closes the
    /// direction of writing, too.
    pub(crate) fn of(token: Token, event: &minimio::Event) -> Event {
        let is_wake = !event.is_readable() & !event.is_writable();
        // Without branches, since this is done for every event.
        let flag = |flag: u8, is_set: bool| flag * u8::from(is_set);
        Event {
            token,
            flags: flag(READABLE, event.is_readable() | is_wake)
                | flag(WRITABLE, event.is_writable())
                | flag(ERROR, event.is_error())
                | flag(READ_CLOSED, event.is_read_closed())
                | flag(
                    WRITE_CLOSED,
                    event.is_write_closed() | (event.is_writable() & event.is_error()),
                )
                | flag(PRIORITY, event.is_priority()),
        }
    }

    /// For these interests, whatever the source says.
    #[cfg(windows)]
    pub(crate) fn due(token: Token, interests: minimio::Interests) -> Event {
        let readable = READABLE * u8::from(interests.is_readable());
        let writable = WRITABLE * u8::from(interests.is_writable());
        Event {
            token,
            flags: readable | writable,
        }
    }

    /// The token of the registration.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Whether the source may be read, or a [`Waker`](crate::Waker) has woken the poll.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.flags & READABLE != 0
    }

    /// Whether the source may be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.flags & WRITABLE != 0
    }

    /// Whether the source is known to have an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.flags & ERROR != 0
    }

    /// Whether the peer is known to send nothing more.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.flags & READ_CLOSED != 0
    }

    /// Whether nothing can be sent to the peer any more. An error counts.
    #[must_use]
    pub fn is_write_closed(&self) -> bool {
        self.flags & WRITE_CLOSED != 0
    }

    /// Whether there is urgent data.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        self.flags & PRIORITY != 0
    }

    /// Always `false`: minimio has no AIO.
    #[must_use]
    pub fn is_aio(&self) -> bool {
        false
    }

    /// Always `false`: minimio has no AIO.
    #[must_use]
    pub fn is_lio(&self) -> bool {
        false
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("error", &self.is_error())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .field("priority", &self.is_priority())
            .finish()
    }
}

/// The events of one poll.
pub struct Events {
    pub(crate) batch: Box<minimio::Events>,
    pub(crate) events: Vec<Event>,
}

impl Events {
    /// Room for `capacity` events a poll.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        Events {
            // A poll of minimio needs room for one.
            batch: Box::new(minimio::Events::with_capacity(capacity.max(1))),
            events: Vec::with_capacity(capacity.max(1)),
        }
    }

    /// For how many events there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.batch.capacity()
    }

    /// Whether the last poll has handed out nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All events of the last poll.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.events.iter())
    }

    /// Removes all events.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.events.clear();
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Goes through the events of a poll.
#[derive(Debug, Clone)]
pub struct Iter<'a>(std::slice::Iter<'a, Event>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Event;

    fn next(&mut self) -> Option<&'a Event> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
