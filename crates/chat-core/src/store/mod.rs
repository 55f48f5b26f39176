//! Accounts, sessions and mailboxes, and the promise that what was acknowledged is kept.
//!
//! [`Store`] is the handle. Behind it an actor owns a backend: it drains the requests that wait, has them carried out
//! in order and committed together, and only then answers. The embedded engine keeps everything in one SQLite file, or
//! in memory.

mod actor;
mod backend;
mod engine;
mod error;
mod handle;
mod options;
mod request;
mod types;

pub use error::{OpenError, StoreError};
pub use handle::Store;
pub use options::StoreOptions;
#[cfg(feature = "embedded")]
pub use options::{Durability, SqliteOptions};
pub use types::{
    AccountNumber, AccountSummary, AckBasis, Directory, DirectoryEntry, HashedAccount, ImportId,
    Incarnation, Listing, Message, NewAccount, Outgoing, Page, PageLimit, Receipt, SessionInfo,
    SessionKey, Shown, Whoami,
};
