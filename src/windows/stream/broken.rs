//! [`Broken`]: what broke a connection, as far as anybody was told.
//!
//! A system tells of a reset, an abort, a time-out or a refused connect once, to the call that comes first. What receives
//! after that may find the end of the stream, and a stream that was cut off would look complete. So whoever tells of such a
//! failure leaves its code here, and a read that would give the end gives that failure instead, every time. `take_error` looks
//! here, too: it returns the failure once, also when a read or write has told of it before.
//!
//! It is looked at where a read would give the end, where a call fails, and by `take_error`: nobody else pays for it.

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
            | ffi::WSAENETUNREACH
            | ffi::WSAEHOSTUNREACH
    )
}

/// See the head of this module.
///
/// Written by every call that tells of a failure, under whatever lock it holds, and read under the lock of the receiving
/// direction. A writer that tells of a reset must be heard by a read that comes after it, and both may hold different
/// locks: so every access is sequentially consistent.
#[derive(Debug)]
pub(super) struct Broken {
    /// 0: nobody was told of a failure. A code: a call has told of it. The code's negative: `take_error` has returned it.
    code: AtomicI32,
}

impl Broken {
    pub(super) fn new() -> Broken {
        Broken {
            code: AtomicI32::new(0),
        }
    }

    /// What was told first.
    pub(super) fn code(&self) -> Option<ffi::Code> {
        let code = self.code.load(Ordering::SeqCst);
        (code != 0).then_some(code.saturating_abs())
    }

    /// Somebody is told of `code`. The first one stays.
    pub(super) fn tell(&self, code: ffi::Code) {
        // A failure of this exchange says that another one was told first.
        let _ = self
            .code
            .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
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
