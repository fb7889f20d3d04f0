//! The waiting end of a queue: the loop around the wait of a backend, written once for both.
//!
//! # Invariants
//! 1. **The deadline decides.** A signal, or an edge that fires no event, neither ends the wait early nor lengthens it.
//! 2. **0 means that nothing was there.** Edges that fire no event may fill the buffer while others wait behind them.
//!    And a registration on another thread may have asked anew for what was just reaped, so that the next wait reports it.
//!    So only a wait that has left room in the buffer, and of which no edge came too late, may end the loop.

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

/// What a selector needs of the queue of the system, beside what the sources need.
pub(crate) trait Wait: System + Sized {
    /// What the system fills in for each report.
    type Entry: Copy + Send + Sync;
    const BLANK: Self::Entry;

    fn new() -> io::Result<Self>;

    fn fd(&self) -> BorrowedFd<'_>;

    /// Waits once, at most for `timeout`. It may return earlier with nothing, and is called again until the time is up.
    fn wait(&self, reaped: &mut [Self::Entry], timeout: Option<Duration>) -> io::Result<usize>;

    /// What an entry says that was reaped by the wait with this number.
    fn translate(&self, entry: &Self::Entry, wait: u32) -> Reaped;
}

/// What an entry says.
pub(crate) enum Reaped {
    /// That [`System::notice`] was called.
    Notice,
    /// An edge of the source in that slot.
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

    /// Fills the batch, which is empty and has a capacity. Returns 0 when the time is up, or when the loop is closed
    /// and nothing is left in the queue.
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
                // A signal has ended the wait. The time until then counts.
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    left = deadline.remaining();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut batch = self.queue.batch();
            for (index, entry) in self.reaped[..count].iter().enumerate() {
                match system.translate(entry, wait) {
                    Reaped::Notice => batch.notice(count - index - 1, events),
                    Reaped::Edge(slot, edge) => batch.edge(slot, &edge, events),
                }
            }
            let saw_all = count < room && !batch.was_overtaken();
            drop(batch);
            if !events.is_empty() {
                return Ok(events.len());
            }
            left = deadline.remaining();
            if saw_all && (left == Some(Duration::ZERO) || self.queue.is_closed() && count == 0) {
                return Ok(0);
            }
        }
    }
}

impl<S: Wait> AsFd for Registrator<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.system().fd()
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
        // It does not matter if the loop was closed before.
        self.queue.close();
    }
}
