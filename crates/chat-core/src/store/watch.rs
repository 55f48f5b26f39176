//! [`Watch`]: what happens to a mailbox, as it happens.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backend::{Replay, Watching};
use super::feed::{Feed, StoreClosed, Taken};
use super::replay::{Read, Reader, Reading};
use super::{AccountNumber, Incarnation, Message, SentId, Store, StoreError, WatchId};
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
    stage: Stage,
    /// [`WatchEvent::Lagging`] was told, and [`WatchEvent::Live`] was not yet.
    is_lagging: bool,
    /// [`WatchEvent::Lagging`] is told next: the feed was full while the store was read.
    lagged: bool,
}

/// Where what comes after the page is found.
#[derive(Debug)]
enum Stage {
    /// In the store; perhaps it is being read.
    Store(Option<Reading>),
    Feed,
    /// Nowhere.
    Over,
}

impl Watch {
    pub(super) fn new(store: Store, watching: Watching) -> Self {
        let Watching { feed, resumed, replay: Replay { gap, plan } } = watching;
        let mut watch = Self {
            store,
            feed,
            account: plan.page.account,
            username: Arc::clone(&plan.page.username),
            incarnation: plan.page.incarnation.clone(),
            last: gap.map_or(resumed.after, |(_, last)| last),
            resumed,
            gap,
            page: VecDeque::new(),
            stage: Stage::Feed,
            is_lagging: false,
            lagged: false,
        };
        if plan.from <= plan.last {
            watch.stage = Stage::Store(Some(Reading::planned(watch.reader(), plan)));
        }
        watch
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
    /// mean what they meant, so watch again. [`StoreError::Unavailable`] when the store cannot be read: wait a
    /// little and ask again. [`StoreError::Closed`] once the store was closed, now and for ever.
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
                    .map_err(|StoreClosed| StoreError::Closed)?,
                Stage::Over => std::future::pending().await,
            }
        }
    }

    /// An event that is at hand without waiting or reading from disk.
    #[must_use]
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        if std::mem::take(&mut self.lagged) {
            self.is_lagging = true;
            return Some(WatchEvent::Lagging);
        }
        if let Some((from, to)) = self.gap.take() {
            self.last = to;
            return Some(WatchEvent::Gap(from, to));
        }
        if let Some(message) = self.page.pop_front() {
            self.last = message.id;
            return Some(WatchEvent::Message(message));
        }
        match self.stage {
            Stage::Store(Some(_)) => None,
            // What the session did not ask for in time is still there for another.
            Stage::Store(None) => self.feed.ended().map(|why| self.end(why)),
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

    /// Takes a page from the store.
    async fn read_on(&mut self) -> Result<(), StoreError> {
        if let Stage::Store(None) = self.stage {
            self.stage = Stage::Store(Some(Reading::next(self.reader())));
        }
        let Stage::Store(Some(reading)) = &mut self.stage else {
            return Ok(());
        };
        let read = reading.done().await;
        self.stage = Stage::Store(None);
        // Told already where it is what this reads for.
        self.lagged = self.feed.take_missed() && !self.is_lagging;
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

    fn reader(&self) -> Reader {
        Reader {
            store: self.store.clone(),
            feed: Arc::clone(&self.feed),
            account: self.account,
            incarnation: self.incarnation.clone(),
            after: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an open watch costs while nothing happens; the registry adds some 80 bytes.
    #[test]
    fn an_idle_watch_is_small() {
        let size = size_of::<Watch>() + size_of::<Feed>();
        assert!(size <= 400, "{size}");
    }
}
