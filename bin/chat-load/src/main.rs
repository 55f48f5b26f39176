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
mod files;
mod floor;
mod interrupt;
mod irc;
mod login;
mod machine;
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

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use args::{Args, Mode};
use interrupt::Interrupt;
use reports::Figures;
use run::RunError;

fn main() -> ExitCode {
    let args = Args::read(args::with_verify_as_mode(std::env::args_os()));
    let outcome = match args.mode {
        Some(Mode::Verify(args)) => return verify::verify(&args),
        Some(Mode::Crowd(args)) => crowd::crowd(&args),
        Some(Mode::Floor(floor)) => floor::run(&floor).map(|()| ExitCode::SUCCESS),
        Some(Mode::Completions { shell }) => args::print_completions(shell),
        None => load(&args.load),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing is left to tell it to if stderr is gone.
        let _ = writeln!(std::io::stderr(), "chat-load: {error}");
        if is_about_options(&*error) { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// Whether other options would help, rather than another server or machine.
fn is_about_options(error: &(dyn Error + 'static)) -> bool {
    error.is::<files::SameFile>()
        || crowd::is_about_options(error)
        || error.downcast_ref().is_some_and(plan::PlanError::is_about_options)
}

fn load(args: &args::LoadArgs) -> Result<ExitCode, Box<dyn Error>> {
    args.check_files()?;
    let plan = plan::Plan::new(args)?;
    let outcome = match run::run(plan, Interrupt::listen()?) {
        Err(error @ RunError::CutShort) => {
            let _ = writeln!(std::io::stderr(), "chat-load: {error}");
            return Ok(ExitCode::from(interrupt::STATUS));
        }
        outcome => outcome?,
    };
    let figures = Figures::new(&outcome);
    args.report.report(&outcome, &figures)?;
    Ok(match figures.is_clean() {
        _ if figures.cut_short => ExitCode::from(interrupt::STATUS),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
