//! Many threads use shared sources while one thread polls. The value of every byte shows its place in its stream, and
//! every registration has a token of its own. At the end the counts must match exactly.
//!
//! Contract: docs/contract.md, 2.1, 2.2, 2.5, 2.6, 3.3, 4.3, 8.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Mutex};
use std::thread;
use std::time::Duration;

use common::ends::{suite, StreamEnd};
use common::{watchdog, SetOnDrop, HANG, READABLE, WRITABLE};
use minimio::{is_closed, Events, Interests, Poll, Registrator, Token};

const CONNECTIONS: usize = 8;
const WORKERS: usize = 4;
/// The bytes repeat after this many. It is a prime, so no buffer size divides it.
const PERIOD: usize = 251;

#[allow(clippy::cast_possible_truncation)] // less than the period
fn byte_at(place: usize) -> u8 {
    (place % PERIOD) as u8
}

/// Numbers that look random and are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// Mostly small sizes, and some large ones.
    fn size(&mut self) -> usize {
        let bound = [2, 64, 500, 4_000][self.below(4)];
        1 + self.below(bound)
    }
}

/// One end of a connection, and how far each of its directions has come.
struct End<S> {
    stream: S,
    /// How many bytes were read, and whether a read has given the end of the stream. (If one direction cannot be closed
    /// alone: whether all bytes were read.)
    read: Mutex<(usize, bool)>,
    written: Mutex<usize>,
    total: usize,
}

impl<S: StreamEnd> End<S> {
    fn new(stream: S, total: usize) -> End<S> {
        End {
            stream,
            read: Mutex::new((0, false)),
            written: Mutex::new(0),
            total,
        }
    }

    /// Reads once. Returns whether this or an earlier read has given the end of the stream.
    fn read(&self, size: usize) -> bool {
        let mut buffer = vec![0; size];
        let mut place = self.read.lock().unwrap();
        if place.1 {
            return true;
        }
        match self.stream.read(&mut buffer) {
            Ok(0) => {
                assert_eq!(place.0, self.total, "the end came early");
                place.1 = true;
            }
            Ok(count) => {
                for (offset, byte) in buffer[..count].iter().enumerate() {
                    assert_eq!(*byte, byte_at(place.0 + offset), "at {}", place.0 + offset);
                }
                place.0 += count;
                place.1 = !S::HALF_CLOSES && place.0 == self.total;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        place.1
    }

    /// Writes once. Returns whether everything is written by now. The thread that writes the last byte ends the
    /// direction.
    fn write(&self, size: usize) -> bool {
        let mut place = self.written.lock().unwrap();
        if *place == self.total {
            return true;
        }
        let bytes: Vec<u8> = (*place..self.total.min(*place + size))
            .map(byte_at)
            .collect();
        match self.stream.write(&bytes) {
            Ok(count) => *place += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        if S::HALF_CLOSES && *place == self.total {
            self.stream.shutdown(Shutdown::Write).unwrap();
        }
        *place == self.total
    }
}

/// Which registration a token stands for.
#[derive(Debug, Clone, Copy)]
struct Issued {
    end: usize,
    interests: Interests,
}

/// The state that all threads share.
struct Hall<S> {
    ends: Vec<End<S>>,
    registrator: Registrator,
    /// Tokens whose event has not come yet. Each token is used once.
    issued: Mutex<HashMap<Token, Issued>>,
    next: AtomicUsize,
    registrations: AtomicUsize,
    events: AtomicUsize,
    wakes: AtomicUsize,
    woken: AtomicUsize,
    /// The number of the current poll.
    poll: AtomicUsize,
    directions_left: AtomicUsize,
    over: AtomicBool,
}

/// Tokens from this number on belong to wakes.
const WAKES: Token = 1 << 28;
/// Tokens from this number on belong to sources that come and go.
const GUESTS: Token = 1 << 29;

impl<S: StreamEnd> Hall<S> {
    fn new(total: usize) -> (Hall<S>, Poll) {
        let poll = Poll::new().unwrap();
        let mut ends = Vec::new();
        for _ in 0..CONNECTIONS {
            let (near, far) = S::two();
            ends.extend([End::new(near, total), End::new(far, total)]);
        }
        let hall = Hall {
            directions_left: AtomicUsize::new(ends.len() * 2),
            ends,
            registrator: poll.registrator(),
            issued: Mutex::default(),
            next: AtomicUsize::new(0),
            registrations: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            wakes: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
            poll: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        };
        (hall, poll)
    }

    fn register(&self, end: usize, interests: Interests) {
        let token = self.next.fetch_add(1, Ordering::SeqCst);
        let issued = Issued { end, interests };
        self.issued.lock().unwrap().insert(token, issued);
        self.registrations
            .fetch_add(interests.iter().count(), Ordering::SeqCst);
        match self
            .registrator
            .register(&self.ends[end].stream, token, interests)
        {
            // A worker that found nothing more to read, while another one read the end and all was over.
            Err(error) if is_closed(&error) && self.over.load(Ordering::SeqCst) => {
                self.issued.lock().unwrap().remove(&token);
                self.registrations
                    .fetch_sub(interests.iter().count(), Ordering::SeqCst);
            }
            result => result.unwrap(),
        }
    }

    /// Records that the event of an interest has come. Panics if it must not come.
    fn claim(&self, token: Token, interest: Interests) -> usize {
        self.events.fetch_add(1, Ordering::SeqCst);
        let mut issued = self.issued.lock().unwrap();
        let Some(entry) = issued.get_mut(&token) else {
            panic!("{interest:?} of {token} came twice, or was never registered");
        };
        assert!(entry.interests.contains(interest), "{token}: {entry:?}");
        entry.interests -= interest;
        let end = entry.end;
        if entry.interests.is_empty() {
            issued.remove(&token);
        }
        end
    }

    fn direction_is_done(&self) {
        if self.directions_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.over.store(true, Ordering::SeqCst);
        }
    }

    fn wake(&self) {
        let number = self.wakes.fetch_add(1, Ordering::SeqCst);
        self.registrator.wake(WAKES + number).unwrap();
    }

    /// Polls until everything is done, and gives the events to the workers.
    fn poll(&self, mut poll: Poll, guests: &Guests, work: &mpsc::Sender<(usize, Interests)>) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut batches = [1, 3, 64].map(Events::with_capacity);
        let mut wakes = Vec::new();
        loop {
            let number = self.poll.fetch_add(1, Ordering::SeqCst) + 1;
            let events = &mut batches[random.below(3)];
            match poll.poll(events, Some(HANG)) {
                Ok(count) => assert_ne!(count, 0, "nothing has come for {HANG:?}"),
                Err(error) => {
                    let have_gone = guests.have_gone.load(Ordering::SeqCst);
                    assert!(is_closed(&error) && have_gone, "{error}");
                    break;
                }
            }
            for event in &*events {
                let token = event.id();
                if token >= GUESTS {
                    guests.check(token, number);
                } else if token >= WAKES {
                    wakes.push(token);
                    self.woken.fetch_add(1, Ordering::SeqCst);
                } else {
                    assert!(event.is_readable() || event.is_writable());
                    if event.is_readable() {
                        work.send((self.claim(token, READABLE), READABLE)).unwrap();
                    }
                    if event.is_writable() {
                        work.send((self.claim(token, WRITABLE), WRITABLE)).unwrap();
                    }
                }
            }
        }
        let count = wakes.len();
        wakes.sort_unstable();
        wakes.dedup();
        assert_eq!(wakes.len(), count, "a wake came twice");
    }

    /// Asserts that every byte was sent, and received in its place.
    fn check_bytes(&self) {
        for end in &self.ends {
            assert_eq!(*end.read.lock().unwrap(), (end.total, true));
            assert_eq!(*end.written.lock().unwrap(), end.total);
        }
    }
}

/// The largest number of pairs of guests. The port of each stays taken for minutes after it is gone, and Windows has
/// 16,384 ports in all.
const MOST_GUESTS: usize = 400;

/// The guests: sources that are made, armed, and dropped while another thread polls.
#[derive(Default)]
struct Guests {
    /// During which poll each guest was dropped. A later poll must not hand out an event of it.
    gone: Mutex<HashMap<Token, usize>>,
    have_gone: AtomicBool,
}

impl Guests {
    fn check(&self, token: Token, poll: usize) {
        if let Some(dropped) = self.gone.lock().unwrap().get(&token) {
            assert!(poll <= *dropped, "an event of a dropped source");
        }
    }

    fn come_and_go<S: StreamEnd>(&self, hall: &Hall<S>) {
        let mut token = GUESTS;
        while !hall.over.load(Ordering::SeqCst) {
            if token >= GUESTS + 2 * S::effort(MOST_GUESTS) {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let (near, far) = S::two();
            hall.registrator
                .register(&near, token, READABLE | WRITABLE)
                .unwrap();
            hall.registrator
                .register(&far, token + 1, READABLE)
                .unwrap();
            near.write_all(b"hello").unwrap();
            for (stream, token) in [(near, token), (far, token + 1)] {
                drop(stream);
                let poll = hall.poll.load(Ordering::SeqCst);
                self.gone.lock().unwrap().insert(token, poll);
            }
            token += 2;
        }
    }
}

/// Runs the hall, with `meddle` on two more threads, until every byte has arrived.
fn torture<S: StreamEnd>(total: usize, meddle: impl Fn(&Hall<S>, &mut Random) + Sync) -> Hall<S> {
    let (hall, poll) = Hall::<S>::new(total);
    let guests = Guests::default();
    let (work, queue) = mpsc::channel();
    let queue = Mutex::new(queue);
    for end in 0..hall.ends.len() {
        hall.register(end, READABLE);
        hall.register(end, WRITABLE);
    }
    thread::scope(|scope| {
        let hall = &hall;
        let (guests, queue, meddle) = (&guests, &queue, &meddle);
        scope.spawn(move || {
            let _over = SetOnDrop(&hall.over);
            hall.poll(poll, guests, &work);
        });
        for number in 1..=WORKERS {
            scope.spawn(move || {
                // If a thread fails, the others end too. If none fails, the flag is set by then.
                let _over = SetOnDrop(&hall.over);
                let mut random = Random(0x5eed_0000 + number as u64);
                loop {
                    // The job is bound to a name before it is handled, so that the lock is free for the other workers.
                    let next = queue.lock().unwrap().recv();
                    let Ok((end, interest)) = next else { break };
                    work_on(hall, &mut random, end, interest);
                }
            });
        }
        let threads = [1, 2].map(|number| {
            scope.spawn(move || {
                let mut random = Random(0xbad_0000 + number);
                while !hall.over.load(Ordering::SeqCst) {
                    meddle(hall, &mut random);
                    if random.below(8) == 0 {
                        hall.wake();
                    }
                    thread::yield_now();
                }
            })
        });
        let _over = SetOnDrop(&hall.over);
        guests.come_and_go(hall);
        for thread in threads {
            thread.join().unwrap();
        }
        // The wakes of the other threads are sent by now. The loop hands them out before it ends.
        guests.have_gone.store(true, Ordering::SeqCst);
        hall.registrator.close_loop().unwrap();
    });
    hall.check_bytes();
    let (wakes, woken) = (&hall.wakes, &hall.woken);
    assert_eq!(woken.load(Ordering::SeqCst), wakes.load(Ordering::SeqCst));
    hall
}

fn work_on<S: StreamEnd>(hall: &Hall<S>, random: &mut Random, end: usize, interest: Interests) {
    let stream = &hall.ends[end];
    let was_done;
    let done = if interest == READABLE {
        was_done = stream.read.lock().unwrap().1;
        (0..1 + random.below(3)).any(|_| stream.read(random.size()))
    } else {
        was_done = *stream.written.lock().unwrap() == stream.total;
        (0..1 + random.below(3)).any(|_| stream.write(random.size()))
    };
    if !done {
        hall.register(end, interest);
    } else if !was_done {
        finish(hall, end, interest);
    }
}

/// Counts each direction once.
fn finish<S: StreamEnd>(hall: &Hall<S>, end: usize, interest: Interests) {
    // Two workers may read the end at once, if a meddler has registered as well.
    let mut issued = hall.issued.lock().unwrap();
    let mark = GUESTS * 2 + end * 4 + usize::from(interest.bits());
    let entry = Issued {
        end,
        interests: interest,
    };
    if issued.insert(mark, entry).is_none() {
        drop(issued);
        hall.direction_is_done();
    }
}

// 2.1, 2.6, 3.3, 4.3, 8: each registration yields one event while other threads read the same streams and wake.
fn every_registration_yields_one_event_and_every_byte_arrives_once<S: StreamEnd>() {
    let _watchdog = watchdog();
    let hall = torture::<S>(S::effort(400_000), |hall, random| {
        // The meddlers read without an event. They leave the last byte and the end to the workers, which count.
        let end = &hall.ends[random.below(hall.ends.len())];
        let left = end.total - end.read.lock().unwrap().0;
        if left > 4_000 {
            end.read(1 + random.below(100));
        }
    });
    let registrations = hall.registrations.load(Ordering::SeqCst);
    assert_eq!(hall.events.load(Ordering::SeqCst), registrations);
    println!("{registrations} registrations, as many events");
}

// 2.2, 2.5, 2.6, 8: other threads replace tokens, deregister and register at any time.
fn no_event_comes_twice_and_no_byte_is_lost_under_replacing_and_deregistering<S: StreamEnd>() {
    let _watchdog = watchdog();
    let hall = torture::<S>(S::effort(400_000), |hall, random| {
        let end = random.below(hall.ends.len());
        let stream = &hall.ends[end].stream;
        match random.below(4) {
            0 => hall.register(end, READABLE),
            1 => hall.register(end, WRITABLE),
            2 => hall.register(end, READABLE | WRITABLE),
            _ => {
                hall.registrator.deregister(stream).unwrap();
                hall.register(end, READABLE | WRITABLE);
            }
        }
    });
    let registrations = hall.registrations.load(Ordering::SeqCst);
    let events = hall.events.load(Ordering::SeqCst);
    assert!(events <= registrations);
    println!("{registrations} registrations, {events} events");
}

suite! {
    streams {
        every_registration_yields_one_event_and_every_byte_arrives_once,
        no_event_comes_twice_and_no_byte_is_lost_under_replacing_and_deregistering,
    }
}
