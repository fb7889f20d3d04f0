//! `rearm`: what asking for the next event costs the caller, in nanoseconds.
//! *Drained*: the last read did not fill its buffer, so nothing is left. *Unknown*: the last read filled its buffer.
//! Both are measured on the polling thread, and on another thread while the polling thread waits. The level-triggered
//! implementations and `mio` never need the call; its cost is measured nevertheless.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::each_peer;
use crate::load::pairs;
use crate::measure::{Figures, Recorder, Setting, Spread};
use crate::options::Options;
use crate::peers::Peer;
use crate::system;

/// How many are registered between two looks at the clock, which takes 25 ns itself.
const STREAMS: usize = 128;

#[derive(Debug, Clone, Copy)]
struct Case {
    /// Bytes that are sent, and the room of the read that takes them.
    sent: usize,
    room: usize,
    from_another: bool,
    seconds: f64,
}

type Turn = fn(Case) -> io::Result<Figures>;
const TURNS: &[(&str, Turn)] = each_peer!(turn);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    for from_another in [false, true] {
        for (state, sent, room) in [("drained", 64, 4096), ("unknown", 1, 1)] {
            let thread = if from_another { "another" } else { "polling" };
            let setting = Setting {
                bench: "rearm",
                connections: STREAMS,
                size: sent,
                more: vec![("state", state.into()), ("thread", thread.into())],
            };
            let case = Case {
                sent,
                room,
                from_another,
                seconds: options.seconds,
            };
            let mut subjects = super::wanted(options, TURNS);
            recorder.rounds(options, &setting, &mut subjects, |turn| turn(case))?;
        }
    }
    Ok(())
}

fn turn<P: Peer>(case: Case) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let (servers, clients) = pairs(STREAMS)?;
    let mut queue = P::new()?;
    let remote = queue.remote()?;
    let mut streams = super::adopt_all(&queue, servers)?;
    let mut each = Vec::new();
    let start = Instant::now();
    let is_over = || start.elapsed() > Duration::from_secs_f64(case.seconds);

    if case.from_another {
        let waker = queue.waker(usize::MAX)?;
        let (seen, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        queue = std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                system::pin(system::SERVER_CORE);
                let mut events = P::events();
                while !over.load(Ordering::SeqCst) {
                    queue.wait(&mut events, None)?;
                    let count = P::keys(&events).filter(|key| *key < STREAMS).count();
                    seen.fetch_add(count, Ordering::SeqCst);
                }
                Ok::<P, io::Error>(queue)
            });
            while !is_over() {
                let before = seen.load(Ordering::SeqCst);
                send_all(&clients, case.sent)?;
                while seen.load(Ordering::SeqCst) < before + STREAMS {
                    std::thread::yield_now();
                }
                read_all::<P>(&mut streams, case.room)?;
                // Lets the other thread fall asleep, since a registration is measured while that thread waits.
                std::thread::sleep(Duration::from_micros(50));
                each.push(rearm_all::<P>(&remote, &mut streams)?);
            }
            over.store(true, Ordering::SeqCst);
            // If it has already ended by an earlier event, it need not be woken.
            drop(P::wake(&waker));
            super::joined(poller.join())
        })?;
    } else {
        let mut events = P::events();
        while !is_over() {
            send_all(&clients, case.sent)?;
            let mut seen = 0;
            while seen < STREAMS {
                queue.wait(&mut events, None)?;
                seen += P::keys(&events).count();
            }
            read_all::<P>(&mut streams, case.room)?;
            each.push(rearm_all::<P>(&remote, &mut streams)?);
        }
    }
    for stream in streams {
        queue.close(stream)?;
    }
    let ns = Spread::of(each).map_or(f64::NAN, |spread| spread.median);
    Ok(vec![
        ("ns_per_register", ns),
        ("cpu_us_per_msg", ns / 1e3),
        ("msgs_per_s", 1e9 / ns),
    ])
}

fn send_all(clients: &[TcpStream], size: usize) -> io::Result<()> {
    for mut client in clients {
        client.write_all(&[7; 4096][..size])?;
    }
    Ok(())
}

fn read_all<P: Peer>(streams: &mut [P::Stream], room: usize) -> io::Result<()>
where
    for<'a> &'a P::Stream: Read + Write,
{
    for stream in streams {
        let mut reader = &*stream;
        let _ = reader.read(&mut [0; 4096][..room])?;
    }
    Ok(())
}

/// Registers every stream, and returns how many nanoseconds each took.
fn rearm_all<P: Peer>(remote: &P::Remote, streams: &mut [P::Stream]) -> io::Result<f64>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let start = Instant::now();
    for (key, stream) in streams.iter_mut().enumerate() {
        P::rearm(remote, stream, key)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / streams.len() as f64)
}
