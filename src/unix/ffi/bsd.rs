//! Apple's systems and the BSDs: the numbers and layouts of the socket calls, where the systems differ.
//!
//! Their addresses begin with a length. Apple's cannot make a socket non-blocking or close-on-exec in one step, nor
//! send without `SIGPIPE` but by an option of the socket.

use std::ffi::{c_int, c_short, c_uint, c_void};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::net::UnixStream;

use super::socklen_t;

#[cfg(target_vendor = "apple")]
pub(crate) const AF_INET6: c_int = 30;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
pub(crate) const AF_INET6: c_int = 28;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
pub(crate) const AF_INET6: c_int = 24;

pub(crate) const SOCK_STREAM: c_int = 1;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly", target_os = "netbsd"))]
pub(crate) const SOCK_CLOEXEC: c_int = 0x1000_0000;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly", target_os = "netbsd"))]
pub(crate) const SOCK_NONBLOCK: c_int = 0x2000_0000;
#[cfg(target_os = "openbsd")]
pub(crate) const SOCK_CLOEXEC: c_int = 0x8000;
#[cfg(target_os = "openbsd")]
pub(crate) const SOCK_NONBLOCK: c_int = 0x4000;

#[cfg(target_os = "freebsd")]
pub(crate) const MSG_NOSIGNAL: c_int = 0x20000;
#[cfg(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd"))]
pub(crate) const MSG_NOSIGNAL: c_int = 0x400;

/// What makes a socket close-on-exec and non-blocking from its first moment; on Apple's systems [`prepare`] does it.
#[cfg(not(target_vendor = "apple"))]
pub(super) const NEW_FLAGS: c_int = SOCK_CLOEXEC | SOCK_NONBLOCK;
#[cfg(target_vendor = "apple")]
pub(super) const NEW_FLAGS: c_int = 0;

/// What keeps `sendmsg` from raising `SIGPIPE`; on Apple's systems [`forbid_sigpipe`] has done it.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND_FLAGS: c_int = MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const SEND_FLAGS: c_int = 0;

pub(crate) const SOL_SOCKET: c_int = 0xffff;
pub(crate) const SO_ERROR: c_int = 0x1007;
#[cfg(target_vendor = "apple")]
pub(crate) const SO_NOSIGPIPE: c_int = 0x1022;

#[cfg(target_vendor = "apple")]
pub(crate) const O_CLOEXEC: c_int = 0x0100_0000;
#[cfg(target_os = "freebsd")]
pub(crate) const O_CLOEXEC: c_int = 0x0010_0000;
#[cfg(target_os = "dragonfly")]
pub(crate) const O_CLOEXEC: c_int = 0x0002_0000;
#[cfg(target_os = "netbsd")]
pub(crate) const O_CLOEXEC: c_int = 0x0040_0000;
#[cfg(target_os = "openbsd")]
pub(crate) const O_CLOEXEC: c_int = 0x0001_0000;
pub(crate) const O_NONBLOCK: c_int = 4;
/// Keeps writes to a descriptor from raising `SIGPIPE`. It is in Apple's `sys/fcntl.h`, and not in the `libc` crate.
#[cfg(target_vendor = "apple")]
pub(super) const F_SETNOSIGPIPE: c_int = 73;
#[cfg(target_os = "netbsd")]
pub(crate) const O_NOSIGPIPE: c_int = 0x0100_0000;

/// What makes an end of a pipe as the crate wants it.
#[cfg(not(target_os = "netbsd"))]
pub(super) const WAITS_FOR_NOTHING: c_int = O_NONBLOCK;
#[cfg(target_os = "netbsd")]
pub(super) const WAITS_FOR_NOTHING: c_int = O_NONBLOCK | O_NOSIGPIPE;

pub(crate) const POLLNVAL: c_short = 0x020;
pub(crate) const EPERM: c_int = 1;
pub(crate) const ENOENT: c_int = 2;
pub(crate) const EPIPE: c_int = 32;
pub(crate) const EAGAIN: c_int = 35;
pub(crate) const EINPROGRESS: c_int = 36;
pub(crate) const EALREADY: c_int = 37;
pub(crate) const ENETDOWN: c_int = 50;
pub(crate) const ENETUNREACH: c_int = 51;
pub(crate) const ENETRESET: c_int = 52;
pub(crate) const ECONNABORTED: c_int = 53;
pub(crate) const ECONNRESET: c_int = 54;
pub(crate) const EISCONN: c_int = 56;
pub(crate) const ENOTCONN: c_int = 57;
pub(crate) const ETIMEDOUT: c_int = 60;
pub(crate) const ECONNREFUSED: c_int = 61;
pub(crate) const EHOSTDOWN: c_int = 64;
pub(crate) const EHOSTUNREACH: c_int = 65;

pub(crate) type nfds_t = c_uint;

pub(crate) type sa_family_t = u8;

/// [`sendmsg`](https://man.freebsd.org/cgi/man.cgi?query=sendmsg). OpenBSD's count is unsigned, which is the same for
/// the few buffers that are sent.
#[repr(C)]
pub(crate) struct msghdr {
    pub(crate) msg_name: *mut c_void,
    pub(crate) msg_namelen: socklen_t,
    pub(crate) msg_iov: *mut c_void,
    pub(crate) msg_iovlen: c_int,
    pub(crate) msg_control: *mut c_void,
    pub(crate) msg_controllen: socklen_t,
    pub(crate) msg_flags: c_int,
}

extern "C" {
    /// [`setsockopt`](https://man.freebsd.org/cgi/man.cgi?query=setsockopt)
    #[cfg(target_vendor = "apple")]
    pub(crate) fn setsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: socklen_t,
    ) -> c_int;
    /// [`pipe`](https://developer.apple.com/library/archive/documentation/System/Conceptual/ManPages_iPhoneOS/man2/pipe.2.html)
    #[cfg(target_vendor = "apple")]
    #[link_name = "pipe"]
    pub(crate) fn sys_pipe(ends: *mut c_int) -> c_int;
    /// [`accept`](https://man.freebsd.org/cgi/man.cgi?query=accept)
    #[cfg(target_vendor = "apple")]
    #[link_name = "accept"]
    pub(crate) fn sys_accept(
        fd: c_int,
        address: *mut super::sockaddr_any,
        length: *mut socklen_t,
    ) -> c_int;
}

/// As the other systems have it, but without flags.
///
/// # Safety
/// - Two numbers may be written to `ends`.
#[cfg(target_vendor = "apple")]
pub(super) unsafe fn pipe2(ends: *mut c_int, _flags: c_int) -> c_int {
    // SAFETY: the caller vouches for the pointer.
    unsafe { sys_pipe(ends) }
}

/// As the other systems have it, but without flags.
///
/// # Safety
/// - `address` and `length` may be written, and `length` says how much room `address` has.
#[cfg(target_vendor = "apple")]
pub(super) unsafe fn accept4(
    fd: c_int,
    address: *mut super::sockaddr_any,
    length: *mut socklen_t,
    _flags: c_int,
) -> c_int {
    // SAFETY: the caller vouches for both pointers.
    unsafe { sys_accept(fd, address, length) }
}

#[cfg(not(target_vendor = "apple"))]
pub(super) fn prepare(_new: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Makes a new socket close-on-exec and non-blocking, and keeps it from raising `SIGPIPE`.
#[cfg(target_vendor = "apple")]
pub(super) fn prepare(socket: BorrowedFd<'_>) -> io::Result<()> {
    super::set_close_on_exec(socket)?;
    super::set_nonblocking(socket)?;
    forbid_sigpipe(socket);
    Ok(())
}

/// Keeps a socket, and what it accepts, from raising `SIGPIPE`.
///
/// The system refuses options of a socket that is shut down in both directions, which is not to be an error here:
/// `std` and its listeners have set this one before.
#[cfg(target_vendor = "apple")]
pub(crate) fn forbid_sigpipe(socket: BorrowedFd<'_>) {
    let on: c_int = 1;
    // SAFETY: the value is as long as said, and read during the call only.
    let _refused = unsafe {
        setsockopt(
            socket.as_raw_fd(),
            SOL_SOCKET,
            SO_NOSIGPIPE,
            std::ptr::addr_of!(on).cast(),
            super::length_of::<c_int>(),
        )
    };
}

/// Whether a peer of a Unix socket for datagrams that vanishes is reported. FreeBSD leaves an error for the next receive,
/// and reports it only when it is asked anew.
pub(crate) fn reports_vanished_peers() -> bool {
    false
}

/// kqueue takes plain files, and reports of them what no other system does.
pub(crate) fn can_be_watched(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is borrowed for the length of the call, and what stands for it here does not close it.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) });
    // What cannot be looked at is left to kqueue to refuse. A duplicate would do no better: to close it would release the
    // locks that the process has on the file.
    !file
        .metadata()
        .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
}

/// Reads from a Unix stream. A call that falls short may have stopped before descriptors that were sent along, and
/// nothing tells that.
pub(super) fn receive_unix(
    stream: &UnixStream,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<(usize, bool)> {
    Ok((super::read_std(stream, buffers)?, false))
}

/// Takes the error that a socket keeps, if it keeps one.
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> Option<io::Error> {
    super::number_option(socket.as_raw_fd(), SOL_SOCKET, SO_ERROR)
        .filter(|&code| code != 0)
        .map(io::Error::from_raw_os_error)
}

/// Whether a socket that was not connected a moment ago is being connected, or has been connected meanwhile.
///
/// No option tells this on every system. So the socket is asked to connect to an address of another family: each kernel
/// answers `EALREADY` or `EISCONN` before it looks at the address, and refuses the address otherwise.
pub(crate) fn is_connecting(socket: BorrowedFd<'_>) -> bool {
    let (mut address, length) = super::encode(&SocketAddr::from(([0; 4], 0)));
    address.v4.sin_family = super::AF_UNIX;
    // SAFETY: the address is as long as said, and read during the call only.
    let result = super::check(unsafe { super::connect(socket.as_raw_fd(), &address, length) });
    let code = result.err().and_then(|error| error.raw_os_error());
    matches!(code, Some(EALREADY | EISCONN))
}
