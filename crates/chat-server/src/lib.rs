//! Serves the chat protocol from a [`Store`](chat_core::store::Store), on any listener.
//!
//! * [`Server`] is the place to start: give it a store and a [`ServerConfig`], call [`Server::serve`] with a [`Listener`]
//!   on a runtime of your own, and cancel the token to stop.
//! * [`Listener`] and [`Transport`] are what it needs of a network. TCP and Unix sockets implement them; tokio's in-memory
//!   pipes are transports.
//!
//! In another program, on a port that the system chooses (the token is of the crate `tokio-util`):
//!
//! ```
//! use chat_core::store::{Store, StoreOptions};
//! use chat_server::{Server, ServerConfig};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::in_memory(StoreOptions::default())?;
//! let mut config = ServerConfig::default();
//! config.registration = true; // or make accounts with `store.create_account`
//! let server = Server::new(store.clone(), config)?;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?; // tell it to the clients
//! let stop = CancellationToken::new();
//! let stopped = stop.clone();
//! let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
//!
//! // … and at the end: first the server, then the store.
//! stop.cancel();
//! let served = serving.await?;
//! assert_eq!(served.cut_off, 0);
//! store.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, a `Connection` per peer turns bytes into frames and replies into bytes, and enforces time and memory limits;
//! the `Service` turns a command into store calls and their outcome into a reply, and knows no socket; `Delivery` knows
//! when what a peer was shown counts as delivered; a `Watcher` turns what happens to a mailbox into events; `Seats` caps
//! the connections and what they hold in memory.

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
