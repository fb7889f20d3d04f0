//! The command line.

use std::path::PathBuf;

pub const USAGE: &str = "\
minimio-bench: minimio side by side with its peers

usage: cargo run --release --manifest-path bench/Cargo.toml -- WHAT [OPTIONS]
       cargo run --release --manifest-path bench/Cargo.toml -- report FILES

WHAT   echo     messages echoed: server CPU a message, messages/s, latency, system calls
       uds      the same over Unix sockets (not on Windows)
       idle     echo on one connection among 1, 100, 1,000 and 10,000 idle ones
       growth   echo and HTTP with 1 and 2 threads, and many idle connections, at 1 to 19,000 connections
       accept   connections a second: accept, one exchange, close
       wake     waking a poll from another thread: throughput and latency
       rearm    registering again: drained and unknown, from the polling thread and from another
       memory   bytes of heap a registered connection
       bulk     much over one connection, received and sent
       build    cold compile time, number of crates, size of a minimal program
       all      each of them
       tokio    echo of a tokio server on mio and on minimio; `compat/bench/run` builds them
       report   docs/benchmarks.md, with charts, from the files that --json wrote

`bench/run` measures everything on Linux, under Wine and below tokio, and writes the page.

  --connections 1,16,128,512   how many at once (echo, uds, growth, accept, rearm, memory, tokio)
  --size 64,4096               bytes a message (echo, uds)
  --idle 1,100,1000,10000      how many idle ones (idle; on Windows up to 1000)
  --megabytes 1024             how much is sent (bulk; on Windows 64)
  --server NAME=PATH           a server to start, more than once (tokio)
  --triple TARGET              compile for another target (build)
  --seconds 0.1                how long each implementation runs in each round
  --rounds 21                  how often each one has its turn
  --only NAME,NAME             leave the others out (`bare`, the floor, stays)
  --docs DIR                   where to write the page and its charts (report; docs of this checkout)
  --json FILE                  append one object a line for every round and implementation
  --smoke                      a fraction of a second of everything: does it still work?";

#[derive(Debug, Clone)]
pub struct Options {
    pub what: String,
    pub files: Vec<PathBuf>,
    pub connections: Option<Vec<usize>>,
    pub sizes: Vec<usize>,
    pub idle: Vec<usize>,
    pub megabytes: usize,
    pub servers: Vec<(String, String)>,
    pub triple: Option<String>,
    pub seconds: f64,
    pub rounds: usize,
    pub only: Option<Vec<String>>,
    pub json: Option<PathBuf>,
    pub docs: Option<PathBuf>,
    pub smoke: bool,
}

impl Options {
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options, String> {
        let mut arguments = arguments.into_iter();
        let mut options = Options {
            what: arguments.next().ok_or("WHAT is missing")?,
            files: Vec::new(),
            connections: None,
            sizes: vec![64, 4096],
            // On Windows each server needs its own streams, since a stream cannot go from one queue to another.
            idle: match cfg!(windows) {
                true => vec![1, 100, 1_000],
                false => vec![1, 100, 1_000, 10_000],
            },
            megabytes: if cfg!(windows) { 64 } else { 1024 },
            servers: Vec::new(),
            triple: None,
            seconds: 0.1,
            rounds: 21,
            only: None,
            json: None,
            docs: None,
            smoke: false,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--smoke" {
                options.smoke = true;
                options.seconds = 0.02;
                options.rounds = 1;
                options.connections = Some(vec![1, 16]);
                options.idle = vec![1, 100];
                options.megabytes = if cfg!(windows) { 1 } else { 16 };
                continue;
            }
            if !argument.starts_with("--") {
                options.files.push(argument.into());
                continue;
            }
            let value = arguments
                .next()
                .ok_or(format!("{argument} takes a value"))?;
            match argument.as_str() {
                "--connections" => options.connections = Some(numbers(&value)?),
                "--size" => options.sizes = numbers(&value)?,
                "--idle" => options.idle = numbers(&value)?,
                "--megabytes" => options.megabytes = number(&value)?,
                "--server" => {
                    let pair = value.split_once('=').ok_or("--server takes NAME=PATH")?;
                    options.servers.push((pair.0.into(), pair.1.into()));
                }
                "--triple" => options.triple = Some(value),
                "--seconds" => options.seconds = number(&value)?,
                "--rounds" => options.rounds = number(&value)?,
                "--only" => options.only = Some(value.split(',').map(str::to_owned).collect()),
                "--docs" => options.docs = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("{argument} is not known")),
            }
        }
        if options.rounds == 0 || !(options.seconds > 0.0 && options.seconds < 3600.0) {
            return Err("--rounds and --seconds must be more than nothing".into());
        }
        Ok(options)
    }

    pub fn connections_or(&self, default: &[usize]) -> Vec<usize> {
        self.connections.clone().unwrap_or(default.to_vec())
    }

    /// Whether an implementation takes part. `bare` always does.
    pub fn wants(&self, name: &str) -> bool {
        name == crate::measure::FLOOR
            || self
                .only
                .as_ref()
                .is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let all: Vec<usize> = text.split(',').map(number).collect::<Result<_, _>>()?;
    if all.contains(&0) {
        return Err(format!("{text}: at least 1"));
    }
    Ok(all)
}
