//! Replies into bytes.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::{BufMut as _, BytesMut};

use super::super::codec::REPLY_END;
use super::super::json::{self, Object, put_escaped, put_string};
use super::{
    ActiveUsers, DeliveryState, Direction, DirectoryEntry, ErrorReply, Hello, HistoryMessage,
    HistoryPage, InboxMessage, InboxPage, Limits, List, MessageStatus, PeekMessage, PeekPage,
    Posted, Reply, Resume, SessionEntry, Watching, Whoami,
};
use crate::{MessageId, Timestamp};

/// The most bytes that an encoded page of `inbox`, `peek` or `history` has besides its messages.
pub const PAGE_OVERHEAD_BYTES: usize = 128;

impl Reply<'_> {
    /// Appends the reply and its end: pure ASCII, `\r\n\r\n` last and nowhere else.
    pub fn encode(&self, dst: &mut BytesMut) {
        match self {
            Self::LoggedIn(token) => ok(dst, |o| o.plain("tokenid", token.expose())),
            Self::Sent => dst.put_slice(SENT),
            Self::Inbox(page) => ok(dst, |o| page.encode(o)),
            Self::List(list) => ok(dst, |o| list.encode(o)),
            Self::ActiveUsers(active) => {
                ok(dst, |o| active.encode(o, ["message", "messages"], ", "))
            }
            Self::LoggedOut => dst.put_slice(LOGGED_OUT),
            Self::Hello(hello) => ok(dst, |o| hello.encode(o)),
            Self::Pong(text) => ok(dst, |o| o.string("text", text)),
            Self::Registered(user) => ok(dst, |o| o.string("user", user)),
            Self::PasswordChanged(ended) => ok(dst, |o| o.number("sessions_ended", *ended)),
            Self::Whoami(whoami) => ok(dst, |o| whoami.encode(o)),
            Self::Sessions(sessions) => {
                ok(dst, |o| o.array("sessions", sessions, |dst, session| session.encode(dst)));
            }
            Self::Revoked | Self::Acked | Self::Unwatched | Self::Blocked | Self::PrivacySet => {
                dst.put_slice(OK)
            }
            Self::Posted(posted) => ok(dst, |o| posted.encode(o)),
            Self::Status(status) => ok(dst, |o| status.encode(o)),
            Self::History(page) => ok(dst, |o| page.encode(o)),
            Self::Watching(watching) => ok(dst, |o| watching.encode(o)),
            Self::Peek(page) => ok(dst, |o| page.encode(o)),
            Self::Error(error) => error.encode(dst),
        }
    }
}

impl InboxMessage<'_> {
    /// The most bytes that this message adds to an encoded `inbox` page. Exact but for the few bytes that open its sender's
    /// group, which are counted for every message. Takes one pass over the texts.
    #[must_use]
    pub fn encoded_len_bound(&self) -> usize {
        INBOX_MESSAGE_FRAME.len()
            + texts_len(&[&self.from, &self.from_name, &self.to_name, &self.body])
            + self.id.map_or(0, id_len)
            + self.time.map_or(0, time_len_bound)
    }

    fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.string("msg_from", &self.from_name);
        object.string("msg_to", &self.to_name);
        object.string("msg", &self.body);
        if let Some(id) = self.id {
            object.plain("id", id);
        }
        if let Some(time) = self.time {
            object.plain("time", time);
        }
        object.end();
    }
}

impl PeekMessage<'_> {
    /// The most bytes that this message adds to an encoded `peek` page. Exact for times of the years 1970 to 9999. Takes one
    /// pass over the texts.
    #[must_use]
    pub fn encoded_len_bound(&self) -> usize {
        PEEK_MESSAGE_FRAME.len()
            + texts_len(&[&self.from, &self.from_name, &self.to, &self.body])
            + id_len(self.id)
            + time_len_bound(self.time)
    }

    fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        self.put(&mut object);
        object.end();
    }

    pub(in super::super) fn put(&self, object: &mut Object<'_>) {
        object.plain("id", self.id);
        object.plain("time", self.time);
        object.string("from", &self.from);
        object.string("from_name", &self.from_name);
        object.string("to", &self.to);
        object.string("body", &self.body);
    }
}

impl InboxPage<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        let mut groups = Object::new(reply.key("messages"));
        for group in self.by_sender().chunk_by(|(a, _), (b, _)| a == b) {
            let Some((_, first)) = group.first() else {
                continue;
            };
            groups.array(&first.from, group, |dst, (_, message)| message.encode(dst));
        }
        groups.end();
        if self.more {
            reply.bool("more", true);
        }
    }

    /// The messages with the number of their sender's group, in order of groups and oldest first in each.
    fn by_sender(&self) -> Vec<(usize, &InboxMessage<'_>)> {
        let mut groups = HashMap::new();
        let mut messages: Vec<_> = self
            .messages
            .iter()
            .map(|message| {
                let next = groups.len();
                (*groups.entry(&*message.from).or_insert(next), message)
            })
            .collect();
        messages.sort_by_key(|(group, _)| *group);
        messages
    }
}

impl PeekPage<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        reply.string("incarnation", &self.incarnation);
        reply.array("messages", &self.messages, |dst, message| message.encode(dst));
        reply.bool("more", self.more);
    }
}

impl Posted<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        reply.string("id", &self.id);
        reply.plain("time", self.time);
        reply.bool("duplicate", self.duplicate);
        reply.string("durability", &self.durability);
    }
}

impl MessageStatus {
    fn encode(self, reply: &mut Object<'_>) {
        reply.string("state", self.state.as_str());
        reply.plain("stored", self.stored);
        for (key, time) in [("pushed", self.pushed), ("delivered", self.delivered)] {
            if let Some(time) = time {
                reply.plain(key, time);
            }
        }
    }
}

impl HistoryMessage<'_> {
    /// The most bytes that this message adds to an encoded `history` page. Takes one pass over the texts.
    #[must_use]
    pub fn encoded_len_bound(&self) -> usize {
        HISTORY_MESSAGE_FRAME.len()
            + texts_len(&[&self.id, &self.from, &self.from_name, &self.to, &self.body])
            + time_len_bound(self.time)
    }

    fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.string("direction", self.direction.as_str());
        object.string("id", &self.id);
        object.plain("time", self.time);
        object.string("from", &self.from);
        object.string("from_name", &self.from_name);
        object.string("to", &self.to);
        object.string("body", &self.body);
        object.end();
    }
}

impl HistoryPage<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        reply.string("incarnation", &self.incarnation);
        reply.array("messages", &self.messages, |dst, message| message.encode(dst));
        if let Some(next) = &self.next {
            reply.string("next", next);
        }
    }
}

impl Watching<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        reply.string("incarnation", &self.incarnation);
        reply.string("resume", self.resume.as_str());
        reply.plain("after", self.after);
        for (key, id) in [("from", self.from), ("to", self.to)] {
            if let Some(id) = id {
                reply.plain(key, id);
            }
        }
    }
}

impl DeliveryState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Pushed => "pushed",
            Self::Delivered => "delivered",
        }
    }
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl Resume {
    fn as_str(self) -> &'static str {
        match self {
            Self::Undelivered => "undelivered",
            Self::Exact => "exact",
            Self::Gap => "gap",
        }
    }
}

impl ActiveUsers<'_> {
    /// The same string under both keys: each name with the separator behind it.
    fn encode(&self, reply: &mut Object<'_>, keys: [&str; 2], separator: &str) {
        for key in keys {
            let dst = reply.key(key);
            dst.put_u8(b'"');
            for user in &self.users {
                put_escaped(dst, user);
                dst.put_slice(separator.as_bytes());
            }
            dst.put_u8(b'"');
        }
        if self.more {
            reply.bool("more", true);
        }
    }
}

impl List<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        self.active.encode(reply, ["messages", "message"], ",");
        let Some(directory) = &self.directory else {
            return;
        };
        reply.array("users", &directory.users, |dst, entry| entry.encode(dst));
        if let Some(next) = &directory.next {
            reply.string("users_next", next);
        }
    }
}

impl DirectoryEntry<'_> {
    fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.string("username", &self.username);
        object.string("name", &self.name);
        object.bool("active", self.active);
        object.end();
    }
}

impl Hello<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        let put_word = |dst: &mut BytesMut, word: &Cow<'_, str>| put_string(dst, word);
        reply.string("server", &self.server);
        reply.string("version", &self.version);
        reply.number("protocol", self.protocol.into());
        reply.array("commands", &self.commands, put_word);
        self.limits.encode(reply.key("limits"));
        reply.array("features", &self.features, put_word);
    }
}

impl Limits {
    fn encode(self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.number("frame_bytes", self.frame_bytes);
        object.number("message_bytes", self.message_bytes);
        object.number("page_messages", self.page_messages);
        object.number("page_bytes", self.page_bytes);
        object.end();
    }
}

impl Whoami<'_> {
    fn encode(&self, reply: &mut Object<'_>) {
        reply.string("user", &self.user);
        reply.string("name", &self.name);
        reply.string("incarnation", &self.incarnation);
        reply.plain("created", self.created);
        reply.plain("expires", self.expires);
    }
}

impl SessionEntry<'_> {
    fn encode(&self, dst: &mut BytesMut) {
        let mut object = Object::new(dst);
        object.string("session", &self.session);
        object.plain("created", self.created);
        object.plain("last_used", self.last_used);
        object.plain("expires", self.expires);
        object.bool("current", self.current);
        object.end();
    }
}

impl ErrorReply<'_> {
    fn encode(&self, dst: &mut BytesMut) {
        if let Some(rendered) = self.rendered() {
            return dst.put_slice(rendered.as_bytes());
        }
        let mut object = Object::new(dst);
        object.string("status", "ERROR");
        object.string("message", &self.message);
        if let Some(code) = &self.code {
            object.string("code", code.as_str());
        }
        if let Some(ms) = self.retry_after_ms {
            object.number("retry_after_ms", ms);
        }
        object.end();
        dst.put_slice(REPLY_END);
    }

    fn rendered(&self) -> Option<&'static str> {
        let code = self.code.as_ref()?;
        let standard = self.retry_after_ms.is_none() && self.message == code.text();
        code.rendered().filter(|_| standard)
    }
}

/// A reply that worked, with what `put` adds.
fn ok(dst: &mut BytesMut, put: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::new(dst);
    object.string("status", "OK");
    put(&mut object);
    object.end();
    dst.put_slice(REPLY_END);
}

fn texts_len(texts: &[&str]) -> usize {
    texts.iter().map(|text| json::escaped_len(text)).sum()
}

fn id_len(id: MessageId) -> usize {
    let digits = id.get().checked_ilog10().unwrap_or(0) + 1;
    usize::try_from(digits).unwrap_or(usize::MAX)
}

fn time_len_bound(time: Timestamp) -> usize {
    if COMMON_YEARS.contains(&time.as_millis()) {
        "1970-01-01T00:00:00.000Z".len()
    } else {
        "-009999-01-01T00:00:00.000Z".len()
    }
}

/// The milliseconds of the years 1970 to 9999, whose times all have the same length.
const COMMON_YEARS: std::ops::Range<i64> = 0..253_402_207_200_000;

const OK: &[u8] = b"{\"status\": \"OK\"}\r\n\r\n";
const SENT: &[u8] = b"{\"status\": \"OK\", \"message\": \"Message Sent\"}\r\n\r\n";
const LOGGED_OUT: &[u8] = b"{\"status\": \"OK\", \
    \"messages\": \"logout telah berhasil, Terimakasih telah menggunakan Chat :)\", \
    \"message\": \"logout success\"}\r\n\r\n";

/// What stands around the texts of a message that has its sender's group to itself.
const INBOX_MESSAGE_FRAME: &str =
    r#", "": [{"msg_from": "", "msg_to": "", "msg": "", "id": "", "time": ""}]"#;
const HISTORY_MESSAGE_FRAME: &str = r#", {"direction": "out", "id": "", "time": "", "from": "", "from_name": "", "to": "", "body": ""}"#;
const PEEK_MESSAGE_FRAME: &str =
    r#", {"id": "", "time": "", "from": "", "from_name": "", "to": "", "body": ""}"#;
