//! Where a test can make a system call fail, under `--cfg minimio_hooks`. Elsewhere what asks here is compiled away.

#[cfg(minimio_hooks)]
pub(crate) use injected::fault;
#[cfg(minimio_hooks)]
pub use injected::{fail, Call};
#[cfg(not(minimio_hooks))]
pub(crate) use none::{fault, Call};

#[cfg(not(minimio_hooks))]
mod none {
    use std::io;

    /// The calls that can be made to fail.
    #[allow(dead_code)] // not every backend makes each
    pub(crate) enum Call {
        Watch,
        WatchAnew,
        Wait,
        Receive,
        Send,
        Accept,
    }

    // It is `Ok` of nothing: the optimizer sees through it.
    pub(crate) const fn fault(_: Call) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(minimio_hooks)]
mod injected {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::io;

    /// The calls that can be made to fail.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Call {
        /// To take a source into the kernel's queue.
        Watch,
        /// To change what is asked of it.
        WatchAnew,
        /// To wait for what the queue has.
        Wait,
        /// To read, receive, peek or accept.
        Receive,
        /// To write or send.
        Send,
        /// To accept alone.
        Accept,
    }

    // A thread's own, so that tests beside each other do not meet.
    std::thread_local! {
        static DUE: RefCell<HashMap<Call, (i32, usize)>> = RefCell::default();
    }

    /// Makes the next `times` calls of that sort on this thread fail with the system's error `code`, unmade.
    pub fn fail(call: Call, code: i32, times: usize) {
        DUE.with(|due| due.borrow_mut().insert(call, (code, times)));
    }

    pub(crate) fn fault(call: Call) -> io::Result<()> {
        DUE.with(|due| match due.borrow_mut().get_mut(&call) {
            Some((code, times)) if *times > 0 => {
                *times -= 1;
                Err(io::Error::from_raw_os_error(*code))
            }
            _ => Ok(()),
        })
    }
}
