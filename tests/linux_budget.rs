//! The budget of system calls: what each common scenario costs, counted by `strace`, in the table of
//! `docs/system-calls.md`. One call more, or less, and the table no longer matches.
//!
//! `.ci/proof` runs it, with `MINIMIO_STRACE=check`; `MINIMIO_STRACE=write` writes the table. Without the variable
//! nothing is run, since `strace` may not be there. (`linux_syscalls.rs` counts more, without it.)

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{pair, watchdog, BOTH, READABLE, WRITABLE};
use minimio::os::unix::UnixStream;
use minimio::{pipe, Events, Poll, Registrator, Source, TcpListener, TcpStream, UdpSocket};

const TEST: &str = "each_scenario_costs_what_the_table_says";
/// Tells the traced child which scenario is its.
const CHILD: &str = "MINIMIO_BUDGET_CHILD";
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/system-calls.md");
const WARM_UP: usize = 20;
const N: usize = 100;
const MESSAGE: usize = 64;

/// Begins, and at the next call ends, what is counted: a call that nothing else makes.
fn mark() {
    // SAFETY: it takes nothing and gives a number.
    unsafe { libc::getppid() };
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(64))
}

/// Runs one round of a scenario so often, of which the last `N` are counted. What is given to `round` is called before
/// and after the part that counts.
fn rounds(mut round: impl FnMut(&dyn Fn())) {
    for number in 0..WARM_UP + N {
        round(&|| {
            if number >= WARM_UP {
                mark();
            }
        });
    }
}

/// An echo with a buffer of that size: poll, read, register again, write.
fn echo<S: Source + Read + Write>((mut stream, mut peer): (S, impl Read + Write), room: usize) {
    let (mut poll, registrator, mut events) = queue();
    let mut buffer = vec![0; room];
    registrator.register(&stream, 1, READABLE).unwrap();
    rounds(|mark| {
        peer.write_all(&[7; MESSAGE]).unwrap();
        mark();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(stream.read(&mut buffer).unwrap(), MESSAGE);
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.write_all(&buffer[..MESSAGE]).unwrap();
        mark();
        peer.read_exact(&mut [0; MESSAGE]).unwrap();
    });
}

fn unix_pair() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    (UnixStream::from_std(near).unwrap(), far)
}

/// An echo over a Unix stream whose write direction has been asked for. What the peer reads would wake the poll, too, if
/// that were still so.
fn wait_after_the_peer_has_read() {
    let (mut poll, registrator, mut events) = queue();
    let (mut stream, mut peer) = unix_pair();
    let wait = Duration::from_millis(1);
    registrator.register(&stream, 1, BOTH).unwrap();
    assert_eq!(poll.poll(&mut events, None).unwrap(), 1);
    rounds(|mark| {
        peer.write_all(&[7; MESSAGE]).unwrap();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(stream.read(&mut [0; 4096]).unwrap(), MESSAGE);
        registrator.register(&stream, 1, READABLE).unwrap();
        stream.write_all(&[7; MESSAGE]).unwrap();
        peer.read_exact(&mut [0; MESSAGE]).unwrap();
        mark();
        assert_eq!(poll.poll(&mut events, Some(wait)).unwrap(), 0);
        mark();
    });
}

/// The same with datagrams, each of which may be followed by another.
fn echo_datagram() {
    let (mut poll, registrator, mut events) = queue();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut buffer = [0; MESSAGE];
    registrator.register(&socket, 1, READABLE).unwrap();
    rounds(|mark| {
        peer.send_to(&[7; MESSAGE], address).unwrap();
        mark();
        poll.poll(&mut events, None).unwrap();
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        registrator.register(&socket, 1, READABLE).unwrap();
        socket.send_to(&buffer[..count], from).unwrap();
        mark();
        peer.recv_from(&mut buffer).unwrap();
    });
}

/// A pipe that is read with a buffer of that size. Of a short read nothing follows, since the writer may send packets.
fn read_pipe(until_empty: bool) {
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    let mut buffer = [0; 4096];
    registrator.register(&reader, 1, READABLE).unwrap();
    rounds(|mark| {
        writer.write_all(&[7; MESSAGE]).unwrap();
        mark();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap(), MESSAGE);
        if until_empty {
            assert!(reader.read(&mut buffer).is_err());
        }
        registrator.register(&reader, 1, READABLE).unwrap();
        mark();
    });
}

/// A pipe whose reader takes what a write has filled it with.
fn write_pipe() {
    let (mut poll, registrator, mut events) = queue();
    let (mut reader, mut writer) = pipe().unwrap();
    let mut buffer = vec![7; 1 << 20];
    rounds(|mark| {
        mark();
        let count = writer.write(&buffer).unwrap();
        registrator.register(&writer, 1, WRITABLE).unwrap();
        mark();
        assert_eq!(reader.read(&mut buffer).unwrap(), count);
        poll.poll(&mut events, None).unwrap();
    });
}

fn accept() {
    let (mut poll, registrator, mut events) = queue();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    registrator.register(&listener, 1, READABLE).unwrap();
    rounds(|mark| {
        let _client = net::TcpStream::connect(address).unwrap();
        mark();
        poll.poll(&mut events, None).unwrap();
        let accepted = listener.accept().unwrap();
        registrator.register(&listener, 1, READABLE).unwrap();
        mark();
        drop(accepted);
    });
}

fn connect() {
    let (mut poll, registrator, mut events) = queue();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rounds(|mark| {
        mark();
        let stream = TcpStream::connect_nonblocking(address).unwrap();
        registrator.register(&stream, 1, WRITABLE).unwrap();
        poll.poll(&mut events, None).unwrap();
        mark();
        drop((stream, listener.accept().unwrap()));
    });
}

fn register_unknown() {
    let (_poll, registrator, _) = queue();
    rounds(|mark| {
        let (stream, _peer) = pair();
        mark();
        registrator.register(&stream, 1, BOTH).unwrap();
        mark();
    });
}

fn register_armed_again_and_deregister() {
    let (_poll, registrator, _) = queue();
    let (stream, _peer) = pair();
    registrator.register(&stream, 1, READABLE).unwrap();
    rounds(|mark| {
        mark();
        registrator.register(&stream, 2, READABLE).unwrap();
        registrator.deregister(&stream).unwrap();
        registrator.register(&stream, 3, READABLE).unwrap();
        mark();
    });
}

fn register_without_reading() {
    let (mut poll, registrator, mut events) = queue();
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    registrator.register(&stream, 1, READABLE).unwrap();
    rounds(|mark| {
        poll.poll(&mut events, None).unwrap();
        mark();
        registrator.register(&stream, 1, READABLE).unwrap();
        mark();
    });
}

fn drop_registered() {
    let (_poll, registrator, _) = queue();
    rounds(|mark| {
        let (stream, _peer) = pair();
        registrator.register(&stream, 1, BOTH).unwrap();
        mark();
        drop(stream);
        mark();
    });
}

fn wake() {
    let (mut poll, registrator, mut events) = queue();
    rounds(|mark| {
        mark();
        registrator.wake(1).unwrap();
        poll.poll(&mut events, None).unwrap();
        mark();
    });
}

fn idle_poll(timeout: Duration) {
    let (mut poll, _, mut events) = queue();
    rounds(|mark| {
        mark();
        poll.poll(&mut events, Some(timeout)).unwrap();
        mark();
    });
}

fn make_and_drop_a_poll() {
    rounds(|mark| {
        mark();
        drop(Poll::new().unwrap());
        mark();
    });
}

const SCENARIOS: [(&str, fn()); 19] = [
    ("echo: poll, read, register again, write", || {
        echo(pair(), 4096)
    }),
    ("the same with a buffer that the message fills", || {
        echo(pair(), MESSAGE)
    }),
    ("echo over a Unix stream", || echo(unix_pair(), 4096)),
    (
        "echo over a Unix stream with a buffer that the message fills",
        || echo(unix_pair(), MESSAGE),
    ),
    (
        "poll for 1 ms after the peer of a Unix stream has read",
        wait_after_the_peer_has_read,
    ),
    (
        "a datagram: poll, receive, register again, send",
        echo_datagram,
    ),
    ("a pipe: poll, read, register again", || read_pipe(false)),
    (
        "a pipe: poll, read until `WouldBlock`, register again",
        || read_pipe(true),
    ),
    (
        "a pipe: write what fills it, register until there is room",
        write_pipe,
    ),
    ("accept: poll, accept, register again", accept),
    ("connect: start, register, poll", connect),
    ("register a stream for the first time", register_unknown),
    (
        "register what is armed, deregister, register again",
        register_armed_again_and_deregister,
    ),
    (
        "register again with bytes left unread",
        register_without_reading,
    ),
    ("drop a registered stream", drop_registered),
    ("wake, and poll", wake),
    ("poll with nothing there, time-out 0", || {
        idle_poll(Duration::ZERO)
    }),
    ("poll with nothing there, 1 ms", || {
        idle_poll(Duration::from_millis(1))
    }),
    ("make a `Poll` and drop it", make_and_drop_a_poll),
];

/// What a scenario costs, as text.
fn cost(number: usize) -> String {
    let log = std::env::temp_dir().join(format!("minimio-{}-{number}.strace", std::process::id()));
    let status = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args([TEST, "--exact"])
        .env(CHILD, number.to_string())
        .stdout(Stdio::null())
        .status()
        .expect("strace must be installed");
    assert!(status.success(), "{status}");
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut counting = false;
    for line in text.lines() {
        // "1234  epoll_wait(…": the second half of an interrupted call begins with "<..." and is no new one.
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        match call.split_once('(') {
            Some(("getppid", _)) => counting = !counting,
            Some((name, _)) if counting && !name.starts_with(['<', '-', '+']) => {
                *counts.entry(name).or_default() += 1;
            }
            _ => {}
        }
    }
    assert!(!counting, "a mark is missing");
    if counts.is_empty() {
        return "none".to_owned();
    }
    let each = counts.iter().map(|(name, count)| {
        assert_eq!(count % N, 0, "{name}: {count} in {N} rounds");
        format!("{} `{name}`", count / N)
    });
    each.collect::<Vec<_>>().join(", ")
}

#[test]
fn each_scenario_costs_what_the_table_says() {
    if let Ok(number) = std::env::var(CHILD) {
        return SCENARIOS[number.parse::<usize>().unwrap()].1();
    }
    let Ok(what) = std::env::var("MINIMIO_STRACE") else {
        // Without strace: the table is of these scenarios. What each costs, `linux_syscalls.rs` counts by other means.
        let table = fs::read_to_string(TABLE).unwrap();
        for (name, _) in SCENARIOS {
            assert!(table.contains(&format!("| {name} |")), "{name}");
        }
        return;
    };
    let _watchdog = watchdog();
    let mut table = String::from(
        "# What things cost in system calls\n\n\
         On Linux, x86-64, counted by `strace`. This table is written by a test (`tests/linux_budget.rs`, with\n\
         `MINIMIO_STRACE=write`), and the same test fails when a count changes; `.ci/proof` runs it.\n\n\
         | scenario | calls |\n| --- | --- |\n",
    );
    for (number, (name, _)) in SCENARIOS.iter().enumerate() {
        writeln!(table, "| {name} | {} |", cost(number)).unwrap();
    }
    if what == "write" {
        fs::write(TABLE, table).unwrap();
    } else {
        assert_eq!(fs::read_to_string(TABLE).unwrap(), table);
    }
}
