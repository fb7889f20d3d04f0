//! Winsock's extension functions: `AcceptEx` and `ConnectEx`. They belong to a socket's provider and have to be asked for. The
//! functions of these names that a library exports may be those of another provider.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;
use std::net::SocketAddr;

use super::codes::{Code, WSAEINVAL};
use super::options::{ioctl, set_option};
use super::sockets::owed_if;
use super::{size_of_u32, BOOL, DWORD, SOCKADDR_STORAGE, SOCKET, WSAOVERLAPPED};
use crate::hooks::faults::{refused, Call};

/// [AcceptEx](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex)
pub(crate) const SO_UPDATE_ACCEPT_CONTEXT: i32 = 0x700b;
/// [ConnectEx](https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex)
pub(crate) const SO_UPDATE_CONNECT_CONTEXT: i32 = 0x7010;
/// [Winsock IOCTLs](https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls)
pub(crate) const SIO_GET_EXTENSION_FUNCTION_POINTER: DWORD = 0xc800_0006;
/// What `AcceptEx` wants beyond the largest address, for each of the two.
/// [AcceptEx](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex)
pub(crate) const ACCEPT_ADDRESS_LEN: usize = size_of::<SOCKADDR_STORAGE>() + 16;
const ACCEPT_ADDRESS_LEN_U32: DWORD = size_of_u32::<[u8; ACCEPT_ADDRESS_LEN]>();

/// [GUID](https://learn.microsoft.com/windows/win32/api/guiddef/ns-guiddef-guid)
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GUID {
    pub(crate) data1: u32,
    pub(crate) data2: u16,
    pub(crate) data3: u16,
    pub(crate) data4: [u8; 8],
}

/// [AcceptEx](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex)
pub(crate) type AcceptEx = unsafe extern "system" fn(
    sListenSocket: SOCKET,
    sAcceptSocket: SOCKET,
    lpOutputBuffer: *mut c_void,
    dwReceiveDataLength: DWORD,
    dwLocalAddressLength: DWORD,
    dwRemoteAddressLength: DWORD,
    lpdwBytesReceived: *mut DWORD,
    lpOverlapped: *mut WSAOVERLAPPED,
) -> BOOL;
pub(crate) const WSAID_ACCEPTEX: GUID = GUID {
    data1: 0xb536_7df1,
    data2: 0xcbac,
    data3: 0x11cf,
    data4: [0x95, 0xca, 0x00, 0x80, 0x5f, 0x48, 0xa1, 0x92],
};

/// [GetAcceptExSockaddrs](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-getacceptexsockaddrs)
pub(crate) type GetAcceptExSockaddrs = unsafe extern "system" fn(
    lpOutputBuffer: *const c_void,
    dwReceiveDataLength: DWORD,
    dwLocalAddressLength: DWORD,
    dwRemoteAddressLength: DWORD,
    LocalSockaddr: *mut *mut SOCKADDR_STORAGE,
    LocalSockaddrLength: *mut i32,
    RemoteSockaddr: *mut *mut SOCKADDR_STORAGE,
    RemoteSockaddrLength: *mut i32,
);
pub(crate) const WSAID_GETACCEPTEXSOCKADDRS: GUID = GUID {
    data1: 0xb536_7df2,
    data2: 0xcbac,
    data3: 0x11cf,
    data4: [0x95, 0xca, 0x00, 0x80, 0x5f, 0x48, 0xa1, 0x92],
};

/// [ConnectEx](https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex)
pub(crate) type ConnectEx = unsafe extern "system" fn(
    s: SOCKET,
    name: *const SOCKADDR_STORAGE,
    namelen: i32,
    lpSendBuffer: *const c_void,
    dwSendDataLength: DWORD,
    lpdwBytesSent: *mut DWORD,
    lpOverlapped: *mut WSAOVERLAPPED,
) -> BOOL;
pub(crate) const WSAID_CONNECTEX: GUID = GUID {
    data1: 0x25a2_07b9,
    data2: 0xddf3,
    data3: 0x4660,
    data4: [0x8e, 0xe9, 0x76, 0xe5, 0x8c, 0x74, 0x06, 0x3e],
};

/// The extension functions that a listener needs, as its provider has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptFunctions {
    accept_ex: AcceptEx,
    get_sockaddrs: GetAcceptExSockaddrs,
}

impl AcceptFunctions {
    pub(crate) fn of(listener: SOCKET) -> Result<AcceptFunctions, Code> {
        Ok(AcceptFunctions {
            // SAFETY: the identifier is that of this very function.
            accept_ex: unsafe { extension::<AcceptEx>(listener, &WSAID_ACCEPTEX) }?,
            // SAFETY: as above.
            get_sockaddrs: unsafe {
                extension::<GetAcceptExSockaddrs>(listener, &WSAID_GETACCEPTEXSOCKADDRS)
            }?,
        })
    }
}

/// Asks the socket's provider for an extension function.
///
/// # Safety
/// - `F` is a function pointer, of the type of the function that `id` identifies.
unsafe fn extension<F>(socket: SOCKET, id: &GUID) -> Result<F, Code> {
    let mut function: Option<F> = None;
    // SAFETY: an identifier is what it takes. It writes the function or null, which is `None`.
    unsafe {
        ioctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            id,
            &mut function,
        )
    }?;
    function.ok_or(WSAEINVAL)
}

/// Room for the two addresses that `AcceptEx` writes. Only `GetAcceptExSockaddrs` knows their form.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct AcceptAddresses([u8; 2 * ACCEPT_ADDRESS_LEN]);

impl AcceptAddresses {
    pub(crate) const fn new() -> AcceptAddresses {
        AcceptAddresses([0; 2 * ACCEPT_ADDRESS_LEN])
    }
}

/// Starts to accept a connection into the fresh socket `accepted`. `Ok`: a packet is owed.
///
/// # Safety
/// - `operation` and `addresses` stay valid, where they are and untouched until the packet was taken.
/// - Both sockets are open; `functions` are those of `listener`.
pub(crate) unsafe fn accept_ex(
    functions: &AcceptFunctions,
    listener: SOCKET,
    accepted: SOCKET,
    addresses: *mut AcceptAddresses,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Accept)?;
    let (data_len, address_len) = (0, ACCEPT_ADDRESS_LEN_U32);
    let mut received = 0;
    let call = functions.accept_ex;
    // SAFETY: the caller's duties; room for no data and two addresses is what the lengths say.
    owed_if(unsafe {
        call(
            listener,
            accepted,
            addresses.cast(),
            data_len,
            address_len,
            address_len,
            &mut received,
            operation,
        )
    })
}

/// The peer's address, out of what an `AcceptEx` has written.
pub(crate) fn accepted_peer(
    functions: &AcceptFunctions,
    addresses: &AcceptAddresses,
) -> Option<SocketAddr> {
    let address_len = ACCEPT_ADDRESS_LEN_U32;
    let (mut local, mut local_len) = (ptr::null_mut(), 0);
    let (mut remote, mut remote_len) = (ptr::null_mut(), 0);
    let call = functions.get_sockaddrs;
    // SAFETY: the buffer has the lengths that were given to `AcceptEx`; the four places are writable.
    unsafe {
        call(
            addresses.0.as_ptr().cast(),
            0,
            address_len,
            address_len,
            &mut local,
            &mut local_len,
            &mut remote,
            &mut remote_len,
        );
    }
    let len = usize::try_from(remote_len).ok()?;
    if remote.is_null() || len > size_of::<SOCKADDR_STORAGE>() {
        return None;
    }
    let mut storage = SOCKADDR_STORAGE::zeroed();
    let place: *mut SOCKADDR_STORAGE = &mut storage;
    // SAFETY: the system says that the address lies there, inside the buffer, with that length, which is no longer than
    // the place it is copied to.
    unsafe { ptr::copy_nonoverlapping(remote.cast::<u8>(), place.cast::<u8>(), len) };
    storage.to_std()
}

/// Makes an accepted socket a full one: its names, options and `shutdown` work only after this.
pub(crate) fn update_accept_context(accepted: SOCKET, listener: SOCKET) -> Result<(), Code> {
    // The option's value is the listening socket itself.
    set_option(accepted, SO_UPDATE_ACCEPT_CONTEXT, &listener)
}

/// Starts to connect the bound socket to `target`. `Ok`: a packet is owed.
///
/// # Safety
/// - `operation` and `target` stay valid, where they are and untouched until the packet was taken.
/// - `socket` is open.
pub(crate) unsafe fn connect_ex(
    socket: SOCKET,
    target: &(SOCKADDR_STORAGE, i32),
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Connect)?;
    // SAFETY: the identifier is that of this very function.
    let call = unsafe { extension::<ConnectEx>(socket, &WSAID_CONNECTEX) }?;
    let (name, name_len) = target;
    let (no_data, no_count) = (ptr::null(), ptr::null_mut());
    // SAFETY: the caller's duties; nothing is sent along.
    owed_if(unsafe { call(socket, name, *name_len, no_data, 0, no_count, operation) })
}

/// Makes a socket connected by `ConnectEx` a full one: its names and `shutdown` work only after this.
pub(crate) fn update_connect_context(socket: SOCKET) -> Result<(), Code> {
    set_option(socket, SO_UPDATE_CONNECT_CONTEXT, &())
}
