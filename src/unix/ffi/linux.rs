//! Linux and Android: the numbers and layouts of the socket calls, where the systems differ.

use std::ffi::{c_int, c_void};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::{socklen_t, MSG_PEEK};

pub(crate) const AF_INET6: c_int = 10;
pub(crate) const SOCK_CLOEXEC: c_int = 0o2_000_000;
/// Control data has come along that did not fit.
pub(crate) const MSG_CTRUNC: c_int = 0x8;
pub(crate) const MSG_DONTWAIT: c_int = 0x40;
pub(crate) const MSG_NOSIGNAL: c_int = 0x4000;
pub(crate) const SO_PEEK_OFF: c_int = 42;

/// What epoll says of a file that it cannot watch.
pub(crate) const EPERM: c_int = 1;
pub(crate) const ENOENT: c_int = 2;
pub(crate) const EPIPE: c_int = 32;
// MIPS has numbers of its own.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
mod numbers {
    use std::ffi::c_int;

    pub(crate) const SOCK_STREAM: c_int = 1;
    pub(crate) const SOCK_NONBLOCK: c_int = 0o4_000;
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
    pub(crate) const EINPROGRESS: c_int = 115;
}
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
mod numbers {
    use std::ffi::c_int;

    pub(crate) const SOCK_STREAM: c_int = 2;
    pub(crate) const SOCK_NONBLOCK: c_int = 0o200;
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
    pub(crate) const EINPROGRESS: c_int = 150;
}
pub(crate) use numbers::*;

/// What makes a socket close-on-exec and non-blocking from its first moment, so that nothing is left to [`prepare`].
pub(super) const NEW_FLAGS: c_int = SOCK_CLOEXEC | SOCK_NONBLOCK;

pub(super) fn prepare(_new: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

// The kernel defines the flags of a socket as these.
pub(crate) const O_CLOEXEC: c_int = SOCK_CLOEXEC;
pub(crate) const O_NONBLOCK: c_int = SOCK_NONBLOCK;
/// What makes an end of a pipe as the crate wants it.
pub(super) const WAITS_FOR_NOTHING: c_int = O_NONBLOCK;

/// What keeps `sendmsg` from raising `SIGPIPE`.
pub(crate) const SEND_FLAGS: c_int = MSG_NOSIGNAL;

#[cfg(target_os = "android")]
pub(crate) type nfds_t = std::ffi::c_uint;
#[cfg(not(target_os = "android"))]
pub(crate) type nfds_t = std::ffi::c_ulong;

pub(crate) type sa_family_t = u16;

/// [`sendmsg`](https://man7.org/linux/man-pages/man2/sendmsg.2.html), as the kernel reads it. musl declares the two
/// lengths with 32 bits and pads them, on either side of the number, to what stands here.
#[repr(C)]
pub(crate) struct msghdr {
    pub(crate) msg_name: *mut c_void,
    pub(crate) msg_namelen: socklen_t,
    pub(crate) msg_iov: *mut c_void,
    pub(crate) msg_iovlen: usize,
    pub(crate) msg_control: *mut c_void,
    pub(crate) msg_controllen: usize,
    pub(crate) msg_flags: c_int,
}

extern "C" {
    /// [`recvmsg`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub(crate) fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize;
}

/// What a read would find: the number of bytes, which is at most 1 here, or 0 for the end, or an error. Bytes stay in
/// the socket, but an error does not.
pub(crate) fn peek_one(socket: RawFd) -> io::Result<usize> {
    super::receive(socket, &mut [0], MSG_PEEK | MSG_DONTWAIT)
}

/// Reads from a Unix stream, and tells whether a call that falls short has met the end of what there is.
///
/// A read stops behind descriptors that were sent along, and where the credentials of the sender change, if those were
/// asked for. Without room for such control data, the kernel marks the message in both cases.
pub(super) fn receive_unix(
    stream: &UnixStream,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<(usize, bool)> {
    let mut message = MaybeUninit::<msghdr>::zeroed();
    // SAFETY: all bytes are zero, which stands for no address, no buffers and no control data.
    let message = unsafe { message.assume_init_mut() };
    // An `IoSliceMut` is an `iovec` (its documentation says so).
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len();
    // SAFETY: the message may be written for the length of the call, and so may the buffers that it points to.
    let bytes = super::count(unsafe { recvmsg(stream.as_raw_fd(), message, 0) })?;
    Ok((bytes, message.msg_flags & MSG_CTRUNC == 0))
}

/// Whether a peer of a Unix socket for datagrams that vanishes is reported, if it leaves something to receive at all.
pub(crate) fn reports_vanished_peers() -> bool {
    true
}

/// epoll itself refuses what it cannot watch.
pub(crate) fn can_be_watched(_: BorrowedFd<'_>) -> bool {
    true
}

/// Whether a peek at this socket begins where the last peek stopped
/// ([`SO_PEEK_OFF`](https://man7.org/linux/man-pages/man7/socket.7.html)). Such a peek does not show what a read would
/// find.
pub(crate) fn peeks_on(socket: RawFd) -> bool {
    super::number_option(socket, SOL_SOCKET, SO_PEEK_OFF).is_some_and(|offset| offset >= 0)
}
