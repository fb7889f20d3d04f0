//! The sources of minimio: what can happen to each, and how its socket is given back.

use std::io::{self, Write};
use std::net;
use std::os::windows::io::{AsSocket, OwnedHandle};
use std::thread;
use std::time::{Duration, Instant};

use minimio::os::windows::NamedPipe;
use minimio::{Interests, IntoStdError, TcpListener, TcpStream, UdpSocket};

/// How long a stream that was given back goes on with a send in flight. minimio gives a stream that is dropped as long.
const LONGEST_SEND: Duration = Duration::from_secs(60);
/// How often to look whether what a source still does has ended.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A source of minimio, and how it differs from others.
pub(crate) trait Inner: minimio::Source + Send + Sync + Sized + 'static {
    type Std;

    /// What can happen to it.
    const POSSIBLE: Interests;

    fn from_std(socket: Self::Std) -> io::Result<Self>;

    fn into_std(self) -> Result<Self::Std, IntoStdError<Self>>;

    /// Lends nothing, since mio's users may read the socket behind its back.
    fn lend_nothing(&self) {}

    /// Gives the socket back, after [`into_std`](Inner::into_std) has failed. What waits in our memory is lost. Fails if that
    /// is to be tried again, since a send goes on.
    fn let_go(self) -> Result<Self::Std, Self> {
        Err(self)
    }

    /// Whether it is a stream of which mio tells the end.
    const TELLS_END: bool = false;
    /// Whether it is registered again after a call that has moved data, in these directions.
    const AGAIN: Interests = Interests::empty();

    /// Whether the peer is known to send nothing more.
    fn has_ended(&self) -> bool {
        false
    }
}

impl Inner for TcpStream {
    type Std = net::TcpStream;
    const POSSIBLE: Interests = Interests::all();
    const TELLS_END: bool = true;
    const AGAIN: Interests = Interests::READABLE;

    fn from_std(socket: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(socket)
    }

    fn into_std(self) -> Result<net::TcpStream, IntoStdError<TcpStream>> {
        TcpStream::into_std(self)
    }

    /// During a send the source lives on in a thread, since its drop would shut down the sending side of the duplicate, too.
    /// A receive that has lent memory would take bytes from the duplicate meanwhile, so with `lend` this waits for the send.
    /// Without, and with no send in flight, it waits for a connect.
    fn let_go(self) -> Result<net::TcpStream, TcpStream> {
        let sends =
            matches!((&self).flush(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if sends == cfg!(feature = "lend") {
            return Err(self);
        }
        let Ok(socket) = self.as_socket().try_clone_to_owned() else {
            return Err(self);
        };
        if !sends {
            // Its drop calls back what it has lent.
            return Ok(socket.into());
        }
        let until = Instant::now() + LONGEST_SEND;
        let mut source = self;
        let wait = move || {
            while let Err(error) = source.into_std() {
                source = error.into_source();
                if Instant::now() > until {
                    break;
                }
                thread::sleep(LOOK_AGAIN);
            }
        };
        // Without a thread the source is dropped now.
        drop(thread::Builder::new().name("mio send".into()).spawn(wait));
        Ok(socket.into())
    }

    fn lend_nothing(&self) {
        if cfg!(not(feature = "lend")) {
            self.set_lent_buffer(0);
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.peek(&mut [0]), Ok(0))
    }
}

impl Inner for TcpListener {
    type Std = net::TcpListener;
    /// tokio registers its listeners for both.
    const POSSIBLE: Interests = Interests::READABLE;

    fn from_std(socket: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(socket)
    }

    fn into_std(self) -> Result<net::TcpListener, IntoStdError<TcpListener>> {
        TcpListener::into_std(self)
    }

    /// Sends away the client that an accept has brought already.
    fn let_go(self) -> Result<net::TcpListener, TcpListener> {
        drop(self.accept());
        Err(self)
    }
}

impl Inner for UdpSocket {
    type Std = net::UdpSocket;
    const POSSIBLE: Interests = Interests::all();

    fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }

    fn into_std(self) -> Result<net::UdpSocket, IntoStdError<UdpSocket>> {
        UdpSocket::into_std(self)
    }

    /// Not even with `lend`: tokio's `peek_sender` receives behind mio's back.
    fn lend_nothing(&self) {
        self.set_lent_buffer(0);
    }
}

impl Inner for NamedPipe {
    type Std = OwnedHandle;
    const POSSIBLE: Interests = Interests::all();
    /// mio tells when a write has gone out.
    const AGAIN: Interests = Interests::all();

    fn from_std(handle: OwnedHandle) -> io::Result<NamedPipe> {
        Ok(NamedPipe::from_handle(handle))
    }

    fn into_std(self) -> Result<OwnedHandle, IntoStdError<NamedPipe>> {
        self.into_handle()
    }

    fn lend_nothing(&self) {
        if cfg!(not(feature = "lend")) {
            self.set_lent_buffer(0);
        }
    }
}
