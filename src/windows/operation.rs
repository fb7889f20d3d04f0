//! [`Operation`]: an overlapped call in flight, and who owns its memory until its packet is taken.
//!
//! **From packet to operation.** A packet names the file that it is about by the completion key. The key was chosen once, when
//! the socket was tied to the port. So it is the same for every receive, send and connect of that socket, and cannot say
//! *which* of them has ended. The address of the state block (`WSAOVERLAPPED`) can: the operation was started with that block,
//! and the packet gives its address back. [`Operation`] is laid out as in C, with the block as its first field, so both have
//! one address. If the block is known to be an operation's, a pointer to it is a pointer to the operation: behind the block
//! stand the source that it belongs to and the kind of the call. The token is not there. It belongs to the interest, which can
//! be armed anew with another token while the same operation is in flight.
//!
//! Not every block is an operation's. Whoever has a duplicate of the socket can start operations of his own on it, and their
//! packets come to our port with our key. So a pointer is looked up in the port's table of operations in flight before it is
//! followed ([`Port`]). A packet whose pointer is not in the table is dropped, and nothing is read through the pointer.
//!
//! # Invariants
//! - **One flight**: an operation is in the table from right before its system call until its packet was taken off the
//!   port, or until the call said that there will be no packet. While it is there, nobody starts it again, and nothing here
//!   reads or writes its block. The port keeps this. Only the packet ends a flight: on a socket with a port the kernel need not
//!   write the block before its packet is removed, so reading the block would tell nothing.
//! - **Held by its flight**: the entry in the table is a strong reference to the source ([`Owner`]), in whose allocation
//!   the operation lies. So the block, and the buffers that belong to the source, outlive the flight, whatever is dropped, in
//!   whatever order, on whatever thread.
//! - **Address for life**: a source is made inside its `Arc` and never moved out of it.

use std::cell::UnsafeCell;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};

use super::ffi;
use super::port::{Membership, Port};
use super::status::{self, Outcome};
use crate::event::Events;
use crate::hooks;

/// What kind of call an operation stands for. A connect goes by the send operation: it comes before every send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A receive, or a listener's accept.
    Receive,
    /// A send or a connect.
    Send,
}

/// One overlapped call, which is started again and again. Each direction of a source has one, for life.
#[repr(C)]
pub(super) struct Operation {
    // First, so that a pointer to it is a pointer to the operation.
    overlapped: UnsafeCell<ffi::WSAOVERLAPPED>,
    owner: Weak<dyn Owner>,
    kind: Kind,
}

// SAFETY: the block is touched only by `reset` and `ended`, which the invariant "one flight" keeps apart from each
// other and from the kernel. The other fields never change.
unsafe impl Sync for Operation {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Operation {}
// No code of the user's runs while the block is changed or under a lock of its owner. So a panic that the user catches
// leaves both whole.
impl RefUnwindSafe for Operation {}

impl Operation {
    pub(super) fn new(owner: Weak<dyn Owner>, kind: Kind) -> Operation {
        hooks::windows::operation_made();
        Operation {
            overlapped: UnsafeCell::new(ffi::WSAOVERLAPPED::zeroed()),
            owner,
            kind,
        }
    }

    /// The pointer that the system is given.
    pub(super) fn as_overlapped(&self) -> *mut ffi::WSAOVERLAPPED {
        // Made from the operation and not from the field, since it comes back as a pointer to the operation.
        let whole: *const Operation = self;
        whole.cast::<ffi::WSAOVERLAPPED>().cast_mut()
    }

    /// The key under which the port's tables know it.
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

    /// Has its next flight end by a signal of `event` and not by a packet.
    ///
    /// # Safety
    /// - As [`reset`](Operation::reset), which comes first.
    pub(super) unsafe fn ends_by(&self, event: &ffi::WaitObject) {
        // SAFETY: the caller's duty leaves the block to us alone.
        unsafe { (*self.overlapped.get()).hEvent = ffi::instead_of_packet(event) };
    }

    /// How it ended. `bytes`: the number of bytes moved, if it is not to be read from the block.
    ///
    /// # Safety
    /// - Its packet was taken, and it was not started again.
    pub(super) unsafe fn ended(&self, bytes: Option<u32>) -> Packet {
        // SAFETY: the caller's duty leaves the block to us alone.
        let block = unsafe { self.overlapped.get().read() };
        let bytes = bytes.map_or(block.InternalHigh, |bytes| bytes as usize);
        let (block, bytes) = hooks::windows::outcome_of(block, bytes);
        Packet { block, bytes }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        hooks::windows::operation_dropped(self.address());
    }
}

/// The end of an operation, as its packet tells it.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    block: ffi::WSAOVERLAPPED,
    bytes: usize,
}

impl Packet {
    /// The number of bytes moved, or how it failed. `socket` is the operation's, and must be open: the system is asked with it
    /// for what our table does not know.
    pub(super) fn result(&self, socket: ffi::SOCKET) -> Result<usize, ffi::Code> {
        // A status has 32 bits: the upper half of the field means nothing.
        #[allow(clippy::cast_possible_truncation)]
        let status = self.block.Internal as u32;
        match status::outcome(status) {
            Outcome::Done => Ok(self.bytes),
            Outcome::Failed(code) => Err(code),
            Outcome::Unfinished => Err(ffi::WSA_OPERATION_ABORTED),
            Outcome::Unknown => {
                let asked = ffi::wsa_get_overlapped_result(socket, &self.block);
                Err(asked.err().unwrap_or(ffi::WSAEINVAL))
            }
        }
    }

    /// The same of an operation on a pipe. Its statuses are the general ones, for which the system has the right codes.
    pub(super) fn result_of_pipe(&self, pipe: ffi::HANDLE) -> Result<usize, ffi::Code> {
        #[allow(clippy::cast_possible_truncation)] // As above.
        match status::outcome(self.block.Internal as u32) {
            Outcome::Done => Ok(self.bytes),
            Outcome::Unfinished => Err(ffi::WSA_OPERATION_ABORTED),
            _ => ffi::get_overlapped_result(pipe, &self.block),
        }
    }

    /// The number of bytes moved, also by an operation that failed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where events go: the batch of a poll. `None`, if the packets are taken by somebody who does not poll.
pub(super) type Sink<'a> = Option<&'a mut Events>;

/// What an operation belongs to: the part of a source that lives as long as anything of it is in flight.
pub(super) trait Owner: Send + Sync {
    fn membership(&self) -> &Membership;

    /// The packet of an operation was taken.
    fn completed(&self, kind: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>);

    /// The note that was posted for this direction was taken. There may be something to tell that no operation will tell.
    fn noted(&self, kind: Kind, port: &Arc<Port>, sink: Sink<'_>);

    /// The packet of the wait with that number was taken: its handle was signalled. The wait may have been dropped since.
    fn signalled(&self, _number: usize, _port: &Arc<Port>, _sink: Sink<'_>) {}

    /// The `Poll` ends: no event comes any more, and what might wait for ever is cancelled.
    fn abandon(&self);

    /// The source was dropped with a send in flight, and its deferred close has lasted long enough: the send is cancelled.
    fn give_up(&self) {}
}

const _: () = assert!(
    std::mem::size_of::<UnsafeCell<ffi::WSAOVERLAPPED>>()
        == std::mem::size_of::<ffi::WSAOVERLAPPED>()
);
