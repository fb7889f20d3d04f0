//! Runs a command, passes its output on as it comes, and says how it ended. One `poll` waits for
//! both pipes, for the end of the child, for Ctrl-C and for the time limit. The child's two outputs
//! and its end are three sources: what the child has written last may come after its end.

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use minimio::{ChildExit, Events, Interests, PipeReader, Poll, Registrator, Token};

mod common;
use common::{cannot, exit_code, Arguments, Stop};

const USAGE: &str = "\
usage: spawn [--timeout S] COMMAND [ARGUMENT...]

Runs the command, passes on what it writes, and says how it ended.

  --timeout S         kill it after so many seconds, fractions allowed (default: never)
The exit status is 0 if the command ended by itself, and with 0.
";

const OUT: Token = 0;
const ERR: Token = 1;
const EXIT: Token = 2;
const STOP: Token = 3;
/// How long to wait for more output when the child has ended. What it has started itself may have
/// its outputs, and live on.
const GRACE: Duration = Duration::from_secs(1);

/// One of the child's outputs.
struct Output {
    reader: PipeReader,
    token: Token,
    bytes: u64,
    is_open: bool,
}

impl Output {
    /// Makes the pipe. The other end is for the child, and no other process inherits it.
    fn new(registrator: &Registrator, token: Token) -> io::Result<(Output, Stdio)> {
        let (reader, stdio) = PipeReader::with_stdio()?;
        registrator.register(&reader, token, Interests::READABLE)?;
        let output = Output {
            reader,
            token,
            bytes: 0,
            is_open: true,
        };
        Ok((output, stdio))
    }

    /// Passes on what one read gives. What is left is reported to the next registration.
    fn forward(&mut self, registrator: &Registrator, mut to: impl Write) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.reader.read(&mut buffer) {
            // Everybody who could write to it has closed the other end.
            Ok(0) => {
                self.is_open = false;
                return Ok(());
            }
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
                self.bytes += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        registrator.register(&self.reader, self.token, Interests::READABLE)
    }
}

struct Run {
    poll: Poll,
    registrator: Registrator,
    stop: Stop,
    child: Child,
    /// Kept, since a source that is dropped tells nothing.
    _exit: ChildExit,
    out: Output,
    err: Output,
}

/// How the child has ended, and whether this program has ended it.
struct Ended {
    status: ExitStatus,
    killed: Option<&'static str>,
}

impl Run {
    fn start(command: &[String]) -> io::Result<Run> {
        let poll = Poll::new()?;
        let registrator = poll.registrator();
        let stop = Stop::on_ctrl_c(registrator.clone(), STOP)?;
        let (out, stdout) = Output::new(&registrator, OUT)?;
        let (err, stderr) = Output::new(&registrator, ERR)?;
        // The `Command` has the child's ends, too. It is dropped here, or the pipes would not end.
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(cannot(format_args!("run {}", command[0])))?;
        let exit = ChildExit::new(&mut child)?;
        registrator.register(&exit, EXIT, Interests::READABLE)?;
        Ok(Run {
            poll,
            registrator,
            stop,
            child,
            _exit: exit,
            out,
            err,
        })
    }

    /// Passes output on until the child and its outputs have ended.
    fn until_it_ends(&mut self, limit: Option<Duration>) -> io::Result<Ended> {
        let mut events = Events::with_capacity(4);
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let mut status = None;
        let mut killed = None;
        while status.is_none() || self.out.is_open || self.err.is_open {
            let is_late = self.poll.poll_until(&mut events, deadline)? == 0;
            for event in &events {
                match event.id() {
                    OUT => self.out.forward(&self.registrator, io::stdout())?,
                    ERR => self.err.forward(&self.registrator, io::stderr())?,
                    EXIT => {
                        // It has ended, so this does not wait.
                        status = Some(self.child.wait()?);
                        deadline = Some(Instant::now() + GRACE);
                    }
                    _ => {}
                }
            }
            match status {
                Some(_) if is_late => break,
                None if killed.is_none() && (is_late || self.stop.is_asked()) => {
                    killed = Some(if is_late { "timed out" } else { "interrupted" });
                    self.child.kill()?;
                    // Its end is an event.
                    deadline = None;
                }
                _ => {}
            }
        }
        // The loop has ended, so there is one.
        let status = status.map_or_else(|| self.child.wait(), Ok)?;
        Ok(Ended { status, killed })
    }
}

fn run(command: &[String], limit: Option<Duration>) -> io::Result<bool> {
    let begun = Instant::now();
    let mut run = Run::start(command)?;
    let Ended { status, killed } = run.until_it_ends(limit)?;
    let (out, err) = (run.out.bytes, run.err.bytes);
    let how = killed.map_or_else(|| status.to_string(), |why| format!("{why}, {status}"));
    eprintln!(
        "spawn: {how}, after {:.1?}, {out} bytes of output and {err} of errors",
        begun.elapsed()
    );
    Ok(status.success() && killed.is_none())
}

fn main() -> ExitCode {
    let mut limit = None;
    let mut arguments = Arguments::new("spawn", USAGE);
    while let Some(option) = arguments.next_option() {
        match option.as_str() {
            "--timeout" => limit = Some(arguments.seconds()),
            option if option.starts_with('-') => arguments.unknown(),
            _ => return exit_code("spawn", run(&arguments.command(), limit)),
        }
    }
    arguments.wrong("there is no command");
}
