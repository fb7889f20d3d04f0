//! That the public types have the same automatic traits on every system. A field of one backend could take one away, and
//! a program that compiles on one system would not on another. This file compiles, or it does not. It checks section 1.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use minimio::{
    ChildExit, Event, Events, Interests, IntoStdError, PipeReader, PipeWriter, Poll, Registrator,
    Selector, Source, TcpListener, TcpStream, UdpSocket,
};

const fn on_any_thread<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}

/// These have an `io::Error`, and `std` does not let that cross a caught panic.
const fn error<T: Send + Sync + Unpin + Debug>() {}

const fn source<T: Source + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}

const _: () = {
    on_any_thread::<Poll>();
    on_any_thread::<Registrator>();
    on_any_thread::<Selector>();
    on_any_thread::<Events>();
    on_any_thread::<<&Events as IntoIterator>::IntoIter>();
    on_any_thread::<Event>();
    on_any_thread::<Interests>();
    source::<TcpStream>();
    source::<TcpListener>();
    source::<UdpSocket>();
    source::<PipeReader>();
    source::<PipeWriter>();
    source::<ChildExit>();
    error::<IntoStdError<TcpStream>>();
    error::<IntoStdError<TcpListener>>();
    error::<IntoStdError<UdpSocket>>();
};

#[cfg(unix)]
const _: () = {
    use minimio::os::unix::{Descriptor, UnixDatagram, UnixListener, UnixStream};
    use std::os::fd::OwnedFd;

    source::<Descriptor<OwnedFd>>();
    source::<UnixStream>();
    source::<UnixListener>();
    source::<UnixDatagram>();
};

#[cfg(windows)]
const _: () = {
    use minimio::os::windows::{NamedPipe, NamedPipeOptions, Waitable};
    use std::os::windows::io::OwnedHandle;

    source::<Waitable<OwnedHandle>>();
    source::<NamedPipe>();
    on_any_thread::<NamedPipeOptions>();
    error::<IntoStdError<NamedPipe>>();
};
