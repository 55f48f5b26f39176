//! Reading conversations.

use super::messages::TRIES;
use super::{Store, unexpected};
use crate::store::backend::{PageError, PlannedHistory};
use crate::store::request::{Answer, Operation};
use crate::store::{Conversation, HistoryCursor, PageLimit, SessionKey, StoreError};

/// Conversations.
impl Store {
    /// A page of the conversation with a user, both ways. Without `cursor` it is the newest page; with the
    /// [`next`](Conversation::next) of a page it is the one before that in time. It has messages that are at most as old
    /// as [`retention`](crate::store::StoreOptions::retention), delivered or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`]; [`StoreError::BadArguments`] for a cursor that no page of this conversation gave.
    pub async fn history(
        &self,
        session: SessionKey,
        with: &str,
        cursor: Option<HistoryCursor>,
        limit: PageLimit,
    ) -> Result<Conversation, StoreError> {
        let messages = limit.messages.max(1);
        for _ in 0..TRIES {
            let operation = Operation::History { session, with: with.into(), cursor, messages };
            let plan = match self.ask(operation).await {
                Ok(Answer::History(plan)) => plan,
                other => return unexpected(other),
            };
            match self.read_history(plan, limit).await {
                // What it was to be read from was merged meanwhile.
                Err(PageError::Outdated) => {}
                Err(PageError::Store(error)) => return Err(error),
                Ok(page) => return Ok(page),
            }
        }
        tracing::error!("a conversation that should be there cannot be read");
        Err(StoreError::Internal)
    }

    async fn read_history(
        &self,
        plan: Box<dyn PlannedHistory>,
        limit: PageLimit,
    ) -> Result<Conversation, PageError> {
        match plan.in_memory(limit) {
            Some(page) => Ok(page),
            None => self.reading(move || plan.read(limit)).await,
        }
    }
}
