//! The calls that move data, as the sources make them.
//!
//! A wrapper decides how many bytes one call is handed, and says so beside the number that the call has moved: a call
//! that moved fewer has met the end of what there was, or of the room.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use super::IOV_MAX;
use crate::hooks::faults::{fault, granted, within, within_mut, Call};

/// The most bytes that one call is handed. Systems cut off more (Linux just below 2 GiB), and what they cut off must
/// not look as if the call had met an end.
const MOST_BYTES: usize = 1 << 30;

/// What a call has done.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) bytes: usize,
    /// How many bytes the call could have moved. If there are none, no call was made.
    pub(crate) room: usize,
}

/// Makes a call for at most `wanted` bytes: `make` is told for how many.
fn moving(
    call: Call,
    wanted: usize,
    make: impl FnOnce(usize) -> io::Result<usize>,
) -> io::Result<Moved> {
    if wanted == 0 {
        return Ok(Moved { bytes: 0, room: 0 });
    }
    let room = granted(call, wanted.min(MOST_BYTES));
    fault(call)?;
    let bytes = make(room)?;
    Ok(Moved { bytes, room })
}

pub(crate) fn read(mut stream: impl Read, buffer: &mut [u8]) -> io::Result<Moved> {
    moving(Call::Receive, buffer.len(), |room| {
        stream.read(&mut buffer[..room])
    })
}

pub(crate) fn read_vectored(
    mut stream: impl Read,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<Moved> {
    let first = count_empty(buffers.iter().map(|buffer| buffer.len()));
    let buffers = &mut buffers[first..];
    let count = buffers.len().min(IOV_MAX);
    let buffers = &mut buffers[..count];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    if wanted > MOST_BYTES {
        return read(stream, &mut buffers[0]);
    }
    moving(Call::Receive, wanted, |room| {
        within_mut(buffers, room, |buffers| stream.read_vectored(buffers))
    })
}

pub(crate) fn peek(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Moved> {
    moving(Call::Receive, buffer.len(), |room| {
        stream.peek(&mut buffer[..room])
    })
}

pub(crate) fn write(mut stream: impl Write, buffer: &[u8]) -> io::Result<Moved> {
    moving(Call::Send, buffer.len(), |room| {
        stream.write(&buffer[..room])
    })
}

/// Sends by `sendmsg`, since `writev`, which `std` would call, may raise `SIGPIPE`.
pub(crate) fn write_vectored(stream: &TcpStream, buffers: &[IoSlice<'_>]) -> io::Result<Moved> {
    sending(stream, buffers, |buffers| {
        super::send_vectored(stream.as_fd(), buffers)
    })
}

/// Writes to an end of a pipe. Most systems cannot keep this from raising `SIGPIPE`.
pub(crate) fn write_vectored_to_pipe(mut end: &File, buffers: &[IoSlice<'_>]) -> io::Result<Moved> {
    sending(end, buffers, |buffers| end.write_vectored(buffers))
}

fn sending(
    stream: impl Write,
    buffers: &[IoSlice<'_>],
    send: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<Moved> {
    let buffers = &buffers[count_empty(buffers.iter().map(|buffer| buffer.len()))..];
    let buffers = &buffers[..buffers.len().min(IOV_MAX)];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    if wanted > MOST_BYTES {
        return write(stream, &buffers[0]);
    }
    moving(Call::Send, wanted, |room| within(buffers, room, send))
}

/// How many bytes the buffers have together, or a number beyond [`MOST_BYTES`].
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, usize::saturating_add)
}

/// How many buffers are empty before the first that is not. A vectored call takes a limited number of buffers, and
/// empty ones in front could use all of it.
fn count_empty(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take_while(|&length| length == 0).count()
}

pub(crate) fn recv(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    fault(Call::Receive)?;
    socket.recv(within_a_call(buffer))
}

pub(crate) fn recv_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    fault(Call::Receive)?;
    socket.recv_from(within_a_call(buffer))
}

pub(crate) fn peek_datagram(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    fault(Call::Receive)?;
    socket.peek(within_a_call(buffer))
}

pub(crate) fn peek_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    fault(Call::Receive)?;
    socket.peek_from(within_a_call(buffer))
}

pub(crate) fn send(socket: &UdpSocket, buffer: &[u8]) -> io::Result<usize> {
    fault(Call::Send)?;
    socket.send(buffer)
}

pub(crate) fn send_to(socket: &UdpSocket, buffer: &[u8], target: &SocketAddr) -> io::Result<usize> {
    fault(Call::Send)?;
    socket.send_to(buffer, target)
}

/// As much of a buffer as one call is handed.
fn within_a_call(buffer: &mut [u8]) -> &mut [u8] {
    let room = buffer.len().min(MOST_BYTES);
    &mut buffer[..room]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::count_empty;

    #[test]
    fn empty_buffers_in_front_are_counted() {
        assert_eq!(count_empty([0, 0, 3, 0].into_iter()), 2);
        assert_eq!(count_empty([1].into_iter()), 0);
        assert_eq!(count_empty([0, 0].into_iter()), 2);
    }
}
