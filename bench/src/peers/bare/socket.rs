//! What the bare peers of epoll and of kqueue have in common.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// A socket without `std`'s methods.
#[derive(Debug)]
pub struct Socket(pub OwnedFd);

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer is as long as said.
        let count = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

impl Write for &Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: the buffer is as long as said.
        let count = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                buffer.as_ptr().cast(),
                buffer.len(),
                flags,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn check(result: i32) -> io::Result<i32> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
