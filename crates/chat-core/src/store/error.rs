//! Why the store did not do what was asked.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::ErrorCode;

/// Why an operation was not carried out.
///
/// After [`Unavailable`](Self::Unavailable), [`NoSpace`](Self::NoSpace) or [`Internal`](Self::Internal) it is not known
/// whether a change took place. Every other variant means that nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No account of that name.
    #[error("no such user")]
    NoSuchUser,
    /// The password does not match.
    #[error("wrong password")]
    BadPassword,
    /// No account of that name to send to.
    #[error("no such recipient")]
    NoSuchRecipient,
    /// The session is unknown, expired, or was ended.
    #[error("no such session")]
    NoSession,
    /// None of the user's sessions has that public name.
    #[error("the user has no such session")]
    NoSuchSession,
    /// An account of that name exists, or the name is reserved.
    #[error("the username is taken")]
    UserExists,
    /// The username or full name breaks a rule.
    #[error("{0}")]
    BadUsername(String),
    /// The new password breaks a rule.
    #[error("{0}")]
    WeakPassword(&'static str),
    /// The message is longer than allowed.
    #[error("a message has at most {max_bytes} bytes")]
    MessageTooLong {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// An argument is out of its range; the text says which rule it breaks.
    #[error("{0}")]
    BadArguments(&'static str),
    /// The user has sent no message of that id, or it is not kept any more.
    #[error("no such message")]
    NoSuchMessage,
    /// The recipient does not take messages from the sender.
    #[error("the recipient does not allow it")]
    NotAllowed,
    /// The key was used for another message, with another recipient or body.
    #[error("the key was used for another message")]
    KeyConflict,
    /// The account has as many keys as it may have at a time
    /// ([`keys_per_account`](crate::store::StoreOptions::keys_per_account)).
    #[error("the account has as many keys of posts as it may: each is kept for 24 hours")]
    TooManyKeys {
        /// After how long some will be free again.
        retry_after: Duration,
    },
    /// The recipient's mailbox is full, or the sender's share of it is.
    #[error("the recipient's mailbox is full")]
    InboxFull,
    /// The incarnation named is not the mailbox's current one.
    #[error("the mailbox has another incarnation now")]
    StaleIncarnation,
    /// A queue is full; try again after a while.
    #[error("the server is busy")]
    Busy {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The disk refuses. Whether a write took place is not known.
    #[error("the store is unavailable")]
    Unavailable,
    /// The disk is full. Whether a write took place is not known; those that follow are refused until there is room.
    #[error("the server's disk is full: no change is taken until there is room")]
    NoSpace,
    /// Only from [`Store::close`](crate::store::Store::close): files of the store were deleted or cut off while it was
    /// open, and acknowledged messages that were in them are gone.
    #[error("files of the store were deleted while it was open, and what was in them is lost")]
    Lost,
    /// The store was closed before the request reached it.
    #[error("the store was closed")]
    Closed,
    /// A fault in the store itself. Whether a write took place is not known.
    #[error("internal error")]
    Internal,
}

impl StoreError {
    /// The code that says this on the wire. [`TooManyKeys`](Self::TooManyKeys) is `rate_limited` there;
    /// [`NoSpace`](Self::NoSpace), [`Lost`](Self::Lost) and [`Closed`](Self::Closed) are `unavailable`.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchUser => ErrorCode::NoSuchUser,
            Self::BadPassword => ErrorCode::BadPassword,
            Self::NoSuchRecipient => ErrorCode::NoSuchRecipient,
            Self::NoSession => ErrorCode::NoSession,
            Self::NoSuchSession => ErrorCode::NoSuchSession,
            Self::UserExists => ErrorCode::UserExists,
            Self::BadUsername(_) => ErrorCode::BadUsername,
            Self::WeakPassword(_) => ErrorCode::WeakPassword,
            Self::MessageTooLong { .. } => ErrorCode::MessageTooLong,
            Self::BadArguments(_) => ErrorCode::BadArguments,
            Self::NoSuchMessage => ErrorCode::NoSuchMessage,
            Self::NotAllowed => ErrorCode::NotAllowed,
            Self::KeyConflict => ErrorCode::KeyConflict,
            Self::TooManyKeys { .. } => ErrorCode::RateLimited,
            Self::InboxFull => ErrorCode::InboxFull,
            Self::StaleIncarnation => ErrorCode::StaleIncarnation,
            Self::Busy { .. } => ErrorCode::Busy,
            Self::Unavailable | Self::NoSpace | Self::Lost | Self::Closed => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory could not be made or used.
    #[error("cannot use the data directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the directory open.
    #[error("the data directory {} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The file is another program's.
    #[error("{} is not a chat store but another program's file: choose another data directory, or move the file away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There was a store here, and its file is missing or empty.
    #[error("{} is missing or empty, and there was a store here: put back a backup of the whole data directory, or move everything in it away to begin anew", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// What was kept is missing, or is not what was written. Nothing of it was changed, and trying again does not mend it.
    #[error("{} is missing or damaged: {reason}; nothing of it was changed, and starting again does not mend it: put back a backup of the whole data directory", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and at which offset.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("{} has schema version {found}, this program knows up to {known}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// There is no room for what opening writes.
    #[error("the disk that {} is on is full: make room; nothing is lost", path.display())]
    NoSpace {
        /// The directory.
        path: PathBuf,
    },
    /// The engine failed.
    #[error("cannot open the store {}: {reason}", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
}
