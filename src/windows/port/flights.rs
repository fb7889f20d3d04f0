//! The table of what is in flight on a port, and the start and the end of a flight.
//!
//! An entry of the table holds its source, so that the operation and its memory stay where the kernel expects them. That
//! an operation is in the table also is the only proof that the pointer of a packet is one of ours: somebody who has a
//! duplicate of a socket can start operations of his own, whose packets come here, too.
//!
//! # Invariants
//! - **Gone means no more starts**: `gone` stands under the lock of the table. After it is set no operation starts, and
//!   every operation that has started before is in the table when [`abandon`](Port::abandon) goes through the sources. The
//!   only exception is the rest of a send, which may start while the packet of its first part is handled.
//! - **Handling counts**: `handling` is how many packets were taken and are being handled. Each may start another
//!   operation (that rest), so the port is idle only when it is 0.
//! - **The last tells the reaper**: whoever makes the port idle while a reaper waits nudges it.

use std::io;
use std::sync::Arc;

use super::asking::FEW;
use super::detour::{Blocked, Detour};
use super::{Port, KEY_NOTE, KEY_SIGNAL};
use crate::hooks;
use crate::hooks::sync::{lock, MutexGuard};
use crate::numbers::NumberMap;
use crate::windows::ffi;
use crate::windows::operation::{Kind, Operation, Owner, Sink};
use crate::windows::would_block;

/// Notes on their way, by the address of their direction's operation.
type Notes = NumberMap<(Arc<dyn Owner>, Kind)>;

/// See the head of this module.
#[derive(Default)]
pub(super) struct Flights {
    /// By their addresses.
    operations: NumberMap<Arc<dyn Owner>>,
    notes: Notes,
    /// Waits for a handle, by their numbers: those that are on, and those whose signal's packet was not taken yet.
    waits: NumberMap<Arc<dyn Owner>>,
    /// The number of the last of them.
    last_wait: usize,
    /// Packets of operations and signals that were taken and are being handled.
    handling: usize,
    /// The `Poll` is gone.
    gone: bool,
    /// A reaper waits until all is over.
    reaper: bool,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::windows) enum Launch {
    /// A packet is owed.
    Flying,
    /// The `Poll` is gone: nothing was started.
    Gone,
    /// The system refused: there will be no packet.
    Failed(ffi::Code),
}

impl Launch {
    /// What a call says that has had `count` bytes sent in this way.
    pub(in crate::windows) fn accepted(self, count: usize) -> io::Result<usize> {
        match self {
            Launch::Flying => Ok(count),
            Launch::Gone => Err(would_block()),
            Launch::Failed(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Flights {
    fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.waits.is_empty() && self.handling == 0
    }

    /// Whether few packets of operations and signals are still to come.
    pub(super) fn are_few(&self) -> bool {
        self.operations.len() + self.waits.len() <= FEW
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The `Poll` goes. Returns what the notes have held: nobody takes them any more.
    pub(super) fn end(&mut self) -> Notes {
        self.gone = true;
        std::mem::take(&mut self.notes)
    }

    /// Whether a reaper has something to wait for. If so, it counts as waiting from now on.
    pub(super) fn needs_reaper(&mut self) -> bool {
        self.reaper = !self.is_idle();
        self.reaper
    }
}

impl Port {
    /// Starts `operation` by calling `start`, which returns `Ok` if and only if a packet is owed.
    ///
    /// It is called under the lock of the operation's direction. A packet may be taken before this returns; the thread that
    /// has taken it waits for that lock, and finds the state that the caller leaves.
    ///
    /// `goes_on` says that the packet of the operation is being handled, and that this is the rest of it: that may be after
    /// the end of the `Poll`.
    pub(in crate::windows) fn launch(
        &self,
        operation: &Operation,
        goes_on: bool,
        start: impl FnOnce(*mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>,
    ) -> Launch {
        let Some(owner) = operation.owner() else {
            return Launch::Gone;
        };
        let address = operation.address();
        let has_detour = owner.membership().detour.get().is_some();
        let on_detour = has_detour.then(|| Arc::clone(&owner));
        {
            let mut flights = lock(&self.flights);
            if flights.gone && !goes_on {
                return Launch::Gone;
            }
            if flights.operations.contains_key(&address) {
                debug_assert!(
                    false,
                    "one flight: an operation in flight is not started again"
                );
                return Launch::Failed(ffi::WSAEINVAL);
            }
            flights.operations.insert(address, owner);
        }
        hooks::windows::operation_started();
        // SAFETY: it is in the table by our own entry, so it was not in flight; the lock of its direction, which the
        // caller holds, keeps others from starting it.
        unsafe { operation.reset() };
        let prepared = on_detour.as_ref().map_or(Ok(()), |owner| {
            // SAFETY: as above.
            unsafe { Detour::prepare(owner, operation, goes_on) }
        });
        let refused = match prepared {
            Ok(()) => match start(operation.as_overlapped()) {
                Ok(()) => return Launch::Flying,
                // Of an operation it means that too many are in flight. No event would say when to try again, so nobody may
                // be told to wait for one. https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv
                Err(ffi::WSAEWOULDBLOCK) => Launch::Failed(ffi::WSAENOBUFS),
                Err(code) => Launch::Failed(code),
            },
            Err(Blocked::Gone) => Launch::Gone,
            Err(Blocked::Failed(code)) => Launch::Failed(code),
        };
        if let Some(detour) = on_detour
            .as_ref()
            .and_then(|owner| owner.membership().detour.get())
        {
            detour.forget(address);
        }
        let entry = lock(&self.flights).operations.remove(&address);
        hooks::windows::operation_ended();
        // Not the last reference: the caller has one. Still, no lock is held while it goes.
        drop(entry);
        refused
    }

    /// Handles the packet of an operation, if it is one of ours, or of a wait's signal.
    pub(super) fn land(self: &Arc<Self>, entry: &ffi::OVERLAPPED_ENTRY, sink: Sink<'_>) {
        let number = entry.lpOverlapped as usize;
        let is_signal = entry.lpCompletionKey == KEY_SIGNAL;
        let owner = {
            let mut flights = lock(&self.flights);
            let table = match is_signal {
                true => &mut flights.waits,
                false => &mut flights.operations,
            };
            // An operation that is not ours: somebody has a duplicate of the socket. Nothing is known of that pointer, so
            // it is not followed.
            let Some(owner) = table.remove(&number) else {
                debug_assert!(!is_signal, "the signal of a wait that is not in the table");
                return;
            };
            flights.handling += 1;
            owner
        };
        hooks::windows::operation_ended();
        if is_signal {
            let detour = owner.membership().detour.get();
            match detour.and_then(|detour| detour.ended(number)) {
                Some(address) => {
                    // Not the last reference.
                    drop(lock(&self.flights).operations.remove(&address));
                    hooks::windows::operation_ended();
                    self.complete(&*owner, address as *const Operation, None, sink);
                }
                None => owner.signalled(number, self, sink),
            }
        } else {
            let bytes = Some(entry.dwNumberOfBytesTransferred);
            self.complete(&*owner, entry.lpOverlapped.cast(), bytes, sink);
        }
        // May be the last reference: the source's memory goes, and no lock is held.
        drop(owner);
        let mut flights = lock(&self.flights);
        flights.handling -= 1;
        self.tell_reaper(flights);
    }

    /// Handles the end of an operation that was in the table and was taken out right now. `owner` holds it. `bytes`: as for
    /// [`Operation::ended`].
    fn complete(
        self: &Arc<Self>,
        owner: &dyn Owner,
        operation: *const Operation,
        bytes: Option<u32>,
        sink: Sink<'_>,
    ) {
        // SAFETY: it was in the table: so it is an operation of ours, with the state block as its first field, and its
        // source is held by `owner`.
        let operation = unsafe { &*operation };
        // SAFETY: the packet that tells of its end was taken right now. Its direction still counts it as in flight, so nobody
        // starts it.
        let packet = unsafe { operation.ended(bytes) };
        owner.completed(operation.kind(), packet, self, sink);
    }

    /// Nudges the reaper, if it waits for what was just taken out of the table.
    fn tell_reaper(&self, flights: MutexGuard<'_, Flights>) {
        let was_the_last = flights.reaper && flights.is_idle();
        drop(flights);
        if was_the_last {
            drop(self.nudge());
        }
    }

    /// Has a poll take a note for the direction of `operation`. There is none, and that is no error, when the `Poll` is gone.
    pub(in crate::windows) fn note(&self, operation: &Operation) -> io::Result<()> {
        if !self.expect_note(operation) {
            return Ok(());
        }
        let put = self.put_note(operation.address());
        if put.is_err() {
            drop(self.take_note(operation.address()));
        }
        put
    }

    /// The same for an interest that was armed before: nobody is there to be told of a failure.
    pub(in crate::windows) fn note_surely(&self, operation: &Operation) {
        if self.expect_note(operation) && self.put_note(operation.address()).is_err() {
            self.keep(KEY_NOTE, operation.address());
        }
    }

    /// Enters a note that a poll is about to get, unless the `Poll` is gone.
    fn expect_note(&self, operation: &Operation) -> bool {
        let Some(owner) = operation.owner() else {
            return false;
        };
        let mut flights = lock(&self.flights);
        if flights.gone {
            return false;
        }
        let note = (owner, operation.kind());
        flights.notes.insert(operation.address(), note);
        true
    }

    /// Takes a note out, and returns what it is for.
    pub(super) fn take_note(&self, address: usize) -> Option<(Arc<dyn Owner>, Kind)> {
        lock(&self.flights).notes.remove(&address)
    }

    /// Enters a wait that is about to start, and returns its number; none, if the `Poll` is gone.
    ///
    /// `goes_on`: as for [`launch`](Port::launch).
    pub(in crate::windows) fn expect_signal(
        &self,
        owner: Arc<dyn Owner>,
        goes_on: bool,
    ) -> Option<usize> {
        let mut flights = lock(&self.flights);
        if flights.gone && !goes_on {
            return None;
        }
        flights.last_wait += 1;
        let number = flights.last_wait;
        flights.waits.insert(number, owner);
        hooks::windows::operation_started();
        Some(number)
    }

    /// Takes a wait out that will have no packet.
    pub(in crate::windows) fn forget_signal(&self, number: usize) {
        let mut flights = lock(&self.flights);
        // Dropped at the end, when no lock is held.
        let _owner = flights.waits.remove(&number);
        hooks::windows::operation_ended();
        self.tell_reaper(flights);
    }

    /// Posts the packet of a wait's signal. Called by its callback: the only lock is one for a packet that is refused.
    pub(in crate::windows) fn post_signal(&self, number: usize) {
        self.post_or_keep(KEY_SIGNAL, number);
    }
}
