//! The receiving direction of a stream: the receive in flight, the bytes that it brought, and the end of the stream.
//!
//! | in flight | bytes, end or error | registering | `read` |
//! | --- | --- | --- | --- |
//! | no | none | starts a receive | asks the socket |
//! | with memory | none | stays with it | takes packets once, looks again, `WouldBlock` |
//! | without memory | none | stays with it | asks the socket |
//! | no | some | posts a note | serves them |
//!
//! A receive without memory ends when bytes are there, and leaves them in the socket. If a read has taken bytes from the
//! socket since it was started (`raided`), its packet proves nothing, and the socket is asked. The packet of a pipe never proves
//! anything, since its peer may write nothing.
//!
//! # A receive that came back full
//! It has filled what it was lent, so there may be more in the socket. A `read` that takes the last of its bytes and has
//! room left goes on with one receive from the socket. It holds the lock all the time: otherwise another thread could start a
//! receive in between, whose bytes would come before those of the socket. The read returns bytes. If the second receive
//! tells of an end or a failure instead, that is kept for the next read, since the system may tell it only once.
//!
//! # The end of receiving
//! A read that would give the end of the stream asks first whether the connection is known to be broken (`broken.rs`).
//! Whichever a read has told first, the end or the failure, stays.
//!
//! `shutdown(Read)` is not passed on to Windows, which would reset the connection when more bytes come. It is a mark: bytes that
//! wait here are dropped, a receive in flight is cancelled, and bytes that its packet brings are dropped as well.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use super::super::direction::{Side, Started, Transfer};
use super::super::lending::{LentBuffer, LentSize};
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{code_of, ffi};
use super::broken::{breaks_connection, Broken};
use super::transport::Transport;
use super::{Shared, FOLLOWS_TRAFFIC};
use crate::error;
use crate::event::Hints;
use crate::hooks::sync::Ordering;
use crate::interests::Interests;

/// How receiving has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    /// It has not.
    #[default]
    Open,
    /// The peer sends no more. `told`: a read has said so.
    Eof { told: bool },
    /// The connection is broken. The system may tell that only once, so it is kept, and told every time. `told`: a read has.
    Broken { code: ffi::Code, told: bool },
}

/// Whether the system had no room for the pages that it was lent.
fn lacks_memory(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAENOBUFS
            | ffi::ERROR_NO_SYSTEM_RESOURCES
            | ffi::ERROR_WORKING_SET_QUOTA
            | ffi::ERROR_NOT_ENOUGH_QUOTA
    )
}

#[derive(Default)]
pub(crate) struct Receiving<T> {
    pub(super) side: Side,
    pub(super) buffer: LentBuffer,
    /// How much is lent to the receive in flight: 0 for one without memory.
    lent: usize,
    /// How much the next one lends, if the user has not chosen.
    size: LentSize,
    /// The receive that brought the bytes in the buffer has filled what it was lent.
    full: bool,
    /// Bytes were taken from the socket since the receive without memory started.
    pub(super) raided: bool,
    end: End,
    /// Receiving was shut down on this side.
    pub(super) shut: bool,
    transport: PhantomData<T>,
}

impl<T: Transport> Transfer for Receiving<T> {
    type Source = Shared<T>;
    const INTEREST: Interests = Interests::READABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    fn is_connecting(stream: &Shared<T>) -> bool {
        stream.is_connecting()
    }

    fn holds_something(&self) -> bool {
        !self.buffer.unread().is_empty() || matches!(self.end, End::Eof { .. })
    }

    fn has_news(&self, stream: &Shared<T>) -> bool {
        self.holds_something() || self.end != End::Open || stream.is_without_connection()
    }

    /// A connection that broke is told of every time.
    fn check(&mut self, stream: &Shared<T>) -> io::Result<()> {
        match self.end {
            End::Broken { code, .. } => Err(self.tell_broken(&stream.broken, code)),
            _ => Ok(()),
        }
    }

    /// A receive without memory takes nothing.
    fn is_in_the_way(&self) -> bool {
        self.lent > 0
    }

    /// Starts a receive, and lends memory if the bound allows it.
    fn start(&mut self, stream: &Shared<T>, port: &Port) -> Started {
        let chosen = stream.wanted.load(Ordering::Relaxed);
        let lent = if chosen == FOLLOWS_TRAFFIC {
            self.size.reserve(port.lending())
        } else if chosen > 0 && port.lending().reserve(chosen) {
            chosen
        } else {
            0
        };
        let mut launch = self.launch(stream, port, lent);
        // The kernel has no room for the pages. It needs none for a receive without memory.
        if matches!(launch, Launch::Failed(code) if lacks_memory(code)) && lent > 0 {
            launch = self.launch(stream, port, 0);
        }
        match launch {
            Launch::Flying => Started::Flying,
            Launch::Gone => Started::Gone,
            Launch::Failed(code) => {
                self.fail(code);
                Started::Ready
            }
        }
    }

    fn hints(&self, stream: &Shared<T>) -> Hints {
        let broken = matches!(self.end, End::Broken { .. });
        Hints {
            read_closed: matches!(self.end, End::Eof { .. }) || self.shut,
            write_closed: false,
            error: broken || stream.connect_failure().is_some(),
            priority: false,
        }
    }

    fn call_begins(&mut self) -> io::Result<()> {
        if !self.buffer.unread().is_empty() {
            return Err(error::bytes_unread());
        }
        self.raided = true;
        Ok(())
    }

    fn call_ended(&mut self, stream: &Shared<T>, failed: Option<ffi::Code>) {
        self.note_failure(&stream.broken, failed);
    }

    fn can_be_released(&mut self) -> bool {
        self.buffer.unread().is_empty() && !(self.side.in_flight && self.lent > 0)
    }

    fn closing(&mut self, _: &Shared<T>) {
        // Nobody reads them any more, and a send in flight may keep the memory alive for a while. If it is lent, this leaves
        // it alone.
        self.buffer.free();
    }
}

impl<T: Transport> Receiving<T> {
    fn launch(&mut self, stream: &Shared<T>, port: &Port, lent: usize) -> Launch {
        self.buffer.prepare(lent);
        let memory = self.buffer.lend();
        let receiving = &stream.receiving;
        let launch = receiving.launch(&mut self.side, port, |operation| {
            // SAFETY: the operation is held by its flight, and the buffer by the source ("hands off what is lent": it is
            // taken back when the packet is handled). The socket is open: the direction is locked and not closed.
            unsafe { (T::RECEIVE)(stream.file, memory, operation) }
        });
        if launch == Launch::Flying {
            self.raided = false;
            self.full = false;
            self.lent = lent;
        } else {
            self.buffer.take_back();
            port.lending().release(lent);
        }
        launch
    }

    /// Forgets what it has received from a peer that is gone, since another one may come.
    pub(super) fn begin_anew(&mut self) {
        self.buffer.free();
        self.end = End::Open;
        self.side.failed = None;
    }

    /// Keeps a failure that nobody was told of.
    fn fail(&mut self, code: ffi::Code) {
        if self.is_settled() {
            return;
        }
        if T::END == Some(code) {
            self.end = End::Eof { told: false };
        } else if breaks_connection(code) {
            self.end = End::Broken { code, told: false };
        } else {
            self.side.failed = Some(code);
        }
    }

    /// Whether a read has told how receiving ended: that stays.
    fn is_settled(&self) -> bool {
        matches!(
            self.end,
            End::Eof { told: true } | End::Broken { told: true, .. }
        )
    }

    /// Whether a read that has taken all bytes of the buffer, or a peek that has shown them, may ask the socket for more. A
    /// read does so after a receive that came back full. What is known to follow is not asked for again, since the system
    /// tells it once.
    ///
    /// Windows may show less to a peek than a read would give: a peek may end where the bytes of one network packet do.
    pub(super) fn is_more_likely(&self, peeks: bool) -> bool {
        (self.full || peeks) && self.end == End::Open && self.side.failed.is_none()
    }

    /// Keeps what a receive or a peek says that followed bytes of the buffer, and returns how many bytes it brought. An
    /// empty socket says nothing.
    pub(super) fn keep(&mut self, result: &io::Result<usize>) -> usize {
        match result {
            Ok(0) => self.end = End::Eof { told: false },
            Ok(count) => return *count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                if let Some(code) = code_of(result) {
                    self.fail(code);
                }
            }
        }
        0
    }

    /// For `take_error`. `is_news` says whether it has not returned the failure of the connection before.
    pub(super) fn take_failure(
        &mut self,
        is_news: impl FnOnce(&ffi::Code) -> bool,
    ) -> Option<ffi::Code> {
        match self.end {
            End::Broken { code, .. } => Some(code).filter(is_news),
            _ => self.side.failed.take(),
        }
    }

    /// A read is about to give the end of the stream: it may, unless the connection is known to be broken and no read
    /// has given the end before.
    pub(super) fn tell_end(&mut self, broken: &Broken) -> io::Result<usize> {
        if self.end != (End::Eof { told: true }) {
            if let Some(code) = broken.code() {
                return Err(self.tell_broken(broken, code));
            }
            self.end = End::Eof { told: true };
        }
        Ok(0)
    }

    /// A read tells what broke the connection, and so does every later one.
    fn tell_broken(&mut self, broken: &Broken, code: ffi::Code) -> io::Error {
        self.end = End::Broken { code, told: true };
        broken.tell(code);
        io::Error::from_raw_os_error(code)
    }

    /// What a read or peek says that has asked the socket, under the lock all the time.
    pub(super) fn tell(&mut self, broken: &Broken, result: io::Result<usize>) -> io::Result<usize> {
        if let Ok(0) = result {
            return self.tell_end(broken);
        }
        self.note_failure(broken, code_of(&result));
        result
    }

    /// A call on the socket has told of a failure. If it is one of the connection, reads repeat it, since the system might
    /// not.
    fn note_failure(&mut self, broken: &Broken, code: Option<ffi::Code>) {
        let code = code.filter(|&code| breaks_connection(code) && !self.is_settled());
        if let Some(code) = code {
            drop(self.tell_broken(broken, code));
        }
    }
}

impl<T: Transport> Shared<T> {
    pub(super) fn receive_completed(&self, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut receiving = self.receiving.lock_ended();
        let receiving = &mut *receiving;
        receiving.buffer.take_back();
        port.lending().release(receiving.lent);
        if receiving.side.closed {
            receiving.buffer.free();
            return;
        }
        let mut ready = false;
        match (T::RESULT)(&packet, self.file) {
            // Bytes that came after the shutdown are dropped. `take_error` tells how the connection broke.
            result if receiving.shut => {
                receiving.buffer.free();
                self.broken.tell_if_breaking(result.err());
            }
            Ok(_) if receiving.lent == 0 && (receiving.raided || T::END.is_some()) => {
                match (T::LOOK)(self.file) {
                    Ok(0) if T::END.is_some() => {}
                    Ok(_) => ready = true,
                    Err(ffi::WSAEWOULDBLOCK) => {}
                    // This look may have taken the failure away from the system.
                    Err(code) => receiving.fail(code),
                }
            }
            Ok(_) if receiving.lent == 0 => ready = true,
            Ok(0) if T::END.is_none() => receiving.end = End::Eof { told: false },
            Ok(count) => {
                receiving.buffer.received(count);
                receiving.full = count == receiving.lent;
                receiving.size.came_back(receiving.lent, count);
            }
            // Cancelled, by the end of the `Poll` or of the thread that started it. That is no failure: if the interest is
            // armed, the next receive is started.
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) => receiving.fail(code),
        }
        self.receiving.fire(receiving, self, ready, port, &mut sink);
    }

    /// Ends receiving on this side. `connected` says whether there is a connection.
    pub(super) fn shut_receive(
        &self,
        connected: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut receiving = self.receiving.lock();
        if receiving.shut {
            return Ok(());
        }
        connected()?;
        receiving.shut = true;
        if !receiving.is_settled() {
            if let End::Broken { code, .. } = receiving.end {
                // No read tells it any more. `take_error` does.
                self.broken.tell(code);
            }
            receiving.end = End::Eof { told: true };
            receiving.side.failed = None;
        }
        if receiving.side.in_flight {
            self.receiving.cancel();
            return Ok(());
        }
        receiving.buffer.free();
        if let Some(port) = self.membership.port() {
            self.receiving
                .fire(&mut receiving, self, false, port, &mut None);
        }
        Ok(())
    }
}
