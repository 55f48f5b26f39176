//! Keys of posted messages: a message is stored once, however often it is posted.

use std::time::Duration;

use super::commit::UnderWay;
use super::log::{Keyed, Log, LogError, Record, RunKind, View};
use super::runs::{Forward, HEAVY, KEYS_LIVE_S, Key, Probe, Runs, probe};
use super::{Engine, State};
use crate::Timestamp;
use crate::store::{AccountNumber, Outgoing, PostKey, Receipt, SentId, SessionKey, StoreError};

/// What is known of a key.
struct Known {
    /// Whether the same was asked under it.
    same: bool,
    id: SentId,
    time: Timestamp,
}

/// What earlier versions wrote of a key: what was asked under it, and what was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFull {
    pub(super) request: [u8; 8],
    pub(super) id: SentId,
    pub(super) time: Timestamp,
}

impl InFull {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        let time = self.time.as_millis().to_be_bytes();
        self.request.into_iter().chain(self.id.0).chain(time).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (id, time) = rest.split_first_chunk()?;
        let time = i64::from_be_bytes(time.try_into().ok()?);
        Some(Self { request: *request, id: SentId(*id), time: Timestamp::from_millis(time) })
    }
}

impl PostKey {
    /// What a message that an account posted under the key is found by. There are 48 bits of the key in it, since the
    /// message itself tells whether it is the one: of the million keys that an account may have two are alike in these once
    /// in 500 accounts.
    pub(super) fn at(self, account: AccountNumber, position: u64) -> Key {
        let [a, b, c, d, e, f, ..] = self.0;
        Key([account.0, u64::from_be_bytes([0, 0, a, b, c, d, e, f]), position])
    }

    /// What such messages lie between: from the first to before the second.
    fn bounds(self, account: AccountNumber) -> (Key, Key) {
        (self.at(account, 0), self.at(account, u64::MAX))
    }

    fn probe(self, account: AccountNumber) -> Probe {
        probe(RunKind::Keys, self.at(account, 0))
    }

    /// What earlier versions found it by.
    pub(super) fn in_full(self, account: AccountNumber) -> Key {
        let (high, low) = self.0.split_at(8);
        let number =
            |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Key([account.0, number(high), number(low)])
    }
}

impl<L: Log> Engine<L> {
    /// The receipt of what was stored under the key; `None` if nothing was.
    ///
    /// # Errors
    /// [`StoreError::KeyConflict`] if that was something else.
    pub(super) fn receipt_of(
        &mut self,
        account: AccountNumber,
        keyed: Keyed,
        asked: &Outgoing,
    ) -> Result<Option<Receipt>, StoreError> {
        let state = self.state()?;
        state.stretch.keys.fill_filters(&mut state.runs);
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        let known = self.find_key(state, account, keyed, asked).map_err(Self::unreadable)?;
        let Some(known) = known else { return Ok(None) };
        match known.same {
            true => Ok(Some(Receipt { id: known.id, time: known.time, duplicate: true })),
            false => Err(StoreError::KeyConflict),
        }
    }

    fn find_key(
        &self,
        state: &State,
        account: AccountNumber,
        keyed: Keyed,
        asked: &Outgoing,
    ) -> Result<Option<Known>, LogError> {
        let bounds = keyed.key.bounds(account);
        let mut positions = Vec::new();
        if state.runs.may_expect(&keyed.key.probe(account)) {
            positions.extend(state.stretches().flat_map(|stretch| stretch.keys.positions(bounds)));
        }
        state.runs.positions(&self.log, bounds, &mut positions)?;
        for position in positions {
            if let Some(known) = self.posted(state, position, (account, keyed), asked)? {
                return Ok(Some(known));
            }
        }
        let known = state.runs.find_in_full(&self.log, keyed.key.in_full(account))?;
        Ok(known.map(|InFull { request, id, time }| Known {
            same: request == asked.digest(),
            id,
            time,
        }))
    }

    /// What is known of the key if it is the one of the message at a position.
    fn posted(
        &self,
        state: &State,
        position: u64,
        (account, wanted): (AccountNumber, Keyed),
        asked: &Outgoing,
    ) -> Result<Option<Known>, LogError> {
        let under_way = self.under_way.as_ref().and_then(UnderWay::batch);
        let in_memory =
            state.pending.get(position).or_else(|| under_way.and_then(|batch| batch.get(position)));
        let on_disk = match in_memory {
            Some(_) => None,
            None => self.log.posted(position)?,
        };
        let Some(Record::Message { mailbox, message, key }) = in_memory.or(on_disk.as_ref()) else {
            return Err(LogError::Failed(format!("there is no message at {position}")));
        };
        let Some(Keyed { request, .. }) =
            key.filter(|keyed| keyed.key == wanted.key && message.sender == account)
        else {
            return Ok(None);
        };
        let same = request == wanted.request && message.body == asked.body;
        Ok(Some(Known {
            same: same || request == asked.digest(),
            id: state.sent_id(*mailbox, message.id, position),
            time: message.time,
        }))
    }

    /// How many more keys the account may use, at least one.
    pub(super) fn room_for_keys(&mut self, account: AccountNumber) -> Result<u64, StoreError> {
        let most = self.options.keys_per_account;
        if let room @ 1.. = most.saturating_sub(self.state()?.most_keys(account)) {
            return Ok(room);
        }
        let running = self.running().as_secs();
        let state = self.state()?;
        let heavy = state.runs.all_keys().filter(|run| run.heavy(account) > 0);
        let until = heavy.map(|run| run.until).min().unwrap_or(running);
        let free = until.saturating_add(KEYS_LIVE_S).saturating_sub(running).max(1);
        Err(StoreError::TooManyKeys { retry_after: Duration::from_secs(free) })
    }
}

impl State {
    /// Which of the messages have keys that are new, also among themselves; nothing if none has a key. The filters are asked
    /// for all keys together, so that memory is waited for once.
    pub(super) fn new_keys<'a>(
        &self,
        messages: impl Iterator<Item = &'a Outgoing> + Clone,
    ) -> Vec<bool> {
        if messages.clone().all(|message| message.key.is_none()) {
            return Vec::new();
        }
        let mut sender: Option<(SessionKey, AccountNumber)> = None;
        let probes = messages.map(|message| {
            let key = message.key?;
            if sender.is_none_or(|(session, _)| session != message.session) {
                sender = Some((message.session, self.sessions.account(message.session)?));
            }
            let (_, account) = sender?;
            // One that an earlier version may have written is not new.
            (!self.runs.may_have_in_full(key, account)).then(|| key.probe(account))
        });
        self.runs.have_not(&probes.collect::<Vec<_>>())
    }

    /// How many keys the account has, or a few more: beside where it has many, it is taken to have in each run as many
    /// as one can have that is not counted there.
    fn most_keys(&self, account: AccountNumber) -> u64 {
        let recent: u64 = self.stretches().map(|stretch| stretch.keys.count(account)).sum();
        let written = self.runs.heavy.get(&account).copied().unwrap_or(0);
        let runs = u64::try_from(self.runs.all_keys().count()).unwrap_or(u64::MAX);
        recent.saturating_add(written).saturating_add(runs.saturating_mul(HEAVY - 1))
    }
}

impl Runs {
    /// Adds where messages lie that may have the key which these bounds are made of.
    fn positions(
        &self,
        view: &impl View,
        (low, high): (Key, Key),
        positions: &mut Vec<u64>,
    ) -> Result<(), LogError> {
        let probe = probe(RunKind::Keys, low);
        for run in self.keys.iter().filter(|run| run.may_have(&probe)) {
            let mut found = Forward::from(view, RunKind::Keys, run.number, low)?;
            while let Some(key) = found.key().filter(|key| *key < high) {
                positions.push(key.0[2]);
                found.advance(view)?;
            }
        }
        Ok(())
    }

    fn may_have_in_full(&self, key: PostKey, account: AccountNumber) -> bool {
        !self.keys_in_full.is_empty() && {
            let probe = probe(RunKind::KeysInFull, key.in_full(account));
            self.keys_in_full.iter().any(|run| run.may_have(&probe))
        }
    }

    /// What a run of an earlier version tells of a key.
    fn find_in_full(&self, view: &impl View, key: Key) -> Result<Option<InFull>, LogError> {
        let probe = probe(RunKind::KeysInFull, key);
        for run in self.keys_in_full.iter().filter(|run| run.may_have(&probe)) {
            let found = Forward::from(view, RunKind::KeysInFull, run.number, key)?;
            if found.key() == Some(key) {
                let number = run.number;
                let damaged =
                    || LogError::damaged_tables(format!("sorted run {number} is damaged"));
                return InFull::from_bytes(found.value()).map(Some).ok_or_else(damaged);
            }
        }
        Ok(None)
    }
}
