//! [`Fact`]: one thing that clients did or saw. A run is the list of its facts.

use std::fmt;

/// The number of a message: its place among all that were sent in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(pub(crate) u32);

/// The id of a message in a mailbox. Beyond what 32 bits hold it is [`Id::LAST`], which the judge takes for a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Id(pub(crate) u32);

/// An account, by its place in the list. Each has one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct User(pub(crate) u32);

/// A connection, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Connection(pub(crate) u32);

/// An incarnation of a mailbox: how many there were before it in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Life(pub(crate) u16);

/// How a message was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Inbox,
    Peek,
    Watch,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client closed it, with nothing unanswered.
    Closed,
    /// The client cut it off by a reset.
    Reset,
    /// The server ended it, or went away.
    Lost,
}

/// What happened, in the order in which this program knows it: a request before it is written, an answer after it was
/// read. So whatever the server did between two facts of one connection happened between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The mailbox of `user` was emptied and its newest id is `id`; what comes later counts.
    Emptied { user: User, id: Id },
    /// A connection of `user` is open.
    Opened { connection: Connection, user: User },
    /// It is no more.
    Ended { connection: Connection, how: Ending },
    /// A message leaves, for the first time or again.
    Sent { tag: Tag, connection: Connection, to: User },
    /// Its OK was read; `repeat` if it says that an earlier attempt had stored it.
    Answered { tag: Tag, connection: Connection, repeat: bool },
    /// An ERROR was read that says that nothing was changed.
    Refused { tag: Tag, connection: Connection },
    /// An ERROR was read that leaves the outcome open.
    Unsure { tag: Tag, connection: Connection },
    /// The connection was told the incarnation of its mailbox.
    Living { connection: Connection, life: Life },
    /// Messages are asked for: those behind `after` if `resumes`, else those behind the cursor.
    Asked { connection: Connection, via: Via, resumes: bool, after: Id },
    /// The answer to `watch` was read: events go on behind `after`. `gap` if it said that ids changed their meaning.
    Watching { connection: Connection, after: Id, gap: bool },
    /// The watch is over.
    Unwatched { connection: Connection },
    /// A message was read.
    Shown { connection: Connection, via: Via, id: Id, tag: Tag },
    /// A message was read that nobody sent; `text` is its place among such texts.
    Strange { connection: Connection, via: Via, id: Id, text: u32 },
    /// The server said that these ids will not be shown.
    Gap { connection: Connection, from: Id, to: Id },
    /// The server said that it will catch the watch up from the store.
    Lagging { connection: Connection },
    /// All up to `id` is about to be confirmed: by `ack`, by a request behind a page of `inbox`, or by closing.
    Confirming { connection: Connection, id: Id },
    /// The answer to that was read.
    Confirmed { connection: Connection, id: Id },
    /// The server was killed.
    Killed,
    /// It answers again.
    Restarted,
}

impl Id {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const LAST: Self = Self(u32::MAX);

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl From<chat_core::MessageId> for Id {
    fn from(id: chat_core::MessageId) -> Self {
        u32::try_from(id.get()).map_or(Self::LAST, Self)
    }
}

impl Fact {
    /// The message it is about.
    pub(crate) fn tag(&self) -> Option<Tag> {
        match *self {
            Self::Sent { tag, .. }
            | Self::Answered { tag, .. }
            | Self::Refused { tag, .. }
            | Self::Unsure { tag, .. }
            | Self::Shown { tag, .. } => Some(tag),
            _ => None,
        }
    }

    /// The connection it was seen on.
    pub(crate) fn connection(&self) -> Option<Connection> {
        match *self {
            Self::Opened { connection, .. }
            | Self::Ended { connection, .. }
            | Self::Sent { connection, .. }
            | Self::Answered { connection, .. }
            | Self::Refused { connection, .. }
            | Self::Unsure { connection, .. }
            | Self::Living { connection, .. }
            | Self::Asked { connection, .. }
            | Self::Watching { connection, .. }
            | Self::Unwatched { connection }
            | Self::Shown { connection, .. }
            | Self::Strange { connection, .. }
            | Self::Gap { connection, .. }
            | Self::Lagging { connection }
            | Self::Confirming { connection, .. }
            | Self::Confirmed { connection, .. } => Some(connection),
            Self::Emptied { .. } | Self::Killed | Self::Restarted => None,
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbox => "inbox",
            Self::Peek => "peek",
            Self::Watch => "watch",
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed by the client",
            Self::Reset => "reset by the client",
            Self::Lost => "lost",
        })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}", self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run costs in memory is mostly this, times about four for every message.
    #[test]
    fn a_fact_is_small() {
        assert!(size_of::<Fact>() <= 16, "{}", size_of::<Fact>());
    }
}
