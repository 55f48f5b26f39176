//! The command line.

mod values;
mod watchers;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::values::{LARGEST_MESSAGE, clients, file, in_flight, message_bytes, seconds};
use self::values::{accounts, measured_seconds, operations, rate, some_seconds, threads};
pub(crate) use self::watchers::Watchers;
use crate::crowd::args::CrowdArgs;
use crate::files;
use crate::mix::Mix;
use crate::recipients::Distribution;
use crate::reports::ReportArgs;
use crate::span::{self, Span, TimeSpan};
use crate::tokens;
use crate::verify::args::VerifyArgs;

/// Measures how many messages a chat server acknowledges a second, and how fast
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

impl Args {
    /// Reads the command line; ends the program where it asks for help or is wrong.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::parsed(arguments).unwrap_or_else(|error| error.exit())
    }

    fn parsed(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = with_negative_numbers(Self::command());
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Prints the completions of a shell. Whoever stops reading has read enough.
pub(crate) fn print_completions(shell: Shell) -> Result<ExitCode, Box<dyn Error>> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "chat-load", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot print the completions: {error}").into())
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A negative number is a wrong value, to be told with the range, and no unknown option.
fn with_negative_numbers(command: Command) -> Command {
    let takes_value = |arg: &Arg| arg.get_action().takes_values() && !arg.is_positional();
    command
        .mut_args(|arg| if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg })
        .mut_subcommands(with_negative_numbers)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Serves the least a server must do, to compare with
    #[command(hide = true)]
    Floor(FloorArgs),
    Verify(Box<VerifyArgs>),
    Crowd(Box<CrowdArgs>),
    /// Prints a completion script: chat-load completions bash > /etc/bash_completion.d/chat-load
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The server, HOST:PORT; without a port, 8889 (redis and irc need one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8889")]
    pub(crate) server: String,
    /// Connections, each logged in as one of the accounts, in turn; at most 1,000,000
    ///
    /// A client that loses its connection stays away, and what it still had to do is not begun. Only one whose connection
    /// --churn has closed tries until it has another.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 100, value_parser = clients)]
    pub(crate) clients: usize,
    /// Requests each connection keeps in flight [default: 1, or up to 64 with --rate]
    ///
    /// The next leaves when one is answered. With --rate a request leaves when it is due, unless so many are in flight
    /// on its connection already. At most 65,536.
    #[arg(long, short = 'k', value_name = "K", value_parser = in_flight)]
    pub(crate) in_flight: Option<usize>,
    /// How long to measure, in seconds; 0 to log in and be done
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "5", value_parser = measured_seconds)]
    pub(crate) duration: Duration,
    /// How long to send before measuring, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Do this many operations in all, and measure from the first to the last
    #[arg(long, short = 'n', value_name = "N", value_parser = operations, conflicts_with_all = ["duration", "warmup"])]
    pub(crate) count: Option<u64>,
    /// Threads to share the clients among; one is lightest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads)]
    pub(crate) threads: usize,
    /// The server's process, to report what it uses
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// How long to wait for a connection, a login or the last replies, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    pub(crate) timeout: Duration,
    /// Seed of all that is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    // Groups come last: what follows one would stand under its heading.
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    pub(crate) accounts: AccountArgs,
    #[command(flatten)]
    pub(crate) sessions: SessionArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

impl LoadArgs {
    /// Makes sure that what is to be written can be, and that no two files are the same.
    pub(crate) fn check_files(&self) -> Result<(), Box<dyn Error>> {
        let named = [
            ("--users", &self.accounts.users),
            ("--tokens", &self.sessions.tokens),
            ("--save-tokens", &self.sessions.save_tokens),
            ("--hdr-log", &self.report.hdr_log),
            ("--html", &self.report.html),
        ];
        let named = named.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        files::all_differ(&named.collect::<Vec<_>>())?;
        self.sessions.save_tokens.as_deref().map(tokens::check).transpose()?;
        Ok(self.report.check()?)
    }
}

/// What the clients do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct ShapeArgs {
    /// Operations a second of all clients together, whether or not the server keeps up (an open loop)
    ///
    /// A latency then counts from when its operation was due, so that a server that stalls is charged for all that
    /// it kept waiting. Latencies are of the operations that were due in the measured time, however late the reply; done
    /// and refused, and so the rate, are what was answered in it. What was due and never begun is told, and makes the
    /// exit status 1. Without --rate each client goes on when it is answered (a closed loop).
    #[arg(long, short = 'r', value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Operations by weight: send, post, inbox and login, as in send=80,post=10,inbox=8,login=2
    ///
    /// A login checks the password again on the same connection; its session is ended at once.
    #[arg(long, value_name = "MIX", default_value = "send")]
    pub(crate) mix: Mix,
    /// Size of a message in bytes, or a range such as 20..500
    #[arg(long, short = 's', value_name = "BYTES", default_value = "100", value_parser = span::bytes)]
    pub(crate) size: Span,
    /// Who gets messages: uniform, zipf, or zipf:S, where the n-th account gets a share proportional to n^-S
    #[arg(long, value_name = "DISTRIBUTION", default_value = "uniform")]
    pub(crate) recipients: Distribution,
    /// Pause between a reply and the next request, in seconds, or a range such as 0.5..2
    #[arg(long, value_name = "SECONDS", value_parser = span::times, conflicts_with = "rate")]
    pub(crate) think: Option<TimeSpan>,
    /// Connections more that watch the first mailboxes and count pushes; N, or a share of --clients such as 10%
    ///
    /// Each is logged in as an account of its own. A push counts from when its send was due, or left.
    #[arg(long, value_name = "N", default_value = "0", value_parser = Watchers::parse)]
    pub(crate) watchers: Watchers,
    /// Send only to users who are logged in here, and have them read their mailboxes: before the run, and before they are full
    #[arg(long)]
    pub(crate) drain: bool,
    /// What the server speaks
    ///
    /// chat: all of docs/protocol.md. old: only what existed before it (one request in flight, no post, no watchers).
    /// To compare with: redis adds the same messages to a stream for each recipient (XADD); irc sends them from nick
    /// to nick, each confirmed by the answer to a PING right behind it.
    #[arg(long, value_enum, default_value_t = Protocol::Chat, hide_possible_values = true)]
    pub(crate) protocol: Protocol,
}

/// How connections come and go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct ConnectionArgs {
    /// Spread connecting and logging in over so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) ramp: Duration,
    /// Close so many connections a second and make them anew with the same token (as in 50 or 50/s)
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) churn: Option<f64>,
}

/// Sessions made beforehand.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sessions")]
pub(crate) struct SessionArgs {
    /// Use the sessions in a CSV file with the header `username,token`, in turn, in place of logging in
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// Save the sessions of all clients for --tokens, which would end with the run otherwise; with -d 0 that is all
    #[arg(long, value_name = "FILE", conflicts_with = "tokens", value_parser = file)]
    pub(crate) save_tokens: Option<PathBuf>,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Chat,
    Old,
    Redis,
    Irc,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Old => "old",
            Self::Redis => "redis",
            Self::Irc => "irc",
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Accounts")]
pub(crate) struct AccountArgs {
    /// Accounts from a file as `chatd user import` takes it: CSV with the header `username,password`, or JSON lines with
    /// these keys; more of them are ignored
    #[arg(long, value_name = "FILE", conflicts_with = "user_prefix")]
    pub(crate) users: Option<PathBuf>,
    /// Accounts named PREFIX0, PREFIX1, ... that share a password
    #[arg(long, value_name = "PREFIX", requires = "user_count")]
    pub(crate) user_prefix: Option<String>,
    /// How many accounts --user-prefix stands for
    #[arg(long, value_name = "N", requires = "user_prefix", value_parser = accounts)]
    pub(crate) user_count: Option<usize>,
    /// The first line of a file is the password of the --user-prefix accounts; without it, CHAT_PASSWORD of the environment is
    #[arg(long, value_name = "FILE", requires = "user_prefix")]
    pub(crate) password_file: Option<PathBuf>,
    /// The same on the command line, where everybody on this machine can read it: for accounts made for a test
    #[arg(
        long,
        value_name = "PASSWORD",
        requires = "user_prefix",
        conflicts_with = "password_file"
    )]
    pub(crate) password: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// What to do with a line before it is answered
    #[arg(value_enum)]
    pub(crate) kind: FloorKind,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The file that `durable` appends to
    #[arg(long, value_name = "FILE", required_if_eq("kind", "durable"))]
    pub(crate) file: Option<PathBuf>,
    /// How long `hash` runs, in seconds
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// How many threads `hash` runs on [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FloorKind {
    /// Answer it
    Echo,
    /// Append it to a file and sync
    Durable,
    /// Serve nothing: hash passwords as a login does, and print how many a second
    Hash,
}

/// The arguments, `--verify` taken for the mode that it names, wherever it stands before a `--`.
pub(crate) fn with_verify_as_mode(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    let own = arguments.iter().take_while(|argument| *argument != "--");
    if let Some(place) = own.into_iter().position(|argument| argument == "--verify") {
        arguments.remove(place);
        arguments.insert(1, "verify".into());
    }
    arguments
}

const EXAMPLES: &str = "\
Examples:
  chat-load --drain                               100 clients on the accounts of `chatd --demo`
  chat-load --drain -k 16 --pid $(pidof -s chatd) 16 in flight each, and what they cost the server
  chat-load --users accounts.csv -n 1000000       a million messages over the accounts in a file
  chat-load --users accounts.csv -c 500 --rate 20000 -d 60
                                                  20,000 a second for a minute, come what may
  chat-load --users accounts.csv --mix send=80,post=10,inbox=8,login=2 --think 0.5..2 --watchers 10%
                                                  people: they think, read, log in again and watch
  chat-load --user-prefix u --user-count 1000000 --password-file secret --recipients zipf -s 20..500
                                                  a million accounts, some of them popular
  chat-load -c 10000 --users accounts.csv -d 0 --save-tokens tokens.csv
  chat-load -c 10000 --tokens tokens.csv --ramp 5 --churn 200
                                                  log in once; connections come and go
  chat-load --protocol old --drain --server 127.0.0.1:8889
                                                  only the commands that existing servers know
  chat-load verify --help                         how to see that nothing is lost
  chat-load crowd --help                          thousands of connections, and their memory

A mailbox takes 10,000 undelivered messages by default and refuses what comes after (inbox_full).
Spread the load over enough accounts, have it read (--mix, --watchers), or use --drain.

Exit status: 0 when every operation was acknowledged, 1 when one was not, or not begun, or the
server or a file cannot be used, 2 for options that do not do, 130 when Ctrl-C or SIGTERM cut the
run short: what was measured until then is reported all the same; a second Ctrl-C ends at once.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        with_negative_numbers(Args::command()).debug_assert();
    }

    #[test]
    fn options_of_no_group_stand_under_no_heading() {
        let command = Args::command();
        let modes = ["crowd", "verify"].map(|mode| command.find_subcommand(mode).unwrap());
        for command in modes.into_iter().chain([&command]) {
            for name in ["server", "clients", "timeout", "seed"] {
                let option = command.get_arguments().find(|arg| arg.get_id() == name).unwrap();
                assert_eq!(option.get_help_heading(), None, "{name} of {}", command.get_name());
            }
        }
    }

    #[test]
    fn help_that_is_laid_out_by_hand_fits_the_width_to_which_the_rest_is_wrapped() {
        let command = Args::command();
        let modes = ["crowd", "verify"].map(|mode| command.find_subcommand(mode).unwrap());
        for command in modes.into_iter().chain([&command]) {
            let help = command.get_after_help().unwrap().to_string();
            let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{long:?} of {}", command.get_name());
        }
    }

    #[test]
    fn verify_is_a_mode_and_an_option() {
        let line =
            ["chat-load", "-c", "3", "--verify", "--", "chatd", "--verify"].map(OsString::from);
        let arguments = with_verify_as_mode(line.into_iter());
        let args = Args::try_parse_from(arguments).unwrap();
        let Some(Mode::Verify(args)) = args.mode else { panic!("{args:?}") };
        assert_eq!((args.clients, args.command), (3, vec!["chatd".into(), "--verify".into()]));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &["--clients", "0"][..],
            &["--duration", "-1"],
            &["--duration", "soon"],
            &["--count", "5", "--duration", "1"],
            &["--user-prefix", "u"],
            &["--user-prefix", "u", "--user-count", "2", "--password", "p", "--password-file", "f"],
            &["--password-file", "f"],
            &["--rate", "0"],
            &["--rate", "inf"],
            &["--rate", "5", "--think", "1"],
            &["--watchers", "101%"],
            &["--mix", "read=1"],
            &["--protocol", "smtp"],
            &["--tokens", "a", "--save-tokens", "b"],
            &["--html", "-"],
            &["--save-tokens", "-"],
            &["floor", "durable"],
            &["verify", "--kill-server"],
            &["verify", "--rounds", "3"],
            &["verify", "--setup", "true"],
            &["verify", "--kill-every", "1s", "--", "chatd"],
        ] {
            let line = std::iter::once(&"chat-load").chain(bad);
            assert!(Args::try_parse_from(line).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_told_with_the_range() {
        for (line, range) in [
            ("-c 0", "from 1 to 1000000"),
            ("-c 99999999999", "from 1 to 1000000"),
            ("-k 100000000", "from 1 to 65536"),
            ("-n 0", "from 1 to "),
            ("-n -3", "from 1 to "),
            ("--user-prefix u --user-count 0", "from 1 to "),
            ("-d nan", "from 0.001 to 31536000, or 0"),
            ("-d 1e-9", "from 0.001 to 31536000, or 0"),
            ("-d -1", "from 0.001 to 31536000, or 0"),
            ("--timeout 0", "from 0.001 to 31536000"),
            ("--warmup inf", "from 0 to 31536000"),
            ("--rate -5", "from 0.001 to 1000000000"),
            ("--churn 1e-300", "from 0.001 to 1000000000"),
            ("crowd -c -5", "from 1 to 1000000"),
            ("crowd -c 1000001", "from 1 to 1000000"),
            ("crowd --coming 0", "from 1 to 1000000"),
            ("crowd -s 99999999999", "from 1 to 16777216"),
            ("verify -c 1000001", "from 1 to 1000000"),
            ("verify -k 65537", "from 1 to 65536"),
            ("verify -s 99999999999", "from 1 to 16777216"),
        ] {
            let line = std::iter::once("chat-load").chain(line.split(' '));
            let error = Args::parsed(line.map(OsString::from)).unwrap_err().to_string();
            assert!(error.contains("invalid value") && error.contains(range), "{error}");
        }
    }
}
