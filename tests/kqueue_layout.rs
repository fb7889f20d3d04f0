//! Compares every structure, number and signature that the kqueue backend declares by hand with the `libc` crate. This
//! happens at compile time, so a mistake is an error on any machine that type-checks the target.
//!
//! Contract: docs/contract.md, 7.

#![cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
// The tests look only at declarations, and some names are spelled as in the C headers.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../src/hooks/faults.rs"]
mod faults;
#[path = "../src/kqueue/ffi.rs"]
mod queue;
#[path = "../src/unix/ffi.rs"]
mod socket;

// As the crate names them.
mod hooks {
    pub(crate) use crate::faults;
}
mod unix {
    pub(crate) use crate::socket as ffi;
}

use std::ffi::{c_int, c_void};
use std::mem::{align_of, offset_of, size_of, MaybeUninit};
use std::ptr::addr_of;

/// Asserts that the numbers are the same, whatever their integer types are.
macro_rules! same_numbers {
    ($module:ident: $($name:ident)*) => {$(
        const _: () = assert!(
            $module::$name as i64 == libc::$name as i64,
            concat!(stringify!($name), " differs from libc's")
        );
    )*};
}

/// Asserts that the sizes are the same, and that each field has the same place and size.
macro_rules! same_layout {
    ($module:ident::$name:ident { $($field:ident)* }) => {
        const _: () = assert!(
            size_of::<$module::$name>() == size_of::<libc::$name>(),
            concat!("the size of ", stringify!($name), " differs from libc's")
        );
        const _: () = {$(
            assert!(
                offset_of!($module::$name, $field) == offset_of!(libc::$name, $field),
                concat!("the place of ", stringify!($field), " differs from libc's")
            );
            assert!(
                size_of_field!($module::$name, $field) == size_of_field!(libc::$name, $field),
                concat!("the size of ", stringify!($field), " differs from libc's")
            );
        )*};
    };
}

macro_rules! size_of_field {
    ($struct:ty, $field:ident) => {{
        let whole = MaybeUninit::<$struct>::uninit();
        let whole = whole.as_ptr();
        // SAFETY: the pointer points into `whole`, and nothing is read.
        size_behind(unsafe { addr_of!((*whole).$field) })
    }};
}

const fn size_behind<T>(_: *const T) -> usize {
    size_of::<T>()
}

same_layout!(queue::kevent { ident filter flags fflags data udata });
#[cfg(target_os = "freebsd")]
same_layout!(queue::kevent { ext });
const _: () = assert!(align_of::<queue::kevent>() == align_of::<libc::kevent>());
same_layout!(queue::timespec { tv_sec tv_nsec });
const _: () = assert!(align_of::<queue::timespec>() == align_of::<libc::timespec>());

same_numbers!(queue: EVFILT_READ EVFILT_WRITE EVFILT_TIMER);
same_numbers!(queue: EV_ADD EV_DELETE EV_CLEAR EV_RECEIPT EV_ERROR EV_EOF);
same_numbers!(queue: EVFILT_PROC NOTE_EXIT EV_ONESHOT ENOENT EBADF);
#[cfg(target_vendor = "apple")]
same_numbers!(queue: EV_OOBAND);
#[cfg(not(target_vendor = "apple"))]
const _: () = assert!(queue::EV_OOBAND as i64 == libc::EV_FLAG1 as i64);
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
same_numbers!(queue: EVFILT_USER NOTE_TRIGGER);

type Kevent<K, T, N> = unsafe extern "C" fn(c_int, *const K, N, *mut K, N, *const T) -> c_int;
const _: Kevent<queue::kevent, queue::timespec, queue::count_t> = queue::sys_kevent;
const _: Kevent<libc::kevent, libc::timespec, queue::count_t> = libc::kevent;
const _: [unsafe extern "C" fn() -> c_int; 2] = [queue::sys_kqueue, libc::kqueue];

same_layout!(socket::sockaddr_in { sin_len sin_family sin_port sin_addr sin_zero });
same_layout!(socket::sockaddr_in6 {
    sin6_len sin6_family sin6_port sin6_flowinfo sin6_addr sin6_scope_id
});
const _: () = assert!(align_of::<socket::sockaddr_any>() == align_of::<libc::sockaddr_in6>());
same_layout!(socket::msghdr {
    msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags
});
const _: () = assert!(align_of::<socket::msghdr>() == align_of::<libc::msghdr>());
same_layout!(socket::pollfd { fd events revents });
const _: () = assert!(size_of::<socket::nfds_t>() == size_of::<libc::nfds_t>());
const _: () = assert!(size_of::<socket::socklen_t>() == size_of::<libc::socklen_t>());
// An `IoSlice` has the layout of an `iovec`, which is the same on all systems.
const _: () = assert!(size_of::<std::io::IoSlice<'_>>() == size_of::<libc::iovec>());

same_numbers!(socket: AF_INET AF_INET6 AF_UNIX SOCK_STREAM MSG_PEEK SOL_SOCKET SO_ERROR);
same_numbers!(socket: POLLIN POLLOUT POLLERR POLLHUP POLLNVAL);
same_numbers!(socket: ESRCH ECHILD EPIPE EAGAIN EINPROGRESS EALREADY EISCONN ENOTCONN);
same_numbers!(socket: ECONNREFUSED ECONNRESET ECONNABORTED ETIMEDOUT ENETRESET ENETDOWN);
same_numbers!(socket: ENETUNREACH EHOSTDOWN EHOSTUNREACH);
#[cfg(not(target_vendor = "apple"))]
same_numbers!(socket: SOCK_CLOEXEC SOCK_NONBLOCK MSG_NOSIGNAL);
#[cfg(target_vendor = "apple")]
same_numbers!(socket: SO_NOSIGPIPE);
same_numbers!(socket: F_SETFD F_GETFL F_SETFL FD_CLOEXEC O_CLOEXEC O_NONBLOCK);
#[cfg(target_os = "netbsd")]
same_numbers!(socket: O_NOSIGPIPE);

type Socklen = socket::socklen_t;
type Connect<A> = unsafe extern "C" fn(c_int, *const A, Socklen) -> c_int;
type GetOption = unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut Socklen) -> c_int;
type Receive = unsafe extern "C" fn(c_int, *mut c_void, usize, c_int) -> isize;
type Send = unsafe extern "C" fn(c_int, *const c_void, usize, c_int) -> isize;
type SendMessage<M> = unsafe extern "C" fn(c_int, *const M, c_int) -> isize;
type Poll<P> = unsafe extern "C" fn(*mut P, socket::nfds_t, c_int) -> c_int;
const _: [unsafe extern "C" fn(c_int, c_int, c_int) -> c_int; 2] = [socket::socket, libc::socket];
const _: Connect<socket::sockaddr_any> = socket::connect;
const _: Connect<libc::sockaddr> = libc::connect;
const _: [unsafe extern "C" fn(c_int, c_int) -> c_int; 2] = [socket::listen, libc::listen];
const _: [GetOption; 2] = [socket::getsockopt, libc::getsockopt];
const _: [Receive; 2] = [socket::sys_recv, libc::recv];
const _: [Send; 2] = [socket::sys_send, libc::send];
const _: SendMessage<socket::msghdr> = socket::sendmsg;
const _: SendMessage<libc::msghdr> = libc::sendmsg;
const _: Poll<socket::pollfd> = socket::poll;
const _: Poll<libc::pollfd> = libc::poll;
const _: [unsafe extern "C" fn(c_int, c_int, ...) -> c_int; 2] = [socket::fcntl, libc::fcntl];

#[cfg(not(target_vendor = "apple"))]
const _: () = {
    type Accept<A> = unsafe extern "C" fn(c_int, *mut A, *mut Socklen, c_int) -> c_int;
    let _: Accept<socket::sockaddr_any> = socket::accept4;
    let _: Accept<libc::sockaddr> = libc::accept4;
    let _: [unsafe extern "C" fn(*mut c_int, c_int) -> c_int; 2] = [socket::pipe2, libc::pipe2];
};
#[cfg(target_vendor = "apple")]
const _: () = {
    type Accept<A> = unsafe extern "C" fn(c_int, *mut A, *mut Socklen) -> c_int;
    type SetOption = unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, Socklen) -> c_int;
    let _: Accept<socket::sockaddr_any> = socket::sys_accept;
    let _: Accept<libc::sockaddr> = libc::accept;
    let _: [SetOption; 2] = [socket::setsockopt, libc::setsockopt];
    let _: [unsafe extern "C" fn(*mut c_int) -> c_int; 2] = [socket::sys_pipe, libc::pipe];
};
