//! The connect of a stream that was made without one, or taken over before its connect had ended.
//!
//! **Ours**: `ConnectEx` tells its end through the port. So it starts when the stream has a port: with the first registration. It
//! uses the send operation, since nothing can be sent before it has ended.
//!
//! **Somebody else's**: a socket that comes by `from_std` may be in the middle of a plain, non-blocking `connect`. Such a connect
//! tells its end by the network event `FD_CONNECT`, which signals an event object, for which a thread of the system waits
//! ([`waits`](super::super::waits)). Nothing overlapped may start before: under Wine a receive that was started on such a socket
//! never ends, not even when the socket is closed. The system is asked how the connect stands when that first matters, which is
//! once in the life of a stream that is connected:
//! 1. `SO_CONNECT_TIME` says whether there is a connection. (`getpeername` does not: Wine 10 has a peer for a connect under way.)
//! 2. If not, `WSAEventSelect` and `WSAEnumNetworkEvents` give the code of a connect that has ended, or `SO_ERROR` does.
//! 3. If none has, one is under way, or none was ever begun. A socket that is not bound has none under way; else a second
//!    `connect` says: `WSAEALREADY` means that one is.
//!
//! A socket without a connect is asked again each time: its owner may begin one later.
//!
//! One number says how far it is, [`Shared::connect`]. It changes under the lock of the sending direction, or from a failure's
//! code to the same code with the mark that somebody was told; whoever tells it leaves it in [`Shared::broken`], too.
//!
//! | number | meaning | next |
//! | --- | --- | --- |
//! | [`CONNECTED`] | nothing to ask | |
//! | [`NOT_STARTED`] | ours, waits for a port | `IN_FLIGHT` |
//! | [`IN_FLIGHT`] | ours, its packet will come | `CONNECTED`, a code |
//! | [`FOREIGN`] | taken over, and not known to be connected | any below, `CONNECTED` |
//! | [`AWAITED`] | taken over, under way, a wait is on | `CONNECTED`, a code, `FOREIGN` |
//! | a code | has failed | |
//!
//! # Interleavings
//! * *A read looks for the end while the wait's callback runs*: it takes the record of the end, which is told once, writes the
//!   number and drops the wait. The packet comes all the same, and finds another wait or none.
//! * *The `Poll` is dropped while the wait is on*: the connect goes on in the kernel, so the number is `FOREIGN` again, and
//!   whoever calls next asks the system. (One of ours is cancelled, and has failed.)
//! * *The connect ends while it is asked how it stands*: after the second `connect` the record is looked at once more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::super::ffi;
use super::super::operation::{Packet, Sink};
use super::super::port::{Launch, Port};
use super::super::waits::{Started, Wait};
use super::super::would_block;
use super::sending::Sending;
use super::{Shared, TcpStream};
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, net, MutexGuard, Ordering};

pub(super) const CONNECTED: i32 = 0;
pub(super) const NOT_STARTED: i32 = -1;
pub(super) const IN_FLIGHT: i32 = -2;
pub(super) const FOREIGN: i32 = -3;
const AWAITED: i32 = -4;
/// Added to the code of a failure that somebody was told.
const TOLD: i32 = 1 << 24;

/// How the connect of a socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Connected,
    UnderWay,
    Failed,
    /// There is none.
    NeverBegun,
}

/// The same of a connect that somebody else began, as the system has it.
enum Found {
    Connected,
    /// With the event that its end will signal.
    UnderWay(ffi::WaitObject),
    Failed(ffi::Code),
    NeverBegun,
}

impl Found {
    fn of(ended: Result<(), ffi::Code>) -> Found {
        match ended {
            Ok(()) => Found::Connected,
            Err(code) => Found::Failed(code),
        }
    }
}

impl TcpStream {
    pub(crate) fn connect_nonblocking(target: &SocketAddr) -> io::Result<TcpStream> {
        ffi::start_winsock()?;
        let stream = bound_socket(target).map_err(io::Error::from_raw_os_error)?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(stream, NOT_STARTED, Some(*target)))
    }
}

/// `ConnectEx` wants a bound socket.
fn bound_socket(target: &SocketAddr) -> Result<net::TcpStream, ffi::Code> {
    let stream = net::TcpStream::from(ffi::wsa_socket(ffi::family_of(target))?);
    let socket = ffi::socket_of(&stream);
    // Or the ports would run out with the first so many connections, wherever they go.
    ffi::share_port(socket);
    ffi::bind_socket(socket, &ffi::wildcard_like(target))?;
    Ok(stream)
}

/// The error of what needs a connection.
fn not_connected() -> io::Error {
    io::Error::from_raw_os_error(ffi::WSAENOTCONN)
}

/// Asks the system how a connect that somebody else began stands.
fn inspect(socket: ffi::SOCKET) -> Result<Found, ffi::Code> {
    // A provider that does not know the option is believed to be connected: calls will say if it is not.
    if ffi::is_connected(socket).unwrap_or(true) {
        return Ok(Found::Connected);
    }
    let event = ffi::create_event()?;
    ffi::select_connect(socket, &event)?;
    let ended = ffi::ended_connect(socket, &event);
    // One that failed while nobody had selected anything need not be on record. The socket keeps its error.
    let ended = ended.or_else(|| ffi::pending_error(socket).map(Err));
    let found = match ended {
        Some(ended) => Found::of(ended),
        None => match second_connect(socket) {
            ffi::WSAEALREADY => return Ok(Found::UnderWay(event)),
            ffi::WSAEISCONN => Found::Connected,
            // Or it has ended right now.
            _ => ffi::ended_connect(socket, &event).map_or(Found::NeverBegun, Found::of),
        },
    };
    ffi::select_nothing(socket);
    Ok(found)
}

/// What a second connect says. It goes nowhere: to an address of the other family, or to none.
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

impl Shared {
    fn is_connected_after_all(&self) -> bool {
        ffi::is_connected(self.socket) == Ok(true)
            && ffi::update_connect_context(self.socket).is_ok()
    }

    fn connect_state(&self) -> i32 {
        self.connect.load(Ordering::SeqCst)
    }

    /// Whether the end of a connect will look at the interests.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.connect_state(), NOT_STARTED | IN_FLIGHT | AWAITED)
    }

    pub(super) fn is_connect_in_flight(&self) -> bool {
        self.connect_state() == IN_FLIGHT
    }

    /// Whether there is no connection, and no connect under way: that is what calls will say.
    pub(super) fn is_without_connection(&self) -> bool {
        let state = self.connect_state();
        state > CONNECTED || state == FOREIGN
    }

    pub(super) fn has_connect_failure(&self) -> bool {
        self.connect_state() > CONNECTED
    }

    /// The code of a connect that has failed, told or not.
    pub(super) fn connect_failure(&self) -> Option<ffi::Code> {
        let state = self.connect_state();
        (state > CONNECTED).then_some(state % TOLD)
    }

    /// Tells how the connect has failed, if it has. `broken` knows it from then on, and whether `take_error` has said so.
    fn tell_connect_failure(&self) -> Option<ffi::Code> {
        let code = self.connect_failure()?;
        self.broken.tell(code);
        self.connect.store(code + TOLD, Ordering::SeqCst);
        Some(code)
    }

    /// The same for `take_error`, if it is news.
    pub(super) fn take_connect_failure(
        &self,
        is_news: impl FnOnce(ffi::Code) -> bool,
    ) -> Option<ffi::Code> {
        self.tell_connect_failure().filter(|&code| is_news(code))
    }

    /// Finds out how the connect stands now: also if it has ended and nobody took the packet that says so.
    fn look_at_connect(&self) -> io::Result<Standing> {
        match self.connect_state() {
            CONNECTED => return Ok(Standing::Connected),
            FOREIGN => return self.look_at_foreign(),
            _ if !holds(Rule::ConnectLookedAt) => {}
            IN_FLIGHT => {
                if let Some(port) = self.membership.port() {
                    port.pump();
                }
            }
            AWAITED => self.look_at_awaited(),
            _ => {}
        }
        Ok(match self.connect_state() {
            CONNECTED => Standing::Connected,
            // The `Poll` went in between, and its wait with it.
            FOREIGN => return self.look_at_foreign(),
            state if state > CONNECTED => Standing::Failed,
            _ => Standing::UnderWay,
        })
    }

    /// What a read or write has to ask first. A failure is told every time: the system would tell it once, and say "end
    /// of stream" then.
    pub(super) fn check_connected(&self) -> io::Result<()> {
        if self.connect_state() == CONNECTED {
            return Ok(());
        }
        match self.look_at_connect()? {
            Standing::Connected => Ok(()),
            Standing::UnderWay => Err(would_block()),
            Standing::NeverBegun => Err(not_connected()),
            Standing::Failed => {
                let code = self.tell_connect_failure().unwrap_or(ffi::WSAENOTCONN);
                Err(io::Error::from_raw_os_error(code))
            }
        }
    }

    /// What a call has to ask first that needs a connection, and is not one to try again. The socket itself tells of
    /// anything else than a connect under way.
    pub(super) fn check_not_connecting(&self) -> io::Result<()> {
        if self.look_at_connect()? == Standing::UnderWay {
            return Err(not_connected());
        }
        Ok(())
    }

    /// What `take_error` has to ask first: whether there may be an error to ask the socket for. Of a connect under way it
    /// might fail, and of one that has failed tell again.
    pub(super) fn may_have_error(&self) -> io::Result<bool> {
        let standing = self.look_at_connect()?;
        Ok(matches!(
            standing,
            Standing::Connected | Standing::NeverBegun
        ))
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
            // SAFETY: the operation is held by its flight, and so is the name, which never changes. The socket is open:
            // the direction is locked and not closed.
            unsafe { ffi::connect_ex(self.socket, &self.target_name, operation) }
        });
        match launch {
            Launch::Flying => sending.side.in_flight = true,
            Launch::Gone => self.connect.store(NOT_STARTED, Ordering::SeqCst),
            Launch::Failed(code) => self.connect_ended(sending, code, port, None),
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
        self.connect_ended(sending, state, port, sink);
    }

    /// Writes how the connect has ended, and tells both directions.
    fn connect_ended(
        &self,
        mut sending: MutexGuard<'_, Sending>,
        state: i32,
        port: &Arc<Port>,
        mut sink: Sink<'_>,
    ) {
        self.connect.store(state, Ordering::SeqCst);
        // A packet makes one event: if this was it, the other direction gets a note.
        let told = self.fire_send(&mut sending, port, sink.as_deref_mut());
        drop(sending);
        if !holds(Rule::ConnectTellsBoth) {
            return;
        }
        let sink = if told { None } else { sink };
        self.fire_receive(&mut lock(&self.receiving), state != CONNECTED, port, sink);
    }

    /// Has the end of a connect that somebody else began come to `port`, if there is one.
    pub(super) fn await_foreign_connect(&self, port: &Arc<Port>) -> io::Result<()> {
        if self.connect_state() != FOREIGN {
            return Ok(());
        }
        let mut sending = lock(&self.sending);
        if self.connect_state() != FOREIGN {
            return Ok(());
        }
        let state = self
            .inspect_and_wait(&mut sending, port)
            .map_err(io::Error::from_raw_os_error)?;
        self.connect.store(state, Ordering::SeqCst);
        Ok(())
    }

    /// Asks how it stands, starts a wait if it is under way, and returns the number for it.
    fn inspect_and_wait(&self, sending: &mut Sending, port: &Arc<Port>) -> Result<i32, ffi::Code> {
        let event = match inspect(self.socket)? {
            Found::Connected => return Ok(CONNECTED),
            Found::Failed(code) => return Ok(code),
            Found::NeverBegun => return Ok(FOREIGN),
            Found::UnderWay(event) => event,
        };
        let Some(me) = self.me.upgrade() else {
            return Ok(FOREIGN);
        };
        let started = Wait::start(port, me, event);
        match started {
            Ok(Started::On(wait)) => {
                sending.connect_wait = Some(wait);
                Ok(AWAITED)
            }
            Ok(Started::Gone(_event)) => {
                ffi::select_nothing(self.socket);
                Ok(FOREIGN)
            }
            Err(code) => {
                ffi::select_nothing(self.socket);
                Err(code)
            }
        }
    }

    /// As [`look_at_connect`](Shared::look_at_connect), of a connect that nobody waits for.
    fn look_at_foreign(&self) -> io::Result<Standing> {
        let _sending = lock(&self.sending);
        if self.connect_state() != FOREIGN {
            // Somebody was faster. What is under way now is looked at the next time.
            return Ok(match self.connect_state() {
                CONNECTED => Standing::Connected,
                state if state > CONNECTED => Standing::Failed,
                _ => Standing::UnderWay,
            });
        }
        let (state, standing) = match inspect(self.socket).map_err(io::Error::from_raw_os_error)? {
            Found::Connected => (CONNECTED, Standing::Connected),
            Found::Failed(code) => (code, Standing::Failed),
            Found::NeverBegun => (FOREIGN, Standing::NeverBegun),
            Found::UnderWay(_event) => {
                ffi::select_nothing(self.socket);
                (FOREIGN, Standing::UnderWay)
            }
        };
        self.connect.store(state, Ordering::SeqCst);
        Ok(standing)
    }

    /// The same of one whose wait is on.
    fn look_at_awaited(&self) {
        let mut sending = lock(&self.sending);
        let Some(wait) = &sending.connect_wait else {
            return;
        };
        let Some(ended) = ffi::ended_connect(self.socket, wait.object()) else {
            return;
        };
        self.end_connect_wait(&mut sending);
        if let Some(port) = self.membership.port() {
            self.connect_ended(sending, ended.err().unwrap_or(CONNECTED), port, None);
        }
    }

    /// Ends the wait for a connect that somebody else began, and returns whether there was one.
    pub(super) fn end_connect_wait(&self, sending: &mut Sending) -> bool {
        let wait = sending.connect_wait.take();
        if wait.is_some() {
            ffi::select_nothing(self.socket);
        }
        wait.is_some()
    }

    /// The same when the `Poll` goes. The connect goes on.
    pub(super) fn abandon_connect_wait(&self, sending: &mut Sending) {
        if self.end_connect_wait(sending) {
            self.connect.store(FOREIGN, Ordering::SeqCst);
        }
    }

    /// The event of a wait was signalled.
    pub(super) fn connect_signalled(&self, number: usize, port: &Arc<Port>, sink: Sink<'_>) {
        let mut sending = lock(&self.sending);
        let Some(wait) = &sending.connect_wait else {
            return;
        };
        if wait.number() != number {
            return;
        }
        let ended = ffi::ended_connect(self.socket, wait.object());
        self.end_connect_wait(&mut sending);
        let state = match ended {
            Some(ended) => ended.err().unwrap_or(CONNECTED),
            // Somebody took the record, through the socket itself. If there is no memory to look on, whoever asks next looks.
            None => self.inspect_and_wait(&mut sending, port).unwrap_or(FOREIGN),
        };
        self.connect_ended(sending, state, port, sink);
    }

    /// What giving the stream back has to ask first: a failed connect that nobody was told of would go unseen.
    pub(super) fn check_connect_to_give_back(&self) -> io::Result<()> {
        self.connect_plainly();
        self.look_at_connect()?;
        if self.connect_state() >= TOLD {
            return Ok(());
        }
        self.tell_connect_failure()
            .map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    /// A stream without a port connects in the plain way: whoever gets it looks for the end.
    fn connect_plainly(&self) {
        let _sending = lock(&self.sending);
        let Some(target) = self.target.filter(|_| self.connect_state() == NOT_STARTED) else {
            return;
        };
        let state = match ffi::connect_socket(self.socket, &target) {
            Ok(()) | Err(ffi::WSAEWOULDBLOCK) => FOREIGN,
            Err(code) => code,
        };
        self.connect.store(state, Ordering::SeqCst);
    }
}
