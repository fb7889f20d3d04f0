//! The public source for named pipes, [`NamedPipe`], and its documentation.

use std::ffi::OsStr;
use std::fmt;
use std::io;

use super::system::ffi::{self, PipeShape};
use super::system::{backend, AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use crate::error;
use crate::interests::{Interests, Token};
use crate::net::IntoStdError;
use crate::source::source;
use crate::Registrator;

/// One end of a named pipe, as a stream of bytes. Its calls do not block.
///
/// A server [`create`](NamedPipe::create)s a pipe under a name and waits for a client by [`connect`](NamedPipe::connect); a
/// client [`open`](NamedPipe::open)s it. Each server's end, or *instance*, serves one client at a time: for more, make
/// more instances ([`NamedPipeOptions::first_instance`]).
///
/// ```
/// use minimio::os::windows::NamedPipe;
/// use minimio::{Events, Interests, Poll};
/// use std::io::{Read, Write};
///
/// let name = format!(r"\\.\pipe\minimio-example-{}", std::process::id());
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let mut server = NamedPipe::create(&name)?;
/// poll.registrator().register(&server, 1, Interests::WRITABLE)?;
///
/// let mut client = NamedPipe::open(&name)?;
/// poll.poll(&mut events, None)?;
/// server.connect()?;
///
/// poll.registrator().register(&server, 2, Interests::READABLE)?;
/// client.write_all(b"hello")?;
/// poll.poll(&mut events, None)?;
/// let mut buffer = [0; 16];
/// assert_eq!(server.read(&mut buffer)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Reading
/// A read gives the bytes that are there, and `Ok(0)` at the end of the stream: when the peer has closed its end, or this one
/// was [disconnected](NamedPipe::disconnect). A peer that writes nothing does not end the stream.
///
/// # Writing
/// On a pipe that is registered each write is one operation in flight. It takes at most 65,536 bytes, and at most 512
/// when the memory that the [`Poll`](crate::Poll) may lend is lent. While it is in flight, the next write is
/// [`WouldBlock`](io::ErrorKind::WouldBlock); `WRITABLE` says that none is. Bytes that are in flight can be read by the peer
/// at once, and the flight ends when the pipe has room for the rest.
///
/// Without a registration, or after the end of the `Poll`, a write takes what the pipe has room for, or is `WouldBlock`. For
/// the time of that write the crate switches this end of the pipe to `PIPE_NOWAIT`. The system may refuse that, as
/// `WouldBlock`, as long as the peer has not read all that was written before.
///
/// When the peer is gone, a write fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// # Dropping
/// What was accepted is delivered: a pipe that is dropped with a write in flight stays open until the write has ended, at
/// most 60 seconds, as long as somebody polls, reads or writes on its `Poll`, or the `Poll` was dropped. After that time the
/// write is cancelled, and what the peer has not read by then is lost.
pub struct NamedPipe(pub(crate) backend::NamedPipe);

impl NamedPipe {
    /// Makes the first instance of a pipe under that name, as [`NamedPipeOptions::create`] does with the options as they
    /// are at first.
    ///
    /// # Errors
    /// As [`NamedPipeOptions::create`].
    pub fn create(name: impl AsRef<OsStr>) -> io::Result<NamedPipe> {
        NamedPipeOptions::new().create(name)
    }

    /// Opens the client's end of a pipe, for reading and writing if the server has made it so, else for what it can be
    /// opened for. The server may find out who its client is, and can do nothing in its name.
    ///
    /// The name is `\\.\pipe\NAME`, or `\\SERVER\pipe\NAME` on another machine. In the latter case the call can take
    /// as long as the network does.
    ///
    /// # Errors
    /// - [`NotFound`](io::ErrorKind::NotFound): there is no such pipe.
    /// - The system's error 231 (`ERROR_PIPE_BUSY`): every instance has a client, or its server is not waiting for the
    ///   next one. Try again later.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the server lets others in.
    /// - The system's error 123 (`ERROR_INVALID_NAME`): the name is not that of a pipe.
    ///   [`InvalidInput`](io::ErrorKind::InvalidInput): it contains a NUL.
    ///
    /// # System calls
    /// [`CreateFileW`](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew) with
    /// `SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION`.
    pub fn open(name: impl AsRef<OsStr>) -> io::Result<NamedPipe> {
        backend::NamedPipe::open(name.as_ref()).map(NamedPipe)
    }

    /// Takes over one end of a pipe, a server's or a client's. It must have been opened with `FILE_FLAG_OVERLAPPED`;
    /// otherwise `register` fails with [`AlreadyExists`](io::ErrorKind::AlreadyExists). A handle that is no pipe's is an
    /// error of `register`, too ([`InvalidInput`](io::ErrorKind::InvalidInput)). A pipe that was opened for messages is
    /// read as a stream of bytes.
    ///
    /// # System calls
    /// [`PeekNamedPipe`](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe), to learn
    /// whether it has a peer. If not, or if it can only be written, call [`connect`](NamedPipe::connect) before anything
    /// else.
    #[must_use]
    pub fn from_handle(handle: OwnedHandle) -> NamedPipe {
        NamedPipe(backend::NamedPipe::from_handle(handle))
    }

    /// Gives the handle back, no longer registered. It stays tied to the `Poll` for life.
    ///
    /// # Errors
    /// The error has the kind [`WouldBlock`](io::ErrorKind::WouldBlock) and contains the pipe, unchanged, if memory is lent
    /// to the kernel, bytes were received and not read, or a `connect` is under way.
    pub fn into_handle(self) -> Result<OwnedHandle, IntoStdError<NamedPipe>> {
        self.0.into_handle().map_err(|(pipe, error)| IntoStdError {
            source: NamedPipe(pipe),
            error,
        })
    }

    /// Waits for a client, on the server's end, without blocking: `Ok` if there is one. Otherwise it is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and on a registered pipe the next `WRITABLE` says that the wait has
    /// ended; then call it again. Until then `read` and `write` are `WouldBlock`, and no other event comes.
    ///
    /// A new server's end that is registered waits by itself. On one that is not, each call looks once whether a client is
    /// there.
    ///
    /// A client that has come and gone counts: its bytes are still to be read, and then the end of the stream. To serve
    /// the next client, call [`disconnect`](NamedPipe::disconnect) and then this. Bytes of the last client that were received
    /// and not read are dropped by then. On a client's end it is always `Ok`.
    ///
    /// # Errors
    /// `WouldBlock`, also while operations that `disconnect` has ended are not through yet; otherwise those of the system.
    ///
    /// # System calls
    /// [`ConnectNamedPipe`](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe)
    pub fn connect(&self) -> io::Result<()> {
        self.0.connect()
    }

    /// Sends the client away, on the server's end. **What the client has not read yet is lost**, also of writes that were
    /// accepted. To have it read everything, wait until it says so or closes its end. From then on the client's calls fail,
    /// reading here gives what was received before and then the end of the stream, and writing fails.
    ///
    /// # Errors
    /// Those of the system, for instance if there is no client.
    ///
    /// # System calls
    /// [`DisconnectNamedPipe`](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe)
    pub fn disconnect(&self) -> io::Result<()> {
        self.0.disconnect()
    }

    /// Makes one call of your own, in the direction that `interest` names, and returns what it returns. The call gets the pipe
    /// back, to borrow its handle. It is allowed at any time, on any thread.
    ///
    /// It must not block, and must have ended when it returns. On an overlapped pipe that takes some care: a call that
    /// reads or writes needs an `OVERLAPPED` of its own with an event of its own, whose lowest bit is set so that no packet
    /// comes, and has to wait for its end.
    ///
    /// # Errors
    /// Those of [`TcpStream::try_io`](crate::TcpStream::try_io): what `call` returns;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), if `interest` is not exactly one interest or bytes wait in lent memory;
    /// `WouldBlock`, if an operation that has memory is in flight in that direction, or a connect is under way.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&NamedPipe) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, |_| call(self))
    }

    /// Chooses how many bytes the pipe lends to the kernel for each of its next reads, as
    /// [`TcpStream::set_lent_buffer`](crate::TcpStream::set_lent_buffer) does.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.0.set_lent_buffer(bytes);
    }
}

/// How the server's end of a [`NamedPipe`] is made.
///
/// ```
/// use minimio::os::windows::{NamedPipe, NamedPipeOptions};
///
/// let name = format!(r"\\.\pipe\minimio-options-{}", std::process::id());
/// let first = NamedPipe::create(&name)?;
/// let second = NamedPipeOptions::new().first_instance(false).create(&name)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NamedPipeOptions(PipeShape);

impl NamedPipeOptions {
    /// The options as they are at first: the first instance, for reading and writing, without a bound on further instances,
    /// with buffers of 65,536 bytes, and closed to clients on other machines.
    #[must_use]
    pub fn new() -> NamedPipeOptions {
        NamedPipeOptions(PipeShape {
            open_mode: ffi::FILE_FLAG_FIRST_PIPE_INSTANCE | ffi::PIPE_ACCESS_DUPLEX,
            pipe_mode: ffi::PIPE_REJECT_REMOTE_CLIENTS,
            max_instances: u8::MAX.into(),
            out_bytes: 1 << 16,
            in_bytes: 1 << 16,
        })
    }

    fn set(&mut self, flag: u32, on: bool) -> &mut NamedPipeOptions {
        self.0.open_mode = self.0.open_mode & !flag | if on { flag } else { 0 };
        self
    }

    /// Whether it is the first instance under its name, and fails if there is one. Otherwise anybody who has made a pipe
    /// under this name before could get some of the clients.
    pub fn first_instance(&mut self, first: bool) -> &mut NamedPipeOptions {
        self.set(ffi::FILE_FLAG_FIRST_PIPE_INSTANCE, first)
    }

    /// Whether clients on other machines are let in.
    pub fn accept_remote(&mut self, remote: bool) -> &mut NamedPipeOptions {
        self.0.pipe_mode = if remote {
            0
        } else {
            ffi::PIPE_REJECT_REMOTE_CLIENTS
        };
        self
    }

    /// Whether the server can read what the client writes.
    pub fn inbound(&mut self, inbound: bool) -> &mut NamedPipeOptions {
        self.set(ffi::PIPE_ACCESS_INBOUND, inbound)
    }

    /// Whether the server can write what the client reads.
    pub fn outbound(&mut self, outbound: bool) -> &mut NamedPipeOptions {
        self.set(ffi::PIPE_ACCESS_OUTBOUND, outbound)
    }

    /// How many instances there can be at the same time: 1 to 254. 255 means any number. The first instance decides, and
    /// the others must say the same.
    pub fn max_instances(&mut self, instances: u8) -> &mut NamedPipeOptions {
        self.0.max_instances = instances.into();
        self
    }

    /// How many bytes the system keeps of what the client has written and the server not read. The system rounds it.
    pub fn in_buffer(&mut self, bytes: u32) -> &mut NamedPipeOptions {
        self.0.in_bytes = bytes;
        self
    }

    /// How many bytes the system keeps of what the server has written and the client not read. The system rounds it.
    pub fn out_buffer(&mut self, bytes: u32) -> &mut NamedPipeOptions {
        self.0.out_bytes = bytes;
        self
    }

    /// Makes a server's end. The name is `\\.\pipe\NAME`. A client can open it from then on; [`NamedPipe::connect`]
    /// says when one has.
    ///
    /// The pipe gets the default security descriptor of the process: with the usual one, other users can read from it and
    /// not write to it. For another one make the pipe yourself, and take it over by [`NamedPipe::from_handle`].
    ///
    /// # Errors
    /// - The system's error 5 (kind [`PermissionDenied`](io::ErrorKind::PermissionDenied)) or 231: the name is in use and
    ///   this was to be the first instance, or there are as many as there can be.
    /// - The system's error 123 (`ERROR_INVALID_NAME`): the name is not that of a pipe.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): it contains a NUL; no instance is allowed; or the pipe could
    ///   neither be read nor written.
    ///
    /// # System calls
    /// [`CreateNamedPipeW`](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)
    pub fn create(&self, name: impl AsRef<OsStr>) -> io::Result<NamedPipe> {
        if self.0.max_instances == 0 || self.0.open_mode & ffi::PIPE_ACCESS_DUPLEX == 0 {
            return Err(error::useless_pipe());
        }
        backend::NamedPipe::create(name.as_ref(), &self.0).map(NamedPipe)
    }
}

impl Default for NamedPipeOptions {
    fn default() -> NamedPipeOptions {
        NamedPipeOptions::new()
    }
}

source!(NamedPipe, Interests::all());

impl AsHandle for NamedPipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_owned().as_handle()
    }
}

impl AsRawHandle for NamedPipe {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedPipe")
            .field(&self.as_raw_handle())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn clients_on_other_machines_are_let_in_only_if_that_was_asked_for() {
        let mut options = NamedPipeOptions::new();
        assert_eq!(options.0.pipe_mode, ffi::PIPE_REJECT_REMOTE_CLIENTS);
        options.accept_remote(true);
        assert_eq!(options.0.pipe_mode, 0);
        options.accept_remote(false);
        assert_eq!(options.0.pipe_mode, ffi::PIPE_REJECT_REMOTE_CLIENTS);
    }
}
