//! [`Client`]'s calls that send messages.

use chat_core::protocol::{Command, ErrorCode, Posted, Reply};
use chat_core::{Timestamp, check_body};
use tokio::time::{Instant, sleep_until};

use crate::client::unexpected;
use crate::connection::later;
use crate::{Backoff, Client, ClientError, InvalidRequest};

/// What came of a [`Client::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It was posted: stored exactly once, however often it had to be repeated.
    Posted(Receipt),
    /// The server has no `post`, so it was sent once and there is no receipt. There, when a `send` fails and
    /// [`is_outcome_unknown`](ClientError::is_outcome_unknown), nobody can find out whether the message arrived.
    Plain,
}

/// What the server gives for a message it has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The key it was posted under.
    pub key: String,
    /// What [`Client::status`] knows it by. Opaque.
    pub id: String,
    /// When it was stored.
    pub time: Timestamp,
    /// Whether an earlier `post` under this key had stored it; also when that was a repetition made by this client.
    pub duplicate: bool,
    /// What it survives, in the server's word: `power_loss`, `process_crash`, or `memory` for nothing.
    pub durability: String,
}

impl Sent {
    /// The receipt, if the server gives such.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Posted(receipt) => Some(receipt),
            Self::Plain => None,
        }
    }
}

impl Client {
    /// Sends a message: a [`post`](Self::post) under a random key where the server has that, else one plain `send`.
    /// Once this returns `Ok`, a current server keeps it through a crash of its machine.
    ///
    /// # Errors
    /// [`Invalid`](ClientError::Invalid) for what cannot be a message (empty, over the server's limit, a control
    /// character other than tab) or a recipient; codes `no_such_recipient`, `inbox_full`, `not_allowed`; and those of
    /// any request. [`Unconfirmed`](ClientError::Unconfirmed) has the key with which a `post` finds out and makes
    /// good. Without `post`, sending again after [`is_outcome_unknown`](ClientError::is_outcome_unknown) may send it
    /// twice.
    ///
    /// # Cancel safety
    /// The message may have been sent, and nobody has its key. Use [`post`](Self::post) where that matters.
    pub async fn send(&self, to: &str, body: &str) -> Result<Sent, ClientError> {
        if !self.server().lists("post") {
            return self.send_plain(to, body).await;
        }
        let key = self.options().random.key();
        match self.post(&key, to, body).await {
            Ok(receipt) => Ok(Sent::Posted(receipt)),
            Err(source) if source.is_outcome_unknown() => {
                Err(ClientError::Unconfirmed { key, source: Box::new(source) })
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a message that is stored once for its `key`, however often this is called (for at least a day). Keys are
    /// the user's own: 1 to 128 printable ASCII characters, no space.
    ///
    /// While the outcome is not known it is repeated, on other connections too, and so it is when the server has no
    /// time or asks to wait, until the request timeout. Messages that are posted at the same time keep the order of
    /// the calls unless the server refuses one of them for the moment.
    ///
    /// # Errors
    /// As [`send`](Self::send), code `key_conflict` (the key was used for another message), and
    /// [`Unsupported`](ClientError::Unsupported). After any error but `key_conflict` the same call may be made again.
    ///
    /// # Cancel safety
    /// The message may have been sent; calling it again with the same key is safe.
    pub async fn post(&self, key: &str, to: &str, body: &str) -> Result<Receipt, ClientError> {
        check_body(body, self.server().max_message_bytes()).map_err(InvalidRequest::from)?;
        check_key(key)?;
        self.require("post")?;
        let token = &self.word()?;
        let deadline = self.deadline();
        let mut unknown = None;
        let mut attempt = 0;
        loop {
            let command = Command::Post { token, key, to, body };
            let error = match self.call_until(command, deadline).await {
                Ok(Reply::Posted(posted)) => return Ok(Receipt::new(key, posted)),
                Ok(_) => return Err(unexpected("post")),
                Err(error) => error,
            };
            let next = self.next_try(&error, attempt).filter(|at| *at < deadline);
            let Some(at) = next else {
                // A try that did nothing says nothing of one before it.
                return Err(unknown.filter(|_| error.is_retryable()).unwrap_or(error));
            };
            if error.is_outcome_unknown() {
                unknown = Some(error);
            }
            sleep_until(at).await;
            attempt += 1;
        }
    }

    async fn send_plain(&self, to: &str, body: &str) -> Result<Sent, ClientError> {
        check_body(body, self.server().max_message_bytes()).map_err(InvalidRequest::from)?;
        let token = &self.word()?;
        match self.call(Command::Send { token, to, body }).await? {
            Reply::Sent => Ok(Sent::Plain),
            _ => Err(unexpected("send")),
        }
    }

    /// When to post again after an error that may pass.
    fn next_try(&self, error: &ClientError, attempt: u32) -> Option<Instant> {
        let passes = matches!(
            error.code()?,
            ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Internal
        );
        let delay = Backoff::default().delay(attempt, &self.options().random)?;
        passes.then(|| later(Instant::now(), delay.max(error.retry_after().unwrap_or_default())))
    }
}

impl Receipt {
    fn new(key: &str, posted: Posted<'static>) -> Self {
        Self {
            key: key.to_owned(),
            id: posted.id.into_owned(),
            time: posted.time,
            duplicate: posted.duplicate,
            durability: posted.durability.into_owned(),
        }
    }
}

fn check_key(key: &str) -> Result<(), InvalidRequest> {
    let is_key =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if is_key { Ok(()) } else { Err(InvalidRequest::Key) }
}

const MAX_KEY_BYTES: usize = 128;
