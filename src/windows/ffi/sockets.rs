//! Winsock: overlapped calls, and the few plain ones that `std` does not have.
//!
//! Errors are Winsock's codes, read right after the call, so that a source can keep one and give it out again.

use core::ffi::c_void;
use core::ptr;
use std::io;
use std::net::{SocketAddr, UdpSocket};
pub(crate) use std::os::windows::io::OwnedSocket;
use std::os::windows::io::{AsRawSocket, FromRawSocket, IntoRawSocket, RawSocket};
use std::sync::OnceLock;

use super::codes::*;
use super::{BOOL, DWORD, FALSE, SOCKET, WSAOVERLAPPED};
use super::{SOCKADDR_STORAGE, STORAGE_LEN};
use crate::hooks::faults::{fault, refused, Call};

pub(crate) const INVALID_SOCKET: SOCKET = SOCKET(usize::MAX);
pub(super) const SOCKET_ERROR: i32 = -1;

/// [WSASocketW](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const SOCK_STREAM: i32 = 1;
/// [WSASocketW](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const IPPROTO_TCP: i32 = 6;
/// [WSASocketW](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const WSA_FLAG_OVERLAPPED: DWORD = 0x01;
/// [WSASocketW](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const WSA_FLAG_NO_HANDLE_INHERIT: DWORD = 0x80;
/// The largest backlog that the provider thinks reasonable: 200 on Windows.
/// [listen](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen)
pub(crate) const SOMAXCONN: i32 = 0x7fff_ffff;
/// `SOMAXCONN_HINT(65535)`: the largest backlog there is. A hint is a negative number.
/// [listen](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen)
pub(crate) const LARGEST_BACKLOG: i32 = -65535;
/// [recv](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-recv)
pub(crate) const MSG_PEEK: i32 = 0x2;
/// A piece of memory to send from or receive into.
/// [WSABUF](https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-wsabuf)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct WSABUF {
    pub(crate) len: u32,
    pub(crate) buf: *mut u8,
}

/// [WSADATA](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsadata)
#[cfg(target_pointer_width = "64")]
#[repr(C)]
pub(crate) struct WSADATA {
    pub(crate) wVersion: u16,
    pub(crate) wHighVersion: u16,
    pub(crate) iMaxSockets: u16,
    pub(crate) iMaxUdpDg: u16,
    pub(crate) lpVendorInfo: *mut u8,
    pub(crate) szDescription: [u8; 257],
    pub(crate) szSystemStatus: [u8; 129],
}

/// [WSADATA](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsadata)
#[cfg(target_pointer_width = "32")]
#[repr(C)]
pub(crate) struct WSADATA {
    pub(crate) wVersion: u16,
    pub(crate) wHighVersion: u16,
    pub(crate) szDescription: [u8; 257],
    pub(crate) szSystemStatus: [u8; 129],
    pub(crate) iMaxSockets: u16,
    pub(crate) iMaxUdpDg: u16,
    pub(crate) lpVendorInfo: *mut u8,
}

/// Never called: completion routines and ports exclude each other.
pub(crate) type LPWSAOVERLAPPED_COMPLETION_ROUTINE =
    Option<unsafe extern "system" fn(DWORD, DWORD, *mut WSAOVERLAPPED, DWORD)>;

#[link(name = "ws2_32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-wsastartup>
    pub(crate) fn WSAStartup(wVersionRequired: u16, lpWSAData: *mut WSADATA) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-wsagetlasterror>
    pub(crate) fn WSAGetLastError() -> Code;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw>
    pub(crate) fn WSASocketW(
        af: i32,
        kind: i32,
        protocol: i32,
        lpProtocolInfo: *const c_void,
        g: u32,
        dwFlags: DWORD,
    ) -> SOCKET;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv>
    pub(crate) fn WSARecv(
        s: SOCKET,
        lpBuffers: *const WSABUF,
        dwBufferCount: DWORD,
        lpNumberOfBytesRecvd: *mut DWORD,
        lpFlags: *mut DWORD,
        lpOverlapped: *mut WSAOVERLAPPED,
        lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasend>
    pub(crate) fn WSASend(
        s: SOCKET,
        lpBuffers: *const WSABUF,
        dwBufferCount: DWORD,
        lpNumberOfBytesSent: *mut DWORD,
        dwFlags: DWORD,
        lpOverlapped: *mut WSAOVERLAPPED,
        lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecvfrom>
    pub(crate) fn WSARecvFrom(
        s: SOCKET,
        lpBuffers: *const WSABUF,
        dwBufferCount: DWORD,
        lpNumberOfBytesRecvd: *mut DWORD,
        lpFlags: *mut DWORD,
        lpFrom: *mut SOCKADDR_STORAGE,
        lpFromlen: *mut i32,
        lpOverlapped: *mut WSAOVERLAPPED,
        lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendto>
    pub(crate) fn WSASendTo(
        s: SOCKET,
        lpBuffers: *const WSABUF,
        dwBufferCount: DWORD,
        lpNumberOfBytesSent: *mut DWORD,
        dwFlags: DWORD,
        lpTo: *const SOCKADDR_STORAGE,
        iTolen: i32,
        lpOverlapped: *mut WSAOVERLAPPED,
        lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsagetoverlappedresult>
    pub(crate) fn WSAGetOverlappedResult(
        s: SOCKET,
        lpOverlapped: *const WSAOVERLAPPED,
        lpcbTransfer: *mut DWORD,
        fWait: BOOL,
        lpdwFlags: *mut DWORD,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-bind>
    pub(crate) fn bind(s: SOCKET, name: *const SOCKADDR_STORAGE, namelen: i32) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen>
    pub(crate) fn listen(s: SOCKET, backlog: i32) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect>
    pub(crate) fn connect(s: SOCKET, name: *const SOCKADDR_STORAGE, namelen: i32) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockname>
    pub(crate) fn getsockname(s: SOCKET, name: *mut SOCKADDR_STORAGE, namelen: *mut i32) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-closesocket>
    pub(crate) fn closesocket(s: SOCKET) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-recvfrom>
    pub(crate) fn recvfrom(
        s: SOCKET,
        buf: *mut u8,
        len: i32,
        flags: i32,
        from: *mut SOCKADDR_STORAGE,
        fromlen: *mut i32,
    ) -> i32;
}

/// The code of the call that has just failed on this thread.
pub(super) fn last_error() -> Code {
    // SAFETY: it reads a number of this thread.
    unsafe { WSAGetLastError() }
}

/// The result of a call that returns 0 or `SOCKET_ERROR`.
pub(super) fn checked(returned: i32) -> Result<(), Code> {
    if returned == SOCKET_ERROR {
        return Err(last_error());
    }
    Ok(())
}

/// The result of a call that returns a `BOOL`.
pub(super) fn checked_bool(returned: BOOL) -> Result<(), Code> {
    if returned == FALSE {
        return Err(last_error());
    }
    Ok(())
}

/// The result of an overlapped call: `Ok` if a packet is owed, which it also is after a success at once.
fn owed(returned: i32) -> Result<(), Code> {
    owed_if(BOOL::from(returned != SOCKET_ERROR))
}

/// The same for the calls that return a `BOOL`.
pub(super) fn owed_if(returned: BOOL) -> Result<(), Code> {
    match checked_bool(returned) {
        Err(WSA_IO_PENDING) => Ok(()),
        other => other,
    }
}

/// A length as Winsock takes it. Of longer memory only so much is used.
fn len_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// The number of a socket that `std` owns.
pub(crate) fn socket_of(socket: &impl AsRawSocket) -> SOCKET {
    // Winsock's own type has a pointer's width.
    #[allow(clippy::cast_possible_truncation)]
    SOCKET(socket.as_raw_socket() as usize)
}

/// Starts Winsock, once for the process and for its whole life. `std` does the same before its first call.
pub(crate) fn start_winsock() -> io::Result<()> {
    const VERSION_2_2: u16 = 0x0202;
    static STARTED: OnceLock<i32> = OnceLock::new();
    let failed = *STARTED.get_or_init(|| {
        let mut data = core::mem::MaybeUninit::<WSADATA>::uninit();
        // SAFETY: `data` is writable, of the right layout (held by tests), and never read.
        unsafe { WSAStartup(VERSION_2_2, data.as_mut_ptr()) }
    });
    if failed == 0 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(failed))
}

/// Makes a TCP socket for overlapped use that no child process inherits. It blocks, as all do at first.
pub(crate) fn wsa_socket(family: u16) -> Result<OwnedSocket, Code> {
    refused(Call::Socket)?;
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    let (family, no_info) = (i32::from(family), ptr::null());
    // SAFETY: numbers only, and no protocol information.
    let socket = unsafe { WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, no_info, 0, flags) };
    if socket == INVALID_SOCKET {
        return Err(last_error());
    }
    #[allow(clippy::cast_possible_truncation)] // It has a pointer's width on every target.
    let socket = socket.0 as RawSocket;
    // SAFETY: the socket was made right now, and nobody else owns it.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket) })
}

/// Starts a receive into `buffer`. `Ok`: a packet is owed.
///
/// # Safety
/// - `operation` and the memory of `buffer` stay valid, where they are and untouched until the packet was taken.
/// - `socket` is open.
pub(crate) unsafe fn wsa_recv(
    socket: SOCKET,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    // SAFETY: the caller's duties.
    unsafe { start_receive(socket, buffer, 0, operation) }
}

/// Starts to wait for a datagram, without memory: it stays where it is. `Ok`: a packet is owed, as of [`wsa_recv_from`].
///
/// # Safety
/// As [`wsa_recv`].
pub(crate) unsafe fn wsa_peek(socket: SOCKET, operation: *mut WSAOVERLAPPED) -> Result<(), Code> {
    let nothing = WSABUF {
        len: 0,
        buf: ptr::NonNull::dangling().as_ptr(),
    };
    // SAFETY: the caller's duties; there is no memory.
    owed_if_cut(unsafe { start_receive(socket, nothing, MSG_PEEK, operation) })
}

/// # Safety
/// As [`wsa_recv`].
unsafe fn start_receive(
    socket: SOCKET,
    buffer: WSABUF,
    flags: i32,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Receive)?;
    let mut flags = flags as DWORD;
    // No place for the byte count: with an overlapped operation it could be wrong, and the packet has it.
    let no_count = ptr::null_mut();
    // SAFETY: the caller's duties; the `WSABUF` itself and the flags are captured before the call returns.
    owed(unsafe { WSARecv(socket, &buffer, 1, no_count, &mut flags, operation, None) })
}

/// Starts a send from `buffer`. `Ok`: a packet is owed.
///
/// # Safety
/// As [`wsa_recv`].
pub(crate) unsafe fn wsa_send(
    socket: SOCKET,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Send)?;
    // SAFETY: the caller's duties; the `WSABUF` itself is captured before the call returns.
    owed(unsafe { WSASend(socket, &buffer, 1, ptr::null_mut(), 0, operation, None) })
}

/// Where a datagram's sender and flags are written: lent to the kernel together with the buffer.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) from: SOCKADDR_STORAGE,
    pub(crate) from_len: i32,
    pub(crate) flags: DWORD,
}

impl Envelope {
    pub(crate) const fn new() -> Envelope {
        Envelope {
            from: SOCKADDR_STORAGE::zeroed(),
            from_len: STORAGE_LEN,
            flags: 0,
        }
    }
}

/// Starts to receive a datagram. `Ok`: a packet is owed.
///
/// A datagram that is there already, and longer than the buffer, makes the call fail with `WSAEMSGSIZE`. To the kernel
/// that is a warning and not a failure: the operation was done, and its packet comes. So it counts as `Ok`.
///
/// # Safety
/// - As [`wsa_recv`], and the same for `envelope`.
pub(crate) unsafe fn wsa_recv_from(
    socket: SOCKET,
    buffer: WSABUF,
    envelope: *mut Envelope,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Receive)?;
    // SAFETY: the caller's duty: it is valid, and no operation in flight has it.
    let envelope = unsafe { &mut *envelope };
    *envelope = Envelope::new();
    let Envelope {
        from,
        from_len,
        flags,
    } = envelope;
    let (no_count, none) = (ptr::null_mut(), None);
    // SAFETY: the caller's duties; the `WSABUF` itself is captured before the call returns.
    owed_if_cut(owed(unsafe {
        WSARecvFrom(
            socket, &buffer, 1, no_count, flags, from, from_len, operation, none,
        )
    }))
}

/// The same for a receive of a datagram: that the datagram is longer than the buffer is no failure.
fn owed_if_cut(started: Result<(), Code>) -> Result<(), Code> {
    match started {
        Err(WSAEMSGSIZE) => Ok(()),
        other => other,
    }
}

/// Starts to send a datagram, to `target` or to the connected peer. `Ok`: a packet is owed.
///
/// # Safety
/// As [`wsa_recv`].
pub(crate) unsafe fn wsa_send_to(
    socket: SOCKET,
    buffer: WSABUF,
    target: Option<&SocketAddr>,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Send)?;
    let target = target.map(SOCKADDR_STORAGE::from_std);
    let (name, name_len) = match &target {
        Some((name, len)) => (ptr::addr_of!(*name), *len),
        None => (ptr::null(), 0),
    };
    let (no_count, none) = (ptr::null_mut(), None);
    // SAFETY: the caller's duties; the `WSABUF` itself and the address are captured before the call returns.
    owed(unsafe {
        WSASendTo(
            socket, &buffer, 1, no_count, 0, name, name_len, operation, none,
        )
    })
}

/// Closes a socket, and returns it if it is still open. Windows leaves a non-blocking socket open if it has a linger time and
/// unsent bytes.
pub(crate) fn close_socket(socket: OwnedSocket) -> Option<OwnedSocket> {
    if refused(Call::Close).is_err() {
        return Some(socket);
    }
    let raw = socket.into_raw_socket();
    #[allow(clippy::cast_possible_truncation)] // It has a pointer's width on every target.
    // SAFETY: we owned it, and nobody uses it any more.
    let closed = checked(unsafe { closesocket(SOCKET(raw as usize)) });
    // After any other result the socket is not ours any more.
    // SAFETY: the system says that the socket is still open, and nobody else has its number.
    (closed == Err(WSAEWOULDBLOCK)).then(|| unsafe { OwnedSocket::from_raw_socket(raw) })
}

/// The address that the socket is bound to; none, if it is not bound.
pub(crate) fn bound_address(socket: SOCKET) -> Option<SocketAddr> {
    let mut name = SOCKADDR_STORAGE::zeroed();
    let mut len = STORAGE_LEN;
    // SAFETY: the address is writable for the length, and so is the length.
    checked(unsafe { getsockname(socket, &mut name, &mut len) }).ok()?;
    name.to_std()
}

/// How an operation that has ended failed, as the system puts it: for a status that is not in our table.
pub(crate) fn wsa_get_overlapped_result(socket: SOCKET, ended: &WSAOVERLAPPED) -> Result<(), Code> {
    let (mut bytes, mut flags) = (0, 0);
    // SAFETY: it only reads the block, whose packet was taken, and does not wait.
    checked_bool(unsafe { WSAGetOverlappedResult(socket, ended, &mut bytes, FALSE, &mut flags) })
}

/// Binds a socket.
pub(crate) fn bind_socket(socket: SOCKET, address: &SocketAddr) -> Result<(), Code> {
    let (name, len) = SOCKADDR_STORAGE::from_std(address);
    // SAFETY: the address is readable for its length, and not kept.
    checked(unsafe { bind(socket, &name, len) })
}

/// Makes a bound socket listen, with that backlog.
pub(crate) fn listen_socket(socket: SOCKET, backlog: i32) -> Result<(), Code> {
    refused(Call::Listen)?;
    // SAFETY: numbers only.
    checked(unsafe { listen(socket, backlog) })
}

/// Connects in the plain way; on a non-blocking socket it only starts.
pub(crate) fn connect_socket(socket: SOCKET, address: &SocketAddr) -> Result<(), Code> {
    let (name, len) = SOCKADDR_STORAGE::from_std(address);
    // SAFETY: the address is readable for its length, and not kept.
    checked(unsafe { connect(socket, &name, len) })
}

/// What a plain receive would find, without taking it: the number of bytes, at most 1.
pub(crate) fn peek_one(socket: SOCKET) -> Result<usize, Code> {
    recv_from(socket, &mut [0], true).map(|(count, _)| count)
}

/// Receives without waiting: how much fitted, and from whom. What a datagram has beyond that is cut off. Of a stream no
/// sender is told.
pub(crate) fn recv_from(
    socket: SOCKET,
    buffer: &mut [u8],
    peek: bool,
) -> Result<(usize, Option<SocketAddr>), Code> {
    let mut from = SOCKADDR_STORAGE::zeroed();
    let mut from_len = STORAGE_LEN;
    let flags = if peek { MSG_PEEK } else { 0 };
    let (place, len) = (buffer.as_mut_ptr(), len_i32(buffer.len()));
    // SAFETY: the buffer is writable for the length, and so is the address.
    let count = unsafe { recvfrom(socket, place, len, flags, &mut from, &mut from_len) };
    let count = match checked(count) {
        Ok(()) => usize::try_from(count).unwrap_or(0),
        Err(WSAEMSGSIZE) => buffer.len(),
        Err(code) => return Err(code),
    };
    Ok((count, from.to_std()))
}

/// Sends a datagram without an operation: to the peer that the socket is connected to, or to `target`.
pub(crate) fn send_at_once(
    socket: &UdpSocket,
    bytes: &[u8],
    target: Option<&SocketAddr>,
) -> io::Result<usize> {
    fault(Call::SendAtOnce)?;
    match target {
        Some(target) => socket.send_to(bytes, target),
        None => socket.send(bytes),
    }
}
