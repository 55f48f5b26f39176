//! [`Server`]: wires store, listener and connections together; starts and stops them.

use std::pin::pin;
use std::sync::Arc;

use chat_core::store::Store;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info, warn};

use crate::connection::Connection;
use crate::listener::accept;
use crate::name::Name;
use crate::seats::{Room, Seat, Seats};
use crate::service::Service;
use crate::{ConfigError, Listener, ServerConfig, Transport};

/// Serves the chat protocol from a store. The [crate](crate) has an example. It brings no runtime, listener or signal
/// handling of its own.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    service: Arc<Service>,
    seats: Arc<Seats>,
}

/// What became of the connections of one [`Server::serve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// How many were accepted and served.
    pub connections: u64,
    /// How many of them did not end before the shutdown deadline, and were cut off.
    pub cut_off: usize,
}

impl Server {
    /// A server of this store.
    ///
    /// # Errors
    /// A value of the configuration is out of its range ([`ServerConfig::check`]).
    pub fn new(store: Store, config: ServerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let config = Arc::new(config);
        Ok(Self {
            service: Arc::new(Service::new(store, Arc::clone(&config))),
            seats: Seats::new(&config),
            config,
        })
    }

    /// Serves what the listener accepts until `stop` is cancelled. Then it stops accepting and closes the listener, lets
    /// each connection serve and answer the requests it has read, and returns when all are gone, at the latest
    /// [`shutdown_deadline`](ServerConfig::shutdown_deadline) later. The store stays open; close it after that. It never
    /// ends by itself, whatever the listener does.
    ///
    /// It may be called for several listeners at once; they share the limits on connections and memory. Each connection
    /// is a task on the current runtime.
    ///
    /// # Cancel safety
    /// Dropping the future cuts off its connections at once. The store is not told that these are gone, nor those that are
    /// cut off at the deadline: their users stay active until the store is closed or their sessions end.
    pub async fn serve<L: Listener>(&self, listener: L, stop: CancellationToken) -> Served {
        let (mut served, mut tasks) = (Served::default(), JoinSet::new());
        let room = self.seats.room();
        {
            let mut arrival = pin!(self.next(listener, &room));
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    Some(ended) = tasks.join_next() => report(ended),
                    (transport, peer, seat, listener) = &mut arrival => {
                        self.spawn(&mut tasks, transport, peer, seat);
                        served.connections += 1;
                        arrival.set(self.next(listener, &room));
                    }
                }
            }
        }
        room.close();
        served.cut_off = self.drain(tasks).await;
        served
    }

    fn spawn(&self, tasks: &mut JoinSet<()>, transport: impl Transport, peer: String, seat: Seat) {
        let name = Name::new(seat.number(), peer);
        let span = name.debug_span();
        let connection = Connection::new(transport, name, seat, Arc::clone(&self.service)).run();
        // A task carries no room for a span that nobody sees.
        if span.is_disabled() {
            tasks.spawn(connection);
        } else {
            tasks.spawn(connection.instrument(span));
        }
    }

    /// The next connection, with a place for it.
    async fn next<L: Listener>(
        &self,
        mut listener: L,
        room: &Room,
    ) -> (L::Transport, String, Seat, L) {
        loop {
            let (mut transport, peer) = accept(&mut listener).await;
            match transport.configure(&self.config) {
                Ok(()) => return (transport, peer, room.take().await, listener),
                Err(error) => debug!(%error, %peer, "a connection failed as it was accepted"),
            }
        }
    }

    /// Waits for the connections to end; says how many had to be cut off.
    async fn drain(&self, mut tasks: JoinSet<()>) -> usize {
        info!(connections = tasks.len(), "stopped accepting; connections are finishing");
        let all_ended = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if timeout(self.config.shutdown_deadline, all_ended).await.is_ok() {
            return 0;
        }
        let left = tasks.len();
        warn!(connections = left, deadline = ?self.config.shutdown_deadline, "cutting off connections at the shutdown deadline");
        tasks.shutdown().await;
        left
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task failed");
    }
}
