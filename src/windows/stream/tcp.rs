//! TCP sockets as transports, and what only a stream of such a socket has: addresses, a connect of its own, shutting down,
//! resets.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use super::super::operation::Packet;
use super::super::{close_connection, ffi};
use super::connecting::{inspect, Found, Standing, CONNECTED, FOREIGN};
use super::transport::{Closing, Ended, Start, StartConnect, Transport};
use super::{breaks_connection, Shared, Stream, MAX_BYTES};
use crate::hooks::sync::net;

/// How much unread input is thrown away before a deferred close, so that the close does not reset the connection.
const DISCARD_ROUNDS: usize = 256;
const DISCARD_BYTES: usize = 4 << 10;

/// A TCP connection.
pub(crate) type TcpStream = Stream<Tcp>;

/// A TCP socket.
#[derive(Default)]
pub(crate) struct Tcp;

impl Transport for Tcp {
    type File = ffi::SOCKET;
    type Owned = net::TcpStream;
    type Target = (ffi::SOCKADDR_STORAGE, i32);

    const FILE: fn(&net::TcpStream) -> ffi::SOCKET = ffi::socket_of;
    const HANDLE: fn(ffi::SOCKET) -> ffi::HANDLE = ffi::SOCKET::handle;
    const CONNECT: StartConnect<ffi::SOCKET, Self::Target> = ffi::connect_ex;
    const RECEIVE: Start<ffi::SOCKET> = ffi::wsa_recv;
    const SEND: Start<ffi::SOCKET> = ffi::wsa_send;
    const RESULT: fn(&Packet, ffi::SOCKET) -> Result<usize, ffi::Code> = Packet::result;
    const LOOK: fn(ffi::SOCKET) -> Result<usize, ffi::Code> = ffi::peek_one;
    const END: Option<ffi::Code> = None;
    /// Enough to learn when there is room.
    const PROBE: usize = 1;
    const ENDS_BY_CLOSE: bool = false;
    const INSPECT: fn(ffi::SOCKET) -> Result<Found, ffi::Code> = inspect;
    const ENDED: Ended<ffi::SOCKET> = ffi::ended_connect;
    const SELECT_NOTHING: fn(ffi::SOCKET) = ffi::select_nothing;

    fn after_connect(socket: ffi::SOCKET, result: Result<usize, ffi::Code>) -> i32 {
        // The packet's success is not enough: this option is what makes it a full socket.
        match result.and_then(|_| ffi::update_connect_context(socket)) {
            Ok(()) => CONNECTED,
            // The `Poll` is gone, or the thread that started the connect. The connection may be there all the same.
            Err(ffi::WSA_OPERATION_ABORTED)
                if ffi::is_connected(socket) == Ok(true)
                    && ffi::update_connect_context(socket).is_ok() =>
            {
                CONNECTED
            }
            Err(ffi::WSA_OPERATION_ABORTED) => ffi::WSAECONNABORTED,
            Err(code) => code,
        }
    }

    fn receive_at_once(
        mut stream: &net::TcpStream,
        buffers: &mut [IoSliceMut<'_>],
        mut filled: usize,
        peeks: bool,
    ) -> io::Result<usize> {
        match buffers {
            [buffer] if peeks => stream.peek(&mut buffer[filled..]),
            [buffer] => stream.read(&mut buffer[filled..]),
            _ if filled == 0 => stream.read_vectored(buffers),
            _ => {
                let mut rest: Vec<IoSliceMut<'_>> = Vec::new();
                for buffer in buffers.iter_mut() {
                    let here = filled.min(buffer.len());
                    filled -= here;
                    if here < buffer.len() {
                        rest.push(IoSliceMut::new(&mut buffer[here..]));
                    }
                }
                stream.read_vectored(&mut rest)
            }
        }
    }

    fn send_at_once(mut stream: &net::TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => stream.write(one),
            _ => stream.write_vectored(slices),
        }
    }

    fn close_behind_send(stream: &net::TcpStream) -> bool {
        let resets = ffi::linger(ffi::socket_of(stream)) == Some(0);
        if !resets {
            // The end of the stream follows the bytes in flight. If the connection is broken already, they are lost anyway.
            drop(stream.shutdown(Shutdown::Write));
        }
        resets
    }

    fn close(stream: net::TcpStream, how: Closing) {
        match how {
            Closing::Plainly => {}
            Closing::WithoutInput => discard_input(&stream),
            Closing::ByReset => ffi::set_abortive_close(ffi::socket_of(&stream)),
        }
        close_connection(stream);
    }
}

/// Throws away input that nobody will read: with input unread, closing would reset the connection, and lose bytes that the
/// peer has not taken yet. The amount has a bound, so that a peer that goes on sending holds nobody up.
fn discard_input(mut stream: &net::TcpStream) {
    let mut input = [0; DISCARD_BYTES];
    for _ in 0..DISCARD_ROUNDS {
        if !matches!(stream.read(&mut input), Ok(count) if count > 0) {
            break;
        }
    }
}

impl Stream<Tcp> {
    pub(crate) fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(Stream::new(stream, FOREIGN, nowhere()))
    }

    /// The same for a stream that is certainly connected, and does not block already.
    pub(in super::super) fn from_connected(stream: net::TcpStream) -> TcpStream {
        Stream::new(stream, CONNECTED, nowhere())
    }

    pub(crate) fn into_std(self) -> Result<net::TcpStream, (TcpStream, io::Error)> {
        if let Some(port) = self.shared.membership.port() {
            port.pump();
        }
        if let Err(error) = self.shared.check_connect_to_give_back() {
            return Err((self, error));
        }
        let shared = Arc::clone(&self.shared);
        let given = self.give_back()?;
        shared.membership.give_back(shared.file.handle());
        Ok(given)
    }

    pub(crate) fn as_std(&self) -> &net::TcpStream {
        self.as_owned()
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(MAX_BYTES);
        self.shared.receive(
            self.as_owned(),
            &mut [IoSliceMut::new(&mut buffer[..room])],
            true,
        )
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.check_not_connecting()?;
        self.as_std().peer_addr()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        // If a connect has ended, the address that it got; if it is under way, the one that is bound.
        drop(self.shared.check_not_connecting());
        self.as_std().local_addr()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.check_not_connecting()?;
        if how != Shutdown::Read {
            self.shared.shut_send(self.as_std())?;
        }
        if how != Shutdown::Write {
            // That sending was shut down above shows that there was a connection. There may be no peer any more.
            let connected = || match how {
                Shutdown::Both => Ok(()),
                _ => self.as_std().peer_addr().map(drop),
            };
            self.shared.shut_receive(connected)?;
        }
        Ok(())
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let standing = self.shared.look_at_connect()?;
        if let Some(code) = self.shared.take_failure() {
            return Ok(Some(io::Error::from_raw_os_error(code)));
        }
        // With a connect under way to ask might fail, and after one that has failed the socket would tell of it again.
        if matches!(standing, Standing::UnderWay | Standing::Failed) {
            return Ok(None);
        }
        let error = self.as_std().take_error()?;
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        let known =
            code.is_some_and(|code| breaks_connection(code) && !self.shared.broken.take(code));
        Ok(error.filter(|_| !known))
    }
}

/// No target.
fn nowhere() -> (ffi::SOCKADDR_STORAGE, i32) {
    (ffi::SOCKADDR_STORAGE::zeroed(), 0)
}

impl Shared<Tcp> {
    /// A failure that `take_error` has not returned yet: of the connect, of a receive, of a send, or one that a call has
    /// told of. The first, the last and most of the others are one failure: of the connection.
    fn take_failure(&self) -> Option<ffi::Code> {
        let is_news = |code: &ffi::Code| self.broken.take(*code);
        self.tell_connect_failure()
            .filter(is_news)
            .or_else(|| self.receiving.lock().take_failure(is_news))
            .or_else(|| self.sending.lock().take_failure(is_news))
            .or_else(|| self.broken.take_told())
    }

    /// Shuts sending down, once: some systems take a second time for something else. The end follows the bytes in flight.
    pub(super) fn shut_send(&self, stream: &net::TcpStream) -> io::Result<()> {
        let mut sending = self.sending.lock();
        if !sending.shut {
            stream.shutdown(Shutdown::Write)?;
            sending.shut = true;
        }
        Ok(())
    }
}
