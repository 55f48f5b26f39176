//! A load tester for chat servers.
//!
//! Every client sends to random other users and waits for the server's own confirmation of each send, so the rate
//! it reports is one of acknowledged messages. `chat-load --help` explains the options.

mod accounts;
mod args;
mod client;
mod floor;
mod login;
mod outcome;
mod plan;
mod process;
mod replies;
mod report;
#[allow(dead_code, reason = "not filled yet")]
mod reports;
mod run;
mod tally;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Mode};

fn main() -> ExitCode {
    let args = Args::parse_from(args::with_verify_as_mode(std::env::args_os()));
    let outcome = match args.mode {
        Some(Mode::Verify(args)) => return verify::verify(&args),
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
    let plan = plan::Plan::new(args)?;
    let outcome = run::run(plan)?;
    let text = if args.json { outcome.to_json()? } else { outcome.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
