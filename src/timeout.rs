//! Time-outs: from a `Duration` to what a system call takes, and from a deadline to what is left of it.
//!
//! The one rule is that a wait is **never cut short**. So a duration is rounded up to what the system can wait, a wait
//! that the system cannot express is cut into several, and after an interruption the rest is computed from the
//! deadline. Pure but for the clock; tested alone.

use std::time::{Duration, Instant};

/// When a wait must end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// It does not block at all.
    Now,
    At(Instant),
    /// No time-out, or one beyond what the clock can express.
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

    /// What is left: `None` for ever, `Some(ZERO)` when the time has come.
    pub(crate) fn remaining(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::At(end) => Some(until(end)),
            Deadline::Never => None,
        }
    }
}

/// How long it is until `deadline`: nothing, if it has passed.
pub(crate) fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whole milliseconds, rounded up, and at most `max`: the caller waits again if that was less than asked for.
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
