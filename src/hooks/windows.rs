//! What the Windows backend tells of itself, and what a test can change in it. Each function here is called by the backend
//! in plain words, and does nothing in a user's program.
//!
//! Under `--cfg minimio_hooks` the tests see how much is in flight, have packets come late or tell of a failure, shorten a
//! deferred close, and put guard pages around lent memory. Under `--cfg loom` the kernel that the models play is told which
//! memory is used and which blocks are alive, so that it can complain.

#[cfg(minimio_hooks)]
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
#[cfg(minimio_hooks)]
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

#[cfg(minimio_hooks)]
use super::guard;
#[cfg(any(minimio_hooks, all(loom, test)))]
use crate::windows::ffi;
use crate::windows::ffi::{CompletionPort, OVERLAPPED_ENTRY, WSAOVERLAPPED};

#[cfg(minimio_hooks)]
static OPERATIONS: AtomicUsize = AtomicUsize::new(0);
#[cfg(minimio_hooks)]
static REAPERS: AtomicUsize = AtomicUsize::new(0);
#[cfg(minimio_hooks)]
static WAIT_BLOCKS: AtomicUsize = AtomicUsize::new(0);
#[cfg(minimio_hooks)]
static DEFERRED_CLOSE_MS: AtomicU64 = AtomicU64::new(u64::MAX);

// A thread's own, so that tests beside each other do not meet.
#[cfg(minimio_hooks)]
std::thread_local! {
    static LATE: Cell<usize> = Cell::default();
    static STATUS: Cell<Option<u32>> = Cell::default();
}

// What a test asks for.

/// How many operations and waits are in flight, in all ports of the process.
#[cfg(minimio_hooks)]
pub fn live_operations() -> usize {
    OPERATIONS.load(Ordering::SeqCst)
}

/// How many reaper threads run.
#[cfg(minimio_hooks)]
pub fn live_reapers() -> usize {
    REAPERS.load(Ordering::SeqCst)
}

/// How many waits for a handle there are, with those whose callback has not returned. Each has an object open.
#[cfg(minimio_hooks)]
pub fn live_waits() -> usize {
    WAIT_BLOCKS.load(Ordering::SeqCst)
}

/// Makes later deferred closes last this long at most.
#[cfg(minimio_hooks)]
pub fn set_deferred_close(limit: Duration) {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    DEFERRED_CLOSE_MS.store(ms, Ordering::SeqCst);
}

/// Puts the next `times` packets of operations and signals that this thread takes back to the end of the queue, unseen.
#[cfg(minimio_hooks)]
pub fn delay_packets(times: usize) {
    LATE.with(|late| late.set(times));
}

/// Makes the next packet of an operation that this thread takes tell of no bytes and of this status.
#[cfg(minimio_hooks)]
pub fn fail_packet(status: u32) {
    STATUS.with(|next| next.set(Some(status)));
}

// What the backend calls: the life of operations, waits and reapers.

/// An operation was made. It is not in flight.
#[inline]
pub(crate) fn operation_made() {
    #[cfg(all(loom, test))]
    ffi::operation_made();
}

/// The operation at `address` is about to be freed.
#[inline]
pub(crate) fn operation_dropped(address: usize) {
    #[cfg(all(loom, test))]
    ffi::operation_dropped(address);
}

/// An operation or a wait is in the table of what is in flight.
#[inline]
pub(crate) fn operation_started() {
    #[cfg(minimio_hooks)]
    OPERATIONS.fetch_add(1, Ordering::SeqCst);
}

/// It is out of the table again.
#[inline]
pub(crate) fn operation_ended() {
    #[cfg(minimio_hooks)]
    OPERATIONS.fetch_sub(1, Ordering::SeqCst);
}

/// A reaper is about to be started.
#[inline]
pub(crate) fn reaper_started() {
    #[cfg(minimio_hooks)]
    REAPERS.fetch_add(1, Ordering::SeqCst);
}

/// A reaper is done, or could not be started.
#[inline]
pub(crate) fn reaper_ended() {
    #[cfg(minimio_hooks)]
    REAPERS.fetch_sub(1, Ordering::SeqCst);
}

/// The block of a wait was made. Its address is what the callback will be given.
#[inline]
pub(crate) fn wait_made(block: *const c_void) {
    #[cfg(all(loom, test))]
    ffi::block_made(block as usize);
    #[cfg(minimio_hooks)]
    WAIT_BLOCKS.fetch_add(1, Ordering::SeqCst);
}

/// The block of a wait is about to be freed.
#[inline]
pub(crate) fn wait_dropped(block: *const c_void) {
    #[cfg(all(loom, test))]
    ffi::block_dropped(block as usize);
    #[cfg(minimio_hooks)]
    WAIT_BLOCKS.fetch_sub(1, Ordering::SeqCst);
}

/// The callback with this context has nothing more to do than to release its reference.
#[inline]
pub(crate) fn callback_returns(context: *const c_void) {
    #[cfg(all(loom, test))]
    ffi::callback_returns(context as usize);
}

/// The reference of a callback is about to be released by somebody who has one, too. `references` counts both.
#[inline]
pub(crate) fn reference_released(references: usize) {
    #[cfg(all(loom, test))]
    ffi::reference_released(references);
}

// Memory.

/// The memory is about to be used, changed or freed: it must not be the kernel's.
#[inline]
pub(crate) fn touched<T>(first: *const T, bytes: usize) {
    #[cfg(all(loom, test))]
    ffi::touched(first as usize, bytes);
}

/// So many bytes were counted as lent.
#[inline]
pub(crate) fn lent(bytes: usize) {
    #[cfg(all(loom, test))]
    ffi::count_lent(|lent| lent + bytes);
}

/// So many bytes were counted as back.
#[inline]
pub(crate) fn given_back(bytes: usize) {
    #[cfg(all(loom, test))]
    ffi::count_lent(|lent| lent - bytes);
}

/// Memory between guard pages for a lent buffer; `None` has the caller allocate it itself.
#[inline]
pub(crate) fn allocate_guarded(capacity: usize) -> Option<NonNull<[u8]>> {
    #[cfg(minimio_hooks)]
    if capacity > 0 {
        let memory = guard::allocate(capacity);
        return Some(NonNull::slice_from_raw_parts(memory, capacity));
    }
    None
}

/// Frees what [`allocate_guarded`] has given, and returns whether it gave it.
///
/// # Safety
/// - `memory` is a lent buffer's, is more than none, and nobody uses it any more.
#[inline]
pub(crate) unsafe fn free_guarded(memory: NonNull<[u8]>) -> bool {
    #[cfg(minimio_hooks)]
    // SAFETY: the caller's duty; under these hooks all such memory came from there.
    unsafe {
        guard::free(memory.cast(), memory.len());
    }
    cfg!(minimio_hooks)
}

// Packets and time.

/// Whether this packet, just taken, is to come late. Then it is behind all the others on `port` again.
#[inline]
pub(crate) fn is_put_back(port: &CompletionPort, packet: &OVERLAPPED_ENTRY) -> bool {
    #[cfg(minimio_hooks)]
    {
        let left = LATE.with(|late| late.replace(late.get().saturating_sub(1)));
        if left > 0 {
            let bytes = packet.dwNumberOfBytesTransferred;
            let pointer = packet.lpOverlapped as usize;
            let key = packet.lpCompletionKey;
            let again = ffi::post_queued_completion_status(port, bytes, key, pointer);
            assert!(again.is_ok(), "a late packet is not a lost one: {again:?}");
        }
        left > 0
    }
    #[cfg(not(minimio_hooks))]
    false
}

/// How an operation ended, as its block and the byte count of its packet tell it: a test can have them tell of a failure.
#[inline]
pub(crate) fn outcome_of(block: WSAOVERLAPPED, bytes: usize) -> (WSAOVERLAPPED, usize) {
    #[cfg(minimio_hooks)]
    if let Some(status) = STATUS.with(Cell::take) {
        let mut block = block;
        block.Internal = status as usize;
        return (block, 0);
    }
    (block, bytes)
}

/// How long a close may be deferred.
#[inline]
pub(crate) fn deferred_close(limit: Duration) -> Duration {
    #[cfg(minimio_hooks)]
    {
        let ms = DEFERRED_CLOSE_MS.load(Ordering::SeqCst);
        if ms != u64::MAX {
            return Duration::from_millis(ms);
        }
    }
    limit
}
