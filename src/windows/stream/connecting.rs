//! The connect of a stream that was made without one.
//!
//! `ConnectEx` tells its end through the port. So it starts when the stream has a port: with the first registration. It
//! uses the send operation, since nothing can be sent before it has ended.
//!
//! One number says how far it is, [`Shared::connect`]: it goes from [`NOT_STARTED`] to [`IN_FLIGHT`] under the lock of the
//! sending direction, and from there to [`CONNECTED`] or a failure's code when the packet is handled. Whoever is told the
//! code keeps it in `Shared::broken`, for reads to come, and then sets this number to [`TOLD`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::ffi;
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::{net, would_block};
use super::{Shared, TcpStream};
use crate::faults::{refused, Call};
use crate::rules::{holds, Rule};
use crate::sync::{lock, Ordering};

pub(super) const CONNECTED: i32 = 0;
pub(super) const NOT_STARTED: i32 = -1;
const IN_FLIGHT: i32 = -2;
/// It has failed, and somebody was told.
const TOLD: i32 = -3;

impl TcpStream {
    pub(crate) fn connect_nonblocking(target: &SocketAddr) -> io::Result<TcpStream> {
        ffi::start_winsock()?;
        let stream = bound_socket(target).map_err(io::Error::from_raw_os_error)?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(stream, Some(*target)))
    }
}

/// `ConnectEx` wants a bound socket.
fn bound_socket(target: &SocketAddr) -> Result<net::TcpStream, ffi::Code> {
    let stream = net::TcpStream::from(ffi::wsa_socket(ffi::family_of(target))?);
    ffi::bind_socket(ffi::socket_of(&stream), &ffi::wildcard_like(target))?;
    Ok(stream)
}

impl Shared {
    fn is_connected_after_all(&self) -> bool {
        ffi::is_connected(self.socket) && ffi::update_connect_context(self.socket).is_ok()
    }

    fn connect_state(&self) -> i32 {
        self.connect.load(Ordering::SeqCst)
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.connect_state(), NOT_STARTED | IN_FLIGHT)
    }

    pub(super) fn is_connect_to_start(&self) -> bool {
        self.connect_state() == NOT_STARTED
    }

    pub(super) fn is_connect_in_flight(&self) -> bool {
        self.connect_state() == IN_FLIGHT
    }

    pub(super) fn has_connect_failure(&self) -> bool {
        self.connect_state() > CONNECTED
    }

    /// Whether the connect has failed, whoever was told.
    pub(super) fn has_failed_to_connect(&self) -> bool {
        let state = self.connect_state();
        state > CONNECTED || state == TOLD
    }

    /// Whether the connect has failed and somebody was told. The socket would tell again.
    pub(super) fn is_connect_failure_told(&self) -> bool {
        self.connect_state() == TOLD
    }

    pub(super) fn take_connect_failure(&self) -> Option<ffi::Code> {
        let code = self.connect_state();
        if code <= CONNECTED {
            return None;
        }
        // Before anybody finds it told: a read looks for the code there.
        self.broken.tell(code);
        // Only one of several askers is told.
        let told = self
            .connect
            .compare_exchange(code, TOLD, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        told.then_some(code)
    }

    /// What a read or write has to ask first.
    pub(super) fn check_connected(&self) -> io::Result<()> {
        if self.connect_state() == CONNECTED {
            return Ok(());
        }
        if self.is_connect_in_flight() {
            if let Some(port) = self.membership.port() {
                port.pump();
            }
        }
        if self.is_connecting() {
            return Err(would_block());
        }
        self.take_connect_failure()
            .map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    /// Starts the connect, if there is one to start. That it cannot be done is an event, like any failure of it.
    pub(super) fn start_connect(&self, port: &Arc<Port>) {
        if self.connect_state() != NOT_STARTED {
            return;
        }
        let mut sending = lock(&self.sending);
        if self.connect_state() != NOT_STARTED {
            return;
        }
        // Before the start: the packet may be taken before it returns, and waits for the lock.
        self.connect.store(IN_FLIGHT, Ordering::SeqCst);
        let launch = port.launch(&self.send, |operation| {
            refused(Call::Connect)?;
            // SAFETY: the operation is held by its flight, and so is the name, which never changes. The socket is open:
            // the direction is locked and not closed.
            unsafe { ffi::connect_ex(self.socket, &self.target_name, operation) }
        });
        match launch {
            Launch::Flying => sending.side.in_flight = true,
            Launch::Gone => self.connect.store(NOT_STARTED, Ordering::SeqCst),
            Launch::Failed(code) => {
                self.connect.store(code, Ordering::SeqCst);
                self.fire_send(&mut sending, port, None);
                drop(sending);
                self.fire_receive(&mut lock(&self.receiving), true, port, None);
            }
        }
    }

    pub(super) fn connect_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        sending.side.in_flight = false;
        if sending.side.closed {
            return;
        }
        // A success of the packet alone will not do: the option is what makes it a full socket.
        let connected = packet
            .result(Some(self.socket))
            .and_then(|_| ffi::update_connect_context(self.socket));
        let state = match connected {
            Ok(()) => CONNECTED,
            // The `Poll` is gone, or the thread that started it: the connection need not be.
            Err(ffi::WSA_OPERATION_ABORTED) if self.is_connected_after_all() => CONNECTED,
            Err(ffi::WSA_OPERATION_ABORTED) => ffi::WSAECONNABORTED,
            Err(code) => code,
        };
        self.connect.store(state, Ordering::SeqCst);
        let mut sink = sink;
        // A packet makes one event: if this was it, the other direction gets a note.
        let told = self.fire_send(&mut sending, port, sink.as_deref_mut());
        drop(sending);
        if !holds(Rule::ConnectTellsBoth) {
            return;
        }
        let sink = if told { None } else { sink };
        self.fire_receive(&mut lock(&self.receiving), state != CONNECTED, port, sink);
    }
}
