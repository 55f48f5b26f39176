//! `chatd config`: the configuration, shown and checked.

use std::path::PathBuf;

use crate::args::{Args, ConfigCommand};
use crate::config;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::terminal::{print, say};

pub(crate) fn run(
    command: ConfigCommand,
    args: &Args,
    environment: &Environment,
) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show => show(args, environment),
        ConfigCommand::Check { file } => check(file, args, environment),
    }
}

fn show(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let mut config = args.load(environment)?.config;
    config.data = config.data.or_else(|| environment.default_data_directory());
    print(&config::render(&config))
}

fn check(file: Option<PathBuf>, args: &Args, environment: &Environment) -> Result<(), Failure> {
    let file = match file {
        Some(file) => {
            config::check_file(&file)?;
            Some(file)
        }
        None => args.load(environment)?.file,
    };
    match file {
        Some(file) => say(format_args!("{}: ok", file.display())),
        None => say("there is no config file; the defaults apply"),
    }
    Ok(())
}
