//! [`ConnectionState`]: how the connection is, for those who want to show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::{CloseReason, ServerInfo};

/// The state of a [`Client`](crate::Client)'s connection. [`Client::state`](crate::Client::state) tells of each change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Connected.
    Connected {
        /// What the server is.
        server: Arc<ServerInfo>,
        /// Whether the server has said, since this connection was made or the last login, that a login is no longer valid
        /// (code `no_session`). Calls with that login fail until there is a new one.
        session_ended: bool,
    },
    /// The connection was lost, and the client tries to make another.
    Reconnecting {
        /// The number of the next try, from 1.
        attempt: u32,
        /// How long after this state was entered that try begins.
        delay: Duration,
        /// How the connection ended, or why the last try failed.
        reason: CloseReason,
    },
    /// The client is at its end: there is no connection, and there will be none.
    Closed {
        /// How it ended.
        reason: CloseReason,
    },
}

/// What the handles and the task know of the connection.
#[derive(Debug)]
pub(crate) struct Status {
    state: watch::Sender<ConnectionState>,
    /// What the last connection made leads to.
    server: Mutex<Arc<ServerInfo>>,
}

impl Status {
    pub(crate) fn new(server: ServerInfo) -> Self {
        let server = Arc::new(server);
        let state =
            ConnectionState::Connected { server: Arc::clone(&server), session_ended: false };
        Self { state: watch::Sender::new(state), server: Mutex::new(server) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    pub(crate) fn server(&self) -> Arc<ServerInfo> {
        Arc::clone(&self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn connected(&self, server: ServerInfo) {
        let server = Arc::new(server);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&server);
        self.set(ConnectionState::Connected { server, session_ended: false });
    }

    pub(crate) fn set(&self, state: ConnectionState) {
        self.state.send_replace(state);
    }

    /// Whether a login is over. Changes nothing while there is no connection.
    pub(crate) fn set_session_ended(&self, over: bool) {
        self.state.send_if_modified(|state| match state {
            ConnectionState::Connected { session_ended, .. } if *session_ended != over => {
                *session_ended = over;
                true
            }
            _ => false,
        });
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        match &*self.state.borrow() {
            ConnectionState::Closed { reason } => Some(reason.clone()),
            _ => None,
        }
    }
}
