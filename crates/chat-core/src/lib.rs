//! The chat protocol, and a store that keeps what was acknowledged.
//!
//! * [`protocol`] turns bytes into [`protocol::Command`]s and [`protocol::Reply`]s into bytes, and back, as a
//!   tokio-util `Decoder` and `Encoder`. It knows no socket.
//! * [`Clock`] and [`Random`] are where time and randomness come from, so that both can be repeated.
//! * [`Username`], [`Token`], [`MessageId`], [`Timestamp`] are the values both sides share. Each is checked or
//!   minted in its own module and nowhere else.
//! * `store` (feature `store`) holds accounts, sessions and mailboxes behind an actor; `Store` is the handle.
//!   Feature `sqlite` (default) adds the embedded engine with SQLite built in; `embedded` alone adds it on the
//!   system's SQLite library.
//!
//! A client builds this crate with `default-features = false` and gets the protocol alone.

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
