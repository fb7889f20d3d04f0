//! Tells the benchmark which compiler built it, and from which commit: the report names both.

use std::process::Command;

fn main() {
    let first_line = |command: &mut Command| -> Option<String> {
        let output = command
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.to_owned())
    };
    let rustc = std::env::var("RUSTC").expect("cargo sets it");
    let rustc = first_line(Command::new(rustc).arg("-V")).unwrap_or_default();
    let commit = ["describe", "--always", "--dirty", "--exclude=*"];
    let commit = first_line(Command::new("git").args(commit)).unwrap_or_default();
    println!("cargo:rustc-env=BENCH_RUSTC={rustc}");
    println!("cargo:rustc-env=BENCH_COMMIT={commit}");
    // What moves with each commit; and the crate itself, which a commit may not have yet.
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    println!("cargo:rerun-if-changed=../src");
    println!("cargo:rerun-if-changed=src");
}
