//! `UdpSocket` and `UnixDatagram` on Unix.
//!
//! A datagram says nothing about the next one, so of a receive or a send only `WouldBlock` is noted. A peek is not
//! noted at all: with `SO_PEEK_OFF` it begins where the last peek stopped, and its `WouldBlock` says nothing about a
//! receive.
//!
//! A Unix socket's peer may vanish, which leaves an error at the socket. Where that makes no edge, nothing is noted of a
//! receive either, so that each registration asks the kernel.

use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::os::unix::net as unix_net;

use crate::unix::ffi;
use crate::unix::readiness::Direction::{Read, Write};
use crate::unix::readiness::Kind;
use crate::unix::source::Handle;

/// See [`crate::UdpSocket`].
pub(crate) type UdpSocket = Handle<net::UdpSocket>;

impl UdpSocket {
    pub(crate) fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(Handle::adopt(socket, Kind::Datagram))
    }

    pub(crate) fn into_std(self) -> Result<net::UdpSocket, (UdpSocket, io::Error)> {
        Ok(self.into_socket())
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source
            .attempt(Read, |socket| ffi::recv_from(socket, buffer))
    }

    pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        ffi::peek_from(self.as_std(), buffer)
    }

    pub(crate) fn send_to(&self, buffer: &[u8], target: &SocketAddr) -> io::Result<usize> {
        self.source
            .attempt(Write, |socket| ffi::send_to(socket, buffer, target))
    }

    pub(crate) fn connect(&self, address: &SocketAddr) -> io::Result<()> {
        self.as_std().connect(address)
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source
            .attempt(Read, |socket| ffi::recv(socket, buffer))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        ffi::peek_datagram(self.as_std(), buffer)
    }

    pub(crate) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.source
            .attempt(Write, |socket| ffi::send(socket, buffer))
    }
}

/// See [`crate::os::unix::UnixDatagram`].
pub(crate) type UnixDatagram = Handle<unix_net::UnixDatagram>;

impl UnixDatagram {
    pub(crate) fn from_std(socket: unix_net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Ok(Handle::adopt(socket, Kind::Datagram))
    }

    pub(crate) fn connect(&self, address: &unix_net::SocketAddr) -> io::Result<()> {
        self.as_std().connect_addr(address)
    }

    /// Makes a call that receives. Once the user has shut down the reading, it gives `end`.
    fn receive<R>(
        &self,
        end: impl FnOnce() -> io::Result<R>,
        call: impl FnOnce(&unix_net::UnixDatagram) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.source.readiness.ending.is_shut(Read) {
            return end();
        }
        if !ffi::reports_vanished_peers() {
            return call(self.as_std());
        }
        self.source.attempt(Read, call)
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(|| Ok(0), |socket| ffi::recv(socket, buffer))
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, unix_net::SocketAddr)> {
        let end = || Ok((0, unix_net::SocketAddr::from_pathname("")?));
        self.receive(end, |socket| ffi::recv_from_unix(socket, buffer))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.source.readiness.ending.is_shut(Read) {
            return Ok(0);
        }
        ffi::peek_datagram(self.as_std(), buffer)
    }

    pub(crate) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.source
            .attempt(Write, |socket| ffi::send(socket, buffer))
    }

    pub(crate) fn send_to(
        &self,
        buffer: &[u8],
        target: &unix_net::SocketAddr,
    ) -> io::Result<usize> {
        // Its `WouldBlock` is not noted. It speaks of the target, and the kernel reports the target of a connected
        // socket only.
        ffi::send_to_unix(self.as_std(), buffer, target)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.shut(how, |left| self.as_std().shutdown(left))
    }
}
