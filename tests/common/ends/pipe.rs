//! The ends of a pipe: streams of one direction. The other direction fails with `Unsupported`, and no test uses it.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;

use minimio::{pipe, Interests, IntoStdError, PipeReader, PipeWriter};

use super::{Peer, Plain, StreamEnd};

fn unsupported<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

/// A blocking end of a pipe, until it is shut down.
#[derive(Debug)]
pub(crate) struct PipePeer(Mutex<Option<File>>);

impl PipePeer {
    /// A blocking descriptor for the same end of the pipe.
    fn new(end: &impl AsFd) -> PipePeer {
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

/// How many bytes there are to read.
fn waiting(file: &impl AsRawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the call writes one number, which lives as long as the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::FIONREAD, &mut count) };
    assert_eq!(result, 0);
    usize::try_from(count).unwrap()
}

/// Reads where the crate does not see it.
fn read_raw(end: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel may write the buffer as long as the call lasts.
    let count = unsafe { libc::read(end.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes where the crate does not see it.
fn write_raw(end: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel may read the bytes as long as the call lasts.
    let count = unsafe { libc::write(end.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// What `try_io` hands to a call is the end itself, and the call uses the descriptor.
impl Plain for PipeReader {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_raw(self, buffer)
    }

    fn write(&self, _bytes: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        set_nonblocking(self, on)
    }
}

impl Plain for PipeWriter {
    fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self, bytes)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        set_nonblocking(self, on)
    }
}

/// What neither end has. No test that needs it runs for a pipe.
macro_rules! what_a_pipe_has_not {
    () => {
        fn two() -> (Self, Self) {
            unimplemented!("a pipe has one reader and one writer")
        }

        fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
            unsupported()
        }

        fn take_error(&self) -> io::Result<Option<io::Error>> {
            unsupported()
        }

        fn from_std(_plain: Self::Plain) -> io::Result<Self> {
            unsupported()
        }

        fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>> {
            unimplemented!("std has no such type")
        }

        fn duplicate(&self) -> Self::Plain {
            unimplemented!("std has no such type")
        }

        fn reset(&self, _peer: Self::Peer) {
            unimplemented!("a pipe ends, and is not reset")
        }
    };
}

impl StreamEnd for PipeReader {
    type Peer = PipePeer;
    type Plain = PipeReader;

    fn pair_of(_kind: usize) -> (Self, Self::Peer) {
        let (reader, writer) = pipe().unwrap();
        (reader, PipePeer::new(&writer))
    }

    what_a_pipe_has_not!();

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Read::read_vectored(&mut &*self, buffers)
    }

    fn write(&self, _bytes: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn write_vectored(&self, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        unsupported()
    }

    fn flush(&self) -> io::Result<()> {
        unsupported()
    }

    fn peek(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn set_lent_buffer(&self, bytes: usize) {
        PipeReader::set_lent_buffer(self, bytes);
    }

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        PipeReader::try_io(self, interests, call)
    }

    fn read_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_raw(self, buffer)
    }

    fn write_behind(&self, _bytes: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn await_bytes(&self, count: usize) {
        super::super::await_that("the bytes are there", || waiting(self) >= count);
    }
}

impl StreamEnd for PipeWriter {
    type Peer = PipePeer;
    type Plain = PipeWriter;

    fn pair_of(_kind: usize) -> (Self, Self::Peer) {
        let (reader, writer) = pipe().unwrap();
        (writer, PipePeer::new(&reader))
    }

    what_a_pipe_has_not!();

    fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn read_vectored(&self, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        unsupported()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &*self, buffers)
    }

    fn flush(&self) -> io::Result<()> {
        Write::flush(&mut &*self)
    }

    fn peek(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn set_lent_buffer(&self, _bytes: usize) {}

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        PipeWriter::try_io(self, interests, call)
    }

    fn read_behind(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn write_behind(&self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self, bytes)
    }
}
