//! The calls that make a pipe and change its ends.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, O_CLOEXEC, WAITS_FOR_NOTHING};
#[cfg(target_vendor = "apple")]
use super::{pipe2, F_SETNOSIGPIPE};
use crate::hooks::faults::{fault, Call};

pub(crate) const F_SETFD: c_int = 2;
pub(crate) const F_GETFL: c_int = 3;
pub(crate) const F_SETFL: c_int = 4;
pub(crate) const FD_CLOEXEC: c_int = 1;

extern "C" {
    /// [`pipe2`](https://man7.org/linux/man-pages/man2/pipe.2.html)
    #[cfg(not(target_vendor = "apple"))]
    pub(crate) fn pipe2(ends: *mut c_int, flags: c_int) -> c_int;
    /// [`fcntl`](https://man7.org/linux/man-pages/man2/fcntl.2.html)
    pub(crate) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

/// Makes a pipe, close-on-exec: what is written to the second end is read from the first. Either both ends block, or
/// neither does.
pub(crate) fn pipe(blocking: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    fault(Call::Pipe)?;
    let mut ends: [c_int; 2] = [-1; 2];
    let flags = if blocking { 0 } else { WAITS_FOR_NOTHING };
    // SAFETY: there is room for the two descriptors.
    check(unsafe { pipe2(ends.as_mut_ptr(), O_CLOEXEC | flags) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let read_end = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: the descriptor is new, so nobody else owns it.
    let write_end = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    if cfg!(target_vendor = "apple") {
        for end in [&read_end, &write_end] {
            set_close_on_exec(end.as_fd())?;
            if !blocking {
                set_nonblocking(end.as_fd())?;
            }
        }
    }
    Ok((read_end, write_end))
}

/// A descriptor that is to be closed when the process starts another program.
pub(crate) fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it takes numbers only.
    check(unsafe { fcntl(fd.as_raw_fd(), F_SETFD, FD_CLOEXEC) })?;
    Ok(())
}

/// Makes an end of a pipe non-blocking, and keeps it from raising `SIGPIPE` where the system can.
pub(crate) fn set_nonblocking(end: BorrowedFd<'_>) -> io::Result<()> {
    fault(Call::Nonblocking)?;
    let fd = end.as_raw_fd();
    // SAFETY: it takes numbers only.
    let flags = check(unsafe { fcntl(fd, F_GETFL) })?;
    // SAFETY: it takes numbers only.
    check(unsafe { fcntl(fd, F_SETFL, flags | WAITS_FOR_NOTHING) })?;
    #[cfg(target_vendor = "apple")]
    // SAFETY: it takes numbers only. If it is refused, all is as on the systems that cannot do it.
    let _refused = unsafe { fcntl(fd, F_SETNOSIGPIPE, 1 as c_int) };
    Ok(())
}
