//! [`Wait`]: a wait for a handle, by a thread of the system's pool, that ends in a packet on the port.
//!
//! A port tells of operations and of nothing else. What is signalled in another way (an event, a process that ends) needs a
//! thread that waits for it. The system has such threads, each for up to some sixty handles, and calls a function when one of
//! them is signalled: ours posts a packet with the number of the wait, and whoever takes it calls [`Owner::signalled`].
//!
//! A wait has one end: its signal, or [`Wait`] being dropped. Whoever wants the next signal starts the next wait. A signal
//! that resets its object (an auto-reset event, a semaphore) was taken by the system when the callback runs: its packet comes
//! even if the wait is dropped by then, so that an owner that counts such signals can keep it.
//!
//! The price: a registration and an unregistration a wait (0.1 to 0.3 ms under Wine), and one thread of the pool for each
//! sixty handles. The callback runs on the thread that waits, so it takes no lock that anybody holds over a call that
//! blocks, and does nothing but post.
//!
//! [RegisterWaitForSingleObject](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject),
//! [UnregisterWaitEx](https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex)
//!
//! # Invariants
//! - **Two references**: a [`Block`] has one of the [`Wait`] and one of the callback, which is its context. The callback's is
//!   released by the callback when it runs, or by the drop of the `Wait` if the system says that the wait is over and the
//!   callback has not run: then it never will. If the system says that the callback is running, the reference is left to it.
//!   So the block is there whenever the callback runs, and is freed once.
//!   (The documentation says so of a wait whose callback runs in the waiting thread, as ours does. Of callbacks that are
//!   queued to other threads of the pool it says less.)
//! - **The object stays open**: the block owns it, so it outlives the wait and the callback.
//! - **A packet or an end**: the table of the port has an entry for the wait, which holds the owner, from before its start
//!   until its packet was taken, or it is known that there will be none (the start failed, or the wait ended before its
//!   callback ran). So the reaper waits for the packet of a callback that is running when everything else is gone.
//! - **Nothing blocks**: the drop does not wait for the callback. So it may happen under a source's lock, and in the callback's
//!   own thread.
//!
//! # Interleavings
//! * *The callback runs before the start has returned*: it knows its number and its port from the block alone. Whoever takes
//!   its packet waits for the lock under which the wait was started, and finds it stored.
//! * *The wait is dropped while its callback runs*: the system says "pending". The packet comes, its entry is still there, and
//!   the owner is told the number of a wait that it no longer has.
//! * *The wait is dropped when its callback has run*: the system says "done", as it does when the callback never ran. The mark
//!   `ran` tells the two apart. It is set first, and the system orders the end of the callback before its answer.
//! * *The last reference goes in the callback*: it closes the object, whose wait is over, and perhaps the port.
//! * *The `Poll` is dropped*: no wait starts any more (under the lock of the table). Those that are on are dropped by their
//!   owners' `abandon`, or by the drop of their owners, which the end of the `Poll` may overtake. Whoever takes the last entry
//!   out tells the reaper.

use core::ffi::c_void;
use std::sync::Arc;

use super::ffi;
use super::operation::Owner;
use super::port::Port;
use crate::hooks;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{AtomicBool, Ordering};

/// What the owner and the callback share.
struct Block {
    port: Arc<Port>,
    number: usize,
    object: ffi::WaitObject,
    /// The callback has run, or is about to post. Written by it, read when the wait is over; both take part in the total
    /// order.
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
    /// Starts to wait for `object`. It is called under the lock that `owner`'s [`Owner::signalled`] takes.
    pub(super) fn start(
        port: &Arc<Port>,
        owner: Arc<dyn Owner>,
        object: ffi::WaitObject,
    ) -> Result<Started, ffi::Code> {
        let Some(number) = port.expect_signal(owner) else {
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
        let over = ffi::unregister_wait(registered).is_ok() || !holds(Rule::PendingIsTheCallbacks);
        if !over || (self.block.ran.load(Ordering::SeqCst) && holds(Rule::RanIsAsked)) {
            return;
        }
        if holds(Rule::UnregisteredIsReleased) {
            hooks::windows::reference_released(Arc::strong_count(&self.block));
            let context = Arc::as_ptr(&self.block);
            // SAFETY: it is the reference that `start` gave to the callback, which has not run and never will.
            unsafe { Arc::decrement_strong_count(context) };
        }
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
