//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::crowd::args::CrowdArgs;
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

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Serves the least a server must do, to compare with
    #[command(hide = true)]
    Floor(FloorArgs),
    Verify(Box<VerifyArgs>),
    Crowd(Box<CrowdArgs>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The server, HOST:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8889")]
    pub(crate) server: String,
    /// Connections, each logged in as one of the accounts, in turn
    #[arg(long, short = 'c', value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) clients: usize,
    /// Requests each connection keeps in flight; the next leaves when one is answered
    #[arg(long, short = 'k', value_name = "K", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) in_flight: usize,
    /// How long to measure, in seconds
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// How long to send before measuring, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Send this many messages in all, and measure from the first to the last
    #[arg(long, short = 'n', value_name = "N", conflicts_with_all = ["duration", "warmup"])]
    pub(crate) count: Option<u64>,
    /// Size of a message, in bytes
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) accounts: AccountArgs,
    /// Send only to users who are logged in here, and have them read their mailbox when it is full
    #[arg(long)]
    pub(crate) drain: bool,
    /// Threads to share the clients among; one is lightest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) threads: usize,
    /// The server's process, to report its CPU time per send
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// How long to wait for a connection, a login or the last replies, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Seed of the random choice of recipients
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one JSON object in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    /// Accounts from a CSV file with the header `username,password` (more columns are ignored)
    #[arg(long, value_name = "FILE", conflicts_with = "user_prefix")]
    pub(crate) users: Option<PathBuf>,
    /// Accounts named PREFIX0, PREFIX1, ... that share --password
    #[arg(long, value_name = "PREFIX", requires_all = ["user_count", "password"])]
    pub(crate) user_prefix: Option<String>,
    /// How many accounts --user-prefix stands for
    #[arg(long, value_name = "N", requires = "user_prefix", value_parser = at_least_two)]
    pub(crate) user_count: Option<usize>,
    /// The password of the --user-prefix accounts
    #[arg(long, value_name = "PASSWORD", requires = "user_prefix")]
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FloorKind {
    /// Answer it
    Echo,
    /// Append it to a file and sync
    Durable,
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

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("not a number of seconds: {text}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    at_least(1, text)
}

fn at_least_two(text: &str) -> Result<usize, String> {
    at_least(2, text)
}

fn at_least(least: usize, text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("expected a number of at least {least}")),
    }
}

const EXAMPLES: &str = "\
Examples:
  chat-load                                       100 clients on the demo accounts of a local server
  chat-load -c 100 -k 16 --pid $(pidof chatd)     16 in flight each, and what they cost the server
  chat-load --users accounts.csv -n 1000000       a million messages over the accounts in a file
  chat-load verify --help                         how to see that nothing is lost
  chat-load crowd --help                          thousands of connections, and their memory

A mailbox takes 10,000 undelivered messages by default and refuses what comes after (inbox_full).
Spread the load over enough accounts, or use --drain.

Exit status: 0 when every send was acknowledged, 1 when one was not or the server cannot be used, 2 for bad options.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
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
}
