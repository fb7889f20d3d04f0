//! The public UDP source, [`UdpSocket`], and its documentation.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::IntoStdError;
use crate::backend;
use crate::interests::Interests;

/// A UDP socket. Its calls do not block. When there is nothing to do they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has the methods and traits of [`std::net::UdpSocket`], except `try_clone` (share the socket by reference or
/// `Arc`), `set_nonblocking` (it is always non-blocking) and the time-outs (use that of
/// [`Poll::poll`](crate::Poll::poll)).
///
/// A datagram that is longer than the buffer is cut to the buffer, on every system, and the next one is intact. An
/// empty datagram is sent and received as one. On a socket that is not connected, ICMP errors never fail a receive.
///
/// The first receive after a readable event gives a datagram or the error of the socket. It is `WouldBlock` only if
/// other code has received in between, if the kernel has dropped the datagram in between (for instance for a wrong
/// checksum), or if an error queue was switched on through `AsFd` (`IP_RECVERR`), an entry of which is an event, too.
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
pub struct UdpSocket(pub(super) backend::UdpSocket);

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

    /// Takes over a socket of `std`, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of the system, if the socket cannot be made non-blocking. It is closed then.
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        backend::UdpSocket::from_std(socket).map(UdpSocket)
    }

    /// Gives the socket back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// The error contains the socket. The kind is [`WouldBlock`](io::ErrorKind::WouldBlock) while memory is lent to the
    /// kernel or holds a datagram that was not received yet. This happens only on Windows.
    pub fn into_std(self) -> Result<net::UdpSocket, IntoStdError<UdpSocket>> {
        self.0.into_std().map_err(|(socket, error)| IntoStdError {
            source: UdpSocket(socket),
            error,
        })
    }

    /// Receives a datagram and the address of its sender.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no datagram is there; otherwise the error of the socket.
    ///
    /// # System calls
    /// [`recvfrom`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    /// Does what [`recv_from`](UdpSocket::recv_from) does, but leaves the datagram where it is.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.peek_from(buffer)
    }

    /// Sends a datagram to the first address of `target`.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; [`InvalidInput`](io::ErrorKind::InvalidInput) if
    /// `target` has no address; otherwise the error of the socket.
    ///
    /// # System calls
    /// [`sendto`](https://man7.org/linux/man-pages/man2/send.2.html)
    pub fn send_to(&self, buffer: &[u8], target: impl ToSocketAddrs) -> io::Result<usize> {
        match target.to_socket_addrs()?.next() {
            Some(target) => self.0.send_to(buffer, &target),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            )),
        }
    }

    /// Sets the peer for [`send`](UdpSocket::send) and [`recv`](UdpSocket::recv). Datagrams of others are not received
    /// any more, except those that came before this call. Of several addresses the first that works is taken.
    ///
    /// # Errors
    /// The error of the last address, or [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no address.
    ///
    /// # System calls
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let mut last = io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        );
        for address in address.to_socket_addrs()? {
            match self.0.connect(&address) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Receives a datagram of the connected peer.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no datagram is there; otherwise the error of the socket, for
    /// instance [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens at the peer's port.
    ///
    /// # Platform notes
    /// Windows does not report that nobody listens. The crate switches that off, since Windows would report it on
    /// sockets that are not connected, too.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    /// Does what [`recv`](UdpSocket::recv) does, but leaves the datagram where it is.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise the error of the socket.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.0.send(buffer)
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

    /// Sets `SO_BROADCAST`. Errors as in `std`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.0.as_std().set_broadcast(broadcast)
    }

    /// Reads `SO_BROADCAST`. Errors as in `std`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.0.as_std().broadcast()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.as_std().ttl()
    }

    /// Sets `IP_MULTICAST_LOOP`. Errors as in `std`.
    pub fn set_multicast_loop_v4(&self, looped: bool) -> io::Result<()> {
        self.0.as_std().set_multicast_loop_v4(looped)
    }

    /// Reads `IP_MULTICAST_LOOP`. Errors as in `std`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.0.as_std().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_TTL`, in hops. Errors as in `std`.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.0.as_std().set_multicast_ttl_v4(ttl)
    }

    /// Reads `IP_MULTICAST_TTL`, in hops. Errors as in `std`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.0.as_std().multicast_ttl_v4()
    }

    /// Sets `IPV6_MULTICAST_LOOP`. Errors as in `std`.
    pub fn set_multicast_loop_v6(&self, looped: bool) -> io::Result<()> {
        self.0.as_std().set_multicast_loop_v6(looped)
    }

    /// Reads `IPV6_MULTICAST_LOOP`. Errors as in `std`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.0.as_std().multicast_loop_v6()
    }

    /// Joins a group on the interface with that address. Errors as in `std`.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.0.as_std().join_multicast_v4(group, interface)
    }

    /// Leaves a group. Errors as in `std`.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.0.as_std().leave_multicast_v4(group, interface)
    }

    /// Joins a group on the interface with that index. Errors as in `std`.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.0.as_std().join_multicast_v6(group, interface)
    }

    /// Leaves a group. Errors as in `std`.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.0.as_std().leave_multicast_v6(group, interface)
    }

    /// Makes one call of your own on the `std` socket, in the direction that `interest` names: `recvmmsg`, `sendmsg`
    /// with control data or a call of another library. The call must not block. It is allowed at any time, on any
    /// thread.
    ///
    /// What the call returns is passed on. If that is [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the
    /// system whether there really is nothing to do. So no event is lost if the call meant something else by it.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one interest.
    ///
    /// # Platform notes
    /// On Windows `call` is not made in three cases. While an operation that has memory is in flight in that direction,
    /// the result is `WouldBlock`, since the call would overtake that operation. While a datagram that was received
    /// waits in lent memory, it is `InvalidInput`. [`set_lent_buffer(0)`](UdpSocket::set_lent_buffer) before the first
    /// registration leaves datagrams in the socket. If a failure of the socket is known and was not reported yet, the
    /// result is that failure.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }

    /// Chooses whether the socket lends memory to the kernel for its next receives. With 0 it lends nothing. Any other
    /// number means room for the largest datagram, which is also what it lends if nothing is chosen.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere the call is accepted and does nothing.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.0.set_lent_buffer(bytes);
    }
}
