//! [`Watch`]: the stream of a user's events.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use chat_core::MessageId;
use chat_core::protocol::Resume;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::request::Request;
use crate::watcher::{NewWatch, Position, SPILL};
use crate::{Client, ClientError, CloseReason, Event, IncomingMessage, WatchEnd};

/// The events of a user, by [`next`](Self::next) or as a [`Stream`]. Made by [`Client::watch`]; the [crate](crate) has an
/// example.
///
/// It outlives connections: when one is lost, the client makes another and goes on after the last message that this
/// stream was given. Messages come in order of id, none twice, and none is left out unless an [`Event::Gap`] says so. Its
/// last event is [`Event::Ended`].
///
/// Dropping it ends the watch: the client tells the server, or closes the connection if this was the last handle on
/// it. Until then it keeps the connection open, as a clone of the [`Client`] does.
///
/// # Slow readers
/// A slow reader loses no message and holds nobody up. Calls such as [`ack`](Self::ack) may be awaited between events.
///
/// Once the stream holds [`event_buffer`](crate::ConnectOptions::event_buffer) events, the client stops reading from the
/// connection, so that the server notices. While a call waits for its reply it reads on, until the stream holds eight
/// times as many. When that is full too, or nothing was read for 5 s (a server disconnects who reads nothing for 30 s),
/// the client asks the server to stop and drops what still comes. Once half of `event_buffer` is free the stream gives
/// [`Event::Lagging`], and goes on with the messages from the server's store.
#[derive(Debug)]
#[must_use = "events come only while it is read"]
pub struct Watch {
    client: Client,
    events: mpsc::Receiver<Event>,
    end: Arc<OnceLock<WatchEnd>>,
    ended: bool,
    incarnation: Arc<str>,
    after: MessageId,
    resume: Resume,
}

impl Client {
    /// Begins to receive the user's events: first every undelivered message, then what is new. A connection has one watch
    /// at a time, whichever handle it was made by.
    ///
    /// # Errors
    /// [`AlreadyWatching`](ClientError::AlreadyWatching); [`Unsupported`](ClientError::Unsupported) by a server without
    /// `watch`; and those of any request.
    ///
    /// # Cancel safety
    /// A watch that was begun is ended again. Nothing is delivered.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        self.begin_watch(None).await
    }

    /// The same, but begins with every message stored after `after`, an id of that `incarnation` of the mailbox, delivered
    /// or not: for a reader that has kept all up to it (see [`IncomingMessage`]). When the mailbox has another incarnation
    /// by now, the first event is an [`Event::Gap`].
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    ///
    /// # Cancel safety
    /// As [`watch`](Self::watch).
    pub async fn watch_from(
        &self,
        after: MessageId,
        incarnation: &str,
    ) -> Result<Watch, ClientError> {
        self.begin_watch(Some(Position { id: after, incarnation: incarnation.into() })).await
    }

    async fn begin_watch(&self, from: Option<Position>) -> Result<Watch, ClientError> {
        let command = "watch";
        let (token, client) = self.pinned()?;
        self.require(command)?;
        let (sender, events) = mpsc::channel(self.options().event_buffer.saturating_mul(SPILL));
        let (started, start) = oneshot::channel();
        let end = Arc::default();
        let new = NewWatch { token, from, events: sender, end: Arc::clone(&end), started };
        let limit = self.options().request_timeout;
        let beginning = async {
            self.submit(Request::Watch(new), command).await?;
            start.await.unwrap_or_else(|_| Err(self.closed(command, true)))
        };
        let watching = timeout(limit, beginning).await.unwrap_or(Err(ClientError::Timeout {
            command,
            limit,
            sent: true,
        }))?;
        Ok(Watch {
            client,
            events,
            end,
            ended: false,
            incarnation: (&*watching.incarnation).into(),
            after: watching.after,
            resume: watching.resume,
        })
    }
}

impl Watch {
    /// The next event; `None` after [`Event::Ended`].
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        self.or_end(event)
    }

    /// Tells the server that this message and all before it have arrived. Call it once they are shown or stored, and
    /// not before: messages that were not acknowledged come again in the next watch, here or on another device.
    ///
    /// # Errors
    /// As [`Client::ack`]. [`ErrorCode::StaleIncarnation`](crate::ErrorCode) means that the store was restored from
    /// an older copy since; an [`Event::Gap`] says more.
    ///
    /// # Cancel safety
    /// As [`Client::ack`].
    pub async fn ack(&self, message: &IncomingMessage) -> Result<(), ClientError> {
        self.client.ack(message.id, &message.incarnation).await
    }

    /// A handle with the login of this watch.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The mailbox's incarnation when the watch began.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The id after which the watch began.
    #[must_use]
    pub fn after(&self) -> MessageId {
        self.after
    }

    /// Whether the watch began with what was undelivered, exactly after the id it was given, or elsewhere.
    #[must_use]
    pub fn resume(&self) -> Resume {
        self.resume
    }

    fn or_end(&mut self, event: Option<Event>) -> Option<Event> {
        if event.is_some() {
            return event;
        }
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        // Without an end the task has not set one: its runtime is gone.
        let end = self.end.get().cloned().unwrap_or(WatchEnd::Closed(CloseReason::ByClient));
        Some(Event::Ended(end))
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.events.poll_recv(context));
        Poll::Ready(self.or_end(event))
    }
}
