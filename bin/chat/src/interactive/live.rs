//! What happens by itself on a terminal: messages come, connections go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chat_client::{
    ClientError, ErrorCode, Event, Gap, GapReason, IncomingMessage, MessageId, Watch, WatchEnd,
};
use jiff::tz::TimeZone;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::screen::Screen;
use crate::connections::Connections;
use crate::failure::with_sources;
use crate::phrases;
use crate::text::{message_line, sent_line};

/// Shows what a watch gives, and acknowledges messages once they can be seen.
pub(super) struct Live {
    watch: Watch,
    screen: Screen,
    zone: TimeZone,
    /// Set when the login that watches is over.
    login_over: Arc<AtomicBool>,
    /// The newest message that was shown, here or by `inbox`.
    newest: Arc<AtomicU64>,
    /// The last message shown and not acknowledged, and when it was.
    shown: Option<(IncomingMessage, Instant)>,
    acks: JoinSet<Option<IncomingMessage>>,
}

impl Live {
    pub(super) fn new(
        watch: Watch,
        screen: Screen,
        zone: TimeZone,
        login_over: Arc<AtomicBool>,
        newest: Arc<AtomicU64>,
    ) -> Self {
        Self { watch, screen, zone, login_over, newest, shown: None, acks: JoinSet::new() }
    }

    /// Runs until the watch is over.
    pub(super) async fn run(mut self) {
        loop {
            let said = self.shown.as_ref().map(|(_, said)| *said);
            tokio::select! {
                event = self.watch.next() => match event {
                    Some(event) => self.show(event).await,
                    None => return,
                },
                () = self.screen.seen(said.unwrap_or_else(Instant::now)), if said.is_some() => self.ack(),
                Some(Ok(failed)) = self.acks.join_next(), if !self.acks.is_empty() => {
                    if let (Some(message), None) = (failed, &self.shown) {
                        self.shown = Some((message, Instant::now()));
                    }
                }
            }
        }
    }

    async fn show(&mut self, event: Event) {
        if let Event::Ended(end) = &event {
            self.end(end);
        }
        if let Event::Gap(Gap { reason: GapReason::Restored { .. }, .. }) = &event {
            // Ids begin to mean something else.
            self.newest.store(0, Ordering::Relaxed);
        }
        if let Event::Message(message) = &event
            && !is_new(&self.newest, message.id)
        {
            return;
        }
        if let Some(line) = line_of(&event, &self.zone) {
            self.screen.say(line).await;
        }
        if let Event::Message(message) = event {
            self.shown = Some((message, Instant::now()));
        }
    }

    /// One message stands for all before it.
    fn ack(&mut self) {
        let Some((message, _)) = self.shown.take() else {
            return;
        };
        let client = self.watch.client().clone();
        self.acks.spawn(async move {
            let acked = client.ack(message.id, &message.incarnation).await;
            acked.err().filter(ClientError::is_retryable).map(|_| message)
        });
    }

    fn end(&self, end: &WatchEnd) {
        let over = match end {
            WatchEnd::SessionEnded { .. } => true,
            WatchEnd::Refused(error) => error.code() == Some(&ErrorCode::NoSession),
            _ => false,
        };
        if over {
            self.login_over.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a message is newer than all that were shown; then it is the newest.
pub(super) fn is_new(newest: &AtomicU64, id: MessageId) -> bool {
    newest.fetch_max(id.get(), Ordering::Relaxed) < id.get()
}

/// Says when the connection is lost and when there is another.
pub(super) async fn tell(mut connections: Connections, screen: Screen) {
    while let Some(line) = connections.next().await {
        screen.say(line).await;
    }
}

/// What is shown of an event.
fn line_of(event: &Event, zone: &TimeZone) -> Option<String> {
    Some(match event {
        Event::Message(message) => message_line(message, zone),
        Event::Sent(message) => sent_line(message, zone),
        Event::Presence { user, active } => phrases::presence(user, *active),
        Event::Gap(gap) => phrases::gap(gap),
        Event::Shutdown => phrases::SHUTDOWN.to_owned(),
        Event::Ended(WatchEnd::SessionEnded { reason }) => phrases::login_ended(reason),
        Event::Ended(WatchEnd::Refused(error)) => phrases::login_ended(&with_sources(&**error)),
        _ => return None,
    })
}
