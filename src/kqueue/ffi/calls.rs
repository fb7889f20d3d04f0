//! The calls themselves, and the numbers that only they use.

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{filter_t, kevent, EV_ADD, EV_ONESHOT, EV_RECEIPT};
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
use super::{flags_t, EV_CLEAR};
use crate::hooks::faults::{fault, Call};
use crate::unix::ffi::{check, count, set_close_on_exec};

#[cfg(target_os = "netbsd")]
pub(crate) type count_t = usize;
#[cfg(not(target_os = "netbsd"))]
pub(crate) type count_t = c_int;

#[cfg(not(target_os = "netbsd"))]
pub(crate) const EVFILT_PROC: filter_t = -5;
#[cfg(target_os = "netbsd")]
pub(crate) const EVFILT_PROC: filter_t = 4;
pub(crate) const NOTE_EXIT: u32 = 0x8000_0000;

#[cfg(target_vendor = "apple")]
pub(crate) const EVFILT_USER: filter_t = -10;
#[cfg(target_os = "freebsd")]
pub(crate) const EVFILT_USER: filter_t = -11;
#[cfg(target_os = "dragonfly")]
pub(crate) const EVFILT_USER: filter_t = -9;
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;

/// [`timespec`](https://man.freebsd.org/cgi/man.cgi?query=timespec)
#[repr(C)]
pub(crate) struct timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: c_long,
}

extern "C" {
    /// [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue)
    #[link_name = "kqueue"]
    pub(crate) fn sys_kqueue() -> c_int;
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent). NetBSD's plain name is that of an older ABI.
    #[cfg_attr(not(target_os = "netbsd"), link_name = "kevent")]
    #[cfg_attr(target_os = "netbsd", link_name = "__kevent50")]
    pub(crate) fn sys_kevent(
        queue: c_int,
        changes: *const kevent,
        change_count: count_t,
        events: *mut kevent,
        event_count: count_t,
        timeout: *const timespec,
    ) -> c_int;
}

fn count_of(entries: &[kevent]) -> count_t {
    count_t::try_from(entries.len()).unwrap_or(count_t::MAX)
}

/// Makes a queue, close-on-exec. It becomes so a moment after it was made. A child of another thread cannot carry it
/// through `exec` in between, since a child does not inherit the queue of its parent.
pub(crate) fn kqueue() -> io::Result<OwnedFd> {
    // SAFETY: it takes nothing.
    let fd = check(unsafe { sys_kqueue() })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let queue = unsafe { OwnedFd::from_raw_fd(fd) };
    set_close_on_exec(queue.as_fd())?;
    Ok(queue)
}

/// The change that has a queue report the end of a process, once.
pub(crate) fn end_of_process(number: u32) -> io::Result<kevent> {
    fault(Call::WatchChild)?;
    let ident = usize::try_from(number).unwrap_or(usize::MAX);
    let flags = EV_ADD | EV_ONESHOT | EV_RECEIPT;
    Ok(kevent {
        fflags: NOTE_EXIT,
        ..kevent::change(ident, EVFILT_PROC, flags, 0)
    })
}

/// Submits changes with `EV_RECEIPT`, each of which gets a receipt. The call neither waits nor takes events, since the
/// receipts leave no room for any. Returns how many receipts there are.
pub(crate) fn submit(
    queue: BorrowedFd<'_>,
    changes: &[kevent],
    receipts: &mut [kevent],
) -> io::Result<usize> {
    if changes.iter().any(|change| change.flags & EV_ADD != 0) {
        // A change does not say whether it is the first of its source.
        fault(Call::Watch)?;
        fault(Call::WatchAnew)?;
    }
    let receipts = &mut receipts[..changes.len()];
    call(queue, changes, receipts, Some(Duration::ZERO))
}

/// Waits, without bound if there is no time-out. Returns how many entries were filled.
pub(crate) fn wait(
    queue: BorrowedFd<'_>,
    entries: &mut [kevent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    fault(Call::Wait)?;
    call(queue, &[], entries, timeout)
}

fn call(
    queue: BorrowedFd<'_>,
    changes: &[kevent],
    entries: &mut [kevent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = timeout.map(|timeout| timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: c_long::from(timeout.subsec_nanos()),
    });
    let timeout: *const timespec = timeout.as_ref().map_or(std::ptr::null(), |timeout| timeout);
    // SAFETY: as many changes are there, and as many entries may be written, as is said; the time-out is null or read
    // during the call only.
    count(unsafe {
        sys_kevent(
            queue.as_raw_fd(),
            changes.as_ptr(),
            count_of(changes),
            entries.as_mut_ptr(),
            count_of(entries),
            timeout,
        )
    })
}

/// Makes the user event that [`trigger_user_event`] triggers.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) fn add_user_event(queue: BorrowedFd<'_>, udata: usize) -> io::Result<()> {
    change_user_event(queue, EV_ADD | EV_CLEAR, 0, udata)
}

/// Triggers the user event. Triggers that were not reported yet are reported as one. The change must have no other
/// flag: FreeBSD cancels the trigger if it has `EV_CLEAR`. And it must have the `udata`, which it overwrites.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) fn trigger_user_event(queue: BorrowedFd<'_>, udata: usize) -> io::Result<()> {
    change_user_event(queue, 0, NOTE_TRIGGER, udata)
}

#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
fn change_user_event(
    queue: BorrowedFd<'_>,
    flags: flags_t,
    fflags: u32,
    udata: usize,
) -> io::Result<()> {
    let mut change = kevent::change(0, EVFILT_USER, flags, udata);
    change.fflags = fflags;
    // Without room for an event it does not wait, and a failure is the call's own.
    call(queue, &[change], &mut [], None).map(drop)
}
