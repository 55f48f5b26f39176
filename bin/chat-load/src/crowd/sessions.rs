//! The sessions that the clients use, made beforehand and kept in a file.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::args::CrowdArgs;
use super::client::{Client, ClientError};
use super::entry::{Entry, Kind, auth};
use crate::accounts::{Account, Accounts, AccountsError};
use crate::files;
use crate::tokens::{self, Session, TokensError};

/// Why there are no sessions.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("cannot use the server {0}: {1}")]
    Server(String, io::Error),
    #[error("cannot read the sessions in {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Write(#[from] TokensError),
    #[error(
        "{} has {count} sessions, and {clients} clients need one each: remove it to have it made anew",
        path.display()
    )]
    TooFew { path: PathBuf, count: usize, clients: usize },
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("{clients} clients need {} accounts or more, as one has at most {SESSIONS_AN_ACCOUNT} sessions; \
             there are {accounts}: name more with --users or --user-prefix", clients.div_ceil(SESSIONS_AN_ACCOUNT))]
    TooFewAccounts { clients: usize, accounts: usize },
    #[error("cannot log in as {username}: {source}")]
    Login { username: String, source: ClientError },
    #[error("a login ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl SessionsError {
    /// Whether other options would help.
    pub(super) fn is_about_options(&self) -> bool {
        match self {
            Self::Accounts(error) => error.is_about_options(),
            Self::TooFew { .. } | Self::TooFewAccounts { .. } => true,
            _ => false,
        }
    }
}

/// Where the server is.
pub(super) async fn address(server: &str) -> Result<SocketAddr, SessionsError> {
    let nowhere = |error| SessionsError::Server(server.to_owned(), error);
    let mut addresses = lookup_host(server).await.map_err(nowhere)?;
    addresses.next().ok_or_else(|| nowhere(io::ErrorKind::NotFound.into()))
}

/// What each client says first.
pub(super) async fn entries(args: &CrowdArgs) -> Result<Vec<Entry>, SessionsError> {
    Ok(match args.entry {
        Kind::Whoami => sessions(args).await?.into_iter().map(Entry::Token).collect(),
        Kind::Auth => accounts(args)?.into_iter().map(Entry::Password).collect(),
        Kind::Irc => (0..args.clients).map(|number| Entry::Nick(format!("load{number}"))).collect(),
    })
}

/// One session a client: from the file, or made, and then kept in the file if there is to be one.
pub(super) async fn sessions(args: &CrowdArgs) -> Result<Vec<Session>, SessionsError> {
    match &args.tokens {
        Some(path) if path.exists() => read(path, args.clients),
        path => {
            path.as_deref().map(tokens::check).transpose()?;
            let sessions = log_in(args).await?;
            path.as_deref().map(|path| tokens::write(path, &sessions)).transpose()?;
            Ok(sessions)
        }
    }
}

fn read(path: &Path, clients: usize) -> Result<Vec<Session>, SessionsError> {
    let mut sessions: Vec<Session> = files::rows(path, &["username", "token"])
        .map_err(|source| SessionsError::Read { path: path.to_owned(), source })?;
    if sessions.len() < clients {
        return Err(SessionsError::TooFew {
            path: path.to_owned(),
            count: sessions.len(),
            clients,
        });
    }
    sessions.truncate(clients);
    Ok(sessions)
}

/// An account for each client, in turn.
fn accounts(args: &CrowdArgs) -> Result<Vec<Account>, SessionsError> {
    let accounts = Accounts::new(&args.accounts)?;
    if !args.log_in_only && !args.talk.is_zero() {
        accounts.at_least_two()?;
    }
    if accounts.len().saturating_mul(SESSIONS_AN_ACCOUNT) < args.clients {
        let (clients, accounts) = (args.clients, accounts.len());
        return Err(SessionsError::TooFewAccounts { clients, accounts });
    }
    Ok(accounts.first(args.clients).into_iter().cycle().take(args.clients).collect())
}

/// Logs in over a few connections, which is as fast as the server checks passwords.
async fn log_in(args: &CrowdArgs) -> Result<Vec<Session>, SessionsError> {
    let clients = accounts(args)?;
    let address = address(&args.address()).await?;
    let mut logins = JoinSet::new();
    for share in clients.chunks(args.clients.div_ceil(LOGINS_AT_ONCE)) {
        logins.spawn(log_in_one_by_one(address, share.to_vec(), args.timeout));
    }
    let mut sessions = Vec::with_capacity(args.clients);
    while let Some(share) = logins.join_next().await {
        sessions.extend(share??);
    }
    Ok(sessions)
}

async fn log_in_one_by_one(
    server: SocketAddr,
    accounts: Vec<Account>,
    patience: Duration,
) -> Result<Vec<Session>, SessionsError> {
    let mut client = None;
    let mut sessions = Vec::with_capacity(accounts.len());
    for account in accounts {
        let login = timeout(patience, log_in_one(&mut client, server, &account)).await;
        match login.unwrap_or(Err(ClientError::TimedOut)) {
            Ok(token) => sessions.push(Session { username: account.username, token }),
            Err(source) => {
                return Err(SessionsError::Login { username: account.username, source });
            }
        }
    }
    Ok(sessions)
}

async fn log_in_one(
    client: &mut Option<Client>,
    server: SocketAddr,
    account: &Account,
) -> Result<String, ClientError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(server, None).await?),
    };
    auth(client, account).await
}

/// By the protocol's contract; one more ends the longest unused.
const SESSIONS_AN_ACCOUNT: usize = 100;
/// Enough to keep a server's password checks busy, and few enough for its queue of them.
const LOGINS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_too_few_sessions_is_told_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.csv");
        let session = |n| Session { username: format!("user{n}"), token: format!("token{n}") };
        let sessions: Vec<_> = (0..3).map(session).collect();
        tokens::write(&path, &sessions).unwrap();
        assert_eq!(read(&path, 2).unwrap(), sessions[..2]);
        let too_few = read(&path, 4).unwrap_err().to_string();
        assert!(too_few.contains("has 3 sessions, and 4 clients"), "{too_few}");
        assert!(too_few.contains("remove it"), "{too_few}");
    }
}
