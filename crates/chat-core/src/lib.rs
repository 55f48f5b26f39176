//! The chat protocol, and a durable store of accounts, sessions and mailboxes.
//!
//! * [`protocol`] encodes and decodes the wire protocol: [`protocol::Command`]s and [`protocol::Reply`]s, as tokio-util
//!   `Decoder`s and `Encoder`s. It opens no socket.
//! * [`Username`], [`FullName`], [`Token`], [`MessageId`] and [`Timestamp`] are the values that both sides share.
//!   Parsing one checks it, so whoever has one need not check again.
//! * [`Clock`] and [`Random`] are where time and randomness come from, so that tests can replace them.
//! * `store` holds accounts, sessions and mailboxes. `Store` is the handle, and the place to start for who embeds it.
//! * `account` hashes passwords.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | none | `protocol` and the shared values: what a client needs (`default-features = false`) |
//! | `store` | `store` and `account`, with a store in memory |
//! | `embedded` | the store on disk, on the system's SQLite library (3.44 or newer) |
//! | `sqlite` (default) | the same, with SQLite built from its bundled source (needs a C compiler) |
//! | `simulation`, `counting` | for tests and benchmarks; never in a daemon |

pub mod protocol;

mod message;
mod random;
mod time;
mod token;
mod username;

pub use message::{MAX_MESSAGE_BYTES, MessageBodyError, MessageId, check_body};
pub use random::{Random, SystemRandom};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{Token, TokenError};
pub use username::{FullName, FullNameError, Username, UsernameError};

#[cfg(feature = "store")]
pub mod account;
#[cfg(feature = "store")]
pub mod store;
