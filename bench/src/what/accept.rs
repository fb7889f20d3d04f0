//! `accept`: connections a second. Each is accepted, has one exchange, and is closed.
//! The server closes first, right after its answer. The client then resets the rest of the connection, so that no port
//! stays in TIME_WAIT and ports do not run out.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::each_peer;
use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;
use crate::peers::{read_once, Peer, BUFFER};
use crate::system::{self, CpuClock};

const LISTENER: usize = usize::MAX / 2;
const WAKE: usize = usize::MAX / 2 + 1;

type Turn = fn(usize, usize, f64) -> io::Result<Figures>;
const TURNS: &[(&str, Turn)] = each_peer!(turn);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    for connections in options.connections_or(&[1, 16]) {
        let setting = Setting {
            bench: "accept",
            connections,
            size: 64,
            more: Vec::new(),
        };
        let mut subjects = super::wanted(options, TURNS);
        recorder.rounds(options, &setting, &mut subjects, |turn| {
            turn(connections, 64, options.seconds)
        })?;
    }
    Ok(())
}

fn turn<P: Peer>(connections: usize, size: usize, seconds: f64) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let over = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let over = &over;
        let server = scope.spawn(move || -> io::Result<()> {
            system::pin(system::SERVER_CORE);
            let mut queue = P::new()?;
            let sent = tell.send((queue.waker(WAKE)?, CpuClock::of_this_thread()));
            sent.expect("the load waits for it");
            serve(&mut queue, listener, over)
        });
        let (waker, clock) = told
            .recv()
            .expect("it is the first thing that a server does");
        let run = |seconds| -> io::Result<(u64, Duration)> {
            let start = Instant::now();
            let mut count = 0;
            while start.elapsed() < Duration::from_secs_f64(seconds) {
                volley(address, connections, size)?;
                count += connections as u64;
            }
            Ok((count, start.elapsed()))
        };
        run(seconds / 4.0)?;
        let before = clock.now();
        let (count, elapsed) = run(seconds)?;
        let cpu = clock.now() - before;
        over.store(true, Ordering::SeqCst);
        // If it has already ended by an earlier event, it need not be woken.
        drop(P::wake(&waker));
        super::joined(server.join())?;
        Ok(vec![
            ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / count as f64),
            ("msgs_per_s", count as f64 / elapsed.as_secs_f64()),
        ])
    })
}

/// A volley of connections, each with one message.
fn volley(address: SocketAddr, connections: usize, size: usize) -> io::Result<()> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = TcpStream::connect(address)?;
        client.write_all(&[7; BUFFER][..size])?;
        clients.push(client);
    }
    for mut client in clients {
        let mut answer = Vec::with_capacity(size + 1);
        client.read_to_end(&mut answer)?;
        if answer.len() != size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        system::reset_on_close(&client);
    }
    Ok(())
}

fn serve<P: Peer>(queue: &mut P, listener: TcpListener, over: &AtomicBool) -> io::Result<()>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let mut listener = queue.listen(listener, LISTENER)?;
    let mut events = P::events();
    let mut streams: Vec<Option<P::Stream>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut buffer = [0; BUFFER];
    while !over.load(Ordering::SeqCst) {
        queue.wait(&mut events, None)?;
        for key in P::keys(&events) {
            if key == LISTENER {
                queue.acceptable(&mut listener, key, |mut stream| {
                    let key = free.pop().unwrap_or_else(|| {
                        streams.push(None);
                        streams.len() - 1
                    });
                    queue.adopt(&mut stream, key)?;
                    streams[key] = Some(stream);
                    Ok(())
                })?;
            } else if let Some(stream) = streams.get_mut(key).and_then(Option::take) {
                let mut answered = false;
                // One read is the same for all implementations, since nothing is armed again.
                read_once(&stream, &mut buffer, |mut stream, bytes| {
                    answered = true;
                    stream.write_all(bytes)
                })?;
                if answered {
                    queue.close(stream)?;
                    free.push(key);
                } else {
                    streams[key] = Some(stream);
                }
            }
        }
    }
    for stream in streams.into_iter().flatten() {
        queue.close(stream)?;
    }
    Ok(())
}
