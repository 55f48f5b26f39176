//! `chat watch`: events as lines of JSON.

use std::io::{self, Write};
use std::time::Duration;

use chat_client::{
    Client, ClientError, ErrorCode, Event, Gap, GapReason, IncomingMessage, MessageId, Timestamp,
    Watch, WatchEnd,
};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connections::Connections;
use crate::failure::Failure;
use crate::text::ascii_json;

/// Writes events until the watch ends, which is always a failure.
pub(super) async fn run(
    client: &Client,
    from: Option<(u64, String)>,
    ack: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut telling = JoinSet::new();
    telling.spawn(tell(Connections::of(client)));
    let mut watch = match from {
        Some((id, incarnation)) => client.watch_from(MessageId::new(id), &incarnation).await?,
        None => client.watch().await?,
    };
    let mut acks = Acks::default();
    while let Some(event) = acks.next(&mut watch).await? {
        if let Some(line) = line_of(&event) {
            ascii_json(&line)
                .map_err(io::Error::from)
                .and_then(|json| writeln!(out, "{json}"))
                .and_then(|()| out.flush())
                .map_err(Failure::Output)?;
        }
        match event {
            Event::Message(message) if ack => acks.add(message),
            Event::Ended(end) => return Err(failure_of(end)),
            _ => {}
        }
    }
    Ok(())
}

/// What was written and is not acknowledged. One message stands for all before it, so those that come at once are
/// acknowledged at once.
#[derive(Default)]
struct Acks {
    last: Option<IncomingMessage>,
    count: usize,
}

impl Acks {
    fn add(&mut self, message: IncomingMessage) {
        self.last = Some(message);
        self.count += 1;
    }

    /// The next event. Before it waits for one, or holds too many, it acknowledges.
    async fn next(&mut self, watch: &mut Watch) -> Result<Option<Event>, Failure> {
        loop {
            let patience = match self.last {
                None => return Ok(watch.next().await),
                Some(_) if self.count < ACK_AT_LEAST_EVERY => Duration::ZERO,
                Some(_) => match self.send(watch).await? {
                    true => continue,
                    false => RETRY_AFTER,
                },
            };
            match timeout(patience, watch.next()).await {
                Ok(event) => return Ok(event),
                // Nothing more comes at once.
                Err(_) => self.count = ACK_AT_LEAST_EVERY,
            }
        }
    }

    /// Whether nothing is left to acknowledge.
    async fn send(&mut self, watch: &Watch) -> Result<bool, Failure> {
        let Some(message) = self.last.take() else {
            return Ok(true);
        };
        self.count = 0;
        match watch.ack(&message).await {
            Ok(()) => Ok(true),
            // The mailbox is another by now; a gap says so.
            Err(error) if error.code() == Some(&ErrorCode::StaleIncarnation) => Ok(true),
            Err(error) if error.is_retryable() => {
                self.last = Some(message);
                self.count = ACK_AT_LEAST_EVERY;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn failure_of(end: WatchEnd) -> Failure {
    match end {
        WatchEnd::SessionEnded { reason } => Failure::LoginEnded { reason },
        WatchEnd::Refused(error) => Failure::Watch(error),
        WatchEnd::Closed(reason) => {
            ClientError::Closed { command: "watch", sent: true, reason }.into()
        }
        _ => Failure::LoginEnded { reason: "unknown".to_owned() },
    }
}

/// To standard error, for whoever runs the bot.
async fn tell(mut connections: Connections) {
    while let Some(line) = connections.next().await {
        let _ = writeln!(io::stderr(), "chat: {line}");
    }
}

/// One line, its keys in the order of the help.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Message {
        id: MessageId,
        incarnation: &'a str,
        time: Timestamp,
        from: &'a str,
        from_name: &'a str,
        to: &'a str,
        body: &'a str,
    },
    Sent {
        id: &'a str,
        time: Timestamp,
        from: &'a str,
        from_name: &'a str,
        to: &'a str,
        body: &'a str,
    },
    Presence {
        user: &'a str,
        active: bool,
    },
    Gap {
        from: MessageId,
        to: Option<MessageId>,
        reason: &'a str,
        incarnation: &'a str,
    },
    Lagging,
    Live,
    Shutdown,
    SessionEnded {
        reason: &'a str,
    },
}

fn line_of(event: &Event) -> Option<Line<'_>> {
    Some(match event {
        Event::Message(message) => message_line(message),
        Event::Sent(message) => Line::Sent {
            id: &message.id,
            time: message.time,
            from: &message.from,
            from_name: &message.from_name,
            to: &message.to,
            body: &message.body,
        },
        Event::Presence { user, active } => Line::Presence { user, active: *active },
        Event::Gap(gap) => gap_line(gap),
        Event::Lagging => Line::Lagging,
        Event::Live => Line::Live,
        Event::Shutdown => Line::Shutdown,
        Event::Ended(WatchEnd::SessionEnded { reason }) => Line::SessionEnded { reason },
        _ => return None,
    })
}

fn message_line(message: &IncomingMessage) -> Line<'_> {
    Line::Message {
        id: message.id,
        incarnation: &message.incarnation,
        time: message.time,
        from: &message.from,
        from_name: &message.from_name,
        to: &message.to,
        body: &message.body,
    }
}

fn gap_line(gap: &Gap) -> Line<'_> {
    let reason = match &gap.reason {
        GapReason::Announced(reason) => reason,
        GapReason::Restored { .. } => "restored",
        _ => "unannounced",
    };
    Line::Gap { from: gap.from, to: gap.to, reason, incarnation: &gap.incarnation }
}

/// So that a stream that never pauses is acknowledged too.
const ACK_AT_LEAST_EVERY: usize = 100;
/// After an acknowledgement that did not work.
const RETRY_AFTER: Duration = Duration::from_secs(5);
