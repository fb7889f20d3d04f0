//! Listeners: accepting, and the events around it.
//!
//! Contract: docs/contract.md, 1, 2.1, 2.3, 2.4, 2.5, 2.6, 2.7, 3.1, 3.2, 3.7, 5.7, 6.1, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::time::Duration;

use common::ends::{suite, ListenerEnd, StreamEnd};
use common::{
    accept, effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, until_done,
    watchdog, LOOPBACKS,
};
use minimio::{Events, Interests, Poll, Registrator, TcpListener};
use socket2::{Domain, SockRef, Socket, Type};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn bind(loopback: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(loopback).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

// 3.1
fn accept_without_a_poll_does_not_block<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for kind in 0..L::KINDS {
        let (listener, address) = L::bind_of(kind);
        assert_eq!(kind_of(listener.accept()), ErrorKind::WouldBlock);
        let client = L::connect(&address);
        let (_stream, from) = until_done(|| listener.accept()).unwrap();
        assert_eq!(from, L::name(&client));
        assert_eq!(kind_of(listener.accept()), ErrorKind::WouldBlock);
    }
}

// 2.1, 3.2
fn a_connection_is_an_event_and_the_first_accept_takes_it<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for kind in 0..L::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (listener, address) = L::bind_of(kind);
        for token in 0..10 {
            registrator.register(&listener, token, READABLE).unwrap();
            expect_nothing_queued(&mut poll, &mut events);
            let client = L::connect(&address);
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, L::name(&client));
            expect_nothing_queued(&mut poll, &mut events);
        }
    }
}

// 3.1
fn an_accepted_stream_is_non_blocking<L: ListenerEnd>() {
    let (listener, address) = L::bind();
    let mut client = L::connect(&address);
    let (stream, _) = listener.await_accept();
    assert_eq!(kind_of(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
    stream.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

// 2.3
fn an_event_comes_for_a_connection_that_waits_already<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    let _client = L::connect(&address);
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    listener.accept().unwrap();
}

// 2.1, 2.3: several connections can merge into one edge. A listener that accepts one for each event still gets all of
// them. Connections that overtake each other on their way are accepted in the order of their arrival.
fn one_accept_an_event_takes_every_connection<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for kind in 0..L::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (listener, address) = L::bind_of(kind);
        registrator.register(&listener, 0, READABLE).unwrap();
        let clients: Vec<_> = (0..50).map(|_| L::connect(&address)).collect();
        let mut accepted = BTreeSet::new();
        for token in 0..clients.len() {
            registrator.register(&listener, token, READABLE).unwrap();
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            accepted.insert(listener.accept().unwrap().1);
        }
        let connected = clients.iter().map(L::name);
        assert_eq!(accepted, connected.collect());
        registrator.register(&listener, 99, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
}

// 2.1, 6.1: after accepting until WouldBlock nothing is left to report, and the next connection makes an event.
fn after_accepting_all_only_a_new_connection_is_an_event<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    for token in 0..effort(20) {
        let _clients = [(); 3].map(|()| L::connect(&address));
        registrator.register(&listener, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        for _ in 0..3 {
            listener.await_accept();
        }
        assert_eq!(kind_of(listener.accept()), ErrorKind::WouldBlock);
        registrator.register(&listener, token, READABLE).unwrap();
        expect_nothing_queued(&mut poll, &mut events);
        let _client = L::connect(&address);
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        listener.await_accept();
    }
}

// 2.1, 3.2: a connection that was accepted before its edge was handled makes no event.
fn a_connection_accepted_between_two_events_is_not_reported_again<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    let _first = L::connect(&address);
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let _second = L::connect(&address);
    listener.await_accept();
    listener.await_accept();
    registrator.register(&listener, 2, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 2.4
fn a_listener_refuses_writable_and_stays_armed<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    registrator.register(&listener, 1, READABLE).unwrap();
    for interests in [WRITABLE, READABLE | WRITABLE, Interests::empty()] {
        let error = registrator.register(&listener, 2, interests);
        assert_eq!(kind_of(error), ErrorKind::InvalidInput);
    }
    let _client = L::connect(&address);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
}

// 2.5
fn a_deregistered_listener_is_silent_and_accepts<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    registrator.register(&listener, 1, READABLE).unwrap();
    registrator.deregister(&listener).unwrap();
    let _client = L::connect(&address);
    expect_no_events(&mut poll, &mut events);
    listener.await_accept();
    // It can be registered again later.
    registrator.register(&listener, 2, READABLE).unwrap();
    let _client = L::connect(&address);
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

// 2.7
fn a_dropped_listener_fires_nothing_and_frees_its_port<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    registrator.register(&listener, 1, READABLE).unwrap();
    let _client = L::connect(&address);
    drop(listener);
    expect_no_events(&mut poll, &mut events);
    let listener = L::bind_at(&address).unwrap();
    registrator.register(&listener, 2, READABLE).unwrap();
    let _client = L::connect(&address);
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
}

// 5.7, 8: an accepted stream belongs to no Poll until it is registered.
fn one_listener_in_one_poll_and_its_streams_in_two_others<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for kind in 0..L::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (listener, address) = L::bind_of(kind);
        let mut others = [queue(), queue()];
        let mut streams = Vec::new();
        for (token, (_, other, _)) in others.iter().enumerate() {
            registrator.register(&listener, token, READABLE).unwrap();
            let client = L::connect(&address);
            expect_events(&mut poll, &mut events, &[(token, true, false)]);
            let (stream, _) = listener.accept().unwrap();
            other.register(&stream, token, READABLE).unwrap();
            streams.push((stream, client));
        }
        registrator.register(&listener, 2, READABLE).unwrap();
        for (_, client) in &mut streams {
            client.write_all(b"hello").unwrap();
        }
        for (token, (other, _, batch)) in others.iter_mut().enumerate() {
            expect_events(other, batch, &[(token, true, false)]);
            assert_eq!(streams[token].0.read(&mut [0; 16]).unwrap(), 5);
            expect_nothing_queued(other, batch);
        }
        expect_nothing_queued(&mut poll, &mut events);
        let error = registrator.register(&streams[0].0, 3, READABLE);
        assert_eq!(kind_of(error), ErrorKind::AlreadyExists);
        let _client = L::connect(&address);
        expect_events(&mut poll, &mut events, &[(2, true, false)]);
    }
}

// 3.2, 8: the accepted stream shows what the peer did before the accept.
fn a_client_that_left_before_the_accept_left_its_bytes_and_its_end<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    let mut client = L::connect(&address);
    client.write_all(b"bye").unwrap();
    drop(client);
    registrator.register(&listener, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 16];
    for (token, expected) in [(2, 3), (3, 0)] {
        registrator.register(&stream, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        assert_eq!(stream.read(&mut buffer).unwrap(), expected);
    }
}

/// Connects and resets, and then connects to stay.
fn one_that_resets_and_one_that_stays(address: SocketAddr) -> net::TcpStream {
    let client = net::TcpStream::connect(address).unwrap();
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    net::TcpStream::connect(address).unwrap()
}

// 3.2: some systems remove a connection from the backlog when it is reset. Others hand it out, and a read gives the
// error.
#[test]
fn a_client_that_reset_before_the_accept_does_not_stop_the_listener() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (mut other, other_registrator, _) = queue();
    let (listener, address) = bind("127.0.0.1:0");
    let client = one_that_resets_and_one_that_stays(address);
    for token in 0.. {
        registrator.register(&listener, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
        match listener.accept() {
            Ok((_, from)) if from == client.local_addr().unwrap() => return,
            Ok((reset, _)) => {
                other_registrator.register(&reset, 1, READABLE).unwrap();
                expect_events(&mut other, &mut events, &[(1, true, false)]);
                assert_eq!(kind_of(reset.read(&mut [0; 8])), ErrorKind::ConnectionReset);
            }
            // The connection was there when the event was made, and was reset before the accept.
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(token < 3, "two have connected");
    }
}

// 3.2: a random program has found this. A plain `accept` reports such a connection: with error 10057 under Wine 8, with
// an address that is none under Wine 10, with ECONNABORTED on FreeBSD.
#[test]
fn a_connection_that_was_reset_before_it_was_accepted_is_no_error() {
    let _watchdog = watchdog();
    for _ in 0..effort(10) {
        let (listener, address) = bind("127.0.0.1:0");
        let client = one_that_resets_and_one_that_stays(address);
        let staying = client.local_addr().unwrap();
        let first = accept(&listener).1;
        assert!(first == staying || accept(&listener).1 == staying);
    }
}

// 1: `bind` does as `std`, with SO_REUSEADDR on Unix only.
#[test]
fn a_port_that_is_listened_on_cannot_be_bound_again() {
    let (listener, address) = bind("127.0.0.1:0");
    assert_eq!(kind_of(TcpListener::bind(address)), ErrorKind::AddrInUse);
    let reuses = SockRef::from(&listener).reuse_address().unwrap();
    assert_eq!(reuses, cfg!(unix));
}

// 1: `bind` asks for the largest backlog that the system grants. `std` asks for 128.
#[cfg(target_os = "linux")]
#[test]
fn the_backlog_is_the_largest_that_the_system_grants() {
    let _watchdog = watchdog();
    let granted = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let granted: usize = granted.trim().parse().unwrap();
    for loopback in LOOPBACKS {
        let (listener, address) = bind(loopback);
        let clients: Vec<_> = (0..granted.min(400))
            .map(|_| net::TcpStream::connect_timeout(&address, common::HANG).unwrap())
            .collect();
        for _ in &clients {
            accept(&listener);
        }
    }
}

#[cfg(unix)]
fn is_only_v6(listener: &TcpListener) -> bool {
    SockRef::from(listener).only_v6().unwrap()
}

/// Once the socket is bound, Windows fills in only one byte of the four, and `socket2` 0.5 takes that for a mistake.
#[cfg(windows)]
fn is_only_v6(listener: &TcpListener) -> bool {
    use std::os::windows::io::AsRawSocket;
    use windows_sys::Win32::Networking::WinSock::{getsockopt, IPPROTO_IPV6, IPV6_V6ONLY};
    let socket = usize::try_from(listener.as_raw_socket()).unwrap();
    let mut value = [0_u8; 4];
    let mut length = 4;
    // SAFETY: the socket is open while it is borrowed, and the system may write four bytes.
    let result = unsafe {
        getsockopt(
            socket,
            IPPROTO_IPV6,
            IPV6_V6ONLY,
            value.as_mut_ptr(),
            &mut length,
        )
    };
    assert_eq!(result, 0);
    value[0] != 0
}

// 1, 3.7: other options are set with `socket2`, and `from_std` keeps them.
#[test]
fn a_listener_made_elsewhere_is_taken_over_with_its_options() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(true).unwrap();
    let any: SocketAddr = "[::]:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(16).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    assert!(is_only_v6(&listener));
    assert_eq!(kind_of(listener.accept()), ErrorKind::WouldBlock);
    let port = listener.local_addr().unwrap().port();
    registrator.register(&listener, 1, READABLE).unwrap();
    let _client = net::TcpStream::connect(("::1", port)).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    listener.accept().unwrap();
}

// 1: several listeners at one port.
#[cfg(unix)]
#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listeners: Vec<_> = (0..2)
        .map(|token| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.listen(16).unwrap();
            let listener = TcpListener::from_std(socket.into()).unwrap();
            address = listener.local_addr().unwrap();
            registrator.register(&listener, token, READABLE).unwrap();
            listener
        })
        .collect();
    for _ in 0..10 {
        let _client = net::TcpStream::connect(address).unwrap();
        assert_ne!(poll.poll(&mut events, Some(common::HANG)).unwrap(), 0);
        for event in &events {
            let listener = &listeners[event.id()];
            accept(listener);
            registrator
                .register(listener, event.id(), READABLE)
                .unwrap();
        }
    }
}

// 3.7
fn a_listener_given_back_to_std_works_and_fires_no_more<L: ListenerEnd>() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let (listener, address) = L::bind();
    registrator.register(&listener, 1, READABLE).unwrap();
    let client = L::connect(&address);
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    listener.await_accept();
    drop(client);
    let given_back = listener.into_std().unwrap();
    assert_eq!(kind_of(L::accept_plain(&given_back)), ErrorKind::WouldBlock);
    let client = L::connect(&address);
    L::set_nonblocking(&given_back, false);
    let from = L::accept_plain(&given_back).unwrap();
    assert_eq!(from, L::name(&client));
    expect_no_events(&mut poll, &mut events);
}

// 1
#[test]
fn options_and_addresses_are_those_of_std() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
    listener.set_ttl(42).unwrap();
    assert_eq!(listener.ttl().unwrap(), 42);
    assert!(listener.take_error().unwrap().is_none());
    let none: [SocketAddr; 0] = [];
    assert_eq!(
        kind_of(TcpListener::bind(&none[..])),
        ErrorKind::InvalidInput
    );
}

// 1
#[test]
fn an_accepted_stream_has_the_addresses_of_its_connection() {
    let _watchdog = watchdog();
    for loopback in LOOPBACKS {
        let (listener, address) = bind(loopback);
        let client = net::TcpStream::connect(address).unwrap();
        let (stream, from) = accept(&listener);
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(stream.peer_addr().unwrap(), from);
        assert_eq!(stream.local_addr().unwrap(), address);
        assert!(format!("{listener:?}").contains(&address.port().to_string()));
    }
}

// 1
fn listeners_can_be_sent_shared_and_shown<L: ListenerEnd>() {
    fn is_good<T: Send + Sync + Debug + 'static>(_: &T) {}
    let (listener, _address) = L::bind();
    is_good(&listener);
    assert!(!format!("{listener:?}").is_empty());
}

// 1
#[cfg(unix)]
#[test]
fn a_descriptor_is_lent_not_given() {
    use std::os::fd::{AsFd, AsRawFd};
    let (listener, _) = bind("127.0.0.1:0");
    assert_eq!(listener.as_fd().as_raw_fd(), listener.as_raw_fd());
}

// 2.6: accept is open to every thread.
fn several_threads_accept_from_one_listener<L: ListenerEnd>() {
    const THREADS: usize = 4;
    const EACH: usize = 25;
    let _watchdog = watchdog();
    let (listener, address) = L::bind();
    let accepted: Vec<L::Stream> = std::thread::scope(|scope| {
        let acceptors: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    (0..EACH)
                        .map(|_| listener.await_accept().0)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..THREADS * EACH {
            L::connect(&address);
        }
        acceptors
            .into_iter()
            .flat_map(|acceptor| acceptor.join().unwrap())
            .collect()
    });
    assert_eq!(accepted.len(), THREADS * EACH);
}

// 3.7: a listener with an armed interest can be given back, too. On Windows an accept is in flight then, which is
// cancelled without losing a client.
fn an_armed_listener_is_given_back_and_loses_no_client<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for kind in 0..L::KINDS {
        let (mut poll, registrator, mut events) = queue();
        let (listener, address) = L::bind_of(kind);
        registrator.register(&listener, 1, READABLE).unwrap();
        let listener = listener.into_std().unwrap();
        let client = L::connect(&address);
        let from = until_done(|| L::accept_plain(&listener)).unwrap();
        assert_eq!(from, L::name(&client));
        expect_no_events(&mut poll, &mut events);
    }
}

// 3.7: a client may come at any time, before the listener is given back or meanwhile.
fn a_listener_given_back_while_clients_come_loses_none<L: ListenerEnd>() {
    let _watchdog = watchdog();
    for _ in 0..effort(20) {
        let (mut poll, registrator, mut events) = queue();
        let (listener, address) = L::bind();
        registrator.register(&listener, 1, READABLE).unwrap();
        let client = std::thread::spawn(move || L::connect(&address));
        match listener.into_std() {
            Ok(listener) => {
                L::set_nonblocking(&listener, false);
                L::accept_plain(&listener).unwrap();
            }
            // The client has come already, and the listener holds its connection.
            Err(refused) => {
                assert_eq!(refused.error().kind(), ErrorKind::WouldBlock);
                let listener = refused.into_source();
                expect_events(&mut poll, &mut events, &[(1, true, false)]);
                listener.accept().unwrap();
                listener.into_std().unwrap();
            }
        }
        drop(client.join().unwrap());
    }
}

suite! {
    listeners {
        accept_without_a_poll_does_not_block,
        a_connection_is_an_event_and_the_first_accept_takes_it,
        an_accepted_stream_is_non_blocking,
        an_event_comes_for_a_connection_that_waits_already,
        one_accept_an_event_takes_every_connection,
        after_accepting_all_only_a_new_connection_is_an_event,
        a_connection_accepted_between_two_events_is_not_reported_again,
        a_listener_refuses_writable_and_stays_armed,
        a_deregistered_listener_is_silent_and_accepts,
        a_dropped_listener_fires_nothing_and_frees_its_port,
        one_listener_in_one_poll_and_its_streams_in_two_others,
        a_client_that_left_before_the_accept_left_its_bytes_and_its_end,
        a_listener_given_back_to_std_works_and_fires_no_more,
        listeners_can_be_sent_shared_and_shown,
        several_threads_accept_from_one_listener,
        an_armed_listener_is_given_back_and_loses_no_client,
        a_listener_given_back_while_clients_come_loses_none,
    }
}
