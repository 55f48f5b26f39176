//! Moving the write-ahead log into the database, so that it stays small.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Result};

use super::open::BUSY_TIMEOUT;

/// Passive checkpoints on a thread of their own, and the writer's last word when that is not enough.
///
/// A passive checkpoint stands in nobody's way. If it reaches the end of the log before the writer goes on, the log starts
/// over with what is written next. While much is written it does not, so once the log passes its bound, and little is left to
/// move, the writer finishes the checkpoint itself between two commits. A reader that holds a snapshot for long delays that
/// until it is gone, and the log grows meanwhile.
///
/// A log that starts over stays as large as it was, since to write what is there again costs less than new pages, unless it
/// is more than twice its bound.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wal: PathBuf,
    max_bytes: u64,
    /// How long the log was after the last commit, in frames: SQLite says so after each.
    committed: Arc<AtomicU64>,
    /// The same when that was looked at last.
    seen: u64,
    /// Grows when the log starts over, after which what was moved counts no more.
    lap: u64,
    moved: Arc<Mutex<Moved>>,
    wake: Option<SyncSender<u64>>,
    thread: Option<JoinHandle<()>>,
}

/// How much of the log passive checkpoints have moved into the database.
#[derive(Debug, Default)]
struct Moved {
    /// Since which start of the log.
    lap: u64,
    frames: u64,
}

impl Checkpointer {
    pub(super) fn start(database: PathBuf, max_bytes: u64) -> Self {
        let wal = wal_path(&database);
        let moved = Arc::<Mutex<Moved>>::default();
        let (wake, woken) = sync_channel(1);
        let moving = Arc::clone(&moved);
        let work = move || {
            let mut connection = None;
            while let Ok(lap) = woken.recv() {
                match checkpoint_passively(&database, &mut connection) {
                    Ok(frames) => {
                        *moving.lock().unwrap_or_else(PoisonError::into_inner) =
                            Moved { lap, frames };
                    }
                    Err(error) => {
                        tracing::warn!(%error, "checkpoint failed");
                        connection = None;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("chat-checkpoint".into()).spawn(work);
        if let Err(error) = &thread {
            tracing::error!(%error, "no thread for checkpoints; the writer does them all");
        }
        Self {
            wal,
            max_bytes,
            committed: Arc::default(),
            seen: 0,
            lap: 0,
            moved,
            wake: Some(wake),
            thread: thread.ok(),
        }
    }

    /// Learns of the commits of this connection, the only writer's, from now on.
    pub(super) fn follow(&mut self, writer: &mut Connection) -> Result<()> {
        self.start_over();
        let committed = Arc::clone(&self.committed);
        writer.wal_hook(Some(move |_: &mut _, frames| {
            committed.store(u64::try_from(frames).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Called by the writer between two commits.
    ///
    /// # Errors
    /// The log is not there any more: what is written goes nowhere.
    pub(super) fn after_commit(&mut self, writer: &Connection) -> std::io::Result<()> {
        let size = std::fs::metadata(&self.wal)?.len();
        let rest = self.rest();
        let little = rest <= MOST_BY_WRITER || self.thread.is_none();
        let is_excessive = size > 2 * self.max_bytes;
        let is_long = self.seen > self.max_bytes / FRAME_BYTES || is_excessive;
        if is_long && little && restart(writer, if is_excessive { "TRUNCATE" } else { "RESTART" }) {
            self.start_over();
        } else if rest > PASSIVE_EVERY.min(self.max_bytes / 4 / FRAME_BYTES) {
            // A full channel means that one is about to run already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(self.lap));
        }
        Ok(())
    }

    /// How many frames are still to be moved, as far as is known.
    fn rest(&mut self) -> u64 {
        let committed = self.committed.load(Ordering::Relaxed);
        if committed < self.seen {
            self.lap += 1;
        }
        self.seen = committed;
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = if moved.lap == self.lap { moved.frames } else { 0 };
        committed.saturating_sub(frames)
    }

    fn start_over(&mut self) {
        self.committed.store(0, Ordering::Relaxed);
        (self.seen, self.lap) = (0, self.lap + 1);
    }

    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes durable what an earlier process left in the log, which it may have been killed before it synced: it is shown
/// from now on. Without room for that in the database it stays in the log, which SQLite syncs first.
pub(super) fn settle(connection: &Connection) -> Result<()> {
    match truncate(connection) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(%error, "no room to move the write-ahead log into the database");
            Ok(())
        }
        settled => settled,
    }
}

/// Moves everything to the database and empties the log.
pub(super) fn truncate(connection: &Connection) -> Result<()> {
    checkpoint(connection, "TRUNCATE").map(drop)
}

/// Finishes the checkpoint and starts the log over; whether that worked.
fn restart(writer: &Connection, mode: &str) -> bool {
    // Readers hold the log for a page; do not wait for one that holds it longer, a later commit tries again.
    let restarted = writer
        .busy_timeout(Duration::ZERO)
        .and_then(|()| checkpoint(writer, mode))
        .and_then(|done| writer.busy_timeout(BUSY_TIMEOUT).map(|()| done.complete));
    restarted.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot restart the write-ahead log");
        false
    })
}

/// How many frames of the log are in the database then.
fn checkpoint_passively(database: &Path, connection: &mut Option<Connection>) -> Result<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open_with_flags(database, flags)?),
    };
    checkpoint(connection, "PASSIVE").map(|done| done.frames)
}

/// What a checkpoint came to.
struct Checkpointed {
    /// It did what it was asked to; no reader or other checkpoint was in the way.
    complete: bool,
    /// Frames of the log that are in the database.
    frames: u64,
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<Checkpointed> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let frames = row.get::<_, i64>(2)?;
        Ok(Checkpointed {
            complete: row.get::<_, i64>(0)? == 0,
            frames: u64::try_from(frames).unwrap_or(0),
        })
    })
}

pub(super) fn wal_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A page of the log, which is one of the database (SQLite's default), and what stands before it
/// (sqlite.org/fileformat2.html#walformat).
const FRAME_BYTES: u64 = 4_096 + 24;
/// How much the log grows between two passive checkpoints, 2 MiB; a quarter of its bound if that is less. What a checkpoint
/// syncs is in the way of commits for as long as the disk takes for it: about 7 ms at the rate below.
const PASSIVE_EVERY: u64 = 2 * 1024 * 1024 / FRAME_BYTES;
/// The most that the writer moves itself, while everybody waits: about 4 ms (measured: 280 MB a second).
const MOST_BY_WRITER: u64 = PASSIVE_EVERY / 2;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Commits so many pages.
    fn commit(writer: &Connection, pages: usize) {
        let page = [7_u8; 3_000];
        writer.execute_batch("BEGIN").unwrap();
        for _ in 0..pages {
            writer.execute("INSERT INTO pages VALUES (?1)", [page]).unwrap();
        }
        writer.execute_batch("COMMIT").unwrap();
    }

    #[test]
    fn what_is_left_to_move_is_known_though_the_log_starts_over_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("chat.db");
        let mut writer = Connection::open(&database).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        writer.execute_batch("CREATE TABLE pages (page BLOB)").unwrap();
        let mut checkpointer = Checkpointer::start(database, 1 << 30);
        checkpointer.follow(&mut writer).unwrap();
        for lap in 0..3 {
            commit(&writer, 600);
            checkpointer.after_commit(&writer).unwrap();
            assert!(checkpointer.seen > 600, "{} frames in lap {lap}", checkpointer.seen);
            let begun = Instant::now();
            while checkpointer.rest() > 0 {
                assert!(begun.elapsed() < Duration::from_secs(10), "not moved in lap {lap}");
                std::thread::yield_now();
            }
            // All is moved, so the log starts over.
            commit(&writer, 1);
            checkpointer.after_commit(&writer).unwrap();
            assert!(
                checkpointer.rest() < 10,
                "{} frames to move in lap {lap}",
                checkpointer.rest()
            );
        }
        let log = std::fs::metadata(&checkpointer.wal).unwrap().len();
        assert!(log < 700 * FRAME_BYTES, "{log} bytes");
    }
}
