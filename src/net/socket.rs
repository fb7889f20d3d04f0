//! The traits that every public socket implements in the same way. The implementations differ only in the type, so they
//! are written once, for each type in the list at the end of this file:
//!
//! - [`Source`](crate::Source), so that it can be registered. The list names the interests that it can have.
//! - `Debug`, which prints what `std` prints for such a socket.
//! - `AsFd` and `AsRawFd` on Unix, `AsSocket` and `AsRawSocket` on Windows, so that it can be borrowed for system
//!   calls.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};

use super::{TcpListener, TcpStream, UdpSocket};
use crate::interests::{Interests, Token};
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
