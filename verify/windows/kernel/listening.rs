//! The listening sockets of the kernel in miniature. A peer is known by its port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::net::TcpStream;
use super::{
    step, Call, Code, Numbered, OwnedSocket, State, NOTHING, SOCKADDR_STORAGE, SOCKET,
    STATUS_CONNECTION_RESET, WSABUF, WSAENOTCONN, WSAEWOULDBLOCK, WSAOVERLAPPED,
};

/// The address of the peer with that port.
pub(super) fn name_of(peer: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), peer)
}

// What a model does as the machine and the peers.

/// A listening socket.
pub(crate) fn listening_socket() -> TcpListener {
    TcpListener::from(OwnedSocket(SOCKET(step(|state| state.open(0)))))
}

/// A peer connects.
pub(crate) fn arrive(listener: SOCKET, peer: u16) {
    step(|state| state.queue(listener, Some(peer)));
}

/// A peer connects, and resets the connection before anybody could accept it.
pub(crate) fn arrive_and_reset(listener: SOCKET) {
    step(|state| state.queue(listener, None));
}

impl State {
    fn queue(&mut self, listener: SOCKET, connection: Option<u16>) {
        self.sockets[listener.0].backlog.push_back(connection);
        self.serve_accepts(listener.0);
    }

    pub(super) fn serve_accepts(&mut self, listener: usize) {
        let mut all = self.all_pending(listener);
        let accept = all.find_map(|address| match self.flights[&address].call {
            Call::Accept(accepted) => Some((address, accepted)),
            _ => None,
        });
        drop(all);
        let Some((address, accepted)) = accept else {
            return;
        };
        match self.sockets[listener].backlog.pop_front() {
            None => {}
            Some(None) => self.end(address, STATUS_CONNECTION_RESET, 0),
            Some(Some(peer)) => {
                let place = self.flights[&address].memory as *mut SOCKADDR_STORAGE;
                // SAFETY: the memory was lent for an address, and would not have been freed without a complaint.
                unsafe { place.write(SOCKADDR_STORAGE::from_std(&name_of(peer)).0) };
                self.sockets[accepted].connected = true;
                self.sockets[accepted].accepted = true;
                self.end(address, 0, 0);
            }
        }
    }
}

// What the crate calls.

#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptFunctions(());

impl AcceptFunctions {
    pub(crate) fn of(listener: SOCKET) -> Result<AcceptFunctions, Code> {
        step(|state| state.check_open(listener.0));
        Ok(AcceptFunctions(()))
    }
}

#[derive(Debug)]
pub(crate) struct AcceptAddresses(SOCKADDR_STORAGE);

impl AcceptAddresses {
    pub(crate) const fn new() -> AcceptAddresses {
        AcceptAddresses(SOCKADDR_STORAGE::zeroed())
    }
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn accept_ex(
    _: &AcceptFunctions,
    listener: SOCKET,
    accepted: SOCKET,
    addresses: *mut AcceptAddresses,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    let memory = WSABUF {
        len: u32::try_from(std::mem::size_of::<AcceptAddresses>()).unwrap(),
        buf: addresses.cast(),
    };
    step(|state| {
        state.check_open(accepted.0);
        state.start(
            listener,
            Call::Accept(accepted.0),
            memory,
            NOTHING,
            operation,
        )
    })
}

pub(crate) fn accepted_peer(
    _: &AcceptFunctions,
    addresses: &AcceptAddresses,
) -> Option<SocketAddr> {
    addresses.0.to_std()
}

pub(crate) fn update_accept_context(accepted: SOCKET, listener: SOCKET) -> Result<(), Code> {
    step(|state| {
        state.check_open(listener.0);
        state.check_open(accepted.0);
        if state.sockets[accepted.0].connected {
            Ok(())
        } else {
            Err(WSAENOTCONN)
        }
    })
}

pub(crate) const SOMAXCONN: i32 = i32::MAX;
pub(crate) const LARGEST_BACKLOG: i32 = -65535;

pub(crate) fn listen_socket(_: SOCKET, _backlog: i32) -> Result<(), Code> {
    Ok(())
}

pub(crate) fn set_not_inherited(socket: SOCKET) {
    step(|state| state.check_open(socket.0));
}

/// The listener as `std` has it.
#[derive(Debug)]
pub(crate) struct TcpListener(OwnedSocket);

impl From<OwnedSocket> for TcpListener {
    fn from(socket: OwnedSocket) -> TcpListener {
        TcpListener(socket)
    }
}

impl Numbered for TcpListener {
    fn number(&self) -> SOCKET {
        self.0.number()
    }
}

impl TcpListener {
    pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(name_of(0))
    }

    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = step(|state| {
            state.check_open(self.number().0);
            match state.sockets[self.number().0].backlog.pop_front() {
                None => Err(io::Error::from_raw_os_error(WSAEWOULDBLOCK)),
                // A connection without an address, in `std`'s words.
                Some(None) => Err(io::ErrorKind::InvalidInput.into()),
                Some(Some(peer)) => {
                    let accepted = state.open(0);
                    state.sockets[accepted].connected = true;
                    Ok((accepted, peer))
                }
            }
        });
        let (accepted, peer) = accepted?;
        Ok((
            TcpStream::from(OwnedSocket(SOCKET(accepted))),
            name_of(peer),
        ))
    }
}
