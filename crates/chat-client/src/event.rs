//! [`Event`]: what a [`Watch`](crate::Watch) gives.

use std::fmt;
use std::sync::Arc;

use chat_core::protocol::{PeekMessage, SentMessage};
use chat_core::{MessageId, Timestamp};

use crate::{ClientError, CloseReason};

/// What happened.
///
/// [`Message`](Self::Message) and [`Gap`](Self::Gap) together leave nothing out and give nothing twice. `Sent` and
/// `Presence` are told as they happen and not told again: those of the time in which the connection was away, or the
/// stream lagged, are not made up for ([`Client::history`](crate::Client::history) has everything that was sent).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A message in the user's mailbox. It stays undelivered until [`Watch::ack`](crate::Watch::ack).
    Message(IncomingMessage),
    /// What this user sent from another connection.
    Sent(SentMessage<'static>),
    /// Somebody came or went.
    Presence {
        /// The username.
        user: String,
        /// Whether they are here now.
        active: bool,
    },
    /// Messages that will not come.
    Gap(Gap),
    /// The reader of this stream was too slow for what came; what follows is taken from the server's store.
    Lagging,
    /// The server has nothing more in its store: what comes now is new. Follows a `Lagging` of the server's; when it
    /// was this client that stopped the server, there is none.
    Live,
    /// The server is about to close the connection. A client that reconnects goes on by itself.
    Shutdown,
    /// The last event: nothing comes after it.
    Ended(WatchEnd),
}

/// One message received. `Debug` leaves the body out. Names and body were written by others: neutralise control
/// characters before showing them on a terminal.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingMessage {
    /// Its number in the mailbox: one more than that of the message before it, but for gaps.
    pub id: MessageId,
    /// The incarnation of the mailbox that the number belongs to.
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
    /// The last of them. After [`Restored`](GapReason::Restored) it may be missing: then none of the messages already
    /// given is concerned.
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
    /// The server says that it does not keep them any more, in this word (`retention`).
    Announced(String),
    /// The mailbox has another incarnation: the store was restored from an older copy. What was given under these ids
    /// may be lost on the server, and other messages will come under them.
    Restored {
        /// The incarnation that was.
        before: Arc<str>,
    },
    /// The server left them out and said nothing, also when asked a second time. This breaks its contract.
    Unannounced,
}

/// Why a watch is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WatchEnd {
    /// The session that watched was ended, for this reason in the server's word: `logout`, `revoked`,
    /// `password_changed`, `expired` or `account_removed`.
    SessionEnded {
        /// The word.
        reason: String,
    },
    /// The server would not go on with the watch on a new connection. Code `no_session`: the session had ended by then.
    Refused(Arc<ClientError>),
    /// The connection is over and no other will be made.
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
