//! The figures of a report: what the files say, by platform, benchmark, setting, implementation and round.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use serde_json::Value;

use crate::measure::{floor, Spread, FLOOR, TOKIO_FLOOR};

/// The order of the rows.
pub const ORDER: [&str; 13] = [
    FLOOR,
    "bare-again",
    "minimio",
    "minimio-drained",
    "mio-short-read",
    "mio-drained",
    "polling-level",
    "polling-oneshot",
    "io-uring",
    TOKIO_FLOOR,
    "tokio-on-mio-again",
    "tokio-on-minimio",
    "tokio-on-minimio-lend",
];

/// The program of the floor, measured once more.
pub fn again(bench: &str) -> &'static str {
    match bench {
        TOKIO => "tokio-on-mio-again",
        _ => "bare-again",
    }
}

/// The fields that say to which setting an object belongs. Every other number is a figure.
const SETTING: [&str; 9] = [
    "connections",
    "size",
    "state",
    "thread",
    "kind",
    "arrangement",
    "idle",
    "bytes",
    "triple",
];

/// The benchmarks in their order, what each measures, and the figures for which a chart is drawn.
pub const BENCHES: [(&str, &str, &[&str]); 11] = [
    (
        "echo",
        "On each connection a message is sent, the server echoes it, the echo is read, and the next message is \
         sent.",
        &["cpu_us_per_msg", "msgs_per_s"],
    ),
    (
        "uds",
        "`echo` over pairs of Unix sockets. `minimio` and `mio` are measured with their types for these.",
        &["cpu_us_per_msg"],
    ),
    (
        "idle",
        "`echo` of 64 bytes on one connection, while the server has registered other connections on which nothing \
         happens. *Flat* is the ratio of an implementation's cost to its own cost with one idle connection. A \
         figure without a number of idle connections is that with the most.",
        &["cpu_us_per_msg"],
    ),
    (
        GROWTH,
        "How figures grow with the number of connections, and what a second thread changes. `echo` echoes 64 bytes, \
         and `http` answers `GET /` on connections that are kept alive. With *a queue each* two threads have half of \
         the connections each. With *one queue* two threads take turns to wait, and each works off the events that \
         its wait gave; a set of `bare` on Unix is one-shot then. *A tenth busy*: one connection of ten echoes, and the \
         others are idle. The load is a process of its own that sleeps when it has nothing to read, and no thread is \
         pinned to a core. The load needs a core, too, so on two cores a second server thread cannot double anything. CPU time is that of all server threads \
         together.",
        &["cpu_us_per_msg", "msgs_per_s"],
    ),
    (
        "accept",
        "A message is a whole connection: accept, one exchange of 64 bytes, close.",
        &["cpu_us_per_msg", "msgs_per_s"],
    ),
    (
        "wake",
        "A message is a wake from another thread. *Latency*: two threads wake each other in turn, and each sleeps \
         in between. *Throughput*: one thread wakes as fast as it can; wakes may merge. *4 threads* do so with one waker, not \
         pinned to a core; the CPU time is that of all four, divided by their wakes.",
        &["p50_us", "waker_cpu_us_per_wake"],
    ),
    (
        "rearm",
        "What asking for the next event costs the caller. *Drained*: the last read did not fill its buffer, so \
         nothing is left. *Unknown*: the last read filled its buffer. On Linux `mio` and the level-triggered \
         implementations never need the call; its cost is given nevertheless.",
        &["ns_per_register"],
    ),
    (
        "memory",
        "Bytes of user-space heap per registered connection, counted by the allocator. On Windows they include \
         the buffers lent to the kernel. On Linux the ratio to `bare` has no meaning, since its streams need no \
         heap.",
        &["own_bytes_idle", "heap_bytes_idle"],
    ),
    (
        "bulk",
        "A large transfer over one connection. A message is 64 KiB. *Receive*: the server reads what the client writes. \
         *Send*: the server writes, and waits for room when a write takes nothing or only a part. The client reads as \
         fast as it can, so there is mostly room. *With little room*: the send buffer of the server's socket has 64 KiB, \
         so the server waits with every message. On Windows `bare` lends the same 64 KiB to one send after the \
         other, and so has nothing to copy.",
        &["cpu_us_per_msg", "gigabytes_per_s"],
    ),
    (
        "build",
        "A minimal program is compiled from nothing, in release mode: time, number of crates, size. On Linux the compiler is \
         handed 56,233 lines of LLVM's language for minimio and 13,598 for mio, and more than half of minimio's time is \
         LLVM's. Of these lines 15 % are the state of a source, the table of sources and the queue; 50 % are the calls of \
         nine sorts of sources, each compiled for its type, with the wrappers of system calls; 26 % are generic code of \
         the standard library, a third of it hash tables; 2 % are those of bitflags, which needs a tenth of \
         the time. mio keeps no state of a source, so its part of the program is 3 KB. minimio's part is 21 KB of its own \
         code, 9 KB of the standard library's that the other program does not need, and 9 KB more of tables for \
         unwinding. Optimizing for size instead of speed takes away less than 2 KB.",
        &["compile_s"],
    ),
    (TOKIO, "", &["cpu_us_per_msg", "msgs_per_s"]),
];

/// These have chapters of their own.
pub const TOKIO: &str = "tokio";
pub const GROWTH: &str = "growth";

pub const LOWER: &str = "lower is better";
pub const HIGHER: &str = "higher is better";

/// The title of a figure, its unit, and whether a higher value is better.
pub fn described(bench: &str, figure: &str) -> (String, &'static str, &'static str) {
    let (name, unit, better) = match figure {
        "cpu_us_per_msg" if bench == GROWTH => ("CPU time of the servers per message", "µs", LOWER),
        "cpu_us_per_msg" if bench == TOKIO => ("CPU time of the server per message", "µs", LOWER),
        "cpu_us_per_msg" => ("CPU time of the server thread per message", "µs", LOWER),
        "msgs_per_s" => ("Messages a second", "1/s", HIGHER),
        "p50_us" => ("Latency, median", "µs", LOWER),
        "p99_us" => ("Latency, 99th percentile", "µs", LOWER),
        "p999_us" => ("Latency, 99.9th percentile", "µs", LOWER),
        "calls_per_msg" => ("System calls of the server per message", "calls", LOWER),
        "waker_cpu_us_per_wake" => ("CPU time of the waking thread per wake", "µs", LOWER),
        "queue_kib" => ("Heap of the queue and all its streams", "KiB", LOWER),
        "register_us" => ("Time to take over a socket and register it", "µs", LOWER),
        "ns_per_register" => ("Time of one registration", "ns", LOWER),
        "heap_bytes_idle" => ("Heap per connection, idle", "bytes", LOWER),
        "heap_bytes_busy" => ("Heap per connection, after a message", "bytes", LOWER),
        "lent_bytes_idle" => ("Of that, lent to the kernel, idle", "bytes", LOWER),
        "own_bytes_idle" => (
            "Heap per connection without lent memory, idle",
            "bytes",
            LOWER,
        ),
        "handle_bytes" => ("Size of a stream's handle", "bytes", LOWER),
        "gigabytes_per_s" => ("Throughput", "GB/s", HIGHER),
        "compile_s" => ("Compile time", "s", LOWER),
        "crates" => ("Crates", "crates", LOWER),
        "program_bytes" => ("Size of the program", "bytes", LOWER),
        other => {
            let idle = |prefix| other.strip_prefix(prefix)?.strip_suffix("_idle");
            if let Some(count) = idle("cpu_us_") {
                let name = format!("CPU time of the server thread per message, {count} idle");
                return (name, "µs", LOWER);
            }
            if let Some(count) = idle("flat_") {
                return (format!("Flat, {count} idle"), "to its own with 1", LOWER);
            }
            return (other.into(), "", "");
        }
    };
    (name.into(), unit, better)
}

/// The figures, by implementation and then by round.
#[derive(Default)]
pub struct Rounds {
    pub of: BTreeMap<String, BTreeMap<u64, BTreeMap<String, f64>>>,
    pub failures: BTreeMap<String, String>,
}

impl Rounds {
    pub fn values(&self, name: &str, figure: &str) -> Vec<f64> {
        let rounds = self.of.get(name).into_iter().flat_map(BTreeMap::values);
        rounds
            .filter_map(|figures| figures.get(figure).copied())
            .collect()
    }

    pub fn median(&self, name: &str, figure: &str) -> Option<f64> {
        Some(Spread::of(self.values(name, figure))?.median)
    }

    /// The ratio to another, round by round.
    pub fn ratio(&self, name: &str, to: &str, figure: &str) -> Option<Spread> {
        Spread::of(self.ratios(name, self, to, figure))
    }

    /// The ratios to another of another setting, round by round.
    pub fn ratios(&self, name: &str, others: &Rounds, to: &str, figure: &str) -> Vec<f64> {
        let (Some(above), Some(below)) = (self.of.get(name), others.of.get(to)) else {
            return Vec::new();
        };
        let ratio = |(round, figures): (&u64, &BTreeMap<String, f64>)| {
            Some(figures.get(figure)? / below.get(round)?.get(figure)?)
        };
        above.iter().filter_map(ratio).collect()
    }

    /// Between which ratios a figure of `bare` measured once more lies, without the outermost tenth of the rounds at
    /// either end.
    pub fn noise(&self, bench: &str, figure: &str) -> (f64, f64) {
        let (floor, again) = (floor(bench), again(bench));
        let mut ratios = self.ratios(again, self, floor, figure);
        ratios.retain(|ratio| ratio.is_finite());
        ratios.sort_by(f64::total_cmp);
        let cut = ratios.len() / 10;
        match &ratios[cut..ratios.len() - cut] {
            [] => (1.0, 1.0),
            [only] => (*only, *only),
            [least, .., most] => (*least, *most),
        }
    }
}

/// One setting of one benchmark on one platform.
pub struct Setting {
    /// All that is set.
    pub title: String,
    /// The same without the number of connections.
    pub case: String,
    pub connections: u64,
    pub rounds: Rounds,
}

/// The settings of each benchmark, by platform and the benchmark's place in [`BENCHES`], in the order of the files.
pub type All = BTreeMap<(String, usize), Vec<Setting>>;

pub fn add(all: &mut All, value: &Value) -> io::Result<()> {
    let text = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
    let bench = text("bench");
    let index = BENCHES.iter().position(|(known, _, _)| *known == bench);
    let index = index.ok_or(io::Error::new(
        ErrorKind::InvalidData,
        format!("{bench} is not a benchmark"),
    ))?;
    let (mut parts, mut connections) = (Vec::<String>::new(), Vec::new());
    for key in SETTING {
        let number = value[key].as_u64();
        match (key, number, value[key].as_str()) {
            (_, Some(0), _) => {}
            ("connections", Some(1), _) => connections.push("1 connection".into()),
            ("connections", Some(count), _) => connections.push(format!("{count} connections")),
            ("size", Some(size), _) => parts.push(format!("{size} B")),
            ("bytes", Some(bytes), _) => parts.push(format!("{} MiB in all", bytes >> 20)),
            // The largest number. The name of each figure says for how many it is.
            ("idle", ..) => {}
            ("thread", _, Some(thread)) => {
                parts.push(format!("from the {thread} thread").replace("the another", "another"))
            }
            (_, _, Some(word)) => parts.push(word.into()),
            _ => {}
        }
    }
    let case = parts.join(", ");
    let title = [connections, parts].concat().join(", ");
    let settings = all.entry((text("platform"), index)).or_default();
    let at = settings.iter().position(|known| known.title == title);
    let at = at.unwrap_or_else(|| {
        settings.push(Setting {
            title,
            case,
            connections: value["connections"].as_u64().unwrap_or(0),
            rounds: Rounds::default(),
        });
        settings.len() - 1
    });
    let rounds = &mut settings[at].rounds;
    if let Some(error) = value["error"].as_str() {
        rounds.failures.insert(text("impl"), error.to_owned());
        return Ok(());
    }
    // The rounds of a second run come after those of the first.
    let turns = rounds.of.entry(text("impl")).or_default();
    let figures = turns.entry(turns.len() as u64).or_default();
    for (key, figure) in value.as_object().into_iter().flatten() {
        if let Some(figure) = figure.as_f64() {
            if key != "round" && !SETTING.contains(&key.as_str()) {
                figures.insert(key.clone(), figure);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Figures as the lines of a file give them.
    pub fn read(lines: &[Value]) -> All {
        let mut all = All::new();
        for line in lines {
            add(&mut all, line).expect("it is a line of a benchmark");
        }
        all
    }

    /// One line of a file.
    pub fn line(bench: &str, name: &str, connections: u64, figure: &str, value: f64) -> Value {
        serde_json::json!({
            "bench": bench, "platform": "linux-x86_64", "impl": name, "connections": connections, "size": 64,
            figure: value,
        })
    }

    #[test]
    fn rounds_are_compared_with_rounds() {
        let mut lines = Vec::new();
        for (floor, ours) in [(1.0, 2.0), (10.0, 10.0), (1.0, 3.0)] {
            lines.push(line("echo", "bare", 16, "cpu_us_per_msg", floor));
            lines.push(line("echo", "minimio", 16, "cpu_us_per_msg", ours));
        }
        let all = read(&lines);
        let setting = &all[&("linux-x86_64".to_owned(), 0)][0];
        assert_eq!(setting.title, "16 connections, 64 B");
        assert_eq!((setting.case.as_str(), setting.connections), ("64 B", 16));
        let ratio = setting.rounds.ratio("minimio", "bare", "cpu_us_per_msg");
        assert_eq!(ratio.map(|ratio| ratio.median), Some(2.0));
    }

    #[test]
    fn the_noise_leaves_out_the_outermost_tenth() {
        let mut lines = Vec::new();
        for round in 0..10 {
            let again = [0.2, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.1, 7.0][round];
            lines.push(line("echo", "bare", 16, "msgs_per_s", 1.0));
            lines.push(line("echo", "bare-again", 16, "msgs_per_s", again));
        }
        let all = read(&lines);
        let rounds = &all[&("linux-x86_64".to_owned(), 0)][0].rounds;
        assert_eq!(rounds.noise("echo", "msgs_per_s"), (0.9, 1.1));
        // Nothing is known of the noise of what was not measured again.
        assert_eq!(rounds.noise("echo", "p50_us"), (1.0, 1.0));
    }
}
