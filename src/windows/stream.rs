//! [`TcpStream`]: one receive, one send (or connect) in flight at most, and what `read` and `write` make of them.
//!
//! The stream is two pieces. What the user holds owns the socket. [`Shared`] holds all that an operation in flight needs,
//! lives in an `Arc` that each operation in flight has a reference to, and knows the socket only by its number.
//!
//! # Invariants
//! - **The number is the socket's** as long as a direction's lock is held and that direction is not `closed`: dropping the
//!   stream marks both, each under its lock, before the socket is closed. A stream that leaves a send behind hands the
//!   socket itself to that direction (`orphan`), which closes it when the send has ended.
//! - **No overtaking**: while a receive with memory is in flight, nobody receives from the socket; and a receive starts
//!   only when no bytes wait in the buffer. So the bytes of the buffer come before those of the socket. Both are decided
//!   under the lock of the receiving direction, which is held over the (non-blocking) receive from the socket, too. The
//!   same with sends.
//! - **Armed means owed**: when an interest is armed and the direction's lock is free, an operation is in flight or a
//!   note is on its way, whose packet will look at the interest (or a connect, for both), or the user makes a call of his own
//!   (`try_io`) whose end will. Whoever ends one of them, starts the next or posts a note before it unlocks.
//! - **A broken stream stays broken**: see `broken.rs`.
//!
//! # Locks
//! `sending` before `receiving`, and together only to give the socket back. The end of a connect concerns both: it is
//! written to `connect` first, and then each direction is locked in turn; whoever arms an interest reads `connect` under its lock, so that either he
//! sees the end or the end sees the interest.

mod broken;
mod connecting;
mod receiving;
mod sending;

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Weak};

use super::ffi;
use super::lending::MAX_BUFFER;
use super::operation::{Kind, Operation, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::{close_connection, still_lent, Registrator};
use crate::error;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, net, AtomicI32, AtomicUsize, Mutex, Ordering};
use crate::interests::{Interests, Token};
use broken::{breaks_connection, Broken};
use connecting::{CONNECTED, FOREIGN};
use receiving::{Next, Receiving};
use sending::{discard_input, Sending};

/// How many pieces of memory one call moves at most; Wine takes no more.
const MAX_SLICES: usize = 1024;

/// That the user has not chosen how much is lent.
const FOLLOWS_TRAFFIC: usize = usize::MAX;

/// What operations in flight need of a stream.
struct Shared {
    socket: ffi::SOCKET,
    me: Weak<dyn Owner>,
    membership: Membership,
    /// How far the connect is: see `connecting.rs`.
    connect: AtomicI32,
    /// Where a stream that is not connected yet will go.
    target: Option<SocketAddr>,
    /// The same for the system, which may read it during the connect.
    target_name: (ffi::SOCKADDR_STORAGE, i32),
    /// What broke the connection, as far as anybody was told.
    broken: Broken,
    /// How much the next receive lends. Chosen by the user at any time; it orders nothing.
    wanted: AtomicUsize,
    receive: Operation,
    send: Operation,
    receiving: Mutex<Receiving>,
    sending: Mutex<Sending>,
}

impl Owner for Shared {
    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receive_completed(packet, port, sink),
            Kind::Send => self.send_completed(packet, port, sink),
        }
    }

    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        match kind {
            Kind::Receive => self.receive_noted(port, sink),
            Kind::Send => self.send_noted(port, sink),
        }
    }

    fn signalled(&self, number: usize, port: &Arc<Port>, sink: Sink<'_>) {
        self.connect_signalled(number, port, sink);
    }

    fn abandon(&self) {
        self.abandon_receive();
        self.abandon_send();
    }

    fn give_up(&self) {
        self.give_up_send();
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

    fn new(stream: net::TcpStream, connect: i32, target: Option<SocketAddr>) -> TcpStream {
        let socket = ffi::socket_of(&stream);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            let no_name = (ffi::SOCKADDR_STORAGE::zeroed(), 0);
            Shared {
                socket,
                membership: Membership::default(),
                connect: AtomicI32::new(connect),
                target,
                target_name: target
                    .as_ref()
                    .map_or(no_name, ffi::SOCKADDR_STORAGE::from_std),
                broken: Broken::new(),
                wanted: AtomicUsize::new(FOLLOWS_TRAFFIC),
                receive: Operation::new(Weak::clone(&me), Kind::Receive),
                send: Operation::new(Weak::clone(&me), Kind::Send),
                receiving: Mutex::new(Receiving::new()),
                sending: Mutex::new(Sending::new()),
                me,
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
        if !self.shared.release() {
            return Err((self, still_lent()));
        }
        match self.std.take() {
            Some(stream) => Ok(stream),
            None => Err((self, still_lent())),
        }
    }

    pub(crate) fn as_std(&self) -> &net::TcpStream {
        match &self.std {
            Some(stream) => stream,
            None => unreachable!("a stream that is in use has its socket"),
        }
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
        let shared = &*self.shared;
        shared
            .membership
            .join(&with.port, shared.socket, &shared.me)?;
        shared.await_foreign_connect(&with.port)?;
        super::arm(
            interests,
            || shared.arm_receive(&with.port, token),
            || shared.arm_send(&with.port, token),
            |before| lock(&shared.receiving).side.armed = before,
        )?;
        shared.start_connect(&with.port);
        Ok(())
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        if !self.shared.membership.is_with(&with.port) {
            return Err(error::not_registered());
        }
        if interests.is_readable() && holds(Rule::Disarm) {
            lock(&self.shared.receiving).side.armed = None;
        }
        if interests.is_writable() && holds(Rule::Disarm) {
            lock(&self.shared.sending).side.armed = None;
        }
        Ok(())
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&net::TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        if interest.is_readable() {
            self.shared.try_receive(|| call(self.as_std()))
        } else {
            self.shared.try_send(|| call(self.as_std()))
        }
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(
            buffer,
            |buffer| buffer.len(),
            |buffer, bytes| buffer[..bytes.len()].copy_from_slice(bytes),
            |mut stream, buffer, filled| stream.read(&mut buffer[filled..]),
        )
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let first = buffers
            .iter()
            .position(|buffer| !buffer.is_empty())
            .unwrap_or(0);
        let end = buffers.len().min(first + MAX_SLICES);
        let buffers = &mut buffers[first..end];
        let room =
            |buffers: &&mut [IoSliceMut<'_>]| buffers.iter().map(|buffer| buffer.len()).sum();
        let copy = |buffers: &mut &mut [IoSliceMut<'_>], mut bytes: &[u8]| {
            for buffer in buffers.iter_mut() {
                let (head, tail) = bytes.split_at(bytes.len().min(buffer.len()));
                buffer[..head.len()].copy_from_slice(head);
                bytes = tail;
            }
        };
        self.read_with(buffers, room, copy, |mut stream, buffers, filled| {
            if filled == 0 {
                return stream.read_vectored(buffers);
            }
            let mut skipped = filled;
            let mut rest: Vec<IoSliceMut<'_>> = Vec::new();
            for buffer in buffers.iter_mut() {
                let here = skipped.min(buffer.len());
                skipped -= here;
                if here < buffer.len() {
                    rest.push(IoSliceMut::new(&mut buffer[here..]));
                }
            }
            stream.read_vectored(&mut rest)
        })
    }

    /// Takes bytes from the lent buffer, or else from the socket, or from both if the receive came back full. `room` says
    /// how many fit into `buffer`; `copy` puts no more there; `direct` receives behind the number of bytes that it is told.
    fn read_with<B>(
        &self,
        mut buffer: B,
        room: impl FnOnce(&B) -> usize,
        copy: impl FnOnce(&mut B, &[u8]),
        direct: impl FnOnce(&net::TcpStream, B, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = room(&buffer);
        if room == 0 {
            return Ok(0);
        }
        match self.shared.next_bytes()? {
            Next::End(mut receiving) => self.shared.tell_end(&mut receiving).map(|()| 0),
            Next::Lent(mut receiving) => {
                let count = receiving.buffer.unread().len().min(room);
                copy(&mut buffer, &receiving.buffer.unread()[..count]);
                receiving.buffer.consume(count);
                if count == room || !receiving.is_more_likely() {
                    return Ok(count);
                }
                if !holds(Rule::GoesOnLocked) {
                    drop(receiving);
                    return Ok(count + direct(self.as_std(), buffer, count).unwrap_or(0));
                }
                // Nothing is in flight while bytes wait in the buffer, and nothing starts under the lock.
                let more = direct(self.as_std(), buffer, count);
                Ok(count + receiving.keep(&more))
            }
            Next::Socket(mut receiving) => {
                let result = direct(self.as_std(), buffer, 0);
                self.shared.tell(&mut receiving, result)
            }
        }
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.shared.next_bytes()? {
            Next::End(mut receiving) => self.shared.tell_end(&mut receiving).map(|()| 0),
            Next::Lent(mut receiving) => {
                let bytes = receiving.buffer.unread();
                let count = bytes.len().min(buffer.len());
                let (head, tail) = buffer.split_at_mut(count);
                head.copy_from_slice(&bytes[..count]);
                // What is known to follow is not asked for again: the system tells it once.
                if tail.is_empty() || !receiving.is_open() {
                    return Ok(count);
                }
                // What follows is in the socket, if it is there: nothing is in flight while bytes wait here. Windows may show
                // less of it than a read would give: a peek may end where the bytes of one packet from the network do.
                let more = self.as_std().peek(tail);
                Ok(count + receiving.keep(&more))
            }
            Next::Socket(mut receiving) => {
                let result = self.as_std().peek(buffer);
                self.shared.tell(&mut receiving, result)
            }
        }
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        self.shared
            .write(&[IoSlice::new(buffer)], || self.as_std().write(buffer))
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = buffers
            .iter()
            .position(|buffer| !buffer.is_empty())
            .unwrap_or(0);
        let buffers = &buffers[first..buffers.len().min(first + MAX_SLICES)];
        self.shared
            .write(buffers, || self.as_std().write_vectored(buffers))
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.shared.flush()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.check_not_connecting()?;
        self.as_std().peer_addr()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        // Of a connect that has ended, the address that it got; of one under way, the bound one.
        drop(self.shared.check_not_connecting());
        self.as_std().local_addr()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.check_not_connecting()?;
        if how != Shutdown::Read {
            // The end follows the bytes that are in flight.
            self.shared
                .shut_send(|| self.as_std().shutdown(Shutdown::Write))?;
        }
        if how != Shutdown::Write {
            // With both ends said there may be no peer any more: that sending was shut down says that there was one.
            let connected = || match how {
                Shutdown::Both => Ok(()),
                _ => self.as_std().peer_addr().map(drop),
            };
            self.shared.shut_receive(connected)?;
        }
        Ok(())
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let may_have_error = self.shared.may_have_error()?;
        if let Some(code) = self.shared.take_failure() {
            return Ok(Some(io::Error::from_raw_os_error(code)));
        }
        if !may_have_error {
            return Ok(None);
        }
        let error = self.as_std().take_error()?;
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        let known = code.is_some_and(|code| {
            breaks_connection(code) && !self.shared.broken.take(code) && holds(Rule::TakenOnce)
        });
        Ok(error.filter(|_| !known))
    }
}

impl Shared {
    /// A failure that `take_error` has not returned yet: of the connect, of a receive, of a send, or one that a call has
    /// told of. The first, the last and most of the others are one failure: of the connection.
    fn take_failure(&self) -> Option<ffi::Code> {
        let is_news = |code| self.broken.take(code);
        self.take_connect_failure(is_news)
            .or_else(|| lock(&self.receiving).take_failure(is_news))
            .or_else(|| lock(&self.sending).take_failure(is_news))
            .or_else(|| self.broken.take_told())
    }

    /// Lets go of the socket, if nothing of it is in flight and no bytes wait: then it can be given back.
    fn release(&self) -> bool {
        {
            let mut sending = lock(&self.sending);
            let mut receiving = lock(&self.receiving);
            if sending.side.in_flight || !receiving.can_be_released() {
                return false;
            }
            self.end_connect_wait(&mut sending);
            sending.side.armed = None;
            sending.side.closed = true;
            self.close_receive(&mut receiving);
        }
        self.membership.leave(&self.me);
        true
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let Some(stream) = self.std.take() else {
            return;
        };
        debug_assert_eq!(ffi::socket_of(&stream), self.shared.socket);
        self.shared.close_receive(&mut lock(&self.shared.receiving));
        self.shared.membership.leave(&self.shared.me);
        // What comes back has no send in flight, and is closed here.
        if let Some(stream) = self.shared.close_send(stream) {
            // What nobody could read is no reason to reset the connection.
            if self.shared.is_receiving_shut() {
                discard_input(&stream);
            }
            close_connection(stream);
        }
    }
}
