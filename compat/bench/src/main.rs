//! A tokio echo server. `run` builds it twice, on mio and on minimio, and `bench` compares the two.
//!
//!     tokio-echo current-thread|multi-thread
//!
//! It prints the port at which it listens, and echoes whatever comes on each connection. It answers each line of its input
//! by the CPU time of its process in nanoseconds, and ends with its input.

mod cpu;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// How many workers the multi-threaded runtime has.
const WORKERS: usize = 2;

/// More than a message of the benchmark.
const BUFFER: usize = 4096;

fn main() -> ExitCode {
    let flavour = std::env::args().nth(1).unwrap_or_default();
    let runtime = match flavour.as_str() {
        "current-thread" => {
            // The load is on another core.
            cpu::pin_to_first_core();
            Builder::new_current_thread().enable_io().build()
        }
        "multi-thread" => {
            cpu::pin_to_all_cores();
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(WORKERS).enable_io().build()
        }
        _ => {
            eprintln!("usage: tokio-echo current-thread|multi-thread");
            return ExitCode::from(2);
        }
    };
    match runtime.and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokio-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(runtime: Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        thread::spawn(answer);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Tells the CPU time whenever it is asked, and ends the process when nobody will ask any more.
fn answer() {
    for line in io::stdin().lock().lines() {
        let mut output = io::stdout();
        let told = line.and_then(|_| {
            writeln!(output, "{}", cpu::time_of_this_process().as_nanos())?;
            output.flush()
        });
        if told.is_err() {
            break;
        }
    }
    std::process::exit(0);
}
