//! The sockets. Their calls do not block. Each has the methods of its namesake in `std`.

mod tcp;
mod udp;
#[cfg(unix)]
mod uds;

pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
#[cfg(unix)]
pub use uds::{UnixDatagram, UnixListener, UnixStream};

/// What every socket has, in the same way: how it is registered, shown and borrowed, and how it becomes a socket of `std`
/// and is made of one.
macro_rules! socket {
    ($socket:ident of $std:ty) => {
        impl crate::event::Source for $socket {
            fn register(
                &mut self,
                registry: &crate::Registry,
                token: crate::Token,
                interests: crate::Interest,
            ) -> std::io::Result<()> {
                self.0.register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &crate::Registry,
                token: crate::Token,
                interests: crate::Interest,
            ) -> std::io::Result<()> {
                self.0.reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &crate::Registry) -> std::io::Result<()> {
                self.0.deregister(registry)
            }
        }

        impl std::fmt::Debug for $socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.get().fmt(f)
            }
        }

        #[cfg(unix)]
        crate::net::unix_socket!($socket of $std);
        #[cfg(windows)]
        crate::net::windows_socket!($socket of $std);
    };
}
pub(crate) use socket;

#[cfg(unix)]
macro_rules! unix_socket {
    ($socket:ident of $std:ty) => {
        impl std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(self.0.get())
            }
        }

        impl std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(self.0.get())
            }
        }

        /// It must be non-blocking.
        impl From<std::os::fd::OwnedFd> for $socket {
            fn from(fd: std::os::fd::OwnedFd) -> $socket {
                $socket::from_std(<$std>::from(fd))
            }
        }

        impl From<$socket> for std::os::fd::OwnedFd {
            fn from(socket: $socket) -> std::os::fd::OwnedFd {
                <$std>::from(socket).into()
            }
        }

        /// It must be non-blocking.
        impl std::os::fd::FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> $socket {
                // SAFETY: the caller gives the descriptor away.
                $socket::from_std(unsafe { <$std as std::os::fd::FromRawFd>::from_raw_fd(fd) })
            }
        }

        impl std::os::fd::IntoRawFd for $socket {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(<$std>::from(self))
            }
        }
    };
}
#[cfg(unix)]
pub(crate) use unix_socket;

#[cfg(windows)]
macro_rules! windows_socket {
    ($socket:ident of $std:ty) => {
        impl std::os::windows::io::AsSocket for $socket {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                std::os::windows::io::AsSocket::as_socket(self.0.get())
            }
        }

        impl std::os::windows::io::AsRawSocket for $socket {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                std::os::windows::io::AsRawSocket::as_raw_socket(self.0.get())
            }
        }

        impl From<std::os::windows::io::OwnedSocket> for $socket {
            fn from(socket: std::os::windows::io::OwnedSocket) -> $socket {
                $socket::from_std(<$std>::from(socket))
            }
        }

        /// A send in flight goes on for a minute at most, and this waits for a connect that is under way. A client that a
        /// listener has taken from the system already is sent away. With the feature `lend` this waits for a send, too, and
        /// bytes are lost that were received and not read. What is given back in one of these cases is a duplicate of the
        /// socket, which cannot be registered again.
        impl From<$socket> for std::os::windows::io::OwnedSocket {
            fn from(socket: $socket) -> std::os::windows::io::OwnedSocket {
                <$std>::from(socket).into()
            }
        }

        impl std::os::windows::io::FromRawSocket for $socket {
            unsafe fn from_raw_socket(socket: std::os::windows::io::RawSocket) -> $socket {
                // SAFETY: the caller gives the socket away.
                let socket = unsafe {
                    <$std as std::os::windows::io::FromRawSocket>::from_raw_socket(socket)
                };
                $socket::from_std(socket)
            }
        }

        /// A send in flight goes on for a minute at most, and this waits for a connect that is under way. A client that a
        /// listener has taken from the system already is sent away. With the feature `lend` this waits for a send, too, and
        /// bytes are lost that were received and not read. What is given back in one of these cases is a duplicate of the
        /// socket, which cannot be registered again.
        impl std::os::windows::io::IntoRawSocket for $socket {
            fn into_raw_socket(self) -> std::os::windows::io::RawSocket {
                std::os::windows::io::IntoRawSocket::into_raw_socket(<$std>::from(self))
            }
        }
    };
}
#[cfg(windows)]
pub(crate) use windows_socket;

/// `Read` and `Write` of a stream, for itself and for a reference to it.
macro_rules! stream {
    ($stream:ident) => {
        crate::net::reader!($stream);
        crate::net::writer!($stream);
    };
}
pub(crate) use stream;

macro_rules! reader {
    ($reader:ident) => {
        impl std::io::Read for &$reader {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0.read(buffer.len(), |mut inner| inner.read(buffer))
            }

            fn read_vectored(
                &mut self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                let room = buffers.iter().map(|buffer| buffer.len()).sum();
                self.0.read(room, |mut inner| inner.read_vectored(buffers))
            }
        }

        impl std::io::Read for $reader {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(
                &mut self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }
    };
}
pub(crate) use reader;

macro_rules! writer {
    ($writer:ident) => {
        impl std::io::Write for &$writer {
            fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
                self.0.call(minimio::Interests::WRITABLE, |mut inner| {
                    inner.write(buffer)
                })
            }

            fn write_vectored(
                &mut self,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                self.0.call(minimio::Interests::WRITABLE, |mut inner| {
                    inner.write_vectored(buffers)
                })
            }

            /// Does nothing, as in mio and `std`.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Write for $writer {
            fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buffer)
            }

            fn write_vectored(
                &mut self,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                (&*self).write_vectored(buffers)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use writer;
