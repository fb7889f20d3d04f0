//! Named pipes, as byte streams: made, opened, connected, read and written.
//!
//! A pipe's handle that was opened for overlapped use takes overlapped calls only: without an operation the system writes
//! the end of the call to places that may be gone by then. So the few calls that are to end at once ([`at_once`]) bring an
//! operation and an event of their own.

use core::ffi::c_void;
use core::ptr;
use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
pub(crate) use std::os::windows::io::OwnedHandle;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

use super::codes::*;
use super::sockets::{checked_bool, last_error, owed_if, WSABUF};
use super::waits::{at_once, result_of};
use super::{BOOL, DWORD, FALSE, HANDLE, INVALID_HANDLE_VALUE, NO_HANDLE, WSAOVERLAPPED};
use crate::hooks::faults::{refused, Call};

/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const GENERIC_READ: DWORD = 0x8000_0000;
/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const GENERIC_WRITE: DWORD = 0x4000_0000;
/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const OPEN_EXISTING: DWORD = 3;
/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const FILE_FLAG_OVERLAPPED: DWORD = 0x4000_0000;
/// The server of the pipe may be told what follows of its client's security, and no more than this.
/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const SECURITY_SQOS_PRESENT: DWORD = 0x0010_0000;
/// The server may learn who its client is, and cannot act as it.
/// [CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)
pub(crate) const SECURITY_IDENTIFICATION: DWORD = 0x0001_0000;

/// The server receives. [CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
pub(crate) const PIPE_ACCESS_INBOUND: DWORD = 1;
/// The server sends. [CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
pub(crate) const PIPE_ACCESS_OUTBOUND: DWORD = 2;
/// Both. [CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
pub(crate) const PIPE_ACCESS_DUPLEX: DWORD = 3;
/// Fails if the name has an instance already.
/// [CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
pub(crate) const FILE_FLAG_FIRST_PIPE_INSTANCE: DWORD = 0x0008_0000;
/// [CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
pub(crate) const PIPE_REJECT_REMOTE_CLIENTS: DWORD = 8;
/// Calls on this end do not wait.
/// [SetNamedPipeHandleState](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-setnamedpipehandlestate)
pub(crate) const PIPE_NOWAIT: DWORD = 1;

#[link(name = "kernel32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew>
    pub(crate) fn CreateNamedPipeW(
        lpName: *const u16,
        dwOpenMode: DWORD,
        dwPipeMode: DWORD,
        nMaxInstances: DWORD,
        nOutBufferSize: DWORD,
        nInBufferSize: DWORD,
        nDefaultTimeOut: DWORD,
        lpSecurityAttributes: *const c_void,
    ) -> HANDLE;
    /// <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew>
    pub(crate) fn CreateFileW(
        lpFileName: *const u16,
        dwDesiredAccess: DWORD,
        dwShareMode: DWORD,
        lpSecurityAttributes: *const c_void,
        dwCreationDisposition: DWORD,
        dwFlagsAndAttributes: DWORD,
        hTemplateFile: HANDLE,
    ) -> HANDLE;
    /// <https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe>
    pub(crate) fn ConnectNamedPipe(hNamedPipe: HANDLE, lpOverlapped: *mut WSAOVERLAPPED) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe>
    pub(crate) fn DisconnectNamedPipe(hNamedPipe: HANDLE) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe>
    pub(crate) fn PeekNamedPipe(
        hNamedPipe: HANDLE,
        lpBuffer: *mut u8,
        nBufferSize: DWORD,
        lpBytesRead: *mut DWORD,
        lpTotalBytesAvail: *mut DWORD,
        lpBytesLeftThisMessage: *mut DWORD,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-setnamedpipehandlestate>
    pub(crate) fn SetNamedPipeHandleState(
        hNamedPipe: HANDLE,
        lpMode: *const DWORD,
        lpMaxCollectionCount: *const DWORD,
        lpCollectDataTimeout: *const DWORD,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile>
    pub(crate) fn ReadFile(
        hFile: HANDLE,
        lpBuffer: *mut u8,
        nNumberOfBytesToRead: DWORD,
        lpNumberOfBytesRead: *mut DWORD,
        lpOverlapped: *mut WSAOVERLAPPED,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile>
    pub(crate) fn WriteFile(
        hFile: HANDLE,
        lpBuffer: *const u8,
        nNumberOfBytesToWrite: DWORD,
        lpNumberOfBytesWritten: *mut DWORD,
        lpOverlapped: *mut WSAOVERLAPPED,
    ) -> BOOL;
}

/// The number of a handle that `std` owns.
pub(crate) fn handle_of(handle: &OwnedHandle) -> HANDLE {
    HANDLE(handle.as_raw_handle() as isize)
}

/// A name as the system takes it: `\\SERVER\pipe\NAME`. Any other could be a file's.
pub(crate) fn pipe_name(name: &OsStr) -> io::Result<Vec<u16>> {
    let mut name: Vec<u16> = name.encode_wide().collect();
    if name.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name of a pipe cannot contain a NUL",
        ));
    }
    let path = String::from_utf16_lossy(&name).to_ascii_lowercase();
    let parts: Vec<&str> = path.splitn(5, ['\\', '/']).collect();
    let fits = matches!(parts[..], ["", "", server, "pipe", name] if !server.is_empty() && !name.is_empty());
    // The system would take such a step, out of the pipes and to the files.
    if !fits || path.split(['\\', '/']).any(|part| part == "..") {
        return Err(io::Error::from_raw_os_error(ERROR_INVALID_NAME));
    }
    name.push(0);
    Ok(name)
}

/// How a server's end is made: the numbers of `CreateNamedPipeW`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PipeShape {
    pub(crate) open_mode: DWORD,
    pub(crate) pipe_mode: DWORD,
    pub(crate) max_instances: DWORD,
    pub(crate) out_bytes: DWORD,
    pub(crate) in_bytes: DWORD,
}

/// Makes an instance of a pipe, for overlapped use. It is not inherited.
pub(crate) fn create_named_pipe(name: &[u16], shape: &PipeShape) -> Result<OwnedHandle, Code> {
    debug_assert_eq!(name.last(), Some(&0));
    let mode = shape.open_mode | FILE_FLAG_OVERLAPPED;
    let (instances, out, input) = (shape.max_instances, shape.out_bytes, shape.in_bytes);
    let (name, none) = (name.as_ptr(), ptr::null());
    // SAFETY: the name ends in 0; no security attributes; the rest is numbers.
    owned(unsafe { CreateNamedPipeW(name, mode, shape.pipe_mode, instances, out, input, 0, none) })
}

/// Opens the client's end of a pipe, which is not inherited.
pub(crate) fn open_pipe(name: &[u16], access: DWORD, flags: DWORD) -> Result<OwnedHandle, Code> {
    debug_assert_eq!(name.last(), Some(&0));
    let flags = flags | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    let (name, none) = (name.as_ptr(), ptr::null());
    // SAFETY: the name ends in 0; no security attributes; the rest is numbers.
    owned(unsafe { CreateFileW(name, access, 0, none, OPEN_EXISTING, flags, NO_HANDLE) })
}

/// What a call has made that returns a handle or `INVALID_HANDLE_VALUE`.
fn owned(handle: HANDLE) -> Result<OwnedHandle, Code> {
    if handle == INVALID_HANDLE_VALUE {
        return Err(last_error());
    }
    // SAFETY: the handle was made right now, and nobody else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle.0 as _) })
}

/// Starts a read. `Ok`: a packet is owed.
///
/// # Safety
/// - `operation` and the memory of `buffer` stay valid, where they are and untouched until the packet was taken.
/// - `pipe` is open.
pub(crate) unsafe fn read_file(
    pipe: HANDLE,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Receive)?;
    // SAFETY: the caller's duties.
    owed(unsafe { ReadFile(pipe, buffer.buf, buffer.len, ptr::null_mut(), operation) })
}

/// Starts a write. `Ok`: a packet is owed.
///
/// # Safety
/// As [`read_file`].
pub(crate) unsafe fn write_file(
    pipe: HANDLE,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Send)?;
    // SAFETY: the caller's duties.
    owed(unsafe { WriteFile(pipe, buffer.buf, buffer.len, ptr::null_mut(), operation) })
}

/// Starts to wait for a client. `Ok`: a packet is owed. A client that is there already is a failure to this call.
///
/// # Safety
/// As [`read_file`], without the memory.
pub(crate) unsafe fn connect_named_pipe(
    pipe: HANDLE,
    (): &(),
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    refused(Call::Connect)?;
    // SAFETY: the caller's duties.
    owed(unsafe { ConnectNamedPipe(pipe, operation) })
}

/// The result of an overlapped call. Part of a message is no failure to a stream of bytes, nor to the kernel.
fn owed(returned: BOOL) -> Result<(), Code> {
    match owed_if(returned) {
        Ok(()) | Err(ERROR_MORE_DATA) => Ok(()),
        Err(code) => Err(gone(code)),
    }
}

/// One code for a peer that is gone, whatever the system calls it: `std` knows the kind of this one.
fn gone(code: Code) -> Code {
    match code {
        ERROR_BAD_PIPE | ERROR_PIPE_NOT_CONNECTED | ERROR_HANDLES_CLOSED => ERROR_BROKEN_PIPE,
        code => code,
    }
}

/// How an operation on a pipe has ended: with how many bytes, or how it failed.
pub(crate) fn get_overlapped_result(pipe: HANDLE, ended: &WSAOVERLAPPED) -> Result<usize, Code> {
    // SAFETY: the block is only read, since nothing is to be waited for.
    unsafe { result_of(pipe, ended, FALSE) }.map_err(gone)
}

/// Makes a call that ends at once. See [`at_once`].
fn now(pipe: HANDLE, start: impl FnOnce(*mut WSAOVERLAPPED) -> BOOL) -> Result<usize, Code> {
    at_once(pipe, start).map_err(gone)
}

/// How many bytes there are to read.
pub(crate) fn peek_named_pipe(pipe: HANDLE) -> Result<usize, Code> {
    let mut available = 0;
    let (nowhere, none) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: there is no memory to read into, and the count is writable.
    let peeked = unsafe { PeekNamedPipe(pipe, nowhere, 0, none, &mut available, none) };
    checked_bool(peeked).map_err(gone)?;
    Ok(available as usize)
}

/// Reads what is there.
pub(crate) fn read_now(pipe: HANDLE, buffer: &mut [u8]) -> Result<usize, Code> {
    let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let (place, no_count) = (buffer.as_mut_ptr(), ptr::null_mut());
    // SAFETY: the memory and the operation outlive the call, which has ended when this returns.
    now(pipe, |operation| unsafe {
        ReadFile(pipe, place, room, no_count, operation)
    })
}

/// Writes as much as there is room for. No other call on this end of the pipe may start meanwhile: it would not wait.
pub(crate) fn write_now(pipe: HANDLE, bytes: &[u8]) -> Result<usize, Code> {
    refused(Call::Send)?;
    set_mode(pipe, PIPE_NOWAIT)?;
    let mut len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (place, no_count) = (bytes.as_ptr(), ptr::null_mut());
    let written = loop {
        // SAFETY: the memory and the operation outlive the call, which has ended when this returns.
        let written = now(pipe, |operation| unsafe {
            WriteFile(pipe, place, len, no_count, operation)
        });
        // Wine writes all or nothing.
        len /= 2;
        if written != Ok(0) || len == 0 {
            break written;
        }
    };
    // It fails if the server has sent this client away meanwhile, and then no call on this end waits any more.
    let restored = set_mode(pipe, 0);
    debug_assert!(matches!(restored, Ok(()) | Err(ERROR_BROKEN_PIPE)));
    match written {
        Ok(0) => Err(WSAEWOULDBLOCK),
        written => written,
    }
}

/// A pipe with unread bytes may not be switched.
fn set_mode(pipe: HANDLE, mode: DWORD) -> Result<(), Code> {
    let unchanged = ptr::null();
    // SAFETY: the mode is readable, and the rest stays as it is.
    match checked_bool(unsafe { SetNamedPipeHandleState(pipe, &mode, unchanged, unchanged) }) {
        Err(ERROR_PIPE_BUSY) => Err(WSAEWOULDBLOCK),
        set => set.map_err(gone),
    }
}

/// Whether a client is there. If not, the pipe takes the next one.
pub(crate) fn connect_now(pipe: HANDLE) -> Result<(), Code> {
    refused(Call::Connect)?;
    // SAFETY: the operation outlives the call, which has ended when this returns.
    now(pipe, |operation| unsafe {
        ConnectNamedPipe(pipe, operation)
    })
    .map(drop)
}

/// Sends the client away. What it has not read is lost.
pub(crate) fn disconnect_named_pipe(pipe: HANDLE) -> Result<(), Code> {
    // SAFETY: numbers only.
    checked_bool(unsafe { DisconnectNamedPipe(pipe) }).map_err(gone)
}
