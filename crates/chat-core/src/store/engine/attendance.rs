//! [`Attendance`]: who came and who went, and telling it to those who watch.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::FixedState;

use super::index::entries;
use super::log::{Log, LogError};
use super::sessions::Sessions;
use super::timer::Timer;
use super::{Engine, State};
use crate::store::{AccountNumber, PrivacyChoice, SessionKey, StoreError};
use crate::{MessageId, Timestamp};

/// Who is here, as far as it was told. Outlives a rebuild of the rest from disk.
///
/// Once a second those are looked at who did something that may have changed it, and those whose time is up. Who goes and
/// comes back in between is not mentioned.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Until when everybody here is active if nothing happens.
    here: HashMap<AccountNumber, Timestamp, FixedState>,
    /// The same, soonest first.
    until: BTreeSet<(Timestamp, AccountNumber)>,
    /// Who is still to be looked at in this round.
    round: Vec<AccountNumber>,
    timer: Timer,
}

impl Attendance {
    /// Begins the next round, if it is time to.
    fn begin(&mut self, sessions: &mut Sessions, now: Timestamp) {
        if !self.round.is_empty() || !self.timer.is_due(now, ROUND_EVERY) {
            return;
        }
        // By a clock that was set back, the times of those who are here are too far off.
        let set_back = self.timer.is_ahead(now, ROUND_EVERY);
        self.timer = Timer::starting(now, ROUND_EVERY);
        self.round.extend(sessions.noted().drain());
        if set_back {
            sessions.set_back(now);
            self.round
                .extend(std::mem::take(&mut self.until).into_iter().map(|(_, account)| account));
        }
        while self.until.first().is_some_and(|(until, _)| *until <= now) {
            self.round.extend(self.until.pop_first().map(|(_, account)| account));
        }
    }

    /// Takes note of until when an account is active; whether it came or went.
    fn set(&mut self, account: AccountNumber, until: Option<Timestamp>) -> bool {
        let before = match until {
            Some(until) => self.here.insert(account, until),
            None => self.here.remove(&account),
        };
        if let Some(before) = before {
            self.until.remove(&(before, account));
        }
        self.until.extend(until.map(|until| (until, account)));
        before.is_some() != until.is_some()
    }

    /// Gives back what a crowd that left took.
    pub(super) fn shrink(&mut self) {
        self.here.shrink_to_fit();
        self.round.shrink_to_fit();
    }

    /// Everybody here.
    pub(super) fn here(&self) -> impl Iterator<Item = AccountNumber> {
        self.here.keys().copied()
    }
}

impl<L: Log> Engine<L> {
    /// A connection uses the session no more.
    pub(super) fn detach(&mut self, session: SessionKey) {
        self.presence.detach(session);
        if let Some(state) = &mut self.state {
            state.sessions.note_left(session);
        }
    }

    /// Looks at some who may have come or gone, and tells of one who did; whether there are more to look at.
    pub(super) fn presence_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        if let Some((account, active)) = self.next_change(now)
            && !self.watchers.is_empty()
        {
            // What cannot be read was logged. Who watches hears of the next change.
            let _ = self.tell_of(account, active);
        }
        Ok(!self.attendance.round.is_empty())
    }

    /// Who came or went, if there is somebody among those looked at now.
    pub(super) fn next_change(&mut self, now: Timestamp) -> Option<(AccountNumber, bool)> {
        let Self { state: Some(State { sessions, .. }), attendance, presence, .. } = self else {
            return None;
        };
        attendance.begin(sessions, now);
        for _ in 0..LOOKS {
            let account = attendance.round.pop()?;
            let until = sessions.active_until(account, presence, now);
            if attendance.set(account, until) {
                return Some((account, until.is_some()));
            }
        }
        None
    }

    fn tell_of(&mut self, account: AccountNumber, active: bool) -> Result<(), StoreError> {
        let (username, _) = self.names(account)?;
        for other in self.audience(account)? {
            self.watchers.notify_presence(other, &username, active);
        }
        Ok(())
    }

    /// Who is let know that a user came or went, as far as it is worth finding out.
    pub(super) fn audience(
        &mut self,
        user: AccountNumber,
    ) -> Result<Vec<AccountNumber>, StoreError> {
        let choice = self.cached(user)?.presence;
        let mut audience = match choice {
            PrivacyChoice::Off => return Ok(Vec::new()),
            PrivacyChoice::On => self.correspondents(user)?,
            PrivacyChoice::Default => Vec::new(),
        };
        audience.extend(self.contacts(user, MOST_CONTACTS)?);
        audience.sort_unstable();
        audience.dedup();
        let blocks = &self.cached(user)?.blocks;
        audience.retain(|other| *other != user && !blocks.contains(*other));
        Ok(audience)
    }

    /// Who wrote the newest messages of a mailbox.
    fn correspondents(&mut self, user: AccountNumber) -> Result<Vec<AccountNumber>, StoreError> {
        self.mailbox(user)?;
        let Self { state: Some(State { mailboxes, runs, .. }), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let mailbox = mailboxes.get(user).ok_or(StoreError::Internal)?;
        let last = mailbox.head.last;
        let after = MessageId::new(last.get().saturating_sub(NEWEST_MESSAGES));
        let newest = entries(log, runs, user, mailbox, after, last).map_err(Self::unreadable)?;
        Ok(newest.into_iter().map(|entry| entry.sender).collect())
    }
}

/// How often it is looked who came and went: what happens within is coalesced.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// How many are looked at in one step: each takes a few look-ups in memory.
const LOOKS: usize = 256;
/// Of somebody's contacts this many are told: they are found in one step, which everybody waits for.
const MOST_CONTACTS: usize = 1_000;
/// The senders of this many of the newest messages are told of somebody who lets everybody know: 17 index rows.
const NEWEST_MESSAGES: u64 = 1_024;
