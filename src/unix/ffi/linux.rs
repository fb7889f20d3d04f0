//! Linux and Android: the numbers and layouts of the socket calls, where the systems differ.

use std::ffi::{c_int, c_void};

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
pub(crate) const MSG_NOSIGNAL: c_int = 0x4000;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
pub(crate) const EINPROGRESS: c_int = 115;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
pub(crate) const EINPROGRESS: c_int = 150;

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
