//! `bulk`: a gigabyte over one connection, received with a large buffer. An implementation that lends memory to the
//! kernel lends a buffer of the same size.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use super::each_peer;
use crate::load::pairs;
use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;
use crate::peers::Peer;
use crate::system::{self, CpuClock};

/// The size of the server's buffer. The figures call so many bytes a message.
const CHUNK: usize = 64 << 10;

type Turn = fn(usize) -> io::Result<Figures>;
const TURNS: &[(&str, Turn)] = each_peer!(turn);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let bytes = options.megabytes << 20;
    let setting = Setting {
        bench: "bulk",
        connections: 1,
        size: CHUNK,
        more: vec![("bytes", bytes.into())],
    };
    let mut subjects = super::wanted(options, TURNS);
    recorder.rounds(options, &setting, &mut subjects, |turn| turn(bytes))
}

fn turn<P: Peer>(bytes: usize) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let (mut servers, clients) = pairs(1)?;
    let server = servers.pop().expect("there is one pair");
    let mut client = &clients[0];
    client.set_nonblocking(false)?;
    let start = Instant::now();
    let receiver = std::thread::spawn(move || -> io::Result<_> {
        system::pin(system::SERVER_CORE);
        let clock = CpuClock::of_this_thread();
        let mut queue = P::new()?;
        let mut events = P::events();
        let mut stream = P::wrap(server)?;
        P::lend(&mut stream, CHUNK)?;
        queue.adopt(&mut stream, 0)?;
        let mut buffer = vec![0; CHUNK];
        let mut received = 0;
        let before = clock.now();
        // It does not read until the end of the stream. If the end comes together with the last bytes there is no
        // further edge, and `mio-short-read` would wait for one.
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
        Ok((received, clock.now() - before))
    });
    let chunk = vec![7; CHUNK];
    let mut left = bytes;
    while left > 0 {
        left -= client.write(&chunk[..left.min(CHUNK)])?;
    }
    let (received, cpu) = super::joined(receiver.join())?;
    if received != bytes {
        return Err(ErrorKind::InvalidData.into());
    }
    let count = bytes as f64 / CHUNK as f64;
    let elapsed = start.elapsed().as_secs_f64();
    Ok(vec![
        ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / count),
        ("msgs_per_s", count / elapsed),
        ("gigabytes_per_s", bytes as f64 / elapsed / 1e9),
    ])
}
