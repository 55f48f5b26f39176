//! [`SqliteLog`]: the log in a journal, with the index and other tables in a SQLite database (WAL mode) beside it.
//!
//! The store's thread is the only writer. Readers of pages have connections of their own, and so has the checkpointer.

mod checkpoint;
mod open;
mod schema;
mod syncer;
mod view;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::heads::HeadRow;
use super::index::IndexRow;
use super::journal::{Journal, Whole, has_more_than_sessions, rows_of};
use super::log::{
    AccountRow, Batch, Block, DirectoryEntry, Log, LogError, PageSource, Parked, Record, Recovered,
    Slice, TABLES, View,
};
use super::runs;
use super::worker::Worker;
use crate::store::{AccountNumber, Durability, OpenError, SqliteOptions};
use crate::{MessageId, Timestamp};
use checkpoint::Checkpointer;
use syncer::Syncer;
use view::{PagePool, SqliteView};

/// The directory in the data directory.
const JOURNAL: &str = "journal";

/// The log in a journal and SQLite.
///
/// A batch is durable when the journal has it. Its records stay there; its rows are put into the database without a
/// sync, those of sessions later and several at once. After a crash the journal gives the rows that the database lacks.
#[derive(Debug)]
pub(crate) struct SqliteLog {
    options: SqliteOptions,
    connection: Connection,
    journal: Journal,
    syncer: Syncer,
    /// Rows that only the journal has, of sessions for the most part.
    owed: Vec<Batch>,
    /// What the tables held when this was opened, until that is asked for.
    tables: Option<Recovered>,
    /// How many batches' rows came from the journal when this was opened.
    caught_up: usize,
    /// Whether the database says what must be known at the next start.
    in_use: bool,
    /// Which file this is: see [`open::file_identity`].
    identity: String,
    pages: Arc<PagePool>,
    checkpointer: Checkpointer,
    /// Held as long as the store is open, so that no second process opens the directory.
    _lock: open::Lock,
}

impl SqliteLog {
    /// Opens the store in a directory, making both if they are missing.
    pub(crate) fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let mut lock = open::lock_directory(&options.directory)?;
        let path = options.directory.join(TABLES);
        let journal = options.directory.join(JOURNAL);
        let mut connection = open::open_writer(&path, &journal, open::is_marked(&lock))?;
        let on_opening = |error: LogError| error.on_opening(options.directory.clone());
        let (tables, whole) = look(&connection, journal).map_err(on_opening)?;
        let (mut journal, caught_up) = open_journal(&connection, whole).map_err(on_opening)?;
        journal.set_segment_bytes(options.segment_bytes);
        open::mark(&mut lock, &options.directory)?;
        let identity = open::file_identity(&path);
        let pages = Arc::new(PagePool::new(path.clone(), Arc::clone(journal.segments())));
        let mut checkpointer = Checkpointer::start(path, options.wal_bytes);
        checkpointer.follow(&mut connection).map_err(engine_error).map_err(on_opening)?;
        let owed = Vec::new();
        Ok(Self {
            options,
            connection,
            journal,
            syncer: Syncer::default(),
            owed,
            tables: Some(tables),
            caught_up,
            in_use: false,
            identity,
            pages,
            checkpointer,
            _lock: lock,
        })
    }

    /// Reads in one transaction until something is written, or [`rest`](Log::rest).
    fn view(&self) -> Result<SqliteView<'_>, LogError> {
        write::begin(&self.connection).map_err(engine_error)?;
        Ok(SqliteView(&self.connection, self.journal.segments()))
    }

    fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> Result<(), LogError> {
        let put = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        self.connection.execute(put, rusqlite::params![name, value]).map(drop).map_err(engine_error)
    }

    /// Puts the rows of a batch that is in the journal, or owes them; whether it put any.
    fn put_rows(&mut self, batch: &Batch) -> Result<bool, LogError> {
        if !has_more_than_sessions(batch) && self.owed.len() < MOST_OWED {
            self.owed.extend((!batch.sessions.is_empty()).then(|| rows_of(batch)));
            write::rest(&self.connection).map_err(engine_error)?;
            return Ok(false);
        }
        self.before_database()?;
        write::put_rows(&self.connection, self.owed.iter().chain([batch]), self.journal.mark())
            .map_err(engine_error)?;
        Ok(true)
    }

    /// What comes after a batch is in the journal.
    fn follow_up(&mut self, batch: &Batch) -> Result<(), LogError> {
        match self.put_rows(batch) {
            Ok(true) => self.after_database(),
            Ok(false) => Ok(()),
            Err(error @ LogError::NoSpace(_)) => self.journal.undo().and(Err(error)),
            Err(error) => {
                // The batch is durable, and what became of its rows is not known: they are put again.
                self.owed.push(rows_of(batch));
                Err(error)
            }
        }
    }

    /// Puts what is owed.
    fn pay(&mut self) -> Result<(), LogError> {
        self.before_database()?;
        write::put_rows(&self.connection, &self.owed, self.journal.mark()).map_err(engine_error)?;
        self.owed.clear();
        Ok(())
    }

    /// What the database builds on is durable first, however little was promised.
    fn before_database(&mut self) -> Result<(), LogError> {
        self.journal.sync()
    }

    fn after_database(&mut self) -> Result<(), LogError> {
        self.owed.clear();
        let gone = |error| LogError::Failed(format!("the write-ahead log is gone: {error}"));
        self.checkpointer.after_commit(&self.connection).map_err(gone)
    }

    /// Whether the next process will find what this one has.
    fn check_whole(&self) -> Result<(), LogError> {
        self.journal.check_newest()?;
        if !open::is_locked_here(&self.options.directory) {
            // The directory was moved, with all that is in it.
            return Ok(());
        }
        self.journal.segments().check_there()?;
        let file = self.options.directory.join(TABLES);
        match open::file_identity(&file) == self.identity {
            true => Ok(()),
            false => Err(LogError::deleted(file)),
        }
    }

    /// Makes the database durable as it is.
    fn sync_database(&self) -> Result<(), LogError> {
        open::set_synced(&self.connection, true)
            .and_then(|()| write::sync(&self.connection))
            .and_then(|()| open::set_synced(&self.connection, false))
            .map_err(engine_error)
    }
}

/// Looks whether all that a start needs is whole, before anything is changed.
fn look(connection: &Connection, journal: PathBuf) -> Result<(Recovered, Whole), LogError> {
    // Statements that are right fail so for want of a table.
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) => LogError::damaged_tables(error.to_string()),
        _ => engine_error(error),
    };
    let opening = view::opening(connection, journal).map_err(failed)?;
    let whole = Journal::look(opening)?;
    let read = || view::tables(connection, &[]);
    let tables = write::with_rows(connection, whole.owed(), read).map_err(failed)?;
    runs::check(&tables.runs)?;
    Ok((tables, whole))
}

/// Opens the journal, and puts what the database lacks of it: the rows of so many batches.
fn open_journal(connection: &Connection, whole: Whole) -> Result<(Journal, usize), LogError> {
    checkpoint::settle(connection)
        .and_then(|()| open::set_kept(connection, false))
        .map_err(engine_error)?;
    let (journal, owed) = whole.open()?;
    write::put_rows(connection, &owed, journal.mark()).map_err(engine_error)?;
    Ok((journal, owed.len()))
}

#[cfg(test)]
impl SqliteLog {
    /// Makes an empty store of the first schema version in a directory.
    pub(crate) fn make_first(directory: &std::path::Path) -> Connection {
        schema::make_first(&directory.join(TABLES))
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

    /// Changes the tables beside the engine; how many rows.
    pub(crate) fn execute(&self, sql: &str) -> usize {
        write::rest(&self.connection).unwrap();
        self.connection.execute(sql, []).unwrap()
    }

    pub(crate) fn set_pragma(&self, name: &str, value: i64) {
        self.connection.pragma_update_and_check(None, name, value, |_| Ok(())).unwrap();
    }
}

impl Log for SqliteLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let mut recovered = match self.tables.take() {
            Some(tables) => tables,
            None => {
                write::begin(&self.connection).map_err(engine_error)?;
                view::tables(&self.connection, &self.owed).map_err(engine_error)?
            }
        };
        let segments = self.journal.segments();
        recovered.start = segments.start();
        recovered.lacks_oldest = segments.lacks_oldest().is_some();
        recovered.end = segments.next() - 1;
        let known = self.view()?.file_identity().map_err(engine_error)?;
        recovered.caught_up = self.caught_up;
        recovered.is_copy = known.is_some_and(|known| known != self.identity);
        Ok(recovered)
    }

    fn recovered(&mut self) -> Result<(), LogError> {
        self.rest()?;
        if self.in_use {
            return Ok(());
        }
        let relaxed = self.options.durability == Durability::ProcessCrash;
        open::set_synced(&self.connection, true).map_err(engine_error)?;
        self.set_meta("file", &self.identity)?;
        self.set_meta("relaxed", relaxed)?;
        // Not before that note is synced: were it lost with what follows, nobody would know that anything is.
        self.journal.set_sync(!relaxed);
        open::set_synced(&self.connection, false).map_err(engine_error)?;
        self.in_use = true;
        Ok(())
    }

    fn rest(&mut self) -> Result<(), LogError> {
        write::rest(&self.connection).map_err(engine_error)
    }

    fn release_memory(&mut self) -> Result<(), LogError> {
        self.rest()?;
        self.pages.drop_idle();
        self.connection.execute_batch("PRAGMA shrink_memory").map_err(engine_error)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.journal.append(batch)?;
        self.follow_up(batch)
    }

    fn begin_append(&mut self, batch: &Batch) -> Result<(), LogError> {
        if let Some(file) = self.journal.write(batch)? {
            self.syncer.begin(file);
        }
        Ok(())
    }

    fn end_append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let synced = self.syncer.end();
        self.journal.end_append(synced)?;
        self.follow_up(batch)
    }

    fn worker(&self) -> Worker {
        Worker::on_thread("chat-runs")
    }

    fn posted(&self, position: u64) -> Result<Option<Record>, LogError> {
        self.journal.segments().posted(position)
    }

    fn put(&mut self, slice: &Slice) -> Result<(), LogError> {
        self.before_database()?;
        write::put(&self.connection, slice, &self.owed, self.journal.mark())
            .map_err(engine_error)?;
        self.after_database()?;
        if let Some(before) = slice.trim_before
            && self.journal.trim(before, slice.posted_from.unwrap_or(before))
        {
            self.sync_database()?;
            self.journal.drop_gone();
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), LogError> {
        self.journal.probe()?;
        write::probe(&self.connection).map_err(engine_error)
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        let path = self.options.directory.join(TABLES);
        self.pages.drop_idle();
        self.journal.reopen()?;
        let journal = self.options.directory.join(JOURNAL);
        self.connection = open::open_writer(&path, &journal, true)
            .map_err(|error| LogError::Failed(error.to_string()))?;
        // A failed sync may have left pages of the write-ahead log that look written and are not. Moving all of it to
        // the database, with a sync of its own, and starting the log anew leaves nothing to trust in them.
        checkpoint::truncate(&self.connection).map_err(engine_error)?;
        self.checkpointer.follow(&mut self.connection).map_err(engine_error)?;
        open::set_kept(&self.connection, false).map_err(engine_error)?;
        open::set_synced(&self.connection, false).map_err(engine_error)?;
        self.pay()
    }

    #[cfg(test)]
    fn opened_anew(self) -> Self {
        let options = self.options.clone();
        drop(self);
        Self::open(options).expect("opens anew")
    }

    fn pages(&self) -> Arc<dyn PageSource> {
        Arc::<PagePool>::clone(&self.pages)
    }

    fn close(&mut self) -> Result<(), LogError> {
        self.checkpointer.stop();
        self.pages.drop_idle();
        let whole = self.check_whole();
        let closed = self
            .pay()
            .and_then(|()| self.set_meta("relaxed", false))
            .and_then(|()| checkpoint::truncate(&self.connection).map_err(engine_error));
        whole.and(closed)
    }
}

impl View for SqliteLog {
    fn records(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LogError> {
        self.view()?.records(from, limit)
    }

    fn record(&self, position: u64) -> Result<Option<Record>, LogError> {
        self.view()?.record(position)
    }

    fn heads(&self, row: u64) -> Result<HeadRow, LogError> {
        self.view()?.heads(row)
    }

    fn index_row(&self, mailbox: AccountNumber, row: u64) -> Result<Option<IndexRow>, LogError> {
        self.view()?.index_row(mailbox, row)
    }

    fn parked(&self, mailbox: AccountNumber, id: MessageId) -> Result<Option<Parked>, LogError> {
        self.view()?.parked(mailbox, id)
    }

    fn delivery(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Timestamp>, LogError> {
        self.view()?.delivery(mailbox, id)
    }

    fn blocks(&self, account: AccountNumber) -> Result<Vec<AccountNumber>, LogError> {
        self.view()?.blocks(account)
    }

    fn block_at(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view()?.block_at(run, key)
    }

    fn block_after(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view()?.block_after(run, key)
    }

    fn block_before(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.view()?.block_before(run, key)
    }

    fn run_is_complete(&self, run: u64) -> Result<bool, LogError> {
        self.view()?.run_is_complete(run)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>, LogError> {
        self.view()?.account_by_key(key)
    }

    fn account(&self, number: AccountNumber) -> Result<Option<AccountRow>, LogError> {
        self.view()?.account(number)
    }

    fn directory(
        &self,
        after: AccountNumber,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>, LogError> {
        self.view()?.directory(after, limit)
    }

    fn accounts_after(&self, key: &str, limit: usize) -> Result<Vec<AccountRow>, LogError> {
        self.view()?.accounts_after(key, limit)
    }
}

fn engine_error(error: rusqlite::Error) -> LogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => LogError::NoSpace(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt) => LogError::damaged_tables(error.to_string()),
        None if is_of_a_row(&error) => LogError::damaged_tables(error.to_string()),
        _ => LogError::Failed(error.to_string()),
    }
}

/// Whether a row is not as it was written, or one that is always there is missing.
fn is_of_a_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
            | Error::QueryReturnedNoRows
    )
}

/// Batches of session rows that only the journal has are put at the latest when they are so many: about 250 KiB.
const MOST_OWED: usize = if cfg!(test) { 3 } else { 1024 };
