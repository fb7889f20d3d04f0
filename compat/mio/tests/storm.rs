//! Sources come and go on several threads while another one polls.

mod common;

use std::io::{Read, Write};
use std::net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{any_port, pair, watchdog, Loop, R, RW};
use mio::net::{TcpListener, UdpSocket};
use mio::{Registry, Token, Waker};

const THREADS: usize = 4;
const ROUNDS: usize = 150;

fn one(registry: &Registry, round: usize) {
    let token = Token(round);
    let (mut stream, mut peer) = pair();
    registry.register(&mut stream, token, RW).unwrap();
    peer.write_all(b"word").unwrap();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    registry.register(&mut listener, token, RW).unwrap();
    let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    registry.register(&mut socket, token, RW).unwrap();
    let address = socket.local_addr().unwrap();
    socket.send_to(b"word", address).unwrap();
    drop(stream.read(&mut [0; 2]));
    drop(stream.write(b"back"));
    match round % 4 {
        0 => {
            registry.reregister(&mut stream, token, R).unwrap();
            registry.reregister(&mut socket, token, R).unwrap();
        }
        1 => {
            registry.deregister(&mut stream).unwrap();
            registry.deregister(&mut listener).unwrap();
            registry.deregister(&mut socket).unwrap();
        }
        2 => {
            drop(net::TcpStream::from(stream));
            drop(net::TcpListener::from(listener));
            drop(net::UdpSocket::from(socket));
            return;
        }
        _ => drop(client),
    }
    drop(listener.accept());
    drop(socket.recv_from(&mut [0; 8]));
}

#[test]
fn sources_come_and_go_while_a_poll_waits() {
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let waker = Arc::new(Waker::new(looping.registry(), Token(usize::MAX)).unwrap());
    let ended = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let registry = looping.registry().try_clone().unwrap();
            let (waker, ended) = (Arc::clone(&waker), Arc::clone(&ended));
            thread::spawn(move || {
                (0..ROUNDS).for_each(|round| one(&registry, round));
                ended.fetch_add(1, Ordering::SeqCst);
                waker.wake().unwrap();
            })
        })
        .collect();
    while ended.load(Ordering::SeqCst) < THREADS {
        let timeout = Some(Duration::from_secs(1));
        looping.poll.poll(&mut looping.events, timeout).unwrap();
        for event in &looping.events {
            assert!(event.token().0 < ROUNDS || event.is_readable());
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    // All sources are gone, so nothing is told but wakes.
    let rest = looping.rest();
    assert!(
        rest.iter().all(|event| event.token() == Token(usize::MAX)),
        "{rest:?}"
    );
}

// As a runtime with several threads does: one polls, and another one reads what it is told of until nothing is left.
#[test]
fn a_thread_that_reads_beside_the_one_that_polls_misses_nothing() {
    const STREAMS: usize = 8;
    const ROUNDS: usize = 1000;
    let size = |round: usize| 1 + round * 7 % 40;
    let bytes: usize = (0..ROUNDS).map(size).sum();
    let _watchdog = watchdog();
    let mut looping = Loop::new();
    let (mut streams, mut peers) = (Vec::new(), Vec::new());
    for token in 0..STREAMS {
        let (mut stream, peer) = pair();
        looping.register(&mut stream, token, RW);
        streams.push(stream);
        peers.push(peer);
    }
    let waker = Waker::new(looping.registry(), Token(usize::MAX)).unwrap();
    let writing = thread::spawn(move || {
        for round in 0..ROUNDS {
            for peer in &mut peers {
                peer.write_all(&vec![1; size(round)]).unwrap();
            }
        }
    });
    let (told, tells) = std::sync::mpsc::channel::<usize>();
    let reading = thread::spawn(move || {
        let mut open = STREAMS;
        let mut came = [0; STREAMS];
        let mut ended = [false; STREAMS];
        while open > 0 {
            let token = tells.recv().unwrap();
            if ended[token] {
                continue;
            }
            let (more, end) = common::drain(&streams[token]);
            came[token] += more.len();
            ended[token] = end;
            open -= usize::from(end);
        }
        assert_eq!(came, [bytes; STREAMS]);
        waker.wake().unwrap();
        // A wake is told as long as its waker is there.
        (streams, waker)
    });
    loop {
        looping.poll.poll(&mut looping.events, None).unwrap();
        for event in &looping.events {
            if event.token() == Token(usize::MAX) {
                writing.join().unwrap();
                reading.join().unwrap();
                return;
            }
            if event.is_readable() {
                // The reader may be done already.
                let _ = told.send(event.token().0);
            }
        }
    }
}
