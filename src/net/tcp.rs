//! The public TCP sources, [`TcpStream`] and [`TcpListener`], and their documentation.

use std::io;
use std::net::{self, Shutdown, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::IntoStdError;
use crate::backend;
use crate::interests::Interests;

/// A TCP connection. Its calls do not block, except [`connect`](TcpStream::connect) and
/// [`connect_timeout`](TcpStream::connect_timeout). When there is nothing to do they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has the methods and traits of [`std::net::TcpStream`], and they work whether or not it is registered and whether
/// or not a `poll` is running. Only these are missing:
///
/// | missing | instead |
/// | --- | --- |
/// | `try_clone` | share the stream by reference or `Arc`: `&TcpStream` has `Read` and `Write`, too |
/// | `set_nonblocking` | the stream is always non-blocking; [`into_std`](TcpStream::into_std) gives a socket that can be made blocking |
/// | read and write time-outs | the time-out of [`Poll::poll`](crate::Poll::poll) |
/// | `From<OwnedFd>`, `FromRawFd`, `IntoRawFd` and similar conversions | [`from_std`](TcpStream::from_std), [`into_std`](TcpStream::into_std) |
///
/// Options that `std` does not have can be set at any time through `AsFd` or `AsSocket`, for instance with
/// `socket2::SockRef`:
///
/// ```
/// use minimio::{TcpListener, TcpStream};
/// use socket2::SockRef;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// SockRef::from(&stream).set_keepalive(true)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What the first read after an event gives
/// The first read after a readable event gives bytes, `Ok(0)` at the end of the stream, or the error of the socket. It
/// is `WouldBlock` only in these cases:
///
/// - Other code has read in between. A read between the registration and the event counts, too.
/// - An error queue was switched on through `AsFd` (time stamps, zero-copy sending). An entry of it is an event.
/// - TLS was handed to the kernel. A read then stops before a record of another type; make such reads with
///   [`try_io`](TcpStream::try_io).
/// - `SO_PEEK_OFF` is set and urgent data has come.
///
/// If the socket was never connected, the read is [`NotConnected`](io::ErrorKind::NotConnected).
///
/// # A broken stream stays broken
/// A system reports a reset, a time-out or a refused connect once, to the call that comes first. After that its reads
/// give the end of the stream. This crate remembers such a failure. Once any call or
/// [`take_error`](TcpStream::take_error) has reported it, reads give the bytes that had arrived, and then that error
/// instead of an end, every time. So an answer that was cut off never looks complete.
///
/// An end that a read has given stays an end, whatever fails later. A [`BrokenPipe`](io::ErrorKind::BrokenPipe) of a
/// write is not remembered, since a complete answer may still wait to be read.
///
/// # Closing
/// Bytes that `write` accepted are delivered even if the stream, or its `Poll`, is dropped right after the `write`. The
/// end of the process can lose them. If bytes that were *received* are still unread, closing makes TCP reset the
/// connection, which may discard what the peer has not taken yet. To be safe, call `shutdown(Shutdown::Write)`, read to
/// the end under a deadline of your own, and then drop the stream.
///
/// `SO_LINGER` is yours to set, for instance with `socket2`. With a time of 0, dropping the stream resets the
/// connection at once. With another time, the drop can block for that long on Unix; on Windows it does not block.
///
/// # Platform notes
/// If a stream is closed with bytes unread, Linux and Windows reset the connection at once. The BSDs reset it when the
/// peer sends more.
///
/// Do not move data through `AsFd` or `AsSocket`, because the crate does not see that. It is allowed within
/// [`try_io`](TcpStream::try_io), and between an event and the next registration. On Windows the latter is allowed only
/// if the lent size was [set](TcpStream::set_lent_buffer) to 0 before the first registration.
pub struct TcpStream(pub(super) backend::TcpStream);

impl TcpStream {
    /// Connects to the first address of `address` that answers, as [`std::net::TcpStream::connect`] does. It **blocks**
    /// until one does.
    ///
    /// # Errors
    /// Those of `std`: the error of the last address, or [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no
    /// address.
    ///
    /// # System calls
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::from_std(net::TcpStream::connect(address)?)
    }

    /// Connects to `address` within `timeout`, as [`std::net::TcpStream::connect_timeout`] does. It **blocks**.
    ///
    /// # Errors
    /// Those of `std`: [`TimedOut`](io::ErrorKind::TimedOut), or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a zero `timeout`.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::from_std(net::TcpStream::connect_timeout(address, timeout)?)
    }

    /// Starts to connect and returns at once.
    ///
    /// Until the connect has ended, `read`, `write` and `peek` are [`WouldBlock`](io::ErrorKind::WouldBlock). The end
    /// of the connect fires `WRITABLE`, and its failure fires every armed interest. Then
    /// [`take_error`](TcpStream::take_error) says once how it ended, where `None` means connected. A `read` or `write`
    /// that comes first reports a failure as well.
    ///
    /// ```
    /// use minimio::{Events, Interests, Poll, TcpListener, TcpStream};
    ///
    /// let mut poll = Poll::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect_nonblocking(listener.local_addr()?)?;
    /// poll.registrator().register(&stream, 1, Interests::WRITABLE)?;
    /// poll.poll(&mut Events::with_capacity(1), None)?;
    /// assert!(stream.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// To bind before connecting, make the socket with the `socket2` crate, connect it there, and pass it to
    /// [`from_std`](TcpStream::from_std):
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use socket2::{Domain, Socket, Type};
    /// # use std::net::SocketAddr;
    ///
    /// // This connect blocks. `from_std` also takes a socket whose non-blocking connect is still under way.
    /// let listener = minimio::TcpListener::bind("127.0.0.1:0")?;
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    /// socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())?;
    /// socket.connect(&listener.local_addr()?.into())?;
    /// let stream = minimio::TcpStream::from_std(socket.into())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the system, if there is no descriptor left, or if it knows at once that the connect cannot begin (no
    /// network, no port). If nobody listens at `address`, that is never an error of this call: the connect ends with
    /// it.
    ///
    /// # Platform notes
    /// If the listener's backlog is full, the connect waits on Linux, is refused on Windows, and on FreeBSD succeeds
    /// and is then reset. A refused connect to the same machine takes about two seconds on Windows.
    ///
    /// On Windows the connect starts with the first registration, so a stream that is never registered stays
    /// connecting.
    ///
    /// # System calls
    /// [`socket`](https://man7.org/linux/man-pages/man2/socket.2.html),
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html);
    /// [`ConnectEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex)
    pub fn connect_nonblocking(address: SocketAddr) -> io::Result<TcpStream> {
        backend::TcpStream::connect_nonblocking(&address).map(TcpStream)
    }

    /// Takes over a stream of `std`, and makes it non-blocking. If somebody else has begun to connect it, it behaves
    /// like a stream of [`connect_nonblocking`](TcpStream::connect_nonblocking).
    ///
    /// # Errors
    /// Those of the system, if the stream cannot be made non-blocking. It is closed then.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        backend::TcpStream::from_std(stream).map(TcpStream)
    }

    /// Gives the stream back as one of `std`, still non-blocking and no longer registered. Two things are lost, because
    /// only this crate remembers them: that reading was shut down (Linux goes on delivering what comes, and Windows was
    /// never told), and a failure that was reported.
    ///
    /// # Errors
    /// The error contains the stream.
    /// - The kind is [`WouldBlock`](io::ErrorKind::WouldBlock) while memory is lent to the kernel or holds bytes that
    ///   were not read yet, and while a send or a connect is in flight. This happens only on Windows.
    /// - If the connect of the stream has failed and nothing has reported that yet, the error is that failure. On Unix
    ///   the same goes for a stream that was not connected yet when it was made and has broken since. A second call
    ///   gives the stream.
    pub fn into_std(self) -> Result<net::TcpStream, IntoStdError<TcpStream>> {
        self.0.into_std().map_err(|(stream, error)| IntoStdError {
            source: TcpStream(stream),
            error,
        })
    }

    /// Reads bytes without taking them away: the next `read` or `peek` gives them again. It may give fewer bytes than a
    /// `read` would, and says nothing about what is left.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no bytes are there; otherwise the error of the socket.
    ///
    /// # System calls
    /// [`recv` with `MSG_PEEK`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// Ends one direction or both. After `Shutdown::Read` every read gives the end of the stream, at once and for good.
    /// Bytes that were still unread, and bytes that the peer sends later, are not delivered. An armed `READABLE` fires.
    /// Ending a direction for a second time does nothing.
    ///
    /// # Errors
    /// Those of the system. It is [`NotConnected`](io::ErrorKind::NotConnected) without a connection, and while a
    /// connect is under way.
    ///
    /// # Platform notes
    /// The peer is not told that reading has ended. The BSDs discard at once what it goes on sending. On Linux and
    /// Windows those bytes fill the socket's buffer, and then the peer cannot send more; dropping the stream can then
    /// reset the connection.
    ///
    /// # System calls
    /// [`shutdown`](https://man7.org/linux/man-pages/man2/shutdown.2.html)
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Takes the error that the socket keeps, for instance how a connect failed. It returns each failure once, also one
    /// that a read or write has already reported. So `None` alone does not mean that the stream is connected.
    ///
    /// # Errors
    /// Those of the system, if it cannot be asked.
    ///
    /// # System calls
    /// [`getsockopt` with `SO_ERROR`](https://man7.org/linux/man-pages/man7/socket.7.html)
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// The address of the peer. Errors as in `std`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Sets `TCP_NODELAY`: with it, small writes are sent at once. Errors as in `std`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.as_std().set_nodelay(nodelay)
    }

    /// Reads `TCP_NODELAY`. Errors as in `std`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.as_std().nodelay()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.as_std().ttl()
    }

    /// Makes one call of your own on the `std` stream, in the direction that `interest` names: `recvmsg`, `sendfile` or
    /// a call of another library. The call must not block. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If that is [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the
    /// system whether there really is nothing to do. So no event is lost if the call meant something else by it.
    ///
    /// ```
    /// use minimio::{Interests, TcpListener, TcpStream};
    /// use socket2::SockRef;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.try_io(Interests::WRITABLE, |stream| SockRef::from(stream).send_out_of_band(b"!"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one interest.
    ///
    /// # Platform notes
    /// On Windows `call` is not made in three cases. While an operation that has memory is in flight in that direction,
    /// or a connect is under way, the result is `WouldBlock`, since the call would overtake that operation. While bytes
    /// that were received wait in lent memory, it is `InvalidInput`. [`set_lent_buffer(0)`](TcpStream::set_lent_buffer)
    /// before the first registration leaves bytes in the socket. If the direction is known to have failed, the result
    /// is that failure. Windows cannot be asked whether there is room to send, so after a `WouldBlock` of a call that
    /// writes, the next `WRITABLE` fires at once.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }

    /// Chooses how many bytes the stream lends to the kernel for each of its next receives. The largest size is 65,536,
    /// and more counts as that. With 0 it lends nothing. If no size is chosen, the size follows the traffic: it is
    /// 4,096 bytes at first, grows to 262,144 while receives fill the memory, and shrinks again while they do not.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere the call is accepted and does nothing.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.0.set_lent_buffer(bytes);
    }
}

/// A socket that accepts TCP connections. Its calls do not block.
///
/// It has the methods and traits of [`std::net::TcpListener`], except `try_clone` (share the listener by reference or
/// `Arc`), `incoming` (register it, and call `accept` after each event) and `set_nonblocking` (it is always
/// non-blocking). Every accepted stream is non-blocking and belongs to no `Poll` until it is registered.
///
/// For another backlog, for `SO_REUSEPORT` or for v6-only sockets, make the socket with the `socket2` crate:
///
/// ```
/// use socket2::{Domain, Socket, Type};
/// # use std::net::SocketAddr;
///
/// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
/// # #[cfg(unix)]
/// socket.set_reuse_port(true)?;
/// socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())?;
/// socket.listen(16)?;
/// let listener = minimio::TcpListener::from_std(socket.into())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener(pub(super) backend::TcpListener);

impl TcpListener {
    /// Binds as [`std::net::TcpListener::bind`] does, and listens with the largest backlog that the system grants.
    /// `SO_REUSEADDR` is set on Unix, and not on Windows, where it would let other programs take the port.
    ///
    /// # Errors
    /// Those of `std`, for instance [`AddrInUse`](io::ErrorKind::AddrInUse).
    ///
    /// # System calls
    /// [`bind`](https://man7.org/linux/man-pages/man2/bind.2.html),
    /// [`listen`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        backend::TcpListener::bind(address).map(TcpListener)
    }

    /// Takes over a listener of `std`, and makes it non-blocking. Its backlog stays as it is.
    ///
    /// # Errors
    /// Those of the system, if the listener cannot be made non-blocking. It is closed then.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        backend::TcpListener::from_std(listener).map(TcpListener)
    }

    /// Gives the listener back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// The error contains the listener, unchanged. The kind is [`WouldBlock`](io::ErrorKind::WouldBlock) if the
    /// listener holds a connection that was not taken yet: `accept` it first. It can also be `WouldBlock` while an
    /// accept that was cancelled has not ended yet: try again. Both happen only on Windows.
    pub fn into_std(self) -> Result<net::TcpListener, IntoStdError<TcpListener>> {
        self.0.into_std().map_err(|(listener, error)| IntoStdError {
            source: TcpListener(listener),
            error,
        })
    }

    /// Accepts a connection that waits, and returns it with the address of its peer.
    ///
    /// Connections that were reset while they waited are passed over, at most 64 in one call. So the result can be
    /// `WouldBlock` right after an event, if no other connection waits or if more than 64 were reset. Register again
    /// then.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no connection waits; otherwise those of the system. If descriptors
    /// run out, no connection is lost: it goes on waiting, and the next registration reports it.
    ///
    /// # System calls
    /// [`accept4`](https://man7.org/linux/man-pages/man2/accept.2.html);
    /// [`AcceptEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex)
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0
            .accept()
            .map(|(stream, peer)| (TcpStream(stream), peer))
    }

    /// Makes one call of your own on the `std` listener, for instance `accept4` with flags of your own. `interest` is
    /// `READABLE`. The call must not block. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If that is [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the
    /// system whether there really is nothing to do. So no event is lost if the call meant something else by it.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not `READABLE` alone.
    ///
    /// # Platform notes
    /// On Windows `call` is not made in two cases. While an accept is in flight, the result is `WouldBlock`, since the
    /// call would overtake it. While a connection that was already accepted waits, it is `InvalidInput`:
    /// [`accept`](TcpListener::accept) that connection first.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpListener) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        interest.check_among(Interests::READABLE)?;
        self.0.try_io(interest, call)
    }

    /// The address that it listens on. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.as_std().ttl()
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.as_std().take_error()
    }
}
