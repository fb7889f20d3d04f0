//! The event queues that are compared, each behind the same few verbs.
//!
//! A benchmark is written once, over [`Peer`], and compiled once for each. What differs between the queues is what
//! their documentation tells a user to do on an event, and that is in [`Peer::readable`] and its neighbours.

pub mod bare;
#[cfg(target_os = "linux")]
pub mod io_uring;
pub mod minimio;
pub mod mio;
pub mod polling;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// The room in a batch of events, the same for all.
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
    /// What registers from another thread.
    type Remote: Send + 'static;

    fn new() -> io::Result<Self>;
    fn events() -> Self::Events;

    fn wait(&mut self, events: &mut Self::Events, timeout: Option<Duration>) -> io::Result<()>;
    /// The keys of what is ready, in order.
    fn keys(events: &Self::Events) -> impl Iterator<Item = usize> + '_;

    /// Makes a non-blocking stream one of the queue's own sort.
    fn wrap(stream: TcpStream) -> io::Result<Self::Stream>;
    /// Takes a stream in, interested in reading.
    fn adopt(&self, stream: &mut Self::Stream, key: usize) -> io::Result<()>;
    /// Chooses how much memory a stream lends to the kernel, before it is adopted, where the queue lends any.
    fn lend(_stream: &mut Self::Stream, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
    /// Gives it back, out of the queue. On Windows it would belong to the queue's port for life.
    #[cfg(not(windows))]
    fn release(&self, stream: Self::Stream) -> io::Result<TcpStream>;
    /// Closes a stream that was adopted.
    fn close(&self, stream: Self::Stream) -> io::Result<()>;

    /// What to do on an event: reads as much as the documentation asks, hands each piece to `sink`, and asks for the
    /// next event. `false` at the end of the stream.
    fn readable(
        &self,
        stream: &mut Self::Stream,
        key: usize,
        buffer: &mut [u8],
        sink: impl FnMut(&Self::Stream, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool>;

    fn listen(&self, listener: TcpListener, key: usize) -> io::Result<Self::Listener>;
    /// What to do on a listener's event.
    fn acceptable(
        &self,
        listener: &mut Self::Listener,
        key: usize,
        accepted: impl FnMut(Self::Stream) -> io::Result<()>,
    ) -> io::Result<()>;

    fn waker(&self, key: usize) -> io::Result<Self::Waker>;
    fn wake(waker: &Self::Waker) -> io::Result<()>;

    fn remote(&self) -> io::Result<Self::Remote>;
    /// Asks for the next readable event, from whatever thread.
    fn rearm(remote: &Self::Remote, stream: &mut Self::Stream, key: usize) -> io::Result<()>;

    /// How many bytes of the heap that many idle streams have lent to the kernel.
    fn lent_bytes(&self, _streams: usize) -> usize {
        0
    }
}

/// Reads until `WouldBlock`, or until a short read where that is said to be enough: what edge-triggered queues ask for.
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

/// Reads once. `false` at the end of the stream.
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
