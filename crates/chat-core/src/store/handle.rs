//! [`Store`]: the handle that programs call.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::actor::{self, ActorOptions};
use super::backend::{Backend, Found, PageError, Pages, Plan};
use super::engine::{Engine, SimulatedLog};
use super::request::{Answer, Operation, Outcome, Request};
use super::*;
use crate::account::{Hasher, check_new_password};
use crate::{FullName, MessageId, Token, Username};

/// A cheap, cloneable handle to a store. Every method may be called from any task.
///
/// Unless it says otherwise a method waits for a place in the store's queue, and then for the commit that makes its
/// answer durable; when the queue is full that wait is what slows the caller down. Dropping the future before it is
/// done leaves it unknown whether a change takes place; nothing is ever half done.
///
/// Every method can fail with [`StoreError::Unavailable`] (the disk refuses, or the store was closed) or
/// [`StoreError::Internal`]; those that take a session with [`StoreError::NoSession`]. Further errors are named where
/// they occur.
#[derive(Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    pages: Arc<dyn Pages>,
    /// One permit for each page being read.
    readers: Arc<Semaphore>,
    hasher: Hasher,
    hide_unknown_users: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Opening and closing.
impl Store {
    /// A store in memory: nothing outlives the process.
    ///
    /// # Errors
    /// [`OpenError::Engine`] if no thread can be started.
    pub fn in_memory(options: StoreOptions) -> Result<Self, OpenError> {
        let engine = Engine::new(SimulatedLog::new(), &options).map_err(|error| {
            OpenError::Engine { path: "(memory)".into(), reason: error.to_string() }
        })?;
        Self::start(engine, &options)
    }

    /// Opens the store in a directory, making it if there is none. The blocking work runs off the runtime.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "embedded")]
    pub async fn open(sqlite: SqliteOptions, options: StoreOptions) -> Result<Self, OpenError> {
        let path = sqlite.directory.clone();
        let failed = move |reason: String| OpenError::Engine { path: path.clone(), reason };
        let failed_too = failed.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let log = engine::SqliteLog::open(sqlite)?;
            let engine = Engine::new(log, &options).map_err(|error| failed(error.to_string()))?;
            Self::start(engine, &options)
        });
        opening.await.map_err(|error| failed_too(error.to_string()))?
    }

    /// Takes no more requests, serves those that wait, syncs and closes the files. After that every handle answers
    /// [`StoreError::Unavailable`]. Dropping all handles closes the store too, but nobody knows when.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error means that the actor is gone, which is what was asked for.
            let _ = closed.await;
        }
    }

    /// Runs the actor on a thread of its own, since every commit blocks.
    fn start<B: Backend>(backend: B, options: &StoreOptions) -> Result<Self, OpenError> {
        let (requests, receiver) = mpsc::channel(options.queue.max(1));
        let store = Self {
            requests,
            pages: backend.pages(),
            readers: Arc::new(Semaphore::new(READERS)),
            hasher: Hasher::new(options.password),
            hide_unknown_users: options.hide_unknown_users,
        };
        let actor = ActorOptions { batch: options.batch.max(1), clock: Arc::clone(&options.clock) };
        let failed = |error: std::io::Error| OpenError::Engine {
            path: "(thread)".into(),
            reason: error.to_string(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        std::thread::Builder::new()
            .name("chat-store".into())
            .spawn(move || runtime.block_on(actor::run(receiver, backend, actor)))
            .map_err(failed)?;
        Ok(store)
    }
}

/// Sessions.
impl Store {
    /// Checks a password and opens a session.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`] and [`StoreError::BadPassword`] (only the latter under
    /// [`StoreOptions::hide_unknown_users`]); [`StoreError::Busy`] when too many logins wait.
    pub async fn login(&self, username: &str, password: &str) -> Result<Token, StoreError> {
        let unknown =
            if self.hide_unknown_users { StoreError::BadPassword } else { StoreError::NoSuchUser };
        let found = match self.ask(Operation::Credentials { username: username.into() }).await {
            Ok(Answer::Credentials { account, hash, .. }) => Some((account, hash)),
            Err(StoreError::NoSuchUser) => None,
            other => return unexpected(other),
        };
        // An unknown user costs a hash too, so that time does not tell who exists.
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let matches = self.hasher.verify(password.into(), hash).await?;
        let (account, verified) = found.ok_or(unknown)?;
        if !matches {
            return Err(StoreError::BadPassword);
        }
        let rehash = match self.hasher.is_outdated(&verified) {
            true => Some(self.hasher.hash(password.into()).await?),
            false => None,
        };
        let token = Token::random();
        let session = SessionKey::of(&token);
        self.done(Operation::OpenSession { account, verified, session, rehash }).await?;
        Ok(token)
    }

    /// Notes that an open connection uses this session now, and no longer the other: while it does, the user is active.
    ///
    /// # Errors
    /// As said at [`Store`]. Then the connection counts for neither session.
    pub async fn attach(
        &self,
        session: SessionKey,
        instead_of: Option<SessionKey>,
    ) -> Result<(), StoreError> {
        self.done(Operation::Attach { session, instead_of }).await
    }

    /// The connection that used this session is gone. Returns once queued.
    pub async fn detach(&self, session: SessionKey) {
        self.tell(Operation::Detach { session }).await;
    }

    /// Ends the session.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn logout(&self, session: SessionKey) -> Result<(), StoreError> {
        self.done(Operation::Logout { session }).await
    }

    /// Whose session it is.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn whoami(&self, session: SessionKey) -> Result<Whoami, StoreError> {
        match self.ask(Operation::Whoami { session }).await {
            Ok(Answer::Whoami(whoami)) => Ok(whoami),
            other => unexpected(other),
        }
    }

    /// The user's sessions, oldest first.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn sessions(&self, session: SessionKey) -> Result<Vec<SessionInfo>, StoreError> {
        match self.ask(Operation::Sessions { session }).await {
            Ok(Answer::Sessions(sessions)) => Ok(sessions),
            other => unexpected(other),
        }
    }

    /// Ends the user's session of that [public name](SessionKey::public_name).
    ///
    /// # Errors
    /// [`StoreError::NoSuchSession`]
    pub async fn revoke(&self, session: SessionKey, name: &str) -> Result<(), StoreError> {
        self.done(Operation::Revoke { session, name: name.into() }).await
    }

    /// Changes the user's password, ends the user's other sessions, and says how many.
    ///
    /// # Errors
    /// [`StoreError::BadPassword`] if `old` is wrong, [`StoreError::WeakPassword`], [`StoreError::Busy`].
    pub async fn change_password(
        &self,
        session: SessionKey,
        old: &str,
        new: &str,
    ) -> Result<u64, StoreError> {
        let (username, verified) = match self.ask(Operation::OwnCredentials { session }).await {
            Ok(Answer::Credentials { username, hash, .. }) => (username, hash),
            other => return unexpected(other),
        };
        if !self.hasher.verify(old.into(), Some(verified.clone())).await? {
            return Err(StoreError::BadPassword);
        }
        check_new_password(new, &username)?;
        let new = self.hasher.hash(new.into()).await?;
        self.count(Operation::ChangePassword { session, verified, new }).await
    }
}

/// Messages.
impl Store {
    /// Stores messages in this order, in one commit; one outcome for each. Checks each in the contract's order: session,
    /// recipient, body.
    ///
    /// # Errors
    /// For each message [`StoreError::NoSuchRecipient`], [`StoreError::MessageTooLong`], [`StoreError::BadArguments`]
    /// (empty, or control characters), or [`StoreError::InboxFull`].
    pub async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<Receipt, StoreError>> {
        let count = messages.len();
        match self.ask(Operation::Send(messages)).await {
            Ok(Answer::Sent(outcomes)) => outcomes,
            Ok(_) => vec![Err(StoreError::Internal); count],
            Err(error) => vec![Err(error); count],
        }
    }

    /// The next page of undelivered messages: behind the cursor, and behind what `in_flight` shows of this mailbox.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn inbox(
        &self,
        session: SessionKey,
        in_flight: &[Shown],
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        let operation = || Operation::Inbox {
            session,
            in_flight: in_flight.to_vec(),
            messages: limit.messages.max(1),
        };
        self.page(operation, limit).await
    }

    /// A page of undelivered messages after that id, or after the cursor if that is later. Removes nothing.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn peek(
        &self,
        session: SessionKey,
        after: Option<MessageId>,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        self.page(|| Operation::Peek { session, after, messages: limit.messages.max(1) }, limit)
            .await
    }

    /// Everything up to `upto` is delivered. An id at or below the cursor changes nothing.
    ///
    /// # Errors
    /// [`StoreError::StaleIncarnation`]; [`StoreError::BadArguments`] beyond the mailbox's end, or when
    /// [`AckBasis::Shown`] does not show the id.
    pub async fn ack(
        &self,
        session: SessionKey,
        upto: MessageId,
        basis: AckBasis,
    ) -> Result<(), StoreError> {
        self.done(Operation::Ack { session, upto, basis }).await
    }

    /// What a page showed is delivered. Returns once queued, ahead of any later request of the same caller. If the
    /// commit fails, the messages are simply there again.
    pub async fn confirm(&self, shown: Shown) {
        self.tell(Operation::Confirm(shown)).await;
    }

    /// Who is active; with `directory` (the username to begin after, and how many) a page of the accounts too.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn list(
        &self,
        session: SessionKey,
        directory: Option<(Option<&str>, usize)>,
    ) -> Result<Listing, StoreError> {
        let directory = directory
            .map(|(after, limit)| (after.unwrap_or_default().to_ascii_lowercase().into(), limit));
        match self.ask(Operation::List { session, directory }).await {
            Ok(Answer::Listing(listing)) => Ok(listing),
            other => unexpected(other),
        }
    }

    async fn page(
        &self,
        operation: impl Fn() -> Operation,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        // Another connection may confirm, and retention clear away, what was just planned: then plan again. That each
        // of several tries meets this means that something else is wrong.
        for _ in 0..4 {
            let plan = match self.ask(operation()).await {
                Ok(Answer::Plan(plan)) => plan,
                other => return unexpected(other),
            };
            match self.read(plan, limit).await {
                Err(PageError::Outdated) => {}
                Err(PageError::Store(error)) => return Err(error),
                Ok(page) => return Ok(page),
            }
        }
        tracing::error!("messages that should be there cannot be read");
        Err(StoreError::Internal)
    }

    async fn read(&self, plan: Box<Plan>, limit: PageLimit) -> Result<Page, PageError> {
        if let Some(Found { messages, more }) = plan.in_memory(limit) {
            return Ok(Page { messages, more, ..plan.page });
        }
        let pages = Arc::clone(&self.pages);
        let gone = |_| PageError::Store(StoreError::Unavailable);
        let permit = Arc::clone(&self.readers)
            .acquire_owned()
            .await
            .map_err(|_| PageError::Store(StoreError::Internal))?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let Found { messages, more } = pages.read(&plan, limit)?;
            Ok(Page { messages, more, ..plan.page })
        });
        reading.await.map_err(gone)?
    }
}

/// Accounts.
impl Store {
    /// Makes an account.
    ///
    /// # Errors
    /// [`StoreError::UserExists`], [`StoreError::WeakPassword`], [`StoreError::Busy`].
    pub async fn create_account(&self, account: NewAccount) -> Result<AccountNumber, StoreError> {
        let NewAccount { username, name, password } = account;
        check_new_password(&password, &username)?;
        let hash = self.hasher.hash(password).await?;
        match self.ask(Operation::Create(HashedAccount { username, name, hash })).await {
            Ok(Answer::Number(number)) => Ok(number),
            other => unexpected(other),
        }
    }

    /// Sets a new password without the old one, ends all the user's sessions, and says how many.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`], [`StoreError::WeakPassword`], [`StoreError::Busy`].
    pub async fn set_password(&self, username: &str, password: &str) -> Result<u64, StoreError> {
        let name = match self.ask(Operation::Credentials { username: username.into() }).await {
            Ok(Answer::Credentials { username, .. }) => username,
            other => return unexpected(other),
        };
        check_new_password(password, &name)?;
        let hash = self.hasher.hash(password.into()).await?;
        self.count(Operation::SetPassword { username: username.into(), hash }).await
    }

    /// Gives an account another username, full name, or both. Messages it sent keep the names they were sent under.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]; [`StoreError::UserExists`] if the new username is taken.
    pub async fn rename_account(
        &self,
        username: &str,
        new_username: Option<Username>,
        new_name: Option<FullName>,
    ) -> Result<(), StoreError> {
        self.done(Operation::Rename { username: username.into(), new_username, new_name }).await
    }

    /// Removes an account: ends its sessions, deletes its undelivered mail, and says how many messages that was. The
    /// username stays reserved until it is [released](Self::release_username).
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]
    pub async fn remove_account(&self, username: &str) -> Result<u64, StoreError> {
        self.count(Operation::Remove { username: username.into() }).await
    }

    /// Frees the username of a removed account for a new one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`] if there is no removed account of that name.
    pub async fn release_username(&self, username: &str) -> Result<(), StoreError> {
        self.done(Operation::Release { username: username.into() }).await
    }

    /// An account as an operator sees it, removed or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]
    pub async fn account(&self, username: &str) -> Result<AccountSummary, StoreError> {
        self.summaries(Operation::Account { username: username.into() })
            .await?
            .pop()
            .ok_or(StoreError::NoSuchUser)
    }

    /// Accounts in order of username after this one, removed ones too.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn accounts(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, StoreError> {
        let after = after.unwrap_or_default().to_ascii_lowercase().into();
        self.summaries(Operation::Accounts { after, limit }).await
    }

    /// Begins an import: accounts staged under it become visible all at once, or never.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn begin_import(&self) -> Result<ImportId, StoreError> {
        match self.ask(Operation::BeginImport).await {
            Ok(Answer::Import(import)) => Ok(import),
            other => unexpected(other),
        }
    }

    /// Adds accounts to an import, a few thousand a call. Gives the usernames that are taken; those accounts are not
    /// added.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn stage_import(
        &self,
        import: ImportId,
        accounts: Vec<HashedAccount>,
    ) -> Result<Vec<Username>, StoreError> {
        match self.ask(Operation::StageImport(import, accounts)).await {
            Ok(Answer::Taken(taken)) => Ok(taken),
            other => unexpected(other),
        }
    }

    /// Makes an import visible and says how many accounts it brought.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn commit_import(&self, import: ImportId) -> Result<u64, StoreError> {
        self.count(Operation::CommitImport(import)).await
    }

    /// Gives an import up. One that was neither committed nor given up is given up at the next start.
    ///
    /// # Errors
    /// [`StoreError::BadArguments`] if the import is not open.
    pub async fn abort_import(&self, import: ImportId) -> Result<(), StoreError> {
        self.done(Operation::AbortImport(import)).await
    }

    async fn summaries(&self, operation: Operation) -> Result<Vec<AccountSummary>, StoreError> {
        match self.ask(operation).await {
            Ok(Answer::Summaries(summaries)) => Ok(summaries),
            other => unexpected(other),
        }
    }
}

/// Talking to the actor.
impl Store {
    async fn ask(&self, operation: Operation) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let request = Request::Run(operation, Some(answer));
        self.requests.send(request).await.map_err(|_| StoreError::Unavailable)?;
        answered.await.map_err(|_| StoreError::Unavailable)?
    }

    async fn tell(&self, operation: Operation) {
        // A closed store has nothing left to tell.
        let _ = self.requests.send(Request::Run(operation, None)).await;
    }

    async fn done(&self, operation: Operation) -> Result<(), StoreError> {
        self.ask(operation).await.map(drop)
    }

    async fn count(&self, operation: Operation) -> Result<u64, StoreError> {
        match self.ask(operation).await {
            Ok(Answer::Count(count)) => Ok(count),
            other => unexpected(other),
        }
    }
}

/// An error, or an answer to another question, which is a fault of the backend's.
fn unexpected<T>(outcome: Outcome) -> Result<T, StoreError> {
    Err(outcome.err().unwrap_or(StoreError::Internal))
}

/// Pages read from disk at once: they take turns at the disk anyway, and each holds a page in memory.
const READERS: usize = 4;
