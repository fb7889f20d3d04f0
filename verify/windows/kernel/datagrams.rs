//! The datagram sockets of the kernel in miniature. `room` counts datagrams there, and a peer is known by its port.

use std::io;
use std::net::SocketAddr;

use super::{
    name_of, step, Call, Code, Numbered, OwnedSocket, Socket, State, SOCKADDR_STORAGE, SOCKET,
    STATUS_BUFFER_OVERFLOW, STATUS_PORT_UNREACHABLE, WSABUF, WSAECONNRESET, WSAEWOULDBLOCK,
    WSAOVERLAPPED,
};

#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub(super) bytes: Vec<u8>,
    from: u16,
}

// What a model does as the machine and the peers.

/// A datagram socket, with room for so many datagrams.
pub(crate) fn datagram_socket(room: usize) -> UdpSocket {
    UdpSocket(OwnedSocket(SOCKET(step(|state| state.open(room)))))
}

/// A datagram arrives.
pub(crate) fn drop_in(socket: SOCKET, from: u16, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    step(|state| {
        let datagram = Datagram { bytes, from };
        state.sockets[socket.0].datagrams.push_back(datagram);
        state.serve_datagrams(socket.0);
    });
}

/// An answer arrives that a datagram could not be delivered. It fails the next receive, and any look until then.
pub(crate) fn drop_in_failure(socket: SOCKET) {
    step(|state| {
        state.sockets[socket.0].unreachable = true;
        state.serve_datagrams(socket.0);
    });
}

pub(crate) fn sent_datagrams(socket: SOCKET) -> Vec<Vec<u8>> {
    step(|state| state.sockets[socket.0].sent_datagrams.clone())
}

impl State {
    pub(super) fn serve_datagrams(&mut self, socket: usize) {
        if let Some(address) = self.pending(socket, Call::SendDatagram) {
            self.serve_send_datagram(socket, address);
        }
        if self.sockets[socket].unreachable {
            if let Some(address) = self.pending(socket, Call::Peek) {
                self.end(address, STATUS_PORT_UNREACHABLE, 0);
            }
            if let Some(address) = self.pending(socket, Call::Datagram) {
                self.sockets[socket].unreachable = false;
                self.end(address, STATUS_PORT_UNREACHABLE, 0);
            }
            return;
        }
        let Some(datagram) = self.sockets[socket].datagrams.front().cloned() else {
            return;
        };
        if let Some(address) = self.pending(socket, Call::Peek) {
            self.end(address, STATUS_BUFFER_OVERFLOW, 0);
        }
        if let Some(address) = self.pending(socket, Call::Datagram) {
            self.sockets[socket].datagrams.pop_front();
            let flight = &self.flights[&address];
            let count = flight.len.min(datagram.bytes.len());
            for (index, byte) in datagram.bytes[..count].iter().enumerate() {
                let place = flight.memory as *mut u8;
                // SAFETY: the memory was lent for `len` bytes, and would not have been freed without a complaint.
                unsafe { place.wrapping_add(index).write(*byte) };
            }
            let envelope = flight.aside.0 as *mut Envelope;
            let from = SOCKADDR_STORAGE::from_std(&name_of(datagram.from)).0;
            // SAFETY: as above.
            unsafe { envelope.write(Envelope { from }) };
            self.end(address, 0, count);
        }
    }

    fn serve_send_datagram(&mut self, socket: usize, address: usize) {
        let flight = &self.flights[&address];
        let target = &mut self.sockets[socket];
        if target.room == 0 {
            return;
        }
        let place = flight.memory as *const u8;
        // SAFETY: as in `serve_datagrams`.
        let bytes = unsafe { std::slice::from_raw_parts(place, flight.len) };
        target.send(bytes);
        let count = flight.len;
        self.end(address, 0, count);
    }
}

impl Socket {
    fn send(&mut self, bytes: &[u8]) {
        self.room -= 1;
        self.sent_datagrams.push(bytes.to_vec());
    }
}

// What the crate calls.

#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) from: SOCKADDR_STORAGE,
}

impl Envelope {
    pub(crate) const fn new() -> Envelope {
        Envelope {
            from: SOCKADDR_STORAGE::zeroed(),
        }
    }
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn wsa_recv_from(
    socket: SOCKET,
    buffer: WSABUF,
    envelope: *mut Envelope,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    let aside = (envelope as usize, std::mem::size_of::<Envelope>());
    step(|state| state.start(socket, Call::Datagram, buffer, aside, operation))
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn wsa_peek(socket: SOCKET, operation: *mut WSAOVERLAPPED) -> Result<(), Code> {
    let nothing = WSABUF {
        len: 0,
        buf: std::ptr::null_mut(),
    };
    step(|state| {
        if state.sockets[socket.0].unreachable {
            return Err(WSAECONNRESET);
        }
        state.start(socket, Call::Peek, nothing, super::NOTHING, operation)
    })
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn wsa_send_to(
    socket: SOCKET,
    buffer: WSABUF,
    _target: Option<&SocketAddr>,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    step(|state| {
        state.start(
            socket,
            Call::SendDatagram,
            buffer,
            super::NOTHING,
            operation,
        )
    })
}

pub(crate) fn recv_from(
    socket: SOCKET,
    buffer: &mut [u8],
    peek: bool,
) -> Result<(usize, Option<SocketAddr>), Code> {
    step(|state| {
        state.check_open(socket.0);
        if state.sockets[socket.0].unreachable {
            state.sockets[socket.0].unreachable = peek;
            return Err(WSAECONNRESET);
        }
        let datagrams = &mut state.sockets[socket.0].datagrams;
        let datagram = datagrams.front().cloned().ok_or(WSAEWOULDBLOCK)?;
        if !peek {
            datagrams.pop_front();
        }
        let count = buffer.len().min(datagram.bytes.len());
        buffer[..count].copy_from_slice(&datagram.bytes[..count]);
        Ok((count, Some(name_of(datagram.from))))
    })
}

pub(crate) fn send_at_once(
    socket: &UdpSocket,
    bytes: &[u8],
    target: Option<&SocketAddr>,
) -> io::Result<usize> {
    match target {
        Some(target) => socket.send_to(bytes, target),
        None => socket.send(bytes),
    }
}

pub(crate) fn ignore_icmp_errors(socket: SOCKET) {
    step(|state| state.check_open(socket.0));
}

/// The socket as `std` has it.
#[derive(Debug)]
pub(crate) struct UdpSocket(OwnedSocket);

impl Numbered for UdpSocket {
    fn number(&self) -> SOCKET {
        self.0.number()
    }
}

impl UdpSocket {
    pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn connect(&self, _: &SocketAddr) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        step(|state| {
            state.check_open(self.number().0);
            let socket = &mut state.sockets[self.number().0];
            if socket.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            socket.send(bytes);
            Ok(bytes.len())
        })
    }

    pub(crate) fn send_to(&self, bytes: &[u8], _: &SocketAddr) -> io::Result<usize> {
        self.send(bytes)
    }
}
