//! `ChildExit` on Windows: a wait for the process. Its handle is no number that another process could get.

use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::Child;

use super::{ffi, Registrator, Waitable};
use crate::interests::{Interests, Token};

/// See [`crate::ChildExit`].
pub(crate) struct ChildExit {
    process: OwnedHandle,
    wait: Waitable,
}

impl ChildExit {
    pub(crate) fn of(child: &mut Child) -> io::Result<ChildExit> {
        Ok(ChildExit {
            process: child.as_handle().try_clone_to_owned()?,
            wait: Waitable::new(),
        })
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        _: Interests,
    ) -> io::Result<()> {
        self.wait
            .register(with, token, ffi::number_of(&self.process))
    }

    pub(crate) fn disarm(&self, with: &Registrator, _: Interests) -> io::Result<()> {
        self.wait.disarm(with)
    }
}
