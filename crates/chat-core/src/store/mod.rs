//! Accounts, sessions and mailboxes, and the promise that what was acknowledged is kept.
//!
//! [`Store`] is the handle. Behind it an actor owns a backend: it drains the requests that wait, has them carried out
//! in order and committed together, and only then answers. The embedded engine keeps everything in one SQLite file, or
//! in memory.

mod actor;
mod backend;
mod background;
mod blocking;
mod engine;
mod error;
mod feed;
mod handle;
mod mix;
mod options;
mod replay;
mod request;
#[cfg(feature = "simulation")]
pub mod simulation;
mod types;
mod watch;

pub(crate) use blocking::Blocking;
pub use error::{OpenError, StoreError};
pub use handle::Store;
#[cfg(feature = "embedded")]
pub use options::SqliteOptions;
pub(crate) use options::WatchBounds;
pub use options::{Durability, StoreOptions};
pub use types::{
    AccountNumber, AccountSummary, AckBasis, Conversation, ConversationEntry, DeliveryStatus,
    Directory, DirectoryEntry, EntryId, HashedAccount, HistoryCursor, ImportId, Incarnation,
    Listing, Message, NewAccount, OpaqueIdError, Outgoing, Page, PageLimit, PostKey, PrivacyChoice,
    PrivacySubject, Receipt, SentId, SessionInfo, SessionKey, Shown, WatchId, Whoami,
};
pub use watch::{Resumed, SentCopy, SessionEnd, Watch, WatchEvent, WatchFrom};
