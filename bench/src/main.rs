//! Compares minimio with its peers. `-- --help` explains the options.

mod load;
mod measure;
mod options;
mod peers;
mod report;
mod system;
mod what;

use std::io;
use std::process::ExitCode;

use measure::Recorder;
use options::{Options, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("minimio-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    if let Some(address) = options.what.strip_prefix("hold:") {
        return what::idle::hold(address, &options.idle);
    }
    if let Some(address) = options.what.strip_prefix("clients:") {
        return what::growth::clients::serve(address);
    }
    if options.what == "report" {
        return report::run(options);
    }
    system::most_descriptors();
    let pinned = system::pin(system::LOAD_CORE);
    let where_they_run = if pinned {
        format!(
            "server on core {}, load on core {}",
            system::SERVER_CORE,
            system::LOAD_CORE
        )
    } else {
        "NOT PINNED to cores".into()
    };
    println!(
        "{}\n{where_they_run}. The machine may be busy with other things: believe ratios only.",
        system::about(),
    );
    let mut recorder = Recorder::new(options)?;
    let all = options.what == "all";
    let mut known = false;
    let mut named = |name| {
        let wanted = all || options.what == name;
        known |= wanted;
        wanted
    };
    if named("echo") {
        what::echo::run(options, &mut recorder)?;
    }
    #[cfg(unix)]
    if named("uds") {
        what::uds::run(options, &mut recorder)?;
    }
    if named("idle") {
        what::idle::run(options, &mut recorder)?;
    }
    if named("growth") {
        what::growth::run(options, &mut recorder)?;
    }
    if named("accept") {
        what::accept::run(options, &mut recorder)?;
    }
    if named("wake") {
        what::wake::run(options, &mut recorder)?;
    }
    if named("rearm") {
        what::rearm::run(options, &mut recorder)?;
    }
    if named("memory") {
        what::memory::run(options, &mut recorder)?;
    }
    if named("bulk") {
        what::bulk::run(options, &mut recorder)?;
    }
    if named("build") {
        what::build::run(options, &mut recorder)?;
    }
    // Not part of all: it needs servers that were built before.
    if options.what == "tokio" {
        known = true;
        what::tokio::run(options, &mut recorder)?;
    }
    if !known {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a benchmark; --help lists them", options.what),
        ));
    }
    Ok(())
}
