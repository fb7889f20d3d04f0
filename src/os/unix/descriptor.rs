//! The public source for any descriptor, [`Descriptor`], and its documentation.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use super::system::{backend, AsFd, AsRawFd, BorrowedFd, Kind, RawFd};
use crate::interests::{Interests, Token};
use crate::source::{sealed, Source};
use crate::Registrator;

/// Anything with a descriptor that the queue of the system can watch: a pipe, a terminal, a timer, an inotify queue, a
/// socket of another library, another [`Poll`](crate::Poll).
///
/// A registration is one-shot for each interest, as for every source: it yields one event, and what is left unread is
/// reported to the next registration. Read or write through this type or through [`try_io`](Descriptor::try_io), where the
/// crate can see how the calls end. What is read or written in another way costs no event, but the crate may then make
/// one more event that is false.
///
/// **Nothing about `T` is changed**, in particular not whether its calls block: a terminal, for instance, shares that with
/// the shell. To make it non-blocking is your decision. A call that blocks does so here, too.
///
/// The thing may be exchanged through [`get_mut`](Descriptor::get_mut), or may change what it stands for by itself. The
/// next registration finds out. What the old descriptor does from then on is not reported.
///
/// # Platform notes
/// What cannot be watched is an error of `register`, of the kind [`Unsupported`](io::ErrorKind::Unsupported): plain files
/// and directories everywhere, on Linux also devices that never block, such as `/dev/null`. With epoll a timer, a
/// signalfd and their like report once until they are read, and are reported again to each registration.
///
/// ```
/// use minimio::os::unix::Descriptor;
/// use minimio::{Events, Interests, Poll};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let mut poll = Poll::new()?;
/// let (near, mut far) = UnixStream::pair()?;
/// let near = Descriptor::new(near);
/// poll.registrator().register(&near, 1, Interests::READABLE)?;
/// far.write_all(b"hello")?;
/// poll.poll(&mut Events::with_capacity(1), None)?;
/// let count = near.try_io(Interests::READABLE, |mut near| std::io::Read::read(&mut near, &mut [0; 16]))?;
/// assert_eq!(count, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Descriptor<T: AsFd + Send + Sync + 'static>(backend::Descriptor<T>);

impl<T: AsFd + Send + Sync + 'static> Descriptor<T> {
    /// Makes `thing` a source. This makes no system call, and changes nothing about `thing`.
    pub fn new(thing: T) -> Descriptor<T> {
        Descriptor(backend::Descriptor::new(thing, Kind::Descriptor))
    }

    /// **An exception to what the crate promises otherwise**: of this source a registration lasts until it is disarmed,
    /// and its events may be false.
    ///
    /// It is for code that keeps the readiness by itself and moves data where the crate cannot see it. Each report of the
    /// kernel that something is ready becomes an event, also if nothing is ready any more when it is handled. None is
    /// lost, also if the batch is full. Each `register` asks the kernel anew, so a condition that holds already is reported
    /// again. `disarm` and `deregister` end the registration.
    ///
    /// Urgent data is an event, too, also if there is nothing else: a readable one that is
    /// [`is_priority`](crate::Event::is_priority).
    pub fn with_edges(thing: T) -> Descriptor<T> {
        Descriptor(backend::Descriptor::new(thing, Kind::Edges))
    }

    /// The thing.
    pub fn get(&self) -> &T {
        self.0.get()
    }

    /// The thing, which may be changed or exchanged for another one. The next registration takes it for another one.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Gives the thing back, no longer registered.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// Makes one call of your own for `interest`, and returns what it returns. If that is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), the next registration relies on a new report of the kernel.
    ///
    /// # Errors
    /// Those of `call`. [`InvalidInput`](io::ErrorKind::InvalidInput), without a call, if `interest` is not exactly one
    /// interest.
    pub fn try_io<R>(
        &self,
        interest: Interests,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        interest.check_single()?;
        self.0.try_io(interest, call)
    }

    /// Reads as `&T` does. It is a method of its own, so that a shared descriptor can be read: an implementation of
    /// [`Read`] for `&Descriptor<T>` would keep the compiler from inferring types in many a generic function.
    ///
    /// # Errors
    /// Those of `&T`.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize>
    where
        for<'a> &'a T: Read,
    {
        self.0
            .try_io(Interests::READABLE, |mut thing| thing.read(buffer))
    }

    /// Writes as `&T` does. It is a method of its own for the same reason as [`read`](Descriptor::read).
    ///
    /// # Errors
    /// Those of `&T`.
    pub fn write(&self, buffer: &[u8]) -> io::Result<usize>
    where
        for<'a> &'a T: Write,
    {
        self.0
            .try_io(Interests::WRITABLE, |mut thing| thing.write(buffer))
    }
}

impl<T: AsFd + Send + Sync + 'static> Read for Descriptor<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Descriptor::read(self, buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.try_io(Interests::READABLE, |mut thing| {
            thing.read_vectored(buffers)
        })
    }
}

impl<T: AsFd + Send + Sync + 'static> Write for Descriptor<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Descriptor::write(self, buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(Interests::WRITABLE, |mut thing| {
            thing.write_vectored(buffers)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.try_io(Interests::WRITABLE, |mut thing| thing.flush())
    }
}

impl<T: AsFd + Send + Sync + 'static> Source for Descriptor<T> {}

impl<T: AsFd + Send + Sync + 'static> sealed::Register for Descriptor<T> {
    fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
        interests.check_among(Interests::all())?;
        self.0.register(&with.queue, token, interests)
    }

    fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        interests.check_among(Interests::all())?;
        self.0.disarm(&with.queue, interests)
    }

    fn deregister(&self, with: &Registrator) -> io::Result<()> {
        self.0.disarm(&with.queue, Interests::all())
    }
}

impl<T: AsFd + Send + Sync + 'static> AsFd for Descriptor<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }
}

impl<T: AsFd + Send + Sync + 'static> AsRawFd for Descriptor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + Send + Sync + 'static> fmt::Debug for Descriptor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Descriptor")
            .field(&self.as_raw_fd())
            .finish()
    }
}
