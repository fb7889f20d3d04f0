//! The section of `growth`: its curves and its tables, one for each kind of load and arrangement of threads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::curves::{self, with_commas, Curve, Panel};
use super::figures::{described, Rounds, Setting, GROWTH, ORDER};
use super::{chart, rounds_and_failures, table};
use crate::measure::Spread;

/// The figures in the order of the tables. The last two are of a queue and not of its messages.
const FIGURES: [&str; 6] = [
    "cpu_us_per_msg",
    "msgs_per_s",
    "p50_us",
    "p99_us",
    "queue_kib",
    "register_us",
];

/// The kinds of load that are measured with each arrangement, and the arrangements, the first of which is the floor of
/// the others.
const KINDS: [&str; 2] = ["echo", "http"];
const ARRANGEMENTS: [(&str, &str); 3] = [
    ("1 thread", "#8a8a8a"),
    ("2 threads, a queue each", "#0b8a5f"),
    ("2 threads, one queue", "#c46a1b"),
];

pub fn section(
    text: &mut String,
    platform: &str,
    settings: &[Setting],
    charts: &Path,
) -> io::Result<()> {
    rounds_and_failures(text, GROWTH, settings);
    // A second run may have other numbers of connections.
    let mut settings: Vec<&Setting> = settings.iter().collect();
    settings.sort_by_key(|setting| setting.connections);
    let mut cases: Vec<&str> = Vec::new();
    for setting in &settings {
        if !cases.contains(&setting.case.as_str()) {
            cases.push(&setting.case);
        }
    }
    let of = |case: &str| -> Vec<&Setting> {
        let settings = settings.iter().copied();
        settings.filter(|setting| setting.case == case).collect()
    };

    let mut picture = |name: &str, figure: &str, panels: Vec<Panel>| -> io::Result<()> {
        if panels.is_empty() {
            return Ok(());
        }
        let (described, unit, better) = described(GROWTH, figure);
        let file = format!("{platform}-growth-{name}.svg");
        let title = format!("{platform}, growth: {described}");
        let below = format!(
            "{unit} by number of connections (logarithmic); {better}; thin lines: least to largest"
        );
        fs::write(charts.join(&file), curves::draw(&title, &below, &panels))?;
        _ = writeln!(
            text,
            "\n![{described}, by number of connections, {better}](benchmarks/{file})"
        );
        Ok(())
    };
    for figure in FIGURES {
        // Latencies are in the tables.
        if figure.starts_with('p') {
            continue;
        }
        let panel = |case: &&str| panel_of_implementations(case, &of(case), figure);
        picture(figure, figure, cases.iter().filter_map(panel).collect())?;
    }
    for (name, figure) in [
        ("threads-msgs_per_s", "msgs_per_s"),
        ("threads-cpu_us_per_msg", "cpu_us_per_msg"),
    ] {
        let panel = |kind: &&str| panel_of_arrangements(kind, &of, figure);
        picture(name, figure, KINDS.iter().filter_map(panel).collect())?;
    }

    threads(text, &of);
    for case in &cases {
        _ = writeln!(text, "\n#### {case}");
        for figure in FIGURES {
            let title = |setting: &Setting| with_commas(setting.connections);
            table(
                text,
                GROWTH,
                figure,
                of(case).into_iter(),
                "connections",
                title,
            );
        }
    }
    Ok(())
}

/// A curve for each implementation.
fn panel_of_implementations(case: &str, settings: &[&Setting], figure: &str) -> Option<Panel> {
    let curve = |name: &&'static str| {
        let points: Vec<_> = points(settings, |rounds| rounds.values(name, figure));
        (!points.is_empty()).then(|| Curve {
            name: (*name).to_owned(),
            colour: chart::colour(name),
            points,
        })
    };
    let curves: Vec<Curve> = ORDER.iter().filter_map(curve).collect();
    (!curves.is_empty()).then(|| Panel {
        title: case.to_owned(),
        curves,
    })
}

/// A curve of minimio for each arrangement.
fn panel_of_arrangements<'a>(
    kind: &str,
    of: &impl Fn(&str) -> Vec<&'a Setting>,
    figure: &str,
) -> Option<Panel> {
    let curve = |(arrangement, colour): &(&str, &'static str)| {
        let settings = of(&format!("{kind}, {arrangement}"));
        let points: Vec<_> = points(&settings, |rounds| rounds.values("minimio", figure));
        (!points.is_empty()).then(|| Curve {
            name: (*arrangement).to_owned(),
            colour,
            points,
        })
    };
    let curves: Vec<Curve> = ARRANGEMENTS.iter().filter_map(curve).collect();
    (curves.len() > 1).then(|| Panel {
        title: format!("minimio, {kind}"),
        curves,
    })
}

fn points(settings: &[&Setting], values: impl Fn(&Rounds) -> Vec<f64>) -> Vec<(u64, Spread)> {
    let point = |setting: &&Setting| {
        let spread = Spread::of(values(&setting.rounds))?;
        Some((setting.connections, spread))
    };
    settings.iter().filter_map(point).collect()
}

/// What a second thread changes: messages a second as ratios to one thread of the same implementation.
fn threads<'a>(text: &mut String, of: &impl Fn(&str) -> Vec<&'a Setting>) {
    let [(one, _), others @ ..] = ARRANGEMENTS;
    for kind in KINDS {
        let alone = of(&format!("{kind}, {one}"));
        let counts: BTreeSet<u64> = alone.iter().map(|setting| setting.connections).collect();
        let mut rows = String::new();
        for (arrangement, _) in others {
            let settings = of(&format!("{kind}, {arrangement}"));
            for name in ORDER {
                let cell = |count: &u64| {
                    let at = |settings: &[&'a Setting]| -> Option<&'a Rounds> {
                        let mut settings = settings.iter();
                        Some(&settings.find(|known| known.connections == *count)?.rounds)
                    };
                    let ratios = at(&settings)?.ratios(name, at(&alone)?, name, "msgs_per_s");
                    let Spread {
                        median,
                        least,
                        largest,
                    } = Spread::of(ratios)?;
                    Some(format!("**{median:.2}** ({least:.2} to {largest:.2})"))
                };
                let cells: Vec<_> = counts.iter().map(cell).collect();
                if cells.iter().any(Option::is_some) {
                    let cells: Vec<String> =
                        cells.into_iter().map(Option::unwrap_or_default).collect();
                    _ = writeln!(rows, "| {name}, {arrangement} | {} |", cells.join(" | "));
                }
            }
        }
        if rows.is_empty() {
            continue;
        }
        let titles: Vec<String> = counts.iter().copied().map(with_commas).collect();
        _ = writeln!(
            text,
            "\n**Messages a second with two threads** ({kind}; higher is better; ratio to the same implementation with \
             one thread in the same round)\n\n| connections | {} |\n| --- |{}\n{}",
            titles.join(" | "),
            " --- |".repeat(titles.len()),
            rows.trim_end()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::read;
    use super::*;

    #[test]
    fn the_section_has_curves_and_a_table_for_each_case() {
        let mut lines = Vec::new();
        for connections in [1, 19_000] {
            for (arrangement, _) in ARRANGEMENTS {
                for (name, messages) in [("bare", 100.0), ("minimio", 80.0)] {
                    let messages = if arrangement == "1 thread" {
                        messages
                    } else {
                        1.5 * messages
                    };
                    lines.push(serde_json::json!({
                        "bench": "growth", "platform": "linux-x86_64", "impl": name, "connections": connections,
                        "size": 0, "kind": "echo", "arrangement": arrangement, "msgs_per_s": messages,
                    }));
                }
            }
        }
        let all = read(&lines);
        let settings = all.values().next().expect("there is one benchmark");
        let charts = std::env::temp_dir().join(format!("minimio-bench-{}", std::process::id()));
        fs::create_dir_all(&charts).expect("it can be made");
        let mut text = String::new();
        section(&mut text, "linux-x86_64", settings, &charts).expect("it can be written");
        for part in [
            "#### echo, 2 threads, one queue",
            "| connections | 1 | 19,000 |",
            "| minimio, 2 threads, one queue | **1.50** (1.50 to 1.50) | **1.50**",
            "| minimio | 80.00 · **0.800**",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        for name in ["msgs_per_s", "threads-msgs_per_s"] {
            let file = format!("linux-x86_64-growth-{name}.svg");
            assert!(
                text.contains(&file) && charts.join(&file).exists(),
                "{file}"
            );
        }
        fs::remove_dir_all(&charts).expect("it is there");
    }
}
