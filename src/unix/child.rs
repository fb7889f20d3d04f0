//! `ChildExit` on Unix: a descriptor that is readable once the process has ended. What that is, the backend knows.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;

use crate::backend;
use crate::unix::ffi;
use crate::unix::readiness::Kind;
use crate::unix::source::Handle;

/// See [`crate::ChildExit`].
pub(crate) type ChildExit = Handle<OwnedFd>;

impl ChildExit {
    pub(crate) fn of(child: &mut Child) -> io::Result<ChildExit> {
        let watch = match watch(child)? {
            Some(watch) => watch,
            // The reading end of a pipe without a writer is always readable.
            None => ffi::pipe(false)?.0,
        };
        Ok(Handle::new(watch, Kind::Reader))
    }
}

/// Opens what is readable once the child has ended. `None` if it has ended.
fn watch(child: &mut Child) -> io::Result<Option<OwnedFd>> {
    if has_ended(child)? {
        return Ok(None);
    }
    let watch = match backend::watch_process(child.id()) {
        Err(error) if error.raw_os_error() == Some(ffi::ESRCH) => return Ok(None),
        watch => watch?,
    };
    // If it has ended meanwhile and somebody else has waited for it, its number may be that of another process by now.
    Ok((!has_ended(child)?).then_some(watch))
}

fn has_ended(child: &mut Child) -> io::Result<bool> {
    match child.try_wait() {
        Ok(status) => Ok(status.is_some()),
        // Somebody else has waited for it, or nobody has to, since `SIGCHLD` is ignored.
        Err(error) if error.raw_os_error() == Some(ffi::ECHILD) => Ok(true),
        Err(error) => Err(error),
    }
}
