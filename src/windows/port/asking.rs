//! How many packets a wait asks for.
//!
//! A wait that asks for more than there are takes what there is, and has then looked for another packet in vain. Under Wine
//! that look is a request to its server, and the packet that was found waits for the answer: of ten requests between a
//! message and its answer this is one. So a loop that has one packet at a time, as with a single busy connection, asks for
//! one. Whether there are more by now shows when it asks for more again, which it does once in a while.
//!
//! # Invariants
//! - **Nothing is left out where it counts**: a wait that may not block asks for all that fits, since it may be the only
//!   look ([`Port::wait`](super::Port::wait) sees to that).
//! - **Few are left**: a wait asks for one packet only if [`FEW`] operations or fewer are in flight when it begins. A program
//!   that handles one event may drop a thousand streams, whose memory comes back with their packets: the next wait takes
//!   them all. What other threads start or post during a wait is left to the next ones.
//! - **The others come soon**: no more than [`SINGLE`] waits in a row ask for one packet where there is room for more.

/// How many operations may be in flight: for a listener, two directions of a stream, and a child or a timer.
pub(super) const FEW: usize = 4;
/// How many waits in a row must have taken one packet before the next ones ask for one.
const ENOUGH: u8 = 16;
/// How many waits then ask for one, before one asks for all again.
const SINGLE: u8 = 16;

#[derive(Default)]
pub(super) struct Asking {
    /// How many waits in a row have taken one packet. After [`SINGLE`] of those that asked for one it falls just below
    /// [`ENOUGH`], so that the next wait asks for all.
    singles: u8,
}

impl Asking {
    /// Whether the next wait asks for one packet, if it may block and few operations are in flight.
    pub(super) fn is_for_one(&self) -> bool {
        self.singles >= ENOUGH
    }

    /// A wait has taken so many.
    pub(super) fn took(&mut self, count: usize) {
        self.singles = match count {
            // It says nothing of the next one.
            0 => self.singles,
            1 if self.singles + 1 == ENOUGH + SINGLE => ENOUGH - 1,
            1 => self.singles + 1,
            _ => 0,
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn after(takes: impl IntoIterator<Item = usize>) -> Asking {
        let mut asking = Asking::default();
        takes.into_iter().for_each(|count| asking.took(count));
        asking
    }

    #[test]
    fn who_takes_one_packet_at_a_time_asks_for_one() {
        let ones = |count: u8| std::iter::repeat(1).take(count.into());
        assert!(!after(ones(ENOUGH - 1)).is_for_one());
        assert!(after(ones(ENOUGH)).is_for_one());
        assert!(after(ones(ENOUGH).chain([0, 0])).is_for_one());
        assert!(!after(ones(ENOUGH - 1).chain([2, 1])).is_for_one());
    }

    #[test]
    fn the_others_are_asked_for_soon() {
        let mut asking = Asking::default();
        let mut in_a_row = 0;
        for _ in 0..1000 {
            in_a_row = match asking.is_for_one() {
                true => in_a_row + 1,
                false => 0,
            };
            assert!(in_a_row <= SINGLE);
            asking.took(1);
        }
        // As soon as one has found others, all of them come at once.
        while asking.is_for_one() {
            asking.took(1);
        }
        asking.took(3);
        assert!(!asking.is_for_one());
    }
}
