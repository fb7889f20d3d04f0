use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use minimio::{is_closed, Registrator};

use crate::event::{Events, Source};
use crate::io::Sources;
use crate::{Interest, Token};

/// Waits for events.
pub struct Poll {
    /// Boxed, since tokio moves its `Poll` and its `Events` twice for each wait.
    poll: Box<minimio::Poll>,
    registry: Registry,
}

impl Poll {
    /// Makes a queue of the system.
    ///
    /// # Errors
    /// Those of the system, if descriptors, handles or memory run out.
    pub fn new() -> io::Result<Poll> {
        let poll = minimio::Poll::new()?;
        let shared = Shared {
            registrator: poll.registrator(),
            sources: Sources::default(),
        };
        Ok(Poll {
            poll: Box::new(poll),
            registry: Registry(Arc::new(shared)),
        })
    }

    /// What sources are registered with.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits for events, at most for `timeout`, or for ever. Signals do not end it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let Shared {
            registrator,
            sources,
        } = &*self.registry.0;
        if sources.tell_ends(events.capacity(), &mut events.events) {
            return Ok(());
        }
        loop {
            let wait = |timeout| self.poll.poll(&mut events.batch, timeout).map(drop);
            sources.poll(registrator, &mut events.events, timeout, wait)?;
            sources.tell(&events.batch, &mut events.events);
            // All that came may be of registrations that have ended since. Then a wait without a limit goes on, and one with
            // a limit ends early, as mio's does.
            if !events.is_empty() || timeout.is_some() {
                return Ok(());
            }
        }
    }
}

#[cfg(unix)]
impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").finish_non_exhaustive()
    }
}

/// Registers sources with a [`Poll`].
pub struct Registry(Arc<Shared>);

/// What all registries of a `Poll` have in common.
pub(crate) struct Shared {
    pub(crate) registrator: Registrator,
    /// What has to be known of what was registered.
    pub(crate) sources: Sources,
}

impl Registry {
    /// Registers a source, from whose events on `token` names it.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it is registered, and those of the system.
    pub fn register<S: Source + ?Sized>(
        &self,
        source: &mut S,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        source.register(self, token, interests)
    }

    /// Changes the token and the interests of a source.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not registered, and those of the system.
    pub fn reregister<S: Source + ?Sized>(
        &self,
        source: &mut S,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        source.reregister(self, token, interests)
    }

    /// Ends the registration of a source. A poll that starts later hands out no event of it.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not registered.
    pub fn deregister<S: Source + ?Sized>(&self, source: &mut S) -> io::Result<()> {
        source.deregister(self)
    }

    /// Another registry of the same `Poll`.
    ///
    /// # Errors
    /// None. mio has some.
    pub fn try_clone(&self) -> io::Result<Registry> {
        Ok(Registry(Arc::clone(&self.0)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

#[cfg(unix)]
impl AsFd for Registry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.registrator.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for Registry {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// Wakes a [`Poll`] from any thread, by a readable event with a token of its own.
pub struct Waker {
    registrator: Registrator,
    token: Token,
}

impl Waker {
    /// Makes what wakes the `Poll` of `registry` with `token`.
    ///
    /// # Errors
    /// None. mio has some.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
        let registrator = registry.0.registrator.clone();
        let token = registry.0.sources.wakes(token);
        Ok(Waker { registrator, token })
    }

    /// Wakes it. Does nothing once the `Poll` is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wake(&self) -> io::Result<()> {
        match self.registrator.wake(self.token.0) {
            Err(error) if is_closed(&error) => Ok(()),
            done => done,
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}
