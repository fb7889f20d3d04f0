//! 4.7: no child process inherits a handle of the crate.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

mod common;
mod under_way;

use std::collections::BTreeSet;
use std::process::Command;

use common::{expect_events, until_done, watchdog, BOTH, READABLE};
use minimio::os::windows::NamedPipe;
use minimio::{pipe, ChildExit, Events, Poll, TcpListener, TcpStream, UdpSocket};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT};

/// The handles of this process that a child would inherit. It looks at low numbers, which are the ones that a process is
/// given.
fn inherited() -> BTreeSet<usize> {
    const BETWEEN_HANDLES: usize = 4;
    let is_inherited = |handle: &usize| {
        let mut flags = 0;
        // SAFETY: the flags are writable. A number that is no handle is refused.
        let known = unsafe { GetHandleInformation(*handle as HANDLE, &mut flags) };
        known != 0 && flags & HANDLE_FLAG_INHERIT != 0
    };
    (BETWEEN_HANDLES..1 << 16)
        .step_by(BETWEEN_HANDLES)
        .filter(is_inherited)
        .collect()
}

#[test]
fn no_handle_of_the_crate_is_inherited() {
    let _watchdog = watchdog();
    common::start_a_child();
    let before = inherited();

    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let registrator = poll.registrator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    registrator.register(&listener, 1, READABLE).unwrap();
    let address = listener.local_addr().unwrap();
    let blocking = TcpStream::connect(address).unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    // An operation has brought the first connection, and the second is taken from the socket.
    let second = TcpStream::connect(address).unwrap();
    let accepted = [(); 2].map(|()| until_done(|| listener.accept()).unwrap());
    // The next accept is in flight.
    registrator.register(&listener, 1, READABLE).unwrap();
    let connecting = TcpStream::connect_nonblocking(address).unwrap();
    registrator.register(&connecting, 2, BOTH).unwrap();
    // It waits for an event of the system.
    let taken_over = under_way::UnderWay::new("127.0.0.1:0").map(|under_way| {
        let stream = TcpStream::from_std(under_way.socket.try_clone().unwrap().into()).unwrap();
        registrator.register(&stream, 3, BOTH).unwrap();
        (stream, under_way)
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (reader, writer) = pipe().unwrap();
    let (child_reader, _) = minimio::PipeReader::with_stdio().unwrap();
    let name = format!(r"\\.\pipe\minimio-inherited-{}", std::process::id());
    let server = NamedPipe::create(&name).unwrap();
    let client = NamedPipe::open(&name).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no test has this name"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let exit = ChildExit::new(&mut child).unwrap();
    registrator.register(&exit, 4, READABLE).unwrap();

    let new: Vec<usize> = inherited().difference(&before).copied().collect();
    assert_eq!(new, []);

    child.wait().unwrap();
    drop((
        blocking, second, accepted, taken_over, socket, reader, writer,
    ));
    drop((child_reader, server, client, exit));
}
