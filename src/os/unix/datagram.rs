//! The public source [`UnixDatagram`], and its documentation.

use std::io;
use std::net::Shutdown;
use std::path::Path;

use super::system::backend;
use super::system::net::{self, SocketAddr};
use crate::interests::Interests;
use crate::IntoStdError;

/// A socket that exchanges datagrams with others on the same machine. Its calls do not block. When there is nothing to do
/// they fail with [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has the methods and traits of [`std::os::unix::net::UnixDatagram`], without those that
/// [`UdpSocket`](crate::UdpSocket) does not have either. A datagram that is longer than the buffer is cut to the buffer,
/// and the next one is intact. An empty datagram is sent and received as one.
///
/// [`std::os::unix::net::UnixDatagram`]: https://doc.rust-lang.org/std/os/unix/net/struct.UnixDatagram.html
///
/// ```
/// use minimio::os::unix::UnixDatagram;
/// use minimio::{Events, Interests, Poll};
///
/// let mut poll = Poll::new()?;
/// let (near, far) = UnixDatagram::pair()?;
/// poll.registrator().register(&near, 1, Interests::READABLE)?;
/// far.send(b"hello")?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// assert_eq!(near.recv(&mut [0; 16])?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # When the receiver is full
/// A receiver holds few datagrams (11 on Linux, unless the system is set up otherwise). What happens then differs:
///
/// | socket | Linux, Android | macOS, iOS, BSD |
/// | --- | --- | --- |
/// | connected, [`send`](UnixDatagram::send) | `WouldBlock`, and `WRITABLE` fires when there is room | the error `ENOBUFS` |
/// | not connected, [`send_to`](UnixDatagram::send_to) | `WouldBlock`, and `WRITABLE` **fires at once** | the error `ENOBUFS` |
///
/// Linux reports a socket that is not connected as writable whatever the receivers do, since each `send_to` may be for
/// another one. So no event is lost, but `WRITABLE` does not promise that the next `send_to` is accepted. To wait for room
/// at one receiver, connect a socket to it: its `WRITABLE` fires at the right time, and it may as well be a second socket
/// that sends nothing:
///
/// ```no_run
/// # use minimio::os::unix::UnixDatagram;
/// # use minimio::{Events, Interests, Poll};
/// # let mut poll = Poll::new()?;
/// let socket = UnixDatagram::unbound()?;
/// if let Err(error) = socket.send_to(b"hello", "/run/receiver") {
///     assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
///     let watch = UnixDatagram::unbound()?;
///     watch.connect("/run/receiver")?;
///     poll.registrator().register(&watch, 1, Interests::WRITABLE)?;
///     poll.poll(&mut Events::with_capacity(1), None)?;
///     socket.send_to(b"hello", "/run/receiver")?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// On the other systems nothing reports room at a receiver. Try again after some time.
///
/// # Platform notes
/// When the peer of a connected socket has gone, a `send` fails with
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) on Linux and
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset) on FreeBSD, and no event tells of it. FreeBSD keeps the error for
/// the next receive, too: that is an event of the next registration.
pub struct UnixDatagram(pub(crate) backend::UnixDatagram);

impl UnixDatagram {
    /// Binds to `path`.
    ///
    /// # Errors
    /// Those of [`bind_addr`](UnixDatagram::bind_addr). It is [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is
    /// too long (about 100 bytes) or contains a zero byte.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Binds to `address`, which on Linux and Android may also be an abstract one (see
    /// [`UnixStream::connect_addr`](super::UnixStream::connect_addr)). The file at the path stays when the socket is
    /// dropped.
    ///
    /// # Errors
    /// Those of the system. It is [`AddrInUse`](io::ErrorKind::AddrInUse) if a file is at the path.
    ///
    /// # System calls
    /// [`bind`](https://man7.org/linux/man-pages/man2/bind.2.html)
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::bind_addr(address)?)
    }

    /// Makes a socket without an address. It can send, and nobody can send to it unless it is connected.
    ///
    /// # Errors
    /// Those of the system, if there are no descriptors left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets without addresses that are connected to each other.
    ///
    /// # Errors
    /// Those of the system, if there are no descriptors left.
    ///
    /// # System calls
    /// [`socketpair`](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(near)?, UnixDatagram::from_std(far)?))
    }

    /// Takes over a socket of `std`, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of the system, if the socket cannot be made non-blocking. It is closed then.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        backend::UnixDatagram::from_std(socket).map(UnixDatagram)
    }

    /// Gives the socket back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// None. The type is that of the other sources' methods.
    pub fn into_std(self) -> Result<net::UnixDatagram, IntoStdError<UnixDatagram>> {
        Ok(self.0.into_socket())
    }

    /// Sets the peer for [`send`](UnixDatagram::send). Datagrams of others are not received any more.
    ///
    /// # Errors
    /// Those of [`connect_addr`](UnixDatagram::connect_addr). It is [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is
    /// too long (about 100 bytes) or contains a zero byte.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Sets the peer for [`send`](UnixDatagram::send). Datagrams of others are not received any more.
    ///
    /// # Errors
    /// Those of the system, for instance [`NotFound`](io::ErrorKind::NotFound) if there is no such file, and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the socket there is gone.
    ///
    /// # System calls
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.0.connect(address)
    }

    /// Receives a datagram.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no datagram is there; otherwise the error of the socket.
    ///
    /// # System calls
    /// [`recv`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    /// Receives a datagram and the address of its sender, which is without a name if the sender is not bound.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # System calls
    /// [`recvfrom`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    /// Does what [`recv`](UnixDatagram::recv) does, but leaves the datagram where it is.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// Those [of a full receiver](UnixDatagram#when-the-receiver-is-full); otherwise the error of the socket.
    ///
    /// # System calls
    /// [`send`](https://man7.org/linux/man-pages/man2/send.2.html)
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.0.send(buffer)
    }

    /// Sends a datagram to the socket at `path`.
    ///
    /// # Errors
    /// Those of [`send_to_addr`](UnixDatagram::send_to_addr). It is [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is
    /// too long (about 100 bytes) or contains a zero byte.
    pub fn send_to(&self, buffer: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(buffer, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a datagram to the socket at `address`.
    ///
    /// # Errors
    /// Those [of a full receiver](UnixDatagram#when-the-receiver-is-full), [`NotFound`](io::ErrorKind::NotFound) if there
    /// is no such file, and [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the socket there is gone; otherwise
    /// the error of the socket.
    ///
    /// # System calls
    /// [`sendto`](https://man7.org/linux/man-pages/man2/send.2.html)
    pub fn send_to_addr(&self, buffer: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.0.send_to(buffer, address)
    }

    /// Ends one direction or both. After `Shutdown::Read` every receive gives `Ok(0)`, at once and for good, and an armed
    /// `READABLE` fires. Datagrams that were still unread are not delivered. Ending a direction for a second time does
    /// nothing.
    ///
    /// # Errors
    /// Those of the system. FreeBSD refuses it for a socket that is not connected.
    ///
    /// # System calls
    /// [`shutdown`](https://man7.org/linux/man-pages/man2/shutdown.2.html)
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

    /// Makes one call of your own on the `std` socket, in the direction that `interest` names: `recvmmsg`, `sendmsg` or
    /// `recvmsg` with control data or a call of another library.
    /// The call must not block. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If that is [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the
    /// system whether there really is nothing to do. So no event is lost if the call meant something else by it.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one interest.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UnixDatagram) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }
}
