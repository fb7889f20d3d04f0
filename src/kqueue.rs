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

use crate::hooks::faults::{fault, Call};
use crate::interests::Interests;
use crate::kqueue::notices::Notices;
use crate::kqueue::translate::{Changes, NOTICE};
use crate::unix;
use crate::unix::queue;
use crate::unix::readiness::Key;
use crate::unix::selector::{self, Reaped, Wait};

pub(crate) use crate::unix::sources::{TcpListener, TcpStream, UdpSocket};

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

impl Kqueue {
    fn submit(&self, changes: &Changes) -> io::Result<()> {
        submit(self.queue.as_fd(), changes)
    }
}

impl Wait for Kqueue {
    type Entry = ffi::kevent;
    const BLANK: ffi::kevent = ffi::kevent::ZERO;

    fn new() -> io::Result<Kqueue> {
        let queue = ffi::kqueue()?;
        let notices = Notices::new(queue.as_fd(), NOTICE)?;
        Ok(Kqueue { queue, notices })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn wait(&self, reaped: &mut [ffi::kevent], timeout: Option<Duration>) -> io::Result<usize> {
        fault(Call::Wait)?;
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
        fault(match before {
            None => Call::Watch,
            Some(_) => Call::WatchAnew,
        })?;
        let before = before.unwrap_or(Interests::empty());
        let changes = translate::asking(ident(fd), before, interests, key);
        self.submit(&changes).map_err(|error| {
            // One change may have been made and the other not. Nobody can mend a second failure: the next asking,
            // whatever it is for, puts all right.
            let back = translate::taking_back(ident(fd), before, interests, key);
            drop(self.submit(&back));
            error
        })
    }

    fn confirm(&self, fd: BorrowedFd<'_>, interests: Interests) -> Interests {
        unix::confirm(fd, interests)
    }

    fn forget(&self, fd: BorrowedFd<'_>, asked: Interests) {
        // It fails only if the descriptor was closed behind our back: then its filters are gone, too.
        drop(self.submit(&translate::forgetting(ident(fd), asked)));
    }

    fn notice(&self) {
        self.notices.send(self.queue.as_fd());
    }

    /// Two errors stand for others here. On a socket that is being connected `write` (Apple's `read`, too) says that it
    /// is not connected; and once a connect was refused or a connection reset, `write` says `EPIPE` and leaves the
    /// reason where `SO_ERROR` finds it.
    fn meant(socket: BorrowedFd<'_>, error: io::Error) -> io::Error {
        let code = error.raw_os_error();
        if !matches!(code, Some(unix::ffi::EPIPE | unix::ffi::ENOTCONN)) {
            return error;
        }
        // In this order, since to ask about the connect may clear the reason.
        if let Some(reason) = unix::ffi::take_error(socket) {
            return reason;
        }
        if code == Some(unix::ffi::ENOTCONN) && unix::ffi::is_connecting(socket) {
            return io::Error::from_raw_os_error(unix::ffi::EAGAIN);
        }
        error
    }

    #[cfg(target_vendor = "apple")]
    fn adopt(socket: BorrowedFd<'_>) {
        unix::ffi::forbid_sigpipe(socket);
    }
}

fn ident(fd: BorrowedFd<'_>) -> usize {
    // A descriptor is not negative.
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}
