//! [`Operation`]: an overlapped call in flight, and who owns its memory until its packet is taken.
//!
//! **From packet to operation.** A packet names the file that it is about by the completion key, which was chosen once,
//! when the socket was tied to the port: it is the same for every receive, send and connect of that socket, so it cannot
//! say *which* of them ended. What can is the address of the state block (`WSAOVERLAPPED`) that the operation was started
//! with: the packet gives it back. [`Operation`] is laid out as C would with the block as its first field, so both
//! have one address, and a pointer to the block that is known to be an operation's is a pointer to the operation: behind
//! the block stand what it belongs to and what kind it is. The token is not there. It belongs to the interest, which can
//! be armed anew with another token while the same operation is in flight.
//!
//! Known to be an operation's: whoever has a duplicate of the socket can start operations of his own on it, and their
//! packets come to our port with our key. So a pointer is looked up in the port's table of operations in flight before
//! it is believed ([`Port`](super::port::Port)), and what is not found is dropped unread.
//!
//! # Invariants
//! - **One flight**: an operation is in the table from right before its system call until its packet was taken off the
//!   port, or the call said that there will be none. While it is there, nobody starts it again, and nothing here reads
//!   or writes its block. Kept by `Port::launch` and `Port::take`. Only the packet ends a flight: on a socket with a port
//!   the kernel need not write the block before its packet is removed, so looking into it tells nothing.
//! - **Held by its flight**: the entry in the table is a strong reference to the source ([`Owner`]), in whose allocation
//!   the operation lies. So the block, and the buffers that lie behind the source, outlive the flight whatever is
//!   dropped, in whatever order, on whatever thread.
//! - **Address for life**: a source is made inside its `Arc` and never moved out of it.

use std::cell::UnsafeCell;
use std::sync::{Arc, Weak};

use super::ffi;
use super::port::Port;
use super::status::{self, Outcome};
use crate::event::Events;
use crate::hooks;
use crate::hooks::rules::{holds, Rule};
use crate::interests::Token;

/// What kind of call an operation stands for. A connect goes by the send operation: it comes before every send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A receive, or a listener's accept.
    Receive,
    /// A send or a connect.
    Send,
}

/// One overlapped call, again and again: a source has one a direction, for life.
#[repr(C)]
pub(super) struct Operation {
    // First, so that a pointer to it is one to the whole.
    overlapped: UnsafeCell<ffi::WSAOVERLAPPED>,
    owner: Weak<dyn Owner>,
    kind: Kind,
}

// SAFETY: the block is touched only by `reset` and `ended`, which the invariant "one flight" keeps apart from each
// other and from the kernel. The other fields never change.
unsafe impl Sync for Operation {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Operation {}

impl Operation {
    pub(super) fn new(owner: Weak<dyn Owner>, kind: Kind) -> Operation {
        hooks::windows::operation_made();
        Operation {
            overlapped: UnsafeCell::new(ffi::WSAOVERLAPPED::zeroed()),
            owner,
            kind,
        }
    }

    /// What the system is given.
    pub(super) fn as_overlapped(&self) -> *mut ffi::WSAOVERLAPPED {
        // From the whole and not from the field: the pointer comes back as one to the whole.
        let whole: *const Operation = self;
        whole.cast::<ffi::WSAOVERLAPPED>().cast_mut()
    }

    /// What the tables know it by.
    pub(super) fn address(&self) -> usize {
        self.as_overlapped() as usize
    }

    pub(super) fn owner(&self) -> Option<Arc<dyn Owner>> {
        self.owner.upgrade()
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Makes the block fresh, as each start needs it.
    ///
    /// # Safety
    /// - The operation is not in flight, and nobody else is about to start it.
    pub(super) unsafe fn reset(&self) {
        let block_bytes = std::mem::size_of::<ffi::WSAOVERLAPPED>();
        hooks::windows::touched(self.as_overlapped(), block_bytes);
        // SAFETY: the caller's duty leaves the block to us alone.
        unsafe { self.overlapped.get().write(ffi::WSAOVERLAPPED::zeroed()) };
    }

    /// How it ended.
    ///
    /// # Safety
    /// - Its packet was taken, and it was not started again.
    pub(super) unsafe fn ended(&self, bytes: u32) -> Packet {
        // SAFETY: the caller's duty leaves the block to us alone.
        let block = unsafe { self.overlapped.get().read() };
        let (block, bytes) = hooks::windows::outcome_of(block, bytes as usize);
        Packet { block, bytes }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        hooks::windows::operation_dropped(self.address());
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The end of an operation, as its packet tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    block: ffi::WSAOVERLAPPED,
    bytes: usize,
}

impl Packet {
    /// The number of bytes moved, or how it failed. `open` is the socket if it is certainly open: then the system can be
    /// asked for what our table does not know.
    pub(super) fn result(&self, open: Option<ffi::SOCKET>) -> Result<usize, ffi::Code> {
        match self.outcome() {
            Outcome::Done => Ok(self.bytes),
            Outcome::Failed(code) => Err(code),
            Outcome::Unfinished => Err(ffi::WSA_OPERATION_ABORTED),
            Outcome::Unknown => {
                match open.map(|socket| ffi::wsa_get_overlapped_result(socket, &self.block)) {
                    Some(Err(code)) => Err(code),
                    _ => Err(ffi::WSAEINVAL),
                }
            }
        }
    }

    fn outcome(&self) -> Outcome {
        // A status has 32 bits: the upper half of the field means nothing.
        #[allow(clippy::cast_possible_truncation)]
        let status = self.block.Internal as u32;
        status::outcome(status)
    }

    /// The number of bytes moved, also by an operation that failed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where events go: the batch of a poll, or nowhere for now.
pub(super) type Sink<'a> = Option<&'a mut Events>;

/// What an operation belongs to: the part of a source that lives as long as anything of it is in flight.
pub(super) trait Owner: Send + Sync {
    /// The packet of an operation was taken.
    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>);

    /// A note that was posted for this direction has come: something may be ready that no operation will tell.
    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>);

    /// The signal of a wait with that number has come, whether or not the wait was dropped by then.
    fn signalled(&self, _number: usize, _port: &Arc<Port>, _sink: Sink<'_>) {}

    /// The `Poll` is going away: cancels what would wait for ever.
    fn abandon(&self);

    /// The time for a deferred close is over.
    fn give_up(&self);
}

/// What every direction of a source knows beside its own things. Kept under that direction's lock.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// The token of the interest, if it is armed.
    pub(super) armed: Option<Token>,
    /// Whether the operation is: its packet has not been handled.
    pub(super) in_flight: bool,
    /// Whether a note is on its way.
    pub(super) posted: bool,
    /// How many calls of the user's own (`try_io`) are on: meanwhile nothing starts.
    pub(super) trying: usize,
    /// Whether the source was dropped or given back: its socket's number is not ours any more, and nothing may start.
    pub(super) closed: bool,
}

impl Direction {
    pub(super) fn is_trying(&self) -> bool {
        self.trying > 0 && holds(Rule::TryHolds)
    }
}

const _: () = assert!(
    std::mem::size_of::<UnsafeCell<ffi::WSAOVERLAPPED>>()
        == std::mem::size_of::<ffi::WSAOVERLAPPED>()
);
