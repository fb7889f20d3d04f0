//! The queue of Apple's systems and the BSDs: [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue).
//!
//! **The idea.** Every direction of a source is a filter of its own, asked with `EV_CLEAR` (edge-triggered) for what
//! [`unix::readiness`](crate::unix::readiness) asks and nothing else. The `udata` that comes back with each edge holds
//! the slot of the source and the stamp of the asking. [`translate`] does that without system calls. This file submits
//! changes and waits.
//!
//! **Wakes.** A user event where the system has them, and a pipe elsewhere: [`notices`].
//!
//! **Waiting.** `kevent` takes nanoseconds, and is called again for the rest of the time after a signal. Long waits are
//! cut into days, since Darwin refuses seconds beyond 31 bits and others count clock ticks in as many bits.
//!
//! **The price.** Readable and writable come as two events. Room that comes back is reported several times. From the
//! second report in a row of something that is not armed, the kernel is asked to report only what is armed. An asking
//! of which one change has failed is taken back by a second call.

pub(crate) mod ffi;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
#[path = "kqueue/pipe.rs"]
mod notices;
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
#[path = "kqueue/user_event.rs"]
mod notices;
pub(crate) mod translate;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::interests::Interests;
use crate::kqueue::notices::Notices;
use crate::kqueue::translate::NOTICE;
use crate::unix::ffi as socket;
use crate::unix::queue;
use crate::unix::readiness::Key;
use crate::unix::selector::{self, Reaped, Wait};

pub(crate) use crate::unix::{
    pipe, ChildExit, Descriptor, PipeReader, PipeWriter, TcpListener, TcpStream, UdpSocket,
    UnixDatagram, UnixListener, UnixStream,
};

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
            // Before the wakes are looked at, so that a wake which comes meanwhile sends a notice that is reported.
            self.notices.received();
            return Reaped::Notice;
        }
        let (slot, edge) = translate::edge(entry, wait);
        Reaped::Edge(slot, edge)
    }
}

/// Submits at most two changes. The kernel tries all of them, and the error is that of the first that failed.
fn submit(queue: BorrowedFd<'_>, changes: &[ffi::kevent]) -> io::Result<()> {
    let mut receipts = [ffi::kevent::ZERO; 2];
    if changes.is_empty() {
        return Ok(());
    }
    let count = loop {
        match ffi::submit(queue, changes, &mut receipts) {
            // The changes are submitted again. What was added is looked at once more, and that something is deleted
            // already is no failure.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => break done?,
        }
    };
    match translate::failure(changes, &receipts[..count]) {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Ok(()),
    }
}

/// A descriptor that is readable once the process with this number has ended: a queue of its own, in which the report
/// stays. `ESRCH` if there is no such process.
pub(crate) fn watch_process(number: u32) -> io::Result<OwnedFd> {
    let queue = ffi::kqueue()?;
    submit(queue.as_fd(), &[ffi::end_of_process(number)?])?;
    Ok(queue)
}

impl queue::System for Kqueue {
    fn ask(
        &self,
        fd: RawFd,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()> {
        let before = before.unwrap_or(Interests::empty());
        let changes = translate::asking(ident(fd), before, interests, key);
        submit(self.queue.as_fd(), &changes).or_else(|error| {
            if has_no_reader(fd, &error) {
                let soon = translate::writable_soon(ident(fd), key);
                return submit(self.queue.as_fd(), &[soon]);
            }
            // One change may have been made and the other not. If taking it back fails, too, the next asking puts it
            // right, whatever it is for.
            let back = translate::taking_back(ident(fd), before, interests, key);
            drop(submit(self.queue.as_fd(), &back));
            Err(error)
        })
    }

    fn leave(&self, fd: RawFd, asked: Interests) {
        // It fails only if the user has closed the descriptor, which deletes its filters, too.
        drop(submit(
            self.queue.as_fd(),
            &translate::leaving(ident(fd), asked),
        ));
    }

    fn notice(&self) {
        self.notices.send(self.queue.as_fd());
    }

    /// Two errors are misleading here. On a socket that is being connected, `write` (and Apple's `read`) fails with
    /// `ENOTCONN`. When a connect was refused or a connection reset, `write` fails with `EPIPE` and leaves the reason
    /// where `SO_ERROR` gives it.
    fn meant(socket: BorrowedFd<'_>, error: io::Error) -> io::Error {
        let code = error.raw_os_error();
        if !matches!(code, Some(socket::EPIPE | socket::ENOTCONN)) {
            return error;
        }
        // In this order, since `is_connecting` may clear the reason.
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

/// Whether a change failed since nobody reads from this pipe any more: FreeBSD and DragonFly then refuse the filter with
/// `EPIPE`, and NetBSD as if the descriptor were not open.
fn has_no_reader(fd: RawFd, error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(socket::EPIPE) => true,
        Some(ffi::EBADF) => {
            socket::poll_now(fd, 0).is_ok_and(|found| found & socket::POLLNVAL == 0)
        }
        _ => false,
    }
}

fn ident(fd: RawFd) -> usize {
    // A descriptor is not negative.
    usize::try_from(fd).unwrap_or(usize::MAX)
}
