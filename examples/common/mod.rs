//! What the examples need around their event loops: the command line, addresses, errors and Ctrl-C.
//! You need not read this to understand the event queue.

#![allow(dead_code)] // no example uses all of it

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::process::{self, ExitCode};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use std::{env, vec};

use minimio::{Registrator, TcpListener, Token};

/// The exit status after a wrong command line.
const WRONG_USAGE: i32 = 2;
/// Thirty years. A longer time counts as this, since an `Instant` so far away could overflow.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// The command line, option by option. A mistake in it ends the program with status 2.
pub(crate) struct Arguments {
    program: &'static str,
    usage: &'static str,
    rest: vec::IntoIter<String>,
    option: String,
}

impl Arguments {
    pub(crate) fn new(program: &'static str, usage: &'static str) -> Arguments {
        let text = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        let rest: Vec<String> = text.skip(1).collect();
        Arguments {
            program,
            usage,
            rest: rest.into_iter(),
            option: String::new(),
        }
    }

    /// The name of the next option. `-h` and `--help` print the usage and end the program with
    /// status 0.
    pub(crate) fn next_option(&mut self) -> Option<String> {
        self.option = self.rest.next()?;
        if self.option == "-h" || self.option == "--help" {
            print!("{}", self.usage);
            process::exit(0);
        }
        Some(self.option.clone())
    }

    /// What was taken for an option and is the name of a command, and all behind it: its arguments.
    pub(crate) fn command(&mut self) -> Vec<String> {
        let mut command = vec![self.option.clone()];
        command.extend(&mut self.rest);
        command
    }

    /// Ends the program because it does not have this option.
    pub(crate) fn unknown(&self) -> ! {
        self.wrong(format_args!("unknown argument {:?}", self.option))
    }

    /// Ends the program because the command line is wrong, and prints the reason.
    pub(crate) fn wrong(&self, why: impl Display) -> ! {
        let program = self.program;
        let usage = self.usage.lines().next().unwrap_or_default();
        eprintln!("{program}: {why}\n{usage}\n`{program} --help` explains the options.");
        process::exit(WRONG_USAGE);
    }

    /// The value of the option, as text.
    pub(crate) fn text(&mut self) -> String {
        match self.rest.next() {
            Some(value) => value,
            None => self.wrong(format_args!("{} needs a value", self.option)),
        }
    }

    /// The value of the option, an address. Its host may be a name.
    pub(crate) fn address(&mut self) -> String {
        let text = self.text();
        let has_port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
        if !text.rsplit_once(':').is_some_and(has_port) {
            self.wrong_value(&text, "an address like 127.0.0.1:8080 or localhost:8080");
        }
        text
    }

    /// The value of the option, a number in `range`.
    pub(crate) fn number(&mut self, range: RangeInclusive<usize>) -> usize {
        let text = self.text();
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ if *range.end() == usize::MAX => {
                self.wrong_value(&text, format_args!("a number from {} on", range.start()))
            }
            _ => self.wrong_value(
                &text,
                format_args!("a number from {} to {}", range.start(), range.end()),
            ),
        }
    }

    /// The value of the option, a time in seconds with or without a fraction.
    pub(crate) fn seconds(&mut self) -> Duration {
        let text = self.text();
        match f64::from_str(&text) {
            Ok(seconds) if seconds > 0.0 => {
                let time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
                time.min(LONGEST)
            }
            _ => self.wrong_value(&text, "a number of seconds above 0"),
        }
    }

    fn wrong_value(&self, text: &str, expected: impl Display) -> ! {
        self.wrong(format_args!(
            "{} {text:?}: {expected} is expected",
            self.option
        ))
    }
}

/// Adds to an error what was tried: "cannot listen on 127.0.0.1:80: Permission denied".
pub(crate) fn cannot(what: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

/// Listens on `address`, and prints the address. Port 0 stands for any port that is free.
pub(crate) fn listen(address: &str) -> io::Result<TcpListener> {
    let listener =
        TcpListener::bind(address).map_err(cannot(format_args!("listen on {address}")))?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Looks an address up, and takes the first address of its name.
pub(crate) fn resolve(address: &str) -> io::Result<SocketAddr> {
    let found = address.to_socket_addrs().and_then(|mut all| {
        all.next()
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the name has no address"))
    });
    found.map_err(cannot(format_args!("find {address}")))
}

/// Turns the result of a program into its exit status, which is 0 if all is well, and 1 otherwise.
pub(crate) fn exit_code(program: &str, result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks an event loop to end. It sets a flag, and a wake makes a blocked `poll` return so that the
/// loop sees the flag.
#[derive(Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    registrator: Registrator,
    token: Token,
}

impl Stop {
    /// Makes a `Stop` that wakes the loop of `registrator` with `token`.
    pub(crate) fn new(registrator: Registrator, token: Token) -> Stop {
        Stop {
            asked: Arc::default(),
            registrator,
            token,
        }
    }

    /// The same, and Ctrl-C asks the loop to end.
    pub(crate) fn on_ctrl_c(registrator: Registrator, token: Token) -> io::Result<Stop> {
        let stop = Stop::new(registrator, token);
        let handler = stop.clone();
        // The handler runs on a thread and not inside the signal handler, so it may call `wake`,
        // which takes a lock.
        ctrlc::set_handler(move || handler.ask())
            .map(|()| stop)
            .map_err(|error| io::Error::new(ErrorKind::Other, error))
    }

    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        // The wake fails only if the loop has already ended by itself.
        drop(self.registrator.wake(self.token));
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// Errors, counted by their text. A server that wrote a line for each reset would let its clients
/// fill the disk.
#[derive(Default)]
pub(crate) struct Failures(BTreeMap<String, u64>);

impl Failures {
    pub(crate) fn count(&mut self, error: &io::Error) {
        *self.0.entry(error.to_string()).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Prints one line for each text: how often the error came, and the text.
impl Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (error, count) in &self.0 {
            writeln!(f, "{count:>10}  {error}")?;
        }
        Ok(())
    }
}
