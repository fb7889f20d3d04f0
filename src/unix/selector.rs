//! The waiting end of a queue: the loop around a backend's wait, written once for both.
//!
//! # Invariants
//! 1. **The deadline decides.** Neither a signal nor an edge that fired nothing ends the wait early or lengthens it.
//! 2. **0 means that nothing was there.** Edges that fired nothing may have filled the buffer and hidden others, so only
//!    a wait with room to spare may end it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Events;
use crate::timeout::Deadline;
use crate::unix::queue::{Queue, Registrator, System};
use crate::unix::readiness::Edge;

/// The most entries that one wait reaps.
const MOST_REAPED: usize = 1024;

/// What a selector needs of the system's queue, beside what the sources do.
pub(crate) trait Wait: System + Sized {
    /// What the system fills in for each thing that it reports.
    type Entry: Copy + Send + Sync;
    const BLANK: Self::Entry;

    fn new() -> io::Result<Self>;

    fn fd(&self) -> BorrowedFd<'_>;

    /// Waits once, at most for `timeout`; less is allowed, since it is called again until the time is up.
    fn wait(&self, reaped: &mut [Self::Entry], timeout: Option<Duration>) -> io::Result<usize>;

    /// What an entry says that the wait with this number has reaped.
    fn translate(&self, entry: &Self::Entry, wait: u32) -> Reaped;
}

/// What an entry says.
pub(crate) enum Reaped {
    /// Of [`System::notice`].
    Notice,
    /// Of the source in that slot.
    Edge(u32, Edge),
}

/// See [`crate::Selector`].
pub(crate) struct Selector<S: Wait> {
    queue: Arc<Queue<S>>,
    reaped: Vec<S::Entry>,
}

impl<S: Wait> Selector<S> {
    pub(crate) fn new(_lent_limit: usize) -> io::Result<Selector<S>> {
        Ok(Selector {
            queue: Arc::new(Queue::new(S::new()?)),
            reaped: vec![S::BLANK; MOST_REAPED],
        })
    }

    pub(crate) fn registrator(&self) -> Registrator<S> {
        Registrator::new(&self.queue)
    }

    /// Fills the batch, which is empty and has room. Returns 0 when the time is over, or when the loop is closed and
    /// nothing is left in the queue.
    pub(crate) fn select(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let deadline = Deadline::after(timeout);
        let room = events.capacity().min(self.reaped.len());
        let system = self.queue.system();
        let mut left = timeout;
        loop {
            if self.queue.is_closed() {
                left = Some(Duration::ZERO);
            }
            let wait = self.queue.begin_wait();
            let count = match system.wait(&mut self.reaped[..room], left) {
                Ok(count) => count,
                // A signal. Its time counts.
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    left = deadline.remaining();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let batch = self.queue.batch();
            for (index, entry) in self.reaped[..count].iter().enumerate() {
                match system.translate(entry, wait) {
                    Reaped::Notice => batch.notice(count - index - 1, events),
                    Reaped::Edge(slot, edge) => batch.edge(slot, &edge, events),
                }
            }
            drop(batch);
            if !events.is_empty() {
                return Ok(events.len());
            }
            let saw_all = count < room;
            left = deadline.remaining();
            if saw_all && (left == Some(Duration::ZERO) || self.queue.is_closed() && count == 0) {
                return Ok(0);
            }
        }
    }
}

impl<S: Wait> AsFd for Selector<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.system().fd()
    }
}

impl<S: Wait> fmt::Debug for Selector<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the buffer, whose contents mean nothing between two waits.
        self.queue.fmt(f)
    }
}

impl<S: Wait> Drop for Selector<S> {
    fn drop(&mut self) {
        // That it was closed before is no matter.
        self.queue.close();
    }
}
