//! `wake`: waking a poll from another thread.
//! *Latency*: two threads, each with a queue, wake each other in turn. The figure is half a round trip. Both sleep in
//! between, so it includes the time that the system needs to start a sleeping thread. *Throughput*: one thread wakes as
//! fast as it can, and the other polls. Wakes may merge. *Throughput, 4 threads*: four threads do so with one waker, and run
//! on any core.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::each_peer;
use crate::measure::{Figures, Histogram, Recorder, Setting};
use crate::options::Options;
use crate::peers::Peer;
use crate::system::{self, CpuClock};

type Turn = fn(f64) -> io::Result<Figures>;
const LATENCY: &[(&str, Turn)] = each_peer!(latency);
const THROUGHPUT: &[(&str, Turn)] = each_peer!(throughput);
const FROM_MANY: &[(&str, Turn)] = each_peer!(from_many);

/// How many threads wake at once in [`from_many`].
const THREADS: usize = 4;

/// The number of wakes between two looks at the clock.
const BURST: u64 = 64;

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let kinds = [
        ("latency", LATENCY),
        ("throughput", THROUGHPUT),
        ("throughput, 4 threads", FROM_MANY),
    ];
    for (kind, turns) in kinds {
        let setting = Setting {
            bench: "wake",
            connections: 0,
            size: 0,
            more: vec![("kind", kind.into())],
        };
        let mut subjects = super::wanted(options, turns);
        let turn = |turn: &mut Turn| turn(options.seconds);
        recorder.rounds(options, &setting, &mut subjects, turn)?;
    }
    Ok(())
}

/// Runs `woken` on the server's core each time its queue is woken, and `here` on this thread meanwhile, until both have
/// ended.
fn against<P: Peer, T>(
    mut woken: impl FnMut() -> io::Result<()> + Send,
    here: impl FnOnce(&P::Waker, CpuClock) -> io::Result<T>,
) -> io::Result<T>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let over = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let over = &over;
        let poller = scope.spawn(move || -> io::Result<()> {
            system::pin(system::SERVER_CORE);
            let mut queue = P::new()?;
            let mut events = P::events();
            let sent = tell.send((queue.waker(1)?, CpuClock::of_this_thread()));
            sent.expect("the other thread waits for it");
            loop {
                queue.wait(&mut events, None)?;
                if over.load(Ordering::SeqCst) {
                    return Ok(());
                }
                woken()?;
            }
        });
        let (waker, clock) = told
            .recv()
            .expect("it is the first thing that a poller does");
        let result = here(&waker, clock);
        over.store(true, Ordering::SeqCst);
        // If it has already ended by an earlier wake, it need not be woken.
        drop(P::wake(&waker));
        super::joined(poller.join())?;
        result
    })
}

fn latency<P: Peer>(seconds: f64) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let mut queue = P::new()?;
    let mut events = P::events();
    let back = queue.waker(2)?;
    against::<P, _>(
        || P::wake(&back),
        |waker, clock| {
            let mut latencies = Histogram::new();
            let (mut count, mut before) = (0_u64, clock.now());
            let mut start = Instant::now();
            let warm = start + Duration::from_secs_f64(seconds / 4.0);
            let end = warm + Duration::from_secs_f64(seconds);
            let mut is_warm = false;
            loop {
                let at = Instant::now();
                if !is_warm && at >= warm {
                    (is_warm, count, before, start) = (true, 0, clock.now(), at);
                    latencies.clear();
                }
                P::wake(waker)?;
                queue.wait(&mut events, None)?;
                let now = Instant::now();
                latencies.add((now - at).as_nanos() as u64 / 2);
                count += 1;
                if now >= end {
                    break;
                }
            }
            let cpu = clock.now() - before;
            Ok(vec![
                ("p50_us", latencies.percentile(0.5)),
                ("p99_us", latencies.percentile(0.99)),
                ("cpu_us_per_msg", cpu.as_secs_f64() * 1e6 / count as f64),
                ("msgs_per_s", count as f64 / start.elapsed().as_secs_f64()),
            ])
        },
    )
}

fn throughput<P: Peer>(seconds: f64) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    against::<P, _>(
        || Ok(()),
        |waker, clock| {
            let ours = CpuClock::of_this_thread();
            let burst = || (0..BURST).try_for_each(|_| P::wake(waker));
            let warm = Instant::now() + Duration::from_secs_f64(seconds / 4.0);
            while Instant::now() < warm {
                burst()?;
            }
            let (mut count, start) = (0, Instant::now());
            let (theirs_before, ours_before) = (clock.now(), ours.now());
            while start.elapsed() < Duration::from_secs_f64(seconds) {
                burst()?;
                count += BURST;
            }
            let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            Ok(vec![
                ("waker_cpu_us_per_wake", us(ours.now() - ours_before)),
                ("cpu_us_per_msg", us(clock.now() - theirs_before)),
                ("msgs_per_s", count as f64 / start.elapsed().as_secs_f64()),
            ])
        },
    )
}

fn from_many<P: Peer>(seconds: f64) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    against::<P, _>(
        || Ok(()),
        |waker, clock| {
            let (start, theirs_before) = (Instant::now(), clock.now());
            let waking = || -> io::Result<_> {
                system::unpin();
                let ours = CpuClock::of_this_thread();
                let (mut count, before) = (0, ours.now());
                while start.elapsed() < Duration::from_secs_f64(seconds) {
                    (0..BURST).try_for_each(|_| P::wake(waker))?;
                    count += BURST;
                }
                Ok((count, ours.now() - before))
            };
            let (mut count, mut cpu) = (0, Duration::ZERO);
            std::thread::scope(|scope| {
                let threads = [(); THREADS].map(|()| scope.spawn(waking));
                threads.into_iter().try_for_each(|thread| {
                    let (wakes, time) = super::joined(thread.join())?;
                    (count, cpu) = (count + wakes, cpu + time);
                    Ok::<_, io::Error>(())
                })
            })?;
            let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            Ok(vec![
                ("waker_cpu_us_per_wake", us(cpu)),
                ("cpu_us_per_msg", us(clock.now() - theirs_before)),
                ("msgs_per_s", count as f64 / start.elapsed().as_secs_f64()),
            ])
        },
    )
}
