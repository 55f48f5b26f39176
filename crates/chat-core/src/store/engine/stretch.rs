//! [`Stretch`]: what is looked up by content and not in a run yet, and how it gets there.

use foldhash::HashMap;

use super::log::{Record, RunChange, RunKind, Slice};
use super::runs::{FilterId, InOrder, Key, Pieces, Run, Runs, Writer};
use crate::store::AccountNumber;

/// The newest stretch of the log, by what its messages are looked up by.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) conversations: Pieces,
    pub(super) keys: RecentKeys,
}

impl Stretch {
    /// Takes note of a message at its position.
    pub(super) fn push(&mut self, position: u64, record: &Record, runs: &mut Runs) {
        let Record::Message { mailbox, message, key } = record else { return };
        self.conversations.push(Key([message.sender.0, mailbox.0, position]));
        if let Some(keyed) = key {
            let key = keyed.key.at(message.sender, position);
            self.keys.push(message.sender, key);
            if self.keys.unfiltered.len() >= MOST_UNFILTERED {
                self.keys.fill_filters(runs);
            }
        }
    }

    /// Sorts what is long enough for it, and puts into the filters what is not there yet.
    pub(super) fn tidy(&mut self, runs: &mut Runs) {
        self.keys.fill_filters(runs);
        self.conversations.tidy();
        self.keys.order.tidy();
    }

    /// Sorts what is not sorted yet: nothing comes any more.
    pub(super) fn close(&mut self, runs: &mut Runs) {
        self.keys.fill_filters(runs);
        self.conversations.close();
        self.keys.order.close();
    }
}

/// Keys that no run has yet. Whoever looks for one asks the filters that they are in first, so that for a new key nothing
/// is searched.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    order: Pieces,
    /// How many each account has.
    counts: HashMap<AccountNumber, u64>,
    /// The filters that they are in.
    pub(super) filters: Vec<FilterId>,
    /// Those that are in none yet.
    unfiltered: Vec<Key>,
}

impl RecentKeys {
    fn push(&mut self, account: AccountNumber, key: Key) {
        self.order.push(key);
        self.unfiltered.push(key);
        *self.counts.entry(account).or_default() += 1;
    }

    /// Puts into the filters what is not there yet. Filters are asked only after this.
    pub(super) fn fill_filters(&mut self, runs: &mut Runs) {
        runs.expect(&self.unfiltered, &mut self.filters);
        self.unfiltered.clear();
    }

    /// Where messages lie that may have the key which these bounds are made of: see [`PostKey::bounds`].
    ///
    /// [`PostKey::bounds`]: crate::store::PostKey::bounds
    pub(super) fn positions(&self, (low, high): (Key, Key)) -> impl Iterator<Item = u64> {
        self.order.few(low, high).map(|Key([.., position])| position)
    }

    pub(super) fn count(&self, account: AccountNumber) -> u64 {
        self.counts.get(&account).copied().unwrap_or(0)
    }
}

/// Writes a closed stretch as runs.
#[derive(Debug)]
pub(super) struct StretchWriter {
    conversations: Option<(Writer, InOrder)>,
    keys: Option<(Writer, InOrder)>,
}

impl StretchWriter {
    /// Begins a run of each kind that there is something of; `number` gives the runs' numbers.
    pub(super) fn new(stretch: &Stretch, mut number: impl FnMut() -> u64) -> Self {
        let mut begin = |kind, entries: usize, order| {
            let entries = u64::try_from(entries).ok().filter(|entries| *entries > 0)?;
            Some((Writer::new(number(), kind, entries), order))
        };
        let Stretch { conversations, keys } = stretch;
        let order = InOrder::new(conversations);
        let conversations = begin(RunKind::Conversations, conversations.len(), order);
        let keys = begin(RunKind::Keys, keys.order.len(), InOrder::new(&keys.order));
        Self { conversations, keys }
    }

    /// Goes on by so many entries; whether everything is written.
    pub(super) fn step(&mut self, stretch: &Stretch, room: usize, slice: &mut Slice) -> bool {
        let mut left = room;
        if let Some((writer, order)) = &mut self.conversations {
            while left > 0
                && let Some(key) = order.next(&stretch.conversations)
            {
                writer.push(key, &[], slice);
                left -= 1;
            }
        }
        if let Some((writer, order)) = &mut self.keys {
            while left > 0
                && let Some(key) = order.next(&stretch.keys.order)
            {
                writer.push(key, &[], slice);
                left -= 1;
            }
        }
        left > 0
    }

    /// Completes the runs; `covered` is the newest position they have, `running` the running time in seconds.
    pub(super) fn finish(self, covered: u64, running: u64) -> Finished {
        let Self { conversations, keys } = self;
        let mut slice = Slice::default();
        let conversations = conversations
            .map(|(writer, _)| (RunKind::Conversations, writer.finish(covered, &mut slice)));
        let keys = keys.map(|(writer, _)| (RunKind::Keys, writer.finish(running, &mut slice)));
        Finished { runs: conversations.into_iter().chain(keys).collect(), last: slice.runs }
    }
}

/// The runs of a stretch, and what completes them.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) runs: Vec<(RunKind, Run)>,
    pub(super) last: Vec<RunChange>,
}

/// Keys that are put into the filters together at most.
const MOST_UNFILTERED: usize = 4_096;
