//! Handles that can be waited for, the thread pool that waits for them, and overlapped calls that end without a packet.

use core::ffi::c_void;
use core::ptr;
use std::os::windows::io::AsRawHandle;

use super::codes::*;
use super::sockets::{checked, checked_bool, last_error, owed_if};
use super::{
    cancel_io_ex, close_handle, BOOL, DWORD, FALSE, HANDLE, INFINITE, NO_HANDLE, SOCKET,
    WAIT_TIMEOUT, WSAOVERLAPPED,
};
use crate::hooks::faults::{refused, Call};

/// [BOOLEAN](https://learn.microsoft.com/windows/win32/winprog/windows-data-types): one byte, unlike [`BOOL`].
pub(crate) type BOOLEAN = u8;

/// [WaitOrTimerCallback](https://learn.microsoft.com/previous-versions/windows/desktop/legacy/ms687066(v=vs.85))
pub(crate) type WAITORTIMERCALLBACK = unsafe extern "system" fn(*mut c_void, BOOLEAN);

/// The wait is over after its first signal.
/// [RegisterWaitForSingleObject](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject)
pub(crate) const WT_EXECUTEONLYONCE: DWORD = 0x8;
/// The callback runs on the thread that waits, which serves other waits, too.
/// [RegisterWaitForSingleObject](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject)
pub(crate) const WT_EXECUTEINWAITTHREAD: DWORD = 0x4;

/// The duplicate may do what the original may.
/// [DuplicateHandle](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle)
pub(crate) const DUPLICATE_SAME_ACCESS: DWORD = 0x2;
/// The object is not signalled.
/// [WaitForSingleObject](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject)
const NOT_SIGNALLED: DWORD = WAIT_TIMEOUT.unsigned_abs();
/// The wait has failed.
/// [WaitForSingleObject](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject)
pub(crate) const WAIT_FAILED: DWORD = u32::MAX;

/// The event that a connect has ended.
/// [WSAEventSelect](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaeventselect)
pub(crate) const FD_CONNECT: i32 = 1 << FD_CONNECT_BIT;
/// Where its error code stands.
pub(crate) const FD_CONNECT_BIT: usize = 4;
/// [WSANETWORKEVENTS](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsanetworkevents)
pub(crate) const FD_MAX_EVENTS: usize = 10;

/// [WSANETWORKEVENTS](https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsanetworkevents)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct WSANETWORKEVENTS {
    pub(crate) lNetworkEvents: i32,
    pub(crate) iErrorCode: [i32; FD_MAX_EVENTS],
}

#[link(name = "kernel32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getoverlappedresult>
    pub(crate) fn GetOverlappedResult(
        hFile: HANDLE,
        lpOverlapped: *const WSAOVERLAPPED,
        lpNumberOfBytesTransferred: *mut DWORD,
        bWait: BOOL,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createeventw>
    pub(crate) fn CreateEventW(
        lpEventAttributes: *const c_void,
        bManualReset: BOOL,
        bInitialState: BOOL,
        lpName: *const u16,
    ) -> HANDLE;
    /// <https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getcurrentprocess>
    pub(crate) fn GetCurrentProcess() -> HANDLE;
    /// <https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle>
    pub(crate) fn DuplicateHandle(
        hSourceProcessHandle: HANDLE,
        hSourceHandle: HANDLE,
        hTargetProcessHandle: HANDLE,
        lpTargetHandle: *mut HANDLE,
        dwDesiredAccess: DWORD,
        bInheritHandle: BOOL,
        dwOptions: DWORD,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject>
    pub(crate) fn WaitForSingleObject(hHandle: HANDLE, dwMilliseconds: DWORD) -> DWORD;
    /// <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject>
    pub(crate) fn RegisterWaitForSingleObject(
        phNewWaitObject: *mut HANDLE,
        hObject: HANDLE,
        Callback: WAITORTIMERCALLBACK,
        Context: *const c_void,
        dwMilliseconds: DWORD,
        dwFlags: DWORD,
    ) -> BOOL;
    /// <https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex>
    pub(crate) fn UnregisterWaitEx(WaitHandle: HANDLE, CompletionEvent: HANDLE) -> BOOL;
}

#[link(name = "ws2_32")]
extern "system" {
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaeventselect>
    pub(crate) fn WSAEventSelect(s: SOCKET, hEventObject: HANDLE, lNetworkEvents: i32) -> i32;
    /// <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaenumnetworkevents>
    pub(crate) fn WSAEnumNetworkEvents(
        s: SOCKET,
        hEventObject: HANDLE,
        lpNetworkEvents: *mut WSANETWORKEVENTS,
    ) -> i32;
}

/// An object that can be waited for, and that we own.
#[derive(Debug)]
pub(crate) struct WaitObject(pub(super) HANDLE);

impl Drop for WaitObject {
    fn drop(&mut self) {
        // SAFETY: the handle is ours alone, and this is its last use. No wait for it is on: whoever waits holds it.
        let closed = unsafe { close_handle(self.0) };
        debug_assert!(closed.is_ok(), "our own handle can be closed: {closed:?}");
    }
}

/// Makes an event that is not signalled, and that once signalled stays so until it is reset.
pub(crate) fn create_event() -> Result<WaitObject, Code> {
    const MANUAL_RESET: BOOL = 1;
    // SAFETY: no security attributes and no name; the rest is numbers. A handle of this sort is not inherited.
    let event = unsafe { CreateEventW(ptr::null(), MANUAL_RESET, FALSE, ptr::null()) };
    if event == NO_HANDLE {
        return Err(last_error());
    }
    Ok(WaitObject(event))
}

/// What stands in an operation's block for its event, so that its end signals the event and sends no packet to a port.
pub(crate) fn instead_of_packet(event: &WaitObject) -> HANDLE {
    /// [GetQueuedCompletionStatus](https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getqueuedcompletionstatus)
    const NO_PACKET: isize = 1;
    HANDLE(event.0 .0 | NO_PACKET)
}

/// How an operation on `file` has ended: with how many bytes, or how it failed. If it has not ended, and there is no
/// waiting, it is `ERROR_IO_INCOMPLETE`. That a part of a message was received is no failure.
///
/// # Safety
/// - The block can be read; the kernel may write to it.
pub(super) unsafe fn result_of(
    file: HANDLE,
    operation: *const WSAOVERLAPPED,
    wait: BOOL,
) -> Result<usize, Code> {
    let mut bytes = 0;
    // SAFETY: the caller's duty, and the count is writable.
    match checked_bool(unsafe { GetOverlappedResult(file, operation, &mut bytes, wait) }) {
        Ok(()) | Err(ERROR_MORE_DATA) => Ok(bytes as usize),
        Err(code) => Err(code),
    }
}

/// Makes an overlapped call that has no packet, and cancels it if it does not end at once: then it is `WSAEWOULDBLOCK`.
pub(super) fn at_once(
    file: HANDLE,
    start: impl FnOnce(*mut WSAOVERLAPPED) -> BOOL,
) -> Result<usize, Code> {
    const WAIT: BOOL = 1;
    let event = create_event()?;
    let mut operation = WSAOVERLAPPED {
        hEvent: instead_of_packet(&event),
        ..WSAOVERLAPPED::zeroed()
    };
    let operation = ptr::addr_of_mut!(operation);
    match owed_if(start(operation)) {
        Ok(()) | Err(ERROR_MORE_DATA) => {}
        Err(code) => return Err(code),
    }
    // SAFETY: the block lives here until the operation has ended.
    let mut result = unsafe { result_of(file, operation, FALSE) };
    if result == Err(ERROR_IO_INCOMPLETE) {
        cancel_io_ex(file, operation);
        // SAFETY: as above.
        result = unsafe { result_of(file, operation, WAIT) };
    }
    match result {
        Err(WSA_OPERATION_ABORTED) => Err(WSAEWOULDBLOCK),
        result => result,
    }
}

/// The number of a handle.
pub(crate) fn number_of(handle: &impl AsRawHandle) -> HANDLE {
    HANDLE(handle.as_raw_handle() as isize)
}

/// Duplicates the handle of an object. The duplicate is not inherited.
pub(crate) fn duplicate(handle: HANDLE) -> Result<WaitObject, Code> {
    // SAFETY: it takes nothing, and gives a number that stands for this process.
    let process = unsafe { GetCurrentProcess() };
    let mut object = NO_HANDLE;
    let options = DUPLICATE_SAME_ACCESS;
    // SAFETY: the place for the handle is writable. A number that is no handle of this process is refused.
    let duplicated =
        unsafe { DuplicateHandle(process, handle, process, &mut object, 0, FALSE, options) };
    checked_bool(duplicated)?;
    Ok(WaitObject(object))
}

/// Takes the signal of an object, if it is signalled: what a wait for it would take.
pub(crate) fn take_signal(object: &WaitObject) -> Result<bool, Code> {
    // SAFETY: the handle is ours, and open, being borrowed.
    match unsafe { WaitForSingleObject(object.0, 0) } {
        WAIT_FAILED => Err(last_error()),
        waited => Ok(waited != NOT_SIGNALLED),
    }
}

/// What happens when a wait has come to its signal.
pub(crate) trait OnSignal {
    /// # Safety
    /// - `context` was given to [`register_wait`] with this type, and this is the only call for it.
    unsafe fn signalled(context: *mut c_void);
}

/// What the pool calls: the only function of ours that the system does.
///
/// # Safety
/// - As [`OnSignal::signalled`].
unsafe extern "system" fn call_back<C: OnSignal>(context: *mut c_void, _timed_out: BOOLEAN) {
    // SAFETY: the caller's duty.
    unsafe { C::signalled(context) };
}

/// A wait of the thread pool's, until it is given to [`unregister_wait`].
#[derive(Debug)]
pub(crate) struct RegisteredWait(HANDLE);

/// Has a thread of the system's pool wait for `object`, without end, and then call [`OnSignal::signalled`] of `C` once with
/// `context`. It may be called before this returns.
///
/// # Safety
/// - `object` stays open until the callback has returned or the wait was unregistered without one.
/// - So long, `C` can be called with `context` on any thread.
pub(crate) unsafe fn register_wait<C: OnSignal>(
    object: &WaitObject,
    context: *const c_void,
) -> Result<RegisteredWait, Code> {
    refused(Call::Wait)?;
    let mut wait = NO_HANDLE;
    let flags = WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD;
    // SAFETY: the caller's duties; the place for the handle is writable.
    let registered = unsafe {
        let callback = call_back::<C>;
        RegisterWaitForSingleObject(&mut wait, object.0, callback, context, INFINITE, flags)
    };
    checked_bool(registered)?;
    Ok(RegisteredWait(wait))
}

/// Ends a wait, and does not wait for its callback. `Ok`: the callback has returned, or will never be called. An error,
/// which is `ERROR_IO_PENDING`: it is being called.
pub(crate) fn unregister_wait(wait: RegisteredWait) -> Result<(), Code> {
    // SAFETY: the handle came from `register_wait`, and whoever had it gave it away: this is its last use.
    checked_bool(unsafe { UnregisterWaitEx(wait.0, NO_HANDLE) })
}

/// Has `event` signalled when a connect of the socket ends, or at once if one has ended. The socket becomes non-blocking.
pub(crate) fn select_connect(socket: SOCKET, event: &WaitObject) -> Result<(), Code> {
    // SAFETY: numbers only; the event is open, being borrowed. The system keeps a reference of its own to it.
    checked(unsafe { WSAEventSelect(socket, event.0, FD_CONNECT) })
}

/// Ends the selection. The socket stays non-blocking.
pub(crate) fn select_nothing(socket: SOCKET) {
    // SAFETY: numbers only.
    // It fails only for a number that is no socket, and then there is no selection.
    let _ = unsafe { WSAEventSelect(socket, NO_HANDLE, 0) };
}

/// How the connect of a socket has ended, if it has since [`select_connect`] or had before; it is told once. Resets
/// `event`.
pub(crate) fn ended_connect(socket: SOCKET, event: &WaitObject) -> Option<Result<(), Code>> {
    let mut events = WSANETWORKEVENTS {
        lNetworkEvents: 0,
        iErrorCode: [0; FD_MAX_EVENTS],
    };
    // SAFETY: the record is writable; the event is open, being borrowed.
    let asked = checked(unsafe { WSAEnumNetworkEvents(socket, event.0, &mut events) });
    // That it cannot be asked says nothing of the connect.
    asked.ok()?;
    let ended = events.lNetworkEvents & FD_CONNECT != 0;
    ended.then_some(match events.iErrorCode[FD_CONNECT_BIT] {
        0 => Ok(()),
        code => Err(code),
    })
}
