//! The public source for a handle that can be waited for, [`Waitable`], and its documentation.

use std::fmt;
use std::io;

use super::system::{backend, ffi, AsHandle, AsRawHandle, BorrowedHandle};
use crate::interests::{Interests, Token};
use crate::source::{sealed, Source};
use crate::Registrator;

/// A handle that can be waited for: of a process, a thread, an event, a semaphore or a timer.
///
/// Registered as `READABLE`, it fires once the object is signalled, or at once if it is. An object that stays signalled
/// (a process that has ended, a manual-reset event) fires for each registration.
///
/// An object that is reset by whoever waits for it (an auto-reset event, a semaphore, a synchronization timer) gives one
/// signal for each event, and none while no registration waits. A signal that was taken for a registration which was then
/// disarmed is kept for the next one, so none is lost before this is dropped. Each kept signal is one event, also if the
/// object is reset by hand meanwhile.
///
/// **Not for mutexes**: they would belong to a thread that you do not know. The system does not support it.
///
/// The wait uses a duplicate of the handle. So nothing goes wrong if the handle is closed while it is on.
///
/// ```
/// # use minimio::os::windows::Waitable;
/// use minimio::{Events, Interests, Poll};
/// use std::os::windows::io::OwnedHandle;
///
/// let mut poll = Poll::new()?;
/// let thread = std::thread::spawn(|| 7);
/// // Waiting for the handle of a thread is waiting for its end.
/// let ended = Waitable::new(OwnedHandle::from(thread));
/// poll.registrator().register(&ended, 1, Interests::READABLE)?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of `register` are the system's: the handle is not one, has not the right `SYNCHRONIZE`, or is none that can be
/// waited for.
///
/// # Platform notes
/// A thread of the system's pool waits, one for up to some sixty handles.
///
/// # System calls
/// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle),
/// [`WaitForSingleObject`](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject),
/// [`RegisterWaitForSingleObject`](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject),
/// [`UnregisterWaitEx`](https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex).
pub struct Waitable<T: AsHandle + Send + Sync + 'static> {
    thing: T,
    wait: backend::Waitable,
}

impl<T: AsHandle + Send + Sync + 'static> Waitable<T> {
    /// Makes `thing` a source. This makes no system call.
    pub fn new(thing: T) -> Waitable<T> {
        let wait = backend::Waitable::new();
        Waitable { thing, wait }
    }

    /// The thing.
    pub fn get(&self) -> &T {
        &self.thing
    }

    /// Gives the thing back, no longer registered. A signal that was taken and not told is lost.
    pub fn into_inner(self) -> T {
        self.thing
    }
}

impl<T: AsHandle + Send + Sync + 'static> Source for Waitable<T> {}

impl<T: AsHandle + Send + Sync + 'static> sealed::Register for Waitable<T> {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        interests.check_among(Interests::READABLE)?;
        // Before any lock, since it is code of the user's. The borrow keeps it open.
        let handle = self.as_handle();
        self.wait
            .register(&with.queue, token, ffi::number_of(&handle))
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        interests.check_among(Interests::READABLE)?;
        self.wait.disarm(&with.queue)
    }

    fn deregister(&self, with: &Registrator) -> io::Result<()> {
        self.wait.disarm(&with.queue)
    }
}

impl<T: AsHandle + Send + Sync + 'static> AsHandle for Waitable<T> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.thing.as_handle()
    }
}

impl<T: AsHandle + Send + Sync + 'static> fmt::Debug for Waitable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = self.as_handle().as_raw_handle();
        f.debug_tuple("Waitable").field(&handle).finish()
    }
}
