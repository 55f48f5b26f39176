//! [`Watcher`]: a connection's watch, and what of it is on its way to the peer.

use chat_core::protocol::{Event, PeekMessage, SentMessage};
use chat_core::store::{Message, SentCopy, Shown, StoreError, Watch, WatchEvent, WatchId};
use chat_core::{MessageId, Timestamp};

use crate::delivery::Delivery;
use crate::service::Output;

/// What a connection has while it watches.
#[derive(Debug)]
pub(crate) struct Watcher {
    watch: Watch,
    /// Encoded, and not yet noted as shown: the first and the last of messages that follow one another.
    shown: Option<(MessageId, MessageId)>,
    /// The last message encoded that the transport has not accepted yet.
    unwritten: Option<MessageId>,
    ended: bool,
}

impl Watcher {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, shown: None, unwritten: None, ended: false }
    }

    pub(crate) fn id(&self) -> WatchId {
        self.watch.id()
    }

    /// Whether the session is over and nothing follows.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for the next event. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent, StoreError> {
        self.watch.next().await
    }

    /// Encodes an event.
    pub(crate) fn push(
        &mut self,
        event: &WatchEvent,
        output: &mut Output,
        delivery: &mut Delivery,
    ) {
        self.encode(event, output, delivery);
        self.note_shown(delivery);
    }

    /// Encodes the events that are at hand, until the output has so many bytes.
    pub(crate) fn push_at_hand(
        &mut self,
        output: &mut Output,
        bytes: usize,
        delivery: &mut Delivery,
    ) {
        while !self.ended
            && output.len() < bytes
            && let Some(event) = self.watch.try_next()
        {
            self.encode(&event, output, delivery);
        }
        self.note_shown(delivery);
    }

    /// The transport accepted all that was encoded.
    pub(crate) fn written(&mut self, now: Timestamp) {
        if let Some(upto) = self.unwritten.take() {
            self.watch.pushed(upto, now);
        }
    }

    fn encode(&mut self, event: &WatchEvent, output: &mut Output, delivery: &mut Delivery) {
        match event {
            WatchEvent::Message(message) => {
                self.shows(message.id, delivery);
                output.event(&Event::Message(self.message(message)));
            }
            WatchEvent::Sent(copy) => output.event(&Event::Sent(sent(copy))),
            WatchEvent::Presence { username, active } => {
                output.event(&Event::Presence { user: (&**username).into(), active: *active });
            }
            WatchEvent::Gap(from, to) => {
                output.event(&Event::Gap { from: *from, to: *to, reason: RETENTION.into() });
            }
            WatchEvent::Lagging => output.event(&Event::Lagging),
            WatchEvent::Live => output.event(&Event::Live),
            WatchEvent::Ended(end) => {
                self.ended = true;
                output.event(&Event::SessionEnded { reason: end.as_str().into() });
            }
        }
    }

    fn shows(&mut self, id: MessageId, delivery: &mut Delivery) {
        self.unwritten = Some(id);
        match &mut self.shown {
            Some((_, last)) if last.get().checked_add(1) == Some(id.get()) => *last = id,
            _ => {
                self.note_shown(delivery);
                self.shown = Some((id, id));
            }
        }
    }

    /// From now on `ack` may name what was shown.
    fn note_shown(&mut self, delivery: &mut Delivery) {
        if let Some((first, last)) = self.shown.take() {
            let (account, incarnation) = (self.watch.account(), self.watch.incarnation().clone());
            delivery.showed(Shown { account, incarnation, first, last });
        }
    }

    fn message<'a>(&'a self, message: &'a Message) -> PeekMessage<'a> {
        PeekMessage {
            id: message.id,
            time: message.time,
            from: (&*message.from).into(),
            from_name: (&*message.from_name).into(),
            to: (&**self.watch.username()).into(),
            body: (&*message.body).into(),
        }
    }
}

fn sent(copy: &SentCopy) -> SentMessage<'_> {
    let message = &copy.message;
    SentMessage {
        id: copy.id.to_string().into(),
        time: message.time,
        from: (&*message.from).into(),
        from_name: (&*message.from_name).into(),
        to: (&*copy.to).into(),
        body: (&*message.body).into(),
    }
}

/// Why messages are not there any more, as `gap` says it.
const RETENTION: &str = "retention";
