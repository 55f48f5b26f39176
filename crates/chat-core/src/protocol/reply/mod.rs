//! [`Reply`]: what the server answers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::{MessageId, Timestamp, Token};

mod decode;
mod encode;
mod error_code;

pub use decode::ReplyError;
pub(super) use decode::read;
pub use encode::PAGE_OVERHEAD_BYTES;
pub use error_code::ErrorCode;

/// One reply. The server encodes it from borrowed parts; a decoded one owns its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// To `auth`: `tokenid`.
    LoggedIn(Token),
    /// To `send`: `message` is `Message Sent`.
    Sent,
    /// To `inbox`.
    Inbox(InboxPage<'a>),
    /// To `list`: the active users in both dialects' keys, `more`, `users`, `users_next`.
    List(List<'a>),
    /// To `user_aktif`.
    ActiveUsers(ActiveUsers<'a>),
    /// To `logout`.
    LoggedOut,
    /// To `hello`.
    Hello(Hello<'a>),
    /// To `ping`: `text`.
    Pong(Cow<'a, str>),
    /// To `register`: `user`.
    Registered(Cow<'a, str>),
    /// To `passwd`: `sessions_ended`, how many other sessions ended.
    PasswordChanged(u64),
    /// To `whoami`.
    Whoami(Whoami<'a>),
    /// To `sessions`: `sessions`, oldest first.
    Sessions(Vec<SessionEntry<'a>>),
    /// To `revoke`.
    Revoked,
    /// To `peek`.
    Peek(PeekPage<'a>),
    /// To `ack`.
    Acked,
    /// To `post`.
    Posted(Posted<'a>),
    /// To `status`.
    Status(MessageStatus),
    /// To `history`.
    History(HistoryPage<'a>),
    /// To `watch`.
    Watching(Watching<'a>),
    /// To `unwatch`.
    Unwatched,
    /// To `block` and `unblock`.
    Blocked,
    /// To `privacy`.
    PrivacySet,
    /// To any command: it was not carried out.
    Error(ErrorReply<'a>),
}

/// A page of `inbox`: undelivered messages grouped by sender.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboxPage<'a> {
    /// Oldest first. Encoding groups them by `from` in the order of each sender's first message.
    pub messages: Vec<InboxMessage<'a>>,
    /// Whether more waits. Written only when true.
    pub more: bool,
}

/// One message of `inbox`. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxMessage<'a> {
    /// The sender's username, the key of the group.
    pub from: Cow<'a, str>,
    /// `msg_from`: the sender's full name as it was.
    pub from_name: Cow<'a, str>,
    /// `msg_to`: the recipient's full name.
    pub to_name: Cow<'a, str>,
    /// `msg`.
    pub body: Cow<'a, str>,
    /// `id`; absent from old servers.
    pub id: Option<MessageId>,
    /// `time`; absent from old servers.
    pub time: Option<Timestamp>,
}

/// The reply to `user_aktif`, and the part of `list` that says who is here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActiveUsers<'a> {
    /// Usernames, oldest session first.
    pub users: Vec<Cow<'a, str>>,
    /// Whether there are more than were listed. Written only when true.
    pub more: bool,
}

/// The reply to `list`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List<'a> {
    /// Who is here.
    pub active: ActiveUsers<'a>,
    /// Who has an account; `None` from old servers.
    pub directory: Option<Directory<'a>>,
}

/// A page of the registered accounts, in order of username.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory<'a> {
    /// `users`.
    pub users: Vec<DirectoryEntry<'a>>,
    /// `users_next`: the AFTER of the next page, when there is one.
    pub next: Option<Cow<'a, str>>,
}

/// One account in the directory: `username`, `name`, `active`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DirectoryEntry<'a> {
    /// As registered.
    pub username: Cow<'a, str>,
    /// Full name.
    pub name: Cow<'a, str>,
    /// Whether the user is here.
    pub active: bool,
}

/// The reply to `hello`: `server`, `version`, `protocol`, `commands`, `limits`, `features`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hello<'a> {
    /// The server program's name.
    pub server: Cow<'a, str>,
    /// Its version.
    pub version: Cow<'a, str>,
    /// The protocol's version: 1.
    pub protocol: u32,
    /// The commands it takes.
    pub commands: Vec<Cow<'a, str>>,
    /// Its limits.
    pub limits: Limits,
    /// What it offers beyond commands, such as `explicit_ack`.
    pub features: Vec<Cow<'a, str>>,
}

/// The limits a server announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// `frame_bytes`: the longest request line, its end not counted, in bytes.
    pub frame_bytes: u64,
    /// `message_bytes`: the longest message body, in bytes.
    pub message_bytes: u64,
    /// `page_messages`: most messages in a reply.
    pub page_messages: u64,
    /// `page_bytes`: most bytes of an encoded page after `hello`; a page of one message may be longer.
    pub page_bytes: u64,
}

/// The reply to `whoami`: `user`, `name`, `incarnation`, `created`, `expires`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Whoami<'a> {
    /// Username.
    pub user: Cow<'a, str>,
    /// Full name.
    pub name: Cow<'a, str>,
    /// The mailbox's incarnation.
    pub incarnation: Cow<'a, str>,
    /// When the session was made.
    pub created: Timestamp,
    /// When it ends unless it is used.
    pub expires: Timestamp,
}

/// One of the user's sessions: `session`, `created`, `last_used`, `expires`, `current`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SessionEntry<'a> {
    /// Its public name, the SESSION of `revoke`; not its token.
    pub session: Cow<'a, str>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub last_used: Timestamp,
    /// When it ends unless it is used.
    pub expires: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The reply to `peek`: `incarnation`, `messages`, `more`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct PeekPage<'a> {
    /// The mailbox's incarnation.
    pub incarnation: Cow<'a, str>,
    /// Oldest first.
    pub messages: Vec<PeekMessage<'a>>,
    /// Whether more waits. Always written.
    pub more: bool,
}

/// One message of `peek`: `id`, `time`, `from`, `from_name`, `to`, `body`. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct PeekMessage<'a> {
    /// Its sequence number in the mailbox.
    pub id: MessageId,
    /// When it was stored.
    pub time: Timestamp,
    /// The sender's username.
    pub from: Cow<'a, str>,
    /// The sender's full name as it was.
    pub from_name: Cow<'a, str>,
    /// The recipient's username.
    pub to: Cow<'a, str>,
    /// The text.
    pub body: Cow<'a, str>,
}

/// The reply to `post`: `id`, `time`, `duplicate`, `durability`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Posted<'a> {
    /// The message's id for its sender, as `status` takes it. Opaque.
    pub id: Cow<'a, str>,
    /// When it was stored.
    pub time: Timestamp,
    /// Whether an earlier `post` with this key had stored it.
    pub duplicate: bool,
    /// What it survives: `power_loss`, `process_crash`, or `memory` (nothing).
    pub durability: Cow<'a, str>,
}

/// The reply to `status`: `state`, `stored`, and `pushed` and `delivered` where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct MessageStatus {
    /// How far it came.
    pub state: DeliveryState,
    /// When it was stored.
    pub stored: Timestamp,
    /// When it was written to one of the recipient's connections, to the second.
    pub pushed: Option<Timestamp>,
    /// When it was delivered, to the second.
    pub delivered: Option<Timestamp>,
}

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is stored; whether more happened the recipient may keep to themselves.
    Stored,
    /// It was written to one of the recipient's connections, and not acknowledged yet.
    Pushed,
    /// The recipient acknowledged it.
    Delivered,
}

/// The reply to `history`: `incarnation`, `messages`, `next`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct HistoryPage<'a> {
    /// The incarnation that the ids of direction `in` belong to.
    pub incarnation: Cow<'a, str>,
    /// Oldest first. The first page has the newest messages of the conversation.
    pub messages: Vec<HistoryMessage<'a>>,
    /// The CURSOR of the page before this one in time, unless this is the oldest.
    pub next: Option<Cow<'a, str>>,
}

/// One message of `history`: `direction`, `id`, `time`, `from`, `from_name`, `to`, `body`. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct HistoryMessage<'a> {
    /// Whether it came in or went out.
    pub direction: Direction,
    /// Of one that came in, its sequence number in the user's mailbox; of one that went out, the id that `post` gave.
    pub id: Cow<'a, str>,
    /// When it was stored.
    pub time: Timestamp,
    /// The sender's username.
    pub from: Cow<'a, str>,
    /// The sender's full name as it was.
    pub from_name: Cow<'a, str>,
    /// The recipient's username.
    pub to: Cow<'a, str>,
    /// The text.
    pub body: Cow<'a, str>,
}

/// Which way a message of a conversation went, as the user who asks sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the user, also when it is from themselves.
    In,
    /// From the user.
    Out,
}

/// The reply to `watch`: `incarnation`, `resume`, `after`, and `from` and `to` with a gap.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Watching<'a> {
    /// The mailbox's incarnation: the ids of `message` events belong to it.
    pub incarnation: Cow<'a, str>,
    /// How the events go on from what the client has.
    pub resume: Resume,
    /// The first `message` event has the next id, unless a `gap` event says otherwise.
    pub after: MessageId,
    /// With [`Resume::Gap`]: the first id under which the client may have another message than the server.
    pub from: Option<MessageId>,
    /// With [`Resume::Gap`]: the last id the client said it has, if that is not below `from`.
    pub to: Option<MessageId>,
}

/// How the events of a watch go on from what the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Without AFTER: they begin with everything undelivered.
    Undelivered,
    /// They go on right after AFTER.
    Exact,
    /// The mailbox has another incarnation than the client named, or AFTER is beyond its end: they go on after the last id
    /// that both share.
    Gap,
}

/// `{"status": "ERROR", "message": …, "code": …}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// For people.
    pub message: Cow<'a, str>,
    /// For programs; `None` from old servers.
    pub code: Option<ErrorCode>,
    /// With `busy` and `rate_limited`: how long to wait before the next try, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl fmt::Debug for InboxMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxMessage")
            .field("from", &self.from)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
impl fmt::Debug for PeekMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekMessage")
            .field("from", &self.from)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HistoryMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryMessage")
            .field("direction", &self.direction)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl From<ErrorCode> for ErrorReply<'_> {
    /// The code with its standard text.
    fn from(code: ErrorCode) -> Self {
        Self { message: Cow::Borrowed(code.text()), code: Some(code), retry_after_ms: None }
    }
}

#[cfg(test)]
mod tests;
