//! [`Client`]'s calls about messages.

use chat_core::protocol::{Command, Reply};
use chat_core::{MessageId, check_body};

use crate::client::unexpected;
use crate::{Client, ClientError, Delivery, InvalidRequest};

impl Client {
    /// Sends a message. Once this returns `Ok`, a current server keeps it through a crash of its machine.
    ///
    /// # Errors
    /// [`Invalid`](ClientError::Invalid) for what cannot be a message (empty, over the server's limit, a control
    /// character other than tab) or a recipient; codes `no_such_recipient`, `inbox_full`, `not_allowed`; and those of any
    /// request. After [`is_outcome_unknown`](ClientError::is_outcome_unknown), sending again may send it twice.
    ///
    /// # Cancel safety
    /// The message may have been sent.
    pub async fn send(&self, to: &str, body: &str) -> Result<(), ClientError> {
        check_body(body, self.server().max_message_bytes()).map_err(InvalidRequest::from)?;
        let token = &self.word()?;
        match self.call(Command::Send { token, to, body }).await? {
            Reply::Sent => Ok(()),
            _ => Err(unexpected("send")),
        }
    }

    /// The undelivered messages, oldest first, a page at a time. They stay undelivered until [`Delivery::ack`]:
    /// calling this again without it gives the same ones.
    ///
    /// From an old server these are the messages' only appearance.
    ///
    /// # Errors
    /// Those of any request.
    ///
    /// # Cancel safety
    /// Nothing is delivered. (An old server may have given the messages up.)
    pub async fn inbox(&self) -> Result<Delivery, ClientError> {
        if !self.is_legacy() {
            return self.peek(None, None).await;
        }
        let (token, handle) = self.pinned()?;
        match self.call(Command::Inbox { token: &token }).await? {
            Reply::Inbox(page) => Ok(Delivery::legacy(handle, page.messages)),
            _ => Err(unexpected("inbox")),
        }
    }

    /// Undelivered messages with ids beyond `after`, at most `limit` of them (the server has a limit of its own).
    /// Acknowledging the result acknowledges all up to its last message, those before `after` too.
    ///
    /// # Errors
    /// [`Unsupported`](ClientError::Unsupported) by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn peek(
        &self,
        after: Option<MessageId>,
        limit: Option<u32>,
    ) -> Result<Delivery, ClientError> {
        let (token, handle) = self.pinned()?;
        let after = after.map(|id| id.to_string());
        let limit = limit.map(|limit| limit.to_string());
        let command =
            Command::Peek { token: &token, after: after.as_deref(), limit: limit.as_deref() };
        match self.call_current(command).await? {
            Reply::Peek(page) => Ok(Delivery::current(handle, page)),
            _ => Err(unexpected("peek")),
        }
    }

    /// Acknowledges every message up to `id` of that incarnation of the mailbox. [`Delivery::ack`] is the usual way.
    ///
    /// # Errors
    /// Codes `stale_incarnation`, `bad_arguments` (beyond the end); [`Unsupported`](ClientError::Unsupported) by an old
    /// server; and those of any request. All change nothing.
    ///
    /// # Cancel safety
    /// Whether the messages are acknowledged is then not known; calling it again is safe.
    pub async fn ack(&self, id: MessageId, incarnation: &str) -> Result<(), ClientError> {
        let command = Command::Ack {
            token: &self.word()?,
            id: &id.to_string(),
            incarnation: Some(incarnation),
        };
        match self.call_current(command).await? {
            Reply::Acked => Ok(()),
            _ => Err(unexpected("ack")),
        }
    }
}
