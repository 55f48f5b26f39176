//! [`Event`]: what a [`Watch`](crate::Watch) gives.

use std::fmt;
use std::sync::Arc;

use chat_core::protocol::{PeekMessage, SentMessage};
use chat_core::{MessageId, Timestamp};

use crate::{ClientError, CloseReason};

/// An event of a [`Watch`](crate::Watch).
///
/// [`Message`](Self::Message) and [`Gap`](Self::Gap) together leave nothing out and give nothing twice. `Sent` and
/// `Presence` come only as they happen: those of a time without connection, or in which the stream lagged, are missing
/// ([`Client::history`](crate::Client::history) has everything that was sent).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A message in the user's mailbox. It stays undelivered until [`Watch::ack`](crate::Watch::ack).
    Message(IncomingMessage),
    /// A message that this user sent from another connection.
    Sent(SentMessage<'static>),
    /// Another user became active, or is no longer.
    Presence {
        /// The username.
        user: String,
        /// Whether they are active now.
        active: bool,
    },
    /// Messages that will not come.
    Gap(Gap),
    /// The reader of this stream was too slow. The messages that follow come from the server's store; none is missing.
    Lagging,
    /// The watch has caught up: what comes now is new. Follows a `Lagging` that came of the server; after one by which this
    /// client had stopped the server, there may be none.
    Live,
    /// The server is about to close the connection. Unless reconnecting is off, the watch goes on by itself.
    Shutdown,
    /// The last event: nothing comes after it.
    Ended(WatchEnd),
}

/// One message received. `Debug` leaves the body out. Names and body were written by others: neutralise control
/// characters before showing them on a terminal.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingMessage {
    /// Its sequence number in the mailbox: one more than that of the message before it, except after a [`Gap`].
    pub id: MessageId,
    /// The incarnation of the mailbox that the id belongs to. Keep both to go on later
    /// ([`Client::watch_from`](crate::Client::watch_from)).
    pub incarnation: Arc<str>,
    /// When it was stored.
    pub time: Timestamp,
    /// The sender's username.
    pub from: String,
    /// The sender's full name, as it was.
    pub from_name: String,
    /// The recipient's username: the user's own.
    pub to: String,
    /// The text.
    pub body: String,
}

/// Messages that will not come, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The first of them.
    pub from: MessageId,
    /// The last of them. `None` only after [`Restored`](GapReason::Restored), when all messages that this watch gave are
    /// still on the server.
    pub to: Option<MessageId>,
    /// Why.
    pub reason: GapReason,
    /// The incarnation of the mailbox that the next messages belong to.
    pub incarnation: Arc<str>,
}

/// Why messages will not come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The server announced that it does not keep them any more. The word says why: `retention`.
    Announced(String),
    /// The mailbox has another incarnation: the store was restored from an older copy. The server may have lost the
    /// messages it gave under these ids, and will give the ids to other messages.
    Restored {
        /// The incarnation that was.
        before: Arc<str>,
    },
    /// The server left them out without a word, also when it was asked again. That breaks the protocol.
    Unannounced,
}

/// Why a watch is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WatchEnd {
    /// The session of the watch was ended.
    SessionEnded {
        /// Why, in the server's word: `logout`, `revoked`, `password_changed`, `expired` or `account_removed`.
        reason: String,
    },
    /// The server refused to go on with the watch on a new connection. With code `no_session`: the session had ended.
    Refused(Arc<ClientError>),
    /// The client is at its end: there is no connection, and there will be none.
    Closed(CloseReason),
}

impl IncomingMessage {
    pub(crate) fn new(message: PeekMessage<'static>, incarnation: Arc<str>) -> Self {
        Self {
            id: message.id,
            incarnation,
            time: message.time,
            from: message.from.into_owned(),
            from_name: message.from_name.into_owned(),
            to: message.to.into_owned(),
            body: message.body.into_owned(),
        }
    }
}

impl fmt::Debug for IncomingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMessage")
            .field("id", &self.id)
            .field("incarnation", &self.incarnation)
            .field("time", &self.time)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
