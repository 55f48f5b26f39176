//! [`Watch`]: what happens to a mailbox, as it happens.

use std::sync::Arc;

use super::{AccountNumber, Incarnation, Message, SentId, WatchId};
use crate::protocol::Resume;
use crate::{MessageId, Timestamp};

/// From where on a mailbox is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchFrom {
    /// First everything undelivered.
    Undelivered,
    /// First everything stored after this id of that incarnation, delivered or not.
    After {
        /// The last id the watcher has.
        id: MessageId,
        /// The incarnation it belongs to.
        incarnation: Box<str>,
    },
}

/// How a watch goes on from what the watcher has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// How.
    pub resume: Resume,
    /// The first message has the next id, unless a gap is told first.
    pub after: MessageId,
    /// With [`Resume::Gap`]: the first id that does not mean what it meant, and the last one the watcher said it has.
    pub gap: Option<(MessageId, MessageId)>,
}

/// Something a watcher is told.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A message in the user's mailbox. Ids follow one another without a hole, but for a [`Gap`](Self::Gap).
    Message(Arc<Message>),
    /// What the user sent otherwise than through this watch's connection.
    Sent(SentCopy),
    /// Somebody came or went.
    Presence {
        /// Who.
        username: Arc<str>,
        /// Whether they are here now.
        active: bool,
    },
    /// Messages that are not kept any more and were not shown: from the one to the other.
    Gap(MessageId, MessageId),
    /// The watcher was slow; what follows comes from the store. What the user sent meanwhile is not told.
    Lagging,
    /// It has caught up.
    Live,
    /// The session is over, and with it the watch: nothing follows.
    Ended(SessionEnd),
}

/// A message that the user sent.
#[derive(Debug, Clone)]
pub struct SentCopy {
    /// What [`Store::status`](super::Store::status) knows it by.
    pub id: SentId,
    /// The recipient's username.
    pub to: Arc<str>,
    /// The message. Its id is the recipient's affair.
    pub message: Arc<Message>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was logged out.
    Logout,
    /// It was revoked, or one too many.
    Revoked,
    /// The password changed.
    PasswordChanged,
    /// It was not used for too long.
    Expired,
    /// The account was removed.
    AccountRemoved,
}

impl SessionEnd {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::Expired => "expired",
            Self::AccountRemoved => "account_removed",
        }
    }
}

/// A watch on a mailbox, by [`Store::watch`](super::Store::watch). Dropping it ends it.
///
/// It replays what is stored and goes over to what happens, with no gap and no repeat between. What was not taken yet is
/// kept for it up to a bound; beyond that it is told [`WatchEvent::Lagging`] and catches up from the store.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Its name, for [`Outgoing::origin`](super::Outgoing::origin).
    #[must_use]
    pub fn id(&self) -> WatchId {
        todo!()
    }

    /// Whose mailbox it is.
    #[must_use]
    pub fn account(&self) -> AccountNumber {
        todo!()
    }

    /// The user's username.
    #[must_use]
    pub fn username(&self) -> &Arc<str> {
        todo!()
    }

    /// The mailbox's incarnation, which the ids of its messages belong to.
    #[must_use]
    pub fn incarnation(&self) -> &Incarnation {
        todo!()
    }

    /// How it goes on from what the watcher has.
    #[must_use]
    pub fn resumed(&self) -> &Resumed {
        todo!()
    }

    /// Waits for the next event. After [`WatchEvent::Ended`] it waits for ever.
    ///
    /// # Errors
    /// The store cannot be read, or was closed; asking again tries again.
    ///
    /// # Cancel safety
    /// No event is lost.
    pub async fn next(&mut self) -> Result<WatchEvent, super::StoreError> {
        todo!()
    }

    /// An event that is at hand without waiting or reading from disk.
    #[must_use]
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        todo!()
    }

    /// Everything up to this message was written to the watcher's connection: what `status` calls pushed.
    pub fn pushed(&self, upto: MessageId, now: Timestamp) {
        let _ = (upto, now);
        todo!()
    }
}
