//! `report`: `docs/benchmarks.md`, with its charts, from the files that `--json` wrote.

mod chart;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::Value;

use crate::measure::{floor, Spread, FLOOR, TOKIO_FLOOR};
use crate::options::Options;
use chart::Panel;

/// The order of the rows.
const ORDER: [&str; 13] = [
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

/// The fields that say to which setting an object belongs. Every other number is a figure.
const SETTING: [&str; 8] = [
    "connections",
    "size",
    "state",
    "thread",
    "kind",
    "idle",
    "bytes",
    "triple",
];

/// The benchmarks in their order, what each measures, and the figures for which a chart is drawn.
const BENCHES: [(&str, &str, &[&str]); 10] = [
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
        "accept",
        "A message is a whole connection: accept, one exchange of 64 bytes, close.",
        &["cpu_us_per_msg", "msgs_per_s"],
    ),
    (
        "wake",
        "A message is a wake from another thread. *Latency*: two threads wake each other in turn, and each sleeps \
         in between. *Throughput*: one thread wakes as fast as it can; wakes may merge.",
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
        "A large transfer over one connection. A message is 64 KiB.",
        &["cpu_us_per_msg", "gigabytes_per_s"],
    ),
    (
        "build",
        "A minimal program is compiled from nothing, in release mode: time, number of crates, size.",
        &["compile_s"],
    ),
    (TOKIO, "", &["cpu_us_per_msg", "msgs_per_s"]),
];

/// Has a chapter of its own, which is made without the others.
const TOKIO: &str = "tokio";

const LOWER: &str = "lower is better";
const HIGHER: &str = "higher is better";

/// The title of a figure, its unit, and whether a higher value is better.
fn described(bench: &str, figure: &str) -> (String, &'static str, &'static str) {
    let (name, unit, better) = match figure {
        "cpu_us_per_msg" if bench == TOKIO => ("CPU time of the server per message", "µs", LOWER),
        "cpu_us_per_msg" => ("CPU time of the server thread per message", "µs", LOWER),
        "msgs_per_s" => ("Messages a second", "1/s", HIGHER),
        "p50_us" => ("Latency, median", "µs", LOWER),
        "p99_us" => ("Latency, 99th percentile", "µs", LOWER),
        "p999_us" => ("Latency, 99.9th percentile", "µs", LOWER),
        "calls_per_msg" => ("System calls of the server per message", "calls", LOWER),
        "waker_cpu_us_per_wake" => ("CPU time of the waking thread per wake", "µs", LOWER),
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
struct Rounds {
    of: BTreeMap<String, BTreeMap<u64, BTreeMap<String, f64>>>,
    failures: BTreeMap<String, String>,
}

impl Rounds {
    fn values(&self, name: &str, figure: &str) -> Vec<f64> {
        let rounds = self.of.get(name).into_iter().flat_map(BTreeMap::values);
        rounds
            .filter_map(|figures| figures.get(figure).copied())
            .collect()
    }

    /// The ratio to another, round by round.
    fn ratio(&self, name: &str, to: &str, figure: &str) -> Option<Spread> {
        let (above, below) = (self.of.get(name)?, self.of.get(to)?);
        Spread::of(above.iter().filter_map(|(round, figures)| {
            Some(figures.get(figure)? / below.get(round)?.get(figure)?)
        }))
    }

    fn bars(&self, bench: &str, figure: &str) -> Vec<(&'static str, Spread)> {
        let bar = |name| Some((name, self.ratio(name, floor(bench), figure)?));
        ORDER.into_iter().filter_map(bar).collect()
    }
}

/// The settings of one benchmark on one platform, in the order of the files.
type Settings = Vec<(String, Rounds)>;

pub fn run(options: &Options) -> io::Result<()> {
    if options.files.is_empty() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "report which files?",
        ));
    }
    let mut machines: Vec<Value> = Vec::new();
    let mut all: BTreeMap<(String, usize), Settings> = BTreeMap::new();
    for path in &options.files {
        for line in fs::read_to_string(path)?.lines() {
            let value: Value = serde_json::from_str(line)?;
            if value["bench"] == "about" {
                machines.push(value);
            } else {
                add(&mut all, &value)?;
            }
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts)?;
    let page = docs.join("benchmarks.md");
    // Chapters of which the files say nothing stay as they are.
    let before = fs::read_to_string(&page).unwrap_or_default();
    let (mut text, mut of_tokio) = match before.split_once(TOKIO_TITLE) {
        Some((text, of_tokio)) => (text.to_owned(), of_tokio.to_owned()),
        None => (before, String::new()),
    };
    let chapters = |wanted: fn(&str) -> bool| -> Vec<(&String, usize, &Settings)> {
        let all = all.iter();
        all.filter(|((_, index), _)| wanted(BENCHES[*index].0))
            .map(|((platform, index), settings)| (platform, *index, settings))
            .collect()
    };
    let of_queues = chapters(|bench| bench != TOKIO);
    if !of_queues.is_empty() {
        text = String::from(HEAD);
        let mut last = None;
        for (platform, index, settings) in of_queues {
            if last.replace(platform) != Some(platform) {
                _ = writeln!(text, "\n## {platform}\n");
                about(&mut text, platform, &machines);
                if platform.starts_with("wine") {
                    text.push_str(WINE);
                }
            }
            let (bench, meaning, _) = BENCHES[index];
            _ = writeln!(text, "\n### {bench}\n\n{meaning}");
            section(&mut text, platform, index, settings, &charts)?;
        }
        readme(&charts, &all)?;
    }
    let servers = chapters(|bench| bench == TOKIO);
    if !servers.is_empty() {
        of_tokio = String::from(TOKIO_HEAD);
        for (platform, _, _) in &servers {
            about(&mut of_tokio, platform, &machines);
        }
        losses(&mut of_tokio, &servers);
        for (platform, index, settings) in servers {
            _ = writeln!(of_tokio, "\n### tokio, {platform}\n");
            section(&mut of_tokio, platform, index, settings, &charts)?;
        }
    }
    if !of_tokio.is_empty() {
        text += TOKIO_TITLE;
        text += &of_tokio;
    }
    fs::write(page, text)?;
    println!("docs/benchmarks.md: {} chapters", all.len());
    Ok(())
}

const TOKIO_TITLE: &str = "\n## tokio\n";

const TOKIO_HEAD: &str = "
An echo server of tokio, once on mio and once on minimio, which takes mio's place by one line in `Cargo.toml`
([`compat/mio`](../compat/mio/README.md)). The server is a process of its own, and nothing but that line differs. Each
client sends 64 bytes, waits for the echo, and sends again. CPU time is that of the whole process of the server; under Wine
without what the Wine server did for it, as above. There, 512 connections have one round, since the Wine server takes half a
minute for a message of each of them on mio. `multi-thread` is a runtime with two workers. `lend` is the feature of
that name of `compat/mio`, which there is on Windows only. `tokio-on-mio-again` is the program of `tokio-on-mio`, measured
once more, so the difference between the two is noise.

Measured by `compat/bench/run --json linux.json` and `compat/bench/run --wine --json wine.json`. Then
`cargo run --release --manifest-path bench/Cargo.toml -- report linux.json wine.json` makes this chapter.

";

/// Where minimio is behind, the largest loss first.
fn losses(text: &mut String, servers: &[(&String, usize, &Settings)]) {
    let mut lost = Vec::new();
    for (platform, index, settings) in servers {
        let (bench, _, charted) = BENCHES[*index];
        for ((title, rounds), figure) in settings
            .iter()
            .flat_map(|setting| charted.iter().map(move |figure| (setting, *figure)))
        {
            let (described, _, better) = described(bench, figure);
            let ratio = |name| rounds.ratio(name, floor(bench), figure);
            let noise = ratio("tokio-on-mio-again").map_or(1.0, |noise| noise.median);
            for name in ["tokio-on-minimio", "tokio-on-minimio-lend"] {
                let Some(Spread { median, .. }) = ratio(name) else {
                    continue;
                };
                let loss = match better {
                    HIGHER => 1.0 / median,
                    _ => median,
                };
                if loss > 1.0 {
                    let line = format!(
                        "- {platform}, {title}: {described}, {name}: **{median:.3}** (mio again: {noise:.3})\n"
                    );
                    lost.push((loss, line));
                }
            }
        }
    }
    lost.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    text.push_str(
        "\nWhere minimio is behind mio, as a ratio to `tokio-on-mio`, the largest loss first:\n\n",
    );
    if lost.is_empty() {
        text.push_str("- nowhere\n");
    }
    for (_, line) in lost {
        text.push_str(&line);
    }
}

const HEAD: &str = "\
# Benchmarks

Made by `cargo run --release --manifest-path bench/Cargo.toml -- report FILES`; not edited by hand.

In every round each implementation had its turn. `bare` is what the others are compared with: a loop that uses the
system's queue directly (level-triggered epoll on Linux, a completion port with one lent buffer for each connection on
Windows). `bare-again` is the same code as `bare`, measured once more, so the difference between the two is noise. A cell
of a table has three parts:

> median of the figure · **median of its ratio to `bare` in the same round** (smallest to largest ratio) · median of the
> ratio of minimio's figure to this one

A bar of a chart is the ratio to `bare`, and the line on it goes from the smallest to the largest ratio. The black line is
`bare` itself. Absolute figures hold for the named machine on the day of the run.
";

/// Describes the machines, with one line for each.
fn about(text: &mut String, platform: &str, machines: &[Value]) {
    let mut told = BTreeSet::new();
    for machine in machines {
        let name = |key: &str| machine[key].to_string().replace('"', "");
        if name("platform") != platform {
            continue;
        }
        let versions = name("versions").replace(['[', ']'], "").replace(',', ", ");
        let line = format!(
            "- {}, {} cores; {}; {}; minimio at {}, {versions}",
            name("processor"),
            name("cores"),
            name("system"),
            name("rustc"),
            name("minimio"),
        );
        if told.insert(line.clone()) {
            let load = name("load_before");
            let load = load.split(' ').next().unwrap_or_default().to_owned();
            let date = machine["date"].as_str().map(|date| format!("{date}. "));
            let date = date.unwrap_or_default();
            _ = writeln!(text, "{line}. {date}Load average before: {load}.");
        }
    }
}

const WINE: &str = "
Under Wine the Wine server does the work of all sockets, one request after the other. So messages a second show how much an
implementation asks of that server. CPU time is that of the server thread, by Linux's clock for that thread, without what
the Wine server did for it. Threads are not pinned to cores. The load writes to every connection, then reads from each in
order, and blocks. System calls and compile times are not measured under Wine. In `rearm` on the polling thread, `mio` and
`polling` postpone the registration to their next wait, whose cost is not counted here; `bare` and minimio start the
receive at once. None of this shows how fast Windows is.
";

fn add(all: &mut BTreeMap<(String, usize), Settings>, value: &Value) -> io::Result<()> {
    let text = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
    let bench = text("bench");
    let index = BENCHES.iter().position(|(known, _, _)| *known == bench);
    let index = index.ok_or(io::Error::new(
        ErrorKind::InvalidData,
        format!("{bench} is not a benchmark"),
    ))?;
    let mut parts = Vec::new();
    for key in SETTING {
        let number = value[key].as_u64();
        match (key, number, value[key].as_str()) {
            (_, Some(0), _) => {}
            ("connections", Some(1), _) => parts.push("1 connection".into()),
            ("connections", Some(count), _) => parts.push(format!("{count} connections")),
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
    let title = parts.join(", ");
    let settings = all.entry((text("platform"), index)).or_default();
    let at = settings.iter().position(|(known, _)| *known == title);
    let at = at.unwrap_or_else(|| {
        settings.push((title, Rounds::default()));
        settings.len() - 1
    });
    let rounds = &mut settings[at].1;
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

/// The tables of a benchmark on a platform, and its charts.
fn section(
    text: &mut String,
    platform: &str,
    index: usize,
    settings: &Settings,
    charts: &Path,
) -> io::Result<()> {
    let (bench, _, charted) = BENCHES[index];
    tables(text, bench, settings);
    for figure in charted {
        let panels = panels(bench, settings, figure);
        if panels.is_empty() {
            continue;
        }
        let (name, _, better) = described(bench, figure);
        let floor = floor(bench);
        let file = format!("{platform}-{bench}-{figure}.svg");
        let title = format!("{platform}, {bench}: {}", name.replace('`', ""));
        chart::draw(&charts.join(&file), &title, floor, better, &panels)
            .map_err(io::Error::other)?;
        _ = writeln!(
            text,
            "\n![{name}, as a ratio to {floor}, {better}](benchmarks/{file})"
        );
    }
    Ok(())
}

fn tables(text: &mut String, bench: &str, settings: &Settings) {
    let floor = floor(bench);
    let counts: BTreeSet<usize> = settings
        .iter()
        .map(|(_, rounds)| rounds.of.get(floor).map_or(0, BTreeMap::len))
        .collect();
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    _ = writeln!(text, "Rounds: {}.", counts.join(" or "));
    for (title, rounds) in settings {
        for (name, error) in &rounds.failures {
            _ = writeln!(text, "\n**`{name}` did not run** with {title}: {error}");
        }
    }
    let figures: BTreeSet<&String> = settings
        .iter()
        .flat_map(|(_, rounds)| rounds.of.values())
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::keys)
        .collect();
    for figure in figures {
        // This is the time of one registration in other units.
        if bench == "rearm" && figure != "ns_per_register" {
            continue;
        }
        let (name, unit, better) = described(bench, figure);
        let shown: Vec<&(String, Rounds)> = settings
            .iter()
            .filter(|(_, rounds)| {
                rounds
                    .of
                    .keys()
                    .any(|name| !rounds.values(name, figure).is_empty())
            })
            .collect();
        let titles: Vec<&str> = shown.iter().map(|(title, _)| title.as_str()).collect();
        _ = writeln!(
            text,
            "\n**{name}** ({unit}; {better}; ratio to `{floor}`)\n\n| | {} |\n| --- |{}",
            titles.join(" | "),
            " --- |".repeat(titles.len())
        );
        for row in ORDER {
            let cells: Vec<String> = shown
                .iter()
                .map(|(_, rounds)| cell(rounds, floor, row, figure))
                .collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
            }
        }
    }
}

fn cell(rounds: &Rounds, floor: &str, name: &str, figure: &str) -> String {
    let Some(value) = Spread::of(rounds.values(name, figure)) else {
        return String::new();
    };
    let mut cell = significant(value.median);
    if let Some(spread) = rounds.ratio(name, floor, figure) {
        let Spread {
            median,
            least,
            largest,
        } = spread;
        cell += &format!(" · **{median:.3}** ({least:.2} to {largest:.2})");
    }
    if let Some(ours) = rounds.ratio("minimio", name, figure) {
        cell += &format!(" · {:.3}", ours.median);
    }
    cell
}

/// Writes four digits, or all digits before the decimal point if there are more.
fn significant(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.1}"),
        large if large >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn panels(bench: &str, settings: &Settings, figure: &str) -> Vec<Panel> {
    let panel = |(title, rounds): &(String, Rounds)| {
        let bars = rounds.bars(bench, figure);
        (bars.len() > 1).then(|| Panel {
            title: title.clone(),
            bars,
        })
    };
    settings.iter().filter_map(panel).collect()
}

/// The chart in the README: with many connections, the cost of a message on Linux, and the messages a second under
/// Wine.
fn readme(charts: &Path, all: &BTreeMap<(String, usize), Settings>) -> io::Result<()> {
    let wanted = [
        (
            "linux-x86_64",
            "512 connections, 64 B",
            "cpu_us_per_msg",
            "Linux, 512 connections: CPU per message, lower is better",
        ),
        (
            "wine-x86_64",
            "128 connections, 64 B",
            "msgs_per_s",
            "Wine, 128 connections: messages/s, higher is better",
        ),
    ];
    let panels: Vec<Panel> = wanted
        .into_iter()
        .filter_map(|(platform, setting, figure, title)| {
            let settings = all.get(&(platform.to_owned(), 0))?;
            let (_, rounds) = settings.iter().find(|(known, _)| known == setting)?;
            Some(Panel {
                title: title.into(),
                bars: rounds.bars("echo", figure),
            })
        })
        .collect();
    if panels.is_empty() {
        return Ok(());
    }
    let title = "Echo of 64 bytes";
    chart::draw(&charts.join("readme.svg"), title, FLOOR, "", &panels).map_err(io::Error::other)
}
