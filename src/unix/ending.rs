//! How a stream has ended: the failure that broke it, and the directions that the user has shut down.
//!
//! **The idea.** A kernel reports the failure of a connection once, to whichever call comes first. From then on a read
//! gives the end of the stream, as if the peer had sent all that it wanted. So a program could take a reset, of which
//! only its writer was told, for the end of an answer. Therefore the failure is kept here, and a read that would give
//! the end gives the failure instead. The same is done with a failure that was reported to a call of the crate and not
//! of the user.
//!
//! **The price.** Nothing while bytes flow, since only a call that moves none looks here. One relaxed load before each
//! read shows whether the user has shut down the reading (Linux would go on delivering what comes).
//!
//! One word holds everything: the code of the failure in the low bits, and these bits above it.
//!
//! | bit | it is set when | it is cleared when |
//! | --- | --- | --- |
//! | `END_TOLD` | a read gave the end of the stream while no failure was known | never |
//! | `UNTOLD` | a call of the crate met the failure, not one of the user's | a read, a write or `take_error` tells it |
//! | `UNTAKEN` | a failure is kept that `take_error` has not told | `take_error` tells it |
//! | `SHUT_READ`, `SHUT_WRITE` | the user shuts down the direction | never |
//! | `MAY_FAIL` | the stream was not yet connected when the crate got it | never |
//!
//! # Invariants
//! 1. **The first failure stays.** A code is written once. [`keep_with`](Ending::keep_with), which writes all of them,
//!    keeps this.
//! 2. **What a read told first, stays.** After `END_TOLD` every read gives the end. After a failure that a read has
//!    told, no read gives the end. [`read_ended`](Ending::read_ended) and [`failed`](Ending::failed) keep this.
//!
//! # Interleavings
//! Two threads may meet the end and the failure at once. Each change is one atomic step from one word to the next, so
//! one of the two is first, and both go by it from then on. Nothing else is ordered by the word, so every access is
//! relaxed.
//!
//! One gap remains. The kernel has reported a reset to a writer, which has not recorded it yet. At this moment a reader
//! on another thread asks the kernel, is given the end, and records that. From then on reads give the end, while the
//! writer is told of the reset. To close the gap, a lock would have to be held over every read and write.

use crate::hooks::sync::{AtomicU32, Ordering};
use crate::unix::readiness::Direction;

const CODE: u32 = (1 << 16) - 1;
const END_TOLD: u32 = 1 << 16;
const UNTOLD: u32 = 1 << 17;
const UNTAKEN: u32 = 1 << 18;
const SHUT_READ: u32 = 1 << 19;
const SHUT_WRITE: u32 = 1 << 20;
const MAY_FAIL: u32 = 1 << 21;

/// A system's error code, as `io::Error` has it.
pub(crate) type Code = i32;

/// See the head of this module.
#[derive(Debug)]
pub(crate) struct Ending {
    word: AtomicU32,
}

impl Ending {
    pub(crate) fn new() -> Ending {
        Ending {
            word: AtomicU32::new(0),
        }
    }

    /// Goes from the word to the next, if there is one, and returns what the word was. It is compiled once for all, since
    /// no call that moves bytes comes here.
    fn change(&self, next: &dyn Fn(u32) -> Option<u32>) -> u32 {
        self.word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .unwrap_or_else(|word| word)
    }

    /// Whether a failure broke the stream.
    pub(crate) fn is_broken(&self) -> bool {
        self.word.load(Ordering::Relaxed) & CODE != 0
    }

    /// Keeps a failure that the crate has met and the user was not told of.
    pub(crate) fn keep(&self, code: Code) {
        self.keep_with(code, UNTOLD | UNTAKEN);
    }

    /// Keeps a failure, unless one is kept already.
    fn keep_with(&self, code: Code, bits: u32) -> u32 {
        let code = u32::try_from(code).unwrap_or(0) & CODE;
        self.change(&|word| (word & CODE == 0).then_some(word | code | bits))
    }

    /// A call gave an end. Returns the failure to tell instead, if there is one.
    pub(crate) fn read_ended(&self) -> Option<Code> {
        let before = self.change(&|word| match word & (CODE | END_TOLD) {
            0 => Some(word | END_TOLD),
            told if told & END_TOLD != 0 => None,
            _ => Some(word & !UNTOLD),
        });
        code(before).filter(|_| before & END_TOLD == 0)
    }

    /// A call in `direction` failed with `code`, which broke the stream. Returns whether the user is to be told: not if
    /// a read has told the end before, and this is another read.
    pub(crate) fn failed(&self, direction: Direction, code: Code) -> bool {
        let before = self.keep_with(code, UNTAKEN);
        let tells = direction == Direction::Write || before & END_TOLD == 0;
        if tells {
            self.change(&|word| Some(word & !UNTOLD));
        }
        tells
    }

    /// A call failed because the stream is not connected any more. Returns the failure to tell instead: a read always
    /// tells it, and a write if the user was not told of it.
    pub(crate) fn disconnected(&self, direction: Direction) -> Option<Code> {
        let tells = |word: u32| match direction {
            Direction::Read => word & END_TOLD == 0,
            Direction::Write => word & UNTOLD != 0,
        };
        let before = self.change(&|word| tells(word).then_some(word & !UNTOLD));
        code(before).filter(|_| tells(before))
    }

    /// `take_error` has told the user this failure, which the kernel had kept.
    pub(crate) fn taken(&self, told: Code) {
        self.keep_with(told, 0);
        self.change(&|word| (code(word) == Some(told)).then_some(word & !(UNTOLD | UNTAKEN)));
    }

    /// What is left for `take_error` to tell.
    pub(crate) fn take(&self) -> Option<Code> {
        let before =
            self.change(&|word| (word & UNTAKEN != 0).then_some(word & !(UNTOLD | UNTAKEN)));
        code(before).filter(|_| before & UNTAKEN != 0)
    }

    /// The failure that the user was not told of. The caller tells it.
    pub(crate) fn take_untold(&self) -> Option<Code> {
        let before = self.change(&|word| Some(word & !UNTOLD));
        code(before).filter(|_| before & UNTOLD != 0)
    }

    /// The user has shut the direction.
    pub(crate) fn shut(&self, direction: Direction) {
        self.change(&|word| Some(word | shut_bit(direction)));
    }

    #[inline]
    pub(crate) fn is_shut(&self, direction: Direction) -> bool {
        self.word.load(Ordering::Relaxed) & shut_bit(direction) != 0
    }

    /// The stream is not connected yet, so that its first failure may be that of its connect.
    pub(crate) fn may_fail_to_connect(&self) {
        self.change(&|word| Some(word | MAY_FAIL));
    }

    pub(crate) fn may_have_failed_to_connect(&self) -> bool {
        self.word.load(Ordering::Relaxed) & MAY_FAIL != 0
    }
}

fn shut_bit(direction: Direction) -> u32 {
    match direction {
        Direction::Read => SHUT_READ,
        Direction::Write => SHUT_WRITE,
    }
}

fn code(word: u32) -> Option<Code> {
    let code = word & CODE;
    Code::try_from(code).ok().filter(|&code| code != 0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use Direction::{Read, Write};

    const RESET: Code = 104;
    const LATE: Code = 110;

    #[test]
    fn an_end_that_a_read_told_stays_an_end() {
        let ending = Ending::new();
        assert_eq!(ending.read_ended(), None);
        assert!(!ending.failed(Read, RESET), "a read has told the end");
        assert!(ending.failed(Write, RESET), "a write has not");
        assert_eq!(ending.read_ended(), None);
        assert_eq!(ending.disconnected(Read), None);
        assert_eq!(ending.take(), Some(RESET));
        assert_eq!(ending.take(), None);
    }

    #[test]
    fn a_read_that_tells_the_end_leaves_the_failure_to_a_write() {
        let ending = Ending::new();
        assert_eq!(ending.read_ended(), None);
        ending.keep(RESET);
        assert_eq!(ending.disconnected(Read), None);
        assert_eq!(ending.disconnected(Write), Some(RESET));
    }

    #[test]
    fn a_failure_that_any_call_told_is_what_reads_give_instead_of_an_end() {
        let told_by: [fn(&Ending); 4] = [
            |ending| assert!(ending.failed(Write, RESET)),
            |ending| assert!(ending.failed(Read, RESET)),
            |ending| ending.taken(RESET),
            |ending| ending.keep(RESET),
        ];
        for tell in told_by {
            let ending = Ending::new();
            tell(&ending);
            for _ in 0..3 {
                assert_eq!(ending.read_ended(), Some(RESET));
                assert_eq!(ending.disconnected(Read), Some(RESET));
            }
        }
    }

    #[test]
    fn take_error_tells_each_failure_once() {
        let ending = Ending::new();
        assert_eq!(ending.take(), None);
        assert!(ending.failed(Read, RESET));
        assert_eq!(ending.take(), Some(RESET));
        assert_eq!(ending.take(), None);
        // The same failure by another call is not another one.
        assert!(ending.failed(Write, RESET));
        assert_eq!(ending.take(), None);

        let ending = Ending::new();
        ending.taken(RESET);
        assert_eq!(ending.take(), None);
        assert_eq!(ending.read_ended(), Some(RESET));
        assert_eq!(ending.take(), None);
    }

    #[test]
    fn the_first_failure_stays() {
        let ending = Ending::new();
        assert!(ending.failed(Write, LATE));
        assert!(ending.failed(Read, RESET));
        assert_eq!(ending.read_ended(), Some(LATE));
        assert_eq!(ending.take(), Some(LATE));
    }

    #[test]
    fn a_kept_failure_is_told_once_to_a_write_and_always_to_a_read() {
        let ending = Ending::new();
        assert_eq!(ending.disconnected(Write), None);
        ending.keep(RESET);
        assert!(ending.is_broken());
        assert_eq!(ending.disconnected(Write), Some(RESET));
        assert_eq!(ending.disconnected(Write), None);
        assert_eq!(ending.take_untold(), None);
        assert_eq!(ending.read_ended(), Some(RESET));
        assert_eq!(ending.take(), Some(RESET));
    }

    #[test]
    fn a_kept_failure_that_take_error_told_is_told_by_no_write() {
        let ending = Ending::new();
        ending.keep(RESET);
        assert_eq!(ending.take(), Some(RESET));
        assert_eq!(ending.disconnected(Write), None);
        assert_eq!(ending.take_untold(), None);
        assert_eq!(ending.read_ended(), Some(RESET));
    }

    #[test]
    fn directions_are_shut_apart() {
        let ending = Ending::new();
        ending.shut(Write);
        assert!(ending.is_shut(Write) && !ending.is_shut(Read));
        ending.shut(Read);
        assert!(ending.is_shut(Write) && ending.is_shut(Read));
        assert!(!ending.is_broken());
    }
}
