//! What only Windows has: named pipes.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};

use minimio::os::windows as ours;
use minimio::Interests;

use crate::event::Source;
use crate::io::Io;
use crate::net::stream;
use crate::{Interest, Registry, Token};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// One end of a named pipe.
pub struct NamedPipe(Io<ours::NamedPipe>);

impl NamedPipe {
    /// Makes a server's end under a name. Other instances may have the name, too.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new<A: AsRef<OsStr>>(name: A) -> io::Result<NamedPipe> {
        let mut options = ours::NamedPipeOptions::new();
        let pipe = options.first_instance(false).create(name)?;
        Ok(NamedPipe(Io::new(pipe)))
    }

    /// Waits for a client, without blocking.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`: then a writable event says that the wait has ended.
    pub fn connect(&self) -> io::Result<()> {
        // What the next client sends is to be told although nobody read to the end what the last one sent.
        self.0.call(Interests::all(), ours::NamedPipe::connect)
    }

    /// Sends the client away. What it has not read is lost.
    ///
    /// # Errors
    /// Those of the system.
    pub fn disconnect(&self) -> io::Result<()> {
        self.0.get().disconnect()
    }

    /// Always `None`: errors are told by the calls.
    ///
    /// # Errors
    /// None.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
}

stream!(NamedPipe);

/// As in mio, it is registered for both interests always. So the end of a [`connect`](NamedPipe::connect) is told in any case.
impl Source for NamedPipe {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.0.register(registry, token, BOTH)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.0.reregister(registry, token, BOTH)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)
    }
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}

impl AsHandle for NamedPipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.get().as_handle()
    }
}

impl AsRawHandle for NamedPipe {
    fn as_raw_handle(&self) -> RawHandle {
        self.0.get().as_raw_handle()
    }
}

/// It must have been opened for overlapped use.
impl FromRawHandle for NamedPipe {
    unsafe fn from_raw_handle(handle: RawHandle) -> NamedPipe {
        // SAFETY: the caller gives the handle away.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        NamedPipe(Io::new(ours::NamedPipe::from_handle(handle)))
    }
}
