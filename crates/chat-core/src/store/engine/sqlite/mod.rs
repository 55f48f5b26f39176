//! [`SqliteLog`]: the log in a SQLite database (WAL mode), one file in one directory.
//!
//! The store's thread is the only writer. Readers of pages have connections of their own, and so has the checkpointer.

mod checkpoint;
mod open;
mod schema;
mod view;
mod write;

use std::fs::File;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::index::IndexRow;
use super::log::{
    AccountRow, Batch, Block, Log, LogError, PageSource, Parked, Record, Recovered, Slice, View,
};
use super::mailbox::Head;
use crate::store::{AccountNumber, Durability, OpenError, SqliteOptions};
use crate::{MessageId, Timestamp};
use checkpoint::Checkpointer;
use view::{PagePool, SqliteView};

/// The file in the data directory.
const FILE: &str = "chat.db";

/// The log in SQLite.
#[derive(Debug)]
pub(crate) struct SqliteLog {
    options: SqliteOptions,
    connection: Connection,
    /// Which file this is: see [`open::file_identity`].
    identity: String,
    pages: Arc<PagePool>,
    checkpointer: Checkpointer,
    /// Held as long as the store is open, so that no second process opens the directory.
    _lock: File,
}

impl SqliteLog {
    /// Opens the store in a directory, making both if they are missing.
    pub(crate) fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let mut lock = open::lock_directory(&options.directory)?;
        let path = options.directory.join(FILE);
        let connection = open::open_writer(&path, open::is_marked(&lock))?;
        checkpoint::settle(&connection)
            .map_err(|error| OpenError::Engine { path: path.clone(), reason: error.to_string() })?;
        open::mark(&mut lock, &options.directory)?;
        let identity = open::file_identity(&path);
        let pages = Arc::new(PagePool::new(path.clone()));
        let checkpointer = Checkpointer::start(path, options.wal_bytes);
        Ok(Self { options, connection, identity, pages, checkpointer, _lock: lock })
    }

    fn view(&self) -> SqliteView<'_> {
        SqliteView(&self.connection)
    }

    fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> Result<(), LogError> {
        let put = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        self.connection.execute(put, rusqlite::params![name, value]).map(drop).map_err(engine_error)
    }
}

#[cfg(test)]
impl SqliteLog {
    /// Makes an empty store of the first schema version in a directory.
    pub(crate) fn make_first(directory: &std::path::Path) -> Connection {
        schema::make_first(&directory.join(FILE))
    }

    pub(crate) fn pragma(&self, name: &str) -> i64 {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// Writes a copy of the file that is as small as can be.
    pub(crate) fn vacuum_into(&self, path: &std::path::Path) {
        self.connection.execute("VACUUM INTO ?1", [path.to_str()]).unwrap();
    }

    pub(crate) fn set_pragma(&self, name: &str, value: i64) {
        self.connection.pragma_update_and_check(None, name, value, |_| Ok(())).unwrap();
    }
}

impl Log for SqliteLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let mut recovered = self.view().recover().map_err(engine_error)?;
        let known = self.view().file_identity().map_err(engine_error)?;
        // A copy that was put in place of the original is as old as it is.
        recovered.may_have_lost |= known.is_some_and(|known| known != self.identity);
        Ok(recovered)
    }

    fn recovered(&mut self) -> Result<(), LogError> {
        self.set_meta("file", &self.identity)?;
        self.set_meta("relaxed", self.options.durability == Durability::ProcessCrash)?;
        // Not before that note is synced: were it lost with what follows, nobody would know that anything is.
        open::set_durability(&self.connection, self.options.durability).map_err(engine_error)
    }

    fn begin(&mut self) -> Result<(), LogError> {
        write::begin(&self.connection).map_err(engine_error)
    }

    fn rest(&mut self) -> Result<(), LogError> {
        write::rest(&self.connection).map_err(engine_error)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        write::append(&self.connection, batch).map_err(engine_error)?;
        let gone = |error| LogError::Failed(format!("the write-ahead log is gone: {error}"));
        self.checkpointer.after_commit(&self.connection).map_err(gone)
    }

    fn put(&mut self, slice: &Slice) -> Result<(), LogError> {
        write::put(&self.connection, slice).map_err(engine_error)
    }

    fn probe(&mut self) -> Result<(), LogError> {
        write::probe(&self.connection).map_err(engine_error)
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        let path = self.options.directory.join(FILE);
        self.pages.drop_idle();
        self.connection =
            open::open_writer(&path, true).map_err(|error| LogError::Failed(error.to_string()))?;
        // A failed sync may have left pages of the write-ahead log that look written and are not. Moving all of it to
        // the database, with a sync of its own, and starting the log anew leaves nothing to trust in them.
        checkpoint::truncate(&self.connection).map_err(engine_error)
    }

    fn pages(&self) -> Arc<dyn PageSource> {
        Arc::<PagePool>::clone(&self.pages)
    }

    fn close(&mut self) -> Result<(), LogError> {
        self.checkpointer.stop();
        self.pages.drop_idle();
        self.set_meta("relaxed", false)?;
        checkpoint::truncate(&self.connection).map_err(engine_error)
    }
}

impl View for SqliteLog {
    fn records(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LogError> {
        self.view().records(from, limit)
    }

    fn record(&self, position: u64) -> Result<Option<Record>, LogError> {
        self.view().record(position)
    }

    fn head(&self, mailbox: AccountNumber) -> Result<Option<Head>, LogError> {
        self.view().head(mailbox)
    }

    fn index_row(&self, mailbox: AccountNumber, row: u64) -> Result<Option<IndexRow>, LogError> {
        self.view().index_row(mailbox, row)
    }

    fn parked(&self, mailbox: AccountNumber, id: MessageId) -> Result<Option<Parked>, LogError> {
        self.view().parked(mailbox, id)
    }

    fn delivery(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Timestamp>, LogError> {
        self.view().delivery(mailbox, id)
    }

    fn blocks(&self, account: AccountNumber) -> Result<Vec<AccountNumber>, LogError> {
        self.view().blocks(account)
    }

    fn block_at(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view().block_at(run, key)
    }

    fn block_after(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view().block_after(run, key)
    }

    fn block_before(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view().block_before(run, key)
    }

    fn run_is_complete(&self, run: u64) -> Result<bool, LogError> {
        self.view().run_is_complete(run)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>, LogError> {
        self.view().account_by_key(key)
    }

    fn account(&self, number: AccountNumber) -> Result<Option<AccountRow>, LogError> {
        self.view().account(number)
    }

    fn accounts_after(&self, key: &str, limit: usize) -> Result<Vec<AccountRow>, LogError> {
        self.view().accounts_after(key, limit)
    }
}

fn engine_error(error: rusqlite::Error) -> LogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => LogError::NoSpace(error.to_string()),
        _ => LogError::Failed(error.to_string()),
    }
}
