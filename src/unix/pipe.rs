//! The ends of a pipe on Unix.
//!
//! A write that moved fewer bytes than it was given has met the end of the room, as on a stream. A short read proves
//! nothing: if the writer uses `O_DIRECT`, each of its writes is a packet, and a read stops behind one. So after a read
//! that does not end in `WouldBlock` the next registration asks the kernel, or epoll reports the level.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use crate::backend::Registrator;
use crate::interests::{Interests, Token};
use crate::unix::ending::Code;
use crate::unix::ffi;
use crate::unix::readiness::Direction::{Read, Write};
use crate::unix::readiness::Kind;
use crate::unix::source::Handle;

/// See [`crate::pipe()`].
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (read_end, write_end) = ffi::pipe(false)?;
    Ok((End::new(read_end, None), End::new(write_end, None)))
}

/// An end of a pipe.
pub(crate) struct End<const WRITES: bool> {
    handle: Handle<File>,
    /// Why the system has not made the end non-blocking. Then it is not read, written or registered.
    refusal: Option<Code>,
}

/// See [`crate::PipeReader`].
pub(crate) type PipeReader = End<false>;
/// See [`crate::PipeWriter`].
pub(crate) type PipeWriter = End<true>;

impl<const WRITES: bool> End<WRITES> {
    fn new(end: OwnedFd, refusal: Option<Code>) -> Self {
        let kind = if WRITES { Kind::Stream } else { Kind::Reader };
        End {
            handle: Handle::new(File::from(end), kind),
            refusal,
        }
    }

    /// The other end goes to a child process, and blocks there.
    pub(crate) fn with_stdio() -> io::Result<(Self, Stdio)> {
        let (read_end, write_end) = ffi::pipe(true)?;
        let (ours, theirs) = match WRITES {
            true => (write_end, read_end),
            false => (read_end, write_end),
        };
        ffi::set_nonblocking(ours.as_fd())?;
        Ok((End::new(ours, None), Stdio::from(theirs)))
    }

    fn handle(&self) -> io::Result<&Handle<File>> {
        match self.refusal {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(&self.handle),
        }
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.handle()?.register(with, token, interests)
    }
}

impl<const WRITES: bool> Deref for End<WRITES> {
    type Target = Handle<File>;

    fn deref(&self) -> &Handle<File> {
        &self.handle
    }
}

impl<T: Into<OwnedFd>, const WRITES: bool> From<T> for End<WRITES> {
    fn from(end: T) -> Self {
        let end = end.into();
        let refused = ffi::set_nonblocking(end.as_fd()).err();
        End::new(end, refused.and_then(|error| error.raw_os_error()))
    }
}

impl PipeReader {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let source = &self.handle()?.source;
        let moved = source.attempt(Read, |end| ffi::read(end, buffer))?;
        Ok(moved.bytes)
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let source = &self.handle()?.source;
        let moved = source.attempt(Read, |end| ffi::read_vectored(end, buffers))?;
        Ok(moved.bytes)
    }
}

impl PipeWriter {
    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        let source = &self.handle()?.source;
        source.transfer(Write, |end| ffi::write(end, buffer))
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let source = &self.handle()?.source;
        source.transfer(Write, |end| ffi::write_vectored(end, buffers))
    }

    /// There is nothing to do: the system has taken what was written.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
