//! Watching: where a watch begins, and the seam between what is read from the store and what is told as it happens.
//!
//! The seam is made here, in order with the commits: everything up to the mailbox's newest id comes from the store, and
//! everything after it through the feed.

use std::time::Duration;

use super::Engine;
use super::log::{Log, LogError};
use super::timer::Timer;
use crate::protocol::Resume;
use crate::store::backend::{Replay, Watching};
use crate::store::feed::Feed;
use crate::store::request::{Answer, Outcome};
use crate::store::{
    AccountNumber, Incarnation, Resumed, SessionEnd, SessionKey, StoreError, WatchFrom, WatchId,
};
use crate::{MessageId, Timestamp};

impl<L: Log> Engine<L> {
    /// Opens a watch.
    pub(super) fn watch(
        &mut self,
        session: SessionKey,
        from: WatchFrom,
        now: Timestamp,
    ) -> Outcome {
        let account = self.user(session, now)?;
        if self.watchers.are_full(account) {
            return Err(StoreError::Busy { retry_after: RETRY_FULL });
        }
        let resumed = self.resume(account, from, now)?;
        let most_events = self.options.watch.events;
        let feed = self.watchers.add(account, session, resumed.after, most_events);
        let replay = self.replay(account, &feed, resumed.after)?;
        Ok(Answer::Watching(Box::new(Watching { feed, resumed, replay })))
    }

    /// What a watch reads next that has everything up to an id.
    pub(super) fn catch_up(
        &mut self,
        (account, id): (AccountNumber, WatchId),
        incarnation: &Incarnation,
        after: MessageId,
        now: Timestamp,
    ) -> Outcome {
        let (session, feed) = self.watchers.find(account, id).ok_or(StoreError::Internal)?;
        match self.user(session, now) {
            Err(StoreError::NoSession) => {
                self.end_lost(account, session);
                return Err(StoreError::NoSession);
            }
            other => other?,
        };
        if self.incarnation(account)? != *incarnation {
            return Err(StoreError::StaleIncarnation);
        }
        Ok(Answer::Replay(Box::new(self.replay(account, &feed, after)?)))
    }

    /// Where a watch goes on.
    fn resume(
        &mut self,
        account: AccountNumber,
        from: WatchFrom,
        now: Timestamp,
    ) -> Result<Resumed, StoreError> {
        let head = self.head(account)?;
        let (id, incarnation) = match from {
            WatchFrom::Undelivered => {
                let resume = Resume::Undelivered;
                return Ok(Resumed { resume, after: head.cursor, gap: None });
            }
            WatchFrom::After { id, incarnation } => (id, incarnation),
        };
        let is_current = self.incarnation(account)?.as_str() == &*incarnation;
        let shared = match is_current {
            true if id <= head.last => {
                return Ok(Resumed { resume: Resume::Exact, after: id, gap: None });
            }
            true => {
                self.watchers.may_renew(account)?;
                self.renew(account, now)?;
                self.watchers.unsettle(account);
                tracing::error!(
                    account = account.0,
                    newest = head.last.get(),
                    claimed = id.get(),
                    "a client says it has messages that this mailbox never had: was the data directory replaced by a copy? \
                     the mailbox gets a new incarnation"
                );
                head.last
            }
            false => self.shared(account, &incarnation)?,
        };
        let from = MessageId::new(shared.get().saturating_add(1));
        Ok(Resumed { resume: Resume::Gap, after: id.min(shared), gap: Some((from, id)) })
    }

    /// Plans a page after an id. If it reaches the end, the feed takes over there.
    fn replay(
        &mut self,
        account: AccountNumber,
        feed: &Feed,
        after: MessageId,
    ) -> Result<Replay, StoreError> {
        let first = self.first_kept(account, after)?.get();
        let (next, before) = (after.get().saturating_add(1), MessageId::new(first - 1));
        let gap = (first > next).then(|| (MessageId::new(next), before));
        let most = self.options.watch.page_messages;
        let plan = self.plan_after(account, before, most)?;
        let left = plan.last.get().saturating_sub(before.get());
        let reaches_end = usize::try_from(left).is_ok_and(|left| left <= most);
        feed.seam(reaches_end.then_some(plan.last));
        Ok(Replay { gap, plan })
    }

    /// The session of a watch is not there. Unless this batch ends it, it was not seen going.
    fn end_lost(&mut self, account: AccountNumber, session: SessionKey) {
        let Some(state) = &self.state else {
            return;
        };
        // A commit may have ended it whose outcome was not known then; nor is it known now what it was.
        let why = match state.sessions.contains(session) {
            true => SessionEnd::Expired,
            false => SessionEnd::Revoked,
        };
        self.watchers.end_lost(account, session, why);
    }

    /// Uses the sessions that are watched by, so that they do not expire, and lets go of watches that were dropped.
    pub(super) fn watch_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        if self.watchers.is_empty() {
            return Ok(false);
        }
        if self.watchers.sweep_timer.is_due(now, SWEEP_EVERY) {
            self.watchers.sweep_timer = Timer::starting(now, SWEEP_EVERY);
            self.watchers.sweep();
        }
        let every = (self.options.session_idle / 4).min(TOUCH_EVERY);
        if self.watchers.to_touch.is_empty() && self.watchers.touch_timer.is_due(now, every) {
            self.watchers.touch_timer = Timer::starting(now, every);
            self.watchers.to_touch = self.watchers.sessions().collect();
        }
        if self.watchers.to_touch.is_empty() {
            return Ok(false);
        }
        self.touch_watched(now);
        Ok(!self.watchers.to_touch.is_empty())
    }

    /// Touches some of the sessions that are to be.
    fn touch_watched(&mut self, now: Timestamp) {
        for _ in 0..SLICE_SESSIONS {
            let Some((account, session)) = self.watchers.to_touch.pop() else {
                break;
            };
            let Some(state) = &mut self.state else {
                return;
            };
            match state.sessions.touch(session, now) {
                Some((_, change)) => state.pending.sessions.extend(change),
                None => {
                    let ended = state.sessions.end(session);
                    self.watchers.note_ending(account, &ended, SessionEnd::Expired);
                    state.pending.sessions.extend(ended);
                }
            }
        }
        // A failure has been dealt with already.
        let _ = self.commit();
    }
}

/// The longest time after which a watch counts as a use of its session again.
const TOUCH_EVERY: Duration = Duration::from_secs(60 * 60);
/// Sessions touched in one step: at most as many rows are written.
const SLICE_SESSIONS: usize = 400;
/// How often watches that were dropped are looked for where nothing else does: soon enough for what a crowd of them took to be
/// back long before a minute is over, and rarely enough for a look at each, some 50 ns, not to count.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// When a user may try again who watches too often already: connections come and go within seconds.
const RETRY_FULL: Duration = Duration::from_secs(1);
