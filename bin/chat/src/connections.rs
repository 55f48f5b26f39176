//! [`Connections`]: what is said about the connection, to people.

use chat_client::{Client, ConnectionState};
use tokio::sync::watch;

use crate::phrases;

/// The losses of a client's connection, and the connections made after them. Does not keep the client alive.
pub(crate) struct Connections {
    state: watch::Receiver<ConnectionState>,
    connected: bool,
}

impl Connections {
    pub(crate) fn of(client: &Client) -> Self {
        Self { state: client.state(), connected: true }
    }

    /// What to say next; `None` once the client is gone.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            self.state.changed().await.ok()?;
            let connected = self.connected;
            match &*self.state.borrow_and_update() {
                ConnectionState::Connected { .. } if !connected => {
                    self.connected = true;
                    return Some(phrases::CONNECTED_AGAIN.to_owned());
                }
                ConnectionState::Reconnecting { reason, .. } if connected => {
                    self.connected = false;
                    return Some(phrases::connection_lost(reason));
                }
                _ => {}
            }
        }
    }
}
