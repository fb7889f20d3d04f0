//! The queue of Apple's systems and the BSDs: [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue).
//!
//! **The idea.** Every direction of a source is a filter of its own, asked with `EV_CLEAR` (edge-triggered), for what
//! [`unix::readiness`](crate::unix::readiness) wants and nothing else. The `udata` that comes back with each edge holds
//! the slot of the source and the stamp of the asking. [`translate`] does that, without system calls; this file submits
//! and waits.
//!
//! **Wakes.** A user event where the system has them, else a pipe: [`notices`].
//!
//! **Waiting.** `kevent` takes nanoseconds, and the rest of a deadline after a signal. Long waits are cut into days,
//! since Darwin refuses seconds beyond 31 bits and others count clock ticks in as many.
//!
//! **The price.** Readable and writable come as two events, and room that comes back is told several times: for what
//! nobody armed, from the second in a row on, the kernel is asked to keep quiet. An asking that failed half-way is
//! taken back by a second call.

pub(crate) mod ffi;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
#[path = "kqueue/pipe.rs"]
mod notices;
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
#[path = "kqueue/user_event.rs"]
mod notices;
pub(crate) mod translate;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::interests::Interests;
use crate::kqueue::notices::Notices;
use crate::kqueue::translate::NOTICE;
use crate::unix::ffi as socket;
use crate::unix::queue;
use crate::unix::readiness::Key;
use crate::unix::selector::{self, Reaped, Wait};

pub(crate) use crate::unix::{TcpListener, TcpStream, UdpSocket};

/// A backend's name for what its queue does.
pub(crate) type System = Kqueue;
pub(crate) type Selector = selector::Selector<Kqueue>;
pub(crate) type Registrator = queue::Registrator<Kqueue>;

/// The longest that one call waits: a day.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The kqueue, and what sends notices into it.
#[derive(Debug)]
pub(crate) struct Kqueue {
    queue: OwnedFd,
    notices: Notices,
}

impl Wait for Kqueue {
    type Entry = ffi::kevent;
    const BLANK: ffi::kevent = ffi::kevent::ZERO;

    fn new() -> io::Result<Kqueue> {
        let queue = ffi::kqueue()?;
        let notices = Notices::new(queue.as_fd())?;
        Ok(Kqueue { queue, notices })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn wait(&self, reaped: &mut [ffi::kevent], timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST_WAIT));
        ffi::wait(self.queue.as_fd(), reaped, timeout)
    }

    fn translate(&self, entry: &ffi::kevent, wait: u32) -> Reaped {
        if entry.udata == NOTICE {
            // Before the wakes are looked at, so that one which comes meanwhile is announced anew.
            self.notices.received();
            return Reaped::Notice;
        }
        let (slot, edge) = translate::edge(entry, wait);
        Reaped::Edge(slot, edge)
    }
}

/// Submits at most two changes. All are tried; the error is that of the first that failed.
fn submit(queue: BorrowedFd<'_>, changes: &[ffi::kevent]) -> io::Result<()> {
    let mut receipts = [ffi::kevent::ZERO; 2];
    if changes.is_empty() {
        return Ok(());
    }
    let count = loop {
        match ffi::submit(queue, changes, &mut receipts) {
            // Changes can be submitted twice: what was added is looked at once more, what was deleted is tolerated.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => break done?,
        }
    };
    match translate::failure(changes, &receipts[..count]) {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Ok(()),
    }
}

impl queue::System for Kqueue {
    fn ask(
        &self,
        fd: BorrowedFd<'_>,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()> {
        let before = before.unwrap_or(Interests::empty());
        let changes = translate::asking(ident(fd), before, interests, key);
        submit(self.queue.as_fd(), &changes).map_err(|error| {
            // One change may have been made and the other not. Nobody can mend a second failure: the next asking,
            // whatever it is for, puts all right.
            let back = translate::taking_back(ident(fd), before, interests, key);
            drop(submit(self.queue.as_fd(), &back));
            error
        })
    }

    fn leave(&self, fd: BorrowedFd<'_>, asked: Interests) {
        // It fails only if the user has closed the descriptor, which deletes its filters, too.
        drop(submit(
            self.queue.as_fd(),
            &translate::leaving(ident(fd), asked),
        ));
    }

    fn notice(&self) {
        self.notices.send(self.queue.as_fd());
    }

    /// Two errors stand for others here. On a socket that is being connected `write` (Apple's `read`, too) says that it
    /// is not connected; and once a connect was refused or a connection reset, `write` says `EPIPE` and leaves the
    /// reason where `SO_ERROR` finds it.
    fn meant(socket: BorrowedFd<'_>, error: io::Error) -> io::Error {
        let code = error.raw_os_error();
        if !matches!(code, Some(socket::EPIPE | socket::ENOTCONN)) {
            return error;
        }
        // In this order, since to ask about the connect may clear the reason.
        if let Some(reason) = socket::take_error(socket) {
            return reason;
        }
        if code == Some(socket::ENOTCONN) && socket::is_connecting(socket) {
            return io::Error::from_raw_os_error(socket::EAGAIN);
        }
        error
    }

    #[cfg(target_vendor = "apple")]
    fn adopt(socket: BorrowedFd<'_>) {
        socket::forbid_sigpipe(socket);
    }
}

fn ident(fd: BorrowedFd<'_>) -> usize {
    // A descriptor is not negative.
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}
