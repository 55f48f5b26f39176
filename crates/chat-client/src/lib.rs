//! An async client of the chat protocol, for the current server and for the old ones.
//!
//! ```no_run
//! # async fn example() -> Result<(), chat_client::ClientError> {
//! use chat_client::Client;
//!
//! let client = Client::connect("127.0.0.1:8889").await?;
//! client.login("messi", "surabaya").await?;
//! client.send("lineker", "apa kabar").await?;
//!
//! let delivery = client.inbox().await?;
//! for message in delivery.messages() {
//!     println!("{}: {}", message.from, message.body);
//! }
//! delivery.ack().await?; // only now are they delivered
//! # Ok(())
//! # }
//! ```
//!
//! * [`Client`] is a cheap handle. Clones share one connection and one login, and may have many requests in
//!   flight at once; replies are matched to them in order. [`Client::with_token`] makes a handle for another
//!   login on the same connection.
//! * [`Delivery`] is what [`Client::inbox`] gives: messages that stay undelivered until [`Delivery::ack`].
//! * [`ConnectOptions`] sets time limits and bounds, each with a default.
//! * [`ClientError`] says whose fault it was, what the server's code is, and whether to try again.
//!
//! # Cancel safety
//! Dropping any future of this crate leaves the connection in step: a request not yet handed to the connection
//! is never sent, and the reply to one that was is read and thrown away. Whether the server acted on it is then
//! not known. Each method says what that means for it.

mod accounts;
mod client;
mod connection;
mod delivery;
mod error;
mod listing;
mod messages;
mod options;
mod request;
mod server;

pub use chat_core::protocol::{
    ActiveUsers, Directory, DirectoryEntry, ErrorCode, Hello, Limits, List, SessionEntry, Whoami,
};
pub use chat_core::{FullName, MessageId, Timestamp, Token};
pub use client::Client;
pub use connection::CloseReason;
pub use delivery::{Delivery, Message};
pub use error::{ClientError, Fault, InvalidRequest, ServerError};
pub use options::ConnectOptions;
pub use server::ServerInfo;
