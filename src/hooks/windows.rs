//! The Windows backend's: what is in flight, and how long a close is deferred.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

static OPERATIONS: AtomicUsize = AtomicUsize::new(0);
static REAPERS: AtomicUsize = AtomicUsize::new(0);
static WAIT_BLOCKS: AtomicUsize = AtomicUsize::new(0);
static DEFERRED_CLOSE_MS: AtomicU64 = AtomicU64::new(u64::MAX);

/// How many operations are in flight, in all ports of the process.
pub fn live_operations() -> usize {
    OPERATIONS.load(Ordering::SeqCst)
}

/// How many reaper threads run.
pub fn live_reapers() -> usize {
    REAPERS.load(Ordering::SeqCst)
}

/// How many waits for a handle there are, with those whose callback has not returned. Each has an object open.
pub fn live_waits() -> usize {
    WAIT_BLOCKS.load(Ordering::SeqCst)
}

pub(crate) fn wait_made() {
    WAIT_BLOCKS.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn wait_dropped() {
    WAIT_BLOCKS.fetch_sub(1, Ordering::SeqCst);
}

/// Makes later deferred closes last this long at most.
pub fn set_deferred_close(limit: Duration) {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    DEFERRED_CLOSE_MS.store(ms, Ordering::SeqCst);
}

pub(crate) fn deferred_close() -> Option<Duration> {
    let ms = DEFERRED_CLOSE_MS.load(Ordering::SeqCst);
    (ms != u64::MAX).then(|| Duration::from_millis(ms))
}

// A thread's own, so that tests beside each other do not meet.
std::thread_local! {
    static LATE: Cell<usize> = Cell::default();
    static STATUS: Cell<Option<u32>> = Cell::default();
}

/// Puts the next `times` packets of operations that this thread takes back to the end of the queue, unseen.
pub fn delay_packets(times: usize) {
    LATE.with(|late| late.set(times));
}

pub(crate) fn is_late() -> bool {
    LATE.with(|late| {
        let left = late.get();
        late.set(left.saturating_sub(1));
        left > 0
    })
}

/// Makes the next packet of an operation that this thread takes tell of no bytes and of this status.
pub fn fail_packet(status: u32) {
    STATUS.with(|next| next.set(Some(status)));
}

pub(crate) fn replaced_status() -> Option<u32> {
    STATUS.with(Cell::take)
}

pub(crate) fn operation_started() {
    OPERATIONS.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn operation_ended() {
    OPERATIONS.fetch_sub(1, Ordering::SeqCst);
}

pub(crate) fn reaper_started() {
    REAPERS.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn reaper_ended() {
    REAPERS.fetch_sub(1, Ordering::SeqCst);
}
