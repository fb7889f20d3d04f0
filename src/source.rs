//! [`Source`]: the trait of what can be registered.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::interests::{Interests, Token};
use crate::Registrator;

/// Something that can be registered with a [`Registrator`](crate::Registrator): a
/// [`TcpStream`](crate::TcpStream), a [`TcpListener`](crate::TcpListener), a [`UdpSocket`](crate::UdpSocket), an end of
/// a [`pipe`](crate::pipe()), a [`ChildExit`](crate::ChildExit), one of those in [`os`](crate::os), or a reference, `Box`
/// or `Arc` of one.
///
/// The trait is sealed, so no other crate can implement it. What a source has to do differs too much between the
/// systems: on Windows, for instance, it owns memory that is lent to the kernel.
///
/// ```
/// use minimio::{Interests, Poll, Source, UdpSocket};
/// use std::sync::Arc;
///
/// let poll = Poll::new()?;
/// let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
/// poll.registrator().register(&socket, 1, Interests::READABLE)?;
/// let any: Box<dyn Source> = Box::new(socket);
/// poll.registrator().register(&*any, 2, Interests::READABLE)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Source: sealed::Register {}

pub(crate) mod sealed {
    use super::{io, Interests, Registrator, Token};

    /// What a `Registrator` needs of a source. Public in name only, because no other crate can reach this module.
    pub trait Register {
        /// Arms `interests` under `token`. Refuses interests that the source cannot have.
        #[doc(hidden)]
        fn register(
            &self,
            with: &Registrator,
            token: Token,
            interests: Interests,
        ) -> io::Result<()>;

        /// Disarms `interests`. Refuses interests that the source cannot have.
        #[doc(hidden)]
        fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()>;

        /// Disarms whatever this source can arm.
        #[doc(hidden)]
        fn deregister(&self, with: &Registrator) -> io::Result<()>;
    }
}

/// A public source around the backend's type of the same name, which can have the interests `$possible`. What registers it
/// is inlined, so that it is compiled by the programs that have such a source, and not with the crate for all of them.
macro_rules! source {
    ($source:ty, $possible:expr) => {
        impl crate::source::Source for $source {}

        impl crate::source::sealed::Register for $source {
            #[inline]
            fn register(
                &self,
                with: &Registrator,
                token: Token,
                interests: Interests,
            ) -> io::Result<()> {
                interests.check_among($possible)?;
                self.0.register(&with.queue, token, interests)
            }

            #[inline]
            fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
                interests.check_among($possible)?;
                self.0.disarm(&with.queue, interests)
            }

            #[inline]
            fn deregister(&self, with: &Registrator) -> io::Result<()> {
                self.0.disarm(&with.queue, $possible)
            }
        }
    };
}
pub(crate) use source;

impl fmt::Debug for dyn Source + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// A pointer to a source is a source. It passes the calls on to what it points to.
macro_rules! source_by_pointer {
    ($($pointer:ty),*) => {$(
        impl<T: Source + ?Sized> Source for $pointer {}

        impl<T: Source + ?Sized> sealed::Register for $pointer {
            fn register(&self, with: &Registrator, token: Token, interests: Interests) -> io::Result<()> {
                (**self).register(with, token, interests)
            }

            fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
                (**self).disarm(with, interests)
            }

            fn deregister(&self, with: &Registrator) -> io::Result<()> {
                (**self).deregister(with)
            }
        }
    )*};
}

source_by_pointer!(&T, Box<T>, Arc<T>);
