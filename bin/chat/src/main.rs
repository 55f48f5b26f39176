//! A chat client for the terminal and for scripts.

mod args;
mod connections;
mod failure;
mod history;
mod interactive;
mod json;
mod lines;
mod oneshot;
mod password;
mod phrases;
mod privacy;
mod state;
mod text;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Args, Cmd};
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = Args::from_command_line();
    let json = args.command.as_ref().is_some_and(Cmd::json);
    match run(args) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(exit)) => exit.into(),
        Err(failure) => {
            report(&failure, json);
            failure.exit().into()
        }
    }
}

fn run(args: Args) -> Result<Option<Exit>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let outcome = match args.command {
        None => interactive::run(&runtime, &args.server),
        Some(Cmd::Completions { shell }) => {
            clap_complete::generate(shell, &mut Args::command(), "chat", &mut io::stdout());
            Ok(None)
        }
        Some(command) => runtime.block_on(oneshot::run(command, &args.server)).map(|()| None),
    };
    // A line handed to an editor that has ended would be waited for.
    runtime.shutdown_background();
    outcome
}

/// To standard error. If that fails too, the exit code still says it.
fn report(failure: &Failure, json: bool) {
    let line = if json {
        text::ascii_json(&failure.as_json()).unwrap_or_default()
    } else {
        format!("chat: {}", failure.message())
    };
    let _ = writeln!(io::stderr(), "{line}");
}
