//! The tokens of wakes that no poll has handed out yet, and whether the loop is closed.
//!
//! **The idea.** The tokens stand in a line, each of them once, and one notice in the queue of the system stands for
//! all of them. A thread that adds a token to an empty line sends the notice. A thread that adds to another line need
//! not, since the notice is still on its way. The polling thread that receives the notice takes as many tokens as fit.
//! If some remain, it sends the notice again, which so goes to the back of the queue, and no source waits for a flood
//! of wakes.
//!
//! # Invariant
//! **Not empty implies noticed**: while the lock is free and the line is not empty, a notice is in the queue of the
//! system, or the polling thread is about to handle one. So the notice is sent under the lock, and it never blocks. A
//! thread whose `wake` has returned can rely on the notice even if another thread has added the first token.

use std::collections::VecDeque;

use crate::event::{Event, Events};
use crate::hooks::sync::{lock, AtomicBool, Mutex, Ordering};
use crate::interests::Token;
use crate::numbers::{NumberMap, KEPT_CAPACITY};

/// See the head of this module.
#[derive(Debug)]
pub(crate) struct Wakes {
    state: Mutex<State>,
    /// Set once, under the lock, so that each wake which found it unset has added its token by then. It is read without
    /// the lock, too. The polling thread learns of it by the notice.
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The first in the line. It is mostly the only one, and then neither `line` nor `waiting` is used.
    first: Option<Token>,
    /// The others, in the order in which they came, so that a token which is woken all the time does not starve
    /// another.
    line: VecDeque<Token>,
    /// What stands in `line`.
    waiting: NumberMap<()>,
}

impl Wakes {
    pub(crate) fn new() -> Wakes {
        Wakes {
            state: Mutex::new(State {
                first: None,
                line: VecDeque::new(),
                waiting: NumberMap::default(),
            }),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds `token`, and calls `notice` if no notice is on its way. `false` if the loop is closed.
    pub(crate) fn add(&self, token: Token, notice: impl FnOnce()) -> bool {
        let mut state = lock(&self.state);
        if self.is_closed() {
            return false;
        }
        let first = state.is_empty();
        state.insert(token);
        if first {
            notice();
        }
        true
    }

    /// Marks the loop as closed, and calls `notice`. `false` if it was closed already.
    pub(crate) fn close(&self, notice: impl FnOnce()) -> bool {
        let _state = lock(&self.state);
        if self.closed.swap(true, Ordering::SeqCst) {
            return false;
        }
        notice();
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Hands out at most `limit` tokens, and no more than fit. The polling thread calls this when it has received a
    /// notice.
    pub(crate) fn take(&self, events: &mut Events, limit: usize, notice: impl FnOnce()) {
        let mut state = lock(&self.state);
        for _ in 0..limit.min(events.room()) {
            let Some(token) = state.remove_next() else {
                break;
            };
            events.push(Event::wake(token));
        }
        if !state.is_empty() {
            notice();
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn insert(&mut self, token: Token) {
        match self.first {
            None => self.first = Some(token),
            Some(first) if first == token => {}
            Some(_) => {
                if self.waiting.insert(token, ()).is_none() {
                    self.line.push_back(token);
                }
            }
        }
    }

    fn remove_next(&mut self) -> Option<Token> {
        let next = self.first.take()?;
        self.first = self.line.pop_front();
        if let Some(first) = self.first {
            self.waiting.remove(&first);
            if self.line.is_empty() && self.line.capacity() > KEPT_CAPACITY {
                (self.line, self.waiting) = Default::default();
            }
        }
        Some(next)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn tokens(events: &Events) -> Vec<Token> {
        events.iter().map(Event::id).collect()
    }

    #[test]
    fn one_notice_is_sent_for_all_that_wait() {
        let (wakes, notices) = (Wakes::new(), Cell::new(0));
        for token in [3, 1, 3, usize::MAX] {
            assert!(wakes.add(token, || notices.set(notices.get() + 1)));
        }
        assert_eq!(notices.get(), 1);
        let mut events = Events::with_capacity(8);
        wakes.take(&mut events, usize::MAX, || panic!("nothing remains"));
        assert_eq!(tokens(&events), [3, 1, usize::MAX]);
        wakes.add(3, || notices.set(notices.get() + 1));
        assert_eq!(notices.get(), 2);
    }

    #[test]
    fn what_does_not_fit_sends_the_notice_again() {
        let (wakes, notices) = (Wakes::new(), Cell::new(0));
        for token in 0..3 {
            wakes.add(token, || ());
        }
        let mut events = Events::with_capacity(2);
        wakes.take(&mut events, usize::MAX, || notices.set(1));
        assert_eq!((tokens(&events), notices.get()), (vec![0, 1], 1));
    }

    #[test]
    fn a_token_that_is_woken_all_the_time_does_not_starve_the_others() {
        let wakes = Wakes::new();
        let mut events = Events::with_capacity(1);
        let mut seen = Vec::new();
        for token in [0, 1, 2] {
            wakes.add(token, || ());
        }
        for _ in 0..4 {
            events.clear();
            wakes.take(&mut events, usize::MAX, || ());
            seen.extend(tokens(&events));
            wakes.add(0, || ());
        }
        assert_eq!(seen, [0, 1, 2, 0]);
    }

    #[test]
    fn a_closed_loop_takes_no_wake_and_closes_once() {
        let (wakes, notices) = (Wakes::new(), Cell::new(0));
        assert!(wakes.close(|| notices.set(1)));
        assert_eq!(notices.get(), 1);
        assert!(!wakes.close(|| panic!("it was closed already")));
        assert!(!wakes.add(1, || panic!("it is closed")));
    }
}
