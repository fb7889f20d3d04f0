use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use minimio::Interests;

use crate::io::{self as sys, Io};
use crate::net::socket;

/// A UDP socket.
pub struct UdpSocket(Io<sys::UdpSocket>);

/// Methods that ask or set an option of the socket.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// Those of the system.
        pub fn $name(&self, $($argument: $type),*) -> io::Result<$result> {
            self.0.get().$name($($argument),*)
        }
    )*};
}

impl UdpSocket {
    /// Binds to an address.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(UdpSocket::from_std(socket))
    }

    /// Takes over a socket, which must be non-blocking.
    #[must_use]
    pub fn from_std(socket: net::UdpSocket) -> UdpSocket {
        UdpSocket(Io::from_std(socket))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn send_to(&self, buffer: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.0
            .call(Interests::WRITABLE, |socket| socket.send_to(buffer, target))
    }

    /// Receives a datagram and the address of its sender.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0
            .call(Interests::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Receives a datagram that the next receive gives again.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0
            .call(Interests::READABLE, |socket| socket.peek_from(buffer))
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.0
            .call(Interests::WRITABLE, |socket| socket.send(buffer))
    }

    /// Receives a datagram from the connected peer.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .call(Interests::READABLE, |socket| socket.recv(buffer))
    }

    /// Receives a datagram that the next receive gives again.
    ///
    /// # Errors
    /// Those of the system, and `WouldBlock`.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .call(Interests::READABLE, |socket| socket.peek(buffer))
    }

    options! {
        /// Chooses the peer.
        connect(address: SocketAddr) -> ();
        /// The address of this socket.
        local_addr() -> SocketAddr;
        /// The address of the connected peer.
        peer_addr() -> SocketAddr;
        /// Takes the error that the socket keeps.
        take_error() -> Option<io::Error>;
        /// Sets `SO_BROADCAST`.
        set_broadcast(on: bool) -> ();
        /// The value of `SO_BROADCAST`.
        broadcast() -> bool;
        /// Sets `IP_MULTICAST_LOOP`.
        set_multicast_loop_v4(on: bool) -> ();
        /// The value of `IP_MULTICAST_LOOP`.
        multicast_loop_v4() -> bool;
        /// Sets `IP_MULTICAST_TTL`.
        set_multicast_ttl_v4(ttl: u32) -> ();
        /// The value of `IP_MULTICAST_TTL`.
        multicast_ttl_v4() -> u32;
        /// Sets `IPV6_MULTICAST_LOOP`.
        set_multicast_loop_v6(on: bool) -> ();
        /// The value of `IPV6_MULTICAST_LOOP`.
        multicast_loop_v6() -> bool;
        /// Sets `IP_TTL`.
        set_ttl(ttl: u32) -> ();
        /// The value of `IP_TTL`.
        ttl() -> u32;
        /// Joins a group.
        join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Joins a group.
        join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
        /// Leaves a group.
        leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Leaves a group.
        leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    }

    /// The value of `IPV6_V6ONLY`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn only_v6(&self) -> io::Result<bool> {
        socket2::SockRef::from(self.0.get()).only_v6()
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

socket!(UdpSocket of net::UdpSocket);

impl From<UdpSocket> for net::UdpSocket {
    fn from(socket: UdpSocket) -> net::UdpSocket {
        socket.0.into_std()
    }
}
