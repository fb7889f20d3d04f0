//! The system calls of the epoll backend, declared by hand, each with its manual page and a safe wrapper.
//!
//! Apart from `hooks` it knows only `std` and `unix::ffi`. Every item is compared with the `libc` crate.

#![allow(non_camel_case_types)]

use std::ffi::{c_int, c_uint};
#[cfg(not(target_os = "android"))]
use std::ffi::{c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::hooks::faults::{fault, Call};
use crate::unix::ffi::{check, count};

pub(crate) const EPOLL_CLOEXEC: c_int = 0o2_000_000;
pub(crate) const EPOLL_CTL_ADD: c_int = 1;
pub(crate) const EPOLL_CTL_DEL: c_int = 2;
pub(crate) const EPOLL_CTL_MOD: c_int = 3;

pub(crate) const EPOLLIN: u32 = 0x001;
pub(crate) const EPOLLPRI: u32 = 0x002;
pub(crate) const EPOLLOUT: u32 = 0x004;
pub(crate) const EPOLLERR: u32 = 0x008;
pub(crate) const EPOLLHUP: u32 = 0x010;
pub(crate) const EPOLLRDHUP: u32 = 0x2000;
pub(crate) const EPOLLET: u32 = 1 << 31;

pub(crate) const EFD_CLOEXEC: c_int = 0o2_000_000;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
pub(crate) const EFD_NONBLOCK: c_int = 0o4_000;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
pub(crate) const EFD_NONBLOCK: c_int = 0o200;

pub(crate) const EINTR: c_int = 4;
pub(crate) const EBADF: c_int = 9;
pub(crate) const EFAULT: c_int = 14;
pub(crate) const EINVAL: c_int = 22;
pub(crate) const ENFILE: c_int = 23;
pub(crate) const EMFILE: c_int = 24;
pub(crate) const ENOMEM: c_int = 12;

/// Where the numbers of the system calls begin, but for the oldest ABI of each machine at 0. Calls as young as those
/// below have the same number everywhere, counted from here.
///
/// Android's libraries and filters do not know them, and the filter kills.
#[cfg(not(any(
    target_os = "android",
    target_arch = "mips",
    target_arch = "mips64",
    all(target_arch = "x86_64", target_pointer_width = "32")
)))]
const FIRST_NUMBER: c_long = 0;
#[cfg(target_arch = "mips")]
const FIRST_NUMBER: c_long = 4000;
#[cfg(target_arch = "mips64")]
const FIRST_NUMBER: c_long = 5000;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "32"))]
const FIRST_NUMBER: c_long = 0x4000_0000;

#[cfg(not(target_os = "android"))]
pub(crate) const SYS_EPOLL_PWAIT2: c_long = FIRST_NUMBER + 441;
#[cfg(not(target_os = "android"))]
pub(crate) const SYS_PIDFD_OPEN: c_long = FIRST_NUMBER + 434;

/// [`epoll_event`](https://man7.org/linux/man-pages/man3/epoll_event.3type.html), packed on x86-64 alone.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
pub(crate) struct epoll_event {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

/// The kernel's own `timespec` of the calls since 5.1: 64 bits each on every machine, unlike the C library's
/// ([`timespec`](https://man7.org/linux/man-pages/man3/timespec.3type.html)).
#[cfg(not(target_os = "android"))]
#[repr(C)]
pub(crate) struct kernel_timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}

extern "C" {
    /// [`epoll_create1`](https://man7.org/linux/man-pages/man2/epoll_create.2.html)
    #[link_name = "epoll_create1"]
    pub(crate) fn sys_epoll_create1(flags: c_int) -> c_int;
    /// [`epoll_ctl`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    #[link_name = "epoll_ctl"]
    pub(crate) fn sys_epoll_ctl(
        set: c_int,
        operation: c_int,
        fd: c_int,
        event: *mut epoll_event,
    ) -> c_int;
    /// [`epoll_wait`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html)
    #[link_name = "epoll_wait"]
    pub(crate) fn sys_epoll_wait(
        set: c_int,
        events: *mut epoll_event,
        most: c_int,
        timeout_ms: c_int,
    ) -> c_int;
    /// [`eventfd`](https://man7.org/linux/man-pages/man2/eventfd.2.html)
    #[link_name = "eventfd"]
    pub(crate) fn sys_eventfd(value: c_uint, flags: c_int) -> c_int;
    /// [`syscall`](https://man7.org/linux/man-pages/man2/syscall.2.html), for `epoll_pwait2`, which C libraries have
    /// only since glibc 2.35, and `pidfd_open`, since 2.36.
    #[cfg(not(target_os = "android"))]
    #[link_name = "syscall"]
    pub(crate) fn sys_syscall(number: c_long, ...) -> c_long;
}

/// Makes a set, close-on-exec.
pub(crate) fn epoll_create1() -> io::Result<OwnedFd> {
    // SAFETY: it takes a number only.
    let fd = check(unsafe { sys_epoll_create1(EPOLL_CLOEXEC) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds `fd` to the set, changes what it is asked for, or takes it out.
pub(crate) fn epoll_ctl(
    set: BorrowedFd<'_>,
    operation: c_int,
    fd: c_int,
    events: u32,
    data: u64,
) -> io::Result<()> {
    match operation {
        EPOLL_CTL_ADD => fault(Call::Watch)?,
        EPOLL_CTL_MOD => fault(Call::WatchAnew)?,
        _ => {}
    }
    let mut event = epoll_event { events, data };
    // SAFETY: the event is read during the call only.
    check(unsafe { sys_epoll_ctl(set.as_raw_fd(), operation, fd, &mut event) })?;
    Ok(())
}

/// Waits, in milliseconds, or without bound if negative. Returns how many entries were filled.
pub(crate) fn epoll_wait(
    set: BorrowedFd<'_>,
    entries: &mut [epoll_event],
    timeout_ms: c_int,
) -> io::Result<usize> {
    fault(Call::Wait)?;
    let (first, most) = (entries.as_mut_ptr(), count_of(entries));
    // SAFETY: no more entries are written than there are.
    count(unsafe { sys_epoll_wait(set.as_raw_fd(), first, most, timeout_ms) })
}

/// Waits, in nanoseconds. `ENOSYS` before Linux 5.11, and always on Android, whose filter kills whoever tries the call.
#[cfg(target_os = "android")]
pub(crate) fn epoll_pwait2(
    _set: BorrowedFd<'_>,
    _entries: &mut [epoll_event],
    _timeout: Duration,
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Waits, in nanoseconds. `ENOSYS` before Linux 5.11.
#[cfg(not(target_os = "android"))]
pub(crate) fn epoll_pwait2(
    set: BorrowedFd<'_>,
    entries: &mut [epoll_event],
    timeout: Duration,
) -> io::Result<usize> {
    fault(Call::Wait)?;
    let timeout = kernel_timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    // SAFETY: the arguments are those of epoll_pwait2: no more entries are written than there are, the time-out is read
    // during the call only, and there is no signal mask.
    count(unsafe {
        sys_syscall(
            SYS_EPOLL_PWAIT2,
            set.as_raw_fd(),
            entries.as_mut_ptr(),
            count_of(entries),
            &timeout,
            std::ptr::null::<c_void>(),
            0_usize,
        )
    })
}

fn count_of(entries: &[epoll_event]) -> c_int {
    c_int::try_from(entries.len()).unwrap_or(c_int::MAX)
}

/// Makes an eventfd, non-blocking and close-on-exec.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let fd = check(unsafe { sys_eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a process by its number, close-on-exec. `ENOSYS` before Linux 5.3, and always on Android, whose filter kills
/// whoever tries the call.
#[cfg(target_os = "android")]
pub(crate) fn pidfd_open(_number: u32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a process by its number, close-on-exec
/// ([`pidfd_open`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)). `ENOSYS` before Linux 5.3.
#[cfg(not(target_os = "android"))]
pub(crate) fn pidfd_open(number: u32) -> io::Result<OwnedFd> {
    fault(Call::WatchChild)?;
    // SAFETY: the arguments are those of pidfd_open, numbers only.
    let fd = unsafe { sys_syscall(SYS_PIDFD_OPEN, number, 0 as c_uint) };
    // A descriptor is a small number.
    let fd = check(c_int::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
