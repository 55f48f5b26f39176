//! [`Event`]: what the server pushes on connections that watch.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut as _, BytesMut};
use serde::Deserialize;

use super::codec::REPLY_END;
use super::json::Object;
use super::reply::read;
use super::{Frame, PeekMessage, ReplyError};
use crate::{MessageId, Timestamp};

/// One event. The server encodes it from borrowed parts; a decoded one owns its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// `message`: a message in the user's mailbox.
    Message(PeekMessage<'a>),
    /// `sent`: a message that this user sent from another connection.
    Sent(SentMessage<'a>),
    /// `presence`: another user became active, or is no longer.
    Presence {
        /// `user`: the username.
        user: Cow<'a, str>,
        /// `active`: whether they are active now.
        active: bool,
    },
    /// `gap`: messages that are not kept any more and were not shown.
    Gap {
        /// `from`: the first of them.
        from: MessageId,
        /// `to`: the last of them.
        to: MessageId,
        /// `reason`: `retention`.
        reason: Cow<'a, str>,
    },
    /// `lagging`: the watcher was slow; what follows comes from the store.
    Lagging,
    /// `live`: the watcher has caught up.
    Live,
    /// `session_ended`: the watch is over; the connection stays.
    SessionEnded {
        /// `reason`: `logout`, `revoked`, `password_changed`, `expired` or `account_removed`.
        reason: Cow<'a, str>,
    },
    /// `shutdown`: the server is about to close the connection.
    Shutdown,
    /// One that this version does not know.
    Other(Cow<'a, str>),
}

/// A message that the user sent: `id`, `time`, `from`, `from_name`, `to`, `body`. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct SentMessage<'a> {
    /// The message's id for its sender, as `status` takes it. Opaque.
    pub id: Cow<'a, str>,
    /// When it was stored.
    pub time: Timestamp,
    /// The sender's username.
    pub from: Cow<'a, str>,
    /// The sender's full name.
    pub from_name: Cow<'a, str>,
    /// The recipient's username.
    pub to: Cow<'a, str>,
    /// The text.
    pub body: Cow<'a, str>,
}

impl Event<'_> {
    /// Appends the event and its end, framed like a reply.
    pub fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.string("event", self.name());
        match self {
            Self::Message(message) => message.put(&mut object),
            Self::Sent(message) => message.put(&mut object),
            Self::Presence { user, active } => {
                object.string("user", user);
                object.bool("active", *active);
            }
            Self::Gap { from, to, reason } => {
                object.plain("from", from);
                object.plain("to", to);
                object.string("reason", reason);
            }
            Self::SessionEnded { reason } => object.string("reason", reason),
            Self::Lagging | Self::Live | Self::Shutdown | Self::Other(_) => {}
        }
        object.end();
        dst.put_slice(REPLY_END);
    }

    /// The word under `event`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Message(_) => "message",
            Self::Sent(_) => "sent",
            Self::Presence { .. } => "presence",
            Self::Gap { .. } => "gap",
            Self::Lagging => "lagging",
            Self::Live => "live",
            Self::SessionEnded { .. } => "session_ended",
            Self::Shutdown => "shutdown",
            Self::Other(name) => name,
        }
    }
}

impl Event<'static> {
    /// Decodes a frame if it is an event: an object with `event` and without `status`. `None` for anything else, which is a
    /// reply.
    ///
    /// # Errors
    /// [`ReplyError::Malformed`] if it lacks what such an event must have.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, ReplyError> {
        let bytes = frame.as_bytes();
        // A derived `Deserialize` takes an array for an object.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        match read::<Head>(bytes) {
            Ok(Head { event: Some(name), status: None }) => decode(name, bytes)
                .map(Some)
                .map_err(|reason| ReplyError::Malformed { command: "watch", reason }),
            _ => Ok(None),
        }
    }
}

fn decode(name: String, bytes: &[u8]) -> Result<Event<'static>, String> {
    Ok(match &*name {
        "message" => Event::Message(read(bytes)?),
        "sent" => Event::Sent(read(bytes)?),
        "presence" => {
            let PresenceBody { user, active } = read(bytes)?;
            Event::Presence { user: user.into(), active }
        }
        "gap" => {
            let GapBody { from, to, reason } = read(bytes)?;
            Event::Gap { from, to, reason: reason.into() }
        }
        "lagging" => Event::Lagging,
        "live" => Event::Live,
        "session_ended" => {
            Event::SessionEnded { reason: read::<SessionEndedBody>(bytes)?.reason.into() }
        }
        "shutdown" => Event::Shutdown,
        _ => Event::Other(name.into()),
    })
}

impl SentMessage<'_> {
    fn put(&self, object: &mut Object<'_>) {
        object.string("id", &self.id);
        object.plain("time", self.time);
        object.string("from", &self.from);
        object.string("from_name", &self.from_name);
        object.string("to", &self.to);
        object.string("body", &self.body);
    }
}

impl fmt::Debug for SentMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentMessage")
            .field("id", &self.id)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Head {
    event: Option<String>,
    status: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PresenceBody {
    user: String,
    active: bool,
}

#[derive(Deserialize)]
struct GapBody {
    from: MessageId,
    to: MessageId,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct SessionEndedBody {
    #[serde(default)]
    reason: String,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_795_000_000_007);

    fn decoded(json: &str) -> Result<Option<Event<'static>>, ReplyError> {
        Event::decode(&Frame(Bytes::from(json.to_owned())))
    }

    fn assert_survives(event: &Event<'static>, json: &str) {
        let mut dst = BytesMut::new();
        event.encode(&mut dst);
        assert_eq!(dst, format!("{json}\r\n\r\n"));
        assert_eq!(decoded(json).unwrap().as_ref(), Some(event));
    }

    #[test]
    fn events_are_as_the_contract_has_them() {
        let message = PeekMessage {
            id: MessageId::new(5),
            time: TIME,
            from: "lineker".into(),
            from_name: "Gary Lineker".into(),
            to: "messi".into(),
            body: " h\u{e9} ".into(),
        };
        assert_survives(
            &Event::Message(message),
            r#"{"event": "message", "id": "5", "time": "2026-11-18T11:06:40.007Z", "from": "lineker", "from_name": "Gary Lineker", "to": "messi", "body": " h\u00e9 "}"#,
        );
        let sent = SentMessage {
            id: "0a0b".into(),
            time: TIME,
            from: "messi".into(),
            from_name: "Lionel Messi".into(),
            to: "lineker".into(),
            body: "halo".into(),
        };
        assert_survives(
            &Event::Sent(sent),
            r#"{"event": "sent", "id": "0a0b", "time": "2026-11-18T11:06:40.007Z", "from": "messi", "from_name": "Lionel Messi", "to": "lineker", "body": "halo"}"#,
        );
        assert_survives(
            &Event::Presence { user: "messi".into(), active: true },
            r#"{"event": "presence", "user": "messi", "active": true}"#,
        );
        let (from, to) = (MessageId::new(1), MessageId::new(7));
        assert_survives(
            &Event::Gap { from, to, reason: "retention".into() },
            r#"{"event": "gap", "from": "1", "to": "7", "reason": "retention"}"#,
        );
        assert_survives(
            &Event::SessionEnded { reason: "revoked".into() },
            r#"{"event": "session_ended", "reason": "revoked"}"#,
        );
        for (event, json) in [
            (Event::Lagging, r#"{"event": "lagging"}"#),
            (Event::Live, r#"{"event": "live"}"#),
            (Event::Shutdown, r#"{"event": "shutdown"}"#),
            (Event::Other("later".into()), r#"{"event": "later"}"#),
        ] {
            assert_survives(&event, json);
        }
    }

    #[test]
    fn a_reply_is_no_event() {
        for json in [
            r#"{"status": "OK", "event": "live"}"#,
            r#"{"status": "OK"}"#,
            r#"["live", null]"#,
            "halo",
        ] {
            assert_eq!(decoded(json).unwrap(), None, "{json}");
        }
        assert!(decoded(r#"{"event": "gap", "from": "1"}"#).is_err());
    }
}
