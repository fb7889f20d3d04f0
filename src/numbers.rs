//! Maps whose keys are addresses or tokens.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes addresses and tokens. A peer cannot choose them, so it is enough to mix the bits.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        // 2^64 divided by the golden ratio, as in Fibonacci hashing. The table uses the upper bits and the lower ones.
        let mixed = (self.0 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

pub(crate) type NumberMap<T> =
    std::collections::HashMap<usize, T, BuildHasherDefault<NumberHasher>>;

/// A collection that is empty and has room for more than this gives its memory back.
pub(crate) const KEPT_CAPACITY: usize = 64;
