//! Translates a registration to the changes that are submitted, and a `kevent` to an [`Edge`]. There are no system
//! calls here and the code is the same on every system, so its tests run everywhere, with what real kernels have
//! answered.
//!
//! A direction is a filter of its own, so an asking is up to two changes, and an edge is about one direction. The slot
//! and the stamp of a source travel in `udata`.

use std::ffi::c_int;
use std::ops::Deref;

use crate::event::Hints;
use crate::interests::Interests;
use crate::kqueue::ffi::{
    filter_t, flags_t, kevent, EBADF, ENOENT, EVFILT_READ, EVFILT_TIMER, EVFILT_WRITE, EV_ADD,
    EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_ONESHOT, EV_OOBAND, EV_RECEIPT,
};
use crate::unix::readiness::{Edge, Key};

/// The `udata` of notices. No source has this slot.
pub(crate) const NOTICE: usize = usize::MAX;

const FILTERS: [(Interests, filter_t); 2] = [
    (Interests::READABLE, EVFILT_READ),
    (Interests::WRITABLE, EVFILT_WRITE),
];

/// What one call submits for one source: at most one change for each filter.
#[derive(Debug)]
pub(crate) struct Changes {
    list: [kevent; 2],
    count: usize,
}

impl Changes {
    fn new() -> Changes {
        Changes {
            list: [kevent::ZERO; 2],
            count: 0,
        }
    }

    fn push(&mut self, ident: usize, filter: filter_t, flags: flags_t, udata: usize) {
        self.list[self.count] = kevent::change(ident, filter, flags | EV_RECEIPT, udata);
        self.count += 1;
    }
}

impl Deref for Changes {
    type Target = [kevent];

    fn deref(&self) -> &[kevent] {
        &self.list[..self.count]
    }
}

/// The changes from `before` to `now`. A filter that is asked for again is added again. This replaces its `udata`, and
/// makes the kernel look at once whether the condition holds (`EV_ENABLE` would not make NetBSD look).
pub(crate) fn asking(ident: usize, before: Interests, now: Interests, key: Key) -> Changes {
    let mut changes = Changes::new();
    for (interest, filter) in FILTERS {
        if now.contains(interest) {
            changes.push(ident, filter, EV_ADD | EV_CLEAR, encode(key));
        } else if before.contains(interest) {
            changes.push(ident, filter, EV_DELETE, 0);
        }
    }
    changes
}

/// The changes that take back an [`asking`] of which a part has failed: what was asked for `before` is asked for again
/// with the last stamp, and the rest is deleted.
pub(crate) fn taking_back(ident: usize, before: Interests, now: Interests, key: Key) -> Changes {
    let last = Key {
        slot: key.slot,
        stamp: key.stamp.wrapping_sub(1),
    };
    asking(ident, now, before, last)
}

/// What reports a direction that cannot be asked for, as writable: a timer of a millisecond.
pub(crate) fn writable_soon(ident: usize, key: Key) -> kevent {
    let flags = EV_ADD | EV_ONESHOT | EV_RECEIPT;
    kevent {
        data: 1,
        ..kevent::change(ident, EVFILT_TIMER, flags, encode(key))
    }
}

/// The changes that take a source out.
pub(crate) fn leaving(ident: usize, asked: Interests) -> Changes {
    let nowhere = Key { slot: 0, stamp: 0 };
    asking(ident, asked, Interests::empty(), nowhere)
}

/// The first error among the receipts. It is no error if there was nothing to delete, or no descriptor to delete it
/// from.
pub(crate) fn failure(changes: &[kevent], receipts: &[kevent]) -> Option<c_int> {
    receipts.iter().find_map(|receipt| {
        let code = c_int::try_from(receipt.data).unwrap_or(c_int::MAX);
        let failed = receipt.flags & EV_ERROR != 0 && code != 0;
        let filter = receipt.filter;
        let deletes = changes
            .iter()
            .any(|change| change.filter == filter && change.flags & EV_DELETE != 0);
        let tolerated = deletes && [ENOENT, EBADF].contains(&code);
        (failed && !tolerated).then_some(code)
    })
}

/// The slot that a report is about, and what it says. Single bits are tested and `flags` is never compared as a whole,
/// since some kernels leave the bits of the change in it.
pub(crate) fn edge(entry: &kevent, wait: u32) -> (u32, Edge) {
    let has = |flag: flags_t| entry.flags & flag != 0;
    let writes = entry.filter != EVFILT_READ;
    let told = if writes {
        Interests::WRITABLE
    } else {
        Interests::READABLE
    };
    let waiting = if writes {
        0
    } else {
        u64::try_from(entry.data).unwrap_or(0)
    };
    let end = has(EV_EOF);
    // Apple reports urgent data also when there is nothing to read but that.
    let urgent_alone = !writes && has(EV_OOBAND) && !end && waiting == 0;
    let none = Interests::empty();
    let Key { slot, stamp } = decode(entry.udata);
    let edge = Edge {
        stamp,
        wait,
        told,
        ready: if urgent_alone { none } else { told },
        odd: if end || has(EV_OOBAND | EV_ERROR) {
            told
        } else {
            none
        },
        waiting,
        // The filter counts the bytes, without the urgent one.
        urgent: false,
        hints: Hints {
            read_closed: end && !writes,
            write_closed: end && writes,
            error: end && entry.fflags != 0,
            priority: false,
        },
    };
    (slot, edge)
}

fn encode(key: Key) -> usize {
    // `ffi` asserts that there are 64 bits.
    ((key.stamp as usize) << 32) | key.slot as usize
}

#[allow(clippy::cast_possible_truncation)] // the two halves of the key
fn decode(udata: usize) -> Key {
    Key {
        slot: udata as u32,
        stamp: (udata >> 32) as u32,
    }
}

#[cfg(test)]
mod tests;
