//! What only Unix has: pipes, and whatever else has a descriptor.

use std::io;
use std::os::fd::RawFd;

use crate::event::Source;
use crate::{Interest, Registry, Token};

pub mod pipe;

/// The number of a descriptor that you own. It must be non-blocking, and stay open while it is registered.
#[derive(Debug)]
pub struct SourceFd<'a>(pub &'a RawFd);

impl Source for SourceFd<'_> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let shared = registry.shared();
        let with = &shared.registrator;
        shared.sources.register(*self.0, with, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let shared = registry.shared();
        let with = &shared.registrator;
        shared.sources.reregister(*self.0, with, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.shared().sources.deregister(*self.0)
    }
}
