//! Which locks, atomics, clock and sockets the backends use: `std`'s, or those of the model checker `loom` and of the kernel
//! that its models play.

#[cfg(all(loom, test))]
pub(crate) use crate::windows::ffi::{net, Instant};
#[cfg(all(loom, test))]
pub(crate) use loom::{
    sync::{
        atomic::{fence, AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering},
        Mutex, MutexGuard, RwLock,
    },
    thread,
};
#[cfg(all(unix, not(all(loom, test))))]
pub(crate) use std::sync::atomic::{fence, AtomicBool, AtomicU32, Ordering};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(all(windows, not(all(loom, test))))]
pub(crate) use std::{
    net,
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
        RwLock,
    },
    thread,
    time::Instant,
};

/// Locks, also after a panic of another holder: every critical section here leaves the state sound at each step, so
/// poisoning would only turn one thread's bug into everybody's.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A `SeqCst` fence, for where nothing but loads came since a [`lock`] was taken.
///
/// x86 needs no instruction for it: the lock was taken by an atomic read-modify-write, loads and stores are not
/// reordered with such an instruction there, nor loads with loads (Intel's manual, volume 3, «Memory Ordering»). Only
/// the compiler must be told. A fence on top costs as much as a third of what arming does.
#[cfg(unix)]
#[inline]
pub(crate) fn fence_after_lock() {
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(loom)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(any(target_arch = "x86", target_arch = "x86_64"), not(loom))))]
    fence(Ordering::SeqCst);
}
