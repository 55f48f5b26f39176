//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Config, ListenAddr, Loaded, LogFilter, LogFormat, Overrides};
use crate::datadir::DataDir;
use crate::environment::Environment;
use crate::exit::Failure;

/// The chat daemon: keeps people's messages safe and hands them on.
///
/// Without a command it serves, until it gets SIGINT or SIGTERM: then it answers what it has read, syncs and ends. A
/// second signal ends it at once.
#[derive(Debug, Parser)]
#[command(name = "chatd", version, after_help = FIRST_STEPS, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct Args {
    /// Where to listen; may be given several times; port 0 takes a free one [env: CHATD_LISTEN, comma-separated]
    /// [default: 127.0.0.1:8889]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Vec<ListenAddr>,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What every command understands.
#[derive(Debug, ClapArgs)]
pub(crate) struct Common {
    /// The data directory, made with mode 0700 [env: CHATD_DATA] [default: $STATE_DIRECTORY, or the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The config file [env: CHATD_CONFIG] [default: chatd.toml in $CONFIGURATION_DIRECTORY or the user's config directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Use a store of its own with four accounts whose passwords everybody knows; only on loopback
    #[arg(long, global = true)]
    pub(crate) demo: bool,
    /// The control socket: where the daemon makes it, and where commands look for it [default: control.sock in the data
    /// directory, which may lead elsewhere]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// What to log: off, error, warn, info, debug, trace, or directives as in info,chat_server=debug [env: CHATD_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<LogFilter>,
    /// How log lines look [env: CHATD_LOG_FORMAT]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, change, list and remove accounts, whether the daemon runs or not
    #[command(subcommand)]
    User(UserCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script: chatd completions bash > /etc/bash_completion.d/chatd
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in effect as commented TOML that can be fed back
    Show,
    /// Check a config file and say what is wrong with it
    Check {
        /// The file [default: the one that would be used]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account; asks for its password
    Add {
        /// 1 to 64 of ASCII letters, digits, '.', '_' and '-'
        user: String,
        /// The full name, as other people see it [default: the username]
        #[arg(long, value_name = "FULL")]
        name: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set a new password, which ends all the user's sessions
    Passwd {
        /// Whose
        user: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Change the username, the full name, or both
    #[command(group(clap::ArgGroup::new("new").required(true).multiple(true)))]
    Rename {
        /// Whose
        user: String,
        /// The new username
        #[arg(long, value_name = "NEW", group = "new")]
        username: Option<String>,
        /// The new full name
        #[arg(long, value_name = "FULL", group = "new")]
        name: Option<String>,
    },
    /// Remove an account with its sessions and undelivered messages; its username stays reserved
    Remove {
        /// Whose
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Free the username of a removed account, so that it can be taken again
    Release {
        /// The username
        user: String,
    },
    /// List all accounts, removed ones too
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Make many accounts from a file, all of them or none
    ///
    /// The file is CSV with the header `username,name,password`, or JSON lines with the same keys. In place of
    /// `password` there may be `phc`, a ready Argon2id hash ($argon2id$...). An empty or missing name means the
    /// username.
    Import {
        /// The file, or - for stdin
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of stdin instead of asking
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

impl Args {
    /// The config in effect.
    pub(crate) fn load(&self, environment: &Environment) -> Result<Loaded, Failure> {
        let file = self.common.config.as_deref();
        Ok(config::load(file, environment, self.overrides())?)
    }

    /// The data directory in effect, which is of the kind that is asked for.
    pub(crate) fn directory(
        &self,
        config: &Config,
        environment: &Environment,
    ) -> Result<DataDir, Failure> {
        let Common { data, demo, .. } = &self.common;
        let directory = DataDir::locate(config, environment, *demo, data.is_some())?;
        directory.check_kind()?;
        Ok(directory)
    }

    /// What the flags say in place of the config file.
    fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            data: self.common.data.clone(),
            level: self.common.log.clone(),
            format: self.common.log_format,
        }
    }
}

const FIRST_STEPS: &str = "\
First steps:
  chatd --demo                     a server to try out, with accounts ready
  chatd user add messi             make an account (asks for the password)
  chatd                            serve on 127.0.0.1:8889";

const AFTER_LONG_HELP: &str = "\
First steps:
  chatd --demo                     a server to try out, with accounts ready
  chatd user add messi             make an account (asks for the password)
  chatd                            serve on 127.0.0.1:8889

Configuration: defaults, under the config file, under the environment, under
the command line. All of it is read at the start; there is no reload.
`chatd config show` prints every key with its meaning and default.

Exit codes:
  0    done; a clean end after SIGINT or SIGTERM
  64   wrong command line or config
  65   what was given breaks a rule (an import file, a password, a taken
       username); nothing was changed
  66   a file to read (the config, an import), or the data directory, is not
       there or cannot be read
  67   no such user
  69   an address cannot be listened on; the running daemon does not answer as
       it should
  70   a fault in the program
  71   the system refuses something that is needed
  73   the data directory, or the control socket, cannot be made or used; or
       what is in it is damaged: put back a backup
  74   the disk refuses: to be read, a change, of which it is not known whether
       it took place, or the output; or files of the store were deleted under
       the daemon, and it ended without them
  75   the data directory is in use by another process, or the server is busy:
       try again
  77   the files belong to somebody else
  130, 143   ended at once by a second SIGINT or SIGTERM";
