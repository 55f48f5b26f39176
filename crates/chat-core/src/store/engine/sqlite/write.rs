//! The writing half: rows and slices.

use std::time::Duration;

use rusqlite::{Connection, Result, params};

use crate::store::PrivacyChoice;
use crate::store::engine::journal::Mark;
use crate::store::engine::log::{
    AccountRow, Batch, BlockChange, ImportChange, Parked, RunChange, RunKind, SessionChange, Slice,
};

/// What `runs.kind` says.
pub(super) mod run_kind {
    pub(in super::super) const CONVERSATIONS: i64 = 0;
    pub(in super::super) const KEYS_IN_FULL: i64 = 1;
    pub(in super::super) const INDEX: i64 = 2;
    pub(in super::super) const KEYS_BY_ACCOUNT: i64 = 3;
    pub(in super::super) const KEYS: i64 = 4;
}

/// Opens a transaction, if none is open. It locks nothing before the first read or write.
pub(super) fn begin(connection: &Connection) -> Result<()> {
    if connection.is_autocommit() {
        connection.prepare_cached("BEGIN")?.execute([])?;
    }
    Ok(())
}

/// Ends a transaction that only read, if one is open.
pub(super) fn rest(connection: &Connection) -> Result<()> {
    if !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK")?.execute([])?;
    }
    Ok(())
}

/// Takes the write lock for the transaction that is open. A reader that finds the header of the write-ahead log half
/// written takes it too, for a moment, and SQLite does not wait for it on behalf of a transaction that has read already.
fn lock(connection: &Connection) -> Result<()> {
    let mut nothing = connection.prepare_cached("UPDATE meta SET value = value WHERE FALSE")?;
    for _ in 0..LOCK_TRIES {
        match nothing.execute([]) {
            Err(error) if is_busy(&error) => std::thread::sleep(LOCK_PAUSE),
            done => return done.map(drop),
        }
    }
    nothing.execute([]).map(drop)
}

/// Not if the snapshot is old, which does not pass.
fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_BUSY)
}

/// Runs `write` in a transaction, the one that is open if there is one. It is committed, and synced if the connection
/// does so, or rolled back.
fn transact(connection: &Connection, write: impl FnOnce() -> Result<()>) -> Result<()> {
    begin(connection)?;
    let written = lock(connection)
        .and_then(|()| write())
        .and_then(|()| connection.prepare_cached("COMMIT")?.execute([]).map(drop));
    if written.is_err() {
        // An error may have ended the transaction already, and the first error is the one to tell.
        let _ = rest(connection);
    }
    written
}

/// Puts the rows that batches of the journal changed, in order, and notes that they are here.
pub(super) fn put_rows<'a>(
    connection: &Connection,
    batches: impl IntoIterator<Item = &'a Batch>,
    mark: Mark,
) -> Result<()> {
    transact(connection, || {
        batches.into_iter().try_for_each(|batch| change_rows(connection, batch))?;
        put_mark(connection, mark)
    })
}

/// Reads the tables as they will be with the rows of these batches, which are not put yet.
pub(super) fn with_rows<T>(
    connection: &Connection,
    batches: &[Batch],
    read: impl FnOnce() -> Result<T>,
) -> Result<T> {
    begin(connection)?;
    let changed = match batches {
        [] => Ok(()),
        batches => lock(connection)
            .and_then(|()| batches.iter().try_for_each(|batch| change_rows(connection, batch))),
    };
    let read = changed.and_then(|()| read());
    rest(connection).and(read)
}

/// Notes how far the database is with the journal's rows.
pub(super) fn put_mark(connection: &Connection, mark: Mark) -> Result<()> {
    let mut put = connection.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?;
    put.execute(params!["segment", mark.segment])?;
    put.execute(params!["sequence", mark.sequence]).map(drop)
}

fn change_rows(connection: &Connection, batch: &Batch) -> Result<()> {
    for account in &batch.accounts {
        put_account(connection, account)?;
    }
    for change in &batch.sessions {
        change_session(connection, change)?;
    }
    for change in &batch.blocks {
        change_block(connection, change)?;
    }
    for change in &batch.imports {
        change_import(connection, change)?;
    }
    if let Some(name) = batch.incarnation {
        let sql = "INSERT OR REPLACE INTO incarnations VALUES (?1, ?2)";
        connection.execute(sql, params![batch.first, name])?;
    }
    Ok(())
}

fn put_account(connection: &Connection, row: &AccountRow) -> Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (number) DO UPDATE SET key = excluded.key, username = excluded.username, name = excluded.name,
         password = excluded.password, removed = excluded.removed, import = excluded.import,
         receipts = excluded.receipts, presence = excluded.presence, blocks = excluded.blocks",
    )?;
    put.execute(params![
        row.number.0,
        row.key,
        row.username,
        row.name,
        row.hash.as_str(),
        row.created.as_millis(),
        row.removed.map(|time| time.as_millis()),
        row.import.map(|import| import.0),
        choice_column(row.receipts),
        choice_column(row.presence),
        row.blocks,
    ])?;
    Ok(())
}

fn choice_column(choice: PrivacyChoice) -> i64 {
    match choice {
        PrivacyChoice::Default => 0,
        PrivacyChoice::On => 1,
        PrivacyChoice::Off => 2,
    }
}

fn change_block(connection: &Connection, change: &BlockChange) -> Result<()> {
    let statement = match change.on {
        true => "INSERT OR IGNORE INTO blocks VALUES (?1, ?2)",
        false => "DELETE FROM blocks WHERE account = ?1 AND blocked = ?2",
    };
    connection.prepare_cached(statement)?.execute([change.account.0, change.blocked.0])?;
    Ok(())
}

fn change_session(connection: &Connection, change: &SessionChange) -> Result<()> {
    match change {
        SessionChange::Put(key, row) => connection
            .prepare_cached("INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                key.0,
                row.number,
                row.account.0,
                row.created.as_millis(),
                row.last_used.as_millis()
            ])?,
        SessionChange::Delete(key) => {
            connection.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([key.0])?
        }
    };
    Ok(())
}

fn change_import(connection: &Connection, change: &ImportChange) -> Result<()> {
    match change {
        ImportChange::Begin(import, first) => connection.execute(
            "INSERT OR REPLACE INTO imports VALUES (?1, ?2)",
            params![import.0, first.0],
        )?,
        ImportChange::End(import) => {
            connection.execute("DELETE FROM imports WHERE id = ?1", [import.0])?
        }
    };
    Ok(())
}

/// Puts a slice of background work, and the rows that are owed.
pub(super) fn put(
    connection: &Connection,
    slice: &Slice,
    owed: &[Batch],
    mark: Mark,
) -> Result<()> {
    transact(connection, || {
        owed.iter().try_for_each(|batch| change_rows(connection, batch))?;
        put_mark(connection, mark)?;
        put_heads(connection, slice)?;
        drop_index(connection, slice)?;
        park(connection, slice)?;
        put_deliveries(connection, slice)?;
        for change in &slice.runs {
            change_run(connection, change)?;
        }
        if let Some(running) = slice.running {
            let seconds = i64::try_from(running.as_secs()).unwrap_or(i64::MAX);
            connection
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'running'")?
                .execute([seconds])?;
        }
        if let Some(before) = slice.trim_before {
            connection
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'start'")?
                .execute([before])?;
        }
        if let Some(covered) = slice.covered {
            connection
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'covered'")?
                .execute([covered])?;
        }
        if let Some((import, from, to)) = slice.drop_accounts {
            connection
                .prepare_cached(
                    "DELETE FROM accounts WHERE number >= ?2 AND number < ?3 AND import = ?1",
                )?
                .execute([import.0, from.0, to.0])?;
        }
        Ok(())
    })
}

fn put_heads(connection: &Connection, slice: &Slice) -> Result<()> {
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO head_rows VALUES (?1, ?2)")?;
    for (number, row) in &slice.heads {
        put.execute(params![number, row.0])?;
    }
    Ok(())
}

fn drop_index(connection: &Connection, slice: &Slice) -> Result<()> {
    let mut drop_rows = connection
        .prepare_cached("DELETE FROM mailbox_index WHERE mailbox = ?1 AND number < ?2")?;
    for (mailbox, below) in &slice.drop_rows {
        drop_rows.execute([mailbox.0, *below])?;
    }
    for mailbox in &slice.drop_mailboxes {
        for statement in [
            "DELETE FROM heads WHERE mailbox = ?1",
            "DELETE FROM mailbox_index WHERE mailbox = ?1",
            "DELETE FROM parked WHERE mailbox = ?1",
            "DELETE FROM deliveries WHERE mailbox = ?1",
            "DELETE FROM blocks WHERE account = ?1",
        ] {
            connection.prepare_cached(statement)?.execute([mailbox.0])?;
        }
    }
    Ok(())
}

fn park(connection: &Connection, slice: &Slice) -> Result<()> {
    let mut drop =
        connection.prepare_cached("DELETE FROM parked WHERE mailbox = ?1 AND id <= ?2")?;
    for (mailbox, upto) in &slice.drop_parked {
        drop.execute([mailbox.0, upto.get()])?;
    }
    let mut park = connection
        .prepare_cached("INSERT OR REPLACE INTO parked VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (mailbox, Parked { position, message }) in &slice.park {
        park.execute(params![
            mailbox.0,
            message.id.get(),
            message.time.as_millis(),
            message.sender.0,
            &*message.from,
            &*message.from_name,
            &*message.body,
            position,
        ])?;
    }
    Ok(())
}

fn put_deliveries(connection: &Connection, slice: &Slice) -> Result<()> {
    let mut put =
        connection.prepare_cached("INSERT OR REPLACE INTO deliveries VALUES (?1, ?2, ?3)")?;
    for (mailbox, upto, time) in &slice.deliveries {
        put.execute(params![mailbox.0, upto.get(), time.as_millis()])?;
    }
    let mut drop =
        connection.prepare_cached("DELETE FROM deliveries WHERE mailbox = ?1 AND upto <= ?2")?;
    for (mailbox, upto) in &slice.drop_deliveries {
        drop.execute([mailbox.0, upto.get()])?;
    }
    Ok(())
}

fn change_run(connection: &Connection, change: &RunChange) -> Result<()> {
    match change {
        RunChange::Put(run) => connection
            .prepare_cached("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                run.number,
                match run.kind {
                    RunKind::Conversations => run_kind::CONVERSATIONS,
                    RunKind::Keys => run_kind::KEYS,
                    RunKind::KeysByAccount => run_kind::KEYS_BY_ACCOUNT,
                    RunKind::KeysInFull => run_kind::KEYS_IN_FULL,
                    RunKind::Index => run_kind::INDEX,
                },
                run.complete,
                run.level,
                run.entries,
                run.until,
                run.filter
            ])?,
        RunChange::Block { run, first, entries } => put_block(connection, *run, first, entries)?,
        RunChange::Drop { run, blocks } => drop_blocks(connection, *run, *blocks)?,
    };
    Ok(())
}

/// Each block is put once: a number is never given to two runs.
fn put_block(connection: &Connection, run: u64, first: &[u8], entries: &[u8]) -> Result<usize> {
    connection
        .prepare_cached("INSERT INTO run_entries (entries) VALUES (?1)")?
        .execute([entries])?;
    connection.prepare_cached("INSERT INTO run_blocks VALUES (?1, ?2, ?3)")?.execute(params![
        run,
        first,
        connection.last_insert_rowid()
    ])
}

fn drop_blocks(connection: &Connection, run: u64, blocks: usize) -> Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM run_entries WHERE block IN
             (SELECT block FROM run_blocks WHERE run = ?1 ORDER BY first LIMIT ?2)",
        )?
        .execute(params![run, blocks])?;
    let dropped = connection
        .prepare_cached(
            "DELETE FROM run_blocks WHERE run = ?1 AND first IN
             (SELECT first FROM run_blocks WHERE run = ?1 ORDER BY first LIMIT ?2)",
        )?
        .execute(params![run, blocks])?;
    if dropped < blocks {
        connection.prepare_cached("DELETE FROM runs WHERE number = ?1")?.execute([run])?;
    }
    Ok(dropped)
}

/// Commits something, so that a connection which syncs its commits makes all before it durable. What changes nothing is
/// not written, and so not synced.
pub(super) fn sync(connection: &Connection) -> Result<()> {
    transact(connection, || {
        let sql = "UPDATE meta SET value = value + 1 WHERE name = 'syncs'";
        connection.prepare_cached(sql)?.execute([]).map(drop)
    })
}

/// Writes and takes back about as much as a busy commit needs, so that success means there is room again.
pub(super) fn probe(connection: &Connection) -> Result<()> {
    for filler in [PROBE_BYTES, 0] {
        transact(connection, || {
            let sql = "UPDATE meta SET value = zeroblob(?1) WHERE name = 'probe'";
            connection.execute(sql, [filler]).map(drop)
        })?;
    }
    Ok(())
}

/// Together as long as a statement waits that may ([`BUSY_TIMEOUT`](super::open::BUSY_TIMEOUT)).
const LOCK_TRIES: u32 = 50_000;
const LOCK_PAUSE: Duration = Duration::from_micros(100);
/// Room that has to be there before writes are taken again.
const PROBE_BYTES: i64 = 256 * 1024;
