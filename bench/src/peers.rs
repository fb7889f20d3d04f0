//! The event queues that are compared. Each is used through the same few methods.
//! A benchmark is written once for any [`Peer`], and compiled for each. The queues differ in what their documentation
//! tells a user to do after an event. That is in [`Peer::readable`] and the methods after it.

pub mod bare;
#[cfg(target_os = "linux")]
pub mod io_uring;
pub mod minimio;
pub mod mio;
pub mod polling;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// The capacity of a batch of events. It is the same for all.
pub const EVENTS: usize = 1024;

/// The size of the buffer that servers read with.
pub const BUFFER: usize = 4096;

/// One event queue, as a server thread uses it.
pub trait Peer: Sized + Send + Sync + 'static
where
    for<'a> &'a Self::Stream: Read + Write,
{
    const NAME: &'static str;

    type Events;
    type Stream: Send + 'static;
    type Listener: Send + 'static;
    type Waker: Send + Sync + 'static;
    /// A handle that registers from another thread.
    type Remote: Send + 'static;

    fn new() -> io::Result<Self>;
    fn events() -> Self::Events;

    fn wait(&mut self, events: &mut Self::Events, timeout: Option<Duration>) -> io::Result<()>;
    /// The keys of the ready streams, in order.
    fn keys(events: &Self::Events) -> impl Iterator<Item = usize> + '_;

    /// Turns a non-blocking stream of `std` into the type that the queue uses.
    fn wrap(stream: TcpStream) -> io::Result<Self::Stream>;
    /// Registers a stream for reading.
    fn adopt(&self, stream: &mut Self::Stream, key: usize) -> io::Result<()>;
    /// Chooses how much memory a stream lends to the kernel, if the queue lends memory at all. It is called before
    /// `adopt`.
    fn lend(_stream: &mut Self::Stream, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
    /// Takes the stream out of the queue and gives it back. (On Windows it belongs to the port of the queue as long as
    /// it is open.)
    #[cfg(not(windows))]
    fn release(&self, stream: Self::Stream) -> io::Result<TcpStream>;
    /// Closes a stream that was adopted.
    fn close(&self, stream: Self::Stream) -> io::Result<()>;

    /// What to do after an event: reads as much as the documentation asks for, hands each piece to `sink`, and asks for
    /// the next event. Returns `false` at the end of the stream.
    fn readable(
        &self,
        stream: &mut Self::Stream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&Self::Stream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool>;

    fn listen(&self, listener: TcpListener, key: usize) -> io::Result<Self::Listener>;
    /// What to do after an event of a listener.
    fn acceptable(
        &self,
        listener: &mut Self::Listener,
        key: usize,
        accepted: impl FnMut(Self::Stream) -> io::Result<()>,
    ) -> io::Result<()>;

    fn waker(&self, key: usize) -> io::Result<Self::Waker>;
    fn wake(waker: &Self::Waker) -> io::Result<()>;

    fn remote(&self) -> io::Result<Self::Remote>;
    /// Asks for the next readable event, from any thread.
    fn rearm(remote: &Self::Remote, stream: &mut Self::Stream, key: usize) -> io::Result<()>;

    /// How many bytes of the heap this many idle streams have lent to the kernel.
    fn lent_bytes(&self, _streams: usize) -> usize {
        0
    }
}

/// Reads until `WouldBlock`, or until a read does not fill its buffer if that is enough. Edge-triggered queues ask for
/// this.
pub fn drain<S>(
    stream: &S,
    buffer: &mut [u8],
    short_is_enough: bool,
    mut sink: impl FnMut(&S, &[u8]) -> io::Result<()>,
) -> io::Result<bool>
where
    for<'a> &'a S: Read,
{
    loop {
        let mut reader = stream;
        match reader.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                sink(stream, &buffer[..count])?;
                if short_is_enough && count < buffer.len() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// Reads once. Returns `false` at the end of the stream.
pub fn read_once<S>(
    stream: &S,
    buffer: &mut [u8],
    mut sink: impl FnMut(&S, &[u8]) -> io::Result<()>,
) -> io::Result<bool>
where
    for<'a> &'a S: Read,
{
    let mut reader = stream;
    match reader.read(buffer) {
        Ok(0) => return Ok(false),
        Ok(count) => sink(stream, &buffer[..count])?,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Hands each connection that waits to `accepted`.
pub fn accept_all<C>(
    mut accept: impl FnMut() -> io::Result<C>,
    mut accepted: impl FnMut(C) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match accept() {
            Ok(connection) => accepted(connection)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
