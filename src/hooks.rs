//! What tests need to see or to break inside. Compiled only under `--cfg minimio_hooks`, and no part of the API.

#[cfg(windows)]
pub mod windows;
#[cfg(unix)]
pub use crate::faults::shorten;
pub use crate::faults::{fail, Call};

use std::sync::atomic::{AtomicBool, Ordering};

static WITHOUT_EPOLL_PWAIT2: AtomicBool = AtomicBool::new(false);

/// Makes every later `Poll` behave as on a kernel without `epoll_pwait2`.
pub fn force_epoll_wait(on: bool) {
    WITHOUT_EPOLL_PWAIT2.store(on, Ordering::SeqCst);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn epoll_wait_forced() -> bool {
    WITHOUT_EPOLL_PWAIT2.load(Ordering::SeqCst)
}
