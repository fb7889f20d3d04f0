//! Every Win32 and Winsock declaration of the crate, by hand, and beside each a wrapper. Nothing else calls the system.
//!
//! **Pending is the good news.** An overlapped call hands an operation to the kernel and returns. It then "fails" with
//! [`WSA_IO_PENDING`]: the operation is in flight, and a packet on the completion port will say how it went. Success
//! means that it ended during the call; on a socket that belongs to a port its packet comes all the same, unless
//! somebody switched that off (we never do). So both mean the same to us, *a packet is owed*, and every wrapper here
//! returns `Ok` for both. Any other error means that nothing was started and no packet comes. There is one exception: a
//! datagram that is longer than its buffer is a warning, and brings a packet (see [`sockets::wsa_recv_from`]).
//!
//! **`CreateIoCompletionPort` has two roles**, and a wrapper for each: without a file handle it makes a port, with one
//! it ties that handle to a port. The tie lasts as long as the handle, covers all its duplicates, and cannot be made
//! twice, so it is made once for a socket and not with each registration.
//!
//! **Types.** A port's handle and a socket are both integers to the system, and mixing them up goes unnoticed until a call
//! meets some other object. Here they are different types. `BOOL` is an integer of 32 bits, and not Rust's `bool`: a callee
//! may return 2. The calling convention is `"system"`, which is `stdcall` on 32-bit x86 and C's elsewhere.
//!
//! **Alertable waits** (`fAlertable`) let the thread run queued APCs and completion routines inside the wait, and end it
//! early for each. We queue none, and code of others should not run inside our wait, so it is always false.
//!
//! **Failures for tests.** A wrapper whose call a test may want to fail asks [`fault`] or `refused` first. In a user's program
//! both are empty functions.
#![allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms)]

// The attribute is for the test that includes this file by its path.
#[path = "ffi/address.rs"]
mod address;
#[path = "ffi/codes.rs"]
mod codes;
#[path = "ffi/extensions.rs"]
mod extensions;
#[path = "ffi/options.rs"]
mod options;
#[path = "ffi/pipes.rs"]
mod pipes;
#[path = "ffi/sockets.rs"]
mod sockets;
#[path = "ffi/waits.rs"]
mod waits;

use core::ffi::c_void;
use std::io;

use crate::hooks::faults::{fault, Call};
pub(crate) use address::*;
pub(crate) use codes::*;
pub(crate) use extensions::*;
pub(crate) use options::*;
pub(crate) use pipes::*;
use sockets::checked_bool;
pub(crate) use sockets::*;
pub(crate) use waits::*;

/// [Windows data types](https://learn.microsoft.com/windows/win32/winprog/windows-data-types): 0 is false.
pub(crate) type BOOL = i32;
/// [Windows data types](https://learn.microsoft.com/windows/win32/winprog/windows-data-types)
pub(crate) type DWORD = u32;

pub(crate) const FALSE: BOOL = 0;

/// A size as Windows takes it.
#[allow(clippy::cast_possible_truncation)] // The largest type here has some hundred bytes.
const fn size_of_u32<T>() -> DWORD {
    core::mem::size_of::<T>() as DWORD
}

/// A size as Winsock takes it.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // As above.
const fn size_of_i32<T>() -> i32 {
    core::mem::size_of::<T>() as i32
}

/// A kernel object of this process: a completion port, an event, a wait, or (for what takes any file) a socket.
/// [Windows data types](https://learn.microsoft.com/windows/win32/winprog/windows-data-types)
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HANDLE(pub(crate) isize);

impl HANDLE {
    /// What is unique among the handles that are open.
    pub(crate) fn number(self) -> usize {
        self.0.unsigned_abs()
    }
}

pub(crate) const INVALID_HANDLE_VALUE: HANDLE = HANDLE(-1);
const NO_HANDLE: HANDLE = HANDLE(0);

/// A socket. The type does not keep it open: code that uses one has to know why it still is.
/// [Socket data type](https://learn.microsoft.com/windows/win32/winsock/socket-data-type-2)
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SOCKET(pub(crate) usize);

impl SOCKET {
    /// Sockets are file handles to the calls that take any file.
    pub(crate) fn handle(self) -> HANDLE {
        HANDLE(self.0 as isize)
    }
}

/// The state block of one overlapped operation, the kernel's from the start of the operation until its packet.
/// [WSAOVERLAPPED](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsaoverlapped), the same as
/// [OVERLAPPED](https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct WSAOVERLAPPED {
    /// The operation's status, once it has ended.
    pub(crate) Internal: usize,
    /// The number of bytes that were moved.
    pub(crate) InternalHigh: usize,
    pub(crate) Offset: DWORD,
    pub(crate) OffsetHigh: DWORD,
    pub(crate) hEvent: HANDLE,
}

impl WSAOVERLAPPED {
    pub(crate) const fn zeroed() -> WSAOVERLAPPED {
        WSAOVERLAPPED {
            Internal: 0,
            InternalHigh: 0,
            Offset: 0,
            OffsetHigh: 0,
            hEvent: NO_HANDLE,
        }
    }
}

/// A packet, taken off a port.
/// [OVERLAPPED_ENTRY](https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped_entry)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct OVERLAPPED_ENTRY {
    /// Chosen when the file was tied to the port, or the packet posted.
    pub(crate) lpCompletionKey: usize,
    /// The operation that ended. In a posted packet it is the number that was posted, so nobody may follow it as a pointer
    /// before it is known to be one.
    pub(crate) lpOverlapped: *mut WSAOVERLAPPED,
    /// Reserved.
    pub(crate) Internal: usize,
    pub(crate) dwNumberOfBytesTransferred: DWORD,
}

impl OVERLAPPED_ENTRY {
    pub(crate) const fn zeroed() -> OVERLAPPED_ENTRY {
        OVERLAPPED_ENTRY {
            lpCompletionKey: 0,
            lpOverlapped: core::ptr::null_mut(),
            Internal: 0,
            dwNumberOfBytesTransferred: 0,
        }
    }

    /// The packet that would have come if it had been posted with this key and pointer.
    pub(crate) fn posted(key: usize, pointer: usize) -> OVERLAPPED_ENTRY {
        OVERLAPPED_ENTRY {
            lpCompletionKey: key,
            lpOverlapped: pointer as *mut WSAOVERLAPPED,
            ..OVERLAPPED_ENTRY::zeroed()
        }
    }
}

// SAFETY: an entry is four numbers. Nothing here follows its pointer, and `Port` follows none that is not in its table
// of operations in flight.
unsafe impl Send for OVERLAPPED_ENTRY {}
// SAFETY: as above.
unsafe impl Sync for OVERLAPPED_ENTRY {}

/// A wait without end.
/// [GetQueuedCompletionStatusEx](https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func)
pub(crate) const INFINITE: DWORD = u32::MAX;
/// The wait ended without a packet.
/// [System error codes](https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-)
pub(crate) const WAIT_TIMEOUT: i32 = 258;
/// What tying a handle to a port says when it, or a duplicate, is tied to a port already.
/// [System error codes](https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-)
pub(crate) const ERROR_INVALID_PARAMETER: i32 = 87;
/// [SetHandleInformation](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-sethandleinformation)
pub(crate) const HANDLE_FLAG_INHERIT: DWORD = 1;
/// [SetHandleInformation](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-sethandleinformation)
pub(crate) const HANDLE_FLAG_PROTECT_FROM_CLOSE: DWORD = 2;

/// How many threads may run with a packet of the port before the system keeps others waiting. Any thread that reads may
/// take packets, and none must hold up the thread that polls. So it is more than a program has threads.
const CONCURRENT_THREADS: DWORD = 1 << 16;

#[link(name = "kernel32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/fileio/createiocompletionport>
    pub(crate) fn CreateIoCompletionPort(
        FileHandle: HANDLE,
        ExistingCompletionPort: HANDLE,
        CompletionKey: usize,
        NumberOfConcurrentThreads: DWORD,
    ) -> HANDLE;
    /// <https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func>
    pub(crate) fn GetQueuedCompletionStatusEx(
        CompletionPort: HANDLE,
        lpCompletionPortEntries: *mut OVERLAPPED_ENTRY,
        ulCount: u32,
        ulNumEntriesRemoved: *mut u32,
        dwMilliseconds: DWORD,
        fAlertable: BOOL,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus>
    pub(crate) fn PostQueuedCompletionStatus(
        CompletionPort: HANDLE,
        dwNumberOfBytesTransferred: DWORD,
        dwCompletionKey: usize,
        lpOverlapped: *mut WSAOVERLAPPED,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle>
    pub(crate) fn CloseHandle(hObject: HANDLE) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/fileio/cancelioex-func>
    pub(crate) fn CancelIoEx(hFile: HANDLE, lpOverlapped: *mut WSAOVERLAPPED) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-sethandleinformation>
    pub(crate) fn SetHandleInformation(hObject: HANDLE, dwMask: DWORD, dwFlags: DWORD) -> BOOL;
}

/// A completion port that we own. It is closed when this is dropped, and so never under its users.
#[derive(Debug)]
pub(crate) struct CompletionPort(HANDLE);

impl Drop for CompletionPort {
    fn drop(&mut self) {
        // SAFETY: the handle came from `create_completion_port`, nobody else has it, and this is its last use.
        let closed = unsafe { close_handle(self.0) };
        debug_assert!(
            closed.is_ok(),
            "a port that we own can be closed: {closed:?}"
        );
    }
}

/// The first role of `CreateIoCompletionPort`: makes a port.
pub(crate) fn create_completion_port() -> io::Result<CompletionPort> {
    // SAFETY: numbers only; with the invalid handle and no port it makes a new one.
    let port =
        unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, NO_HANDLE, 0, CONCURRENT_THREADS) };
    if port == NO_HANDLE {
        return Err(io::Error::last_os_error());
    }
    Ok(CompletionPort(port))
}

/// The second role of `CreateIoCompletionPort`: ties a socket or another file to `port`, for its life.
pub(crate) fn create_io_completion_port(
    file: HANDLE,
    port: &CompletionPort,
    key: usize,
) -> io::Result<()> {
    // SAFETY: numbers only. A number that is no open file is refused by the system; that it is *our* open file, the
    // caller's borrow of the source says.
    let tied = unsafe { CreateIoCompletionPort(file, port.0, key, 0) };
    if tied == NO_HANDLE {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Waits for packets and returns how many of `entries` were filled; 0 if the time ran out.
pub(crate) fn get_queued_completion_status_ex(
    port: &CompletionPort,
    entries: &mut [OVERLAPPED_ENTRY],
    timeout_ms: DWORD,
) -> io::Result<usize> {
    // The system takes an array of no entries for one of one: that would write beyond it.
    if entries.is_empty() {
        return Ok(0);
    }
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut removed = 0;
    let place = entries.as_mut_ptr();
    // SAFETY: `entries` is writable for `count` entries, and `removed` for one number; the port is open, being borrowed.
    let returned = unsafe {
        GetQueuedCompletionStatusEx(port.0, place, count, &mut removed, timeout_ms, FALSE)
    };
    match done(returned) {
        Ok(()) => Ok(removed as usize),
        Err(error) if error.raw_os_error() == Some(WAIT_TIMEOUT) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Posts a packet. The system does not look at the three numbers: `pointer` need not be one.
pub(crate) fn post_queued_completion_status(
    port: &CompletionPort,
    bytes: DWORD,
    key: usize,
    pointer: usize,
) -> io::Result<()> {
    fault(Call::Post)?;
    // SAFETY: the port is open, being borrowed; the pointer is passed through and never followed.
    done(unsafe { PostQueuedCompletionStatus(port.0, bytes, key, pointer as *mut _) })
}

/// What a call of the kernel's says that returns a `BOOL`.
fn done(returned: BOOL) -> io::Result<()> {
    checked_bool(returned).map_err(io::Error::from_raw_os_error)
}

/// Closes a handle.
///
/// # Safety
/// - The caller owns `handle`, and nobody uses it any more.
pub(crate) unsafe fn close_handle(handle: HANDLE) -> io::Result<()> {
    // SAFETY: the caller's duty.
    done(unsafe { CloseHandle(handle) })
}

/// Asks for the operation on `file` to end early. Its packet comes in any case, with whatever outcome won.
///
/// `operation` is only compared with those in flight on the file. The caller sees to it that `file` is open, lest
/// another object with the same number be asked (it would have to have the same operation to be hurt).
pub(crate) fn cancel_io_ex(file: HANDLE, operation: *mut WSAOVERLAPPED) {
    // SAFETY: the pointer is not followed; the kernel looks for an operation that was started with it.
    // That none is found (it ended in this moment) is no failure: its packet is on the port.
    let _ = unsafe { CancelIoEx(file, operation) };
}

/// Keeps child processes from inheriting `socket`, which was just accepted.
pub(crate) fn set_not_inherited(socket: SOCKET) {
    // Both flags there are, and not only the first: to change one alone, Wine asks for the other before. The second is not set
    // on a socket that was just made.
    let flags = HANDLE_FLAG_INHERIT | HANDLE_FLAG_PROTECT_FROM_CLOSE;
    // SAFETY: numbers only. It fails only for a socket that a layered provider made without a kernel handle, and such a
    // socket is not inherited either.
    let _ = unsafe { SetHandleInformation(socket.handle(), flags, 0) };
}

const _: () = {
    assert!(core::mem::size_of::<WSAOVERLAPPED>() == 3 * core::mem::size_of::<usize>() + 8);
    assert!(core::mem::size_of::<BOOL>() == 4);
    assert!(core::mem::size_of::<HANDLE>() == core::mem::size_of::<*mut c_void>());
};
