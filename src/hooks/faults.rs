//! Lets a test make a system call fail, or move less than it was asked, under `--cfg minimio_hooks`. Without that the
//! functions here are empty.

#[cfg(minimio_hooks)]
pub use injected::fail;
#[cfg(minimio_hooks)]
pub(crate) use injected::fault;
#[cfg(all(minimio_hooks, unix))]
pub use injected::shorten;
#[cfg(all(minimio_hooks, unix))]
pub(crate) use injected::{granted, within, within_mut};
#[cfg(not(minimio_hooks))]
pub(crate) use none::fault;
#[cfg(all(not(minimio_hooks), unix))]
pub(crate) use none::{granted, within, within_mut};

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(minimio_hooks), allow(dead_code, unreachable_pub))] // Not every backend makes each.
pub enum Call {
    /// To take a source into the kernel's queue.
    Watch,
    /// To change what is asked of it.
    WatchAnew,
    /// To wait for what the queue has (Unix), or to have a handle waited for (Windows).
    Wait,
    /// To read, receive, peek or accept.
    Receive,
    /// To write or send.
    Send,
    /// To accept alone.
    Accept,
    /// To listen with the largest backlog (Windows).
    Listen,
    /// To connect.
    Connect,
    /// To make a socket for an accept (Windows).
    Socket,
    /// To post a packet (Windows).
    Post,
    /// To send a datagram without an operation (Windows).
    SendAtOnce,
    /// To make a pipe.
    Pipe,
    /// To make an end of a pipe non-blocking (Unix).
    Nonblocking,
    /// To watch a child process (Unix).
    WatchChild,
    /// To close the socket of a connection, because of its linger time (Windows).
    Close,
}

/// The same by the code alone, as Windows' overlapped calls tell it.
#[cfg(windows)]
pub(crate) fn refused(call: Call) -> Result<(), i32> {
    fault(call).map_err(|error| error.raw_os_error().unwrap_or(0))
}

#[cfg(not(minimio_hooks))]
mod none {
    use super::Call;
    use std::io;
    #[cfg(unix)]
    use std::io::{IoSlice, IoSliceMut};

    /// No call is made to fail. The optimizer sees through this.
    pub(crate) const fn fault(_: Call) -> io::Result<()> {
        Ok(())
    }

    /// How many of `room` bytes the next call may be handed: all.
    #[cfg(unix)]
    pub(crate) const fn granted(_: Call, room: usize) -> usize {
        room
    }

    /// Makes a call with the first `room` bytes of the buffers, which are all.
    #[cfg(unix)]
    pub(crate) fn within<T>(
        buffers: &[IoSlice<'_>],
        _room: usize,
        call: impl FnOnce(&[IoSlice<'_>]) -> T,
    ) -> T {
        call(buffers)
    }

    /// As [`within`].
    #[cfg(unix)]
    pub(crate) fn within_mut<T>(
        buffers: &mut [IoSliceMut<'_>],
        _room: usize,
        call: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
    ) -> T {
        call(buffers)
    }
}

#[cfg(minimio_hooks)]
mod injected {
    use super::Call;
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::io;
    #[cfg(unix)]
    use std::io::{IoSlice, IoSliceMut};

    // A thread's own, so that tests beside each other do not meet.
    std::thread_local! {
        static DUE: RefCell<HashMap<Call, (i32, usize)>> = RefCell::default();
        #[cfg(unix)]
        static SHORT: RefCell<HashMap<Call, (usize, usize)>> = RefCell::default();
    }

    /// Makes the next `times` calls of that sort on this thread fail with the system's error `code`, unmade.
    pub fn fail(call: Call, code: i32, times: usize) {
        DUE.with(|due| due.borrow_mut().insert(call, (code, times)));
    }

    /// The failure that is due, if one is.
    pub(crate) fn fault(call: Call) -> io::Result<()> {
        DUE.with(|due| match due.borrow_mut().get_mut(&call) {
            Some((code, times)) if *times > 0 => {
                *times -= 1;
                Err(io::Error::from_raw_os_error(*code))
            }
            _ => Ok(()),
        })
    }

    /// Hands to the next `times` calls of that sort on this thread that move bytes of a stream, at most `most` bytes of
    /// what the user gives, and at least one: so the system moves less although more is there, or there is more room.
    #[cfg(unix)]
    pub fn shorten(call: Call, most: usize, times: usize) {
        SHORT.with(|short| short.borrow_mut().insert(call, (most.max(1), times)));
    }

    #[cfg(unix)]
    pub(crate) fn granted(call: Call, room: usize) -> usize {
        SHORT.with(|short| match short.borrow_mut().get_mut(&call) {
            Some((most, times)) if *times > 0 => {
                *times -= 1;
                room.min(*most)
            }
            _ => room,
        })
    }

    #[cfg(unix)]
    pub(crate) fn within<T>(
        buffers: &[IoSlice<'_>],
        room: usize,
        call: impl FnOnce(&[IoSlice<'_>]) -> T,
    ) -> T {
        // What counts allocations runs with the hooks, too.
        if buffers.iter().map(|buffer| buffer.len()).sum::<usize>() == room {
            return call(buffers);
        }
        let mut left = room;
        let cut = buffers.iter().map(|buffer| {
            let count = buffer.len().min(left);
            left -= count;
            IoSlice::new(&buffer[..count])
        });
        call(&cut.collect::<Vec<_>>())
    }

    #[cfg(unix)]
    pub(crate) fn within_mut<T>(
        buffers: &mut [IoSliceMut<'_>],
        room: usize,
        call: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
    ) -> T {
        if buffers.iter().map(|buffer| buffer.len()).sum::<usize>() == room {
            return call(buffers);
        }
        let mut left = room;
        let cut = buffers.iter_mut().map(|buffer| {
            let count = buffer.len().min(left);
            left -= count;
            IoSliceMut::new(&mut buffer[..count])
        });
        call(&mut cut.collect::<Vec<_>>())
    }
}
