//! How an async runtime is built on an event queue: tasks, timers and sockets over one `Poll`.
//!
//! `executor/runtime.rs` is the runtime; this file is what is written on it, an echo server and its
//! clients, all of them tasks of one thread.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, process};

use minimio::{Poll, TcpListener, TcpStream};

#[path = "executor/runtime.rs"]
mod runtime;
use runtime::{either, Runtime, STOP, STOPPING};

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
            // Most likely out of descriptors: the connection waits until some are free.
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
async fn converse(runtime: Runtime, stream: TcpStream, demo: Demo) -> io::Result<usize> {
    let stream = Rc::new(stream);
    let mut echo = vec![0; demo.size];
    // Nothing was sent yet, so this read cannot end. It is dropped when its time is up, and leaves
    // nothing that would disturb the reads after it.
    let pause = runtime.sleep(Duration::from_millis(10));
    let early = either(runtime.read(&stream, &mut echo), pause).await;
    if early.is_some() {
        return Err(wrong_echo());
    }
    for round in 0..demo.rounds {
        if STOPPING.load(Ordering::Acquire) {
            return Ok(round);
        }
        let bytes = (0..=u8::MAX).cycle().skip(round % 256);
        let message: Rc<[u8]> = bytes.take(demo.size).collect();
        // A message may be larger than all buffers on its way. So it is written by a second task:
        // each direction of a stream waits on its own.
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

fn main() -> io::Result<()> {
    let demo = demo();
    let poll = Poll::new()?;
    let registrator = poll.registrator();
    // The handler runs on a thread, not inside the signal, so it may take the lock of `wake`. That
    // fails only if the loop has ended, and then there is nothing to wake.
    ctrlc::set_handler(move || {
        STOPPING.store(true, Ordering::Release);
        drop(registrator.wake(STOP));
    })
    .map_err(|error| io::Error::new(ErrorKind::Other, error))?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    let start = Instant::now();
    let runtime = Runtime::new(&poll);
    let tasks = runtime.clone();
    let total = runtime.run(poll, async move {
        drop(tasks.spawn(serve(tasks.clone(), listener)));
        let mut clients = Vec::new();
        for _ in 0..demo.clients {
            // Nothing waits for the connect: until it has ended, the first write would block.
            let stream = TcpStream::connect_nonblocking(address)?;
            clients.push(tasks.spawn(converse(tasks.clone(), stream, demo)));
        }
        let mut total = 0;
        for client in clients {
            total += client.await?;
        }
        Ok::<usize, io::Error>(total)
    })?;
    let Some(total) = total.transpose()? else {
        println!("stopped with messages in flight");
        return Ok(());
    };
    let (clients, size, elapsed) = (demo.clients, demo.size, start.elapsed());
    println!("{total} round trips of {size} bytes by {clients} clients in {elapsed:.2?}");
    Ok(())
}

fn demo() -> Demo {
    let mut demo = Demo {
        clients: 8,
        rounds: 1000,
        size: 64,
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next().map(|text| text.parse())) {
            ("--help" | "-h", _) => {
                print!("{USAGE}");
                process::exit(0);
            }
            ("--clients", Some(Ok(clients))) => demo.clients = clients,
            ("--rounds", Some(Ok(rounds))) => demo.rounds = rounds,
            ("--size", Some(Ok(size @ 1..))) => demo.size = size,
            _ => {
                eprint!("wrong argument: {name}\n\n{USAGE}");
                process::exit(2);
            }
        }
    }
    demo
}
