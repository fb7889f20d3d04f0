//! The ends of a pipe: streams of one direction. The other direction fails with `Unsupported`, and no test uses it.

#[cfg(unix)]
#[path = "pipe_unix.rs"]
pub(crate) mod raw;
#[cfg(windows)]
#[path = "pipe_windows.rs"]
pub(crate) mod raw;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

use minimio::{pipe, Interests, IntoStdError, PipeReader, PipeWriter};

use super::{Plain, StreamEnd};
use raw::{read_raw, write_raw, PipePeer};

pub(crate) fn unsupported<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

/// What `try_io` hands to a call is the end itself, and the call uses the descriptor.
impl Plain for PipeReader {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_raw(self, buffer)
    }

    fn write(&self, _bytes: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn set_nonblocking(&self, _on: bool) -> io::Result<()> {
        unsupported()
    }
}

impl Plain for PipeWriter {
    fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self, bytes)
    }

    fn set_nonblocking(&self, _on: bool) -> io::Result<()> {
        unsupported()
    }
}

/// What neither end has. No test that needs it runs for a pipe.
macro_rules! what_a_pipe_has_not {
    () => {
        fn two() -> (Self, Self) {
            unreachable!("a pipe has one reader and one writer, so no test takes two of either")
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
            unreachable!("std has no such type, so no test of a socket runs for a pipe")
        }

        fn duplicate(&self) -> Self::Plain {
            unreachable!("std has no such type, so no test of a socket runs for a pipe")
        }

        fn reset(&self, _peer: Self::Peer) {
            unreachable!("a pipe ends and is not reset, so no test of a socket runs for it")
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
        raw::await_bytes(self, count);
    }
}

impl StreamEnd for PipeWriter {
    type Peer = PipePeer;
    type Plain = PipeWriter;

    const GATHERS: bool = cfg!(unix);

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
