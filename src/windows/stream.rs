//! [`TcpStream`]: what `read` and `write` make of one receive and one send (or connect) in flight.
//!
//! The stream is two pieces. What the user holds owns the socket. [`Shared`] holds all that an operation in flight needs. It
//! lives in an `Arc`, to which each operation in flight has a reference, and it knows the socket only by its number.
//!
//! The invariants are those of `direction.rs`, and one more:
//! - **A broken stream stays broken**: see `broken.rs`.
//!
//! # Locks
//! The end of a connect concerns both directions. It is written to [`Shared::connect`] first, and then each direction is
//! locked in turn. Whoever arms an interest reads `connect` under that direction's lock. So either he sees that the connect
//! has ended, or whoever writes its end sees the interest.

mod broken;
mod connecting;
mod receiving;
mod sending;

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::direction::{Direction, Duplex, Transfer};
use super::ffi;
use super::lending::MAX_BUFFER;
use super::operation::{Kind, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::{close_connection, still_lent, Registrator};
use crate::hooks::sync::{net, AtomicI32, AtomicUsize, Ordering};
use crate::interests::{Interests, Token};
use broken::{breaks_connection, Broken};
use connecting::{Standing, CONNECTED, FOREIGN};
use receiving::Receiving;
use sending::{discard_input, Sending};

/// How many pieces of memory one call moves at most; Wine takes no more.
const MAX_SLICES: usize = 1024;

/// How many bytes one call moves at most from or to one piece of memory. The system counts them by an `i32`, and an `IoSlice`
/// takes no more than a `u32` can say.
const MAX_BYTES: usize = i32::MAX as usize;

/// That the user has not chosen how much is lent.
const FOLLOWS_TRAFFIC: usize = usize::MAX;

/// What operations in flight need of a stream.
struct Shared {
    socket: ffi::SOCKET,
    membership: Membership,
    /// How far the connect is: see `connecting.rs`.
    connect: AtomicI32,
    /// Where a stream that is not connected yet will go. The system may read it during the connect.
    target: (ffi::SOCKADDR_STORAGE, i32),
    /// What broke the connection, as far as a call has told of it.
    broken: Broken,
    /// How much the next receive lends. Chosen by the user at any time; it orders nothing.
    wanted: AtomicUsize,
    receiving: Direction<Receiving>,
    sending: Direction<Sending>,
}

impl Owner for Shared {
    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receive_completed(packet, port, sink),
            Kind::Send if self.is_connect_in_flight() => self.connect_completed(packet, port, sink),
            Kind::Send => self.send_completed(packet, port, sink),
        }
    }

    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receiving.noted(self, port, sink),
            Kind::Send => self.sending.noted(self, port, sink),
        }
    }

    fn signalled(&self, number: usize, port: &Arc<Port>, sink: Sink<'_>) {
        self.look_at_awaited(Some(number), port, sink);
    }

    fn abandon(&self) {
        self.receiving.abandon();
        self.sending.abandon();
        self.abandon_connect();
    }

    fn give_up(&self) {
        self.give_up_send();
    }
}

impl Duplex for Shared {
    type Receiving = Receiving;
    type Sending = Sending;

    fn receiving(&self) -> &Direction<Receiving> {
        &self.receiving
    }

    fn sending(&self) -> &Direction<Sending> {
        &self.sending
    }
}

/// A TCP connection.
pub(crate) struct TcpStream {
    shared: Arc<Shared>,
    // `None` only at the very end: it was given back, or handed to the send that is in flight.
    std: Option<net::TcpStream>,
}

impl TcpStream {
    pub(crate) fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(stream, FOREIGN, None))
    }

    /// The same for a stream that is certainly connected.
    pub(super) fn from_connected(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(stream, CONNECTED, None))
    }

    fn new(stream: net::TcpStream, connect: i32, target: Option<&SocketAddr>) -> TcpStream {
        let socket = ffi::socket_of(&stream);
        let nowhere = (ffi::SOCKADDR_STORAGE::zeroed(), 0);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                socket,
                connect: AtomicI32::new(connect),
                target: target.map_or(nowhere, ffi::SOCKADDR_STORAGE::from_std),
                broken: Broken::default(),
                wanted: AtomicUsize::new(FOLLOWS_TRAFFIC),
                receiving: Direction::new(socket, &me, Kind::Receive),
                sending: Direction::new(socket, &me, Kind::Send),
                membership: Membership::new(me),
            }
        });
        TcpStream {
            shared,
            std: Some(stream),
        }
    }

    pub(crate) fn into_std(mut self) -> Result<net::TcpStream, (TcpStream, io::Error)> {
        if let Some(port) = self.shared.membership.port() {
            port.pump();
        }
        if let Err(error) = self.shared.check_connect_to_give_back() {
            return Err((self, error));
        }
        let given = self.shared.release().then(|| self.std.take()).flatten();
        given.ok_or_else(|| (self, still_lent()))
    }

    pub(crate) fn as_std(&self) -> &net::TcpStream {
        self.std
            .as_ref()
            .expect("a stream that is in use has its socket")
    }

    pub(crate) fn set_lent_buffer(&self, bytes: usize) {
        self.shared
            .wanted
            .store(bytes.min(MAX_BUFFER), Ordering::Relaxed);
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        self.shared
            .membership
            .join(&with.port, self.shared.socket)?;
        // Has the end of a connect that somebody else began come to the port.
        self.shared.look_at_foreign(Some(&with.port))?;
        self.shared.arm(&with.port, token, interests)?;
        self.shared.start_connect(&with.port);
        Ok(())
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.shared.disarm(with, interests)
    }

    /// Makes a call of the user's own.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        self.shared.check_connected()?;
        self.shared.try_io(interest, || call(self.as_std()))
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(MAX_BYTES);
        self.receive(&mut [IoSliceMut::new(&mut buffer[..room])], false)
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let taken = taken_by_one_call(buffers.iter().map(|buffer| buffer.len()));
        self.receive(&mut buffers[taken], false)
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(MAX_BYTES);
        self.receive(&mut [IoSliceMut::new(&mut buffer[..room])], true)
    }

    /// Takes bytes from the lent buffer, or else from the socket, or from both. To peek there may be one buffer only.
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], peeks: bool) -> io::Result<usize> {
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if room == 0 {
            return Ok(0);
        }
        let shared = &*self.shared;
        shared.check_connected()?;
        let mut receiving = shared.receiving.claim(shared)?;
        let mut bytes = receiving.buffer.unread();
        if !bytes.is_empty() {
            let count = bytes.read_vectored(buffers)?;
            let all_taken = bytes.is_empty();
            if !peeks {
                receiving.buffer.consume(count);
            }
            if !all_taken || count == room || !receiving.is_more_likely(peeks) {
                return Ok(count);
            }
            // Nothing is in flight while bytes wait in the buffer, and nothing starts under the lock.
            let more = self.receive_direct(buffers, count, peeks);
            return Ok(count + receiving.keep(&more));
        }
        if receiving.holds_something() {
            return receiving.tell_end(&shared.broken);
        }
        receiving.raided = true;
        let result = self.receive_direct(buffers, 0, peeks);
        receiving.tell(&shared.broken, result)
    }

    /// Receives from the socket, behind the first `filled` bytes of the buffers.
    fn receive_direct(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        mut filled: usize,
        peeks: bool,
    ) -> io::Result<usize> {
        let mut stream = self.as_std();
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

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        let taken = &buffer[..buffer.len().min(MAX_BYTES)];
        self.shared.write(self.as_std(), &[IoSlice::new(taken)])
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = taken_by_one_call(buffers.iter().map(|buffer| buffer.len()));
        self.shared.write(self.as_std(), &buffers[taken])
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.shared.flush()
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

/// Which pieces of memory one call moves, of pieces of these sizes: it passes over empty ones at the front.
fn taken_by_one_call(mut sizes: impl ExactSizeIterator<Item = usize>) -> Range<usize> {
    let count = sizes.len();
    let first = sizes.position(|size| size > 0).unwrap_or(0);
    first..count.min(first + MAX_SLICES)
}

impl Shared {
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
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let Some(stream) = self.std.take() else {
            return;
        };
        let shared = &*self.shared;
        debug_assert_eq!(ffi::socket_of(&stream), shared.socket);
        let cannot_be_read = {
            let mut receiving = shared.receiving.lock();
            shared.receiving.close(&mut receiving, shared);
            receiving.shut
        };
        shared.membership.leave();
        // If the socket comes back, no send is in flight, and the socket is closed here.
        if let Some(stream) = shared.close_send(stream) {
            // Otherwise input that nobody could read would make the close reset the connection.
            if cannot_be_read {
                discard_input(&stream);
            }
            close_connection(stream);
        }
    }
}
