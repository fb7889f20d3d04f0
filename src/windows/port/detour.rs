//! [`Detour`]: how the operations of a socket end that was given back and has come back to its port.
//!
//! A socket is tied to a port for as long as it is open, and the system does not say to which. The port keeps the numbers
//! of the sockets that it has given back. But the number of a socket that was closed may be another socket's by now, with
//! another port, to which a packet would go that nobody there knows. So the number decides only whether the socket is
//! taken at all. Its operations send no packet to any port: each has an event of its own, with the mark that tells the
//! system so, and a [`Wait`] for that event sends our port the signal instead.
//!
//! The price: an event and a wait for each operation. Only sockets that went through `into_std` and `from_std` pay it.
//!
//! # Invariants
//! - **Both tables**: an operation that takes the detour is in the port's table of operations like any other, so it is one
//!   flight, held by it. Its wait is in the table of waits. Both entries go when the packet of the signal is taken.
//! - **The wait first**: it is on, and its number is known here, before the system call. So the signal cannot come before
//!   whoever takes it can find the operation.

use std::sync::Arc;

use super::Port;
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
    /// Has the end of the operation, which is about to start, come to the port.
    ///
    /// # Safety
    /// - The operation is not in flight, and nobody else is about to start it.
    pub(super) unsafe fn prepare(
        &self,
        port: &Arc<Port>,
        owner: Arc<dyn Owner>,
        operation: &Operation,
        goes_on: bool,
    ) -> Result<(), Blocked> {
        let event = ffi::create_event().map_err(Blocked::Failed)?;
        // SAFETY: the caller's duty.
        unsafe { operation.ends_by(&event) };
        match Wait::start(port, owner, event, goes_on) {
            Ok(Started::On(wait)) => {
                lock(&self.0).push((operation.address(), wait));
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
