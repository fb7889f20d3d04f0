//! The contract suite is written once, for any source: a test is a function that is generic over the end of a
//! connection, and [`suite`] makes one `#[test]` of it for each source that has what the test needs. It is named by the
//! source and the test: `tcp::the_first_read_after_an_event_gives_bytes`.
//!
//! **The idea.** One trait for each shape: [`StreamEnd`], [`ListenerEnd`], [`DatagramEnd`], and [`Family`] for tests
//! that need all three. The methods are those of the sources themselves, so a generic test reads like one for TCP. What
//! is at the other end is a blocking [`Peer`].
//!
//! **The price.** A source need not have everything. What a source cannot do, or does in another way by its nature, is
//! a row in [`EXCLUDED`], with the reason. Nothing else keeps a test from a source of its shape.

#[cfg(windows)]
pub(crate) mod named_pipe;
pub(crate) mod pipe;
#[cfg(unix)]
pub(crate) mod unix;

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{self, Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use minimio::{Interests, IntoStdError, Source, TcpListener, TcpStream, UdpSocket};
use socket2::SockRef;

use super::{effort, HANG, LOOPBACKS};

/// Why some tests do not run for a source.
pub(crate) struct Exclusion {
    /// The name of the source, as in the name of the test.
    pub(crate) source: &'static str,
    /// The names of the tests, with those of their files.
    pub(crate) tests: &'static [&'static str],
    /// On which systems.
    pub(crate) applies: bool,
    pub(crate) reason: &'static str,
}

const IS_LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// All exclusions. One that names no test fails `source.rs`.
pub(crate) const EXCLUDED: &[Exclusion] = &[
    Exclusion {
        source: "tcp",
        tests: &["stream::a_stream_that_went_through_std_can_join_another_poll"],
        applies: cfg!(windows),
        reason: "Windows ties a socket to one port for life",
    },
    Exclusion {
        source: "descriptor",
        tests: &[
            "broken::a_reset_that_a_read_told_is_told_by_every_read_and_once_by_take_error",
            "broken::a_reset_that_a_write_told_is_what_reads_give",
            "broken::a_reset_that_take_error_told_is_what_reads_give",
            "broken::an_end_that_no_read_told_does_not_hide_a_reset",
            "broken::bytes_come_before_the_reset_that_a_write_told",
            "try_io::a_reset_that_a_call_tells_of_stays",
        ],
        applies: true,
        reason: "the crate knows no sockets here, so no failure sticks (contract, 9.1)",
    },
    Exclusion {
        source: "descriptor",
        tests: &[
            "shutdown::bytes_that_wait_are_behind_the_end",
            "shutdown::writing_goes_on_whatever_the_peer_sends",
        ],
        applies: true,
        reason: "the crate is not told of the shutdown, and what a read gives then is the kernel's",
    },
    Exclusion {
        source: "descriptor",
        tests: &[
            "broken::any_number_of_empty_buffers_may_stand_in_front",
            "stream::an_empty_buffer_gives_zero_and_changes_nothing",
            "unix_faults::a_receive_that_was_handed_less_than_the_buffer_is_no_drain",
            "unix_faults::a_send_that_was_handed_less_than_the_buffer_does_not_mean_full",
            "unix_faults::what_a_shortened_call_did_not_find_is_still_owed",
        ],
        applies: true,
        reason: "the calls are those of the thing",
    },
    Exclusion {
        source: "pipe_reader",
        tests: &["unix_faults::what_a_shortened_call_did_not_find_is_still_owed"],
        applies: true,
        reason: "a short read of a pipe proves nothing, so each registration asks (contract, 9.3)",
    },
    Exclusion {
        source: "named_pipe",
        tests: &["stream::bytes_written_behind_the_crates_back_make_no_false_event"],
        applies: true,
        reason: "a call on the handle of a full pipe waits for room",
    },
    Exclusion {
        source: "pipe_writer",
        tests: &["stream::bytes_written_behind_the_crates_back_make_no_false_event"],
        applies: cfg!(windows),
        reason: "a call on the handle of a full pipe waits for room",
    },
    Exclusion {
        source: "unix",
        tests: &[
            "unix_faults::an_accept_passes_over_64_aborted_connections_and_the_next_is_reported",
        ],
        applies: true,
        reason: "no connection to a Unix socket is aborted while it waits",
    },
    Exclusion {
        source: "unix",
        tests: &["datagrams::a_connected_socket_hears_its_peer_only"],
        applies: true,
        reason: "to send to a socket that is connected to another is an error of the send",
    },
    Exclusion {
        source: "unix",
        tests: &[
            "stream::a_reset_is_an_event_and_the_error_of_the_read",
            "stream::the_error_of_a_reset_is_taken_once",
            "stream::a_reset_with_bytes_unread_is_never_an_end_of_stream",
            "register::a_peer_that_has_reset_the_connection_is_an_event_and_no_error_of_register",
            "broken::a_reset_that_a_write_told_is_what_reads_give",
            "broken::a_reset_that_take_error_told_is_what_reads_give",
            "broken::a_reset_that_a_read_told_is_told_by_every_read_and_once_by_take_error",
            "broken::bytes_come_before_the_reset_that_a_write_told",
            "try_io::a_reset_that_a_call_tells_of_stays",
        ],
        applies: !IS_LINUX,
        reason:
            "a Unix socket of a BSD ends when its peer closes with bytes unread, and is not reset",
    },
    Exclusion {
        source: "descriptor",
        tests: &[
            "stream::a_reset_is_an_event_and_the_error_of_the_read",
            "stream::the_error_of_a_reset_is_taken_once",
            "stream::a_reset_with_bytes_unread_is_never_an_end_of_stream",
            "register::a_peer_that_has_reset_the_connection_is_an_event_and_no_error_of_register",
        ],
        applies: !IS_LINUX,
        reason:
            "a Unix socket of a BSD ends when its peer closes with bytes unread, and is not reset",
    },
];

/// Runs a test for one source, or says why it does not.
pub(crate) fn run(module: &str, name: &str, test: fn()) {
    let (file, source) = module.split_once("::").unwrap();
    let name = format!("{file}::{name}");
    for row in EXCLUDED {
        if row.applies && row.source == source && row.tests.contains(&name.as_str()) {
            eprintln!("{source} is excluded: {}", row.reason);
            return;
        }
    }
    test();
}

/// Makes a `#[test]` of each generic function, in a module for each source.
/// - `streams`: tests of [`StreamEnd`]s that read and write.
/// - `sockets`: tests of streams with what only sockets have: a peek, half a close, a reset, an error to take, a type of
///   `std` to be made from and given back as. Pipes and named pipes have none of these.
/// - `reading`, `writing`: tests that need only that direction of the source, and the other one of its peer.
/// - `listeners`, `datagrams`, `families`: tests of the other shapes.
#[allow(unused_macros)]
macro_rules! suite {
    (
        $(streams { $($stream:ident),* $(,)? })?
        $(sockets { $($socket:ident),* $(,)? })?
        $(reading { $($reading:ident),* $(,)? })?
        $(writing { $($writing:ident),* $(,)? })?
        $(listeners { $($listener:ident),* $(,)? })?
        $(datagrams { $($datagram:ident),* $(,)? })?
        $(families { $($family:ident),* $(,)? })?
    ) => {
        mod tcp {
            $crate::common::ends::instances!(minimio::TcpStream:
                $($($stream)*)? $($($socket)*)? $($($reading)*)? $($($writing)*)?);
            $crate::common::ends::instances!(minimio::TcpListener: $($($listener)*)?);
        }
        mod udp {
            $crate::common::ends::instances!(minimio::UdpSocket: $($($datagram)*)?);
        }
        mod inet {
            $crate::common::ends::instances!(crate::common::ends::Inet: $($($family)*)?);
        }
        mod pipe_reader {
            $crate::common::ends::instances!(minimio::PipeReader: $($($reading)*)?);
        }
        mod pipe_writer {
            $crate::common::ends::instances!(minimio::PipeWriter: $($($writing)*)?);
        }
        #[cfg(windows)]
        mod named_pipe {
            $crate::common::ends::instances!(minimio::os::windows::NamedPipe:
                $($($stream)*)? $($($reading)*)? $($($writing)*)?);
        }
        #[cfg(unix)]
        mod descriptor {
            $crate::common::ends::instances!(crate::common::ends::unix::StdDescriptor:
                $($($stream)*)? $($($socket)*)? $($($reading)*)? $($($writing)*)?);
        }
        #[cfg(unix)]
        mod unix {
            $crate::common::ends::instances!(minimio::os::unix::UnixStream:
                $($($stream)*)? $($($socket)*)? $($($reading)*)? $($($writing)*)?);
            $crate::common::ends::instances!(minimio::os::unix::UnixListener: $($($listener)*)?);
            $crate::common::ends::instances!(minimio::os::unix::UnixDatagram: $($($datagram)*)?);
            $crate::common::ends::instances!(crate::common::ends::unix::Unix: $($($family)*)?);
        }
    };
}

/// Makes a `#[test]` of each generic function, for one source.
#[allow(unused_macros)]
macro_rules! instances {
    ($source:ty: $($test:ident)*) => {$(
        #[test]
        fn $test() {
            $crate::common::ends::run(module_path!(), stringify!($test), super::$test::<$source>);
        }
    )*};
}

#[allow(unused_imports)]
pub(crate) use {instances, suite};

/// What is at the other end of a stream: a blocking stream that does not know this crate.
pub(crate) trait Peer: Read + Write + Debug + Send + Sync + Sized + 'static {
    /// A second owner of the same end.
    fn duplicate(&self) -> Self;

    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Returns once there is a byte to read, and leaves it.
    fn await_byte(&self);
}

impl Peer for net::TcpStream {
    fn duplicate(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        net::TcpStream::shutdown(self, how)
    }

    fn await_byte(&self) {
        assert_eq!(self.peek(&mut [0]).unwrap(), 1);
    }
}

/// What a source is made of and turned into again: what `try_io` hands to a call.
pub(crate) trait Plain: Debug + Send + Sized + 'static {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    fn set_nonblocking(&self, on: bool) -> io::Result<()>;

    /// Fills the buffer. The stream must be blocking.
    fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }
}

impl Plain for net::TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        net::TcpStream::set_nonblocking(self, on)
    }
}

/// One end of a connection: a source that reads and writes. All methods take a shared reference, as the sources allow.
pub(crate) trait StreamEnd: Source + Debug + Send + Sync + Sized + 'static {
    type Peer: Peer;
    type Plain: Plain;

    /// In how many ways a pair is made.
    const KINDS: usize = 1;

    /// How many times fewer rounds than TCP the long loops make.
    const SHARE: usize = 8;

    /// Whether one direction can be closed alone.
    const HALF_CLOSES: bool = true;

    /// Whether one call writes several buffers also before the first registration.
    const GATHERS: bool = true;

    /// Whether a write may be the call that tells of a reset.
    const WRITES_TELL_OF_A_RESET: bool = true;

    /// A stream to test and its peer, made in one of the ways.
    fn pair_of(kind: usize) -> (Self, Self::Peer);

    fn pair() -> (Self, Self::Peer) {
        Self::pair_of(0)
    }

    /// Two connected streams to test.
    fn two() -> (Self, Self);

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    fn flush(&self) -> io::Result<()>;

    /// As `std` does: `WouldBlock` is an error.
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.write(bytes)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    fn take_error(&self) -> io::Result<Option<io::Error>>;

    fn set_lent_buffer(&self, bytes: usize);

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R>;

    fn from_std(plain: Self::Plain) -> io::Result<Self>;

    fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>>;

    /// A second owner of the same end, which the crate does not know.
    fn duplicate(&self) -> Self::Plain;

    /// Makes the peer go away in such a way that this end is told of a failure, not of an end.
    fn reset(&self, peer: Self::Peer);

    /// Moves data where the crate cannot see it.
    fn read_behind(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Moves data where the crate cannot see it.
    fn write_behind(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Scales the number of rounds of a long loop.
    fn effort(count: usize) -> usize {
        share(Self::SHARE, count)
    }

    /// Returns once there are at least `count` bytes to read (at most 64 KiB), without taking them. They must have been
    /// written in one call, since a peek on Windows may show only bytes that came together.
    #[track_caller]
    fn await_bytes(&self, count: usize) {
        let mut buffer = vec![0; count];
        let end = Instant::now() + HANG;
        loop {
            match self.peek(&mut buffer) {
                Ok(seen) if seen >= count => return,
                Ok(0) => panic!("the stream ended before {count} bytes came"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < end, "{count} bytes did not come");
            thread::yield_now();
        }
    }
}

/// A share of a number of rounds, at least 1, and scaled by the effort.
pub(crate) fn share(of: usize, count: usize) -> usize {
    effort((count / of).max(1))
}

/// The methods of a [`StreamEnd`] that pass a call on to the method of the same name.
macro_rules! pass_on {
    ($source:ty) => {
        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            Read::read(&mut &*self, buffer)
        }

        fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            Read::read_vectored(&mut &*self, buffers)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            Write::write(&mut &*self, bytes)
        }

        fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            Write::write_vectored(&mut &*self, buffers)
        }

        fn flush(&self) -> io::Result<()> {
            Write::flush(&mut &*self)
        }

        fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
            <$source>::peek(self, buffer)
        }

        fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            <$source>::shutdown(self, how)
        }

        fn take_error(&self) -> io::Result<Option<io::Error>> {
            <$source>::take_error(self)
        }

        fn try_io<R>(
            &self,
            interests: Interests,
            call: impl FnOnce(&Self::Plain) -> io::Result<R>,
        ) -> io::Result<R> {
            <$source>::try_io(self, interests, call)
        }

        fn from_std(plain: Self::Plain) -> io::Result<Self> {
            <$source>::from_std(plain)
        }

        fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>> {
            <$source>::into_std(self)
        }

        fn duplicate(&self) -> Self::Plain {
            SockRef::from(self).try_clone().unwrap().into()
        }

        fn read_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
            Read::read(&mut &*SockRef::from(self), buffer)
        }

        fn write_behind(&self, bytes: &[u8]) -> io::Result<usize> {
            SockRef::from(self).send(bytes)
        }
    };
}

#[cfg(unix)]
use pass_on;

impl StreamEnd for TcpStream {
    type Peer = net::TcpStream;
    type Plain = net::TcpStream;

    const KINDS: usize = LOOPBACKS.len();
    const SHARE: usize = 1;

    fn pair_of(kind: usize) -> (Self, Self::Peer) {
        super::pair_over(LOOPBACKS[kind])
    }

    fn two() -> (Self, Self) {
        super::minimio_pair()
    }

    pass_on!(TcpStream);

    fn set_lent_buffer(&self, bytes: usize) {
        TcpStream::set_lent_buffer(self, bytes);
    }

    fn reset(&self, peer: Self::Peer) {
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
    }
}

/// A listener that accepts streams.
pub(crate) trait ListenerEnd: Source + Debug + Send + Sync + Sized + 'static {
    /// Where clients connect.
    type Address: Clone + Debug + Send + Sync;
    /// What tells one client from another.
    type Name: Ord + Clone + Debug + Send;
    type Client: Peer;
    type Stream: StreamEnd<Peer = Self::Client>;
    type Plain: Debug + Send + Sized + 'static;

    /// In how many ways a listener is made.
    const KINDS: usize = 1;

    fn bind_of(kind: usize) -> (Self, Self::Address);

    fn bind() -> (Self, Self::Address) {
        Self::bind_of(0)
    }

    /// Binds once more where a listener was.
    fn bind_at(address: &Self::Address) -> io::Result<Self>;

    fn connect(address: &Self::Address) -> Self::Client;

    fn name(client: &Self::Client) -> Self::Name;

    fn accept(&self) -> io::Result<(Self::Stream, Self::Name)>;

    fn accept_plain(plain: &Self::Plain) -> io::Result<Self::Name>;

    fn set_nonblocking(plain: &Self::Plain, on: bool);

    fn take_error(&self) -> io::Result<Option<io::Error>>;

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R>;

    fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>>;

    /// Accepts a connection that may still be on its way to the listener.
    #[track_caller]
    fn await_accept(&self) -> (Self::Stream, Self::Name) {
        super::until_done(|| self.accept()).unwrap()
    }
}

impl ListenerEnd for TcpListener {
    type Address = SocketAddr;
    type Name = SocketAddr;
    type Client = net::TcpStream;
    type Stream = TcpStream;
    type Plain = net::TcpListener;

    const KINDS: usize = LOOPBACKS.len();

    fn bind_of(kind: usize) -> (Self, Self::Address) {
        let listener = TcpListener::bind(LOOPBACKS[kind]).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn bind_at(address: &Self::Address) -> io::Result<Self> {
        TcpListener::bind(address)
    }

    fn connect(address: &Self::Address) -> Self::Client {
        net::TcpStream::connect(address).unwrap()
    }

    fn name(client: &Self::Client) -> Self::Name {
        client.local_addr().unwrap()
    }

    fn accept(&self) -> io::Result<(Self::Stream, Self::Name)> {
        TcpListener::accept(self)
    }

    fn accept_plain(plain: &Self::Plain) -> io::Result<Self::Name> {
        plain.accept().map(|(_, from)| from)
    }

    fn set_nonblocking(plain: &Self::Plain, on: bool) {
        plain.set_nonblocking(on).unwrap();
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        TcpListener::take_error(self)
    }

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        TcpListener::try_io(self, interests, call)
    }

    fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>> {
        self.into_std()
    }
}

/// A blocking socket at the other end of a [`DatagramEnd`].
pub(crate) trait DatagramPeer: Debug + Send + Sync + Sized + 'static {
    type Address: Clone + PartialEq + Debug + Send + Sync;

    /// A socket that is bound and not connected.
    fn bind_of(kind: usize) -> Self;

    fn address(&self) -> Self::Address;

    fn connect(&self, address: &Self::Address) -> io::Result<()>;

    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    fn send_to(&self, bytes: &[u8], address: &Self::Address) -> io::Result<usize>;

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;

    fn set_nonblocking(&self, on: bool) -> io::Result<()>;
}

/// A socket that sends and receives datagrams.
pub(crate) trait DatagramEnd: Source + Debug + Send + Sync + Sized + 'static {
    type Address: Clone + PartialEq + Debug + Send + Sync;
    type Peer: DatagramPeer<Address = Self::Address>;

    /// In how many ways a socket is made.
    const KINDS: usize = 1;

    /// How many times fewer rounds than UDP the long loops make.
    const SHARE: usize = 8;

    /// A length that every socket can send.
    const LARGEST: usize;

    /// A length that no socket can send.
    const TOO_LONG: usize;

    /// How many small datagrams wait at a socket at least.
    const QUEUE: u8;

    fn bind_of(kind: usize) -> Self;

    fn bind() -> Self {
        Self::bind_of(0)
    }

    /// A socket to test and its peer. They are not connected.
    fn pair_of(kind: usize) -> (Self, Self::Peer) {
        (Self::bind_of(kind), Self::Peer::bind_of(kind))
    }

    /// The same, but each is connected to the other.
    fn connected_of(kind: usize) -> (Self, Self::Peer) {
        let (socket, peer) = Self::pair_of(kind);
        socket.connect(&peer.address()).unwrap();
        peer.connect(&socket.address()).unwrap();
        (socket, peer)
    }

    fn connected() -> (Self, Self::Peer) {
        Self::connected_of(0)
    }

    fn address(&self) -> Self::Address;

    fn peer_address(&self) -> io::Result<Self::Address>;

    fn connect(&self, address: &Self::Address) -> io::Result<()>;

    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    fn send_to(&self, bytes: &[u8], address: &Self::Address) -> io::Result<usize>;

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;

    fn take_error(&self) -> io::Result<Option<io::Error>>;

    fn set_lent_buffer(&self, bytes: usize);

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Peer) -> io::Result<R>,
    ) -> io::Result<R>;

    fn from_std(plain: Self::Peer) -> io::Result<Self>;

    fn into_std(self) -> Result<Self::Peer, IntoStdError<Self>>;

    /// Makes room for the largest datagram in both directions, if the system asks for that.
    fn make_room(&self, peer: &Self::Peer);

    /// Moves a datagram where the crate cannot see it.
    fn recv_behind(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl DatagramPeer for net::UdpSocket {
    type Address = SocketAddr;

    fn bind_of(kind: usize) -> Self {
        net::UdpSocket::bind(LOOPBACKS[kind]).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }

    fn connect(&self, address: &SocketAddr) -> io::Result<()> {
        net::UdpSocket::connect(self, address)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        net::UdpSocket::send(self, bytes)
    }

    fn send_to(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        net::UdpSocket::send_to(self, bytes, address)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        net::UdpSocket::recv(self, buffer)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        net::UdpSocket::recv_from(self, buffer)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        net::UdpSocket::set_nonblocking(self, on)
    }
}

/// Fills `buffer` by a call of `socket2`, which wants room that need not be initialized.
fn fill_by_sock_ref(
    buffer: &mut [u8],
    call: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
) -> io::Result<usize> {
    // Small ones without an allocation, for tests that count those.
    let mut small = [MaybeUninit::uninit(); 64];
    let mut large = Vec::new();
    let room = if buffer.len() <= small.len() {
        &mut small[..buffer.len()]
    } else {
        large.resize(buffer.len(), MaybeUninit::uninit());
        &mut large[..]
    };
    let count = call(room)?;
    for (byte, received) in buffer.iter_mut().zip(&room[..count]) {
        // SAFETY: the call has initialized this many bytes.
        *byte = unsafe { received.assume_init() };
    }
    Ok(count)
}

impl DatagramEnd for UdpSocket {
    type Address = SocketAddr;
    type Peer = net::UdpSocket;

    const KINDS: usize = LOOPBACKS.len();
    const SHARE: usize = 1;
    /// The largest datagram that IPv4 allows.
    const LARGEST: usize = 65_507;
    const TOO_LONG: usize = 70_000;
    const QUEUE: u8 = 50;

    fn bind_of(kind: usize) -> Self {
        UdpSocket::bind(LOOPBACKS[kind]).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    fn connect(&self, address: &SocketAddr) -> io::Result<()> {
        UdpSocket::connect(self, address)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        UdpSocket::send(self, bytes)
    }

    fn send_to(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        UdpSocket::send_to(self, bytes, address)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        UdpSocket::recv(self, buffer)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        UdpSocket::recv_from(self, buffer)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        UdpSocket::peek(self, buffer)
    }

    fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        UdpSocket::peek_from(self, buffer)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        UdpSocket::take_error(self)
    }

    fn set_lent_buffer(&self, bytes: usize) {
        UdpSocket::set_lent_buffer(self, bytes);
    }

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Peer) -> io::Result<R>,
    ) -> io::Result<R> {
        UdpSocket::try_io(self, interests, call)
    }

    fn from_std(plain: Self::Peer) -> io::Result<Self> {
        UdpSocket::from_std(plain)
    }

    fn into_std(self) -> Result<Self::Peer, IntoStdError<Self>> {
        self.into_std()
    }

    fn make_room(&self, peer: &Self::Peer) {
        for socket in [SockRef::from(self), SockRef::from(peer)] {
            socket.set_send_buffer_size(1 << 20).unwrap();
            socket.set_recv_buffer_size(1 << 20).unwrap();
        }
    }

    fn recv_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fill_by_sock_ref(buffer, |room| SockRef::from(self).recv(room))
    }
}

/// Streams, listeners and datagrams that belong together, for tests that are about all kinds of sources at once.
pub(crate) trait Family: 'static {
    type Stream: StreamEnd;
    type Listener: ListenerEnd;
    type Datagram: DatagramEnd;
}

/// TCP and UDP.
#[derive(Debug)]
pub(crate) struct Inet;

impl Family for Inet {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Datagram = UdpSocket;
}
