//! 7: what `windows::ffi` declares by hand is what `windows-sys` declares: sizes, offsets, constants and signatures.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
#[path = "../src/windows/ffi.rs"]
mod ffi;
#[cfg(minimio_hooks)]
#[allow(dead_code)]
#[path = "../src/hooks/ffi.rs"]
mod pages;

/// What `ffi` finds in the crate: no call is made to fail here.
mod hooks {
    pub(crate) mod faults {
        #[derive(Clone, Copy)]
        pub(crate) enum Call {
            Accept,
            Close,
            Connect,
            Listen,
            Post,
            Receive,
            Send,
            SendAtOnce,
            Socket,
            Wait,
        }

        #[allow(clippy::unnecessary_wraps)]
        pub(crate) fn fault(_: Call) -> std::io::Result<()> {
            Ok(())
        }

        #[allow(clippy::unnecessary_wraps)]
        pub(crate) fn refused(_: Call) -> Result<(), i32> {
            Ok(())
        }
    }
}

use std::mem::{align_of, size_of};
use windows_sys::Win32::Foundation as foundation;
use windows_sys::Win32::Networking::WinSock as winsock;
use windows_sys::Win32::Storage::FileSystem as files;
use windows_sys::Win32::System::Pipes as pipes;
use windows_sys::Win32::System::Threading as threading;
use windows_sys::Win32::System::IO as io;

/// The size and alignment of what a function returns and takes.
trait Signature {
    fn shape(self) -> Vec<(usize, usize)>;
}

macro_rules! signature {
    ($($argument:ident)*) => {
        impl<Return, $($argument),*> Signature for unsafe extern "system" fn($($argument),*) -> Return {
            fn shape(self) -> Vec<(usize, usize)> {
                vec![(size_of::<Return>(), align_of::<Return>()) $(, (size_of::<$argument>(), align_of::<$argument>()))*]
            }
        }
    };
}

signature!();
signature!(A);
signature!(A B);
signature!(A B C);
signature!(A B C D);
signature!(A B C D E);
signature!(A B C D E F);
signature!(A B C D E F G);
signature!(A B C D E F G H);
signature!(A B C D E F G H I);

macro_rules! same_function {
    ($name:ident, $theirs:path, ($($argument:tt),*)) => {
        // The casts hold the number of arguments and the calling convention.
        assert_eq!(
            (ffi::$name as unsafe extern "system" fn($($argument),*) -> _).shape(),
            ($theirs as unsafe extern "system" fn($($argument),*) -> _).shape(),
            stringify!($name)
        );
    };
}

macro_rules! same_pointer {
    ($ours:ty, $theirs:ty) => {{
        fn shape_of<F: Signature + Copy>(pointer: Option<F>) -> Option<Vec<(usize, usize)>> {
            pointer.map(Signature::shape)
        }
        // A pointer that is never called: only its type counts.
        // SAFETY: the address is not 0, and nobody calls it.
        let ours = unsafe { std::mem::transmute::<usize, $ours>(1) };
        // SAFETY: as above.
        let theirs = unsafe { std::mem::transmute::<usize, $theirs>(1) };
        assert_eq!(Some(ours.shape()), shape_of(theirs), stringify!($theirs));
    }};
}

macro_rules! same_struct {
    ($ours:ty, $theirs:ty $(, $our_field:ident = $their_field:ident)*) => {
        assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($theirs));
        assert_eq!(align_of::<$ours>(), align_of::<$theirs>(), stringify!($theirs));
        $(
            let ours = std::mem::MaybeUninit::<$ours>::uninit();
            let theirs = std::mem::MaybeUninit::<$theirs>::uninit();
            let (ours, theirs) = (ours.as_ptr(), theirs.as_ptr());
            // SAFETY: the place is only named.
            let our_place = unsafe { std::ptr::addr_of!((*ours).$our_field) };
            // SAFETY: the place is only named.
            let their_place = unsafe { std::ptr::addr_of!((*theirs).$their_field) };
            assert_eq!(our_place as usize - ours as usize, their_place as usize - theirs as usize, stringify!($their_field));
        )*
    };
}

macro_rules! same_constants {
    ($($name:ident: $theirs:path),* $(,)?) => {
        $( assert_eq!(i128::from(ffi::$name), $theirs as i128, stringify!($name)); )*
    };
}

#[test]
fn structures_have_the_layout_of_the_systems() {
    same_struct!(ffi::HANDLE, foundation::HANDLE);
    same_struct!(ffi::SOCKET, winsock::SOCKET);
    same_struct!(ffi::BOOL, foundation::BOOL);
    same_struct!(
        ffi::WSAOVERLAPPED,
        io::OVERLAPPED,
        Internal = Internal,
        InternalHigh = InternalHigh,
        Offset = Anonymous,
        hEvent = hEvent
    );
    same_struct!(
        ffi::OVERLAPPED_ENTRY,
        io::OVERLAPPED_ENTRY,
        lpCompletionKey = lpCompletionKey,
        lpOverlapped = lpOverlapped,
        Internal = Internal,
        dwNumberOfBytesTransferred = dwNumberOfBytesTransferred
    );
    same_struct!(ffi::WSABUF, winsock::WSABUF, len = len, buf = buf);
    same_struct!(
        ffi::GUID,
        windows_sys::core::GUID,
        data1 = data1,
        data2 = data2,
        data3 = data3,
        data4 = data4
    );
    same_struct!(
        ffi::WSADATA,
        winsock::WSADATA,
        wVersion = wVersion,
        wHighVersion = wHighVersion,
        lpVendorInfo = lpVendorInfo,
        szDescription = szDescription,
        szSystemStatus = szSystemStatus,
        iMaxSockets = iMaxSockets,
        iMaxUdpDg = iMaxUdpDg
    );
    same_struct!(
        ffi::WSANETWORKEVENTS,
        winsock::WSANETWORKEVENTS,
        lNetworkEvents = lNetworkEvents,
        iErrorCode = iErrorCode
    );
    same_struct!(ffi::BOOLEAN, foundation::BOOLEAN);
    same_struct!(
        ffi::LINGER,
        winsock::LINGER,
        l_onoff = l_onoff,
        l_linger = l_linger
    );
    same_struct!(
        ffi::SOCKADDR_STORAGE,
        winsock::SOCKADDR_STORAGE,
        ss_family = ss_family,
        __ss_align = __ss_align
    );
    same_struct!(
        ffi::SOCKADDR_IN,
        winsock::SOCKADDR_IN,
        sin_family = sin_family,
        sin_port = sin_port,
        sin_addr = sin_addr
    );
    same_struct!(
        ffi::SOCKADDR_IN6,
        winsock::SOCKADDR_IN6,
        sin6_family = sin6_family,
        sin6_port = sin6_port,
        sin6_flowinfo = sin6_flowinfo,
        sin6_addr = sin6_addr,
        sin6_scope_id = Anonymous
    );
}

#[test]
fn constants_have_the_systems_values() {
    same_constants! {
        INFINITE: windows_sys::Win32::System::Threading::INFINITE,
        WAIT_TIMEOUT: foundation::WAIT_TIMEOUT,
        ERROR_INVALID_FUNCTION: foundation::ERROR_INVALID_FUNCTION,
        ERROR_INVALID_PARAMETER: foundation::ERROR_INVALID_PARAMETER,
        HANDLE_FLAG_INHERIT: foundation::HANDLE_FLAG_INHERIT,
        HANDLE_FLAG_PROTECT_FROM_CLOSE: foundation::HANDLE_FLAG_PROTECT_FROM_CLOSE,
        FALSE: foundation::FALSE,
        AF_INET: winsock::AF_INET,
        AF_INET6: winsock::AF_INET6,
        WSA_OPERATION_ABORTED: winsock::WSA_OPERATION_ABORTED,
        WSA_IO_PENDING: winsock::WSA_IO_PENDING,
        WSAEFAULT: winsock::WSAEFAULT,
        WSAEINVAL: winsock::WSAEINVAL,
        WSAEWOULDBLOCK: winsock::WSAEWOULDBLOCK,
        WSAEALREADY: winsock::WSAEALREADY,
        WSAENOTSOCK: winsock::WSAENOTSOCK,
        WSAEMSGSIZE: winsock::WSAEMSGSIZE,
        WSAEAFNOSUPPORT: winsock::WSAEAFNOSUPPORT,
        WSAEADDRINUSE: winsock::WSAEADDRINUSE,
        WSAEADDRNOTAVAIL: winsock::WSAEADDRNOTAVAIL,
        WSAENETDOWN: winsock::WSAENETDOWN,
        WSAENETUNREACH: winsock::WSAENETUNREACH,
        WSAENETRESET: winsock::WSAENETRESET,
        WSAECONNABORTED: winsock::WSAECONNABORTED,
        WSAECONNRESET: winsock::WSAECONNRESET,
        WSAENOBUFS: winsock::WSAENOBUFS,
        WSAEISCONN: winsock::WSAEISCONN,
        WSAENOTCONN: winsock::WSAENOTCONN,
        WSAETIMEDOUT: winsock::WSAETIMEDOUT,
        WSAECONNREFUSED: winsock::WSAECONNREFUSED,
        WSAEHOSTDOWN: winsock::WSAEHOSTDOWN,
        WSAEHOSTUNREACH: winsock::WSAEHOSTUNREACH,
        SOCK_STREAM: winsock::SOCK_STREAM,
        IPPROTO_TCP: winsock::IPPROTO_TCP,
        WSA_FLAG_OVERLAPPED: winsock::WSA_FLAG_OVERLAPPED,
        WSA_FLAG_NO_HANDLE_INHERIT: winsock::WSA_FLAG_NO_HANDLE_INHERIT,
        MSG_PEEK: winsock::MSG_PEEK,
        SOL_SOCKET: winsock::SOL_SOCKET,
        SO_LINGER: winsock::SO_LINGER,
        SO_CONNECT_TIME: winsock::SO_CONNECT_TIME,
        SO_ERROR: winsock::SO_ERROR,
        SO_REUSE_UNICASTPORT: winsock::SO_REUSE_UNICASTPORT,
        FD_CONNECT: winsock::FD_CONNECT,
        DUPLICATE_SAME_ACCESS: foundation::DUPLICATE_SAME_ACCESS,
        WAIT_FAILED: foundation::WAIT_FAILED,
        WT_EXECUTEONLYONCE: threading::WT_EXECUTEONLYONCE,
        WT_EXECUTEINWAITTHREAD: threading::WT_EXECUTEINWAITTHREAD,
        SO_UPDATE_ACCEPT_CONTEXT: winsock::SO_UPDATE_ACCEPT_CONTEXT,
        SO_UPDATE_CONNECT_CONTEXT: winsock::SO_UPDATE_CONNECT_CONTEXT,
        SIO_GET_EXTENSION_FUNCTION_POINTER: winsock::SIO_GET_EXTENSION_FUNCTION_POINTER,
        SIO_ADDRESS_LIST_CHANGE: winsock::SIO_ADDRESS_LIST_CHANGE,
        SIO_UDP_CONNRESET: winsock::SIO_UDP_CONNRESET,
        SIO_UDP_NETRESET: winsock::SIO_UDP_NETRESET,
        ERROR_ACCESS_DENIED: foundation::ERROR_ACCESS_DENIED,
        ERROR_BROKEN_PIPE: foundation::ERROR_BROKEN_PIPE,
        ERROR_INVALID_NAME: foundation::ERROR_INVALID_NAME,
        ERROR_PIPE_BUSY: foundation::ERROR_PIPE_BUSY,
        ERROR_NO_DATA: foundation::ERROR_NO_DATA,
        ERROR_PIPE_NOT_CONNECTED: foundation::ERROR_PIPE_NOT_CONNECTED,
        ERROR_MORE_DATA: foundation::ERROR_MORE_DATA,
        ERROR_PIPE_CONNECTED: foundation::ERROR_PIPE_CONNECTED,
        ERROR_BAD_PIPE: foundation::ERROR_BAD_PIPE,
        ERROR_HANDLES_CLOSED: foundation::ERROR_HANDLES_CLOSED,
        ERROR_IO_INCOMPLETE: foundation::ERROR_IO_INCOMPLETE,
        ERROR_NO_SYSTEM_RESOURCES: foundation::ERROR_NO_SYSTEM_RESOURCES,
        ERROR_WORKING_SET_QUOTA: foundation::ERROR_WORKING_SET_QUOTA,
        ERROR_NOT_ENOUGH_QUOTA: foundation::ERROR_NOT_ENOUGH_QUOTA,
        GENERIC_READ: foundation::GENERIC_READ,
        GENERIC_WRITE: foundation::GENERIC_WRITE,
        OPEN_EXISTING: files::OPEN_EXISTING,
        FILE_FLAG_OVERLAPPED: files::FILE_FLAG_OVERLAPPED,
        FILE_FLAG_FIRST_PIPE_INSTANCE: files::FILE_FLAG_FIRST_PIPE_INSTANCE,
        SECURITY_SQOS_PRESENT: files::SECURITY_SQOS_PRESENT,
        SECURITY_IDENTIFICATION: files::SECURITY_IDENTIFICATION,
        PIPE_ACCESS_INBOUND: files::PIPE_ACCESS_INBOUND,
        PIPE_ACCESS_OUTBOUND: files::PIPE_ACCESS_OUTBOUND,
        PIPE_ACCESS_DUPLEX: files::PIPE_ACCESS_DUPLEX,
        PIPE_REJECT_REMOTE_CLIENTS: pipes::PIPE_REJECT_REMOTE_CLIENTS,
        PIPE_NOWAIT: pipes::PIPE_NOWAIT,
    }
    // `windows-sys` has the value of Winsock 1 (5); this one is of winsock2.h.
    assert_eq!(ffi::SOMAXCONN, 0x7fff_ffff);
    // A macro of winsock2.h: SOMAXCONN_HINT(65535).
    assert_eq!(ffi::LARGEST_BACKLOG, -65535);
    assert_eq!(ffi::FD_CONNECT_BIT, winsock::FD_CONNECT_BIT as usize);
    assert_eq!(ffi::FD_MAX_EVENTS, winsock::FD_MAX_EVENTS as usize);
    assert_eq!(
        ffi::INVALID_HANDLE_VALUE.0,
        foundation::INVALID_HANDLE_VALUE as isize
    );
    assert_eq!(ffi::INVALID_SOCKET.0, winsock::INVALID_SOCKET);
    for (ours, theirs) in [
        (ffi::WSAID_ACCEPTEX, winsock::WSAID_ACCEPTEX),
        (ffi::WSAID_CONNECTEX, winsock::WSAID_CONNECTEX),
        (
            ffi::WSAID_GETACCEPTEXSOCKADDRS,
            winsock::WSAID_GETACCEPTEXSOCKADDRS,
        ),
    ] {
        assert_eq!(
            (ours.data1, ours.data2, ours.data3, ours.data4),
            (theirs.data1, theirs.data2, theirs.data3, theirs.data4)
        );
    }
}

#[test]
fn functions_have_the_systems_signatures() {
    same_function!(
        CreateIoCompletionPort,
        io::CreateIoCompletionPort,
        (_, _, _, _)
    );
    same_function!(
        GetQueuedCompletionStatusEx,
        io::GetQueuedCompletionStatusEx,
        (_, _, _, _, _, _)
    );
    same_function!(
        PostQueuedCompletionStatus,
        io::PostQueuedCompletionStatus,
        (_, _, _, _)
    );
    same_function!(CancelIoEx, io::CancelIoEx, (_, _));
    same_function!(CloseHandle, foundation::CloseHandle, (_));
    same_function!(
        SetHandleInformation,
        foundation::SetHandleInformation,
        (_, _, _)
    );
    same_function!(WSAStartup, winsock::WSAStartup, (_, _));
    same_function!(WSAGetLastError, winsock::WSAGetLastError, ());
    same_function!(WSASocketW, winsock::WSASocketW, (_, _, _, _, _, _));
    same_function!(WSARecv, winsock::WSARecv, (_, _, _, _, _, _, _));
    same_function!(WSASend, winsock::WSASend, (_, _, _, _, _, _, _));
    same_function!(
        WSARecvFrom,
        winsock::WSARecvFrom,
        (_, _, _, _, _, _, _, _, _)
    );
    same_function!(WSASendTo, winsock::WSASendTo, (_, _, _, _, _, _, _, _, _));
    same_function!(WSAIoctl, winsock::WSAIoctl, (_, _, _, _, _, _, _, _, _));
    same_function!(
        WSAGetOverlappedResult,
        winsock::WSAGetOverlappedResult,
        (_, _, _, _, _)
    );
    same_function!(setsockopt, winsock::setsockopt, (_, _, _, _, _));
    same_function!(getsockopt, winsock::getsockopt, (_, _, _, _, _));
    same_function!(getsockname, winsock::getsockname, (_, _, _));
    same_function!(WSAEventSelect, winsock::WSAEventSelect, (_, _, _));
    same_function!(
        WSAEnumNetworkEvents,
        winsock::WSAEnumNetworkEvents,
        (_, _, _)
    );
    same_function!(CreateEventW, threading::CreateEventW, (_, _, _, _));
    same_function!(GetCurrentProcess, threading::GetCurrentProcess, ());
    same_function!(
        DuplicateHandle,
        foundation::DuplicateHandle,
        (_, _, _, _, _, _, _)
    );
    same_function!(WaitForSingleObject, threading::WaitForSingleObject, (_, _));
    same_function!(
        RegisterWaitForSingleObject,
        threading::RegisterWaitForSingleObject,
        (_, _, _, _, _, _)
    );
    same_function!(UnregisterWaitEx, threading::UnregisterWaitEx, (_, _));
    same_pointer!(ffi::WAITORTIMERCALLBACK, threading::WAITORTIMERCALLBACK);
    same_function!(bind, winsock::bind, (_, _, _));
    same_function!(listen, winsock::listen, (_, _));
    same_function!(connect, winsock::connect, (_, _, _));
    same_function!(closesocket, winsock::closesocket, (_));
    same_function!(recvfrom, winsock::recvfrom, (_, _, _, _, _, _));
    same_function!(
        CreateNamedPipeW,
        pipes::CreateNamedPipeW,
        (_, _, _, _, _, _, _, _)
    );
    same_function!(CreateFileW, files::CreateFileW, (_, _, _, _, _, _, _));
    same_function!(ConnectNamedPipe, pipes::ConnectNamedPipe, (_, _));
    same_function!(DisconnectNamedPipe, pipes::DisconnectNamedPipe, (_));
    same_function!(PeekNamedPipe, pipes::PeekNamedPipe, (_, _, _, _, _, _));
    same_function!(
        SetNamedPipeHandleState,
        pipes::SetNamedPipeHandleState,
        (_, _, _, _)
    );
    same_function!(ReadFile, files::ReadFile, (_, _, _, _, _));
    same_function!(WriteFile, files::WriteFile, (_, _, _, _, _));
    same_function!(GetOverlappedResult, io::GetOverlappedResult, (_, _, _, _));
    same_pointer!(ffi::AcceptEx, winsock::LPFN_ACCEPTEX);
    same_pointer!(ffi::ConnectEx, winsock::LPFN_CONNECTEX);
    same_pointer!(
        ffi::GetAcceptExSockaddrs,
        winsock::LPFN_GETACCEPTEXSOCKADDRS
    );
}

/// What stands around lent memory where tests look inside.
#[cfg(minimio_hooks)]
#[test]
fn memory_calls_are_the_systems() {
    use crate::pages as ffi;
    use windows_sys::Win32::System::Memory as memory;

    same_function!(VirtualAlloc, memory::VirtualAlloc, (_, _, _, _));
    same_function!(VirtualFree, memory::VirtualFree, (_, _, _));
    same_constants! {
        MEM_COMMIT: memory::MEM_COMMIT,
        MEM_RESERVE: memory::MEM_RESERVE,
        MEM_DECOMMIT: memory::MEM_DECOMMIT,
        MEM_RELEASE: memory::MEM_RELEASE,
        PAGE_NOACCESS: memory::PAGE_NOACCESS,
        PAGE_READWRITE: memory::PAGE_READWRITE,
    }
}

#[test]
fn addresses_survive_the_way_to_winsock_and_back() {
    for address in [
        "127.0.0.1:80",
        "255.1.2.3:65535",
        "[::1]:443",
        "[fe80::1%7]:1",
    ] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let (storage, len) = ffi::SOCKADDR_STORAGE::from_std(&address);
        assert_eq!(storage.to_std(), Some(address));
        assert_eq!(len, if address.is_ipv4() { 16 } else { 28 });
    }
    assert_eq!(ffi::SOCKADDR_STORAGE::zeroed().to_std(), None);
}

#[test]
fn posted_packets_come_back_as_they_were_given() {
    let port = ffi::create_completion_port().unwrap();
    for (key, pointer) in [(0, 0), (1, 1), (usize::MAX, usize::MAX)] {
        ffi::post_queued_completion_status(&port, 7, key, pointer).unwrap();
        let mut entries = [ffi::OVERLAPPED_ENTRY::zeroed(); 2];
        assert_eq!(
            ffi::get_queued_completion_status_ex(&port, &mut entries, ffi::INFINITE).unwrap(),
            1
        );
        assert_eq!(
            (entries[0].lpCompletionKey, entries[0].lpOverlapped as usize),
            (key, pointer)
        );
        assert_eq!(entries[0].dwNumberOfBytesTransferred, 7);
    }
    assert_eq!(
        ffi::get_queued_completion_status_ex(&port, &mut [], 0).unwrap(),
        0
    );
}

// 5.1, 7: nothing that the modules declare is missing above, and nothing comes from a library of undocumented calls.
#[test]
fn every_declared_function_structure_and_constant_is_held_against_windows_sys() {
    let (assertions, _) = include_str!("windows_ffi_layout.rs")
        .split_once("// 5.1, 7: nothing that")
        .unwrap();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_held = |name: &str| assertions.split(|c| !is_part(c)).any(|word| word == name);
    for source in [
        include_str!("../src/windows/ffi.rs"),
        include_str!("../src/windows/ffi/address.rs"),
        include_str!("../src/windows/ffi/codes.rs"),
        include_str!("../src/windows/ffi/extensions.rs"),
        include_str!("../src/windows/ffi/options.rs"),
        include_str!("../src/windows/ffi/pipes.rs"),
        include_str!("../src/windows/ffi/sockets.rs"),
        include_str!("../src/windows/ffi/waits.rs"),
    ] {
        for (library, declared) in libraries(source) {
            assert!(["kernel32", "ws2_32"].contains(&library), "{library}");
            for name in names(declared, "fn ", '(') {
                assert!(is_held(name), "{name}");
            }
        }
        // A length that is counted from a structure is no constant of the system's.
        let constants = source.lines().filter(|line| !line.contains("size_of"));
        let constants = constants.collect::<Vec<_>>().join("\n");
        for name in names(&constants, "pub(crate) const ", ':') {
            assert!(is_held(name), "{name}");
        }
        for record in source.split("#[repr(C)]").skip(1) {
            let name = names(record, "struct ", ' ')[0];
            assert!(is_held(name), "{name}");
        }
    }
}

/// The blocks of declared functions, each with the library that has them.
fn libraries(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("#[link(name = \"").skip(1).map(|block| {
        let (library, block) = block.split_once('"').unwrap();
        (library, block.split_once("\n}").unwrap().0)
    })
}

/// The text between `keyword` and `end`, for each line that has both.
fn names<'a>(source: &'a str, keyword: &str, end: char) -> Vec<&'a str> {
    let after = |line: &'a str| line.split_once(keyword)?.1.split_once(end);
    let names: Vec<_> = source.lines().filter_map(after).collect();
    names.into_iter().map(|(name, _)| name).collect()
}
