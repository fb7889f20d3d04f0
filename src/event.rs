//! What a poll hands out: [`Event`], and [`Events`], the batch of them that is used again and again.
//!
//! An event is a token and a few bits, which a backend copies out of what the system's queue reports. It points to
//! nothing, so it stays valid whatever happens to its source.

use std::slice;

use crate::interests::{Interests, Token};

// The flags of an event. The lowest two bits are the interests that fired.
const READ_CLOSED: u8 = 1 << 2;
const WRITE_CLOSED: u8 = 1 << 3;
const ERROR: u8 = 1 << 4;
const PRIORITY: u8 = 1 << 5;

/// What a system reports along with readiness. Hints are added to an event. They never make one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
    pub(crate) error: bool,
    pub(crate) priority: bool,
}

impl Hints {
    #[cfg(unix)]
    pub(crate) fn is_closing(self) -> bool {
        self.read_closed || self.write_closed
    }

    fn bits(self) -> u8 {
        (u8::from(self.read_closed) * READ_CLOSED)
            | (u8::from(self.write_closed) * WRITE_CLOSED)
            | (u8::from(self.error) * ERROR)
            | (u8::from(self.priority) * PRIORITY)
    }
}

/// One thing that happened: a registered condition came true, or somebody called
/// [`Registrator::wake`](crate::Registrator::wake).
///
/// [`is_readable`](Event::is_readable) and [`is_writable`](Event::is_writable) say which interest fired. If neither
/// did, the event is a wake. The other four flags are hints: each may be missing, and none is ever false. To be sure
/// of an end or an error, read or write.
///
/// # Platform notes
/// | flag | Linux, Android | macOS, iOS, BSD | Windows |
/// | --- | --- | --- | --- |
/// | [`is_read_closed`](Event::is_read_closed) | `EPOLLRDHUP`, `EPOLLHUP` | `EV_EOF` on the read filter | a receive of no bytes, `shutdown(Read)` |
/// | [`is_write_closed`](Event::is_write_closed) | `EPOLLHUP` | `EV_EOF` on the write filter | a failed send |
/// | [`is_error`](Event::is_error) | `EPOLLERR` | `EV_EOF` with an error | a failed operation |
/// | [`is_priority`](Event::is_priority) | `EPOLLPRI` | never | never |
///
/// On Unix `is_error` is also set on an event that reports the end of a stream, if a failure of that stream was
/// reported before (see [`TcpStream`](crate::TcpStream#a-broken-stream-stays-broken)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: Token,
    flags: u8,
}

impl Event {
    pub(crate) fn wake(token: Token) -> Event {
        Event { token, flags: 0 }
    }

    pub(crate) fn ready(token: Token, interests: Interests, hints: Hints) -> Event {
        let mut event = Event::wake(token);
        event.add(interests, hints);
        event
    }

    pub(crate) fn add(&mut self, interests: Interests, hints: Hints) {
        self.flags |= interests.bits() | hints.bits();
    }

    /// The token that was given to the registration or to the wake.
    #[must_use]
    pub fn id(&self) -> Token {
        self.token
    }

    /// Whether [`READABLE`](Interests::READABLE) fired. It must be registered again to fire again.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.flags & Interests::READABLE.bits() != 0
    }

    /// Whether [`WRITABLE`](Interests::WRITABLE) fired. It must be registered again to fire again.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.flags & Interests::WRITABLE.bits() != 0
    }

    /// Hint: nothing more will be received than what has already arrived.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.flags & READ_CLOSED != 0
    }

    /// Hint: nothing more can be sent.
    #[must_use]
    pub fn is_write_closed(&self) -> bool {
        self.flags & WRITE_CLOSED != 0
    }

    /// Hint: the source has failed; the next read or write, or `take_error`, says how.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.flags & ERROR != 0
    }

    /// Hint: the source has urgent data, or what its manual page calls an exceptional condition.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        self.flags & PRIORITY != 0
    }
}

/// A batch of events. [`Poll::poll`](crate::Poll::poll) fills it, and it is used again for the next poll.
///
/// Its capacity never changes: it is the largest number of events that one `poll` hands out.
///
/// ```
/// let mut events = minimio::Events::with_capacity(64);
/// assert_eq!((events.capacity(), events.len()), (64, 0));
/// for event in &events {
///     println!("{}", event.id());
/// }
/// events.clear();
/// ```
#[derive(Debug)]
pub struct Events {
    batch: Vec<Event>,
    // Not `batch.capacity()`, since a `Vec` may reserve more than it was asked for.
    capacity: usize,
}

impl Events {
    /// An empty batch with room for `capacity` events, allocated at once. A batch without room can be made, but
    /// `poll` refuses it.
    ///
    /// # Panics
    /// As [`Vec::with_capacity`] does, if the memory would exceed `isize::MAX` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        Events {
            batch: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// The number of events for which there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The events of the last poll, in the order in which the system reported them.
    pub fn iter(&self) -> slice::Iter<'_, Event> {
        self.batch.iter()
    }

    /// The number of events of the last poll.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Removes the events. `poll` does this by itself.
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    pub(crate) fn room(&self) -> usize {
        self.capacity - self.batch.len()
    }

    /// Adds an event. Returns false, and adds nothing, if there is no room.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        let fits = self.room() > 0;
        if fits {
            self.batch.push(event);
        }
        fits
    }

    #[cfg(unix)] // On Windows every packet makes an event of its own, and none is added to another.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Event> {
        self.batch.last_mut()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
