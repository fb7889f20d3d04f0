//! Notices by a [pipe](https://man.netbsd.org/pipe2.2), for NetBSD and OpenBSD: their released kernels do not have
//! `EVFILT_USER`, or have had it only recently.
//!
//! Each notice is a byte. The polling thread takes the bytes out before it looks at the wakes, so that a byte which is
//! written meanwhile is reported anew. The pipe is never full, since the next notice is sent only after the last one
//! was handled; only the close sends one in between.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::kqueue::ffi::{self, EV_ADD, EV_CLEAR, EV_RECEIPT};
use crate::kqueue::submit;
use crate::kqueue::translate::NOTICE;
use crate::unix::ffi as socket;

/// More bytes than are ever in the pipe.
const MOST_BYTES: usize = 16;

#[derive(Debug)]
pub(crate) struct Notices {
    read_end: File,
    write_end: File,
}

impl Notices {
    pub(crate) fn new(queue: BorrowedFd<'_>) -> io::Result<Notices> {
        let (read_end, write_end) = socket::pipe(false)?;
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

    /// Takes out the bytes that were reported.
    pub(crate) fn received(&self) {
        let mut bytes = [0; MOST_BYTES];
        while matches!(
            (&self.read_end).read(&mut bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted
        ) {}
    }
}
