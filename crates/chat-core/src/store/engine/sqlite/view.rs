//! The reading half.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, Row};

use super::engine_error;
use super::open::keep_plans;
use super::write::run_kind;
use crate::account::PasswordHash;
use crate::store::engine::directory::Recipient;
use crate::store::engine::heads::{self, HeadRow};
use crate::store::engine::index::IndexRow;
use crate::store::engine::journal::{Mark, Opening, Segments};
use crate::store::engine::log::{
    AccountChange, AccountRow, Batch, Block, DirectoryEntry, Keyed, LogError, PageSource, Parked,
    Record, Recovered, RunKind, RunRow, SessionChange, SessionRow, View,
};
use crate::store::engine::mailbox::Head;
use crate::store::{AccountNumber, ImportId, Message, PostKey, PrivacyChoice, SessionKey};
use crate::{MessageId, Timestamp};

/// A connection and the journal as a [`View`].
#[derive(Debug)]
pub(super) struct SqliteView<'a>(pub(super) &'a Connection, pub(super) &'a Segments);

impl SqliteView<'_> {
    /// The identity of the file that was last opened as this store; `None` if none was.
    pub(super) fn file_identity(&self) -> Result<Option<String>> {
        self.0
            .query_row("SELECT value FROM meta WHERE name = 'file'", [], |row| row.get(0))
            .optional()
    }

    /// What earlier versions wrote, a row for each head. It counts until the heads are written anew.
    fn old_heads(&self, row: u64) -> Result<HeadRow> {
        let mut statement = self.0.prepare_cached("SELECT * FROM heads WHERE mailbox = ?1")?;
        let one = |row: &Row<'_>| {
            Ok(Head {
                last: MessageId::new(row.get(1)?),
                cursor: MessageId::new(row.get(2)?),
                waiting_bytes: row.get(3)?,
                floor: MessageId::new(row.get(4)?),
                applied: row.get(5)?,
                began: row.get(6)?,
                began_before: row.get(7)?,
            })
        };
        let heads = heads::mailboxes(row).map(|mailbox| {
            Ok(statement.query_row([mailbox.0], one).optional()?.unwrap_or_default())
        });
        heads.collect::<Result<_>>().map(HeadRow)
    }

    fn block(
        &self,
        sql: &str,
        run: u64,
        key: &[u8],
    ) -> std::result::Result<Option<Block>, LogError> {
        self.find(sql, rusqlite::params![run, key], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// At most one row, read by primary key or unique index.
    fn find<T>(
        &self,
        sql: &str,
        key: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> std::result::Result<Option<T>, LogError> {
        let mut statement = self.0.prepare_cached(sql).map_err(engine_error)?;
        statement.query_row(key, read).optional().map_err(engine_error)
    }
}

/// What reads the first block of a run in such an order of first keys; the tables are read in the order in which they stand.
macro_rules! first_block {
    ($order:literal) => {
        concat!(
            "SELECT first, entries FROM run_blocks CROSS JOIN run_entries USING (block)
             WHERE run = ?1 AND ",
            $order,
            " LIMIT 1"
        )
    };
}

impl View for SqliteView<'_> {
    fn records(
        &self,
        from: u64,
        limit: usize,
    ) -> std::result::Result<Vec<(u64, Record)>, LogError> {
        self.1.records(from, limit)
    }

    fn record(&self, position: u64) -> std::result::Result<Option<Record>, LogError> {
        self.1.record(position)
    }

    fn expect(&self, positions: &[u64]) {
        self.1.expect(positions);
    }

    fn heads(&self, row: u64) -> std::result::Result<HeadRow, LogError> {
        let sql = "SELECT heads FROM head_rows WHERE number = ?1";
        let decoded =
            self.find(sql, [row], |found| Ok(HeadRow::decode(found.get_ref(0)?.as_blob()?)))?;
        match decoded {
            Some(Some(heads)) => Ok(heads),
            Some(None) => Err(LogError::damaged_tables(format!("row {row} of heads is damaged"))),
            None => self.old_heads(row).map_err(engine_error),
        }
    }

    fn index_row(
        &self,
        mailbox: AccountNumber,
        number: u64,
    ) -> std::result::Result<Option<IndexRow>, LogError> {
        let sql = "SELECT entries FROM mailbox_index WHERE mailbox = ?1 AND number = ?2";
        let decoded = self.find(sql, [mailbox.0, number], |row| {
            Ok(IndexRow::decode(number, row.get_ref(0)?.as_blob()?))
        })?;
        match decoded {
            Some(None) => Err(LogError::damaged_tables(format!(
                "index row {number} of mailbox {} is damaged",
                mailbox.0
            ))),
            Some(row) => Ok(row),
            None => Ok(None),
        }
    }

    fn parked(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> std::result::Result<Option<Parked>, LogError> {
        let sql = "SELECT position, time, sender, sender_username, sender_name, body FROM parked WHERE mailbox = ?1 AND id = ?2";
        self.find(sql, [mailbox.0, id.get()], |row| {
            Ok(Parked { position: row.get(0)?, message: message(row, id, 1)? })
        })
    }

    fn delivery(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> std::result::Result<Option<Timestamp>, LogError> {
        let sql =
            "SELECT time FROM deliveries WHERE mailbox = ?1 AND upto >= ?2 ORDER BY upto LIMIT 1";
        self.find(sql, [mailbox.0, id.get()], |row| Ok(Timestamp::from_millis(row.get(0)?)))
    }

    fn blocks(&self, account: AccountNumber) -> std::result::Result<Vec<AccountNumber>, LogError> {
        let read = || {
            let mut statement =
                self.0.prepare_cached("SELECT blocked FROM blocks WHERE account = ?1")?;
            let rows = statement.query_map([account.0], |row| Ok(AccountNumber(row.get(0)?)))?;
            rows.collect::<Result<Vec<_>>>()
        };
        read().map_err(engine_error)
    }

    fn block_at(&self, run: u64, key: &[u8]) -> std::result::Result<Option<Block>, LogError> {
        self.block(first_block!("first <= ?2 ORDER BY first DESC"), run, key)
    }

    fn block_after(&self, run: u64, key: &[u8]) -> std::result::Result<Option<Block>, LogError> {
        self.block(first_block!("first > ?2 ORDER BY first"), run, key)
    }

    fn block_before(&self, run: u64, key: &[u8]) -> std::result::Result<Option<Block>, LogError> {
        self.block(first_block!("first < ?2 ORDER BY first DESC"), run, key)
    }

    fn run_is_complete(&self, run: u64) -> std::result::Result<bool, LogError> {
        let sql = "SELECT complete FROM runs WHERE number = ?1";
        Ok(self.find(sql, [run], |row| row.get(0))?.unwrap_or(false))
    }

    fn account_by_key(&self, key: &str) -> std::result::Result<Option<AccountRow>, LogError> {
        self.find("SELECT * FROM accounts WHERE key = ?1", [key], account)
    }

    fn account(&self, number: AccountNumber) -> std::result::Result<Option<AccountRow>, LogError> {
        self.find("SELECT * FROM accounts WHERE number = ?1", [number.0], account)
    }

    fn directory(
        &self,
        after: AccountNumber,
        limit: usize,
    ) -> std::result::Result<Vec<DirectoryEntry>, LogError> {
        let read = || {
            let mut statement = self.0.prepare_cached(
                "SELECT number, key, import, blocks FROM accounts INDEXED BY directory
                 WHERE number > ?1 AND removed IS NULL AND key IS NOT NULL ORDER BY number LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map((after.0, limit), |row| {
                let number = AccountNumber(row.get(0)?);
                Ok(DirectoryEntry {
                    key: row.get(1)?,
                    recipient: Recipient { number, blocks: row.get::<_, u64>(3)? > 0 },
                    import: row.get::<_, Option<u64>>(2)?.map(ImportId),
                })
            })?;
            rows.collect::<Result<Vec<_>>>()
        };
        read().map_err(engine_error)
    }

    fn accounts_after(
        &self,
        key: &str,
        limit: usize,
    ) -> std::result::Result<Vec<AccountRow>, LogError> {
        let read = || {
            let mut statement = self
                .0
                .prepare_cached("SELECT * FROM accounts WHERE key > ?1 ORDER BY key LIMIT ?2")?;
            let rows =
                statement.query_map((key, i64::try_from(limit).unwrap_or(i64::MAX)), account)?;
            rows.collect::<Result<Vec<_>>>()
        };
        read().map_err(engine_error)
    }
}

/// What the tables hold, with changes of sessions that only the journal has. What is to be known of the journal is left out.
pub(super) fn tables(connection: &Connection, owed: &[Batch]) -> Result<Recovered> {
    let highest = "SELECT coalesce(max(number), 0) FROM accounts";
    let meta = |name| {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        connection.query_row(sql, [name], |row| row.get::<_, u64>(0))
    };
    let secret = "SELECT value FROM meta WHERE name = 'secret'";
    let incarnations = "SELECT began, name FROM incarnations ORDER BY began";
    Ok(Recovered {
        covered: meta("covered")?,
        next_account: connection.query_row(highest, [], |row| row.get::<_, u64>(0))? + 1,
        sessions: sessions(connection, owed)?,
        imports: rows(connection, "SELECT id, first_account FROM imports", |row| {
            Ok((ImportId(row.get(0)?), AccountNumber(row.get(1)?)))
        })?,
        incarnations: rows(connection, incarnations, |row| Ok((row.get(0)?, row.get(1)?)))?,
        runs: rows(connection, "SELECT * FROM runs ORDER BY number", run)?,
        running: Duration::from_secs(meta("running")?),
        secret: connection.query_row(secret, [], |row| row.get(0))?,
        may_have_lost: meta("relaxed")? != 0,
        ..Recovered::default()
    })
}

fn sessions(connection: &Connection, owed: &[Batch]) -> Result<Vec<(SessionKey, SessionRow)>> {
    let sql = "SELECT key, number, account, created, last_used FROM sessions";
    let there = rows(connection, sql, |row| {
        let session = SessionRow {
            number: row.get(1)?,
            account: AccountNumber(row.get(2)?),
            created: Timestamp::from_millis(row.get(3)?),
            last_used: Timestamp::from_millis(row.get(4)?),
        };
        Ok((SessionKey(row.get(0)?), session))
    })?;
    if owed.is_empty() {
        return Ok(there);
    }
    let mut sessions: HashMap<_, _> = there.into_iter().collect();
    for change in owed.iter().flat_map(|batch| &batch.sessions) {
        match change {
            SessionChange::Put(key, row) => drop(sessions.insert(*key, *row)),
            SessionChange::Delete(key) => drop(sessions.remove(key)),
        }
    }
    Ok(sessions.into_iter().collect())
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

/// What the journal is opened by.
pub(super) fn opening(connection: &Connection, directory: PathBuf) -> Result<Opening> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let number = |name| connection.query_row(sql, [name], |row| row.get::<_, u64>(0));
    Ok(Opening {
        directory,
        store: connection.query_row(sql, ["journal"], |row| row.get(0))?,
        mark: Mark { segment: number("segment")?, sequence: number("sequence")? },
        start: number("start")?,
        needed_from: number("covered")?.saturating_add(1),
        was_relaxed: number("relaxed")? != 0,
    })
}

/// Records of a file from before there was a journal.
pub(super) fn old_records(connection: &Connection, from: u64, limit: usize) -> Result<Vec<Record>> {
    let sql = "SELECT * FROM log WHERE position >= ?1 ORDER BY position LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.query_map((from, limit), old_record)?.collect()
}

/// What `log.kind` said, by record.
mod kind {
    pub(super) const MESSAGE: i64 = 0;
    pub(super) const CURSOR: i64 = 1;
    pub(super) const CREATED: i64 = 2;
    pub(super) const CHANGED: i64 = 3;
    pub(super) const REMOVED: i64 = 4;
    pub(super) const INCARNATION: i64 = 5;
}

/// A row of `log`, all columns in order.
fn old_record(row: &Row<'_>) -> Result<Record> {
    let mailbox = AccountNumber(row.get(2)?);
    let id = MessageId::new(row.get(3)?);
    let time = Timestamp::from_millis(row.get(4)?);
    let account = |change| Record::Account { account: mailbox, change, time };
    Ok(match row.get(1)? {
        kind::MESSAGE => {
            let key = row.get::<_, Option<[u8; 24]>>(9)?.map(keyed);
            Record::Message { mailbox, message: message(row, id, 4)?, key }
        }
        kind::CURSOR => Record::Cursor { mailbox, upto: id, time },
        kind::CREATED => account(AccountChange::Created),
        kind::CHANGED => account(AccountChange::Changed),
        kind::REMOVED => account(AccountChange::Removed),
        kind::INCARNATION => Record::Incarnation { mailbox, time },
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
    })
}

/// Five columns from `first` on: time, sender, sender_username, sender_name, body.
fn message(row: &Row<'_>, id: MessageId, first: usize) -> Result<Arc<Message>> {
    Ok(Arc::new(Message {
        id,
        time: Timestamp::from_millis(row.get(first)?),
        sender: AccountNumber(row.get(first + 1)?),
        from: row.get(first + 2)?,
        from_name: row.get(first + 3)?,
        body: row.get(first + 4)?,
    }))
}

/// The last column of a posted message.
fn keyed(column: [u8; 24]) -> Keyed {
    let (mut key, mut request) = ([0; 16], [0; 8]);
    let (first, second) = column.split_at(16);
    key.copy_from_slice(first);
    request.copy_from_slice(second);
    Keyed { key: PostKey(key), request }
}

/// A row of `runs`, all columns in order.
fn run(row: &Row<'_>) -> Result<RunRow> {
    Ok(RunRow {
        number: row.get(0)?,
        kind: match row.get(1)? {
            run_kind::CONVERSATIONS => RunKind::Conversations,
            run_kind::KEYS => RunKind::Keys,
            run_kind::KEYS_BY_ACCOUNT => RunKind::KeysByAccount,
            run_kind::KEYS_IN_FULL => RunKind::KeysInFull,
            run_kind::INDEX => RunKind::Index,
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
        },
        complete: row.get(2)?,
        level: row.get(3)?,
        entries: row.get(4)?,
        until: row.get(5)?,
        filter: row.get(6)?,
    })
}

/// A row of `accounts`, all columns in order.
fn account(row: &Row<'_>) -> Result<AccountRow> {
    let hash: Box<str> = row.get(4)?;
    Ok(AccountRow {
        number: AccountNumber(row.get(0)?),
        key: row.get(1)?,
        username: row.get(2)?,
        name: row.get(3)?,
        hash: PasswordHash::trusted(hash),
        created: Timestamp::from_millis(row.get(5)?),
        removed: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
        import: row.get::<_, Option<u64>>(7)?.map(ImportId),
        receipts: choice(row, 8)?,
        presence: choice(row, 9)?,
        blocks: row.get(10)?,
    })
}

/// What `write::choice_column` made.
fn choice(row: &Row<'_>, column: usize) -> Result<PrivacyChoice> {
    match row.get(column)? {
        0 => Ok(PrivacyChoice::Default),
        1 => Ok(PrivacyChoice::On),
        2 => Ok(PrivacyChoice::Off),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(column, other)),
    }
}

/// Read-only connections for pages, opened as they are needed and kept.
#[derive(Debug)]
pub(super) struct PagePool {
    path: PathBuf,
    segments: Arc<Segments>,
    idle: Mutex<Vec<Connection>>,
}

impl PagePool {
    pub(super) fn new(path: PathBuf, segments: Arc<Segments>) -> Self {
        Self { path, segments, idle: Mutex::new(Vec::new()) }
    }

    /// Closes the connections nobody uses now.
    pub(super) fn drop_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        keep_plans(&connection)?;
        connection.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
        Ok(connection)
    }
}

impl PageSource for PagePool {
    fn with_view(
        &self,
        read: &mut dyn FnMut(&dyn View) -> std::result::Result<(), LogError>,
    ) -> std::result::Result<(), LogError> {
        let connection = self.take().map_err(engine_error)?;
        // One transaction a page: one snapshot, and the write-ahead log is not held back longer than that.
        let transaction = connection.unchecked_transaction().map_err(engine_error)?;
        let result = read(&SqliteView(&transaction, &self.segments));
        drop(transaction);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }
}

/// The page cache of a reader, in KiB (negative for SQLite): a page of messages and its index.
const READER_CACHE_KIB: i64 = -2 * 1024;

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::SqliteOptions;
    use crate::store::engine::sqlite::SqliteLog;

    #[test]
    fn statements_are_compiled_once() {
        const HEADS: &str = "SELECT heads FROM head_rows WHERE number = ?1";
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(SqliteOptions::new(directory.path())).unwrap();
        let reader = log.pages.take().unwrap();
        for connection in [&log.connection, &reader] {
            let view = SqliteView(connection, log.journal.segments());
            for row in 0..3 {
                view.heads(row).unwrap();
                view.block_after(row, &[0; 24]).unwrap();
            }
            for sql in [HEADS, first_block!("first > ?2 ORDER BY first")] {
                let statement = connection.prepare_cached(sql).unwrap();
                assert_eq!(statement.get_status(StatementStatus::Run), 3);
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
            }
        }
    }
}
