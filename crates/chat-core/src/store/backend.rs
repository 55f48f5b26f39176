//! [`Backend`]: what carries out batches of operations.

use std::sync::Arc;
use std::time::Duration;

use super::feed::Feed;
use super::request::{Operation, Outcome};
use super::{Conversation, Message, Page, PageLimit, Resumed, StoreError};
use crate::{MessageId, Timestamp};

/// Carries out operations in batches. The embedded engine is one, in memory or on disk; a database shared by several
/// daemons can be another. All calls block and come from one thread, the actor's.
pub(crate) trait Backend: Send + 'static {
    /// Carries out the operations in order and makes their changes durable together; an outcome for each, in order.
    /// When it returns, whatever the outcomes say is durable.
    fn run(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome>;
    /// The same for operations that send, which are carried out while the changes of those before may still be on their way
    /// to the disk, and whose own may be when it returns. Gives what [`settle`](Self::settle) would have given.
    fn run_ahead(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome>;
    /// Makes ready what the next step of [`work`](Self::work) needs, unless it is, while what was begun is on its way to the
    /// disk. Nothing but [`settle`](Self::settle) may come between the two.
    fn prepare(&mut self, now: Timestamp);
    /// Waits until what was begun last is durable; gives its outcomes, none if nothing was begun. Comes before anything but
    /// [`run_ahead`](Self::run_ahead) and [`prepare`](Self::prepare).
    fn settle(&mut self) -> Vec<Outcome>;
    /// Does one step of background work, a few milliseconds at most; says after how long it wants the next.
    fn work(&mut self, now: Timestamp) -> Option<Duration>;
    /// Where pages are read.
    fn pages(&self) -> Arc<dyn Pages>;
    /// Syncs and lets go of everything. After an error what was acknowledged is safe all the same, but the next start
    /// finds an unclean end; unless the error is [`StoreError::Lost`].
    fn close(&mut self) -> Result<(), StoreError>;
}

/// Reads the pages that a backend planned. Blocking; called off the runtime by any thread.
pub(crate) trait Pages: Send + Sync {
    /// The messages of a planned page.
    fn read(&self, plan: &Plan, limit: PageLimit) -> Result<Found, PageError>;
}

/// A page of a conversation that was decided on but is not read yet.
pub(crate) trait PlannedHistory: std::fmt::Debug + Send {
    /// The page, if all of it is in memory.
    fn in_memory(&self, limit: PageLimit) -> Option<Conversation>;
    /// The page. Blocking; called off the runtime by any thread.
    fn read(&self, limit: PageLimit) -> Result<Conversation, PageError>;
}

/// The messages of a page.
#[derive(Debug)]
pub(crate) struct Found {
    /// Oldest first.
    pub(crate) messages: Vec<Arc<Message>>,
    /// Whether more waits behind them.
    pub(crate) more: bool,
}

/// A page that was decided on but is not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The page without its messages.
    pub(crate) page: Page,
    /// The first id to read.
    pub(crate) from: MessageId,
    /// The newest id there is.
    pub(crate) last: MessageId,
    /// What the backend knows of the ids from `placed_from` on.
    pub(crate) placed_from: MessageId,
    pub(crate) placed: Vec<Placed>,
    /// The runs that know where the ids before lie, newest first.
    pub(crate) index: Arc<[u64]>,
}

/// How a watch begins.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) feed: Arc<Feed>,
    pub(crate) resumed: Resumed,
    pub(crate) replay: Replay,
}

/// What a watch reads from the store before it goes on with its feed.
#[derive(Debug)]
pub(crate) struct Replay {
    /// These are not kept any more.
    pub(crate) gap: Option<(MessageId, MessageId)>,
    /// What follows. If the page reaches the plan's last id, the feed goes on from there.
    pub(crate) plan: Box<Plan>,
}

/// Where a message is.
#[derive(Debug, Clone)]
pub(crate) enum Placed {
    /// Here.
    Here(Arc<Message>),
    /// At this log position.
    At(u64),
}

/// Why a planned page could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageError {
    /// Part of it was delivered and cleared away since the plan was made: plan again.
    Outdated,
    /// The disk refuses.
    Store(StoreError),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
