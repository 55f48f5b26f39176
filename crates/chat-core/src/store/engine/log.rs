//! [`Log`]: the narrow seam between the engine and what keeps its bytes.
//!
//! Everything that can be wrong (ids, cursors, quotas, flushing, replay, retention) lies above it and runs unchanged
//! on both forms, SQLite and simulated.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::directory::Recipient;
use super::heads::{HeadBytes, HeadRow};
use super::index::IndexRow;
use super::worker::Worker;
use crate::account::PasswordHash;
use crate::store::{
    AccountNumber, ImportId, Message, OpenError, PostKey, PrivacyChoice, SessionKey, StoreError,
};
use crate::{MessageId, Timestamp};

/// One entry of the log. Positions are numbered from 1 in commit order and never used twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A message was stored, under a key if it was posted.
    Message { mailbox: AccountNumber, message: Arc<Message>, key: Option<Keyed> },
    /// Everything up to `upto` is delivered.
    Cursor { mailbox: AccountNumber, upto: MessageId, time: Timestamp },
    /// An account changed; the account itself is in its table.
    Account { account: AccountNumber, change: AccountChange, time: Timestamp },
    /// From here on the mailbox has another incarnation.
    Incarnation { mailbox: AccountNumber, time: Timestamp },
}

/// What a posted message is known by besides its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) key: PostKey,
    /// Tells whom it was for; by earlier versions recipient and text.
    pub(crate) request: [u8; 8],
}

/// What happened to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountChange {
    Created,
    Changed,
    /// Removed: whatever the log holds for its mailbox before this record is void.
    Removed,
}

impl Record {
    pub(crate) fn mailbox(&self) -> AccountNumber {
        match self {
            Self::Message { mailbox, .. }
            | Self::Cursor { mailbox, .. }
            | Self::Incarnation { mailbox, .. } => *mailbox,
            Self::Account { account, .. } => *account,
        }
    }

    pub(crate) fn time(&self) -> Timestamp {
        match self {
            Self::Message { message, .. } => message.time,
            Self::Cursor { time, .. }
            | Self::Account { time, .. }
            | Self::Incarnation { time, .. } => *time,
        }
    }
}

/// What one commit makes durable, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// The position of the first record; the others follow without a hole.
    pub(crate) first: u64,
    pub(crate) records: Vec<Record>,
    /// Rows to put in the accounts table, by number.
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) sessions: Vec<SessionChange>,
    pub(crate) blocks: Vec<BlockChange>,
    pub(crate) imports: Vec<ImportChange>,
    /// A new incarnation of all mailboxes begins with this batch.
    pub(crate) incarnation: Option<[u8; 16]>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.accounts.is_empty()
            && self.sessions.is_empty()
            && self.blocks.is_empty()
            && self.imports.is_empty()
            && self.incarnation.is_none()
    }

    /// The record at a position, if it is in this batch.
    pub(crate) fn get(&self, position: u64) -> Option<&Record> {
        self.records.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// The position the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.records.len()).unwrap_or(u64::MAX))
    }
}

/// An account as its table keeps it. Rows are never deleted but for imports that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub(crate) number: AccountNumber,
    /// What it is found by; `None` once a removed account's username was released.
    pub(crate) key: Option<Box<str>>,
    pub(crate) username: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) hash: PasswordHash,
    pub(crate) created: Timestamp,
    pub(crate) removed: Option<Timestamp>,
    /// The import it came with; hidden while that import is open.
    pub(crate) import: Option<ImportId>,
    /// Who learns that messages were delivered.
    pub(crate) receipts: PrivacyChoice,
    /// Who learns that the user is here.
    pub(crate) presence: PrivacyChoice,
    /// How many users it blocks, so that nobody looks for them in vain.
    pub(crate) blocks: u64,
}

/// A session as its table keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// Grows with every session: the order of logins.
    pub(crate) number: u64,
    pub(crate) account: AccountNumber,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionChange {
    Put(SessionKey, SessionRow),
    Delete(SessionKey),
}

/// `account` blocks `blocked`, or does so no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockChange {
    pub(crate) account: AccountNumber,
    pub(crate) blocked: AccountNumber,
    pub(crate) on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImportChange {
    /// Accounts from this number on may belong to the import.
    Begin(ImportId, AccountNumber),
    /// The import is committed, or all its accounts are gone.
    End(ImportId),
}

/// One step of background work, put atomically. Each is idempotent: putting it again changes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slice {
    /// Rows of heads by number.
    pub(crate) heads: Vec<(u64, HeadBytes)>,
    /// Index rows of the mailbox below this row number go.
    pub(crate) drop_rows: Vec<(AccountNumber, u64)>,
    /// Parked messages of the mailbox up to this id go.
    pub(crate) drop_parked: Vec<(AccountNumber, MessageId)>,
    /// Head, index rows, parked messages and delivery times of the mailbox go, and whom its owner blocks.
    pub(crate) drop_mailboxes: Vec<AccountNumber>,
    /// Undelivered messages that leave the log.
    pub(crate) park: Vec<(AccountNumber, Parked)>,
    /// Everything in the log up to this position is in the index.
    pub(crate) covered: Option<u64>,
    /// Records before this position go.
    pub(crate) trim_before: Option<u64>,
    /// Of these, the ones from this position on are still [answered from](Log::posted). `None`: none of them.
    pub(crate) posted_from: Option<u64>,
    /// Accounts of an import that does not come about, from one number to another, go.
    pub(crate) drop_accounts: Option<(ImportId, AccountNumber, AccountNumber)>,
    /// The mailbox's messages up to this id were delivered at this time, those before them earlier.
    pub(crate) deliveries: Vec<(AccountNumber, MessageId, Timestamp)>,
    /// Delivery times of the mailbox up to this id go.
    pub(crate) drop_deliveries: Vec<(AccountNumber, MessageId)>,
    /// Changes to the sorted runs, in order.
    pub(crate) runs: Vec<RunChange>,
    /// How long the store has been running, over all its lives.
    pub(crate) running: Option<Duration>,
}

/// An undelivered message that left the log.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    /// Where it was; 0 if that is not known.
    pub(crate) position: u64,
    pub(crate) message: Arc<Message>,
}

/// A sorted run: entries in the order of their keys, in blocks, never changed once it is complete. What is looked up by
/// content is kept so, because inserting it in place would rewrite a page for each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRow {
    /// Grows with every run.
    pub(crate) number: u64,
    pub(crate) kind: RunKind,
    /// Whether it may be read; one that is not complete at start goes.
    pub(crate) complete: bool,
    /// About how large it is.
    pub(crate) level: u8,
    pub(crate) entries: u64,
    /// What its kind wants to know when it decides that the whole run goes: see there.
    pub(crate) until: u64,
    /// What its kind wants to have in memory; perhaps nothing.
    pub(crate) filter: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunKind {
    /// Where the messages of each mailbox lie in the log.
    Index,
    /// Where the messages of each conversation lie in the log.
    Conversations,
    /// Where posted messages lie in the log, by hashes of their senders and keys.
    Keys,
    /// The same by senders and keys, as earlier versions wrote it; read, not added to.
    KeysByAccount,
    /// Keys and what was answered, as yet earlier ones wrote them; read, not added to.
    KeysInFull,
}

#[derive(Debug, Clone)]
pub(crate) enum RunChange {
    /// Puts a run's row in place of what it was.
    Put(RunRow),
    /// Adds a block: the key of its first entry, and the encoded entries.
    Block { run: u64, first: Box<[u8]>, entries: Box<[u8]> },
    /// Blocks of the run go, the first ones and at most so many; after the last one its row goes too.
    Drop { run: u64, blocks: usize },
}

impl Slice {
    /// How many rows it writes or deletes, roughly: the measure a slice is cut by.
    pub(crate) fn weight(&self) -> usize {
        self.heads.len()
            + self.drop_rows.len()
            + self.park.len()
            + self.drop_mailboxes.len()
            + self.deliveries.len()
            + self.drop_deliveries.len()
            + self.runs.len()
    }
}

/// What a log knows when it is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovered {
    /// The index holds everything up to this position.
    pub(crate) covered: u64,
    /// The position of the oldest record, or one past the end.
    pub(crate) start: u64,
    /// Records before it are missing that were not trimmed. They may come back at the next start.
    pub(crate) lacks_oldest: bool,
    /// The position of the newest record, or the one before `start`.
    pub(crate) end: u64,
    pub(crate) next_account: u64,
    pub(crate) sessions: Vec<(SessionKey, SessionRow)>,
    /// Imports that were neither committed nor forgotten, each with the first account number it may have.
    pub(crate) imports: Vec<(ImportId, AccountNumber)>,
    /// The incarnations of the store, oldest first, each with the position it began at; none in a new store.
    pub(crate) incarnations: Vec<(u64, [u8; 16])>,
    pub(crate) runs: Vec<RunRow>,
    /// How long the store had been running when that was last written.
    pub(crate) running: Duration,
    /// How many batches' rows the database lacked when this was opened, and got from the journal.
    pub(crate) caught_up: usize,
    /// Random, and the same as long as the store lives.
    pub(crate) secret: [u8; 16],
    /// Acknowledged messages may be missing: durability was relaxed and the last stop was not clean.
    pub(crate) may_have_lost: bool,
    /// The file is not the one that was opened last: a copy, and what was acknowledged since it was made may be missing.
    pub(crate) is_copy: bool,
}

/// Why the log did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// There is no room. Nothing was changed and the log goes on working.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// A file is not what was written, is missing, or cannot be read.
    #[error("{}: {reason}", file.display())]
    Unreadable {
        /// Its whole path, or its name in the data directory.
        file: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
        /// It is missing or not what was written, so that trying again does not mend it.
        damaged: bool,
    },
    /// Anything else. What became of a write is not known until the log was reopened.
    #[error("{0}")]
    Failed(String),
}

impl LogError {
    /// The tables hold what nobody wrote.
    pub(crate) fn damaged_tables(reason: impl Into<String>) -> Self {
        Self::Unreadable { file: TABLES.into(), reason: reason.into(), damaged: true }
    }

    /// A file is not there any more or not whole, or another one is in its place.
    #[cfg(feature = "embedded")]
    pub(crate) fn deleted(file: PathBuf) -> Self {
        Self::Unreadable {
            file,
            reason: "it was deleted, replaced or cut off".into(),
            damaged: true,
        }
    }

    /// Says in the log what could not be done for want of what was to be read. Of a file that is said once, however often
    /// clients ask for what is in it.
    pub(crate) fn tell_unreadable(&self, what: &'static str) {
        let Self::Unreadable { file, .. } = self else {
            tracing::error!(error = %self, "{what}");
            return;
        };
        let is_new = TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(file.clone());
        match is_new {
            true => tracing::error!(
                error = %self,
                "{what}: what needs this file is refused until it is put back as it was, from a backup; this is not said \
                 again"
            ),
            false => tracing::debug!(error = %self, "{what}"),
        }
    }

    /// What whoever asked for a write is told.
    pub(crate) fn refusal(&self) -> StoreError {
        match self {
            Self::NoSpace(_) => StoreError::NoSpace,
            _ => StoreError::Unavailable,
        }
    }

    /// Why the store in this directory could not be opened.
    pub(crate) fn on_opening(self, directory: PathBuf) -> OpenError {
        match self {
            Self::Unreadable { file, reason, damaged: true } => {
                OpenError::Damaged { path: directory.join(file), reason }
            }
            Self::NoSpace(_) => OpenError::NoSpace { path: directory },
            error => OpenError::Engine { path: directory, reason: error.to_string() },
        }
    }
}

/// The file in the data directory that has everything but the journal.
pub(crate) const TABLES: &str = "chat.db";

/// Appends, keeps the index, and reads. All calls block; they come from the store's own thread.
pub(crate) trait Log: View + Send + 'static {
    /// What is there now.
    fn recover(&mut self) -> Result<Recovered, LogError>;
    /// What [`recover`](Self::recover) said was acted upon; from here on the log counts as in use.
    fn recovered(&mut self) -> Result<(), LogError>;
    /// Ends what reading began, if nothing was written since: an append or a put ends it too. What is read until then
    /// belongs together, as each read by itself would cost a lock.
    fn rest(&mut self) -> Result<(), LogError>;
    /// Gives back memory that only makes what comes next faster.
    fn release_memory(&mut self) -> Result<(), LogError>;
    /// Makes a batch durable. When this returns `Ok` the batch survives what the log promises to survive.
    fn append(&mut self, batch: &Batch) -> Result<(), LogError>;
    /// Begins to make a batch of messages durable, which [`end_append`](Self::end_append) completes. Until then nothing
    /// but reading is allowed, and what is read may lack the batch.
    fn begin_append(&mut self, batch: &Batch) -> Result<(), LogError>;
    /// Waits until the batch that was begun is durable. After an error it is as if [`append`](Self::append) had failed.
    fn end_append(&mut self, batch: &Batch) -> Result<(), LogError>;
    /// The record at a position, though the log may begin behind it, as long as the last slice that trimmed it said so.
    fn posted(&self, position: u64) -> Result<Option<Record>, LogError>;
    /// Puts one step of background work. Need not be durable before the next append is.
    fn put(&mut self, slice: &Slice) -> Result<(), LogError>;
    /// Tries whether a write goes through again.
    fn probe(&mut self) -> Result<(), LogError>;
    /// Opens everything anew after a failure, keeping nothing whose sync failed as if it were safe.
    fn reopen(&mut self) -> Result<(), LogError>;
    /// What the next process finds of it.
    #[cfg(test)]
    fn opened_anew(self) -> Self
    where
        Self: Sized,
    {
        self
    }
    /// What does work for the store while that goes on.
    fn worker(&self) -> Worker;
    /// Where other threads read pages.
    fn pages(&self) -> Arc<dyn PageSource>;
    /// Syncs and lets go of the files.
    fn close(&mut self) -> Result<(), LogError>;
}

/// Reading what is committed.
pub(crate) trait View {
    /// Up to `limit` records from this position on, in order.
    fn records(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LogError>;
    /// The record at a position, unless it was trimmed.
    fn record(&self, position: u64) -> Result<Option<Record>, LogError>;
    /// Says that the records at these positions are read next: where a disk is slow they come all at once.
    fn expect(&self, _positions: &[u64]) {}
    /// The heads of neighbouring mailboxes, by the number of their row; empty if they have none.
    fn heads(&self, row: u64) -> Result<HeadRow, LogError>;
    /// What earlier versions wrote of the index.
    fn index_row(&self, mailbox: AccountNumber, row: u64) -> Result<Option<IndexRow>, LogError>;
    fn parked(&self, mailbox: AccountNumber, id: MessageId) -> Result<Option<Parked>, LogError>;
    /// When the message was delivered, if that was written behind: the time of the first delivery at or after the id.
    fn delivery(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Timestamp>, LogError>;
    /// Whom the account blocks.
    fn blocks(&self, account: AccountNumber) -> Result<Vec<AccountNumber>, LogError>;
    /// The last block of the run that begins at the key or before it.
    fn block_at(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError>;
    /// The first block of the run that begins after the key.
    fn block_after(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError>;
    /// The last block of the run that begins before the key.
    fn block_before(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError>;
    /// Whether the run is there and may be read.
    fn run_is_complete(&self, run: u64) -> Result<bool, LogError>;
    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>, LogError>;
    fn account(&self, number: AccountNumber) -> Result<Option<AccountRow>, LogError>;
    /// Up to `limit` accounts with a number after this one that have a key and were not removed, in order of number.
    fn directory(
        &self,
        after: AccountNumber,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>, LogError>;
    /// Up to `limit` accounts with a key after this one, in order of key.
    fn accounts_after(&self, key: &str, limit: usize) -> Result<Vec<AccountRow>, LogError>;
}

/// What the directory wants to know of an account.
#[derive(Debug)]
pub(crate) struct DirectoryEntry {
    pub(crate) key: Box<str>,
    pub(crate) recipient: Recipient,
    /// The import it came with.
    pub(crate) import: Option<ImportId>,
}

/// A block of a run: the key of its first entry, and the encoded entries.
pub(crate) type Block = (Box<[u8]>, Box<[u8]>);

/// Where other threads read one page at a time.
pub(crate) trait PageSource: Send + Sync {
    /// Calls `read` with a view of at least all that was committed before the call.
    fn with_view(
        &self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), LogError>,
    ) -> Result<(), LogError>;
}

/// The files of which the log says already that they cannot be read, since the process began.
static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
