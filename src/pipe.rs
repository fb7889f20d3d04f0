//! The two ends of a pipe, [`PipeReader`] and [`PipeWriter`], and their documentation.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};

use crate::backend;
use crate::interests::{Interests, Token};
use crate::net::{reads, writes};
use crate::source::source;
use crate::Registrator;

/// Makes a pipe: what is written to one end is read from the other. Both ends are sources, and no call on them blocks.
///
/// The ends can be shared between threads, belong to different [`Poll`](crate::Poll)s, or never be registered at all. To
/// give one end to a child process, use [`PipeReader::with_stdio`] or [`PipeWriter::with_stdio`].
///
/// ```
/// use minimio::{pipe, Events, Interests, Poll};
/// use std::io::{Read, Write};
///
/// let mut poll = Poll::new()?;
/// let (mut reader, mut writer) = pipe()?;
/// poll.registrator().register(&writer, 1, Interests::WRITABLE)?;
/// poll.registrator().register(&reader, 2, Interests::READABLE)?;
///
/// let mut events = Events::with_capacity(1);
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().map(|event| event.id()), Some(1));
/// writer.write(b"hello")?;
///
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().map(|event| event.id()), Some(2));
/// assert_eq!(reader.read(&mut [0; 16])?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of the system, if descriptors, handles or memory run out.
///
/// # Platform notes
/// Neither end is inherited by child processes. On Apple's systems that is so a moment after the pipe was made. A child
/// that another thread starts at that very moment inherits both ends.
///
/// # System calls
/// [`pipe2`](https://man7.org/linux/man-pages/man2/pipe.2.html);
/// [`CreateNamedPipeW`](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew),
/// [`CreateFileW`](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew).
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = backend::pipe()?;
    Ok((PipeReader(reader), PipeWriter(writer)))
}

/// The end of a pipe that is read. Its calls do not block: when there is nothing to read they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It can be registered as `READABLE` only. The first read after an event gives bytes, or `Ok(0)` once every writer is
/// gone and all bytes are read. Then each further read gives `Ok(0)`, and each registration an event. A read is
/// `WouldBlock` only if other code has read in between.
///
/// # Platform notes
/// Do not read through `AsFd` or `AsHandle` outside [`try_io`](PipeReader::try_io), since the crate does not see that.
pub struct PipeReader(backend::PipeReader);

impl PipeReader {
    /// Makes a pipe whose other end is for a child process to write to: its standard output or standard error.
    ///
    /// The child can write as to any pipe, and waits while the pipe is full. No other child inherits that end. The pipe
    /// ends when everybody who has the other end has closed it: the child, what it has started, and the
    /// [`Command`](std::process::Command), which keeps the `Stdio` as long as it lives. So drop it after the spawn:
    ///
    /// ```
    /// use minimio::{Events, Interests, PipeReader, Poll};
    /// use std::io::Read;
    /// use std::process::Command;
    ///
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(1);
    /// let (mut reader, stdout) = PipeReader::with_stdio()?;
    /// // The `Command` is dropped at the end of this line.
    /// let mut child = Command::new("whoami").stdout(stdout).spawn()?;
    ///
    /// let mut output = Vec::new();
    /// let mut buffer = [0; 4096];
    /// loop {
    ///     poll.registrator().register(&reader, 1, Interests::READABLE)?;
    ///     poll.poll(&mut events, None)?;
    ///     match reader.read(&mut buffer)? {
    ///         0 => break,
    ///         count => output.extend_from_slice(&buffer[..count]),
    ///     }
    /// }
    /// assert!(output.ends_with(b"\n"));
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`pipe`].
    pub fn with_stdio() -> io::Result<(PipeReader, Stdio)> {
        let (reader, stdio) = backend::PipeReader::with_stdio()?;
        Ok((PipeReader(reader), stdio))
    }

    /// Chooses how many bytes the reader lends to the kernel for each of its next reads, as
    /// [`TcpStream::set_lent_buffer`](crate::TcpStream::set_lent_buffer) does.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere the call is accepted and does nothing.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.0.set_lent_buffer(bytes);
    }
}

/// The end of a pipe that is written to. Its calls do not block: when there is no room they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It can be registered as `WRITABLE` only. The first write after an event takes at least one byte, or says that every
/// reader is gone, with [`BrokenPipe`](io::ErrorKind::BrokenPipe). Bytes that were taken stay in the pipe for the reader
/// when the writer, or its `Poll`, is dropped.
///
/// # Platform notes
/// On Windows the end of the process may lose what a writer has written last. If that has no room yet when the writer is
/// dropped, the pipe is closed behind it by the next call of `poll`, or by a thread of the crate once the `Poll` is
/// dropped. So a program that waits for a child to end after its input uses [`ChildExit`](crate::ChildExit), and does not
/// block in [`Child::wait`](std::process::Child::wait).
///
/// On Unix a write to a pipe that nobody reads any more raises `SIGPIPE`, except on Apple's systems and NetBSD, since
/// the other systems have no way to prevent it for one call. A Rust program ignores that signal from its start on, so
/// this matters only for a library in a program of another language, and for whoever has changed what the signal does.
///
/// Do not write through `AsFd` or `AsHandle` outside [`try_io`](PipeWriter::try_io), since the crate does not see that.
pub struct PipeWriter(backend::PipeWriter);

impl PipeWriter {
    /// Makes a pipe whose other end is for a child process to read from: its standard input. Dropping the writer is the
    /// end of that input. What [`PipeReader::with_stdio`] says of the other end holds here, too.
    ///
    /// ```no_run
    /// use minimio::PipeWriter;
    /// use std::process::Command;
    ///
    /// let (writer, stdin) = PipeWriter::with_stdio()?;
    /// let child = Command::new("sort").stdin(stdin).spawn()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`pipe`].
    pub fn with_stdio() -> io::Result<(PipeWriter, Stdio)> {
        let (writer, stdio) = backend::PipeWriter::with_stdio()?;
        Ok((PipeWriter(writer), stdio))
    }
}

reads!(PipeReader, &PipeReader);
writes!(PipeWriter, &PipeWriter);

/// What both ends implement in the same way, and from what they are made.
macro_rules! ends {
    ($($end:ident can be $possible:expr, from $($child:ident)*;)*) => {$(
        source!($end, $possible);

        impl $end {
            /// Makes one call of your own that moves data through this end, and returns what it returns. The call gets
            /// this end back, to borrow its descriptor or handle. It must not block. It is allowed at any time, on any
            /// thread.
            ///
            /// If it returns [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the system whether there really
            /// is nothing to do. So no event is lost if the call meant something else by it.
            ///
            /// # Errors
            /// Those of `call`, and [`InvalidInput`](io::ErrorKind::InvalidInput), without a call, if `interest` is not
            /// what this end can be registered for. On Windows also those of
            /// [`TcpStream::try_io`](crate::TcpStream::try_io).
            pub fn try_io<R>(
                &self,
                interest: Interests,
                call: impl FnOnce(&$end) -> io::Result<R>,
            ) -> io::Result<R> {
                interest.check_among($possible)?;
                self.0.try_io(interest, |_| call(self))
            }
        }

        $(
            /// Takes this end of a pipe that `std` has made for a child process. What goes wrong is an error of the first
            /// `register`, for instance that the system cannot make it non-blocking.
            impl From<$child> for $end {
                fn from(end: $child) -> $end {
                    $end(end.into())
                }
            }
        )*

        #[cfg(unix)]
        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_std().as_fd()
            }
        }

        #[cfg(unix)]
        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        #[cfg(windows)]
        impl AsHandle for $end {
            fn as_handle(&self) -> BorrowedHandle<'_> {
                self.0.as_handle()
            }
        }

        #[cfg(windows)]
        impl AsRawHandle for $end {
            fn as_raw_handle(&self) -> RawHandle {
                self.as_handle().as_raw_handle()
            }
        }

        impl fmt::Debug for $end {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                #[cfg(unix)]
                let end = self.as_raw_fd();
                #[cfg(windows)]
                let end = self.as_raw_handle();
                f.debug_tuple(stringify!($end)).field(&end).finish()
            }
        }
    )*};
}

ends! {
    PipeReader can be Interests::READABLE, from ChildStdout ChildStderr;
    PipeWriter can be Interests::WRITABLE, from ChildStdin;
}
