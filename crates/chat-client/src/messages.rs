//! [`Client`]'s calls about messages.

use chat_core::MessageId;
use chat_core::protocol::{Command, HistoryPage, MessageStatus, Reply};

use crate::client::unexpected;
use crate::{Client, ClientError, Delivery};

impl Client {
    /// The first page of undelivered messages, oldest first. They stay undelivered until [`Delivery::ack`]: calling this
    /// again without it gives the same ones. To read them all:
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), chat_client::ClientError> {
    /// loop {
    ///     let page = client.inbox().await?;
    ///     for message in page.messages() {
    ///         println!("{}: {}", message.from, message.body);
    ///     }
    ///     page.ack().await?;
    ///     if !page.more() {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// An old server gives each message once and forgets it.
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

    /// Undelivered messages with ids above `after`, at most `limit` of them (the server has a limit of its own).
    /// Acknowledging the result acknowledges everything up to its last message, also what is before `after`.
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

    /// Acknowledges every message up to and including `id`, an id of that incarnation of the mailbox.
    /// [`Delivery::ack`] and [`Watch::ack`](crate::Watch::ack) are the usual ways.
    ///
    /// # Errors
    /// Codes `stale_incarnation`, `bad_arguments` (the mailbox has no such id yet); [`Unsupported`](ClientError::Unsupported) by an old
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

    /// How far a message that this user sent has come, by the id that [`post`](Self::post) or [`send`](Self::send)
    /// gave.
    ///
    /// # Errors
    /// Code `no_such_message`; [`Unsupported`](ClientError::Unsupported) by a server without `status`; and those of any
    /// request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn status(&self, id: &str) -> Result<MessageStatus, ClientError> {
        let token = &self.word()?;
        match self.call_listed(Command::Status { token, id }).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(unexpected("status")),
        }
    }

    /// A page of the conversation with a user, both ways, delivered or not, oldest message first. Without `cursor` it is
    /// the newest page; with the [`next`](HistoryPage::next) of a page it is the one before that in time. At most `limit`
    /// messages; the server has a limit of its own.
    ///
    /// # Errors
    /// Codes `no_such_user`, `bad_arguments` (the cursor is not one of this conversation's); [`Unsupported`](ClientError::Unsupported) by a
    /// server without `history`; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn history(
        &self,
        with: &str,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<HistoryPage<'static>, ClientError> {
        let token = &self.word()?;
        let limit = limit.map(|limit| limit.to_string());
        let command = Command::History { token, with, cursor, limit: limit.as_deref() };
        match self.call_listed(command).await? {
            Reply::History(page) => Ok(page),
            _ => Err(unexpected("history")),
        }
    }
}
