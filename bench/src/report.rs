//! `report`: `docs/benchmarks.md`, with a chart a benchmark, from the files that `--json` wrote.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::measure::{Spread, FLOOR};
use crate::options::Options;

/// The order of the rows.
const ORDER: [&str; 8] = [
    FLOOR,
    "bare-again",
    "minimio",
    "mio-short-read",
    "mio-drained",
    "polling-level",
    "polling-oneshot",
    "io-uring",
];

/// What says which setting an object belongs to; everything else that is a number is a figure.
const SETTING: [&str; 8] = [
    "platform",
    "connections",
    "size",
    "state",
    "thread",
    "kind",
    "idle",
    "bytes",
];

/// The figures that a chart shows, the first that there is.
const CHARTED: [&str; 5] = [
    "waker_cpu_us_per_wake",
    "ns_per_register",
    "compile_s",
    "heap_bytes_idle",
    "cpu_us_per_msg",
];

/// Implementation, then round, then figures.
type Rounds = BTreeMap<String, BTreeMap<u64, BTreeMap<String, f64>>>;

pub fn run(options: &Options) -> io::Result<()> {
    if options.files.is_empty() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "report which files?",
        ));
    }
    let mut machines = Vec::new();
    let mut settings: Vec<(String, Rounds)> = Vec::new();
    for path in &options.files {
        for line in fs::read_to_string(path)?.lines() {
            let value: Value = serde_json::from_str(line)?;
            if value["bench"] == "about" {
                machines.push(value);
            } else {
                add(&mut settings, &value);
            }
        }
    }
    machines.dedup_by_key(|machine| (machine["kernel"].clone(), machine["platform"].clone()));

    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::create_dir_all(docs.join("benchmarks"))?;
    let mut text = String::from(HEAD);
    for machine in &machines {
        let name = |key: &str| machine[key].to_string().replace('"', "");
        let versions = name("versions").replace(['[', ']'], "").replace(',', ", ");
        _ = writeln!(
            text,
            "- {}: kernel {}, {} ({} cores), {versions}; load average before: {}",
            name("platform"),
            name("kernel"),
            name("processor"),
            name("cores"),
            name("load_before"),
        );
    }
    for (title, rounds) in &settings {
        section(&mut text, title, rounds);
        let file = file_name(title);
        if let Some(figure) = chart(&docs.join("benchmarks").join(&file), title, rounds)? {
            _ = writeln!(text, "\n![{figure}, as a ratio to bare](benchmarks/{file})");
        }
    }
    fs::write(docs.join("benchmarks.md"), text)?;
    println!("docs/benchmarks.md: {} settings", settings.len());
    Ok(())
}

const HEAD: &str = "\
# Benchmarks

Made by `cargo run --release --manifest-path bench/Cargo.toml -- report FILES`; not edited by hand.

Every implementation had its turn in every round. A ratio is taken to `bare` (a level-triggered epoll loop straight on
`libc`) **in the same round**; the table has the median over the rounds, with the least and the largest, and in the last
column the median of minimio's figure to this one's, round by round. The machine is shared and noisy: `bare-again` is the
code of `bare` once more, and what it differs by is noise. Absolute figures are of this machine on that day.

";

fn add(settings: &mut Vec<(String, Rounds)>, value: &Value) {
    let mut title = value["bench"].as_str().unwrap_or("?").to_owned();
    for key in SETTING {
        match &value[key] {
            Value::Null => {}
            Value::Number(number) if number.as_u64() == Some(0) => {}
            Value::String(text) => _ = write!(title, ", {text}"),
            other => _ = write!(title, ", {key} {other}"),
        }
    }
    let at = settings.iter().position(|(known, _)| *known == title);
    let at = at.unwrap_or_else(|| {
        settings.push((title, Rounds::new()));
        settings.len() - 1
    });
    let name = value["impl"].as_str().unwrap_or("?").to_owned();
    let rounds = settings[at].1.entry(name).or_default();
    let figures = rounds.entry(rounds.len() as u64).or_default();
    for (key, figure) in value.as_object().into_iter().flatten() {
        let Some(figure) = figure.as_f64() else {
            continue;
        };
        if key != "round" && !SETTING.contains(&key.as_str()) {
            figures.insert(key.clone(), figure);
        }
    }
}

fn values(rounds: &Rounds, name: &str, figure: &str) -> Vec<f64> {
    let rounds = rounds.get(name).into_iter().flat_map(BTreeMap::values);
    rounds
        .filter_map(|figures| figures.get(figure).copied())
        .collect()
}

fn ratio(rounds: &Rounds, name: &str, to: &str, figure: &str) -> Option<Spread> {
    let (above, below) = (values(rounds, name, figure), values(rounds, to, figure));
    Spread::of(above.iter().zip(&below).map(|(above, below)| above / below))
}

fn section(text: &mut String, title: &str, rounds: &Rounds) {
    let count = rounds.get(FLOOR).map_or(0, BTreeMap::len);
    _ = writeln!(text, "\n## {title}\n\n{count} rounds.");
    let names: Vec<&str> = ORDER
        .into_iter()
        .filter(|name| rounds.contains_key(*name))
        .collect();
    let mut figures: Vec<&String> = rounds
        .values()
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::keys)
        .collect();
    figures.sort();
    figures.dedup();
    for figure in figures {
        _ = writeln!(
            text,
            "\n| {figure} | median | to bare | min | max | minimio to it |\n| --- | --- | --- | --- | --- | --- |"
        );
        for name in &names {
            let Some(value) = Spread::of(values(rounds, name, figure)) else {
                continue;
            };
            let floor = ratio(rounds, name, FLOOR, figure).map_or("| | ".into(), |spread| {
                let Spread {
                    median,
                    least,
                    largest,
                } = spread;
                format!("{median:.3} | {least:.3} | {largest:.3}")
            });
            let ours = ratio(rounds, "minimio", name, figure)
                .map_or(String::new(), |spread| format!("{:.3}", spread.median));
            _ = writeln!(text, "| {name} | {:.4} | {floor} | {ours} |", value.median);
        }
    }
}

fn file_name(title: &str) -> String {
    let clean = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    title
        .replace(", ", "-")
        .chars()
        .map(clean)
        .collect::<String>()
        + ".svg"
}

/// Bars of the median, with lines from the least to the largest. `None` where nothing compares with the floor.
fn chart(path: &Path, title: &str, rounds: &Rounds) -> io::Result<Option<&'static str>> {
    let bars_of = |figure: &str| -> Vec<(&str, Spread)> {
        let bar = |name| Some((name, ratio(rounds, name, FLOOR, figure)?));
        ORDER.into_iter().filter_map(bar).collect()
    };
    let found = CHARTED.into_iter().find(|figure| bars_of(figure).len() > 1);
    let Some(figure) = found else { return Ok(None) };
    let bars = bars_of(figure);
    draw(
        path,
        &format!("{title}: {figure}, to bare (lower is better)"),
        &bars,
    )
    .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Some(figure))
}

fn draw(
    path: &Path,
    title: &str,
    bars: &[(&str, Spread)],
) -> Result<(), Box<dyn std::error::Error>> {
    let height = 90 + 36 * bars.len() as u32;
    let root = SVGBackend::new(path, (760, height)).into_drawing_area();
    root.fill(&WHITE)?;
    // What the largest round was may be far out: it is cut off where the medians end.
    let most = bars
        .iter()
        .map(|(_, spread)| spread.median)
        .fold(1.0, f64::max)
        * 1.25;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .set_label_area_size(LabelAreaPosition::Left, 120)
        .set_label_area_size(LabelAreaPosition::Bottom, 24)
        .build_cartesian_2d(0.0..most, (0..bars.len() as i32 - 1).into_segmented())?;
    let label = |at: &SegmentValue<i32>| match at {
        SegmentValue::CenterOf(at) | SegmentValue::Exact(at) => {
            let from_top = bars.len() as i32 - 1 - at;
            usize::try_from(from_top)
                .ok()
                .and_then(|at| bars.get(at))
                .map_or(String::new(), |(name, _)| (*name).to_owned())
        }
        SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_label_formatter(&label)
        .y_labels(bars.len())
        .draw()?;
    for (index, (name, spread)) in bars.iter().enumerate() {
        let row = bars.len() as i32 - 1 - index as i32;
        let (low, high) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
        let colour = match *name {
            "minimio" => RGBColor(0x1b, 0x7f, 0x5c),
            "bare" | "bare-again" => RGBColor(0x99, 0x99, 0x99),
            _ => RGBColor(0x5b, 0x7d, 0xb1),
        };
        let mut bar = Rectangle::new([(0.0, low), (spread.median, high)], colour.filled());
        bar.set_margin(5, 5, 0, 0);
        chart.draw_series([bar])?;
        let centre = SegmentValue::CenterOf(row);
        let (least, largest) = (spread.least, spread.largest.min(most));
        let line = PathElement::new(
            vec![(least, centre.clone()), (largest, centre.clone())],
            BLACK,
        );
        chart.draw_series([line])?;
        let number = format!("{:.3}", spread.median);
        chart.draw_series([Text::new(number, (0.01 * most, centre), ("sans-serif", 13))])?;
    }
    root.present()?;
    Ok(())
}
