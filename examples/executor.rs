//! How an async runtime is built on an event queue: tasks, timers and sockets on one `Poll`.
//! `executor/runtime.rs` is the runtime. This file is a program that uses it: an echo server and
//! its clients, which are all tasks of one thread.

use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use minimio::{Poll, TcpListener, TcpStream};

mod common;
#[path = "executor/runtime.rs"]
mod runtime;
use common::{cannot, exit_code, listen, Arguments, Stop};
use runtime::{either, Runtime, STOP};

const USAGE: &str = "\
usage: executor [--clients N] [--rounds N] [--size BYTES]

Async tasks over one event queue: an echo server and clients that check every echo.

  --clients N    number of clients (default 8)
  --rounds N     messages of each client (default 1000)
  --size BYTES   length of a message (default 64)
";

async fn serve(runtime: Runtime, listener: TcpListener) {
    loop {
        let Ok(stream) = runtime.accept(&listener).await else {
            // Most likely no descriptor is left. The connection waits until some are free.
            runtime.sleep(Duration::from_millis(100)).await;
            continue;
        };
        let task = runtime.clone();
        drop(runtime.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = task.read(&stream, &mut buffer).await {
                if task.write_all(&stream, &buffer[..count]).await.is_err() {
                    return;
                }
            }
        }));
    }
}

/// Makes round trips, and returns how many.
async fn converse(
    runtime: Runtime,
    stop: Stop,
    stream: TcpStream,
    demo: Demo,
) -> io::Result<usize> {
    let stream = Rc::new(stream);
    let mut echo = vec![0; demo.size];
    // Nothing was sent yet, so this read cannot end. It is dropped when its time is up, and that
    // does not disturb later reads.
    let pause = runtime.sleep(Duration::from_millis(10));
    let early = either(runtime.read(&stream, &mut echo), pause).await;
    if early.is_some() {
        return Err(wrong_echo());
    }
    for round in 0..demo.rounds {
        if stop.is_asked() {
            return Ok(round);
        }
        let bytes = (0..=u8::MAX).cycle().skip(round % 256);
        let message: Rc<[u8]> = bytes.take(demo.size).collect();
        // A message may be larger than all buffers on its way. So a second task writes it: each
        // direction of a stream waits by itself.
        let (task, to, bytes) = (runtime.clone(), stream.clone(), message.clone());
        let written = runtime.spawn(async move { task.write_all(&to, &bytes).await });
        runtime.read_exact(&stream, &mut echo).await?;
        written.await?;
        if echo[..] != message[..] {
            return Err(wrong_echo());
        }
    }
    Ok(demo.rounds)
}

fn wrong_echo() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "an echo is not what was sent")
}

#[derive(Clone, Copy)]
struct Demo {
    clients: usize,
    rounds: usize,
    size: usize,
}

fn run(demo: Demo) -> io::Result<bool> {
    let Demo {
        clients,
        rounds,
        size,
    } = demo;
    let poll = Poll::new()?;
    let stop = Stop::on_ctrl_c(poll.registrator(), STOP)?;
    let listener = listen("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("{clients} clients, each with {rounds} messages of {size} bytes");
    let start = Instant::now();
    let runtime = Runtime::new(&poll);
    let (tasks, ask) = (runtime.clone(), stop.clone());
    let total = runtime.run(poll, &stop, async move {
        drop(tasks.spawn(serve(tasks.clone(), listener)));
        let mut conversations = Vec::new();
        for number in 1..=clients {
            // No code waits for the connect. Until it has ended, the first write waits.
            let stream = TcpStream::connect_nonblocking(address).map_err(cannot(format_args!(
                "open connection {number} to {address}"
            )))?;
            let conversation = converse(tasks.clone(), ask.clone(), stream, demo);
            conversations.push(tasks.spawn(conversation));
        }
        let mut total = 0;
        for conversation in conversations {
            total += conversation.await?;
        }
        Ok::<usize, io::Error>(total)
    })?;
    match total.transpose()? {
        Some(total) => println!("{total} round trips in {:.2?}", start.elapsed()),
        None => println!("stopped with messages in flight"),
    }
    Ok(true)
}

fn main() -> ExitCode {
    let mut demo = Demo {
        clients: 8,
        rounds: 1000,
        size: 64,
    };
    let mut arguments = Arguments::new("executor", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--clients" => demo.clients = arguments.number(1..=usize::MAX),
            "--rounds" => demo.rounds = arguments.number(1..=usize::MAX),
            "--size" => demo.size = arguments.number(1..=usize::MAX),
            _ => arguments.unknown(),
        }
    }
    exit_code("executor", run(demo))
}
