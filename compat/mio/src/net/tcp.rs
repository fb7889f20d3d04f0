use std::io;
use std::net::{self, Shutdown, SocketAddr};

use minimio::Interests;

use crate::io::{self as sys, Io};
use crate::net::{socket, stream};

/// A TCP connection.
pub struct TcpStream(Io<sys::TcpStream>);

impl TcpStream {
    /// Begins to connect. The first writable event says that the connect has ended;
    /// [`take_error`](TcpStream::take_error) says how.
    ///
    /// # Errors
    /// Those of the system. A refusal can be one.
    pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        sys::connect(address).map(Io::new).map(TcpStream)
    }

    /// Takes over a stream, which must be non-blocking. Its connect may be under way.
    #[must_use]
    pub fn from_std(stream: net::TcpStream) -> TcpStream {
        TcpStream(Io::from_std(stream))
    }

    /// The address of the peer. `NotConnected` as long as the connect is under way.
    ///
    /// # Errors
    /// Those of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get().shutdown(how)
    }

    /// Sets `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.get().set_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.get().nodelay()
    }

    /// Sets `IP_TTL`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get().ttl()
    }

    /// Takes the error that the socket keeps.
    ///
    /// # Errors
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.get().take_error()
    }

    /// Reads bytes that the next read gives again.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .call(Interests::READABLE, |stream| stream.peek(buffer))
    }

    /// Makes a call of your own on the socket, and returns what it returns. If that is `WouldBlock`, the next event says
    /// when to try again.
    ///
    /// # Errors
    /// Those of `call`.
    pub fn try_io<F, T>(&self, call: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T>,
    {
        self.0.try_io(call)
    }
}

socket!(TcpStream of net::TcpStream);
stream!(TcpStream);

impl From<TcpStream> for net::TcpStream {
    fn from(stream: TcpStream) -> net::TcpStream {
        stream.0.into_std()
    }
}

/// Accepts TCP connections.
pub struct TcpListener(Io<sys::TcpListener>);

impl TcpListener {
    /// Binds and listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        sys::bind(address).map(Io::new).map(TcpListener)
    }

    /// Takes over a listener, which must be non-blocking.
    #[must_use]
    pub fn from_std(listener: net::TcpListener) -> TcpListener {
        TcpListener(Io::from_std(listener))
    }

    /// Accepts a connection that waits. The stream is non-blocking.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.call(Interests::READABLE, sys::accept)?;
        Ok((TcpStream(Io::new(stream)), peer))
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Sets `IP_TTL`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get().ttl()
    }

    /// Takes the error that the socket keeps.
    ///
    /// # Errors
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.get().take_error()
    }
}

socket!(TcpListener of net::TcpListener);

impl From<TcpListener> for net::TcpListener {
    fn from(listener: TcpListener) -> net::TcpListener {
        listener.0.into_std()
    }
}
