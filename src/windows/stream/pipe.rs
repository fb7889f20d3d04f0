//! Named pipes as transports, and what only a pipe has: clients that come and go.
//!
//! An overlapped pipe differs from a socket in these points:
//! - **No write can be tried.** A write that finds too little room stays with the system until all of it fits, and what of it
//!   was read when it is cancelled nobody knows. So each write is a copy in flight, one at a time. Without a port to send its
//!   packet to, the pipe is switched to calls that do not wait, for the time of one write.
//! - **A read asks first** how many bytes there are. If somebody else takes them meanwhile, the read is cancelled, which loses
//!   none.
//! - **A peer may write nothing**, which ends a read without bytes and is not the end. The end is a failure, of which the
//!   system tells every time.
//! - **Only the close tells the peer** that no more follows, and it throws away what a write in flight has left. A pipe that is
//!   dropped with one stays open until the packet.
//!
//! The server's end waits for its client by [`ConnectNamedPipe`][1], which stands in the place of a socket's connect. That a
//! client is there already, or was and is gone, is a failure to that call and success here: its bytes are still to be read.
//!
//! [1]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};

use super::super::operation::Packet;
use super::super::{ffi, would_block};
use super::connecting::{CONNECTED, DISCONNECTED, DISCONNECTING, NOT_STARTED};
use super::transport::{Start, StartConnect, Transport};
use super::{Shared, Stream};
use crate::error;
use crate::hooks::sync::Ordering;

/// One end of a named pipe.
pub(crate) type NamedPipe = Stream<Pipe>;

/// A named pipe.
#[derive(Default)]
pub(crate) struct Pipe;

impl Transport for Pipe {
    type File = ffi::HANDLE;
    type Owned = ffi::OwnedHandle;
    type Target = ();

    const FILE: fn(&ffi::OwnedHandle) -> ffi::HANDLE = ffi::handle_of;
    const HANDLE: fn(ffi::HANDLE) -> ffi::HANDLE = |pipe| pipe;
    const CONNECT: StartConnect<ffi::HANDLE, ()> = ffi::connect_named_pipe;
    const RECEIVE: Start<ffi::HANDLE> = ffi::read_file;
    const SEND: Start<ffi::HANDLE> = ffi::write_file;
    const RESULT: fn(&Packet, ffi::HANDLE) -> Result<usize, ffi::Code> = Packet::result_of_pipe;
    const LOOK: fn(ffi::HANDLE) -> Result<usize, ffi::Code> = ffi::peek_named_pipe;
    const END: Option<ffi::Code> = Some(ffi::ERROR_BROKEN_PIPE);
    /// About as much as the state of the pipe itself takes: a pipe has no other way to write.
    const PROBE: usize = 512;
    const ENDS_BY_CLOSE: bool = true;

    fn check(pipe: ffi::HANDLE) -> io::Result<()> {
        match ffi::peek_named_pipe(pipe) {
            Ok(_) | Err(ffi::ERROR_BROKEN_PIPE | ffi::ERROR_ACCESS_DENIED) => Ok(()),
            Err(_) => Err(error::not_a_pipe()),
        }
    }

    fn after_connect(_: ffi::HANDLE, result: Result<usize, ffi::Code>) -> i32 {
        match result {
            // A client is there, or was, or this is the client's end.
            Ok(_)
            | Err(ffi::ERROR_PIPE_CONNECTED | ffi::ERROR_NO_DATA | ffi::ERROR_INVALID_FUNCTION) => {
                CONNECTED
            }
            // By the end of the `Poll`, or of the thread that started it.
            Err(ffi::WSA_OPERATION_ABORTED) => NOT_STARTED,
            Err(ffi::ERROR_BROKEN_PIPE) => DISCONNECTED,
            Err(code) => code,
        }
    }

    fn receive_at_once(
        pipe: &ffi::OwnedHandle,
        buffers: &mut [IoSliceMut<'_>],
        mut filled: usize,
        _peeks: bool,
    ) -> io::Result<usize> {
        let pipe = ffi::handle_of(pipe);
        // One piece of memory, behind those that are full.
        let room = buffers.iter_mut().find_map(|buffer| {
            let skipped = filled.min(buffer.len());
            filled -= skipped;
            Some(&mut buffer[skipped..]).filter(|room| !room.is_empty())
        });
        let read = ffi::peek_named_pipe(pipe).and_then(|count| match room {
            Some(room) if count > 0 => ffi::read_now(pipe, room),
            _ => Ok(0),
        });
        match read {
            // Or somebody else has taken what was there.
            Ok(0) => Err(would_block()),
            Err(ffi::ERROR_BROKEN_PIPE) => Ok(0),
            read => read.map_err(io::Error::from_raw_os_error),
        }
    }

    fn send_alone(stream: &Shared<Pipe>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // No receive may start meanwhile, since it would not wait.
        let _receiving = stream.receiving.lock();
        let slice = slices.iter().find(|slice| !slice.is_empty());
        let bytes = slice.map_or(&[][..], |slice| slice);
        ffi::write_now(stream.file, bytes).map_err(io::Error::from_raw_os_error)
    }
}

impl Stream<Pipe> {
    /// Takes over one end of a pipe.
    pub(crate) fn from_handle(pipe: ffi::OwnedHandle) -> NamedPipe {
        // Whatever else the system says, it will say to the calls that follow.
        let state = match ffi::peek_named_pipe(ffi::handle_of(&pipe)) {
            // Or no client has come yet: the system has one word for both. Or it is not for reading.
            Err(ffi::ERROR_BROKEN_PIPE | ffi::ERROR_ACCESS_DENIED) => DISCONNECTED,
            _ => CONNECTED,
        };
        Stream::new(pipe, state, ())
    }

    /// Makes the server's end of a pipe.
    pub(crate) fn create(name: &OsStr, shape: &ffi::PipeShape) -> io::Result<NamedPipe> {
        let pipe = ffi::create_named_pipe(&ffi::pipe_name(name)?, shape);
        let pipe = pipe.map_err(io::Error::from_raw_os_error)?;
        Ok(Stream::new(pipe, NOT_STARTED, ()))
    }

    /// Opens the client's end of a pipe, for whatever it can be opened for.
    pub(crate) fn open(name: &OsStr) -> io::Result<NamedPipe> {
        let name = ffi::pipe_name(name)?;
        let open = |access| ffi::open_pipe(&name, access, ffi::FILE_FLAG_OVERLAPPED);
        let mut opened = open(ffi::GENERIC_READ | ffi::GENERIC_WRITE);
        for access in [ffi::GENERIC_READ, ffi::GENERIC_WRITE] {
            if matches!(opened, Err(ffi::ERROR_ACCESS_DENIED)) {
                opened = open(access);
            }
        }
        let pipe = opened.map_err(io::Error::from_raw_os_error)?;
        Ok(NamedPipe::from_connected(pipe))
    }

    /// Takes over an end that is certainly connected.
    pub(crate) fn from_connected(pipe: ffi::OwnedHandle) -> NamedPipe {
        Stream::new(pipe, CONNECTED, ())
    }

    pub(crate) fn into_handle(self) -> Result<ffi::OwnedHandle, (NamedPipe, io::Error)> {
        if let Some(port) = self.shared.membership.port() {
            port.pump();
        }
        self.give_back()
    }

    /// Waits for a client, without blocking.
    pub(crate) fn connect(&self) -> io::Result<()> {
        let shared = &*self.shared;
        let port = shared.membership.port();
        if let Some(port) = port {
            port.pump();
        }
        shared.prepare_connect()?;
        if let Some(port) = port {
            shared.start_connect(port);
        }
        shared.connect_alone();
        match shared.connect_state() {
            CONNECTED => Ok(()),
            code if code > 0 => {
                shared.forget_failure(code);
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Err(would_block()),
        }
    }

    /// Sends the client away. What it has not read is lost.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        let shared = &*self.shared;
        let _sending = shared.sending.lock();
        let _receiving = shared.receiving.lock();
        ffi::disconnect_named_pipe(shared.file).map_err(io::Error::from_raw_os_error)?;
        // The packet of a connect in flight may tell of the client that has just been sent away.
        shared.set_connect_state(match shared.is_connect_in_flight() {
            true => DISCONNECTING,
            false => DISCONNECTED,
        });
        Ok(())
    }
}

impl Shared<Pipe> {
    /// Forgets the client that was sent away. Its operations have to end first, or their packets would be taken for those
    /// of the next client.
    fn prepare_connect(&self) -> io::Result<()> {
        let mut sending = self.sending.lock();
        let mut receiving = self.receiving.lock();
        if self.connect_state() != DISCONNECTED {
            return Ok(());
        }
        if sending.side.in_flight || receiving.side.in_flight {
            return Err(would_block());
        }
        sending.failed = None;
        receiving.begin_anew();
        self.broken.forget();
        self.set_connect_state(NOT_STARTED);
        Ok(())
    }

    /// A failure of a connect was told, and the next one may go better.
    fn forget_failure(&self, code: ffi::Code) {
        // Another thread may have told it, too, and begun that one.
        let order = Ordering::SeqCst;
        let _ = self
            .connect
            .compare_exchange(code, DISCONNECTED, order, order);
    }

    /// Looks for a client without a port, or after the end of its `Poll`.
    fn connect_alone(&self) {
        let sending = self.sending.lock();
        if self.connect_state() != NOT_STARTED {
            return;
        }
        let result = ffi::connect_now(self.file);
        if result == Err(ffi::WSAEWOULDBLOCK) {
            return;
        }
        let state = Pipe::after_connect(self.file, result.map(|()| 0));
        self.set_connect_state(state);
        // Somebody may register the pipe right now, and relies on the end of the connect to look at his interest. If he armed it
        // before he could see that end, his port is there once this lock was taken.
        drop(self.receiving.lock());
        if let Some(port) = self.membership.port() {
            self.connect_ended(sending, state, port, None);
        }
    }
}
