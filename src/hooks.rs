//! The one room with anything in it that is for tests: what they see or break inside, under `--cfg minimio_hooks`, and what
//! the model checker replaces, under `--cfg loom`. In a user's program all that stands here is compiled away, but for the
//! names of `std`'s own locks. No part of the API.

pub(crate) mod faults;
#[cfg(all(minimio_hooks, windows))]
pub(crate) mod guard;
#[cfg_attr(not(windows), allow(dead_code))] // the Unix half has none
pub(crate) mod rules;
pub(crate) mod sync;
#[cfg(all(minimio_hooks, windows))]
pub mod windows;

// The models lie outside `src`: they are no part of the product, and the published package is built without them.
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
