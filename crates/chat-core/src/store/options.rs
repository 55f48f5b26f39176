//! How a store is set up.

#[cfg(feature = "embedded")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::account::PasswordParams;
use crate::{Clock, MAX_MESSAGE_BYTES, Random, SystemClock, SystemRandom};

/// What any store can be told. `Default` gives the documented defaults; set what shall differ:
///
/// ```
/// let mut options = chat_core::store::StoreOptions::default();
/// options.mailbox_messages = 500;
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Longest message body, in bytes. Default 16 KiB.
    pub message_bytes: usize,
    /// Most undelivered messages in a mailbox. Default 10,000.
    pub mailbox_messages: u64,
    /// Most bytes of undelivered message bodies in a mailbox. Default 32 MiB.
    pub mailbox_bytes: u64,
    /// Most sessions of an account; one more ends the longest unused. Default 100.
    pub sessions_per_account: usize,
    /// Most keys of posted messages that an account may have within 24 hours of running time. Default 1,000,000.
    pub keys_per_account: u64,
    /// How long a session lives without use. Default 30 days.
    pub session_idle: Duration,
    /// How long delivered messages are kept. Default 30 days.
    pub retention: Duration,
    /// How many messages of a mailbox are kept once delivered. Default 10,000.
    pub retention_messages: u64,
    /// How many requests may wait for the store. When full, callers wait for a place. At least 1. Default
    /// 4,096.
    pub queue: usize,
    /// How many requests go into one commit at most. At least 1. Default 1,024.
    pub batch: usize,
    /// How many log positions the newest stretch may cover before it is flushed to the index. Default 200,000.
    pub stretch: u64,
    /// Bytes of the newest message bodies kept in memory, so that reading soon after sending costs no disk. Default 4 MiB.
    pub recent_bytes: usize,
    /// How many accounts' names and settings stay in memory once used, and for a while up to twice as many. Default 100,000.
    pub cached_mailboxes: usize,
    /// Cost of new password hashes.
    pub password: PasswordParams,
    /// Answer an unknown user at login like a wrong password. Default off, as the existing servers answer.
    pub hide_unknown_users: bool,
    /// The time. Default the system's clock.
    pub clock: Arc<dyn Clock>,
    /// What tokens and names that must be new are made from. Default the system's source.
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

/// Where and how the embedded engine keeps its files.
#[cfg(feature = "embedded")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The directory; made with mode 0700 if it is missing.
    pub directory: PathBuf,
    /// What an acknowledgement survives. Default [`Durability::PowerLoss`].
    pub durability: Durability,
    /// How large the database's write-ahead log may grow before the writer restarts it, in bytes. Default 64 MiB.
    pub wal_bytes: u64,
    /// How large a file of the journal grows before the next one is begun, in bytes. The newest one is read whole at
    /// start, which takes about a tenth of a second; files are deleted whole once retention has passed them. Default
    /// 64 MiB.
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
