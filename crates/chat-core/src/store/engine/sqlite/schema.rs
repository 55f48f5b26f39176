//! The tables, and how older files become current ones.

use std::path::Path;

use rusqlite::Connection;

use super::{engine_error, view, write};
use crate::store::engine::journal::{Journal, Mark};
use crate::store::engine::log::{Batch, LogError};

/// Marks the file as ours in SQLite's header ("chat" in ASCII).
const APPLICATION_ID: i64 = 0x6368_6174;

/// What stands in a file's header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Nothing yet.
    Empty,
    /// A store of ours, up to date or not.
    Ours { version: i64 },
    /// Some other program's database.
    Foreign,
}

/// The newest schema version this program knows.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

pub(super) fn header(connection: &Connection) -> rusqlite::Result<Header> {
    let read = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = read("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (read("PRAGMA application_id")?, read("PRAGMA user_version")?) {
        (APPLICATION_ID, version) => Header::Ours { version },
        (0, 0) if tables == 0 => Header::Empty,
        _ => Header::Foreign,
    })
}

/// Brings a file from its version to the newest, one transaction a step.
pub(super) fn migrate(
    connection: &mut Connection,
    from: i64,
    journal: &Path,
) -> Result<(), LogError> {
    for (version, statements) in (1..).zip(MIGRATIONS) {
        if version > from {
            // Until the transaction is committed the file is of the version before, and the journal is made again.
            let moved = (version == JOURNAL_SINCE).then(|| move_to_journal(connection, journal));
            let moved = moved.transpose()?;
            let transaction = connection.transaction().map_err(engine_error)?;
            transaction.execute_batch(statements).map_err(engine_error)?;
            if let Some(moved) = moved {
                moved.note(&transaction).map_err(engine_error)?;
            }
            transaction
                .pragma_update(None, "application_id", APPLICATION_ID)
                .map_err(engine_error)?;
            transaction.pragma_update(None, "user_version", version).map_err(engine_error)?;
            transaction.commit().map_err(engine_error)?;
        }
    }
    Ok(())
}

/// A journal with all that the table `log` held.
struct Moved {
    store: [u8; 16],
    start: u64,
    mark: Mark,
}

impl Moved {
    fn note(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute("INSERT INTO meta VALUES ('journal', ?1)", [self.store])?;
        connection.execute("INSERT INTO meta VALUES ('start', ?1)", [self.start])?;
        write::put_mark(connection, self.mark)
    }
}

fn move_to_journal(connection: &Connection, directory: &Path) -> Result<Moved, LogError> {
    let store = connection.query_row("SELECT randomblob(16)", [], |row| row.get(0));
    let store = store.map_err(engine_error)?;
    let start = first_position(connection).map_err(engine_error)?;
    let mut journal = Journal::create(directory, store, start)?;
    journal.set_sync(false);
    let mut first = start;
    loop {
        let records = view::old_records(connection, first, MOVED_AT_ONCE).map_err(engine_error)?;
        if records.is_empty() {
            break;
        }
        let batch = Batch { first, records, ..Batch::default() };
        journal.append(&batch)?;
        first = batch.next();
    }
    journal.sync()?;
    Ok(Moved { store, start, mark: journal.mark() })
}

/// Of the oldest record, or of the next one if there is none.
fn first_position(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce((SELECT min(position) FROM log), (SELECT value + 1 FROM meta WHERE name = 'covered'))";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Makes a file of the first version, for tests that open it.
#[cfg(test)]
pub(super) fn make_first(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
}

/// What each version adds to the one before. An entry is never changed once it was released.
const MIGRATIONS: &[&str] = &["
    -- What happened, in the order it was committed. kind: 0 message, 1 cursor, 2 account created, 3 changed, 4 removed.
    CREATE TABLE log (
        position INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        id INTEGER NOT NULL,
        time INTEGER NOT NULL,
        sender INTEGER,
        sender_username TEXT,
        sender_name TEXT,
        body TEXT
    ) STRICT;
    CREATE TABLE heads (
        mailbox INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        cursor INTEGER NOT NULL,
        waiting_bytes INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        applied INTEGER NOT NULL
    ) STRICT;
    -- The log positions of ids 64 * number to 64 * number + 63 of a mailbox.
    CREATE TABLE mailbox_index (
        mailbox INTEGER NOT NULL,
        number INTEGER NOT NULL,
        entries BLOB NOT NULL,
        PRIMARY KEY (mailbox, number)
    ) STRICT, WITHOUT ROWID;
    -- Undelivered messages older than what the log keeps.
    CREATE TABLE parked (
        mailbox INTEGER NOT NULL,
        id INTEGER NOT NULL,
        time INTEGER NOT NULL,
        sender INTEGER NOT NULL,
        sender_username TEXT NOT NULL,
        sender_name TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (mailbox, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE accounts (
        number INTEGER PRIMARY KEY,
        key TEXT UNIQUE,
        username TEXT NOT NULL,
        name TEXT NOT NULL,
        password TEXT NOT NULL,
        created INTEGER NOT NULL,
        removed INTEGER,
        import INTEGER
    ) STRICT;
    CREATE TABLE sessions (
        key BLOB PRIMARY KEY,
        number INTEGER NOT NULL,
        account INTEGER NOT NULL,
        created INTEGER NOT NULL,
        last_used INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE imports (id INTEGER PRIMARY KEY, first_account INTEGER NOT NULL) STRICT;
    -- Each names the life of all mailboxes from a log position on.
    CREATE TABLE incarnations (began INTEGER PRIMARY KEY, name BLOB NOT NULL) STRICT;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('covered', 0), ('relaxed', 0), ('probe', '');
", "
    -- Of a posted message: 16 bytes that stand for its key, 8 for recipient and text. kind 5: another incarnation.
    ALTER TABLE log ADD COLUMN key BLOB;
    -- The position at which the mailbox's own incarnation began; 0 if it has the store's.
    ALTER TABLE heads ADD COLUMN began INTEGER NOT NULL DEFAULT 0;
    -- The same of its own incarnation before that one.
    ALTER TABLE heads ADD COLUMN began_before INTEGER NOT NULL DEFAULT 0;
    -- Where the message was in the log; 0 if that is not known.
    ALTER TABLE parked ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
    -- 0 default, 1 on, 2 off.
    ALTER TABLE accounts ADD COLUMN receipts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE accounts ADD COLUMN presence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE accounts ADD COLUMN blocks INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE blocks (
        account INTEGER NOT NULL,
        blocked INTEGER NOT NULL,
        PRIMARY KEY (account, blocked)
    ) STRICT, WITHOUT ROWID;
    -- When everything up to an id of a mailbox was delivered.
    CREATE TABLE deliveries (
        mailbox INTEGER NOT NULL,
        upto INTEGER NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (mailbox, upto)
    ) STRICT, WITHOUT ROWID;
    -- Sorted runs, written once. kind: 0 conversations, 1 keys.
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        complete INTEGER NOT NULL,
        level INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        until INTEGER NOT NULL,
        filter BLOB NOT NULL
    ) STRICT;
    CREATE TABLE run_blocks (
        run INTEGER NOT NULL,
        first BLOB NOT NULL,
        entries BLOB NOT NULL,
        PRIMARY KEY (run, first)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('running', 0), ('secret', randomblob(16));
", "
    -- The records are in the journal now.
    DROP TABLE log;
    INSERT INTO meta VALUES ('segment', 1), ('sequence', 1), ('syncs', 0);
", "
    -- The heads of mailboxes 64 * number to 64 * number + 63. A row of heads counts only while there is none here.
    CREATE TABLE head_rows (number INTEGER PRIMARY KEY, heads BLOB NOT NULL) STRICT;
    -- Runs of kind 2 have what mailbox_index had, which is not added to any more.
    -- Whom usernames lead to, in the order of the accounts, without their rows.
    CREATE INDEX directory ON accounts (number, key, import, blocks) WHERE removed IS NULL AND key IS NOT NULL;
", "
    -- Runs of kind 3 have where the posted messages of each account lie, by their keys. Those of kind 1 have keys and what was
    -- answered; none is added any more.
", "
    -- What the blocks of runs hold, by a number of their own. Beside their first keys it was read whole for each key that a
    -- search compares: so does SQLite with rows without rowid that are longer than a quarter of a page.
    CREATE TABLE run_entries (block INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
    ALTER TABLE run_blocks RENAME TO old_run_blocks;
    CREATE TABLE run_blocks (
        run INTEGER NOT NULL,
        first BLOB NOT NULL,
        block INTEGER NOT NULL,
        PRIMARY KEY (run, first)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO run_blocks SELECT run, first, row_number() OVER () FROM
        (SELECT run, first FROM old_run_blocks ORDER BY run, first);
    INSERT INTO run_entries SELECT row_number() OVER (), entries FROM
        (SELECT entries FROM old_run_blocks ORDER BY run, first);
    DROP TABLE old_run_blocks;
", "
    -- Runs of kind 4 have where posted messages lie, by hashes of their senders and keys. None of kind 3 is added any more.
"];

/// The version from which on the records are in the journal.
const JOURNAL_SINCE: i64 = 3;
/// Records in one frame, and in memory at once.
const MOVED_AT_ONCE: usize = 1_000;
