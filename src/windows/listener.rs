//! [`TcpListener`]: one `AcceptEx` in flight at most, and the connection that it brought.
//!
//! Registering starts an accept into a socket that is made for it; the packet makes the event, and `accept` gives out the
//! connection. With no accept in flight, `accept` asks the listening socket itself; with one, that would answer "none",
//! since the kernel keeps the next connection for the one in flight.
//!
//! A connection that is reset while it waits ends the accept with an error. Nobody needs to know (on Linux `accept` does not
//! see it either), and the accept is started again. Other failures are told once, by an event and the `accept` after
//! it: then the next registration tries again, and the connections that wait are not lost.
//!
//! The invariants are those of `stream.rs`: the number is the socket's while the lock is held and `closed` is not set,
//! and an armed interest is owed a packet. What is lent is the room for two addresses, which lies in [`Shared`].

use std::cell::UnsafeCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};

use super::ffi;
use super::operation::{Direction, Kind, Operation, Owner, Packet, Sink};
use super::port::{Launch, Membership, Port};
use super::stream::TcpStream;
use super::{call_and_then, close_connection, still_lent, would_block, Registrator};
use crate::error;
use crate::event::{Event, Hints};
use crate::hooks;
use crate::hooks::rules::{holds, Rule};
use crate::hooks::sync::{lock, net, thread, Mutex, MutexGuard};
use crate::interests::{Interests, Token};

/// How many connections that were gone already one call or start passes over. Past them there is nothing for now: a note has
/// the next poll go on.
const RESET_RETRIES: usize = 64;
/// How often a listener that is given back looks for the packet of its cancelled accept, which is there at once or nearly so.
const CANCEL_ROUNDS: usize = 64;

struct Accepting {
    side: Direction,
    /// What the accept in flight will connect. Its socket must stay open until the packet.
    socket: Option<ffi::OwnedSocket>,
    /// The connection that it brought.
    held: Option<(net::TcpStream, SocketAddr)>,
    /// Why there was none. Told once.
    failed: Option<ffi::Code>,
    functions: Option<ffi::AcceptFunctions>,
    /// The listener is being given back: no accept starts.
    leaving: bool,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    /// An accept is in flight.
    Flying,
    /// `failed` says why not.
    Failed,
    /// Not now, since there were only connections that were gone.
    Later,
    /// The `Poll` is gone.
    Gone,
}

impl Accepting {
    fn has_something(&self) -> bool {
        self.held.is_some() || self.failed.is_some()
    }
}

struct Shared {
    socket: ffi::SOCKET,
    family: u16,
    me: Weak<dyn Owner>,
    membership: Membership,
    accept: Operation,
    /// The kernel's while the accept is in flight.
    addresses: UnsafeCell<ffi::AcceptAddresses>,
    accepting: Mutex<Accepting>,
}

// SAFETY: `addresses` is touched under the lock of `accepting` alone, and only with no accept in flight.
unsafe impl Sync for Shared {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Shared {}

impl Owner for Shared {
    fn completed(&self, _: Kind, packet: Packet, port: &Arc<Port>, sink: Sink<'_>) {
        let mut accepting = lock(&self.accepting);
        accepting.side.in_flight = false;
        let Some(socket) = accepting.socket.take() else {
            return;
        };
        if accepting.side.closed {
            return;
        }
        match packet.result(Some(self.socket)) {
            Ok(_) => self.hold(&mut accepting, socket),
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) if is_reset(code) && holds(Rule::ResetIsNobodys) => {}
            Err(code) => accepting.failed = Some(code),
        }
        self.fire(&mut accepting, port, sink);
    }

    fn noted(&self, _: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        let mut accepting = lock(&self.accepting);
        accepting.side.posted = false;
        self.fire(&mut accepting, port, sink);
    }

    fn abandon(&self) {
        let mut accepting = lock(&self.accepting);
        accepting.side.armed = None;
        if accepting.side.in_flight && !accepting.side.closed {
            ffi::cancel_io_ex(self.socket, self.accept.as_overlapped());
        }
    }

    fn give_up(&self) {}
}

/// The same of a plain accept.
fn is_gone(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => is_reset(code),
        // Wine 10 gives out a connection without an address, and `std` has this error for it.
        None => error.kind() == io::ErrorKind::InvalidInput,
    }
}

/// Whether an accept failed because its connection was gone before it could be taken.
fn is_reset(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAECONNRESET | ffi::WSAECONNABORTED | ffi::WSAENOTCONN
    )
}

impl Shared {
    /// Arms `READABLE`.
    fn arm(&self, port: &Arc<Port>, token: Token) -> io::Result<()> {
        let mut accepting = lock(&self.accepting);
        let before = accepting.side.armed.replace(token);
        if accepting.side.in_flight || accepting.side.posted {
            return Ok(());
        }
        // Whoever ends a `try_io` that is on looks at the interest.
        if !accepting.has_something()
            && (accepting.side.is_trying() || self.start(&mut accepting, port) == Started::Flying)
        {
            return Ok(());
        }
        if let Err(error) = port.note(&self.accept) {
            accepting.side.armed = before;
            return Err(error);
        }
        accepting.side.posted = true;
        Ok(())
    }

    /// Starts an accept.
    fn start(&self, accepting: &mut Accepting, port: &Port) -> Started {
        for _ in 0..RESET_RETRIES {
            match self.try_start(accepting, port) {
                Ok(()) if accepting.side.in_flight => return Started::Flying,
                Ok(()) => return Started::Gone,
                Err(code) if is_reset(code) => {}
                Err(code) => {
                    accepting.failed = Some(code);
                    return Started::Failed;
                }
            }
        }
        Started::Later
    }

    fn try_start(&self, accepting: &mut Accepting, port: &Port) -> Result<(), ffi::Code> {
        let functions = match accepting.functions {
            Some(functions) => functions,
            None => *accepting
                .functions
                .insert(ffi::AcceptFunctions::of(self.socket)?),
        };
        let socket = ffi::wsa_socket(self.family)?;
        let launch = port.launch(&self.accept, |operation| {
            let accepted = ffi::socket_of(&socket);
            // SAFETY: the operation and the room for addresses are held by the flight; the accepted socket is kept until
            // the packet, right below, and the listening one is open: the lock is held, and it is not closed.
            unsafe {
                ffi::accept_ex(
                    &functions,
                    self.socket,
                    accepted,
                    self.addresses.get(),
                    operation,
                )
            }
        });
        match launch {
            Launch::Flying => {
                accepting.side.in_flight = true;
                if holds(Rule::AcceptedStaysOpen) {
                    accepting.socket = Some(socket);
                }
                Ok(())
            }
            Launch::Gone => Ok(()),
            Launch::Failed(code) => Err(code),
        }
    }

    /// Makes a connection of an accepted socket. One that was reset meanwhile is dropped.
    fn hold(&self, accepting: &mut Accepting, socket: ffi::OwnedSocket) {
        if let Err(code) = ffi::update_accept_context(ffi::socket_of(&socket), self.socket) {
            // Of a connection that is gone the system says one thing or another; for want of memory it says this.
            if code == ffi::WSAENOBUFS {
                accepting.failed = Some(code);
            }
            return;
        }
        let stream = net::TcpStream::from(socket);
        let peer = stream.peer_addr().ok().or_else(|| {
            let functions = accepting.functions?;
            let addresses_bytes = std::mem::size_of::<ffi::AcceptAddresses>();
            hooks::windows::touched(self.addresses.get(), addresses_bytes);
            // SAFETY: the lock is held and the accept has ended, so the room for addresses is ours.
            let addresses = unsafe { &*self.addresses.get() };
            ffi::accepted_peer(&functions, addresses)
        });
        accepting.held = peer.map(|peer| (stream, peer));
    }

    /// Makes the event, if the interest is armed and there is something to accept; if not, starts an accept.
    fn fire(&self, accepting: &mut MutexGuard<'_, Accepting>, port: &Arc<Port>, sink: Sink<'_>) {
        if accepting.side.closed || accepting.side.in_flight || accepting.leaving {
            return;
        }
        let Some(token) = accepting.side.armed else {
            return;
        };
        let mut sink = sink;
        if !accepting.has_something() {
            if accepting.side.is_trying() {
                return;
            }
            match self.start(accepting, port) {
                Started::Flying | Started::Gone => return,
                Started::Failed => {}
                Started::Later => sink = None,
            }
        }
        match sink {
            Some(events) => {
                accepting.side.armed = None;
                let hints = Hints {
                    error: accepting.failed.is_some(),
                    ..Hints::default()
                };
                let fits = events.push(Event::ready(token, Interests::READABLE, hints));
                debug_assert!(fits, "no more packets are taken than there is room");
            }
            None if !accepting.side.posted && holds(Rule::NoteOfPump) => {
                port.note_surely(&self.accept);
                accepting.side.posted = true;
            }
            None => {}
        }
    }

    /// Cancels the accept in flight, for the listener to be given back, and takes its packet. A client that it brought
    /// meanwhile is held.
    fn call_back(&self, port: &Arc<Port>) {
        {
            let mut accepting = lock(&self.accepting);
            accepting.leaving = true;
            if accepting.side.in_flight {
                ffi::cancel_io_ex(self.socket, self.accept.as_overlapped());
            }
        }
        for _ in 0..CANCEL_ROUNDS {
            port.pump();
            if !lock(&self.accepting).side.in_flight {
                return;
            }
            // Somebody else has the packet right now, or the system is not done.
            thread::yield_now();
        }
    }

    /// It is not given back after all.
    fn stay(&self, accepting: &mut MutexGuard<'_, Accepting>, port: &Arc<Port>) {
        accepting.leaving = false;
        self.fire(accepting, port, None);
    }

    /// Marks the listener as closed and cancels what is in flight. The socket is still open.
    fn close(&self, accepting: &mut Accepting) {
        accepting.side.armed = None;
        accepting.side.closed = holds(Rule::MarkedClosed);
        if accepting.side.in_flight {
            ffi::cancel_io_ex(self.socket, self.accept.as_overlapped());
        }
    }
}

fn listening_socket(address: &SocketAddr) -> Result<net::TcpListener, ffi::Code> {
    let listener = net::TcpListener::from(ffi::wsa_socket(ffi::family_of(address))?);
    let socket = ffi::socket_of(&listener);
    ffi::bind_socket(socket, address)?;
    // `SOMAXCONN` is no more than 200.
    ffi::listen_socket(socket, ffi::LARGEST_BACKLOG)
        .or_else(|_| ffi::listen_socket(socket, ffi::SOMAXCONN))?;
    Ok(listener)
}

/// A socket that accepts connections.
pub(crate) struct TcpListener {
    shared: Arc<Shared>,
    // `None` only at the very end: it was given back.
    std: Option<net::TcpListener>,
}

impl TcpListener {
    /// Binds to the first address that can be had, and listens. `std`'s own `bind` will not do: its backlog is 128, and
    /// Windows does not change the backlog of a socket that listens already.
    pub(crate) fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut last = io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        );
        for address in address.to_socket_addrs()? {
            ffi::start_winsock()?;
            match listening_socket(&address) {
                Ok(listener) => return TcpListener::from_std(listener),
                Err(code) => last = io::Error::from_raw_os_error(code),
            }
        }
        Err(last)
    }

    pub(crate) fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let family = match listener.local_addr() {
            Ok(SocketAddr::V6(_)) => ffi::AF_INET6,
            _ => ffi::AF_INET,
        };
        let socket = ffi::socket_of(&listener);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                socket,
                family,
                membership: Membership::default(),
                accept: Operation::new(Weak::clone(&me), Kind::Receive),
                addresses: UnsafeCell::new(ffi::AcceptAddresses::new()),
                accepting: Mutex::new(Accepting {
                    side: Direction::default(),
                    socket: None,
                    held: None,
                    failed: None,
                    functions: None,
                    leaving: false,
                }),
                me,
            }
        });
        Ok(TcpListener {
            shared,
            std: Some(listener),
        })
    }

    pub(crate) fn into_std(mut self) -> Result<net::TcpListener, (TcpListener, io::Error)> {
        let port = self.shared.membership.port();
        if let Some(port) = port {
            self.shared.call_back(port);
        }
        let free = {
            let mut accepting = lock(&self.shared.accepting);
            let free = !accepting.side.in_flight && accepting.held.is_none();
            if free {
                self.shared.close(&mut accepting);
            } else if let Some(port) = port {
                self.shared.stay(&mut accepting, port);
            }
            free
        };
        let given = if free { self.std.take() } else { None };
        match given {
            Some(listener) => {
                self.shared.membership.leave(&self.shared.me);
                Ok(listener)
            }
            None => Err((self, still_lent())),
        }
    }

    pub(crate) fn as_std(&self) -> &net::TcpListener {
        match &self.std {
            Some(listener) => listener,
            None => unreachable!("a listener that is in use has its socket"),
        }
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        _: Interests,
    ) -> io::Result<()> {
        self.shared
            .membership
            .join(&with.port, self.shared.socket, &self.shared.me)?;
        self.shared.arm(&with.port, token)
    }

    pub(crate) fn try_io<R>(
        &self,
        _: Interests,
        call: impl FnOnce(&net::TcpListener) -> io::Result<R>,
    ) -> io::Result<R> {
        {
            let mut accepting = self.accept_direction()?;
            if accepting.held.is_some() {
                return Err(error::connection_held());
            }
            accepting.side.trying += 1;
        }
        let shared = &*self.shared;
        call_and_then(
            || call(self.as_std()),
            |_| {
                let mut accepting = lock(&shared.accepting);
                accepting.side.trying -= 1;
                if let Some(port) = shared.membership.port().filter(|_| holds(Rule::TryResumes)) {
                    shared.fire(&mut accepting, port, None);
                }
            },
        )
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        if !self.shared.membership.is_with(&with.port) {
            return Err(error::not_registered());
        }
        if interests.is_readable() && holds(Rule::Disarm) {
            lock(&self.shared.accepting).side.armed = None;
        }
        Ok(())
    }

    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.next_connection()?;
        Ok((TcpStream::from_connected(stream)?, peer))
    }

    fn next_connection(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        let mut accepting = self.accept_direction()?;
        match accepting.held.take() {
            Some(connection) => Ok(connection),
            // Under the lock: an accept that starts meanwhile would wait for a connection that we take.
            None => self.accept_direct(),
        }
    }

    /// The direction with no accept in flight, or with a connection. With an accept in flight it takes what is on the
    /// port, once.
    fn accept_direction(&self) -> io::Result<MutexGuard<'_, Accepting>> {
        let mut pumped = false;
        loop {
            let mut accepting = lock(&self.shared.accepting);
            if accepting.held.is_some() {
                return Ok(accepting);
            }
            if let Some(code) = accepting.failed.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if !accepting.side.in_flight || !holds(Rule::NoOvertaking) {
                return Ok(accepting);
            }
            if pumped {
                return Err(would_block());
            }
            drop(accepting);
            if let Some(port) = self.shared.membership.port() {
                port.pump();
            }
            pumped = true;
        }
    }
}

impl TcpListener {
    /// Accepts from the socket, past connections that were reset while they waited.
    fn accept_direct(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        for _ in 0..RESET_RETRIES {
            match self.as_std().accept() {
                Ok((stream, peer)) => {
                    ffi::set_not_inherited(ffi::socket_of(&stream));
                    return Ok((stream, peer));
                }
                Err(error) if is_gone(&error) && holds(Rule::ResetIsNobodys) => {}
                Err(error) => return Err(error),
            }
        }
        Err(would_block())
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let Some(listener) = self.std.take() else {
            return;
        };
        let held = {
            let mut accepting = lock(&self.shared.accepting);
            self.shared.close(&mut accepting);
            accepting.held.take()
        };
        self.shared.membership.leave(&self.shared.me);
        // It may have the listener's linger time.
        if let Some((stream, _)) = held {
            close_connection(stream);
        }
        // The accept in flight was cancelled, so its packet comes whatever has a duplicate of the socket.
        drop(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_gone_is_known_by_every_word_for_it() {
        for code in [ffi::WSAECONNRESET, ffi::WSAECONNABORTED, ffi::WSAENOTCONN] {
            assert!(is_gone(&io::Error::from_raw_os_error(code)));
        }
        // As `std` says it of an address of no family.
        let no_address = io::Error::new(io::ErrorKind::InvalidInput, "invalid argument");
        assert!(is_gone(&no_address));
        assert!(!is_gone(&would_block()));
        assert!(!is_gone(&io::Error::from_raw_os_error(ffi::WSAEINVAL)));
        assert!(!is_gone(&io::Error::from_raw_os_error(ffi::WSAENOBUFS)));
    }
}
