//! [`Source`]: what can be registered.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::interests::{Interests, Token};
use crate::Registrator;

/// Something that can be registered with a [`Registrator`](crate::Registrator): a
/// [`TcpStream`](crate::TcpStream), a [`TcpListener`](crate::TcpListener) or a [`UdpSocket`](crate::UdpSocket), or a
/// reference, `Box` or `Arc` of one.
///
/// The trait is sealed. What a source is differs too much between the systems to be an open interface: on Windows it
/// owns memory that is lent to the kernel.
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

    /// What a `Registrator` needs of a source. Public in name only: no other crate can reach this module.
    pub trait Register {
        /// Arms `interests` under `token`. They are known bits, and not empty.
        #[doc(hidden)]
        fn register(
            &self,
            with: &Registrator,
            token: Token,
            interests: Interests,
        ) -> io::Result<()>;

        /// Disarms `interests`. They are known bits, and not empty.
        #[doc(hidden)]
        fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()>;

        /// Disarms all that can be armed.
        #[doc(hidden)]
        fn deregister(&self, with: &Registrator) -> io::Result<()> {
            self.disarm(with, Interests::all())
        }
    }
}

impl fmt::Debug for dyn Source + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Passes the verbs on to what is pointed to.
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
