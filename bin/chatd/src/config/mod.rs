//! [`Config`]: what the daemon reads from its TOML file, typed and checked as a whole before anything is done with it.
//!
//! Layers, the later ones win: the defaults, the file, the environment (`CHATD_LISTEN`, `CHATD_DATA`, `CHATD_LOG`,
//! `CHATD_LOG_FORMAT`), the command line.

mod keys;
mod load;
mod options;
mod units;
mod values;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use keys::render;
pub(crate) use load::{Loaded, Overrides, check_file, load};
pub(crate) use units::{ByteSize, ListenAddr, Span};
pub(crate) use values::{DurabilityLevel, LogFilter, LogFormat};

/// The whole file. What each key means stands in [`keys`]; the defaults are those of the libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(deserialize_with = "units::one_or_more")]
    pub(crate) listen: Vec<ListenAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    pub(crate) log: Log,
    pub(crate) connections: Connections,
    pub(crate) accounts: Accounts,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
    pub(crate) messages: Messages,
    pub(crate) retention: Retention,
    pub(crate) store: StoreConfig,
    pub(crate) shutdown: Shutdown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: LogFilter,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Connections {
    pub(crate) max: NonZeroU32,
    pub(crate) max_frame: ByteSize,
    pub(crate) buffers: ByteSize,
    pub(crate) line_timeout: Span,
    pub(crate) write_timeout: Span,
    pub(crate) linger: Span,
    pub(crate) keepalive: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Accounts {
    pub(crate) registration: bool,
    pub(crate) hide_unknown_users: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Passwords {
    pub(crate) memory: ByteSize,
    pub(crate) passes: NonZeroU32,
    pub(crate) lanes: NonZeroU32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sessions {
    pub(crate) idle: Span,
    pub(crate) max_per_account: NonZeroUsize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Messages {
    pub(crate) max_size: ByteSize,
    pub(crate) mailbox_count: NonZeroU64,
    pub(crate) mailbox_size: ByteSize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) age: Span,
    pub(crate) count: NonZeroU64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    pub(crate) durability: DurabilityLevel,
    pub(crate) wal: ByteSize,
    pub(crate) segment: ByteSize,
    pub(crate) queue: NonZeroUsize,
    pub(crate) batch: NonZeroUsize,
    pub(crate) stretch: NonZeroU64,
    pub(crate) recent: ByteSize,
    pub(crate) cached_mailboxes: NonZeroUsize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shutdown {
    pub(crate) deadline: Span,
}
