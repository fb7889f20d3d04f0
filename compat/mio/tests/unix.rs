//! What only Unix has: its sockets, and pipes.

#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

use common::{drain, fill, watchdog, Loop, R, RW, W};
use mio::net::{UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::Token;

/// A path that nothing has, in a folder that is removed with the value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("mio-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn each_arrival_at_a_stream_is_an_event() {
    let mut looping = Loop::new();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    looping.register(&mut near, 1, RW);
    for _ in 0..100 {
        far.write_all(b"word").unwrap();
        looping.readable(1);
        assert_eq!(drain(&near).0, b"word");
    }
    far.write_all(b"last").unwrap();
    looping.readable(1);
    drop(far);
    looping.until(1, "read-closed", |event| event.is_read_closed());
    assert_eq!(drain(&near), (b"last".to_vec(), true));
}

#[test]
fn room_in_a_stream_is_an_event() {
    let mut looping = Loop::new();
    let (mut near, far) = UnixStream::pair().unwrap();
    looping.register(&mut near, 1, RW);
    for _ in 0..5 {
        looping.writable(1);
        fill(&near);
        drain(&far);
    }
    looping.writable(1);
}

#[test]
fn a_listener_by_path_and_by_address() {
    let _watchdog = watchdog();
    let folder = Folder::new("listener");
    let mut looping = Loop::new();
    let mut listener = UnixListener::bind(folder.path()).unwrap();
    looping.register(&mut listener, 1, RW);
    let address = listener.local_addr().unwrap();
    assert_eq!(address.as_pathname(), Some(&*folder.path()));
    for _ in 0..10 {
        let near = UnixStream::connect(folder.path()).unwrap();
        let other = UnixStream::connect_addr(&address).unwrap();
        looping.readable(1);
        let (far, _) = listener.accept().unwrap();
        assert_eq!(drain(&far), (vec![], false), "it must not block");
        let (_far, _) = listener.accept().unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(near.peer_addr().unwrap().as_pathname().is_some());
        drop(other);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_address() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("mio-{}", std::process::id());
    let address = net::SocketAddr::from_abstract_name(name).unwrap();
    let mut looping = Loop::new();
    let mut listener = UnixListener::bind_addr(&address).unwrap();
    looping.register(&mut listener, 1, R);
    let _near = UnixStream::connect_addr(&address).unwrap();
    looping.readable(1);
    listener.accept().unwrap();
}

#[test]
fn datagrams_are_events() {
    let folder = Folder::new("datagrams");
    let mut looping = Loop::new();
    let mut socket = UnixDatagram::bind(folder.path()).unwrap();
    looping.register(&mut socket, 1, R);
    let sender = UnixDatagram::unbound().unwrap();
    let mut buffer = [0; 8];
    for _ in 0..20 {
        assert_eq!(sender.send_to(b"word", folder.path()).unwrap(), 4);
        looping.readable(1);
        let (count, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"word");
        let error = socket.recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    sender.connect(folder.path()).unwrap();
    assert_eq!(sender.send(b"words").unwrap(), 5);
    looping.readable(1);
}

#[test]
fn room_for_datagrams_is_an_event() {
    let mut looping = Loop::new();
    let (mut near, far) = UnixDatagram::pair().unwrap();
    looping.register(&mut near, 1, RW);
    for _ in 0..5 {
        looping.writable(1);
        while near.send(&[0; 1000]).is_ok() {}
        while far.recv(&mut [0; 1000]).is_ok() {}
    }
    looping.writable(1);
}

#[test]
fn a_pipe_tells_of_bytes_room_and_end() {
    let mut looping = Loop::new();
    let (mut sender, mut receiver) = pipe::new().unwrap();
    let registry = looping.registry();
    registry.register(&mut sender, Token(1), W).unwrap();
    registry.register(&mut receiver, Token(2), R).unwrap();
    for _ in 0..5 {
        looping.writable(1);
        let count = fill(&sender);
        looping.readable(2);
        assert_eq!(drain(&receiver).0.len(), count);
    }
    looping.writable(1);
    drop(sender);
    looping.until(2, "read-closed", |event| event.is_read_closed());
    assert_eq!(drain(&receiver), (vec![], true));
}

#[test]
fn a_pipe_whose_reader_is_gone_tells_its_writer() {
    let mut looping = Loop::new();
    let (mut sender, receiver) = pipe::new().unwrap();
    fill(&sender);
    looping.register(&mut sender, 1, W);
    drop(receiver);
    looping.until(1, "write-closed", |event| event.is_write_closed());
    let error = sender.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn an_end_that_nobody_drained_is_told() {
    let mut looping = Loop::new();
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looping.register(&mut receiver, 1, R);
    sender.write_all(b"unread").unwrap();
    looping.readable(1);
    drop(sender);
    looping.until(1, "read-closed", |event| event.is_read_closed());
    assert_eq!(drain(&receiver), (b"unread".to_vec(), true));
}

#[test]
fn the_streams_of_a_child_are_pipes() {
    let mut looping = Loop::new();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = pipe::Sender::from(child.stdin.take().unwrap());
    let mut stdout = pipe::Receiver::from(child.stdout.take().unwrap());
    let stderr = pipe::Receiver::from(child.stderr.take().unwrap());
    stdin.set_nonblocking(true).unwrap();
    stdout.set_nonblocking(true).unwrap();
    stderr.set_nonblocking(true).unwrap();
    let registry = looping.registry();
    registry.register(&mut stdin, Token(1), W).unwrap();
    registry.register(&mut stdout, Token(2), R).unwrap();
    looping.writable(1);
    stdin.write_all(b"word").unwrap();
    looping.readable(2);
    assert_eq!(drain(&stdout), (b"word".to_vec(), false));
    drop(stdin);
    looping.until(2, "read-closed", |event| event.is_read_closed());
    assert_eq!(drain(&stdout), (vec![], true));
    child.wait().unwrap();
}

#[test]
fn an_end_of_a_pipe_blocks_if_it_is_told_to() {
    let (mut sender, receiver) = pipe::new().unwrap();
    receiver.set_nonblocking(false).unwrap();
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        sender.write_all(b"word").unwrap();
    });
    let mut four = [0; 4];
    (&receiver).read_exact(&mut four).unwrap();
    writing.join().unwrap();
    let descriptor = OwnedFd::from(receiver);
    descriptor.as_fd().try_clone_to_owned().unwrap();
}

// tokio writes to a stream from a signal handler: a lock that the interrupted thread holds would never be free.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_handler_may_write_while_its_thread_registers() {
    static STREAM: OnceLock<UnixStream> = OnceLock::new();
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handle(_: libc::c_int) {
        if let Some(mut stream) = STREAM.get() {
            drop(stream.write(b"x"));
            WRITES.fetch_add(1, Ordering::Relaxed);
        }
    }

    let _watchdog = watchdog();
    let (near, mut far) = UnixStream::pair().unwrap();
    STREAM.set(near).unwrap();
    let looping = Loop::new();
    let registry = looping.registry();
    registry.register(&mut far, Token(1), RW).unwrap();
    // SAFETY: the handler makes a system call and adds to an atomic number.
    unsafe { libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t) };
    // SAFETY: it has no conditions.
    let thread = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        let signalling = scope.spawn(|| {
            while WRITES.load(Ordering::Relaxed) < 2000 {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            }
        });
        while !signalling.is_finished() {
            let mut source = SourceFd(&STREAM.get().unwrap().as_raw_fd());
            registry.register(&mut source, Token(2), RW).unwrap();
            registry.reregister(&mut source, Token(3), R).unwrap();
            registry.reregister(&mut far, Token(1), R).unwrap();
            registry.deregister(&mut source).unwrap();
            drain(&far);
        }
    });
}
