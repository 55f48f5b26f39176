//! Serves the chat protocol from a [`Store`](chat_core::store::Store), on any listener.
//!
//! * [`Server`] is the whole: give it a store and a [`ServerConfig`], call [`Server::serve`] with a [`Listener`] on a runtime
//!   of your own, cancel the token to stop.
//! * [`Listener`] and [`Transport`] are what it needs of a network. TCP and Unix sockets are there, and tokio's
//!   in-memory pipes are transports.
//! * Inside, a `Connection` per peer turns bytes into frames and replies into bytes, and keeps the limits on waiting and
//!   on memory; the `Service` turns a command into store calls and their outcome into a reply, and knows no socket;
//!   `Delivery` knows when what a peer was shown counts as delivered; a `Watcher` turns what happens to a mailbox into
//!   events; `Seats` caps the connections.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use chat_core::store::{Store, StoreOptions};
//! use chat_server::{Server, ServerConfig};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! let store = Store::in_memory(StoreOptions::default())?;
//! let server = Server::new(store.clone(), ServerConfig::default())?;
//! let listener = TcpListener::bind("127.0.0.1:8889").await?;
//! let stop = CancellationToken::new();
//! server.serve(listener, stop).await;
//! store.close().await?;
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod delivery;
mod listener;
mod name;
mod peer;
mod seats;
mod server;
mod service;
mod transport;
mod watcher;

pub use config::{ConfigError, ServerConfig};
pub use listener::Listener;
pub use server::{Served, Server};
pub use transport::{Close, Transport};
