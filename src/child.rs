//! The end of a child process, [`ChildExit`], and its documentation.

use std::fmt;
use std::io;
use std::process::Child;

use crate::backend;
use crate::interests::{Interests, Token};
use crate::source::source;
use crate::Registrator;

/// The end of a child process. Registered as `READABLE`, it fires when the child has ended.
///
/// An end that has come stays: each later registration yields its event at once, also after the child was waited for.
/// The child stays yours. Call [`wait`](Child::wait) after the event, which gives its status without waiting long, and
/// frees what the system keeps of it. Dropping a `ChildExit` does nothing to the child.
///
/// ```
/// use minimio::{ChildExit, Events, Interests, Poll};
/// use std::process::{Command, Stdio};
///
/// let mut poll = Poll::new()?;
/// let mut child = Command::new("whoami").stdout(Stdio::null()).spawn()?;
/// let exit = ChildExit::new(&mut child)?;
/// poll.registrator().register(&exit, 1, Interests::READABLE)?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What the child has written may still be in its pipes when this fires, and what the child has started may still write
/// to them. So read a [`PipeReader`](crate::PipeReader) to its own end.
pub struct ChildExit(backend::ChildExit);

impl ChildExit {
    /// Begins to watch a child, which may have ended already.
    ///
    /// # Errors
    /// - [`Unsupported`](io::ErrorKind::Unsupported) on Linux before 5.3, on Android, and where a sandbox does not allow
    ///   `pidfd_open`.
    /// - Those of the system, if descriptors, handles or memory run out.
    ///
    /// # Platform notes
    /// On Unix this calls [`try_wait`](Child::try_wait), so that no other process is watched that has got the number of
    /// a child which has ended. If somebody else waits for the child, or `SIGCHLD` is ignored, it fires all the same,
    /// and `wait` then fails as it does without this crate.
    ///
    /// # System calls
    /// [`pidfd_open`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html);
    /// [`kqueue`](https://man.freebsd.org/cgi/man.cgi?query=kqueue) with `EVFILT_PROC`;
    /// [`RegisterWaitForSingleObject`](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject).
    pub fn new(child: &mut Child) -> io::Result<ChildExit> {
        backend::ChildExit::of(child).map(ChildExit)
    }
}

source!(ChildExit, Interests::READABLE);

impl fmt::Debug for ChildExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildExit").finish_non_exhaustive()
    }
}
