//! Accounts, sessions and mailboxes, and the promise that what was acknowledged is kept.

mod error;
mod handle;
mod options;
mod types;

pub use error::{OpenError, StoreError};
pub use handle::Store;
pub use options::{Durability, SqliteOptions, StoreOptions};
pub use types::{
    AccountNumber, AccountSummary, AckBasis, Directory, DirectoryEntry, HashedAccount, ImportId,
    Incarnation, Listing, Message, NewAccount, Outgoing, Page, PageLimit, Receipt, SessionInfo,
    SessionKey, Shown, Whoami,
};
