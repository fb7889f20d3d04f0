//! The calls that move data, as the sources make them.
//!
//! A wrapper decides how many bytes one call is handed, and says so beside the number that the call has moved: a call
//! that moved fewer has met the end of what there was, or of the room.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{self, UnixDatagram, UnixStream};

use super::{IOV_MAX, MSG_PEEK};
use crate::hooks::faults::{fault, granted, within, within_mut, Call};

/// The most bytes that one call is handed. Systems cut off more (Linux just below 2 GiB), and what they cut off must
/// not look as if the call had met an end.
const MOST_BYTES: usize = 1 << 30;

/// What a call has done.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) bytes: usize,
    /// How many bytes the call could have moved. If there are none, no call was made. It is no more than was moved if
    /// the system may have stopped before the end of what there is.
    pub(crate) room: usize,
}

impl Moved {
    /// A read that the system may have stopped before the end of what there is, unless this `is_all`.
    pub(crate) fn read(bytes: usize, room: usize, is_all: bool) -> Moved {
        let proves_nothing = bytes > 0 && !is_all;
        let room = if proves_nothing { bytes } else { room };
        Moved { bytes, room }
    }
}

/// A stream of `std`, or an end of a pipe. They are read and written by different calls, and those that read say different
/// things when they fall short.
pub(crate) trait Stream: AsFd {
    /// Reads into the buffers, which have `room`.
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Moved>;

    /// Writes from the buffers. A socket raises no `SIGPIPE`, whatever `std` would do.
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match buffers {
            [buffer] => super::send_bytes(self.as_fd().as_raw_fd(), buffer),
            buffers => super::send_vectored(self.as_fd(), buffers),
        }
    }
}

impl Stream for TcpStream {
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Moved> {
        let bytes = read_std(self, buffers)?;
        Ok(Moved { bytes, room })
    }
}

impl Stream for UnixStream {
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Moved> {
        let (bytes, is_all) = super::receive_unix(self, buffers)?;
        Ok(Moved::read(bytes, room, is_all))
    }
}

impl Stream for File {
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Moved> {
        let bytes = read_std(self, buffers)?;
        Ok(Moved { bytes, room })
    }

    /// Most systems cannot keep a pipe from raising `SIGPIPE`.
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut file = self;
        match buffers {
            [buffer] => file.write(buffer),
            buffers => file.write_vectored(buffers),
        }
    }
}

pub(super) fn read_std(mut stream: impl Read, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match buffers {
        [buffer] => stream.read(buffer),
        buffers => stream.read_vectored(buffers),
    }
}

/// Makes a call for at most `wanted` bytes: `make` is told for how many.
fn moving(
    call: Call,
    wanted: usize,
    make: impl FnOnce(usize) -> io::Result<Moved>,
) -> io::Result<Moved> {
    if wanted == 0 {
        return Ok(Moved { bytes: 0, room: 0 });
    }
    let room = granted(call, wanted.min(MOST_BYTES));
    fault(call)?;
    make(room)
}

pub(crate) fn read(stream: &impl Stream, buffer: &mut [u8]) -> io::Result<Moved> {
    moving(Call::Receive, buffer.len(), |room| {
        stream.receive(&mut [IoSliceMut::new(&mut buffer[..room])], room)
    })
}

pub(crate) fn read_vectored(
    stream: &impl Stream,
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
        within_mut(buffers, room, |buffers| stream.receive(buffers, room))
    })
}

pub(crate) fn peek(stream: &impl Stream, buffer: &mut [u8]) -> io::Result<Moved> {
    moving(Call::Receive, buffer.len(), |room| {
        let bytes = super::receive(stream.as_fd().as_raw_fd(), &mut buffer[..room], MSG_PEEK)?;
        Ok(Moved { bytes, room })
    })
}

pub(crate) fn write(stream: &impl Stream, buffer: &[u8]) -> io::Result<Moved> {
    moving(Call::Send, buffer.len(), |room| {
        let bytes = stream.send(&[IoSlice::new(&buffer[..room])])?;
        Ok(Moved { bytes, room })
    })
}

pub(crate) fn write_vectored(stream: &impl Stream, buffers: &[IoSlice<'_>]) -> io::Result<Moved> {
    let buffers = &buffers[count_empty(buffers.iter().map(|buffer| buffer.len()))..];
    let buffers = &buffers[..buffers.len().min(IOV_MAX)];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    if wanted > MOST_BYTES {
        return write(stream, &buffers[0]);
    }
    moving(Call::Send, wanted, |room| {
        let bytes = within(buffers, room, |buffers| stream.send(buffers))?;
        Ok(Moved { bytes, room })
    })
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

pub(crate) fn recv(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    fault(Call::Receive)?;
    super::receive(socket.as_fd().as_raw_fd(), within_a_call(buffer), 0)
}

pub(crate) fn recv_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    fault(Call::Receive)?;
    socket.recv_from(within_a_call(buffer))
}

pub(crate) fn peek_datagram(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    fault(Call::Receive)?;
    super::receive(socket.as_fd().as_raw_fd(), within_a_call(buffer), MSG_PEEK)
}

pub(crate) fn peek_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    fault(Call::Receive)?;
    socket.peek_from(within_a_call(buffer))
}

pub(crate) fn send(socket: &impl AsFd, buffer: &[u8]) -> io::Result<usize> {
    fault(Call::Send)?;
    super::send_bytes(socket.as_fd().as_raw_fd(), buffer)
}

pub(crate) fn send_to(socket: &UdpSocket, buffer: &[u8], target: &SocketAddr) -> io::Result<usize> {
    fault(Call::Send)?;
    socket.send_to(buffer, target)
}

pub(crate) fn recv_from_unix(
    socket: &UnixDatagram,
    buffer: &mut [u8],
) -> io::Result<(usize, net::SocketAddr)> {
    fault(Call::Receive)?;
    socket.recv_from(within_a_call(buffer))
}

pub(crate) fn send_to_unix(
    socket: &UnixDatagram,
    buffer: &[u8],
    target: &net::SocketAddr,
) -> io::Result<usize> {
    fault(Call::Send)?;
    socket.send_to_addr(buffer, target)
}

/// As much of a buffer as one call is handed.
fn within_a_call(buffer: &mut [u8]) -> &mut [u8] {
    let room = buffer.len().min(MOST_BYTES);
    &mut buffer[..room]
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::fs::File;
    use std::io::{self, IoSlice, IoSliceMut};
    use std::os::fd::{AsFd, BorrowedFd};

    use super::{
        count_empty, read, read_vectored, total, write, write_vectored, Moved, Stream, MOST_BYTES,
    };

    /// Moves whatever it is handed, and notes how much that was.
    struct Played {
        descriptor: File,
        handed: Cell<usize>,
    }

    impl AsFd for Played {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.descriptor.as_fd()
        }
    }

    impl Stream for Played {
        fn receive(&self, buffers: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Moved> {
            let bytes = total(buffers.iter().map(|buffer| buffer.len()));
            self.handed.set(bytes);
            Ok(Moved { bytes, room })
        }

        fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            self.handed
                .set(total(buffers.iter().map(|buffer| buffer.len())));
            Ok(self.handed.get())
        }
    }

    impl Played {
        fn new() -> Played {
            Played {
                descriptor: File::open("/dev/null").unwrap(),
                handed: Cell::new(0),
            }
        }

        /// Panics unless one call was handed this many bytes and was said to have moved as many.
        #[track_caller]
        fn check(&self, moved: io::Result<Moved>, bytes: usize) {
            let moved = moved.unwrap();
            assert_eq!(
                (moved.bytes, moved.room, self.handed.get()),
                (bytes, bytes, bytes)
            );
        }
    }

    // Of more than that in all, the first buffer goes alone, so that no buffer must be cut. No page of the buffer is
    // touched, so it takes no memory.
    #[test]
    fn one_call_is_handed_a_gibibyte_at_most() {
        let played = Played::new();
        let mut buffer = vec![0; MOST_BYTES + 1];
        played.check(write(&played, &buffer), MOST_BYTES);
        played.check(read(&played, &mut buffer), MOST_BYTES);
        let half = MOST_BYTES / 2;
        let (first, rest) = buffer.split_at_mut(half);
        let all = [IoSlice::new(first), IoSlice::new(&rest[..half])];
        played.check(write_vectored(&played, &all), MOST_BYTES);
        let more = [IoSlice::new(first), IoSlice::new(rest)];
        played.check(write_vectored(&played, &more), half);
        let mut more = [IoSliceMut::new(first), IoSliceMut::new(rest)];
        played.check(read_vectored(&played, &mut more), half);
    }

    #[test]
    fn empty_buffers_in_front_are_counted() {
        assert_eq!(count_empty([0, 0, 3, 0].into_iter()), 2);
        assert_eq!(count_empty([1].into_iter()), 0);
        assert_eq!(count_empty([0, 0].into_iter()), 2);
    }
}
