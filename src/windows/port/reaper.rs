//! The end of the `Poll`, and the reaper: a thread that takes the packets of what is still in flight then.
//!
//! What was started cannot be called back, only cancelled and waited for, and dropping a `Poll` must not wait. So the
//! drop cancels what would wait for ever and takes the packets that are there. If more are to come, it starts the reaper,
//! which ends with the last of them.

use std::sync::{Arc, Weak};

use super::{Port, PUMP_BATCH};
use crate::hooks;
use crate::hooks::sync::{lock, thread};
use crate::windows::ffi;
use crate::windows::operation::Owner;

impl Port {
    /// Ends the `Poll`.
    pub(in crate::windows) fn abandon(self: &Arc<Self>) {
        self.wakes.end();
        let notes = lock(&self.flights).end();
        drop(notes);
        // A source that is not in the list by now finds the port gone when it starts something.
        let sources: Vec<Arc<dyn Owner>> = lock(&self.sources)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for source in sources {
            source.abandon();
        }
        self.pump();
        if !lock(&self.flights).needs_reaper() {
            return;
        }
        let port = Arc::clone(self);
        hooks::windows::reaper_started();
        let spawned = thread::Builder::new()
            .name("minimio reaper".into())
            .spawn(move || port.reap());
        // Without a thread the rest stays in the table for ever, and so does its memory: lost, but never wrong. Reads and
        // writes on what still lives go on taking its packets.
        if spawned.is_err() {
            hooks::windows::reaper_ended();
        }
    }

    /// Handles packets until the last one has come.
    fn reap(self: Arc<Self>) {
        let mut entries = [ffi::OVERLAPPED_ENTRY::zeroed(); PUMP_BATCH];
        while lock(&self.flights).needs_reaper() {
            let Ok(count) = self.wait(&mut entries, None) else {
                break;
            };
            for entry in &entries[..count] {
                self.handle(entry, None);
            }
        }
        drop(self);
        hooks::windows::reaper_ended();
    }
}
