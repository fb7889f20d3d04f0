//! That everything which mio's documentation lists is there, with the traits that it lists. It compiles, or not.

use std::fmt::Debug;
use std::hash::Hash;
use std::io::{Read, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};

use mio::event::{self, Event, Source};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

fn of_threads<T: Send + Sync + Unpin>() {}
fn shown<T: Debug>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}

fn source<T: Source + Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>()
where
    Box<T>: Source,
{
}

fn stream<T: Read + Write>()
where
    for<'a> &'a T: Read + Write,
{
}

#[test]
fn types_have_mios_traits() {
    of_threads::<Poll>();
    of_threads::<Registry>();
    of_threads::<Waker>();
    of_threads::<Events>();
    of_threads::<Event>();
    of_threads::<event::Iter<'_>>();
    shown::<Poll>();
    shown::<Registry>();
    shown::<Waker>();
    shown::<Events>();
    shown::<Event>();
    shown::<event::Iter<'_>>();
    unwinds::<Poll>();
    unwinds::<Registry>();
    unwinds::<Waker>();
    unwinds::<Events>();

    fn cloned<T: Clone>() {}
    cloned::<Event>();
    cloned::<event::Iter<'_>>();
    fn token<T: Copy + Debug + Eq + Ord + Hash + Into<usize> + Send + Sync>() {}
    token::<Token>();
    fn interest<T: Copy + Debug + Eq + Ord + Send + Sync>() {}
    interest::<Interest>();

    source::<TcpStream>();
    source::<TcpListener>();
    source::<UdpSocket>();
    stream::<TcpStream>();
    let _: &dyn Fn(std::net::TcpStream) -> TcpStream = &TcpStream::from_std;
    let _: &dyn Fn(TcpStream) -> std::net::TcpStream = &From::from;
    let _: &dyn Fn(std::net::TcpListener) -> TcpListener = &TcpListener::from_std;
    let _: &dyn Fn(TcpListener) -> std::net::TcpListener = &From::from;
    let _: &dyn Fn(std::net::UdpSocket) -> UdpSocket = &UdpSocket::from_std;
    let _: &dyn Fn(UdpSocket) -> std::net::UdpSocket = &From::from;
    let _: Option<Box<dyn Source>> = None;
}

#[test]
fn an_interest_is_added_removed_and_shown_as_mios() {
    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    let mut interest = Interest::READABLE;
    interest |= Interest::WRITABLE;
    assert_eq!(interest, BOTH);
    assert_eq!(interest, Interest::READABLE | Interest::WRITABLE);
    assert_eq!(
        interest.remove(Interest::READABLE),
        Some(Interest::WRITABLE)
    );
    assert_eq!(interest.remove(BOTH), None);
    assert!(BOTH.is_readable() && BOTH.is_writable());
    assert!(!BOTH.is_priority() && !BOTH.is_aio() && !BOTH.is_lio());
    assert_eq!(format!("{BOTH:?}"), "READABLE | WRITABLE");
    assert!(Interest::READABLE < Interest::WRITABLE);
    assert_eq!(usize::from(Token(7)), 7);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn linux_has_an_interest_in_urgent_data() {
    let interest = Interest::READABLE | Interest::PRIORITY;
    assert!(interest.is_readable() && interest.is_priority() && !interest.is_writable());
    assert_eq!(format!("{interest:?}"), "READABLE | PRIORITY");
    assert_eq!(
        interest.remove(Interest::READABLE),
        Some(Interest::PRIORITY)
    );
}

#[test]
fn a_batch_has_mios_methods() {
    let mut events = Events::with_capacity(16);
    assert!(events.is_empty());
    assert!(events.capacity() >= 16);
    assert_eq!(events.iter().size_hint().1, Some(0));
    assert_eq!((&events).into_iter().count(), 0);
    assert_eq!(format!("{events:?}"), "[]");
    events.clear();
}

#[cfg(unix)]
#[test]
fn descriptors_convert_as_mios() {
    use mio::net::{UnixDatagram, UnixListener, UnixStream};
    use mio::unix::pipe::{Receiver, Sender};
    use mio::unix::SourceFd;
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
    use std::process::{ChildStderr, ChildStdin, ChildStdout};

    fn socket<T>()
    where
        T: Source + Debug + AsFd + AsRawFd + FromRawFd + IntoRawFd + From<OwnedFd> + Into<OwnedFd>,
    {
        source_of_threads::<T>();
    }
    fn source_of_threads<T: Source>() {}
    fn queue<T: AsRawFd>() {}
    queue::<Poll>();
    fn lent<T: AsFd + AsRawFd>() {}
    lent::<Registry>();
    socket::<TcpStream>();
    socket::<TcpListener>();
    socket::<UdpSocket>();
    socket::<UnixStream>();
    socket::<UnixListener>();
    socket::<UnixDatagram>();
    socket::<Sender>();
    socket::<Receiver>();
    source::<UnixStream>();
    source::<UnixListener>();
    source::<UnixDatagram>();
    source::<Sender>();
    source::<Receiver>();
    stream::<UnixStream>();
    fn writes<T: Write>()
    where
        for<'a> &'a T: Write,
    {
    }
    fn reads<T: Read>()
    where
        for<'a> &'a T: Read,
    {
    }
    writes::<Sender>();
    reads::<Receiver>();
    let _: &dyn Fn(ChildStdin) -> Sender = &From::from;
    let _: &dyn Fn(ChildStdout) -> Receiver = &From::from;
    let _: &dyn Fn(ChildStderr) -> Receiver = &From::from;
    let _: &dyn Fn(UnixStream) -> std::os::unix::net::UnixStream = &From::from;
    let _: &dyn Fn(UnixListener) -> std::os::unix::net::UnixListener = &From::from;
    let _: &dyn Fn(UnixDatagram) -> std::os::unix::net::UnixDatagram = &From::from;
    fn fd<T: Source + Debug>() {}
    fd::<SourceFd<'_>>();
}

#[cfg(windows)]
#[test]
fn sockets_and_handles_convert_as_mios() {
    use mio::windows::NamedPipe;
    use std::os::windows::io::{
        AsRawHandle, AsRawSocket, AsSocket, FromRawHandle, FromRawSocket, IntoRawSocket,
        OwnedSocket,
    };

    fn socket<T>()
    where
        T: AsSocket + AsRawSocket + FromRawSocket + IntoRawSocket,
        T: From<OwnedSocket> + Into<OwnedSocket>,
    {
    }
    socket::<TcpStream>();
    socket::<TcpListener>();
    socket::<UdpSocket>();
    stream::<NamedPipe>();
    fn pipe<T: Source + Debug + Send + Sync + Unpin + AsRawHandle + FromRawHandle>() {}
    pipe::<NamedPipe>();
}
