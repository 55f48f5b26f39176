//! Logging in, and what a session can be asked.

use super::{Store, unexpected};
use crate::Token;
use crate::account::check_new_password;
use crate::store::request::{Answer, Operation};
use crate::store::{SessionInfo, SessionKey, StoreError, Whoami};

/// Sessions.
impl Store {
    /// Checks a password and opens a session.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`] and [`StoreError::BadPassword`] (only the latter under
    /// [`hide_unknown_users`](crate::store::StoreOptions::hide_unknown_users)); [`StoreError::Busy`] when too many
    /// logins wait.
    pub async fn login(&self, username: &str, password: &str) -> Result<Token, StoreError> {
        let unknown = if self.shared.hide_unknown_users {
            StoreError::BadPassword
        } else {
            StoreError::NoSuchUser
        };
        let found = match self.ask(Operation::Credentials { username: username.into() }).await {
            Ok(Answer::Credentials { account, hash, .. }) => Some((account, hash)),
            Err(StoreError::NoSuchUser) => None,
            other => return unexpected(other),
        };
        // An unknown user costs a hash too, so that time does not tell who exists.
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let matches = self.shared.hasher.verify(password.into(), hash).await?;
        let (account, verified) = found.ok_or(unknown)?;
        if !matches {
            return Err(StoreError::BadPassword);
        }
        let rehash = match self.shared.hasher.is_outdated(&verified) {
            true => Some(self.shared.hasher.hash(password.into()).await?),
            false => None,
        };
        let token = Token::from_random(&*self.shared.random);
        let session = SessionKey::of(&token);
        self.done(Operation::OpenSession { account, verified, session, rehash }).await?;
        Ok(token)
    }

    /// Notes that an open connection uses this session now, and no longer the other: while it does, the user is active.
    ///
    /// # Errors
    /// As said at [`Store`]. Then the connection counts for neither session.
    pub async fn attach(
        &self,
        session: SessionKey,
        instead_of: Option<SessionKey>,
    ) -> Result<(), StoreError> {
        self.done(Operation::Attach { session, instead_of }).await
    }

    /// The connection that used this session is gone. Returns once queued.
    pub async fn detach(&self, session: SessionKey) {
        self.tell(Operation::Detach { session }).await;
    }

    /// Ends the session.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn logout(&self, session: SessionKey) -> Result<(), StoreError> {
        self.done(Operation::Logout { session }).await
    }

    /// Whose session it is.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn whoami(&self, session: SessionKey) -> Result<Whoami, StoreError> {
        match self.ask(Operation::Whoami { session }).await {
            Ok(Answer::Whoami(whoami)) => Ok(whoami),
            other => unexpected(other),
        }
    }

    /// The user's sessions, oldest first.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn sessions(&self, session: SessionKey) -> Result<Vec<SessionInfo>, StoreError> {
        match self.ask(Operation::Sessions { session }).await {
            Ok(Answer::Sessions(sessions)) => Ok(sessions),
            other => unexpected(other),
        }
    }

    /// Ends the user's session of that [public name](SessionKey::public_name).
    ///
    /// # Errors
    /// [`StoreError::NoSuchSession`]
    pub async fn revoke(&self, session: SessionKey, name: &str) -> Result<(), StoreError> {
        self.done(Operation::Revoke { session, name: name.into() }).await
    }

    /// Changes the user's password, ends the user's other sessions, and says how many.
    ///
    /// # Errors
    /// [`StoreError::BadPassword`] if `old` is wrong, [`StoreError::WeakPassword`], [`StoreError::Busy`].
    pub async fn change_password(
        &self,
        session: SessionKey,
        old: &str,
        new: &str,
    ) -> Result<u64, StoreError> {
        let (username, verified) = match self.ask(Operation::OwnCredentials { session }).await {
            Ok(Answer::Credentials { username, hash, .. }) => (username, hash),
            other => return unexpected(other),
        };
        if !self.shared.hasher.verify(old.into(), Some(verified.clone())).await? {
            return Err(StoreError::BadPassword);
        }
        check_new_password(new, &username)?;
        let new = self.shared.hasher.hash(new.into()).await?;
        self.count(Operation::ChangePassword { session, verified, new }).await
    }
}
