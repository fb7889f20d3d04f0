//! Connecting: the blocking connects of `std`, and the one that does not block.
//!
//! Contract: docs/contract.md, 1, 2.1, 2.3, 2.7, 2.8, 3.1, 3.2, 3.5, 8.

#![allow(clippy::unwrap_used)]

mod common;
mod under_way;

#[cfg(not(windows))]
use std::io::IoSlice;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;
#[cfg(not(windows))]
use std::time::Instant;

#[cfg(not(windows))]
use common::until_done;
use common::{
    expect_events, expect_no_events, expect_nothing_queued, kind_of, watchdog, HANG, LOOPBACKS,
};
use minimio::{Events, Interests, Poll, Registrator, TcpStream};
use socket2::{Domain, Socket, Type};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(32))
}

/// An address where nobody listens. Nobody can listen there as long as the returned socket lives.
fn refusing(loopback: &str) -> (Socket, SocketAddr) {
    let address: SocketAddr = loopback.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    let bound = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, bound)
}

// 3.5
#[test]
fn connect_leaves_the_stream_non_blocking() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address = listener.local_addr().unwrap();
        for mut stream in [
            TcpStream::connect(address).unwrap(),
            TcpStream::connect_timeout(&address, HANG).unwrap(),
        ] {
            assert_eq!(stream.peer_addr().unwrap(), address);
            assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
            let (mut peer, from) = listener.accept().unwrap();
            assert_eq!(from, stream.local_addr().unwrap());
            stream.write_all(b"hello").unwrap();
            peer.read_exact(&mut [0; 5]).unwrap();
        }
    }
}

// 3.5
#[test]
fn connect_resolves_names() {
    let _watchdog = watchdog();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for result in [
        TcpStream::connect(("localhost", port)),
        TcpStream::connect(format!("localhost:{port}")),
    ] {
        // A machine without a table of hosts does not know this name. Then the call fails as that of `std` does.
        match ("localhost", port).to_socket_addrs() {
            Ok(_) => drop(result.unwrap()),
            Err(error) => assert_eq!(kind_of(result), error.kind()),
        }
    }
}

// 3.5
#[test]
fn connect_takes_the_first_address_that_answers() {
    let _watchdog = watchdog();
    let (_refusing, nobody) = refusing("127.0.0.1:0");
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let somebody = listener.local_addr().unwrap();
    let stream = TcpStream::connect(&[nobody, somebody][..]).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), somebody);
}

// 3.5
#[test]
fn connect_fails_as_std_does() {
    let _watchdog = watchdog();
    let (_refusing, nobody) = refusing("127.0.0.1:0");
    assert_eq!(
        kind_of(TcpStream::connect(nobody)),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(
        kind_of(TcpStream::connect_timeout(&nobody, HANG)),
        ErrorKind::ConnectionRefused
    );
    let none: [SocketAddr; 0] = [];
    assert_eq!(
        kind_of(TcpStream::connect(&none[..])),
        ErrorKind::InvalidInput
    );
    // `std` begins to connect before it looks at the time, and by then the kernel may know of the refusal (FreeBSD
    // often does).
    let error = kind_of(TcpStream::connect_timeout(&nobody, Duration::ZERO));
    assert!(
        [ErrorKind::InvalidInput, ErrorKind::ConnectionRefused].contains(&error),
        "{error}"
    );
}

// 3.5
#[test]
fn the_end_of_a_connect_fires_writable_once() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect_nonblocking(address).unwrap();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(stream.peer_addr().unwrap(), address);
        expect_no_events(&mut poll, &mut events);

        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from, stream.local_addr().unwrap());
        assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
        assert_eq!(stream.write(b"hello").unwrap(), 5);
        peer.read_exact(&mut [0; 5]).unwrap();
    }
}

// 3.5
#[test]
fn the_end_of_a_connect_does_not_fire_readable() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect_nonblocking(address).unwrap();
        registrator
            .register(&stream, 1, READABLE | WRITABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let (mut peer, _) = listener.accept().unwrap();
        expect_no_events(&mut poll, &mut events);
        peer.write_all(b"hello").unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
    }
}

// 3.5, 2.3: if only READABLE is armed, the end of the connect makes no event, and the first bytes do.
#[test]
fn a_readable_armed_while_connecting_waits_for_bytes() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
    registrator.register(&stream, 1, READABLE).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    expect_no_events(&mut poll, &mut events);
    peer.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
}

// 3.5, 2.8, 8
#[test]
fn a_refused_connect_fires_every_armed_interest() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for (interests, readable, writable) in [
            (READABLE, true, false),
            (WRITABLE, false, true),
            (READABLE | WRITABLE, true, true),
        ] {
            let (mut poll, registrator, mut events) = queue();
            let (_refusing, nobody) = refusing(loopback);
            let stream = TcpStream::connect_nonblocking(nobody).unwrap();
            registrator.register(&stream, 1, interests).unwrap();
            expect_events(&mut poll, &mut events, &[(1, readable, writable)]);
            let error = stream.take_error().unwrap().expect("it was refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(stream.take_error().unwrap().is_none(), "told once");
            expect_no_events(&mut poll, &mut events);
        }
    }
}

// 3.5: "or the read or write that comes first"
#[test]
fn a_refused_connect_is_told_by_the_first_read_or_write() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for reads in [true, false] {
            let (mut poll, registrator, mut events) = queue();
            let (_refusing, nobody) = refusing(loopback);
            let mut stream = TcpStream::connect_nonblocking(nobody).unwrap();
            registrator
                .register(&stream, 1, READABLE | WRITABLE)
                .unwrap();
            expect_events(&mut poll, &mut events, &[(1, true, true)]);
            let error = if reads {
                stream.read(&mut [0; 8]).unwrap_err()
            } else {
                stream.write(b"hello").unwrap_err()
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            // 3.2: `take_error` returns it once, whichever call reported it before, and every read gives it.
            let error = stream.take_error().unwrap().expect("it was refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(stream.take_error().unwrap().is_none(), "taken once");
            let error = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
}

// 2.3, 3.5: on systems where a connect starts without a registration, it may have ended before the registration.
#[cfg(not(windows))]
#[test]
fn a_connect_that_ended_before_the_registration_counts() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert!(stream.take_error().unwrap().is_none());
    }
}

// 3.1, 3.5: on those systems a connect needs no registration at all.
#[cfg(not(windows))]
#[test]
fn a_connect_ends_without_a_poll() {
    let _watchdog = watchdog();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect_nonblocking(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(until_done(|| stream.write(b"hello")).unwrap(), 5);
    peer.read_exact(&mut [0; 5]).unwrap();
}

/// A listener whose backlog is full and that accepts nothing, and a stream whose connect to it waits.
/// Windows refuses a connect that does not fit in the backlog. Linux lets it wait, and tries again after a second. If
/// more than one waits there, Linux reports all of them as connected, whether or not there is room for all. FreeBSD
/// reports every connect as connected at once, and resets it when there is no room, so no connect waits there unless
/// `net.inet.tcp.blackhole` is 2. So the tests that need a connect that waits look at what the kernel does, and print a
/// line where no connect waits.
#[cfg(not(windows))]
struct Waiting {
    listener: net::TcpListener,
    connected: Vec<TcpStream>,
    stream: TcpStream,
}

/// The token of the stream that waits.
#[cfg(not(windows))]
const WAITING: minimio::Token = 7;

#[cfg(not(windows))]
impl Waiting {
    /// `None` if the kernel lets no connect wait. (Linux does let it wait.)
    fn new(loopback: &str, poll: &mut Poll, events: &mut Events) -> Option<Waiting> {
        let address: SocketAddr = loopback.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1).unwrap();
        let listener = net::TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut connected = Vec::new();
        // A connect that ends by itself ends much sooner than this, also on a slow machine.
        let mut patience = Duration::from_millis(300);
        // A backlog is a hint. Systems accept a few connections more.
        while connected.len() < 16 {
            let begun = Instant::now();
            let stream = TcpStream::connect_nonblocking(address).unwrap();
            let registrator = poll.registrator();
            registrator.register(&stream, WAITING, WRITABLE).unwrap();
            if poll.poll(events, Some(patience)).unwrap() == 0 {
                return Some(Waiting {
                    listener,
                    connected,
                    stream,
                });
            }
            patience = patience.max(20 * begun.elapsed());
            if stream.take_error().unwrap().is_some() {
                break;
            }
            connected.push(stream);
        }
        if cfg!(any(target_os = "linux", target_os = "android")) {
            panic!("{} connected: the backlog takes any", connected.len());
        }
        println!("this kernel lets no connect wait for room in a backlog");
        None
    }
}

// 3.5, 8: the connect completes after an accept.
#[cfg(not(windows))]
#[test]
fn a_connect_to_a_full_backlog_ends_after_an_accept() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, _, mut events) = queue();
        let Some(waiting) = Waiting::new(loopback, &mut poll, &mut events) else {
            return;
        };
        let mut accepted = Vec::new();
        for _ in &waiting.connected {
            accepted.push(waiting.listener.accept().unwrap());
        }
        expect_events(&mut poll, &mut events, &[(WAITING, false, true)]);
        assert!(waiting.stream.take_error().unwrap().is_none());
        let (_, from) = waiting.listener.accept().unwrap();
        assert_eq!(from, waiting.stream.local_addr().unwrap());
    }
}

// 3.5, 4.5: Windows ends such a connect.
#[cfg(not(windows))]
#[test]
fn a_connect_under_way_goes_on_after_its_poll_is_dropped() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, _, mut events) = queue();
        let Some(waiting) = Waiting::new(loopback, &mut poll, &mut events) else {
            return;
        };
        drop(poll);
        for _ in &waiting.connected {
            waiting.listener.accept().unwrap();
        }
        let (mut peer, from) = waiting.listener.accept().unwrap();
        assert_eq!(from, waiting.stream.local_addr().unwrap());
        peer.write_all(b"x").unwrap();
        assert_eq!(common::read_some(&waiting.stream, &mut [0; 8]), 1);
    }
}

// 3.5
#[cfg(not(windows))]
#[test]
fn reading_and_writing_would_block_until_the_connect_has_ended() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let Some(waiting) = Waiting::new(loopback, &mut poll, &mut events) else {
            return;
        };
        let mut stream = &waiting.stream;
        let mut buffer = [0; 8];
        assert_eq!(kind_of(stream.read(&mut buffer)), ErrorKind::WouldBlock);
        assert_eq!(kind_of(stream.peek(&mut buffer)), ErrorKind::WouldBlock);
        assert_eq!(kind_of(stream.write(b"early")), ErrorKind::WouldBlock);
        let parts = [IoSlice::new(b"early")];
        assert_eq!(
            kind_of(stream.write_vectored(&parts)),
            ErrorKind::WouldBlock
        );
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(kind_of(stream.peer_addr()), ErrorKind::NotConnected);
        // None of these calls makes an event, and neither does arming the other interest.
        registrator.register(stream, 99, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
    }
}

// 2.7
#[cfg(not(windows))]
#[test]
fn a_stream_dropped_while_it_connects_fires_nothing() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let Some(waiting) = Waiting::new("127.0.0.1:0", &mut poll, &mut events) else {
        return;
    };
    drop(waiting.stream);
    drop(waiting.listener);
    expect_no_events(&mut poll, &mut events);
}

// 3.5
#[cfg(not(windows))]
#[test]
fn connect_timeout_ends_in_time_and_not_earlier() {
    let _watchdog = watchdog();
    let (mut poll, _, mut events) = queue();
    let Some(waiting) = Waiting::new("127.0.0.1:0", &mut poll, &mut events) else {
        return;
    };
    let timeout = Duration::from_millis(100);
    let begun = Instant::now();
    let address = waiting.listener.local_addr().unwrap();
    let error = TcpStream::connect_timeout(&address, timeout);
    assert_eq!(kind_of(error), ErrorKind::TimedOut);
    assert!(begun.elapsed() >= timeout);
}

// 1, 3.5: `socket2` can bind a socket before it connects. The connect may still be under way at `from_std`.
#[test]
fn a_socket_bound_and_connecting_elsewhere_is_taken_over() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address: SocketAddr = loopback.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        socket.set_nonblocking(true).unwrap();
        // The connect is in progress or done. In both cases it goes on by itself.
        drop(socket.connect(&listener.local_addr().unwrap().into()));
        let stream = TcpStream::from_std(socket.into()).unwrap();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(stream.local_addr().unwrap(), bound);
        assert_eq!(listener.accept().unwrap().1, bound);
    }
}

// 3.2: the exception of a socket that was never connected.
#[test]
fn a_stream_that_was_never_connected_says_so() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let mut stream = TcpStream::from_std(socket.into()).unwrap();
    assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::NotConnected);
    assert_eq!(
        kind_of(stream.shutdown(net::Shutdown::Both)),
        ErrorKind::NotConnected
    );
}

// 3.5, 2.1: a hundred connects at once, each of which makes an event of its own.
#[test]
fn many_connects_end_each_with_its_event() {
    const COUNT: usize = 100;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = thread::spawn(move || {
        (0..COUNT)
            .map(|_| listener.accept().unwrap())
            .collect::<Vec<_>>()
    });
    let streams: Vec<_> = (0..COUNT)
        .map(|token| {
            let stream = TcpStream::connect_nonblocking(address).unwrap();
            registrator.register(&stream, token, WRITABLE).unwrap();
            stream
        })
        .collect();
    let expected: Vec<_> = (0..COUNT).map(|token| (token, false, true)).collect();
    expect_events(&mut poll, &mut events, &expected);
    for stream in &streams {
        assert!(stream.take_error().unwrap().is_none());
    }
    expect_nothing_queued(&mut poll, &mut events);
    drop(acceptor.join().unwrap());
}

// 3.5: a connect that has ended counts as ended for every call, whether or not a poll has seen it.
#[test]
fn a_connect_that_ended_unseen_works_as_after_it() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for first in 0..3 {
            let (mut poll, registrator, mut events) = queue();
            let listener = net::TcpListener::bind(loopback).unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = TcpStream::connect_nonblocking(address).unwrap();
            registrator.register(&stream, 1, WRITABLE).unwrap();
            let (mut peer, from) = listener.accept().unwrap();
            // The other end knows of the connection already. There was no poll here, and no other call.
            while match first {
                0 => stream.shutdown(net::Shutdown::Write).is_err(),
                1 => stream.peer_addr().is_err(),
                _ => stream.local_addr().unwrap() != from || stream.peer_addr().is_err(),
            } {
                thread::yield_now();
            }
            assert_eq!(stream.peer_addr().unwrap(), address);
            assert_eq!(stream.local_addr().unwrap(), from);
            assert!(stream.take_error().unwrap().is_none());
            stream.shutdown(net::Shutdown::Write).unwrap();
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
            peer.write_all(b"hello").unwrap();
            assert_eq!(until(|| stream.read(&mut [0; 8])), 5);
            // The event comes, once.
            expect_events(&mut poll, &mut events, &[(1, false, true)]);
            expect_no_events(&mut poll, &mut events);
        }
    }
}

/// Does what `common::until_done` does, for a read that must succeed.
fn until(read: impl FnMut() -> std::io::Result<usize>) -> usize {
    common::until_done(read).unwrap()
}

// 3.5: every call says that the connect is under way, whether or not the stream is registered.
#[test]
fn a_connect_under_way_says_so() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let Some(under_way) = under_way::UnderWay::new(loopback) else {
            return;
        };
        drop(under_way.socket);
        for registered in [false, true] {
            let (mut poll, registrator, mut events) = queue();
            let stream = TcpStream::connect_nonblocking(under_way.target).unwrap();
            if registered {
                registrator
                    .register(&stream, 1, READABLE | WRITABLE)
                    .unwrap();
            }
            under_way::expect_under_way(&stream);
            expect_nothing_queued(&mut poll, &mut events);
        }
    }
}

// 3.2: a stream whose connect was refused has no end of stream. Its reads go on giving the failure.
#[test]
fn a_refused_connect_that_was_told_stays_refused() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (_refusing, nobody) = refusing("127.0.0.1:0");
    let mut stream = TcpStream::connect_nonblocking(nobody).unwrap();
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    let error = stream.take_error().unwrap().expect("it was refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    for token in 2..4 {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        let again = kind_of(stream.read(&mut [0; 8]));
        assert_eq!(again, ErrorKind::ConnectionRefused);
    }
    assert!(stream.take_error().unwrap().is_none(), "told once");
}

// 3.5: a stream without a completion port is connected by an ordinary call, and reports what the system knows at once.
#[cfg(windows)]
#[test]
fn a_connect_that_cannot_begin_is_told_when_the_stream_is_given_back() {
    let nowhere: SocketAddr = "255.255.255.255:1".parse().unwrap();
    let stream = TcpStream::connect_nonblocking(nowhere).unwrap();
    // The system decides whether it knows that at once. Wine does.
    match stream.into_std() {
        Ok(_) => assert!(!common::under_wine()),
        Err(refused) => {
            assert_eq!(refused.error().kind(), ErrorKind::NetworkUnreachable);
            refused.into_source().into_std().unwrap();
        }
    }
}
