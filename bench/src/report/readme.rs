//! The chart in the README: what minimio costs beside its peers on Linux, under Wine, and below tokio, with names that need
//! no explanation.

use std::fs;
use std::io;
use std::path::Path;

use super::chart::{self, Panel};
use super::figures::{All, BENCHES, ORDER};
use crate::measure::floor;

/// Platform, benchmark, setting, figure and title of each panel.
const PANELS: [(&str, &str, &str, &str, &str); 4] = [
    (
        "linux-",
        "echo",
        "512 connections, 64 B",
        "cpu_us_per_msg",
        "Linux: CPU per message, 512 connections (less is better)",
    ),
    (
        "wine-",
        "echo",
        "128 connections, 64 B",
        "msgs_per_s",
        "Wine: messages a second, 128 connections (more is better)",
    ),
    (
        "linux-",
        "tokio",
        "64 connections, 64 B, current-thread",
        "cpu_us_per_msg",
        "tokio on Linux: CPU per message, 64 connections (less is better)",
    ),
    (
        "wine-",
        "tokio",
        "64 connections, 64 B, current-thread",
        "msgs_per_s",
        "tokio under Wine: messages a second, 64 connections (more is better)",
    ),
];

/// What an implementation is called. Those that are left out are explained in the page of all figures.
fn label(platform: &str, name: &str) -> Option<&'static str> {
    Some(match name {
        "bare" if platform.starts_with("wine") => "bare completion port",
        "bare" => "bare epoll loop",
        "bare-again" => "the same again (noise)",
        "minimio" => "minimio",
        "mio-short-read" => "mio, until a short read",
        "mio-drained" => "mio, as documented",
        "polling-level" => "polling, level-triggered",
        "polling-oneshot" => "polling, one-shot",
        "io-uring" => "bare io_uring",
        "tokio-on-mio" => "tokio on mio",
        "tokio-on-mio-again" => "the same again (noise)",
        "tokio-on-minimio" => "tokio on minimio",
        "tokio-on-minimio-lend" => "tokio on minimio, lend",
        _ => return None,
    })
}

pub fn draw(charts: &Path, all: &All) -> io::Result<()> {
    let panels = panels(all);
    if panels.is_empty() {
        return Ok(());
    }
    let below = "ratio to the first bar of each panel, in the same round; thin lines: least to largest of the rounds";
    let svg = chart::draw("Echo of 64 bytes", below, &panels);
    fs::write(charts.join("readme.svg"), svg)
}

fn panels(all: &All) -> Vec<Panel> {
    let panel = |(system, bench, setting, figure, title): &(&str, &str, &str, &str, &str)| {
        let known = all.iter().find(|((platform, index), _)| {
            platform.starts_with(system) && BENCHES[*index].0 == *bench
        });
        let ((platform, _), settings) = known?;
        let setting = settings.iter().find(|known| known.title == *setting)?;
        let bar = |name: &'static str| {
            let spread = setting.rounds.ratio(name, floor(bench), figure)?;
            Some((
                label(platform, name)?.to_owned(),
                chart::colour(name),
                spread,
            ))
        };
        Some(Panel {
            title: (*title).to_owned(),
            bars: ORDER.into_iter().filter_map(bar).collect(),
        })
    };
    PANELS.iter().filter_map(panel).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{line, read};
    use super::*;

    #[test]
    fn each_system_has_a_panel_with_plain_names() {
        let mut lines = Vec::new();
        for name in ["bare", "minimio", "minimio-drained"] {
            lines.push(line("echo", name, 512, "cpu_us_per_msg", 1.0));
        }
        for name in ["tokio-on-mio", "tokio-on-minimio"] {
            let mut line = line("tokio", name, 64, "cpu_us_per_msg", 1.0);
            line["kind"] = "current-thread".into();
            lines.push(line);
        }
        let panels = panels(&read(&lines));
        let names = |panel: &Panel| -> Vec<String> {
            panel.bars.iter().map(|(name, ..)| name.clone()).collect()
        };
        let names: Vec<_> = panels.iter().map(names).collect();
        assert_eq!(
            names,
            [
                ["bare epoll loop", "minimio"],
                ["tokio on mio", "tokio on minimio"]
            ]
        );
    }
}
