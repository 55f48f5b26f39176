//! [`Store`]: the handle that programs call.

use super::*;
use crate::{FullName, MessageId, Token, Username};

/// A cheap, cloneable handle to a store. Every method may be called from any task.
///
/// Unless it says otherwise a method waits for a place in the store's queue, and then for the commit that makes its
/// answer durable. Dropping the future leaves it unknown whether a change takes place; nothing is ever half done.
#[derive(Clone, Debug)]
pub struct Store {}

#[allow(unused_variables, clippy::unused_async, reason = "skeleton")]
impl Store {
    /// A store in memory: nothing outlives the process.
    pub fn in_memory(options: StoreOptions) -> Self {
        todo!()
    }
    /// Opens, or makes, the store in a directory. Blocking work runs off the runtime.
    pub async fn open(sqlite: SqliteOptions, options: StoreOptions) -> Result<Self, OpenError> {
        todo!()
    }
    /// Takes no more requests, serves those that wait, syncs and closes the files. Other handles then get `Unavailable`.
    pub async fn close(&self) {
        todo!()
    }

    // -- sessions
    /// Checks the password and opens a session. NoSuchUser, BadPassword, Busy (too many hashes wait)
    pub async fn login(&self, username: &str, password: &str) -> Result<Token, StoreError> {
        todo!()
    }
    /// Notes that an open connection uses this session now (and no longer the other): the user is active while it does.
    pub async fn attach(
        &self,
        session: SessionKey,
        instead_of: Option<SessionKey>,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// The connection is gone. Returns once queued.
    pub async fn detach(&self, session: SessionKey) {
        todo!()
    }
    pub async fn logout(&self, session: SessionKey) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn whoami(&self, session: SessionKey) -> Result<Whoami, StoreError> {
        todo!()
    }
    /// Oldest first.
    pub async fn sessions(&self, session: SessionKey) -> Result<Vec<SessionInfo>, StoreError> {
        todo!()
    }
    /// Ends the session of that public name. NoSuchSession
    pub async fn revoke(&self, session: SessionKey, name: &str) -> Result<(), StoreError> {
        todo!()
    }
    /// Changes the password, ends the user's other sessions and says how many. BadPassword, WeakPassword
    pub async fn change_password(
        &self,
        session: SessionKey,
        old: &str,
        new: &str,
    ) -> Result<u64, StoreError> {
        todo!()
    }

    // -- messages
    /// Stores messages in this order, in one commit; one outcome for each.
    pub async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<Receipt, StoreError>> {
        todo!()
    }
    /// The next page of undelivered messages: behind the cursor, or behind what `in_flight` shows of the session's mailbox.
    pub async fn inbox(
        &self,
        session: SessionKey,
        in_flight: &[Shown],
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        todo!()
    }
    /// Undelivered messages after that id (or the cursor, whichever is later), removing nothing.
    pub async fn peek(
        &self,
        session: SessionKey,
        after: Option<MessageId>,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        todo!()
    }
    /// Everything up to `upto` is delivered. StaleIncarnation, BadArguments (beyond the end, or never shown)
    pub async fn ack(
        &self,
        session: SessionKey,
        upto: MessageId,
        basis: AckBasis,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// What a page showed is delivered. Returns once queued, ahead of any later request of the same caller.
    pub async fn confirm(&self, shown: Shown) {
        todo!()
    }
    /// Who is active; with `directory` (the username to begin after, and how many) also a page of accounts.
    pub async fn list(
        &self,
        session: SessionKey,
        directory: Option<(Option<&str>, usize)>,
    ) -> Result<Listing, StoreError> {
        todo!()
    }

    // -- accounts
    /// UserExists, WeakPassword
    pub async fn create_account(&self, account: NewAccount) -> Result<AccountNumber, StoreError> {
        todo!()
    }
    /// An operator sets a new password; all the user's sessions end; says how many. NoSuchUser
    pub async fn set_password(&self, username: &str, password: &str) -> Result<u64, StoreError> {
        todo!()
    }
    /// NoSuchUser, UserExists
    pub async fn rename_account(
        &self,
        username: &str,
        new_username: Option<Username>,
        new_name: Option<FullName>,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Ends the account's sessions and deletes its undelivered mail; says how many messages. NoSuchUser
    pub async fn remove_account(&self, username: &str) -> Result<u64, StoreError> {
        todo!()
    }
    /// Frees the username of a removed account. NoSuchUser
    pub async fn release_username(&self, username: &str) -> Result<(), StoreError> {
        todo!()
    }
    /// NoSuchUser
    pub async fn account(&self, username: &str) -> Result<AccountSummary, StoreError> {
        todo!()
    }
    /// In order of username, removed ones too.
    pub async fn accounts(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, StoreError> {
        todo!()
    }

    /// Begins an import: accounts staged under it become visible all at once, or never.
    pub async fn begin_import(&self) -> Result<ImportId, StoreError> {
        todo!()
    }
    /// Adds accounts to the import (a few thousand a call). The outcome names each whose username is taken.
    pub async fn stage_import(
        &self,
        import: ImportId,
        accounts: Vec<HashedAccount>,
    ) -> Result<Vec<Username>, StoreError> {
        todo!()
    }
    /// Makes the import visible; says how many accounts.
    pub async fn commit_import(&self, import: ImportId) -> Result<u64, StoreError> {
        todo!()
    }
    /// Forgets the import. One that was neither committed nor aborted is forgotten at the next start.
    pub async fn abort_import(&self, import: ImportId) -> Result<(), StoreError> {
        todo!()
    }
}
