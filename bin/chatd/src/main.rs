//! The chat daemon.
//!
//! * [`args`] the command line; [`config`] the config file and what overrides it; [`environment`] the variables;
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
mod listen;
mod logging;
mod open;
mod serve;
mod signals;
mod terminal;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command, Common, ConfigCommand, UserCommand};
use config::{ConfigError, Loaded, LogFilter};
use datadir::DataDir;
use environment::Environment;
use exit::{Exit, Failure};

fn main() -> ExitCode {
    // Whatever this program makes is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
            return code;
        }
    };
    match run(args, &Environment::of_process()) {
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
        Some(Command::Config(ConfigCommand::Show)) => show(&args, environment),
        Some(Command::Config(ConfigCommand::Check { file })) => check(file, &args, environment),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "chatd", &mut script);
            terminal::print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

fn serve(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let Loaded { config, file } = load(args, environment)?;
    logging::start(&config.log);
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "config");
    }
    let Common {
        data,
        control,
        demo,
        ..
    } = &args.common;
    let directory = DataDir::locate(&config, environment, *demo, data.is_some())?;
    directory.check_kind()?;
    let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
    runtime.block_on(serve::run(
        config,
        &directory,
        control.as_deref(),
        environment,
    ))
}

fn user(command: UserCommand, args: &Args, environment: &Environment) -> Result<(), Failure> {
    if !args.listen.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "--listen goes with serving, not with a command",
        ));
    }
    let Loaded { mut config, .. } = load(args, environment)?;
    if args.common.log.is_none() {
        config.log.level = LogFilter::quiet();
    }
    logging::start(&config.log);
    let Common {
        data,
        control,
        demo,
        ..
    } = &args.common;
    let directory = DataDir::locate(&config, environment, *demo, data.is_some())?;
    directory.check_kind()?;
    let runtime = runtime(tokio::runtime::Builder::new_current_thread())?;
    runtime.block_on(user::run(command, &config, &directory, control.as_deref()))
}

fn show(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let Loaded { mut config, .. } = load(args, environment)?;
    config.data = config.data.or_else(|| environment.default_data_directory());
    terminal::print(&config::render(&config));
    Ok(())
}

fn check(file: Option<PathBuf>, args: &Args, environment: &Environment) -> Result<(), Failure> {
    let file = match file {
        Some(file) => {
            config::check_file(&file)?;
            Some(file)
        }
        None => load(args, environment)?.file,
    };
    match file {
        Some(file) => terminal::say(format_args!("{}: ok", file.display())),
        None => terminal::say("there is no config file; the defaults apply"),
    }
    Ok(())
}

fn load(args: &Args, environment: &Environment) -> Result<Loaded, Failure> {
    Ok(config::load(
        args.common.config.as_deref(),
        environment,
        args.overrides(),
    )?)
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::System, format!("cannot start: {error}")))
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
