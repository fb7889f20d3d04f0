//! `Descriptor` on Unix: whatever the queue of the system can watch.
//!
//! **The idea.** The user's thing stays with the user: nothing but the number of its descriptor goes into the queue. So
//! the thing may be changed, exchanged or closed at any time, and no code of the user's runs under a lock of this crate.
//!
//! **The price.** The polling thread cannot know whether the number still stands for the same file. So it asks the kernel
//! nothing for such a source: what does not fit into a batch is postponed, and reports
//! that nobody waits for are not switched off. What it does with the number, a look by `poll(2)`, changes nothing.
//!
//! # Invariant
//! **No stranger is asked.** Whoever asks for a descriptor, or takes it out, has just got its number from the thing.
//! If that is another number than the one that is in the queue, the old one is left alone. If the thing may have been
//! exchanged for one that got the same number, it enters anew. If the system has that number already, it has it for a
//! thing that was exchanged, or for another source, which then keeps it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::backend::{Registrator, System};
use crate::error;
use crate::interests::{Interests, Token};
use crate::unix;
use crate::unix::ffi;
use crate::unix::readiness::{Direction, Kind};
use crate::unix::source::{Number, Socket, Source};

/// See [`crate::os::unix::Descriptor`].
pub(crate) struct Descriptor<T: AsFd> {
    /// `None` only at the very end.
    thing: Option<T>,
    source: Arc<Source<System, Number>>,
}

impl<T: AsFd> Descriptor<T> {
    pub(crate) fn new(thing: T, kind: Kind) -> Descriptor<T> {
        Descriptor {
            thing: Some(thing),
            source: Source::new(Number::new(), kind),
        }
    }

    pub(crate) fn get(&self) -> &T {
        match &self.thing {
            Some(thing) => thing,
            None => unreachable!("a descriptor that is in use has its thing"),
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.source.socket.change();
        match &mut self.thing {
            Some(thing) => thing,
            None => unreachable!("a descriptor that is in use has its thing"),
        }
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.leave();
        match self.thing.take() {
            Some(thing) => thing,
            None => unreachable!("a descriptor that is in use has its thing"),
        }
    }

    fn number(&self) -> RawFd {
        self.get().as_fd().as_raw_fd()
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        // Before any lock, since it is code of the user's.
        let number = self.number();
        if !self.source.socket.is_still(number) && !ffi::can_be_watched(self.get().as_fd()) {
            return Err(error::not_watchable());
        }
        with.register(&self.source, number, token, interests)
            .map_err(|error| match error.raw_os_error() {
                Some(ffi::EPERM) => error::not_watchable(),
                _ => error,
            })
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        with.disarm(&*self.source, interests)
    }

    /// Makes a call of the user's own. Its `WouldBlock` is noted if the system agrees.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let direction = Direction::of(interest);
        let tick = self.source.readiness.tick(direction);
        let result = call(self.get());
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock)
            && unix::confirm(self.number(), interest).is_empty()
        {
            self.source.readiness.note(direction, tick);
        }
        result
    }

    fn leave(&self) {
        if let Some(queue) = self.source.membership.get() {
            // It leaves the table also if `as_fd` panics, so that nothing is told of it any more.
            let number = panic::catch_unwind(AssertUnwindSafe(|| self.number()));
            queue.leave(&*self.source, number.unwrap_or(Number::NONE));
        }
    }
}

impl<T: AsFd> Drop for Descriptor<T> {
    fn drop(&mut self) {
        if self.thing.is_some() {
            self.leave();
        }
    }
}
