//! Child processes of the tests: this test's own program, started again, which then does one of the jobs below.
//!
//! A test file that starts children has a test of its own that is named by [`JOB_TEST`] and does nothing but call [`job`].

#![allow(dead_code)] // each file uses a part

use std::io::{self, Read, Write};
use std::process::{exit, Command};
use std::time::Duration;

/// The test that is the child.
pub(crate) const JOB_TEST: &str = "a_child_does_its_job";
const JOB: &str = "MINIMIO_TEST_JOB";
/// Comes before what a job writes to its standard output, where the test runner writes, too.
pub(crate) const BEGIN: &[u8] = b"<begin>";

/// A command that will do `job`. The kernel cannot start a program for another processor without the emulator, which
/// `MINIMIO_EMULATOR` names.
pub(crate) fn child(job: &str) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match std::env::var_os("MINIMIO_EMULATOR") {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .args(["--exact", JOB_TEST, "--nocapture", "--test-threads", "1"])
        .env(JOB, job);
    command
}

/// Does the job that this process was started for, and ends; returns at once in a process that was not.
pub(crate) fn job() {
    let Ok(job) = std::env::var(JOB) else {
        return;
    };
    let (name, argument) = job.split_once(' ').unwrap_or((&job, ""));
    let number = || argument.parse::<usize>().unwrap();
    match name {
        // Ends at once with that code.
        "exit" => exit(argument.parse().unwrap()),
        // Ends when its standard input does.
        "wait" => drop(io::copy(&mut io::stdin(), &mut io::sink())),
        // Sleeps, and ends.
        "sleep" => std::thread::sleep(Duration::from_millis(number() as u64)),
        // Writes so many bytes.
        "write" => {
            let mut output = io::stdout().lock();
            output.write_all(BEGIN).unwrap();
            write_pattern(&mut output, number());
            output.flush().unwrap();
        }
        // The same to its standard error.
        "complain" => write_pattern(&mut io::stderr(), number()),
        // Writes back what it reads.
        "echo" => {
            let mut output = io::stdout().lock();
            output.write_all(BEGIN).unwrap();
            output.flush().unwrap();
            let (mut input, mut buffer) = (io::stdin().lock(), [0; 4096]);
            loop {
                let count = input.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                output.write_all(&buffer[..count]).unwrap();
                output.flush().unwrap();
            }
        }
        // Reads so many bytes, and ends with 0 if they were the right ones.
        "read" => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).unwrap();
            let right = bytes.len() == number()
                && bytes
                    .iter()
                    .enumerate()
                    .all(|(at, &byte)| byte == pattern(at));
            exit(if right { 0 } else { 1 });
        }
        other => panic!("there is no job {other}"),
    }
    exit(0);
}

/// The byte at that place of what is written.
#[allow(clippy::cast_possible_truncation)] // it is meant
pub(crate) fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

pub(crate) fn write_pattern(output: &mut impl Write, count: usize) {
    let mut at = 0;
    while at < count {
        let some: Vec<u8> = (at..count.min(at + 65_536)).map(pattern).collect();
        output.write_all(&some).unwrap();
        at += some.len();
    }
}
