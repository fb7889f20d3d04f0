//! The locks, atomics, clock and sockets that the backends use: those of `std`, or those of the model checker `loom`
//! and of the kernel that the models play.

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
pub(crate) use std::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicU32, Ordering};
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

/// Locks, even if a thread has panicked while it held the lock. Every critical section in this crate leaves the state
/// sound at each step, so an error in all other threads would be of no use.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A `SeqCst` fence, for a place where the thread has only loaded since it took a [`lock`].
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
