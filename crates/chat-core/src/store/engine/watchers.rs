//! [`Watchers`]: who watches which mailbox, and what they are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use super::State;
use super::log::{Batch, Record, SessionChange};
use super::timer::Timer;
use crate::store::feed::{Feed, Marks};
use crate::store::{
    AccountNumber, Message, SentCopy, SessionEnd, SessionKey, StoreError, WatchEvent, WatchId,
};
use crate::{MessageId, Timestamp};

/// All open watches. Outlives a rebuild of the rest from disk.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// All are told of some things, one after the other: always in the same order.
    by_account: HashMap<AccountNumber, Vec<Watcher>, FixedState>,
    last_id: u64,
    /// The watches whose connections messages that are not committed yet came over, by position.
    origins: HashMap<u64, WatchId, FixedState>,
    /// Sessions that the batch in hand ends.
    ending: Vec<(AccountNumber, SessionKey, SessionEnd)>,
    /// What watches that are gone had pushed, until it is delivered.
    pushed: HashMap<AccountNumber, Marks, FixedState>,
    /// Mailboxes that lately got an incarnation of their own, and when.
    renewed: HashMap<AccountNumber, Instant>,
    /// Sessions still to be touched in this round.
    pub(super) to_touch: Vec<(AccountNumber, SessionKey)>,
    pub(super) touch_timer: Timer,
    pub(super) sweep_timer: Timer,
}

/// One open watch.
#[derive(Debug)]
struct Watcher {
    session: SessionKey,
    feed: Arc<Feed>,
}

impl Watcher {
    /// The watch was dropped: nobody else holds its feed.
    fn is_gone(&self) -> bool {
        Arc::strong_count(&self.feed) == 1
    }
}

impl Watchers {
    /// Takes a new watch in, which had everything up to `shown`, and is told of messages as [`Feed::seam`] says.
    pub(super) fn add(
        &mut self,
        account: AccountNumber,
        session: SessionKey,
        shown: MessageId,
        most_events: usize,
    ) -> Arc<Feed> {
        self.last_id += 1;
        let feed = Arc::new(Feed::new(WatchId(self.last_id), shown, most_events));
        // Most users have one.
        let watchers = self.by_account.entry(account).or_insert_with(|| Vec::with_capacity(1));
        clear_gone(account, watchers, &mut self.pushed);
        watchers.push(Watcher { session, feed: Arc::clone(&feed) });
        feed
    }

    /// An open watch, and the session it goes by.
    pub(super) fn find(
        &self,
        account: AccountNumber,
        id: WatchId,
    ) -> Option<(SessionKey, Arc<Feed>)> {
        let found = self.of(account).find(|watcher| watcher.feed.id == id)?;
        Some((found.session, Arc::clone(&found.feed)))
    }

    /// Whether nobody watches.
    pub(super) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// Notes over which watch's connection the message at this position came.
    pub(super) fn note_origin(&mut self, position: u64, origin: Option<WatchId>) {
        self.origins.extend(origin.map(|origin| (position, origin)));
    }

    /// Notes which sessions of an account the batch in hand ends, and why.
    pub(super) fn note_ending<'a>(
        &mut self,
        account: AccountNumber,
        changes: impl IntoIterator<Item = &'a SessionChange>,
        why: SessionEnd,
    ) {
        if self.by_account.contains_key(&account) {
            self.ending.extend(ended(changes).map(|session| (account, session, why)));
        }
    }

    /// Ends the watches by a session that is gone, unless the batch in hand ends it: that is told once it is committed.
    pub(super) fn end_lost(&self, account: AccountNumber, session: SessionKey, why: SessionEnd) {
        if !self.ending.iter().any(|(_, ending, _)| *ending == session) {
            self.end(account, session, why).for_each(Waker::wake);
        }
    }

    /// Notes that the batch in hand ends sessions of any accounts because they expired.
    pub(super) fn note_expired(&mut self, changes: &[SessionChange]) {
        let expired: foldhash::HashSet<SessionKey> = ended(changes).collect();
        let sessions = self.sessions().filter(|(_, session)| expired.contains(session));
        let ending: Vec<_> =
            sessions.map(|(account, session)| (account, session, SessionEnd::Expired)).collect();
        self.ending.extend(ending);
    }

    /// Tells what a batch holds that was just committed.
    pub(super) fn publish(&mut self, state: &mut State, batch: &Batch) {
        if self.is_empty() {
            return self.forget_origins(batch);
        }
        let mut wakers = Vec::new();
        for (position, record) in (batch.first..).zip(&batch.records) {
            if let Record::Message { mailbox, message, .. } = record {
                let event = || WatchEvent::Message(Arc::clone(message));
                let offered = self.of(*mailbox).map(|watcher| watcher.feed.offer(event()));
                wakers.extend(offered.flatten());
                self.tell_sender(state, position, *mailbox, message, &mut wakers);
            }
        }
        self.forget_origins(batch);
        for (account, session, why) in std::mem::take(&mut self.ending) {
            wakers.extend(self.end(account, session, why));
        }
        // All at once, so that each watch finds the whole batch.
        wakers.into_iter().for_each(Waker::wake);
    }

    fn forget_origins(&mut self, batch: &Batch) {
        self.origins.retain(|position, _| *position >= batch.next());
    }

    fn end(
        &self,
        account: AccountNumber,
        session: SessionKey,
        why: SessionEnd,
    ) -> impl Iterator<Item = Waker> {
        let over = self.of(account).filter(move |watcher| watcher.session == session);
        over.filter_map(move |watcher| watcher.feed.end(why))
    }

    /// Whether somebody watches as this account.
    pub(super) fn watches(&self, account: AccountNumber) -> bool {
        !self.by_account.is_empty() && self.by_account.contains_key(&account)
    }

    fn tell_sender(
        &self,
        state: &mut State,
        position: u64,
        mailbox: AccountNumber,
        message: &Arc<Message>,
        wakers: &mut Vec<Waker>,
    ) {
        if message.sender == mailbox || !self.by_account.contains_key(&message.sender) {
            return;
        }
        let Some(to) = state.cache.get(mailbox).map(|cached| Arc::clone(&cached.username)) else {
            return;
        };
        let sent = SentCopy {
            id: state.sent_id(mailbox, message.id, position),
            to,
            message: Arc::clone(message),
        };
        let origin = self.origins.get(&position);
        let others = self.of(message.sender).filter(|watcher| Some(&watcher.feed.id) != origin);
        let offered = others.map(|watcher| watcher.feed.offer(WatchEvent::Sent(sent.clone())));
        wakers.extend(offered.flatten());
    }

    /// Tells the watches of an account that somebody came or went.
    pub(super) fn notify_presence(&self, to: AccountNumber, username: &Arc<str>, active: bool) {
        for watcher in self.of(to) {
            let event = WatchEvent::Presence { username: Arc::clone(username), active };
            watcher.feed.offer(event).into_iter().for_each(Waker::wake);
        }
    }

    /// Has the watches of a mailbox ask the store how to go on.
    pub(super) fn unsettle(&self, account: AccountNumber) {
        self.of(account).filter_map(|watcher| watcher.feed.lag()).for_each(Waker::wake);
    }

    /// What became of the batch in hand is not known: all have to ask the store how to go on.
    pub(super) fn unsettle_all(&mut self) {
        self.origins.clear();
        self.ending.clear();
        let all = self.by_account.values().flatten();
        all.filter_map(|watcher| watcher.feed.lag()).for_each(Waker::wake);
    }

    /// When a message was written to a connection of its recipient's, to the second.
    pub(super) fn pushed(&self, account: AccountNumber, id: MessageId) -> Option<Timestamp> {
        let open = self.by_account.get(&account).into_iter().flatten();
        let gone = self.pushed.get(&account).and_then(|marks| marks.at(id));
        open.filter_map(|watcher| watcher.feed.pushed_at(id)).chain(gone).min()
    }

    /// Everything up to an id is delivered: that it was pushed is of no interest any more.
    pub(super) fn delivered(&mut self, account: AccountNumber, cursor: MessageId) {
        if !self.pushed.is_empty()
            && self.pushed.get_mut(&account).is_some_and(|marks| !marks.delivered(cursor))
        {
            self.pushed.remove(&account);
        }
    }

    /// Whether a user watches as often as one may: every message is given to each.
    pub(super) fn are_full(&self, account: AccountNumber) -> bool {
        self.of(account).take(MOST_WATCHES).count() == MOST_WATCHES
    }

    /// Whether a mailbox may get another incarnation because a client says so, which may lie: once in a while.
    pub(super) fn may_renew(&mut self, account: AccountNumber) -> Result<(), StoreError> {
        let now = Instant::now();
        if let Some(at) = self.renewed.get(&account) {
            let retry_after = RENEW_EVERY.saturating_sub(now - *at);
            if !retry_after.is_zero() {
                return Err(StoreError::Busy { retry_after });
            }
        }
        self.renewed.insert(account, now);
        Ok(())
    }

    /// Lets go of watches that were dropped.
    pub(super) fn sweep(&mut self) {
        self.renewed.retain(|_, at| at.elapsed() < RENEW_EVERY);
        let pushed = &mut self.pushed;
        self.by_account.retain(|account, watchers| {
            clear_gone(*account, watchers, pushed);
            !watchers.is_empty()
        });
        if self.by_account.capacity() / 4 > self.by_account.len() {
            self.by_account.shrink_to_fit();
        }
    }

    /// The sessions of all open watches.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (AccountNumber, SessionKey)> {
        self.by_account.iter().flat_map(|(account, watchers)| {
            let open = watchers.iter().filter(|watcher| !watcher.is_gone());
            open.map(|watcher| (*account, watcher.session))
        })
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.by_account.values().map(Vec::len).sum()
    }

    fn of(&self, account: AccountNumber) -> impl Iterator<Item = &Watcher> {
        let watchers = self.by_account.get(&account).into_iter().flatten();
        watchers.filter(|watcher| !watcher.is_gone())
    }
}

/// Whoever waits for an event of a store that is gone is told so.
impl Drop for Watchers {
    fn drop(&mut self) {
        let all = self.by_account.values().flatten();
        all.filter_map(|watcher| watcher.feed.close()).for_each(Waker::wake);
    }
}

/// Lets go of watches that were dropped, keeping what they had pushed.
fn clear_gone(
    account: AccountNumber,
    watchers: &mut Vec<Watcher>,
    pushed: &mut HashMap<AccountNumber, Marks, FixedState>,
) {
    for gone in watchers.extract_if(.., |watcher| watcher.is_gone()) {
        let marks = gone.feed.take_marks();
        if marks.is_empty() {
            continue;
        }
        if let Some(kept) = pushed.get_mut(&account) {
            kept.fold(marks);
        } else if pushed.len() < MOST_PUSHED {
            pushed.insert(account, marks);
        }
        // Beyond that those messages count as stored again, as they do after a restart.
    }
}

fn ended<'a>(
    changes: impl IntoIterator<Item = &'a SessionChange>,
) -> impl Iterator<Item = SessionKey> {
    changes.into_iter().filter_map(|change| match change {
        SessionChange::Delete(session) => Some(*session),
        SessionChange::Put(..) => None,
    })
}

/// Most watches of one user (`docs/protocol.md`): as many as sessions.
const MOST_WATCHES: usize = 100;
/// At most this often a client can have its mailbox get another incarnation; each time is written, and told the operator.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// For how many users it is remembered what watches that are gone had pushed: 10 MiB at most.
const MOST_PUSHED: usize = 10_000;
