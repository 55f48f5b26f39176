//! [`Writer`]: writes a run, a slice at a time.

use super::super::log::{RunChange, RunKind, RunRow, Slice};
use super::block::Builder;
use super::filter::{CONVERSATIONS_A_LINE, Filter, GLANCED, KEYS_A_LINE, Probe};
use super::key_hash::KeyHash;
use super::summary::{Counts, Summary};
use super::{Key, Run, level};

/// Writes a run's entries, in order of key.
#[derive(Debug)]
pub(crate) struct Writer {
    row: RunRow,
    /// Whether the row says that there are blocks of a run that is not complete.
    begun: bool,
    block: Builder,
    last: Option<Key>,
    /// What is still to be put into the filter.
    unfiltered: Vec<Probe>,
    summary: Summary,
}

impl Writer {
    /// Begins a run with at most so many items to filter by. Of conversations there is no filter if they are too many; of
    /// keys there always is one, and merges keep them few; of the index there is none.
    pub(crate) fn new(number: u64, kind: RunKind, items: u64) -> Self {
        let row = RunRow {
            number,
            kind,
            complete: false,
            level: 0,
            entries: 0,
            until: 0,
            filter: Box::default(),
        };
        Self {
            row,
            begun: false,
            block: Builder::new(kind),
            last: None,
            unfiltered: Vec::new(),
            summary: Summary {
                oldest: kind.leads_to_posts().then_some(u64::MAX),
                filter: is_filtered(kind, items).then(|| Filter::for_items(items, a_line(kind))),
                ..Summary::default()
            },
        }
    }

    /// Takes note of how many keys accounts have in it.
    pub(crate) fn counted(mut self, counts: Counts) -> Self {
        self.summary.counts = counts;
        self
    }

    /// Writes an entry behind all others.
    pub(crate) fn push(&mut self, key: Key, value: &[u8], slice: &mut Slice) {
        let item = item(self.row.kind, key);
        if self.last.is_none_or(|last| self::item(self.row.kind, last) != item) {
            self.summary.items += 1;
            if self.summary.filter.is_some() {
                self.unfiltered.push(probe(self.row.kind, key));
            }
            if self.unfiltered.len() >= GLANCED {
                self.fill_filter();
            }
        }
        self.last = Some(key);
        if let Some(oldest) = &mut self.summary.oldest {
            let Key([_, second, third]) = key;
            *oldest = if self.row.kind == RunKind::Keys { second } else { third }.min(*oldest);
        }
        self.row.entries += 1;
        self.block.push(key, value);
        if self.block.is_full() {
            self.write_block(slice);
        }
    }

    fn write_block(&mut self, slice: &mut Slice) {
        if !std::mem::replace(&mut self.begun, true) {
            slice.runs.push(RunChange::Put(RunRow { entries: 0, ..self.row.clone() }));
        }
        slice.runs.extend(self.block.take(self.row.number));
    }

    /// Writes what is left, and that the run is complete.
    pub(crate) fn finish(mut self, until: u64, slice: &mut Slice) -> Run {
        slice.runs.extend(self.block.take(self.row.number));
        self.fill_filter();
        let mut summary = self.summary;
        let shrunk = |filter: Filter| filter.shrunk_to(summary.items, a_line(self.row.kind));
        summary.filter = summary.filter.map(shrunk);
        let row = RunRow {
            complete: true,
            level: level(self.row.entries),
            until,
            filter: summary.encode(self.row.kind),
            ..self.row
        };
        let run = Run { number: row.number, entries: row.entries, until, summary };
        slice.runs.push(RunChange::Put(row));
        run
    }

    fn fill_filter(&mut self) {
        if let Some(filter) = &mut self.summary.filter {
            filter.insert_all(&self.unfiltered);
        }
        self.unfiltered.clear();
    }
}

fn is_filtered(kind: RunKind, items: u64) -> bool {
    match kind {
        RunKind::Index => false,
        RunKind::Conversations => items <= MOST_FILTERED,
        RunKind::Keys | RunKind::KeysByAccount | RunKind::KeysInFull => true,
    }
}

fn a_line(kind: RunKind) -> usize {
    match kind {
        RunKind::Keys | RunKind::KeysByAccount => KEYS_A_LINE,
        RunKind::Index | RunKind::Conversations | RunKind::KeysInFull => CONVERSATIONS_A_LINE,
    }
}

/// What tells whether a filter of such a run has a key.
pub(crate) fn probe(kind: RunKind, key: Key) -> Probe {
    match kind {
        RunKind::Keys => KeyHash::of(key).probe(),
        _ => Probe::new(item(kind, key)),
    }
}

/// What a run of the kind is filtered by.
fn item(kind: RunKind, key: Key) -> [u64; 3] {
    let Key([a, b, c]) = key;
    match kind {
        RunKind::Index | RunKind::Keys => [a, 0, 0],
        RunKind::Conversations | RunKind::KeysByAccount => [a, b, 0],
        RunKind::KeysInFull => [a, b, c],
    }
}

/// The most items that one filter is made for: it has 3 MiB then, and is put with one slice.
pub(super) const MOST_FILTERED: u64 = 1 << 20;
