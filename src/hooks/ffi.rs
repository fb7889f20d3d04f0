//! The system calls of the hooks, declared by hand: pages of memory, for the guards around what is lent on Windows.
#![allow(non_snake_case, clippy::upper_case_acronyms)] // The words of the system.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

type BOOL = i32;
type DWORD = u32;

const FALSE: BOOL = 0;

/// [VirtualAlloc](https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc)
pub(crate) const MEM_COMMIT: DWORD = 0x1000;
/// [VirtualAlloc](https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc)
pub(crate) const MEM_RESERVE: DWORD = 0x2000;
/// [VirtualFree](https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualfree)
pub(crate) const MEM_DECOMMIT: DWORD = 0x4000;
/// [VirtualFree](https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualfree)
pub(crate) const MEM_RELEASE: DWORD = 0x8000;
/// [Memory protection constants](https://learn.microsoft.com/windows/win32/memory/memory-protection-constants)
pub(crate) const PAGE_NOACCESS: DWORD = 0x01;
/// [Memory protection constants](https://learn.microsoft.com/windows/win32/memory/memory-protection-constants)
pub(crate) const PAGE_READWRITE: DWORD = 0x04;

/// The size of a page: the same on every processor that Windows runs on.
pub(crate) const PAGE: usize = 4096;

#[link(name = "kernel32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc>
    pub(crate) fn VirtualAlloc(
        lpAddress: *const c_void,
        dwSize: usize,
        flAllocationType: DWORD,
        flProtect: DWORD,
    ) -> *mut c_void;
    /// <https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualfree>
    pub(crate) fn VirtualFree(lpAddress: *mut c_void, dwSize: usize, dwFreeType: DWORD) -> BOOL;
}

/// Zeroed pages between two that nobody can touch. Returns where the first of them begins.
pub(crate) fn guarded_pages(bytes: usize) -> Option<NonNull<u8>> {
    let whole = bytes.checked_add(2 * PAGE)?;
    // SAFETY: it takes a range of addresses that nobody has.
    let range = unsafe { VirtualAlloc(ptr::null(), whole, MEM_RESERVE, PAGE_NOACCESS) };
    if range.is_null() {
        return None;
    }
    let first = range.cast::<u8>().wrapping_add(PAGE);
    // SAFETY: the pages lie in our own range.
    let pages = unsafe { VirtualAlloc(first.cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
    NonNull::new(pages.cast())
}

/// Takes the memory away and keeps its addresses: from now on whoever touches it is caught.
///
/// # Safety
/// - `first` came from [`guarded_pages`] with these `bytes`, and nobody uses the memory any more.
pub(crate) unsafe fn shut_pages(first: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's duty.
    unsafe { VirtualFree(first.cast(), bytes, MEM_DECOMMIT) != FALSE }
}

/// Gives the addresses back.
///
/// # Safety
/// - `first` came from [`guarded_pages`], was shut, and was not given back.
pub(crate) unsafe fn give_pages_back(first: *mut u8) -> bool {
    let range = first.wrapping_sub(PAGE);
    // SAFETY: the caller's duty. The range goes as a whole.
    unsafe { VirtualFree(range.cast(), 0, MEM_RELEASE) != FALSE }
}
