//! Level-triggered epoll, on `libc`. A set that several threads work off is one-shot, since each of them would be told of
//! the same bytes otherwise.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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
    /// The bits with which connections are registered.
    fn bits(&self) -> i32 {
        match self.one_shot {
            false => libc::EPOLLIN,
            true => libc::EPOLLIN | libc::EPOLLONESHOT,
        }
    }
}

/// What one wait has found.
#[derive(Debug)]
pub struct Batch {
    room: Vec<libc::epoll_event>,
    count: usize,
}

impl Batch {
    pub fn new() -> Batch {
        Batch {
            room: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            count: 0,
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = usize> + '_ {
        self.room[..self.count]
            .iter()
            .map(|event| event.u64 as usize)
    }
}

pub fn new_set() -> io::Result<OwnedFd> {
    // SAFETY: it takes a number, and what it gives belongs to nobody else.
    unsafe {
        let set = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(set))
    }
}

/// Registers a descriptor for reading, level-triggered.
pub fn watch(set: BorrowedFd<'_>, fd: RawFd, key: usize) -> io::Result<()> {
    control(set, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, key)
}

fn control(
    set: BorrowedFd<'_>,
    operation: i32,
    fd: RawFd,
    bits: i32,
    key: usize,
) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: bits as u32,
        u64: key as u64,
    };
    // SAFETY: the event is only read.
    check(unsafe { libc::epoll_ctl(set.as_raw_fd(), operation, fd, &mut event) })?;
    Ok(())
}

pub fn wait(set: BorrowedFd<'_>, batch: &mut Batch, timeout_ms: i32) -> io::Result<()> {
    let room = batch.room.len() as i32;
    // SAFETY: there is room for as many events as said.
    let count =
        unsafe { libc::epoll_wait(set.as_raw_fd(), batch.room.as_mut_ptr(), room, timeout_ms) };
    batch.count = check(count)? as usize;
    Ok(())
}

impl<const AGAIN: bool> Peer for Bare<AGAIN> {
    const NAME: &'static str = if AGAIN { "bare-again" } else { "bare" };

    type Events = Batch;
    type Stream = Socket;
    type Listener = TcpListener;
    type Waker = Arc<OwnedFd>;
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
        let (set, fd) = (self.set.fd.as_fd(), stream.0.as_raw_fd());
        control(set, libc::EPOLL_CTL_ADD, fd, self.set.bits(), key)
    }

    #[cfg(not(windows))]
    fn release(&self, stream: Socket) -> io::Result<TcpStream> {
        let fd = stream.0.as_raw_fd();
        control(self.set.fd.as_fd(), libc::EPOLL_CTL_DEL, fd, 0, 0)?;
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
        let (set, fd) = (self.set.fd.as_fd(), stream.0.as_raw_fd());
        control(set, libc::EPOLL_CTL_ADD, fd, libc::EPOLLOUT, key)
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
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        accept_all(
            // SAFETY: no address is asked for, and a new descriptor belongs to nobody else.
            || unsafe {
                let fd = libc::accept4(
                    listener.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    flags,
                );
                check(fd).map(|fd| Socket(OwnedFd::from_raw_fd(fd)))
            },
            &mut accepted,
        )
    }

    /// An eventfd that is edge-triggered and never read.
    fn waker(&self, key: usize) -> io::Result<Arc<OwnedFd>> {
        // SAFETY: it takes numbers, and what it gives belongs to nobody else.
        let waker = unsafe {
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
            OwnedFd::from_raw_fd(check(libc::eventfd(0, flags))?)
        };
        let bits = libc::EPOLLIN | libc::EPOLLET;
        let set = self.set.fd.as_fd();
        control(set, libc::EPOLL_CTL_ADD, waker.as_raw_fd(), bits, key)?;
        Ok(Arc::new(waker))
    }

    fn wake(waker: &Arc<OwnedFd>) -> io::Result<()> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the 8 bytes are there.
        let written = unsafe { libc::write(waker.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if written != 8 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn remote(&self) -> io::Result<Arc<Set>> {
        Ok(Arc::clone(&self.set))
    }

    fn own(&self) -> &Arc<Set> {
        &self.set
    }

    /// A level-triggered queue never needs this. It is here to measure the cost of one call.
    fn rearm(set: &Arc<Set>, stream: &mut Socket, key: usize) -> io::Result<()> {
        let fd = stream.0.as_raw_fd();
        control(set.fd.as_fd(), libc::EPOLL_CTL_MOD, fd, set.bits(), key)
    }
}
