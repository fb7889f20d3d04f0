//! [`Wakes`]: the wakes that were asked for and not handed out, and whether the loop is closed.
//!
//! A wake is a packet. Of the wakes of one token that come while its packet waits on the port, the first is enough.
//!
//! **No lock is held while a wake is posted.** The poller may be awake before the call that posts returns, and would wait for
//! the lock. (Under Wine, where that call is a round trip, a wake took half as long again.)
//!
//! # Invariants
//! 1. **`posted` implies a packet**: of that token, on the port or in the hands of whoever took it, and its event is still to
//!    be made. So another wake may merge with it. Kept by [`add`](Wakes::add), which says so only after the call and only
//!    if the entry is still its own, and by [`taken`](Wakes::taken), which comes before the event.
//! 2. **Accepted implies counted**: a wake that was told that the loop is open is in `posting` until its packet is on the port.
//!    Both are decided under the lock.
//!
//! # Interleavings
//! * *A wake merges with one that is being posted, which then fails*: it would be lost. So it does not; each posts its own,
//!   and there is an event for each. There are never more than threads that wake at once.
//! * *The packet is taken before the caller says that it was posted*: the entry is gone, or is a later wake's. The number
//!   tells.
//! * *The loop is closed while a wake is posted*: a poll could fail before that packet comes. So a poll that finds the loop
//!   closed looks at `posting`, and goes on looking at the port while it is not 0. Later ones are refused.
//! * *A close fails*, since its packet was refused: nobody must have seen the loop closed. So the lock is held over that
//!   call, and whoever finds the flag set asks again under the lock.

use std::io;

use crate::error;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, AtomicBool, Mutex, Ordering};
use crate::interests::Token;
use crate::numbers::{NumberMap, KEPT_CAPACITY};

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Wakes {
    /// Written under the lock, but for the end of the `Poll`; read by everybody. A nudge follows.
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their tokens.
    on_their_way: NumberMap<Wake>,
    /// The number of the last one.
    last: u64,
    /// How many are being posted right now.
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
            if self.closed.load(Ordering::SeqCst) && holds(Rule::NoWakeAfterClose) {
                return Err(error::closed());
            }
            let before = state.on_their_way.get(&token);
            if before.is_some_and(|wake| wake.posted || !holds(Rule::MergeWithPosted)) {
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
            if result.is_err() && holds(Rule::WakeTakenBack) {
                state.on_their_way.remove(&token);
            }
        }
        result
    }

    /// A packet was taken, and its event is about to be made: a wake from now on is one more.
    pub(super) fn taken(&self, token: Token) {
        let waiting = &mut lock(&self.state).on_their_way;
        if holds(Rule::WakeForgotten) {
            waiting.remove(&token);
        }
        if waiting.is_empty() && waiting.capacity() > KEPT_CAPACITY {
            waiting.shrink_to_fit();
        }
    }

    /// Whether a wake that was accepted is still to come to the port.
    pub(super) fn is_posting(&self) -> bool {
        lock(&self.state).posting > 0 && holds(Rule::PostingCounts)
    }

    /// Closes the loop, and calls `nudge` so that the poller notices.
    pub(super) fn close(&self, nudge: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _state = holds(Rule::CloseUnderLock).then(|| lock(&self.state));
        if self.closed.swap(true, Ordering::SeqCst) {
            return Err(error::closed());
        }
        let nudged = if holds(Rule::NoticeOfClose) {
            nudge()
        } else {
            Ok(())
        };
        if nudged.is_err() {
            // Nobody would notice: better not closed, and the caller told.
            self.closed.store(false, Ordering::SeqCst);
        }
        nudged
    }

    /// Closes the loop of a `Poll` that is dropped: nobody polls any more.
    pub(super) fn end(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) && {
            let _state = lock(&self.state);
            self.closed.load(Ordering::SeqCst)
        }
    }
}
