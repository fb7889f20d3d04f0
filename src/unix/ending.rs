//! How a stream has ended, for as long as it lives: the failure that broke it, and the directions that were shut.
//!
//! **The idea.** A kernel tells a failure once, to whichever call comes first, and from then on a read gives the end of
//! the stream, as if the peer had sent all that it wanted. A program that reads an answer must not take a reset that its
//! writer was told of for the end of the answer. So the failure is kept here, and where a read would give an end it
//! gives the failure. The same goes for a failure that some other look of ours has met, which nobody was told of yet.
//!
//! **The price.** Nothing while bytes flow: only a call that gives no bytes asks. One relaxed load before each read finds
//! out whether the reading was shut down on this side (Linux would go on delivering what comes).
//!
//! One word holds it all: the failure's code in the low bits, and these bits above it.
//!
//! | bit | it is set when | it is cleared when |
//! | --- | --- | --- |
//! | `END_TOLD` | a read gave the end of the stream, and no failure was known | never |
//! | `UNTOLD` | the failure was met by a look of ours, and not by the user | a read, a write or `take_error` has told it |
//! | `UNTAKEN` | a failure is kept that `take_error` has not told | `take_error` has told it |
//! | `SHUT_READ`, `SHUT_WRITE` | the user has shut the direction | never |
//! | `MAY_FAIL` | the stream was not connected yet when we got it | never |
//!
//! # Invariants
//! 1. **The first failure stays.** A code is written once. Kept by [`keep`](Ending::keep), through which every one goes.
//! 2. **What a read told first, stays.** After `END_TOLD` every read gives the end; after a failure that a read has told,
//!    none gives the end. Kept by [`read_ended`](Ending::read_ended) and [`failed`](Ending::failed).
//!
//! # Interleavings
//! Two threads may meet the end and the failure at once: each change is one atomic step from word to word, so one of them
//! is first, and both tell the same from then on. The word orders nothing else: every access is relaxed.
//!
//! One window stays. The kernel has told a writer of a reset, which the writer has not recorded yet; a reader on another
//! thread asks the kernel in this moment, is told of an end, and records that. Then reads say "end" for good, while the
//! writer is told of the reset. To close it, a lock would have to be held over every read and write.

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

    /// Goes from the word to the next, if there is one, and returns what the word was.
    fn change(&self, next: impl Fn(u32) -> Option<u32>) -> u32 {
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
        self.change(|word| (word & CODE == 0).then_some(word | code | bits))
    }

    /// A call gave an end. Returns the failure to tell instead, if there is one.
    pub(crate) fn read_ended(&self) -> Option<Code> {
        let before = self.change(|word| match word & (CODE | END_TOLD) {
            0 => Some(word | END_TOLD),
            told if told & END_TOLD != 0 => None,
            _ => Some(word & !UNTOLD),
        });
        code(before).filter(|_| before & END_TOLD == 0)
    }

    /// A call in `direction` failed with `code`, which broke the stream. Returns whether the user is to be told: not if a
    /// read has told the end before, and this is another read.
    pub(crate) fn failed(&self, direction: Direction, code: Code) -> bool {
        let before = self.keep_with(code, UNTAKEN);
        let tells = direction == Direction::Write || before & END_TOLD == 0;
        if tells {
            self.change(|word| Some(word & !UNTOLD));
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
        let before = self.change(|word| tells(word).then_some(word & !UNTOLD));
        code(before).filter(|_| tells(before))
    }

    /// `take_error` has told the user this failure, which the kernel had kept.
    pub(crate) fn taken(&self, told: Code) {
        self.keep_with(told, 0);
        self.change(|word| (code(word) == Some(told)).then_some(word & !(UNTOLD | UNTAKEN)));
    }

    /// What is left for `take_error` to tell.
    pub(crate) fn take(&self) -> Option<Code> {
        let before =
            self.change(|word| (word & UNTAKEN != 0).then_some(word & !(UNTOLD | UNTAKEN)));
        code(before).filter(|_| before & UNTAKEN != 0)
    }

    /// The failure that the user was not told of. The caller tells it.
    pub(crate) fn take_untold(&self) -> Option<Code> {
        let before = self.change(|word| Some(word & !UNTOLD));
        code(before).filter(|_| before & UNTOLD != 0)
    }

    /// The user has shut the direction.
    pub(crate) fn shut(&self, direction: Direction) {
        self.change(|word| Some(word | shut_bit(direction)));
    }

    #[inline]
    pub(crate) fn is_shut(&self, direction: Direction) -> bool {
        self.word.load(Ordering::Relaxed) & shut_bit(direction) != 0
    }

    /// The stream is not connected yet, so that its first failure may be that of its connect.
    pub(crate) fn may_fail_to_connect(&self) {
        self.change(|word| Some(word | MAY_FAIL));
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
