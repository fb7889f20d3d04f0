//! The two programs with which minimio began, as tests: one has a single stream, the other has two streams whose events
//! resume closures.
//!
//! Contract: docs/contract.md, 2.1, 2.6, 3.2, 4.4.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

use common::{watchdog, DelayServer, HANG};
use minimio::{is_closed, Events, Interests, Poll, TcpStream, Token};

// 2.1, 3.2: the program asks, waits for the answer, and reads it.
#[test]
fn a_slow_answer_is_one_event() {
    let _watchdog = watchdog();
    let server = DelayServer::start();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(1_024);

    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /delay/200/answer\n").unwrap();
    registrator
        .register(&stream, 1_000, Interests::READABLE)
        .unwrap();

    assert_eq!(poll.poll(&mut events, Some(HANG)).unwrap(), 1);
    let event = events.iter().next().unwrap();
    assert_eq!(event.id(), 1_000);
    assert!(event.is_readable() && !event.is_writable());
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).unwrap();
    assert_eq!(&answer[..count], b"answer\n");
    registrator.close_loop().unwrap();
    let error = poll.poll(&mut events, None).unwrap_err();
    assert!(is_closed(&error));
}

/// The closures to call when the event of a token comes.
type Resume = Box<dyn FnOnce() + Send>;

/// Calls the closure that was stored for each token that it receives, until the channel has ended.
struct Executor {
    told: mpsc::Receiver<Token>,
    suspended: HashMap<Token, Resume>,
}

impl Executor {
    fn suspend(&mut self, token: Token, resume: impl FnOnce() + Send + 'static) {
        let former = self.suspended.insert(token, Box::new(resume));
        assert!(former.is_none());
    }

    /// Returns once every closure has been called.
    fn run(mut self) {
        while !self.suspended.is_empty() {
            let token = self.told.recv().unwrap();
            let resume = self.suspended.remove(&token);
            resume.expect("every event belongs to something suspended")();
        }
    }
}

// 2.6, 4.4: an event resumes the work that was suspended under its token. After the last one the loop is closed.
#[test]
fn two_answers_resume_their_closures_in_the_order_of_arrival() {
    let _watchdog = watchdog();
    let server = DelayServer::start();
    let mut poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    let (tell, told) = mpsc::channel();

    let poller = thread::spawn(move || {
        let mut events = Events::with_capacity(1_024);
        loop {
            match poll.poll(&mut events, Some(HANG)) {
                Ok(0) => panic!("no answer came"),
                Ok(_) => {
                    for event in &events {
                        assert!(event.is_readable());
                        tell.send(event.id()).unwrap();
                    }
                }
                Err(error) => return error,
            }
        }
    });

    let mut executor = Executor {
        told,
        suspended: HashMap::new(),
    };
    let (resumed, order) = mpsc::channel();
    for (token, request) in [
        (10, b"GET /delay/600/slow\n"),
        (11, b"GET /delay/150/fast\n"),
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        registrator
            .register(&stream, token, Interests::READABLE)
            .unwrap();
        let resumed = resumed.clone();
        executor.suspend(token, move || {
            let mut answer = [0; 64];
            let count = stream.read(&mut answer).unwrap();
            let answer = String::from_utf8(answer[..count].to_vec()).unwrap();
            resumed.send((token, answer)).unwrap();
        });
    }
    drop(resumed);
    executor.run();
    registrator.close_loop().unwrap();

    let error = poller.join().unwrap();
    assert!(is_closed(&error), "{error}");
    let order: Vec<_> = order.iter().collect();
    let expected = [(11, "fast\n".to_owned()), (10, "slow\n".to_owned())];
    assert_eq!(order, expected);
}
