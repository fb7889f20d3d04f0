//! The queue of Linux and Android: [`epoll`](https://man7.org/linux/man-pages/man7/epoll.7.html).
//!
//! **The idea.** Every source is in the set edge-triggered (or, where reads fill their buffer, for the level), for
//! what [`unix::readiness`](crate::unix::readiness) asks and nothing else. The 64 bits that epoll hands back with
//! each edge hold the slot of the source and the stamp of the asking. This file translates interests to `EPOLL…`
//! bits, and those bits to an [`Edge`].
//!
//! **Wakes.** An eventfd is in the set edge-triggered. Each write to it is an edge of its own, so it need not be read,
//! and a wake costs one `write`. (After 2^64 - 2 writes the eventfd is full. Then it is read once.)
//!
//! **Waiting.** `epoll_pwait2` takes nanoseconds (Linux 5.11). Where the kernel does not have it, or a sandbox refuses
//! it with whatever error, `epoll_wait` takes milliseconds, rounded up. Android's filter kills a program that tries the
//! newer call, so the call is not compiled in there. After a signal either is called again for the rest of the time.
//!
//! **Urgent data.** With only the urgent byte in the socket, epoll may report `EPOLLIN` (when memory is short), and no
//! read gives that byte. So an edge with `EPOLLPRI` is confirmed by a peek at one byte. The peek also takes the error
//! that the socket may keep, and the source's [`Ending`] keeps it for the user.
//!
//! **The price.** An edge may come for a direction that is not armed. It fires no event. From the second such edge in a
//! row on, the kernel is asked to report only what is armed.

pub(crate) mod ffi;

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::error;
use crate::event::Hints;
use crate::hooks;
use crate::hooks::sync::{AtomicBool, Ordering};
use crate::interests::Interests;
use crate::timeout::milliseconds;
use crate::unix::ending::Ending;
use crate::unix::ffi as socket;
use crate::unix::queue;
use crate::unix::readiness::{Edge, Key};
use crate::unix::selector::{self, Reaped, Wait};

pub(crate) use crate::unix::{
    pipe, ChildExit, Descriptor, PipeReader, PipeWriter, TcpListener, TcpStream, UdpSocket,
    UnixDatagram, UnixListener, UnixStream,
};

/// A backend's name for what its queue does.
pub(crate) type System = Epoll;
pub(crate) type Selector = selector::Selector<Epoll>;
pub(crate) type Registrator = queue::Registrator<Epoll>;

/// The key of the eventfd. No source has this slot.
const NOTICE: u64 = u64::MAX;

const READ_BITS: u32 = ffi::EPOLLIN | ffi::EPOLLRDHUP | ffi::EPOLLPRI;
const WRITE_BITS: u32 = ffi::EPOLLOUT;

/// The epoll set, and the eventfd in it.
#[derive(Debug)]
pub(crate) struct Epoll {
    set: OwnedFd,
    notices: File,
    /// The polling thread clears it for good when the call is refused. No other thread uses it.
    has_pwait2: AtomicBool,
}

impl Wait for Epoll {
    type Entry = ffi::epoll_event;
    const BLANK: ffi::epoll_event = ffi::epoll_event { events: 0, data: 0 };

    fn new() -> io::Result<Epoll> {
        let set = ffi::epoll_create1()?;
        let notices = File::from(ffi::eventfd()?);
        let (bits, fd) = (ffi::EPOLLIN | ffi::EPOLLET, notices.as_raw_fd());
        ffi::epoll_ctl(set.as_fd(), ffi::EPOLL_CTL_ADD, fd, bits, NOTICE)?;
        Ok(Epoll {
            set,
            notices,
            has_pwait2: AtomicBool::new(true),
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    fn wait(
        &self,
        reaped: &mut [ffi::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = match timeout {
            None => return ffi::epoll_wait(self.set.as_fd(), reaped, -1),
            // A few nanoseconds cheaper than the newer call, which would do the same.
            Some(Duration::ZERO) => return ffi::epoll_wait(self.set.as_fd(), reaped, 0),
            Some(timeout) => timeout,
        };
        if let Some(done) = self.wait_in_nanoseconds(reaped, timeout) {
            return done;
        }
        let most = i32::MAX.unsigned_abs();
        let timeout_ms = i32::try_from(milliseconds(timeout, most)).unwrap_or(i32::MAX);
        ffi::epoll_wait(self.set.as_fd(), reaped, timeout_ms)
    }

    fn translate(&self, entry: &ffi::epoll_event, wait: u32) -> Reaped {
        if entry.data == NOTICE {
            return Reaped::Notice;
        }
        let (slot, edge) = decode(entry, wait);
        Reaped::Edge(slot, edge)
    }
}

impl Epoll {
    /// `None` if the system refuses the call, which is then not made again.
    fn wait_in_nanoseconds(
        &self,
        reaped: &mut [ffi::epoll_event],
        timeout: Duration,
    ) -> Option<io::Result<usize>> {
        if !self.has_pwait2.load(Ordering::Relaxed) || hooks::epoll_wait_forced() {
            return None;
        }
        match ffi::epoll_pwait2(self.set.as_fd(), reaped, timeout) {
            Err(error) if !is_about_the_arguments(&error) => {
                self.has_pwait2.store(false, Ordering::Relaxed);
                None
            }
            done => Some(done),
        }
    }
}

/// Whether a wait failed for a reason that `epoll_wait` would have, too. Every other error is taken for a refusal of
/// the newer call, since kernels and sandboxes have many codes for that.
fn is_about_the_arguments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(ffi::EINTR | ffi::EBADF | ffi::EFAULT | ffi::EINVAL)
    )
}

/// A descriptor that is readable once the process with this number has ended. `ESRCH` if there is none.
pub(crate) fn watch_process(number: u32) -> io::Result<OwnedFd> {
    ffi::pidfd_open(number).map_err(|error| match error.raw_os_error() {
        Some(socket::ESRCH | ffi::EINVAL | ffi::EMFILE | ffi::ENFILE | ffi::ENOMEM) => error,
        // Kernels and sandboxes have many codes for a call that they do not know.
        _ => error::no_child_exit(),
    })
}

impl queue::System for Epoll {
    fn ask(
        &self,
        fd: RawFd,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()> {
        let operation = match before {
            None => ffi::EPOLL_CTL_ADD,
            Some(_) => ffi::EPOLL_CTL_MOD,
        };
        let bits = bits_of(interests) | ffi::EPOLLET;
        ffi::epoll_ctl(self.set.as_fd(), operation, fd, bits, encode(key))
    }

    fn has_levels(&self) -> bool {
        true
    }

    fn ask_for_level(&self, fd: RawFd, interests: Interests, key: Key) -> io::Result<()> {
        let bits = bits_of(interests);
        ffi::epoll_ctl(self.set.as_fd(), ffi::EPOLL_CTL_MOD, fd, bits, encode(key))
    }

    fn confirm_beside_urgent(&self, fd: RawFd, ending: &Ending) -> bool {
        if socket::peeks_on(fd) {
            return true;
        }
        let error = match socket::peek_one(fd) {
            Ok(_) => return true,
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(code) if socket::breaks_connection(code) => ending.keep(code),
            _ => {}
        }
        error.kind() != ErrorKind::WouldBlock
    }

    fn leave(&self, fd: RawFd, _asked: Interests) {
        // It fails only if the user has closed the descriptor, which takes it out of the set, too.
        let set = self.set.as_fd();
        drop(ffi::epoll_ctl(set, ffi::EPOLL_CTL_DEL, fd, 0, 0));
    }

    fn notice(&self) {
        let one = 1_u64.to_ne_bytes();
        let written = (&self.notices).write(&one);
        if matches!(&written, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            // The eventfd is full, after 2^64 - 2 notices. A read makes room, and the write that follows makes an edge.
            drop((&self.notices).read(&mut [0; 8]));
            drop((&self.notices).write(&one));
        } else {
            debug_assert!(
                written.is_ok(),
                "an eventfd that is not full takes every number: {written:?}"
            );
        }
    }

    /// A write to a socket that was never connected fails with `EPIPE`, as if the connection had ended. Other systems
    /// say `ENOTCONN`. Such a socket reports a hang-up, and is not readable as one that has ended would be.
    fn meant(socket: BorrowedFd<'_>, error: io::Error) -> io::Error {
        if error.kind() == ErrorKind::BrokenPipe {
            let found = socket::poll_now(socket.as_raw_fd(), socket::POLLIN).unwrap_or(0);
            if found & (socket::POLLIN | socket::POLLHUP) == socket::POLLHUP {
                return io::Error::from_raw_os_error(socket::ENOTCONN);
            }
        }
        error
    }
}

fn bits_of(interests: Interests) -> u32 {
    let mut bits = 0;
    if interests.is_readable() {
        bits |= READ_BITS;
    }
    if interests.is_writable() {
        bits |= WRITE_BITS;
    }
    bits
}

fn encode(key: Key) -> u64 {
    u64::from(key.stamp) << 32 | u64::from(key.slot)
}

#[allow(clippy::cast_possible_truncation)] // the two halves of the key
fn decode(entry: &ffi::epoll_event, wait: u32) -> (u32, Edge) {
    let (bits, data) = (entry.events, entry.data);
    let has = |mask: u32| bits & mask != 0;
    let directions = |read, write| {
        let mut directions = Interests::empty();
        directions.set(Interests::READABLE, has(read));
        directions.set(Interests::WRITABLE, has(write));
        directions
    };
    let broken = ffi::EPOLLHUP | ffi::EPOLLERR;
    let edge = Edge {
        stamp: (data >> 32) as u32,
        wait,
        told: Interests::all(),
        ready: directions(
            ffi::EPOLLIN | ffi::EPOLLRDHUP | broken,
            ffi::EPOLLOUT | broken,
        ),
        odd: directions(ffi::EPOLLPRI | ffi::EPOLLRDHUP | broken, broken),
        waiting: 0,
        urgent: has(ffi::EPOLLPRI) && !has(ffi::EPOLLRDHUP | broken),
        hints: Hints {
            read_closed: has(ffi::EPOLLRDHUP | ffi::EPOLLHUP),
            write_closed: has(ffi::EPOLLHUP),
            error: has(ffi::EPOLLERR),
            priority: has(ffi::EPOLLPRI),
        },
    };
    (data as u32, edge)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::unix::queue::System as _;

    /// Whether the notice is reaped, and nothing else.
    fn reaps_a_notice(epoll: &Epoll) -> bool {
        let mut reaped = [ffi::epoll_event { events: 0, data: 0 }; 2];
        let count = epoll
            .wait(&mut reaped, Some(Duration::ZERO))
            .expect("a set");
        count == 1 && matches!(reaped[0], ffi::epoll_event { data: NOTICE, .. })
    }

    // After 2^64 - 2 wakes, which no test can wait for.
    #[test]
    fn a_full_eventfd_gives_notice() {
        let epoll = Epoll::new().expect("a set and an eventfd");
        let full = (u64::MAX - 1).to_ne_bytes();
        let written = (&epoll.notices).write(&full);
        assert_eq!(written.expect("it is empty"), 8);
        assert!(reaps_a_notice(&epoll));
        for _ in 0..2 {
            epoll.notice();
            assert!(reaps_a_notice(&epoll));
        }
    }
}
