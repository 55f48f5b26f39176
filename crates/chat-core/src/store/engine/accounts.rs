//! Accounts: finding, making, changing and removing them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cache::Cached;
use super::log::{AccountChange, AccountRow, DirectoryEntry, Log, LogError, Record};
use super::mailbox::{Head, Mailbox};
use super::{Engine, State};
use crate::account::PasswordHash;
use crate::store::request::{Answer, Outcome};
use crate::store::{
    AccountNumber, AccountSummary, HashedAccount, ImportId, PrivacyChoice, SessionEnd, StoreError,
};
use crate::{FullName, Timestamp, Username};

/// Accounts that the batch in hand changes, over those that the log shows.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Where in the batch an account's row is.
    rows: HashMap<AccountNumber, usize>,
    keys: HashMap<Box<str>, AccountNumber>,
    /// Keys that the log shows and that are free now.
    freed: HashSet<Box<str>>,
}

impl State {
    /// Whether an account is part of an import that is not committed.
    pub(super) fn is_hidden(&self, row: &AccountRow) -> bool {
        row.import.is_some_and(|import| self.imports.contains_key(&import))
    }

    /// Puts an account's row into the batch in hand.
    pub(super) fn put_account(&mut self, row: AccountRow, old_key: Option<Box<str>>) {
        if let Some(old) = old_key.filter(|old| Some(old) != row.key.as_ref()) {
            self.overlay.keys.remove(&old);
            self.overlay.freed.insert(old);
        }
        if let Some(key) = &row.key {
            self.overlay.keys.insert(key.clone(), row.number);
            self.overlay.freed.remove(key);
        }
        match self.overlay.rows.get(&row.number).and_then(|at| self.pending.accounts.get_mut(*at)) {
            Some(pending) => *pending = row,
            None => {
                self.overlay.rows.insert(row.number, self.pending.accounts.len());
                self.pending.accounts.push(row);
            }
        }
    }

    fn pending_account(&self, number: AccountNumber) -> Option<&AccountRow> {
        self.overlay.rows.get(&number).and_then(|at| self.pending.accounts.get(*at))
    }
}

impl<L: Log> Engine<L> {
    /// The account a key leads to, whatever its state.
    pub(super) fn row_by_key(&mut self, key: &str) -> Result<Option<AccountRow>, StoreError> {
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        if let Some(number) = state.overlay.keys.get(key) {
            return Ok(state.pending_account(*number).cloned());
        }
        if state.overlay.freed.contains(key) {
            return Ok(None);
        }
        self.log.account_by_key(key).map_err(Self::unreadable)
    }

    pub(super) fn account_row(
        &mut self,
        number: AccountNumber,
    ) -> Result<Option<AccountRow>, StoreError> {
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        match state.pending_account(number) {
            Some(row) => Ok(Some(row.clone())),
            None => self.log.account(number).map_err(Self::unreadable),
        }
    }

    /// Whether a username is in use, or reserved.
    pub(super) fn is_taken(&mut self, key: &str) -> Result<bool, StoreError> {
        Ok(self.row_by_key(key)?.is_some())
    }

    /// An account that exists for everybody to see, by its username in any case.
    pub(super) fn live_account(&mut self, username: &str) -> Result<AccountRow, StoreError> {
        let row = self.known_account(username)?;
        Some(row).filter(|row| row.removed.is_none()).ok_or(StoreError::NoSuchUser)
    }

    /// The same, or one that was removed and whose username is still reserved.
    pub(super) fn known_account(&mut self, username: &str) -> Result<AccountRow, StoreError> {
        let row = self.row_by_key(&username.to_ascii_lowercase())?.ok_or(StoreError::NoSuchUser)?;
        let hidden = self.state()?.is_hidden(&row);
        Some(row).filter(|_| !hidden).ok_or(StoreError::NoSuchUser)
    }

    /// An account, in memory.
    pub(super) fn cached(&mut self, number: AccountNumber) -> Result<&mut Cached, StoreError> {
        if self.state()?.cache.get(number).is_none() {
            let row = self.account_row(number)?.ok_or(StoreError::NoSuchUser)?;
            let Self { state: Some(state), log, .. } = self else {
                return Err(StoreError::Unavailable);
            };
            state.cache.load(log, &row).map_err(Self::unreadable)?;
        }
        self.state()?.cache.get(number).ok_or(StoreError::Internal)
    }

    /// A mailbox's head, without taking the mailbox into use.
    pub(super) fn head(&mut self, number: AccountNumber) -> Result<Head, StoreError> {
        let Self { state: Some(state), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        state.mailboxes.head(log, &state.runs, number).map_err(Self::unreadable)
    }

    /// A mailbox, in memory.
    pub(super) fn mailbox(&mut self, number: AccountNumber) -> Result<&mut Mailbox, StoreError> {
        let Self { state: Some(state), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        state.mailboxes.load(log, &state.runs, number).map_err(Self::unreadable)
    }

    /// Takes some accounts into the directory; whether there are more. Who is not in it yet is found all the same.
    pub(super) fn directory_step(&mut self) -> Result<bool, LogError> {
        let Self { state: Some(state), log, .. } = self else { return Ok(false) };
        let Some(after) = state.to_know else { return Ok(false) };
        let entries = log.directory(after, KNOWN_A_STEP)?;
        state.to_know = entries.last().map(|entry| entry.recipient.number);
        state.to_know = state.to_know.filter(|_| entries.len() >= KNOWN_A_STEP);
        for DirectoryEntry { key, recipient, import } in &entries {
            if import.is_none_or(|import| !state.imports.contains_key(&import)) {
                state.cache.directory.insert(key, *recipient);
            }
        }
        Ok(state.to_know.is_some())
    }

    /// An account's username and full name.
    pub(super) fn names(
        &mut self,
        number: AccountNumber,
    ) -> Result<(Arc<str>, Arc<str>), StoreError> {
        let cached = self.cached(number)?;
        Ok((Arc::clone(&cached.username), Arc::clone(&cached.name)))
    }

    pub(super) fn create_account(&mut self, account: HashedAccount, now: Timestamp) -> Outcome {
        self.can_write()?;
        if self.is_taken(&account.username.key())? {
            return Err(StoreError::UserExists);
        }
        let number = self.next_account()?;
        let row = new_row(number, account, None, now);
        self.change_account(row, AccountChange::Created, now)?;
        Ok(Answer::Number(number))
    }

    pub(super) fn next_account(&mut self) -> Result<AccountNumber, StoreError> {
        let state = self.state()?;
        let number = AccountNumber(state.next_account);
        state.next_account += 1;
        Ok(number)
    }

    /// Writes an account's new row, and that it changed.
    pub(super) fn change_account(
        &mut self,
        row: AccountRow,
        change: AccountChange,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let old_key = self.account_row(row.number)?.and_then(|old| old.key);
        let state = self.state()?;
        state.pending.records.push(Record::Account { account: row.number, change, time: now });
        state.cache.update(&row, old_key.as_deref());
        state.put_account(row, old_key);
        Ok(())
    }

    pub(super) fn set_password(
        &mut self,
        username: &str,
        hash: PasswordHash,
        now: Timestamp,
    ) -> Outcome {
        self.can_write()?;
        let mut row = self.live_account(username)?;
        let number = row.number;
        row.hash = hash;
        self.change_account(row, AccountChange::Changed, now)?;
        self.end_sessions(number, None, SessionEnd::PasswordChanged)
    }

    pub(super) fn rename(
        &mut self,
        username: &str,
        new_username: Option<Username>,
        new_name: Option<FullName>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let mut row = self.live_account(username)?;
        if let Some(new) = new_username {
            let key = new.key();
            if self.row_by_key(&key)?.is_some_and(|other| other.number != row.number) {
                return Err(StoreError::UserExists);
            }
            row.key = Some(key);
            row.username = new.as_str().into();
        }
        if let Some(new) = new_name {
            row.name = new.as_str().into();
        }
        // The user's watches learn the names when they catch up.
        self.watchers.unsettle(row.number);
        self.change_account(row, AccountChange::Changed, now)
    }

    pub(super) fn remove(&mut self, username: &str, now: Timestamp) -> Outcome {
        self.can_write()?;
        let mut row = self.live_account(username)?;
        let number = row.number;
        let waiting = self.mailbox(number)?.waiting();
        row.removed = Some(now);
        self.change_account(row, AccountChange::Removed, now)?;
        self.end_sessions(number, None, SessionEnd::AccountRemoved)?;
        self.mailbox(number)?.clear();
        self.state()?.mailboxes.touch(number);
        Ok(Answer::Count(waiting))
    }

    pub(super) fn release(&mut self, username: &str, now: Timestamp) -> Result<(), StoreError> {
        self.can_write()?;
        let row = self.row_by_key(&username.to_ascii_lowercase())?;
        let mut row = row.filter(|row| row.removed.is_some()).ok_or(StoreError::NoSuchUser)?;
        row.key = None;
        self.change_account(row, AccountChange::Changed, now)
    }

    pub(super) fn account_summary(&mut self, username: &str, now: Timestamp) -> Outcome {
        let row = self.known_account(username)?;
        Ok(Answer::Summaries(vec![self.summary(&row, now)?]))
    }

    pub(super) fn account_summaries(
        &mut self,
        after: &str,
        limit: usize,
        now: Timestamp,
    ) -> Outcome {
        let mut summaries = Vec::new();
        let mut after: Box<str> = after.into();
        while summaries.len() < limit {
            let rows = self.log.accounts_after(&after, limit).map_err(Self::unreadable)?;
            let Some(last) = rows.last().and_then(|row| row.key.clone()) else {
                break;
            };
            after = last;
            for row in rows {
                if !self.state()?.is_hidden(&row) && summaries.len() < limit {
                    summaries.push(self.summary(&row, now)?);
                }
            }
        }
        Ok(Answer::Summaries(summaries))
    }

    fn summary(&mut self, row: &AccountRow, now: Timestamp) -> Result<AccountSummary, StoreError> {
        let undelivered = self.mailbox(row.number)?.waiting();
        Ok(AccountSummary {
            number: row.number,
            username: Arc::clone(&row.username),
            name: Arc::clone(&row.name),
            created: row.created,
            removed: row.removed,
            undelivered,
            sessions: self.state()?.sessions.of(row.number, now).count(),
        })
    }
}

/// The row of an account just made.
pub(super) fn new_row(
    number: AccountNumber,
    account: HashedAccount,
    import: Option<ImportId>,
    now: Timestamp,
) -> AccountRow {
    let HashedAccount { username, name, hash } = account;
    AccountRow {
        number,
        key: Some(username.key()),
        username: username.as_str().into(),
        name: name.as_str().into(),
        hash,
        created: now,
        removed: None,
        import,
        receipts: PrivacyChoice::Default,
        presence: PrivacyChoice::Default,
        blocks: 0,
    }
}

/// Accounts that the directory takes in at once: some milliseconds. Of a million it has all after 63 commits; until then who
/// is not in it costs a look into the table, which makes a send several times as dear.
const KNOWN_A_STEP: usize = if cfg!(test) { 2 } else { 16_000 };
