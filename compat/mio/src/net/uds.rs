use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use minimio::os::unix as ours;

use crate::io::Io;
use crate::net::{socket, stream};

/// What a stream and a datagram socket have in common.
macro_rules! common {
    () => {
        /// The address of this end.
        ///
        /// # Errors
        /// Those of the system.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.get().local_addr()
        }

        /// The address of the peer.
        ///
        /// # Errors
        /// Those of the system.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.0.get().peer_addr()
        }

        /// Takes the error that the socket keeps.
        ///
        /// # Errors
        /// Those of the system.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.0.get().take_error()
        }

        /// Ends one direction or both.
        ///
        /// # Errors
        /// Those of the system.
        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.0.get().shutdown(how)
        }

        /// Makes a call of your own on the socket, and returns what it returns.
        ///
        /// # Errors
        /// Those of `call`.
        pub fn try_io<F, T>(&self, call: F) -> io::Result<T>
        where
            F: FnOnce() -> io::Result<T>,
        {
            self.0.try_io(call)
        }
    };
}

/// A connection within one machine.
pub struct UnixStream(Io<net::UnixStream>);

impl UnixStream {
    /// Connects to the listener at `path`. The connect ends within the call.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::of(ours::UnixStream::connect(path)?)
    }

    /// Connects to the listener at `address`. The connect ends within the call.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::of(ours::UnixStream::connect_addr(address)?)
    }

    /// Makes two streams that are connected to each other.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = ours::UnixStream::pair()?;
        Ok((UnixStream::of(near)?, UnixStream::of(far)?))
    }

    fn of(stream: ours::UnixStream) -> io::Result<UnixStream> {
        Ok(UnixStream::from_std(stream.into_std()?))
    }

    /// Takes over a stream, which must be non-blocking.
    #[must_use]
    pub fn from_std(stream: net::UnixStream) -> UnixStream {
        UnixStream(Io::from_std(stream))
    }

    common!();
}

socket!(UnixStream of net::UnixStream);
stream!(UnixStream);

impl From<UnixStream> for net::UnixStream {
    fn from(stream: UnixStream) -> net::UnixStream {
        stream.0.into_std()
    }
}

/// Accepts connections within one machine.
pub struct UnixListener(Io<net::UnixListener>);

impl UnixListener {
    /// Binds to `path`, and listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::of(ours::UnixListener::bind(path)?)
    }

    /// Binds to `address`, and listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::of(ours::UnixListener::bind_addr(address)?)
    }

    fn of(listener: ours::UnixListener) -> io::Result<UnixListener> {
        Ok(UnixListener::from_std(listener.into_std()?))
    }

    /// Takes over a listener, which must be non-blocking.
    #[must_use]
    pub fn from_std(listener: net::UnixListener) -> UnixListener {
        UnixListener(Io::from_std(listener))
    }

    /// Accepts a connection that waits. The stream is non-blocking.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, peer) = self.0.get().accept()?;
        stream.set_nonblocking(true)?;
        Ok((UnixStream::from_std(stream), peer))
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Takes the error that the socket keeps.
    ///
    /// # Errors
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.get().take_error()
    }
}

socket!(UnixListener of net::UnixListener);

impl From<UnixListener> for net::UnixListener {
    fn from(listener: UnixListener) -> net::UnixListener {
        listener.0.into_std()
    }
}

/// A socket for datagrams within one machine.
pub struct UnixDatagram(Io<net::UnixDatagram>);

impl UnixDatagram {
    /// Binds to `path`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::of(net::UnixDatagram::bind(path)?)
    }

    /// Binds to `address`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::of(net::UnixDatagram::bind_addr(address)?)
    }

    /// Makes a socket without an address.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::of(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::of(near)?, UnixDatagram::of(far)?))
    }

    fn of(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram::from_std(socket))
    }

    /// Takes over a socket, which must be non-blocking.
    #[must_use]
    pub fn from_std(socket: net::UnixDatagram) -> UnixDatagram {
        UnixDatagram(Io::from_std(socket))
    }

    /// Chooses the peer.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.0.get().connect(path)
    }

    /// Receives a datagram and the address of its sender.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.get().recv_from(buffer)
    }

    /// Receives a datagram.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get().recv(buffer)
    }

    /// Sends a datagram to the socket at `path`.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn send_to<P: AsRef<Path>>(&self, buffer: &[u8], path: P) -> io::Result<usize> {
        self.0.get().send_to(buffer, path)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.0.get().send(buffer)
    }

    common!();
}

socket!(UnixDatagram of net::UnixDatagram);

impl From<UnixDatagram> for net::UnixDatagram {
    fn from(socket: UnixDatagram) -> net::UnixDatagram {
        socket.0.into_std()
    }
}
