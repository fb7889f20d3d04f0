//! A minimal event queue, the same on every platform: I/O completion ports on Windows, epoll on Linux and Android,
//! kqueue on macOS, iOS and the BSDs.
//!
//! Register a source under a token, poll, and get one event for it; then read or write, and register again.
//!
//! ```
//! use minimio::{Events, Interests, Poll};
//! use std::io::{Read, Write};
//!
//! let (mut reader, mut writer) = minimio::pipe()?;
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(64);
//! poll.registrator().register(&reader, 7, Interests::READABLE)?;
//! writer.write_all(b"hello")?;
//! assert_eq!(poll.poll(&mut events, None)?, 1);
//! assert_eq!(events.iter().next().map(|event| event.id()), Some(7));
//! assert_eq!(reader.read(&mut [0; 16])?, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A source is what can be waited for, such as a socket or a pipe. A [`Poll`] waits. A [`Registrator`] registers sources
//! with it, wakes it and closes it, from any thread. An interest ([`Interests`]) says what to wait for. A token is a number
//! of your own, which the event ([`Event::id`]) gives back.
//!
//! The guide in `docs/guide` of the repository explains event queues from the beginning, and `docs/contract.md` lists every
//! promise of this crate.
//!
//! # What it promises
//! - **One event for each registration.** An interest that is registered yields exactly one event. After it, read as
//!   much or as little as you like: you need not read until `WouldBlock`. The next registration reports what is left.
//! - **Any thread.** One thread may register, read, write and drop while another polls. Each call takes effect at once.
//! - **Nothing stale.** A poll that starts after a source was dropped or deregistered hands out no event of it.
//! - **Nothing blocks** except [`Poll::poll`] and [`Selector::select`], [`TcpStream::connect`] and
//!   [`TcpStream::connect_timeout`], calls that have to look up a name (of a host, or of a pipe on another machine), on
//!   Unix the drop of a stream that was given a linger time, and the calls of a [`Descriptor`](os::unix::Descriptor) whose
//!   thing blocks.
//!
//! # From here to each source
//! **A server**: a [`TcpListener`] is readable when somebody has connected, and each [`TcpStream`] when bytes or the end
//! have come.
//!
//! ```
//! use minimio::{Events, Interests, Poll, TcpListener};
//! use std::io::{Read, Write};
//!
//! let mut poll = Poll::new()?;
//! let registrator = poll.registrator();
//! let mut events = Events::with_capacity(64);
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! registrator.register(&listener, 0, Interests::READABLE)?;
//! let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! client.write_all(b"hello")?;
//!
//! let mut streams = Vec::new();
//! 'serving: loop {
//!     poll.poll(&mut events, None)?;
//!     for event in &events {
//!         if event.id() == 0 {
//!             let (stream, _) = listener.accept()?;
//!             streams.push(stream);
//!             registrator.register(&streams[streams.len() - 1], streams.len(), Interests::READABLE)?;
//!             registrator.register(&listener, 0, Interests::READABLE)?; // for the next client
//!         } else {
//!             assert_eq!(streams[event.id() - 1].read(&mut [0; 16])?, 5);
//!             break 'serving;
//!         }
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! **A client**: [`TcpStream::connect_nonblocking`] begins to connect. The stream is writable once it is connected or the
//! connect has failed, and [`TcpStream::take_error`] says which.
//!
//! **A child process**: its output is a [`PipeReader`], its end a [`ChildExit`].
//!
//! ```
//! use minimio::{ChildExit, Events, Interests, PipeReader, Poll};
//! use std::io::Read;
//! use std::process::Command;
//!
//! let mut poll = Poll::new()?;
//! let registrator = poll.registrator();
//! let mut events = Events::with_capacity(64);
//! let (mut output, stdout) = PipeReader::with_stdio()?;
//! # #[cfg(windows)]
//! # let mut child = Command::new("cmd.exe").args(["/c", "echo hello"]).stdout(stdout).spawn()?;
//! # #[cfg(unix)]
//! let mut child = Command::new("echo").arg("hello").stdout(stdout).spawn()?;
//! let exit = ChildExit::new(&mut child)?;
//! registrator.register(&output, 1, Interests::READABLE)?;
//! registrator.register(&exit, 2, Interests::READABLE)?;
//!
//! let (mut text, mut has_closed, mut has_ended) = (Vec::new(), false, false);
//! while !has_closed || !has_ended {
//!     poll.poll(&mut events, None)?;
//!     for event in &events {
//!         if event.id() == 2 {
//!             has_ended = true;
//!             continue;
//!         }
//!         let mut bytes = [0; 64];
//!         let count = output.read(&mut bytes)?;
//!         text.extend(&bytes[..count]);
//!         has_closed = count == 0;
//!         if !has_closed {
//!             registrator.register(&output, 1, Interests::READABLE)?;
//!         }
//!     }
//! }
//! assert!(child.wait()?.success());
//! assert!(text.starts_with(b"hello"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | source | readable when | writable when | where |
//! | --- | --- | --- | --- |
//! | [`TcpStream`] | bytes, the end or a failure are there | it has connected, and there is room | everywhere |
//! | [`TcpListener`] | somebody has connected | - | everywhere |
//! | [`UdpSocket`] | a datagram has come | there is room | everywhere |
//! | [`PipeReader`], [`PipeWriter`] | bytes or the end are there | there is room, or nobody reads | everywhere |
//! | [`ChildExit`] | the process has ended | - | all but Android; Linux from 5.3 on |
//! | [`UnixStream`](os::unix::UnixStream), [`UnixListener`](os::unix::UnixListener), [`UnixDatagram`](os::unix::UnixDatagram) | as their namesakes above | as their namesakes above | Unix |
//! | [`Descriptor`](os::unix::Descriptor) | what its manual page says: terminals, timers, signals, inotify, sockets of other libraries, another `Poll` | the same | Unix |
//! | `os::windows::NamedPipe` | bytes, the end or a failure are there; a server's pipe also when a client has come | there is room | Windows |
//! | `os::windows::Waitable` | the handle is signalled: a process, a thread, an event, a semaphore, a timer | - | Windows |
//!
//! For what is no source, another thread does the work and calls [`Registrator::wake`]. A timer is a time that is passed to
//! [`Poll::poll_until`].
//!
//! # Who sets which hint
//! An event says which interest has fired. What else the system has said comes as hints. Each may be missing, and none is
//! ever false. To be sure of an end or a failure, read or write. ([`Event`] has the same by system call.)
//!
//! | hint | who sets it |
//! | --- | --- |
//! | [`is_read_closed`](Event::is_read_closed) | streams, readers of pipes, named pipes and descriptors, when the other end has closed or shut down its sending side, and after `shutdown(Read)` |
//! | [`is_write_closed`](Event::is_write_closed) | the same and writers of pipes: on Linux when both directions have ended, on kqueue systems when nothing can be sent any more, on Windows when a send has failed |
//! | [`is_error`](Event::is_error) | anything that has failed: a connect, a connection that was reset, a UDP socket whose peer is unreachable, on Linux also a pipe that nobody reads |
//! | [`is_priority`](Event::is_priority) | on Linux and Android a TCP stream with urgent data, and a descriptor with what its manual page calls exceptional |
//! | none | a wake, a [`ChildExit`], an `os::windows::Waitable` |
//!
//! # Other things to know
//! The function [`is_closed`] tells the error of a closed loop from other errors. The method [`Registrator::is_closed`]
//! asks whether the loop is closed now. Few programs need [`Selector`]. It is the queue inside a [`Poll`], and differs
//! from it in one thing: how it says that the loop is closed.

// Not every machine has the oldest compiler that Cargo.toml promises. This lint checks the promise there.
#![deny(clippy::incompatible_msrv)]

// The choice of the backend. All three have the same shape, and all other code calls the chosen one `backend`.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
use epoll as backend;

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod kqueue;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
use kqueue as backend;

// The part of the kqueue backend that makes no system call has unit tests that run on Linux, too. They need pointers of
// 64 bits, because a key of the backend is as long as a pointer.
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

// The model checks of the Windows backend run on Unix: they play the kernel of Windows themselves.
#[cfg(all(loom, test, unix))]
#[allow(dead_code)] // The models do not call everything.
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

mod child;
mod error;
mod event;
#[cfg(not(minimio_hooks))]
mod hooks;
#[cfg(minimio_hooks)]
#[doc(hidden)]
#[allow(missing_docs)] // Only this crate's own tests use it.
pub mod hooks;
mod interests;
mod net;
mod numbers;
pub mod os;
mod pipe;
mod source;
mod timeout;

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

pub use child::ChildExit;
pub use error::is_closed;
pub use event::{Event, Events};
pub use interests::{Interests, Token};
pub use net::{IntoStdError, TcpListener, TcpStream, UdpSocket};
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use source::Source;

/// Tests the program in the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Tests the recipes in the same way.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes/everywhere.md")]
#[cfg_attr(unix, doc = include_str!("../docs/recipes/unix.md"))]
#[cfg_attr(target_os = "linux", doc = include_str!("../docs/recipes/linux.md"))]
struct Recipes;

/// Tests the chapters of the guide, one struct for each, so that `cargo test --doc Guide3` tests the third alone.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/1-blocking.md")]
struct Guide1;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/2-readiness-and-completion.md")]
struct Guide2;

#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../docs/guide/3-a-read-through-epoll.md")]
struct Guide3;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/4-what-kqueue-does-otherwise.md")]
struct Guide4;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/5-a-read-through-a-completion-port.md")]
struct Guide5;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/6-waking-closing-time.md")]
struct Guide6;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/7-an-async-runtime.md")]
struct Guide7;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/8-choosing-and-moving.md")]
struct Guide8;

/// The shape of a backend: what each must have, with its type. A backend that lacks an item does not compile.
const _: () = {
    use backend::{ChildExit, PipeReader, PipeWriter};
    use backend::{Registrator, Selector, TcpListener, TcpStream, UdpSocket};
    use std::net::{self, Shutdown, SocketAddr};
    use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
    type Done = io::Result<()>;
    type Count = io::Result<usize>;
    type CountAndPeer = io::Result<(usize, SocketAddr)>;
    type Register<S> = fn(&S, &Registrator, Token, Interests) -> Done;
    type Disarm<S> = fn(&S, &Registrator, Interests) -> Done;
    type Call<T> = fn(&T) -> Count;
    type TryIo<S, T> = fn(&S, Interests, Call<T>) -> Count;

    let _: fn(usize) -> io::Result<Selector> = Selector::new;
    let _: fn(&Selector) -> Registrator = Selector::registrator;
    let _: fn(&mut Selector, &mut Events, Option<Duration>) -> Count = Selector::select;

    let _: fn(&Registrator, Token) -> Done = Registrator::wake;
    let _: fn(&Registrator) -> Done = Registrator::close_loop;
    let _: fn(&Registrator) -> bool = Registrator::is_closed;
    let _: fn(&Registrator) -> usize = Registrator::lent_bytes;

    let _: Register<TcpStream> = TcpStream::register;
    let _: Disarm<TcpStream> = TcpStream::disarm;
    let _: TryIo<TcpStream, net::TcpStream> = TcpStream::try_io;
    let _: fn(&SocketAddr) -> io::Result<TcpStream> = TcpStream::connect_nonblocking;
    let _: fn(&TcpStream, &mut [u8]) -> Count = TcpStream::read;
    let _: fn(&TcpStream, &mut [io::IoSliceMut<'_>]) -> Count = TcpStream::read_vectored;
    let _: fn(&TcpStream, &mut [u8]) -> Count = TcpStream::peek;
    let _: fn(&TcpStream, &[u8]) -> Count = TcpStream::write;
    let _: fn(&TcpStream, &[io::IoSlice<'_>]) -> Count = TcpStream::write_vectored;
    let _: fn(&TcpStream) -> Done = TcpStream::flush;
    let _: fn(&TcpStream, Shutdown) -> Done = TcpStream::shutdown;
    let _: fn(&TcpStream) -> io::Result<Option<io::Error>> = TcpStream::take_error;
    let _: fn(&TcpStream, usize) = TcpStream::set_lent_buffer;

    let _: Register<TcpListener> = TcpListener::register;
    let _: Disarm<TcpListener> = TcpListener::disarm;
    let _: TryIo<TcpListener, net::TcpListener> = TcpListener::try_io;
    let _: fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)> = TcpListener::accept;

    let _: Register<UdpSocket> = UdpSocket::register;
    let _: Disarm<UdpSocket> = UdpSocket::disarm;
    let _: TryIo<UdpSocket, net::UdpSocket> = UdpSocket::try_io;
    let _: fn(&UdpSocket, &mut [u8]) -> CountAndPeer = UdpSocket::recv_from;
    let _: fn(&UdpSocket, &mut [u8]) -> CountAndPeer = UdpSocket::peek_from;
    let _: fn(&UdpSocket, &[u8], &SocketAddr) -> Count = UdpSocket::send_to;
    let _: fn(&UdpSocket, &SocketAddr) -> Done = UdpSocket::connect;
    let _: fn(&UdpSocket, &mut [u8]) -> Count = UdpSocket::recv;
    let _: fn(&UdpSocket, &mut [u8]) -> Count = UdpSocket::peek;
    let _: fn(&UdpSocket, &[u8]) -> Count = UdpSocket::send;
    let _: fn(&UdpSocket, usize) = UdpSocket::set_lent_buffer;

    // An end of a pipe may be what it points to.
    let _: fn() -> io::Result<(PipeReader, PipeWriter)> = backend::pipe;
    let _: fn() -> io::Result<(PipeReader, Stdio)> = PipeReader::with_stdio;
    let _: fn(ChildStdout) -> PipeReader = PipeReader::from;
    let _: fn(ChildStderr) -> PipeReader = PipeReader::from;
    let _: Register<PipeReader> = |end, with, token, what| end.register(with, token, what);
    let _: Disarm<PipeReader> = |end, with, what| end.disarm(with, what);
    let _: fn(&PipeReader, usize) = |end, bytes| end.set_lent_buffer(bytes);
    let _: fn() -> io::Result<(PipeWriter, Stdio)> = PipeWriter::with_stdio;
    let _: fn(ChildStdin) -> PipeWriter = PipeWriter::from;
    let _: Register<PipeWriter> = |end, with, token, what| end.register(with, token, what);
    let _: Disarm<PipeWriter> = |end, with, what| end.disarm(with, what);

    let _: fn(&mut Child) -> io::Result<ChildExit> = ChildExit::of;
    let _: Register<ChildExit> = ChildExit::register;
    let _: Disarm<ChildExit> = ChildExit::disarm;
};

/// How much memory the sources of one `Poll` lend to the kernel at most, unless the user chooses another bound: 64 MiB.
const DEFAULT_LENT_LIMIT: usize = 64 << 20;

/// An event queue: what a thread waits on.
///
/// One thread polls. Any number of other threads register, wake and close through clones of its [`Registrator`].
/// Dropping the `Poll` closes the loop, as [`Registrator::close_loop`] does. Reading and writing on its sources go on
/// working after that.
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
/// parent and must not use it. The child must `exec`, `_exit`, or forget (with [`std::mem::forget`]) every `Poll`,
/// `Registrator` and source that it inherited, since dropping one there takes it out of the parent's queue.
///
/// # Platform notes
/// On Unix a `Poll` has a descriptor, which is readable while something waits in the queue. So another loop can wait
/// for that descriptor, and then poll with a zero time-out. It may be readable although there is no event to hand out.
#[derive(Debug)]
pub struct Poll {
    selector: Selector,
    registrator: Registrator,
}

impl Poll {
    /// Makes an event queue whose sources lend the kernel at most 64 MiB.
    ///
    /// # Errors
    /// Those of the system, if descriptors, handles or memory run out.
    ///
    /// # System calls
    /// [`epoll_create1`](https://man7.org/linux/man-pages/man2/epoll_create.2.html),
    /// [`eventfd`](https://man7.org/linux/man-pages/man2/eventfd.2.html);
    /// [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue);
    /// [`CreateIoCompletionPort`](https://learn.microsoft.com/windows/win32/fileio/createiocompletionport).
    pub fn new() -> io::Result<Poll> {
        Poll::with_lent_limit(DEFAULT_LENT_LIMIT)
    }

    /// Makes an event queue whose sources lend the kernel at most `bytes` at a time. The bound counts the memory of
    /// receives and the copies of sends together. Once it is reached everything goes on working: receives lend nothing,
    /// and each costs one system call more.
    ///
    /// # Errors
    /// As [`Poll::new`].
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere the bound is accepted and means nothing. A datagram cannot be sent in part.
    /// So a datagram that finds its socket full is copied although the bound is reached, one for each socket.
    pub fn with_lent_limit(bytes: usize) -> io::Result<Poll> {
        let queue = backend::Selector::new(bytes)?;
        let selector = Selector { queue };
        let registrator = selector.registrator();
        Ok(Poll {
            selector,
            registrator,
        })
    }

    /// A handle for registering, waking and closing, from any thread. All handles of one `Poll` do the same.
    #[must_use]
    pub fn registrator(&self) -> Registrator {
        self.registrator.clone()
    }

    /// Clears `events`, waits until a registered condition holds, somebody calls `wake`, the loop is closed or the time
    /// is up, and fills `events`. Returns the number of events, which is at most `events.capacity()`. What does not fit
    /// comes with the next call.
    ///
    /// `None` waits without end and never returns 0. With a `timeout`, 0 means that the time ran out. The time-out
    /// never ends early: it is rounded up to the unit in which the system waits, and signals neither end the wait nor
    /// lengthen it. `Some(Duration::ZERO)` does not block. A time-out that the clock cannot express counts as `None`.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]), once the loop is closed and everything that the kernel had queued by
    ///   then was handed out. From then on every call fails with it.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if `events` has capacity 0.
    ///
    /// # Platform notes
    /// Linux waits in nanoseconds from 5.11 on, and in milliseconds before; kqueue waits in nanoseconds. Windows waits
    /// in milliseconds, and no finer than its clock tick, usually 15.6 ms. One call takes at most 1,024 events from the
    /// kernel, however large the batch is. On Windows a loop that gets one event at a time may get the first ones of a
    /// crowd one at a time, too; a call with `Some(Duration::ZERO)` gets all that fit.
    ///
    /// # System calls
    /// [`epoll_pwait2`, `epoll_wait`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html);
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent);
    /// [`GetQueuedCompletionStatusEx`](https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func).
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let Poll {
            selector,
            registrator,
        } = self;
        select_or_closed(
            || registrator.is_closed(),
            || selector.select(events, timeout),
        )
    }

    /// Waits as [`poll`](Poll::poll) does, until `deadline` at the latest. A deadline that has passed does not block,
    /// and `None` waits without end.
    ///
    /// A loop that has something to do at a certain time need not compute how far off that time is:
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

/// What a [`Poll`] adds to its queue: it fails once the loop is closed and a look that began after the close has found
/// nothing.
#[inline]
fn select_or_closed(
    is_closed: impl Fn() -> bool,
    mut select: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        // This is asked before the wait. If somebody closes the loop during the wait, the queue gets one more look, so
        // that everything which the kernel had queued before the close is handed out.
        let was_closed = is_closed();
        let count = select()?;
        if count > 0 {
            return Ok(count);
        }
        if was_closed {
            return Err(error::closed());
        }
        if !is_closed() {
            return Ok(0);
        }
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

/// The operating system's queue itself. Most programs want [`Poll`], which contains one.
///
/// It does what a `Poll` does, except at the end: once the loop is closed, [`select`](Selector::select) does not wait
/// any more, and returns 0 instead of an error when the queue is empty. That suits a loop that knows by itself when it
/// ends, and wants to handle what is left without treating an error.
#[derive(Debug)]
pub struct Selector {
    queue: backend::Selector,
}

impl Selector {
    /// Makes an event queue whose sources lend the kernel at most 64 MiB.
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

    /// Waits and fills `events`, as [`Poll::poll`] does. Returns 0 if the time ran out, or if the loop is closed and
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

/// Registers sources with a [`Poll`], wakes it and closes it, from any thread. Cloning it is cheap.
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
    pub(crate) queue: backend::Registrator,
}

impl Registrator {
    /// Arms `interests` of `source`: each of them will yield exactly one event with `token`. It takes effect at once,
    /// also for a `poll` that is blocked on another thread.
    ///
    /// A condition that already holds counts: bytes that wait, room to send, a peer that has closed. An interest that
    /// is still armed gets the new token and yields one event, not two. The other interest is not touched.
    ///
    /// A source belongs to the first `Poll` that it is registered with, for as long as it lives, since Windows ties a
    /// socket to one queue for good. On other systems its socket can go to another `Poll` as a new source: call
    /// `into_std`, then `from_std` (see [`TcpStream::into_std`]). On Windows it can only come back to the same `Poll`, and
    /// each of its operations costs more from then on: an event and a wait of the system's thread pool.
    ///
    /// # Errors
    /// After an error exactly that is armed which was armed before.
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no interest, unknown bits, or `WRITABLE` on a listener.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): the source belongs to another `Poll`.
    /// - Those of the system, for a descriptor that it cannot watch, or if its memory or its limit on watches runs out.
    ///
    /// A peer that is gone, or a connect that was refused, is not an error of this call. It is an event.
    ///
    /// # Platform notes
    /// On Unix registering again costs no system call after a read or write that ended in `WouldBlock`, or that moved
    /// fewer bytes of a TCP stream than asked for: the kernel will then report the next change without being asked.
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
        source.register(self, token, interests)
    }

    /// Disarms `interests` of `source`, and leaves the other interest as it is. A `poll` that starts after this has
    /// returned hands out no event of what was disarmed.
    ///
    /// Bytes that have arrived stay readable, and what was disarmed can be registered again. Disarming what is not
    /// armed does nothing.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no interest, unknown bits, or `WRITABLE` on a listener.
    /// - [`NotFound`](io::ErrorKind::NotFound): the source was never registered with this `Poll`.
    pub fn disarm<S: Source + ?Sized>(&self, source: &S, interests: Interests) -> io::Result<()> {
        self.check_open()?;
        source.disarm(self, interests)
    }

    /// Disarms both interests of `source`, as [`disarm`](Registrator::disarm) does for one. A `poll` that starts after
    /// this has returned hands out no event of the source.
    ///
    /// Bytes that have arrived stay readable, and the source can be registered again. Dropping a source needs no
    /// `deregister`.
    ///
    /// # Errors
    /// - The closed error (see [`is_closed`]) after the loop was closed.
    /// - [`NotFound`](io::ErrorKind::NotFound): the source was never registered with this `Poll`.
    pub fn deregister<S: Source + ?Sized>(&self, source: &S) -> io::Result<()> {
        self.check_open()?;
        source.deregister(self)
    }

    /// Makes one `poll` return an event with `token` and no flag set.
    ///
    /// Wakes of one token that were not delivered yet may merge into one event. Wakes of different tokens never do.
    /// The call takes a lock, so signal handlers must not make it.
    ///
    /// # Errors
    /// The closed error (see [`is_closed`]) after the loop was closed. On Windows also an error of the system, if it
    /// has no memory for a packet; nobody is woken then.
    ///
    /// # System calls
    /// [`write`](https://man7.org/linux/man-pages/man2/write.2.html) to an
    /// [`eventfd`](https://man7.org/linux/man-pages/man2/eventfd.2.html), unless an earlier wake is still on its way;
    /// [`kevent`](https://man.freebsd.org/cgi/man.cgi?query=kevent), or on NetBSD and OpenBSD `write` to a
    /// [`pipe2`](https://man.netbsd.org/pipe2.2);
    /// [`PostQueuedCompletionStatus`](https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus).
    pub fn wake(&self, token: Token) -> io::Result<()> {
        self.queue.wake(token)
    }

    /// A [`Waker`] that calls [`wake`](Registrator::wake) with `token`, and does nothing once the loop is closed. A
    /// `Waker` cannot report that a wake failed, so on Windows a wake for which the system has no memory is lost.
    ///
    /// Each call of this method allocates once. Cloning the `Waker` does not allocate.
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
    /// `close_loop` fail with the closed error, on every thread. `poll`, also one that is blocked, first hands out what
    /// the kernel had queued, and then fails with the closed error. Closing makes no event.
    ///
    /// # Errors
    /// The closed error (see [`is_closed`]) if the loop was closed already. On Windows also an error of the system, if
    /// it has no memory for a packet; the loop is not closed then.
    pub fn close_loop(&self) -> io::Result<()> {
        self.queue.close_loop()
    }

    /// Whether the loop is closed now, by [`close_loop`](Registrator::close_loop) or by dropping the `Poll`. (Whether
    /// an error comes from a closed loop is told by the function [`is_closed`].)
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many bytes the sources of this `Poll` have lent to the kernel at the moment.
    ///
    /// # Platform notes
    /// Only Windows lends memory. Elsewhere this is always 0.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.queue.lent_bytes()
    }

    #[inline]
    fn check_open(&self) -> io::Result<()> {
        if self.is_closed() {
            return Err(error::closed());
        }
        Ok(())
    }
}

/// The descriptor of the queue, as [`Poll`] has it. It stays open as long as the registrator lives.
#[cfg(unix)]
impl AsFd for Registrator {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
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
        // If the loop is closed, nobody is left to wake. A `Waker` has no way to report any other error.
        drop(self.registrator.wake(self.token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_event_that_is_queued_right_before_the_close_is_handed_out() {
        // The first look finds nothing. Right after it an event is queued and the loop is closed.
        let closed = Cell::new(false);
        let mut looks = [0, 1, 0].into_iter();
        let mut poll = || {
            let look = || {
                closed.set(true);
                Ok(looks
                    .next()
                    .expect("the loop goes on although it is closed"))
            };
            select_or_closed(|| closed.get(), look)
        };
        assert!(matches!(poll(), Ok(1)));
        assert!(poll().is_err_and(|error| is_closed(&error)));
    }

    #[test]
    fn a_poll_whose_time_is_up_returns_nothing_while_the_loop_is_open() {
        assert!(matches!(select_or_closed(|| false, || Ok(0)), Ok(0)));
    }
}
