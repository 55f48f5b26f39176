//! Accounts, sessions and mailboxes, and the promise that what was acknowledged is kept.
//!
//! [`Store`] is the handle. `Store::open` keeps a store in a directory, [`Store::in_memory`] in memory. Behind the
//! handle an actor takes all requests that wait, carries them out in order, commits them together, and only then
//! answers them. So an `Ok` means that the change is as durable as [`Durability`] says.
//!
//! ```
//! use chat_core::store::{NewAccount, Outgoing, PageLimit, SessionKey, Store, StoreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // On disk: Store::open(SqliteOptions::new("/var/lib/my-service/chat"), options).await?
//! let store = Store::in_memory(StoreOptions::default())?;
//! for username in ["messi", "lineker"] {
//!     let (username, name) = (username.parse()?, username.parse()?);
//!     store.create_account(NewAccount { username, name, password: "a-long-secret".into() }).await?;
//! }
//!
//! // A login gives a token; every other call takes the key of its session.
//! let messi = SessionKey::of(&store.login("messi", "a-long-secret").await?);
//! let lineker = SessionKey::of(&store.login("lineker", "a-long-secret").await?);
//!
//! let outcomes = store.send(vec![Outgoing::new(lineker, "messi", "apa kabar")]).await;
//! assert!(outcomes.iter().all(Result::is_ok));
//!
//! // Reading does not deliver. Confirm a page once it is safe on the reader's side; else it is given again.
//! let page = store.inbox(messi, &[], PageLimit::bodies(50, 64 * 1024)).await?;
//! assert_eq!(&*page.messages[0].body, "apa kabar");
//! if let Some(shown) = page.shown() {
//!     store.confirm(shown).await;
//! }
//! store.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Store::watch`] gives messages as they come.

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
