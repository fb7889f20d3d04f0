//! Notices by a [pipe](https://man.netbsd.org/pipe2.2): NetBSD and OpenBSD, whose released kernels lack `EVFILT_USER` or
//! did until lately.
//!
//! Each notice is a byte. The poller takes the bytes out before it looks what they are about, so that a byte which is
//! written meanwhile is reported anew. They are few: the next notice is sent only after the last was handled, but for
//! the close's, so the pipe is never full.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::kqueue::ffi::{self, EV_ADD, EV_CLEAR, EV_RECEIPT};
use crate::kqueue::submit;
use crate::kqueue::translate::NOTICE;

/// More than are ever in the pipe.
const MOST_BYTES: usize = 16;

#[derive(Debug)]
pub(crate) struct Notices {
    read_end: File,
    write_end: File,
}

impl Notices {
    pub(crate) fn new(queue: BorrowedFd<'_>) -> io::Result<Notices> {
        let (read_end, write_end) = ffi::pipe()?;
        let ident = usize::try_from(read_end.as_raw_fd()).unwrap_or(usize::MAX);
        let flags = EV_ADD | EV_CLEAR | EV_RECEIPT;
        let change = ffi::kevent::change(ident, ffi::EVFILT_READ, flags, NOTICE);
        submit(queue, &[change])?;
        Ok(Notices {
            read_end: read_end.into(),
            write_end: write_end.into(),
        })
    }

    /// Sends one.
    pub(crate) fn send(&self, _queue: BorrowedFd<'_>) {
        loop {
            match (&self.write_end).write(&[0]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return debug_assert!(done.is_ok(), "the pipe has room: {done:?}"),
            }
        }
    }

    /// Takes away what announced itself.
    pub(crate) fn received(&self) {
        let mut bytes = [0; MOST_BYTES];
        while matches!(
            (&self.read_end).read(&mut bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted
        ) {}
    }
}
