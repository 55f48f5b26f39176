//! [`Entry`]: what a client says first, and what tells that it was let in.

use std::time::Duration;

use tokio::time::sleep;

use super::client::{Client, ClientError};
use crate::accounts::Account;
use crate::tokens::Session;

/// How clients make themselves known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `whoami`, with tokens made beforehand
    Whoami,
    /// `auth`, each on its own connection: what the server then keeps of a session counts as memory, too
    Auth,
    /// NICK and USER, at an IRC server; with --talk 0 only
    Irc,
}

/// What one client says first.
#[derive(Clone)]
pub(super) enum Entry {
    Token(Session),
    Password(Account),
    Nick(String),
}

impl Entry {
    /// Has the client let in; gives the session it then has. An IRC server knows none.
    pub(super) async fn through(self, client: &mut Client) -> Result<Session, ClientError> {
        match self {
            Self::Token(session) => {
                client.ask(&format!("whoami {}\r\n", session.token)).await?;
                Ok(session)
            }
            Self::Password(account) => {
                let token = auth(client, &account).await?;
                Ok(Session { username: account.username, token })
            }
            Self::Nick(nick) => {
                client.register(&nick).await?;
                Ok(Session { username: nick, token: String::new() })
            }
        }
    }
}

/// Logs in, as often as the server is busy. Gives the token.
pub(super) async fn auth(client: &mut Client, account: &Account) -> Result<String, ClientError> {
    let line = format!("auth {} {}\r\n", account.username, account.password);
    loop {
        let fields = client.ask_any(&line).await?;
        if fields.is_busy() {
            sleep(fields.retry_after(BUSY_PAUSE)).await;
        } else if let Some(token) = fields.tokenid {
            return Ok(token);
        } else {
            return Err(ClientError::Refused(fields.into_cause()));
        }
    }
}

/// How long to wait before asking a busy server again, when it does not say.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
