//! [`Detour`]: how a socket that was given back and has come back to its port tells of the end of its operations.
//!
//! A socket is tied to one port for as long as it is open, and the system does not say to which. A port keeps the numbers of
//! the sockets that it has given back. Such a number proves nothing: the socket may have been closed since, and another
//! one may have its number, which is tied to another port. A packet of ours would go to that port, where nobody knows it.
//!
//! So the number only decides whether the socket is taken at all. Its operations send no packet to any port: each of them
//! has an event of its own, with the mark in the block that asks for this. A [`Wait`] for that event sends our port a
//! signal.
//!
//! The price: an event and a wait for each operation. Only sockets that went through `into_std` and `from_std` pay it.
//!
//! # Invariants
//! - **Both tables**: an operation that takes the detour is in the port's table of operations like any other, so it has one
//!   flight, and its flight holds it. Its wait is in the table of waits. Whoever takes the packet of the signal takes both
//!   out.
//! - **The wait first**: the wait is on, and its number is known here, before the system call. So whoever takes the packet
//!   of its signal finds the operation.
//! - **The block is final when its event is signalled**: the system writes status and count before. So they are read from
//!   the block, after the packet of the signal was taken.
//!
//! # Interleavings
//! * *The operation ends before its start has returned*: the thread that takes the packet has to wait for the lock of the
//!   direction, which the starting thread holds.
//! * *The start is refused*: the event is not signalled, and the wait is dropped. Should it be signalled all the same, the
//!   packet comes with a number that is not known here any more, and the source ignores it.
//! * *The source is dropped, or the `Poll`*: the operation is cancelled, which signals its event like any other end.

use std::sync::Arc;

use crate::hooks::sync::{lock, Mutex};
use crate::windows::ffi;
use crate::windows::operation::{Operation, Owner};
use crate::windows::waits::{Started, Wait};

/// The waits for the operations of a source that are in flight, with the addresses of those.
#[derive(Default)]
pub(super) struct Detour(Mutex<Vec<(usize, Wait)>>);

/// Why an operation cannot take the detour.
pub(super) enum Blocked {
    /// The `Poll` is gone.
    Gone,
    Failed(ffi::Code),
}

impl Detour {
    /// Has the end of the operation, which is about to start, come to the port of its owner. Without a detour there is
    /// nothing to do.
    ///
    /// # Safety
    /// - The operation is not in flight, and nobody else is about to start it.
    pub(super) unsafe fn prepare(
        owner: &Arc<dyn Owner>,
        operation: &Operation,
        goes_on: bool,
    ) -> Result<(), Blocked> {
        let membership = owner.membership();
        let Some((detour, port)) = membership.detour.get().zip(membership.port()) else {
            return Ok(());
        };
        let event = ffi::create_event().map_err(Blocked::Failed)?;
        // SAFETY: the caller's duty.
        unsafe { operation.ends_by(&event) };
        match Wait::start(port, Arc::clone(owner), event, goes_on) {
            Ok(Started::On(wait)) => {
                lock(&detour.0).push((operation.address(), wait));
                Ok(())
            }
            Ok(Started::Gone(_)) => Err(Blocked::Gone),
            Err(code) => Err(Blocked::Failed(code)),
        }
    }

    /// The operation was refused: its event is not signalled.
    pub(super) fn forget(&self, address: usize) {
        let mut waits = lock(&self.0);
        let refused = waits.iter().position(|(of, _)| *of == address);
        let refused = refused.map(|index| waits.swap_remove(index));
        drop(waits);
        drop(refused);
    }

    /// The packet of a wait's signal was taken. Returns the address of its operation, if it is one of these waits.
    pub(super) fn ended(&self, number: usize) -> Option<usize> {
        let mut waits = lock(&self.0);
        let ended = waits.iter().position(|(_, wait)| wait.number() == number);
        let (address, wait) = waits.swap_remove(ended?);
        drop(waits);
        drop(wait);
        Some(address)
    }
}
