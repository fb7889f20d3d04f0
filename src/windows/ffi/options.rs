//! The options of sockets, and the calls of a socket's provider that are none of Winsock's own.

use core::ffi::c_void;
use core::ptr;

use super::codes::{Code, WSAEWOULDBLOCK, WSA_IO_PENDING};
use super::sockets::{checked, LPWSAOVERLAPPED_COMPLETION_ROUTINE};
use super::waits::at_once;
use super::{size_of_i32, size_of_u32, BOOL, DWORD, FALSE, HANDLE, SOCKET, WSAOVERLAPPED};

/// [SOL_SOCKET options](https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options)
pub(crate) const SOL_SOCKET: i32 = 0xffff;
/// For how many seconds the socket has been connected.
/// [SOL_SOCKET options](https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options)
pub(crate) const SO_CONNECT_TIME: i32 = 0x700c;
/// [SOL_SOCKET options](https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options)
pub(crate) const SO_ERROR: i32 = 0x1007;
/// Lets bound sockets that connect share their port, as those do that `connect` binds by itself.
/// [SOL_SOCKET options](https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options)
pub(crate) const SO_REUSE_UNICASTPORT: i32 = 0x3007;
/// Waits for a change of the machine's addresses.
/// [SIO_ADDRESS_LIST_CHANGE](https://learn.microsoft.com/windows/win32/winsock/sio-address-list-change)
pub(crate) const SIO_ADDRESS_LIST_CHANGE: DWORD = 0x2800_0017;

/// [LINGER](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-linger)
pub(crate) const SO_LINGER: i32 = 0x0080;
/// Whether an ICMP "port unreachable" makes a later receive fail.
/// [Winsock IOCTLs](https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls)
pub(crate) const SIO_UDP_CONNRESET: DWORD = 0x9800_000c;
/// Whether an ICMP "time exceeded" makes a later receive fail.
/// [Winsock IOCTLs](https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls)
pub(crate) const SIO_UDP_NETRESET: DWORD = 0x9800_000f;

/// [LINGER](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-linger)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LINGER {
    pub(crate) l_onoff: u16,
    pub(crate) l_linger: u16,
}

#[link(name = "ws2_32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaioctl>
    pub(crate) fn WSAIoctl(
        s: SOCKET,
        dwIoControlCode: DWORD,
        lpvInBuffer: *const c_void,
        cbInBuffer: DWORD,
        lpvOutBuffer: *mut c_void,
        cbOutBuffer: DWORD,
        lpcbBytesReturned: *mut DWORD,
        lpOverlapped: *mut WSAOVERLAPPED,
        lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt>
    pub(crate) fn setsockopt(
        s: SOCKET,
        level: i32,
        optname: i32,
        optval: *const u8,
        optlen: i32,
    ) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt>
    pub(crate) fn getsockopt(
        s: SOCKET,
        level: i32,
        optname: i32,
        optval: *mut u8,
        optlen: *mut i32,
    ) -> i32;
}

/// Sets an option of the level `SOL_SOCKET`. The options without a value take a `T` without a size.
pub(super) fn set_option<T>(socket: SOCKET, option: i32, value: &T) -> Result<(), Code> {
    let len = size_of_i32::<T>();
    let place = match len {
        0 => ptr::null(),
        _ => ptr::addr_of!(*value).cast(),
    };
    // SAFETY: the value is readable for its length, and not kept.
    checked(unsafe { setsockopt(socket, SOL_SOCKET, option, place, len) })
}

/// The bytes of an option of the level `SOL_SOCKET`.
fn option_of(socket: SOCKET, option: i32) -> Result<[u8; 4], Code> {
    let mut value = [0; 4];
    let mut len = size_of_i32::<[u8; 4]>();
    let place = value.as_mut_ptr();
    // SAFETY: the value is writable for the length, and so is the length.
    checked(unsafe { getsockopt(socket, SOL_SOCKET, option, place, &mut len) })?;
    Ok(value)
}

/// Whether the socket has a connection. Unlike the peer's name, this is known even before [`update_connect_context`] is
/// called. The system tells it as the time since the connect. Not every provider knows the option: then it is an error.
///
/// [`update_connect_context`]: super::update_connect_context
pub(crate) fn is_connected(socket: SOCKET) -> Result<bool, Code> {
    const NOT_CONNECTED: u32 = u32::MAX;
    let seconds = option_of(socket, SO_CONNECT_TIME)?;
    Ok(u32::from_ne_bytes(seconds) != NOT_CONNECTED)
}

/// The error that the socket keeps, if it keeps one.
pub(crate) fn pending_error(socket: SOCKET) -> Option<Code> {
    // While a connect is under way the question itself may fail, which says nothing about the connect.
    let code = Code::from_ne_bytes(option_of(socket, SO_ERROR).ok()?);
    (code != 0).then_some(code)
}

/// Makes closing the socket reset the connection at once, whatever is unsent.
pub(crate) fn set_abortive_close(socket: SOCKET) {
    // If it fails, the connection is closed in order instead, which does no harm.
    let _ = set_linger(socket, 1, 0);
}

/// Makes closing the socket return at once, and the system send what is unsent.
pub(crate) fn set_graceful_close(socket: SOCKET) {
    // It cannot fail on a socket that is open. If it did, the next close would fail like the last one.
    let _ = set_linger(socket, 0, 0);
}

fn set_linger(socket: SOCKET, on: u16, seconds: u16) -> Result<(), Code> {
    let linger = LINGER {
        l_onoff: on,
        l_linger: seconds,
    };
    set_option(socket, SO_LINGER, &linger)
}

/// The linger time in seconds, if one is set: 0 makes closing reset the connection.
pub(crate) fn linger(socket: SOCKET) -> Option<u16> {
    let [on, on_high, low, high] = option_of(socket, SO_LINGER).ok()?;
    (on != 0 || on_high != 0).then_some(u16::from_ne_bytes([low, high]))
}

/// Lets the socket, which will be bound and then connected, share its local port with sockets that are connected to other
/// addresses. Windows knows the option since version 10. Without it, each socket has a port of its own.
pub(crate) fn share_port(socket: SOCKET) {
    const ON: BOOL = 1;
    let _ = set_option(socket, SO_REUSE_UNICASTPORT, &ON);
}

/// Keeps ICMP errors from failing the receives of a UDP socket. A provider that does not know these calls has no such
/// failures, so errors are ignored.
pub(crate) fn ignore_icmp_errors(socket: SOCKET) {
    for option in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
        // SAFETY: they take a `BOOL`, and there is no output.
        let _ = unsafe { ioctl(socket, option, &FALSE, &mut ()) };
    }
}

/// Whether a socket was made for overlapped use, asked by an overlapped call that nothing ends: to wait for a change of the
/// machine's addresses. An overlapped socket starts it, and it is cancelled at once. Any other refuses it if it is
/// non-blocking, which the caller sees to.
pub(crate) fn is_overlapped(socket: HANDLE) -> bool {
    let (nothing, nowhere) = (ptr::null(), ptr::null_mut());
    let mut returned_bytes = 0;
    let mut is_owed = false;
    let waited = at_once(socket, |operation| {
        // SAFETY: there is no input and no output. The operation outlives the call, which has ended when `at_once` returns.
        let returned = checked(unsafe {
            WSAIoctl(
                SOCKET(socket.0 as usize),
                SIO_ADDRESS_LIST_CHANGE,
                nothing,
                0,
                nowhere,
                0,
                &mut returned_bytes,
                operation,
                None,
            )
        });
        is_owed = matches!(returned, Ok(()) | Err(WSA_IO_PENDING));
        BOOL::from(returned.is_ok())
    });
    is_owed && matches!(waited, Ok(_) | Err(WSAEWOULDBLOCK))
}

/// Makes a call of the socket's provider that is none of Winsock's own.
///
/// # Safety
/// - `code` takes an `I`, and what it writes is an `O`.
pub(super) unsafe fn ioctl<I, O>(
    socket: SOCKET,
    code: DWORD,
    input: &I,
    output: &mut O,
) -> Result<(), Code> {
    let (input, output) = (ptr::addr_of!(*input), ptr::addr_of_mut!(*output));
    let (input_size, output_size) = (size_of_u32::<I>(), size_of_u32::<O>());
    let mut returned_bytes = 0;
    // SAFETY: the caller's duty; the input is readable and the output writable for their sizes.
    checked(unsafe {
        WSAIoctl(
            socket,
            code,
            input.cast(),
            input_size,
            output.cast(),
            output_size,
            &mut returned_bytes,
            ptr::null_mut(),
            None,
        )
    })
}
