//! The command line of `crowd`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::entry::Kind;
use crate::args::{AccountArgs, clients, message_bytes, seconds};
use crate::plan::{CHAT_PORT, with_port};

/// Opens many connections at once: what one costs a server, how fast all are let in, and whether each gets its share
///
/// All clients connect as fast as they are let in and ask `whoami` with tokens made beforehand (see --entry). Then they are
/// silent for a while, and the memory of the server's process is read (--pid). Then each sends to random others, one message at a time. Then
/// all leave, and the server's memory is followed until it is back at what it was before they came.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CrowdArgs {
    /// The server, HOST:PORT; without a port, 8889 (--entry irc needs one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8889")]
    pub(crate) server: String,
    /// Clients; each is one connection with a session of one of the accounts, in turn; at most 1,000,000
    #[arg(long, short = 'c', value_name = "N", default_value_t = 400, value_parser = clients)]
    pub(crate) clients: usize,
    /// Sessions in a CSV file with the header `username,token`, one for each client. If it is not there, the clients are
    /// logged in and it is made, readable for its owner alone
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// What each client says first, and is let in by
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Kind::Whoami)]
    pub(crate) entry: Kind,
    /// Make the file of --tokens, and end
    #[arg(long, requires = "tokens")]
    pub(crate) log_in_only: bool,
    /// Let this many come first and measure the memory they take, before the others come
    #[arg(long, value_name = "N", value_parser = clients, requires = "pid")]
    pub(crate) first: Option<usize>,
    /// How many may be on their way in, connecting or waiting for their answer, at the same time
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clients)]
    pub(crate) coming: usize,
    /// Addresses of this machine to connect from, in turn: one has ports for some 28,000 connections
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',')]
    pub(crate) from: Vec<IpAddr>,
    /// The server's process on this machine, to measure its memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// How long all are silent before memory is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) settle: Duration,
    /// How long all send, in seconds; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) talk: Duration,
    /// Size of a message, in bytes
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = 100, value_parser = message_bytes)]
    pub(crate) size: usize,
    /// How long to follow the server's memory when all have left, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) follow: Duration,
    /// How long to wait for a connection or an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Seed of the random choice of recipients
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one JSON object in place of the summary (docs/chat-load.md says what is in it)
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) accounts: AccountArgs,
    #[command(flatten)]
    pub(crate) bounds: BoundArgs,
}

impl CrowdArgs {
    /// The server, with its port.
    pub(super) fn address(&self) -> String {
        let usual = (self.entry != Kind::Irc).then_some(CHAT_PORT);
        with_port(&self.server, usual)
    }

    /// What fits together.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if self.entry == Kind::Irc && !self.talk.is_zero() {
            return Err(OptionsError::IrcTalks);
        }
        Ok(())
    }
}

/// Options that do not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("--entry irc goes with --talk 0: the crowd talks to chat servers only")]
    IrcTalks,
}

/// What makes a run fail.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "Bounds, each of which fails the run when it is missed")]
pub(crate) struct BoundArgs {
    /// All clients are answered within this time, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) answered_within: Option<Duration>,
    /// While they come, the server never goes longer without letting another one in, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) longest_pause: Option<Duration>,
    /// A silent connection takes at most so much of the process's memory (PSS), in bytes
    ///
    /// Where memory did not grow, as with few clients, that cannot be told, and the bound counts as missed.
    #[arg(long, value_name = "BYTES", requires = "pid")]
    pub(crate) bytes_per_client: Option<f64>,
    /// The slowest client's rate is at least this part of the median's, 0 to 1
    #[arg(long, value_name = "RATIO")]
    pub(crate) fairness: Option<f64>,
    /// When all have left, resident memory is back for good within this time, in seconds, at what it was before they
    /// came, and 10 % and 10 MB more
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "pid")]
    pub(crate) back_within: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  chat-load crowd --users accounts.csv -c 5000 --pid $(pidof -s chatd)
      5000 clients, logged in first, and what each costs the server
  chat-load crowd --users accounts.csv -c 19000 --tokens tokens.csv --log-in-only
  chat-load crowd -c 19000 --tokens tokens.csv --pid $(pidof -s chatd) \\
      --answered-within 10 --bytes-per-client 2000 --fairness 0.33
      the sessions made beforehand, then a crowd held to three bounds
  chat-load crowd --entry irc --server localhost:6667 -c 5000 --talk 0 --pid $(pidof ngircd)

Unless told otherwise by --entry, the server must know `whoami`. An account has at most 100
sessions, so N clients take N / 100 accounts; and as a mailbox takes 10,000 undelivered messages by
default and refuses what comes after (inbox_full), it is better to have as many accounts as clients,
or --talk 0.

What is reported:
  arrival      from the first connection to the last answer; how long a client waited for its
               connection and for its answer; the longest time in which nobody was answered
  memory       proportional (PSS) and resident (RSS) size of the server's process
  talk         answered messages a second of one client; fairness is the slowest client's rate
               over the median's

Exit status: 0 when all clients were served and all bounds kept, 1 when not, or when the server or a
file cannot be used, 2 for options that do not do, 130 when Ctrl-C or SIGTERM cut it short: what was
measured until then is reported all the same; a second Ctrl-C ends at once.";
