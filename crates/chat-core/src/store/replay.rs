//! [`Reading`]: a page that a watch reads from the store.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::backend::{Plan, Replay};
use super::feed::Feed;
use super::handle::{plan_and_read, unexpected};
use super::request::{Answer, Operation};
use super::{AccountNumber, Incarnation, Page, PageLimit, Store, StoreError};
use crate::MessageId;

/// A page being read by a task of its own, so that it goes on while nobody waits for it. A future that is kept and not
/// polled would not do: it could hold a place among the readers, or in the store's queue, which others wait for. Dropping
/// it ends the task.
#[derive(Debug)]
pub(super) struct Reading(JoinSet<Result<Option<Read>, StoreError>>);

/// What a watch reads at a time.
#[derive(Debug)]
pub(super) struct Read {
    /// Messages that are gone, before the page.
    pub(super) gap: Option<(MessageId, MessageId)>,
    pub(super) page: Page,
}

/// Which watch reads, and what it has.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) feed: Arc<Feed>,
    pub(super) account: AccountNumber,
    pub(super) incarnation: Incarnation,
    /// The last id that it needs no more.
    pub(super) after: MessageId,
}

impl Reading {
    /// Reads what comes next.
    pub(super) fn next(reader: Reader) -> Self {
        Self::begin(reader, None)
    }

    /// Reads what is planned already, its gap told.
    pub(super) fn planned(reader: Reader, plan: Box<Plan>) -> Self {
        Self::begin(reader, Some(plan))
    }

    fn begin(reader: Reader, plan: Option<Box<Plan>>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(reader.read(plan));
        Self(task)
    }

    /// What was read; nothing if the session has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn done(&mut self) -> Result<Option<Read>, StoreError> {
        let done = self.0.join_next().await.and_then(Result::ok);
        // Without one the runtime is shutting down.
        done.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Reader {
    async fn read(self, mut planned: Option<Box<Plan>>) -> Result<Option<Read>, StoreError> {
        let (reader, bounds) = (&self, self.store.watch_bounds());
        let limit = PageLimit::bodies(bounds.page_messages, bounds.page_bytes);
        plan_and_read(|| {
            let planned = planned.take();
            async move {
                let replay = match planned {
                    Some(plan) => Some(Replay { gap: None, plan }),
                    None => reader.plan().await?,
                };
                let Some(Replay { gap, plan }) = replay else { return Ok(None) };
                let page = reader.store.read(plan, limit).await?;
                Ok(Some(Read { gap, page }))
            }
        })
        .await
    }

    async fn plan(&self) -> Result<Option<Replay>, StoreError> {
        let operation = Operation::CatchUp {
            account: self.account,
            watch: self.feed.id,
            incarnation: self.incarnation.clone(),
            after: self.after,
        };
        match self.store.ask(operation).await {
            Ok(Answer::Replay(replay)) => Ok(Some(*replay)),
            Err(StoreError::NoSession) if self.feed.ended().is_some() => Ok(None),
            other => unexpected(other),
        }
    }
}
