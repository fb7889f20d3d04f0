//! `TcpStream` and `UnixStream` on Unix.
//!
//! A read or write that moved fewer bytes than it had room for has met the end of what there was, or of the room. So
//! the state machine is told of it as of a `WouldBlock`, and a program that reads with a large buffer needs one call a
//! message. A call that moved nothing asks [`Ending`] what the user is told.
//!
//! A Unix stream may also carry descriptors, and a read stops at them. On Linux the read is made so that the kernel tells
//! ([`Moved::read`]). On the BSDs nothing tells, so of a read only `WouldBlock` is believed there.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::net as unix_net;

use crate::unix::ending::Ending;
use crate::unix::ffi::{self, Moved};
use crate::unix::queue::System;
use crate::unix::readiness::Direction::{self, Read, Write};
use crate::unix::readiness::Kind;
use crate::unix::source::{Handle, Socket, Source};

impl<S: System, T: Socket + AsFd> Source<S, T> {
    /// Makes a call that moves bytes of a stream.
    pub(super) fn transfer(
        &self,
        direction: Direction,
        call: impl FnOnce(&T) -> io::Result<Moved>,
    ) -> io::Result<usize> {
        let tick = self.readiness.tick(direction);
        match call(&self.socket).map_err(|error| self.note_failed(direction, tick, error)) {
            // Full, so nothing is known of what comes next. Or there was no room, and no call was made.
            Ok(moved) if moved.bytes == moved.room => Ok(moved.bytes),
            Ok(moved) if moved.bytes > 0 => {
                self.readiness.moved_short(direction, tick, moved.bytes);
                Ok(moved.bytes)
            }
            other => ended(&self.readiness.ending, direction, other),
        }
    }

    /// Makes a call that reads. Once the user has shut down the reading, it gives the end of the stream.
    fn receive(&self, call: impl FnOnce(&T) -> io::Result<Moved>) -> io::Result<usize> {
        if self.readiness.ending.is_shut(Read) {
            return Ok(0);
        }
        self.transfer(Read, call)
    }

    /// Makes a call that peeks. Its `WouldBlock` is not noted: with `SO_PEEK_OFF` a peek begins where the last peek
    /// stopped, and a read might still give bytes.
    fn look(&self, call: impl FnOnce(&T) -> io::Result<Moved>) -> io::Result<usize> {
        if self.readiness.ending.is_shut(Read) {
            return Ok(0);
        }
        match call(&self.socket) {
            Ok(moved) if moved.bytes > 0 || moved.room == 0 => Ok(moved.bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            other => ended(
                &self.readiness.ending,
                Read,
                other.map_err(|error| self.meant(error)),
            ),
        }
    }

    /// Ends what of `how` is not ended yet: that is passed to `call`.
    pub(crate) fn shut(
        &self,
        how: Shutdown,
        call: impl FnOnce(Shutdown) -> io::Result<()>,
    ) -> io::Result<()> {
        let ending = &self.readiness.ending;
        // With two shutdowns at once, the second finds what the first has done.
        let _state = self.readiness.lock();
        let reads = how != Shutdown::Write && !ending.is_shut(Read);
        let writes = how != Shutdown::Read && !ending.is_shut(Write);
        call(match (reads, writes) {
            // Some kernels take a second shutdown of the writing for one of both directions.
            (false, false) => return Ok(()),
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (true, true) => Shutdown::Both,
        })?;
        if reads {
            ending.shut(Read);
        }
        if writes {
            ending.shut(Write);
        }
        Ok(())
    }
}

/// What the user is told of a call that had room and moved nothing: the end, or a failure.
#[cold]
fn ended(ending: &Ending, direction: Direction, result: io::Result<Moved>) -> io::Result<usize> {
    let instead = match &result {
        Ok(_) if direction == Read => ending.read_ended(),
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
        None => result.map(|moved| moved.bytes),
    }
}

/// What TCP and Unix streams do alike.
impl<T: Socket + ffi::Stream> Handle<T> {
    fn ending(&self) -> &Ending {
        &self.source.readiness.ending
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.receive(|socket| ffi::read(socket, buffer))
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.source
            .receive(|socket| ffi::read_vectored(socket, buffers))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.look(|socket| ffi::peek(socket, buffer))
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        self.source
            .transfer(Write, |socket| ffi::write(socket, buffer))
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.source
            .transfer(Write, |socket| ffi::write_vectored(socket, buffers))
    }

    /// There is nothing to do: the system sends what it has taken.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// What `take_error` tells, if the system has `found` this.
    fn error_taken(&self, found: Option<io::Error>) -> Option<io::Error> {
        match found.as_ref().and_then(io::Error::raw_os_error) {
            Some(code) => {
                if ffi::breaks_connection(code) {
                    self.ending().taken(code);
                }
                found
            }
            None => self.ending().take().map(io::Error::from_raw_os_error),
        }
    }
}

/// See [`crate::TcpStream`].
pub(crate) type TcpStream = Handle<net::TcpStream>;

impl TcpStream {
    pub(crate) fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        let stream = Handle::adopt(stream, Kind::Stream);
        if stream.peer_addr().is_err() {
            stream.ending().may_fail_to_connect();
        }
        Ok(stream)
    }

    pub(crate) fn connect_nonblocking(address: &SocketAddr) -> io::Result<TcpStream> {
        let socket = ffi::tcp_socket(address)?;
        let started = ffi::start_connect(socket.as_fd(), address);
        let stream = Handle::new(net::TcpStream::from(socket), Kind::Stream);
        stream.ending().may_fail_to_connect();
        if let Err(error) = started {
            match error.raw_os_error() {
                // Some kernels learn at once that the connect is refused, and forget it when they have said so. For the
                // user it is an event, like any other end of a connect.
                Some(code) if ffi::is_refusal(code) => stream.ending().keep(code),
                _ => return Err(error),
            }
        }
        Ok(stream)
    }

    pub(crate) fn into_std(self) -> Result<net::TcpStream, (TcpStream, io::Error)> {
        match self.untold_failure() {
            Some(error) => Err((self, error)),
            None => Ok(self.into_socket()),
        }
    }

    /// A failure that the new owner of the socket would not learn of, since the kernel has forgotten it, or would take
    /// for that of a call of its own, since it is that of a connect and the user was not told of it.
    fn untold_failure(&self) -> Option<io::Error> {
        if let Some(code) = self.ending().take_untold() {
            return Some(io::Error::from_raw_os_error(code));
        }
        if !self.ending().may_have_failed_to_connect() || self.peer_addr().is_ok() {
            return None;
        }
        let error = self.as_std().take_error().ok().flatten()?;
        let code = error.raw_os_error()?;
        let is_news = ffi::breaks_connection(code) && self.ending().failed(Read, code);
        is_news.then_some(error)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.shut(how, |left| {
            // Linux would end a connect that is under way.
            match self.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => Err(error),
                _ => self.as_std().shutdown(left),
            }
        })
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.error_taken(self.as_std().take_error()?))
    }
}

/// See [`crate::os::unix::UnixStream`].
pub(crate) type UnixStream = Handle<unix_net::UnixStream>;

impl UnixStream {
    pub(crate) fn connect(address: &unix_net::SocketAddr) -> io::Result<UnixStream> {
        Ok(Handle::new(ffi::connect_unix(address)?, Kind::UnixStream))
    }

    pub(crate) fn from_std(stream: unix_net::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        Ok(Handle::adopt(stream, Kind::UnixStream))
    }

    pub(crate) fn into_std(self) -> Result<unix_net::UnixStream, (UnixStream, io::Error)> {
        match self.ending().take_untold() {
            Some(code) => Err((self, io::Error::from_raw_os_error(code))),
            None => Ok(self.into_socket()),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.shut(how, |left| self.as_std().shutdown(left))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.error_taken(self.as_std().take_error()?))
    }
}
