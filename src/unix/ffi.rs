//! The socket calls that the Unix backends share.
//!
//! `std` does not have all of them: a socket that is non-blocking and close-on-exec from its first moment (on Apple's
//! systems from its second), a vectored send that raises no `SIGPIPE`, and `poll(2)`. These are declared here, each
//! with its manual page, and each has a safe wrapper. [`transfers`] has the calls that move data, most of which `std`
//! makes, and [`pipes`] those that make a pipe. What differs between the systems is in `ffi/linux.rs` and `ffi/bsd.rs`.
//!
//! The wrappers are where `hooks` makes a call fail or move less than it was asked. Apart from `hooks` this module
//! knows `std` only. Every item is compared with the `libc` crate.

#![allow(non_camel_case_types)]

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "ffi/linux.rs"] // written out, since this file is also included by a path
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::*;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "ffi/bsd.rs"]
mod bsd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use bsd::*;

#[path = "ffi/pipes.rs"]
mod pipes;
pub(crate) use pipes::*;

#[path = "ffi/transfers.rs"]
mod transfers;
pub(crate) use transfers::*;

use std::ffi::{c_int, c_short, c_void};
use std::io::{self, IoSlice};
use std::mem::{size_of, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix_net;

use crate::hooks::faults::{fault, Call};

pub(crate) type socklen_t = u32;

pub(crate) const AF_UNIX: sa_family_t = 1;
pub(crate) const AF_INET: c_int = 2;
pub(crate) const MSG_PEEK: c_int = 0x2;
pub(crate) const ESRCH: c_int = 3;
pub(crate) const ECHILD: c_int = 10;
pub(crate) const POLLIN: c_short = 0x001;
pub(crate) const POLLOUT: c_short = 0x004;
pub(crate) const POLLERR: c_short = 0x008;
pub(crate) const POLLHUP: c_short = 0x010;

/// The most buffers that one vectored call takes, the same number on every system here
/// ([`writev`](https://man7.org/linux/man-pages/man2/writev.2.html)).
pub(crate) const IOV_MAX: usize = 1024;

/// [`poll`](https://man7.org/linux/man-pages/man2/poll.2.html)
#[repr(C)]
pub(crate) struct pollfd {
    pub(crate) fd: c_int,
    pub(crate) events: c_short,
    pub(crate) revents: c_short,
}

/// An IPv4 address ([Linux](https://man7.org/linux/man-pages/man7/ip.7.html),
/// [BSD](https://man.freebsd.org/cgi/man.cgi?query=inet&sektion=4)). Port and address are in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct sockaddr_in {
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) sin_len: u8,
    pub(crate) sin_family: sa_family_t,
    pub(crate) sin_port: [u8; 2],
    pub(crate) sin_addr: [u8; 4],
    pub(crate) sin_zero: [u8; 8],
}

/// An IPv6 address ([Linux](https://man7.org/linux/man-pages/man7/ipv6.7.html),
/// [BSD](https://man.freebsd.org/cgi/man.cgi?query=inet6&sektion=4)). Port and address are in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct sockaddr_in6 {
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) sin6_len: u8,
    pub(crate) sin6_family: sa_family_t,
    pub(crate) sin6_port: [u8; 2],
    pub(crate) sin6_flowinfo: u32,
    pub(crate) sin6_addr: [u8; 16],
    pub(crate) sin6_scope_id: u32,
}

/// Either address, with the alignment of the larger.
#[repr(C)]
pub(crate) union sockaddr_any {
    pub(crate) v4: sockaddr_in,
    pub(crate) v6: sockaddr_in6,
}

extern "C" {
    /// [`socket`](https://man7.org/linux/man-pages/man2/socket.2.html). NetBSD's plain name is that of an older ABI.
    #[cfg_attr(target_os = "netbsd", link_name = "__socket30")]
    pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub(crate) fn connect(fd: c_int, address: *const sockaddr_any, length: socklen_t) -> c_int;
    /// [`accept4`](https://man7.org/linux/man-pages/man2/accept.2.html)
    #[cfg(not(target_vendor = "apple"))]
    pub(crate) fn accept4(
        fd: c_int,
        address: *mut sockaddr_any,
        length: *mut socklen_t,
        flags: c_int,
    ) -> c_int;
    /// [`listen`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub(crate) fn listen(fd: c_int, backlog: c_int) -> c_int;
    /// [`recv`](https://man7.org/linux/man-pages/man2/recv.2.html)
    #[link_name = "recv"]
    pub(crate) fn sys_recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
    /// [`send`](https://man7.org/linux/man-pages/man2/send.2.html)
    #[link_name = "send"]
    pub(crate) fn sys_send(fd: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize;
    /// [`sendmsg`](https://man7.org/linux/man-pages/man2/sendmsg.2.html)
    pub(crate) fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize;
    /// [`getsockopt`](https://man7.org/linux/man-pages/man2/getsockopt.2.html)
    pub(crate) fn getsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut socklen_t,
    ) -> c_int;
    /// [`poll`](https://man7.org/linux/man-pages/man2/poll.2.html)
    pub(crate) fn poll(fds: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int;
}

/// The size of an address or of an option's value, as the calls want it.
#[allow(clippy::cast_possible_truncation)] // 16 and 28
const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// What a call has returned, unless it has failed.
pub(crate) fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The number of bytes or entries that a call has returned, unless it has failed.
pub(crate) fn count(result: impl TryInto<usize>) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}

/// A TCP socket for that sort of address, non-blocking and close-on-exec.
pub(crate) fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    stream_socket(if address.is_ipv4() { AF_INET } else { AF_INET6 })
}

fn stream_socket(domain: c_int) -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let fd = check(unsafe { socket(domain, SOCK_STREAM | NEW_FLAGS, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(socket.as_fd())?;
    Ok(socket)
}

/// Starts to connect a non-blocking socket. To be under way is success.
pub(crate) fn start_connect(socket: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    fault(Call::Connect)?;
    let (address, length) = encode(address);
    // SAFETY: the address is as long as said, and read during the call only.
    match check(unsafe { connect(socket.as_raw_fd(), &address, length) }) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// Connects a new Unix stream, which does not block: it does not wait for room in a backlog either.
pub(crate) fn connect_unix(address: &unix_net::SocketAddr) -> io::Result<unix_net::UnixStream> {
    fault(Call::Connect)?;
    // `std` connects a socket that is there already only as one for datagrams. It is the same system call.
    let socket = unix_net::UnixDatagram::from(stream_socket(AF_UNIX.into())?);
    socket.connect_addr(address)?;
    Ok(OwnedFd::from(socket).into())
}

/// Whether an error says that the connection is gone, and not only that one call failed: a later call need not say so
/// again.
pub(crate) fn breaks_connection(code: c_int) -> bool {
    is_refusal(code)
        || matches!(
            code,
            ENETRESET | ENETDOWN | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH
        )
}

/// Whether a connect that fails so has met its peer, or nobody: a condition like any other end of a connect, and no
/// fault of the call.
pub(crate) fn is_refusal(code: c_int) -> bool {
    matches!(code, ECONNREFUSED | ECONNRESET | ECONNABORTED | ETIMEDOUT)
}

/// The value of an option that is a number, or `None` if the system does not know the option.
fn number_option(socket: RawFd, level: c_int, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    // SAFETY: the value may be written for the length of the call, and the length is the room there.
    let result = unsafe {
        getsockopt(
            socket,
            level,
            name,
            std::ptr::addr_of_mut!(value).cast(),
            &mut length,
        )
    };
    (result == 0).then_some(value)
}

/// Accepts a connection, non-blocking and close-on-exec. One that was reset while it waited is `ConnectionAborted`.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (stream, address, length) = accept_any(listener)?;
    if length == 0 {
        // So Apple's systems hand out a connection that its peer has reset already.
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok((stream, decode(&address)?))
}

/// The same for a Unix listener. The bytes of a client that has gone can still be read.
pub(crate) fn accept_unix(
    listener: BorrowedFd<'_>,
) -> io::Result<(unix_net::UnixStream, unix_net::SocketAddr)> {
    let (stream, _, length) = accept_any(listener)?;
    let stream = unix_net::UnixStream::from(stream);
    let unnamed = || unix_net::SocketAddr::from_pathname("");
    // Nearly every client is without a name, and costs no further call. Some systems know no name of one that has gone.
    let peer = match length <= length_of::<sa_family_t>() {
        true => unnamed(),
        false => stream.peer_addr().or_else(|_| unnamed()),
    };
    Ok((stream, peer?))
}

/// Accepts a connection, and returns as much of the peer's address as there is room for, and its whole length.
fn accept_any(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, sockaddr_any, socklen_t)> {
    fault(Call::Receive)?;
    fault(Call::Accept)?;
    let mut address = MaybeUninit::<sockaddr_any>::zeroed();
    let mut length = length_of::<sockaddr_any>();
    let listener = listener.as_raw_fd();
    // SAFETY: address and length may be written for the length of the call, and the length is the room there.
    let fd = check(unsafe { accept4(listener, address.as_mut_ptr(), &mut length, NEW_FLAGS) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let stream = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(stream.as_fd())?;
    // SAFETY: all bytes were zeroed, and every bit pattern is an address.
    let address = unsafe { address.assume_init() };
    Ok((stream, address, length))
}

/// Listens, or changes the backlog of a socket that does, to the largest that the system grants.
pub(crate) fn listen_with_largest_backlog(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it takes numbers only; the system cuts the backlog to its bound.
    check(unsafe { listen(socket.as_raw_fd(), c_int::MAX) })?;
    Ok(())
}

/// Receives bytes or a datagram.
fn receive(socket: RawFd, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the buffer may be written for the length of the call.
    count(unsafe { sys_recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// Sends bytes or a datagram, and raises no `SIGPIPE`.
fn send_bytes(socket: RawFd, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is borrowed for the length of the call.
    count(unsafe { sys_send(socket, buffer.as_ptr().cast(), buffer.len(), SEND_FLAGS) })
}

/// Sends from the first [`IOV_MAX`] buffers, and raises no `SIGPIPE`.
#[allow(clippy::cast_possible_truncation)] // of a number up to IOV_MAX, to whatever the C library counts in
fn send_vectored(socket: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut message = MaybeUninit::<msghdr>::zeroed();
    // SAFETY: all bytes are zero, which stands for no address, no buffers and no control data.
    let message = unsafe { message.assume_init_mut() };
    // An `IoSlice` is an `iovec` (its documentation says so); the call reads through the pointer only.
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(IOV_MAX) as _;
    // SAFETY: the message and the buffers that it points to are borrowed for the length of the call.
    count(unsafe { sendmsg(socket.as_raw_fd(), message, SEND_FLAGS) })
}

/// Which of `events`, and of `POLLERR` and `POLLHUP`, hold right now. If nothing is ready, a pending signal makes the
/// call fail although it does not wait. The signal's handler has run by then, so the call is made again.
pub(crate) fn poll_now(fd: RawFd, events: c_short) -> io::Result<c_short> {
    let mut one = pollfd {
        fd,
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

#[allow(clippy::cast_possible_truncation)] // the families and the lengths are small numbers
fn encode(address: &SocketAddr) -> (sockaddr_any, socklen_t) {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(address) => {
            let length = length_of::<sockaddr_in>();
            let v4 = sockaddr_in {
                #[cfg(not(any(target_os = "linux", target_os = "android")))]
                sin_len: length as u8,
                sin_family: AF_INET as sa_family_t,
                sin_port: port,
                sin_addr: address.ip().octets(),
                sin_zero: [0; 8],
            };
            (sockaddr_any { v4 }, length)
        }
        SocketAddr::V6(address) => {
            let length = length_of::<sockaddr_in6>();
            let v6 = sockaddr_in6 {
                #[cfg(not(any(target_os = "linux", target_os = "android")))]
                sin6_len: length as u8,
                sin6_family: AF_INET6 as sa_family_t,
                sin6_port: port,
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: address.ip().octets(),
                sin6_scope_id: address.scope_id(),
            };
            (sockaddr_any { v6 }, length)
        }
    }
}

fn decode(address: &sockaddr_any) -> io::Result<SocketAddr> {
    // SAFETY: the union was initialized whole, and every bit pattern is an address.
    let v4 = unsafe { address.v4 };
    // SAFETY: the union was initialized whole, and every bit pattern is an address.
    let v6 = unsafe { address.v6 };
    // The family has the same place in both.
    match c_int::from(v4.sin_family) {
        AF_INET => {
            let ip = Ipv4Addr::from(v4.sin_addr);
            Ok(SocketAddrV4::new(ip, u16::from_be_bytes(v4.sin_port)).into())
        }
        AF_INET6 => {
            let (ip, port) = (
                Ipv6Addr::from(v6.sin6_addr),
                u16::from_be_bytes(v6.sin6_port),
            );
            Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket is neither an IPv4 socket nor an IPv6 socket",
        )),
    }
}
