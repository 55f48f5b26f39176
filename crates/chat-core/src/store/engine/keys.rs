//! Keys of posted messages: a message is stored once, however often it is posted.

use std::time::Duration;

use super::commit::UnderWay;
use super::log::{Keyed, Log, LogError, Record, RunKind, View};
use super::runs::{Forward, KEYS_LIVE_S, Key, Runs, probe};
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
    /// Its first 48 bits. Of the million keys that an account may have two are alike in these once in 500 accounts; the
    /// message itself tells whether it is the one.
    pub(super) fn start(self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// What earlier versions found a message by that an account posted under the key.
    pub(super) fn by_account(self, account: AccountNumber) -> Key {
        Key([account.0, self.start(), 0])
    }

    /// What yet earlier ones found it by.
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
        let hash = state.runs.hash(account, keyed.key.start());
        let mut positions = Vec::new();
        if state.runs.may_expect(&hash.probe()) {
            positions.extend(state.stretches().flat_map(|stretch| stretch.keys.positions(hash)));
        }
        state.runs.positions(&self.log, (account, keyed.key), &mut positions)?;
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
        let counted = state.runs.all_keys().filter(|run| run.counted(account).is_some());
        let until = counted.map(|run| run.until).min().unwrap_or(running);
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
        let mut probes = Vec::with_capacity(messages.clone().count());
        probes.extend(messages.map(|message| {
            let key = message.key?;
            if sender.is_none_or(|(session, _)| session != message.session) {
                sender = Some((message.session, self.sessions.account(message.session)?));
            }
            let (_, account) = sender?;
            // One that an earlier version may have written is not new.
            let is_new = !self.runs.earlier_may_have(key, account);
            is_new.then(|| self.runs.hash(account, key.start()).probe())
        }));
        self.runs.have_not(&probes)
    }

    /// How many keys the account has, or a few more: beside what is counted, it is taken to have in each run as many as one
    /// can have that is not counted there.
    fn most_keys(&self, account: AccountNumber) -> u64 {
        let recent: u64 = self.stretches().map(|stretch| stretch.keys.count(account)).sum();
        let written = self.runs.heavy.get(&account).copied().unwrap_or(0);
        recent.saturating_add(written).saturating_add(self.runs.uncounted)
    }
}

impl Runs {
    /// Adds where messages lie that the account may have posted under the key.
    fn positions(
        &self,
        view: &impl View,
        (account, key): (AccountNumber, PostKey),
        positions: &mut Vec<u64>,
    ) -> Result<(), LogError> {
        let hash = self.hash(account, key.start());
        for run in self.keys.iter().filter(|run| run.may_have(&hash.probe())) {
            let mut found = Forward::from(view, RunKind::Keys, run.number, hash.at(0))?;
            while let Some(Key([_, position, _])) = found.key().filter(|key| hash.is_of(*key)) {
                positions.push(position);
                found.advance(view)?;
            }
        }
        let low @ Key([owner, start, _]) = key.by_account(account);
        let probe = probe(RunKind::KeysByAccount, low);
        for run in self.keys_by_account.iter().filter(|run| run.may_have(&probe)) {
            let mut found = Forward::from(view, RunKind::KeysByAccount, run.number, low)?;
            while let Some(Key([a, b, position])) = found.key()
                && (a, b) == (owner, start)
            {
                positions.push(position);
                found.advance(view)?;
            }
        }
        Ok(())
    }

    /// Whether an earlier version may have written the key to a run that the shared filters do not have.
    fn earlier_may_have(&self, key: PostKey, account: AccountNumber) -> bool {
        let by_account = || probe(RunKind::KeysByAccount, key.by_account(account));
        let in_full = || probe(RunKind::KeysInFull, key.in_full(account));
        self.keys_by_account.iter().any(|run| !self.is_shared(run) && run.may_have(&by_account()))
            || self.keys_in_full.iter().any(|run| run.may_have(&in_full()))
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
