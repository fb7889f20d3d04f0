//! What the benchmarks ask the system about threads: on which core they run, how much CPU time they have used, how many
//! system calls they have made. Also what the report says about the machine.

#[cfg(all(unix, not(target_os = "linux")))]
mod kqueue;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(all(unix, not(target_os = "linux")))]
pub use kqueue::*;
#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;

/// The core of the threads under test, and that of the load. They differ where there are two.
pub const SERVER_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;

/// Machine, system, compiler and crates: the first line of the JSON of a run.
pub fn about() -> serde_json::Value {
    serde_json::json!({
        "bench": "about",
        "platform": platform(),
        "processor": processor(),
        "cores": cores(),
        "system": system(),
        "date": date(),
        "load_before": load_average(),
        "rustc": env!("BENCH_RUSTC"),
        "minimio": env!("BENCH_COMMIT"),
        "versions": VERSIONS.map(|(name, version)| format!("{name} {version}")),
    })
}

/// The day of the run, in universal time.
fn date() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut days = since.map_or(0, |since| since.as_secs() / 86400);
    let (mut year, mut month) = (1970, 1);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = |year, month| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    while days >= length(year, month) {
        days -= length(year, month);
        (year, month) = if month == 12 {
            (year + 1, 1)
        } else {
            (year, month + 1)
        };
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

/// The versions pinned in `Cargo.toml`. A test checks that they are the same.
pub const VERSIONS: [(&str, &str); 5] = [
    ("mio", "1.2.5"),
    ("polling", "3.11.0"),
    ("libc", "0.2.191"),
    ("io-uring", "0.7.16"),
    ("windows-sys", "0.61.2"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_versions_that_are_told_are_the_pinned_ones() {
        let manifest = include_str!("../Cargo.toml");
        for (name, version) in super::VERSIONS {
            let line = manifest
                .lines()
                .find(|line| line.starts_with(&format!("{name} =")))
                .expect("it is a dependency");
            assert!(line.contains(&format!("\"={version}\"")), "{line}");
        }
    }
}
