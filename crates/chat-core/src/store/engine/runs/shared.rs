//! [`SharedFilters`]: filters over the keys of many runs, and of those that no run has yet.
//!
//! Memory is slow, and each filter that is asked for a key costs a wait for it. So a few large ones are asked first, and the
//! runs' own only for a key that one of these may have. They are not kept on disk: after a start they get the keys of the
//! runs that are there in the background, and until then such a run's own filter is asked as well.

use super::super::log::{LogError, RunKind, View};
use super::filter::{Filter, KEYS_A_LINE, Probe};
use super::{Forward, Key, KeyHash, Run, Runs};
use crate::store::AccountNumber;

/// Names a shared filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FilterId(u64);

#[derive(Debug, Default)]
pub(super) struct SharedFilters {
    full: Vec<Shared>,
    /// Takes what comes.
    open: Option<Shared>,
    made: u64,
    /// The runs whose keys are in none of them.
    alone: Vec<u64>,
    /// Those of them that stay so.
    unreadable: Vec<u64>,
    gathering: Option<Gathering>,
}

#[derive(Debug)]
struct Shared {
    id: FilterId,
    filter: Filter,
    /// How many keys it is made for.
    size: u64,
    /// How many keys more it takes.
    room: u64,
    /// How many stretches that are not written yet have keys in it, or runs that are being gathered.
    pending: u64,
    /// The runs that have the others.
    runs: Vec<u64>,
}

/// A run whose keys are being put into shared filters.
#[derive(Debug)]
struct Gathering {
    run: u64,
    kind: RunKind,
    source: Forward,
    filters: Vec<FilterId>,
}

impl Runs {
    /// Puts keys into the filters that are being stored; `filters` are those of their stretch.
    pub(crate) fn expect(&mut self, keys: &[KeyHash], filters: &mut Vec<FilterId>) {
        self.shared.insert_all(keys, 0, filters);
    }

    /// Whether the shared filters have a run's keys.
    pub(crate) fn is_shared(&self, run: &Run) -> bool {
        !self.shared.alone.contains(&run.number)
    }

    /// Takes in a run of a stretch just written, whose keys are in these filters.
    pub(crate) fn add_written(&mut self, kind: RunKind, run: Run, filters: &[FilterId]) {
        if kind == RunKind::Keys {
            self.shared.settle(run.number, filters);
        }
        self.add(kind, run);
    }

    /// Takes in what was made of runs, which still are there.
    pub(super) fn add_merged(&mut self, kind: RunKind, run: Run, inputs: &[u64]) {
        match kind == RunKind::Keys && self.shared.have_all(inputs) {
            true => self.shared.follow(run.number, inputs),
            false => self.shared.alone.extend((kind == RunKind::Keys).then_some(run.number)),
        }
        self.add(kind, run);
    }

    /// How many runs have their keys in none.
    #[cfg(test)]
    pub(crate) fn alone(&self) -> usize {
        self.shared.alone.len()
    }

    /// Whether a key may be one that no run has yet.
    pub(crate) fn may_expect(&self, probe: &Probe) -> bool {
        let mut pending = self.shared.all().filter(|shared| shared.pending > 0);
        pending.any(|shared| shared.filter.may_have(probe))
    }

    /// Of each key that is looked for whether it is sure that there is none, nor the same before it among these. One filter
    /// after the other is asked, since the keys do not wait for each other, and memory is slow.
    pub(crate) fn have_not(&self, probes: &[Option<Probe>]) -> Vec<bool> {
        let mut new: Vec<_> = probes.iter().map(Option::is_some).collect();
        let alone = self.keys.iter().filter(|run| self.shared.alone.contains(&run.number));
        let own = alone.filter_map(|run| run.summary.filter.as_ref());
        for filter in own.chain(self.shared.all().map(|shared| &shared.filter)) {
            filter.sift(probes, &mut new);
        }
        let mut before = Filter::for_items(to_u64(probes.len()), KEYS_A_LINE);
        for (new, probe) in new.iter_mut().zip(probes) {
            if let Some(probe) = probe {
                *new &= !before.may_have(probe);
                before.insert(probe);
            }
        }
        new
    }

    /// Puts so many keys of a run into shared filters that are in none of them; whether there was such a run. One that
    /// cannot be read keeps the filter of its own, and whoever looks something up in it hears of that.
    pub(super) fn gather(&mut self, view: &impl View, most: usize) -> bool {
        let shared = &self.shared;
        let under_way = shared.gathering.as_ref().map(|gathering| gathering.run);
        let mut waiting = shared.alone.iter().rev().filter(|run| !shared.unreadable.contains(run));
        let Some(run) = under_way.or_else(|| waiting.next().copied()) else { return false };
        if let Err(error) = self.gather_from(run, view, most) {
            tracing::warn!(%error, run, "cannot read a run of keys; looking for keys takes longer");
            self.shared.abandon(&[run]);
            self.shared.unreadable.push(run);
        }
        true
    }

    fn gather_from(&mut self, run: u64, view: &impl View, most: usize) -> Result<(), LogError> {
        let (shared, seed) = (&mut self.shared, self.seed);
        let runs = self.keys.iter().chain(&self.keys_by_account);
        let alone = runs.filter(|run| shared.alone.contains(&run.number));
        let more = alone.map(|run| run.summary.items).sum();
        let gathering = match &mut shared.gathering {
            Some(gathering) => gathering,
            none => {
                let is_earlier = self.keys_by_account.iter().any(|earlier| earlier.number == run);
                let kind = if is_earlier { RunKind::KeysByAccount } else { RunKind::Keys };
                let source = Forward::from(view, kind, run, Key([0; 3]))?;
                none.insert(Gathering { run, kind, source, filters: Vec::new() })
            }
        };
        let mut keys = Vec::new();
        while keys.len() < most
            && let Some(key) = gathering.source.key()
        {
            keys.push(match gathering.kind {
                RunKind::KeysByAccount => KeyHash::new(seed, AccountNumber(key.0[0]), key.0[1]),
                _ => KeyHash::of(key),
            });
            gathering.source.advance(view)?;
        }
        let is_whole = gathering.source.key().is_none();
        let mut filters = std::mem::take(&mut gathering.filters);
        shared.insert_all(&keys, more, &mut filters);
        if is_whole {
            shared.gathering = None;
            shared.settle(run, &filters);
            shared.alone.retain(|alone| *alone != run);
        } else if let Some(gathering) = &mut shared.gathering {
            gathering.filters = filters;
        }
        Ok(())
    }
}

impl SharedFilters {
    fn all(&self) -> impl Iterator<Item = &Shared> {
        self.full.iter().chain(&self.open)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Shared> {
        self.full.iter_mut().chain(&mut self.open)
    }

    /// Puts keys into the filters that have room; notes which they are. So many more are to follow.
    fn insert_all(&mut self, keys: &[KeyHash], more: u64, filters: &mut Vec<FilterId>) {
        let mut probes: Vec<_> = keys.iter().map(|key| key.probe()).collect();
        while !probes.is_empty() {
            let shared = self.open(more);
            let fitting =
                usize::try_from(shared.room).map_or(probes.len(), |room| room.min(probes.len()));
            let rest = probes.split_off(fitting);
            shared.room -= to_u64(fitting);
            shared.filter.insert_all(&probes);
            if filters.last() != Some(&shared.id) {
                filters.push(shared.id);
                shared.pending += 1;
            }
            probes = rest;
        }
    }

    /// The one that has room; a new one is large enough for twice those that are to follow, within reason.
    fn open(&mut self, more: u64) -> &mut Shared {
        self.full.extend(self.open.take_if(|open| open.room == 0));
        let twice = self.full.iter().map(|full| full.size.saturating_mul(2)).max();
        let size = twice.unwrap_or(ROOM).max(more.saturating_mul(2));
        self.open.get_or_insert_with(|| {
            self.made += 1;
            let size = size.next_power_of_two().min(ROOM << MOST_DOUBLINGS);
            let (id, filter) = (FilterId(self.made), Filter::for_items(size, KEYS_A_LINE));
            Shared { id, filter, size, room: size, pending: 0, runs: Vec::new() }
        })
    }

    /// A run has now what was put into these filters for it.
    fn settle(&mut self, run: u64, filters: &[FilterId]) {
        for shared in self.all_mut().filter(|shared| filters.contains(&shared.id)) {
            shared.runs.push(run);
            shared.pending -= 1;
        }
    }

    /// Takes in a run that is there already.
    pub(super) fn add_alone(&mut self, run: u64) {
        self.alone.push(run);
    }

    fn have_all(&self, runs: &[u64]) -> bool {
        !runs.iter().any(|run| self.alone.contains(run))
    }

    /// A run has what these have.
    fn follow(&mut self, run: u64, inputs: &[u64]) {
        for shared in self.all_mut() {
            if shared.runs.iter().any(|run| inputs.contains(run)) {
                shared.runs.push(run);
            }
        }
    }

    /// These runs are read no more.
    pub(super) fn forget(&mut self, runs: &[u64]) {
        self.abandon(runs);
        self.alone.retain(|run| !runs.contains(run));
        self.unreadable.retain(|run| !runs.contains(run));
        self.all_mut().for_each(|shared| shared.runs.retain(|run| !runs.contains(run)));
        self.full.retain(|shared| shared.pending > 0 || !shared.runs.is_empty());
    }

    /// Stops gathering what one of these runs has.
    fn abandon(&mut self, runs: &[u64]) {
        if let Some(gathering) = self.gathering.take_if(|gathering| runs.contains(&gathering.run)) {
            let begun = |shared: &&mut Shared| gathering.filters.contains(&shared.id);
            self.all_mut().filter(begun).for_each(|shared| shared.pending -= 1);
        }
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Keys in the first. Tests cut small.
const ROOM: u64 = if cfg!(test) { 20 } else { 1 << 20 };
/// Each takes twice what the largest before takes, up to 64 MiB: of ten million keys four are asked, or one if they were there
/// at the start. Each that is asked is a wait for memory.
const MOST_DOUBLINGS: usize = if cfg!(test) { 2 } else { 5 };

#[cfg(test)]
mod tests {
    use super::*;

    fn put(shared: &mut SharedFilters, keys: std::ops::Range<u64>, more: u64) {
        let keys: Vec<_> = keys.map(|n| KeyHash::new(1, AccountNumber(2), n)).collect();
        shared.insert_all(&keys, more, &mut Vec::new());
    }

    fn sizes(shared: &SharedFilters) -> Vec<u64> {
        shared.all().map(|shared| shared.size).collect()
    }

    #[test]
    fn each_filter_is_twice_the_largest_before_it_up_to_a_bound() {
        let mut shared = SharedFilters::default();
        put(&mut shared, 0..200, 0);
        assert_eq!(sizes(&shared), [32, 64, 80, 80]);
        let mut shared = SharedFilters::default();
        put(&mut shared, 0..70, 30);
        assert_eq!(sizes(&shared), [64, 80], "the first is large enough for twice those to follow");
    }
}
