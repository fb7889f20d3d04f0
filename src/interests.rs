//! What a registration asks for ([`Interests`]) and the name it is given ([`Token`]).

use bitflags::bitflags;

/// The name of a registration, chosen by the user and handed back in its [`Event`](crate::Event).
///
/// Every value is allowed, and two sources may share one. `minimio` never interprets it: use an index, a key of a
/// map, or a pointer as an integer.
pub type Token = usize;

bitflags! {
    /// The conditions that a registration waits for.
    ///
    /// The two are independent: each is armed by its own registration, fires once, and says nothing of the other.
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
        /// Bytes or a datagram can be read, a connection accepted, or the end of the stream or an error seen.
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
}
