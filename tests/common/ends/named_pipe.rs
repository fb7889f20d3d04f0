//! Both ends of a named pipe, as streams.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};

use minimio::os::windows::{NamedPipe, NamedPipeOptions};
use minimio::{Interests, IntoStdError};

use super::pipe::raw::{self, read_raw, write_raw, PipePeer};
use super::pipe::unsupported;
use super::{Plain, StreamEnd};

/// How many bytes each direction has room for.
const ROOM: u32 = 256 << 10;

/// A server's end and its client's, connected.
fn connected() -> (NamedPipe, NamedPipe) {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    let name = format!(r"\\.\pipe\minimio-suite-{}-{number}", std::process::id());
    let mut options = NamedPipeOptions::new();
    let server = options
        .in_buffer(ROOM)
        .out_buffer(ROOM)
        .create(&name)
        .unwrap();
    let client = NamedPipe::open(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

/// What `try_io` hands to a call is the end itself, and the call uses the handle.
impl Plain for NamedPipe {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_raw(self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self, bytes)
    }

    fn set_nonblocking(&self, _on: bool) -> io::Result<()> {
        unsupported()
    }
}

impl StreamEnd for NamedPipe {
    type Peer = PipePeer;
    type Plain = NamedPipe;

    /// The server's end, and the client's.
    const KINDS: usize = 2;

    const HALF_CLOSES: bool = false;

    /// `WriteFile` takes one buffer. A pipe that is registered writes a copy of all of them.
    const GATHERS: bool = false;

    fn pair_of(kind: usize) -> (Self, Self::Peer) {
        let (server, client) = connected();
        let (near, far) = match kind {
            0 => (server, client),
            _ => (client, server),
        };
        // Nothing is in flight, so the handle comes back at once.
        let far = far
            .into_handle()
            .map_err(|error| error.to_string())
            .unwrap();
        (near, PipePeer::new(&far))
    }

    fn two() -> (Self, Self) {
        connected()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Read::read_vectored(&mut &*self, buffers)
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

    fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        unsupported()
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        unsupported()
    }

    fn set_lent_buffer(&self, bytes: usize) {
        NamedPipe::set_lent_buffer(self, bytes);
    }

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        NamedPipe::try_io(self, interests, call)
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

    fn read_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_raw(self, buffer)
    }

    fn write_behind(&self, bytes: &[u8]) -> io::Result<usize> {
        write_raw(self, bytes)
    }

    fn await_bytes(&self, count: usize) {
        raw::await_bytes(self, count);
    }
}
