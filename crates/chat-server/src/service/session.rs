//! Accounts and sessions: `auth`, `logout`, `register`, `passwd`, `whoami`, `sessions`, `revoke`.

use std::borrow::Cow;

use chat_core::account::check_new_password;
use chat_core::protocol::{ErrorCode, ErrorReply, Reply, SessionEntry, Whoami};
use chat_core::store::{NewAccount, SessionInfo, StoreError};
use chat_core::{FullName, Username};
use tracing::{debug, info};

use super::Exchange;
use crate::peer::KnownSession;

impl Exchange<'_> {
    pub(super) async fn auth(&mut self, username: &str, password: &str) -> Result<(), StoreError> {
        let login = self.store.login(username, password).await;
        // Without the name: a password typed in its place would be in the log.
        let login = login.inspect_err(|error| {
            self.peer.name.log(|| info!(%error, "a login was refused"));
        });
        if matches!(login, Err(StoreError::Unavailable | StoreError::Closed)) {
            let message = Cow::Borrowed("nobody can log in at the moment, try again later");
            return self
                .reply(&Reply::Error(ErrorReply { message, ..ErrorCode::Unavailable.into() }));
        }
        let token = login?;
        self.peer.logged_in = true;
        if let Err(error) = self.attach(KnownSession::of(token)).await {
            // The login stands; the first use of the token tries again.
            debug!(%error, "the store could not note the use of a new session");
        }
        self.reply(&Reply::LoggedIn(token))
    }

    pub(super) async fn logout(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        self.store.logout(session).await?;
        self.reply(&Reply::LoggedOut)
    }

    pub(super) async fn register(
        &mut self,
        username: &str,
        password: &str,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        if !self.config.registration {
            self.refuse_with(ErrorCode::NotAllowed);
            return Ok(());
        }
        let account = new_account(username, password, name)?;
        let registered = account.username.clone();
        self.store.create_account(account).await?;
        self.reply(&Reply::Registered(registered.as_str().into()))
    }

    pub(super) async fn change_password(
        &mut self,
        token: &str,
        old: &str,
        new: &str,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let ended = self.store.change_password(session, old, new).await?;
        self.reply(&Reply::PasswordChanged(ended))
    }

    pub(super) async fn whoami(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let who = self.store.whoami(session).await?;
        self.reply(&Reply::Whoami(Whoami {
            user: (&*who.username).into(),
            name: (&*who.name).into(),
            incarnation: who.incarnation.as_str().into(),
            created: who.created,
            expires: who.expires,
        }))
    }

    pub(super) async fn sessions(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let sessions = self.store.sessions(session).await?;
        self.reply(&Reply::Sessions(sessions.into_iter().map(entry).collect()))
    }

    pub(super) async fn revoke(&mut self, token: &str, name: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        self.store.revoke(session, name).await?;
        self.reply(&Reply::Revoked)
    }
}

/// Checks the words from left to right.
fn new_account(
    username: &str,
    password: &str,
    name: Option<&str>,
) -> Result<NewAccount, StoreError> {
    let username: Username =
        username.parse().map_err(|error| StoreError::BadUsername(format!("{error}")))?;
    check_new_password(password, &username)?;
    let name = match name {
        Some(name) => name.parse().map_err(|error| StoreError::BadUsername(format!("{error}")))?,
        None => FullName::from(&username),
    };
    Ok(NewAccount { username, name, password: password.into() })
}

fn entry(session: SessionInfo) -> SessionEntry<'static> {
    SessionEntry {
        session: session.name.into(),
        created: session.created,
        last_used: session.last_used,
        expires: session.expires,
        current: session.current,
    }
}
