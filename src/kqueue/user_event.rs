//! Notices by [`EVFILT_USER`](https://man.freebsd.org/cgi/man.cgi?query=kqueue): Apple's systems, FreeBSD, DragonFly.
//!
//! The event is in the queue with `EV_CLEAR`. Triggers that come before the report are reported as one.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

use crate::kqueue::ffi;
use crate::kqueue::translate::NOTICE;

#[derive(Debug)]
pub(crate) struct Notices;

impl Notices {
    pub(crate) fn new(queue: BorrowedFd<'_>) -> io::Result<Notices> {
        ffi::add_user_event(queue, NOTICE)?;
        Ok(Notices)
    }

    /// Sends one. After a signal it may be sent twice, which does no harm.
    pub(crate) fn send(&self, queue: BorrowedFd<'_>) {
        loop {
            match ffi::trigger_user_event(queue, NOTICE) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return debug_assert!(done.is_ok(), "the event is in the queue: {done:?}"),
            }
        }
    }

    /// There is nothing to take out.
    pub(crate) fn received(&self) {}
}
