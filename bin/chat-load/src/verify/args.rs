//! The command line of `verify`.

use std::ffi::OsString;
use std::time::Duration;

use clap::ValueEnum;

use super::schedule::{Between, duration};
use crate::args::{AccountArgs, clients, in_flight, message_bytes};

/// Checks that a server loses nothing, doubles nothing and keeps the order, while faults happen
///
/// Clients send tagged messages to each other and read them back through `inbox`, `peek` and `watch` in turn. Meanwhile
/// the server is killed and started again (--kill-server), connections are cut (--drop-connections) and readers stop
/// reading for a while (--pause). In the end every mailbox is read until it is empty, and the verdict is given.
/// `chat-load --verify` means the same.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// What messages are sent with
    #[arg(long, value_enum, default_value_t = Mode::Post)]
    pub(crate) mode: Mode,
    /// The server, HOST:PORT; without a port, 8889. Without this option: where COMMAND says that it listens, else 127.0.0.1:8889
    #[arg(long, value_name = "ADDR")]
    pub(crate) server: Option<String>,
    /// Clients; each has one connection to send and one to read, and is one of the accounts, in turn; at most 1,000,000
    #[arg(long, short = 'c', value_name = "N", default_value_t = 100, value_parser = clients)]
    pub(crate) clients: usize,
    /// Messages each client has under way; at most 65,536
    #[arg(long, short = 'k', value_name = "K", default_value_t = 4, value_parser = in_flight)]
    pub(crate) in_flight: usize,
    /// Size of a message, in bytes
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = 100, value_parser = message_bytes)]
    pub(crate) size: usize,
    /// A shell command that makes the accounts before the server is started: it gets them on stdin, as CSV. Without
    /// other accounts these are verify0, verify1, ..., one a client
    #[arg(long, value_name = "COMMAND", requires = "command")]
    pub(crate) setup: Option<String>,
    /// Kill the server (SIGKILL) again and again, and start it anew by COMMAND
    #[arg(long, requires = "command")]
    pub(crate) kill_server: bool,
    /// How long the server lives until it is killed
    #[arg(long, value_name = "TIME", default_value = "300ms..2s", requires = "kill_server")]
    pub(crate) kill_every: Between,
    /// Cut connections, most by a reset, when they are so old
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "100ms..3s")]
    pub(crate) drop_connections: Option<Between>,
    /// Have readers stop reading for so long every now and then
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "50ms..1500ms")]
    pub(crate) pause: Option<Between>,
    /// End the load when the server was killed and came back so often
    #[arg(long, value_name = "N", requires = "kill_server")]
    pub(crate) rounds: Option<u32>,
    /// End the load after this many seconds (10, unless --rounds says when)
    #[arg(long, short = 'd', value_name = "SECONDS", value_parser = crate::args::seconds)]
    pub(crate) seconds: Option<Duration>,
    /// How long anything may take that must happen: an answer, a start of the server, the end of the load
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Seed of all choices: the same seed gives the same schedule of faults. Random, and told, unless given
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print one JSON object in place of the summary (docs/chat-load.md says what is in it)
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) accounts: AccountArgs,
    /// What serves, if this program is to start (and end) it
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What messages are sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// `post`, repeated under the same key until it is answered
    Post,
    /// `send`, never repeated: a message whose sending was not answered may be there or not
    Send,
}

const EXAMPLES: &str = "\
Verdicts:
  lost        a message whose sending was answered is not there
  duplicated  a message has two ids, an id has two messages, or an id was given
              again after its `ack` (or what else confirms it) was answered;
              given again before, it counts as redelivered, which is no fault
  reordered   of one sending connection and one recipient, ids are not in the
              order of the answers
  hole        an id is missing, and no `gap` was announced
  invented    a message is there that was never sent
The first fault ends the run, and all that happened to its message is told.

Examples:
  chat-load verify -c 20
      the demo accounts of a local server, without faults
  chat-load verify --kill-server --rounds 20 \\
      --setup 'chatd user import - --data D' -- \\
      chatd --data D --listen 127.0.0.1:0
      a server of its own on the new directory D, killed 20 times
  chat-load verify --drop-connections --pause --users accounts.csv \\
      --seconds 60 --server host:8889
      a server somewhere else, over a bad network

TIME is written as 250ms, 1.5s or 2m, and a span to choose from as 300ms..2s.

The accounts' mailboxes are emptied first: what they hold counts as delivered.
A run takes about 150 bytes of memory a message; after 20 million messages
nothing more is sent.

Ctrl-C ends the load early, and the verdict is given on what was done until
then. A second one ends everything.

Exit status: 0 when all promises were kept, 1 when one was broken, 2 when that
could not be found out.";
