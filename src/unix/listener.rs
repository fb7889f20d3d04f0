//! `TcpListener` and `UnixListener` on Unix.

use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net as unix_net;

use crate::unix::ffi;
use crate::unix::readiness::{Direction, Kind};
use crate::unix::source::Handle;
use crate::unix::stream::{TcpStream, UnixStream};

/// See [`crate::TcpListener`].
pub(crate) type TcpListener = Handle<net::TcpListener>;

impl TcpListener {
    /// Makes a listener, with the largest backlog that the system grants: the user has not chosen one.
    pub(crate) fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let listener = net::TcpListener::bind(address)?;
        ffi::listen_with_largest_backlog(listener.as_fd())?;
        TcpListener::from_std(listener)
    }

    pub(crate) fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(Handle::adopt(listener, Kind::Listener))
    }

    pub(crate) fn into_std(self) -> Result<net::TcpListener, (TcpListener, io::Error)> {
        Ok(self.into_socket())
    }

    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.source.attempt(Direction::Read, |socket| {
            accept_living(|| ffi::accept(socket.as_fd()))
        })?;
        // This `WouldBlock` is not noted, since others may wait behind those that the call has passed over.
        let (stream, peer) = accepted.ok_or(ErrorKind::WouldBlock)?;
        Ok((Handle::new(stream.into(), Kind::Stream), peer))
    }
}

/// See [`crate::os::unix::UnixListener`].
pub(crate) type UnixListener = Handle<unix_net::UnixListener>;

impl UnixListener {
    /// Makes a listener, with the largest backlog that the system grants.
    pub(crate) fn bind(address: &unix_net::SocketAddr) -> io::Result<UnixListener> {
        let listener = unix_net::UnixListener::bind_addr(address)?;
        ffi::listen_with_largest_backlog(listener.as_fd())?;
        UnixListener::from_std(listener)
    }

    pub(crate) fn from_std(listener: unix_net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(Handle::adopt(listener, Kind::Listener))
    }

    pub(crate) fn accept(&self) -> io::Result<(UnixStream, unix_net::SocketAddr)> {
        let (stream, peer) = self
            .source
            .attempt(Direction::Read, |socket| ffi::accept_unix(socket.as_fd()))?;
        Ok((Handle::new(stream, Kind::UnixStream), peer))
    }
}

/// How many connections that were reset while they waited one call passes over.
const MOST_RESET: usize = 64;

/// Accepts the first connection that was not reset while it waited. Some kernels report each that was reset, and the
/// user can do nothing with such a report. `None` if all connections were reset, as far as this has looked.
fn accept_living<T>(mut accept: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    for _ in 0..MOST_RESET {
        match accept() {
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            done => return done.map(Some),
        }
    }
    Ok(None)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    // FreeBSD reports each connection that was reset while it waited; Linux reports none.
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

    // Otherwise a peer that connects and resets all the time could keep a thread in the call.
    #[test]
    fn an_accept_passes_over_so_many_and_no_more() {
        let reset = || Err::<(), _>(ErrorKind::ConnectionAborted.into());
        assert_eq!(accept_living(reset).ok(), Some(None));
    }
}
