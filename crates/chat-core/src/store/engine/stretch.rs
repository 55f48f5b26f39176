//! [`Stretch`]: what is looked up by content and not in a run yet, and how it gets there.

use foldhash::{HashMap, HashMapExt as _};

use super::keys::Known;
use super::log::{Record, RunKind, Slice};
use super::runs::{ENTRIES_A_SLICE, InOrder, Key, Pieces, Run, Writer};
use crate::store::{AccountNumber, PostKey, SentId};

/// The newest stretch of the log, by what its messages are looked up by.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) conversations: Pieces,
    pub(super) keys: RecentKeys,
}

impl Stretch {
    /// Takes note of a message at its position; `id` is what its sender knows it by.
    pub(super) fn push(&mut self, position: u64, record: &Record, id: SentId) {
        let Record::Message { mailbox, message, key } = record else { return };
        self.conversations.push(Key([message.sender.0, mailbox.0, position]));
        if let Some(keyed) = key {
            let known = Known { request: keyed.request, id, time: message.time };
            self.keys.push(message.sender, keyed.key, known);
        }
    }

    /// Sorts what is not sorted yet: nothing comes any more.
    pub(super) fn close(&mut self) {
        self.conversations.close();
        self.keys.order.close();
    }

    fn of(&self, kind: RunKind) -> &Pieces {
        match kind {
            RunKind::Conversations => &self.conversations,
            RunKind::Keys => &self.keys.order,
        }
    }
}

/// Keys that no run has yet.
#[derive(Debug)]
pub(super) struct RecentKeys {
    known: HashMap<Key, Known>,
    /// How many each account has.
    counts: HashMap<AccountNumber, u64>,
    order: Pieces,
}

impl Default for RecentKeys {
    fn default() -> Self {
        Self { known: HashMap::new(), counts: HashMap::new(), order: Pieces::default() }
    }
}

impl RecentKeys {
    fn push(&mut self, account: AccountNumber, key: PostKey, known: Known) {
        let key = key.of(account);
        self.order.push(key);
        self.known.insert(key, known);
        *self.counts.entry(account).or_default() += 1;
    }

    pub(super) fn get(&self, key: Key) -> Option<Known> {
        self.known.get(&key).copied()
    }

    pub(super) fn count(&self, account: AccountNumber) -> u64 {
        self.counts.get(&account).copied().unwrap_or(0)
    }
}

/// Writes a closed stretch as runs.
#[derive(Debug)]
pub(super) struct StretchWriter {
    runs: Vec<(RunKind, Writer, InOrder)>,
}

impl StretchWriter {
    /// Begins a run of each kind that there is something of; `number` gives the runs' numbers.
    pub(super) fn new(
        stretch: &Stretch,
        mut number: impl FnMut() -> u64,
        slice: &mut Slice,
    ) -> Self {
        let mut runs = Vec::new();
        for kind in [RunKind::Conversations, RunKind::Keys] {
            let pieces = stretch.of(kind);
            if let Ok(entries @ 1..) = u64::try_from(pieces.len()) {
                let writer = Writer::new(number(), kind, entries, slice);
                runs.push((kind, writer, InOrder::new(pieces)));
            }
        }
        Self { runs }
    }

    /// Goes on by one slice; whether everything is written.
    pub(super) fn step(&mut self, stretch: &Stretch, slice: &mut Slice) -> bool {
        let mut room = ENTRIES_A_SLICE;
        for (kind, writer, order) in &mut self.runs {
            while let Some(key) = (room > 0).then(|| order.next(stretch.of(*kind))).flatten() {
                let known = stretch.keys.get(key).filter(|_| *kind == RunKind::Keys);
                match known {
                    Some(known) => writer.push(key, &known.bytes(), slice),
                    None => writer.push(key, &[], slice),
                }
                room -= 1;
            }
        }
        room > 0
    }

    /// Completes the runs; `covered` is the newest position they have, `running` the running time in seconds.
    pub(super) fn finish(
        self,
        covered: u64,
        running: u64,
        slice: &mut Slice,
    ) -> Vec<(RunKind, Run)> {
        let finish = |(kind, writer, _): (RunKind, Writer, InOrder)| {
            let until = match kind {
                RunKind::Conversations => covered,
                RunKind::Keys => running,
            };
            (kind, writer.finish(until, slice))
        };
        self.runs.into_iter().map(finish).collect()
    }
}
