//! The public TCP sources, documented once. Each method is one call of its backend namesake.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};
use std::time::Duration;

use crate::backend;
use crate::error;
use crate::interests::{Interests, Token};
use crate::source::{sealed, Source};
use crate::Registrator;

/// A TCP connection. Nothing on it blocks: with nothing to do, calls fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has what [`std::net::TcpStream`] has, registered or not, with a `poll` running or not, but for these:
///
/// | missing | instead |
/// | --- | --- |
/// | `try_clone` | share it by reference or `Arc`: `Read` and `Write` are also there for `&TcpStream` |
/// | `set_nonblocking` | it is always non-blocking; [`into_std`](TcpStream::into_std) gives back what can block |
/// | read and write time-outs | the time-out of [`Poll::poll`](crate::Poll::poll) |
/// | `From<OwnedFd>`, `FromRawFd`, `IntoRawFd` and their like | [`from_std`](TcpStream::from_std), [`into_std`](TcpStream::into_std) |
///
/// Options that `std` does not know can be set at any time through [`AsFd`](std::os::fd::AsFd) or `AsSocket`, for
/// instance with `socket2::SockRef`:
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
/// Bytes, `Ok(0)` at the end of the stream, or the socket's error. Exceptions: somebody else read in between (a read
/// between registering and the event counts); an error queue was switched on through `AsFd` (time stamps, zero-copy);
/// the socket was never connected ([`NotConnected`](io::ErrorKind::NotConnected)); TLS was handed to the kernel, where a
/// read stops before a record of another type (make such reads by [`try_io`](TcpStream::try_io)).
///
/// # A broken stream stays broken
/// A system tells of a reset, a time-out or a refused connect once, to whichever call comes first, and from then on lets
/// a read find the end of the stream. Here such a failure is remembered: once a call or
/// [`take_error`](TcpStream::take_error) has told of it, every read gives the bytes that had arrived, and then that error
/// instead of an end. So an answer that was cut off never looks complete. An end that a read has given stays an end,
/// though, whatever fails later. A [`BrokenPipe`](io::ErrorKind::BrokenPipe) of a write is no such failure: a complete
/// answer may still wait to be read.
///
/// # Closing
/// Bytes that `write` accepted are delivered although the stream, or its `Poll`, is dropped right after it; the end of
/// the process can lose them. If bytes that were *received* are still unread, closing makes TCP reset the connection,
/// which may discard what the peer has not taken yet. To be safe, `shutdown(Shutdown::Write)`, read to the end under a
/// deadline of your own, then drop.
///
/// `SO_LINGER`, which can be set with `socket2`, is yours: with 0, dropping the stream resets the connection at once. With
/// a time, on Unix the drop may block for that long; on Windows it does not block.
///
/// # Platform notes
/// A stream that is closed with bytes unread is reset at once on Linux and Windows; on the BSDs when the peer sends more.
///
/// Do not move data behind the crate's back (through `AsFd` or `AsSocket`), unless by [`try_io`](TcpStream::try_io), or
/// between an event and the next registration; on Windows only if the lent size was
/// [set](TcpStream::set_lent_buffer) to 0 before the first registration.
pub struct TcpStream {
    stream: backend::TcpStream,
}

impl TcpStream {
    /// Connects to the first address of `address` that answers, as [`std::net::TcpStream::connect`] does. It **blocks**
    /// until then.
    ///
    /// # Errors
    /// Those of `std`: the error of the last address, or [`InvalidInput`](io::ErrorKind::InvalidInput) without one.
    ///
    /// # System calls
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::made_from(net::TcpStream::connect(address)?)
    }

    /// Connects to `address` within `timeout`, as [`std::net::TcpStream::connect_timeout`] does. It **blocks**.
    ///
    /// # Errors
    /// Those of `std`: [`TimedOut`](io::ErrorKind::TimedOut), or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a zero `timeout`.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::made_from(net::TcpStream::connect_timeout(address, timeout)?)
    }

    /// Starts to connect and returns at once.
    ///
    /// Until the connect has ended `read`, `write` and `peek` are [`WouldBlock`](io::ErrorKind::WouldBlock). Its end
    /// fires `WRITABLE`; its failure fires every armed interest. Then [`take_error`](TcpStream::take_error) says how it
    /// ended, once: `None` means connected. If a `read` or `write` comes first, that one says so, too.
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
    /// To bind before connecting, make the socket with the `socket2` crate, connect it there, and use
    /// [`from_std`](TcpStream::from_std):
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use socket2::{Domain, Socket, Type};
    /// # use std::net::SocketAddr;
    ///
    /// // (This connect blocks. A non-blocking one can be under way when it is taken over.)
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
    /// The system's, when there is no descriptor left, or it knows at once that it cannot be done (no network, no port).
    /// That nobody listens there is never an error of this call, but the end of the connect.
    ///
    /// # Platform notes
    /// A full backlog of the listener's lets the connect wait on Linux; Windows refuses it, and FreeBSD connects and then
    /// resets. A refused connect to this machine takes about two seconds on Windows.
    ///
    /// On Windows the connect starts with the first registration: a stream that is never registered stays connecting.
    ///
    /// # System calls
    /// [`socket`](https://man7.org/linux/man-pages/man2/socket.2.html),
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html);
    /// [`ConnectEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex)
    pub fn connect_nonblocking(address: SocketAddr) -> io::Result<TcpStream> {
        backend::TcpStream::connect_nonblocking(&address).map(TcpStream::from_backend)
    }

    /// Takes over a `std` stream, and makes it non-blocking. It may be one that somebody else has begun to connect: then it
    /// behaves like one of [`connect_nonblocking`](TcpStream::connect_nonblocking).
    ///
    /// # Errors
    /// The system's, if it cannot be made non-blocking; the stream is then closed.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::made_from(stream)
    }

    /// Gives the stream back as one of `std`, still non-blocking and no longer registered. What this crate knows of it beyond
    /// the system is gone then: that reading was shut down (Linux goes on delivering what comes, and Windows was never told),
    /// and a failure that was told.
    ///
    /// # Errors
    /// The error gives the stream back.
    /// - With kind [`WouldBlock`](io::ErrorKind::WouldBlock), while memory is lent to the kernel or holds bytes that were
    ///   not read yet. Only on Windows.
    /// - How the connect of the stream failed, if nobody was told of it yet; on Unix also how a stream broke that was not
    ///   connected yet when it was made. It is told by this, and a second call gives the stream.
    pub fn into_std(self) -> Result<net::TcpStream, IntoStdError<TcpStream>> {
        self.stream
            .into_std()
            .map_err(|(stream, error)| IntoStdError::new(TcpStream::from_backend(stream), error))
    }

    /// Reads without taking the bytes away: the next `read` or `peek` sees them again. It may see fewer than a `read`
    /// would give, and says nothing about what is left.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) with nothing there; else the socket's.
    ///
    /// # System calls
    /// [`recv` with `MSG_PEEK`](https://man7.org/linux/man-pages/man2/recv.2.html)
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer)
    }

    /// Ends one direction or both. After `Shutdown::Read` reads give the end of the stream, at once and for good, also with
    /// bytes unread and whatever the peer still sends; and an armed `READABLE` fires. To end a direction for a second time
    /// does nothing.
    ///
    /// # Errors
    /// The system's: [`NotConnected`](io::ErrorKind::NotConnected) without a connection, and while one is being made.
    ///
    /// # Platform notes
    /// The peer is not told that reading has ended. Bytes that it goes on sending are discarded at once on the BSDs. On Linux
    /// and Windows they fill the socket's buffer, and then the peer cannot send more; dropping the stream can reset the
    /// connection.
    ///
    /// # System calls
    /// [`shutdown`](https://man7.org/linux/man-pages/man2/shutdown.2.html)
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// Takes the error that the socket keeps, for instance how a connect failed. It tells each failure once, also one that
    /// a read or write has told of; so `None` alone does not mean that the stream is connected.
    ///
    /// # Errors
    /// The system's, if it cannot be asked.
    ///
    /// # System calls
    /// [`getsockopt` with `SO_ERROR`](https://man7.org/linux/man-pages/man7/socket.7.html)
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.stream.take_error()
    }

    /// The address of the peer. Errors as in `std`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sets `TCP_NODELAY`: with it, small writes are sent at once. Errors as in `std`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.as_std().set_nodelay(nodelay)
    }

    /// Reads `TCP_NODELAY`. Errors as in `std`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.stream.as_std().nodelay()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.stream.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.stream.as_std().ttl()
    }

    /// Makes one call of your own on the `std` stream, which must not block and works in the direction that `interest`
    /// names: `recvmsg`, `sendfile`, a call of another library. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If it is [`WouldBlock`](io::ErrorKind::WouldBlock), the system is asked
    /// whether there really is nothing to do, so that an answer which meant something else loses no event.
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
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one.
    ///
    /// # Platform notes
    /// On Windows what an operation in flight will deliver cannot be had by a call: while one that has memory is in flight in
    /// that direction, this is `WouldBlock` and `call` is not made. While bytes that were received wait unread, it is
    /// `InvalidInput`: [`set_lent_buffer(0)`](TcpStream::set_lent_buffer) before the first registration
    /// keeps them in the socket. Windows has no test for room, so after a `WouldBlock` of a call that writes, the next
    /// `WRITABLE` fires at once.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.bits().count_ones() != 1 || !Interests::all().contains(interest) {
            return Err(error::not_one_interest());
        }
        self.stream.try_io(interest, call)
    }

    /// Chooses how many bytes the stream lends to the kernel for its next receives: at most 65,536 (more counts as that),
    /// 0 for none. Unless it is chosen, the size follows the traffic: 4,096 bytes at first, more when what was lent
    /// comes back full, less again when it does not.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere it is accepted and does nothing.
    pub fn set_lent_buffer(&self, bytes: usize) {
        self.stream.set_lent_buffer(bytes);
    }

    fn made_from(stream: net::TcpStream) -> io::Result<TcpStream> {
        backend::TcpStream::from_std(stream).map(TcpStream::from_backend)
    }

    pub(crate) fn from_backend(stream: backend::TcpStream) -> TcpStream {
        TcpStream { stream }
    }
}

impl Source for TcpStream {}

impl sealed::Register for TcpStream {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        self.stream.register(with.backend(), token, interests)
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.stream.disarm(with.backend(), interests)
    }
}

/// An empty buffer gives `Ok(0)`, without a system call.
impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.read_vectored(buffers)
    }
}

/// `flush` is `WouldBlock` while accepted bytes are still ours to send (only on Windows); the next writable event
/// says when to ask again.
impl Write for &TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.as_std().fmt(f)
    }
}

/// A socket that accepts TCP connections. Nothing on it blocks.
///
/// It has what [`std::net::TcpListener`] has, but for `try_clone` (share it by reference or `Arc`), `incoming` (register
/// it and `accept` on each event) and `set_nonblocking` (it always is). Every accepted stream is non-blocking and
/// belongs to no `Poll` until it is registered.
///
/// Another backlog, `SO_REUSEPORT` or v6-only need the `socket2` crate:
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
pub struct TcpListener {
    listener: backend::TcpListener,
}

impl TcpListener {
    /// Binds as [`std::net::TcpListener::bind`] does (with `SO_REUSEADDR` on Unix and never on Windows, where it lets
    /// others take the port), and listens with the largest backlog that the system grants.
    ///
    /// # Errors
    /// Those of `std`, for instance [`AddrInUse`](io::ErrorKind::AddrInUse).
    ///
    /// # System calls
    /// [`bind`](https://man7.org/linux/man-pages/man2/bind.2.html),
    /// [`listen`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        backend::TcpListener::bind(address).map(|listener| TcpListener { listener })
    }

    /// Takes over a `std` listener, and makes it non-blocking. Its backlog stays.
    ///
    /// # Errors
    /// The system's, if it cannot be made non-blocking; the listener is then closed.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        backend::TcpListener::from_std(listener).map(|listener| TcpListener { listener })
    }

    /// Gives the listener back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// With kind [`WouldBlock`](io::ErrorKind::WouldBlock), when it holds a connection that was not taken yet: `accept`
    /// it first. The error gives the listener back, as it was. Only on Windows.
    pub fn into_std(self) -> Result<net::TcpListener, IntoStdError<TcpListener>> {
        self.listener
            .into_std()
            .map_err(|(listener, error)| IntoStdError::new(TcpListener { listener }, error))
    }

    /// Accepts a connection that waits, and gives it with the address of its peer. Connections that were reset while they
    /// waited are passed over, up to 64 in one call: if nobody else waits by then, or there were more of them, it is
    /// `WouldBlock`, also right after an event. Register again.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none waits; else the system's. Running out of descriptors loses
    /// no connection: it waits on, and the next registration reports it.
    ///
    /// # System calls
    /// [`accept4`](https://man7.org/linux/man-pages/man2/accept.2.html);
    /// [`AcceptEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex)
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener
            .accept()
            .map(|(stream, peer)| (TcpStream::from_backend(stream), peer))
    }

    /// Makes one call of your own on the `std` listener, which must not block and works in the direction that `interest`
    /// names: `accept4` with flags of your own, say. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If it is [`WouldBlock`](io::ErrorKind::WouldBlock), the system is asked
    /// whether there really is nothing to do, so that an answer which meant something else loses no event.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not exactly one, or it is `WRITABLE`.
    ///
    /// # Platform notes
    /// On Windows what an operation in flight will deliver cannot be had by a call: while one that has memory is in flight in
    /// that direction, this is `WouldBlock` and `call` is not made. While a connection that was accepted waits, it is
    /// `InvalidInput`: [`accept`](TcpListener::accept) it first.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpListener) -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.bits().count_ones() != 1 || !Interests::all().contains(interest) {
            return Err(error::not_one_interest());
        }
        if interest.is_writable() {
            return Err(error::listener_not_writable());
        }
        self.listener.try_io(interest, call)
    }

    /// The address that it listens on. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.as_std().local_addr()
    }

    /// Sets `IP_TTL`, in hops. Errors as in `std`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.listener.as_std().set_ttl(ttl)
    }

    /// Reads `IP_TTL`, in hops. Errors as in `std`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.listener.as_std().ttl()
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.listener.as_std().take_error()
    }
}

impl Source for TcpListener {}

impl sealed::Register for TcpListener {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        if interests.is_writable() {
            return Err(error::listener_not_writable());
        }
        self.listener.register(with.backend(), token, interests)
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        if interests.is_writable() {
            return Err(error::listener_not_writable());
        }
        self.listener.disarm(with.backend(), interests)
    }

    fn deregister(&self, with: &Registrator) -> io::Result<()> {
        self.disarm(with, Interests::READABLE)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.as_std().fmt(f)
    }
}

/// Why a source could not be given back as one of `std`, and the source itself. Made by the `into_std` methods.
#[derive(Debug)]
pub struct IntoStdError<S> {
    source: S,
    error: io::Error,
}

impl<S> IntoStdError<S> {
    pub(crate) fn new(source: S, error: io::Error) -> IntoStdError<S> {
        IntoStdError { source, error }
    }

    /// The reason: see the method's own documentation.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The source, still usable. A failed connect counts as told now.
    #[must_use]
    pub fn into_source(self) -> S {
        self.source
    }
}

impl<S> fmt::Display for IntoStdError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S: fmt::Debug> Error for IntoStdError<S> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<S> From<IntoStdError<S>> for io::Error {
    fn from(error: IntoStdError<S>) -> io::Error {
        error.error
    }
}

#[cfg(unix)]
impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_std().as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_std().as_raw_fd()
    }
}

#[cfg(unix)]
impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_std().as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_std().as_raw_fd()
    }
}

#[cfg(windows)]
impl AsSocket for TcpStream {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.stream.as_std().as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for TcpStream {
    fn as_raw_socket(&self) -> RawSocket {
        self.stream.as_std().as_raw_socket()
    }
}

#[cfg(windows)]
impl AsSocket for TcpListener {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.listener.as_std().as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for TcpListener {
    fn as_raw_socket(&self) -> RawSocket {
        self.listener.as_std().as_raw_socket()
    }
}
