//! `bulk`: a gigabyte over one connection, received or sent by the server in large pieces. `bare`, which lends memory to
//! the kernel on Windows, lends a buffer of the same size. minimio lends what it chooses by itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::each_peer;
use crate::load::pairs;
use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;
use crate::peers::Peer;
use crate::system::{self, CpuClock};

/// The size of the buffers at both ends. The figures call so many bytes a message.
const CHUNK: usize = 64 << 10;

/// What the kernel is to hold for a sender that has to wait for room with every message.
const LITTLE: usize = CHUNK;

type Turn = fn(usize) -> io::Result<Figures>;
const RECEIVE: &[(&str, Turn)] = each_peer!(receive);
const SEND: &[(&str, Turn)] = each_peer!(send);
const SEND_WITH_LITTLE_ROOM: &[(&str, Turn)] = each_peer!(send_with_little_room);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let bytes = options.megabytes << 20;
    let kinds = [
        ("receive", RECEIVE),
        ("send", SEND),
        ("send with little room", SEND_WITH_LITTLE_ROOM),
    ];
    for (kind, turns) in kinds {
        let setting = Setting {
            bench: "bulk",
            connections: 1,
            size: CHUNK,
            more: vec![("kind", kind.into()), ("bytes", bytes.into())],
        };
        let mut subjects = super::wanted(options, turns);
        recorder.rounds(options, &setting, &mut subjects, |turn| turn(bytes))?;
    }
    Ok(())
}

/// Runs `server` on the server's core and `client` on this thread, each with its end of a connection, until both have
/// moved all bytes.
fn between<P: Peer>(
    bytes: usize,
    server: fn(TcpStream, usize) -> io::Result<Duration>,
    client: fn(&TcpStream, usize) -> io::Result<()>,
) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let (mut servers, clients) = pairs(1)?;
    let stream = servers.pop().expect("there is one pair");
    clients[0].set_nonblocking(false)?;
    let start = Instant::now();
    let server = std::thread::spawn(move || {
        system::pin(system::SERVER_CORE);
        server(stream, bytes)
    });
    let moved = client(&clients[0], bytes);
    if moved.is_err() {
        // The server would wait for ever.
        drop(clients);
    }
    // If the server has failed, the client has, too, and the server knows why.
    let cpu = super::joined(server.join())?;
    moved?;
    let elapsed = start.elapsed().as_secs_f64();
    let messages = bytes as f64 / CHUNK as f64;
    Ok(vec![
        ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / messages),
        ("gigabytes_per_s", bytes as f64 / elapsed / 1e9),
    ])
}

fn receive<P: Peer>(bytes: usize) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    between::<P>(bytes, receiver::<P>, |mut client, bytes| {
        let chunk = vec![7; CHUNK];
        let mut left = bytes;
        while left > 0 {
            left -= client.write(&chunk[..left.min(CHUNK)])?;
        }
        Ok(())
    })
}

fn send<P: Peer>(bytes: usize) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    between::<P>(bytes, sender::<P>, read_all)
}

fn send_with_little_room<P: Peer>(bytes: usize) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let sender = |stream, bytes| {
        system::set_buffers(&stream, LITTLE);
        sender::<P>(stream, bytes)
    };
    between::<P>(bytes, sender, |client, bytes| {
        system::set_buffers(client, LITTLE);
        read_all(client, bytes)
    })
}

/// Reads so many bytes from a server that sends no more.
fn read_all(mut client: &TcpStream, bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        match client.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => left = left.checked_sub(count).ok_or(ErrorKind::InvalidData)?,
        }
    }
    Ok(())
}

/// Receives so many bytes, and returns the CPU time of its thread.
fn receiver<P: Peer>(stream: TcpStream, bytes: usize) -> io::Result<Duration>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let clock = CpuClock::of_this_thread();
    let mut queue = P::new()?;
    let mut events = P::events();
    let mut stream = P::wrap(stream)?;
    P::lend(&mut stream, CHUNK)?;
    queue.adopt(&mut stream, 0)?;
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    let before = clock.now();
    // It does not read until the end of the stream. If the end comes together with the last bytes there is no further edge,
    // and `mio-short-read` would wait for one.
    while received < bytes {
        queue.wait(&mut events, None)?;
        for key in P::keys(&events) {
            let open = queue.readable(&mut stream, key, &mut buffer, |_, bytes| {
                received += bytes.len();
                Ok(())
            })?;
            if !open {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
    let cpu = clock.now() - before;
    queue.close(stream)?;
    if received != bytes {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(cpu)
}

/// Sends so many bytes, and returns the CPU time of its thread.
fn sender<P: Peer>(stream: TcpStream, bytes: usize) -> io::Result<Duration>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let clock = CpuClock::of_this_thread();
    let mut queue = P::new()?;
    let mut events = P::events();
    let mut stream = P::wrap(stream)?;
    queue.adopt_sender(&mut stream, 0)?;
    let chunk = vec![7; CHUNK];
    let before = clock.now();
    let mut sent = queue.send(&mut stream, 0, &chunk, bytes)?;
    while sent < bytes {
        queue.wait(&mut events, None)?;
        for key in P::keys(&events) {
            if sent < bytes {
                sent += queue.send(&mut stream, key, &chunk, bytes - sent)?;
            }
        }
    }
    let cpu = clock.now() - before;
    queue.close(stream)?;
    Ok(cpu)
}
