//! `TcpStream`, `TcpListener` and `UdpSocket` on Unix: `std`'s sockets, made non-blocking, with the state machine told
//! how each call ended.
//!
//! **The idea.** A call that moves data is made straight on the socket, whatever any poll is doing. Its end is a fact
//! about the kernel: `WouldBlock` means that the kernel owes a report, and so does a stream's short read or write.
//! [`Source`] turns ends into facts, in one place.
//!
//! **The price.** A source is one allocation (the table of its queue points to it) and a handle is a pointer.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

use crate::backend::{Registrator, System};
use crate::faults::{fault, granted, within, within_mut, Call};
use crate::interests::{Interests, Token};
use crate::unix::queue::{Home, Joining, System as _, Watched};
use crate::unix::readiness::{Direction, Kind, Readiness};
use crate::unix::{self, ffi};

/// The most bytes that are handed to one call: systems cut off more (Linux just below 2 GiB), and what they cut must
/// not look like a short read.
const MOST_BYTES: usize = 1 << 30;

/// Which fault can hit a call in that direction.
fn moving(direction: Direction) -> Call {
    match direction {
        Direction::Read => Call::Receive,
        Direction::Write => Call::Send,
    }
}

/// A socket and what is known of it.
#[derive(Debug)]
struct Source<S> {
    socket: S,
    readiness: Readiness,
    home: Home<System>,
}

impl<S: AsFd> Source<S> {
    /// Makes a call that moves bytes of a stream, with room for `room` of them.
    fn transfer(
        &self,
        direction: Direction,
        room: usize,
        call: impl FnOnce(&S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let tick = self.readiness.tick(direction);
        let result = fault(moving(direction))
            .and_then(|()| call(&self.socket))
            .map_err(|error| self.meant(error));
        match &result {
            Ok(moved) if (1..room).contains(moved) => {
                self.readiness.moved_short(direction, tick, *moved)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readiness.would_block(direction, tick)
            }
            // Full, or the end: nothing is known of what comes next.
            _ => {}
        }
        result
    }

    /// Makes a call of which only its `WouldBlock` says anything: a datagram's, an accept, a look.
    fn attempt<T>(
        &self,
        direction: Direction,
        call: impl FnOnce(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        let tick = self.readiness.tick(direction);
        let result = fault(moving(direction))
            .and_then(|()| call(&self.socket))
            .map_err(|error| self.meant(error));
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.readiness.would_block(direction, tick);
        }
        result
    }

    /// Makes a call of the user's own. Its `WouldBlock` may have meant something else than "not ready" (a part of the
    /// data, another library's state), and is recorded only if the system agrees. Not to record it costs at most a
    /// question to the kernel at the next registration.
    fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let direction = Direction::of(interest);
        let tick = self.readiness.tick(direction);
        let result = call(&self.socket);
        let would_block = matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock);
        if would_block && unix::confirm(self.socket.as_fd(), interest).is_empty() {
            self.readiness.would_block(direction, tick);
        }
        result
    }

    fn meant(&self, error: io::Error) -> io::Error {
        System::meant(self.socket.as_fd(), error)
    }
}

impl<S: AsFd + std::fmt::Debug + Send + Sync> Watched for Source<S> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

/// What the user owns. To drop it takes the source out of its queue; then the descriptor is closed.
#[derive(Debug)]
struct Handle<S: AsFd + std::fmt::Debug + Send + Sync + 'static> {
    source: Arc<Source<S>>,
}

impl<S: AsFd + std::fmt::Debug + Send + Sync + 'static> Handle<S> {
    fn new(socket: S, kind: Kind) -> Handle<S> {
        Handle {
            source: Arc::new(Source {
                socket,
                readiness: Readiness::new(kind),
                home: OnceLock::new(),
            }),
        }
    }

    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        let source = &self.source;
        let joining = || Joining {
            source: Arc::<Source<S>>::clone(source),
            home: &source.home,
        };
        with.register(&**source, &source.home, joining, token, interests)
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        with.disarm(&*self.source, &self.source.home, interests)
    }

    fn into_socket(self) -> S {
        let source = Arc::clone(&self.source);
        drop(self);
        let source = Arc::into_inner(source);
        source
            .expect("the handle has just given up its reference, and the table the only other one")
            .socket
    }
}

impl<S: AsFd + std::fmt::Debug + Send + Sync + 'static> Drop for Handle<S> {
    fn drop(&mut self) {
        if let Some(queue) = self.source.home.get() {
            queue.leave(&*self.source);
        }
    }
}

/// See [`crate::TcpStream`].
#[derive(Debug)]
pub(crate) struct TcpStream {
    handle: Handle<net::TcpStream>,
}

impl TcpStream {
    pub(crate) fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        System::adopt(stream.as_fd());
        Ok(TcpStream::nonblocking(stream))
    }

    pub(crate) fn connect_nonblocking(address: &SocketAddr) -> io::Result<TcpStream> {
        let socket = ffi::tcp_socket(address)?;
        ffi::start_connect(socket.as_fd(), address)?;
        Ok(TcpStream::nonblocking(socket.into()))
    }

    pub(crate) fn into_std(self) -> Result<net::TcpStream, (TcpStream, io::Error)> {
        Ok(self.handle.into_socket())
    }

    pub(crate) fn as_std(&self) -> &net::TcpStream {
        &self.handle.source.socket
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.handle.register(with, token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.handle.disarm(with, interests)
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        self.handle.source.try_io(interest, call)
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = granted(Call::Receive, buffer.len().min(MOST_BYTES));
        self.handle
            .source
            .transfer(Direction::Read, room, |mut socket| {
                socket.read(&mut buffer[..room])
            })
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = buffers.len().min(ffi::IOV_MAX);
        let room = total(buffers[..count].iter().map(|buffer| buffer.len()));
        match room {
            Some(0) => Ok(0),
            Some(room) => {
                let room = granted(Call::Receive, room);
                let call = |mut socket: &net::TcpStream| {
                    within_mut(&mut buffers[..count], room, |buffers| {
                        socket.read_vectored(buffers)
                    })
                };
                self.handle.source.transfer(Direction::Read, room, call)
            }
            None => self.read(first_filled(buffers.iter_mut().map(|buffer| &mut **buffer))),
        }
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.handle
            .source
            .attempt(Direction::Read, |socket| socket.peek(buffer))
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = granted(Call::Send, buffer.len().min(MOST_BYTES));
        self.handle
            .source
            .transfer(Direction::Write, room, |mut socket| {
                socket.write(&buffer[..room])
            })
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers = &buffers[..buffers.len().min(ffi::IOV_MAX)];
        match total(buffers.iter().map(|buffer| buffer.len())) {
            Some(0) => Ok(0),
            Some(room) => {
                let room = granted(Call::Send, room);
                let call = |socket: &net::TcpStream| {
                    within(buffers, room, |buffers| {
                        ffi::send_vectored(socket.as_fd(), buffers)
                    })
                };
                self.handle.source.transfer(Direction::Write, room, call)
            }
            None => self.write(first_filled(buffers.iter().map(|buffer| &**buffer))),
        }
    }

    /// Whatever the system took is its own to send.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.as_std().shutdown(how)
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.as_std().take_error()
    }

    /// Nothing is ever lent.
    pub(crate) fn set_lent_buffer(&self, _bytes: usize) {}

    fn nonblocking(stream: net::TcpStream) -> TcpStream {
        TcpStream {
            handle: Handle::new(stream, Kind::Stream),
        }
    }
}

/// The sum, or `None` if it is more than one call may be handed.
fn total(lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let sum = lengths.fold(0_usize, usize::saturating_add);
    (sum <= MOST_BYTES).then_some(sum)
}

/// The first buffer that is not empty, one of which there is.
fn first_filled<B: AsRef<[u8]> + Default>(mut buffers: impl Iterator<Item = B>) -> B {
    buffers
        .find(|buffer| !buffer.as_ref().is_empty())
        .unwrap_or_default()
}

/// See [`crate::TcpListener`].
#[derive(Debug)]
pub(crate) struct TcpListener {
    handle: Handle<net::TcpListener>,
}

impl TcpListener {
    /// Takes over a listener of ours, whose backlog nobody has chosen.
    pub(crate) fn bind(address: impl net::ToSocketAddrs) -> io::Result<TcpListener> {
        TcpListener::listen(net::TcpListener::bind(address)?)
    }

    fn listen(listener: net::TcpListener) -> io::Result<TcpListener> {
        ffi::listen_with_largest_backlog(listener.as_fd())?;
        TcpListener::from_std(listener)
    }

    pub(crate) fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        System::adopt(listener.as_fd());
        Ok(TcpListener {
            handle: Handle::new(listener, Kind::Listener),
        })
    }

    pub(crate) fn into_std(self) -> Result<net::TcpListener, (TcpListener, io::Error)> {
        Ok(self.handle.into_socket())
    }

    pub(crate) fn as_std(&self) -> &net::TcpListener {
        &self.handle.source.socket
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.handle.register(with, token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.handle.disarm(with, interests)
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpListener) -> io::Result<R>,
    ) -> io::Result<R> {
        self.handle.source.try_io(interest, call)
    }

    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.handle.source.attempt(Direction::Read, |socket| {
            fault(Call::Accept)?;
            ffi::accept(socket.as_fd())
        })?;
        Ok((TcpStream::nonblocking(stream.into()), peer))
    }
}

/// See [`crate::UdpSocket`].
#[derive(Debug)]
pub(crate) struct UdpSocket {
    handle: Handle<net::UdpSocket>,
}

impl UdpSocket {
    pub(crate) fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        System::adopt(socket.as_fd());
        Ok(UdpSocket {
            handle: Handle::new(socket, Kind::Datagram),
        })
    }

    pub(crate) fn into_std(self) -> Result<net::UdpSocket, (UdpSocket, io::Error)> {
        Ok(self.handle.into_socket())
    }

    pub(crate) fn as_std(&self) -> &net::UdpSocket {
        &self.handle.source.socket
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.handle.register(with, token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.handle.disarm(with, interests)
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.handle.source.try_io(interest, call)
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.handle
            .source
            .attempt(Direction::Read, |socket| socket.recv_from(buffer))
    }

    pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.handle
            .source
            .attempt(Direction::Read, |socket| socket.peek_from(buffer))
    }

    pub(crate) fn send_to(&self, buffer: &[u8], target: &SocketAddr) -> io::Result<usize> {
        self.handle
            .source
            .attempt(Direction::Write, |socket| socket.send_to(buffer, target))
    }

    pub(crate) fn connect(&self, address: &SocketAddr) -> io::Result<()> {
        self.as_std().connect(address)
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle
            .source
            .attempt(Direction::Read, |socket| socket.recv(buffer))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle
            .source
            .attempt(Direction::Read, |socket| socket.peek(buffer))
    }

    pub(crate) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.handle
            .source
            .attempt(Direction::Write, |socket| socket.send(buffer))
    }

    /// Nothing is ever lent.
    pub(crate) fn set_lent_buffer(&self, _bytes: usize) {}
}
