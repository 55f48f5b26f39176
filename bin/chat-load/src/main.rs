//! A load tester for chat servers.
//!
//! Every client sends to random other users and waits for the server's own confirmation of each send, so the rate
//! it reports is one of acknowledged messages. `chat-load --help` explains the options.

mod accounts;
mod args;
mod bare_hash;
mod body;
mod client;
mod crowd;
mod dialect;
mod floor;
mod irc;
mod login;
mod mix;
mod outcome;
mod pacing;
mod plan;
mod process;
mod progress;
mod recipients;
mod replies;
mod reports;
mod run;
mod schedule;
mod span;
mod tally;
mod tokens;
mod verify;
mod watcher;
mod window;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Mode};
use reports::Figures;

fn main() -> ExitCode {
    let args = Args::parse_from(args::with_verify_as_mode(std::env::args_os()));
    let outcome = match args.mode {
        Some(Mode::Verify(args)) => return verify::verify(&args),
        Some(Mode::Crowd(args)) => crowd::crowd(&args),
        Some(Mode::Floor(floor)) => floor::run(&floor).map(|()| ExitCode::SUCCESS),
        None => load(&args.load),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing is left to tell it to if stderr is gone.
        let _ = writeln!(std::io::stderr(), "chat-load: {error}");
        ExitCode::FAILURE
    })
}

fn load(args: &args::LoadArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    args.report.check()?;
    let outcome = run::run(plan::Plan::new(args)?)?;
    let figures = Figures::new(&outcome);
    args.report.report(&outcome, &figures)?;
    Ok(if figures.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
