//! [`Watch`]: what happens to a mailbox, as it happens.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backend::{Replay, Watching};
use super::feed::{Feed, StoreClosed, Taken};
use super::replay::{Read, Reader, Reading};
use super::{AccountNumber, Incarnation, Message, SentId, Store, StoreError, WatchId};
use crate::protocol::Resume;
use crate::{MessageId, Timestamp};

/// Where a watch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchFrom {
    /// With everything undelivered, oldest first.
    Undelivered,
    /// With everything stored after this message, delivered or not: how a watcher goes on that has all up to it.
    After {
        /// The last id the watcher has.
        id: MessageId,
        /// The incarnation it belongs to.
        incarnation: Box<str>,
    },
}

/// How a watch goes on from what the watcher said it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Whether it goes on exactly there.
    pub resume: Resume,
    /// The last id before the watch: its first message has the next one, unless a [`WatchEvent::Gap`] comes first.
    pub after: MessageId,
    /// With [`Resume::Gap`]: the first id under which the watcher may have another message than the store, and the last id
    /// that the watcher said it has. If that one is lower, it has none of them.
    pub gap: Option<(MessageId, MessageId)>,
}

/// Something a watcher is told.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A message in the user's mailbox. Ids follow one another without a hole, but for a [`Gap`](Self::Gap).
    Message(Arc<Message>),
    /// The user sent a message that did not name this watch as its [origin](super::Outgoing::origin).
    Sent(SentCopy),
    /// Another user became active, or is no longer, as far as their privacy allows.
    Presence {
        /// Who.
        username: Arc<str>,
        /// Whether they are active now.
        active: bool,
    },
    /// The messages from the first to the last of these ids are not kept any more and were not shown.
    Gap(MessageId, MessageId),
    /// The watcher was slow, or the store had to recover from a failed write. The messages that follow are read from the
    /// store, so none is missing; `Sent` and `Presence` events of this time are left out.
    Lagging,
    /// After `Lagging`: the watch has caught up.
    Live,
    /// The session is over, and with it the watch: nothing follows.
    Ended(SessionEnd),
}

/// A message that the user sent.
#[derive(Debug, Clone)]
pub struct SentCopy {
    /// The message's id for its sender, as [`Store::status`](super::Store::status) takes it.
    pub id: SentId,
    /// The recipient's username.
    pub to: Arc<str>,
    /// The message. Its own `id` is the one in the recipient's mailbox: do not show it to the sender.
    pub message: Arc<Message>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was logged out.
    Logout,
    /// It was revoked, or ended by a login beyond
    /// [`sessions_per_account`](super::StoreOptions::sessions_per_account).
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

/// A subscription to a mailbox, made by [`Store::watch`], which has an example. Dropping it ends it.
///
/// It gives what is stored first and goes on with what comes, with no gap and no repeat between the two. Events that were
/// not taken yet are kept in memory up to a bound (1,024 events, 256 KiB of bodies); beyond that the watch gives
/// [`WatchEvent::Lagging`] and reads the messages from the store. So a slow watcher loses no message and holds nobody up.
/// A watch keeps the store open, as any handle does.
///
/// A watch acknowledges nothing: [`Store::ack`](super::Store::ack) does.
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

    /// Its id, for [`Outgoing::origin`](super::Outgoing::origin).
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

    /// How it goes on from what the watcher said it has.
    #[must_use]
    pub fn resumed(&self) -> &Resumed {
        &self.resumed
    }

    /// Waits for the next event. After [`WatchEvent::Ended`] it waits for ever.
    ///
    /// # Errors
    /// - [`StoreError::StaleIncarnation`]: the mailbox has a new incarnation, so that ids already given may stand for
    ///   other messages now. The watch is over; begin another.
    /// - [`StoreError::Closed`]: the store was closed. The watch is over.
    /// - [`StoreError::Unavailable`]: the store cannot be read at the moment. Wait a little and call it again.
    ///
    /// # Cancel safety
    /// No event is lost, and a page that is being read is read on.
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

    /// The next event, if there is one in memory. `None` does not mean that nothing waits in the store:
    /// [`next`](Self::next) reads that.
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

    /// Notes that everything up to this message was written to the watcher's connection at the time `now`
    /// ([`Store::now`]): what [`Store::status`] then calls pushed. An embedder without receipts need not call it.
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
