//! [`TcpListener`]: one `AcceptEx` in flight at most, and the connection that it brought.
//!
//! Registering starts an accept into a socket that is made for it; the packet makes the event, and `accept` gives out the
//! connection. With no accept in flight, `accept` asks the listening socket itself. With one, the socket would answer "none",
//! since the kernel keeps the next connection for the accept in flight.
//!
//! A connection that is reset while it waits ends the accept with an error. Nobody needs to know (on Linux `accept` does not
//! see it either), and the accept is started again. Other failures are told once, by an event and by the `accept` after
//! it. The next registration tries again, so the connections that wait are not lost.
//!
//! The invariants are those of `direction.rs`. What is lent is the room for two addresses, which lies in [`Shared`].

use std::cell::UnsafeCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};

use super::direction::{Direction, Side, Started, Transfer};
use super::operation::{Kind, Owner, Packet, Sink};
use super::port::{Launch, Membership, Port};
use super::stream::TcpStream;
use super::{close_connection, ffi, still_lent, would_block, Registrator};
use crate::error;
use crate::hooks;
use crate::hooks::sync::{net, thread};
use crate::interests::{Interests, Token};

/// How many connections that are gone already one call or start passes over. If there are more, nothing is there for now, and
/// a note has the next poll go on.
const RESET_RETRIES: usize = 64;
/// How often a listener that is given back looks for the packet of its cancelled accept, which is there at once or nearly so.
const CANCEL_ROUNDS: usize = 64;

#[derive(Default)]
struct Accepting {
    side: Side,
    /// What the accept in flight will connect. Its socket must stay open until the packet.
    socket: Option<ffi::OwnedSocket>,
    /// The connection that it brought.
    held: Option<(net::TcpStream, SocketAddr)>,
    functions: Option<ffi::AcceptFunctions>,
}

impl Transfer for Accepting {
    type Source = Shared;
    const INTEREST: Interests = Interests::READABLE;

    fn side(&mut self) -> &mut Side {
        &mut self.side
    }

    fn holds_something(&self) -> bool {
        self.held.is_some()
    }

    /// Starts an accept.
    fn start(&mut self, listener: &Shared, port: &Port) -> Started {
        for _ in 0..RESET_RETRIES {
            match self.launch(listener, port) {
                Ok(started) => return started,
                Err(code) if is_reset(code) => {}
                Err(code) => {
                    self.side.failed = Some(code);
                    return Started::Ready;
                }
            }
        }
        Started::Later
    }

    fn call_begins(&mut self) -> io::Result<()> {
        if self.held.is_some() {
            return Err(error::connection_held());
        }
        Ok(())
    }
}

impl Accepting {
    fn launch(&mut self, listener: &Shared, port: &Port) -> Result<Started, ffi::Code> {
        let functions = match self.functions {
            Some(functions) => functions,
            None => *self
                .functions
                .insert(ffi::AcceptFunctions::of(listener.socket)?),
        };
        let socket = ffi::wsa_socket(listener.family)?;
        let launch = listener
            .accepting
            .launch(&mut self.side, port, |operation| {
                // SAFETY: the operation and the room for addresses are held by the flight; the accepted socket is kept until
                // the packet, right below, and the listening one is open: the lock is held, and it is not closed.
                unsafe {
                    ffi::accept_ex(
                        &functions,
                        listener.socket,
                        ffi::socket_of(&socket),
                        listener.addresses.get(),
                        operation,
                    )
                }
            });
        match launch {
            Launch::Flying => {
                self.socket = Some(socket);
                Ok(Started::Flying)
            }
            Launch::Gone => Ok(Started::Gone),
            Launch::Failed(code) => Err(code),
        }
    }

    /// Makes a connection of an accepted socket. One that was reset meanwhile is dropped.
    fn hold(&mut self, listener: &Shared, socket: ffi::OwnedSocket) {
        if let Err(code) = ffi::update_accept_context(ffi::socket_of(&socket), listener.socket) {
            // If the connection is gone, the system gives one code or another; if it has no memory, it gives this one.
            if code == ffi::WSAENOBUFS {
                self.side.failed = Some(code);
            }
            return;
        }
        let stream = net::TcpStream::from(socket);
        // To ask the socket for its peer would be one more call, and fail for one that was reset by now.
        let peer = self.functions.and_then(|functions| {
            let addresses_bytes = std::mem::size_of::<ffi::AcceptAddresses>();
            hooks::windows::touched(listener.addresses.get(), addresses_bytes);
            // SAFETY: the lock is held and the accept has ended, so the room for addresses is ours.
            let addresses = unsafe { &*listener.addresses.get() };
            ffi::accepted_peer(&functions, addresses)
        });
        let peer = peer.or_else(|| stream.peer_addr().ok());
        self.held = peer.map(|peer| (stream, peer));
    }
}

/// What an accept in flight needs of a listener.
struct Shared {
    socket: ffi::SOCKET,
    family: u16,
    membership: Membership,
    /// The kernel's while the accept is in flight.
    addresses: UnsafeCell<ffi::AcceptAddresses>,
    accepting: Direction<Accepting>,
}

// SAFETY: `addresses` is touched under the lock of `accepting` alone, and only with no accept in flight.
unsafe impl Sync for Shared {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Shared {}
// As for `Operation`.
impl RefUnwindSafe for Shared {}

impl Owner for Shared {
    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn completed(&self, _: Kind, packet: Packet, port: &Arc<Port>, mut sink: Sink<'_>) {
        let mut accepting = self.accepting.lock_ended();
        let Some(socket) = accepting.socket.take() else {
            return;
        };
        if accepting.side.closed {
            return;
        }
        match packet.result(self.socket) {
            Ok(_) => accepting.hold(self, socket),
            Err(ffi::WSA_OPERATION_ABORTED) => {}
            Err(code) if is_reset(code) => {}
            Err(code) => accepting.side.failed = Some(code),
        }
        self.accepting
            .fire(&mut accepting, self, false, port, &mut sink);
    }

    fn noted(&self, _: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        self.accepting.noted(self, port, sink);
    }

    fn abandon(&self) {
        self.accepting.abandon();
    }
}

/// Whether an accept failed because its connection was gone before it could be taken.
fn is_reset(code: ffi::Code) -> bool {
    matches!(
        code,
        ffi::WSAECONNRESET | ffi::WSAECONNABORTED | ffi::WSAENOTCONN
    )
}

/// The same of an accept that `std` made.
fn is_gone(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => is_reset(code),
        // Wine 10 gives out a connection without an address, and `std` has this error for it.
        None => error.kind() == io::ErrorKind::InvalidInput,
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

    pub(crate) fn from_std(std: net::TcpListener) -> io::Result<TcpListener> {
        std.set_nonblocking(true)?;
        let family = match std.local_addr() {
            Ok(SocketAddr::V6(_)) => ffi::AF_INET6,
            _ => ffi::AF_INET,
        };
        let socket = ffi::socket_of(&std);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let me: Weak<dyn Owner> = me.clone();
            Shared {
                socket,
                family,
                addresses: UnsafeCell::new(ffi::AcceptAddresses::new()),
                accepting: Direction::new(socket.handle(), &me, Kind::Receive),
                membership: Membership::new(me),
            }
        });
        let std = Some(std);
        Ok(TcpListener { shared, std })
    }

    pub(crate) fn into_std(mut self) -> Result<net::TcpListener, (TcpListener, io::Error)> {
        let given = self.release().then(|| self.std.take()).flatten();
        if given.is_some() {
            let socket = self.shared.socket.handle();
            self.shared.membership.give_back(socket);
        }
        given.ok_or_else(|| (self, still_lent()))
    }

    /// Closes the direction if no accept is in flight and no connection waits here: then the listener can be given back. An
    /// accept in flight is cancelled before. A client that it brought meanwhile is held.
    fn release(&self) -> bool {
        let (shared, direction) = (&*self.shared, &self.shared.accepting);
        // Until this is dropped, no accept starts.
        let _hold = {
            let mut accepting = direction.lock();
            if accepting.side.in_flight {
                direction.cancel();
            }
            direction.hold_back(&mut accepting, shared)
        };
        for _ in 0..CANCEL_ROUNDS {
            if let Some(port) = shared.membership.port() {
                port.pump();
            }
            if !direction.lock().side.in_flight {
                break;
            }
            // Another thread has the packet right now, or the system is not done.
            thread::yield_now();
        }
        let mut accepting = direction.lock();
        if !accepting.can_be_released() {
            return false;
        }
        direction.close(&mut accepting, shared);
        drop(accepting);
        shared.membership.leave();
        true
    }

    pub(crate) fn as_std(&self) -> &net::TcpListener {
        self.std
            .as_ref()
            .expect("a listener that is in use has its socket")
    }

    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        _: Interests,
    ) -> io::Result<()> {
        let shared = &*self.shared;
        shared.membership.join(&with.port, shared.socket.handle())?;
        shared.accepting.arm(shared, &with.port, token).map(drop)
    }

    pub(crate) fn disarm(&self, with: &Registrator, interests: Interests) -> io::Result<()> {
        self.shared.membership.check(&with.port)?;
        if interests.is_readable() {
            self.shared.accepting.disarm();
        }
        Ok(())
    }

    /// Makes a call of the user's own.
    pub(crate) fn try_io<R>(
        &self,
        _: Interests,
        call: impl FnOnce(&net::TcpListener) -> io::Result<R>,
    ) -> io::Result<R> {
        let shared = &*self.shared;
        shared.accepting.try_io(shared, || call(self.as_std()))
    }

    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.next_connection()?;
        Ok((TcpStream::from_connected(stream), peer))
    }

    /// The next connection, which does not block.
    fn next_connection(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        // Locked all the time: an accept that starts meanwhile would wait for a connection that we take.
        let mut accepting = self.shared.accepting.claim(&self.shared)?;
        if let Some((stream, peer)) = accepting.held.take() {
            drop(accepting);
            // We have made its socket, and it blocks as every new one does.
            stream.set_nonblocking(true)?;
            return Ok((stream, peer));
        }
        for _ in 0..RESET_RETRIES {
            match self.as_std().accept() {
                Ok((stream, peer)) => {
                    // That it does not block it has from the listening socket.
                    ffi::set_not_inherited(ffi::socket_of(&stream));
                    return Ok((stream, peer));
                }
                Err(error) if is_gone(&error) => {}
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
        let shared = &*self.shared;
        let held = {
            let mut accepting = shared.accepting.lock();
            shared.accepting.close(&mut accepting, shared);
            accepting.held.take()
        };
        shared.membership.leave();
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
