//! The public UDP source, documented once. Each method is one call of its backend namesake.

use std::fmt;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};

use super::IntoStdError;
use crate::backend;
use crate::error;
use crate::interests::{Interests, Token};
use crate::source::{sealed, Source};
use crate::Registrator;

/// A UDP socket. Nothing on it blocks: with nothing to do, calls fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has what [`std::net::UdpSocket`] has, but for `try_clone` (share it by reference or `Arc`), `set_nonblocking` (it
/// always is) and the time-outs (use that of [`Poll::poll`](crate::Poll::poll)).
///
/// A datagram that is longer than the buffer is cut to it, on every platform, and the next one is intact. An empty
/// datagram is sent and received as one. On a socket that is not connected, ICMP errors never fail a receive.
///
/// The first receive after a readable event gives a datagram or the socket's error, unless somebody else received
/// first or the kernel dropped the datagram in between (a wrong checksum, for instance), or an error queue was switched on
/// through `AsFd` (`IP_RECVERR`): an entry of it is an event, after which a receive is `WouldBlock`.
///
/// ```
/// use minimio::{Events, Interests, Poll, UdpSocket};
///
/// let mut poll = Poll::new()?;
/// let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// poll.registrator().register(&b, 1, Interests::READABLE)?;
/// a.send_to(b"ping", b.local_addr()?)?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// let mut buffer = [0; 16];
/// assert_eq!(b.recv_from(&mut buffer)?, (4, a.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket {
    socket: backend::UdpSocket,
}

impl UdpSocket {
    /// Binds as [`std::net::UdpSocket::bind`] does, and makes the socket non-blocking.
    ///
    /// # Errors
    /// Those of `std`, for instance [`AddrInUse`](io::ErrorKind::AddrInUse).
    ///
    /// # System calls
    /// [`bind`](https://man7.org/linux/man-pages/man2/bind.2.html)
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        UdpSocket::from_std(net::UdpSocket::bind(address)?)
    }

    /// Takes over a `std` socket, and makes it non-blocking.
    ///
    /// # Errors
    /// The system's, if it cannot be made non-blocking; the socket is then closed.
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        backend::UdpSocket::from_std(socket).map(|socket| UdpSocket { socket })
    }

    /// Gives the socket back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// With kind [`WouldBlock`](io::ErrorKind::WouldBlock), while memory is lent to the kernel or holds a datagram that
    /// was not received yet: the error gives the socket back. Only on Windows.
    pub fn into_std(self) -> Result<net::UdpSocket, IntoStdError<UdpSocket>> {
        self.socket
            .into_std()
            .map_err(|(socket, error)| IntoStdError::new(UdpSocket { socket }, error))
    }

    /// Receives a datagram and the address of its sender.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) with none there; else the socket's.
    ///
    /// # System calls
    /// [`recvfrom`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    /// As [`recv_from`](UdpSocket::recv_from), but leaves the datagram where it is.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.peek_from(buffer)
    }

    /// Sends a datagram to the first address of `target`.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) without room; [`InvalidInput`](io::ErrorKind::InvalidInput) without an
    /// address; else the socket's.
    ///
    /// # System calls
    /// [`sendto`](https://man7.org/linux/man-pages/man2/send.2.html)
    pub fn send_to(&self, buffer: &[u8], target: impl ToSocketAddrs) -> io::Result<usize> {
        match target.to_socket_addrs()?.next() {
            Some(target) => self.socket.send_to(buffer, &target),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            )),
        }
    }

    /// Sets the peer for [`send`](UdpSocket::send) and [`recv`](UdpSocket::recv); datagrams of others are not received
    /// any more. Of several addresses the first that works is taken. A datagram that waited before is still received,
    /// whoever has sent it.
    ///
    /// # Errors
    /// The error of the last address, or [`InvalidInput`](io::ErrorKind::InvalidInput) without one.
    ///
    /// # System calls
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let mut last = io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        );
        for address in address.to_socket_addrs()? {
            match self.socket.connect(&address) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Receives a datagram of the connected peer.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) with none there; else the socket's, for instance
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens at the peer's port.
    ///
    /// # Platform notes
    /// Windows is told not to report that nobody listens, since it would do so on sockets that are not connected, too.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    /// As [`recv`](UdpSocket::recv), but leaves the datagram where it is.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buffer)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) without room; else the socket's.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.send(buffer)
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.as_std().take_error()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.as_std().local_addr()
    }

    /// The address of the connected peer. Errors as in `std`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.as_std().peer_addr()
    }

    /// Sets `SO_BROADCAST`. Errors as in `std`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.as_std().set_broadcast(broadcast)
    }

    /// Reads `SO_BROADCAST`. Errors as in `std`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.as_std().broadcast()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.as_std().ttl()
    }

    /// Sets `IP_MULTICAST_LOOP`. Errors as in `std`.
    pub fn set_multicast_loop_v4(&self, looped: bool) -> io::Result<()> {
        self.socket.as_std().set_multicast_loop_v4(looped)
    }

    /// Reads `IP_MULTICAST_LOOP`. Errors as in `std`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket.as_std().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_TTL`, in hops. Errors as in `std`.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket.as_std().set_multicast_ttl_v4(ttl)
    }

    /// Reads `IP_MULTICAST_TTL`, in hops. Errors as in `std`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket.as_std().multicast_ttl_v4()
    }

    /// Sets `IPV6_MULTICAST_LOOP`. Errors as in `std`.
    pub fn set_multicast_loop_v6(&self, looped: bool) -> io::Result<()> {
        self.socket.as_std().set_multicast_loop_v6(looped)
    }

    /// Reads `IPV6_MULTICAST_LOOP`. Errors as in `std`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket.as_std().multicast_loop_v6()
    }

    /// Joins a group on the interface with that address. Errors as in `std`.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.as_std().join_multicast_v4(group, interface)
    }

    /// Leaves a group. Errors as in `std`.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.as_std().leave_multicast_v4(group, interface)
    }

    /// Joins a group on the interface with that index. Errors as in `std`.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.as_std().join_multicast_v6(group, interface)
    }

    /// Leaves a group. Errors as in `std`.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.as_std().leave_multicast_v6(group, interface)
    }

    /// Makes one call of your own on the `std` socket, which must not block and works in the direction that `interest`
    /// names: `recvmmsg`, `sendmsg` with control data, a call of another library. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If it is [`WouldBlock`](io::ErrorKind::WouldBlock), the system is asked
    /// whether there really is nothing to do, so that an answer which meant something else loses no event.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one.
    ///
    /// # Platform notes
    /// On Windows what an operation in flight will deliver cannot be had by a call: while one that has memory is in flight in
    /// that direction, this is `WouldBlock` and `call` is not made. While a datagram that was received waits unread, it is
    /// `InvalidInput`: [`set_lent_buffer(0)`](UdpSocket::set_lent_buffer) before the first registration
    /// keeps them in the socket.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.bits().count_ones() != 1 || !Interests::all().contains(interest) {
            return Err(error::not_one_interest());
        }
        self.socket.try_io(interest, call)
    }

    /// Chooses whether the socket lends the kernel room for a datagram with its next receives: any number but 0 means
    /// room for the largest one, which is where it starts; 0 means none.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere it is accepted and does nothing.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.socket.set_lent_buffer(bytes);
    }
}

impl Source for UdpSocket {}

impl sealed::Register for UdpSocket {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        self.socket.register(with.backend(), token, interests)
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.socket.disarm(with.backend(), interests)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.as_std().fmt(f)
    }
}

#[cfg(unix)]
impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_std().as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_std().as_raw_fd()
    }
}

#[cfg(windows)]
impl AsSocket for UdpSocket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.socket.as_std().as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for UdpSocket {
    fn as_raw_socket(&self) -> RawSocket {
        self.socket.as_std().as_raw_socket()
    }
}
