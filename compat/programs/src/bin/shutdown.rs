//! Runtimes that are dropped with everything in flight, alone: accepts, connects, reads, writes that wait for the peer,
//! datagrams, timers, children. Nothing may hang, panic or be left behind.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use programs::{runtime, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const ROUNDS: usize = 50;
const CONNECTIONS: usize = 20;

fn main() -> ExitCode {
    match alone() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn alone() -> Result<()> {
    // What the first runtime leaves behind is there for all, as the pipe for signals.
    round(0)?;
    let before = descriptors();
    for number in 1..=ROUNDS {
        round(number)?;
    }
    // A runtime that was told to end in the background may need a moment.
    let began = Instant::now();
    while descriptors() > before && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    let after = descriptors();
    assert!(after <= before, "{before:?} descriptors became {after:?}");
    println!("{ROUNDS} runtimes are gone, descriptors before and after: {before:?}, {after:?}");
    Ok(())
}

/// How many descriptors this process has, where the system says so.
#[cfg(unix)]
fn descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// How many handles this process has.
#[cfg(windows)]
fn descriptors() -> Option<usize> {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};
    let mut count = 0;
    // SAFETY: this handle of the process is always valid, and `count` is written before the call returns.
    let done = unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) };
    (done != 0).then_some(count as usize)
}

/// Every other round goes on for a moment, so that calls wait in the system. The others end wherever they are. Every
/// third runtime ends in the background.
fn round(number: usize) -> Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        for _ in 0..CONNECTIONS {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                // More than the buffers between the two hold.
                stream.write_all(&vec![0; 20_000_000]).await
            });
        }
        tokio::spawn(accept_all(listener));
        let idle = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        tokio::spawn(async move { idle.accept().await });
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        tokio::spawn(async move { socket.recv(&mut [0]).await });
        tokio::spawn(tokio::time::sleep(Duration::from_secs(1_000)));
        tokio::spawn(tokio::signal::ctrl_c());
        match number % 2 {
            0 => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => tokio::task::yield_now().await,
        }
        Result::Ok(())
    })?;
    match number % 3 {
        0 => runtime.shutdown_background(),
        _ => drop(runtime),
    }
    Ok(())
}

/// Reads a part of what each client sends, and no more.
async fn accept_all(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            stream.read_exact(&mut [0; 100_000]).await?;
            let stays = std::future::pending::<()>();
            stays.await;
            io::Result::Ok(stream)
        });
    }
}
