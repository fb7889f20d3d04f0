//! Random programs that send and receive datagrams on the real system. A model checks each step: it says which
//! datagrams and events are allowed, and which must come.
//! Loopback keeps the order of the datagrams of one sender, and drops a datagram only when the receiver has no room. So
//! the programs never fill that room, and ask for more than the 64 KiB that Windows gives. A datagram may be delivered
//! later than the call that sends it, and two senders may overtake each other. So the program waits for what *must*
//! come only at the step `Settle`, which also ends every program. `MINIMIO_EFFORT` scales the number of programs. A
//! program that fails is shrunk to a shorter one and printed.
//! The programs do not run on the BSDs, where a connected socket can send only to its peer.
//! Unix sockets differ from UDP: what is sent is there at once and is never lost; a receiver has room for few
//! datagrams; and a send that nobody can receive is an error.
//!
//! Contract: docs/contract.md, 2.1, 2.2, 2.3, 2.5, 2.7, 3.1, 3.2, 3.3, 3.6, 4.1, 4.3, 5.4, 5.7.

#![cfg(any(target_os = "linux", target_os = "android", windows))]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use common::ends::{share, DatagramEnd, DatagramPeer};
use common::{under_wine, watchdog, HANG, READABLE, WRITABLE};
use minimio::{Event, Events, Interests, Poll, Token, UdpSocket};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;

/// In what the sockets differ.
trait Played: DatagramEnd {
    /// The longest datagram that can be sent.
    const MOST: usize;

    /// What is sent is there at once, and never lost. What nobody can receive cannot be sent.
    const IS_CERTAIN: bool;

    fn prepare(&self);
}

impl Played for UdpSocket {
    const MOST: usize = LARGEST;
    const IS_CERTAIN: bool = false;

    fn prepare(&self) {
        SockRef::from(self).set_recv_buffer_size(ROOM).unwrap();
    }
}

#[cfg(unix)]
impl Played for minimio::os::unix::UnixDatagram {
    const MOST: usize = Self::TOO_LONG;
    const IS_CERTAIN: bool = true;

    fn prepare(&self) {}
}

const MOST_SOCKETS: usize = 4;

/// How many datagrams a receiver certainly has room for, and what the memory of the unread datagrams of one sender may
/// be if its socket must be writable. This matters where the system gives little (Linux, for Unix sockets).
const ROOM_IS_CERTAIN_BELOW: usize = 8;
const MEMORY_IS_CERTAIN_BELOW: usize = 20_000;

/// The largest datagram that IPv4 allows.
const LARGEST: usize = 65_507;

/// How many bytes may wait in one socket, where each datagram counts with `OVERHEAD`. The buffers of some systems hold
/// less (65,536 bytes on Windows) unless they are asked for `ROOM`. If asked, all systems grant at least this much.
const MOST_WAITING: usize = 140_000;
const OVERHEAD: usize = 1_024;
const ROOM: usize = 1 << 20;

/// Tokens from this number on belong to wakes.
const WAKES: Token = 1 << 20;

/// How long one wait for what must come lasts. `HANG` bounds all waits together.
const PATIENCE: Duration = Duration::from_secs(10);

/// A step of a program. The number of a socket is taken modulo how many sockets there are.
#[derive(Debug, Clone)]
enum Step {
    Bind,
    Connect {
        socket: usize,
        to: usize,
    },
    Send {
        socket: usize,
        size: usize,
    },
    SendTo {
        socket: usize,
        to: usize,
        size: usize,
    },
    Receive {
        socket: usize,
        room: usize,
        from: bool,
    },
    Peek {
        socket: usize,
        room: usize,
        from: bool,
    },
    Register {
        socket: usize,
        interests: Interests,
    },
    Deregister {
        socket: usize,
    },
    Disarm {
        socket: usize,
        interests: Interests,
    },
    /// Calls within `try_io`: a receive, and one that returns `WouldBlock` for another reason.
    TryReceive {
        socket: usize,
        room: usize,
    },
    TryNothing {
        socket: usize,
        interest: Interests,
    },
    TakeError {
        socket: usize,
    },
    Lend {
        socket: usize,
        bytes: usize,
    },
    Drop {
        socket: usize,
    },
    Wake {
        token: Token,
    },
    Poll {
        capacity: usize,
    },
    Settle {
        capacity: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let socket = || 0..MOST_SOCKETS;
    // One more than there are sockets: the highest number means a peer that is gone.
    let target = || 0..=MOST_SOCKETS;
    let size = || {
        prop_oneof![
            2 => Just(0_usize),
            6 => 1..40_usize,
            2 => 1_400..1_500_usize,
            1 => Just(LARGEST - 1),
            1 => Just(LARGEST),
            1 => Just(LARGEST + 1),
            1 => Just(100_000_usize),
        ]
    };
    let room = || {
        prop_oneof![
            1 => Just(0_usize),
            4 => 1..40_usize,
            2 => 1_400..1_500_usize,
            6 => Just(LARGEST),
        ]
    };
    let interests = prop::sample::select(vec![READABLE, READABLE, WRITABLE, READABLE | WRITABLE]);
    let one = prop::sample::select(vec![READABLE, WRITABLE]);
    let capacity = || prop_oneof![Just(1_usize), Just(2), Just(64)];
    prop_oneof![
        3 => Just(Step::Bind),
        2 => (socket(), target()).prop_map(|(socket, to)| Step::Connect { socket, to }),
        8 => (socket(), size()).prop_map(|(socket, size)| Step::Send { socket, size }),
        14 => (socket(), target(), size())
            .prop_map(|(socket, to, size)| Step::SendTo { socket, to, size }),
        16 => (socket(), room(), any::<bool>())
            .prop_map(|(socket, room, from)| Step::Receive { socket, room, from }),
        4 => (socket(), room(), any::<bool>())
            .prop_map(|(socket, room, from)| Step::Peek { socket, room, from }),
        18 => (socket(), interests.clone())
            .prop_map(|(socket, interests)| Step::Register { socket, interests }),
        2 => socket().prop_map(|socket| Step::Deregister { socket }),
        3 => (socket(), interests)
            .prop_map(|(socket, interests)| Step::Disarm { socket, interests }),
        2 => (socket(), room()).prop_map(|(socket, room)| Step::TryReceive { socket, room }),
        2 => (socket(), one).prop_map(|(socket, interest)| Step::TryNothing { socket, interest }),
        1 => socket().prop_map(|socket| Step::TakeError { socket }),
        2 => (socket(), prop::sample::select(vec![0_usize, 1, 1 << 20]))
            .prop_map(|(socket, bytes)| Step::Lend { socket, bytes }),
        1 => socket().prop_map(|socket| Step::Drop { socket }),
        2 => (0..4_usize).prop_map(|token| Step::Wake { token: WAKES + token }),
        12 => capacity().prop_map(|capacity| Step::Poll { capacity }),
        4 => capacity().prop_map(|capacity| Step::Settle { capacity }),
    ]
}

/// Which call receives, and whether it asks for the sender.
#[derive(Clone, Copy)]
enum How {
    Ours { from: bool },
    Peek { from: bool },
    Theirs,
}

struct Datagram<A> {
    from: A,
    bytes: Vec<u8>,
    /// The receiver was connected to another peer before it is certain that this datagram had arrived.
    maybe_lost: bool,
}

impl<A: std::fmt::Debug> std::fmt::Debug for Datagram<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lost = if self.maybe_lost { ", maybe lost" } else { "" };
        write!(f, "{} bytes of {:?}{lost}", self.bytes.len(), self.from)
    }
}

/// What may happen on one socket, and what must.
#[derive(Debug)]
struct Model<A> {
    address: A,
    peer: Option<A>,
    armed: [Option<Token>; 2],
    was_registered: bool,
    incoming: VecDeque<Datagram<A>>,
    /// Datagrams that others sent while this socket was connected to another peer. If one is still on its way, and the
    /// socket is connected to its sender meanwhile, it is received.
    missed: Vec<Datagram<A>>,
    /// The socket has sent a datagram to a peer that is gone, so an ICMP message about that may come.
    unheard: bool,
    /// The same, and the socket is or was connected: calls can fail with that error, and it can make events.
    may_fail: bool,
    /// An event of that direction has come and no call was made since, so the next call does not block.
    promised: [bool; 2],
}

impl<A: Clone + PartialEq + std::fmt::Debug> Model<A> {
    fn must_fire(&self, interest: Interests) -> bool {
        // Wine 8: once an ICMP message about a peer that is gone waits, a receive that is started does not end any
        // more.
        let deaf = self.may_fail && under_wine();
        let due = || self.incoming.iter().any(|datagram| !datagram.maybe_lost);
        interest == WRITABLE || !deaf && due()
    }

    fn can_fire(&self, interest: Interests) -> bool {
        interest == WRITABLE || !self.incoming.is_empty() || self.may_fail
    }

    fn waiting(&self) -> usize {
        let each = |datagram: &Datagram<A>| datagram.bytes.len() + OVERHEAD;
        self.incoming.iter().map(each).sum()
    }

    fn hears(&self, from: &A) -> bool {
        self.peer.is_none() || self.peer.as_ref() == Some(from)
    }

    /// Which waiting datagram was received. It is the first of its sender, not counting those that may be lost.
    fn find(&self, got: &[u8], from: Option<&A>, room: usize) -> usize {
        let mut passed_over = Vec::new();
        for (place, datagram) in self.incoming.iter().enumerate() {
            let count = datagram.bytes.len().min(room);
            let right_from = from.is_none() || from == Some(&datagram.from);
            let in_order = !passed_over.contains(&datagram.from);
            if right_from && in_order && datagram.bytes[..count] == *got {
                return place;
            }
            if !datagram.maybe_lost {
                passed_over.push(datagram.from.clone());
            }
        }
        panic!(
            "{} bytes of {from:?} with room for {room}, which nobody sent now: {self:?}",
            got.len()
        );
    }

    /// Removes the datagram at `place`, and the earlier ones of its sender, which were lost.
    fn take(&mut self, place: usize) {
        let from = self.incoming[place].from.clone();
        let mut at = 0;
        self.incoming.retain(|datagram| {
            at += 1;
            at - 1 > place || datagram.from != from
        });
    }

    /// Whether datagrams of several senders, or some that may be lost, look like this one. Then it may have been any of
    /// them.
    fn is_ambiguous(&self, got: &[u8], room: usize) -> bool {
        let looks_alike = |datagram: &&Datagram<A>| {
            let count = datagram.bytes.len().min(room);
            datagram.bytes[..count] == *got
        };
        let mut alike = self.incoming.iter().filter(looks_alike);
        let first = alike.next().map(|datagram| &datagram.from);
        self.incoming.iter().any(|datagram| datagram.maybe_lost)
            || alike.any(|datagram| Some(&datagram.from) != first)
    }
}

fn index(interest: Interests) -> usize {
    usize::from(interest == WRITABLE)
}

struct World<D: Played> {
    poll: Poll,
    sockets: Vec<(D, Model<D::Address>)>,
    /// An address where no socket is, unless the system has given it to another one.
    gone: D::Address,
    sent: usize,
    next_token: Token,
    wakes: BTreeSet<Token>,
    /// How many datagrams were received. Programs that receive none would check nothing.
    received: usize,
}

impl<D: Played> World<D> {
    fn new(lent_limit: Option<usize>) -> World<D> {
        let nobody = D::Peer::bind_of(0);
        let poll = match lent_limit {
            Some(limit) => Poll::with_lent_limit(limit),
            None => Poll::new(),
        };
        let mut world = World {
            poll: poll.unwrap(),
            sockets: Vec::new(),
            gone: nobody.address(),
            sent: 0,
            next_token: 0,
            wakes: BTreeSet::new(),
            received: 0,
        };
        drop(nobody);
        world.bind();
        world.bind();
        world
    }

    fn bind(&mut self) {
        if self.sockets.len() >= MOST_SOCKETS {
            return;
        }
        let socket = D::bind();
        socket.prepare();
        let model = Model {
            address: socket.address(),
            peer: None,
            armed: [None; 2],
            was_registered: false,
            incoming: VecDeque::new(),
            missed: Vec::new(),
            unheard: false,
            may_fail: false,
            promised: [false; 2],
        };
        self.sockets.push((socket, model));
    }

    fn target(&self, to: usize) -> D::Address {
        match self.sockets.get(to) {
            Some((_, model)) => model.address.clone(),
            None => self.gone.clone(),
        }
    }

    fn take(&mut self, step: &Step) {
        let count = self.sockets.len();
        let pick = |socket: usize| (count > 0).then(|| socket % count);
        match *step {
            Step::Bind => self.bind(),
            Step::Wake { token } => {
                self.poll.registrator().wake(token).unwrap();
                self.wakes.insert(token);
            }
            Step::Poll { capacity } => drop(self.poll_once(capacity, Duration::ZERO)),
            Step::Settle { capacity } => self.settle(capacity),
            Step::Connect { socket, .. }
            | Step::Send { socket, .. }
            | Step::SendTo { socket, .. }
            | Step::Receive { socket, .. }
            | Step::Peek { socket, .. }
            | Step::Register { socket, .. }
            | Step::Deregister { socket }
            | Step::Disarm { socket, .. }
            | Step::TryReceive { socket, .. }
            | Step::TryNothing { socket, .. }
            | Step::TakeError { socket }
            | Step::Lend { socket, .. }
            | Step::Drop { socket } => {
                if let Some(one) = pick(socket) {
                    self.take_on(one, step);
                }
            }
        }
    }

    fn take_on(&mut self, one: usize, step: &Step) {
        match *step {
            Step::Connect { to, .. } => self.connect(one, self.target(to)),
            Step::Send { size, .. } => self.send(one, None, size),
            Step::SendTo { to, size, .. } => self.send(one, Some(self.target(to)), size),
            Step::Receive { room, from, .. } => self.receive(one, room, How::Ours { from }),
            Step::Peek { room, from, .. } => self.receive(one, room, How::Peek { from }),
            Step::TryReceive { room, .. } => self.receive(one, room, How::Theirs),
            Step::TryNothing { interest, .. } => {
                // This `WouldBlock` is of something else, so it must not lose an event.
                let result = self.sockets[one].0.try_io(interest, |_| -> io::Result<()> {
                    Err(ErrorKind::WouldBlock.into())
                });
                let error = result.unwrap_err();
                // On Windows a datagram may wait unread, or a failure may be kept. Then the call is not made.
                let model = &self.sockets[one].1;
                let unread = error.kind() == ErrorKind::InvalidInput || model.may_fail;
                let excused = cfg!(windows) && unread;
                assert!(
                    error.kind() == ErrorKind::WouldBlock || excused,
                    "{error}: {model:?}"
                );
            }
            Step::TakeError { .. } => {
                let (socket, model) = &mut self.sockets[one];
                if let Some(error) = socket.take_error().unwrap() {
                    assert!(model.may_fail, "{error}: {model:?}");
                    // This datagram may be the one whose event has come.
                    model.promised = [false; 2];
                }
            }
            Step::Register { interests, .. } => {
                self.next_token += 1;
                let token = self.next_token;
                let registrator = self.poll.registrator();
                let (socket, model) = &mut self.sockets[one];
                registrator.register(&*socket, token, interests).unwrap();
                model.was_registered = true;
                for interest in interests {
                    model.armed[index(interest)] = Some(token);
                }
            }
            Step::Deregister { .. } => self.disarm(one, None),
            Step::Disarm { interests, .. } => self.disarm(one, Some(interests)),
            Step::Lend { bytes, .. } => self.sockets[one].0.set_lent_buffer(bytes),
            _ => {
                let (_, model) = self.sockets.remove(one);
                let senders = model.incoming.iter().map(|datagram| datagram.from.clone());
                self.may_be_unheard(senders.collect());
            }
        }
    }

    /// Disarms both interests by `deregister`, or the given ones by `disarm`.
    fn disarm(&mut self, one: usize, interests: Option<Interests>) {
        let registrator = self.poll.registrator();
        let (socket, model) = &mut self.sockets[one];
        let result = match interests {
            Some(interests) => registrator.disarm(&*socket, interests),
            None => registrator.deregister(&*socket),
        };
        match result {
            Ok(()) => assert!(model.was_registered),
            Err(error) => {
                assert!(!model.was_registered, "{error}");
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        }
        for interest in interests.unwrap_or(READABLE | WRITABLE) {
            model.armed[index(interest)] = None;
        }
    }

    /// What these sockets have sent, and no call has received, may still be on its way to a socket that does not accept
    /// it any more.
    fn may_be_unheard(&mut self, senders: Vec<D::Address>) {
        if D::IS_CERTAIN {
            return;
        }
        for (_, model) in &mut self.sockets {
            if senders.contains(&model.address) {
                model.unheard = true;
                model.may_fail |= model.peer.is_some();
            }
        }
    }

    /// Whether somebody is at `to` who takes what is sent from `from`.
    fn is_heard(&self, from: &D::Address, to: &D::Address) -> bool {
        let mut models = self.sockets.iter().map(|(_, model)| model);
        models.any(|model| model.address == *to && model.hears(from))
    }

    fn connect(&mut self, one: usize, to: D::Address) {
        let is_heard = self.is_heard(&self.sockets[one].1.address, &to);
        let (socket, model) = &mut self.sockets[one];
        if D::IS_CERTAIN {
            // A socket that changes its peer loses what it has received, and tells the old peer. That is not played.
            if model.peer.is_none() {
                assert_eq!(socket.connect(&to).is_ok(), is_heard, "{model:?}");
                model.peer = is_heard.then_some(to);
            }
            return;
        }
        if let Err(error) = socket.connect(&to) {
            assert!(model.may_fail || model.unheard, "{error}: {model:?}");
            model.may_fail = true;
            return;
        }
        model.peer = Some(to.clone());
        model.may_fail |= model.unheard;
        for datagram in &mut model.incoming {
            datagram.maybe_lost |= datagram.from != to;
        }
        for datagram in std::mem::take(&mut model.missed) {
            if datagram.from == to {
                model.incoming.push_back(datagram);
            } else {
                model.missed.push(datagram);
            }
        }
        model.promised[0] = false;
        let strangers = model.incoming.iter().map(|datagram| datagram.from.clone());
        let strangers = strangers.filter(|from| *from != to).collect();
        self.may_be_unheard(strangers);
    }

    fn send(&mut self, one: usize, to: Option<D::Address>, size: usize) {
        let from = self.sockets[one].1.address.clone();
        let target = to.clone().or(self.sockets[one].1.peer.clone());
        let takes = |model: &Model<D::Address>| {
            Some(&model.address) == target.as_ref() && model.hears(&from)
        };
        let receiver = self.sockets.iter().position(|(_, model)| takes(model));
        if let Some(receiver) = receiver {
            if self.sockets[receiver].1.waiting() + size + OVERHEAD > MOST_WAITING {
                return;
            }
        }
        let is_full = receiver.is_some_and(|receiver| {
            self.sockets[receiver].1.incoming.len() >= ROOM_IS_CERTAIN_BELOW
        });
        self.sent += 1;
        let bytes: Vec<u8> = (0..size).map(|place| byte_at(self.sent, place)).collect();
        let (socket, model) = &mut self.sockets[one];
        let result = match &to {
            Some(to) => socket.send_to(&bytes, to),
            None => socket.send(&bytes),
        };
        let promised = model.promised[1];
        match result {
            Ok(count) => {
                assert_eq!(count, size, "a part of a datagram");
                assert!(size <= D::MOST, "larger than can be");
                assert!(target.is_some(), "sent to nobody");
                model.promised[1] = false;
                if receiver.is_none() {
                    assert!(!D::IS_CERTAIN, "sent to nobody: {model:?}");
                    model.unheard = true;
                    model.may_fail |= model.peer.is_some();
                }
                let mut datagram = Datagram {
                    from,
                    bytes,
                    maybe_lost: false,
                };
                let there = |(_, model): &&mut (D, Model<D::Address>)| {
                    Some(&model.address) == target.as_ref()
                };
                if let Some(receiver) = receiver {
                    self.sockets[receiver].1.incoming.push_back(datagram);
                } else if let Some((_, deaf)) = self.sockets.iter_mut().find(there) {
                    datagram.maybe_lost = true;
                    deaf.missed.push(datagram);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let excused = model.may_fail || D::IS_CERTAIN && is_full;
                assert!(!promised || excused, "an event, and no room");
                model.promised[1] = false;
            }
            Err(error) => {
                let nobody = target.is_none() || D::IS_CERTAIN && receiver.is_none();
                let excused = size > LARGEST || nobody || model.may_fail;
                assert!(excused, "{error}: {model:?}");
                if D::IS_CERTAIN && to.is_none() && receiver.is_none() {
                    // Linux disconnects a socket whose peer is gone, and throws away what it has received. One whose
                    // peer has another peer stays.
                    let is_gone = target.is_some_and(|target| {
                        let mut models = self.sockets.iter().map(|(_, model)| model);
                        models.all(|model| model.address != target)
                    });
                    let model = &mut self.sockets[one].1;
                    if is_gone {
                        model.peer = None;
                        model.incoming.clear();
                        model.promised[0] = false;
                    }
                }
            }
        }
    }

    fn receive(&mut self, one: usize, room: usize, how: How) {
        let peek = matches!(how, How::Peek { .. });
        let theirs = matches!(how, How::Theirs);
        if theirs && cfg!(windows) && room < LARGEST {
            // For a datagram that is longer than the buffer, the call of Windows itself gives an error.
            return;
        }
        let mut buffer = vec![0; room];
        let (socket, model) = &mut self.sockets[one];
        let result = match how {
            How::Ours { from: true } => socket
                .recv_from(&mut buffer)
                .map(|(n, from)| (n, Some(from))),
            How::Peek { from: true } => socket
                .peek_from(&mut buffer)
                .map(|(n, from)| (n, Some(from))),
            How::Ours { from: false } => socket.recv(&mut buffer).map(|n| (n, None)),
            How::Peek { from: false } => socket.peek(&mut buffer).map(|n| (n, None)),
            How::Theirs => socket
                .try_io(READABLE, |std| std.recv_from(&mut buffer))
                .map(|(n, from)| (n, Some(from))),
        };
        match result {
            Ok((count, from)) => {
                let got = &buffer[..count];
                let place = model.find(got, from.as_ref(), room);
                // Without any bytes it is not certain which of several datagrams this was.
                let ambiguous = count < 2 && model.is_ambiguous(got, room);
                if ambiguous {
                    for datagram in &mut model.incoming {
                        datagram.maybe_lost = true;
                    }
                }
                if !peek {
                    if !ambiguous {
                        model.take(place);
                    }
                    self.received += 1;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let promised = model.promised[0] && !model.may_fail;
                if theirs && cfg!(windows) {
                    // A call on the socket does not see what a receive in flight will bring.
                    return;
                }
                assert!(!promised, "an event, and nothing to receive: {model:?}");
            }
            Err(error) if theirs && cfg!(windows) && error.kind() == ErrorKind::InvalidInput => {
                // A datagram that was received into lent memory waits there unread.
                return;
            }
            Err(error) => assert!(model.may_fail, "{error}: {model:?}"),
        }
        if !peek {
            model.promised[0] = false;
        }
    }

    /// Polls and checks every event. Returns whether any came.
    fn poll_once(&mut self, capacity: usize, timeout: Duration) -> bool {
        let mut events = Events::with_capacity(capacity);
        let count = self.poll.poll(&mut events, Some(timeout)).unwrap();
        assert!(count == events.len() && count <= capacity);
        for event in &events {
            self.check_event(event);
        }
        count > 0
    }

    fn check_event(&mut self, event: &Event) {
        let token = event.id();
        if !event.is_readable() && !event.is_writable() {
            assert!(self.wakes.remove(&token), "a wake that nobody sent");
            return;
        }
        let fired = [
            (READABLE, event.is_readable()),
            (WRITABLE, event.is_writable()),
        ];
        for (interest, _) in fired.into_iter().filter(|(_, fired)| *fired) {
            let one = self
                .sockets
                .iter()
                .position(|(_, model)| model.armed[index(interest)] == Some(token))
                .unwrap_or_else(|| panic!("{event:?}: {interest:?} is not armed"));
            let must_fire = self.must_fire(one, interest);
            let model = &mut self.sockets[one].1;
            assert!(model.can_fire(interest), "{event:?}: {model:?}");
            assert!(!event.is_error() || model.may_fail, "{event:?}: {model:?}");
            model.armed[index(interest)] = None;
            model.promised[index(interest)] = must_fire;
        }
    }

    /// Whether the event of that interest must come, if it is armed and the program waits.
    fn must_fire(&self, one: usize, interest: Interests) -> bool {
        let model = &self.sockets[one].1;
        model.must_fire(interest)
            && (interest == READABLE || !D::IS_CERTAIN || self.room_is_certain(model))
    }

    /// Whether a socket whose unread datagrams take memory of the sender must be writable.
    fn room_is_certain(&self, sender: &Model<D::Address>) -> bool {
        let mut memory = 0;
        let mut has_room = true;
        for (_, model) in &self.sockets {
            if sender.peer.as_ref() == Some(&model.address) {
                has_room = model.incoming.len() < ROOM_IS_CERTAIN_BELOW;
            }
            for datagram in &model.incoming {
                if datagram.from == sender.address {
                    memory += datagram.bytes.len() + 2 * OVERHEAD;
                }
            }
        }
        has_room && memory < MEMORY_IS_CERTAIN_BELOW
    }

    /// The events that are armed and must come.
    fn due(&self) -> BTreeMap<Token, Interests> {
        let mut due = BTreeMap::new();
        for (one, (_, model)) in self.sockets.iter().enumerate() {
            for interest in [READABLE, WRITABLE] {
                if let Some(token) = model.armed[index(interest)] {
                    if self.must_fire(one, interest) {
                        *due.entry(token).or_insert(Interests::empty()) |= interest;
                    }
                }
            }
        }
        due
    }

    /// Polls until everything has come that must come.
    fn settle(&mut self, capacity: usize) {
        let end = Instant::now() + HANG;
        loop {
            let due = self.due();
            if due.is_empty() && self.wakes.is_empty() {
                break;
            }
            let models: Vec<_> = self.sockets.iter().map(|(_, model)| model).collect();
            let wakes = &self.wakes;
            assert!(
                Instant::now() < end,
                "lost: {due:?}, wakes {wakes:?}; {models:?}"
            );
            self.poll_once(capacity, PATIENCE);
        }
        while self.poll_once(capacity, Duration::ZERO) {}
    }

    /// Receives, after events, everything that must still come.
    fn empty(&mut self) {
        for one in 0..self.sockets.len() {
            while self.sockets[one].1.must_fire(READABLE) {
                let interests = READABLE;
                self.take_on(
                    one,
                    &Step::Register {
                        socket: one,
                        interests,
                    },
                );
                self.settle(64);
                self.receive(one, LARGEST, How::Ours { from: true });
            }
        }
    }
}

/// The byte at a place of a datagram. It differs between datagrams, and between places of one.
#[allow(clippy::cast_possible_truncation)] // less than 251
fn byte_at(datagram: usize, place: usize) -> u8 {
    ((datagram * 7 + place) % 251) as u8
}

// 2.1, 2.2, 2.3, 2.5, 2.7, 3.1, 3.2, 3.3, 3.6, 4.1, 4.3, 5.4, 5.7
fn random_programs_do_what_the_model_allows<D: Played>() {
    let _watchdog = watchdog();
    let config = Config {
        cases: u32::try_from(share(D::SHARE.min(2), 150)).unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    let limits = prop::sample::select(vec![None, Some(0), Some(1), Some(70_000), Some(140_000)]);
    let programs = (limits, prop::collection::vec(step(), 1..120));
    let received = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&programs, |(lent_limit, program)| {
        let mut world = World::<D>::new(lent_limit);
        for step in &program {
            world.take(step);
        }
        world.settle(64);
        world.empty();
        received.set(received.get() + world.received);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    assert_ne!(received.get(), 0, "no program received anything");
}

#[test]
fn random_programs_of_udp() {
    random_programs_do_what_the_model_allows::<UdpSocket>();
}

#[cfg(unix)]
#[test]
fn random_programs_of_unix_sockets() {
    random_programs_do_what_the_model_allows::<minimio::os::unix::UnixDatagram>();
}
