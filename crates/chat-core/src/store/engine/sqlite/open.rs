//! Opening: the directory, the lock, the file.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::checkpoint::wal_path;
use super::engine_error;
use super::schema::{self, Header};
use crate::store::OpenError;
use crate::store::engine::journal;
use crate::store::engine::log::LogError;

/// What a lock file says once there is a store beside it.
const MARK: &[u8] =
    b"locked while a chat store is open here; without chat.db beside it the store is lost\n";
/// The file whose lock says that the directory is in use.
const LOCK_FILE: &str = "lock";

/// The locks of a data directory.
#[derive(Debug)]
pub(super) struct Lock {
    /// The file in it, which earlier versions lock, too.
    file: File,
    /// The directory itself, if its file system can lock it: somebody may delete the file.
    _directory: Option<File>,
}

/// Makes the directory if it is missing, for its owner alone, and locks it.
pub(super) fn lock_directory(directory: &Path) -> Result<Lock, OpenError> {
    let unusable = |source| unusable(directory, source);
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(unusable)?;
    let locked = || OpenError::Locked { path: directory.into() };
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(directory.join(LOCK_FILE))
        .map_err(unusable)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => locked(),
        TryLockError::Error(source) => unusable(source),
    })?;
    let itself = File::open(directory).ok();
    match itself.as_ref().map(File::try_lock) {
        Some(Err(TryLockError::WouldBlock)) => Err(locked()),
        _ => Ok(Lock { file, _directory: itself }),
    }
}

/// Whether the lock is where it was made.
pub(super) fn is_locked_here(directory: &Path) -> bool {
    directory.join(LOCK_FILE).exists()
}

fn unusable(directory: &Path, source: io::Error) -> OpenError {
    let path = directory.into();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::NoSpace { path },
        _ => OpenError::Directory { path, source },
    }
}

/// Whether a store was made in the locked directory before.
pub(super) fn is_marked(lock: &Lock) -> bool {
    lock.file.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// Notes in the lock file that there is a store, so that its database is missed if it goes.
pub(super) fn mark(lock: &mut Lock, directory: &Path) -> Result<(), OpenError> {
    if is_marked(lock) {
        return Ok(());
    }
    let unusable = |source| unusable(directory, source);
    sync_way_to(directory).map_err(unusable)?;
    lock.file.write_all(MARK).and_then(|()| lock.file.sync_all()).map_err(unusable)
}

/// Makes the names of the directory and of those it is in last: a sync of what is in a new directory need not do so.
fn sync_way_to(directory: &Path) -> io::Result<()> {
    for directory in fs::canonicalize(directory)?.ancestors() {
        // One that cannot be opened, or not be synced, is none that was made just now.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

/// Names the file itself, so that a copy of it is known for one: its inode, and when that was made. Empty if there is
/// no such file.
pub(super) fn file_identity(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else {
        return String::new();
    };
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let made = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{inode}:{}", made.unwrap_or_default().as_nanos())
}

/// Opens the writer's connection, makes or migrates the tables, and sets what every commit relies on. Commits are synced
/// until [`set_synced`], and what is in the write-ahead log stays there until [`set_kept`].
pub(super) fn open_writer(
    path: &Path,
    journal: &Path,
    was_there: bool,
) -> Result<Connection, OpenError> {
    // Whatever a journal holds, it is not for a new store to throw away.
    let was_there = was_there || journal::any_segment(journal).unwrap_or(true);
    let unusable = |error: LogError| error.on_opening(path.parent().unwrap_or(path).to_path_buf());
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign { path: path.into() },
        // Of statements that are right it says so where it cannot make anything of the file's header.
        Some(rusqlite::ErrorCode::Unknown) if was_there => {
            OpenError::Damaged { path: path.into(), reason: error.to_string() }
        }
        _ => unusable(engine_error(error)),
    };
    let missing = || Err(OpenError::Missing { path: path.into() });
    // SQLite would make the file, and delete the write-ahead log beside an empty one.
    if was_there && is_missing_or_empty(path) {
        return missing();
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let has_log = fs::metadata(wal_path(path)).is_ok_and(|log| log.len() > 0);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    if has_log {
        set_kept(&connection, true).map_err(failed)?;
    }
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    keep_plans(&connection).map_err(failed)?;
    let version = match schema::header(&connection).map_err(failed)? {
        Header::Empty if was_there => return missing(),
        Header::Empty => 0,
        Header::Ours { version } if version <= schema::newest() => version,
        Header::Ours { version: found } => {
            return Err(OpenError::Newer { path: path.into(), found, known: schema::newest() });
        }
        Header::Foreign => return Err(OpenError::Foreign { path: path.into() }),
    };
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    set_synced(&connection, true).map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB).map_err(failed)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    schema::migrate(&mut connection, version, journal).map_err(unusable)?;
    Ok(connection)
}

/// Has a statement keep its plan whatever it is given. Else SQLite compiles it again, in some 10 µs, whenever values are given that
/// another plan may be better for, and after they were cleared, as they are each time that a cached statement was used.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn is_missing_or_empty(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether commits are synced. Those of a running store need not be: the journal has what they write.
pub(super) fn set_synced(writer: &Connection, synced: bool) -> rusqlite::Result<()> {
    // FULL syncs the write-ahead log at every commit, NORMAL only at checkpoints
    // (sqlite.org/pragma.html#pragma_synchronous).
    writer.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })
}

/// Whether closing the connection leaves the write-ahead log as it is, and does not move it into the database. So a start that
/// is refused leaves them as it found them.
pub(super) fn set_kept(writer: &Connection, kept: bool) -> rusqlite::Result<()> {
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, kept).map(drop)
}

/// How long the writer waits for a foreign process that has the database locked, such as a shell.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the writer ever uses, so that none is prepared twice.
const STATEMENTS: usize = 64;
/// The page cache, in KiB; negative is how SQLite tells KiB from pages.
const CACHE_KIB: i64 = -16 * 1024;
