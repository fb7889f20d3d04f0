//! The traits that every public socket implements in the same way. The implementations differ only in the type, so they
//! are written once, for each type in the list at the end of this file:
//!
//! - [`Source`](crate::Source), so that it can be registered. The list names the interests that it can have.
//! - `Debug`, which prints what `std` prints for such a socket.
//! - `AsFd` and `AsRawFd` on Unix, `AsSocket` and `AsRawSocket` on Windows, so that it can be borrowed for system
//!   calls.
//!
//! - `Read` and `Write`, if it is a stream, also for a reference to it.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};

use super::{TcpListener, TcpStream, UdpSocket};
use crate::interests::{Interests, Token};
#[cfg(unix)]
use crate::os::unix::{UnixDatagram, UnixListener, UnixStream};
#[cfg(windows)]
use crate::os::windows::NamedPipe;
use crate::source::source;
use crate::Registrator;

macro_rules! sockets {
    ($($socket:ident can be $possible:expr;)*) => {$(
        source!($socket, $possible);

        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_std().fmt(f)
            }
        }

        #[cfg(unix)]
        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_std().as_fd()
            }
        }

        #[cfg(unix)]
        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_std().as_raw_fd()
            }
        }

        #[cfg(windows)]
        impl AsSocket for $socket {
            fn as_socket(&self) -> BorrowedSocket<'_> {
                self.0.as_std().as_socket()
            }
        }

        #[cfg(windows)]
        impl AsRawSocket for $socket {
            fn as_raw_socket(&self) -> RawSocket {
                self.0.as_std().as_raw_socket()
            }
        }
    )*};
}

sockets! {
    TcpStream can be Interests::all();
    TcpListener can be Interests::READABLE;
    UdpSocket can be Interests::all();
}

#[cfg(unix)]
sockets! {
    UnixStream can be Interests::all();
    UnixListener can be Interests::READABLE;
    UnixDatagram can be Interests::all();
}

macro_rules! reads {
    ($($stream:ty),*) => {$(
        /// An empty buffer gives `Ok(0)`, without a system call.
        impl Read for $stream {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read_vectored(buffers)
            }
        }
    )*};
}

macro_rules! writes {
    ($($stream:ty),*) => {$(
        /// On Windows `flush` is `WouldBlock` while the crate still holds bytes that `write` accepted. The next
        /// writable event says when to ask again. On other systems `flush` always succeeds.
        impl Write for $stream {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                self.0.write(buffer)
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.0.write_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.0.flush()
            }
        }
    )*};
}

macro_rules! streams {
    ($($stream:ty),*) => {
        reads!($($stream),*);
        writes!($($stream),*);
    };
}

streams!(TcpStream, &TcpStream);
#[cfg(unix)]
streams!(UnixStream, &UnixStream);
#[cfg(windows)]
streams!(NamedPipe, &NamedPipe);

pub(crate) use {reads, writes};
