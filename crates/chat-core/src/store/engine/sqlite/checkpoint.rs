//! Moving the write-ahead log into the database, so that it stays small.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Result};

use super::open::BUSY_TIMEOUT;

/// Passive checkpoints on a thread of their own, and the writer's last word when that is not enough.
///
/// A passive checkpoint stands in nobody's way, but while the writer goes on it never reaches the end of the log, so
/// the log never starts over. Once it passes its bound, and little is left to move, the writer finishes the checkpoint
/// itself between two commits. A reader that holds a snapshot for long delays that until it is gone, and the log grows
/// meanwhile.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wal: PathBuf,
    max_bytes: u64,
    progress: Arc<Progress>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How far passive checkpoints have come.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes of the log that are in the database.
    moved: AtomicU64,
    /// Grows when the log starts over, after which what was moved counts no more.
    lap: AtomicU64,
}

impl Checkpointer {
    pub(super) fn start(database: PathBuf, max_bytes: u64) -> Self {
        let wal = wal_path(&database);
        let progress = Arc::new(Progress::default());
        let (wake, woken) = sync_channel::<()>(1);
        let moving = Arc::clone(&progress);
        let work = move || {
            let mut connection = None;
            while woken.recv().is_ok() {
                if let Err(error) = checkpoint_passively(&database, &mut connection, &moving) {
                    tracing::warn!(%error, "checkpoint failed");
                    connection = None;
                }
            }
        };
        let thread = std::thread::Builder::new().name("chat-checkpoint".into()).spawn(work);
        if let Err(error) = &thread {
            tracing::error!(%error, "no thread for checkpoints; the writer does them all");
        }
        Self { wal, max_bytes, progress, wake: Some(wake), thread: thread.ok() }
    }

    /// Called by the writer between two commits.
    ///
    /// # Errors
    /// The log is not there any more: what is written goes nowhere.
    pub(super) fn after_commit(&self, writer: &Connection) -> std::io::Result<()> {
        let size = std::fs::metadata(&self.wal)?.len();
        let rest = size.saturating_sub(self.progress.moved.load(Ordering::Relaxed));
        let little = rest <= MOST_BY_WRITER_BYTES || self.thread.is_none();
        if size > self.max_bytes && little && restart(writer) {
            self.progress.lap.fetch_add(1, Ordering::Relaxed);
            self.progress.moved.store(0, Ordering::Relaxed);
        } else if rest > PASSIVE_EVERY_BYTES.min(self.max_bytes / 4) {
            // A full channel means that one is about to run already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
        Ok(())
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
fn restart(writer: &Connection) -> bool {
    // Readers hold the log for a page; do not wait for one that holds it longer, a later commit tries again.
    let restarted = writer
        .busy_timeout(Duration::ZERO)
        .and_then(|()| checkpoint(writer, "TRUNCATE"))
        .and_then(|done| writer.busy_timeout(BUSY_TIMEOUT).map(|()| done.complete));
    restarted.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot restart the write-ahead log");
        false
    })
}

fn checkpoint_passively(
    database: &Path,
    connection: &mut Option<Connection>,
    progress: &Progress,
) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open_with_flags(database, flags)?),
    };
    let lap = progress.lap.load(Ordering::Relaxed);
    let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let done = checkpoint(connection, "PASSIVE")?;
    if lap == progress.lap.load(Ordering::Relaxed) {
        progress
            .moved
            .store(done.frames.saturating_mul(page + FRAME_HEADER_BYTES), Ordering::Relaxed);
    }
    Ok(())
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

/// What stands before each page in the log (sqlite.org/fileformat2.html#walformat).
const FRAME_HEADER_BYTES: u64 = 24;
/// How much the log grows between two passive checkpoints; a quarter of its bound if that is less. What a checkpoint syncs is
/// in the way of commits for as long as the disk takes for it: about 7 ms at the rate below.
const PASSIVE_EVERY_BYTES: u64 = 2 * 1024 * 1024;
/// The most that the writer moves itself, while everybody waits: about 4 ms (measured: 280 MB a second).
const MOST_BY_WRITER_BYTES: u64 = PASSIVE_EVERY_BYTES / 2;
