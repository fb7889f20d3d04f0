//! Compares everything that the `ffi` modules of Linux declare with the `libc` crate: the sizes and alignments of
//! structures, the places and widths of their fields, constants and signatures. The compiler makes nearly all of these
//! comparisons, so a target that cannot be run is checked, too.
//!
//! Contract: docs/contract.md, 7.

#![cfg(any(target_os = "linux", target_os = "android"))]
#![allow(clippy::unwrap_used)]

// The tests look only at declarations, so the wrappers are not used.
#[allow(dead_code)]
#[path = "../src/epoll/ffi.rs"]
mod epoll_ffi;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../src/hooks/faults.rs"]
mod faults;
#[allow(dead_code, unused_imports)]
#[path = "../src/unix/ffi.rs"]
mod unix_ffi;

// As the crate names them.
mod hooks {
    pub(crate) use crate::faults;
}
mod unix {
    pub(crate) use crate::unix_ffi as ffi;
}

#[cfg(not(target_os = "android"))]
use std::ffi::c_long;
use std::ffi::{c_int, c_uint, c_void};
use std::io::{IoSlice, IoSliceMut};
use std::mem::{align_of, size_of, MaybeUninit};

/// The width of a field. The function that is passed is never called.
const fn width<T, F>(_: fn(*const T) -> *const F) -> usize {
    size_of::<F>()
}

macro_rules! width {
    ($of:ty, $field:ident) => {
        // SAFETY: this closure is never called.
        width(|it: *const $of| unsafe { std::ptr::addr_of!((*it).$field) })
    };
}

/// `offset_of` of the standard library, which the oldest compiler that we support does not have.
macro_rules! offset_of {
    ($of:ty, $field:ident) => {{
        let it = MaybeUninit::<$of>::uninit();
        let base = it.as_ptr();
        // SAFETY: no reference is made and nothing read, and the field is within the same object.
        let field = unsafe { std::ptr::addr_of!((*base).$field) };
        // SAFETY: both point into `it`.
        unsafe { field.cast::<u8>().offset_from(base.cast()) }
    }};
}

/// Asserts that the sizes are the same, and that the fields have the same places and widths.
macro_rules! same_fields {
    ($ours:ty, $theirs:ty: $($field:ident),*) => {
        const _: () = assert!(size_of::<$ours>() == size_of::<$theirs>());
        $(
            const _: () = assert!(offset_of!($ours, $field) == offset_of!($theirs, $field));
            const _: () = assert!(width!($ours, $field) == width!($theirs, $field));
        )*
    };
}

macro_rules! same_alignment {
    ($ours:ty, $theirs:ty) => {
        const _: () = assert!(align_of::<$ours>() == align_of::<$theirs>());
    };
}

macro_rules! same_numbers {
    ($ffi:ident, $type:ty: $($name:ident),*) => {
        // The number in the other crate may have another integer type that is not wider.
        $(const _: () = assert!($ffi::$name == libc::$name as $type);)*
    };
}

// epoll_event(3type): the user's data is a union in C, and a number in both crates.
same_alignment!(epoll_ffi::epoll_event, libc::epoll_event);
const _: () = {
    type Ours = epoll_ffi::epoll_event;
    type Theirs = libc::epoll_event;
    assert!(size_of::<Ours>() == size_of::<Theirs>());
    assert!(offset_of!(Ours, events) == offset_of!(Theirs, events));
    assert!(width!(Ours, events) == width!(Theirs, events));
    // `libc` calls this field `u64`.
    assert!(offset_of!(Ours, data) == offset_of!(Theirs, u64));
    assert!(width!(Ours, data) == width!(Theirs, u64));
};

// The structure of the kernel. It is the same as that of the C library if the latter has 64 bits.
#[cfg(not(target_os = "android"))]
const _: () = {
    assert!(size_of::<epoll_ffi::kernel_timespec>() == 16);
    assert!(offset_of!(epoll_ffi::kernel_timespec, tv_sec) == 0);
    assert!(offset_of!(epoll_ffi::kernel_timespec, tv_nsec) == 8);
};
#[cfg(all(target_pointer_width = "64", not(target_os = "android")))]
same_fields!(epoll_ffi::kernel_timespec, libc::timespec: tv_sec, tv_nsec);
#[cfg(all(target_pointer_width = "64", not(target_os = "android")))]
same_alignment!(epoll_ffi::kernel_timespec, libc::timespec);

same_fields!(unix_ffi::pollfd, libc::pollfd: fd, events, revents);
same_alignment!(unix_ffi::pollfd, libc::pollfd);

// It may be less aligned than that of `libc`, because it is passed only as a part of `sockaddr_any`.
same_fields!(unix_ffi::sockaddr_in, libc::sockaddr_in: sin_family, sin_port, sin_addr, sin_zero);
same_fields!(
    unix_ffi::sockaddr_in6, libc::sockaddr_in6:
    sin6_family, sin6_port, sin6_flowinfo, sin6_addr, sin6_scope_id
);
same_alignment!(unix_ffi::sockaddr_in6, libc::sockaddr_in6);
const _: () = {
    use unix_ffi::sockaddr_any;
    assert!(align_of::<sockaddr_any>() >= align_of::<libc::sockaddr_in>());
    assert!(align_of::<sockaddr_any>() >= align_of::<libc::sockaddr_in6>());
    assert!(size_of::<sockaddr_any>() == size_of::<libc::sockaddr_in6>());
    assert!(offset_of!(unix_ffi::sockaddr_in, sin_family) == offset_of!(libc::sockaddr, sa_family));
    assert!(width!(unix_ffi::sockaddr_in, sin_family) == width!(libc::sockaddr, sa_family));
    // `decode` reads the family of either.
    assert!(
        offset_of!(unix_ffi::sockaddr_in6, sin6_family) == offset_of!(libc::sockaddr, sa_family)
    );
    assert!(offset_of!(sockaddr_any, v4) == 0);
    assert!(offset_of!(sockaddr_any, v6) == 0);
};

same_fields!(
    unix_ffi::msghdr, libc::msghdr:
    msg_name, msg_namelen, msg_iov, msg_control, msg_flags
);
#[cfg(not(target_env = "musl"))]
same_fields!(unix_ffi::msghdr, libc::msghdr: msg_iovlen, msg_controllen);
// musl's numbers are narrower: each lies where the low half of ours does, and padding is in the other half.
#[cfg(target_env = "musl")]
const _: () = {
    const fn low_half(place: isize) -> isize {
        let padded = cfg!(all(target_endian = "big", target_pointer_width = "64"));
        if padded {
            place + 4
        } else {
            place
        }
    }
    type Ours = unix_ffi::msghdr;
    type Theirs = libc::msghdr;
    assert!(low_half(offset_of!(Ours, msg_iovlen)) == offset_of!(Theirs, msg_iovlen));
    assert!(low_half(offset_of!(Ours, msg_controllen)) == offset_of!(Theirs, msg_controllen));
};
same_alignment!(unix_ffi::msghdr, libc::msghdr);
// `send_vectored` and `receive_unix` pass an `IoSlice` or an `IoSliceMut` where the system expects an `iovec`.
const _: () = assert!(size_of::<IoSlice<'_>>() == size_of::<libc::iovec>());
const _: () = assert!(size_of::<IoSliceMut<'_>>() == size_of::<libc::iovec>());
same_alignment!(IoSlice<'_>, libc::iovec);
same_alignment!(IoSliceMut<'_>, libc::iovec);

same_numbers!(epoll_ffi, c_int: EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD);
same_numbers!(epoll_ffi, u32: EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET);
same_numbers!(epoll_ffi, c_int: EFD_CLOEXEC, EFD_NONBLOCK);
same_numbers!(epoll_ffi, c_int: EINTR, EBADF, EFAULT, EINVAL, ENFILE, EMFILE, ENOMEM);
#[cfg(not(target_os = "android"))]
const _: () = assert!(epoll_ffi::SYS_EPOLL_PWAIT2 == libc::SYS_epoll_pwait2);
#[cfg(not(target_os = "android"))]
const _: () = assert!(epoll_ffi::SYS_PIDFD_OPEN == libc::SYS_pidfd_open);

const _: () = assert!(unix_ffi::AF_UNIX as c_int == libc::AF_UNIX);
same_numbers!(unix_ffi, c_int: AF_INET, AF_INET6, SOCK_STREAM, SOCK_CLOEXEC, SOCK_NONBLOCK);
same_numbers!(unix_ffi, c_int: MSG_NOSIGNAL, MSG_PEEK, MSG_CTRUNC, MSG_DONTWAIT, SOL_SOCKET, SO_PEEK_OFF);
same_numbers!(unix_ffi, c_int: ESRCH, ECHILD, EPERM, ENOENT, EPIPE, ENOTCONN, EINPROGRESS, ECONNREFUSED, ECONNRESET, ECONNABORTED, ETIMEDOUT);
same_numbers!(unix_ffi, c_int: ENETRESET, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH);

// 3.2
#[test]
fn a_failure_of_the_connection_or_of_the_way_to_the_peer_breaks_it() {
    let breaking = [
        libc::ECONNRESET,
        libc::ECONNABORTED,
        libc::ECONNREFUSED,
        libc::ETIMEDOUT,
        libc::ENETRESET,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
    ];
    assert!(breaking.into_iter().all(unix_ffi::breaks_connection));
    // The last one is a write to a peer that reads no more, whose answer may still wait to be read.
    let others = [libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::EPIPE];
    assert!(!others.into_iter().any(unix_ffi::breaks_connection));
}
const _: () = assert!(unix_ffi::SEND_FLAGS == libc::MSG_NOSIGNAL);
same_numbers!(unix_ffi, c_int: F_SETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_CLOEXEC, O_NONBLOCK);
same_numbers!(unix_ffi, i16: POLLIN, POLLOUT, POLLERR, POLLHUP);

/// Asserts that two functions have the same signature. Their structures may differ, since the assertions above compare
/// those.
macro_rules! same_signature {
    ($ours:path, $theirs:path: for<$a:ident> $signature:ty, $ours_a:ty, $theirs_a:ty) => {
        const _: () = {
            type Signature<$a> = $signature;
            let _: Signature<$ours_a> = $ours;
            let _: Signature<$theirs_a> = $theirs;
        };
    };
    ($ours:path, $theirs:path: $signature:ty) => {
        const _: [$signature; 2] = [$ours, $theirs];
    };
}

same_signature!(
    epoll_ffi::sys_epoll_create1, libc::epoll_create1:
    unsafe extern "C" fn(c_int) -> c_int
);
same_signature!(
    epoll_ffi::sys_epoll_ctl, libc::epoll_ctl:
    for<E> unsafe extern "C" fn(c_int, c_int, c_int, *mut E) -> c_int,
    epoll_ffi::epoll_event, libc::epoll_event
);
same_signature!(
    epoll_ffi::sys_epoll_wait, libc::epoll_wait:
    for<E> unsafe extern "C" fn(c_int, *mut E, c_int, c_int) -> c_int,
    epoll_ffi::epoll_event, libc::epoll_event
);
same_signature!(
    epoll_ffi::sys_eventfd, libc::eventfd:
    unsafe extern "C" fn(c_uint, c_int) -> c_int
);
#[cfg(not(target_os = "android"))]
same_signature!(
    epoll_ffi::sys_syscall, libc::syscall:
    unsafe extern "C" fn(c_long, ...) -> c_long
);
same_signature!(
    unix_ffi::socket, libc::socket:
    unsafe extern "C" fn(c_int, c_int, c_int) -> c_int
);
same_signature!(
    unix_ffi::connect, libc::connect:
    for<A> unsafe extern "C" fn(c_int, *const A, libc::socklen_t) -> c_int,
    unix_ffi::sockaddr_any, libc::sockaddr
);
same_signature!(
    unix_ffi::accept4, libc::accept4:
    for<A> unsafe extern "C" fn(c_int, *mut A, *mut libc::socklen_t, c_int) -> c_int,
    unix_ffi::sockaddr_any, libc::sockaddr
);
same_signature!(
    unix_ffi::listen, libc::listen:
    unsafe extern "C" fn(c_int, c_int) -> c_int
);
same_signature!(
    unix_ffi::sendmsg, libc::sendmsg:
    for<M> unsafe extern "C" fn(c_int, *const M, c_int) -> isize,
    unix_ffi::msghdr, libc::msghdr
);
same_signature!(
    unix_ffi::getsockopt, libc::getsockopt:
    unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut libc::socklen_t) -> c_int
);
same_signature!(
    unix_ffi::sys_recv, libc::recv:
    unsafe extern "C" fn(c_int, *mut c_void, usize, c_int) -> isize
);
same_signature!(
    unix_ffi::sys_send, libc::send:
    unsafe extern "C" fn(c_int, *const c_void, usize, c_int) -> isize
);
same_signature!(
    unix_ffi::recvmsg, libc::recvmsg:
    for<M> unsafe extern "C" fn(c_int, *mut M, c_int) -> isize,
    unix_ffi::msghdr, libc::msghdr
);
same_signature!(
    unix_ffi::poll, libc::poll:
    for<F> unsafe extern "C" fn(*mut F, libc::nfds_t, c_int) -> c_int,
    unix_ffi::pollfd, libc::pollfd
);

same_signature!(
    unix_ffi::pipe2, libc::pipe2:
    unsafe extern "C" fn(*mut c_int, c_int) -> c_int
);
same_signature!(
    unix_ffi::fcntl, libc::fcntl:
    unsafe extern "C" fn(c_int, c_int, ...) -> c_int
);

// 7: `libc` has no constant for this.
#[test]
fn a_vectored_call_takes_as_many_buffers_as_the_system_says() {
    // SAFETY: the call takes only a number.
    let most = unsafe { libc::sysconf(libc::_SC_IOV_MAX) };
    assert_eq!(usize::try_from(most).unwrap(), unix_ffi::IOV_MAX);
}

// 7: the kernel knows the call by this number, or does not know it at all.
#[cfg(not(target_os = "android"))]
#[test]
fn epoll_pwait2_has_the_number_that_we_call() {
    use std::os::fd::AsFd;
    use std::time::Duration;

    let set = epoll_ffi::epoll_create1().unwrap();
    let mut room = [epoll_ffi::epoll_event { events: 0, data: 0 }];
    match epoll_ffi::epoll_pwait2(set.as_fd(), &mut room, Duration::from_nanos(1)) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSYS)),
    }
}

// 7: nothing that the modules declare is missing above.
#[test]
fn every_declared_function_and_constant_is_held_against_libc() {
    let (assertions, _) = include_str!("ffi_layout.rs")
        .split_once("// 7: nothing that")
        .unwrap();
    for (module, source) in [
        ("epoll_ffi", include_str!("../src/epoll/ffi.rs")),
        ("unix_ffi", include_str!("../src/unix/ffi.rs")),
        ("unix_ffi", include_str!("../src/unix/ffi/linux.rs")),
        ("unix_ffi", include_str!("../src/unix/ffi/pipes.rs")),
    ] {
        let (_, functions) = source.split_once("extern \"C\" {").unwrap();
        let (functions, _) = functions.split_once("\n}").unwrap();
        assert!(functions.contains("fn "), "{module}");
        for name in names(functions, "fn ", '(') {
            let held = format!("{module}::{name}, libc::");
            assert!(assertions.contains(&held), "{held}");
        }
        for name in names(source, "pub(crate) const ", ':') {
            assert!(assertions.contains(name), "{module}::{name}");
        }
    }
}

/// The text between `keyword` and `end`, for each line that has both.
fn names<'a>(source: &'a str, keyword: &str, end: char) -> Vec<&'a str> {
    let after = |line: &'a str| line.split_once(keyword)?.1.split_once(end);
    let names: Vec<_> = source.lines().filter_map(after).collect();
    names.into_iter().map(|(name, _)| name).collect()
}
