//! Sorted runs: what is looked up by content is written behind as sorted files of the newest stretch, and merged.
//!
//! Inserted in place each entry would rewrite a page of its own. A run is written once, in slices, and read once it is
//! complete; several of about one size become one. The slice that completes the new one also ends the old ones, so that
//! whatever happens between two slices each entry is there once. What is not complete at start is dropped.

mod block;
mod cursor;
mod filter;
mod key_hash;
mod memory;
mod merge;
mod pieces;
mod plan;
mod shared;
mod summary;
mod upkeep;
mod writer;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;

use super::log::{LogError, RunKind, RunRow};
use crate::store::AccountNumber;
pub(crate) use block::{Key, read_from};
pub(crate) use cursor::{Backward, Forward};
pub(crate) use filter::Probe;
pub(crate) use key_hash::KeyHash;
pub(crate) use pieces::{InOrder, Pieces};
pub(crate) use shared::FilterId;
use shared::SharedFilters;
pub(crate) use summary::Counts;
use summary::Summary;
pub(super) use upkeep::KEYS_LIVE_S;
use upkeep::{Merging, Prepared};
pub(crate) use writer::{Writer, probe};

/// What is known in memory of a complete run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) entries: u64,
    /// The newest position in it; of keys the hour and second of running time when it was written.
    pub(crate) until: u64,
    summary: Summary,
}

impl Run {
    fn from_row(row: &RunRow) -> Result<Self, LogError> {
        let summary = Summary::decode(row.kind, &row.filter).ok_or_else(|| damaged(row))?;
        let (number, entries, until) = (row.number, row.entries, row.until);
        Ok(Self { number, entries, until, summary })
    }

    /// How many keys the account has in the run, if it is one of those who have most.
    pub(crate) fn counted(&self, account: AccountNumber) -> Option<u64> {
        self.summary.counts.get(account)
    }

    /// Whether the run may have an entry that is looked for.
    pub(crate) fn may_have(&self, probe: &Probe) -> bool {
        self.summary.filter.as_ref().is_none_or(|filter| filter.may_have(probe))
    }
}

/// All runs there are.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) index: Vec<Run>,
    /// The numbers of the index's runs that have anything, newest first.
    pub(crate) index_order: Arc<[u64]>,
    pub(crate) conversations: Vec<Run>,
    pub(crate) keys: Vec<Run>,
    /// Those of earlier versions. There are none a day after the first start of this one.
    pub(crate) keys_by_account: Vec<Run>,
    pub(crate) keys_in_full: Vec<Run>,
    /// What keys are hashed with.
    seed: u64,
    shared: SharedFilters,
    /// How many keys each account has in runs where it is counted.
    pub(crate) heavy: HashMap<AccountNumber, u64>,
    /// How many any account may have in all of them that are not counted.
    pub(crate) uncounted: u64,
    /// What is not read any more, or never was.
    doomed: Vec<u64>,
    merging: Option<Merging>,
    /// Where the log ended when it was merged last.
    seen: u64,
    /// What is to be put next.
    prepared: Option<Prepared>,
}

impl Runs {
    /// `seed` is what keys are hashed with, the same for all of a store's life.
    pub(crate) fn recover(rows: &[RunRow], seed: u64) -> Result<Self, LogError> {
        let mut runs = Self { seed, ..Self::default() };
        for row in rows {
            match row.complete {
                true => runs.recover_one(row.kind, Run::from_row(row)?),
                false => runs.doomed.push(row.number),
            }
        }
        Ok(runs)
    }

    /// What a message is found by that an account posted under a key which starts so.
    pub(crate) fn hash(&self, account: AccountNumber, start: u64) -> KeyHash {
        KeyHash::new(self.seed, account, start)
    }

    fn recover_one(&mut self, kind: RunKind, run: Run) {
        if kind.leads_to_posts() {
            self.shared.add_alone(run.number);
        }
        self.add(kind, run);
    }

    /// Reads this one from now on.
    fn add(&mut self, kind: RunKind, run: Run) {
        for (account, count) in run.summary.counts.iter() {
            *self.heavy.entry(account).or_default() += count;
        }
        self.uncounted = self.uncounted.saturating_add(run.summary.counts.others());
        self.of(kind).push(run);
        self.order(kind);
    }

    fn of(&mut self, kind: RunKind) -> &mut Vec<Run> {
        match kind {
            RunKind::Index => &mut self.index,
            RunKind::Conversations => &mut self.conversations,
            RunKind::Keys => &mut self.keys,
            RunKind::KeysByAccount => &mut self.keys_by_account,
            RunKind::KeysInFull => &mut self.keys_in_full,
        }
    }

    /// Reads these no more.
    fn doom(&mut self, kind: RunKind, numbers: &[u64]) {
        let of_kind = self.of(kind);
        let gone: Vec<_> = of_kind.extract_if(.., |run| numbers.contains(&run.number)).collect();
        let uncounted = gone.iter().map(|run| run.summary.counts.others()).sum();
        self.uncounted = self.uncounted.saturating_sub(uncounted);
        for (account, count) in gone.iter().flat_map(|run| run.summary.counts.iter()) {
            if let Entry::Occupied(mut kept) = self.heavy.entry(account) {
                *kept.get_mut() = kept.get().saturating_sub(count);
                if *kept.get() == 0 {
                    kept.remove();
                }
            }
        }
        self.doomed.extend(numbers);
        self.order(kind);
        self.shared.forget(numbers);
    }

    fn order(&mut self, kind: RunKind) {
        if kind == RunKind::Index {
            let runs = self.index.iter().filter(|run| run.entries > 0);
            let mut order: Vec<_> = runs.map(|run| (run.until, run.number)).collect();
            order.sort_unstable_by_key(|run| std::cmp::Reverse(*run));
            self.index_order = order.into_iter().map(|(_, number)| number).collect();
        }
    }

    fn count(&self, kind: RunKind) -> usize {
        match kind {
            RunKind::Index => self.index.len(),
            RunKind::Conversations => self.conversations.len(),
            RunKind::Keys => self.keys.len(),
            RunKind::KeysByAccount => self.keys_by_account.len(),
            RunKind::KeysInFull => self.keys_in_full.len(),
        }
    }

    /// All runs of keys.
    pub(crate) fn all_keys(&self) -> impl Iterator<Item = &Run> {
        self.keys.iter().chain(&self.keys_by_account).chain(&self.keys_in_full)
    }

    /// The first position in the log that a key leads to. From there on the log is needed.
    pub(crate) fn oldest_posted(&self) -> Option<u64> {
        self.all_keys().filter_map(|run| run.summary.oldest).min()
    }
}

/// Refuses rows of complete runs of which none can be made.
#[cfg(feature = "embedded")]
pub(crate) fn check(rows: &[RunRow]) -> Result<(), LogError> {
    let is_damaged = |row: &&RunRow| row.complete && !Summary::is_whole(row.kind, &row.filter);
    rows.iter().find(is_damaged).map_or(Ok(()), |row| Err(damaged(row)))
}

fn damaged(row: &RunRow) -> LogError {
    LogError::damaged_tables(format!("sorted run {} is damaged", row.number))
}

/// About how large a run is: runs of one level differ by less than eight times.
fn level(entries: u64) -> u8 {
    u8::try_from(entries.checked_ilog2().unwrap_or(0) / 3).unwrap_or(u8::MAX)
}

/// Entries written or merged in one slice, which everybody waits for. Tests cut small.
pub(crate) const ENTRIES_A_SLICE: usize = if cfg!(test) { 3 } else { 8_192 };
/// In the order in which they are merged.
const KINDS: [RunKind; 3] = [RunKind::Keys, RunKind::Index, RunKind::Conversations];
/// More runs of a kind than this are merged at any load.
const MANY: usize = 256;
