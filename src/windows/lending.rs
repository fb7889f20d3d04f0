//! Memory lent to the kernel: the buffers, and the bound on them.
//!
//! A completion queue takes the memory *before* there is anything to put into it. Ten thousand idle connections hold ten
//! thousand buffers. Without a bound, a client that opens connections, or that does not read its answers, decides how much
//! memory a server lends. So each `Poll` has a bound, for receives and copies of sends together ([`Lending`]). Past it
//! nothing fails and nothing waits. A receive then lends **no** memory: it ends when bytes arrive, leaves them in the socket,
//! and `read` takes them from there. A send copies a single byte, and its end says that there is room again. A datagram
//! cannot be cut like this, so each datagram socket may copy one past the bound ([`Lending::exceed`]).
//! The price past the bound is one more system call for each read.
//!
//! # Invariant
//! **Hands off what is lent**: from [`LentBuffer::lend`] to [`LentBuffer::take_back`] nobody reads, writes, moves or frees
//! the memory. The buffer itself sees to that: it holds its memory by a raw pointer alone (a `Box` may not even be moved
//! while somebody else writes into it), shows no bytes while they are lent, and leaks the memory rather than freeing it when
//! it is dropped while lent. A source takes the memory back when the packet was taken or the call has failed, and only then.

use std::io::IoSlice;
use std::ptr::NonNull;

use super::ffi::WSABUF;
use crate::hooks;
use crate::hooks::sync::{AtomicUsize, Ordering};

/// What a stream lends for a receive at first, and at least, unless another size is chosen.
pub(super) const STREAM_BUFFER: usize = 4 << 10;
/// The most that is copied for a send, and that a stream may choose to lend.
pub(super) const MAX_BUFFER: usize = 64 << 10;
/// The most that a stream lends for a receive by following the traffic. It is several times what a program reads with one
/// call: all but the first of those reads then cost no system call.
const MAX_FOLLOWED: usize = 256 << 10;
/// Room for any datagram: its length is a number of 16 bits.
pub(crate) const DATAGRAM_BUFFER: usize = 64 << 10;

/// After so many receives in a row that needed less than half of what they were lent, the next ones get half as much. It is
/// more than one, because a pause between two bursts is no reason to make the memory anew.
const SHORT_IN_A_ROW: u8 = 8;

/// How much the sources of a `Poll` may lend, and how much they have lent.
#[derive(Debug)]
pub(super) struct Lending {
    limit: usize,
    // Every thread that starts or ends an operation writes it. It orders nothing else, so every access is relaxed.
    lent: AtomicUsize,
}

impl Lending {
    pub(super) fn new(limit: usize) -> Lending {
        Lending {
            limit,
            lent: AtomicUsize::new(0),
        }
    }

    /// Counts `bytes` as lent if the bound allows it.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        self.reserve_within(self.limit, bytes)
    }

    /// Counts `bytes` as lent if they fit into the first half of the bound: for a receive that could do with less.
    pub(super) fn reserve_spare(&self, bytes: usize) -> bool {
        self.reserve_within(self.limit / 2, bytes)
    }

    fn reserve_within(&self, limit: usize, bytes: usize) -> bool {
        let more = |lent: usize| lent.checked_add(bytes).filter(|&sum| sum <= limit);
        let fits = self
            .lent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if fits {
            hooks::windows::lent(bytes);
        }
        fits
    }

    /// Counts `bytes` as lent whatever the bound says.
    pub(super) fn exceed(&self, bytes: usize) {
        self.lent.fetch_add(bytes, Ordering::Relaxed);
        hooks::windows::lent(bytes);
    }

    /// Counts `bytes` as back.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.lent.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "what comes back was lent");
        hooks::windows::given_back(bytes);
    }

    pub(super) fn lent_bytes(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }
}

/// How much a stream lends for its next receive: it follows the traffic.
///
/// A receive that fills what it was lent doubles the next one. Several in a row that needed less than half of it halve the
/// next one. Sizes above the first one are taken from the first half of the bound only. So a few busy streams never keep
/// the others from lending at all, which would cost those one more system call for every read.
#[derive(Debug)]
pub(super) struct LentSize {
    size: usize,
    /// How many receives in a row were short.
    short: u8,
}

impl Default for LentSize {
    fn default() -> LentSize {
        LentSize {
            size: STREAM_BUFFER,
            short: 0,
        }
    }
}

impl LentSize {
    /// Counts the size as lent, or a half, a quarter and so on of it, or nothing, as the bound allows; returns how much.
    pub(super) fn reserve(&self, lending: &Lending) -> usize {
        let mut size = self.size;
        while size > STREAM_BUFFER {
            if lending.reserve_spare(size) {
                return size;
            }
            size /= 2;
        }
        if lending.reserve(STREAM_BUFFER) {
            return STREAM_BUFFER;
        }
        0
    }

    /// A receive that was lent `lent` bytes has brought `count`.
    pub(super) fn came_back(&mut self, lent: usize, count: usize) {
        if count >= lent / 2 {
            self.short = 0;
            // Near the bound, less than `size` was lent. That such a receive was full says nothing about the size.
            if count == lent && lent == self.size {
                self.size = (self.size * 2).min(MAX_FOLLOWED);
            }
            return;
        }
        self.short += 1;
        if self.short == SHORT_IN_A_ROW {
            self.short = 0;
            self.size = (self.size / 2).max(STREAM_BUFFER);
        }
    }
}

/// A buffer that is ours and the kernel's in turn.
#[derive(Debug)]
pub(super) struct LentBuffer {
    /// From `allocate`.
    memory: NonNull<[u8]>,
    lent: bool,
    /// The bytes in it that are still to be used are `start..end`.
    start: usize,
    end: usize,
}

// SAFETY: it owns its memory, like a `Box`; that the kernel writes there meanwhile, "hands off what is lent" takes care of.
unsafe impl Send for LentBuffer {}
// SAFETY: as above; all changes need `&mut`.
unsafe impl Sync for LentBuffer {}

impl Default for LentBuffer {
    fn default() -> LentBuffer {
        LentBuffer {
            memory: allocate(0),
            lent: false,
            start: 0,
            end: 0,
        }
    }
}

impl LentBuffer {
    /// Makes it `capacity` bytes large and empty. It keeps its memory if it had that size.
    pub(super) fn prepare(&mut self, capacity: usize) {
        debug_assert!(!self.lent, "lent memory is not replaced");
        (self.start, self.end) = (0, 0);
        self.touch();
        if self.memory.len() != capacity && !self.lent {
            self.free();
            self.memory = allocate(capacity);
        }
    }

    /// Makes it hold a copy of the first `len` bytes of `slices`, to be sent.
    pub(super) fn fill(&mut self, slices: &[IoSlice<'_>], len: usize) {
        self.prepare(len);
        // SAFETY: the memory is ours, not lent, and initialised.
        let mut room = unsafe { self.memory.as_mut() };
        for slice in slices {
            let count = slice.len().min(room.len());
            let (head, tail) = room.split_at_mut(count);
            head.copy_from_slice(&slice[..count]);
            room = tail;
        }
        self.end = len - room.len();
    }

    /// What to give to the kernel for a receive: all of it. From now on it is the kernel's.
    pub(super) fn lend(&mut self) -> WSABUF {
        (self.start, self.end) = (0, 0);
        self.lend_range(0, self.memory.len())
    }

    /// What to give to the kernel for a send: the bytes not used yet. From now on they are the kernel's.
    pub(super) fn lend_rest(&mut self) -> WSABUF {
        self.lend_range(self.start, self.end)
    }

    fn lend_range(&mut self, start: usize, end: usize) -> WSABUF {
        debug_assert!(!self.lent, "memory is lent once at a time");
        self.lent = true;
        // Offsets stay inside the memory, `start <= end <= len`. No buffer comes near the limit of a `u32`.
        WSABUF {
            len: u32::try_from(end - start).unwrap_or(u32::MAX),
            buf: self.memory.cast::<u8>().as_ptr().wrapping_add(start),
        }
    }

    /// The kernel is done with it.
    pub(super) fn take_back(&mut self) {
        self.lent = false;
    }

    /// The kernel has written `len` bytes.
    pub(super) fn received(&mut self, len: usize) {
        (self.start, self.end) = (0, len.min(self.memory.len()));
    }

    /// The bytes that are still to be used.
    pub(super) fn unread(&self) -> &[u8] {
        if self.lent {
            return &[];
        }
        self.touch();
        // SAFETY: the memory is ours, not lent, and initialised.
        let all = unsafe { self.memory.as_ref() };
        &all[self.start..self.end]
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Says that we are about to use, change or free the memory.
    fn touch(&self) {
        hooks::windows::touched(self.memory.cast::<u8>().as_ptr(), self.memory.len());
    }

    /// Gives the memory up.
    pub(super) fn free(&mut self) {
        if self.memory.len() == 0 || self.lent {
            return;
        }
        self.touch();
        (self.start, self.end) = (0, 0);
        let memory = std::mem::replace(&mut self.memory, allocate(0));
        // SAFETY: it came from `allocate`, is more than none, is not lent, and was just forgotten here.
        unsafe { deallocate(memory) };
    }
}

/// Zeroed memory. None of it needs no allocation.
fn allocate(capacity: usize) -> NonNull<[u8]> {
    hooks::windows::allocate_guarded(capacity)
        .unwrap_or_else(|| NonNull::from(Box::leak(vec![0; capacity].into_boxed_slice())))
}

/// Gives it back.
///
/// # Safety
/// - `memory` came from [`allocate`], is more than none, and nobody uses it any more.
unsafe fn deallocate(memory: NonNull<[u8]>) {
    // SAFETY: the caller's duty.
    if unsafe { hooks::windows::free_guarded(memory) } {
        return;
    }
    // SAFETY: the caller's duty: it came from a `Box`.
    drop(unsafe { Box::from_raw(memory.as_ptr()) });
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_kept_and_given_back() {
        let lending = Lending::new(10);
        assert!(lending.reserve(6));
        assert!(!lending.reserve(5));
        assert!(!lending.reserve(usize::MAX));
        assert!(lending.reserve(4));
        assert_eq!(lending.lent_bytes(), 10);
        lending.release(6);
        assert!(lending.reserve(5));
    }

    #[test]
    fn the_size_lent_follows_the_traffic() {
        let mut size = LentSize::default();
        let plenty = Lending::new(1 << 20);
        for expected in [4, 8, 16, 32, 64, 128, 256, 256].map(|kib| kib << 10) {
            let lent = size.reserve(&plenty);
            plenty.release(lent);
            assert_eq!(lent, expected);
            size.came_back(lent, lent);
        }
        // One that needed most of it stands between the short ones.
        for _ in 0..SHORT_IN_A_ROW - 1 {
            size.came_back(MAX_FOLLOWED, 100);
        }
        size.came_back(MAX_FOLLOWED, MAX_FOLLOWED - 1);
        for _ in 0..SHORT_IN_A_ROW - 1 {
            size.came_back(MAX_FOLLOWED, 100);
        }
        assert_eq!(size.reserve(&plenty), MAX_FOLLOWED);
        for _ in 0..6 * SHORT_IN_A_ROW {
            size.came_back(MAX_FOLLOWED, 100);
        }
        assert_eq!(size.reserve(&plenty), STREAM_BUFFER);
    }

    #[test]
    fn a_size_that_has_grown_leaves_half_of_the_bound_to_others() {
        let lending = Lending::new(4 * STREAM_BUFFER);
        let mut size = LentSize::default();
        size.came_back(STREAM_BUFFER, STREAM_BUFFER);
        size.came_back(2 * STREAM_BUFFER, 2 * STREAM_BUFFER);
        // Half of what it has grown to is all that the half of the bound has room for.
        assert_eq!(size.reserve(&lending), 2 * STREAM_BUFFER);
        assert_eq!(size.reserve(&lending), STREAM_BUFFER);
        assert_eq!(size.reserve(&lending), STREAM_BUFFER);
        assert_eq!(size.reserve(&lending), 0);
        assert_eq!(lending.lent_bytes(), 4 * STREAM_BUFFER);
    }

    #[test]
    fn a_buffer_shows_nothing_while_it_is_lent() {
        let mut buffer = LentBuffer::default();
        buffer.fill(&[IoSlice::new(b"abc"), IoSlice::new(b"defg")], 5);
        assert_eq!(buffer.unread(), b"abcde");
        buffer.consume(2);
        let lent = buffer.lend_rest();
        assert_eq!((lent.len, buffer.unread()), (3, &b""[..]));
        buffer.take_back();
        assert_eq!(buffer.unread(), b"cde");
        buffer.prepare(5);
        assert_eq!(buffer.unread(), b"");
        assert_eq!(buffer.lend().len, 5);
        buffer.take_back();
        buffer.received(9);
        assert_eq!(buffer.unread(), b"abcde");
        buffer.free();
    }
}
