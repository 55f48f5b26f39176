//! Moving the write-ahead log into the database, so that it stays small.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result};

use super::open::BUSY_TIMEOUT;

/// Passive checkpoints on a thread of their own, and the writer's last word when that is not enough.
///
/// A passive checkpoint stands in nobody's way, but while the writer goes on it never reaches the end of the log, so
/// the log never starts over. Once it passes its bound, the writer finishes the checkpoint itself between two commits;
/// a reader that holds a snapshot for long delays that until it is gone, and the log grows meanwhile.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wal: PathBuf,
    max_bytes: u64,
    /// The size of the log at the last passive checkpoint.
    checkpointed: u64,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: u32,
}

impl Checkpointer {
    pub(super) fn start(database: PathBuf, max_bytes: u64) -> Self {
        let wal = wal_path(&database);
        let (wake, woken) = sync_channel::<()>(1);
        let work = move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = None;
            while woken.recv().is_ok() {
                if connection.is_none() {
                    connection = Connection::open_with_flags(&database, flags).ok();
                }
                let done = connection.as_ref().map(|connection| checkpoint(connection, "PASSIVE"));
                if let Some(Err(error)) = done {
                    tracing::warn!(%error, "checkpoint failed");
                    connection = None;
                }
            }
        };
        let thread = std::thread::Builder::new().name("chat-checkpoint".into()).spawn(work);
        if let Err(error) = &thread {
            tracing::error!(%error, "no thread for checkpoints; the writer does them all");
        }
        Self { wal, max_bytes, checkpointed: 0, wake: Some(wake), thread: thread.ok(), commits: 0 }
    }

    /// Called by the writer between two commits.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        self.commits = self.commits.wrapping_add(1);
        if !self.commits.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let size = wal_size(&self.wal);
        if size > self.max_bytes && self.restart(writer) {
            self.checkpointed = 0;
        } else if size > self.checkpointed.saturating_add(PASSIVE_EVERY_BYTES) {
            self.checkpointed = size;
            // A full channel means that one is about to run already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
    }

    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Finishes the checkpoint and starts the log over; whether that worked.
    fn restart(&self, writer: &Connection) -> bool {
        // Readers hold the log for a page; do not wait for one that holds it longer, a later commit tries again.
        let restarted = writer
            .busy_timeout(Duration::ZERO)
            .and_then(|()| checkpoint(writer, "TRUNCATE"))
            .and_then(|complete| writer.busy_timeout(BUSY_TIMEOUT).map(|()| complete));
        match restarted {
            Ok(complete) => complete,
            Err(error) => {
                tracing::warn!(%error, "cannot restart the write-ahead log");
                false
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Moves everything to the database and empties the log.
pub(super) fn truncate(connection: &Connection) -> Result<()> {
    checkpoint(connection, "TRUNCATE").map(drop)
}

/// Runs a checkpoint; whether it moved everything.
fn checkpoint(connection: &Connection, mode: &str) -> Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(row.get::<_, i64>(0)? == 0)
    })
}

fn wal_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn wal_size(wal: &Path) -> u64 {
    std::fs::metadata(wal).map_or(0, |metadata| metadata.len())
}

/// Commits between two looks at the size of the log: a look costs a system call, and a commit adds at most a few MiB.
const LOOK_EVERY: u32 = 16;
/// How much the log grows between two passive checkpoints.
const PASSIVE_EVERY_BYTES: u64 = 32 * 1024 * 1024;
