//! Logging in, and what a session can be asked.

use super::{Store, unexpected};
use crate::Token;
use crate::account::check_new_password;
use crate::store::request::{Answer, Operation};
use crate::store::{SessionInfo, SessionKey, StoreError, Whoami};

/// Sessions.
impl Store {
    /// Checks a password and opens a session. The token is the secret that goes to the client;
    /// [`SessionKey::of`] makes of it what the other methods take. Takes about 20 ms of one core at the default
    /// [cost](crate::account::PasswordParams). A hash of another cost than new ones get is made anew.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`] and [`StoreError::BadPassword`] (only the latter under
    /// [`hide_unknown_users`](crate::store::StoreOptions::hide_unknown_users)); [`StoreError::Busy`] when too many
    /// passwords wait to be hashed (512 a thread; one thread less than there are cores, but at least one).
    ///
    /// # Cancel safety
    /// A session may be opened that nobody has the token of; it expires by itself.
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

    /// Notes that one more connection uses this session, and that it no longer uses `instead_of`. A user is active while
    /// a connection uses one of their sessions. Once the connection is gone, say so by [`detach`](Self::detach).
    ///
    /// # Errors
    /// Only those of every method ([`Store`]). After one the connection counts for neither session.
    pub async fn attach(
        &self,
        session: SessionKey,
        instead_of: Option<SessionKey>,
    ) -> Result<(), StoreError> {
        self.done(Operation::Attach { session, instead_of }).await
    }

    /// Notes that a connection which used this session is gone. Returns as soon as the request is queued.
    pub async fn detach(&self, session: SessionKey) {
        self.tell(Operation::Detach { session }).await;
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn logout(&self, session: SessionKey) -> Result<(), StoreError> {
        self.done(Operation::Logout { session }).await
    }

    /// Whose session it is, and until when.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn whoami(&self, session: SessionKey) -> Result<Whoami, StoreError> {
        match self.ask(Operation::Whoami { session }).await {
            Ok(Answer::Whoami(whoami)) => Ok(whoami),
            other => unexpected(other),
        }
    }

    /// The user's sessions, oldest first.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn sessions(&self, session: SessionKey) -> Result<Vec<SessionInfo>, StoreError> {
        match self.ask(Operation::Sessions { session }).await {
            Ok(Answer::Sessions(sessions)) => Ok(sessions),
            other => unexpected(other),
        }
    }

    /// Ends one of the user's sessions, named by its [public name](SessionKey::public_name).
    ///
    /// # Errors
    /// [`StoreError::NoSuchSession`]
    pub async fn revoke(&self, session: SessionKey, name: &str) -> Result<(), StoreError> {
        self.done(Operation::Revoke { session, name: name.into() }).await
    }

    /// Changes the user's password and ends the user's other sessions. Returns how many those were.
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
