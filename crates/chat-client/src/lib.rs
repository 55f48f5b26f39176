//! An async client of the chat protocol, for the current server and for the old ones. It runs on Tokio, with I/O and time
//! enabled.
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
//! Messages as they come, over lost connections too:
//!
//! ```no_run
//! # async fn example(client: chat_client::Client) -> Result<(), chat_client::ClientError> {
//! use chat_client::Event;
//!
//! let mut watch = client.watch().await?;
//! while let Some(event) = watch.next().await {
//!     match event {
//!         Event::Message(message) => {
//!             println!("{}: {}", message.from, message.body);
//!             watch.ack(&message).await?;
//!         }
//!         Event::Gap(gap) => println!("no longer on the server: {gap:?}"),
//!         Event::Ended(end) => println!("over: {end:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`Client`] is a cheap handle, and the place to start. Clones share one connection and one login, and may have many
//!   requests in flight at once. [`Client::with_token`] makes a handle for another login on the same connection. The
//!   client reconnects when the connection is lost; [`Client::state`] tells of it.
//! * [`Watch`] is a user's events as a stream: no message twice, and none left out without an [`Event::Gap`].
//! * [`Sent`] is the outcome of [`Client::send`]: stored exactly once, with a receipt, or sent the old way.
//! * [`Delivery`] is a page of [`Client::inbox`]: its messages stay undelivered until [`Delivery::ack`].
//! * [`ConnectOptions`] sets time limits and bounds, each with a default. With a [`Connector`] the client runs over other
//!   transports, TLS for instance; with a [`Random`] of its own a simulation can repeat a run.
//! * [`ClientError`] says whose fault it was, what the server's code is, and whether to try again.
//!
//! # Errors of any request
//! Where a method's docs say "those of any request", they mean [`Closed`](ClientError::Closed),
//! [`Timeout`](ClientError::Timeout) and [`BadReply`](ClientError::BadReply); [`Server`](ClientError::Server) with the
//! codes `busy`, `unavailable`, `internal` and, for calls that need a login, `no_session`;
//! [`NotLoggedIn`](ClientError::NotLoggedIn) for those, too; and [`Invalid`](ClientError::Invalid) for arguments that
//! cannot be written on a request's line.
//!
//! # Cancel safety
//! Any future of this crate may be dropped, and the connection can still be used. A request that was not written yet is
//! never written, and one that waits to be repeated is not repeated. The reply to one that was written is read and thrown
//! away; whether the server acted on it is then not known. Each method says what that means for it.

mod accounts;
mod backoff;
mod client;
mod connection;
mod connector;
mod delivery;
mod driver;
mod error;
mod event;
mod listing;
mod messages;
mod open;
mod options;
mod post;
mod privacy;
mod random;
mod request;
mod server;
mod status;
mod watch;
mod watcher;

pub use backoff::Backoff;
pub use chat_core::protocol::{
    ActiveUsers, DeliveryState, Direction, Directory, DirectoryEntry, ErrorCode, Hello,
    HistoryMessage, HistoryPage, Limits, List, MessageStatus, ReplyError, Resume, SentMessage,
    SessionEntry, Whoami,
};
pub use chat_core::{
    FullName, FullNameError, MessageBodyError, MessageId, Random, SystemRandom, Timestamp, Token,
    TokenError,
};
pub use client::Client;
pub use connection::CloseReason;
pub use connector::{Connector, TcpConnector};
pub use delivery::{Delivery, Message};
pub use error::{ClientError, Fault, InvalidRequest, ServerError};
pub use event::{Event, Gap, GapReason, IncomingMessage, WatchEnd};
pub use options::ConnectOptions;
pub use post::{Receipt, Sent};
pub use privacy::{Privacy, PrivacySubject};
pub use server::ServerInfo;
pub use status::ConnectionState;
pub use watch::Watch;
