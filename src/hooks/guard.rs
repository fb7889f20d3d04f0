//! Lent memory between guard pages, under `--cfg minimio_hooks`: a write beyond it, or after it was freed, is caught.
//!
//! A buffer ends where the next page begins, which cannot be accessed. The bytes between the start of its first page and the
//! buffer hold a pattern, which is checked when the buffer is freed. Freed memory is given back to the system, but its
//! addresses are kept for a while. So a late write of the kernel's fails, and does not hit the memory of something else.

use std::collections::VecDeque;
use std::ptr::NonNull;

use super::ffi;
use crate::hooks::sync::{lock, Mutex};

const POISON: u8 = 0xdd;
/// How many freed buffers keep their addresses.
const KEPT: usize = 1 << 12;

static FREED: Mutex<VecDeque<usize>> = Mutex::new(VecDeque::new());

/// The pages of a buffer: how many bytes they are, and how many stand before the buffer.
fn pages_of(capacity: usize) -> (usize, usize) {
    let odd = capacity % ffi::PAGE;
    let bytes = if odd == 0 {
        capacity
    } else {
        capacity - odd + ffi::PAGE
    };
    (bytes, bytes - capacity)
}

/// Zeroed memory that ends at a guard page.
pub(crate) fn allocate(capacity: usize) -> NonNull<u8> {
    let (bytes, before) = pages_of(capacity);
    let Some(first) = ffi::guarded_pages(bytes) else {
        panic!("there is no memory for a test");
    };
    // SAFETY: these bytes are ours alone, and lie before the buffer.
    unsafe { first.as_ptr().write_bytes(POISON, before) };
    // SAFETY: the buffer lies inside the pages.
    let memory = unsafe { first.as_ptr().add(before) };
    NonNull::new(memory).unwrap_or(first)
}

/// Frees it.
///
/// # Safety
/// - `memory` came from [`allocate`] with this `capacity`, and nobody uses it any more.
pub(crate) unsafe fn free(memory: NonNull<u8>, capacity: usize) {
    let (bytes, before) = pages_of(capacity);
    let first = memory.as_ptr().wrapping_sub(before);
    // SAFETY: the pages are ours, and were written to.
    let poison = unsafe { std::slice::from_raw_parts(first, before) };
    let intact = poison.iter().all(|&byte| byte == POISON);
    // SAFETY: the caller's duty.
    let shut = unsafe { ffi::shut_pages(first, bytes) };
    let oldest = {
        let mut freed = lock(&FREED);
        freed.push_back(first as usize);
        (freed.len() > KEPT).then(|| freed.pop_front()).flatten()
    };
    // SAFETY: it was shut when it came into the list, and is out of it.
    let back = oldest.map_or(true, |oldest| unsafe {
        ffi::give_pages_back(oldest as *mut u8)
    });
    if !(intact && shut && back) {
        // A panic in a drop would hide where it came from.
        eprintln!("lent memory: intact {intact}, shut {shut}, given back {back}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::System::Memory::{
        VirtualQuery, MEMORY_BASIC_INFORMATION, MEM_COMMIT, MEM_RESERVE, PAGE_READWRITE,
    };

    /// The state and protection of a page.
    fn page_at(place: *const u8) -> (u32, u32) {
        // SAFETY: it is a structure of numbers and pointers.
        let mut page: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        let size = std::mem::size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: the structure is writable for its size; the place is only looked up.
        let written = unsafe { VirtualQuery(place.cast(), &mut page, size) };
        assert_eq!(written, size);
        (page.State, page.Protect)
    }

    #[test]
    fn memory_stands_between_guards_and_is_out_of_reach_when_freed() {
        for capacity in [1, 100, ffi::PAGE, ffi::PAGE + 1, 64 << 10] {
            let memory = allocate(capacity);
            let end = memory.as_ptr().wrapping_add(capacity);
            assert_eq!(end as usize % ffi::PAGE, 0);
            assert_eq!(page_at(memory.as_ptr()), (MEM_COMMIT, PAGE_READWRITE));
            assert_eq!(page_at(end).0, MEM_RESERVE);
            let (_, before) = pages_of(capacity);
            let first = memory.as_ptr().wrapping_sub(before);
            assert_eq!(page_at(first.wrapping_sub(1)).0, MEM_RESERVE);
            // SAFETY: all of it is ours.
            unsafe { memory.as_ptr().write_bytes(1, capacity) };
            // SAFETY: it was made right above, and is used no more.
            unsafe { free(memory, capacity) };
            assert_eq!(page_at(memory.as_ptr()).0, MEM_RESERVE);
        }
    }
}
