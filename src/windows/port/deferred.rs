//! Deferred closes: the sockets of sources that were dropped while bytes that had been accepted were still being sent.
//!
//! The end of the send closes such a socket. A peer that takes nothing would keep it open for ever, so there is a limit of
//! time, which nobody keeps but whoever takes packets: a wait ends when the oldest of them is due.

use std::sync::Weak;
use std::time::Duration;

use super::Port;
use crate::hooks;
use crate::hooks::sync::Instant;
use crate::windows::operation::Owner;

/// How long a dropped source may keep its socket open for bytes that were accepted.
const DEFERRED_CLOSE: Duration = Duration::from_secs(60);

impl Port {
    /// Has the socket of `owner` closed some time from now at the latest.
    pub(super) fn defer_close(&self, owner: Weak<dyn Owner>) {
        let end = Instant::now() + hooks::windows::deferred_close(DEFERRED_CLOSE);
        self.deferred
            .change(|deferred| deferred.push_back((end, owner)));
        // A thread that waits right now does not know of this end.
        drop(self.nudge());
    }

    /// How long the oldest deferred close may still last. Those whose time is over are given up.
    pub(super) fn next_deferred(&self) -> Option<Duration> {
        while !self.deferred.is_empty() {
            let due = self.deferred.change(|deferred| {
                let (end, owner) = deferred.front()?;
                let left = end.saturating_duration_since(Instant::now());
                // Without its source, there is nothing left to close: the send has ended.
                if owner.strong_count() > 0 && left > Duration::ZERO {
                    return Some(Err(left));
                }
                deferred.pop_front().map(|(_, owner)| Ok(owner))
            })?;
            match due {
                Err(left) => return Some(left),
                Ok(owner) => {
                    if let Some(owner) = owner.upgrade() {
                        owner.give_up();
                    }
                }
            }
        }
        None
    }
}
