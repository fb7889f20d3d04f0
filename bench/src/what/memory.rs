//! `memory`: bytes of heap per registered connection, counted by the allocator, and how many of them are lent to the
//! kernel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::each_peer;
use crate::load::{pairs, Load};
use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;
use crate::peers::{Peer, BUFFER};

/// Knows how many bytes are allocated. No server allocates while it is timed.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How many bytes of the heap are in use.
pub fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

type Turn = fn(usize) -> io::Result<Figures>;
const TURNS: &[(&str, Turn)] = each_peer!(turn);

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    // One round is enough, since the counts do not vary.
    let options = &Options {
        rounds: 1,
        ..options.clone()
    };
    for connections in options.connections_or(match cfg!(windows) {
        true => &[16, 512, 1_000],
        false => &[16, 512, 1_000, 8_000],
    }) {
        let setting = Setting {
            bench: "memory",
            connections,
            size: 64,
            more: Vec::new(),
        };
        let mut subjects = super::wanted(options, TURNS);
        recorder.rounds(options, &setting, &mut subjects, |turn| turn(connections))?;
    }
    Ok(())
}

fn turn<P: Peer>(connections: usize) -> io::Result<Figures>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let (mut servers, clients) = pairs(connections)?;
    let mut load = Load::new(clients, 64)?;
    let mut queue = P::new()?;
    let mut events = P::events();
    let mut streams = Vec::with_capacity(connections);

    let before = allocated();
    // The vector is drained and not consumed, so that its own memory does not count.
    for (key, stream) in servers.drain(..).enumerate() {
        let mut stream = P::wrap(stream)?;
        queue.adopt(&mut stream, key)?;
        streams.push(stream);
    }
    let idle = allocated() - before;
    let lent = queue.lent_bytes(connections);
    // One message on each stream is echoed.
    load.send_all()?;
    let mut echoed = 0;
    let mut buffer = [0; BUFFER];
    while echoed < connections {
        queue.wait(&mut events, None)?;
        for key in P::keys(&events) {
            queue.readable(&mut streams[key], key, &mut buffer, |mut stream, bytes| {
                echoed += 1;
                stream.write_all(bytes)
            })?;
        }
    }
    let busy = allocated() - before;
    for stream in streams {
        queue.close(stream)?;
    }
    let each = |bytes| bytes as f64 / connections as f64;
    let mut figures = vec![
        ("heap_bytes_idle", each(idle)),
        ("heap_bytes_busy", each(busy)),
    ];
    if cfg!(windows) {
        // These include the lent bytes. Without those, the rest is what the queue keeps for itself.
        figures.push(("lent_bytes_idle", each(lent)));
        figures.push(("own_bytes_idle", each(idle - lent)));
    }
    figures.extend([
        ("handle_bytes", size_of::<P::Stream>() as f64),
        ("cpu_us_per_msg", f64::NAN),
        ("msgs_per_s", f64::NAN),
    ]);
    Ok(figures)
}
