//! `report`: `docs/benchmarks.md`, with its charts, from the files that `--json` wrote.

mod chart;
mod curves;
mod figures;
mod growth;
mod losses;
mod readme;
mod svg;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::Value;

use crate::measure::{floor, Spread};
use crate::options::Options;
use chart::Panel;
use figures::{described, All, Rounds, Setting, BENCHES, GROWTH, ORDER, TOKIO};

pub fn run(options: &Options) -> io::Result<()> {
    if options.files.is_empty() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "report which files?",
        ));
    }
    let mut machines: Vec<Value> = Vec::new();
    let mut all = All::new();
    for path in &options.files {
        for line in fs::read_to_string(path)?.lines() {
            let value: Value = serde_json::from_str(line)?;
            if value["bench"] == "about" {
                machines.push(value);
            } else {
                figures::add(&mut all, &value)?;
            }
        }
    }
    let docs = match &options.docs {
        Some(docs) => docs.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"),
    };
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts)?;
    let page = docs.join("benchmarks.md");
    // Chapters of which the files say nothing stay as they are.
    let before = fs::read_to_string(&page).unwrap_or_default();
    let (mut text, mut of_tokio) = match before.split_once(TOKIO_TITLE) {
        Some((text, of_tokio)) => (text.to_owned(), of_tokio.to_owned()),
        None => (before, String::new()),
    };
    let chapters = |wanted: fn(&str) -> bool| -> Vec<(&String, usize, &Vec<Setting>)> {
        let all = all.iter();
        all.filter(|((_, index), _)| wanted(BENCHES[*index].0))
            .map(|((platform, index), settings)| (platform, *index, settings))
            .collect()
    };
    let of_queues = chapters(|bench| bench != TOKIO);
    let has_queues = !of_queues.is_empty();
    if has_queues {
        text = format!("{TITLE}{}{HEAD}", losses::chapter(&all));
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
            match bench {
                GROWTH => growth::section(&mut text, platform, settings, &charts)?,
                _ => section(&mut text, platform, index, settings, &charts)?,
            }
        }
        readme::draw(&charts, &all)?;
    }
    let servers = chapters(|bench| bench == TOKIO);
    if !servers.is_empty() {
        of_tokio = String::from(TOKIO_HEAD);
        for (platform, _, _) in &servers {
            about(&mut of_tokio, platform, &machines);
        }
        for (platform, index, settings) in servers {
            _ = writeln!(of_tokio, "\n### tokio, {platform}\n");
            section(&mut of_tokio, platform, index, settings, &charts)?;
        }
    }
    if !of_tokio.is_empty() {
        text += TOKIO_TITLE;
        text += &of_tokio;
    }
    fs::write(&page, text)?;
    println!("{}: {} chapters", page.display(), all.len());
    if !has_queues {
        println!("The chapter \"Where minimio loses\" is as it was. To make it anew, name the other files, too.");
    }
    Ok(())
}

const TOKIO_TITLE: &str = "\n## tokio\n";

const TOKIO_HEAD: &str = "
An echo server of tokio, once on mio and once on minimio, which takes mio's place by one line in `Cargo.toml`
([`compat/mio`](../compat/mio/README.md)). The server is a process of its own, and nothing but that line differs. Each
client sends 64 bytes, waits for the echo, and sends again. CPU time is that of the whole process of the server; under Wine
without what the Wine server did for it, as above. There, 512 connections have one round if they are measured at all, since
the Wine server takes half a minute for a message of each of them on mio. `multi-thread` is a runtime with two workers. `lend` is the feature of
that name of `compat/mio`, which there is on Windows only. `tokio-on-mio-again` is the program of `tokio-on-mio`, measured
once more, so the difference between the two is noise.

`compat/bench/run` measures this alone.

";

const TITLE: &str = "\
# Benchmarks

`bench/run` measures all of this and writes this page; it is not edited by hand.
";

const HEAD: &str = "
## How to read the tables

In every round each implementation had its turn. `bare` is what the others are compared with: a loop that uses the
system's queue directly (level-triggered epoll on Linux, a completion port with one lent buffer for each connection on
Windows). `bare-again` is the same code as `bare`, measured once more, so the difference between the two is noise. A cell
of a table has three parts:

> median of the figure · **median of its ratio to `bare` in the same round** (smallest to largest ratio) · median of the
> ratio of minimio's figure to this one

A bar of a chart is the ratio to `bare`, and the line on it goes from the smallest to the largest ratio. The thick line is
`bare` itself. A point of a curve is the median of the figure itself, and the thin line through it goes from the smallest
to the largest. Absolute figures hold for the named machine on the day of the run.
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

/// The tables of a benchmark on a platform, and its charts.
fn section(
    text: &mut String,
    platform: &str,
    index: usize,
    settings: &[Setting],
    charts: &Path,
) -> io::Result<()> {
    let (bench, _, charted) = BENCHES[index];
    rounds_and_failures(text, bench, settings);
    let figures: BTreeSet<&String> = settings
        .iter()
        .flat_map(|setting| setting.rounds.of.values())
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::keys)
        .collect();
    for figure in figures {
        // This is the time of one registration in other units.
        if bench == "rearm" && figure != "ns_per_register" {
            continue;
        }
        let titled = |setting: &Setting| setting.title.clone();
        table(text, bench, figure, settings.iter(), "", titled);
    }
    let floor = floor(bench);
    for figure in charted {
        let panels = panels(bench, settings, figure);
        if panels.is_empty() {
            continue;
        }
        let (name, _, better) = described(bench, figure);
        let file = format!("{platform}-{bench}-{figure}.svg");
        let title = format!("{platform}, {bench}: {}", name.replace('`', ""));
        let below =
            format!("ratio to {floor}; {better}; thin lines: least to largest of the rounds");
        fs::write(charts.join(&file), chart::draw(&title, &below, &panels))?;
        _ = writeln!(
            text,
            "\n![{name}, as a ratio to {floor}, {better}](benchmarks/{file})"
        );
    }
    Ok(())
}

fn rounds_and_failures(text: &mut String, bench: &str, settings: &[Setting]) {
    let floor = floor(bench);
    let counts: BTreeSet<usize> = settings
        .iter()
        .map(|setting| setting.rounds.of.get(floor).map_or(0, BTreeMap::len))
        .collect();
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    _ = writeln!(text, "Rounds: {}.", counts.join(" or "));
    for setting in settings {
        for (name, error) in &setting.rounds.failures {
            let title = &setting.title;
            _ = writeln!(text, "\n**`{name}` did not run** with {title}: {error}");
        }
    }
}

/// A figure, with a row for each implementation and a column for each setting that has it.
fn table<'a>(
    text: &mut String,
    bench: &str,
    figure: &str,
    settings: impl Iterator<Item = &'a Setting>,
    corner: &str,
    title: impl Fn(&Setting) -> String,
) {
    let floor = floor(bench);
    let (name, unit, better) = described(bench, figure);
    let has_figure = |setting: &&Setting| {
        let mut names = setting.rounds.of.keys();
        names.any(|name| !setting.rounds.values(name, figure).is_empty())
    };
    let shown: Vec<&Setting> = settings.filter(has_figure).collect();
    if shown.is_empty() {
        return;
    }
    let titles: Vec<String> = shown.iter().map(|setting| title(setting)).collect();
    _ = writeln!(
        text,
        "\n**{name}** ({unit}; {better}; ratio to `{floor}`)\n\n| {corner} | {} |\n| --- |{}",
        titles.join(" | "),
        " --- |".repeat(titles.len())
    );
    for row in ORDER {
        let cells: Vec<String> = shown
            .iter()
            .map(|setting| cell(&setting.rounds, floor, row, figure))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
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

fn panels(bench: &str, settings: &[Setting], figure: &str) -> Vec<Panel> {
    let panel = |setting: &Setting| {
        let bar = |name: &'static str| {
            let spread = setting.rounds.ratio(name, floor(bench), figure)?;
            // All servers of tokio have this in front.
            let label = name.trim_start_matches("tokio-on-");
            Some((label.to_owned(), chart::colour(name), spread))
        };
        let bars: Vec<_> = ORDER.into_iter().filter_map(bar).collect();
        (bars.len() > 1).then(|| Panel {
            title: setting.title.clone(),
            bars,
        })
    };
    settings.iter().filter_map(panel).collect()
}
