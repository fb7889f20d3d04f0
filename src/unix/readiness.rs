//! The readiness state machine: from the kernel's edges to one event a registration. It makes no system call.
//!
//! **The idea.** The kernel is asked edge-triggered and which interest is *armed* is kept here. Each direction of a
//! source has one more bit, *owed*: whatever makes it ready, now or later, will still be reported by the kernel. To arm
//! a direction that is owed costs nothing; to arm another asks the kernel anew, which reports at once if the condition
//! holds. The price is a lock that is taken once an edge and once a registration, and hardly ever contended.
//!
//! **How a direction comes to be owed.**
//!
//! | what happens | owed becomes |
//! | --- | --- |
//! | the kernel is asked (anew) for it | yes: it reports what holds now or comes later |
//! | an edge of it is handled | no |
//! | a call ended in `WouldBlock` | yes: the condition is gone, so its return is an edge |
//! | a call on a stream moved fewer bytes than it was given room for | yes, unless the last edge was *odd* |
//! | a call filled its buffer, moved a datagram, accepted, peeked, met the end | as it was: nothing is known |
//!
//! An edge is *odd* in a direction if it spoke of a hang-up, an error or urgent data: then a short read does not mean
//! that the stream is empty (3 bytes and a FIN are read as 3 bytes, and no further edge comes). The BSDs have no mark for
//! urgent data but count the bytes that wait: there a short read of fewer than were counted is not the end of them.
//!
//! # Invariants
//! 1. **armed implies owed.** What waits for an event is something that the kernel will report. Kept by
//!    [`arm`](Readiness::arm) (it asks unless owed) and [`edge`](Readiness::edge) (clears both, or neither, or asks;
//!    if the kernel refuses that, the next registration makes it good).
//! 2. **owed implies asked.** `asked` is the interest set that the kernel has. Kept by whoever sets `owed`.
//! 3. **One stamp an asking.** The kernel hands the stamp of the last asking back with each edge, so an edge that was
//!    reaped before that asking is known, and void: the asking reported again whatever held.
//!
//! # Interleavings
//! Others read, write and register while the polling thread handles what it has reaped. Two orders are dangerous.
//!
//! * *An edge is handled between a call and the record of its end.* A reader gets `WouldBlock`; new bytes come, their
//!   edge is reaped and handled (owed: no); the reader now records "owed". Nothing is owed any more, so the next
//!   registration would wait for ever. So every direction has a [`Tick`], which an edge moves: it is taken before the
//!   call, and a record with an old tick is dropped.
//! * *An edge is reaped before a drain and handled after it.* The poller reaps an edge; a reader takes the bytes and
//!   registers; the poller handles the edge and would report bytes that are gone. So each wait has a number, arming
//!   records the number it saw, and an edge of that same wait is unsure: [`Kernel::confirm`] looks, under the lock. The
//!   number is written before the wait and read after the state is locked, each with a `SeqCst` fence (or what does for
//!   one) between it and what follows: an arming that does not see the number of a wait comes before that wait reaps
//!   anything.
//!
//! The tests at the end walk through these, step by step.

use std::io;

use crate::event::{Event, Events, Hints};
use crate::interests::{Interests, Token};
use crate::rules::{holds, Rule};
use crate::sync::{fence_after_lock, lock, AtomicU32, Mutex, MutexGuard, Ordering};

/// One of the two ways that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

use Direction::{Read, Write};

impl Direction {
    fn index(self) -> usize {
        self as usize
    }

    fn interest(self) -> Interests {
        match self {
            Read => Interests::READABLE,
            Write => Interests::WRITABLE,
        }
    }

    fn other(self) -> Direction {
        match self {
            Read => Write,
            Write => Read,
        }
    }
}

/// What sort of source it is, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    Listener,
    /// Each datagram that the kernel has sent is an edge of the write direction, wanted or not.
    Datagram,
}

/// What the kernel hands back with each edge: which slot of the queue it is about, and which asking it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) stamp: u32,
}

/// What the kernel reported of one source in one wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) stamp: u32,
    /// The number of the wait that reaped it.
    pub(crate) wait: u32,
    /// The directions that the report speaks of: both with epoll, one with kqueue.
    pub(crate) told: Interests,
    pub(crate) ready: Interests,
    /// The directions with a hang-up, an error or urgent data.
    pub(crate) odd: Interests,
    /// How many bytes waited to be read, if the system counts them instead of marking urgent data; else 0.
    pub(crate) waiting: u64,
    pub(crate) hints: Hints,
}

/// What the state machine needs of the system, for one source.
pub(crate) trait Kernel {
    /// Asks for edges of `interests`, and no others, to come with `key`; reports at once what holds. `before` is what
    /// was asked for until now, `None` if the source was never in the queue.
    fn ask(&self, before: Option<Interests>, interests: Interests, key: Key) -> io::Result<()>;

    /// Which of `interests` hold right now.
    fn confirm(&self, interests: Interests) -> Interests;
}

/// How many edges of a direction had been handled, see the head of this module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick(u32);

/// Two wakes that fired nothing are allowed, since the second may have been on its way when the first came.
const WASTED_WAKES: u8 = 2;

/// An arming that the kernel was asked for: edges that were reaped earlier are void by their stamp. No wait has this
/// number.
const SURE: u32 = 0;

/// The number of the wait after `wait`.
pub(crate) fn next_wait(wait: u32) -> u32 {
    match wait.wrapping_add(1) {
        SURE => SURE + 1,
        next => next,
    }
}

/// The state of one source.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// Moved by the poller when it handles an edge (release, under the lock), read by whoever is about to make a call
    /// (acquire): a call that comes after the handling sees it moved.
    ticks: [AtomicU32; 2],
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    tokens: [Token; 2],
    /// The number of the wait that was on when the direction was armed, or [`SURE`].
    armed_at: [u32; 2],
    stamp: u32,
    slot: u32,
    armed: Interests,
    owed: Interests,
    asked: Interests,
    odd: Interests,
    /// Of the bytes that the last edge counted, how many no short read has moved.
    waiting: u64,
    /// Edges in a row that fired nothing.
    wasted: u8,
    kind: Kind,
    /// The direction whose turn it is when the batch has room for one event only.
    first: Direction,
}

impl Readiness {
    pub(crate) fn new(kind: Kind) -> Readiness {
        Readiness {
            ticks: [AtomicU32::new(0), AtomicU32::new(0)],
            state: Mutex::new(State {
                tokens: [0; 2],
                armed_at: [SURE; 2],
                stamp: 0,
                slot: 0,
                armed: Interests::empty(),
                owed: Interests::empty(),
                asked: Interests::empty(),
                odd: Interests::empty(),
                waiting: 0,
                wasted: 0,
                kind,
                first: Read,
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// To be taken **before** a call whose end is to be recorded.
    pub(crate) fn tick(&self, direction: Direction) -> Tick {
        Tick(self.ticks[direction.index()].load(Ordering::Acquire))
    }

    /// Records that a call which began at `tick` ended in `WouldBlock`.
    pub(crate) fn would_block(&self, direction: Direction, tick: Tick) {
        self.lock().record(self, direction, tick);
    }

    /// Records that a call on a stream which began at `tick` moved some bytes, and fewer than it had room for.
    pub(crate) fn moved_short(&self, direction: Direction, tick: Tick, moved: usize) {
        let mut state = self.lock();
        let left = direction == Read && state.left_after(moved);
        let odd = state.odd.contains(direction.interest()) && holds(Rule::OddMarks);
        if state.kind == Kind::Stream && !left && !odd {
            state.record(self, direction, tick);
        }
    }

    /// Arms `interests` of a source that is in the queue. `wait_number` is the queue's. On an error nothing changes.
    pub(crate) fn arm(
        &self,
        kernel: &impl Kernel,
        token: Token,
        interests: Interests,
        wait_number: &AtomicU32,
    ) -> io::Result<()> {
        let mut state = self.lock();
        // Pairs with the fence in `Queue::begin_wait`: if that wait's number is not seen here, what it reaps is later
        // than everything that this thread has read from the source.
        if holds(Rule::WaitFences) {
            fence_after_lock();
        }
        let wait = wait_number.load(Ordering::Relaxed);
        if state.owed.contains(state.armed | interests) || !holds(Rule::Asking) {
            state.set_armed(token, interests, wait);
        } else {
            let (asked, wanted) = (state.asked, state.armed | state.owed | interests);
            state.ask(kernel, Some(asked), wanted)?;
            state.set_armed(token, interests, SURE);
        }
        state.wasted = 0;
        Ok(())
    }

    /// Disarms both directions. What the kernel owes stays owed.
    pub(crate) fn disarm(&self) {
        if holds(Rule::Disarm) {
            self.lock().armed = Interests::empty();
        }
    }

    /// For the model checks: what still waits for an event.
    #[cfg(all(loom, test))]
    pub(crate) fn armed(&self) -> Interests {
        self.lock().armed
    }

    /// Turns an edge into the events that it fires.
    pub(crate) fn edge(&self, kernel: &impl Kernel, edge: &Edge, events: &mut Events) {
        let mut state = self.lock();
        if edge.stamp != state.stamp && holds(Rule::Stamps) {
            return;
        }
        let told = edge.told & state.asked;
        state.odd = (state.odd - told) | (edge.odd & told);
        if told.is_readable() {
            state.waiting = edge.waiting;
        }

        let mut ready = edge.ready;
        let unsure = state.unsure(ready, edge.wait);
        if !unsure.is_empty() {
            ready = (ready - unsure) | (kernel.confirm(unsure) & unsure);
            if ready.is_empty() {
                // The bytes were taken before the registration that waits. It stays armed, and owed.
                return;
            }
        }

        let quiet = (ready & state.asked) - state.armed;
        let mut pushed = None;
        let mut left_over = false;
        for direction in [state.first, state.first.other()] {
            let interest = direction.interest();
            if !ready.contains(interest) {
                continue;
            }
            if state.armed.contains(interest) {
                let token = state.tokens[direction.index()];
                if !deliver(events, &mut pushed, token, interest, edge.hints) {
                    left_over = true;
                    state.first = direction;
                    continue;
                }
                if holds(Rule::OneShot) {
                    state.armed -= interest;
                }
            }
            state.owed -= interest;
            self.ticks[direction.index()].fetch_add(1, Ordering::Release);
        }
        state.wasted = if pushed.is_some() || left_over {
            0
        } else {
            state.wasted.saturating_add(1)
        };

        let unwanted_sends = state.kind == Kind::Datagram && quiet.is_writable();
        let silence = !quiet.is_empty() && (state.wasted >= WASTED_WAKES || unwanted_sends);
        if left_over && holds(Rule::LeftOver) || silence {
            // To ask anew puts what is left over at the back of the kernel's queue, and asks no more for what nobody
            // waits for.
            let wanted = state.armed
                | if state.wasted >= WASTED_WAKES {
                    Interests::empty()
                } else {
                    state.owed
                };
            state.wasted = 0;
            let asked = state.asked;
            if state.ask(kernel, Some(asked), wanted).is_err() {
                // A descriptor that was closed behind our back, or a kernel without memory. What was asked for still
                // is, so what was not ready stays armed and owed. What was left over stays armed, alone of all not
                // owed: the next registration asks for it again, and its caller learns of an error.
                for direction in [Read, Write] {
                    if (state.armed & state.owed & ready).contains(direction.interest()) {
                        state.owed -= direction.interest();
                        self.ticks[direction.index()].fetch_add(1, Ordering::Release);
                    }
                }
            }
        }
    }
}

impl State {
    /// Asks the kernel for a source that is not in the queue yet, and arms it. On an error nothing changes.
    pub(crate) fn enter(
        &mut self,
        kernel: &impl Kernel,
        key: Key,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.slot = key.slot;
        self.stamp = key.stamp;
        self.ask(kernel, None, interests)?;
        self.set_armed(token, interests, SURE);
        Ok(())
    }

    /// Where it sits in its queue, and the stamp of the last asking.
    pub(crate) fn key(&self) -> Key {
        Key {
            slot: self.slot,
            stamp: self.stamp,
        }
    }

    /// What the kernel was last asked for.
    pub(crate) fn asked(&self) -> Interests {
        self.asked
    }

    /// The only place that asks the kernel for anything, and the only one that changes the stamp.
    fn ask(
        &mut self,
        kernel: &impl Kernel,
        before: Option<Interests>,
        interests: Interests,
    ) -> io::Result<()> {
        let stamp = self.stamp.wrapping_add(1);
        kernel.ask(
            before,
            interests,
            Key {
                slot: self.slot,
                stamp,
            },
        )?;
        self.stamp = stamp;
        self.asked = interests;
        self.owed = interests;
        self.armed_at = [SURE; 2];
        Ok(())
    }

    fn set_armed(&mut self, token: Token, interests: Interests, wait: u32) {
        self.armed |= interests;
        for direction in [Read, Write] {
            if interests.contains(direction.interest()) {
                self.tokens[direction.index()] = token;
                self.armed_at[direction.index()] = wait;
            }
        }
    }

    fn record(&mut self, readiness: &Readiness, direction: Direction, tick: Tick) {
        // The lock orders this load after the handling of every edge up to now.
        let now = readiness.ticks[direction.index()].load(Ordering::Relaxed);
        if (now == tick.0 || !holds(Rule::Tick)) && self.asked.contains(direction.interest()) {
            self.owed |= direction.interest();
        }
    }

    /// Whether a short read of `moved` bytes left some behind that were counted: then it stopped at urgent data.
    fn left_after(&mut self, moved: usize) -> bool {
        let counted = self.waiting;
        self.waiting = counted.saturating_sub(u64::try_from(moved).unwrap_or(u64::MAX));
        self.waiting > 0
    }

    /// Which of the ready directions were armed while the wait that reaped them was on.
    fn unsure(&self, ready: Interests, wait: u32) -> Interests {
        let mut unsure = Interests::empty();
        for direction in [Read, Write] {
            if self.armed_at[direction.index()] == wait {
                unsure |= direction.interest();
            }
        }
        if !holds(Rule::WaitNumber) {
            return Interests::empty();
        }
        unsure & ready & self.armed
    }
}

/// Puts an event into the batch, or adds to the one that this edge has just put there if the token is the same.
fn deliver(
    events: &mut Events,
    pushed: &mut Option<Token>,
    token: Token,
    interest: Interests,
    hints: Hints,
) -> bool {
    if *pushed == Some(token) {
        if let Some(event) = events.last_mut() {
            event.add(interest, hints);
            return true;
        }
    }
    let fits = events.push(Event::ready(token, interest, hints));
    if fits {
        *pushed = Some(token);
    }
    fits
}

#[cfg(all(test, not(loom)))]
mod tests;
