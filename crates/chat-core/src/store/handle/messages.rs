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
    /// Stores messages in this order, in one commit; one outcome for each. Checks each in the contract's order: session,
    /// recipient, body.
    ///
    /// # Errors
    /// For each message [`StoreError::NoSuchRecipient`], [`StoreError::MessageTooLong`], [`StoreError::BadArguments`]
    /// (empty, or control characters), [`StoreError::NotAllowed`] (the recipient blocks the sender), or
    /// [`StoreError::InboxFull`]; with a key also [`StoreError::KeyConflict`], which comes before these, and
    /// [`StoreError::TooManyKeys`].
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

    /// What became of a message the user sent. How far it came is told as the recipient's
    /// [`PrivacySubject::Receipts`] say, and never to somebody the recipient blocks; to others it is only stored.
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

    /// Watches the session's mailbox. While the watch lasts, the session is in use.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn watch(&self, session: SessionKey, from: WatchFrom) -> Result<Watch, StoreError> {
        match self.ask(Operation::Watch { session, from }).await {
            Ok(Answer::Watching(watching)) => Ok(Watch::new(self.clone(), *watching)),
            other => unexpected(other),
        }
    }

    /// From now on the session's user takes no messages from that user, or takes them again. What came before stays.
    /// Doing it again changes nothing. Somebody who was removed can be unblocked, as long as the username is reserved.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]; [`StoreError::BadArguments`] for the user's own name, or beyond 1,000 users.
    pub async fn block(
        &self,
        session: SessionKey,
        username: &str,
        on: bool,
    ) -> Result<(), StoreError> {
        self.done(Operation::Block { session, username: username.into(), on }).await
    }

    /// Who learns of the session's user what. Receipts hold for what was sent before, too. Presence is what watchers are
    /// told: [`list`](Self::list) shows everybody.
    ///
    /// # Errors
    /// As said at [`Store`].
    pub async fn set_privacy(
        &self,
        session: SessionKey,
        subject: PrivacySubject,
        choice: PrivacyChoice,
    ) -> Result<(), StoreError> {
        self.done(Operation::SetPrivacy { session, subject, choice }).await
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
        for _ in 0..TRIES {
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
            .map_err(|_| PageError::Store(StoreError::Internal))?;
        let reading = self.shared.blocking.run(move || {
            let _permit = permit;
            read()
        });
        reading.await.map_err(PageError::Store)?
    }
}

/// How often a page is planned before it is taken for unreadable.
pub(super) const TRIES: usize = 4;
