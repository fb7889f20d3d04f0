//! Connects that `socket2` has begun and that are still under way.

#![allow(dead_code)] // every test file uses a part

use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::time::Duration;

use minimio::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::common::{kind_of, under_wine};

pub(crate) fn socket_for(address: SocketAddr) -> Socket {
    Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap()
}

pub(crate) fn bound(loopback: &str) -> (Socket, SocketAddr) {
    let address: SocketAddr = loopback.parse().unwrap();
    let socket = socket_for(address);
    socket.bind(&address.into()).unwrap();
    let bound = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, bound)
}

/// Begins a connect, and does not wait for its end. Returns `None` if the system has refused it at once, as FreeBSD
/// often does. The socket then has no connect, and does not know of the refusal.
pub(crate) fn begun(target: SocketAddr) -> Option<Socket> {
    let socket = socket_for(target);
    socket.set_nonblocking(true).unwrap();
    match socket.connect(&target.into()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        _ => Some(socket),
    }
}

/// A connect that is under way, and stays so for a while.
pub(crate) struct UnderWay {
    pub(crate) socket: Socket,
    /// The address that it connects to.
    pub(crate) target: SocketAddr,
    /// A listener whose backlog is full, so that a connect waits for an accept.
    pub(crate) listener: Option<net::TcpListener>,
    /// An address where nobody listens. Windows tries for two seconds before it gives up.
    pub(crate) refusing: Option<Socket>,
    /// The connections that fill the backlog.
    pub(crate) others: Vec<Socket>,
}

impl UnderWay {
    /// Returns `None` on systems where every connect ends at once (FreeBSD reports a connect to a full backlog as
    /// connected).
    pub(crate) fn new(loopback: &str) -> Option<UnderWay> {
        if cfg!(windows) && !under_wine() {
            let (refusing, nobody) = bound(loopback);
            return Some(UnderWay {
                socket: begun(nobody)?,
                target: nobody,
                listener: None,
                refusing: Some(refusing),
                others: Vec::new(),
            });
        }
        let (socket, address) = bound(loopback);
        socket.listen(1).unwrap();
        let mut others = Vec::new();
        // A backlog is a hint. Systems accept a few connections more.
        while others.len() < 16 {
            let other = begun(address)?;
            // If more than one connect waits, Linux reports all of them as connected. So each gets some time before the
            // next begins.
            if !is_soon_connected(&other) {
                return Some(UnderWay {
                    socket: other,
                    target: address,
                    listener: Some(socket.into()),
                    refusing: None,
                    others,
                });
            }
            others.push(other);
        }
        None
    }

    /// Lets the connect end. Returns the other end of the connection, or `None` if the connect will be refused.
    pub(crate) fn end(
        listener: Option<net::TcpListener>,
        others: &[Socket],
    ) -> Option<net::TcpStream> {
        let listener = listener?;
        for _ in others {
            listener.accept().unwrap();
        }
        Some(listener.accept().unwrap().0)
    }
}

/// Whether a connect ends within a third of a second.
fn is_soon_connected(socket: &Socket) -> bool {
    for _ in 0..30 {
        // Asking for the peer's address would be enough, except under Wine 10.
        let stream = TcpStream::from_std(socket.try_clone().unwrap().into()).unwrap();
        // A connect that succeeded and was reset has ended, too (FreeBSD does this when the backlog is full).
        if stream.peer_addr().is_ok() || stream.take_error().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Asserts what every call says while the connect is under way.
#[track_caller]
pub(crate) fn expect_under_way(mut stream: &TcpStream) {
    let mut buffer = [0; 8];
    assert_eq!(kind_of(stream.read(&mut buffer)), ErrorKind::WouldBlock);
    assert_eq!(kind_of(stream.peek(&mut buffer)), ErrorKind::WouldBlock);
    assert_eq!(kind_of(stream.write(b"early")), ErrorKind::WouldBlock);
    assert!(stream.take_error().unwrap().is_none());
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        assert_eq!(kind_of(stream.shutdown(how)), ErrorKind::NotConnected);
    }
    assert_eq!(kind_of(stream.peer_addr()), ErrorKind::NotConnected);
    stream.local_addr().unwrap();
    stream.flush().unwrap();
}
