//! Replies out of frames, ours and those of the two existing servers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::Frame;
use super::{
    ActiveUsers, Directory, DirectoryEntry, ErrorCode, ErrorReply, InboxMessage, InboxPage, List,
    Reply, SessionEntry,
};
use crate::{MessageId, Timestamp};

/// The frame is no reply to the command it should answer, or no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Not a JSON object, or one without what the reply must have.
    #[error("not a reply to `{command}`: {reason}")]
    Malformed {
        /// The command's word.
        command: &'static str,
        /// What is wrong; never what the reply says.
        reason: String,
    },
}

impl Reply<'static> {
    /// Decodes the frame that answers a command of that name ([`Command::name`](super::super::Command::name)).
    ///
    /// It accepts the replies of the two existing servers too: those have no codes, ids or times, lists in one dialect
    /// only, senders without messages, and bodies with what these servers added. Unknown keys are ignored.
    ///
    /// # Errors
    /// [`ReplyError::Malformed`] if it is no JSON object, or lacks what such a reply must have.
    pub fn decode(command: &'static str, frame: &Frame) -> Result<Self, ReplyError> {
        let bytes = frame.as_bytes();
        decode(command, bytes).map_err(|reason| ReplyError::Malformed { command, reason })
    }
}

fn decode(command: &str, bytes: &[u8]) -> Result<Reply<'static>, String> {
    // A derived `Deserialize` takes an array for an object.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    match read::<Head>(bytes)?.status.as_str() {
        "OK" => decode_ok(command, bytes),
        "ERROR" => Ok(Reply::Error(read::<ErrorBody>(bytes)?.into())),
        _ => Err("`status` is neither OK nor ERROR".into()),
    }
}

fn decode_ok(command: &str, bytes: &[u8]) -> Result<Reply<'static>, String> {
    Ok(match command {
        "auth" => {
            let token = read::<LoggedInBody>(bytes)?.tokenid.parse();
            Reply::LoggedIn(token.map_err(|_| "`tokenid` is not a token")?)
        }
        "send" => Reply::Sent,
        "inbox" => Reply::Inbox(read::<InboxBody>(bytes)?.into()),
        "list" => Reply::List(read::<ListBody>(bytes)?.try_into()?),
        "user_aktif" => Reply::ActiveUsers(List::try_from(read::<ListBody>(bytes)?)?.active),
        "logout" => Reply::LoggedOut,
        "hello" => Reply::Hello(read(bytes)?),
        "ping" => Reply::Pong(read::<PongBody>(bytes)?.text.into()),
        "register" => Reply::Registered(read::<RegisteredBody>(bytes)?.user.into()),
        "passwd" => Reply::PasswordChanged(read::<PasswordChangedBody>(bytes)?.sessions_ended),
        "whoami" => Reply::Whoami(read(bytes)?),
        "sessions" => Reply::Sessions(read::<SessionsBody>(bytes)?.sessions),
        "revoke" => Reply::Revoked,
        "peek" => Reply::Peek(read(bytes)?),
        "ack" => Reply::Acked,
        "post" => Reply::Posted(read(bytes)?),
        "status" => Reply::Status(read(bytes)?),
        "history" => Reply::History(read(bytes)?),
        "watch" => Reply::Watching(read(bytes)?),
        "unwatch" => Reply::Unwatched,
        "block" | "unblock" => Reply::Blocked,
        "privacy" => Reply::PrivacySet,
        _ => return Err("no such command".into()),
    })
}

pub(in super::super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Other texts of this error may quote the reply.
        let text = error.to_string();
        if text.starts_with("missing field") {
            return text;
        }
        let column = error.column();
        if error.is_data() {
            format!("a value of the wrong type at byte {column}")
        } else {
            format!("not JSON at byte {column}")
        }
    })
}

#[derive(Deserialize)]
struct Head {
    status: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    code: Option<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct LoggedInBody {
    tokenid: String,
}

#[derive(Deserialize)]
struct InboxBody {
    messages: Groups,
    #[serde(default)]
    more: bool,
}

/// The messages of each sender, in the order of the object.
struct Groups(Vec<(String, Vec<InboxEntry>)>);

#[derive(Deserialize)]
struct InboxEntry {
    msg_from: String,
    msg_to: String,
    msg: String,
    id: Option<MessageId>,
    time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ListBody {
    messages: Option<String>,
    message: Option<String>,
    #[serde(default)]
    more: bool,
    users: Option<Vec<DirectoryEntry<'static>>>,
    users_next: Option<String>,
}

#[derive(Deserialize)]
struct PongBody {
    text: String,
}

#[derive(Deserialize)]
struct RegisteredBody {
    user: String,
}

#[derive(Deserialize)]
struct PasswordChangedBody {
    sessions_ended: u64,
}

#[derive(Deserialize)]
struct SessionsBody {
    sessions: Vec<SessionEntry<'static>>,
}

impl From<ErrorBody> for ErrorReply<'static> {
    fn from(body: ErrorBody) -> Self {
        Self {
            message: body.message.into(),
            code: body.code.as_deref().map(ErrorCode::from),
            retry_after_ms: body.retry_after_ms,
        }
    }
}

impl From<InboxBody> for InboxPage<'static> {
    /// Undoes the grouping: ids are in order of age. Without ids the order of the groups is all there is.
    fn from(body: InboxBody) -> Self {
        let mut messages = Vec::new();
        for (from, entries) in body.messages.0 {
            let named = entries.into_iter().map(|entry| entry.into_message(&from));
            messages.extend(named);
        }
        messages.sort_by_key(|message| message.id);
        Self { messages, more: body.more }
    }
}

impl InboxEntry {
    fn into_message(self, from: &str) -> InboxMessage<'static> {
        InboxMessage {
            from: Cow::Owned(from.to_owned()),
            from_name: self.msg_from.into(),
            to_name: self.msg_to.into(),
            body: self.msg.into(),
            id: self.id,
            time: self.time,
        }
    }
}

impl TryFrom<ListBody> for List<'static> {
    type Error = String;

    fn try_from(body: ListBody) -> Result<Self, String> {
        let users = body.messages.or(body.message);
        let users = users.ok_or("neither `messages` nor `message`")?;
        Ok(Self {
            active: ActiveUsers { users: split_users(&users), more: body.more },
            directory: body
                .users
                .map(|users| Directory { users, next: body.users_next.map(Cow::Owned) }),
        })
    }
}

/// Names with a comma, and in one dialect a space, behind each.
fn split_users(users: &str) -> Vec<Cow<'static, str>> {
    users
        .split(',')
        .map(str::trim)
        .filter(|user| !user.is_empty())
        .map(|user| Cow::Owned(user.to_owned()))
        .collect()
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(GroupsVisitor)
    }
}

struct GroupsVisitor;

impl<'de> Visitor<'de> for GroupsVisitor {
    type Value = Groups;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of senders")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Groups, A::Error> {
        let mut groups = Vec::new();
        while let Some(group) = map.next_entry()? {
            groups.push(group);
        }
        Ok(Groups(groups))
    }
}
