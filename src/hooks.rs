//! Everything in `src` that is for tests: what they see or break inside the crate under `--cfg minimio_hooks`, and what
//! the model checker replaces under `--cfg loom`. In a user's program nothing of it is compiled, but for the names of
//! `std`'s locks and empty functions. It is no part of the API.

pub(crate) mod faults;
#[cfg(all(minimio_hooks, windows))]
pub(crate) mod ffi;
#[cfg(all(minimio_hooks, windows))]
pub(crate) mod guard;
pub(crate) mod sync;
#[cfg(any(windows, all(loom, test)))]
#[cfg_attr(not(minimio_hooks), allow(unreachable_pub))] // The tests see it under these hooks alone.
#[allow(unused_variables)] // Each configuration uses other arguments of the functions in it.
pub mod windows;

// The models are outside `src`, since they are no part of the product. The published package is built without them.
#[cfg(all(loom, test))]
#[path = "../verify/unix/model.rs"]
mod model_unix;
#[cfg(all(loom, test))]
#[path = "../verify/windows/model.rs"]
mod model_windows;

#[cfg(all(minimio_hooks, unix))]
pub use faults::shorten;
#[cfg(minimio_hooks)]
pub use faults::{fail, Call};

#[cfg(minimio_hooks)]
static WITHOUT_EPOLL_PWAIT2: std::sync::atomic::AtomicBool =
    std::sync::atomic::AtomicBool::new(false);

/// Makes every later `Poll` behave as on a kernel without `epoll_pwait2`.
#[cfg(minimio_hooks)]
pub fn force_epoll_wait(on: bool) {
    WITHOUT_EPOLL_PWAIT2.store(on, std::sync::atomic::Ordering::SeqCst);
}

#[cfg(all(minimio_hooks, any(target_os = "linux", target_os = "android")))]
pub(crate) fn epoll_wait_forced() -> bool {
    WITHOUT_EPOLL_PWAIT2.load(std::sync::atomic::Ordering::SeqCst)
}

#[cfg(all(not(minimio_hooks), any(target_os = "linux", target_os = "android")))]
pub(crate) const fn epoll_wait_forced() -> bool {
    false
}
