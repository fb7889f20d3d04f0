//! The public sources [`UnixStream`] and [`UnixListener`], and their documentation.

use std::io;
use std::net::Shutdown;
use std::path::Path;

use super::system::backend;
use super::system::net::{self, SocketAddr};
use crate::interests::Interests;
use crate::IntoStdError;

/// A connection within one machine. Its calls do not block. When there is nothing to do they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has the methods and traits of [`std::os::unix::net::UnixStream`](https://doc.rust-lang.org/std/os/unix/net/struct.UnixStream.html), and it keeps the promises of a
/// [`TcpStream`](crate::TcpStream): what the first read after an event gives, and that
/// [a broken stream stays broken](crate::TcpStream#a-broken-stream-stays-broken). The same methods are missing.
///
/// ```
/// use minimio::os::unix::UnixStream;
/// use minimio::{Events, Interests, Poll};
/// use std::io::{Read, Write};
///
/// let mut poll = Poll::new()?;
/// let (mut near, mut far) = UnixStream::pair()?;
/// poll.registrator().register(&near, 1, Interests::READABLE)?;
/// far.write_all(b"hello")?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// assert_eq!(near.read(&mut [0; 16])?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixStream(pub(crate) backend::UnixStream);

impl UnixStream {
    /// Connects to the listener at `path`. The connect ends within the call.
    ///
    /// # Errors
    /// Those of [`connect_addr`](UnixStream::connect_addr), and [`InvalidInput`](io::ErrorKind::InvalidInput) if `path`
    /// is too long or contains a zero byte.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to the listener at `address`. The connect ends within the call.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        backend::UnixStream::connect(address).map(UnixStream)
    }

    /// Makes two streams that are connected to each other.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = net::UnixStream::pair()?;
        Ok((UnixStream::from_std(near)?, UnixStream::from_std(far)?))
    }

    /// Takes over a stream of `std`, and makes it non-blocking.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        backend::UnixStream::from_std(stream).map(UnixStream)
    }

    /// Gives the stream back as one of `std`, still non-blocking and no longer registered.
    pub fn into_std(self) -> Result<net::UnixStream, IntoStdError<UnixStream>> {
        self.0.into_std().map_err(|(stream, error)| IntoStdError {
            source: UnixStream(stream),
            error,
        })
    }

    /// Reads bytes without taking them away: the next `read` or `peek` gives them again.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// Ends one direction or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Takes the error that the socket keeps.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// The address of the peer. Errors as in `std`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().peer_addr()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// Makes one call of your own on the `std` stream, in the direction that `interest` names.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UnixStream) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }
}

/// A socket that accepts connections at a path. Its calls do not block.
pub struct UnixListener(pub(crate) backend::UnixListener);

impl UnixListener {
    /// Binds to `path`, and listens with the largest backlog that the system grants.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Binds to `address`, and listens with the largest backlog that the system grants.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        backend::UnixListener::bind(address).map(UnixListener)
    }

    /// Takes over a listener of `std`, and makes it non-blocking. Its backlog stays as it is.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        backend::UnixListener::from_std(listener).map(UnixListener)
    }

    /// Gives the listener back as one of `std`, still non-blocking and no longer registered.
    pub fn into_std(self) -> Result<net::UnixListener, IntoStdError<UnixListener>> {
        Ok(self.0.into_socket())
    }

    /// Accepts a connection that waits, and returns it with the address of its peer.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, peer) = self.0.accept()?;
        Ok((UnixStream(stream), peer))
    }

    /// Makes one call of your own on the `std` listener. `interest` is `READABLE`.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UnixListener) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        interest.check_among(Interests::READABLE)?;
        self.0.try_io(interest, call)
    }

    /// The address that it listens at. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.as_std().take_error()
    }
}
