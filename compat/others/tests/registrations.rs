//! Registrations that begin and end leave nothing behind in a `Poll` that lives on.

mod common;

use std::net;

use common::{rounds, Counting, Held};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Poll, Token};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn registrations_leave_nothing_behind() {
    let rounds = rounds(3000);
    let mut poll = Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(64);
    let mut all = |rounds: usize| {
        for round in 0..rounds {
            one(&poll, round);
            let now = Some(std::time::Duration::ZERO);
            poll.poll(&mut events, now).unwrap();
        }
        // What was closed while something was in flight is taken off the queue by a poll.
        while !events.is_empty() {
            let now = Some(std::time::Duration::ZERO);
            poll.poll(&mut events, now).unwrap();
        }
    };
    // Some things are made once.
    all(20);
    let before = Held::settled();
    all(rounds);
    Held::settled().assert_as_before(before, rounds);
}

fn one(poll: &Poll, round: usize) {
    let both = Interest::READABLE | Interest::WRITABLE;
    let registry = poll.registry();
    let token = Token(round);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = TcpStream::from_std(net::TcpStream::connect(address).unwrap());
    registry.register(&mut listener, token, both).unwrap();
    registry.register(&mut socket, token, both).unwrap();
    registry.register(&mut stream, token, both).unwrap();
    for _ in 0..3 {
        registry.reregister(&mut listener, token, both).unwrap();
        registry.reregister(&mut socket, token, both).unwrap();
        registry.reregister(&mut stream, token, both).unwrap();
    }
    if round.checked_rem(2) == Some(0) {
        registry.deregister(&mut listener).unwrap();
        registry.deregister(&mut socket).unwrap();
        registry.deregister(&mut stream).unwrap();
    }
    #[cfg(unix)]
    {
        use mio::unix::SourceFd;
        use std::os::fd::AsRawFd;
        let (other, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = other.as_raw_fd();
        let mut source = SourceFd(&number);
        registry.register(&mut source, token, both).unwrap();
        registry.reregister(&mut source, token, both).unwrap();
        registry.deregister(&mut source).unwrap();
    }
}
