//! [`Client`]'s calls that send messages.

use chat_core::protocol::{Command, ErrorCode, Posted, Reply};
use chat_core::{Timestamp, check_body};
use tokio::time::{Instant, sleep_until};

use crate::client::unexpected;
use crate::connection::later;
use crate::{Backoff, Client, ClientError, InvalidRequest};

/// The outcome of a [`Client::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It was posted: stored exactly once, however often it had to be repeated.
    Posted(Receipt),
    /// The server has no `post`, so it was sent once and there is no receipt. On such a server, when a `send` fails and
    /// its [outcome is unknown](ClientError::is_outcome_unknown), nobody can find out whether the message arrived.
    Plain,
}

/// The server's receipt for a message that it has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The key it was posted under.
    pub key: String,
    /// The message's id for its sender, as [`Client::status`] takes it. Opaque.
    pub id: String,
    /// When it was stored.
    pub time: Timestamp,
    /// Whether an earlier `post` with this key had stored it. True also when that was a try by this same call whose answer
    /// was lost.
    pub duplicate: bool,
    /// What the message survives, in the server's word: `power_loss`, `process_crash`, or `memory` (nothing).
    pub durability: String,
}

impl Sent {
    /// The receipt; `None` from a server without `post`.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Posted(receipt) => Some(receipt),
            Self::Plain => None,
        }
    }
}

impl Client {
    /// Sends a message: by a [`post`](Self::post) with a random key where the server has that command, else by one plain
    /// `send`. `Ok` from a current server means that the message is stored, and survives what
    /// [`Receipt::durability`] says.
    ///
    /// # Errors
    /// [`Invalid`](ClientError::Invalid) for what cannot be a message (empty, over the server's limit, a control
    /// character other than tab) or a recipient; codes `no_such_recipient`, `inbox_full`, `not_allowed`; and those of
    /// any request. [`Unconfirmed`](ClientError::Unconfirmed): it is not known whether the message was stored; a `post`
    /// with the key in the error settles it. On a server without `post`, sending again after an error whose
    /// [outcome is unknown](ClientError::is_outcome_unknown) may send the message twice.
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

    /// Sends a message with an idempotency key: it is stored once, however often this is called with the same key within
    /// 24 hours of the server's running time. A key has 1 to 128 printable ASCII characters and no space, and is unique
    /// among those of this user: 128 random bits in hexadecimal, say. A sender that must not lose a message over a crash
    /// of its own keeps key and text until this returns `Ok`:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(client: chat_client::Client, key: &str) -> Result<(), chat_client::ClientError> {
    /// let receipt = loop {
    ///     match client.post(key, "lineker", "apa kabar").await {
    ///         Ok(receipt) => break receipt,
    ///         Err(error) if error.is_retryable() || error.is_outcome_unknown() => {
    ///             let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
    ///             tokio::time::sleep(pause).await;
    ///         }
    ///         Err(error) => return Err(error),
    ///     }
    /// };
    /// println!("stored at {}", receipt.time);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Until the request timeout this repeats the request itself: on a new connection when the old one was lost, and after
    /// a pause when the server is busy or the outcome is not known. Messages posted at the same time keep the order of the
    /// calls, unless the server refuses one of them for the moment.
    ///
    /// # Errors
    /// As [`send`](Self::send), but never [`Unconfirmed`](ClientError::Unconfirmed); code `key_conflict` (the key was used
    /// for another message); [`Unsupported`](ClientError::Unsupported) by a server without `post`. After any error but
    /// `key_conflict` the same call may be made again.
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
