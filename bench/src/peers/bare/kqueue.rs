//! Level-triggered kqueue, on `libc`: FreeBSD, DragonFly, Apple's systems, NetBSD and OpenBSD. Older kernels of the
//! last two have no user events, so benchmarks that wake the server cannot run there. A queue that several threads work
//! off is one-shot, since each of them would be told of the same bytes otherwise.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use super::socket::{check, Socket};
use crate::peers::{accept_all, fill, read_once, Peer, EVENTS};

#[derive(Debug)]
pub struct Bare<const AGAIN: bool> {
    set: Arc<Set>,
}

#[derive(Debug)]
pub struct Set {
    fd: OwnedFd,
    one_shot: bool,
}

impl Set {
    /// Registers a connection for reading.
    fn watch(&self, fd: RawFd, key: usize) -> io::Result<()> {
        let once = if self.one_shot { libc::EV_ONESHOT } else { 0 };
        let flags = libc::EV_ADD as u32 | once as u32;
        let change = change(fd as usize, libc::EVFILT_READ as i32, flags, 0, key);
        apply(self.fd.as_fd(), &change)
    }
}

/// What one wait has found.
#[derive(Debug)]
pub struct Batch {
    room: Vec<libc::kevent>,
    count: usize,
}

// SAFETY: the pointers in the events are keys, which are never followed.
unsafe impl Send for Batch {}

impl Batch {
    pub fn new() -> Batch {
        Batch {
            room: vec![change(0, libc::EVFILT_READ as _, 0, 0, 0); EVENTS],
            count: 0,
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = usize> + '_ {
        self.room[..self.count]
            .iter()
            .map(|event| event.udata as usize)
    }
}

/// The types of the fields differ between the systems. The filter and the flags of NetBSD have 32 bits.
fn change(ident: usize, filter: i32, flags: u32, fflags: u32, key: usize) -> libc::kevent {
    // SAFETY: it is made of numbers and a pointer, which may be zero.
    let mut change: libc::kevent = unsafe { std::mem::zeroed() };
    change.ident = ident as _;
    change.filter = filter as _;
    change.flags = flags as _;
    change.fflags = fflags;
    change.udata = key as _;
    change
}

fn apply(set: BorrowedFd<'_>, change: &libc::kevent) -> io::Result<()> {
    // SAFETY: the one change is only read, and there is no room for events.
    check(unsafe { libc::kevent(set.as_raw_fd(), change, 1, null_mut(), 0, null()) })?;
    Ok(())
}

/// Makes sure that no child process inherits the descriptor.
pub fn new_set() -> io::Result<OwnedFd> {
    // SAFETY: it takes nothing.
    let set = check(unsafe { libc::kqueue() })?;
    // SAFETY: what it gave belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(set) })
}

/// Registers a descriptor for reading, level-triggered.
pub fn watch(set: BorrowedFd<'_>, fd: RawFd, key: usize) -> io::Result<()> {
    let (ident, add) = (fd as usize, libc::EV_ADD as u32);
    apply(set, &change(ident, libc::EVFILT_READ as i32, add, 0, key))
}

pub fn wait(set: BorrowedFd<'_>, batch: &mut Batch, timeout_ms: i32) -> io::Result<()> {
    // SAFETY: it is made of numbers.
    let mut timeout: libc::timespec = unsafe { std::mem::zeroed() };
    timeout.tv_sec = (timeout_ms / 1_000) as _;
    timeout.tv_nsec = (timeout_ms % 1_000 * 1_000_000) as _;
    let timeout = if timeout_ms < 0 { null() } else { &timeout };
    let room = batch.room.len() as _;
    let events = batch.room.as_mut_ptr();
    // SAFETY: there is room for as many events as said.
    let count = unsafe { libc::kevent(set.as_raw_fd(), null(), 0, events, room, timeout) };
    batch.count = check(count)? as usize;
    Ok(())
}

/// A connection that waits, non-blocking and not inherited by children.
#[cfg(not(target_vendor = "apple"))]
fn accept(listener: &TcpListener) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no address is asked for.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), flags) };
    // SAFETY: a new descriptor belongs to nobody else.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The same on systems where this takes a second call. The connection is non-blocking because its listener is.
#[cfg(target_vendor = "apple")]
fn accept(listener: &TcpListener) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for.
    let fd = check(unsafe { libc::accept(listener.as_raw_fd(), null_mut(), null_mut()) })?;
    // SAFETY: a new descriptor belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(fd, libc::FIOCLEX) })?;
    Ok(socket)
}

impl<const AGAIN: bool> Peer for Bare<AGAIN> {
    const NAME: &'static str = if AGAIN { "bare-again" } else { "bare" };

    type Events = Batch;
    type Stream = Socket;
    type Listener = TcpListener;
    type Waker = (Arc<Set>, usize);
    type Remote = Arc<Set>;

    fn new() -> io::Result<Self> {
        let (fd, one_shot) = (new_set()?, false);
        Ok(Bare {
            set: Arc::new(Set { fd, one_shot }),
        })
    }

    fn shared() -> io::Result<Self> {
        let (fd, one_shot) = (new_set()?, true);
        Ok(Bare {
            set: Arc::new(Set { fd, one_shot }),
        })
    }

    fn events() -> Batch {
        Batch::new()
    }

    fn wait(&mut self, events: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_millis() as i32);
        wait(self.set.fd.as_fd(), events, timeout_ms)
    }

    fn keys(events: &Batch) -> impl Iterator<Item = usize> + '_ {
        events.keys()
    }

    fn wrap(stream: TcpStream) -> io::Result<Socket> {
        Ok(Socket(stream.into()))
    }

    fn adopt(&self, stream: &mut Socket, key: usize) -> io::Result<()> {
        self.set.watch(stream.0.as_raw_fd(), key)
    }

    fn release(&self, stream: Socket) -> io::Result<TcpStream> {
        let (ident, delete) = (stream.0.as_raw_fd() as usize, libc::EV_DELETE as u32);
        let change = change(ident, libc::EVFILT_READ as i32, delete, 0, 0);
        apply(self.set.fd.as_fd(), &change)?;
        Ok(stream.0.into())
    }

    fn close(&self, stream: Socket) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    fn handle(
        set: &Arc<Set>,
        stream: &mut Socket,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&Socket, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let open = read_once(stream, buffer, sink)?;
        if set.one_shot && open {
            Self::rearm(set, stream, key)?;
        }
        Ok(open)
    }

    fn adopt_sender(&self, stream: &mut Socket, key: usize) -> io::Result<()> {
        let (ident, add) = (stream.0.as_raw_fd() as usize, libc::EV_ADD as u32);
        let change = change(ident, libc::EVFILT_WRITE as i32, add, 0, key);
        apply(self.set.fd.as_fd(), &change)
    }

    fn send(
        &self,
        stream: &mut Socket,
        _key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize> {
        fill(stream, chunk, left, true)
    }

    fn listen(&self, listener: TcpListener, key: usize) -> io::Result<TcpListener> {
        watch(self.set.fd.as_fd(), listener.as_raw_fd(), key)?;
        Ok(listener)
    }

    fn acceptable(
        &self,
        listener: &mut TcpListener,
        _key: usize,
        mut accepted: impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<()> {
        accept_all(|| accept(listener).map(Socket), &mut accepted)
    }

    /// A user event, which is edge-triggered.
    fn waker(&self, key: usize) -> io::Result<Self::Waker> {
        let flags = libc::EV_ADD as u32 | libc::EV_CLEAR as u32;
        let change = change(key, libc::EVFILT_USER as i32, flags, 0, key);
        apply(self.set.fd.as_fd(), &change)?;
        Ok((Arc::clone(&self.set), key))
    }

    fn wake((set, key): &Self::Waker) -> io::Result<()> {
        let trigger = libc::NOTE_TRIGGER as u32;
        let change = change(*key, libc::EVFILT_USER as i32, 0, trigger, *key);
        apply(set.fd.as_fd(), &change)
    }

    fn remote(&self) -> io::Result<Arc<Set>> {
        Ok(Arc::clone(&self.set))
    }

    fn own(&self) -> &Arc<Set> {
        &self.set
    }

    /// A level-triggered queue never needs this. It is here to measure the cost of one call.
    fn rearm(set: &Arc<Set>, stream: &mut Socket, key: usize) -> io::Result<()> {
        set.watch(stream.0.as_raw_fd(), key)
    }
}
