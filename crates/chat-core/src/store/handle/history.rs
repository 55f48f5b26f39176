//! Reading conversations.

use super::{Store, plan_and_read, unexpected};
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
        plan_and_read(|| async move {
            let operation = Operation::History { session, with: with.into(), cursor, messages };
            let plan = match self.ask(operation).await {
                Ok(Answer::History(plan)) => plan,
                other => unexpected(other)?,
            };
            self.read_history(plan, limit).await
        })
        .await
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
