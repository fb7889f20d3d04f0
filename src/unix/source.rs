//! What all sources on Unix have in common: a socket, its readiness, and the queue that it belongs to.
//!
//! **The idea.** A call that moves data is made straight on the socket, whatever any poll is doing. How the call ended
//! is a fact about the kernel: `WouldBlock` means that the kernel will report the next data or room. [`Source`] makes
//! the calls and tells the state machine these facts. A new sort of source is a type that `std` has, a [`Kind`], and
//! one method for each of its calls: see [`stream`](crate::unix::stream), [`listener`](crate::unix::listener) and
//! [`datagrams`](crate::unix::datagrams).
//!
//! **The price.** A source is one allocation, since the table of its queue points to it, and a handle is a pointer.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use crate::backend::{Registrator, System};
use crate::hooks::sync::{AtomicBool, AtomicI32, Ordering};
use crate::interests::{Interests, Token};
use crate::unix::queue::{self, Membership, System as _};
use crate::unix::readiness::{Direction, Kind, Readiness, Tick};
use crate::unix::{self, ffi};

/// What the queue is asked for: most often what `std` has for the socket of a source.
pub(crate) trait Socket: Send + Sync + 'static {
    /// The number of the descriptor. The polling thread uses it, too, so it must not be that of a stranger.
    fn number(&self) -> RawFd;

    /// Whether the queue has it with this number, and it stands for the same thing as far as is known.
    fn is_still(&self, number: RawFd) -> bool {
        self.number() == number
    }

    /// What it stands for may have changed.
    fn change(&self) {}

    /// It enters a queue with this number. Called under the lock of the source's state.
    fn set(&self, _number: RawFd) {}
}

impl<T: AsFd + Send + Sync + 'static> Socket for T {
    fn number(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// The number of a descriptor that the user may close or exchange at any time. It was open when the source entered its
/// queue; the user's thread sees to it that nothing is asked for a number that is a stranger's by now.
#[derive(Debug)]
pub(crate) struct Number {
    number: AtomicI32,
    /// The user has borrowed the thing mutably since the last registration, so it may be another one.
    changed: AtomicBool,
}

impl Number {
    /// No descriptor has this number.
    pub(crate) const NONE: RawFd = -1;

    pub(crate) fn new() -> Number {
        Number {
            number: AtomicI32::new(Number::NONE),
            changed: AtomicBool::new(false),
        }
    }
}

impl Socket for Number {
    fn number(&self) -> RawFd {
        self.number.load(Ordering::Relaxed)
    }

    fn is_still(&self, number: RawFd) -> bool {
        self.number() == number && !self.changed.load(Ordering::Relaxed)
    }

    fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    fn set(&self, number: RawFd) {
        self.number.store(number, Ordering::Relaxed);
        self.changed.store(false, Ordering::Relaxed);
    }
}

/// A socket and what is known of it.
pub(crate) struct Source<S, T: ?Sized> {
    pub(crate) readiness: Readiness,
    pub(crate) membership: Membership<S>,
    pub(crate) socket: T,
}

/// A source of whatever sort, as a queue has it. What need not know the sort is compiled once for all.
pub(crate) type AnySource<S> = Source<S, dyn Socket>;

impl<S, T> Source<S, T> {
    pub(crate) fn new(socket: T, kind: Kind) -> Arc<Source<S, T>> {
        Arc::new(Source {
            readiness: Readiness::new(kind),
            membership: Membership::new(),
            socket,
        })
    }
}

impl<S: queue::System, T: Socket + AsFd> Source<S, T> {
    /// Makes a call of which only `WouldBlock` says anything about what comes next: an accept, or the call for a
    /// datagram.
    pub(crate) fn attempt<R>(
        &self,
        direction: Direction,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let tick = self.readiness.tick(direction);
        call(&self.socket).map_err(|error| self.note_failed(direction, tick, error))
    }

    /// A call that began at `tick` failed. Notes it if there was nothing to do, and returns the error for the user.
    pub(super) fn note_failed(
        &self,
        direction: Direction,
        tick: Tick,
        error: io::Error,
    ) -> io::Error {
        let error = self.meant(error);
        if error.kind() == ErrorKind::WouldBlock {
            self.readiness.note(direction, tick);
        }
        error
    }

    /// Makes a call of the user's own. Its `WouldBlock` need not mean "not ready": the call may have used only a part
    /// of the data, or have told of the state of another library. So it is noted only if the system agrees. What is not
    /// noted costs at most a question to the kernel at the next registration.
    fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let direction = Direction::of(interest);
        if direction == Direction::Read {
            self.readiness.expect_own_read();
        }
        let tick = self.readiness.tick(direction);
        let result = call(&self.socket);
        let Err(error) = &result else {
            return result;
        };
        let fd = self.socket.number();
        if error.kind() == ErrorKind::WouldBlock && unix::confirm(fd, interest).is_empty() {
            self.readiness.note(direction, tick);
        }
        let code = error.raw_os_error();
        if let Some(code) = code.filter(|&code| ffi::breaks_connection(code)) {
            // The error may be that of another descriptor which the call has used. If it is that of this stream, the
            // socket has hung up.
            if self.readiness.is_stream() && unix::has_hung_up(fd) {
                self.readiness.ending.failed(direction, code);
            }
        }
        result
    }

    /// The error of a call on this socket, where the system gives another one.
    pub(crate) fn meant(&self, error: io::Error) -> io::Error {
        S::meant(self.socket.as_fd(), error)
    }
}

/// What the user owns. When it is dropped, the source leaves its queue, and then the descriptor is closed.
pub(crate) struct Handle<T: Socket + AsFd> {
    pub(crate) source: Arc<Source<System, T>>,
}

impl<T: Socket + AsFd> Handle<T> {
    /// For a socket that does not block and that the crate has made.
    pub(crate) fn new(socket: T, kind: Kind) -> Handle<T> {
        Handle {
            source: Source::new(socket, kind),
        }
    }

    /// For a socket that does not block and that the user has made.
    pub(crate) fn adopt(socket: T, kind: Kind) -> Handle<T> {
        System::adopt(socket.as_fd());
        Handle::new(socket, kind)
    }

    pub(crate) fn as_std(&self) -> &T {
        &self.source.socket
    }

    pub(crate) fn into_socket(self) -> T {
        let source = Arc::clone(&self.source);
        drop(self);
        let source = Arc::into_inner(source);
        source
            .expect("the handle and the table have given up the only other references")
            .socket
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        interests: Interests,
    ) -> io::Result<()> {
        with.register(&self.source, self.source.socket.number(), token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        with.disarm(&*self.source, interests)
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.try_io(interest, call)
    }

    /// Only Windows lends memory to the kernel.
    pub(crate) fn set_lent_buffer(&self, _bytes: usize) {}
}

impl<T: Socket + AsFd> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.source.membership.get() {
            queue.leave(&*self.source, self.source.socket.number());
        }
    }
}
