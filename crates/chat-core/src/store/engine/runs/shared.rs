//! Filters of the keys of several runs: one look for all of them.

use super::super::log::RunKind;
use super::filter::{Filter, Probe};
use super::{Key, Run, Runs};

/// Names a shared filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FilterId(u64);

/// Keys go into them as they are used, and what is in them becomes runs later. After a restart runs have filters of
/// their own.
#[derive(Debug, Default)]
pub(super) struct SharedFilters {
    full: Vec<Shared>,
    /// Takes what comes.
    open: Option<Shared>,
    made: u64,
}

#[derive(Debug)]
struct Shared {
    id: FilterId,
    filter: Filter,
    /// How many keys more it takes.
    room: u64,
    /// How many stretches that are not written yet have keys in it.
    stretches: u64,
    /// The runs that have the others.
    runs: Vec<u64>,
}

impl Runs {
    /// Puts a key into the filters that is about to be stored; `filters` are those of its stretch.
    pub(crate) fn expect(&mut self, key: Key, filters: &mut Vec<FilterId>) {
        let shared = self.shared.open();
        shared.room -= 1;
        shared.filter.insert(&Probe::new(key.0));
        if filters.last() != Some(&shared.id) {
            filters.push(shared.id);
            shared.stretches += 1;
        }
    }

    /// Takes in a run of a stretch just written, whose keys are in these filters.
    pub(crate) fn add_written(&mut self, kind: RunKind, mut run: Run, filters: &[FilterId]) {
        if kind == RunKind::Keys {
            run.filter = None;
            for shared in self.shared.all_mut().filter(|shared| filters.contains(&shared.id)) {
                shared.runs.push(run.number);
                shared.stretches -= 1;
            }
        }
        self.add(kind, run);
    }

    /// Whether a key may be one that no run has yet.
    pub(crate) fn may_expect(&self, probe: &Probe) -> bool {
        let mut unwritten = self.shared.all().filter(|shared| shared.stretches > 0);
        unwritten.any(|shared| shared.filter.may_have(probe))
    }

    /// Of each key that is looked for whether it is sure that no run has it. One filter after the other is asked, since the
    /// keys do not wait for each other, and memory is slow.
    pub(crate) fn have_not(&self, probes: &[Option<Probe>]) -> Vec<bool> {
        let mut new: Vec<_> = probes.iter().map(Option::is_some).collect();
        let own = self.keys.iter().filter_map(|run| run.filter.as_ref());
        for filter in own.chain(self.shared.all().map(|shared| &shared.filter)) {
            for (new, probe) in new.iter_mut().zip(probes) {
                *new &= !probe.as_ref().is_some_and(|probe| filter.may_have(probe));
            }
        }
        new
    }

    /// The runs that may have a key.
    pub(crate) fn keys_that_may_have(&self, probe: &Probe) -> impl Iterator<Item = u64> {
        let shared = self.shared.all().filter(|shared| shared.filter.may_have(probe));
        let own = self
            .keys
            .iter()
            .filter(|run| run.filter.as_ref().is_some_and(|filter| filter.may_have(probe)));
        shared.flat_map(|shared| shared.runs.iter().copied()).chain(own.map(|run| run.number))
    }
}

impl SharedFilters {
    fn all(&self) -> impl Iterator<Item = &Shared> {
        self.full.iter().chain(&self.open)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Shared> {
        self.full.iter_mut().chain(&mut self.open)
    }

    /// The one that has room.
    fn open(&mut self) -> &mut Shared {
        self.full.extend(self.open.take_if(|open| open.room == 0));
        self.open.get_or_insert_with(|| {
            self.made += 1;
            let (id, filter) = (FilterId(self.made), Filter::for_items(ROOM));
            Shared { id, filter, room: ROOM, stretches: 0, runs: Vec::new() }
        })
    }

    /// These runs are read no more.
    pub(super) fn forget(&mut self, runs: &[u64]) {
        self.all_mut().for_each(|shared| shared.runs.retain(|run| !runs.contains(run)));
        self.full.retain(|shared| shared.stretches > 0 || !shared.runs.is_empty());
    }
}

/// Keys in one: of ten million, a look is taken at ten filters, of 3 MiB each. Tests cut small.
const ROOM: u64 = if cfg!(test) { 20 } else { 1 << 20 };
