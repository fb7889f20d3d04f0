//! The table of what is registered: what an event is told of, and what the next poll registers again.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use minimio::{Interests, Registrator};

use super::lock;
use crate::event::{Event, READABLE, READ_CLOSED};
use crate::Token;

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
pub(super) enum End {
    Known,
    NotThere,
    /// The look was put off.
    Unknown,
}

/// A source of which readable events are told.
pub(super) trait Told: Send + Sync {
    /// An event is about to be told, alone or with others.
    fn told(&self, is_alone: bool) -> End;

    /// Whether it has ended, and the user has not read since the event.
    fn has_ended_unread(&self) -> bool;

    fn register(&self, with: &Registrator, number: usize, interests: Interests) -> io::Result<()>;
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

    pub(super) fn add<T: Told + 'static>(&self, token: Token, source: &Arc<T>) -> usize {
        let source: Weak<T> = Arc::downgrade(source);
        self.insert(token, Some(source))
    }

    pub(super) fn remove(&self, number: usize) {
        lock(&self.0).entries.remove(&number);
    }

    /// Has the next poll register a source again. `false` if that has to be done now.
    pub(super) fn put_off(&self, number: usize, interests: Interests) -> bool {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let number = sources.add(TOKEN, &fake);
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
    fn a_source_that_was_removed_is_not_registered() {
        let sources = Sources::default();
        let (fake, number) = add(&sources, Fake::default());
        assert!(sources.put_off(number, Interests::READABLE));
        sources.remove(number);
        assert!(poll(&sources, |_| {}).is_empty());
        assert!(lock(&fake.registered).is_empty());
    }
}
