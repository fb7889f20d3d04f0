//! The ends that only Unix has: Unix sockets, and a `Descriptor` around a socket of `std`.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

use minimio::os::unix::{Descriptor, UnixDatagram, UnixListener, UnixStream};
use minimio::{Interests, IntoStdError};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{
    pass_on, DatagramEnd, DatagramPeer, Family, ListenerEnd, Peer, Plain, StreamEnd, IS_LINUX,
};

/// The folder of the sockets that this process binds.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("minimio-suite-{}", std::process::id()))
}

/// Removes the folder when the process ends.
extern "C" fn sweep() {
    drop(fs::remove_dir_all(folder()));
}

/// A path to bind to, which nothing else has.
fn place() -> PathBuf {
    static PLACES: AtomicUsize = AtomicUsize::new(0);
    static FOLDER: OnceLock<()> = OnceLock::new();
    FOLDER.get_or_init(|| {
        fs::create_dir_all(folder()).unwrap();
        // SAFETY: the function takes no arguments, and may be called at the end of the process.
        assert_eq!(unsafe { libc::atexit(sweep) }, 0);
    });
    let number = PLACES.fetch_add(1, Ordering::Relaxed);
    folder().join(number.to_string())
}

impl Peer for net::UnixStream {
    fn duplicate(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        net::UnixStream::shutdown(self, how)
    }

    fn await_byte(&self) {
        let mut room = [std::mem::MaybeUninit::uninit()];
        assert_eq!(SockRef::from(self).peek(&mut room).unwrap(), 1);
    }
}

impl Plain for net::UnixStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        net::UnixStream::set_nonblocking(self, on)
    }
}

impl StreamEnd for UnixStream {
    type Peer = net::UnixStream;
    type Plain = net::UnixStream;

    fn pair_of(_kind: usize) -> (Self, Self::Peer) {
        let (near, far) = net::UnixStream::pair().unwrap();
        (UnixStream::from_std(near).unwrap(), far)
    }

    fn two() -> (Self, Self) {
        UnixStream::pair().unwrap()
    }

    /// A write to a peer that is gone is a broken pipe. The reset is for the next read.
    const WRITES_TELL_OF_A_RESET: bool = false;

    pass_on!(UnixStream);

    /// Lends nothing.
    fn set_lent_buffer(&self, _bytes: usize) {}

    /// A peer that closes with a byte unread resets the connection. (On Linux. The BSDs have no such thing.)
    fn reset(&self, peer: Self::Peer) {
        // A stream that is full has bytes unread at its peer already.
        drop(StreamEnd::write(self, b"x"));
        drop(peer);
    }
}

/// A socket that `std` made and that the crate knows nothing of.
pub(crate) type StdDescriptor = Descriptor<net::UnixStream>;

impl StreamEnd for StdDescriptor {
    type Peer = net::UnixStream;
    type Plain = net::UnixStream;

    fn pair_of(_kind: usize) -> (Self, Self::Peer) {
        let (near, far) = net::UnixStream::pair().unwrap();
        (Self::from_std(near).unwrap(), far)
    }

    fn two() -> (Self, Self) {
        let (near, far) = net::UnixStream::pair().unwrap();
        (Self::from_std(near).unwrap(), Self::from_std(far).unwrap())
    }

    const WRITES_TELL_OF_A_RESET: bool = false;

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Descriptor::read(self, buffer)
    }

    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Descriptor::try_io(self, Interests::READABLE, |mut plain| {
            plain.read_vectored(buffers)
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Descriptor::write(self, bytes)
    }

    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Descriptor::try_io(self, Interests::WRITABLE, |mut plain| {
            plain.write_vectored(buffers)
        })
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// The crate knows nothing of a peek, which takes nothing.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        super::fill_by_sock_ref(buffer, |room| SockRef::from(self.get()).peek(room))
    }

    /// The crate knows nothing of it.
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.get().shutdown(how)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.get().take_error()
    }

    /// Lends nothing.
    fn set_lent_buffer(&self, _bytes: usize) {}

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        Descriptor::try_io(self, interests, call)
    }

    fn from_std(plain: Self::Plain) -> io::Result<Self> {
        plain.set_nonblocking(true)?;
        Ok(Descriptor::new(plain))
    }

    fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>> {
        Ok(self.into_inner())
    }

    fn duplicate(&self) -> Self::Plain {
        self.get().try_clone().unwrap()
    }

    fn reset(&self, peer: Self::Peer) {
        drop(StreamEnd::write(self, b"x"));
        drop(peer);
    }

    fn read_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Plain::read(self.get(), buffer)
    }

    fn write_behind(&self, bytes: &[u8]) -> io::Result<usize> {
        Plain::write(self.get(), bytes)
    }
}

impl ListenerEnd for UnixListener {
    type Address = PathBuf;
    /// The path that the client was bound to when it connected.
    type Name = Option<PathBuf>;
    type Client = net::UnixStream;
    type Stream = UnixStream;
    type Plain = net::UnixListener;

    fn bind_of(_kind: usize) -> (Self, Self::Address) {
        let place = place();
        (UnixListener::bind(&place).unwrap(), place)
    }

    fn bind_at(address: &Self::Address) -> io::Result<Self> {
        fs::remove_file(address)?;
        UnixListener::bind(address)
    }

    fn connect(address: &Self::Address) -> Self::Client {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.bind(&SockAddr::unix(place()).unwrap()).unwrap();
        client.connect(&SockAddr::unix(address).unwrap()).unwrap();
        client.into()
    }

    fn name(client: &Self::Client) -> Self::Name {
        path(&client.local_addr().unwrap())
    }

    fn accept(&self) -> io::Result<(Self::Stream, Self::Name)> {
        let (stream, from) = UnixListener::accept(self)?;
        Ok((stream, path(&from)))
    }

    fn accept_plain(plain: &Self::Plain) -> io::Result<Self::Name> {
        plain.accept().map(|(_, from)| path(&from))
    }

    fn set_nonblocking(plain: &Self::Plain, on: bool) {
        plain.set_nonblocking(on).unwrap();
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        UnixListener::take_error(self)
    }

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Plain) -> io::Result<R>,
    ) -> io::Result<R> {
        UnixListener::try_io(self, interests, call)
    }

    fn into_std(self) -> Result<Self::Plain, IntoStdError<Self>> {
        UnixListener::into_std(self)
    }
}

fn path(address: &SocketAddr) -> Option<PathBuf> {
    address.as_pathname().map(Into::into)
}

impl DatagramPeer for net::UnixDatagram {
    type Address = PathBuf;

    fn bind_of(_kind: usize) -> Self {
        net::UnixDatagram::bind(place()).unwrap()
    }

    fn address(&self) -> PathBuf {
        path(&self.local_addr().unwrap()).unwrap()
    }

    fn connect(&self, address: &PathBuf) -> io::Result<()> {
        net::UnixDatagram::connect(self, address)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        net::UnixDatagram::send(self, bytes)
    }

    fn send_to(&self, bytes: &[u8], address: &PathBuf) -> io::Result<usize> {
        net::UnixDatagram::send_to(self, bytes, address)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        net::UnixDatagram::recv(self, buffer)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let (count, from) = net::UnixDatagram::recv_from(self, buffer)?;
        Ok((count, path(&from).unwrap()))
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        net::UnixDatagram::set_nonblocking(self, on)
    }
}

impl DatagramEnd for UnixDatagram {
    type Address = PathBuf;
    type Peer = net::UnixDatagram;

    /// The BSDs take 2 KiB unless they are told otherwise.
    const LARGEST: usize = if IS_LINUX { 65_507 } else { 2_048 };
    /// More than a send buffer may have.
    const TOO_LONG: usize = 16 << 20;
    /// Linux queues one more than `max_dgram_qlen`, which is 10.
    const QUEUE: u8 = 10;

    fn bind_of(_kind: usize) -> Self {
        UnixDatagram::bind(place()).unwrap()
    }

    fn address(&self) -> PathBuf {
        path(&self.local_addr().unwrap()).unwrap()
    }

    fn peer_address(&self) -> io::Result<PathBuf> {
        self.peer_addr().map(|address| path(&address).unwrap())
    }

    fn connect(&self, address: &PathBuf) -> io::Result<()> {
        UnixDatagram::connect(self, address)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        UnixDatagram::send(self, bytes)
    }

    fn send_to(&self, bytes: &[u8], address: &PathBuf) -> io::Result<usize> {
        UnixDatagram::send_to(self, bytes, address)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        UnixDatagram::recv(self, buffer)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let (count, from) = UnixDatagram::recv_from(self, buffer)?;
        Ok((count, path(&from).unwrap()))
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        UnixDatagram::peek(self, buffer)
    }

    /// `std` has no such method for these sockets, so the address comes from `socket2`.
    fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let count = UnixDatagram::peek(self, buffer)?;
        let from = SockRef::from(self).peek_sender()?;
        Ok((count, from.as_pathname().unwrap().into()))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        UnixDatagram::take_error(self)
    }

    /// Lends nothing.
    fn set_lent_buffer(&self, _bytes: usize) {}

    fn try_io<R>(
        &self,
        interests: Interests,
        call: impl FnOnce(&Self::Peer) -> io::Result<R>,
    ) -> io::Result<R> {
        UnixDatagram::try_io(self, interests, call)
    }

    fn from_std(plain: Self::Peer) -> io::Result<Self> {
        UnixDatagram::from_std(plain)
    }

    fn into_std(self) -> Result<Self::Peer, IntoStdError<Self>> {
        UnixDatagram::into_std(self)
    }

    /// There is room.
    fn make_room(&self, _peer: &Self::Peer) {}

    fn recv_behind(&self, buffer: &mut [u8]) -> io::Result<usize> {
        super::fill_by_sock_ref(buffer, |room| SockRef::from(self).recv(room))
    }
}

/// The Unix sockets.
#[derive(Debug)]
pub(crate) struct Unix;

impl Family for Unix {
    type Stream = UnixStream;
    type Listener = UnixListener;
    type Datagram = UnixDatagram;
}
