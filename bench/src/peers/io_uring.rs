//! `io-uring`: the limit of what is possible. One submission answers a whole batch: each completed receive becomes a
//! send that is linked to the next receive, and one system call hands over all of them and waits.
//! It completes operations and does not report readiness. So it has only an echo server, and a buffer for each
//! connection.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types, IoUring};

use super::BUFFER;

/// Entries in the submission queue; two are needed for each echo.
const ENTRIES: u32 = 2048;

/// What the number of a completion means: a receive or a send.
const SEND: u64 = 1 << 32;

/// Whether the kernel, or a sandbox, allows it.
pub fn is_available() -> bool {
    IoUring::new(2).is_ok()
}

pub fn serve(streams: Vec<TcpStream>) -> io::Result<Vec<TcpStream>> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(ENTRIES)
        .or_else(|_| IoUring::new(ENTRIES))?;
    let mut buffers = vec![[0_u8; BUFFER]; streams.len()];
    let mut received = vec![0_usize; streams.len()];
    for stream in &streams {
        // The ring waits by itself. On a non-blocking socket it would return `EAGAIN`.
        stream.set_nonblocking(false)?;
    }
    for (key, stream) in streams.iter().enumerate() {
        let receive = receive(stream, key, &mut buffers[key]);
        push(&mut ring, &receive)?;
    }
    let mut in_flight = streams.len();
    let mut done = Vec::with_capacity(ENTRIES as usize);
    let mut open = true;
    while open {
        ring.submit_and_wait(1)?;
        done.extend(
            ring.completion()
                .map(|entry| (entry.user_data(), entry.result())),
        );
        in_flight -= done.len();
        for (number, result) in done.drain(..) {
            let key = (number & (SEND - 1)) as usize;
            let count =
                usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
            if number & SEND != 0 {
                if count != received[key] {
                    return Err(io::Error::new(ErrorKind::WriteZero, "a short write"));
                }
            } else if count == 0 {
                open = false;
            } else {
                received[key] = count;
                let fd = types::Fd(streams[key].as_raw_fd());
                let send = opcode::Send::new(fd, buffers[key].as_ptr(), count as u32)
                    .flags(libc::MSG_NOSIGNAL)
                    .build()
                    .flags(squeue::Flags::IO_LINK)
                    .user_data(key as u64 | SEND);
                let receive = receive(&streams[key], key, &mut buffers[key]);
                push(&mut ring, &send)?;
                push(&mut ring, &receive)?;
                in_flight += 2;
            }
        }
    }
    // The receives that are still in flight write into the buffers, so the buffers live until each has ended. Closing
    // the ring would also cancel them, but it may return earlier.
    reap(&mut ring, in_flight)?;
    drop(ring);
    for stream in &streams {
        stream.set_nonblocking(true)?;
    }
    Ok(streams)
}

/// Cancels everything, and takes the completions of what was in flight and of the cancelling.
fn reap(ring: &mut IoUring, in_flight: usize) -> io::Result<()> {
    let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
    push(ring, &cancel)?;
    let mut left = in_flight + 1;
    while left > 0 {
        ring.submit_and_wait(1)?;
        left -= ring.completion().count();
    }
    Ok(())
}

fn receive(stream: &TcpStream, key: usize, buffer: &mut [u8; BUFFER]) -> squeue::Entry {
    let fd = types::Fd(stream.as_raw_fd());
    opcode::Recv::new(fd, buffer.as_mut_ptr(), BUFFER as u32)
        .build()
        .user_data(key as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: the buffer lives until the ring is gone, and is not touched while the kernel has it.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}
