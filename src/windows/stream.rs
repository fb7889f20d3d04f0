//! [`Stream`]: what `read` and `write` make of one receive and one send (or connect) in flight. What carries the bytes, a TCP
//! socket or a named pipe, is its [`Transport`].
//!
//! The stream is two pieces. What the user holds owns the file: the socket or the pipe. [`Shared`] holds all that an operation
//! in flight needs. It lives in an `Arc`, to which each operation in flight has a reference, and it knows the file only by its
//! number.
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
mod pipe;
mod receiving;
mod sending;
mod tcp;
mod transport;

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::direction::{Direction, Duplex, Transfer};
use super::lending::MAX_BUFFER;
use super::operation::{Kind, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::{still_lent, would_block, Registrator};
use crate::hooks::sync::{AtomicI32, AtomicUsize, Ordering};
use crate::interests::{Interests, Token};
use broken::{breaks_connection, Broken};
pub(crate) use pipe::NamedPipe;
use receiving::Receiving;
use sending::Sending;
pub(crate) use tcp::TcpStream;
use transport::{Closing, Transport};

/// How many pieces of memory one call moves at most; Wine takes no more.
const MAX_SLICES: usize = 1024;

/// How many bytes one call moves at most from or to one piece of memory. The system counts them by an `i32`, and an `IoSlice`
/// takes no more than a `u32` can say.
const MAX_BYTES: usize = i32::MAX as usize;

/// That the user has not chosen how much is lent.
const FOLLOWS_TRAFFIC: usize = usize::MAX;

/// What operations in flight need of a stream.
pub(crate) struct Shared<T: Transport> {
    file: T::File,
    membership: Membership,
    /// How far the connect is: see `connecting.rs`.
    connect: AtomicI32,
    /// Where a stream that is not connected yet will go. The system may read it during the connect.
    target: T::Target,
    /// What broke the connection, as far as a call has told of it.
    broken: Broken,
    /// How much the next receive lends. Chosen by the user at any time; it orders nothing.
    wanted: AtomicUsize,
    receiving: Direction<Receiving<T>>,
    sending: Direction<Sending<T>>,
}

impl<T: Transport> Owner for Shared<T> {
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

impl<T: Transport> Duplex for Shared<T> {
    type Receiving = Receiving<T>;
    type Sending = Sending<T>;

    fn receiving(&self) -> &Direction<Receiving<T>> {
        &self.receiving
    }

    fn sending(&self) -> &Direction<Sending<T>> {
        &self.sending
    }
}

/// A stream of bytes.
pub(crate) struct Stream<T: Transport> {
    shared: Arc<Shared<T>>,
    // `None` only at the very end: it was given back, or handed to the send that is in flight.
    owned: Option<T::Owned>,
}

impl<T: Transport> Stream<T> {
    fn new(owned: T::Owned, connect: i32, target: T::Target) -> Stream<T> {
        let file = (T::FILE)(&owned);
        let handle = (T::HANDLE)(file);
        let shared = Arc::new_cyclic(|me: &Weak<Shared<T>>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                file,
                connect: AtomicI32::new(connect),
                target,
                broken: Broken::default(),
                wanted: AtomicUsize::new(FOLLOWS_TRAFFIC),
                receiving: Direction::new(handle, &me, Kind::Receive),
                sending: Direction::new(handle, &me, Kind::Send),
                membership: Membership::new(me),
            }
        });
        Stream {
            shared,
            owned: Some(owned),
        }
    }

    /// Gives the socket or pipe back, if nothing is lent and nothing unread.
    fn give_back(mut self) -> Result<T::Owned, (Stream<T>, io::Error)> {
        let given = self.shared.release().then(|| self.owned.take()).flatten();
        given.ok_or_else(|| (self, still_lent()))
    }

    /// What owns the socket or pipe.
    pub(crate) fn as_owned(&self) -> &T::Owned {
        self.owned
            .as_ref()
            .expect("a stream that is in use has its socket or pipe")
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
        if shared.membership.port().is_none() {
            T::check(shared.file)?;
        }
        shared
            .membership
            .join(&with.port, (T::HANDLE)(shared.file))?;
        // Has the end of a connect that somebody else began come to the port.
        shared.look_at_foreign(Some(&with.port))?;
        shared.arm(&with.port, token, interests)?;
        shared.start_connect(&with.port);
        Ok(())
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.shared.disarm(with, interests)
    }

    /// Makes a call of the user's own.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T::Owned) -> io::Result<R>,
    ) -> io::Result<R> {
        self.shared.check_connected()?;
        self.shared.try_io(interest, || call(self.as_owned()))
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(MAX_BYTES);
        self.shared.receive(
            self.as_owned(),
            &mut [IoSliceMut::new(&mut buffer[..room])],
            false,
        )
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let taken = taken_by_one_call(buffers.iter().map(|buffer| buffer.len()));
        self.shared
            .receive(self.as_owned(), &mut buffers[taken], false)
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        let taken = &buffer[..buffer.len().min(MAX_BYTES)];
        self.shared.write(self.as_owned(), &[IoSlice::new(taken)])
    }

    pub(crate) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = taken_by_one_call(buffers.iter().map(|buffer| buffer.len()));
        self.shared.write(self.as_owned(), &buffers[taken])
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.shared.flush()
    }
}

/// Which pieces of memory one call moves, of pieces of these sizes: it passes over empty ones at the front.
fn taken_by_one_call(mut sizes: impl ExactSizeIterator<Item = usize>) -> Range<usize> {
    let count = sizes.len();
    let first = sizes.position(|size| size > 0).unwrap_or(0);
    first..count.min(first + MAX_SLICES)
}

impl<T: Transport> Shared<T> {
    /// Takes bytes from the lent buffer, or else from the socket, or from both. To peek there may be one buffer only.
    fn receive(
        &self,
        owned: &T::Owned,
        buffers: &mut [IoSliceMut<'_>],
        peeks: bool,
    ) -> io::Result<usize> {
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if room == 0 {
            return Ok(0);
        }
        self.check_connected()?;
        let mut receiving = self.receiving.claim(self)?;
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
            let more = T::receive_at_once(owned, buffers, count, peeks);
            return Ok(count + receiving.keep(&more));
        }
        if receiving.holds_something() {
            return receiving.tell_end(&self.broken);
        }
        // A pipe may wait for its next client by now. That none is there is not the end of what that one will send.
        if T::END.is_some() && self.is_connecting() {
            return Err(would_block());
        }
        receiving.raided = true;
        let result = T::receive_at_once(owned, buffers, 0, peeks);
        receiving.tell(&self.broken, result)
    }
}

impl<T: Transport> Drop for Stream<T> {
    fn drop(&mut self) {
        let Some(owned) = self.owned.take() else {
            return;
        };
        let shared = &*self.shared;
        let how = {
            let mut receiving = shared.receiving.lock();
            shared.receiving.close(&mut receiving, shared);
            if receiving.shut {
                Closing::WithoutInput
            } else {
                Closing::Plainly
            }
        };
        shared.membership.leave();
        // If the file comes back, no send is in flight, and it is closed here.
        if let Some(owned) = shared.close_send(owned) {
            T::close(owned, how);
        }
    }
}
