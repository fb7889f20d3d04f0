//! Streams whose connect was begun by other code (with `socket2`) before `from_std` took them over. A connect that is
//! under way, one that has failed, one that was never begun and one that is done are told apart.
//!
//! Contract: docs/contract.md, 2.3, 2.5, 2.7, 2.8, 3.1, 3.2, 3.5, 3.7, 4.5, 8.

#![allow(clippy::unwrap_used)]

mod common;
mod under_way;

use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::time::Duration;

use common::{
    expect_events, expect_no_events, expect_nothing_queued, kind_of, let_it_block, under_wine,
    until_done, watchdog, BOTH, LOOPBACKS, READABLE, WRITABLE,
};
use minimio::{Events, Poll, Registrator, TcpStream};
use socket2::{SockRef, Socket};
use under_way::{begun, bound, expect_under_way, socket_for, UnderWay};

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(128))
}

fn taken_over(socket: Socket) -> TcpStream {
    TcpStream::from_std(socket.into()).unwrap()
}

/// Asserts that `stream` is connected to `peer`.
#[track_caller]
fn expect_connected(mut stream: &TcpStream, mut peer: net::TcpStream) {
    assert!(stream.take_error().unwrap().is_none());
    assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
    assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
    assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
    assert_eq!(stream.write(b"hello").unwrap(), 5);
    peer.read_exact(&mut [0; 5]).unwrap();
    peer.write_all(b"well").unwrap();
    assert_eq!(until_done(|| stream.read(&mut [0; 8])).unwrap(), 4);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

/// Asserts that the connect of `stream` was refused and that no call has reported it yet.
#[track_caller]
fn expect_refused(mut stream: &TcpStream) {
    let error = stream.take_error().unwrap().expect("it was refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(stream.take_error().unwrap().is_none(), "told once");
    // 3.2: after that a read still gives no end of stream.
    let refused = ErrorKind::ConnectionRefused;
    assert_eq!(kind_of(stream.read(&mut [0; 8])), refused);
    assert_eq!(kind_of(stream.peek(&mut [0; 8])), refused);
}

// 3.5, 8
#[test]
fn a_connect_under_way_is_waited_for() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let Some(under_way) = UnderWay::new(loopback) else {
            return;
        };
        let stream = taken_over(under_way.socket);
        expect_under_way(&stream);
        registrator.register(&stream, 1, READABLE).unwrap();
        registrator.register(&stream, 2, WRITABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        expect_under_way(&stream);
        expect_no_events(&mut poll, &mut events);
        match UnderWay::end(under_way.listener, &under_way.others) {
            Some(peer) => {
                expect_events(&mut poll, &mut events, &[(2, false, true)]);
                expect_no_events(&mut poll, &mut events);
                expect_connected(&stream, peer);
            }
            None => {
                expect_events(
                    &mut poll,
                    &mut events,
                    &[(1, true, false), (2, false, true)],
                );
                expect_refused(&stream);
            }
        }
    }
}

// 3.1, 3.5
#[test]
fn a_connect_under_way_ends_without_a_poll() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let Some(under_way) = UnderWay::new(loopback) else {
            return;
        };
        let mut stream = taken_over(under_way.socket);
        expect_under_way(&stream);
        match UnderWay::end(under_way.listener, &under_way.others) {
            Some(mut peer) => {
                assert_eq!(until_done(|| stream.write(b"hello")).unwrap(), 5);
                peer.read_exact(&mut [0; 5]).unwrap();
                expect_connected(&stream, peer);
            }
            None => {
                let error = until_done(|| stream.write(b"hello"));
                assert_eq!(kind_of(error), ErrorKind::ConnectionRefused);
            }
        }
    }
}

// 3.5: a connect that has ended counts as ended for every call, whether or not a poll has seen it.
#[test]
fn a_connect_that_ended_unseen_works_as_after_it() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let Some(under_way) = UnderWay::new(loopback) else {
            return;
        };
        let stream = taken_over(under_way.socket);
        registrator.register(&stream, 1, BOTH).unwrap();
        if let Some(peer) = UnderWay::end(under_way.listener, &under_way.others) {
            // There was no poll, and no call except this one.
            while stream.peer_addr().is_err() {
                std::thread::yield_now();
            }
            // The failure is reported once, although two calls have seen the end.
            expect_events(&mut poll, &mut events, &[(1, false, true)]);
            expect_no_events(&mut poll, &mut events);
            expect_connected(&stream, peer);
        }
    }
}

// 3.5, 2.8, 8
#[test]
fn a_refused_connect_fires_every_armed_interest() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for (interests, readable, writable) in [
            (READABLE, true, false),
            (WRITABLE, false, true),
            (BOTH, true, true),
        ] {
            for earlier in [false, true] {
                let (mut poll, registrator, mut events) = queue();
                let (_refusing, nobody) = bound(loopback);
                let socket = socket_for(nobody);
                socket.set_nonblocking(true).unwrap();
                if !matches!(socket.connect(&nobody.into()), Err(error) if is_under_way(&error)) {
                    // The kernel has already reported the refusal, and does not report it again.
                    continue;
                }
                if earlier {
                    // Now the connect has probably ended. The assertions hold in both cases.
                    let_it_block();
                }
                let stream = taken_over(socket);
                registrator.register(&stream, 1, interests).unwrap();
                expect_events(&mut poll, &mut events, &[(1, readable, writable)]);
                expect_refused(&stream);
                expect_no_events(&mut poll, &mut events);
                // The event comes again, since the condition still holds.
                registrator.register(&stream, 2, READABLE).unwrap();
                expect_events(&mut poll, &mut events, &[(2, true, false)]);
            }
        }
    }
}

/// Whether an interest of a socket that was never connected fires. A kqueue reports nothing.
const HAS_EVENTS_UNCONNECTED: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "windows"
));

fn is_under_way(error: &std::io::Error) -> bool {
    // The error is WSAEWOULDBLOCK or EINPROGRESS. `std` has no stable kind for the latter.
    error.kind() == ErrorKind::WouldBlock
        || cfg!(unix) && !matches!(error.kind(), ErrorKind::ConnectionRefused)
}

// 3.5: the first read or write reports how the connect ended, also without a poll.
#[test]
fn a_refused_connect_is_told_by_the_first_read_or_write() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for registered in [false, true] {
            for reads in [true, false] {
                let (poll, registrator, _) = queue();
                let (_refusing, nobody) = bound(loopback);
                let Some(socket) = begun(nobody) else {
                    continue;
                };
                let mut stream = taken_over(socket);
                if registered {
                    registrator.register(&stream, 1, BOTH).unwrap();
                }
                let error = if reads {
                    until_done(|| stream.read(&mut [0; 8])).unwrap_err()
                } else {
                    until_done(|| stream.write(b"hello")).unwrap_err()
                };
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                // 3.2: `take_error` returns it once, and reads every time.
                expect_refused(&stream);
                drop(poll);
            }
        }
    }
}

// 3.5, 3.2: a connect that was never begun is `NotConnected` from every call, and no call waits for ever.
#[test]
fn a_connect_that_was_never_begun_is_told() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        for is_bound in [false, true] {
            for interests in [READABLE, WRITABLE, BOTH] {
                let (mut poll, registrator, mut events) = queue();
                let socket = if is_bound {
                    bound(loopback).0
                } else {
                    socket_for(loopback.parse().unwrap())
                };
                let mut stream = taken_over(socket);
                for registered in [false, true] {
                    // A kqueue makes no event for such a socket.
                    if registered && HAS_EVENTS_UNCONNECTED {
                        registrator.register(&stream, 1, interests).unwrap();
                        let readable = interests.is_readable();
                        let writable = interests.is_writable();
                        expect_events(&mut poll, &mut events, &[(1, readable, writable)]);
                        expect_no_events(&mut poll, &mut events);
                    }
                    let none = ErrorKind::NotConnected;
                    assert_eq!(kind_of(stream.read(&mut [0; 8])), none);
                    assert_eq!(kind_of(stream.peek(&mut [0; 8])), none);
                    assert_eq!(kind_of(stream.write(b"hello")), none);
                    assert_eq!(kind_of(stream.shutdown(Shutdown::Both)), none);
                    assert_eq!(kind_of(stream.peer_addr()), none);
                    assert!(stream.take_error().unwrap().is_none());
                }
            }
        }
    }
}

// 3.5: a connect may be begun after the socket was taken over.
#[test]
fn a_connect_begun_after_the_takeover_counts() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, here) = bound(loopback);
        let mut stream = taken_over(socket);
        assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::NotConnected);
        if HAS_EVENTS_UNCONNECTED {
            registrator.register(&stream, 1, WRITABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(1, false, true)]);
        }
        drop(SockRef::from(&stream).connect(&address.into()));
        registrator.register(&stream, 2, WRITABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(2, false, true)]);
        let (peer, from) = listener.accept().unwrap();
        assert_eq!(from, here);
        expect_connected(&stream, peer);
    }
}

// 3.7, 2.3
#[test]
fn a_connection_that_is_there_counts_at_once() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (mut poll, registrator, mut events) = queue();
        let listener = net::TcpListener::bind(loopback).unwrap();
        let address = listener.local_addr().unwrap();
        let socket = socket_for(address);
        socket.connect(&address.into()).unwrap();
        let stream = taken_over(socket);
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, false, true)]);
        let (peer, _) = listener.accept().unwrap();
        expect_connected(&stream, peer);
    }
}

// 2.3: a connection that its peer has reset before the takeover still counts as one that was connected.
#[test]
fn a_connection_that_was_reset_before_the_takeover_is_no_fresh_socket() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (near, far) = common::std_pair();
    SockRef::from(&far)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(far);
    let_it_block();
    let mut stream = TcpStream::from_std(near).unwrap();
    registrator.register(&stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    match stream.read(&mut [0; 8]) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        // Wine 8 does not report a reset that came before the receive.
        Ok(count) => assert!(under_wine() && count == 0),
    }
}

// 2.5
#[test]
fn a_deregistered_connect_fires_nothing_and_can_be_registered_again() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let Some(under_way) = UnderWay::new("127.0.0.1:0") else {
        return;
    };
    let stream = taken_over(under_way.socket);
    registrator.register(&stream, 1, BOTH).unwrap();
    registrator.deregister(&stream).unwrap();
    let peer = UnderWay::end(under_way.listener, &under_way.others);
    expect_no_events(&mut poll, &mut events);
    registrator.register(&stream, 2, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(2, false, true)]);
    match peer {
        Some(peer) => expect_connected(&stream, peer),
        None => expect_refused(&stream),
    }
}

// 2.7
#[test]
fn a_stream_dropped_while_it_connects_fires_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let Some(under_way) = UnderWay::new("127.0.0.1:0") else {
        return;
    };
    let stream = taken_over(under_way.socket);
    registrator.register(&stream, 1, BOTH).unwrap();
    drop(stream);
    drop(under_way.listener);
    expect_no_events(&mut poll, &mut events);
}

// 3.5, 4.5
#[test]
fn a_connect_outlives_its_poll() {
    let _watchdog = watchdog();
    let (poll, registrator, _) = queue();
    let Some(under_way) = UnderWay::new("127.0.0.1:0") else {
        return;
    };
    let mut stream = taken_over(under_way.socket);
    registrator.register(&stream, 1, BOTH).unwrap();
    drop(poll);
    expect_under_way(&stream);
    match UnderWay::end(under_way.listener, &under_way.others) {
        Some(peer) => {
            until_done(|| match stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => {
                    Err(ErrorKind::WouldBlock.into())
                }
                other => other,
            })
            .unwrap();
            expect_connected(&stream, peer);
        }
        None => {
            let error = until_done(|| stream.read(&mut [0; 8]));
            assert_eq!(kind_of(error), ErrorKind::ConnectionRefused);
        }
    }
}

// 3.5, 3.7
#[test]
fn a_connect_under_way_is_given_back() {
    let _watchdog = watchdog();
    for registered in [false, true] {
        let (mut poll, registrator, mut events) = queue();
        let Some(under_way) = UnderWay::new("127.0.0.1:0") else {
            return;
        };
        let stream = taken_over(under_way.socket);
        if registered {
            registrator.register(&stream, 1, BOTH).unwrap();
        }
        let given_back = stream.into_std().unwrap();
        assert_eq!(
            kind_of((&given_back).read(&mut [0; 8])),
            kind_while_connecting()
        );
        let stream = TcpStream::from_std(given_back).unwrap();
        expect_under_way(&stream);
        if let Some(peer) = UnderWay::end(under_way.listener, &under_way.others) {
            while stream.peer_addr().is_err() {
                std::thread::yield_now();
            }
            expect_connected(&stream, peer);
        }
        expect_no_events(&mut poll, &mut events);
    }
}

/// The error of the system for a read while the connect is under way.
fn kind_while_connecting() -> ErrorKind {
    if cfg!(target_os = "linux") || under_wine() {
        ErrorKind::WouldBlock
    } else {
        ErrorKind::NotConnected
    }
}

// 3.5
#[test]
fn a_refused_connect_that_nobody_was_told_of_is_not_given_back_unseen() {
    let _watchdog = watchdog();
    for (foreign, told) in [(true, false), (true, true), (false, false), (false, true)] {
        let (mut poll, registrator, mut events) = queue();
        let (_refusing, nobody) = bound("127.0.0.1:0");
        let stream = if foreign {
            let Some(socket) = begun(nobody) else {
                continue;
            };
            taken_over(socket)
        } else {
            TcpStream::connect_nonblocking(nobody).unwrap()
        };
        registrator.register(&stream, 1, BOTH).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, true)]);
        if told {
            expect_refused(&stream);
            stream.into_std().unwrap();
            continue;
        }
        let failed = stream.into_std().unwrap_err();
        assert_eq!(failed.error().kind(), ErrorKind::ConnectionRefused);
        // That call has reported the failure.
        failed.into_source().into_std().unwrap();
    }
}

// 3.5: more connects at once than one thread of the Windows thread pool can wait for.
#[test]
fn many_connects_are_taken_over_at_once() {
    const COUNT: usize = 150;
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let listener = minimio::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let streams: Vec<_> = (0..COUNT)
        .map(|token| {
            let stream = taken_over(begun(address).unwrap());
            registrator.register(&stream, token, WRITABLE).unwrap();
            stream
        })
        .collect();
    let expected: Vec<_> = (0..COUNT).map(|token| (token, false, true)).collect();
    expect_events(&mut poll, &mut events, &expected);
    for mut stream in &streams {
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(stream.write(b"hello").unwrap(), 5);
    }
    expect_nothing_queued(&mut poll, &mut events);
}
