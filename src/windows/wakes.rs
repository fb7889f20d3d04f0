//! [`Wakes`]: the wakes that were asked for and not handed out, and whether the loop is closed.
//!
//! A wake is a packet on the port. While the packet of a wake waits there, further wakes with the same token merge with it.
//!
//! **No lock is held while a wake is posted.** The thread that polls may be awake before the posting call returns, and would
//! have to wait for the lock. (Under Wine, where that call takes long, each wake took half as long again.)
//!
//! # Invariants
//! 1. **`posted` implies a packet** with that token, which is on the port, or in the hands of a thread that has not made its
//!    event yet. So another wake may merge with it. [`add`](Wakes::add) sets `posted` only after the call, and only if the
//!    entry is still its own. [`taken`](Wakes::taken) removes the entry before the event is made, and when the packet was
//!    taken by a pump and cannot be posted again.
//! 2. **Accepted implies counted**: a wake that has found the loop open is counted in `posting` until its packet is on the
//!    port. It looks and is counted under one lock.
//!
//! # Interleavings
//! * *A wake comes while another one with its token is being posted.* If it merged and that call then failed, it would be
//!   lost. So it does not merge: both post, and there are two events. There are never more than threads that wake at once.
//! * *The packet is taken before the thread that has posted it says so.* Then the entry is gone, or it is that of a later
//!   wake, which has another number.
//! * *The loop is closed while a wake is being posted.* A poll must not fail before that packet comes. So a poll that finds
//!   the loop closed asks for `posting`, and looks at the port again until it is 0. Later wakes are refused.
//! * *A close fails*, because its packet was refused. Then nobody may have seen the loop closed. So the lock is held over
//!   that call, and a thread that finds the flag set asks again under the lock.

use std::io;

use crate::error;
use crate::hooks::sync::{lock, AtomicBool, Mutex, Ordering};
use crate::interests::Token;
use crate::numbers::{NumberMap, KEPT_CAPACITY};

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Wakes {
    /// Written under the lock, except when the `Poll` is dropped. Read without the lock first: see the head of this module.
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The wakes whose packets were not taken yet, by their tokens.
    on_their_way: NumberMap<Wake>,
    /// The number of the last wake.
    last: u64,
    /// How many threads are posting a wake right now.
    posting: usize,
}

#[derive(Debug)]
struct Wake {
    number: u64,
    posted: bool,
}

impl Wakes {
    pub(super) fn new() -> Wakes {
        Wakes {
            closed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Adds a wake, calling `post` for its packet unless it merges with another.
    pub(super) fn add(
        &self,
        token: Token,
        post: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let number = {
            let mut state = lock(&self.state);
            if self.closed.load(Ordering::SeqCst) {
                return Err(error::closed());
            }
            let before = state.on_their_way.get(&token);
            if before.is_some_and(|wake| wake.posted) {
                return Ok(());
            }
            state.posting += 1;
            state.last += 1;
            let number = state.last;
            let posted = false;
            state.on_their_way.insert(token, Wake { number, posted });
            number
        };
        let result = post();
        let mut state = lock(&self.state);
        state.posting -= 1;
        let mine = state.on_their_way.get_mut(&token);
        if let Some(wake) = mine.filter(|wake| wake.number == number) {
            wake.posted = true;
            if result.is_err() {
                state.on_their_way.remove(&token);
            }
        }
        result
    }

    /// A packet was taken, and its event is about to be made, or it is kept in memory. A wake from now on needs another
    /// packet.
    pub(super) fn taken(&self, token: Token) {
        let waiting = &mut lock(&self.state).on_their_way;
        waiting.remove(&token);
        if waiting.is_empty() && waiting.capacity() > KEPT_CAPACITY {
            waiting.shrink_to_fit();
        }
    }

    /// Whether the packet of a wake that was accepted is not on the port yet.
    pub(super) fn is_posting(&self) -> bool {
        lock(&self.state).posting > 0
    }

    /// Closes the loop, and calls `nudge` so that the thread that polls notices.
    pub(super) fn close(&self, nudge: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _state = lock(&self.state);
        if self.closed.swap(true, Ordering::SeqCst) {
            return Err(error::closed());
        }
        let nudged = nudge();
        if nudged.is_err() {
            // The thread that polls would not notice. So the loop stays open, and the caller is told.
            self.closed.store(false, Ordering::SeqCst);
        }
        nudged
    }

    /// Closes the loop when its `Poll` is dropped: no thread polls that would have to notice.
    pub(super) fn end(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        if !self.closed.load(Ordering::SeqCst) {
            return false;
        }
        // It may be a close that is about to fail.
        let _state = lock(&self.state);
        self.closed.load(Ordering::SeqCst)
    }
}
