//! [`Plan`]: the command line, checked and made ready.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::args::{Mode, VerifyArgs};
use super::letter::Letters;
use super::schedule::Between;
use super::world::Rules;
use crate::accounts::{Account, Accounts, AccountsError};
use crate::plan::{CHAT_PORT, PlanError, resolve, with_port};
use crate::process;

/// What a run is to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rules: Rules,
    pub(crate) clients: u32,
    /// Those that are read from: no more than there are clients.
    pub(crate) accounts: Vec<Account>,
    pub(crate) letters: Letters,
    pub(crate) setup: Option<String>,
    /// What serves, if this program starts it.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) address: Option<SocketAddr>,
    /// How long the server lives, if it is killed.
    pub(crate) kills: Option<Between>,
    pub(crate) rounds: Option<u32>,
    pub(crate) time: Option<Duration>,
}

impl Plan {
    /// Checks what can be checked before anything is started.
    pub(crate) fn new(args: &VerifyArgs) -> Result<Self, PlanError> {
        let accounts = chosen_accounts(args)?;
        accounts.at_least_two()?;
        let accounts = accounts.first(args.clients.max(2));
        process::allow_open_files(args.clients.saturating_mul(2))?;
        let command = (!args.command.is_empty()).then(|| args.command.clone());
        let address = match (&args.server, &command) {
            (Some(server), _) => Some(resolve(&with_port(server, Some(CHAT_PORT)))?),
            (None, Some(_)) => None,
            (None, None) => Some(resolve(DEFAULT_SERVER)?),
        };
        let unlimited = args.seconds.is_none() && args.rounds.is_none();
        Ok(Self {
            rules: Rules {
                post: args.mode == Mode::Post,
                in_flight: args.in_flight,
                cuts: args.drop_connections,
                pauses: args.pause,
                patience: args.timeout,
                seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
            },
            // So many files cannot be open.
            clients: u32::try_from(args.clients.max(accounts.len())).unwrap_or(u32::MAX),
            accounts,
            // Not from the seed: the keys of an earlier run are still known.
            letters: Letters::new(fastrand::u32(..), args.size),
            setup: args.setup.clone(),
            command,
            address,
            kills: args.kill_server.then_some(args.kill_every),
            rounds: args.rounds,
            time: if unlimited { Some(DEFAULT_TIME) } else { args.seconds },
        })
    }
}

/// Those of the command line, or those that are made for the run.
fn chosen_accounts(args: &VerifyArgs) -> Result<Accounts, AccountsError> {
    let named = args.accounts.users.is_some() || args.accounts.user_prefix.is_some();
    if args.setup.is_some() && !named {
        return Ok(Accounts::Numbered {
            prefix: MADE_PREFIX.to_owned(),
            count: args.clients.max(2),
            password: MADE_PASSWORD.to_owned(),
        });
    }
    Accounts::new(&args.accounts)
}

const DEFAULT_SERVER: &str = "127.0.0.1:8889";
const DEFAULT_TIME: Duration = Duration::from_secs(10);
/// The accounts that `--setup` makes unless others are named.
const MADE_PREFIX: &str = "verify";
const MADE_PASSWORD: &str = "not-a-secret";
