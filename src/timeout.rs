//! Time-outs: converts a `Duration` to what a system call takes, and a deadline to the time that is left until it.
//!
//! The one rule is that a wait **never ends early**. So a duration is rounded up to the unit in which the system waits.
//! A wait that is longer than the system can express becomes several. After an interruption the rest of the wait is
//! computed from the deadline.

use std::time::{Duration, Instant};

/// When a wait must end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// The wait does not block.
    Now,
    At(Instant),
    /// There is no time-out, or the clock cannot express when it would end.
    Never,
}

impl Deadline {
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        match timeout {
            None => Deadline::Never,
            Some(Duration::ZERO) => Deadline::Now,
            Some(timeout) => Instant::now()
                .checked_add(timeout)
                .map_or(Deadline::Never, Deadline::At),
        }
    }

    /// The time that is left: `None` without an end, `Some(ZERO)` once the end has come.
    pub(crate) fn remaining(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::At(end) => Some(until(end)),
            Deadline::Never => None,
        }
    }
}

/// The time until `deadline`, which is zero if it has passed.
pub(crate) fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whole milliseconds, rounded up, and at most `max`. If that is shorter than `timeout`, the caller waits again.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android", windows)),
    allow(dead_code) // kqueue waits in nanoseconds
)]
pub(crate) fn milliseconds(timeout: Duration, max: u32) -> u32 {
    let rounded_up = (timeout.as_nanos() + 999_999) / 1_000_000;
    u32::try_from(rounded_up).unwrap_or(u32::MAX).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up() {
        let max = u32::MAX;
        assert_eq!(milliseconds(Duration::ZERO, max), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1), max), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_000), max), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1_000_001), max), 2);
    }

    #[test]
    fn milliseconds_stop_at_what_the_system_takes() {
        assert_eq!(milliseconds(Duration::MAX, u32::MAX), u32::MAX);
        assert_eq!(
            milliseconds(Duration::from_secs(3_000_000), 0x7fff_ffff),
            0x7fff_ffff
        );
    }

    #[test]
    fn a_huge_timeout_is_no_timeout() {
        assert_eq!(Deadline::after(Some(Duration::MAX)).remaining(), None);
        assert_eq!(Deadline::after(None).remaining(), None);
    }

    #[test]
    fn what_remains_shrinks_to_zero() {
        let hour = Duration::from_secs(3_600);
        let left = Deadline::after(Some(hour))
            .remaining()
            .expect("it has an end");
        assert!(left <= hour && left > hour / 2);
        assert_eq!(
            Deadline::after(Some(Duration::ZERO)).remaining(),
            Some(Duration::ZERO)
        );
        let past = Deadline::At(Instant::now());
        assert_eq!(past.remaining(), Some(Duration::ZERO));
    }
}
