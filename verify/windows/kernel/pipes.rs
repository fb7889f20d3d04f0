//! Named pipes in the kernel in miniature. One is a socket that is marked as a pipe.
//!
//! **No kinder than the real ones**:
//! - A write ends when all of it fits, and never in part. If the pipe is closed before, all of it is lost.
//! - An operation that waits when the client is sent away, or when the peer closes, fails.
//! - The packet of a connect may come after the client has gone.
//! - A read without memory waits for bytes, and also ends when the peer writes nothing ([`write_nothing`]).

use std::ffi::OsStr;
use std::io;

use super::codes::*;
use super::{
    complain, step, Call, Code, OwnedSocket, State, HANDLE, NOTHING, SOCKET, STATUS_CANCELLED,
    WSABUF, WSAOVERLAPPED,
};

const ERROR_PIPE_LISTENING: Code = 536;

pub(crate) const GENERIC_READ: u32 = 0x8000_0000;
pub(crate) const GENERIC_WRITE: u32 = 0x4000_0000;
pub(crate) const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
pub(crate) const FILE_FLAG_FIRST_PIPE_INSTANCE: u32 = 0x0008_0000;
pub(crate) const PIPE_ACCESS_INBOUND: u32 = 1;
pub(crate) const PIPE_ACCESS_OUTBOUND: u32 = 2;
pub(crate) const PIPE_REJECT_REMOTE_CLIENTS: u32 = 8;

pub(super) const STATUS_PIPE_DISCONNECTED: u32 = 0xc000_00b0;
pub(super) const STATUS_PIPE_BROKEN: u32 = 0xc000_014b;

pub(crate) type OwnedHandle = OwnedSocket;

/// What a socket is as a pipe, if it is one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipe {
    #[default]
    No,
    /// A server's end without a client, which no client can open.
    Disconnected,
    /// The same, which one can.
    Listening,
    Connected,
    /// Connected, and calls do not wait.
    NotWaiting,
}

// What a model does.

/// One end of a pipe, with room for that many bytes.
pub(crate) fn pipe(connected: bool, room: usize) -> OwnedHandle {
    let number = step(|state| {
        let number = state.open(room);
        state.sockets[number].pipe = if connected {
            Pipe::Connected
        } else {
            Pipe::Disconnected
        };
        number
    });
    OwnedSocket(SOCKET(number))
}

/// A client opens the pipe. Returns whether it could.
pub(crate) fn client_comes(pipe: SOCKET) -> bool {
    step(|state| {
        if state.sockets[pipe.0].pipe != Pipe::Listening {
            return false;
        }
        state.sockets[pipe.0].pipe = Pipe::Connected;
        state.sockets[pipe.0].finished = false;
        if let Some(address) = state.pending(pipe.0, Call::Connect) {
            state.end(address, 0, 0);
        }
        true
    })
}

/// The system cancels what is in flight, since the thread that has started it ends.
pub(crate) fn cancel_all(pipe: SOCKET) {
    step(|state| state.cancel(pipe.0, None));
}

/// The peer writes no bytes.
pub(crate) fn write_nothing(pipe: SOCKET) {
    step(|state| {
        if let Some(address) = state.pending(pipe.0, Call::Receive) {
            state.end(address, 0, 0);
        }
    });
}

impl State {
    /// What a read or write says that cannot start.
    fn check_pipe(&self, pipe: HANDLE) -> Result<(), Code> {
        self.check_open(pipe.0);
        match self.sockets[pipe.0].pipe {
            Pipe::No => Err(WSAEINVAL),
            Pipe::Disconnected => Err(ERROR_BROKEN_PIPE),
            Pipe::Listening => Err(ERROR_PIPE_LISTENING),
            Pipe::Connected | Pipe::NotWaiting => Ok(()),
        }
    }

    /// Whether a client is there, or was; if not, one can come from now on.
    fn listen_on_pipe(&mut self, pipe: HANDLE) -> Result<(), Code> {
        self.check_open(pipe.0);
        match &mut self.sockets[pipe.0] {
            socket if socket.pipe != Pipe::Connected => {
                socket.pipe = Pipe::Listening;
                Ok(())
            }
            socket if socket.finished => Err(ERROR_NO_DATA),
            _ => Err(ERROR_PIPE_CONNECTED),
        }
    }

    fn fail_pending(&mut self, pipe: usize, status: u32, calls: &[Call]) {
        for &call in calls {
            if let Some(address) = self.pending(pipe, call) {
                self.end(address, status, 0);
            }
        }
    }

    /// The peer has closed: bytes that wait are still read.
    pub(super) fn serve_broken_pipe(&mut self, pipe: usize) {
        if self.sockets[pipe].pipe == Pipe::Connected && self.sockets[pipe].finished {
            if self.sockets[pipe].incoming.is_empty() {
                self.fail_pending(pipe, STATUS_PIPE_BROKEN, &[Call::Receive]);
            }
            self.fail_pending(pipe, STATUS_PIPE_BROKEN, &[Call::Send]);
        }
    }
}

// What the crate calls.

pub(crate) fn handle_of(pipe: &OwnedHandle) -> HANDLE {
    pipe.0.handle()
}

/// Names mean nothing here.
pub(crate) fn pipe_name(_: &OsStr) -> io::Result<Vec<u16>> {
    Ok(Vec::new())
}

#[allow(dead_code)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PipeShape {
    pub(crate) open_mode: u32,
    pub(crate) pipe_mode: u32,
    pub(crate) max_instances: u32,
    pub(crate) out_bytes: u32,
    pub(crate) in_bytes: u32,
}

pub(crate) fn create_named_pipe(_: &[u16], shape: &PipeShape) -> Result<OwnedHandle, Code> {
    let made = pipe(false, shape.out_bytes as usize);
    // A client can come before it is waited for.
    step(|state| state.sockets[made.0 .0].pipe = Pipe::Listening);
    Ok(made)
}

pub(crate) fn open_pipe(_: &[u16], _: u32, _: u32) -> Result<OwnedHandle, Code> {
    Ok(pipe(true, 0))
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn read_file(
    pipe: HANDLE,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    step(|state| {
        state.check_pipe(pipe)?;
        let socket = &state.sockets[pipe.0];
        if socket.pipe == Pipe::NotWaiting {
            complain("not waiting: a read that would end at once");
        }
        if socket.finished && socket.incoming.is_empty() {
            return Err(ERROR_BROKEN_PIPE);
        }
        state.start(SOCKET(pipe.0), Call::Receive, buffer, NOTHING, operation)
    })
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn write_file(
    pipe: HANDLE,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    step(|state| {
        state.check_pipe(pipe)?;
        if state.sockets[pipe.0].finished {
            return Err(ERROR_NO_DATA);
        }
        state.start(SOCKET(pipe.0), Call::Send, buffer, NOTHING, operation)
    })
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn connect_named_pipe(
    pipe: HANDLE,
    (): &(),
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    let nothing = WSABUF {
        len: 0,
        buf: std::ptr::null_mut(),
    };
    step(|state| {
        state.listen_on_pipe(pipe)?;
        state.start(SOCKET(pipe.0), Call::Connect, nothing, NOTHING, operation)
    })
}

pub(crate) fn get_overlapped_result(_: HANDLE, ended: &WSAOVERLAPPED) -> Result<usize, Code> {
    match u32::try_from(ended.Internal).unwrap() {
        0 => Ok(ended.InternalHigh),
        STATUS_CANCELLED => Err(WSA_OPERATION_ABORTED),
        STATUS_PIPE_DISCONNECTED | STATUS_PIPE_BROKEN => Err(ERROR_BROKEN_PIPE),
        other => panic!("{other:x}"),
    }
}

pub(crate) fn peek_named_pipe(pipe: HANDLE) -> Result<usize, Code> {
    step(|state| {
        // One word for a pipe without a client, whatever the reason.
        state.check_pipe(pipe).map_err(|_| ERROR_BROKEN_PIPE)?;
        let socket = &state.sockets[pipe.0];
        if socket.finished && socket.incoming.is_empty() {
            return Err(ERROR_BROKEN_PIPE);
        }
        Ok(socket.incoming.len())
    })
}

pub(crate) fn read_now(pipe: HANDLE, buffer: &mut [u8]) -> Result<usize, Code> {
    if peek_named_pipe(pipe)? == 0 {
        return Err(super::WSAEWOULDBLOCK);
    }
    step(|state| {
        let incoming = &mut state.sockets[pipe.0].incoming;
        let count = buffer.len().min(incoming.len());
        for (place, byte) in buffer.iter_mut().zip(incoming.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    })
}

pub(crate) fn write_now(pipe: HANDLE, bytes: &[u8]) -> Result<usize, Code> {
    step(|state| {
        state.check_pipe(pipe)?;
        state.sockets[pipe.0].pipe = Pipe::NotWaiting;
        Ok::<(), Code>(())
    })?;
    step(|state| {
        let socket = &mut state.sockets[pipe.0];
        socket.pipe = Pipe::Connected;
        if socket.finished {
            return Err(ERROR_NO_DATA);
        }
        let count = bytes.len().min(socket.room);
        if count == 0 {
            return Err(super::WSAEWOULDBLOCK);
        }
        socket.sent.extend(&bytes[..count]);
        socket.room -= count;
        Ok(count)
    })
}

pub(crate) fn connect_now(pipe: HANDLE) -> Result<(), Code> {
    step(|state| state.listen_on_pipe(pipe))?;
    Err(super::WSAEWOULDBLOCK)
}

pub(crate) fn disconnect_named_pipe(pipe: HANDLE) -> Result<(), Code> {
    step(|state| {
        state.check_open(pipe.0);
        if state.sockets[pipe.0].pipe != Pipe::Connected {
            return Err(ERROR_PIPE_LISTENING);
        }
        state.sockets[pipe.0].pipe = Pipe::Disconnected;
        state.sockets[pipe.0].incoming.clear();
        let all = [Call::Receive, Call::Send];
        state.fail_pending(pipe.0, STATUS_PIPE_DISCONNECTED, &all);
        Ok(())
    })
}
