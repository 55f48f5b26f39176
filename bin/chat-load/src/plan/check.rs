//! What is wrong with a command line.

use crate::accounts::{Accounts, AccountsError};
use crate::args::{LoadArgs, Protocol};
use crate::body::STAMP_BYTES;
use crate::outcome::Kind;
use crate::process::{OpenFilesError, ProcessError};
use crate::tokens::TokensError;

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    OpenFiles(#[from] OpenFilesError),
    #[error("cannot find {server}: {reason} (expected HOST:PORT, as in 127.0.0.1:8889)")]
    Address { server: String, reason: String },
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("--drain needs at least two clients, who read what they send each other")]
    NobodyDrains,
    #[error("--protocol irc needs at least two clients, who send to each other")]
    NobodyListens,
    #[error("--protocol {protocol} knows no {what}: leave it out, or use --protocol chat")]
    Unknown { protocol: &'static str, what: &'static str },
    #[error("--protocol old answers one request at a time: leave out --in-flight")]
    NoPipeline,
    #[error("{watchers} watchers need an account each, and there are {accounts}")]
    TooManyWatchers { watchers: usize, accounts: usize },
    #[error(
        "with --watchers a message holds the time it was sent: it needs --size {STAMP_BYTES} or more"
    )]
    NoRoomForTime,
    #[error(
        "a login in --mix needs passwords, and --tokens has none: name its accounts with --users or --user-prefix, too"
    )]
    NoPasswords,
}

impl PlanError {
    /// Whether options do not go together.
    pub(crate) fn is_about_options(&self) -> bool {
        match self {
            Self::Accounts(error) => error.is_about_options(),
            Self::Tokens(_) | Self::OpenFiles(_) | Self::Address { .. } | Self::Process(_) => false,
            _ => true,
        }
    }
}

/// What does not go together, or not with what the server speaks.
pub(super) fn check(
    args: &LoadArgs,
    watchers: usize,
    accounts: &Accounts,
) -> Result<(), PlanError> {
    let (shape, protocol) = (&args.shape, args.shape.protocol);
    let unknown = |what| PlanError::Unknown { protocol: protocol.name(), what };
    if let Some(kind) = shape.mix.first_besides(known_kinds(protocol)) {
        return Err(unknown(kind.name()));
    }
    let has_sessions = matches!(protocol, Protocol::Chat | Protocol::Old);
    let wants_sessions = args.sessions.tokens.is_some() || args.sessions.save_tokens.is_some();
    let have_passwords = args.accounts.users.is_some() || args.accounts.user_prefix.is_some();
    match protocol {
        _ if watchers > 0 && protocol != Protocol::Chat => Err(unknown("watchers")),
        _ if !has_sessions && wants_sessions => Err(unknown("tokens")),
        _ if !has_sessions && shape.drain => Err(unknown("inbox, so nothing for --drain")),
        Protocol::Old if args.in_flight.is_some_and(|count| count > 1) => {
            Err(PlanError::NoPipeline)
        }
        Protocol::Irc if args.connections.churn.is_some() => {
            Err(unknown("churn, since who is away is sent nothing"))
        }
        Protocol::Irc if args.clients < 2 => Err(PlanError::NobodyListens),
        _ if watchers > accounts.len() => {
            Err(PlanError::TooManyWatchers { watchers, accounts: accounts.len() })
        }
        _ if watchers > 0 && shape.size.low() < STAMP_BYTES => Err(PlanError::NoRoomForTime),
        _ if args.sessions.tokens.is_some()
            && shape.mix.contains(Kind::Login)
            && !have_passwords =>
        {
            Err(PlanError::NoPasswords)
        }
        _ => Ok(()),
    }
}

fn known_kinds(protocol: Protocol) -> &'static [Kind] {
    match protocol {
        Protocol::Chat => &[Kind::Send, Kind::Post, Kind::Inbox, Kind::Login],
        Protocol::Old => &[Kind::Send, Kind::Inbox, Kind::Login],
        Protocol::Redis | Protocol::Irc => &[Kind::Send],
    }
}
