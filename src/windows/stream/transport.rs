//! [`Transport`]: what carries the bytes of a stream, a TCP socket or a named pipe, and in what the two differ.

use std::io::{self, IoSlice, IoSliceMut};

use super::super::operation::Packet;
use super::super::{ffi, would_block};
use super::connecting::Found;
use super::Shared;

/// How a stream is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Plainly,
    /// Its input is not read any more, and must not make the close reset the connection.
    WithoutInput,
    /// Its send was given up.
    ByReset,
}

/// Starts to move bytes to or from that memory. `Ok`: a packet is owed.
///
/// # Safety
/// - The operation and the memory stay valid, where they are and untouched until the packet was taken.
/// - The file is open.
pub(crate) type Start<F> =
    unsafe fn(F, ffi::WSABUF, *mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>;

/// The same without memory, for a connect.
///
/// # Safety
/// As [`Start`], with the target in the place of the memory.
pub(crate) type StartConnect<F, T> =
    unsafe fn(F, &T, *mut ffi::WSAOVERLAPPED) -> Result<(), ffi::Code>;

/// Asks how a connect has ended, if it has.
pub(crate) type Ended<F> = fn(F, &ffi::WaitObject) -> Option<Result<(), ffi::Code>>;

/// The calls on a socket or a pipe. None of them blocks. All but those that own it are made under the lock of a direction that
/// is not closed, so the file is open. What is a constant here is one of the system's calls.
pub(crate) trait Transport: Default + Send + Sync + 'static {
    /// Its number.
    type File: Copy + Send + Sync;
    /// What owns it.
    type Owned: Send + Sync;
    /// Where it will be connected to.
    type Target: Send + Sync;

    const FILE: fn(&Self::Owned) -> Self::File;
    const HANDLE: fn(Self::File) -> ffi::HANDLE;
    const RECEIVE: Start<Self::File>;
    const SEND: Start<Self::File>;
    /// Starts to connect it. `Ok`: a packet is owed.
    const CONNECT: StartConnect<Self::File, Self::Target>;
    /// How an operation ended.
    const RESULT: fn(&Packet, Self::File) -> Result<usize, ffi::Code>;
    /// Looks whether there is something to receive: bytes or the end.
    const LOOK: fn(Self::File) -> Result<usize, ffi::Code>;
    /// How a receive fails that has met the end of the stream. `None`: it does not fail, and brings no bytes. Otherwise the
    /// peer can send nothing at all, which also ends a receive.
    const END: Option<ffi::Code>;
    /// How many bytes a send copies past the bound.
    const PROBE: usize;
    /// Whether only closing it tells the peer that no more bytes follow.
    const ENDS_BY_CLOSE: bool;

    /// Asks how a connect stands that somebody else began.
    const INSPECT: fn(Self::File) -> Result<Found, ffi::Code> = |_| Ok(Found::Ended(Ok(())));
    /// How such a connect has ended, if it has.
    const ENDED: Ended<Self::File> = |_, _| None;
    /// Has the end of such a connect signal nothing any more.
    const SELECT_NOTHING: fn(Self::File) = |_| {};

    /// Fails if the file is not what it should be.
    fn check(_: Self::File) -> io::Result<()> {
        Ok(())
    }

    /// How far the connect is when it has ended like this: a number of `connecting.rs`.
    fn after_connect(file: Self::File, result: Result<usize, ffi::Code>) -> i32;

    /// Receives without an operation in flight, behind the first `filled` bytes of the buffers. No bytes are the end.
    fn receive_at_once(
        owned: &Self::Owned,
        buffers: &mut [IoSliceMut<'_>],
        filled: usize,
        peeks: bool,
    ) -> io::Result<usize>;

    /// Sends without an operation in flight.
    fn send_at_once(_: &Self::Owned, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(would_block())
    }

    /// Sends when no copy can be sent, because there is no port or its loop is closed. The sending direction is locked.
    fn send_alone(_: &Shared<Self>, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(would_block())
    }

    /// The stream was dropped with a send in flight. Has the end follow the bytes, if it can. Returns whether the send is to be
    /// cancelled instead.
    fn close_behind_send(_: &Self::Owned) -> bool {
        false
    }

    /// Closes it, with no send in flight.
    fn close(owned: Self::Owned, _: Closing) {
        drop(owned);
    }
}
