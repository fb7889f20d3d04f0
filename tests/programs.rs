//! Random programs that use streams and listeners on the real kernel. A model checks each step: it says which events
//! and bytes are allowed, and which must come.
//! Loopback may deliver bytes later than the call that sends them, so at each step the model says what *may* happen.
//! The program waits for what *must* come only at the step `Settle`, which also ends every program. `MINIMIO_EFFORT`
//! scales the number of programs. A program that fails is shrunk to a short one and printed. Write a test with a name
//! of its own for it.
//! The model checks at every call what paragraph 3.2 says of streams that have ended or broken. Once a call has
//! reported a failure, a read that would give an end gives that failure. An end that a read has given stays. After
//! `shutdown(Read)` a read gives the end and nothing else. A second shutdown of a direction changes nothing. A peer
//! whose linger time is 0 makes a reset and no end.
//! The model recognizes the client of an accepted stream by its port. `connect_nonblocking` gives the stream a port at
//! once on every system. On Windows the connect itself starts with the first registration, and until then no connection
//! waits for an `accept`.
//!
//! Contract: docs/contract.md, 2.1, 2.2, 2.3, 2.5, 2.7, 3.1, 3.2, 3.3, 3.5, 3.8, 3.10, 4.1, 4.3, 4.6, 5.4.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{self, Shutdown, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use common::ends::{share, ListenerEnd, Plain, StreamEnd};
use common::{under_wine, watchdog, HANG, READABLE, WRITABLE};
use minimio::{Event, Events, Interests, Poll, Source, TcpListener, TcpStream, Token};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;

/// With so many bytes unread there is certainly still room to write, since every buffer holds more.
const ROOM_IS_CERTAIN_BELOW: usize = 2_048;

/// So many bytes fit where room is certain.
const SURELY_WRITTEN: usize = 5_000;

/// The same for writes whose bytes are unread: some systems count the memory that a message takes, however short it is.
const ROOM_IS_CERTAIN_BELOW_WRITES: usize = 16;

const MOST_STREAMS: usize = 6;

/// Whether a non-blocking connect starts only with the first registration (3.5).
const CONNECTS_WHEN_REGISTERED: bool = cfg!(windows);

/// The sources of a program, and in what they differ.
trait Sources: 'static {
    type Stream: StreamEnd;
    type Listener: Source;
    type Address;
    /// What tells one client from another.
    type Name: Ord + Clone + std::fmt::Debug;

    const SHARE: usize = <Self::Stream as StreamEnd>::SHARE;

    /// Whether all bytes that a peer's writes accepted come before an end or a failure, however the peer went.
    const LOSES_NOTHING: bool = false;

    /// Whether a peer that drops its end with bytes unread always resets the connection.
    const UNREAD_BYTES_RESET: bool = false;

    /// Whether there is a peek, half a close, a reset and an error to take.
    const IS_SOCKET: bool = true;

    /// Whether a peer is told at once that nobody reads any more.
    const TELLS_OF_SHUT_READING: bool = false;

    fn bind() -> (Self::Listener, Self::Address);

    /// A client on its way, and its name. `None` if these sources have no clients.
    fn connect(address: &Self::Address, blocking: bool) -> Option<(Self::Stream, Self::Name)>;

    fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, Self::Name)>;

    /// Accepts by a call within `try_io`.
    fn try_accept(listener: &Self::Listener) -> io::Result<(Self::Stream, Self::Name)>;

    /// Makes the drop of `stream` wait so long for its peer, or reset it. Returns whether there is such an option.
    fn set_linger(stream: &Self::Stream, time: Duration) -> bool;
}

#[derive(Debug)]
struct Tcp;

impl Sources for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Address = SocketAddr;
    /// A port.
    type Name = u16;

    fn bind() -> (TcpListener, SocketAddr) {
        ListenerEnd::bind()
    }

    fn connect(address: &SocketAddr, blocking: bool) -> Option<(TcpStream, u16)> {
        let stream = if blocking {
            TcpStream::connect(address)
        } else {
            TcpStream::connect_nonblocking(*address)
        };
        let stream = stream.unwrap();
        let port = stream.local_addr().unwrap().port();
        Some((stream, port))
    }

    fn accept(listener: &TcpListener) -> io::Result<(TcpStream, u16)> {
        let (stream, from) = listener.accept()?;
        Ok((stream, from.port()))
    }

    fn try_accept(listener: &TcpListener) -> io::Result<(TcpStream, u16)> {
        let (stream, from) = listener.try_io(READABLE, net::TcpListener::accept)?;
        Ok((TcpStream::from_std(stream).unwrap(), from.port()))
    }

    fn set_linger(stream: &TcpStream, time: Duration) -> bool {
        SockRef::from(stream).set_linger(Some(time)).unwrap();
        true
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::net;
    use std::path::PathBuf;

    use minimio::os::unix::{UnixListener, UnixStream};

    use super::{io, Duration, ListenerEnd, Sources, READABLE};

    #[derive(Debug)]
    pub(crate) struct Unix;

    impl Sources for Unix {
        type Stream = UnixStream;
        type Listener = UnixListener;
        type Address = PathBuf;
        /// The path that the client is bound to.
        type Name = Option<PathBuf>;

        const LOSES_NOTHING: bool = true;
        const UNREAD_BYTES_RESET: bool = cfg!(target_os = "linux");
        const TELLS_OF_SHUT_READING: bool = true;

        fn bind() -> (UnixListener, PathBuf) {
            ListenerEnd::bind()
        }

        /// A connect ends within the call.
        fn connect(address: &PathBuf, _blocking: bool) -> Option<(UnixStream, Option<PathBuf>)> {
            let client = <UnixListener as ListenerEnd>::connect(address);
            let name = UnixListener::name(&client);
            Some((UnixStream::from_std(client).unwrap(), name))
        }

        fn accept(listener: &UnixListener) -> io::Result<(UnixStream, Option<PathBuf>)> {
            ListenerEnd::accept(listener)
        }

        fn try_accept(listener: &UnixListener) -> io::Result<(UnixStream, Option<PathBuf>)> {
            let (stream, from) = listener.try_io(READABLE, net::UnixListener::accept)?;
            let from = from.as_pathname().map(Into::into);
            Ok((UnixStream::from_std(stream).unwrap(), from))
        }

        fn set_linger(_stream: &UnixStream, _time: Duration) -> bool {
            false
        }
    }
}

#[cfg(windows)]
mod windows {
    use minimio::os::windows::NamedPipe;

    use super::{io, Duration, ErrorKind, ListenerEnd, Sources, TcpListener};

    /// Named pipes. Their programs have no listener: all pairs are connected from the start.
    #[derive(Debug)]
    pub(crate) struct Pipes;

    impl Sources for Pipes {
        type Stream = NamedPipe;
        /// Nobody connects to it.
        type Listener = TcpListener;
        type Address = ();
        type Name = ();

        const IS_SOCKET: bool = false;
        const LOSES_NOTHING: bool = true;

        fn bind() -> (TcpListener, ()) {
            (ListenerEnd::bind().0, ())
        }

        fn connect(_address: &(), _blocking: bool) -> Option<(NamedPipe, ())> {
            None
        }

        fn accept(_listener: &TcpListener) -> io::Result<(NamedPipe, ())> {
            Err(ErrorKind::WouldBlock.into())
        }

        fn try_accept(listener: &TcpListener) -> io::Result<(NamedPipe, ())> {
            Self::accept(listener)
        }

        fn set_linger(_stream: &NamedPipe, _time: Duration) -> bool {
            false
        }
    }
}

/// A step of a program. The number of a stream is taken modulo how many streams there are.
#[derive(Debug, Clone)]
enum Step {
    Connect,
    ConnectBlocking,
    Accept,
    /// Makes two streams that are connected already.
    Pair,
    /// Chooses how much memory a stream lends to a receive. This has an effect only on Windows.
    Lend {
        stream: usize,
        bytes: usize,
    },
    Read {
        stream: usize,
        room: usize,
    },
    Peek {
        stream: usize,
        room: usize,
    },
    Write {
        stream: usize,
        count: usize,
    },
    Register {
        stream: usize,
        interests: Interests,
    },
    Deregister {
        stream: usize,
    },
    Disarm {
        stream: usize,
        interests: Interests,
    },
    RegisterListener,
    DeregisterListener,
    DisarmListener,
    Shutdown {
        stream: usize,
        how: Shutdown,
    },
    TakeError {
        stream: usize,
    },
    /// A call within `try_io`: a read, a write, or one that returns `WouldBlock` for another reason.
    TryRead {
        stream: usize,
        room: usize,
    },
    TryWrite {
        stream: usize,
        count: usize,
    },
    TryNothing {
        stream: usize,
        interest: Interests,
    },
    TryAccept,
    Reset {
        stream: usize,
    },
    /// Drops a stream whose linger time is one second.
    Linger {
        stream: usize,
    },
    Drop {
        stream: usize,
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
    let stream = || 0..MOST_STREAMS;
    let size = || {
        prop_oneof![
            4 => 0..20_usize,
            2 => 1_000..1_030_usize,
            2 => 4_090..4_100_usize,
            1 => 65_530..65_540_usize,
            1 => Just(3_000_000_usize),
        ]
    };
    let interests = prop::sample::select(vec![READABLE, READABLE, WRITABLE, READABLE | WRITABLE]);
    let one = prop::sample::select(vec![READABLE, WRITABLE]);
    let how = prop::sample::select(vec![
        Shutdown::Write,
        Shutdown::Write,
        Shutdown::Read,
        Shutdown::Both,
    ]);
    let capacity = || prop_oneof![Just(1_usize), Just(2), Just(64), Just(2_000)];
    let lent = prop::sample::select(vec![0, 1, 100, 4_096, 65_536]);
    prop_oneof![
        4 => Just(Step::Connect),
        2 => Just(Step::ConnectBlocking),
        6 => Just(Step::Accept),
        2 => Just(Step::Pair),
        2 => (stream(), lent).prop_map(|(stream, bytes)| Step::Lend { stream, bytes }),
        12 => (stream(), size()).prop_map(|(stream, room)| Step::Read { stream, room }),
        3 => (stream(), size()).prop_map(|(stream, room)| Step::Peek { stream, room }),
        12 => (stream(), size()).prop_map(|(stream, count)| Step::Write { stream, count }),
        16 => (stream(), interests.clone())
            .prop_map(|(stream, interests)| Step::Register { stream, interests }),
        2 => stream().prop_map(|stream| Step::Deregister { stream }),
        3 => (stream(), interests.clone())
            .prop_map(|(stream, interests)| Step::Disarm { stream, interests }),
        4 => Just(Step::RegisterListener),
        1 => Just(Step::DeregisterListener),
        1 => Just(Step::DisarmListener),
        4 => (stream(), how).prop_map(|(stream, how)| Step::Shutdown { stream, how }),
        3 => stream().prop_map(|stream| Step::TakeError { stream }),
        2 => (stream(), size()).prop_map(|(stream, room)| Step::TryRead { stream, room }),
        2 => (stream(), size()).prop_map(|(stream, count)| Step::TryWrite { stream, count }),
        2 => (stream(), one).prop_map(|(stream, interest)| Step::TryNothing { stream, interest }),
        1 => Just(Step::TryAccept),
        2 => stream().prop_map(|stream| Step::Reset { stream }),
        1 => stream().prop_map(|stream| Step::Linger { stream }),
        1 => stream().prop_map(|stream| Step::Drop { stream }),
        2 => (0..4_usize).prop_map(|token| Step::Wake { token: WAKES + token }),
        12 => capacity().prop_map(|capacity| Step::Poll { capacity }),
        3 => capacity().prop_map(|capacity| Step::Settle { capacity }),
    ]
}

/// Tokens from this number on belong to wakes.
const WAKES: Token = 1 << 20;

/// How a stream is known: the number of streams that were made before it.
type Id = usize;

/// Bytes. A failed program is printed with only their number.
#[derive(Default)]
struct Bytes(VecDeque<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Deref for Bytes {
    type Target = VecDeque<u8>;

    fn deref(&self) -> &VecDeque<u8> {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut VecDeque<u8> {
        &mut self.0
    }
}

/// What may happen on one stream, and what must.
#[derive(Debug, Default)]
struct Model {
    armed: [Option<Token>; 2],
    was_registered: bool,
    peer: Option<Id>,
    /// Bytes that the peer's writes accepted and that were not read here.
    incoming: Bytes,
    /// The peer has ended its sending, after the bytes in `incoming`.
    fin: bool,
    /// The peer is gone, whether it closed or reset the connection.
    ended: bool,
    /// All of `incoming` comes before an end or a failure.
    loses_nothing: bool,
    /// A reset may have come or may still come, so bytes can be lost and calls can fail.
    maybe_reset: bool,
    /// The peer has reset the connection and had not ended its sending. So there is no end of stream.
    was_reset: bool,
    /// The failure that a call has reported.
    told: Option<ErrorKind>,
    /// `take_error` has returned it.
    taken: bool,
    /// A read has given the end.
    end_told: bool,
    /// A peek, or a call within `try_io`, has given the end. That is not a read of the crate. So if a failure came
    /// after the end, a read may give either.
    end_seen: bool,
    read_shut: bool,
    /// A shutdown of reading has failed, so it is not known what it did.
    maybe_read_shut: bool,
    /// Bytes of the peer's writes that will never be read.
    dropped: usize,
    write_shut: bool,
    /// The connect may still be under way.
    connecting: bool,
    /// The connect was begun.
    started: bool,
    /// An event of that direction has come and no call was made since, so the next call does not block.
    promised: [bool; 2],
    /// The peer reads no more, and the system says so to whoever writes.
    refused: bool,
    /// How many of the peer's writes may have bytes in `incoming`.
    unread_writes: usize,
    /// How many writes there were.
    sent_writes: usize,
    /// How many bytes were written. It makes the next bytes differ.
    written: usize,
}

impl Model {
    fn can_fire(&self, interest: Interests) -> bool {
        interest == WRITABLE || self.must_fire(interest) || self.maybe_reset
    }

    /// Whether the event of that interest must come, if it is armed and the program waits.
    fn must_fire(&self, interest: Interests) -> bool {
        let over = self.fin || self.ended || self.read_shut || self.told.is_some();
        interest == READABLE && (over || !self.incoming.is_empty() && !self.maybe_reset)
    }

    /// A read has taken so many bytes.
    fn took(&mut self, count: usize) {
        self.incoming.drain(..count);
        if self.incoming.is_empty() {
            self.unread_writes = 0;
        }
    }

    fn may_fail(&self) -> bool {
        self.maybe_reset || self.ended
    }

    /// Records that a call has reported this error. A broken pipe is not recorded, since a complete answer may still
    /// wait.
    fn tell(&mut self, error: &io::Error) {
        assert!(self.may_fail(), "{error}: {self:?}");
        if BREAKS.contains(&error.kind()) {
            let told = *self.told.get_or_insert(error.kind());
            assert_eq!(error.kind(), told, "another failure: {self:?}");
        }
    }

    /// Whether a read may give `Ok(0)`.
    fn may_end(&self) -> bool {
        if self.read_shut || self.end_told || self.end_seen {
            return true;
        }
        let may_break = self.may_fail() && (!self.loses_nothing || self.incoming.is_empty());
        let ends = self.incoming.is_empty() && self.fin || may_break || self.maybe_read_shut;
        // Wine 8 reports a reset that came before the receive as an end.
        let is_reset = self.was_reset && !under_wine();
        ends && !is_reset && self.told.is_none()
    }
}

/// The errors with which a connection may end instead of an end of stream.
const BREAKS: [ErrorKind; 4] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::TimedOut,
    ErrorKind::ConnectionRefused,
];

fn index(interest: Interests) -> usize {
    usize::from(interest == WRITABLE)
}

struct World<T: Sources> {
    poll: Poll,
    listener: T::Listener,
    address: T::Address,
    listener_armed: Option<Token>,
    listener_registered: bool,
    listener_promised: bool,
    /// Clients that are connected or will be, and were not accepted yet.
    pending: BTreeMap<T::Name, Id>,
    streams: BTreeMap<Id, T::Stream>,
    models: BTreeMap<Id, Model>,
    next_id: Id,
    next_token: Token,
    wakes: BTreeSet<Token>,
}

impl<T: Sources> World<T> {
    fn new(lent_limit: usize) -> World<T> {
        let (listener, address) = T::bind();
        World {
            poll: Poll::with_lent_limit(lent_limit).unwrap(),
            address,
            listener,
            listener_armed: None,
            listener_registered: false,
            listener_promised: false,
            pending: BTreeMap::new(),
            streams: BTreeMap::new(),
            models: BTreeMap::new(),
            next_id: 0,
            next_token: 0,
            wakes: BTreeSet::new(),
        }
    }

    fn pick(&self, stream: usize) -> Option<Id> {
        let count = self.streams.len();
        (count > 0).then(|| *self.streams.keys().nth(stream % count).unwrap())
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }

    fn add(&mut self, stream: T::Stream, mut model: Model) -> Id {
        model.loses_nothing = T::LOSES_NOTHING;
        let id = self.next_id;
        self.next_id += 1;
        self.streams.insert(id, stream);
        self.models.insert(id, model);
        id
    }

    fn model(&mut self, id: Id) -> &mut Model {
        self.models.get_mut(&id).unwrap()
    }

    /// The peer's side in the model, if there is one.
    fn peer(&mut self, id: Id) -> Option<&mut Model> {
        let peer = self.model(id).peer?;
        self.models.get_mut(&peer)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Connect | Step::ConnectBlocking => {
                self.connect(matches!(step, Step::ConnectBlocking));
            }
            Step::Pair => self.pair(),
            Step::Accept => {
                let result = T::accept(&self.listener);
                self.check_accept(result, true);
            }
            Step::TryAccept => {
                let result = T::try_accept(&self.listener);
                self.check_accept(result, false);
            }
            Step::RegisterListener => {
                let token = self.token();
                let registrator = self.poll.registrator();
                registrator
                    .register(&self.listener, token, READABLE)
                    .unwrap();
                self.listener_armed = Some(token);
                self.listener_registered = true;
            }
            Step::DeregisterListener | Step::DisarmListener => {
                let registrator = self.poll.registrator();
                let result = if matches!(step, Step::DisarmListener) {
                    registrator.disarm(&self.listener, READABLE)
                } else {
                    registrator.deregister(&self.listener)
                };
                assert_eq!(result.is_ok(), self.listener_registered);
                self.listener_armed = None;
            }
            Step::Wake { token } => {
                self.poll.registrator().wake(token).unwrap();
                self.wakes.insert(token);
            }
            Step::Poll { capacity } => drop(self.poll_once(capacity, Duration::ZERO)),
            Step::Settle { capacity } => self.settle(capacity),
            Step::Read { stream, .. }
            | Step::Peek { stream, .. }
            | Step::Write { stream, .. }
            | Step::Register { stream, .. }
            | Step::Deregister { stream }
            | Step::Disarm { stream, .. }
            | Step::Shutdown { stream, .. }
            | Step::TakeError { stream }
            | Step::TryRead { stream, .. }
            | Step::TryWrite { stream, .. }
            | Step::TryNothing { stream, .. }
            | Step::Reset { stream }
            | Step::Linger { stream }
            | Step::Lend { stream, .. }
            | Step::Drop { stream } => {
                if let Some(id) = self.pick(stream) {
                    self.take_on(id, step);
                }
            }
        }
    }

    fn take_on(&mut self, id: Id, step: &Step) {
        let of_sockets = matches!(
            step,
            Step::Peek { .. } | Step::Shutdown { .. } | Step::TakeError { .. }
        );
        if of_sockets && !T::IS_SOCKET {
            return;
        }
        match *step {
            Step::Read { room, .. } => self.read(id, room),
            Step::Peek { room, .. } => self.peek(id, room),
            Step::Write { count, .. } => self.write(id, count, true),
            Step::TryWrite { count, .. } => self.write(id, count, false),
            Step::TryRead { room, .. } => self.try_read(id, room),
            Step::TryNothing { interest, .. } => {
                // This `WouldBlock` is of something else, so it must not lose an event.
                let result = self.streams[&id].try_io(interest, |_| -> io::Result<()> {
                    Err(ErrorKind::WouldBlock.into())
                });
                let error = result.unwrap_err();
                let unread = cfg!(windows) && error.kind() == ErrorKind::InvalidInput;
                if cfg!(windows) && BREAKS.contains(&error.kind()) {
                    // The failure is kept, so the call is not made.
                    self.model(id).tell(&error);
                } else {
                    assert!(error.kind() == ErrorKind::WouldBlock || unread, "{error}");
                }
            }
            Step::TakeError { .. } => self.take_error(id),
            Step::Register { interests, .. } => {
                let token = self.token();
                let registrator = self.poll.registrator();
                registrator
                    .register(&self.streams[&id], token, interests)
                    .unwrap();
                let model = self.model(id);
                model.was_registered = true;
                model.started = true;
                for interest in interests {
                    model.armed[index(interest)] = Some(token);
                }
            }
            Step::Deregister { .. } => self.disarm(id, None),
            Step::Disarm { interests, .. } => self.disarm(id, Some(interests)),
            Step::Lend { bytes, .. } => self.streams[&id].set_lent_buffer(bytes),
            Step::Shutdown { how, .. } => self.shutdown(id, how),
            Step::Reset { .. } => {
                let resets = T::set_linger(&self.streams[&id], Duration::ZERO);
                self.drop_stream(id, resets);
            }
            Step::Linger { .. } => {
                // On Unix the drop waits that long for a peer that reads nothing, and in this program no other thread
                // reads.
                if cfg!(windows) || self.room_is_certain(id) {
                    T::set_linger(&self.streams[&id], Duration::from_secs(1));
                }
                self.drop_stream(id, false);
            }
            _ => self.drop_stream(id, false),
        }
    }

    /// Disarms both interests by `deregister`, or the given ones by `disarm`.
    fn disarm(&mut self, id: Id, interests: Option<Interests>) {
        let registrator = self.poll.registrator();
        let result = match interests {
            Some(interests) => registrator.disarm(&self.streams[&id], interests),
            None => registrator.deregister(&self.streams[&id]),
        };
        let model = self.model(id);
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

    /// Whether there must be room to write.
    fn room_is_certain(&self, id: Id) -> bool {
        let model = &self.models[&id];
        let writes = match model.peer {
            Some(peer) => self.models[&peer].unread_writes,
            None => model.sent_writes,
        };
        self.unread_by_peer(id) < ROOM_IS_CERTAIN_BELOW && writes < ROOM_IS_CERTAIN_BELOW_WRITES
    }

    /// How many bytes of a stream were written and not read, by its peer or by the client that will be its peer.
    fn unread_by_peer(&self, id: Id) -> usize {
        let model = &self.models[&id];
        match model.peer {
            Some(peer) => self.models[&peer].incoming.len() + self.models[&peer].dropped,
            None => model.written,
        }
    }

    fn connect(&mut self, blocking: bool) {
        if self.streams.len() >= MOST_STREAMS {
            return;
        }
        let Some((stream, from)) = T::connect(&self.address, blocking) else {
            return;
        };
        let model = Model {
            connecting: !blocking,
            started: blocking || !CONNECTS_WHEN_REGISTERED,
            ..Model::default()
        };
        let id = self.add(stream, model);
        self.pending.insert(from, id);
    }

    fn pair(&mut self) {
        if self.streams.len() + 1 >= MOST_STREAMS {
            return;
        }
        let (near, far) = T::Stream::two();
        let model = |peer| Model {
            peer,
            started: true,
            ..Model::default()
        };
        let near = self.add(near, model(None));
        let far = self.add(far, model(Some(near)));
        self.model(near).peer = Some(far);
    }

    /// Whether a client has connected and is still there. Then its connection can be accepted.
    fn waits(&self, id: &Id) -> bool {
        self.streams.contains_key(id) && self.models[id].started
    }

    /// `ours` is false for a call within `try_io`, of which less is promised. On Windows it does not see what an
    /// operation in flight will bring. Elsewhere it may accept a connection that is gone.
    fn check_accept(&mut self, result: io::Result<(T::Stream, T::Name)>, ours: bool) {
        let promised = std::mem::take(&mut self.listener_promised);
        match result {
            Ok((stream, from)) => {
                let client = self.pending.remove(&from);
                let client = client.expect("nobody connected");
                assert!(self.models[&client].started, "nobody has connected yet");
                let mut model = Model {
                    peer: Some(client),
                    started: true,
                    ..Model::default()
                };
                // What the client did before it was accepted.
                if let Some(before) = self.models.get_mut(&client) {
                    before.connecting = false;
                    model.incoming.extend(&bytes_at(0, before.written));
                    model.fin = before.write_shut;
                    model.maybe_reset = before.read_shut || before.maybe_read_shut;
                    model.refused = T::TELLS_OF_SHUT_READING && before.read_shut;
                    model.unread_writes = before.sent_writes;
                }
                if !self.streams.contains_key(&client) {
                    model.fin = true;
                    model.ended = true;
                    model.maybe_reset = true;
                }
                let id = self.add(stream, model);
                self.model(client).peer = Some(id);
            }
            Err(error) => {
                // The kernel may remove a connection whose client is gone.
                let gone = self
                    .pending
                    .values()
                    .any(|id| !self.streams.contains_key(id));
                if ours || !gone {
                    let unread = cfg!(windows) && !ours && error.kind() == ErrorKind::InvalidInput;
                    assert!(error.kind() == ErrorKind::WouldBlock || unread, "{error}");
                }
                let excused = gone || !ours && cfg!(windows);
                assert!(!promised || excused, "an event, and nothing to accept");
            }
        }
    }

    /// Checks the result of a read or a peek. Returns the number of bytes.
    fn check_read(&mut self, id: Id, result: io::Result<usize>, buffer: &[u8]) -> usize {
        let model = self.model(id);
        let promised = model.promised[0];
        match result {
            Ok(0) if buffer.is_empty() => 0,
            Ok(0) => {
                assert!(model.may_end(), "a false end of stream: {model:?}");
                0
            }
            Ok(count) => {
                assert!(!model.read_shut, "bytes after a shutdown: {model:?}");
                assert!(!model.end_told, "bytes after the end: {model:?}");
                assert!(count <= buffer.len());
                assert!(count <= model.incoming.len(), "bytes that nobody sent");
                let (head, tail) = model.incoming.as_slices();
                let (first, rest) = buffer[..count].split_at(count.min(head.len()));
                let same = head.starts_with(first) && tail.starts_with(rest);
                assert!(same, "other bytes");
                model.connecting = false;
                count
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(!promised, "an event, and nothing to read: {model:?}");
                let over = model.read_shut || model.end_told || model.told.is_some();
                assert!(!over, "it is over, and would block: {model:?}");
                0
            }
            Err(error) => {
                assert!(!model.end_told, "{error}, after the end: {model:?}");
                model.tell(&error);
                let breaks = BREAKS.contains(&error.kind());
                assert!(breaks, "{error} is no failure of a read: {model:?}");
                let lost = model.loses_nothing && !model.incoming.is_empty();
                assert!(!lost, "{error}, and bytes are lost: {model:?}");
                0
            }
        }
    }

    fn read(&mut self, id: Id, room: usize) {
        let mut buffer = vec![0; room];
        let result = self.streams[&id].read(&mut buffer);
        let ended = room > 0 && matches!(result, Ok(0));
        let count = self.check_read(id, result, &buffer);
        let model = self.model(id);
        model.took(count);
        if room > 0 {
            model.promised[0] = false;
            model.end_told |= ended;
        }
    }

    /// Checks a read within `try_io`. It gets the answers of the system, which reports a failure only once and may go
    /// on after a shutdown of reading.
    fn try_read(&mut self, id: Id, room: usize) {
        let model = self.model(id);
        if room == 0 || model.read_shut || model.maybe_read_shut {
            return;
        }
        let mut buffer = vec![0; room];
        let result = self.streams[&id].try_io(READABLE, |std| std.read(&mut buffer));
        let model = self.model(id);
        match result {
            Ok(0) => {
                let ended = model.incoming.is_empty() && model.fin || model.may_fail();
                assert!(ended, "an end of stream that nobody made: {model:?}");
                model.end_seen = true;
            }
            Ok(_) => {
                let count = self.check_read(id, result, &buffer);
                self.model(id).took(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let promised = model.promised[0] && !cfg!(windows);
                assert!(!promised, "an event, and nothing to read: {model:?}");
                return;
            }
            Err(error) if cfg!(windows) && error.kind() == ErrorKind::InvalidInput => return,
            Err(error) if model.connecting && error.kind() == ErrorKind::NotConnected => return,
            // The crate sees the result of the call, and remembers a failure.
            Err(error) => model.tell(&error),
        }
        self.model(id).promised[0] = false;
    }

    fn take_error(&mut self, id: Id) {
        let result = self.streams[&id].take_error().unwrap();
        let model = self.model(id);
        match result {
            Some(error) => {
                assert!(!model.taken, "{error}, for the second time: {model:?}");
                model.tell(&error);
                model.taken = true;
            }
            None => assert!(
                model.told.is_none() || model.taken,
                "a failure that was told is not there to be taken: {model:?}"
            ),
        }
    }

    fn peek(&mut self, id: Id, room: usize) {
        let mut buffer = vec![0; room];
        let result = self.streams[&id].peek(&mut buffer);
        let ended = room > 0 && matches!(result, Ok(0));
        self.check_read(id, result, &buffer);
        self.model(id).end_seen |= ended;
    }

    /// `ours` is false for a call within `try_io`.
    fn write(&mut self, id: Id, count: usize, ours: bool) {
        if !ours && !T::IS_SOCKET && (!self.room_is_certain(id) || count > SURELY_WRITTEN) {
            // A call of the user's own on a pipe waits for room.
            return;
        }
        let from = self.model(id).written;
        let bytes = bytes_at(from, count);
        if !ours && self.model(id).connecting {
            // While the connect is under way, the system may answer in its own way.
            return;
        }
        let result = if ours {
            self.streams[&id].write(&bytes)
        } else {
            self.streams[&id].try_io(WRITABLE, |std| std.write(&bytes))
        };
        let model = self.model(id);
        let promised = model.promised[1] && (ours || !cfg!(windows));
        let had_peer = model.peer.is_some();
        if count > 0 {
            model.promised[1] = false;
        }
        match result {
            Ok(taken) => {
                assert!(taken <= count);
                assert!(count == 0 || taken > 0, "nothing taken, and no error");
                assert!(count == 0 || !model.write_shut, "a write after the end");
                let broken = model.told.is_some() && ours;
                assert!(count == 0 || !broken, "it was broken: {model:?}");
                assert!(count == 0 || !model.refused, "nobody reads it: {model:?}");
                model.written += taken;
                model.sent_writes += usize::from(taken > 0);
                if count > 0 {
                    model.connecting = false;
                }
                // The system of a peer that is gone or does not read any more may answer with a reset.
                let ended = model.ended;
                if ended && taken > 0 {
                    model.maybe_reset = true;
                }
                let reads_no_more = match self.peer(id) {
                    Some(peer) if peer.read_shut => {
                        peer.dropped += taken;
                        true
                    }
                    Some(peer) => {
                        peer.incoming.extend(&bytes[..taken]);
                        peer.unread_writes += usize::from(taken > 0);
                        peer.maybe_read_shut
                    }
                    None => had_peer,
                };
                if reads_no_more && taken > 0 {
                    self.model(id).maybe_reset = true;
                    if let Some(peer) = self.peer(id) {
                        peer.maybe_reset = true;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(!promised, "an event, and no room: {model:?}");
            }
            Err(_) if model.write_shut && !model.may_fail() => {}
            Err(error) if model.refused && error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => model.tell(&error),
        }
    }

    fn shutdown(&mut self, id: Id, how: Shutdown) {
        let result = self.streams[&id].shutdown(how);
        let model = self.model(id);
        if let Err(error) = result {
            if error.kind() == ErrorKind::NotConnected && model.connecting {
                // The connect is under way, so the shutdown has done nothing.
                return;
            }
            let excused = model.may_fail() || model.fin || model.write_shut;
            assert!(excused, "{error}: {model:?}");
            model.maybe_read_shut |= how != Shutdown::Write;
            return;
        }
        model.connecting = false;
        if how != Shutdown::Write && !model.read_shut {
            model.read_shut = true;
            model.dropped += model.incoming.len();
            model.incoming.clear();
            if let Some(peer) = self.peer(id) {
                peer.refused |= T::TELLS_OF_SHUT_READING;
            }
        }
        let model = self.model(id);
        if how != Shutdown::Read {
            model.write_shut = true;
            if let Some(peer) = self.peer(id) {
                peer.fin = true;
            }
        }
        // If bytes arrive at an end that reads no more, its system may answer with a reset.
        let model = self.model(id);
        if model.read_shut && model.dropped > 0 {
            model.maybe_reset = true;
            if let Some(peer) = self.peer(id) {
                peer.maybe_reset = true;
            }
        }
    }

    fn drop_stream(&mut self, id: Id, reset: bool) {
        drop(self.streams.remove(&id));
        let model = self.model(id);
        // Bytes that are unread or on their way turn the closing into a reset.
        let discards = reset
            || T::IS_SOCKET && !model.incoming.is_empty()
            || model.maybe_reset
            || model.read_shut
            || model.maybe_read_shut;
        let ended_before = model.write_shut || model.told.is_some();
        let reset = reset || T::UNREAD_BYTES_RESET && !model.incoming.is_empty();
        if let Some(peer) = self.peer(id) {
            peer.ended = true;
            peer.fin = true;
            peer.maybe_reset |= discards;
            peer.was_reset |= reset && !ended_before;
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
        if event.is_readable() && self.listener_armed == Some(token) {
            assert!(!event.is_writable());
            let someone = self.pending.values().any(|id| self.models[id].started);
            assert!(someone, "nobody connects");
            self.listener_armed = None;
            self.listener_promised = true;
            return;
        }
        for interest in [READABLE, WRITABLE] {
            let fired = if interest == READABLE {
                event.is_readable()
            } else {
                event.is_writable()
            };
            if fired {
                self.check_fired(event, interest);
            }
        }
    }

    fn check_fired(&mut self, event: &Event, interest: Interests) {
        let armed = |model: &&mut Model| model.armed[index(interest)] == Some(event.id());
        let streams = &self.streams;
        let model = self
            .models
            .iter_mut()
            .filter(|(id, _)| streams.contains_key(id))
            .map(|(_, model)| model)
            .find(armed)
            .unwrap_or_else(|| panic!("{event:?}: {interest:?} is not armed"));
        assert!(model.can_fire(interest), "{event:?}: {model:?}");
        let read_closed = model.fin || model.read_shut || model.may_fail();
        assert!(
            !event.is_read_closed() || read_closed,
            "{event:?}: {model:?}"
        );
        let write_closed = model.write_shut || model.may_fail() || model.refused;
        assert!(
            !event.is_write_closed() || write_closed,
            "{event:?}: {model:?}"
        );
        assert!(
            !event.is_error() || model.may_fail(),
            "{event:?}: {model:?}"
        );
        model.armed[index(interest)] = None;
        model.promised[index(interest)] = true;
        if interest == WRITABLE {
            model.connecting = false;
        }
    }

    /// The events that are armed and must come.
    fn due(&self) -> Vec<(Id, Interests)> {
        let mut due = Vec::new();
        for id in self.streams.keys() {
            let model = &self.models[id];
            if model.armed[0].is_some() && model.must_fire(READABLE) {
                due.push((*id, READABLE));
            }
            if model.armed[1].is_some() && self.room_is_certain(*id) {
                due.push((*id, WRITABLE));
            }
        }
        due
    }

    fn listener_is_due(&self) -> bool {
        self.listener_armed.is_some() && self.pending.values().any(|id| self.waits(id))
    }

    /// Polls until everything has come that must come.
    fn settle(&mut self, capacity: usize) {
        let end = Instant::now() + HANG;
        loop {
            let due = self.due();
            if due.is_empty() && self.wakes.is_empty() && !self.listener_is_due() {
                break;
            }
            assert!(
                Instant::now() < end,
                "lost: {due:?}, wakes {:?}, listener {}; {:?}",
                self.wakes,
                self.listener_is_due(),
                self.models
            );
            self.poll_once(capacity, PATIENCE);
        }
        while self.poll_once(capacity, Duration::ZERO) {}
    }
}

/// How long one wait for what must come lasts. `HANG` bounds all waits together. Shrinking a program that lost an event
/// takes many such waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of every stream from a place on. They repeat after 251 bytes. They are copied in whole pieces, since a
/// debug build under an emulator takes seconds for megabytes byte by byte.
fn bytes_at(place: usize, count: usize) -> Vec<u8> {
    let piece: Vec<u8> = (0..251).collect();
    let mut bytes = Vec::with_capacity(count);
    let mut start = place % piece.len();
    while bytes.len() < count {
        let end = piece.len().min(start + count - bytes.len());
        bytes.extend_from_slice(&piece[start..end]);
        start = 0;
    }
    bytes
}

fn run<T: Sources>(lent_limit: usize, program: &[Step]) {
    let mut world = World::<T>::new(lent_limit);
    for step in program {
        world.take(step);
    }
    world.settle(64);
}

// 2.1, 2.2, 2.3, 2.5, 2.7, 3.1, 3.2, 3.3, 3.5, 3.8, 3.10, 4.1, 4.3, 4.6, 5.4
fn random_programs_do_what_the_model_allows<T: Sources>() {
    let _watchdog = watchdog();
    let config = Config {
        // Most of what may go wrong does not depend on the sources.
        cases: u32::try_from(share(T::SHARE.min(2), 150)).unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    // On Windows, receives and sends beyond this limit work without lent memory. On other systems the limit changes
    // nothing.
    let lent_limit = prop::sample::select(vec![0, 5_000, 64 << 20]);
    let programs = (lent_limit, prop::collection::vec(step(), 1..120));
    let result = TestRunner::new(config).run(&programs, |(lent_limit, program)| {
        run::<T>(lent_limit, &program);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn random_programs_of_tcp() {
    random_programs_do_what_the_model_allows::<Tcp>();
}

#[cfg(unix)]
#[test]
fn random_programs_of_unix_sockets() {
    random_programs_do_what_the_model_allows::<unix::Unix>();
}

#[cfg(windows)]
#[test]
fn random_programs_of_named_pipes() {
    random_programs_do_what_the_model_allows::<windows::Pipes>();
}
