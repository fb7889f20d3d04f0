//! `build`: what it costs to have the crate: cold compile time, number of crates, size of a minimal program.
//!
//! The program echoes on one connection and ends. `bare` is the same with `libc`. Everything is fetched before the clock
//! starts; each turn compiles into a new folder.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::measure::{Figures, Recorder, Setting};
use crate::options::Options;

struct Project {
    name: &'static str,
    dependency: String,
    program: &'static str,
}

const MINIMIO: &str = r#"use minimio::{Events, Interests, Poll, TcpListener};
use std::io::{Read, Write};
fn main() -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let registrator = poll.registrator();
    let mut events = Events::with_capacity(8);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    registrator.register(&listener, 0, Interests::READABLE)?;
    poll.poll(&mut events, None)?;
    let (mut stream, _) = listener.accept()?;
    registrator.register(&stream, 1, Interests::READABLE)?;
    poll.poll(&mut events, None)?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer)?;
    stream.write_all(&buffer[..count])
}
"#;

const MIO: &str = r#"use mio::{Events, Interest, Poll, Token, net::TcpListener};
use std::io::{Read, Write};
fn main() -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    poll.poll(&mut events, None)?;
    let (mut stream, _) = listener.accept()?;
    poll.registry().register(&mut stream, Token(1), Interest::READABLE)?;
    poll.poll(&mut events, None)?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer)?;
    stream.write_all(&buffer[..count])
}
"#;

const POLLING: &str = r#"use polling::{Event, Events, Poller};
use std::io::{Read, Write};
fn main() -> std::io::Result<()> {
    let poller = Poller::new()?;
    let mut events = Events::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    unsafe { poller.add(&listener, Event::readable(0))? };
    poller.wait(&mut events, None)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    unsafe { poller.add(&stream, Event::readable(1))? };
    events.clear();
    poller.wait(&mut events, None)?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer)?;
    poller.delete(&stream)?;
    poller.delete(&listener)?;
    stream.write_all(&buffer[..count])
}
"#;

const BARE: &str = r#"use std::io::{Read, Write};
use std::os::fd::AsRawFd;
fn main() -> std::io::Result<()> {
    let check = |result| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    let set = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, listener.as_raw_fd(), &mut event) })?;
    check(unsafe { libc::epoll_wait(set, &mut event, 1, -1) })?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut event) })?;
    check(unsafe { libc::epoll_wait(set, &mut event, 1, -1) })?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer)?;
    stream.write_all(&buffer[..count])
}
"#;

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    let version = |name: &str| {
        let known = crate::system::VERSIONS.iter();
        let (_, version) = known
            .clone()
            .find(|(known, _)| *known == name)
            .expect("a pinned one");
        *version
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let mut projects = vec![
        Project {
            name: "bare",
            dependency: format!("libc = \"={}\"", version("libc")),
            program: BARE,
        },
        Project {
            name: "minimio",
            dependency: format!("minimio = {{ path = {root:?} }}"),
            program: MINIMIO,
        },
        Project {
            name: "mio-drained",
            dependency: format!(
                "mio = {{ version = \"={}\", features = [\"net\", \"os-poll\"] }}",
                version("mio")
            ),
            program: MIO,
        },
        Project {
            name: "polling-oneshot",
            dependency: format!("polling = \"={}\"", version("polling")),
            program: POLLING,
        },
    ];
    if options.smoke {
        projects.truncate(2);
    }
    projects.retain(|project| options.wants(project.name));
    let scratch = std::env::temp_dir().join(format!("minimio-bench-{}", std::process::id()));
    let mut subjects = Vec::new();
    for project in projects {
        let at = scratch.join(project.name);
        fs::create_dir_all(at.join("src"))?;
        let manifest = format!(
            "[package]\nname = \"minimal\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
             [profile.release]\nstrip = true\n[dependencies]\n{}\n",
            project.dependency
        );
        fs::write(at.join("Cargo.toml"), manifest)?;
        fs::write(at.join("src/main.rs"), project.program)?;
        cargo(&at, &["fetch"])?;
        subjects.push((project.name, at));
    }
    // A compilation takes seconds: a few are enough.
    let options = &Options {
        rounds: options.rounds.min(5),
        ..options.clone()
    };
    let setting = Setting {
        bench: "build",
        connections: 0,
        size: 0,
        more: Vec::new(),
    };
    let result = recorder.rounds(options, &setting, &mut subjects, |at| compile(at));
    fs::remove_dir_all(scratch)?;
    result
}

fn compile(at: &Path) -> io::Result<Figures> {
    let target = at.join("target");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let start = Instant::now();
    cargo(at, &["build", "--release", "--offline"])?;
    let elapsed = start.elapsed().as_secs_f64();
    let size = fs::metadata(target.join("release/minimal"))?.len();
    let tree = cargo(
        at,
        &[
            "tree",
            "--offline",
            "--prefix",
            "none",
            "--edges",
            "normal",
            "--no-dedupe",
        ],
    )?;
    let mut crates: Vec<&str> = tree.lines().skip(1).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(vec![
        ("compile_s", elapsed),
        ("crates", crates.len() as f64),
        ("program_bytes", size as f64),
        ("cpu_us_per_msg", f64::NAN),
        ("msgs_per_s", f64::NAN),
    ])
}

fn cargo(at: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(arguments)
        .arg("--quiet")
        .current_dir(at)
        .env("CARGO_TARGET_DIR", at.join("target"))
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("cargo {arguments:?}: {text}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
