//! Several threads use one queue. What one thread does takes effect at once on a poll in which another is blocked. No
//! interleaving loses an event, doubles one, or makes a false one.
//!
//! Contract: docs/contract.md, 2.1, 2.2, 2.3, 2.5, 2.6, 2.7, 3.1, 3.2, 6.1, 6.2, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::ends::{share, suite, DatagramEnd, Family, ListenerEnd, Peer, StreamEnd};
use common::{
    await_bytes, expect_events, expect_no_events, expect_nothing_queued, fill, let_it_block,
    read_some, said, under_wine, until_done, watchdog, Said, BOTH, HANG, READABLE, WRITABLE,
};
use minimio::{is_closed, Events, Poll, Registrator, Token};

fn poll_and_events() -> (Poll, Events) {
    (Poll::new().unwrap(), Events::with_capacity(64))
}

// 2.6
fn registering_a_ready_stream_ends_a_poll_that_is_blocked<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"x").unwrap();
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.register(&stream, 1, READABLE).unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert_eq!(said(&events), [Said::Readable(1)]);
}

// 2.6
fn registering_again_ends_a_blocked_poll_when_the_bytes_were_left<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    peer.write_all(b"left").unwrap();
    let registrator = poll.registrator();
    registrator.register(&stream, 0, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(0, true, false)]);
    for token in 1..10 {
        thread::scope(|scope| {
            scope.spawn(|| {
                if token % 2 == 0 {
                    let_it_block();
                }
                registrator.register(&stream, token, READABLE).unwrap();
            });
            assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        });
        assert_eq!(said(&events), [Said::Readable(token)]);
    }
}

// 2.6
fn a_stream_registered_while_a_poll_is_blocked_yields_its_event_when_bytes_come<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.register(&stream, 1, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert_eq!(said(&events), [Said::Readable(1)]);
}

// 2.6
fn every_kind_of_source_can_be_registered_while_a_poll_is_blocked<F: Family>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (listener, address) = F::Listener::bind();
    let socket = F::Datagram::bind();
    let _client = F::Listener::connect(&address);
    let registrator = poll.registrator();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.register(&listener, 1, READABLE).unwrap();
            registrator.register(&socket, 2, WRITABLE).unwrap();
        });
        expect_events(
            &mut poll,
            &mut events,
            &[(1, true, false), (2, false, true)],
        );
    });
}

// 2.2, 2.6
fn a_token_replaced_while_a_poll_is_blocked_is_the_one_that_comes<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, READABLE).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            registrator.register(&stream, 2, READABLE).unwrap();
            peer.write_all(b"x").unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert_eq!(said(&events), [Said::Readable(2)]);
    expect_no_events(&mut poll, &mut events);
}

// 2.6, 3.1
fn a_thread_reads_and_writes_while_another_is_blocked_in_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    registrator.register(&stream, 1, WRITABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(1, false, true)]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let_it_block();
            for _ in 0..100 {
                peer.write_all(b"ping").unwrap();
                await_bytes(&stream, 4);
                let mut buffer = [0; 8];
                assert_eq!(stream.read(&mut buffer).unwrap(), 4);
                // As in `reply`.
                assert_eq!(until_done(|| stream.write(&buffer[..4])).unwrap(), 4);
                peer.read_exact(&mut buffer[..4]).unwrap();
            }
            registrator.wake(2).unwrap();
        });
        assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    });
    assert_eq!(said(&events), [Said::Wake(2)]);
}

// 2.1, 2.6
fn one_thread_reads_and_another_writes_one_stream_by_its_events<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let total = S::effort(1 << 20);
    let registrator = poll.registrator();
    let (to_reader, for_reader) = mpsc::channel();
    let (to_writer, for_writer) = mpsc::channel();
    thread::scope(|scope| {
        let (stream, registrator) = (&stream, &registrator);
        scope.spawn(|| echo_to_the_end(&mut peer));
        scope.spawn(move || {
            let mut sent = 0;
            while sent < total {
                registrator.register(stream, 2, WRITABLE).unwrap();
                receive(&for_writer);
                let chunk: Vec<u8> = (sent..total.min(sent + 3_000)).map(byte_at).collect();
                let writer = stream;
                sent += writer.write(&chunk).unwrap();
            }
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let reader = scope.spawn(move || {
            let mut received = 0;
            let mut buffer = [0; 1_700];
            loop {
                registrator.register(stream, 1, READABLE).unwrap();
                receive(&for_reader);
                let reader = stream;
                let count = reader.read(&mut buffer).unwrap();
                if count == 0 {
                    return received;
                }
                for (at, byte) in buffer[..count].iter().enumerate() {
                    assert_eq!(*byte, byte_at(received + at));
                }
                received += count;
            }
        });
        // If a thread fails, the peer is not to wait for more.
        let _end = EndOnDrop::<S> {
            registrator: registrator.clone(),
            stream,
        };
        while !reader.is_finished() {
            // The time-out lets this thread notice the end.
            poll.poll(&mut events, Some(Duration::from_millis(20)))
                .unwrap();
            for one in said(&events) {
                match one {
                    Said::Readable(1) => to_reader.send(1).unwrap(),
                    Said::Writable(2) => to_writer.send(2).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(reader.join().unwrap(), total);
    });
}

fn byte_at(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

fn receive(events: &Receiver<Token>) -> Token {
    events.recv_timeout(HANG).unwrap()
}

fn echo_to_the_end<P: Peer>(peer: &mut P) {
    let mut buffer = [0; 4_096];
    loop {
        match peer.read(&mut buffer).unwrap() {
            0 => break,
            count => peer.write_all(&buffer[..count]).unwrap(),
        }
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

/// Waits for the end of threads that have registered something. (The end of a scope waits only for their functions.
/// Wine 8 loses the bytes that come to a pipe while the thread that has begun the read is ending: the packet says 0
/// bytes. Windows lets such a read go on.)
fn join_all(threads: Vec<thread::ScopedJoinHandle<'_, ()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

// 2.2, 2.6, 8
fn eight_threads_register_shared_quiet_streams_at_once_and_each_yields_one_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let mut pairs: Vec<_> = (0..4).map(|_| S::pair()).collect();
    let streams = pairs.len();
    for _ in 0..S::effort(30) {
        let start = Barrier::new(8);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for thread in 0..8 {
                let registrator = poll.registrator();
                let (start, pairs) = (&start, &pairs);
                threads.push(scope.spawn(move || {
                    start.wait();
                    for round in 0..20 {
                        let which = (thread + round) % streams;
                        registrator
                            .register(&pairs[which].0, which * 8 + thread, READABLE)
                            .unwrap();
                    }
                }));
            }
            // No event comes meanwhile, since there is nothing to read.
            expect_nothing_queued(&mut poll, &mut events);
            join_all(threads);
        });
        expect_nothing_queued(&mut poll, &mut events);

        for (_, peer) in &mut pairs {
            peer.write_all(b"x").unwrap();
        }
        let mut tokens = Vec::new();
        while tokens.len() < streams {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                match one {
                    Said::Readable(token) => tokens.push(token / 8),
                    other => panic!("{other:?}"),
                }
            }
        }
        tokens.sort_unstable();
        assert_eq!(tokens, [0, 1, 2, 3]);
        expect_nothing_queued(&mut poll, &mut events);
        for (stream, _) in &mut pairs {
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        }
    }
}

// 2.2, 2.3, 2.6, 8
fn eight_threads_register_shared_ready_streams_while_another_polls<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let mut pairs: Vec<_> = (0..4).map(|_| S::pair()).collect();
    for (stream, peer) in &mut pairs {
        peer.write_all(b"never read").unwrap();
        await_bytes(stream, 10);
    }
    let rounds = S::effort(500);
    let registered = AtomicUsize::new(0);
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut count = 0;
    thread::scope(|scope| {
        for thread in 0..8 {
            let registrator = poll.registrator();
            let (pairs, registered) = (&pairs, &registered);
            scope.spawn(move || {
                for round in 0..rounds {
                    let which = (thread + round) % pairs.len();
                    registered.fetch_add(1, Ordering::SeqCst);
                    registrator
                        .register(&pairs[which].0, which, READABLE)
                        .unwrap();
                }
                registrator.wake(1_000 + thread).unwrap();
            });
        }
        let mut done = 0;
        while done < 8 {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                match one {
                    Said::Readable(which) => {
                        *seen.entry(which).or_default() += 1;
                        count += 1;
                    }
                    Said::Wake(1_000..=1_007) => done += 1,
                    other => panic!("{other:?}"),
                }
                // Each event needs a registration, so there are never more events than registrations.
                assert!(count <= registered.load(Ordering::SeqCst));
            }
        }
    });
    // The last registration of each stream may still have an event to come.
    let mut rest = 0;
    while poll.poll(&mut events, Some(common::QUIET)).unwrap() > 0 {
        for one in said(&events) {
            match one {
                Said::Readable(which) => *seen.entry(which).or_default() += 1,
                other => panic!("{other:?}"),
            }
            rest += 1;
        }
    }
    assert!(rest <= pairs.len());
    assert_eq!(seen.len(), pairs.len(), "{seen:?}");

    for (which, (stream, _)) in pairs.iter().enumerate() {
        poll.registrator()
            .register(stream, which, READABLE)
            .unwrap();
        expect_events(&mut poll, &mut events, &[(which, true, false)]);
    }
}

// 2.5, 2.6
fn registering_and_deregistering_at_once_leaves_a_stream_that_works<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    poll.registrator().register(&stream, 0, READABLE).unwrap();
    for round in 1..=S::effort(100) {
        let start = Barrier::new(2);
        thread::scope(|scope| {
            let (stream, start) = (&stream, &start);
            let registrator = poll.registrator();
            let one = scope.spawn(move || {
                start.wait();
                registrator.register(stream, round, READABLE).unwrap();
            });
            let registrator = poll.registrator();
            let two = scope.spawn(move || {
                start.wait();
                registrator.deregister(stream).unwrap();
            });
            expect_nothing_queued(&mut poll, &mut events);
            join_all(vec![one, two]);
        });
        // After this registration one event must come, whichever call was the last.
        poll.registrator()
            .register(&stream, 10_000_000, READABLE)
            .unwrap();
        peer.write_all(b"x").unwrap();
        expect_events(&mut poll, &mut events, &[(10_000_000, true, false)]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
    }
}

// 2.6, 2.7
fn threads_make_register_and_drop_streams_while_another_polls<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let rounds = S::effort(100);
    thread::scope(|scope| {
        for thread in 0..4 {
            let registrator = poll.registrator();
            scope.spawn(move || {
                for round in 0..rounds {
                    let (stream, mut peer) = S::pair();
                    registrator.register(&stream, thread, BOTH).unwrap();
                    if round % 2 == 0 {
                        peer.write_all(b"x").unwrap();
                    }
                    if round % 3 == 0 {
                        registrator.deregister(&stream).unwrap();
                    }
                }
                registrator.wake(1_000 + thread).unwrap();
            });
        }
        let mut done = 0;
        while done < 4 {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                match one {
                    Said::Readable(0..=3) | Said::Writable(0..=3) => {}
                    Said::Wake(1_000..=1_003) => done += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    expect_no_events(&mut poll, &mut events);
}

// 2.1, 2.6
fn room_made_by_the_peer_ends_a_blocked_poll<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, mut peer) = S::pair();
    let registrator = poll.registrator();
    for token in 0..3 {
        let filled = fill(&stream);
        thread::scope(|scope| {
            scope.spawn(|| {
                registrator.register(&stream, token, WRITABLE).unwrap();
                let_it_block();
                peer.read_exact(&mut vec![0; filled]).unwrap();
            });
            assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
        });
        assert_eq!(said(&events), [Said::Writable(token)]);
    }
}

/// Ends a conversation, also when its owner panics: the poll fails, and the peer reads the end.
struct EndOnDrop<'a, S: StreamEnd> {
    registrator: Registrator,
    stream: &'a S,
}

impl<S: StreamEnd> Drop for EndOnDrop<'_, S> {
    fn drop(&mut self) {
        // The loop and the peer may have ended already.
        drop(self.registrator.close_loop());
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

/// Ends a poll, also when its owner panics.
struct CloseOnDrop(Registrator);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        drop(self.0.close_loop());
    }
}

/// The peer of a conversation. It sends the next message only after the last one was answered. Otherwise the event of
/// the next message could hide that an event was lost.
fn ask<P: Peer>(mut peer: P, rounds: usize, message: &[u8]) {
    for _ in 0..rounds {
        if peer.write_all(message).is_err() || peer.read_exact(&mut [0; 1]).is_err() {
            // The other side has failed, and reports that itself.
            return;
        }
    }
}

/// One thread polls and hands the token of each event to another, which runs `answer`. That function gets the stream, a
/// registrator, the token that has just come (the number of the round) and the channel of the tokens to come. It reads,
/// registers under the number of the next round, and answers. The test fails if an event comes twice, or without a
/// registration.
fn converse<S: StreamEnd>(
    rounds: usize,
    message: &'static [u8],
    mut answer: impl FnMut(&Arc<S>, &Registrator, Token, &Receiver<Token>),
) {
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    let stream = Arc::new(stream);
    let registrator = poll.registrator();
    let (to_worker, tokens) = mpsc::channel();
    thread::scope(|scope| {
        let poller = scope.spawn(move || loop {
            match poll.poll(&mut events, Some(HANG)) {
                Ok(0) => panic!("no event came"),
                Ok(_) => {}
                Err(error) if is_closed(&error) => return,
                Err(error) => panic!("{error}"),
            }
            for one in said(&events) {
                match one {
                    // The worker may have failed, and reports that itself.
                    Said::Readable(token) => to_worker.send(token).unwrap_or(()),
                    other => panic!("{other:?}"),
                }
            }
        });
        scope.spawn(move || ask(peer, rounds, message));

        let end = EndOnDrop::<S> {
            registrator: registrator.clone(),
            stream: &stream,
        };
        registrator.register(&stream, 0, READABLE).unwrap();
        for round in 0..rounds {
            assert_eq!(receive(&tokens), round, "an event of another registration");
            answer(&stream, &registrator, round, &tokens);
        }
        // The last round has registered once more. The end of the peer's bytes makes that event.
        assert_eq!(receive(&tokens), rounds);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        drop(end);
        poller.join().unwrap();
        assert_eq!(tokens.try_recv(), Err(TryRecvError::Disconnected));
    });
}

/// Reads once. It fails with a clear message if the event was false.
#[track_caller]
fn read_after_event<S: StreamEnd>(stream: &S, buffer: &mut [u8]) -> usize {
    match stream.read(buffer) {
        Ok(0) => panic!("the stream ended"),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("an event without bytes"),
        Err(error) => panic!("{error}"),
    }
}

/// Answers. A pipe has one write in flight at a time, and the thread that polls may have taken the end of the last one and not
/// handled it yet.
fn reply<S: StreamEnd>(stream: &S) {
    assert_eq!(until_done(|| stream.write(b"!")).unwrap(), 1);
}

// 2.3, 3.2, 6.2, 8
fn no_event_is_lost_or_made_up_when_another_thread_reads_short_and_registers<S: StreamEnd>() {
    let _watchdog = watchdog();
    converse::<S>(
        S::effort(50_000),
        b"message",
        |stream, registrator, round, _| {
            assert_eq!(read_after_event::<S>(stream, &mut [0; 64]), 7);
            registrator.register(stream, round + 1, READABLE).unwrap();
            reply::<S>(stream);
        },
    );
}

// 2.3, 3.2, 6.2, 8
fn no_event_is_lost_or_made_up_when_another_thread_fills_its_buffer_and_registers<S: StreamEnd>() {
    let _watchdog = watchdog();
    converse::<S>(
        S::effort(50_000),
        b"message",
        |stream, registrator, round, _| {
            assert_eq!(read_after_event::<S>(stream, &mut [0; 7]), 7);
            registrator.register(stream, round + 1, READABLE).unwrap();
            reply::<S>(stream);
        },
    );
}

// 2.3, 3.2, 6.2, 8
fn no_event_is_lost_or_made_up_when_another_thread_drains_and_registers<S: StreamEnd>() {
    let _watchdog = watchdog();
    converse::<S>(
        S::effort(20_000),
        b"message",
        |stream, registrator, round, _| {
            assert_eq!(read_after_event::<S>(stream, &mut [0; 64]), 7);
            let error = stream.read(&mut [0; 64]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            registrator.register(stream, round + 1, READABLE).unwrap();
            reply::<S>(stream);
        },
    );
}

// 2.3, 8: the next message may come before the registration.
fn no_event_is_lost_or_made_up_when_another_thread_answers_before_it_registers<S: StreamEnd>() {
    let _watchdog = watchdog();
    converse::<S>(
        S::effort(20_000),
        b"message",
        |stream, registrator, round, _| {
            let mut buffer = [0; 64];
            let room = if round % 2 == 0 { 64 } else { 7 };
            assert_eq!(read_after_event::<S>(stream, &mut buffer[..room]), 7);
            reply::<S>(stream);
            registrator.register(stream, round + 1, READABLE).unwrap();
        },
    );
}

// 2.1, 2.3, 8: several registrations for each message.
fn no_event_is_lost_or_made_up_when_another_thread_reads_one_byte_an_event<S: StreamEnd>() {
    let _watchdog = watchdog();
    const BYTE: Token = 1 << 30;
    converse::<S>(
        S::effort(10_000),
        b"abc",
        |stream, registrator, round, tokens| {
            for expected in b"abc" {
                let mut byte = [0];
                read_after_event::<S>(stream, &mut byte);
                assert_eq!(byte[0], *expected);
                if *expected != b'c' {
                    registrator.register(stream, BYTE, READABLE).unwrap();
                    assert_eq!(receive(tokens), BYTE);
                }
            }
            registrator.register(stream, round + 1, READABLE).unwrap();
            reply::<S>(stream);
        },
    );
}

// 2.3, 8: a message in more than one piece, and reads of changing size.
fn no_event_is_lost_or_made_up_when_another_thread_reads_in_pieces_without_events<S: StreamEnd>() {
    let _watchdog = watchdog();
    converse::<S>(
        S::effort(10_000),
        b"message",
        |stream, registrator, round, _| {
            let size = 1 + round % 9;
            let mut left = 7;
            while left > 0 {
                left -= read_after_event::<S>(stream, &mut vec![0; size]);
            }
            registrator.register(stream, round + 1, READABLE).unwrap();
            reply::<S>(stream);
        },
    );
}

/// What one thread asks another to do with a stream.
type Job<S> = (Arc<S>, Registrator, usize);

/// Starts a thread that does each job and reports it. The thread ends when the returned sender is dropped.
fn helper<S: StreamEnd>(
    work: impl Fn(&S, &Registrator, usize) + Send + 'static,
) -> (Sender<Job<S>>, Receiver<()>) {
    let (jobs, todo) = mpsc::channel::<Job<S>>();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        for (stream, registrator, round) in todo {
            work(&stream, &registrator, round);
            // The thread that asked may have failed meanwhile.
            done.send(()).unwrap_or(());
        }
    });
    (jobs, is_done)
}

// 2.2, 2.3, 8: two threads register at once, and one event comes.
fn no_event_is_lost_or_made_up_when_two_threads_register_at_once<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (jobs, is_done) = helper::<S>(|stream, registrator, round| {
        registrator.register(stream, round + 1, READABLE).unwrap();
    });
    converse::<S>(
        S::effort(20_000),
        b"message",
        |stream, registrator, round, _| {
            let mut buffer = [0; 64];
            let room = if round % 2 == 0 { 64 } else { 7 };
            assert_eq!(read_after_event::<S>(stream, &mut buffer[..room]), 7);
            jobs.send((Arc::clone(stream), registrator.clone(), round))
                .unwrap();
            registrator.register(stream, round + 1, READABLE).unwrap();
            is_done.recv_timeout(HANG).unwrap();
            reply::<S>(stream);
        },
    );
}

// 2.3, 8: each read and registration is made by another thread than the one before.
fn no_event_is_lost_or_made_up_when_threads_take_turns<S: StreamEnd>() {
    let _watchdog = watchdog();
    let take = |stream: &S, registrator: &Registrator, round: usize| {
        let mut buffer = [0; 64];
        let room = if round % 4 < 2 { 64 } else { 7 };
        assert_eq!(read_after_event::<S>(stream, &mut buffer[..room]), 7);
        registrator.register(stream, round + 1, READABLE).unwrap();
        reply::<S>(stream);
    };
    let (jobs, is_done) = helper(take);
    converse::<S>(
        S::effort(20_000),
        b"message",
        |stream, registrator, round, _| {
            if round % 2 == 0 {
                take(stream, registrator, round);
            } else {
                jobs.send((Arc::clone(stream), registrator.clone(), round))
                    .unwrap();
                is_done.recv_timeout(HANG).unwrap();
            }
        },
    );
}

// 2.1, 2.3, 8
fn no_event_is_lost_or_made_up_when_the_polling_thread_itself_reads_and_registers<S: StreamEnd>() {
    let _watchdog = watchdog();
    let (mut poll, mut events) = poll_and_events();
    let (stream, peer) = S::pair();
    let registrator = poll.registrator();
    let rounds = S::effort(20_000);
    thread::scope(|scope| {
        scope.spawn(move || ask(peer, rounds, b"message"));
        let _end = EndOnDrop::<S> {
            registrator: registrator.clone(),
            stream: &stream,
        };
        registrator.register(&stream, 0, READABLE).unwrap();
        for round in 0..rounds {
            assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
            assert_eq!(said(&events), [Said::Readable(round)]);
            let mut buffer = [0; 8];
            let room = if round % 2 == 0 { 8 } else { 7 };
            assert_eq!(read_after_event::<S>(&stream, &mut buffer[..room]), 7);
            registrator.register(&stream, round + 1, READABLE).unwrap();
            reply::<S>(&stream);
        }
    });
}

/// Polls without ever blocking, until the loop is closed. So it takes an edge from the kernel as soon as it is there.
/// It gives the token of each readable event to `handle`, and counts its rounds.
fn poll_busily(mut poll: Poll, rounds: &AtomicUsize, mut handle: impl FnMut(Token)) {
    let mut events = Events::with_capacity(8);
    loop {
        match poll.poll(&mut events, Some(Duration::ZERO)) {
            // It yields here, and not between taking an edge and handling it, since these tests look for mistakes
            // there.
            Ok(0) => thread::yield_now(),
            Ok(_) => {
                for one in said(&events) {
                    match one {
                        Said::Readable(token) => handle(token),
                        Said::Writable(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            Err(error) if is_closed(&error) => return,
            Err(error) => panic!("{error}"),
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

/// Tests that poll without blocking run one at a time. With more busy threads than cores they would only wait for each
/// other.
fn one_busy_test() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The numbers below a share of `count`, which the effort scales. There are fewer on a machine so busy that all would
/// take more than some seconds.
fn rounds(of: usize, count: usize) -> impl Iterator<Item = usize> {
    let start = Instant::now();
    // Under Wine each system call asks a server, so there the time is always up.
    let seconds = share(of, if under_wine() { 2 } else { 8 });
    (0..share(of, count)).take_while(move |_| start.elapsed().as_secs() < seconds as u64)
}

/// Uses a little time, to vary the interleaving.
fn dawdle(times: usize) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

// 2.2, 3.2, 6.2, 8: the bytes are read before the registration, so an event of that registration would be false.
fn no_event_is_made_up_when_a_thread_reads_before_the_event_and_registers<S: StreamEnd>() {
    let _one = one_busy_test();
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let polls = AtomicUsize::new(0);
    // How many messages were written. Message number n is written while the token is n.
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        // There is no shutdown here, since that would make a true event.
        let _end = CloseOnDrop(registrator.clone());
        let poller = scope.spawn(|| {
            poll_busily(poll, &polls, |token| {
                let written = written.load(Ordering::SeqCst);
                assert!(written > token, "an event without bytes");
            });
        });
        registrator.register(&stream, 0, READABLE).unwrap();
        for round in rounds(S::SHARE, 20_000) {
            written.store(round + 1, Ordering::SeqCst);
            peer.write_all(b"message").unwrap();
            dawdle(round % 61);
            let mut buffer = [0; 8];
            let room = if round % 4 == 0 { 7 } else { 8 };
            // On Windows the polling thread may be about to handle the packet with these bytes.
            let count = until_done(|| stream.read(&mut buffer[..room])).unwrap();
            assert_eq!(count, 7);
            registrator.register(&stream, round + 1, READABLE).unwrap();
            // There is nothing to read.
            await_two_polls(&polls, &poller);
        }
    });
}

/// Waits until a polling thread that does not block has handled everything that it had taken from the kernel.
fn await_two_polls(polls: &AtomicUsize, poller: &thread::ScopedJoinHandle<'_, ()>) {
    let now = polls.load(Ordering::SeqCst);
    while polls.load(Ordering::SeqCst) < now + 2 {
        assert!(!poller.is_finished(), "the poller has failed");
        thread::yield_now();
    }
}

// 2.2, 3.2, 6.2, 8: the same, but the edge belongs to bytes that came when nothing was armed any more. The registration
// has to ask the system, since a buffer that was just filled does not show whether more is left.
fn no_event_is_made_up_when_a_thread_fills_its_buffer_before_the_edge_is_handled<S: StreamEnd>() {
    let _one = one_busy_test();
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let polls = AtomicUsize::new(0);
    let written = AtomicUsize::new(0);
    // The token of the last event plus one.
    let delivered = AtomicUsize::new(0);
    thread::scope(|scope| {
        // There is no shutdown here, since that would make a true event.
        let _end = CloseOnDrop(registrator.clone());
        let poller = scope.spawn(|| {
            poll_busily(poll, &polls, |token| {
                assert!(
                    written.load(Ordering::SeqCst) > token,
                    "an event without bytes"
                );
                let before = delivered.swap(token + 1, Ordering::SeqCst);
                assert_eq!(before, token, "an event that came twice or never");
            });
        });
        registrator.register(&stream, 0, READABLE).unwrap();
        for round in rounds(S::SHARE, 10_000) {
            written.store(round + 1, Ordering::SeqCst);
            peer.write_all(b"one").unwrap();
            while delivered.load(Ordering::SeqCst) != round + 1 {
                assert!(!poller.is_finished(), "the poller has failed");
                thread::yield_now();
            }
            peer.write_all(b"two").unwrap();
            dawdle(round % 61);
            let mut count = 0;
            // The second message may still be on its way. On Windows the first is in the lent buffer.
            while count < 6 {
                count += read_some(&stream, &mut [0; 6][count..]);
            }
            registrator.register(&stream, round + 1, READABLE).unwrap();
            await_two_polls(&polls, &poller);
        }
    });
}

// 2.7, 8: an edge of the old socket may be on its way to the polling thread while the new socket takes its place.
fn no_event_is_made_up_for_a_socket_that_takes_the_place_of_a_dropped_one<D: DatagramEnd>() {
    let _one = one_busy_test();
    let _watchdog = watchdog();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let polls = AtomicUsize::new(0);
    const OLD: Token = 1;
    const NEW: Token = 2;
    thread::scope(|scope| {
        let _end = CloseOnDrop(registrator.clone());
        let poller = scope.spawn(|| {
            poll_busily(poll, &polls, |token| {
                assert_eq!(token, OLD, "an event without a datagram");
            });
        });
        for round in rounds(D::SHARE, 5_000) {
            let old = D::bind();
            registrator.register(&old, OLD, READABLE).unwrap();
            let own = old.address();
            old.send_to(b"x", &own).unwrap();
            dawdle(round % 61);
            drop(old);
            let new = D::bind();
            registrator.register(&new, NEW, READABLE).unwrap();
            await_two_polls(&polls, &poller);
        }
    });
}

/// In each round the peer sends a byte, calls `between`, and sends another byte without waiting for an answer. That
/// byte may arrive at any moment while the reader handles the first one. Then the peer waits for the answer to both.
fn send_while_another_drains<S: StreamEnd>(between: impl Fn(&Registrator, &S) + Sync) {
    let _one = one_busy_test();
    let _watchdog = watchdog();
    let (stream, mut peer) = S::pair();
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let polls = AtomicUsize::new(0);
    let rounds = S::effort(10_000);
    let (to_reader, tokens) = mpsc::channel();
    thread::scope(|scope| {
        let _end = EndOnDrop::<S> {
            registrator: registrator.clone(),
            stream: &stream,
        };
        scope.spawn(|| poll_busily(poll, &polls, |token| to_reader.send(token).unwrap_or(())));
        let (stream, registrator, between) = (&stream, &registrator, &between);
        scope.spawn(move || {
            for round in 0..rounds {
                if peer.write_all(b"a").is_err() {
                    return;
                }
                dawdle(round % 997);
                between(registrator, stream);
                if peer.write_all(b"b").is_err() || peer.read_exact(&mut [0; 1]).is_err() {
                    return;
                }
            }
        });
        for round in 0..rounds {
            let mut received = 0;
            while received < 2 {
                registrator.register(stream, round, READABLE).unwrap();
                assert_eq!(receive(&tokens), round);
                let mut buffer = [0; 8];
                received += read_after_event::<S>(stream, &mut buffer);
                // It reads to `WouldBlock`, or to a read that does not fill its buffer.
                if round % 2 == 0 {
                    let reader = stream;
                    while let Ok(count) = reader.read(&mut buffer) {
                        received += count;
                    }
                }
            }
            assert_eq!(received, 2);
            reply::<S>(stream);
        }
    });
}

// 2.3, 6.1, 8
fn no_event_is_lost_when_bytes_come_while_a_thread_drains_and_registers<S: StreamEnd>() {
    send_while_another_drains::<S>(|_, _| {});
}

// 2.3, 2.6, 6.1, 8: the other thread's registration takes the lock of the source. So the reader may have to wait for it
// between its read and the moment when the crate records how that read ended.
fn no_event_is_lost_when_a_thread_drains_while_another_registers_writable<S: StreamEnd>() {
    send_while_another_drains::<S>(|registrator, stream| {
        // If the reader has failed, the loop is closed. The reader reports that itself.
        drop(registrator.register(stream, 1_000_000_000, WRITABLE));
    });
}

suite! {
    streams {
        a_thread_reads_and_writes_while_another_is_blocked_in_poll,
        threads_make_register_and_drop_streams_while_another_polls,
        no_event_is_lost_or_made_up_when_another_thread_reads_short_and_registers,
        no_event_is_lost_or_made_up_when_another_thread_fills_its_buffer_and_registers,
        no_event_is_lost_or_made_up_when_another_thread_drains_and_registers,
        no_event_is_lost_or_made_up_when_another_thread_answers_before_it_registers,
        no_event_is_lost_or_made_up_when_another_thread_reads_one_byte_an_event,
        no_event_is_lost_or_made_up_when_another_thread_reads_in_pieces_without_events,
        no_event_is_lost_or_made_up_when_two_threads_register_at_once,
        no_event_is_lost_or_made_up_when_threads_take_turns,
        no_event_is_lost_or_made_up_when_the_polling_thread_itself_reads_and_registers,
        no_event_is_lost_when_bytes_come_while_a_thread_drains_and_registers,
        no_event_is_lost_when_a_thread_drains_while_another_registers_writable,
    }
    sockets {
        one_thread_reads_and_another_writes_one_stream_by_its_events,
    }
    reading {
        registering_a_ready_stream_ends_a_poll_that_is_blocked,
        registering_again_ends_a_blocked_poll_when_the_bytes_were_left,
        a_stream_registered_while_a_poll_is_blocked_yields_its_event_when_bytes_come,
        a_token_replaced_while_a_poll_is_blocked_is_the_one_that_comes,
        eight_threads_register_shared_quiet_streams_at_once_and_each_yields_one_event,
        eight_threads_register_shared_ready_streams_while_another_polls,
        registering_and_deregistering_at_once_leaves_a_stream_that_works,
        no_event_is_made_up_when_a_thread_reads_before_the_event_and_registers,
        no_event_is_made_up_when_a_thread_fills_its_buffer_before_the_edge_is_handled,
    }
    writing {
        room_made_by_the_peer_ends_a_blocked_poll,
    }
    datagrams {
        no_event_is_made_up_for_a_socket_that_takes_the_place_of_a_dropped_one,
    }
    families {
        every_kind_of_source_can_be_registered_while_a_poll_is_blocked,
    }
}
