//! The public sources [`UnixStream`] and [`UnixListener`], and their documentation.

use std::io;
use std::net::Shutdown;
use std::path::Path;

use super::system::backend;
use super::system::net::{self, SocketAddr};
use crate::interests::Interests;
use crate::IntoStdError;

/// A connection within one machine. Its calls do not block. When there is nothing to do they fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// It has the methods and traits of [`std::os::unix::net::UnixStream`], without those that
/// [`TcpStream`](crate::TcpStream) does not have either. They work whether or not it is registered and whether or not a
/// `poll` is running. Its socket is close-on-exec, and a write to a peer that is gone raises no `SIGPIPE`.
///
/// [`std::os::unix::net::UnixStream`]: https://doc.rust-lang.org/std/os/unix/net/struct.UnixStream.html
///
/// ```
/// use minimio::os::unix::UnixStream;
/// use minimio::{Events, Interests, Poll};
/// use std::io::{Read, Write};
///
/// let mut poll = Poll::new()?;
/// let (mut near, mut far) = UnixStream::pair()?;
/// poll.registrator().register(&near, 1, Interests::READABLE)?;
/// far.write_all(b"hello")?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// assert_eq!(near.read(&mut [0; 16])?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Passing descriptors
/// A `read` closes descriptors that were sent along with the bytes. Send and receive them by
/// [`try_io`](UnixStream::try_io), for instance with the `rustix` crate:
///
/// ```
/// use minimio::os::unix::UnixStream;
/// use minimio::Interests;
/// # #[cfg(not(target_vendor = "apple"))] // It has neither of the two flags.
/// use rustix::net::{RecvFlags, SendFlags};
/// use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage};
/// use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage};
/// use std::io::{IoSlice, IoSliceMut};
/// use std::mem::MaybeUninit;
/// use std::os::fd::AsFd;
///
/// # #[cfg(not(target_vendor = "apple"))] {
/// let (near, far) = UnixStream::pair()?;
/// let file = std::fs::File::open("/dev/null")?;
///
/// let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
/// let mut control = SendAncillaryBuffer::new(&mut space);
/// let files = [file.as_fd()];
/// control.push(SendAncillaryMessage::ScmRights(&files));
/// far.try_io(Interests::WRITABLE, |stream| {
///     Ok(sendmsg(stream, &[IoSlice::new(b"file")], &mut control, SendFlags::NOSIGNAL)?)
/// })?;
///
/// let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
/// let mut control = RecvAncillaryBuffer::new(&mut space);
/// let mut bytes = [0; 16];
/// let message = near.try_io(Interests::READABLE, |stream| {
///     let room = &mut [IoSliceMut::new(&mut bytes)];
///     Ok(recvmsg(stream, room, &mut control, RecvFlags::CMSG_CLOEXEC)?)
/// })?;
/// assert_eq!(message.bytes, 4);
/// let received = control.drain().find_map(|message| match message {
///     RecvAncillaryMessage::ScmRights(mut files) => files.next(),
///     _ => None,
/// });
/// let received = std::fs::File::from(received.expect("a descriptor was sent"));
/// # drop(received);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A `read` may end where descriptors were sent, or where another process has sent the next bytes and the credentials of
/// senders were asked for (`SO_PASSCRED`). What follows is reported to the next registration.
///
/// # What the first read after an event gives
/// It gives bytes, `Ok(0)` at the end of the stream, or the error of the socket. It is `WouldBlock` only if other code has
/// read in between, a read between the registration and the event included, or in two more cases on Linux, both with
/// urgent data (`MSG_OOB`): it was taken before any event has told of it ([`is_priority`](crate::Event::is_priority)), or
/// `SO_PEEK_OFF` is set.
/// Urgent data alone is no event.
///
/// # A broken stream stays broken
/// As a [`TcpStream`](crate::TcpStream#a-broken-stream-stays-broken) does, it remembers a failure that any call has
/// reported, and gives it instead of an end of the stream.
///
/// # Closing
/// Bytes that `write` accepted stay readable for the peer when the stream is dropped. If the stream has not read
/// everything that the *peer* has sent, Linux tells the peer so: its reads give the bytes, and then
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset). The BSDs give an end.
///
/// # Platform notes
/// Linux says that a stream is writable while less than a quarter of its buffer is in use, but takes bytes until the
/// buffer is full. So `WRITABLE` of a stream that is fuller than that fires when the peer has read, although a `write`
/// would be accepted. Write first, and register after a `WouldBlock`.
///
/// For a socket that keeps the bounds of messages (`SOCK_SEQPACKET`) use [`Descriptor`](super::Descriptor).
///
/// Do not move data through `AsFd`, because the crate does not see that. It is allowed within
/// [`try_io`](UnixStream::try_io), and between an event and the next registration.
pub struct UnixStream(pub(crate) backend::UnixStream);

impl UnixStream {
    /// Connects to the listener at `path`. The connect ends within the call, which does not block.
    ///
    /// # Errors
    /// Those of [`connect_addr`](UnixStream::connect_addr). It is [`InvalidInput`](io::ErrorKind::InvalidInput) if `path`
    /// is too long (about 100 bytes) or contains a zero byte.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to the listener at `address`, which on Linux and Android may also be an abstract one. The connect ends
    /// within the call, which does not block.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use minimio::os::unix::{UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let name = format!("example {}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let stream = UnixStream::connect_addr(&address)?;
    /// listener.accept()?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the system. If the backlog of the listener is full, it is [`WouldBlock`](io::ErrorKind::WouldBlock) on
    /// Linux and Android, and [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) on other systems, as if nobody
    /// listened. Nothing is under way then, and there is nothing to wait for: try again later.
    ///
    /// # System calls
    /// [`socket`](https://man7.org/linux/man-pages/man2/socket.2.html),
    /// [`connect`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        backend::UnixStream::connect(address).map(UnixStream)
    }

    /// Makes two streams that are connected to each other.
    ///
    /// # Errors
    /// Those of the system, if there are no descriptors left.
    ///
    /// # System calls
    /// [`socketpair`](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = net::UnixStream::pair()?;
        Ok((UnixStream::from_std(near)?, UnixStream::from_std(far)?))
    }

    /// Takes over a stream of `std`, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of the system, if the stream cannot be made non-blocking. It is closed then.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        backend::UnixStream::from_std(stream).map(UnixStream)
    }

    /// Gives the stream back as one of `std`, still non-blocking and no longer registered. Two things are lost, because
    /// only this crate remembers them: that reading was shut down (Linux goes on delivering what had come before), and a
    /// failure that was reported.
    ///
    /// # Errors
    /// The error contains the stream. It is a failure that the crate has met and nothing has reported yet. A second call
    /// gives the stream.
    pub fn into_std(self) -> Result<net::UnixStream, IntoStdError<UnixStream>> {
        self.0.into_std().map_err(|(stream, error)| IntoStdError {
            source: UnixStream(stream),
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
    /// Bytes that were still unread are not delivered. An armed `READABLE` fires. The peer's writes fail with
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe). Ending a direction for a second time does nothing.
    ///
    /// # Errors
    /// Those of the system.
    ///
    /// # System calls
    /// [`shutdown`](https://man7.org/linux/man-pages/man2/shutdown.2.html)
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Takes the error that the socket keeps. It returns each failure once, also one that a read or write has already
    /// reported.
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
        self.0.as_std().peer_addr()
    }

    /// The address of this end. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// Makes one call of your own on the `std` stream, in the direction that `interest` names: `sendmsg` or `recvmsg` with
    /// [descriptors](UnixStream#passing-descriptors), `sendfile` or a call of another library.
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
        call: impl FnOnce(&net::UnixStream) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }
}

/// A socket that accepts connections at a path. Its calls do not block.
///
/// It has the methods and traits of [`std::os::unix::net::UnixListener`], without those that
/// [`TcpListener`](crate::TcpListener) does not have either. Every accepted stream is non-blocking and close-on-exec, and
/// belongs to no `Poll` until it is registered. The file at the path stays when the listener is dropped: removing it is
/// yours to do.
///
/// [`std::os::unix::net::UnixListener`]: https://doc.rust-lang.org/std/os/unix/net/struct.UnixListener.html
///
/// ```
/// use minimio::os::unix::{UnixListener, UnixStream};
/// use minimio::{Events, Interests, Poll};
///
/// let path = std::env::temp_dir().join(format!("example-{}", std::process::id()));
/// let mut poll = Poll::new()?;
/// let listener = UnixListener::bind(&path)?;
/// poll.registrator().register(&listener, 1, Interests::READABLE)?;
/// let client = UnixStream::connect(&path)?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// let (stream, _) = listener.accept()?;
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener(pub(crate) backend::UnixListener);

impl UnixListener {
    /// Binds to `path`, and listens with the largest backlog that the system grants.
    ///
    /// # Errors
    /// Those of [`bind_addr`](UnixListener::bind_addr). It is [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is
    /// too long (about 100 bytes) or contains a zero byte.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Binds to `address`, which on Linux and Android may also be an abstract one (see
    /// [`UnixStream::connect_addr`]), and listens with the largest backlog that the system grants.
    ///
    /// # Errors
    /// Those of the system. It is [`AddrInUse`](io::ErrorKind::AddrInUse) if a file is at the path, also if nobody
    /// listens there any more.
    ///
    /// # System calls
    /// [`bind`](https://man7.org/linux/man-pages/man2/bind.2.html),
    /// [`listen`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        backend::UnixListener::bind(address).map(UnixListener)
    }

    /// Takes over a listener of `std`, and makes it non-blocking. Its backlog stays as it is.
    ///
    /// # Errors
    /// Those of the system, if the listener cannot be made non-blocking. It is closed then.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        backend::UnixListener::from_std(listener).map(UnixListener)
    }

    /// Gives the listener back as one of `std`, still non-blocking and no longer registered.
    ///
    /// # Errors
    /// None. The type is that of the other sources' methods.
    pub fn into_std(self) -> Result<net::UnixListener, IntoStdError<UnixListener>> {
        Ok(self.0.into_socket())
    }

    /// Accepts a connection that waits, and returns it with the address of its peer, which most often is without a name.
    /// If the peer has gone already, what it has sent can be read.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no connection waits; otherwise those of the system. If descriptors run
    /// out, no connection is lost: it goes on waiting, and the next registration reports it.
    ///
    /// # System calls
    /// [`accept4`](https://man7.org/linux/man-pages/man2/accept.2.html), and
    /// [`getpeername`](https://man7.org/linux/man-pages/man2/getpeername.2.html) for a peer with a name
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, peer) = self.0.accept()?;
        Ok((UnixStream(stream), peer))
    }

    /// Makes one call of your own on the `std` listener, for instance `accept4` with flags of your own. `interest` is
    /// `READABLE`.
    /// The call must not block. It is allowed at any time, on any thread.
    ///
    /// What the call returns is passed on. If that is [`WouldBlock`](io::ErrorKind::WouldBlock), the crate asks the
    /// system whether there really is nothing to do. So no event is lost if the call meant something else by it.
    ///
    /// # Errors
    /// - What `call` returns.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `interest` is not `READABLE` alone.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UnixListener) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        interest.check_among(Interests::READABLE)?;
        self.0.try_io(interest, call)
    }

    /// The address that it listens at. Errors as in `std`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_std().local_addr()
    }

    /// Takes the error that the socket keeps. Errors as in `std`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.as_std().take_error()
    }
}
