//! Linux and Android: the numbers and layouts of the socket calls, where the systems differ.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::socklen_t;

pub(crate) const AF_INET6: c_int = 10;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
pub(crate) const SOCK_STREAM: c_int = 1;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
pub(crate) const SOCK_STREAM: c_int = 2;
pub(crate) const SOCK_CLOEXEC: c_int = 0o2_000_000;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
pub(crate) const SOCK_NONBLOCK: c_int = 0o4_000;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
pub(crate) const SOCK_NONBLOCK: c_int = 0o200;
pub(crate) const MSG_PEEK: c_int = 0x2;
pub(crate) const MSG_DONTWAIT: c_int = 0x40;
pub(crate) const MSG_NOSIGNAL: c_int = 0x4000;
pub(crate) const SO_PEEK_OFF: c_int = 42;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
pub(crate) const EINPROGRESS: c_int = 115;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
pub(crate) const EINPROGRESS: c_int = 150;

pub(crate) const EPIPE: c_int = 32;
// MIPS has numbers of its own.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
mod numbers {
    use std::ffi::c_int;

    pub(crate) const SOL_SOCKET: c_int = 1;
    pub(crate) const ENETDOWN: c_int = 100;
    pub(crate) const ENETUNREACH: c_int = 101;
    pub(crate) const ENETRESET: c_int = 102;
    pub(crate) const ECONNABORTED: c_int = 103;
    pub(crate) const ECONNRESET: c_int = 104;
    pub(crate) const ENOTCONN: c_int = 107;
    pub(crate) const ETIMEDOUT: c_int = 110;
    pub(crate) const ECONNREFUSED: c_int = 111;
    pub(crate) const EHOSTDOWN: c_int = 112;
    pub(crate) const EHOSTUNREACH: c_int = 113;
}
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
mod numbers {
    use std::ffi::c_int;

    pub(crate) const SOL_SOCKET: c_int = 0xffff;
    pub(crate) const ENETDOWN: c_int = 127;
    pub(crate) const ENETUNREACH: c_int = 128;
    pub(crate) const ENETRESET: c_int = 129;
    pub(crate) const ECONNABORTED: c_int = 130;
    pub(crate) const ECONNRESET: c_int = 131;
    pub(crate) const ENOTCONN: c_int = 134;
    pub(crate) const ETIMEDOUT: c_int = 145;
    pub(crate) const ECONNREFUSED: c_int = 146;
    pub(crate) const EHOSTDOWN: c_int = 147;
    pub(crate) const EHOSTUNREACH: c_int = 148;
}
pub(crate) use numbers::*;

/// What keeps `sendmsg` from raising `SIGPIPE`.
pub(crate) const SEND_FLAGS: c_int = MSG_NOSIGNAL;

#[cfg(target_os = "android")]
pub(crate) type nfds_t = std::ffi::c_uint;
#[cfg(not(target_os = "android"))]
pub(crate) type nfds_t = std::ffi::c_ulong;

/// [`ip`](https://man7.org/linux/man-pages/man7/ip.7.html). Port and address are in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct sockaddr_in {
    pub(crate) sin_family: u16,
    pub(crate) sin_port: [u8; 2],
    pub(crate) sin_addr: [u8; 4],
    pub(crate) sin_zero: [u8; 8],
}

/// [`ipv6`](https://man7.org/linux/man-pages/man7/ipv6.7.html). Port and address are in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct sockaddr_in6 {
    pub(crate) sin6_family: u16,
    pub(crate) sin6_port: [u8; 2],
    pub(crate) sin6_flowinfo: u32,
    pub(crate) sin6_addr: [u8; 16],
    pub(crate) sin6_scope_id: u32,
}

/// Either address, with the alignment of the larger.
#[repr(C)]
pub(crate) union sockaddr_any {
    pub(crate) family: u16,
    pub(crate) v4: sockaddr_in,
    pub(crate) v6: sockaddr_in6,
}

/// [`sendmsg`](https://man7.org/linux/man-pages/man2/sendmsg.2.html). musl counts in 32 bits, with padding so that the
/// kernel reads the same.
#[repr(C)]
pub(crate) struct msghdr {
    pub(crate) msg_name: *mut c_void,
    pub(crate) msg_namelen: socklen_t,
    pub(crate) msg_iov: *mut c_void,
    #[cfg(all(
        target_env = "musl",
        target_pointer_width = "64",
        target_endian = "big"
    ))]
    __pad1: c_int,
    #[cfg(target_env = "musl")]
    pub(crate) msg_iovlen: c_int,
    #[cfg(all(
        target_env = "musl",
        target_pointer_width = "64",
        target_endian = "little"
    ))]
    __pad1: c_int,
    #[cfg(not(target_env = "musl"))]
    pub(crate) msg_iovlen: usize,
    pub(crate) msg_control: *mut c_void,
    #[cfg(all(
        target_env = "musl",
        target_pointer_width = "64",
        target_endian = "big"
    ))]
    __pad2: c_int,
    #[cfg(target_env = "musl")]
    pub(crate) msg_controllen: socklen_t,
    #[cfg(all(
        target_env = "musl",
        target_pointer_width = "64",
        target_endian = "little"
    ))]
    __pad2: c_int,
    #[cfg(not(target_env = "musl"))]
    pub(crate) msg_controllen: usize,
    pub(crate) msg_flags: c_int,
}

extern "C" {
    /// [`recv`](https://man7.org/linux/man-pages/man2/recv.2.html)
    #[link_name = "recv"]
    pub(crate) fn sys_recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
}

/// What a read would find, without taking it: the number of bytes, at most 1, or the end, or an error (which is taken).
pub(crate) fn peek_one(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut byte = 0_u8;
    // SAFETY: there is room for the one byte.
    let count = unsafe {
        sys_recv(
            socket.as_raw_fd(),
            std::ptr::addr_of_mut!(byte).cast(),
            1,
            MSG_PEEK | MSG_DONTWAIT,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Whether peeking on this socket goes on from where the last peek stopped
/// ([`SO_PEEK_OFF`](https://man7.org/linux/man-pages/man7/socket.7.html)), and so says nothing of the next read.
pub(crate) fn peeks_on(socket: BorrowedFd<'_>) -> bool {
    super::number_option(socket, SOL_SOCKET, SO_PEEK_OFF).is_some_and(|offset| offset >= 0)
}

pub(super) fn family(address: &sockaddr_any) -> c_int {
    // SAFETY: every variant begins with the family, and every bit pattern is one.
    c_int::from(unsafe { address.family })
}

/// An IPv4 address; port and address in network order.
#[allow(clippy::cast_possible_truncation)] // the families are small numbers
pub(super) fn v4(port: [u8; 2], address: [u8; 4]) -> sockaddr_in {
    sockaddr_in {
        sin_family: super::AF_INET as u16,
        sin_port: port,
        sin_addr: address,
        sin_zero: [0; 8],
    }
}

/// An IPv6 address; port and address in network order.
#[allow(clippy::cast_possible_truncation)] // the families are small numbers
pub(super) fn v6(port: [u8; 2], address: [u8; 16], flowinfo: u32, scope_id: u32) -> sockaddr_in6 {
    sockaddr_in6 {
        sin6_family: AF_INET6 as u16,
        sin6_port: port,
        sin6_flowinfo: flowinfo,
        sin6_addr: address,
        sin6_scope_id: scope_id,
    }
}
