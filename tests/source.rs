//! `Source`: what can be registered, by which pointers, and what threads may do with it.
//!
//! Contract: docs/contract.md, 1.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Debug;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use common::ends::{suite, DatagramEnd, Family, ListenerEnd, StreamEnd};
use common::{expect_events, expect_no_events, watchdog, READABLE, WRITABLE};
use minimio::{
    Event, Events, Interests, IntoStdError, Poll, Registrator, Selector, Source, TcpListener,
    TcpStream, Token, UdpSocket,
};

const fn send_sync_debug<T: Send + Sync + Debug>() {}
const fn is_source<T: Source + ?Sized>() {}
const fn is_static<T: 'static>() {}

// 1: everything can be shared between threads, moved to another thread, and printed.
const _: () = {
    send_sync_debug::<Poll>();
    send_sync_debug::<Selector>();
    send_sync_debug::<Registrator>();
    send_sync_debug::<Events>();
    send_sync_debug::<Event>();
    send_sync_debug::<Interests>();
    send_sync_debug::<Token>();
    send_sync_debug::<TcpStream>();
    send_sync_debug::<TcpListener>();
    send_sync_debug::<UdpSocket>();
    send_sync_debug::<IntoStdError<TcpStream>>();
    send_sync_debug::<IntoStdError<TcpListener>>();
    send_sync_debug::<IntoStdError<UdpSocket>>();
    is_static::<Registrator>();
    is_static::<TcpStream>();
};

// 1: which types are copied and cloned.
const _: () = {
    const fn is_copy<T: Copy + Eq>() {}
    const fn is_clone<T: Clone>() {}
    is_copy::<Event>();
    is_copy::<Interests>();
    is_copy::<Token>();
    is_clone::<Registrator>();
};

// 1: a pointer to a source is a source, also through several pointers.
const _: () = {
    is_source::<TcpStream>();
    is_source::<TcpListener>();
    is_source::<UdpSocket>();
    is_source::<&TcpStream>();
    is_source::<&&UdpSocket>();
    is_source::<Box<TcpListener>>();
    is_source::<Arc<TcpStream>>();
    is_source::<Arc<Box<&UdpSocket>>>();
    is_source::<dyn Source>();
    is_source::<Box<dyn Source>>();
    is_source::<Arc<dyn Source + Send + Sync>>();
    is_source::<&dyn Source>();
};

// 1: reading and writing through a shared reference, as `std` streams do.
const _: () = {
    const fn reads_and_writes<T: Read + Write>() {}
    reads_and_writes::<TcpStream>();
    reads_and_writes::<&TcpStream>();
};

// 1: the signatures of the public items. If one changes, this does not compile.
const _: () = {
    use std::io::Result;
    use std::task::Waker;
    use std::time::Duration;

    let _: fn() -> Result<Poll> = Poll::new;
    let _: fn(usize) -> Result<Poll> = Poll::with_lent_limit;
    let _: fn(&Poll) -> Registrator = Poll::registrator;
    let _: fn(&mut Poll, &mut Events, Option<Duration>) -> Result<usize> = Poll::poll;
    let _: fn() -> Result<Selector> = Selector::new;
    let _: fn(&Selector) -> Registrator = Selector::registrator;
    let _: fn(&mut Selector, &mut Events, Option<Duration>) -> Result<usize> = Selector::select;
    let _: fn(&Registrator, &TcpStream, Token, Interests) -> Result<()> =
        Registrator::register::<TcpStream>;
    let _: fn(&Registrator, &(dyn Source + 'static), Token, Interests) -> Result<()> =
        Registrator::register::<dyn Source>;
    let _: fn(&Registrator, &UdpSocket) -> Result<()> = Registrator::deregister::<UdpSocket>;
    let _: fn(&Registrator, Token) -> Result<()> = Registrator::wake;
    let _: fn(&Registrator, Token) -> Waker = Registrator::waker;
    let _: fn(&Registrator) -> Result<()> = Registrator::close_loop;
    let _: fn(&Registrator) -> bool = Registrator::is_closed;
    let _: fn(&Registrator) -> usize = Registrator::lent_bytes;
    let _: fn(&std::io::Error) -> bool = minimio::is_closed;
};

/// Registers through `source`, which must point to `stream`, and waits for the event. Then it deregisters through
/// `source`.
fn registers_through<S: Source + ?Sized>(source: &S) {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    poll.registrator().register(source, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    poll.registrator().register(source, 2, WRITABLE).unwrap();
    poll.registrator().deregister(source).unwrap();
    expect_no_events(&mut poll, &mut events);
}

// 1
fn a_source_is_registered_through_references<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    registers_through(&&&stream);
}

// 1
fn a_source_is_registered_through_a_box<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    registers_through(&Box::new(stream));
}

// 1
fn a_source_is_registered_through_an_arc<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    registers_through(&Arc::new(stream));
}

// 1
fn a_source_is_registered_as_a_trait_object<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    let object: &dyn Source = &stream;
    registers_through(object);
}

// 1
fn a_source_is_registered_as_an_owned_trait_object<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    let object: Box<dyn Source> = Box::new(Arc::new(stream));
    registers_through(&object);
}

// 1
fn a_source_in_an_rc_is_registered_by_dereferencing<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (stream, _peer) = S::pair();
    registers_through(&*Rc::new(stream));
}

// 1
fn a_mutable_reference_coerces_to_what_register_takes<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut stream, mut peer) = S::pair();
    let stream: &mut S = &mut stream;
    peer.write_all(b"x").unwrap();
    poll.registrator().register(stream, 1, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    poll.registrator().deregister(stream).unwrap();
}

// 1
fn all_pointers_to_one_source_mean_that_source<S: StreamEnd>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = S::pair();
    let one = Arc::new(stream);
    let two: Arc<dyn Source + Send + Sync> = Arc::<S>::clone(&one);
    let registrator = poll.registrator();
    registrator.register(&one, 1, READABLE).unwrap();
    registrator.register(&*one, 2, READABLE).unwrap();
    registrator.register(&two, 3, READABLE).unwrap();
    peer.write_all(b"x").unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    expect_no_events(&mut poll, &mut events);
}

// 1
fn sources_of_different_kinds_live_in_one_collection<F: Family>() {
    let _watchdog = watchdog();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (stream, mut peer) = F::Stream::pair();
    let socket = F::Datagram::bind();
    let own = socket.address();
    socket.send_to(b"x", &own).unwrap();
    peer.write_all(b"x").unwrap();
    let sources: [Box<dyn Source + Send + Sync>; 2] = [Box::new(stream), Box::new(socket)];
    for (token, source) in sources.iter().enumerate() {
        poll.registrator()
            .register(source, token, READABLE)
            .unwrap();
    }
    expect_events(
        &mut poll,
        &mut events,
        &[(0, true, false), (1, true, false)],
    );
}

// 1
fn sources_can_be_printed_for_debugging<F: Family>() {
    let (stream, _peer) = F::Stream::pair();
    let (listener, _address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    assert!(!format!("{stream:?} {listener:?} {socket:?}").is_empty());
    let object: &dyn Source = &stream;
    assert!(!format!("{object:?}").is_empty());
}

/// Which tests a source is kept from is written in one table. A row that names no test, or names one twice, is a
/// mistake. (Where the tests run elsewhere than they are built, their source is not there.)
#[cfg(target_os = "linux")]
#[test]
fn each_exclusion_names_a_test_of_the_suite() {
    use std::collections::HashSet;

    let mut seen = HashSet::new();
    for row in common::ends::EXCLUDED {
        assert!(!row.reason.is_empty());
        for test in row.tests {
            assert!(
                seen.insert((row.source, *test)),
                "{test} stands there twice"
            );
            let (file, name) = test.split_once("::").unwrap();
            let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let (_, list) = text
                .split_once("\nsuite! {")
                .expect("the file is not of the suite");
            let is_listed = list.lines().any(|line| line.trim() == format!("{name},"));
            assert!(is_listed, "{test} is not in the list of its file");
        }
    }
}

suite! {
    reading {
        a_mutable_reference_coerces_to_what_register_takes,
        all_pointers_to_one_source_mean_that_source,
    }
    writing {
        a_source_is_registered_through_references,
        a_source_is_registered_through_a_box,
        a_source_is_registered_through_an_arc,
        a_source_is_registered_as_a_trait_object,
        a_source_is_registered_as_an_owned_trait_object,
        a_source_in_an_rc_is_registered_by_dereferencing,
    }
    families {
        sources_of_different_kinds_live_in_one_collection,
        sources_can_be_printed_for_debugging,
    }
}
