//! What a registration waits for ([`Interests`]) and the number that it is given ([`Token`]).

use std::io;

use bitflags::bitflags;

use crate::error;

/// A number that the user chooses at registration. The registration's [`Event`](crate::Event) carries it.
///
/// Every value is allowed, and two sources may share one. `minimio` gives it no meaning: use an index, the key of a
/// map, or a pointer as an integer.
pub type Token = usize;

bitflags! {
    /// The conditions that a registration waits for.
    ///
    /// The two are independent: each is armed by its own registration, fires once, and changes nothing about the other.
    ///
    /// ```
    /// use minimio::Interests;
    ///
    /// let both = Interests::READABLE | Interests::WRITABLE;
    /// assert!(both.is_readable() && both.is_writable());
    /// assert!(!Interests::READABLE.is_writable());
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Interests: u8 {
        /// There are bytes or a datagram to read or a connection to accept, or the stream has ended or failed.
        const READABLE = 0b01;
        /// There is room to send, a connect has ended, or sending has failed.
        const WRITABLE = 0b10;
    }
}

impl Interests {
    /// Whether [`READABLE`](Interests::READABLE) is among them.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.contains(Interests::READABLE)
    }

    /// Whether [`WRITABLE`](Interests::WRITABLE) is among them.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.contains(Interests::WRITABLE)
    }

    /// Refuses what `try_io` refuses: anything but exactly one interest.
    pub(crate) fn check_single(self) -> io::Result<()> {
        match self {
            Interests::READABLE | Interests::WRITABLE => Ok(()),
            _ => Err(error::not_one_interest()),
        }
    }

    /// Refuses what `register` and `disarm` refuse of a source that can have only the interests `possible`.
    #[inline]
    pub(crate) fn check_among(self, possible: Interests) -> io::Result<()> {
        if self.is_empty() {
            return Err(error::no_interests());
        }
        if !Interests::all().contains(self) {
            return Err(error::unknown_interests());
        }
        if !possible.contains(self) {
            return Err(error::never(self - possible));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_gives_its_own_reason() {
        let unknown = Interests::from_bits_retain(1 << 7);
        for (interests, possible, reason) in [
            (Interests::empty(), Interests::all(), "no interest"),
            (unknown, Interests::all(), "unknown bits"),
            (unknown, Interests::READABLE, "unknown bits"),
            (Interests::all(), Interests::READABLE, "never writable"),
            (Interests::all(), Interests::WRITABLE, "never readable"),
        ] {
            let error = interests.check_among(possible).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(Interests::all().check_among(Interests::all()).is_ok());
    }
}
