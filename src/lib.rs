//! A minimal event queue, the same on every platform: I/O completion ports on Windows, epoll on Linux and Android,
//! kqueue on macOS, iOS and the BSDs.
//!
//! Register a source under a token, poll, and get one event for it; then read or write, and register again.
//!
//! ```
//! use minimio::{Events, Interests, Poll, TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! let mut poll = Poll::new()?;
//! let registrator = poll.registrator();
//! let mut events = Events::with_capacity(64);
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! registrator.register(&listener, 1, Interests::READABLE)?;
//! let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! client.write_all(b"hello")?;
//!
//! poll.poll(&mut events, None)?;
//! assert_eq!(events.iter().next().unwrap().id(), 1);
//! let (mut stream, _) = listener.accept()?;
//!
//! registrator.register(&stream, 2, Interests::READABLE)?;
//! poll.poll(&mut events, None)?;
//! let mut buffer = [0; 16];
//! assert_eq!(stream.read(&mut buffer)?, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What it promises
//! - **One event a registration.** An interest that is registered yields exactly one event. After it, read as much or
//!   as little as you like: there is no rule to read until `WouldBlock`. What is left is reported by the next
//!   registration.
//! - **Any thread.** Register, read, write and drop on one thread while another polls; each takes effect at once.
//! - **Nothing stale.** A source that was dropped or deregistered yields no event in a poll that starts later.
//! - **Nothing blocks** but [`Poll::poll`] ([`Selector::select`]), [`TcpStream::connect`],
//!   [`TcpStream::connect_timeout`], the look-up of names, where an address may be one, and on Unix dropping a stream
//!   whose linger time somebody has set.
//!
//! # Where to find what
//! [`Poll`] waits; [`Registrator`] registers, wakes and closes, from any thread; [`TcpStream`], [`TcpListener`] and
//! [`UdpSocket`] are what can be registered. The function [`is_closed`] tells the error of a closed loop from others; the
//! method [`Registrator::is_closed`] asks whether the loop is closed now. Few programs need [`Selector`]: it is what
//! [`Poll`] is made of, and differs in one thing, how it says that the loop is closed.

// The compiler that Cargo.toml promises is not at hand everywhere; this lint holds the promise.
#![deny(clippy::incompatible_msrv)]

// The choice of the backend. The three have the same shape; everything else says `backend`.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
use epoll as backend;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
mod kqueue;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
use kqueue as backend;

// What is pure in the kqueue backend is tested on every Unix whose pointers hold a key.
#[cfg(all(
    test,
    target_pointer_width = "64",
    any(target_os = "linux", target_os = "android")
))]
mod kqueue {
    pub(crate) mod ffi;
    pub(crate) mod translate;
}

#[cfg(unix)]
mod unix;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as backend;

// The model checks of the Windows backend run anywhere: they bring the kernel along.
#[cfg(all(loom, test, unix))]
#[allow(dead_code)] // what no model calls
mod windows;

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    windows
)))]
compile_error!(
    "minimio has no event queue for this target: it knows epoll (Linux, Android), kqueue (Apple's systems, FreeBSD, \
     NetBSD, OpenBSD, DragonFly) and completion ports (Windows)"
);

mod error;
mod event;
#[cfg(not(minimio_hooks))]
mod hooks;
#[cfg(minimio_hooks)]
#[doc(hidden)]
#[allow(missing_docs)] // for this crate's own tests only
pub mod hooks;
mod interests;
mod net;
mod numbers;
mod source;
mod timeout;

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

pub use error::is_closed;
pub use event::{Event, Events};
pub use interests::{Interests, Token};
pub use net::{IntoStdError, TcpListener, TcpStream, UdpSocket};
pub use source::Source;

/// The README's program is tested as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What every backend must have, with its type: one that drifts does not compile.
const _: () = {
    use std::net::{Shutdown, SocketAddr};
    type Usize = io::Result<usize>;
    type From = io::Result<(usize, SocketAddr)>;

    let _: fn(usize) -> io::Result<backend::Selector> = backend::Selector::new;
    let _: fn(&backend::Selector) -> backend::Registrator = backend::Selector::registrator;
    let _: fn(&mut backend::Selector, &mut Events, Option<Duration>) -> Usize =
        backend::Selector::select;

    let _: fn(&backend::Registrator, Token) -> io::Result<()> = backend::Registrator::wake;
    let _: fn(&backend::Registrator) -> io::Result<()> = backend::Registrator::close_loop;
    let _: fn(&backend::Registrator) -> bool = backend::Registrator::is_closed;
    let _: fn(&backend::Registrator) -> usize = backend::Registrator::lent_bytes;

    type Register<S> = fn(&S, &backend::Registrator, Token, Interests) -> io::Result<()>;
    type Disarm<S> = fn(&S, &backend::Registrator, Interests) -> io::Result<()>;
    type TryIo<S, T> =
        fn(&S, Interests, fn(&T) -> io::Result<io::ErrorKind>) -> io::Result<io::ErrorKind>;
    let _: Register<backend::TcpStream> = backend::TcpStream::register;
    let _: Disarm<backend::TcpStream> = backend::TcpStream::disarm;
    let _: TryIo<backend::TcpStream, std::net::TcpStream> = backend::TcpStream::try_io;
    let _: Register<backend::TcpListener> = backend::TcpListener::register;
    let _: Disarm<backend::TcpListener> = backend::TcpListener::disarm;
    let _: TryIo<backend::TcpListener, std::net::TcpListener> = backend::TcpListener::try_io;
    let _: Register<backend::UdpSocket> = backend::UdpSocket::register;
    let _: Disarm<backend::UdpSocket> = backend::UdpSocket::disarm;
    let _: TryIo<backend::UdpSocket, std::net::UdpSocket> = backend::UdpSocket::try_io;

    let _: fn(&SocketAddr) -> io::Result<backend::TcpStream> =
        backend::TcpStream::connect_nonblocking;
    let _: fn(&backend::TcpStream, &mut [u8]) -> Usize = backend::TcpStream::read;
    let _: fn(&backend::TcpStream, &mut [io::IoSliceMut<'_>]) -> Usize =
        backend::TcpStream::read_vectored;
    let _: fn(&backend::TcpStream, &mut [u8]) -> Usize = backend::TcpStream::peek;
    let _: fn(&backend::TcpStream, &[u8]) -> Usize = backend::TcpStream::write;
    let _: fn(&backend::TcpStream, &[io::IoSlice<'_>]) -> Usize =
        backend::TcpStream::write_vectored;
    let _: fn(&backend::TcpStream) -> io::Result<()> = backend::TcpStream::flush;
    let _: fn(&backend::TcpStream, Shutdown) -> io::Result<()> = backend::TcpStream::shutdown;
    let _: fn(&backend::TcpStream) -> io::Result<Option<io::Error>> =
        backend::TcpStream::take_error;
    let _: fn(&backend::TcpStream, usize) = backend::TcpStream::set_lent_buffer;

    let _: fn(&backend::TcpListener) -> io::Result<(backend::TcpStream, SocketAddr)> =
        backend::TcpListener::accept;

    let _: fn(&backend::UdpSocket, &mut [u8]) -> From = backend::UdpSocket::recv_from;
    let _: fn(&backend::UdpSocket, &mut [u8]) -> From = backend::UdpSocket::peek_from;
    let _: fn(&backend::UdpSocket, &[u8], &SocketAddr) -> Usize = backend::UdpSocket::send_to;
    let _: fn(&backend::UdpSocket, &SocketAddr) -> io::Result<()> = backend::UdpSocket::connect;
    let _: fn(&backend::UdpSocket, &mut [u8]) -> Usize = backend::UdpSocket::recv;
    let _: fn(&backend::UdpSocket, &mut [u8]) -> Usize = backend::UdpSocket::peek;
    let _: fn(&backend::UdpSocket, &[u8]) -> Usize = backend::UdpSocket::send;
    let _: fn(&backend::UdpSocket, usize) = backend::UdpSocket::set_lent_buffer;
};

/// The bound on memory lent to the kernel by the sources of one `Poll`, unless another is chosen: 64 MiB.
const DEFAULT_LENT_LIMIT: usize = 64 << 20;

/// An event queue: what a thread waits on.
///
/// One thread polls; any number of others register, wake and close through clones of its [`Registrator`]. Dropping the
/// `Poll` closes the loop, as [`Registrator::close_loop`] does. Sources outlive it: reading and writing go on working.
///
/// ```
/// use minimio::{Events, Poll};
/// use std::time::Duration;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// assert_eq!(poll.poll(&mut events, Some(Duration::from_millis(5)))?, 0);
///
/// poll.registrator().wake(7)?;
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().map(|event| event.id()), Some(7));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Forking
/// Every descriptor that the crate makes is close-on-exec. After a raw `fork` the child shares the queue with its
/// parent and must not use it: it must `exec`, `_exit`, or forget (with [`std::mem::forget`]) every `Poll`,
/// `Registrator` and source that it inherited, since dropping one there takes it out of the parent's queue.
///
/// # Platform notes
/// On Unix a `Poll` has a descriptor, which is readable while something waits in the queue: another loop can wait for
/// it, and then poll with a zero time-out. It may be readable with no event to hand out.
#[derive(Debug)]
pub struct Poll {
    selector: Selector,
    registrator: Registrator,
}

impl Poll {
    /// Makes an event queue, with the default bound of 64 MiB on lent memory.
    ///
    /// # Errors
    /// The system's, when descriptors, handles or memory run out.
    ///
    /// # System calls
    /// [`epoll_create1`](https://man7.org/linux/man-pages/man2/epoll_create.2.html),
    /// [`eventfd`](https://man7.org/linux/man-pages/man2/eventfd.2.html);
    /// [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue);
    /// [`CreateIoCompletionPort`](https://learn.microsoft.com/windows/win32/fileio/createiocompletionport).
    pub fn new() -> io::Result<Poll> {
        Poll::with_lent_limit(DEFAULT_LENT_LIMIT)
    }

    /// Makes an event queue whose sources lend the kernel at most `bytes` at a time, receives and copies of sends
    /// together. Past the bound everything goes on working, with nothing lent and a system call more.
    ///
    /// # Errors
    /// As [`Poll::new`].
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere the bound is accepted and means nothing. A datagram that finds its socket
    /// full is copied also past the bound, one a socket: it cannot be sent in part.
    pub fn with_lent_limit(bytes: usize) -> io::Result<Poll> {
        let queue = backend::Selector::new(bytes)?;
        let selector = Selector { queue };
        let registrator = selector.registrator();
        Ok(Poll {
            selector,
            registrator,
        })
    }

    /// A handle for registering, waking and closing, from any thread. All of one `Poll` are alike.
    #[must_use]
    pub fn registrator(&self) -> Registrator {
        self.registrator.clone()
    }

    /// Waits until something registered comes true, somebody wakes, the loop is closed or the time is up, and fills
    /// `events`, which is cleared first. Returns the number of events; at most `events.capacity()`. What does not fit
    /// comes with the next call.
    ///
    /// `None` waits without bound and never returns 0. With a `timeout` 0 means that it ran out. It is never cut
    /// short: it is rounded up to what the system can wait, and signals neither end the wait nor lengthen it.
    /// `Some(Duration::ZERO)` does not block; a time-out beyond what the clock can express counts as `None`.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]) once the loop is closed and all that the kernel had queued by then is
    ///   handed out; from then on every time.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if `events` has capacity 0.
    ///
    /// # Platform notes
    /// Linux waits in nanoseconds from 5.11 on, in milliseconds before; kqueue in nanoseconds; Windows in
    /// milliseconds, and no finer than its clock tick, usually 15.6 ms. One call takes at most 1,024 events from the
    /// kernel, however large the batch.
    ///
    /// # System calls
    /// [`epoll_pwait2`, `epoll_wait`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html);
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent);
    /// [`GetQueuedCompletionStatusEx`](https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func).
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        loop {
            // Asked before the wait: whoever closes in between has not given the queue a last look yet.
            let was_closed = self.registrator.is_closed();
            let count = self.selector.select(events, timeout)?;
            if count > 0 {
                return Ok(count);
            }
            if was_closed {
                return Err(error::closed());
            }
            if !self.registrator.is_closed() {
                return Ok(0);
            }
        }
    }

    /// Waits as [`poll`](Poll::poll) does, until `deadline` at the latest. One that has passed does not block; `None`
    /// waits without bound.
    ///
    /// A loop that has something to do at a certain time need not compute how long that is from now:
    ///
    /// ```
    /// use minimio::{Events, Poll};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let next_tick = Instant::now() + Duration::from_millis(5);
    /// while poll.poll_until(&mut events, Some(next_tick))? > 0 {
    ///     // Handle the events.
    /// }
    /// assert!(Instant::now() >= next_tick);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`poll`](Poll::poll).
    pub fn poll_until(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        self.poll(events, deadline.map(timeout::until))
    }
}

#[cfg(unix)]
impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.selector.queue.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// The operating system's queue itself. Most programs want [`Poll`], which is made of one.
///
/// Everything said of `Poll` holds, but for the end: once the loop is closed, [`select`](Selector::select) does not
/// wait any more, and returns 0 instead of an error when the queue is empty. That suits a loop which ends for reasons of
/// its own, and wants to hand out what is left without an error to tell apart.
#[derive(Debug)]
pub struct Selector {
    queue: backend::Selector,
}

impl Selector {
    /// Makes an event queue, with the default bound of 64 MiB on lent memory.
    ///
    /// # Errors
    /// As [`Poll::new`].
    pub fn new() -> io::Result<Selector> {
        Ok(Selector {
            queue: backend::Selector::new(DEFAULT_LENT_LIMIT)?,
        })
    }

    /// A handle for registering, waking and closing, from any thread.
    #[must_use]
    pub fn registrator(&self) -> Registrator {
        Registrator {
            queue: self.queue.registrator(),
        }
    }

    /// Waits and fills `events`, as [`Poll::poll`] does. Returns 0 when the time ran out, or the loop is closed and
    /// nothing is left in the queue.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `events` has capacity 0.
    pub fn select(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        events.clear();
        if events.capacity() == 0 {
            return Err(error::no_capacity());
        }
        self.queue.select(events, timeout)
    }
}

/// Registers sources with a [`Poll`], wakes it and closes it, from any thread. Clones are cheap and all alike.
///
/// ```
/// use minimio::{Events, Interests, Poll, UdpSocket};
///
/// let mut poll = Poll::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let address = socket.local_addr()?;
/// let registrator = poll.registrator();
/// std::thread::scope(|scope| {
///     scope.spawn(|| registrator.register(&socket, 3, Interests::READABLE));
///     scope.spawn(|| std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"ping", address));
///     let mut events = Events::with_capacity(1);
///     poll.poll(&mut events, None)?;
///     assert_eq!(socket.recv_from(&mut [0; 16])?.0, 4);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registrator {
    queue: backend::Registrator,
}

impl Registrator {
    /// Arms `interests` of `source`: each of them will yield exactly one event with `token`. It takes effect at once,
    /// also on a `poll` that is blocked on another thread.
    ///
    /// A condition that already holds counts: bytes that wait, room to send, a peer that has closed. An interest that
    /// is still armed gets the new token and yields one event, not two; the other interest is not touched.
    ///
    /// A source belongs to the `Poll` it is registered with first, for life, since Windows ties a socket to one queue for
    /// good. The way to another `Poll` is a new source of the same socket, on systems that allow it: `into_std`, then
    /// `from_std` ([`TcpStream::into_std`]).
    ///
    /// # Errors
    /// Whatever was armed before stays armed, and nothing else.
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no interest, unknown bits, or `WRITABLE` on a listener.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): the source belongs to another `Poll`.
    /// - The system's, for a descriptor that it cannot watch or when its memory or its limit on watches runs out.
    ///
    /// A condition is an event and never an error here: a peer that is gone, a connect that was refused.
    ///
    /// # Platform notes
    /// On Unix registering again costs no system call while the kernel still owes the report: after a read or write
    /// that ended in `WouldBlock`, or on a stream moved fewer bytes than asked for.
    ///
    /// # System calls
    /// [`epoll_ctl`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html);
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent);
    /// [`WSARecv`](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv),
    /// [`AcceptEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex),
    /// [`ConnectEx`](https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex).
    pub fn register<S: Source + ?Sized>(
        &self,
        source: &S,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.check_open()?;
        check_interests(interests)?;
        source.register(self, token, interests)
    }

    /// Disarms `interests` of `source`, and leaves the other interest as it is. A `poll` that starts after this has
    /// returned delivers nothing for what was disarmed.
    ///
    /// Bytes that have arrived stay readable, and what was disarmed can be registered again. To disarm what is not
    /// armed does nothing.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no interest, unknown bits, or `WRITABLE` of a listener.
    /// - [`NotFound`](io::ErrorKind::NotFound): the source was never registered with this `Poll`.
    pub fn disarm<S: Source + ?Sized>(&self, source: &S, interests: Interests) -> io::Result<()> {
        self.check_open()?;
        check_interests(interests)?;
        source.disarm(self, interests)
    }

    /// Disarms both interests of `source`, as [`disarm`](Registrator::disarm) does for one. A `poll` that starts after
    /// this has returned delivers nothing for the source.
    ///
    /// Bytes that have arrived stay readable, and the source can be registered again. Dropping a source needs no
    /// `deregister`.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`NotFound`](io::ErrorKind::NotFound): it was never registered with this `Poll`.
    pub fn deregister<S: Source + ?Sized>(&self, source: &S) -> io::Result<()> {
        self.check_open()?;
        source.deregister(self)
    }

    /// Makes one `poll` return an event with `token` and no flag set.
    ///
    /// Wakes of one token that were not delivered yet may merge into one event; wakes of different tokens never do.
    /// It takes a lock, so it is not for signal handlers.
    ///
    /// # Errors
    /// The closed error (see [`is_closed`]) after the loop was closed. On Windows also the system's, when it cannot post a
    /// packet for want of memory: then nobody is woken.
    ///
    /// # System calls
    /// [`write`](https://man7.org/linux/man-pages/man2/write.2.html) to an
    /// [`eventfd`](https://man7.org/linux/man-pages/man2/eventfd.2.html), unless one is on its way already;
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent), or on NetBSD and OpenBSD `write` to a
    /// [`pipe2`](https://man.netbsd.org/pipe2.2);
    /// [`PostQueuedCompletionStatus`](https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus).
    pub fn wake(&self, token: Token) -> io::Result<()> {
        self.queue.wake(token)
    }

    /// A [`Waker`] that calls [`wake`](Registrator::wake) with `token`, and does nothing once the loop is closed. A
    /// `Waker` has no way to say that a wake failed: on Windows, one for which there is no memory is lost.
    ///
    /// Each call allocates once; clones of the `Waker` do not.
    ///
    /// ```
    /// let mut poll = minimio::Poll::new()?;
    /// let waker = poll.registrator().waker(5);
    /// std::thread::spawn(move || waker.wake());
    /// let mut events = minimio::Events::with_capacity(1);
    /// poll.poll(&mut events, None)?;
    /// assert_eq!(events.iter().next().map(|event| event.id()), Some(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn waker(&self, token: Token) -> Waker {
        Arc::new(WakeWith {
            registrator: self.clone(),
            token,
        })
        .into()
    }

    /// Closes the event loop. From the moment this returns, `register`, `disarm`, `deregister`, `wake` and a second
    /// `close_loop` fail with the closed error, on every thread. `poll`, also one that is blocked, first hands out what the
    /// kernel had queued, and then fails with it. Closing makes no event.
    ///
    /// # Errors
    /// The closed error (see [`is_closed`]) if it was closed already. On Windows also the system's, when it cannot post a
    /// packet for want of memory: then the loop is not closed.
    pub fn close_loop(&self) -> io::Result<()> {
        self.queue.close_loop()
    }

    /// Whether the loop is closed by now, by [`close_loop`](Registrator::close_loop) or by dropping the `Poll`. (To ask
    /// what an error means there is the function [`is_closed`].)
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many bytes the sources of this `Poll` have lent to the kernel at the moment.
    ///
    /// # Platform notes
    /// Only Windows lends memory: elsewhere it is 0.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.queue.lent_bytes()
    }

    pub(crate) fn backend(&self) -> &backend::Registrator {
        &self.queue
    }

    #[inline]
    fn check_open(&self) -> io::Result<()> {
        if self.is_closed() {
            return Err(error::closed());
        }
        Ok(())
    }
}

#[inline]
fn check_interests(interests: Interests) -> io::Result<()> {
    if interests.is_empty() {
        return Err(error::no_interests());
    }
    if !Interests::all().contains(interests) {
        return Err(error::unknown_interests());
    }
    Ok(())
}

/// What a [`Waker`] made by [`Registrator::waker`] holds.
struct WakeWith {
    registrator: Registrator,
    token: Token,
}

impl Wake for WakeWith {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Mostly the loop is closed, and nobody is left to wake. For anything else a `Waker` has no words.
        drop(self.registrator.wake(self.token));
    }
}
