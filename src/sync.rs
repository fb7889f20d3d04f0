//! Which locks and atomics the crate uses: std's, or those of the model checker `loom` in its own tests.

#[cfg(all(loom, test))]
pub(crate) use loom::sync::{
    atomic::{fence, AtomicBool, AtomicU32, Ordering},
    Mutex, MutexGuard,
};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{
    atomic::{fence, AtomicBool, AtomicU32, Ordering},
    Mutex, MutexGuard,
};

/// Locks, also after a panic of another holder: every critical section here leaves the state sound at each step, so
/// poisoning would only turn one thread's bug into everybody's.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
