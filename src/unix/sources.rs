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
use crate::hooks::faults::{fault, granted, within, within_mut, Call};
use crate::interests::{Interests, Token};
use crate::unix::ending::Ending;
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
                self.readiness.moved_short(direction, tick, *moved);
                result
            }
            // Full: nothing is known of what comes next.
            Ok(moved) if *moved > 0 => result,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readiness.would_block(direction, tick);
                result
            }
            _ => self.ended(direction, result),
        }
    }

    /// The same for reading, which gives the end of the stream once it was shut down on this side.
    fn receive(
        &self,
        room: usize,
        call: impl FnOnce(&S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.readiness.ending.is_shut(Direction::Read) {
            return Ok(0);
        }
        self.transfer(Direction::Read, room, call)
    }

    /// Looks at what is there. A look that finds nothing says nothing of a read: `SO_PEEK_OFF` has it go on from the last
    /// one.
    fn look(&self, call: impl FnOnce(&S) -> io::Result<usize>) -> io::Result<usize> {
        if self.readiness.ending.is_shut(Direction::Read) {
            return Ok(0);
        }
        match fault(Call::Receive).and_then(|()| call(&self.socket)) {
            Ok(count) if count > 0 => Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            other => self.ended(Direction::Read, other.map_err(|error| self.meant(error))),
        }
    }

    /// What to tell of a call on a stream that moved nothing, and not for want of something to do.
    #[cold]
    fn ended(&self, direction: Direction, result: io::Result<usize>) -> io::Result<usize> {
        let ending = &self.readiness.ending;
        let instead = match &result {
            Ok(_) if direction == Direction::Read => ending.read_ended(),
            Ok(_) => None,
            Err(error) => match error.raw_os_error() {
                Some(code) if ffi::breaks_connection(code) => {
                    if !ending.failed(direction, code) {
                        return Ok(0);
                    }
                    None
                }
                Some(ffi::EPIPE | ffi::ENOTCONN) => ending.disconnected(direction),
                _ => None,
            },
        };
        match instead {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => result,
        }
    }

    /// Makes a call of which only its `WouldBlock` says anything: a datagram's, or an accept.
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
        if let Err(error) = &result {
            let would_block = error.kind() == ErrorKind::WouldBlock;
            if would_block && unix::confirm(self.socket.as_fd(), interest).is_empty() {
                self.readiness.would_block(direction, tick);
            }
            let code = error.raw_os_error();
            if let Some(code) = code.filter(|&code| ffi::breaks_connection(code)) {
                // It may be another descriptor's, of which the call made use. That of a stream hangs up its socket.
                if self.readiness.is_stream() && unix::has_hung_up(self.socket.as_fd()) {
                    self.readiness.ending.failed(direction, code);
                }
            }
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
        let is_connected = stream.peer_addr().is_ok();
        let stream = TcpStream::nonblocking(stream);
        if !is_connected {
            stream.ending().may_fail_to_connect();
        }
        Ok(stream)
    }

    pub(crate) fn connect_nonblocking(address: &SocketAddr) -> io::Result<TcpStream> {
        let socket = ffi::tcp_socket(address)?;
        let started =
            fault(Call::Connect).and_then(|()| ffi::start_connect(socket.as_fd(), address));
        let stream = TcpStream::nonblocking(socket.into());
        stream.ending().may_fail_to_connect();
        match started {
            Ok(()) => Ok(stream),
            Err(error) => match error.raw_os_error() {
                // Some kernels know it at once, and then forget it. It is an event like any other end of a connect.
                Some(code) if ffi::is_refusal(code) => {
                    stream.ending().keep(code);
                    Ok(stream)
                }
                _ => Err(error),
            },
        }
    }

    pub(crate) fn into_std(self) -> Result<net::TcpStream, (TcpStream, io::Error)> {
        match self.untold_failure() {
            Some(error) => Err((self, error)),
            None => Ok(self.handle.into_socket()),
        }
    }

    /// The failure that would be lost, or that the new owner would take for one of its own: that of a connect which nobody
    /// was told of, and one that the kernel does not have any more.
    fn untold_failure(&self) -> Option<io::Error> {
        if let Some(code) = self.ending().take_untold() {
            return Some(io::Error::from_raw_os_error(code));
        }
        if !self.ending().may_have_failed_to_connect() || self.as_std().peer_addr().is_ok() {
            return None;
        }
        let error = self.as_std().take_error().ok().flatten()?;
        let code = error.raw_os_error()?;
        let is_news = ffi::breaks_connection(code) && self.ending().failed(Direction::Read, code);
        is_news.then_some(error)
    }

    fn ending(&self) -> &Ending {
        &self.handle.source.readiness.ending
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
            .receive(room, |mut socket| socket.read(&mut buffer[..room]))
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // Empty ones in front would fill a call that takes so many buffers and no more.
        let first = count_empty(buffers.iter().map(|buffer| buffer.len()));
        let buffers = &mut buffers[first..];
        let count = buffers.len().min(ffi::IOV_MAX);
        match total(buffers[..count].iter().map(|buffer| buffer.len())) {
            Some(0) => Ok(0),
            Some(room) => {
                let room = granted(Call::Receive, room);
                let call = |mut socket: &net::TcpStream| {
                    within_mut(&mut buffers[..count], room, |buffers| {
                        socket.read_vectored(buffers)
                    })
                };
                self.handle.source.receive(room, call)
            }
            None => self.read(&mut buffers[0]),
        }
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = buffer.len().min(MOST_BYTES);
        self.handle
            .source
            .look(|socket| socket.peek(&mut buffer[..room]))
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
        let buffers = &buffers[count_empty(buffers.iter().map(|buffer| buffer.len()))..];
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
            None => self.write(&buffers[0]),
        }
    }

    /// Whatever the system took is its own to send.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let ending = self.ending();
        // Whoever is the second finds the first one done.
        let _state = self.handle.source.readiness.lock();
        let reads = how != Shutdown::Write && !ending.is_shut(Direction::Read);
        let writes = how != Shutdown::Read && !ending.is_shut(Direction::Write);
        let left = match (reads, writes) {
            // Some kernels take a second shutdown of the writing for one of both directions.
            (false, false) => return Ok(()),
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (true, true) => Shutdown::Both,
        };
        // Linux would end a connect that is under way.
        if let Err(error) = self.as_std().peer_addr() {
            if error.kind() == ErrorKind::NotConnected {
                return Err(error);
            }
        }
        self.as_std().shutdown(left)?;
        if reads {
            ending.shut(Direction::Read);
        }
        if writes {
            ending.shut(Direction::Write);
        }
        Ok(())
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let found = self.as_std().take_error()?;
        let code = found.as_ref().and_then(io::Error::raw_os_error);
        match code {
            Some(code) => {
                if ffi::breaks_connection(code) {
                    self.ending().taken(code);
                }
                Ok(found)
            }
            None => Ok(self.ending().take().map(io::Error::from_raw_os_error)),
        }
    }

    /// Nothing is ever lent.
    pub(crate) fn set_lent_buffer(&self, _bytes: usize) {}

    fn nonblocking(stream: net::TcpStream) -> TcpStream {
        TcpStream {
            handle: Handle::new(stream, Kind::Stream),
        }
    }
}

/// As much of a buffer as one call may be handed.
fn within_a_call(buffer: &mut [u8]) -> &mut [u8] {
    let room = buffer.len().min(MOST_BYTES);
    &mut buffer[..room]
}

/// The sum, or `None` if it is more than one call may be handed.
fn total(lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let sum = lengths.fold(0_usize, usize::saturating_add);
    (sum <= MOST_BYTES).then_some(sum)
}

/// How many are empty before the first that is not.
fn count_empty(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take_while(|&length| length == 0).count()
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
        let accepted = self.handle.source.attempt(Direction::Read, |socket| {
            fault(Call::Accept)?;
            accept_living(|| ffi::accept(socket.as_fd()))
        })?;
        // Not recorded: others may wait behind those that it has passed over.
        let (stream, peer) = accepted.ok_or(ErrorKind::WouldBlock)?;
        Ok((TcpStream::nonblocking(stream.into()), peer))
    }
}

/// How many connections that were reset while they waited one call passes over.
const MOST_RESET: usize = 64;

/// Accepts, past connections that were reset while they waited: nobody misses them, and some kernels tell of each. `None`
/// if all were, as far as it has looked.
fn accept_living<T>(mut accept: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    for _ in 0..MOST_RESET {
        match accept() {
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            done => return done.map(Some),
        }
    }
    Ok(None)
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
        self.handle.source.attempt(Direction::Read, |socket| {
            socket.recv_from(within_a_call(buffer))
        })
    }

    pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        // Its `WouldBlock` says nothing: see `Source::look`.
        fault(Call::Receive)?;
        self.as_std().peek_from(within_a_call(buffer))
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
            .attempt(Direction::Read, |socket| socket.recv(within_a_call(buffer)))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault(Call::Receive)?;
        self.as_std().peek(within_a_call(buffer))
    }

    pub(crate) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.handle
            .source
            .attempt(Direction::Write, |socket| socket.send(buffer))
    }

    /// Nothing is ever lent.
    pub(crate) fn set_lent_buffer(&self, _bytes: usize) {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    // FreeBSD tells of each connection that was reset while it waited; Linux of none.
    #[test]
    fn an_accept_passes_over_connections_that_were_reset() {
        let mut answers = vec![Ok(7), Err(ErrorKind::ConnectionAborted)];
        let mut accept = || {
            accept_living(|| {
                let answer = answers.pop().unwrap_or(Err(ErrorKind::WouldBlock));
                answer.map_err(io::Error::from)
            })
        };
        assert_eq!(accept().ok(), Some(Some(7)));
        assert_eq!(
            accept().map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
    }

    // Or whoever connects and resets could keep a thread here.
    #[test]
    fn an_accept_passes_over_so_many_and_no_more() {
        let reset = || Err::<(), _>(ErrorKind::ConnectionAborted.into());
        assert_eq!(accept_living(reset).ok(), Some(None));
    }

    #[test]
    fn empty_buffers_in_front_are_counted() {
        assert_eq!(count_empty([0, 0, 3, 0].into_iter()), 2);
        assert_eq!(count_empty([1].into_iter()), 0);
        assert_eq!(count_empty([0, 0].into_iter()), 2);
    }
}
