//! The JSON that `--json` writes, its keys in the order in which `--help` gives them.

use chat_client::{
    DeliveryState, Direction, HistoryMessage, Message, MessageId, MessageStatus, Timestamp, Whoami,
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct LoggedIn<'a> {
    pub(crate) user: &'a str,
    pub(crate) server: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Sent<'a> {
    pub(crate) to: &'a str,
    pub(crate) sent: u64,
    pub(crate) id: Option<String>,
}

/// A message of the inbox.
#[derive(Serialize)]
pub(crate) struct Received<'a> {
    id: Option<MessageId>,
    time: Option<Timestamp>,
    from: &'a str,
    from_name: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Active<'a, T> {
    pub(crate) active: &'a [T],
    pub(crate) more: bool,
}

/// A message of a conversation.
#[derive(Serialize)]
pub(crate) struct Past<'a> {
    direction: &'static str,
    id: &'a str,
    time: Timestamp,
    from: &'a str,
    from_name: &'a str,
    to: &'a str,
    body: &'a str,
}

/// What became of a message.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    pub(crate) id: &'a str,
    pub(crate) state: &'static str,
    pub(crate) stored: Timestamp,
    pub(crate) pushed: Option<Timestamp>,
    pub(crate) delivered: Option<Timestamp>,
}

#[derive(Serialize)]
pub(crate) struct Blocked<'a> {
    pub(crate) user: &'a str,
    pub(crate) blocked: bool,
}

#[derive(Serialize)]
pub(crate) struct PrivacySet<'a> {
    pub(crate) subject: &'a str,
    pub(crate) choice: &'a str,
}

/// Whose login is kept.
#[derive(Serialize)]
pub(crate) struct Owner<'a> {
    user: &'a str,
    name: &'a str,
    incarnation: &'a str,
    created: Timestamp,
    expires: Timestamp,
}

#[derive(Serialize)]
pub(crate) struct LoggedOut {
    pub(crate) logged_out: bool,
}

/// What goes to standard error.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    pub(crate) error: Reason<'a>,
}

#[derive(Serialize)]
pub(crate) struct Reason<'a> {
    pub(crate) code: Option<&'a str>,
    pub(crate) message: String,
    pub(crate) exit: u8,
}

impl<'a> From<&'a Message> for Received<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            id: message.id,
            time: message.time,
            from: &message.from,
            from_name: &message.from_name,
            body: &message.body,
        }
    }
}

impl<'a> From<&'a HistoryMessage<'_>> for Past<'a> {
    fn from(message: &'a HistoryMessage<'_>) -> Self {
        Self {
            direction: match message.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            id: &message.id,
            time: message.time,
            from: &message.from,
            from_name: &message.from_name,
            to: &message.to,
            body: &message.body,
        }
    }
}

impl<'a> Status<'a> {
    pub(crate) fn new(id: &'a str, status: &MessageStatus) -> Self {
        Self {
            id,
            state: match status.state {
                DeliveryState::Stored => "stored",
                DeliveryState::Pushed => "pushed",
                DeliveryState::Delivered => "delivered",
            },
            stored: status.stored,
            pushed: status.pushed,
            delivered: status.delivered,
        }
    }
}

impl<'a> From<&'a Whoami<'_>> for Owner<'a> {
    fn from(whoami: &'a Whoami<'_>) -> Self {
        Self {
            user: &whoami.user,
            name: &whoami.name,
            incarnation: &whoami.incarnation,
            created: whoami.created,
            expires: whoami.expires,
        }
    }
}
