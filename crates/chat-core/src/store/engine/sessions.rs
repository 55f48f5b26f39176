//! [`Sessions`]: who is logged in, and who is here. Pure state: the time comes in as an argument.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use foldhash::fast::{FixedState, RandomState};

use super::log::{SessionChange, SessionRow};
use crate::Timestamp;
use crate::store::{AccountNumber, SessionKey};

/// How long after its last use a session still makes its user active (`docs/protocol.md`, active users).
const ACTIVE: Duration = Duration::from_secs(5 * 60);
/// The last use is written down at most this often, and often enough for what a restart forgets to be a small part of how
/// long a session lives.
const WRITE_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) row: SessionRow,
    /// The last use that was written down.
    written: Timestamp,
    /// The last use, as far as it makes a user active: not ahead of a clock that was set back, as that of the row may be,
    /// which only prolongs the session.
    seen: Timestamp,
}

/// Open connections by the session they use. Outlives a rebuild of the rest from disk.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    connections: HashMap<SessionKey, u32, RandomState>,
    /// Those of the batch in hand: if it fails, the connections count for nothing.
    unsettled: Vec<SessionKey>,
}

impl Presence {
    pub(crate) fn attach(&mut self, key: SessionKey) {
        *self.connections.entry(key).or_default() += 1;
        self.unsettled.push(key);
    }

    pub(crate) fn detach(&mut self, key: SessionKey) {
        if let Some(count) = self.connections.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(&key);
            }
        }
    }

    /// The batch in hand is committed, or it failed.
    pub(crate) fn settle(&mut self, committed: bool) {
        for key in std::mem::take(&mut self.unsettled) {
            if !committed {
                self.detach(key);
            }
        }
    }

    /// Gives back what a crowd that left took.
    pub(crate) fn shrink(&mut self) {
        self.connections.shrink_to_fit();
    }

    fn is_attached(&self, key: SessionKey) -> bool {
        self.connections.contains_key(&key)
    }
}

/// All sessions still valid.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Nobody chooses a key, which is the hash of random numbers: so it may be hashed by a fixed function, for all to be gone
    /// through in an order that can be repeated.
    by_key: HashMap<SessionKey, Session, FixedState>,
    /// Each user's sessions, oldest first.
    by_account: HashMap<AccountNumber, Vec<SessionKey>, FixedState>,
    /// Users who may be active, by the number of the session that was their oldest when they were noted.
    candidates: BTreeMap<u64, AccountNumber>,
    /// Whose activity may have changed since [`noted`](Self::noted) was emptied.
    noted: HashSet<AccountNumber, FixedState>,
    next_number: u64,
    idle: Duration,
}

impl Sessions {
    /// The sessions a log recovered; each lives for `idle` without use.
    pub(crate) fn new(mut rows: Vec<(SessionKey, SessionRow)>, idle: Duration) -> Self {
        rows.sort_unstable_by_key(|(_, row)| row.number);
        let mut sessions = Self {
            by_key: HashMap::default(),
            by_account: HashMap::default(),
            candidates: BTreeMap::new(),
            noted: HashSet::default(),
            next_number: 1,
            idle,
        };
        for (key, row) in rows {
            sessions.insert(key, row);
        }
        sessions
    }

    /// Opens a session; the changes say what became of others: one over `most` ends the longest unused.
    pub(crate) fn open(
        &mut self,
        key: SessionKey,
        account: AccountNumber,
        now: Timestamp,
        most: usize,
    ) -> Vec<SessionChange> {
        let mut changes = Vec::new();
        while self.count(account) >= most.max(1) {
            let keys = self.by_account.get(&account).into_iter().flatten();
            let unused = keys.filter_map(|key| Some((self.by_key.get(key)?.row.last_used, *key)));
            let Some((_, longest)) = unused.min_by_key(|(used, _)| *used) else {
                break;
            };
            changes.extend(self.end(longest));
        }
        let row = SessionRow { number: self.next_number, account, created: now, last_used: now };
        self.insert(key, row);
        self.note(account);
        changes.push(SessionChange::Put(key, row));
        changes
    }

    /// Notes a use. Gives the session, unless it is unknown or expired, and what is to be written of it.
    pub(crate) fn touch(
        &mut self,
        key: SessionKey,
        now: Timestamp,
    ) -> Option<(SessionRow, Option<SessionChange>)> {
        let session = self.by_key.get_mut(&key)?;
        if is_expired(&session.row, self.idle, now) {
            return None;
        }
        if now.since(session.seen) >= ACTIVE {
            self.noted.insert(session.row.account);
        }
        session.seen = now;
        session.row.last_used = session.row.last_used.max(now);
        let row = session.row;
        let change = (now.since(session.written) >= WRITE_EVERY.min(self.idle / 8)).then(|| {
            session.written = now;
            SessionChange::Put(key, row)
        });
        self.note_candidate(row.account);
        Some((row, change))
    }

    /// Whose session it is, expired or not.
    pub(crate) fn account(&self, key: SessionKey) -> Option<AccountNumber> {
        self.by_key.get(&key).map(|session| session.row.account)
    }

    /// Whether there is such a session, expired or not.
    pub(crate) fn contains(&self, key: SessionKey) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Ends a session, if there is one.
    pub(crate) fn end(&mut self, key: SessionKey) -> Option<SessionChange> {
        let session = self.by_key.remove(&key)?;
        let account = session.row.account;
        self.note(account);
        self.candidates.remove(&session.row.number);
        if let Some(keys) = self.by_account.get_mut(&account) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_account.remove(&account);
            } else {
                self.note_candidate(account);
            }
        }
        Some(SessionChange::Delete(key))
    }

    /// Ends all of a user's sessions but one.
    pub(crate) fn end_all(
        &mut self,
        account: AccountNumber,
        but: Option<SessionKey>,
    ) -> Vec<SessionChange> {
        let keys = self.by_account.get(&account).cloned().unwrap_or_default();
        keys.into_iter().filter(|key| Some(*key) != but).filter_map(|key| self.end(key)).collect()
    }

    /// Ends what expired.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<SessionChange> {
        let expired =
            self.by_key.iter().filter(|(_, session)| is_expired(&session.row, self.idle, now));
        let keys: Vec<_> = expired.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.end(key)).collect()
    }

    /// A user's valid sessions, oldest first.
    pub(crate) fn of(
        &self,
        account: AccountNumber,
        now: Timestamp,
    ) -> impl Iterator<Item = (SessionKey, SessionRow)> {
        let keys = self.by_account.get(&account).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.by_key.get(key)?.row)))
            .filter(move |(_, row)| !is_expired(row, self.idle, now))
    }

    /// When a session ends unless it is used.
    pub(crate) fn expiry(&self, row: &SessionRow) -> Timestamp {
        row.last_used.plus(self.idle)
    }

    /// Whether a session of the user's is in use on an open connection, or was used lately.
    pub(crate) fn is_active(
        &self,
        account: AccountNumber,
        presence: &Presence,
        now: Timestamp,
    ) -> bool {
        self.active_until(account, presence, now).is_some()
    }

    /// Until when a user is active if nothing happens; `None` if the user is not.
    pub(crate) fn active_until(
        &self,
        account: AccountNumber,
        presence: &Presence,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let seen = |key| self.by_key.get(&key).map_or(now, |session| session.seen);
        let until = |(key, row): (SessionKey, SessionRow)| match presence.is_attached(key) {
            true => self.expiry(&row),
            false => self.expiry(&row).min(seen(key).plus(ACTIVE)),
        };
        self.of(account, now).map(until).max().filter(|until| *until > now)
    }

    /// The clock was set back: uses that it notes as still to come count as just now, since how long ago they were cannot
    /// be told any more.
    pub(crate) fn set_back(&mut self, now: Timestamp) {
        for session in self.by_key.values_mut() {
            session.seen = session.seen.min(now);
        }
    }

    /// Notes that a user's activity may have changed.
    pub(crate) fn note(&mut self, account: AccountNumber) {
        self.noted.insert(account);
    }

    /// Notes that a connection does not use a session any more.
    pub(crate) fn note_left(&mut self, key: SessionKey) {
        self.noted.extend(self.by_key.get(&key).map(|session| session.row.account));
    }

    /// Notes everybody who may be active.
    pub(crate) fn note_active(&mut self, presence: &Presence, now: Timestamp) {
        let active = self.by_key.iter().filter(|(key, session)| {
            presence.is_attached(**key) || now.since(session.seen) < ACTIVE
        });
        self.noted.extend(active.map(|(_, session)| session.row.account));
    }

    /// Whoever was noted, to be taken out.
    pub(crate) fn noted(&mut self) -> &mut HashSet<AccountNumber, FixedState> {
        &mut self.noted
    }

    /// The first `limit` active users in the order of their oldest sessions, and whether there are more.
    pub(crate) fn active(
        &mut self,
        presence: &Presence,
        now: Timestamp,
        limit: usize,
    ) -> (Vec<AccountNumber>, bool) {
        self.note_again(now);
        let (mut active, mut gone, mut more) = (Vec::new(), Vec::new(), false);
        for (&number, &account) in &self.candidates {
            if !self.is_active(account, presence, now) {
                gone.push(number);
            } else if active.len() < limit {
                active.push(account);
            } else {
                more = true;
                break;
            }
        }
        for number in gone {
            self.candidates.remove(&number);
        }
        (active, more)
    }

    /// Gives users whose oldest session expired their place by the oldest still valid.
    fn note_again(&mut self, now: Timestamp) {
        let is_over = |(number, account): &(&u64, &AccountNumber)| {
            self.row(**account, **number).is_none_or(|row| is_expired(&row, self.idle, now))
        };
        let expired = self.candidates.iter().filter(is_over);
        let expired: Vec<_> = expired.map(|(number, account)| (*number, *account)).collect();
        for (number, account) in expired {
            self.candidates.remove(&number);
            let oldest = self.of(account, now).next();
            self.candidates.extend(oldest.map(|(_, row)| (row.number, account)));
        }
    }

    /// The session of an account that has this number, expired or not.
    fn row(&self, account: AccountNumber, number: u64) -> Option<SessionRow> {
        let keys = self.by_account.get(&account).into_iter().flatten();
        let mut rows = keys.filter_map(|key| Some(self.by_key.get(key)?.row));
        rows.find(|row| row.number == number)
    }

    fn count(&self, account: AccountNumber) -> usize {
        self.by_account.get(&account).map_or(0, Vec::len)
    }

    fn insert(&mut self, key: SessionKey, row: SessionRow) {
        self.next_number = self.next_number.max(row.number.saturating_add(1));
        // Most users have one: room for more is made when there are.
        self.by_account.entry(row.account).or_insert_with(|| Vec::with_capacity(1)).push(key);
        self.by_key.insert(key, Session { row, written: row.last_used, seen: row.last_used });
        self.note_candidate(row.account);
    }

    fn note_candidate(&mut self, account: AccountNumber) {
        let oldest = self.by_account.get(&account).and_then(|keys| keys.first());
        if let Some(session) = oldest.and_then(|key| self.by_key.get(key)) {
            self.candidates.entry(session.row.number).or_insert(account);
        }
    }
}

fn is_expired(row: &SessionRow, idle: Duration, now: Timestamp) -> bool {
    now.since(row.last_used) >= idle
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(3600);
    const MESSI: AccountNumber = AccountNumber(1);
    const LINEKER: AccountNumber = AccountNumber(2);

    fn key(number: u8) -> SessionKey {
        SessionKey([number; 32])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn active(sessions: &mut Sessions, presence: &Presence, now: Timestamp) -> Vec<u64> {
        sessions.active(presence, now, 1000).0.into_iter().map(|account| account.0).collect()
    }

    #[test]
    fn expires_without_use_and_not_with_it() {
        let mut sessions = Sessions::new(Vec::new(), IDLE);
        sessions.open(key(1), MESSI, at(0), 100);
        assert!(sessions.touch(key(1), at(3599)).is_some());
        assert!(sessions.touch(key(1), at(7198)).is_some());
        assert!(sessions.touch(key(1), at(7198 + 3600)).is_none());
        assert_eq!(sessions.expire(at(20_000)), vec![SessionChange::Delete(key(1))]);
        assert!(sessions.expire(at(20_000)).is_empty());
    }

    #[test]
    fn last_use_is_written_once_a_minute() {
        let mut sessions = Sessions::new(Vec::new(), IDLE);
        sessions.open(key(1), MESSI, at(0), 100);
        let writes =
            (1..=180).filter(|s| sessions.touch(key(1), at(*s)).unwrap().1.is_some()).count();
        assert_eq!(writes, 3);
    }

    #[test]
    fn what_a_restart_forgets_of_a_short_session_is_little() {
        let idle = Duration::from_secs(8);
        let mut sessions = Sessions::new(Vec::new(), idle);
        sessions.open(key(1), MESSI, at(0), 100);
        let written = (1..=20).filter_map(|s| sessions.touch(key(1), at(s)).unwrap().1).last();
        let Some(SessionChange::Put(key, row)) = written else { panic!("never written") };
        let mut sessions = Sessions::new(vec![(key, row)], idle);
        assert!(sessions.touch(key, at(26)).is_some());
    }

    #[test]
    fn one_too_many_ends_the_longest_unused() {
        let mut sessions = Sessions::new(Vec::new(), IDLE);
        sessions.open(key(1), MESSI, at(0), 2);
        sessions.open(key(2), MESSI, at(1), 2);
        sessions.touch(key(1), at(2));
        let changes = sessions.open(key(3), MESSI, at(3), 2);
        assert_eq!(changes[0], SessionChange::Delete(key(2)));
        assert!(sessions.touch(key(2), at(4)).is_none());
    }

    #[test]
    fn active_users_stand_in_the_order_of_their_oldest_session() {
        let (mut sessions, presence) = (Sessions::new(Vec::new(), IDLE), Presence::default());
        sessions.open(key(1), MESSI, at(0), 100);
        sessions.open(key(2), LINEKER, at(1), 100);
        sessions.open(key(3), MESSI, at(2), 100);
        assert_eq!(active(&mut sessions, &presence, at(3)), [1, 2]);
        sessions.end(key(1));
        assert_eq!(active(&mut sessions, &presence, at(3)), [2, 1]);
        sessions.end(key(3));
        assert_eq!(active(&mut sessions, &presence, at(3)), [2]);
    }

    #[test]
    fn an_expired_session_does_not_keep_a_place() {
        let (mut sessions, mut presence) = (Sessions::new(Vec::new(), IDLE), Presence::default());
        sessions.open(key(1), MESSI, at(0), 100);
        sessions.open(key(2), LINEKER, at(1), 100);
        sessions.open(key(3), MESSI, at(2), 100);
        for number in [2, 3] {
            sessions.touch(key(number), at(3000));
            presence.attach(key(number));
        }
        assert_eq!(active(&mut sessions, &presence, at(3000)), [1, 2]);
        assert_eq!(active(&mut sessions, &presence, at(3700)), [2, 1]);
        sessions.touch(key(3), at(3701));
        assert_eq!(active(&mut sessions, &presence, at(3701)), [2, 1]);
    }

    #[test]
    fn active_means_connected_or_used_lately() {
        let (mut sessions, mut presence) = (Sessions::new(Vec::new(), IDLE), Presence::default());
        sessions.open(key(1), MESSI, at(0), 100);
        sessions.open(key(2), LINEKER, at(0), 100);
        presence.attach(key(2));
        assert_eq!(active(&mut sessions, &presence, at(299)), [1, 2]);
        assert_eq!(active(&mut sessions, &presence, at(300)), [2]);
        presence.detach(key(2));
        assert_eq!(active(&mut sessions, &presence, at(300)), [0; 0]);
        sessions.touch(key(1), at(301));
        assert_eq!(active(&mut sessions, &presence, at(302)), [1]);
    }

    #[test]
    fn more_is_said_when_the_list_is_cut() {
        let (mut sessions, presence) = (Sessions::new(Vec::new(), IDLE), Presence::default());
        for number in 1..=3 {
            sessions.open(key(number), AccountNumber(number.into()), at(0), 100);
        }
        assert_eq!(
            sessions.active(&presence, at(1), 2),
            (vec![AccountNumber(1), AccountNumber(2)], true)
        );
        assert!(!sessions.active(&presence, at(1), 3).1);
    }

    #[test]
    fn a_clock_set_back_ends_nothing() {
        let mut sessions = Sessions::new(Vec::new(), IDLE);
        sessions.open(key(1), MESSI, at(10_000), 100);
        assert!(sessions.touch(key(1), at(0)).is_some());
        assert!(sessions.expire(at(0)).is_empty());
    }
}
