//! What is at the other end of a pipe, and what a user does with the descriptor of an end.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;

use crate::common::await_that;
use crate::common::ends::Peer;

/// A blocking end of a pipe, until it is shut down.
#[derive(Debug)]
pub(crate) struct PipePeer(Mutex<Option<File>>);

impl PipePeer {
    /// A blocking descriptor for the same end of the pipe.
    pub(crate) fn new(end: &impl AsFd) -> PipePeer {
        let file = File::from(end.as_fd().try_clone_to_owned().unwrap());
        set_nonblocking(&file, false).unwrap();
        PipePeer(Mutex::new(Some(file)))
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = self.0.get_mut().unwrap();
        file.as_mut().ok_or(ErrorKind::BrokenPipe.into())
    }
}

fn set_nonblocking(file: &impl AsRawFd, on: bool) -> io::Result<()> {
    // SAFETY: the call takes only numbers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    let flags = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    // SAFETY: the call takes only numbers.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Read for PipePeer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }
}

impl Write for PipePeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
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

    /// A pipe has one direction, so this closes the end.
    fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        drop(self.0.lock().unwrap().take());
        Ok(())
    }

    fn await_byte(&self) {
        let file = self.0.lock().unwrap();
        await_readable(file.as_ref().unwrap());
    }
}

fn await_readable(file: &impl AsRawFd) {
    let mut question = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the call reads and writes one structure, which lives as long as the call.
    assert_eq!(unsafe { libc::poll(&mut question, 1, 60_000) }, 1);
}

/// Returns once there are so many bytes to read.
pub(crate) fn await_bytes(end: &impl AsRawFd, count: usize) {
    await_that("the bytes are there", || {
        let mut there: libc::c_int = 0;
        // SAFETY: the call writes one number, which lives as long as the call.
        let result = unsafe { libc::ioctl(end.as_raw_fd(), libc::FIONREAD, &mut there) };
        assert_eq!(result, 0);
        usize::try_from(there).unwrap() >= count
    });
}

/// Reads where the crate does not see it.
pub(crate) fn read_raw(end: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel may write the buffer as long as the call lasts.
    let count = unsafe { libc::read(end.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes where the crate does not see it.
pub(crate) fn write_raw(end: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel may read the bytes as long as the call lasts.
    let count = unsafe { libc::write(end.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
