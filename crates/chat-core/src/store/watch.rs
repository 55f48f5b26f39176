//! [`Watch`]: what happens to a mailbox, as it happens.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::backend::{PageError, Plan, Replay, Watching};
use super::feed::{Feed, StoreClosed, Taken};
use super::handle::unexpected;
use super::request::{Answer, Operation};
use super::{
    AccountNumber, Incarnation, Message, Page, PageLimit, SentId, Store, StoreError, WatchId,
};
use crate::protocol::Resume;
use crate::{MessageId, Timestamp};

/// From where on a mailbox is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchFrom {
    /// First everything undelivered.
    Undelivered,
    /// First everything stored after this id of that incarnation, delivered or not.
    After {
        /// The last id the watcher has.
        id: MessageId,
        /// The incarnation it belongs to.
        incarnation: Box<str>,
    },
}

/// How a watch goes on from what the watcher has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// How.
    pub resume: Resume,
    /// The first message has the next id, unless a gap is told first.
    pub after: MessageId,
    /// With [`Resume::Gap`]: the first id that does not mean what it meant, and the last one the watcher said it has.
    pub gap: Option<(MessageId, MessageId)>,
}

/// Something a watcher is told.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A message in the user's mailbox. Ids follow one another without a hole, but for a [`Gap`](Self::Gap).
    Message(Arc<Message>),
    /// What the user sent otherwise than through this watch's connection.
    Sent(SentCopy),
    /// Somebody came or went.
    Presence {
        /// Who.
        username: Arc<str>,
        /// Whether they are here now.
        active: bool,
    },
    /// Messages that are not kept any more and were not shown: from the one to the other.
    Gap(MessageId, MessageId),
    /// The watcher was slow, or the store had to recover; what follows comes from the store. What the user sent meanwhile,
    /// and who came and went, is not told.
    Lagging,
    /// It has caught up.
    Live,
    /// The session is over, and with it the watch: nothing follows.
    Ended(SessionEnd),
}

/// A message that the user sent.
#[derive(Debug, Clone)]
pub struct SentCopy {
    /// What [`Store::status`](super::Store::status) knows it by.
    pub id: SentId,
    /// The recipient's username.
    pub to: Arc<str>,
    /// The message. Its id is the recipient's affair.
    pub message: Arc<Message>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was logged out.
    Logout,
    /// It was revoked, or one too many.
    Revoked,
    /// The password changed.
    PasswordChanged,
    /// It was not used for too long.
    Expired,
    /// The account was removed.
    AccountRemoved,
}

impl SessionEnd {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::Expired => "expired",
            Self::AccountRemoved => "account_removed",
        }
    }
}

/// A watch on a mailbox, by [`Store::watch`]. Dropping it ends it.
///
/// It replays what is stored and goes over to what happens, with no gap and no repeat between. What was not taken yet is
/// kept for it up to a bound (1,024 events, 256 KiB of bodies); beyond that it is told [`WatchEvent::Lagging`] and catches up
/// from the store. A watch keeps the store open, as any handle does.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    feed: Arc<Feed>,
    account: AccountNumber,
    username: Arc<str>,
    incarnation: Incarnation,
    resumed: Resumed,
    /// The last id that was shown, or announced as gone.
    last: MessageId,
    /// Announced next.
    gap: Option<(MessageId, MessageId)>,
    /// Shown after that.
    page: VecDeque<Arc<Message>>,
    /// The page after that one.
    reading: Option<Reading>,
    stage: Stage,
    /// [`WatchEvent::Lagging`] was told, and [`WatchEvent::Live`] was not yet.
    is_lagging: bool,
}

/// Where what comes after the page is found.
#[derive(Debug)]
enum Stage {
    /// In the store; with a plan it was asked already.
    Store(Option<Box<Plan>>),
    Feed,
    /// Nowhere.
    Over,
}

impl Watch {
    pub(super) fn new(store: Store, watching: Watching) -> Self {
        let Watching { feed, resumed, replay: Replay { gap, plan } } = watching;
        Self {
            store,
            feed,
            account: plan.page.account,
            username: Arc::clone(&plan.page.username),
            incarnation: plan.page.incarnation.clone(),
            last: resumed.after,
            resumed,
            gap,
            page: VecDeque::new(),
            reading: None,
            stage: Stage::Store(Some(plan)),
            is_lagging: false,
        }
    }

    /// Its name, for [`Outgoing::origin`](super::Outgoing::origin).
    #[must_use]
    pub fn id(&self) -> WatchId {
        self.feed.id
    }

    /// Whose mailbox it is.
    #[must_use]
    pub fn account(&self) -> AccountNumber {
        self.account
    }

    /// The user's username, as it was when the watch began or last caught up. When it changes, it catches up.
    #[must_use]
    pub fn username(&self) -> &Arc<str> {
        &self.username
    }

    /// The mailbox's incarnation, which the ids of its messages belong to.
    #[must_use]
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// How it goes on from what the watcher has.
    #[must_use]
    pub fn resumed(&self) -> &Resumed {
        &self.resumed
    }

    /// Waits for the next event. After [`WatchEvent::Ended`] it waits for ever.
    ///
    /// # Errors
    /// [`StoreError::StaleIncarnation`] for ever once the mailbox has a new incarnation: the ids that were shown may not
    /// mean what they meant, so watch again. [`StoreError::Unavailable`] when the store cannot be read, or was closed;
    /// asking again tries again.
    ///
    /// # Cancel safety
    /// No event is lost, and what is being read goes on where it was.
    pub async fn next(&mut self) -> Result<WatchEvent, StoreError> {
        loop {
            if let Some(event) = self.try_next() {
                return Ok(event);
            }
            match self.stage {
                Stage::Store(_) => self.read_on().await?,
                Stage::Feed => std::future::poll_fn(|context| self.feed.poll_ready(context))
                    .await
                    .map_err(|StoreClosed| StoreError::Unavailable)?,
                Stage::Over => std::future::pending().await,
            }
        }
    }

    /// An event that is at hand without waiting or reading from disk.
    #[must_use]
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        if let Some((from, to)) = self.gap.take() {
            self.last = to;
            return Some(WatchEvent::Gap(from, to));
        }
        if let Some(message) = self.page.pop_front() {
            self.last = message.id;
            return Some(WatchEvent::Message(message));
        }
        match self.stage {
            // What the session did not get in time is still there for another.
            Stage::Store(_) => self.feed.ended().map(|why| self.end(why)),
            Stage::Feed if std::mem::take(&mut self.is_lagging) => Some(WatchEvent::Live),
            Stage::Feed => self.feed.take().map(|taken| self.pass_on(taken)),
            Stage::Over => None,
        }
    }

    /// Everything up to this message was written to the watcher's connection: what `status` calls pushed.
    pub fn pushed(&self, upto: MessageId, now: Timestamp) {
        self.feed.pushed(upto, now);
    }

    /// Events that wait in the feed.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.feed.waiting()
    }

    fn pass_on(&mut self, taken: Taken) -> WatchEvent {
        match taken {
            Taken::Event(event) => {
                if let WatchEvent::Message(message) = &event {
                    debug_assert_eq!(message.id.get(), self.last.get() + 1, "a hole or a repeat");
                    self.last = message.id;
                }
                event
            }
            Taken::Lagging => {
                self.stage = Stage::Store(None);
                self.is_lagging = true;
                WatchEvent::Lagging
            }
            Taken::Ended(why) => self.end(why),
        }
    }

    fn end(&mut self, why: SessionEnd) -> WatchEvent {
        self.stage = Stage::Over;
        WatchEvent::Ended(why)
    }

    /// Takes a page from the store. One that is being read stays in hand while nobody waits for it, so that who waits for
    /// other things beside does not begin it again and again.
    async fn read_on(&mut self) -> Result<(), StoreError> {
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.begin_to_read(),
        };
        let read = self.reading.insert(reading).0.as_mut().await;
        self.reading = None;
        if let Some(Read { gap, page }) = read? {
            self.gap = gap;
            self.username = page.username;
            self.page = page.messages.into();
            if !page.more {
                self.stage = Stage::Feed;
            }
        }
        Ok(())
    }

    fn begin_to_read(&mut self) -> Reading {
        let planned = match &mut self.stage {
            Stage::Store(plan) => plan.take(),
            Stage::Feed | Stage::Over => None,
        };
        let (account, watch, after) = (self.account, self.feed.id, self.last);
        let incarnation = self.incarnation.clone();
        let operation =
            move || Operation::CatchUp { account, watch, incarnation: incarnation.clone(), after };
        let (store, feed) = (self.store.clone(), Arc::clone(&self.feed));
        Reading(Box::pin(read(store, feed, planned, operation)))
    }
}

/// What a watch reads at a time.
struct Read {
    /// Messages that are gone, before the page.
    gap: Option<(MessageId, MessageId)>,
    page: Page,
}

/// A page being read.
struct Reading(Pin<Box<dyn Future<Output = Result<Option<Read>, StoreError>> + Send + Sync>>);

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

/// Reads what was planned, or what the operation plans; nothing if the session has ended.
async fn read(
    store: Store,
    feed: Arc<Feed>,
    mut planned: Option<Box<Plan>>,
    operation: impl Fn() -> Operation,
) -> Result<Option<Read>, StoreError> {
    // Retention may clear away what was just planned: then plan again, as for any page.
    for _ in 0..4 {
        let (gap, plan) = match planned.take() {
            // Its gap was told when the watch began.
            Some(plan) => (None, plan),
            None => match store.ask(operation()).await {
                Ok(Answer::Replay(replay)) => (replay.gap, replay.plan),
                Err(StoreError::NoSession) if feed.ended().is_some() => return Ok(None),
                other => return unexpected(other),
            },
        };
        match store.read(plan, PageLimit::bodies(REPLAY_MESSAGES, REPLAY_BYTES)).await {
            Ok(page) => return Ok(Some(Read { gap, page })),
            Err(PageError::Outdated) => {}
            Err(PageError::Store(error)) => return Err(error),
        }
    }
    tracing::error!("messages that should be there cannot be read");
    Err(StoreError::Internal)
}

/// Most messages that a watch reads at once, and most bytes of their bodies: what catching up holds in memory.
/// Tests read little, so that much happens between.
pub(super) const REPLAY_MESSAGES: usize = if cfg!(test) { 8 } else { 256 };
const REPLAY_BYTES: usize = if cfg!(test) { 200 } else { 256 * 1024 };
