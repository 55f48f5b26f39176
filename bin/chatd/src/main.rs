//! The chat daemon.
//!
//! * [`args`] the command line; [`config`] the config file and what overrides it, [`inspect`] a look at it;
//!   [`environment`] the variables;
//! * [`mod@serve`] the daemon itself: [`files`] and [`listen`] before it starts, [`signals`] to end it;
//! * [`datadir`] and [`open`] the store's directory and the store; [`demo`] one to play with;
//! * [`control`] how commands reach a running daemon; [`mod@user`] the commands about accounts;
//! * [`exit`] what went wrong and its exit code; [`terminal`] and [`logging`] what people see.

mod args;
mod config;
mod control;
mod datadir;
mod demo;
mod environment;
mod exit;
mod files;
mod inspect;
mod listen;
mod logging;
mod open;
mod serve;
mod signals;
mod terminal;
mod user;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command, UserCommand};
use config::{Loaded, LogFilter};
use environment::Environment;
use exit::{Exit, Failure};

/// Of a crowd that came and went this one keeps the least: what is free goes back to the system within seconds, by a thread
/// of its own. A durable send costs as little CPU as with mimalloc and 15 % less than with the system's allocator
/// (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Whatever this program makes is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            let _ = error.print();
            return Exit::Usage.into();
        }
        Err(help) => return end(terminal::print_styled(&help)),
    };
    end(run(args, &Environment::of_process()))
}

fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(&failure);
            failure.exit.into()
        }
    }
}

fn run(mut args: Args, environment: &Environment) -> Result<(), Failure> {
    match args.command.take() {
        None => serve(&args, environment),
        Some(Command::User(command)) => user(command, &args, environment),
        Some(Command::Config(command)) => inspect::run(command, &args, environment),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "chatd", &mut script);
            terminal::print(&String::from_utf8_lossy(&script))
        }
    }
}

fn serve(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let Loaded { config, file } = args.load(environment)?;
    logging::start(&config.log, environment);
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "config");
    }
    let directory = args.directory(&config, environment)?;
    let control = args.common.control.as_deref();
    let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
    let outcome = runtime.block_on(serve::run(config, &directory, control, environment));
    // What still runs, a store that did not finish opening, has nothing to lose.
    runtime.shutdown_background();
    outcome
}

fn user(command: UserCommand, args: &Args, environment: &Environment) -> Result<(), Failure> {
    if !args.listen.is_empty() {
        let why = "--listen goes with serving, not with a command";
        return Err(Failure::new(Exit::Usage, why));
    }
    let Loaded { mut config, .. } = args.load(environment)?;
    if args.common.log.is_none() {
        config.log.level = LogFilter::quiet();
    }
    logging::start(&config.log, environment);
    let directory = args.directory(&config, environment)?;
    let control = args.common.control.as_deref();
    let runtime = runtime(tokio::runtime::Builder::new_current_thread())?;
    runtime.block_on(user::run(command, &config, &directory, control))
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::System, format!("cannot start: {error}")))
}
