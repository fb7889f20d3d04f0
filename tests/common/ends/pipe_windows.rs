//! What is at the other end of a pipe, and what a user does with the handle of an end.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::Mutex;

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, ERROR_PIPE_NOT_CONNECTED, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::CreateEventW;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

use crate::common::ends::Peer;

/// An end of a pipe that blocks although its handle is overlapped, until it is shut down. So one thread can read while
/// another writes.
#[derive(Debug)]
pub(crate) struct PipePeer(Mutex<Option<File>>);

impl PipePeer {
    /// Another handle for the same end of the pipe.
    pub(crate) fn new(end: &impl AsHandle) -> PipePeer {
        let handle = end.as_handle().try_clone_to_owned().unwrap();
        PipePeer(Mutex::new(Some(File::from(handle))))
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = self.0.get_mut().unwrap();
        file.as_mut().ok_or(ErrorKind::BrokenPipe.into())
    }
}

impl Read for PipePeer {
    /// A write of no bytes makes a read of none, which is no end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file()?;
        loop {
            match transfer(file, Wait::Yes, |handle, overlapped| {
                let length = u32::try_from(buffer.len()).unwrap();
                // SAFETY: the handle is open, and the buffer and the structure stay until the call has ended.
                unsafe {
                    ReadFile(
                        handle,
                        buffer.as_mut_ptr(),
                        length,
                        ptr::null_mut(),
                        overlapped,
                    )
                }
            }) {
                Ok(0) if !buffer.is_empty() => {}
                Err(error) if is_end(&error) => return Ok(0),
                done => return done,
            }
        }
    }
}

/// Whether the error of a read says that the stream has ended.
fn is_end(error: &io::Error) -> bool {
    let code = error
        .raw_os_error()
        .and_then(|code| u32::try_from(code).ok());
    matches!(code, Some(ERROR_BROKEN_PIPE | ERROR_PIPE_NOT_CONNECTED))
}

impl Write for PipePeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self.file()?, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer for PipePeer {
    fn duplicate(&self) -> Self {
        let file = self.0.lock().unwrap();
        PipePeer(Mutex::new(Some(
            file.as_ref().unwrap().try_clone().unwrap(),
        )))
    }

    /// A pipe is not shut down in one direction, so this closes the end.
    fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        drop(self.0.lock().unwrap().take());
        Ok(())
    }

    fn await_byte(&self) {
        let file = self.0.lock().unwrap();
        crate::common::await_that("a byte is there", || {
            waiting(file.as_ref().unwrap()).unwrap() > 0
        });
    }
}

/// Whether a call may take as long as it likes. Otherwise it would block.
#[derive(PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// Begins a call and waits for its end. It brings no packet to a port that the handle is tied to, since the lowest bit
/// of its event is set.
fn transfer(
    end: &impl AsRawHandle,
    wait: Wait,
    call: impl FnOnce(HANDLE, *mut OVERLAPPED) -> i32,
) -> io::Result<usize> {
    // SAFETY: the call has no pointers.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    assert!(!event.is_null());
    // SAFETY: the handle was just made, and nobody else has it.
    let event = unsafe { OwnedHandle::from_raw_handle(event) };
    // SAFETY: all zeroes is a valid structure.
    let mut overlapped: OVERLAPPED = unsafe { std::mem::zeroed() };
    overlapped.hEvent = (event.as_raw_handle() as usize | 1) as _;
    let handle = end.as_raw_handle();
    if call(handle, &mut overlapped) == 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(ERROR_IO_PENDING as i32) {
            return Err(error);
        }
        if wait == Wait::No {
            // It may end meanwhile, which the next call tells.
            // SAFETY: the handle is open, and the structure lives.
            unsafe { CancelIoEx(handle, &overlapped) };
        }
    }
    let mut count = 0;
    // SAFETY: the structure stays until the call has ended, which this waits for.
    match unsafe { GetOverlappedResult(handle, &overlapped, &mut count, 1) } {
        0 => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() == Some(ERROR_OPERATION_ABORTED as i32) {
                true => Err(ErrorKind::WouldBlock.into()),
                false => Err(error),
            }
        }
        _ => Ok(count as usize),
    }
}

/// How many bytes there are to read.
fn waiting(end: &impl AsRawHandle) -> io::Result<usize> {
    let mut count = 0;
    // SAFETY: the call writes one number, which lives as long as the call.
    let result = unsafe {
        PeekNamedPipe(
            end.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            &mut count,
            ptr::null_mut(),
        )
    };
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(count as usize),
    }
}

/// A pipe has no way between its ends: what was written is there, in the pipe or in memory that the reader has lent.
pub(crate) fn await_bytes(_end: &impl AsRawHandle, _count: usize) {}

/// Reads where the crate does not see it, and does not block.
pub(crate) fn read_raw(end: &impl AsRawHandle, buffer: &mut [u8]) -> io::Result<usize> {
    match waiting(end) {
        Ok(0) => return Err(ErrorKind::WouldBlock.into()),
        Err(error) if is_end(&error) => return Ok(0),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let read = transfer(end, Wait::No, |handle, overlapped| {
        let length = u32::try_from(buffer.len()).unwrap();
        // SAFETY: the handle is open, and the buffer and the structure stay until the call has ended.
        unsafe {
            ReadFile(
                handle,
                buffer.as_mut_ptr(),
                length,
                ptr::null_mut(),
                overlapped,
            )
        }
    });
    match read {
        // Another thread had taken the last bytes.
        Err(error) if is_end(&error) => Ok(0),
        read => read,
    }
}

/// Writes where the crate does not see it. It waits for room.
pub(crate) fn write_raw(end: &impl AsRawHandle, bytes: &[u8]) -> io::Result<usize> {
    transfer(end, Wait::Yes, |handle, overlapped| {
        let length = u32::try_from(bytes.len()).unwrap();
        // SAFETY: the handle is open, and the bytes and the structure stay until the call has ended.
        unsafe { WriteFile(handle, bytes.as_ptr(), length, ptr::null_mut(), overlapped) }
    })
}
