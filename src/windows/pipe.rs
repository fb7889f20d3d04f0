//! The ends of a pipe on Windows: a named pipe under a name that nobody guesses, for one instance and nobody from elsewhere.
//!
//! The pipes of `CreatePipe` cannot be overlapped, so they are of no use. A child process expects an end that is not
//! overlapped. It is not inheritable either, or any child that is started at that moment would have it, too: `std` makes an
//! inheritable duplicate for the child that is meant, and lets no other start meanwhile.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Deref;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ffi;
use super::stream::NamedPipe;

/// How much the system keeps of what was written and not read.
const PIPE_BUFFER: u32 = 64 << 10;

/// An end of a pipe.
pub(crate) struct End<const WRITES: bool>(NamedPipe);

/// See [`crate::PipeReader`].
pub(crate) type PipeReader = End<false>;
/// See [`crate::PipeWriter`].
pub(crate) type PipeWriter = End<true>;

/// See [`crate::pipe()`].
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = ends(false, ffi::FILE_FLAG_OVERLAPPED)?;
    Ok((End(reader), End(NamedPipe::from_connected(writer))))
}

/// The server's end, which `writes` or reads, and the client's.
fn ends(writes: bool, flags: u32) -> io::Result<(NamedPipe, OwnedHandle)> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (access, others) = match writes {
        true => (ffi::PIPE_ACCESS_OUTBOUND, ffi::GENERIC_READ),
        false => (ffi::PIPE_ACCESS_INBOUND, ffi::GENERIC_WRITE),
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // A new state has random keys.
    let random = RandomState::new().build_hasher().finish();
    let process = std::process::id();
    let name = format!(r"\\.\pipe\minimio.{process}.{number}.{random:x}");
    let name = ffi::pipe_name(name.as_ref())?;
    let shape = ffi::PipeShape {
        open_mode: access | ffi::FILE_FLAG_FIRST_PIPE_INSTANCE,
        pipe_mode: ffi::PIPE_REJECT_REMOTE_CLIENTS,
        max_instances: 1,
        out_bytes: PIPE_BUFFER,
        in_bytes: PIPE_BUFFER,
    };
    let made = ffi::create_named_pipe(&name, &shape)
        .and_then(|server| Ok((server, ffi::open_pipe(&name, others, flags)?)));
    let (server, client) = made.map_err(io::Error::from_raw_os_error)?;
    Ok((NamedPipe::from_connected(server), client))
}

impl<const WRITES: bool> End<WRITES> {
    pub(crate) fn with_stdio() -> io::Result<(Self, Stdio)> {
        let (ours, theirs) = ends(WRITES, 0)?;
        Ok((End(ours), Stdio::from(theirs)))
    }

    pub(crate) fn as_handle(&self) -> BorrowedHandle<'_> {
        self.as_owned().as_handle()
    }
}

impl<const WRITES: bool> Deref for End<WRITES> {
    type Target = NamedPipe;

    fn deref(&self) -> &NamedPipe {
        &self.0
    }
}

/// What `std` has made for a child is connected.
macro_rules! from_child {
    ($($child:ident for $end:ident),*) => {$(
        impl From<$child> for $end {
            fn from(end: $child) -> $end {
                End(NamedPipe::from_connected(end.into()))
            }
        }
    )*};
}

from_child!(ChildStdout for PipeReader, ChildStderr for PipeReader, ChildStdin for PipeWriter);
