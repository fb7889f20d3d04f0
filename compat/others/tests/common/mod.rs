//! What a runtime has in flight when it ends, and what a process holds.

// Every test file is a program of its own, and uses only a part of this module.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::ErrorKind;
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;

/// Counts the bytes that are allocated now. Unlike the memory of the process this is exact, and the same on each system.
pub struct Counting;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's duty.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's duty.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a process holds. Other systems than Linux do not say how many descriptors and threads it has.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub allocated: isize,
    pub descriptors: usize,
    pub threads: usize,
}

impl Held {
    pub fn now() -> Held {
        let count = |folder| match cfg!(target_os = "linux") {
            true => std::fs::read_dir(folder).unwrap().count(),
            false => 0,
        };
        Held {
            allocated: ALLOCATED.load(Ordering::Relaxed),
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }

    /// What the process holds once threads that are ending have ended.
    pub fn settled() -> Held {
        let mut last = Held::now();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(20));
            let now = Held::now();
            if now.threads == last.threads && now.allocated == last.allocated {
                return now;
            }
            last = now;
        }
        last
    }

    /// That nothing has been added for each of `rounds` rounds since `before`.
    #[track_caller]
    pub fn assert_as_before(self, before: Held, rounds: usize) {
        println!("{rounds} rounds: {before:?}, then {self:?}");
        assert!(self.descriptors <= before.descriptors, "descriptors leak");
        assert!(self.threads <= before.threads, "threads leak");
        let allocated = self.allocated - before.allocated;
        // A few things grow once. Whatever a round leaves behind is far more in all rounds together.
        assert!(
            allocated < 16 * rounds as isize,
            "{allocated} bytes leak in {rounds} rounds"
        );
    }
}

/// How many rounds a test makes.
pub fn rounds(count: usize) -> usize {
    let factor = match std::env::var("MINIMIO_EFFORT") {
        Ok(factor) => factor.parse().expect("MINIMIO_EFFORT must be a number"),
        Err(_) => 1.0,
    };
    ((count as f64 * factor) as usize).max(10)
}

/// Sources of a runtime that may outlive it.
#[derive(Default)]
pub struct Sources {
    pub listeners: Vec<TcpListener>,
    pub streams: Vec<TcpStream>,
    pub sockets: Vec<UdpSocket>,
    pub peers: Vec<net::TcpStream>,
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Begins all that tasks may wait for, and returns before any of it has ended.
pub async fn everything_in_flight() -> Sources {
    let mut sources = Sources::default();

    // Waits for clients, for bytes, for room, and for datagrams.
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { listener.accept().await.map(drop) });
    let (mut near, far) = pair().await;
    tokio::spawn(async move { near.read(&mut [0; 64]).await });
    let (mut full, slow) = pair().await;
    tokio::spawn(async move { while full.write_all(&[0; 64 << 10]).await.is_ok() {} });
    let socket = UdpSocket::bind(any_port()).await.unwrap();
    tokio::spawn(async move { socket.recv(&mut [0; 64]).await });

    // A client nobody accepts, a connect to it, and one that is refused.
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let waiting = listener.local_addr().unwrap();
    sources
        .peers
        .push(net::TcpStream::connect(waiting).unwrap());
    tokio::spawn(TcpStream::connect(waiting));
    let refused = net::TcpListener::bind(any_port()).unwrap();
    let refused = refused.local_addr().unwrap();
    tokio::spawn(TcpStream::connect(refused));

    // Timers, blocking work, and what only one system has.
    tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)));
    tokio::task::spawn_blocking(std::thread::yield_now);
    system_in_flight().await;

    // Bytes that wait unread.
    let (mut unread, mut writes) = pair().await;
    writes.write_all(b"unread").await.unwrap();
    unread.readable().await.unwrap();
    let error = writes.try_read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    unread.write_all(b"back").await.unwrap();
    let socket = UdpSocket::bind(any_port()).await.unwrap();
    socket
        .send_to(b"word", socket.local_addr().unwrap())
        .await
        .unwrap();
    tokio::task::yield_now().await;

    sources.listeners.push(listener);
    sources.streams.extend([far, slow, unread, writes]);
    sources.sockets.push(socket);
    // Nobody connects to it any more.
    let _ = address;
    sources
}

#[cfg(unix)]
async fn system_in_flight() {
    use tokio::net::{unix::pipe, UnixDatagram, UnixStream};
    let (mut near, far) = UnixStream::pair().unwrap();
    tokio::spawn(async move { near.read(&mut [0; 64]).await });
    std::mem::drop(tokio::spawn(
        async move { far.writable().await.map(|()| far) },
    ));
    let (near, far) = UnixDatagram::pair().unwrap();
    tokio::spawn(async move { near.recv(&mut [0; 64]).await.map(|_| far) });
    let (sender, mut receiver) = pipe::pipe().unwrap();
    tokio::spawn(async move { receiver.read(&mut [0; 64]).await.map(|_| sender) });
}

#[cfg(windows)]
async fn system_in_flight() {
    use std::sync::atomic::AtomicUsize;
    use tokio::net::windows::named_pipe::{ClientOptions, ServerOptions};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!(r"\\.\pipe\others-{}-{number}", std::process::id());
    let server = ServerOptions::new().create(&name).unwrap();
    let mut client = ClientOptions::new().open(&name).unwrap();
    server.connect().await.unwrap();
    tokio::spawn(async move { client.read(&mut [0; 64]).await.map(|_| server) });
    let server = ServerOptions::new()
        .create(format!("{name}-waiting"))
        .unwrap();
    tokio::spawn(async move { server.connect().await.map(|()| server) });
}

pub fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub fn multi_thread() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
