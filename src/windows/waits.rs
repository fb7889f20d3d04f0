//! [`Wait`]: a wait for a handle, by a thread of the system's pool, that ends in a packet on the port.
//!
//! A port tells of operations only. What is signalled in another way (an event, a process that ends) needs a thread that
//! waits for it. The system has such threads, each for up to some sixty handles, and calls a function when a handle is
//! signalled. Our function posts a packet with the number of the wait, and the thread that takes this packet calls
//! [`Owner::signalled`].
//!
//! A wait ends with its signal, or when [`Wait`] is dropped. A source that wants the next signal, too, starts another wait.
//! Some objects are reset by the signal (an auto-reset event, a semaphore). When our function runs, the system has already
//! taken such a signal. So the packet of the wait comes even if the `Wait` is dropped by then, and an owner that counts such
//! signals can count that one, too.
//!
//! The price: a registration and an unregistration for each wait (0.1 to 0.3 ms under Wine), and one thread of the pool for
//! each sixty handles. The function runs on the thread that waits, for the other handles as well. So it only posts, and the
//! only lock that it takes is held over no call that blocks.
//!
//! [RegisterWaitForSingleObject](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject),
//! [UnregisterWaitEx](https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex)
//!
//! # Invariants
//! - **Two references**: a [`Block`] has one reference of the [`Wait`] and one of the callback, which gets it as its context.
//!   The callback releases its reference when it runs. The drop of the `Wait` releases it if the system says that the wait is
//!   over and the callback has not run, because then it never will. If the system says that the callback is running, the
//!   drop leaves the reference to it. So the block is alive whenever the callback runs, and is freed once.
//!   (The documentation promises this for callbacks that run in the waiting thread, as ours do. For callbacks that are
//!   queued to other threads of the pool it promises less.)
//! - **The object stays open**: the block owns it, so it outlives the wait and the callback.
//! - **A packet or an end**: the table of the port has an entry for the wait, which holds its owner. The entry is made before
//!   the wait starts. It stays until the packet was taken, or until it is known that there will be none, because the start
//!   has failed or the wait has ended before its callback ran. So the reaper also waits for the packet of a callback that
//!   is running when everything else is gone.
//! - **Nothing blocks**: the drop does not wait for the callback. So it may happen under a source's lock, and in the
//!   callback's own thread.
//!
//! # Interleavings
//! * *The callback runs before the start has returned*: it knows its number and its port from the block alone. The thread
//!   that takes its packet has to wait for the lock under which the wait was started, and then finds the wait stored.
//! * *The wait is dropped while its callback runs*: the system says "pending". The packet comes and finds its entry, and the
//!   owner is told the number of a wait that it no longer has.
//! * *The wait is dropped when its callback has run*: the system says "done", as it does when the callback never ran. The
//!   mark `ran` tells the two apart. The callback sets it first, and has ended before the system gives that answer.
//! * *The callback has the last reference*: it then closes the object, whose wait is over, and perhaps the port.
//! * *The `Poll` is dropped*: no wait starts any more, which is decided under the lock of the table. The waits that are on are
//!   dropped by their owners' `abandon`, or together with their owners, which can happen at the same time. The thread
//!   that takes the last entry out of the table tells the reaper.

use core::ffi::c_void;
use std::sync::Arc;

use super::ffi;
use super::operation::Owner;
use super::port::Port;
use crate::hooks;
use crate::hooks::sync::{AtomicBool, Ordering};

/// What the owner and the callback share.
struct Block {
    port: Arc<Port>,
    number: usize,
    object: ffi::WaitObject,
    /// The callback has run, or is about to post. The callback writes it; the drop of the wait reads it, when the wait is
    /// over. Both accesses are sequentially consistent.
    ran: AtomicBool,
}

impl Drop for Block {
    fn drop(&mut self) {
        let block: *const Block = self;
        hooks::windows::wait_dropped(block.cast());
    }
}

/// What became of a start.
pub(super) enum Started {
    /// A packet is owed, unless the wait is dropped first.
    On(Wait),
    /// The `Poll` is gone: nothing was started. The object comes back.
    Gone(ffi::WaitObject),
}

/// A wait that is on, or has come to its signal. Dropping it ends it.
pub(super) struct Wait {
    registered: Option<ffi::RegisteredWait>,
    block: Arc<Block>,
}

impl Wait {
    /// Starts to wait for `object`. It is called under the lock that `owner`'s [`Owner::signalled`] takes. `goes_on` says that
    /// it may start after the end of the `Poll`.
    pub(super) fn start(
        port: &Arc<Port>,
        owner: Arc<dyn Owner>,
        object: ffi::WaitObject,
        goes_on: bool,
    ) -> Result<Started, ffi::Code> {
        let Some(number) = port.expect_signal(owner, goes_on) else {
            return Ok(Started::Gone(object));
        };
        let block = Arc::new(Block {
            port: Arc::clone(port),
            number,
            object,
            ran: AtomicBool::new(false),
        });
        let context = Arc::into_raw(Arc::clone(&block));
        hooks::windows::wait_made(context.cast());
        // SAFETY: the object lives in the block. The callback may run once, with this context, on any thread; it has a
        // reference of its own to the block ("two references").
        let registered = unsafe { ffi::register_wait::<Block>(&block.object, context.cast()) };
        match registered {
            Ok(registered) => Ok(Started::On(Wait {
                registered: Some(registered),
                block,
            })),
            Err(code) => {
                // SAFETY: it came from `into_raw`, and nothing was registered that would take it.
                drop(unsafe { Arc::from_raw(context) });
                port.forget_signal(number);
                Err(code)
            }
        }
    }

    /// What [`Owner::signalled`] will be told.
    pub(super) fn number(&self) -> usize {
        self.block.number
    }

    pub(super) fn object(&self) -> &ffi::WaitObject {
        &self.block.object
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(registered) = self.registered.take() else {
            return;
        };
        let is_running = ffi::unregister_wait(registered).is_err();
        if is_running || self.block.ran.load(Ordering::SeqCst) {
            return;
        }
        hooks::windows::reference_released(Arc::strong_count(&self.block));
        let context = Arc::as_ptr(&self.block);
        // SAFETY: it is the reference that `start` gave to the callback, which has not run and never will.
        unsafe { Arc::decrement_strong_count(context) };
        self.block.port.forget_signal(self.block.number);
    }
}

impl ffi::OnSignal for Block {
    unsafe fn signalled(context: *mut c_void) {
        // SAFETY: the caller's duty: it is the reference that `start` gave away to this call.
        let block = unsafe { Arc::from_raw(context.cast::<Block>().cast_const()) };
        block.ran.store(true, Ordering::SeqCst);
        block.port.post_signal(block.number);
        hooks::windows::callback_returns(context);
        drop(block);
    }
}
