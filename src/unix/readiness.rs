//! The readiness state machine: it turns the kernel's edges into one event for each registration. It makes no system
//! call.
//!
//! **The idea.** The kernel is asked for edges, and which interest is *armed* is kept here. Each direction of a source
//! has one more bit: it is *owed* if the kernel will report whatever makes it ready, now or later. Arming a direction
//! that is owed costs nothing. Arming another one asks the kernel anew, which reports at once if the condition holds
//! already. The head of [`unix`](crate::unix) explains these and the other words.
//!
//! **The price.** One lock for each source, which is taken once for an edge and once for a registration, and is hardly
//! ever contended. The end of a read or write is noted without the lock.
//!
//! **How a direction comes to be owed.**
//!
//! | what happens | owed becomes |
//! | --- | --- |
//! | the kernel is asked for the direction | yes: it reports what holds now and what comes later |
//! | an edge of the direction is handled | no |
//! | a call ended in `WouldBlock` | yes: the condition is gone, so its return is an edge |
//! | a call on a stream moved fewer bytes than it had room for | yes, unless the last edge was *odd* |
//! | a call filled its buffer, moved a datagram, accepted, or met the end | as it was: nothing is known |
//! | a peek, whatever it returned | as it was: with `SO_PEEK_OFF` a read might still give bytes |
//! | the kernel is asked for the *level* | yes, and it stays so when an edge is handled |
//!
//! A call of the user's own is believed only if the system agrees (`Source::try_io`).
//!
//! An edge is *odd* in a direction if it told of a hang-up, an error or urgent data. After such an edge a short read
//! does not mean that the stream is empty: 3 bytes and the end of the stream come as one edge, a read gives the 3
//! bytes, and the end makes no edge of its own. The BSDs do not mark urgent data, but count the bytes that wait. There
//! a short read has met the end only if it took all the bytes that were counted.
//!
//! **Reads that fill their buffer.** Such a read leaves open whether there is more, so the next registration has to ask
//! the kernel. epoll can also report the *level*: each wait tells whether the source is readable then, which it finds out
//! within the call. So where a registration has to ask for reading alone on a stream or a pipe, it asks for the level, and
//! no later registration asks until something else is wanted. A level that nobody waits for would end every wait. So the
//! first one is answered by asking for edges, and that source is never asked for the level again. The same is done when
//! a report tells of urgent data or of an error, which no read may end, such as a message in the error queue of a socket;
//! and on a Unix stream after a call of the user's own, which may have taken urgent data unseen.
//!
//! An edge may also say too much. With urgent data in the socket, Linux may report the urgent byte alone as readable,
//! and no read gives that byte. So such an edge is confirmed ([`Kernel::confirm_beside_urgent`]).
//!
//! A read also stops where urgent data was. Once that was taken, nothing marks the place any more. It counts as readable
//! besides: on a Unix stream always, and on a TCP stream if memory is short. So after urgent data has come, every edge of
//! that stream is confirmed, and no short read proves anything. Nor does one after a call of the user's own, which may have
//! taken urgent data unseen.
//!
//! A read of a Unix stream stops behind descriptors that were sent along, too. Linux marks such a read, and it does not
//! come here as a short one.
//!
//! # Invariants
//! 1. **Armed implies owed.** The kernel will report whatever a registration waits for. [`arm`](Readiness::arm) keeps
//!    this by asking for what is not owed, and [`edge`](Readiness::edge) by clearing both bits, or neither, or asking
//!    anew. If the kernel refuses that last asking, the next registration makes up for it.
//! 2. **Owed implies asked.** `asked` is what the kernel was last asked for. Whoever sets `owed` keeps this.
//! 3. **A note is of its tick.** A direction is also owed if `drained` holds its present tick: a call that began after
//!    the last edge was handled has met the end. [`note`](Readiness::note) writes the tick from before the call, and
//!    [`edge`](Readiness::edge) moves the tick. Two readers may write over each other's note. What is lost so costs a
//!    question to the kernel, and no event. Notes are taken into `owed` before anything is decided by it.
//! 4. **One stamp an asking.** The kernel hands back the stamp of the last asking with each edge. An edge that was
//!    reaped before that asking has an older stamp, and is ignored, since the asking has reported again whatever held.
//! 5. **A level is wanted.** While the kernel reports the level of a source, it is asked for reading and nothing else,
//!    and reading is owed. A report of it that fires nothing ends that, and so does every other asking.
//!
//! # Interleavings
//! Other threads read, write and register while the polling thread handles what it has reaped. Two orders are
//! dangerous.
//!
//! * *An edge is handled between a call and the record of its end.* A reader gets `WouldBlock`. New bytes come, and
//!   their edge is reaped and handled, so that the direction is not owed any more. If the reader now recorded that it
//!   is owed, the next registration would wait for ever. So every direction has a [`Tick`], which is read before the
//!   call and which an edge moves, and a note of an older tick is ignored.
//! * *An edge is reaped before a reader drains the socket, and handled after it.* The reader takes the bytes and
//!   registers, and the edge would report bytes that are gone. So each wait has a number, and arming records the number
//!   that it sees. An edge of that same wait is unsure, and [`Kernel::confirm`] asks the system under the lock. The
//!   polling thread writes the number before the wait, and the arming thread reads it after it has locked the state. A
//!   `SeqCst` fence on either side orders this: if an arming does not see the number of a wait, it came before that
//!   wait reaped anything.

use std::io;

use crate::event::{Event, Events, Hints};
use crate::hooks::sync::{fence_after_lock, lock, AtomicU32, Mutex, MutexGuard, Ordering};
use crate::interests::{Interests, Token};
use crate::unix::ending::Ending;

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

    /// The direction of one interest.
    pub(crate) fn of(interest: Interests) -> Direction {
        if interest.is_readable() {
            Read
        } else {
            Write
        }
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
    /// Whatever the peer reads is an edge of the write direction, wanted or not.
    UnixStream,
    Listener,
    /// The reading end of a pipe. A short read may have met the end of a packet, with more packets behind it. Also what
    /// is never read.
    Reader,
    /// Each datagram that the kernel has sent, or that a Unix socket's peer has received, is an edge of the write
    /// direction, wanted or not.
    Datagram,
    /// A descriptor of the user's. The polling thread knows only its number, which may belong to a stranger by now. So
    /// that thread never asks the kernel for it, and what does not fit into a batch is postponed.
    Descriptor,
    /// The same, and a registration lasts: each edge is an event.
    Edges,
}

/// Whether the kernel was asked for the level of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Off,
    On,
    /// It is off and stays so, since a level was reported that nobody waited for.
    Never,
}

/// What the kernel hands back with each edge: which slot of the queue the edge is about, and which asking it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) stamp: u32,
}

impl Key {
    /// That of no source: no table has so many slots.
    pub(crate) const NONE: Key = Key {
        slot: u32::MAX,
        stamp: 0,
    };
}

/// What the kernel reported of one source in one wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) stamp: u32,
    /// The number of the wait that reaped it, or [`POSTPONED`].
    pub(crate) wait: u32,
    /// The directions that the report is about: both with epoll, one with kqueue.
    pub(crate) told: Interests,
    pub(crate) ready: Interests,
    /// The directions with a hang-up, an error or urgent data.
    pub(crate) odd: Interests,
    /// How many bytes waited to be read, if the system counts them instead of marking urgent data; else 0.
    pub(crate) waiting: u64,
    /// The report tells of urgent data, and of no error or hang-up. Then "readable" may mean the urgent byte alone,
    /// which no read gives.
    pub(crate) urgent: bool,
    pub(crate) hints: Hints,
}

impl Edge {
    /// What is told later of this edge, if anything is.
    fn rest(&self, left: Interests) -> Option<Edge> {
        let rest = Edge {
            wait: POSTPONED,
            told: Interests::empty(),
            ready: left,
            ..*self
        };
        (!left.is_empty()).then_some(rest)
    }
}

/// An edge is older than the last asking, which has reported anew whatever held.
#[derive(Debug)]
pub(crate) struct Overtaken;

/// What the state machine needs of the system, for one source.
pub(crate) trait Kernel {
    /// Asks for edges of `interests` and no others, which are to come with `key`. What holds already is reported at
    /// once. `before` is what was asked for until now, or `None` if the source was never in the queue.
    fn ask(&self, before: Option<Interests>, interests: Interests, key: Key) -> io::Result<()>;

    /// Whether the system has [`ask_for_level`](Kernel::ask_for_level).
    fn has_levels(&self) -> bool {
        false
    }

    /// Asks for the level of a source that is in the queue: each wait is to report which of `interests` hold then, until
    /// the next asking.
    fn ask_for_level(&self, _interests: Interests, _key: Key) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Which of `interests` hold right now.
    fn confirm(&self, interests: Interests) -> Interests;

    /// Whether a read of a stream that has urgent data would give something else than `WouldBlock` right now.
    fn confirm_beside_urgent(&self) -> bool;

    /// Whether the loop is closed.
    fn is_closed(&self) -> bool {
        false
    }
}

/// How many edges of a direction were handled by a certain moment, and in the lowest bits what the last one said of
/// short transfers: one of the `MARK`s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick(u32);

const MARKS: u32 = 0b11;
/// A short transfer has met the end.
const MARK_PLAIN: u32 = 0;
/// A short transfer proves nothing.
const MARK_ODD: u32 = 1;
/// The edge counted the bytes that wait. A short read has met the end only if it took all of them.
const MARK_COUNTED: u32 = 2;

/// No tick is this number, since there is no mark with these bits.
const NO_TICK: u32 = u32::MAX;

impl Tick {
    fn mark(self) -> u32 {
        self.0 & MARKS
    }

    fn after(self, mark: u32) -> Tick {
        Tick((self.0 & !MARKS).wrapping_add(MARKS + 1) | mark)
    }
}

/// How many wasted wakes in a row make the crate ask for less. The second may have been on its way when the first came.
const WASTED_WAKES: u8 = 2;

/// Instead of the number of a wait, if the kernel was asked at the arming: then an edge that was reaped earlier has an
/// old stamp. No wait has this number.
const SURE: u32 = 0;

/// Instead of the number of a wait, in what is left of an edge that did not fit into its batch. No wait has this number.
const POSTPONED: u32 = 0;

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
    /// The polling thread moves a tick when it handles an edge (release, under the lock). A thread that is about to
    /// make a call reads it (acquire), so a call after the handling sees the tick moved.
    ticks: [AtomicU32; 2],
    /// The notes: the tick at which a call began that met the end, or [`NO_TICK`]. The thread of the call writes it
    /// after the call (release). It is read under the lock (acquire), so whoever sees the note comes after the call.
    drained: [AtomicU32; 2],
    kind: Kind,
    pub(crate) ending: Ending,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    tokens: [Token; 2],
    /// The number of the wait that was on when the direction was armed, or [`SURE`].
    armed_at: [u32; 2],
    /// Where the source sits in its queue, and the stamp of the last asking.
    pub(crate) key: Key,
    pub(crate) armed: Interests,
    owed: Interests,
    /// What the kernel was last asked for.
    pub(crate) asked: Interests,
    level: Level,
    /// How many of the bytes that the last edge counted were not taken by short reads.
    waiting: u64,
    /// How many edges in a row have fired no event.
    wasted: u8,
    /// Urgent data has come on a stream. Once it was taken, the kernel may report its place as readable, unmarked.
    had_urgent: bool,
    /// A short read of a stream proves nothing: urgent data has come, or a call of the user's own may have taken some, and
    /// a read stops where that was.
    reads_stop: bool,
    /// The direction whose turn it is if the batch has room for one event only.
    first: Direction,
}

impl Readiness {
    pub(crate) fn new(kind: Kind) -> Readiness {
        Readiness {
            ticks: [AtomicU32::new(0), AtomicU32::new(0)],
            drained: [AtomicU32::new(NO_TICK), AtomicU32::new(NO_TICK)],
            kind,
            ending: Ending::new(),
            state: Mutex::new(State {
                tokens: [0; 2],
                armed_at: [SURE; 2],
                key: Key { slot: 0, stamp: 0 },
                armed: Interests::empty(),
                owed: Interests::empty(),
                asked: Interests::empty(),
                level: Level::Off,
                waiting: 0,
                wasted: 0,
                had_urgent: false,
                reads_stop: false,
                first: Read,
            }),
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream | Kind::UnixStream)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Must be read **before** a call whose end is to be noted.
    pub(crate) fn tick(&self, direction: Direction) -> Tick {
        Tick(self.ticks[direction.index()].load(Ordering::Acquire))
    }

    /// Notes that a call which began at `tick` has met the end of what there was, or of the room.
    #[inline]
    pub(crate) fn note(&self, direction: Direction, tick: Tick) {
        self.drained[direction.index()].store(tick.0, Ordering::Release);
    }

    /// Notes that a call on a stream which began at `tick` has moved some bytes, and fewer than it had room for.
    #[inline]
    pub(crate) fn moved_short(&self, direction: Direction, tick: Tick, moved: usize) {
        let met_the_end = match tick.mark() {
            MARK_ODD => false,
            MARK_COUNTED => self.took_all_that_was_counted(direction, tick, moved),
            _ => true,
        };
        if met_the_end && self.is_stream() {
            self.note(direction, tick);
        }
    }

    /// The user is about to read from the stream by a call of his own. It may take urgent data unseen.
    pub(crate) fn expect_own_read(&self) {
        if self.is_stream() {
            let mut state = self.lock();
            if !state.reads_stop {
                state.reads_stop = true;
                self.move_tick(Read, MARK_ODD);
            }
        }
    }

    #[cold]
    fn took_all_that_was_counted(&self, direction: Direction, tick: Tick, moved: usize) -> bool {
        let mut state = self.lock();
        // Under the lock no edge writes another count.
        let is_of_this_count = self.tick(direction).0 == tick.0;
        is_of_this_count && !state.left_after(moved)
    }

    /// Makes owed what is noted. The lock is held, so no tick moves.
    fn take_notes(&self, state: &mut State) {
        for direction in [Read, Write] {
            let drained = self.drained[direction.index()].load(Ordering::Acquire);
            let now = self.ticks[direction.index()].load(Ordering::Relaxed);
            if drained == now && state.asked.contains(direction.interest()) {
                state.owed |= direction.interest();
            }
        }
    }

    /// Moves the tick, so that what was noted means nothing any more. The lock is held, so nobody else writes the tick.
    fn move_tick(&self, direction: Direction, mark: u32) {
        // The note has an old tick now, but 2^30 edges later that tick would come again.
        self.drained[direction.index()].store(NO_TICK, Ordering::Relaxed);
        let next = self.tick(direction).after(mark);
        self.ticks[direction.index()].store(next.0, Ordering::Release);
    }

    /// Arms `interests` of a source that is in the queue, whose `wait_number` this is. On an error nothing changes.
    pub(crate) fn arm(
        &self,
        kernel: &impl Kernel,
        token: Token,
        interests: Interests,
        wait_number: &AtomicU32,
    ) -> io::Result<()> {
        let mut state = self.lock();
        self.take_notes(&mut state);
        // This pairs with the fence in `Queue::begin_wait`: if the number of a wait is not seen here, that wait reaps
        // after all that this thread has read from the source or has seen noted.
        fence_after_lock();
        let mut wait = wait_number.load(Ordering::Relaxed);
        if self.kind == Kind::Edges || !state.owed.contains(state.armed | interests) {
            let (asked, wanted) = (state.asked, state.armed | state.owed | interests);
            // A read has most likely filled its buffer, and the next one will.
            let suits = self.can_have_level(&state) && wanted == Interests::READABLE;
            if suits && state.level != Level::Never && kernel.has_levels() {
                state.ask_for_level(kernel, wanted)?;
            } else {
                state.ask(kernel, Some(asked), wanted)?;
            }
            wait = SURE;
        }
        state.set_armed(token, interests, wait);
        state.wasted = 0;
        Ok(())
    }

    /// Whether a level is worth asking for. It is on streams, where reads may fill their buffers, and on pipes, where a
    /// short read proves nothing. It is not on a stream that had urgent data: the place where that was may count as
    /// readable. An edge tells of it once, and a level would do so in every wait.
    fn can_have_level(&self, state: &State) -> bool {
        match self.kind {
            Kind::Reader => true,
            Kind::Stream => !state.had_urgent,
            Kind::UnixStream => !state.reads_stop,
            _ => false,
        }
    }

    /// Disarms `interests`. What the kernel owes stays owed.
    pub(crate) fn disarm(&self, interests: Interests) {
        self.lock().armed -= interests;
    }

    /// Turns an edge into the events that it fires. Returns what is left of it if something is postponed.
    pub(crate) fn edge(
        &self,
        kernel: &impl Kernel,
        edge: &Edge,
        events: &mut Events,
    ) -> Result<Option<Edge>, Overtaken> {
        let mut state = self.lock();
        if edge.stamp != state.key.stamp {
            return Err(Overtaken);
        }
        Ok(match self.kind {
            Kind::Edges => self.lasting_edge(&mut state, kernel, edge, events),
            _ => self.ending_edge(&mut state, kernel, edge, events),
        })
    }

    /// Turns an edge into events where a registration ends with its event.
    fn ending_edge(
        &self,
        state: &mut State,
        kernel: &impl Kernel,
        edge: &Edge,
        events: &mut Events,
    ) -> Option<Edge> {
        self.mark(state, edge);
        let may_stay = state.armed.is_readable() && self.can_have_level(state) && !edge.hints.error;
        let leaves = state.level == Level::On && !may_stay;
        // What is armed is told before, since a wait that does not block may be the last one.
        let confirmed = match leaves && !state.armed.is_readable() {
            true => None,
            false => self.confirmed(state, kernel, edge),
        };
        let Some(ready) = confirmed else {
            if leaves {
                self.leave_level(state, kernel);
            }
            return None;
        };
        let quiet = (ready & state.asked) - state.armed;
        state.wasted = match ready.intersects(state.armed) {
            true => 0,
            false => state.wasted.saturating_add(1),
        };
        let left = self.fire(state, kernel, edge, ready, events);
        if self.kind == Kind::Descriptor {
            return edge.rest(left);
        }
        let reports_each_send = matches!(self.kind, Kind::Datagram | Kind::UnixStream);
        let unwanted_sends = reports_each_send && quiet.is_writable();
        let silence = !quiet.is_empty() && (state.wasted >= WASTED_WAKES || unwanted_sends);
        if leaves {
            self.leave_level(state, kernel);
        } else if !left.is_empty() || silence {
            self.ask_anew(state, kernel, ready);
        }
        None
    }

    /// The same for lasting edges. Each of them is an event, so there is nothing to confirm, and a registration asks the
    /// kernel always. Only what was postponed is dropped if a call has met the end since.
    fn lasting_edge(
        &self,
        state: &mut State,
        kernel: &impl Kernel,
        edge: &Edge,
        events: &mut Events,
    ) -> Option<Edge> {
        let mut ready = edge.ready;
        if edge.wait == POSTPONED {
            ready -= self.drained_since(ready);
        } else if edge.hints.priority {
            // Also if nothing but urgent data has come.
            ready |= Interests::READABLE;
        }
        edge.rest(self.fire(state, kernel, edge, ready, events))
    }

    /// The directions of something postponed in which a call has met the end since then, and knows better.
    fn drained_since(&self, postponed: Interests) -> Interests {
        let mut drained = Interests::empty();
        for direction in [Read, Write] {
            let when = self.drained[direction.index()].load(Ordering::Acquire);
            if when == self.tick(direction).0 {
                drained |= direction.interest();
            }
        }
        postponed & drained
    }

    /// Makes the events of the directions in `ready` that are armed. Returns those for which the batch has no room.
    fn fire(
        &self,
        state: &mut State,
        kernel: &impl Kernel,
        edge: &Edge,
        ready: Interests,
        events: &mut Events,
    ) -> Interests {
        let mut hints = edge.hints;
        // A kernel that has reported a failure once speaks of an end alone from then on.
        hints.error |= hints.is_closing() && self.ending.is_broken();
        let mut pushed = None;
        let mut left = Interests::empty();
        for direction in [state.first, state.first.other()] {
            let interest = direction.interest();
            if !ready.contains(interest) {
                continue;
            }
            if state.armed.contains(interest) {
                let token = state.tokens[direction.index()];
                if !deliver(events, &mut pushed, token, interest, hints) {
                    left |= interest;
                    state.first = direction;
                    // A call that met the end before this edge says nothing about what the edge tells.
                    self.move_tick(direction, self.tick(direction).mark());
                    continue;
                }
                // Once the loop is closed, each direction has one more event, so that the polling ends.
                if self.kind == Kind::Edges && !kernel.is_closed() {
                    continue;
                }
                state.armed -= interest;
            }
            // A level is reported by the next wait, too.
            if state.level != Level::On {
                state.owed -= interest;
            }
            self.move_tick(direction, self.tick(direction).mark());
        }
        left
    }

    /// Takes in what an edge says of short transfers.
    fn mark(&self, state: &mut State, edge: &Edge) {
        let told = edge.told & state.asked;
        if self.is_stream() && edge.hints.priority {
            (state.had_urgent, state.reads_stop) = (true, true);
        }
        if told.is_readable() {
            state.waiting = edge.waiting;
        }
        for direction in [Read, Write] {
            let stops = direction == Read && state.reads_stop;
            let mark = if stops || edge.odd.contains(direction.interest()) {
                MARK_ODD
            } else if direction == Read && edge.waiting > 0 {
                MARK_COUNTED
            } else {
                MARK_PLAIN
            };
            if told.contains(direction.interest()) && self.tick(direction).mark() != mark {
                self.move_tick(direction, mark);
            }
        }
    }

    /// The directions that are ready, without those that are armed and turn out not to hold. Such a direction stays
    /// armed and owed, since what makes it ready later is an edge. `None` if nothing else is left of the edge.
    fn confirmed(&self, state: &State, kernel: &impl Kernel, edge: &Edge) -> Option<Interests> {
        let mut ready = edge.ready;
        if edge.wait == POSTPONED {
            ready -= self.drained_since(ready);
        }
        let may_be_urgent = (edge.urgent && self.is_stream()) || state.had_urgent;
        let is_armed = (ready & state.armed).is_readable();
        if may_be_urgent && is_armed && !kernel.confirm_beside_urgent() {
            // Only the urgent byte is there.
            ready -= Interests::READABLE;
            if ready.is_empty() {
                return None;
            }
        }
        let unsure = state.unsure(ready, edge.wait);
        // A look would take an urgent condition away from some files.
        let is_believed = self.kind == Kind::Descriptor && edge.hints.priority;
        if !unsure.is_empty() && !is_believed {
            // If it does not hold, the bytes were taken before the registration that waits.
            ready = (ready - unsure) | (kernel.confirm(unsure) & unsure);
            if ready.is_empty() {
                return None;
            }
        }
        Some(ready)
    }

    /// Asks for edges again, since each wait would report the level: nobody waits for it, or no read may end what it tells.
    /// What is armed is reported once more.
    #[cold]
    fn leave_level(&self, state: &mut State, kernel: &impl Kernel) {
        state.level = Level::Never;
        state.owed -= Interests::READABLE;
        self.move_tick(Read, self.tick(Read).mark());
        self.ask_anew(state, kernel, Interests::READABLE);
    }

    /// Asks the kernel anew, after an edge for the directions in `ready`. This puts what did not fit into the batch at
    /// the back of the kernel's queue. After too many wasted wakes it leaves out what nobody waits for.
    fn ask_anew(&self, state: &mut State, kernel: &impl Kernel, ready: Interests) {
        self.take_notes(state);
        let mut wanted = state.armed;
        if state.wasted < WASTED_WAKES {
            wanted |= state.owed;
        }
        state.wasted = 0;
        let asked = state.asked;
        if state.ask(kernel, Some(asked), wanted).is_err() {
            // The user has closed the descriptor, or the kernel has no memory. The kernel still has the last asking, so
            // what was not ready stays armed and owed. What did not fit stays armed without being owed: the next
            // registration asks for it, and tells its caller if that fails.
            for direction in [Read, Write] {
                if (state.armed & state.owed & ready).contains(direction.interest()) {
                    state.owed -= direction.interest();
                    self.move_tick(direction, self.tick(direction).mark());
                }
            }
        }
    }
}

impl State {
    /// Forgets all about a descriptor that is not watched any more, but what is armed.
    pub(crate) fn leave(&mut self) {
        self.key = Key::NONE;
        self.asked = Interests::empty();
        self.owed = Interests::empty();
    }

    /// Asks the kernel for a source that is not in the queue yet, and arms it. On an error nothing changes.
    pub(crate) fn enter(
        &mut self,
        kernel: &impl Kernel,
        key: Key,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.key = key;
        self.ask(kernel, None, self.armed | interests)?;
        self.set_armed(token, interests, SURE);
        Ok(())
    }

    /// With `ask_for_level` the only place that asks the kernel for anything, and that changes the stamp.
    fn ask(
        &mut self,
        kernel: &impl Kernel,
        before: Option<Interests>,
        interests: Interests,
    ) -> io::Result<()> {
        let key = Key {
            stamp: self.key.stamp.wrapping_add(1),
            ..self.key
        };
        kernel.ask(before, interests, key)?;
        if self.level == Level::On {
            self.level = Level::Off;
        }
        self.note_asking(key, interests);
        Ok(())
    }

    /// The same for the level.
    fn ask_for_level(&mut self, kernel: &impl Kernel, interests: Interests) -> io::Result<()> {
        let key = Key {
            stamp: self.key.stamp.wrapping_add(1),
            ..self.key
        };
        kernel.ask_for_level(interests, key)?;
        self.level = Level::On;
        self.note_asking(key, interests);
        Ok(())
    }

    fn note_asking(&mut self, key: Key, interests: Interests) {
        self.key = key;
        self.asked = interests;
        self.owed = interests;
        self.armed_at = [SURE; 2];
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

    /// Whether a short read of `moved` bytes has left bytes behind that were counted: then it has stopped at urgent
    /// data.
    fn left_after(&mut self, moved: usize) -> bool {
        let counted = self.waiting;
        self.waiting = counted.saturating_sub(u64::try_from(moved).unwrap_or(u64::MAX));
        self.waiting > 0
    }

    /// Which of the ready directions are armed, and were armed during the wait that reaped them. Of a postponed edge
    /// every armed direction is unsure.
    fn unsure(&self, ready: Interests, wait: u32) -> Interests {
        let mut unsure = Interests::empty();
        for direction in [Read, Write] {
            if wait == POSTPONED || self.armed_at[direction.index()] == wait {
                unsure |= direction.interest();
            }
        }
        unsure & ready & self.armed
    }
}

/// Puts an event into the batch. If this edge has just put one there with the same token, the interest is added to that
/// one. `false` if the batch is full.
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
