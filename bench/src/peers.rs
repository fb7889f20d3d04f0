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
    /// A queue whose events several threads work off, so each event must go to one thread only.
    fn shared() -> io::Result<Self> {
        Self::new()
    }
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

    /// What to do after an event, on any thread: reads as much as the documentation asks for, hands each piece to `sink`,
    /// and asks for the next event. Returns `false` at the end of the stream.
    fn handle(
        remote: &Self::Remote,
        stream: &mut Self::Stream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&Self::Stream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool>;
    /// The same on the polling thread.
    fn readable(
        &self,
        stream: &mut Self::Stream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&Self::Stream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        Self::handle(self.own(), stream, key, buffer, sink)
    }

    /// Registers a stream for writing, if a registration of this queue lasts or has to come before [`Peer::send`].
    fn adopt_sender(&self, stream: &mut Self::Stream, key: usize) -> io::Result<()>;
    /// Sends `left` bytes in pieces of `chunk` until the stream takes no more, and asks for the next event. Returns how
    /// many bytes it took. It is called once at the beginning, and after each event.
    fn send(
        &self,
        stream: &mut Self::Stream,
        key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize>;

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
    /// The handle of that kind that the queue has itself.
    fn own(&self) -> &Self::Remote;
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

/// Writes pieces of `chunk` until `left` bytes were taken, or until `WouldBlock`, or until a write takes only a part of
/// its piece if that is enough. Returns how many bytes were taken.
pub fn fill<S>(stream: &S, chunk: &[u8], left: usize, short_is_enough: bool) -> io::Result<usize>
where
    for<'a> &'a S: Write,
{
    let mut taken = 0;
    while taken < left {
        let piece = &chunk[..chunk.len().min(left - taken)];
        let mut writer = stream;
        match writer.write(piece) {
            Ok(count) => {
                taken += count;
                if short_is_enough && count < piece.len() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
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
