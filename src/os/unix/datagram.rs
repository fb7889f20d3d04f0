//! The public source [`UnixDatagram`], and its documentation.

use std::io;
use std::net::Shutdown;
use std::path::Path;

use super::system::backend;
use super::system::net::{self, SocketAddr};
use crate::interests::Interests;
use crate::IntoStdError;

/// A socket that exchanges datagrams with others on the same machine. Its calls do not block.
pub struct UnixDatagram(pub(crate) backend::UnixDatagram);

impl UnixDatagram {
    /// Binds to `path`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Binds to `address`.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::bind_addr(address)?)
    }

    /// Makes a socket without an address.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets without addresses that are connected to each other.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(near)?, UnixDatagram::from_std(far)?))
    }

    /// Takes over a socket of `std`, and makes it non-blocking.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        backend::UnixDatagram::from_std(socket).map(UnixDatagram)
    }

    /// Gives the socket back as one of `std`, still non-blocking and no longer registered.
    pub fn into_std(self) -> Result<net::UnixDatagram, IntoStdError<UnixDatagram>> {
        Ok(self.0.into_socket())
    }

    /// Sets the peer for [`send`](UnixDatagram::send) and [`recv`](UnixDatagram::recv).
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Sets the peer for [`send`](UnixDatagram::send) and [`recv`](UnixDatagram::recv).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.0.connect(address)
    }

    /// Receives a datagram.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    /// Receives a datagram and the address of its sender.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    /// Does what [`recv`](UnixDatagram::recv) does, but leaves the datagram where it is.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// Sends a datagram to the connected peer.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.0.send(buffer)
    }

    /// Sends a datagram to the socket at `path`.
    pub fn send_to(&self, buffer: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(buffer, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a datagram to the socket at `address`.
    pub fn send_to_addr(&self, buffer: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.0.send_to(buffer, address)
    }

    /// Ends one direction or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.as_std().take_error()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// The address of the connected peer. Errors as in `std`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().peer_addr()
    }

    /// Makes one call of your own on the `std` socket, in the direction that `interest` names.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UnixDatagram) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }
}
