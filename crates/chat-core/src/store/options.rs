//! How a store is set up.

#[cfg(feature = "embedded")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::account::PasswordParams;
use crate::{Clock, MAX_MESSAGE_BYTES, Random, SystemClock, SystemRandom};

/// Limits, and how much is kept in memory. `Default` gives the documented defaults; set what should differ:
///
/// ```
/// let mut options = chat_core::store::StoreOptions::default();
/// options.mailbox_messages = 500;
/// ```
///
/// Nothing of it is stored: the next start may use other values.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Longest message body, in bytes. Default 16 KiB.
    pub message_bytes: usize,
    /// Most undelivered messages in a mailbox. From half of it on, one sender may hold at most a quarter; the same holds
    /// for `mailbox_bytes`. Default 10,000.
    pub mailbox_messages: u64,
    /// Most bytes of undelivered message bodies in a mailbox. Default 32 MiB.
    pub mailbox_bytes: u64,
    /// Most sessions of an account. A login beyond that ends the session that was unused the longest. Default 100.
    pub sessions_per_account: usize,
    /// Most messages that an account may send with a [key](crate::store::Outgoing::key) within 24 hours of the store's
    /// running time. Default 1,000,000.
    pub keys_per_account: u64,
    /// How long a session lives without use. Default 30 days.
    pub session_idle: Duration,
    /// How long messages are kept, counted from when they were stored. Undelivered ones stay however old they are.
    /// Default 30 days.
    pub retention: Duration,
    /// How many of its newest messages a mailbox keeps once they are delivered. Default 10,000.
    pub retention_messages: u64,
    /// How many requests may wait for the store. When it is full, callers wait for a place. At least 1. Default 4,096.
    pub queue: usize,
    /// Most requests that are taken from the queue for one commit. At least 1. Default 1,024.
    pub batch: usize,
    /// How many of the newest records (messages, acknowledgements and other changes) memory indexes before they are
    /// flushed to the index on disk. More takes more memory, and longer to recover at a start. Default 200,000.
    pub stretch: u64,
    /// Bytes of the newest message bodies kept in memory, so that reading soon after sending costs no disk. Default 4 MiB.
    pub recent_bytes: usize,
    /// How many accounts' names and settings stay in memory once used, and for a while up to twice as many. Default 100,000.
    pub cached_mailboxes: usize,
    /// Cost of new password hashes. Default: see [`PasswordParams`].
    pub password: PasswordParams,
    /// Whether an unknown user at login is answered like a wrong password. Default off, as the existing servers answer.
    pub hide_unknown_users: bool,
    /// The wall clock. Default [`SystemClock`].
    pub clock: Arc<dyn Clock>,
    /// The source of tokens and of the names of incarnations. Default [`SystemRandom`].
    pub random: Arc<dyn Random>,
    /// What a watch holds in memory.
    pub(crate) watch: WatchBounds,
}

impl Default for StoreOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            message_bytes: MAX_MESSAGE_BYTES,
            mailbox_messages: 10_000,
            mailbox_bytes: 32 * 1024 * 1024,
            sessions_per_account: 100,
            keys_per_account: 1_000_000,
            session_idle: 30 * DAY,
            retention: 30 * DAY,
            retention_messages: 10_000,
            queue: 4_096,
            batch: 1_024,
            stretch: 200_000,
            recent_bytes: 4 * 1024 * 1024,
            cached_mailboxes: 100_000,
            password: PasswordParams::default(),
            hide_unknown_users: false,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            watch: if cfg!(test) { WatchBounds::SMALL } else { WatchBounds::USUAL },
        }
    }
}

/// What a watch may hold in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchBounds {
    /// Most events that wait to be taken.
    pub(crate) events: usize,
    /// Most messages that are read from the store at once.
    pub(crate) page_messages: usize,
    /// Most bytes of their bodies.
    pub(crate) page_bytes: usize,
}

impl WatchBounds {
    /// A commit of that many messages to one user goes through without lagging, and catching up costs no more.
    pub(crate) const USUAL: Self =
        Self { events: 1_024, page_messages: 256, page_bytes: 256 * 1024 };
    /// For tests: so little that much happens between.
    pub(crate) const SMALL: Self = Self { events: 16, page_messages: 8, page_bytes: 200 };
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions").finish_non_exhaustive()
    }
}

/// Where and how a store on disk keeps its files: a journal, and a SQLite database beside it.
///
/// ```
/// use chat_core::store::{Durability, SqliteOptions};
///
/// let mut sqlite = SqliteOptions::new("/var/lib/my-service/chat");
/// sqlite.durability = Durability::ProcessCrash;
/// ```
#[cfg(feature = "embedded")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The directory. Made with mode 0700 if it is missing, and so are those above it.
    pub directory: PathBuf,
    /// What an acknowledgement survives. Default [`Durability::PowerLoss`].
    pub durability: Durability,
    /// How large the database's write-ahead log may grow before the writer restarts it, in bytes. Default 64 MiB.
    pub wal_bytes: u64,
    /// How large a file of the journal grows before the next one is begun, in bytes. The newest one is read whole at
    /// start, which takes about a tenth of a second for 64 MiB; a file is deleted once retention has passed all of it.
    /// Default 64 MiB.
    pub segment_bytes: u64,
}

#[cfg(feature = "embedded")]
impl SqliteOptions {
    /// The defaults, in this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::PowerLoss,
            wal_bytes: 64 * 1024 * 1024,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// What an acknowledged message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A crash of the process, of the system, and loss of power: every commit is synced before it is acknowledged.
    #[default]
    PowerLoss,
    /// A crash of the process only. When the system crashes or loses power, the last seconds of acknowledged messages
    /// can be gone; the next start gives every mailbox a new incarnation, so that clients notice.
    ProcessCrash,
}

/// Small enough that reading the newest one at start is quick, and large enough that the milliseconds of beginning
/// another are rare. Tests cut small.
#[cfg(feature = "embedded")]
pub(crate) const SEGMENT_BYTES: u64 = if cfg!(test) { 2_000 } else { 64 * 1024 * 1024 };
