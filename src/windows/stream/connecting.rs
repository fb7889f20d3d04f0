//! The connect of a stream that was made without one, or taken over before its connect had ended.
//!
//! **Ours**: `ConnectEx` tells its end through the port. So it starts when the stream has a port: with the first
//! registration. It uses the send operation, since nothing can be sent before it has ended.
//!
//! **Somebody else's**: a socket that comes by `from_std` may be in the middle of a plain, non-blocking `connect`. Such a
//! connect tells its end by the network event `FD_CONNECT`, which signals an event object, for which a thread of the system
//! waits ([`waits`](super::super::waits)). Nothing overlapped may start before: under Wine a receive that was started on such
//! a socket never ends, not even when the socket is closed. The system is asked how the connect stands when that first
//! matters, which is once in the life of a stream that is connected:
//! 1. `SO_CONNECT_TIME` says whether there is a connection. (`getpeername` does not: Wine 10 has a peer for a connect that is
//!    under way.)
//! 2. If there is none, `WSAEventSelect` and `WSAEnumNetworkEvents` give the code of a connect that has ended, or `SO_ERROR`
//!    does.
//! 3. If no connect has ended, one is under way, or none was ever begun. A socket that is not bound has none under way;
//!    otherwise a second `connect` says: `WSAEALREADY` means that one is.
//!
//! A socket without a connect is asked again each time: its owner may begin one later.
//!
//! One number says how far the connect is: [`Shared::connect`]. It changes under the lock of the sending direction. Whoever
//! tells of a failure leaves it in [`Shared::broken`], too, which so knows whether anybody was told.
//!
//! | number | meaning | next |
//! | --- | --- | --- |
//! | [`CONNECTED`] | nothing to ask | |
//! | [`NOT_STARTED`] | ours, waits for a port | `IN_FLIGHT` |
//! | [`IN_FLIGHT`] | ours, its packet will come | `CONNECTED`, `DISCONNECTING`, a code |
//! | [`FOREIGN`] | taken over, and not known to be connected | any below, `CONNECTED` |
//! | [`AWAITED`] | taken over, under way, a wait is on | `CONNECTED`, a code, `FOREIGN` |
//! | [`DISCONNECTING`] | as `IN_FLIGHT`, but the client that its packet may tell of was sent away | `DISCONNECTED` |
//! | [`DISCONNECTED`] | a pipe that has sent its client away: calls will say so | `NOT_STARTED` |
//! | a code | has failed | |
//!
//! # Interleavings
//! * *A read looks for the end while the wait's callback runs*: the read takes the record of the end, which the system gives
//!   once, writes the number and drops the wait. The packet comes all the same, and finds another wait or none.
//! * *The `Poll` is dropped while the wait is on*: the connect goes on in the kernel, so the number is `FOREIGN` again, and
//!   whoever calls next asks the system. (A connect of ours is cancelled, and has failed.)
//! * *The connect ends while it is asked how it stands*: after the second `connect` the record is looked at once more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::super::direction::Transfer;
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::waits::{Started, Wait};
use super::super::{ffi, would_block};
use super::sending::Sending;
use super::tcp::{Tcp, TcpStream};
use super::transport::Transport;
use super::Shared;
use crate::hooks::sync::{net, MutexGuard, Ordering};

pub(super) const CONNECTED: i32 = 0;
pub(super) const NOT_STARTED: i32 = -1;
pub(super) const IN_FLIGHT: i32 = -2;
pub(super) const FOREIGN: i32 = -3;
const AWAITED: i32 = -4;
pub(super) const DISCONNECTED: i32 = -5;
pub(super) const DISCONNECTING: i32 = -6;

/// How the connect of a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Connected,
    UnderWay,
    Failed,
    /// There is none.
    NeverBegun,
}

/// How the connect of a socket stands that somebody else began, as the system has it.
pub(crate) enum Found {
    /// It has ended, well or with a code.
    Ended(Result<(), ffi::Code>),
    /// With the event that its end will signal.
    UnderWay(ffi::WaitObject),
    NeverBegun,
}

impl TcpStream {
    pub(crate) fn connect_nonblocking(target: &SocketAddr) -> io::Result<TcpStream> {
        ffi::start_winsock()?;
        let stream = bound_socket(target).map_err(io::Error::from_raw_os_error)?;
        stream.set_nonblocking(true)?;
        let target = ffi::SOCKADDR_STORAGE::from_std(target);
        Ok(TcpStream::new(stream, NOT_STARTED, target))
    }
}

/// `ConnectEx` wants a bound socket.
fn bound_socket(target: &SocketAddr) -> Result<net::TcpStream, ffi::Code> {
    let stream = net::TcpStream::from(ffi::wsa_socket(ffi::family_of(target))?);
    let socket = ffi::socket_of(&stream);
    // Otherwise each connection would need a port of its own, wherever it goes, and the ports would run out.
    ffi::share_port(socket);
    ffi::bind_socket(socket, &ffi::wildcard_like(target))?;
    Ok(stream)
}

/// Asks the system how a connect that somebody else began stands.
pub(super) fn inspect(socket: ffi::SOCKET) -> Result<Found, ffi::Code> {
    // A provider that does not know the option is believed to be connected: calls will say if it is not.
    if ffi::is_connected(socket).unwrap_or(true) {
        return Ok(Found::Ended(Ok(())));
    }
    let event = ffi::create_event()?;
    ffi::select_connect(socket, &event)?;
    let ended = ffi::ended_connect(socket, &event);
    // A connect that failed before anything was selected need not be on record. The socket keeps its error.
    let ended = ended.or_else(|| ffi::pending_error(socket).map(Err));
    let found = match ended {
        Some(ended) => Found::Ended(ended),
        None => match second_connect(socket) {
            ffi::WSAEALREADY => return Ok(Found::UnderWay(event)),
            ffi::WSAEISCONN => Found::Ended(Ok(())),
            // Or it has ended right now.
            _ => ffi::ended_connect(socket, &event).map_or(Found::NeverBegun, Found::Ended),
        },
    };
    ffi::select_nothing(socket);
    Ok(found)
}

/// What a second connect says. It is to an address of the other family, or to no address at all, so that it goes nowhere.
fn second_connect(socket: ffi::SOCKET) -> ffi::Code {
    let Some(bound) = ffi::bound_address(socket) else {
        return ffi::WSAENOTCONN;
    };
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    let (mine, others) = if bound.is_ipv4() { (v4, v6) } else { (v6, v4) };
    let code = ffi::connect_socket(socket, &others).err();
    match code {
        // Perhaps the family was looked at before the state of the socket. This address is a right one, to which no
        // connect can go (`WSAEADDRNOTAVAIL`); but Wine takes it for the loopback's, so it comes second.
        Some(ffi::WSAEAFNOSUPPORT | ffi::WSAEFAULT) => {
            ffi::connect_socket(socket, &mine).err().unwrap_or(0)
        }
        _ => code.unwrap_or(0),
    }
}

impl<T: Transport> Shared<T> {
    pub(super) fn connect_state(&self) -> i32 {
        self.connect.load(Ordering::SeqCst)
    }

    pub(super) fn set_connect_state(&self, state: i32) {
        self.connect.store(state, Ordering::SeqCst);
    }

    /// Whether the end of a connect will look at the interests.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.connect_state(), NOT_STARTED | AWAITED) || self.is_connect_in_flight()
    }

    pub(super) fn is_connect_in_flight(&self) -> bool {
        matches!(self.connect_state(), IN_FLIGHT | DISCONNECTING)
    }

    /// Whether there is no connection, and no connect under way: that is what calls will say.
    pub(super) fn is_without_connection(&self) -> bool {
        self.connect_failure().is_some() || self.connect_state() == FOREIGN
    }

    /// The code of a connect that has failed.
    pub(super) fn connect_failure(&self) -> Option<ffi::Code> {
        Some(self.connect_state()).filter(|&state| state > CONNECTED)
    }

    /// Tells how the connect has failed, if it has. `broken` knows it from then on.
    pub(super) fn tell_connect_failure(&self) -> Option<ffi::Code> {
        let code = self.connect_failure()?;
        self.broken.tell(code);
        Some(code)
    }

    /// Finds out how the connect stands now: also if it has ended and nobody took the packet that says so.
    pub(super) fn look_at_connect(&self) -> io::Result<Standing> {
        match (self.connect_state(), self.membership.port()) {
            (IN_FLIGHT | DISCONNECTING, Some(port)) => port.pump(),
            (AWAITED, Some(port)) => self.look_at_awaited(None, port, None),
            _ => {}
        }
        self.look_at_foreign(None)
    }

    /// How the connect stands. If it is somebody else's and nobody waits for its end, the system is asked; with a port, a wait
    /// for the end is started.
    pub(super) fn look_at_foreign(&self, port: Option<&Arc<Port>>) -> io::Result<Standing> {
        if self.connect_state() == FOREIGN {
            let mut sending = self.sending.lock();
            // Otherwise somebody was faster.
            if self.connect_state() == FOREIGN {
                return self
                    .inspect_and_wait(&mut sending, port)
                    .map_err(io::Error::from_raw_os_error);
            }
        }
        Ok(match self.connect_state() {
            CONNECTED | DISCONNECTED => Standing::Connected,
            state if state > CONNECTED => Standing::Failed,
            _ => Standing::UnderWay,
        })
    }

    /// As [`look_at_foreign`](Shared::look_at_foreign), under the lock. If it fails, the number stays as it was.
    fn inspect_and_wait(
        &self,
        sending: &mut Sending<T>,
        port: Option<&Arc<Port>>,
    ) -> Result<Standing, ffi::Code> {
        let (state, standing) = match (T::INSPECT)(self.file)? {
            Found::Ended(Ok(())) => (CONNECTED, Standing::Connected),
            Found::Ended(Err(code)) => (code, Standing::Failed),
            Found::NeverBegun => (FOREIGN, Standing::NeverBegun),
            Found::UnderWay(event) => {
                sending.connect_wait = self.start_connect_wait(port, event)?;
                let awaited = sending.connect_wait.is_some();
                (if awaited { AWAITED } else { FOREIGN }, Standing::UnderWay)
            }
        };
        self.set_connect_state(state);
        Ok(standing)
    }

    /// Has the end of a connect that is under way come to `port`, if there is one and its `Poll` is there.
    fn start_connect_wait(
        &self,
        port: Option<&Arc<Port>>,
        event: ffi::WaitObject,
    ) -> Result<Option<Wait>, ffi::Code> {
        let Some((port, me)) = port.zip(self.membership.owner()) else {
            (T::SELECT_NOTHING)(self.file);
            return Ok(None);
        };
        match Wait::start(port, me, event, false) {
            Ok(Started::On(wait)) => Ok(Some(wait)),
            Ok(Started::Gone(_event)) => {
                (T::SELECT_NOTHING)(self.file);
                Ok(None)
            }
            Err(code) => {
                (T::SELECT_NOTHING)(self.file);
                Err(code)
            }
        }
    }

    /// What a read or write has to ask first. A failure is told every time: the system would tell it once, and say "end
    /// of stream" then.
    pub(super) fn check_connected(&self) -> io::Result<()> {
        if self.connect_state() == CONNECTED {
            return Ok(());
        }
        let code = match self.look_at_connect()? {
            Standing::Connected => return Ok(()),
            Standing::UnderWay => return Err(would_block()),
            Standing::NeverBegun => None,
            Standing::Failed => self.tell_connect_failure(),
        };
        Err(io::Error::from_raw_os_error(
            code.unwrap_or(ffi::WSAENOTCONN),
        ))
    }

    /// What a call has to ask first that needs a connection, and is not one to try again. The socket itself tells of
    /// anything else than a connect under way.
    pub(super) fn check_not_connecting(&self) -> io::Result<()> {
        if self.look_at_connect()? == Standing::UnderWay {
            return Err(io::Error::from_raw_os_error(ffi::WSAENOTCONN));
        }
        Ok(())
    }

    /// Starts the connect, if there is one to start. That it cannot be done is an event, like any failure of it.
    pub(super) fn start_connect(&self, port: &Arc<Port>) {
        if self.connect_state() != NOT_STARTED {
            return;
        }
        let mut sending = self.sending.lock();
        // Whoever handles the packet of a wait that was cancelled comes here also when the pipe was dropped meanwhile.
        if self.connect_state() != NOT_STARTED || sending.side().closed {
            return;
        }
        // Before the start: the packet may be taken before it returns, and waits for the lock.
        self.set_connect_state(IN_FLIGHT);
        let launch = self.sending.launch(sending.side(), port, |operation| {
            // SAFETY: the operation is held by its flight, and so is the name, which never changes. The socket is open:
            // the direction is locked and not closed.
            unsafe { (T::CONNECT)(self.file, &self.target, operation) }
        });
        match launch {
            Launch::Flying => {}
            Launch::Gone => self.set_connect_state(NOT_STARTED),
            Launch::Failed(code) => {
                let state = T::after_connect(self.file, Err(code));
                self.connect_ended(sending, state, port, None);
            }
        }
    }

    pub(super) fn connect_completed(&self, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = self.sending.lock_ended();
        if sending.side().closed {
            return;
        }
        let state = match self.connect_state() {
            DISCONNECTING => DISCONNECTED,
            _ => T::after_connect(self.file, (T::RESULT)(&packet, self.file)),
        };
        self.connect_ended(sending, state, port, sink);
    }

    /// Writes how the connect has ended, and tells both directions.
    pub(super) fn connect_ended(
        &self,
        mut sending: MutexGuard<'_, Sending<T>>,
        state: i32,
        port: &Arc<Port>,
        mut sink: Sink<'_>,
    ) {
        self.set_connect_state(state);
        self.sending
            .fire(&mut sending, self, false, port, &mut sink);
        drop(sending);
        // If this was the packet's one event, the other direction gets a note.
        self.receiving
            .fire(&mut self.receiving.lock(), self, false, port, &mut sink);
        // A pipe whose wait for a client was cancelled by the end of a thread waits again.
        self.start_connect(port);
    }

    /// Sees whether a connect has ended whose wait is on: because somebody asks, or because the wait of that number was
    /// signalled.
    pub(super) fn look_at_awaited(
        &self,
        signalled: Option<usize>,
        port: &Arc<Port>,
        sink: Sink<'_>,
    ) {
        let mut sending = self.sending.lock();
        let Some(wait) = &sending.connect_wait else {
            return;
        };
        if signalled.is_some_and(|number| number != wait.number()) {
            return;
        }
        let ended = (T::ENDED)(self.file, wait.object());
        if ended.is_none() && signalled.is_none() {
            return;
        }
        self.end_connect_wait(&mut sending);
        let state = match ended {
            Some(ended) => ended.err().unwrap_or(CONNECTED),
            None => {
                // Somebody took the record, through the socket itself. If there is no memory to look on, whoever asks next
                // looks.
                match self.inspect_and_wait(&mut sending, Some(port)) {
                    Ok(_) => self.connect_state(),
                    Err(_) => FOREIGN,
                }
            }
        };
        self.connect_ended(sending, state, port, sink);
    }

    /// Ends the wait for a connect that somebody else began, and returns whether there was one.
    pub(super) fn end_connect_wait(&self, sending: &mut Sending<T>) -> bool {
        let wait = sending.connect_wait.take();
        if wait.is_some() {
            (T::SELECT_NOTHING)(self.file);
        }
        wait.is_some()
    }

    /// The `Poll` goes. A connect of ours is cancelled; somebody else's goes on, and nobody waits for it any more.
    pub(super) fn abandon_connect(&self) {
        let mut sending = self.sending.lock();
        if self.end_connect_wait(&mut sending) {
            self.set_connect_state(FOREIGN);
        } else if self.is_connect_in_flight() && !sending.side().closed {
            self.sending.cancel();
        }
    }
}

impl Shared<Tcp> {
    /// What giving the stream back has to ask first: a failed connect that nobody was told of would go unseen.
    pub(super) fn check_connect_to_give_back(&self) -> io::Result<()> {
        self.connect_plainly();
        self.look_at_connect()?;
        match self.connect_failure() {
            Some(code) if self.broken.code().is_none() => {
                self.broken.tell(code);
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(()),
        }
    }

    /// A stream without a port connects in the plain way: whoever gets it looks for the end.
    fn connect_plainly(&self) {
        let _sending = self.sending.lock();
        if self.connect_state() != NOT_STARTED {
            return;
        }
        if let Some(target) = self.target.0.to_std() {
            let state = match ffi::connect_socket(self.file, &target) {
                Ok(()) | Err(ffi::WSAEWOULDBLOCK) => FOREIGN,
                Err(code) => code,
            };
            self.set_connect_state(state);
        }
    }
}
