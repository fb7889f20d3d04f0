//! The system calls of the kqueue backend, declared by hand, each with its manual page and a safe wrapper.
//!
//! The systems agree on the calls and on most numbers, and disagree on the layout of `struct kevent`:
//! [FreeBSD](https://man.freebsd.org/cgi/man.cgi?query=kqueue),
//! [macOS, iOS](https://developer.apple.com/library/archive/documentation/System/Conceptual/ManPages_iPhoneOS/man2/kqueue.2.html),
//! [NetBSD](https://man.netbsd.org/kqueue.2), [OpenBSD](https://man.openbsd.org/kqueue.2),
//! [DragonFly](https://man.dragonflybsd.org/?command=kqueue&section=2).
//!
//! Apart from `hooks` it knows only `std` and `unix::ffi`. Every item is compared with the `libc` crate. What makes no
//! system call is also compiled for the unit tests on Linux, with OpenBSD's layout.

#![allow(non_camel_case_types)]

use std::ffi::c_int;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "ffi/calls.rs"] // written out, since this file is also included by a path
mod calls;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use calls::*;

// NetBSD has its own widths and its own numbers of filters.
#[cfg(target_os = "netbsd")]
mod widths {
    pub(crate) type filter_t = u32;
    pub(crate) type flags_t = u32;
    pub(crate) const EVFILT_READ: filter_t = 0;
    pub(crate) const EVFILT_WRITE: filter_t = 1;
    pub(crate) const EVFILT_TIMER: filter_t = 6;
}
#[cfg(not(target_os = "netbsd"))]
mod widths {
    pub(crate) type filter_t = i16;
    pub(crate) type flags_t = u16;
    pub(crate) const EVFILT_READ: filter_t = -1;
    pub(crate) const EVFILT_WRITE: filter_t = -2;
    pub(crate) const EVFILT_TIMER: filter_t = -7;
}
pub(crate) use widths::*;

#[cfg(any(target_vendor = "apple", target_os = "dragonfly"))]
pub(crate) type data_t = isize;
#[cfg(not(any(target_vendor = "apple", target_os = "dragonfly")))]
pub(crate) type data_t = i64;

pub(crate) const EV_ADD: flags_t = 0x0001;
pub(crate) const EV_DELETE: flags_t = 0x0002;
pub(crate) const EV_ONESHOT: flags_t = 0x0010;
pub(crate) const EV_CLEAR: flags_t = 0x0020;
pub(crate) const EV_RECEIPT: flags_t = 0x0040;
pub(crate) const EV_ERROR: flags_t = 0x4000;
pub(crate) const EV_EOF: flags_t = 0x8000;
/// Apple's mark of urgent data. Other systems leave the meaning of this bit to the filter, and the filters of sockets
/// do not use it.
pub(crate) const EV_OOBAND: flags_t = 0x2000;

pub(crate) const ENOENT: c_int = 2;
pub(crate) const EBADF: c_int = 9;

/// One change, or one report. `udata` is a pointer in the headers; here it is never one.
#[cfg_attr(target_vendor = "apple", repr(C, packed(4)))]
#[cfg_attr(not(target_vendor = "apple"), repr(C))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    pub(crate) filter: filter_t,
    pub(crate) flags: flags_t,
    pub(crate) fflags: u32,
    pub(crate) data: data_t,
    pub(crate) udata: usize,
    #[cfg(target_os = "freebsd")]
    pub(crate) ext: [u64; 4],
}

/// The key of a source needs all 64 bits of `udata`. (A port to machines of 32 bits would use Apple's `kevent64_s` and
/// FreeBSD's `ext`.)
const _: () = assert!(
    usize::BITS == 64,
    "the kqueue backend needs 64 bits of udata"
);

impl kevent {
    pub(crate) const ZERO: kevent = kevent {
        ident: 0,
        filter: EVFILT_READ,
        flags: 0,
        fflags: 0,
        data: 0,
        udata: 0,
        #[cfg(target_os = "freebsd")]
        ext: [0; 4],
    };

    /// A change of what is asked for.
    pub(crate) fn change(ident: usize, filter: filter_t, flags: flags_t, udata: usize) -> kevent {
        kevent {
            ident,
            filter,
            flags,
            udata,
            ..kevent::ZERO
        }
    }
}
