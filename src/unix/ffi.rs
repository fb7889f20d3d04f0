//! The socket calls that the Unix backends share, where `std` does not have them: a socket that is non-blocking and
//! close-on-exec from its first moment, a vectored send that raises no `SIGPIPE`, and a look with `poll(2)`.
//!
//! Each declaration links its manual page, and a safe wrapper stands below. It knows `std` only;
//! `tests/ffi_layout.rs` holds every item against the `libc` crate.

#![allow(non_camel_case_types)]

use std::ffi::{c_int, c_short, c_void};
use std::io::{self, IoSlice};
use std::mem::{size_of, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) type socklen_t = u32;

pub(crate) const AF_INET: c_int = 2;
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

pub(crate) const POLLIN: c_short = 0x001;
pub(crate) const POLLOUT: c_short = 0x004;
pub(crate) const POLLERR: c_short = 0x008;
pub(crate) const POLLHUP: c_short = 0x010;

/// The most buffers that one vectored call takes, the same number on every system here
/// ([`writev`](https://man7.org/linux/man-pages/man2/writev.2.html)).
pub(crate) const IOV_MAX: usize = 1024;

#[cfg(target_os = "android")]
pub(crate) type nfds_t = std::ffi::c_uint;
#[cfg(not(target_os = "android"))]
pub(crate) type nfds_t = std::ffi::c_ulong;

/// [`poll`](https://man7.org/linux/man-pages/man2/poll.2.html)
#[repr(C)]
pub(crate) struct pollfd {
    pub(crate) fd: c_int,
    pub(crate) events: c_short,
    pub(crate) revents: c_short,
}

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
    /// [`socket`](https://man7.org/linux/man-pages/man2/socket.2.html)
    pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub(crate) fn connect(fd: c_int, address: *const sockaddr_any, length: socklen_t) -> c_int;
    /// [`accept4`](https://man7.org/linux/man-pages/man2/accept.2.html)
    pub(crate) fn accept4(
        fd: c_int,
        address: *mut sockaddr_any,
        length: *mut socklen_t,
        flags: c_int,
    ) -> c_int;
    /// [`listen`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub(crate) fn listen(fd: c_int, backlog: c_int) -> c_int;
    /// [`sendmsg`](https://man7.org/linux/man-pages/man2/sendmsg.2.html)
    pub(crate) fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize;
    /// [`poll`](https://man7.org/linux/man-pages/man2/poll.2.html)
    pub(crate) fn poll(fds: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int;
}

/// The size of an address, as the calls want it.
#[allow(clippy::cast_possible_truncation)] // 16 and 28
const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// A TCP socket for that sort of address, non-blocking and close-on-exec.
pub(crate) fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let domain = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    // SAFETY: it takes numbers only.
    let fd = check(unsafe { socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts to connect a non-blocking socket. To be under way is success.
pub(crate) fn start_connect(socket: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let (address, length) = encode(address);
    // SAFETY: the address is as long as said, and read during the call only.
    match check(unsafe { connect(socket.as_raw_fd(), &address, length) }) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// Accepts a connection, non-blocking and close-on-exec.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut address = MaybeUninit::<sockaddr_any>::zeroed();
    let mut length = length_of::<sockaddr_any>();
    let flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    // SAFETY: address and length may be written for the length of the call, and the length is the room there.
    let fd = check(unsafe {
        accept4(
            listener.as_raw_fd(),
            address.as_mut_ptr(),
            &mut length,
            flags,
        )
    })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let stream = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all bytes were zeroed, and every bit pattern is an address.
    let address = unsafe { address.assume_init() };
    Ok((stream, decode(&address)?))
}

/// Listens, or changes the backlog of a socket that does, to the largest that the system grants.
pub(crate) fn listen_with_largest_backlog(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it takes numbers only; the system cuts the backlog to its bound.
    check(unsafe { listen(socket.as_raw_fd(), c_int::MAX) })?;
    Ok(())
}

/// Sends from the first [`IOV_MAX`] buffers, and raises no `SIGPIPE`.
pub(crate) fn send_vectored(socket: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut message = MaybeUninit::<msghdr>::zeroed();
    // SAFETY: all bytes are zero, which stands for no address, no buffers and no control data.
    let message = unsafe { message.assume_init_mut() };
    // An `IoSlice` is an `iovec` (its documentation says so); the call reads through the pointer only.
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    // At most IOV_MAX, so it fits whatever type the C library counts in.
    message.msg_iovlen = buffers.len().min(IOV_MAX) as _;
    // SAFETY: the message and the buffers that it points to are borrowed for the length of the call.
    let sent = unsafe { sendmsg(socket.as_raw_fd(), message, MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Which of `events`, and of `POLLERR` and `POLLHUP`, hold right now. A signal that is due makes even a call that does
/// not wait fail if nothing is ready; its handler has run by then, so it is asked again.
pub(crate) fn poll_now(fd: BorrowedFd<'_>, events: c_short) -> io::Result<c_short> {
    let mut one = pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    loop {
        // SAFETY: there is one entry, and it may be written for the length of the call.
        match check(unsafe { poll(&mut one, 1, 0) }) {
            Ok(_) => return Ok(one.revents),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // the families are small numbers
fn encode(address: &SocketAddr) -> (sockaddr_any, socklen_t) {
    match address {
        SocketAddr::V4(address) => {
            let v4 = sockaddr_in {
                sin_family: AF_INET as u16,
                sin_port: address.port().to_be_bytes(),
                sin_addr: address.ip().octets(),
                sin_zero: [0; 8],
            };
            (sockaddr_any { v4 }, length_of::<sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            let v6 = sockaddr_in6 {
                sin6_family: AF_INET6 as u16,
                sin6_port: address.port().to_be_bytes(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: address.ip().octets(),
                sin6_scope_id: address.scope_id(),
            };
            (sockaddr_any { v6 }, length_of::<sockaddr_in6>())
        }
    }
}

fn decode(address: &sockaddr_any) -> io::Result<SocketAddr> {
    // SAFETY: every variant begins with the family, and every bit pattern is one.
    match c_int::from(unsafe { address.family }) {
        AF_INET => {
            // SAFETY: the family says that it is this variant, and every bit pattern is one.
            let v4 = unsafe { address.v4 };
            let ip = Ipv4Addr::from(v4.sin_addr);
            Ok(SocketAddrV4::new(ip, u16::from_be_bytes(v4.sin_port)).into())
        }
        AF_INET6 => {
            // SAFETY: the family says that it is this variant, and every bit pattern is one.
            let v6 = unsafe { address.v6 };
            let (ip, port) = (
                Ipv6Addr::from(v6.sin6_addr),
                u16::from_be_bytes(v6.sin6_port),
            );
            Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket is not one of IPv4 or IPv6",
        )),
    }
}
