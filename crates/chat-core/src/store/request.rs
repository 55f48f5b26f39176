//! What the handle asks of the actor, and what comes back.

use tokio::sync::oneshot;

use super::backend::{Plan, PlannedHistory, Replay, Watching};
use super::{
    AccountNumber, AccountSummary, AckBasis, DeliveryStatus, HashedAccount, HistoryCursor,
    ImportId, Incarnation, Listing, Outgoing, PrivacyChoice, PrivacySubject, Receipt, SentId,
    SessionInfo, SessionKey, Shown, StoreError, WatchFrom, WatchId, Whoami,
};
use crate::account::PasswordHash;
use crate::{FullName, MessageId, Username};

/// What the handle sends the actor.
#[derive(Debug)]
pub(crate) enum Request {
    /// Carry this out and answer; without an answer's address nobody waits for it.
    Run(Operation, Option<oneshot::Sender<Outcome>>),
    /// Finish what waits, and end.
    Close,
}

/// One thing a backend does.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Who a username is, and the hash to verify: [`Answer::Credentials`].
    Credentials {
        username: Box<str>,
    },
    /// The same for a session's own account.
    OwnCredentials {
        session: SessionKey,
    },
    /// Opens a session, if the account's hash still is the one that was verified.
    OpenSession {
        account: AccountNumber,
        verified: PasswordHash,
        session: SessionKey,
        rehash: Option<PasswordHash>,
    },
    Attach {
        session: SessionKey,
        instead_of: Option<SessionKey>,
    },
    Detach {
        session: SessionKey,
    },
    Logout {
        session: SessionKey,
    },
    /// [`Answer::Whoami`]
    Whoami {
        session: SessionKey,
    },
    /// [`Answer::Sessions`]
    Sessions {
        session: SessionKey,
    },
    Revoke {
        session: SessionKey,
        name: Box<str>,
    },
    /// [`Answer::Count`]: other sessions ended.
    ChangePassword {
        session: SessionKey,
        verified: PasswordHash,
        new: PasswordHash,
    },
    /// [`Answer::Sent`]
    Send(Vec<Outgoing>),
    /// [`Answer::Plan`] of at most `messages`, behind the cursor and what is in flight.
    Inbox {
        session: SessionKey,
        in_flight: Vec<Shown>,
        messages: usize,
    },
    /// [`Answer::Plan`] of at most `messages`.
    Peek {
        session: SessionKey,
        after: Option<MessageId>,
        messages: usize,
    },
    /// [`Answer::History`] of at most `messages`, before the cursor.
    History {
        session: SessionKey,
        with: Box<str>,
        cursor: Option<HistoryCursor>,
        messages: usize,
    },
    Ack {
        session: SessionKey,
        upto: MessageId,
        basis: AckBasis,
    },
    Confirm(Shown),
    /// [`Answer::Status`]
    Status {
        session: SessionKey,
        id: SentId,
    },
    Block {
        session: SessionKey,
        username: Box<str>,
        on: bool,
    },
    SetPrivacy {
        session: SessionKey,
        subject: PrivacySubject,
        choice: PrivacyChoice,
    },
    /// [`Answer::Listing`]; the directory after this key, so many.
    List {
        session: SessionKey,
        directory: Option<(Box<str>, usize)>,
    },
    /// [`Answer::Watching`]
    Watch {
        session: SessionKey,
        from: WatchFrom,
    },
    /// [`Answer::Replay`] of what comes after an id.
    CatchUp {
        account: AccountNumber,
        watch: WatchId,
        incarnation: Incarnation,
        after: MessageId,
    },
    /// [`Answer::Number`]
    Create(HashedAccount),
    /// [`Answer::Count`]: sessions ended.
    SetPassword {
        username: Box<str>,
        hash: PasswordHash,
    },
    Rename {
        username: Box<str>,
        new_username: Option<Username>,
        new_name: Option<FullName>,
    },
    /// [`Answer::Count`]: undelivered messages deleted.
    Remove {
        username: Box<str>,
    },
    Release {
        username: Box<str>,
    },
    /// [`Answer::Summaries`] of one.
    Account {
        username: Box<str>,
    },
    /// [`Answer::Summaries`]
    Accounts {
        after: Box<str>,
        limit: usize,
    },
    /// [`Answer::Import`]
    BeginImport,
    /// [`Answer::Taken`]
    StageImport(ImportId, Vec<HashedAccount>),
    /// [`Answer::Count`]: accounts made visible.
    CommitImport(ImportId),
    AbortImport(ImportId),
}

impl Operation {
    /// How many messages or rows it may write: what a commit is bounded by.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Send(messages) => messages.len(),
            Self::StageImport(_, accounts) => accounts.len(),
            _ => 1,
        }
    }
}

/// What an operation gave.
pub(crate) type Outcome = Result<Answer, StoreError>;

#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    Credentials { account: AccountNumber, username: Username, hash: PasswordHash },
    Whoami(Whoami),
    Sessions(Vec<SessionInfo>),
    Sent(Vec<Result<Receipt, StoreError>>),
    Plan(Box<Plan>),
    Status(DeliveryStatus),
    History(Box<dyn PlannedHistory>),
    Listing(Listing),
    Watching(Box<Watching>),
    Replay(Box<Replay>),
    Number(AccountNumber),
    Summaries(Vec<AccountSummary>),
    Import(ImportId),
    Taken(Vec<Username>),
}
