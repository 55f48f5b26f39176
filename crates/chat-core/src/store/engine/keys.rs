//! Keys of posted messages: a message is stored once, however often it is posted.

use std::time::Duration;

use super::log::{Keyed, Log, LogError, RunKind, View};
use super::runs::{Forward, HEAVY, KEYS_LIVE_S, Key, Probe, Run};
use super::{Engine, State};
use crate::Timestamp;
use crate::store::{AccountNumber, Outgoing, PostKey, Receipt, SentId, SessionKey, StoreError};

/// What is known of a key: what was asked under it, and what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) request: [u8; 8],
    pub(super) id: SentId,
    pub(super) time: Timestamp,
}

impl Known {
    pub(super) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let parts =
            self.request.into_iter().chain(self.id.0).chain(self.time.as_millis().to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (id, time) = rest.split_first_chunk()?;
        let time = i64::from_be_bytes(time.try_into().ok()?);
        Some(Self { request: *request, id: SentId(*id), time: Timestamp::from_millis(time) })
    }
}

impl PostKey {
    /// What the key of an account is found by.
    pub(super) fn of(self, account: AccountNumber) -> Key {
        let (high, low) = self.0.split_at(8);
        let number =
            |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Key([account.0, number(high), number(low)])
    }
}

impl<L: Log> Engine<L> {
    /// The receipt of what was stored under the key; `None` if nothing was. `new_to_runs` says that no run has it.
    ///
    /// # Errors
    /// [`StoreError::KeyConflict`] if that was something else.
    pub(super) fn receipt_of(
        &mut self,
        account: AccountNumber,
        keyed: Keyed,
        new_to_runs: bool,
    ) -> Result<Option<Receipt>, StoreError> {
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        let key = keyed.key.of(account);
        let known = state.find_key(&self.log, key, new_to_runs).map_err(Self::unreadable)?;
        let Some(known) = known else { return Ok(None) };
        match known.request == keyed.request {
            true => Ok(Some(Receipt { id: known.id, time: known.time, duplicate: true })),
            false => Err(StoreError::KeyConflict),
        }
    }

    /// Whether the account may use one more key.
    pub(super) fn check_room_for_key(&mut self, account: AccountNumber) -> Result<(), StoreError> {
        let most = self.options.keys_per_account;
        if self.state()?.most_keys(account) < most {
            return Ok(());
        }
        let running = self.running().as_secs();
        let state = self.state()?;
        let heavy = state.runs.keys.iter().filter(|run| heavy(run, account) > 0);
        let until = heavy.map(|run| run.until).min().unwrap_or(running);
        let free = until.saturating_add(KEYS_LIVE_S).saturating_sub(running).max(1);
        Err(StoreError::TooManyKeys { retry_after: Duration::from_secs(free) })
    }
}

impl State {
    /// Which of the messages have keys that no run has; nothing if none has a key. The filters are asked for all keys
    /// together, so that memory is waited for once.
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
            sender.map(|(_, account)| Probe::new(key.of(account).0))
        });
        self.runs.have_not(&probes.collect::<Vec<_>>())
    }

    fn find_key(
        &self,
        view: &impl View,
        key: Key,
        new_to_runs: bool,
    ) -> Result<Option<Known>, LogError> {
        let probe = Probe::new(key.0);
        if self.runs.may_expect(&probe)
            && let Some(known) = self.stretches().find_map(|stretch| stretch.keys.get(key))
        {
            return Ok(Some(known));
        }
        if new_to_runs {
            return Ok(None);
        }
        for run in self.runs.keys_that_may_have(&probe) {
            let found = Forward::from(view, RunKind::Keys, run, key)?;
            if found.key() == Some(key) {
                let damaged = || LogError::Failed(format!("sorted run {run} is damaged"));
                return Known::from_bytes(found.value()).map(Some).ok_or_else(damaged);
            }
        }
        Ok(None)
    }

    /// How many keys the account has, or a few more: beside where it has many, it is taken to have in each run as many
    /// as one can have that is not counted there.
    fn most_keys(&self, account: AccountNumber) -> u64 {
        let recent: u64 = self.stretches().map(|stretch| stretch.keys.count(account)).sum();
        let written = self.runs.heavy.get(&account).copied().unwrap_or(0);
        let runs = u64::try_from(self.runs.keys.len()).unwrap_or(u64::MAX);
        recent.saturating_add(written).saturating_add(runs.saturating_mul(HEAVY - 1))
    }
}

/// How many keys the account has in a run, if it has many.
fn heavy(run: &Run, account: AccountNumber) -> u64 {
    let at = run.heavy.binary_search_by_key(&account, |(account, _)| *account);
    at.ok().and_then(|at| run.heavy.get(at)).map_or(0, |(_, count)| *count)
}
