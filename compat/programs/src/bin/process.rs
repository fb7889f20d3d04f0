//! Child processes and signals by tokio, alone.
//!
//! ```text
//! process        starts itself as children, whose output and ends are compared
//! process cat    what the children do: passes on the input
//! process wait   or waits for ever
//! ```

use std::process::{ExitCode, Stdio};
use std::{env, io};

use futures_util::future::try_join_all;
use programs::{arguments, noise, run, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

fn main() -> ExitCode {
    match arguments().first().map(String::as_str) {
        // This one uses no runtime, so it does not depend on what is tested.
        Some("cat") => match io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()) {
            Ok(_) => ExitCode::from(7),
            Err(_) => ExitCode::FAILURE,
        },
        Some("wait") => loop {
            std::thread::park();
        },
        _ => run(async {
            try_join_all((0..8).map(cat)).await?;
            try_join_all((0..8).map(|_| kill())).await?;
            #[cfg(unix)]
            signals().await?;
            println!("all children have ended as they should");
            Ok(())
        }),
    }
}

fn child(what: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok(command)
}

/// Megabytes through a child, whose pipes hold much less: whoever writes them all before reading would wait for ever.
async fn cat(seed: u64) -> Result<()> {
    let sent = noise(seed, 5_000_000);
    let mut child = child("cat")?.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    let mut stdout = child.stdout.take().ok_or("no output")?;
    let write = async {
        stdin.write_all(&sent).await?;
        drop(stdin);
        io::Result::Ok(())
    };
    let mut back = Vec::new();
    tokio::try_join!(write, stdout.read_to_end(&mut back))?;
    assert!(back == sent, "{} other bytes came back", back.len());
    assert_eq!(child.wait().await?.code(), Some(7));
    Ok(())
}

/// A child that does not end by itself. Its output ends with it.
async fn kill() -> Result<()> {
    let mut child = child("wait")?.spawn()?;
    let mut stdout = child.stdout.take().ok_or("no output")?;
    child.start_kill()?;
    assert_eq!(stdout.read_to_end(&mut Vec::new()).await?, 0);
    assert!(!child.wait().await?.success());
    Ok(())
}

/// Signals that this process sends to itself. Those that come before the first has been taken may become one.
#[cfg(unix)]
async fn signals() -> Result<()> {
    use tokio::signal::unix::{signal, SignalKind};
    let mut first = signal(SignalKind::user_defined1())?;
    let mut second = signal(SignalKind::user_defined2())?;
    let this = std::process::id().to_string();
    for _ in 0..20 {
        for (name, listener) in [("-USR1", &mut first), ("-USR2", &mut second)] {
            let sent = Command::new("kill").args([name, &this]).status();
            let (sent, told) = tokio::join!(sent, listener.recv());
            assert!(sent?.success() && told.is_some());
        }
    }
    Ok(())
}
