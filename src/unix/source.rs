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
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::backend::{Registrator, System};
use crate::interests::{Interests, Token};
use crate::unix::queue::{self, Membership, System as _};
use crate::unix::readiness::{Direction, Kind, Readiness};
use crate::unix::{self, ffi};

/// What `std` has for the socket of a source.
pub(crate) trait Socket: AsFd + Send + Sync + 'static {}

impl<T: AsFd + Send + Sync + 'static> Socket for T {}

/// A socket and what is known of it. The table of a queue holds it as `Source<S, dyn Socket>`.
pub(crate) struct Source<S, T: ?Sized> {
    pub(crate) readiness: Readiness,
    pub(crate) membership: Membership<S>,
    pub(crate) socket: T,
}

impl<S: queue::System, T: Socket> Source<S, T> {
    pub(crate) fn new(socket: T, kind: Kind) -> Arc<Source<S, T>> {
        Arc::new(Source {
            readiness: Readiness::new(kind),
            membership: Membership::new(),
            socket,
        })
    }

    /// Makes a call of which only `WouldBlock` says anything about what comes next: an accept, or the call for a
    /// datagram.
    pub(crate) fn attempt<R>(
        &self,
        direction: Direction,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let tick = self.readiness.tick(direction);
        let result = call(&self.socket).map_err(|error| self.meant(error));
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.readiness.note(direction, tick);
        }
        result
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
        let tick = self.readiness.tick(direction);
        let result = call(&self.socket);
        let Err(error) = &result else {
            return result;
        };
        let fd = self.socket.as_fd();
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
pub(crate) struct Handle<T: Socket> {
    pub(crate) source: Arc<Source<System, T>>,
}

impl<T: Socket> Handle<T> {
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
        with.register(&self.source, token, interests)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        with.disarm(&self.source, interests)
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

impl<T: Socket> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.source.membership.get() {
            queue.leave(&self.source);
        }
    }
}
