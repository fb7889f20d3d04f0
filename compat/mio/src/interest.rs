use std::fmt;
use std::num::NonZeroU8;
use std::ops::{BitOr, BitOrAssign};

use minimio::Interests;

const READABLE: u8 = 1;
const WRITABLE: u8 = 1 << 1;
const PRIORITY: u8 = 1 << 2;

/// What a registration waits for. There is no empty one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest(NonZeroU8);

const fn interest(bits: u8) -> Interest {
    match NonZeroU8::new(bits) {
        Some(bits) => Interest(bits),
        None => panic!("an interest is never empty"),
    }
}

impl Interest {
    /// Data to read, a connection to accept, or the end of the stream.
    pub const READABLE: Interest = interest(READABLE);
    /// Room to write, or the end of a connect.
    pub const WRITABLE: Interest = interest(WRITABLE);
    /// Urgent data, where the system reports it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub const PRIORITY: Interest = interest(PRIORITY);

    /// Both interests together.
    #[allow(clippy::should_implement_trait)] // This is mio's name.
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        interest(self.0.get() | other.0.get())
    }

    /// This interest without `other`. `None` if nothing is left.
    #[must_use]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        NonZeroU8::new(self.0.get() & !other.0.get()).map(Interest)
    }

    /// Whether it contains [`READABLE`](Interest::READABLE).
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0.get() & READABLE != 0
    }

    /// Whether it contains [`WRITABLE`](Interest::WRITABLE).
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0.get() & WRITABLE != 0
    }

    /// Whether it contains `PRIORITY`, which only Linux and Android have.
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.0.get() & PRIORITY != 0
    }

    /// Always `false`: minimio has no AIO.
    #[must_use]
    pub const fn is_aio(self) -> bool {
        false
    }

    /// Always `false`: minimio has no AIO.
    #[must_use]
    pub const fn is_lio(self) -> bool {
        false
    }

    /// minimio reports urgent data along with what is readable.
    pub(crate) fn interests(self) -> Interests {
        let mut interests = Interests::empty();
        interests.set(
            Interests::READABLE,
            self.is_readable() || self.is_priority(),
        );
        interests.set(Interests::WRITABLE, self.is_writable());
        interests
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_priority(), "PRIORITY"),
        ];
        let mut separator = "";
        for (_, name) in names.into_iter().filter(|(is_there, _)| *is_there) {
            write!(f, "{separator}{name}")?;
            separator = " | ";
        }
        Ok(())
    }
}
