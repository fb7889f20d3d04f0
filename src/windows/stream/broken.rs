//! [`Broken`]: what broke a connection, as far as a call has told of it.
//!
//! A system tells of a reset, an abort, a time-out or a refused connect once, to the call that comes first. A read that
//! comes later may find the end of the stream, and a stream that was cut off would look complete. So every call that tells
//! of such a failure leaves its code here, and a read that would give the end gives that failure instead, every time.
//! `take_error` looks here, too: it returns the failure once, also if a read or write has told of it before.
//!
//! The price is an atomic load where a read would give the end, where a call fails, and in `take_error`. Other calls do not
//! look here.

use super::super::ffi;
use crate::hooks::sync::{AtomicI32, Ordering};

/// Whether a failure is one of the connection, and not only of one call.
pub(super) fn breaks_connection(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAECONNRESET
            | ffi::WSAECONNABORTED
            | ffi::WSAECONNREFUSED
            | ffi::WSAENETRESET
            | ffi::WSAETIMEDOUT
            | ffi::WSAENETDOWN
            | ffi::WSAENETUNREACH
            | ffi::WSAEHOSTDOWN
            | ffi::WSAEHOSTUNREACH
    )
}

/// See the head of this module.
///
/// Every call that tells of a failure writes here, under the lock that it holds; reads look here under the lock of the
/// receiving direction. A read must see the reset that a write has told of before it, and the two hold different locks: so
/// every access is sequentially consistent.
#[derive(Default)]
pub(super) struct Broken {
    /// 0: no call has told of a failure. A code: a call has. The code's negative: `take_error` has returned it.
    code: AtomicI32,
}

impl Broken {
    /// The failure that was told first.
    pub(super) fn code(&self) -> Option<ffi::Code> {
        let code = self.code.load(Ordering::SeqCst);
        (code != 0).then_some(code.saturating_abs())
    }

    /// A call tells of `code`. The first one stays.
    pub(super) fn tell(&self, code: ffi::Code) {
        // If this exchange fails, another failure was told before.
        let _ = self
            .code
            .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// There is another connection now.
    pub(super) fn forget(&self) {
        self.code.store(0, Ordering::SeqCst);
    }

    /// The same, if it is a failure of the connection.
    pub(super) fn tell_if_breaking(&self, code: Option<ffi::Code>) {
        if let Some(code) = code.filter(|&code| breaks_connection(code)) {
            self.tell(code);
        }
    }

    /// `take_error` has found `code`. Returns whether it has not returned the failure of this connection yet, and from now
    /// on it has.
    pub(super) fn take(&self, code: ffi::Code) -> bool {
        let taken = |before: ffi::Code| match before {
            0 => Some(-code),
            told if told > 0 => Some(-told),
            _ => None,
        };
        self.code
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken)
            .is_ok()
    }

    /// What a call has told of and `take_error` has not returned yet.
    pub(super) fn take_told(&self) -> Option<ffi::Code> {
        self.code
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |told| {
                (told > 0).then_some(-told)
            })
            .ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_connection_or_of_the_way_to_the_peer_breaks_it() {
        for code in [
            ffi::WSAECONNRESET,
            ffi::WSAECONNABORTED,
            ffi::WSAECONNREFUSED,
            ffi::WSAETIMEDOUT,
            ffi::WSAENETRESET,
            ffi::WSAENETDOWN,
            ffi::WSAENETUNREACH,
            ffi::WSAEHOSTDOWN,
            ffi::WSAEHOSTUNREACH,
        ] {
            assert!(breaks_connection(code), "{code}");
        }
        for code in [ffi::WSAEWOULDBLOCK, ffi::WSAENOBUFS, ffi::WSAEINVAL] {
            assert!(!breaks_connection(code), "{code}");
        }
    }
}
