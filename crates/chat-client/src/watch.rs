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

/// The events of a user, as a [`Stream`] and by [`next`](Self::next). Made by [`Client::watch`].
///
/// It outlives connections: when one is lost, the client makes another and goes on behind the last message that this
/// stream holds. Messages come in order of id, none twice and none left out, unless an [`Event::Gap`] says so. Its last
/// event is [`Event::Ended`].
///
/// # A slow reader
/// loses no message and stops nobody. Once the stream holds [`event_buffer`](crate::ConnectOptions::event_buffer)
/// events, the client reads no further, so the server notices and says `lagging`. But it reads on while a reply is
/// awaited, up to eight times as many events, so that calls (such as [`ack`](Self::ack)) may be awaited between
/// events. When that is not enough, or reading has stood still for 5 s (the server cuts off who does not read for 30
/// s), the client asks the server to stop, drops what still comes, and goes on from the server's store once half of
/// `event_buffer` is free, after an [`Event::Lagging`].
///
/// Dropping it ends the watch: the client tells the server, or closes the connection if this was the last handle on
/// it. Until then it keeps the connection open, as a clone of the [`Client`] does.
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
    /// Begins to receive the user's events: first everything undelivered, then what is new.
    ///
    /// A client has one watch at a time, whatever handle it was made by.
    ///
    /// # Errors
    /// [`AlreadyWatching`](ClientError::AlreadyWatching); [`Unsupported`](ClientError::Unsupported) by a server that
    /// has no `watch`; and those of any request.
    ///
    /// # Cancel safety
    /// A watch that was begun is ended again. Nothing is delivered.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        self.begin_watch(None).await
    }

    /// The same, but first everything stored behind the message `after` of that `incarnation` of the mailbox,
    /// delivered or not. When the mailbox has another incarnation by now, the first event is an [`Event::Gap`].
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

    /// Tells the server that this message and all before it have arrived. Say so once they are shown or stored, and
    /// not before: what was not acknowledged comes again in the next watch, here or on another device.
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

    /// A handle with the login that watches.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The mailbox's incarnation when the watch began.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The id that the watch began behind.
    #[must_use]
    pub fn after(&self) -> MessageId {
        self.after
    }

    /// What the watch began with.
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
