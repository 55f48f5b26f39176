//! What an operator does with accounts.

use super::{Store, unexpected};
use crate::account::check_new_password;
use crate::store::request::{Answer, Operation};
use crate::store::{
    AccountNumber, AccountSummary, HashedAccount, ImportId, NewAccount, StoreError,
};
use crate::{FullName, Username};

/// Accounts.
impl Store {
    /// Makes an account. Its password must pass [`check_new_password`]; its username and full name were checked when they
    /// were parsed.
    ///
    /// # Errors
    /// [`StoreError::UserExists`]: the username is taken, in any case, or still reserved for a removed account;
    /// [`StoreError::WeakPassword`]; [`StoreError::Busy`] when too many passwords wait to be hashed.
    pub async fn create_account(&self, account: NewAccount) -> Result<AccountNumber, StoreError> {
        let NewAccount { username, name, password } = account;
        check_new_password(&password, &username)?;
        let hash = self.shared.hasher.hash(password).await?;
        match self.ask(Operation::Create(HashedAccount { username, name, hash })).await {
            Ok(Answer::Number(number)) => Ok(number),
            other => unexpected(other),
        }
    }

    /// Sets a new password without asking for the old one, and ends all the user's sessions. Returns how many those were.
    /// Usernames of arguments may be in any case, here and below.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`], [`StoreError::WeakPassword`], [`StoreError::Busy`].
    pub async fn set_password(&self, username: &str, password: &str) -> Result<u64, StoreError> {
        let name = match self.ask(Operation::Credentials { username: username.into() }).await {
            Ok(Answer::Credentials { username, .. }) => username,
            other => return unexpected(other),
        };
        check_new_password(password, &name)?;
        let hash = self.shared.hasher.hash(password.into()).await?;
        self.count(Operation::SetPassword { username: username.into(), hash }).await
    }

    /// Gives an account another username, full name, or both; `None` leaves one as it is. Messages it sent keep the names
    /// they were sent under.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]; [`StoreError::UserExists`] if the new username is taken.
    pub async fn rename_account(
        &self,
        username: &str,
        new_username: Option<Username>,
        new_name: Option<FullName>,
    ) -> Result<(), StoreError> {
        self.done(Operation::Rename { username: username.into(), new_username, new_name }).await
    }

    /// Removes an account: ends its sessions and deletes its undelivered mail. Returns how many messages that was. The
    /// username stays reserved until it is [released](Self::release_username).
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]
    pub async fn remove_account(&self, username: &str) -> Result<u64, StoreError> {
        self.count(Operation::Remove { username: username.into() }).await
    }

    /// Frees the username of a removed account for a new one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`] if there is no removed account of that name.
    pub async fn release_username(&self, username: &str) -> Result<(), StoreError> {
        self.done(Operation::Release { username: username.into() }).await
    }

    /// One account as an operator sees it, removed or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]
    pub async fn account(&self, username: &str) -> Result<AccountSummary, StoreError> {
        self.summaries(Operation::Account { username: username.into() })
            .await?
            .pop()
            .ok_or(StoreError::NoSuchUser)
    }

    /// A page of at most `limit` accounts, removed ones too, in order of username: those after the username `after`, or
    /// from the first one on.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn accounts(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, StoreError> {
        let after = after.unwrap_or_default().to_ascii_lowercase().into();
        self.summaries(Operation::Accounts { after, limit }).await
    }

    /// Begins an import. [Stage](Self::stage_import) accounts under it, then [commit](Self::commit_import) it: they become
    /// visible all at once, or never.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn begin_import(&self) -> Result<ImportId, StoreError> {
        match self.ask(Operation::BeginImport).await {
            Ok(Answer::Import(import)) => Ok(import),
            other => unexpected(other),
        }
    }

    /// Adds accounts to an import; a few thousand a call keep other callers from waiting long. Returns the usernames that
    /// are taken; those accounts are not added.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn stage_import(
        &self,
        import: ImportId,
        accounts: Vec<HashedAccount>,
    ) -> Result<Vec<Username>, StoreError> {
        match self.ask(Operation::StageImport(import, accounts)).await {
            Ok(Answer::Taken(taken)) => Ok(taken),
            other => unexpected(other),
        }
    }

    /// Makes the accounts of an import visible, and returns how many there are.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn commit_import(&self, import: ImportId) -> Result<u64, StoreError> {
        self.count(Operation::CommitImport(import)).await
    }

    /// Discards an import. One that was neither committed nor discarded is discarded at the next start.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn abort_import(&self, import: ImportId) -> Result<(), StoreError> {
        self.done(Operation::AbortImport(import)).await
    }

    async fn summaries(&self, operation: Operation) -> Result<Vec<AccountSummary>, StoreError> {
        match self.ask(operation).await {
            Ok(Answer::Summaries(summaries)) => Ok(summaries),
            other => unexpected(other),
        }
    }
}
