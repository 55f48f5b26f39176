//! Sending, reading, and delivery.

use std::sync::Arc;

use super::{Store, unexpected};
use crate::MessageId;
use crate::store::backend::{Found, PageError, Plan};
use crate::store::request::{Answer, Operation};
use crate::store::{
    AckBasis, DeliveryStatus, Listing, Outgoing, Page, PageLimit, PrivacyChoice, PrivacySubject,
    Receipt, SentId, SessionKey, Shown, StoreError, Watch, WatchFrom,
};

/// Messages.
impl Store {
    /// Stores messages in this order, in one commit, and returns an outcome for each. One that is refused does not keep
    /// the others from being stored. `Ok` means that the message is durable.
    ///
    /// # Errors
    /// For each message, the first of these that applies:
    ///
    /// 1. [`StoreError::NoSession`];
    /// 2. with a [key](Outgoing::key): [`StoreError::KeyConflict`];
    /// 3. [`StoreError::NoSuchRecipient`];
    /// 4. [`StoreError::BadArguments`] (the body is empty or has control characters), [`StoreError::MessageTooLong`];
    /// 5. with a key: [`StoreError::TooManyKeys`];
    /// 6. [`StoreError::NotAllowed`] (the recipient blocks the sender);
    /// 7. [`StoreError::InboxFull`].
    ///
    /// # Cancel safety
    /// The messages may be stored, and no receipt is left. With a key the same message can be sent again, and is stored
    /// once.
    pub async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<Receipt, StoreError>> {
        let count = messages.len();
        match self.ask(Operation::Send(messages)).await {
            Ok(Answer::Sent(outcomes)) => outcomes,
            Ok(_) => vec![Err(StoreError::Internal); count],
            Err(error) => vec![Err(error); count],
        }
    }

    /// The next page of undelivered messages, oldest first. `in_flight` are pages that this reader was given and has not
    /// [confirmed](Self::confirm) yet, empty if there are none: the page begins behind them. Nothing is delivered until it
    /// is confirmed.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
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

    /// A page of undelivered messages with ids above `after`, oldest first; without `after` from the oldest on. Nothing is
    /// delivered until it is acknowledged ([`ack`](Self::ack)).
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn peek(
        &self,
        session: SessionKey,
        after: Option<MessageId>,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        self.page(|| Operation::Peek { session, after, messages: limit.messages.max(1) }, limit)
            .await
    }

    /// Marks every message up to and including `upto` as delivered. Ids that are delivered already change nothing.
    ///
    /// # Errors
    /// [`StoreError::StaleIncarnation`]: the mailbox has another incarnation than `basis` names.
    /// [`StoreError::BadArguments`]: the mailbox has no such id yet, or [`AckBasis::Shown`] does not hold it.
    ///
    /// # Cancel safety
    /// The messages may be marked or not; calling it again is safe.
    pub async fn ack(
        &self,
        session: SessionKey,
        upto: MessageId,
        basis: AckBasis,
    ) -> Result<(), StoreError> {
        self.done(Operation::Ack { session, upto, basis }).await
    }

    /// Marks what a page showed as delivered. Returns as soon as the request is queued, so that the caller's next request
    /// sees its effect, and does not wait for the commit. If that fails, the messages are given again.
    pub async fn confirm(&self, shown: Shown) {
        self.tell(Operation::Confirm(shown)).await;
    }

    /// What became of a message that the session's user sent. A sender who may not know, by the recipient's choice for
    /// [`PrivacySubject::Receipts`] or a [`block`](Self::block), always gets
    /// [`DeliveryState::Stored`](crate::protocol::DeliveryState::Stored).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMessage`]: the user sent no such message, or it is not kept any more, or its recipient was
    /// removed.
    pub async fn status(
        &self,
        session: SessionKey,
        id: SentId,
    ) -> Result<DeliveryStatus, StoreError> {
        match self.ask(Operation::Status { session, id }).await {
            Ok(Answer::Status(status)) => Ok(status),
            other => unexpected(other),
        }
    }

    /// Watches the mailbox of the session's user: first what is stored, then what comes. While the watch lasts, the
    /// session counts as in use. A user may have 100 watches, since every message goes to each.
    ///
    /// ```
    /// use chat_core::store::{AckBasis, SessionKey, Store, StoreError, WatchEvent, WatchFrom};
    ///
    /// async fn follow(store: &Store, session: SessionKey) -> Result<(), StoreError> {
    ///     let mut watch = store.watch(session, WatchFrom::Undelivered).await?;
    ///     loop {
    ///         match watch.next().await? {
    ///             WatchEvent::Message(message) => {
    ///                 // Keep it where it is safe, then acknowledge it; else the next watch gives it again.
    ///                 let basis = AckBasis::Incarnation(watch.incarnation().as_str().into());
    ///                 store.ack(session, message.id, basis).await?;
    ///             }
    ///             WatchEvent::Ended(_) => return Ok(()),
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Busy`]: the user has as many watches as may be, or less than a minute ago another
    /// [`WatchFrom::After`] was beyond the mailbox's end.
    pub async fn watch(&self, session: SessionKey, from: WatchFrom) -> Result<Watch, StoreError> {
        match self.ask(Operation::Watch { session, from }).await {
            Ok(Answer::Watching(watching)) => Ok(Watch::new(self.clone(), *watching)),
            other => unexpected(other),
        }
    }

    /// Blocks that user (`on`), or unblocks them: the session's user takes no messages from them from now on, or takes
    /// them again. What came before stays. Doing it twice changes nothing. A removed account can be unblocked as long as
    /// its username is reserved.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]; [`StoreError::BadArguments`] for the user's own name, or when 1,000 users are blocked
    /// already.
    pub async fn block(
        &self,
        session: SessionKey,
        username: &str,
        on: bool,
    ) -> Result<(), StoreError> {
        self.done(Operation::Block { session, username: username.into(), on }).await
    }

    /// Chooses who learns something about the session's user: whether messages to them were delivered
    /// ([`PrivacySubject::Receipts`], also of messages sent before), or whether they are here
    /// ([`PrivacySubject::Presence`]). With [`PrivacyChoice::Off`] for presence, others do not see the user as active in
    /// [`list`](Self::list) either.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
    pub async fn set_privacy(
        &self,
        session: SessionKey,
        subject: PrivacySubject,
        choice: PrivacyChoice,
    ) -> Result<(), StoreError> {
        self.done(Operation::SetPrivacy { session, subject, choice }).await
    }

    /// Who is active, as the session's user may know it. With `directory` (the username to begin after, if any, and the
    /// most entries) also a page of all accounts.
    ///
    /// # Errors
    /// Only those of every method ([`Store`]).
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
        let operation = &operation;
        plan_and_read(|| async move {
            let plan = match self.ask(operation()).await {
                Ok(Answer::Plan(plan)) => plan,
                other => unexpected(other)?,
            };
            self.read(plan, limit).await
        })
        .await
    }

    pub(in crate::store) async fn read(
        &self,
        plan: Box<Plan>,
        limit: PageLimit,
    ) -> Result<Page, PageError> {
        if let Some(Found { messages, more }) = plan.in_memory(limit) {
            return Ok(Page { messages, more, ..plan.page });
        }
        let pages = Arc::clone(&self.shared.pages);
        self.reading(move || {
            let Found { messages, more } = pages.read(&plan, limit)?;
            Ok(Page { messages, more, ..plan.page })
        })
        .await
    }

    /// Reads off the runtime, once it is this reader's turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, PageError> {
        let permit = Arc::clone(&self.shared.readers)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Internal)?;
        let reading = self.shared.blocking.run(move || {
            let _permit = permit;
            read()
        });
        reading.await?
    }
}

/// Plans a page and reads it, again if what was planned is not there any more when it is read: another connection may have
/// confirmed it and retention cleared it away, or a merge put it elsewhere. That this happens each of several times means that
/// something else is wrong.
pub(in crate::store) async fn plan_and_read<T, F: Future<Output = Result<T, PageError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        match attempt().await {
            Err(PageError::Outdated) => {}
            Err(PageError::Store(error)) => return Err(error),
            Ok(page) => return Ok(page),
        }
    }
    tracing::error!("messages that should be there cannot be read");
    Err(StoreError::Internal)
}

/// How often a page is planned before it is taken for unreadable.
const TRIES: usize = 4;
