//! [`Delivery`]: messages that stay undelivered until they are acknowledged.

use std::fmt;

use chat_core::protocol::{InboxMessage, PeekMessage, PeekPage};
use chat_core::{MessageId, Timestamp};

use crate::{Client, ClientError};

/// A page of undelivered messages, oldest first.
///
/// The server gives them again, to this client or another of the same user, until [`ack`](Self::ack) says that
/// they have arrived. So acknowledge messages once they are shown or stored, and not before. Dropping a `Delivery` leaves
/// its messages undelivered. (An old server forgets messages as soon as it sends them; there `ack` does nothing.)
#[derive(Debug, Clone)]
#[must_use = "the messages stay undelivered until `ack`"]
pub struct Delivery {
    client: Client,
    messages: Vec<Message>,
    more: bool,
    /// The last message and the mailbox's incarnation; `None` if there is nothing to acknowledge.
    end: Option<(MessageId, Box<str>)>,
}

/// One message received. `Debug` leaves the body out. Names and body were written by others: neutralise control
/// characters before showing them on a terminal.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its number in the mailbox; `None` from an old server.
    pub id: Option<MessageId>,
    /// When it was stored; `None` from an old server.
    pub time: Option<Timestamp>,
    /// The sender's username.
    pub from: String,
    /// The sender's full name, as it was.
    pub from_name: String,
    /// The text.
    pub body: String,
}

impl Delivery {
    /// The messages, oldest first. (From an old server: grouped by sender, and oldest first of each.)
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether there are more messages after these. After [`ack`](Self::ack), the next [`Client::inbox`] gives them.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// Tells the server that these messages have arrived: the next [`Client::inbox`] gives what follows them. Speaks
    /// for the login that received them, whoever is logged in by now. Does nothing if there are none.
    ///
    /// # Errors
    /// As any request. [`ErrorCode::StaleIncarnation`](crate::ErrorCode) means that the store was restored from an
    /// older copy since, and nothing was acknowledged. After any error, calling it again is safe.
    ///
    /// # Cancel safety
    /// Whether the messages are acknowledged is then not known; calling it again is safe.
    pub async fn ack(&self) -> Result<(), ClientError> {
        match &self.end {
            Some((id, incarnation)) => self.client.ack(*id, incarnation).await,
            None => Ok(()),
        }
    }

    /// What `peek` answered.
    pub(crate) fn current(client: Client, page: PeekPage<'static>) -> Self {
        let incarnation = page.incarnation;
        let last = page.messages.last().map(|message| message.id);
        Self {
            client,
            end: last.map(|id| (id, incarnation.into())),
            more: page.more,
            messages: page.messages.into_iter().map(Message::current).collect(),
        }
    }

    /// What `inbox` of an old server answered.
    pub(crate) fn legacy(client: Client, messages: Vec<InboxMessage<'static>>) -> Self {
        Self {
            client,
            end: None,
            more: false,
            messages: messages.into_iter().map(Message::legacy).collect(),
        }
    }
}

impl Message {
    fn current(message: PeekMessage<'static>) -> Self {
        Self {
            id: Some(message.id),
            time: Some(message.time),
            from: message.from.into_owned(),
            from_name: message.from_name.into_owned(),
            body: message.body.into_owned(),
        }
    }

    fn legacy(message: InboxMessage<'static>) -> Self {
        Self {
            id: message.id,
            time: message.time,
            from: message.from.into_owned(),
            from_name: message.from_name.into_owned(),
            body: sent_text(&message.body).to_owned(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("time", &self.time)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// The text as it was sent: old servers put one space in front of it and keep the end of its line.
fn sent_text(body: &str) -> &str {
    let body = body.strip_prefix(' ').unwrap_or(body);
    body.trim_end_matches(['\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_texts_are_as_they_were_sent() {
        assert_eq!(sent_text("  halo \r\n"), " halo ");
        assert_eq!(sent_text(" halo\r\n\r\n"), "halo");
        assert_eq!(sent_text("halo"), "halo");
        assert_eq!(sent_text(""), "");
    }
}
