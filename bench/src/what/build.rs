//! `build`: what it costs to use the crate: the time to compile from nothing, the number of crates, the size of a
//! minimal program.
//! The program echoes on one connection and ends. `bare` is the same with `libc` or `windows-sys`. mio takes no address
//! that is a text, so no program does, since what looks up names in `std` would be counted for the others. Everything is
//! downloaded before the clock starts, and each turn compiles into a new folder. There is no compiler under Wine. So
//! this program on Linux compiles programs for Windows with `--triple`, and does not run them.

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
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = TcpListener::bind(address)?;
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
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut listener = TcpListener::bind(address)?;
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
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = std::net::TcpListener::bind(address)?;
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
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = std::net::TcpListener::bind(address)?;
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

/// It accepts by `std`, and receives by the port.
const BARE_WINDOWS: &str = r#"use std::io::Write;
use std::os::windows::io::AsRawSocket;
use windows_sys::Win32::{Foundation::*, Networking::WinSock::*, System::IO::*};
fn main() -> std::io::Result<()> {
    let check = |good: bool| if good { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = std::net::TcpListener::bind(address)?;
    let (mut stream, _) = listener.accept()?;
    let socket = stream.as_raw_socket() as usize;
    let port = unsafe { CreateIoCompletionPort(socket as HANDLE, std::ptr::null_mut(), 1, 0) };
    check(!port.is_null())?;
    let mut buffer = [0; 64];
    let room = WSABUF { len: 64, buf: buffer.as_mut_ptr() };
    let (mut flags, mut count, mut packet) = (0, 0, OVERLAPPED_ENTRY::default());
    let mut overlapped = OVERLAPPED::default();
    let done = unsafe { WSARecv(socket, &room, 1, std::ptr::null_mut(), &mut flags, &mut overlapped, None) };
    check(done == 0 || unsafe { WSAGetLastError() } == WSA_IO_PENDING)?;
    check(unsafe { GetQueuedCompletionStatusEx(port, &mut packet, 1, &mut count, u32::MAX, 0) } != 0)?;
    stream.write_all(&buffer[..packet.dwNumberOfBytesTransferred as usize])
}
"#;

pub fn run(options: &Options, recorder: &mut Recorder) -> io::Result<()> {
    if cfg!(windows) {
        println!("\nbuild: not measured here, for want of a compiler; on Linux, `build --triple TARGET` does it");
        return Ok(());
    }
    let triple = options.triple.as_deref();
    let (floor, bare) = match triple {
        Some(triple) if triple.contains("windows") => (
            format!(
                "windows-sys = {{ version = \"={}\", features = [\"Win32_Foundation\", \
                 \"Win32_Networking_WinSock\", \"Win32_System_IO\"] }}",
                version("windows-sys")
            ),
            BARE_WINDOWS,
        ),
        _ => (format!("libc = \"={}\"", version("libc")), BARE),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let mut projects = vec![
        Project {
            name: "bare",
            dependency: floor,
            program: bare,
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
        cargo(&at, &["fetch".into()])?;
        subjects.push((project.name, at));
    }
    // A compilation takes seconds, so a few are enough.
    let options = &Options {
        rounds: options.rounds.min(5),
        ..options.clone()
    };
    let setting = Setting {
        bench: "build",
        connections: 0,
        size: 0,
        more: triple
            .map(|triple| ("triple", triple.into()))
            .into_iter()
            .collect(),
    };
    let result = recorder.rounds(options, &setting, &mut subjects, |at| compile(at, triple));
    fs::remove_dir_all(scratch)?;
    result
}

/// The version of a peer.
fn version(name: &str) -> &'static str {
    let mut known = crate::system::VERSIONS.iter();
    let (_, version) = known
        .find(|(known, _)| *known == name)
        .expect("a pinned one");
    version
}

fn compile(at: &Path, triple: Option<&str>) -> io::Result<Figures> {
    let target = at.join("target");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let with_triple = |arguments: &[&'static str]| -> Vec<String> {
        let mut arguments: Vec<String> = arguments.iter().map(|word| (*word).into()).collect();
        if let Some(triple) = triple {
            arguments.extend(["--target".into(), triple.into()]);
        }
        arguments
    };
    let start = Instant::now();
    cargo(at, &with_triple(&["build", "--release", "--offline"]))?;
    let elapsed = start.elapsed().as_secs_f64();
    let program = match triple {
        Some(triple) if triple.contains("windows") => {
            target.join(triple).join("release/minimal.exe")
        }
        Some(triple) => target.join(triple).join("release/minimal"),
        None => target.join("release/minimal"),
    };
    let size = fs::metadata(program)?.len();
    let tree = [
        "tree",
        "--offline",
        "--prefix",
        "none",
        "--edges",
        "normal",
        "--no-dedupe",
    ];
    let tree = cargo(at, &with_triple(&tree))?;
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

fn cargo(at: &Path, arguments: &[String]) -> io::Result<String> {
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
