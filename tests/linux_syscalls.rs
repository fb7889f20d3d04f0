//! What things cost in system calls, exactly. The numbers are those of the contract, 6.3 and 6.4.

// One machine is enough to count on, and emulators of the others cannot trace.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

mod common;
mod trace;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{fill, fill_and_arm, pair, until_done, watchdog, HANG};
use minimio::os::unix::UnixStream;
use minimio::{pipe, Events, Interests, Poll, Registrator, TcpListener, TcpStream, UdpSocket};
use trace::{mark, no_peer, traced};

const READABLE: Interests = Interests::READABLE;
const WRITABLE: Interests = Interests::WRITABLE;

/// How many messages, wakes and the like are counted.
const N: usize = 300;
/// What comes before, until nothing happens for the first time any more.
const WARM_UP: usize = 20;
const MESSAGE: usize = 64;

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

/// Waits for one event of one token.
fn one_event(poll: &mut Poll, events: &mut Events, token: minimio::Token) {
    assert_eq!(poll.poll(events, None).unwrap(), 1);
    assert_eq!(events.iter().next().unwrap().id(), token);
}

/// Sends messages, each when the echo of the last has come.
fn talk(listener: net::TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut message = [7; MESSAGE];
    for _ in 0..WARM_UP + N {
        stream.write_all(&message).unwrap();
        stream.read_exact(&mut message).unwrap();
    }
    // Stays until the child has gone.
    drop(stream.read(&mut message));
}

/// Calls `one` for the warm-up and then, between the marks, `N` times.
fn count(mut one: impl FnMut(usize)) {
    (0..WARM_UP).for_each(&mut one);
    mark();
    (WARM_UP..WARM_UP + N).for_each(&mut one);
    mark();
}

/// An echo server with a buffer of `room` bytes, all on one thread.
fn echo_on_one_thread(address: SocketAddr, room: usize) {
    let (mut poll, registrator, mut events) = queue();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut buffer = vec![0; room];
    registrator.register(&stream, 1, READABLE).unwrap();
    count(|_| {
        one_event(&mut poll, &mut events, 1);
        assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
        registrator.register(&stream, 1, READABLE).unwrap();
        assert_eq!(stream.write(&buffer[..MESSAGE]).unwrap(), MESSAGE);
    });
}

// 6.3
#[test]
fn an_echo_costs_a_receive_a_send_and_a_wait() {
    let _watchdog = watchdog();
    let calls = traced(
        "an_echo_costs_a_receive_a_send_and_a_wait",
        |address| echo_on_one_thread(address, 4096),
        talk,
    );
    println!("{N} messages: {calls:?}");
    assert_eq!(calls.receives(), N);
    assert_eq!(calls.sends(), N);
    assert_eq!(calls.waits(), N);
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

// 6.3: the same when the message may come before the registration.
#[test]
fn an_echo_that_is_sent_before_the_registration_costs_no_more() {
    let _watchdog = watchdog();
    let calls = traced(
        "an_echo_that_is_sent_before_the_registration_costs_no_more",
        |address| {
            let (mut poll, registrator, mut events) = queue();
            let mut stream = TcpStream::connect(address).unwrap();
            let mut buffer = [0; 4096];
            registrator.register(&stream, 1, READABLE).unwrap();
            count(|_| {
                one_event(&mut poll, &mut events, 1);
                assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
                assert_eq!(stream.write(&buffer[..MESSAGE]).unwrap(), MESSAGE);
                registrator.register(&stream, 1, READABLE).unwrap();
            });
        },
        talk,
    );
    assert_eq!((calls.receives(), calls.sends()), (N, N));
    assert_eq!(calls.waits(), N);
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

// 6.3: vectored calls are as cheap.
#[test]
fn a_vectored_echo_costs_a_receive_a_send_and_a_wait() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_vectored_echo_costs_a_receive_a_send_and_a_wait",
        |address| {
            let (mut poll, registrator, mut events) = queue();
            let mut stream = TcpStream::connect(address).unwrap();
            let (mut first, mut second) = ([0; 32], [0; 4096]);
            registrator.register(&stream, 1, READABLE).unwrap();
            count(|_| {
                one_event(&mut poll, &mut events, 1);
                let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                assert_eq!(stream.read_vectored(&mut parts).unwrap(), MESSAGE);
                registrator.register(&stream, 1, READABLE).unwrap();
                let parts = [IoSlice::new(&first), IoSlice::new(&second[..32])];
                assert_eq!(stream.write_vectored(&parts).unwrap(), MESSAGE);
            });
        },
        talk,
    );
    assert_eq!(calls.vectored_sends(), N);
    assert_eq!(calls.waits(), N);
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

/// An echo server that polls on one thread and does all else on another.
fn echo_on_two_threads(address: SocketAddr, registers_before_it_sends: bool) {
    let (mut poll, registrator, _) = queue();
    let mut stream = TcpStream::connect(address).unwrap();
    registrator.register(&stream, 1, READABLE).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut events = Events::with_capacity(64);
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                assert!(event.is_readable());
                tell.send(()).unwrap();
            }
        }
    });
    let mut buffer = [0; 4096];
    count(|_| {
        told.recv_timeout(HANG).unwrap();
        assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
        if registers_before_it_sends {
            registrator.register(&stream, 1, READABLE).unwrap();
        }
        assert_eq!(stream.write(&buffer[..MESSAGE]).unwrap(), MESSAGE);
        if !registers_before_it_sends {
            registrator.register(&stream, 1, READABLE).unwrap();
        }
    });
}

// 6.3, 6.2
#[test]
fn an_echo_registered_by_another_thread_costs_at_most_a_poll_more() {
    let _watchdog = watchdog();
    let calls = traced(
        "an_echo_registered_by_another_thread_costs_at_most_a_poll_more",
        |address| echo_on_two_threads(address, true),
        talk,
    );
    println!("{N} messages: {calls:?}");
    assert_eq!((calls.receives(), calls.sends()), (N, N));
    assert!(calls.polls() <= N, "{calls:?}");
    assert_eq!(calls.epoll_ctls(), 0, "{calls:?}");
    // One wait may have begun before the first mark, or after the last message.
    assert!(calls.waits() <= N + 1, "{calls:?}");
}

// 6.3, 6.4: the next message may come, and be handled, before the registration: a wasted wake, and asking anew.
#[test]
fn an_echo_registered_late_by_another_thread_costs_at_most_a_wasted_wake_more() {
    let _watchdog = watchdog();
    let calls = traced(
        "an_echo_registered_late_by_another_thread_costs_at_most_a_wasted_wake_more",
        |address| echo_on_two_threads(address, false),
        talk,
    );
    println!("{N} messages: {calls:?}");
    assert_eq!((calls.receives(), calls.sends()), (N, N));
    assert!(calls.polls() <= N, "{calls:?}");
    assert!(calls.epoll_ctls() <= N, "{calls:?}");
    assert!(calls.waits() <= 2 * N + 1, "{calls:?}");
}

/// A pipe that is read with a large buffer, perhaps until it is empty. Its writer is in the same process: one `write` a round.
fn read_a_pipe(until_empty: bool) {
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    let mut buffer = [0; 4096];
    registrator.register(&reader, 1, READABLE).unwrap();
    count(|_| {
        assert_eq!(writer.write(&[7; MESSAGE]).unwrap(), MESSAGE);
        one_event(&mut poll, &mut events, 1);
        assert_eq!(reader.read(&mut buffer).unwrap(), MESSAGE);
        if until_empty {
            let error = reader.read(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        registrator.register(&reader, 1, READABLE).unwrap();
    });
}

// 6.3, 9.3: a short read proves nothing, so the first registration asks for the level, and the others need not ask.
#[test]
fn a_pipe_costs_a_read_and_a_wait() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_pipe_costs_a_read_and_a_wait",
        |_| read_a_pipe(false),
        no_peer,
    );
    assert_eq!((calls.waits(), calls.epoll_ctls()), (N, 0), "{calls:?}");
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

// 6.3, 9.3
#[test]
fn a_pipe_that_is_read_until_it_is_empty_costs_no_epoll_ctl() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_pipe_that_is_read_until_it_is_empty_costs_no_epoll_ctl",
        |_| read_a_pipe(true),
        no_peer,
    );
    assert_eq!(calls.waits(), N);
    assert_eq!(calls.all(), 4 * N, "{calls:?}");
}

// 6.3
#[test]
fn reads_that_fill_their_buffer_cost_no_epoll_ctl_but_the_first() {
    let _watchdog = watchdog();
    let calls = traced(
        "reads_that_fill_their_buffer_cost_no_epoll_ctl_but_the_first",
        |address| echo_on_one_thread(address, MESSAGE),
        talk,
    );
    assert_eq!((calls.receives(), calls.sends()), (N, N));
    assert_eq!((calls.waits(), calls.epoll_ctls()), (N, 0), "{calls:?}");
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

// 6.3, 9.2
#[test]
fn reads_of_a_unix_stream_that_fill_their_buffer_cost_no_epoll_ctl_but_the_first() {
    let _watchdog = watchdog();
    let calls = traced(
        "reads_of_a_unix_stream_that_fill_their_buffer_cost_no_epoll_ctl_but_the_first",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (mut stream, mut peer) = UnixStream::pair().unwrap();
            let mut buffer = [0; MESSAGE];
            registrator.register(&stream, 1, READABLE).unwrap();
            count(|_| {
                assert_eq!(peer.write(&[7; MESSAGE]).unwrap(), MESSAGE);
                one_event(&mut poll, &mut events, 1);
                assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
                registrator.register(&stream, 1, READABLE).unwrap();
            });
        },
        no_peer,
    );
    assert_eq!((calls.waits(), calls.epoll_ctls()), (N, 0), "{calls:?}");
    assert_eq!(calls.all(), 3 * N, "{calls:?}");
}

// 6.1: who reads until WouldBlock pays for that read, and for nothing else.
#[test]
fn reading_until_it_would_block_costs_one_receive_more() {
    let _watchdog = watchdog();
    let calls = traced(
        "reading_until_it_would_block_costs_one_receive_more",
        |address| {
            let (mut poll, registrator, mut events) = queue();
            let mut stream = TcpStream::connect(address).unwrap();
            let mut buffer = [0; MESSAGE];
            registrator.register(&stream, 1, READABLE).unwrap();
            count(|_| {
                one_event(&mut poll, &mut events, 1);
                assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
                let error = stream.read(&mut buffer).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                registrator.register(&stream, 1, READABLE).unwrap();
                assert_eq!(stream.write(&buffer).unwrap(), MESSAGE);
            });
        },
        talk,
    );
    assert_eq!((calls.receives(), calls.sends()), (2 * N, N));
    assert_eq!(calls.all(), 4 * N, "{calls:?}");
}

// 6.3
#[test]
fn a_datagram_costs_one_epoll_ctl_unless_the_next_receive_would_block() {
    fn receive(to_the_end: bool) {
        let (mut poll, registrator, mut events) = queue();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        registrator.register(&socket, 1, READABLE).unwrap();
        let mut buffer = [0; 4096];
        count(|_| {
            peer.send(&[7; MESSAGE]).unwrap();
            one_event(&mut poll, &mut events, 1);
            assert_eq!(socket.recv_from(&mut buffer).unwrap().0, MESSAGE);
            assert!(!to_the_end || socket.recv_from(&mut buffer).is_err());
            registrator.register(&socket, 1, READABLE).unwrap();
        });
    }
    let _watchdog = watchdog();
    let calls = traced(
        "a_datagram_costs_one_epoll_ctl_unless_the_next_receive_would_block",
        |_| {
            receive(true);
            receive(false);
        },
        no_peer,
    );
    // N datagrams read to the end, and N of which one was taken at a time.
    assert_eq!((calls.waits(), calls.epoll_ctls()), (2 * N, N), "{calls:?}");
    assert_eq!((calls.receives(), calls.sends()), (3 * N, 2 * N));
}

// 6.3
#[test]
fn an_accept_costs_one_epoll_ctl_unless_the_next_would_block() {
    fn accept(to_the_end: bool) {
        let (mut poll, registrator, mut events) = queue();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        count(|_| {
            let _client = net::TcpStream::connect(address).unwrap();
            one_event(&mut poll, &mut events, 1);
            listener.accept().unwrap();
            assert!(!to_the_end || listener.accept().is_err());
            registrator.register(&listener, 1, READABLE).unwrap();
        });
    }
    let _watchdog = watchdog();
    let calls = traced(
        "an_accept_costs_one_epoll_ctl_unless_the_next_would_block",
        |_| {
            accept(true);
            accept(false);
        },
        no_peer,
    );
    assert_eq!((calls.waits(), calls.epoll_ctls()), (2 * N, N), "{calls:?}");
}

// 2.2, 6.1
#[test]
fn registering_an_armed_interest_again_costs_nothing() {
    let _watchdog = watchdog();
    let calls = traced(
        "registering_an_armed_interest_again_costs_nothing",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (stream, mut peer) = pair();
            fill(&stream);
            registrator
                .register(&stream, 0, READABLE | WRITABLE)
                .unwrap();
            count(|token| registrator.register(&stream, token, READABLE).unwrap());
            peer.write_all(b"x").unwrap();
            one_event(&mut poll, &mut events, WARM_UP + N - 1);
        },
        no_peer,
    );
    assert_eq!(calls.all(), 0, "{calls:?}");
}

// 2.5: what the kernel owes stays owed.
#[test]
fn deregistering_and_registering_an_idle_stream_costs_nothing() {
    let _watchdog = watchdog();
    let calls = traced(
        "deregistering_and_registering_an_idle_stream_costs_nothing",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (stream, mut peer) = pair();
            registrator.register(&stream, 0, READABLE).unwrap();
            count(|token| {
                registrator.deregister(&stream).unwrap();
                registrator.register(&stream, token, READABLE).unwrap();
            });
            peer.write_all(b"x").unwrap();
            one_event(&mut poll, &mut events, WARM_UP + N - 1);
        },
        no_peer,
    );
    assert_eq!(calls.all(), 0, "{calls:?}");
}

// 3.3
#[test]
fn an_empty_buffer_costs_nothing() {
    let _watchdog = watchdog();
    let calls = traced(
        "an_empty_buffer_costs_nothing",
        |_| {
            let (mut stream, _peer) = pair();
            count(|_| {
                assert_eq!(stream.read(&mut []).unwrap(), 0);
                assert_eq!(stream.peek(&mut []).unwrap(), 0);
                assert_eq!(stream.write(&[]).unwrap(), 0);
                let mut empty = [IoSliceMut::new(&mut [])];
                assert_eq!(stream.read_vectored(&mut empty).unwrap(), 0);
                assert_eq!(stream.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
                stream.flush().unwrap();
            });
        },
        no_peer,
    );
    assert_eq!(calls.all(), 0, "{calls:?}");
}

// 4.3
#[test]
fn a_wake_costs_a_write_and_its_wait() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_wake_costs_a_write_and_its_wait",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            count(|token| {
                registrator.wake(token).unwrap();
                one_event(&mut poll, &mut events, token);
            });
        },
        no_peer,
    );
    println!("{N} wakes: {calls:?}");
    assert_eq!((calls.writes(), calls.waits()), (N, N));
    assert_eq!(calls.all(), 2 * N, "{calls:?}");
}

// 4.3
#[test]
fn wakes_that_are_on_their_way_together_cost_one_write() {
    let _watchdog = watchdog();
    let calls = traced(
        "wakes_that_are_on_their_way_together_cost_one_write",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            count(|_| {
                for token in 0..10 {
                    registrator.wake(token).unwrap();
                }
                assert_eq!(poll.poll(&mut events, None).unwrap(), 10);
            });
        },
        no_peer,
    );
    assert_eq!((calls.writes(), calls.waits()), (N, N), "{calls:?}");
    // The set of tokens may ask for memory, and for nothing else.
    assert!(calls.all() <= 2 * N + 10, "{calls:?}");
}

/// Polls without waiting and finds nothing.
fn nothing(poll: &mut Poll, events: &mut Events) {
    assert_eq!(poll.poll(events, Some(Duration::ZERO)).unwrap(), 0);
}

// 6.4: two wasted in a row, and no more.
#[test]
fn a_peer_that_floods_an_unarmed_stream_wakes_twice() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_peer_that_floods_an_unarmed_stream_wakes_twice",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (mut stream, mut peer) = pair();
            registrator.register(&stream, 1, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
            one_event(&mut poll, &mut events, 1);
            mark();
            for _ in 0..N {
                peer.write_all(b"x").unwrap();
                nothing(&mut poll, &mut events);
            }
            mark();
            // Nothing is lost by the silence. (TCP may have held the last bytes back for want of an acknowledgement.)
            let mut received = 0;
            while received < N + 1 {
                registrator.register(&stream, 2, READABLE).unwrap();
                one_event(&mut poll, &mut events, 2);
                received += stream.read(&mut [0; 4096]).unwrap();
            }
            registrator.register(&stream, 3, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
            one_event(&mut poll, &mut events, 3);
        },
        no_peer,
    );
    println!("{N} unwanted messages: {calls:?}");
    assert!(calls.fruitful_waits() <= 2, "{calls:?}");
    assert!(calls.epoll_ctls() <= 1, "{calls:?}");
}

// 6.4: the kernel was asked for the level, since a read had filled its buffer. The bytes stay unread.
#[test]
fn bytes_that_nobody_waits_for_wake_once() {
    let _watchdog = watchdog();
    let calls = traced(
        "bytes_that_nobody_waits_for_wake_once",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (mut stream, mut peer) = pair();
            for _ in 0..3 {
                registrator.register(&stream, 1, READABLE).unwrap();
                peer.write_all(b"x").unwrap();
                one_event(&mut poll, &mut events, 1);
                assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
            }
            registrator.register(&stream, 1, READABLE).unwrap();
            peer.write_all(b"xx").unwrap();
            one_event(&mut poll, &mut events, 1);
            mark();
            for _ in 0..N {
                nothing(&mut poll, &mut events);
            }
            mark();
            for _ in 0..2 {
                registrator.register(&stream, 2, READABLE).unwrap();
                one_event(&mut poll, &mut events, 2);
                assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
            }
            registrator.register(&stream, 2, READABLE).unwrap();
            nothing(&mut poll, &mut events);
        },
        no_peer,
    );
    assert!(calls.fruitful_waits() <= 1, "{calls:?}");
    assert_eq!(calls.epoll_ctls(), 1, "{calls:?}");
}

// 6.4: what is armed is still asked for.
#[test]
fn a_flood_does_not_silence_the_other_direction() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_flood_does_not_silence_the_other_direction",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (stream, mut peer) = pair();
            registrator.register(&stream, 1, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
            one_event(&mut poll, &mut events, 1);
            let mut unread = fill_and_arm(&mut poll, &mut events, &stream, 2);
            mark();
            for _ in 0..N {
                peer.write_all(b"x").unwrap();
                nothing(&mut poll, &mut events);
            }
            mark();
            let mut buffer = vec![0; 64 << 10];
            while unread > 0 {
                unread -= peer.read(&mut buffer).unwrap();
            }
            one_event(&mut poll, &mut events, 2);
            assert!(events.iter().next().unwrap().is_writable());
        },
        no_peer,
    );
    assert!(calls.fruitful_waits() <= 3, "{calls:?}");
    assert!(calls.epoll_ctls() <= 2, "{calls:?}");
}

// 6.4
#[test]
fn a_flood_of_datagrams_to_an_unarmed_socket_wakes_twice() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_flood_of_datagrams_to_an_unarmed_socket_wakes_twice",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let peer = net::UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.connect(socket.local_addr().unwrap()).unwrap();
            registrator.register(&socket, 1, READABLE).unwrap();
            peer.send(b"x").unwrap();
            one_event(&mut poll, &mut events, 1);
            mark();
            for _ in 0..N {
                peer.send(b"x").unwrap();
                nothing(&mut poll, &mut events);
            }
            mark();
            registrator.register(&socket, 2, READABLE).unwrap();
            one_event(&mut poll, &mut events, 2);
        },
        no_peer,
    );
    assert!(calls.fruitful_waits() <= 2, "{calls:?}");
    assert!(calls.epoll_ctls() <= 1, "{calls:?}");
}

// 6.4: the kernel has an edge for every datagram that it has sent.
#[test]
fn sending_datagrams_wakes_at_most_once() {
    let _watchdog = watchdog();
    let calls = traced(
        "sending_datagrams_wakes_at_most_once",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let peer = net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(peer.local_addr().unwrap()).unwrap();
            registrator
                .register(&socket, 1, READABLE | WRITABLE)
                .unwrap();
            one_event(&mut poll, &mut events, 1);
            mark();
            for _ in 0..N {
                socket.send(b"x").unwrap();
                peer.recv(&mut [0; 4]).unwrap();
                nothing(&mut poll, &mut events);
            }
            mark();
        },
        no_peer,
    );
    assert!(calls.fruitful_waits() <= 1, "{calls:?}");
    assert!(calls.epoll_ctls() <= 1, "{calls:?}");
}

// 6.3: a stream that is filled again and again asks the kernel once.
#[test]
fn a_stream_that_is_full_waits_for_room_at_no_cost() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_stream_that_is_full_waits_for_room_at_no_cost",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let (mut stream, mut peer) = pair();
            let mut buffer = vec![0; 64 << 10];
            let mut round = |counts: bool| {
                let mut unread = fill(&stream);
                if counts {
                    mark();
                }
                let full = until_full(&mut stream);
                registrator.register(&stream, 1, WRITABLE).unwrap();
                if counts {
                    mark();
                }
                unread += full;
                while unread > 0 {
                    unread -= peer.read(&mut buffer).unwrap();
                }
                one_event(&mut poll, &mut events, 1);
            };
            round(false);
            (0..5).for_each(|_| round(true));
        },
        no_peer,
    );
    assert_eq!(calls.epoll_ctls(), 0, "{calls:?}");
    assert_eq!(calls.all(), calls.sends(), "{calls:?}");
}

/// Writes until it would block, and returns what was taken.
fn until_full(stream: &mut TcpStream) -> usize {
    let mut written = 0;
    while let Ok(count) = stream.write(&[7; 1024]) {
        written += count;
    }
    written
}

// 3.1: a connect, too, costs what its calls cost.
#[test]
fn a_connect_that_does_not_block_costs_a_registration_and_a_wait() {
    let _watchdog = watchdog();
    let calls = traced(
        "a_connect_that_does_not_block_costs_a_registration_and_a_wait",
        |_| {
            let (mut poll, registrator, mut events) = queue();
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // The table of sources, and the allocator, have room after this.
            let other = TcpStream::connect_nonblocking(address).unwrap();
            registrator.register(&other, 1, WRITABLE).unwrap();
            one_event(&mut poll, &mut events, 1);
            drop(other);
            mark();
            let stream = TcpStream::connect_nonblocking(address).unwrap();
            registrator.register(&stream, 1, WRITABLE).unwrap();
            one_event(&mut poll, &mut events, 1);
            mark();
            until_done(|| stream.take_error()).unwrap();
        },
        no_peer,
    );
    // socket, connect, epoll_ctl, the wait.
    assert_eq!((calls.epoll_ctls(), calls.waits()), (1, 1));
    assert_eq!(calls.all(), 4, "{calls:?}");
}
