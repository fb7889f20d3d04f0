//! What is particular to Unix sockets. That they keep the contract of all streams, listeners and datagrams is the common
//! suite's to test.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{expect_events, expect_no_events, watchdog, READABLE, WRITABLE};
use minimio::os::unix::{UnixDatagram, UnixListener, UnixStream};
use minimio::{Events, Poll};

/// A path that nobody else uses, whose file goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("minimio-{}-{number}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn queue() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(16))
}

#[test]
fn a_listener_accepts_a_stream_that_echoes() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let place = Place::new();
    let listener = UnixListener::bind(&place.0).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().as_pathname(),
        Some(&*place.0)
    );
    registrator.register(&listener, 1, READABLE).unwrap();
    let mut client = UnixStream::connect(&place.0).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    let (mut stream, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    registrator.register(&stream, 2, READABLE).unwrap();
    client.write_all(b"hello").unwrap();
    expect_events(&mut poll, &mut events, &[(2, true, false)]);
    let mut buffer = [0; 16];
    assert_eq!(stream.read(&mut buffer).unwrap(), 5);
    registrator
        .register(&client, 3, READABLE | WRITABLE)
        .unwrap();
    expect_events(&mut poll, &mut events, &[(3, false, true)]);
    stream.write_all(&buffer[..5]).unwrap();
    expect_events(&mut poll, &mut events, &[(3, true, false)]);
    assert_eq!(client.read(&mut buffer).unwrap(), 5);
    assert_eq!(
        client.read(&mut buffer).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_datagram_comes_whole() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = queue();
    let registrator = poll.registrator();
    let (here, there) = (Place::new(), Place::new());
    let near = UnixDatagram::bind(&here.0).unwrap();
    let far = UnixDatagram::bind(&there.0).unwrap();
    registrator.register(&near, 1, READABLE).unwrap();
    for bytes in [&b"hello"[..], b""] {
        assert_eq!(far.send_to(bytes, &here.0).unwrap(), bytes.len());
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        let (count, from) = near.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(count, bytes.len());
        assert_eq!(from.as_pathname(), Some(&*there.0));
        registrator.register(&near, 1, READABLE).unwrap();
        expect_no_events(&mut poll, &mut events);
    }
}
