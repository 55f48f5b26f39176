//! [`Stretch`]: what is looked up by content and not in a run yet, and how it gets there.

use std::cmp::Reverse;

use foldhash::HashMap;

use super::log::{Record, RunChange, RunKind, Slice};
use super::runs::{Counts, FilterId, InOrder, Key, KeyHash, Pieces, Run, Runs, Writer};
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
            let hash = runs.hash(message.sender, keyed.key.start());
            self.keys.push(message.sender, hash, position);
            if self.keys.unfiltered.len() >= MOST_UNFILTERED {
                self.keys.fill_filters(runs);
            }
        }
    }

    /// Sorts what is long enough for it, and puts into the filters what is not there yet.
    pub(super) fn tidy(&mut self, runs: &mut Runs) {
        self.keys.fill_filters(runs);
        self.conversations.tidy();
    }

    /// Sorts what is not sorted yet: nothing comes any more.
    pub(super) fn close(&mut self, runs: &mut Runs) {
        self.keys.fill_filters(runs);
        self.conversations.close();
    }
}

/// Keys that no run has yet. Whoever looks for one asks the filters that they are in first, so that for a new key nothing
/// is searched.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    /// The hashes of each bucket, and the positions of their messages; no buckets as long as there are no keys.
    buckets: Vec<Vec<(KeyHash, u64)>>,
    /// How many there are.
    len: usize,
    /// How many each account has.
    counts: HashMap<AccountNumber, u64>,
    /// The filters that they are in.
    pub(super) filters: Vec<FilterId>,
    /// Those that are in none yet.
    unfiltered: Vec<KeyHash>,
}

impl RecentKeys {
    fn push(&mut self, account: AccountNumber, hash: KeyHash, position: u64) {
        if self.buckets.is_empty() {
            self.buckets.resize_with(KeyHash::BUCKETS, Vec::new);
        }
        if let Some(bucket) = self.buckets.get_mut(hash.bucket()) {
            bucket.push((hash, position));
            self.len += 1;
        }
        self.unfiltered.push(hash);
        *self.counts.entry(account).or_default() += 1;
    }

    /// Puts into the filters what is not there yet. Filters are asked only after this.
    pub(super) fn fill_filters(&mut self, runs: &mut Runs) {
        runs.expect(&self.unfiltered, &mut self.filters);
        self.unfiltered.clear();
    }

    /// Where messages lie whose senders and keys have the hash.
    pub(super) fn positions(&self, hash: KeyHash) -> impl Iterator<Item = u64> {
        let places = self.buckets.get(hash.bucket()).into_iter().flatten();
        places.filter(move |(other, _)| *other == hash).map(|(_, position)| *position)
    }

    pub(super) fn count(&self, account: AccountNumber) -> u64 {
        self.counts.get(&account).copied().unwrap_or(0)
    }
}

/// All keys of a closed stretch in order, a bucket at a time.
#[derive(Debug, Default)]
struct KeysInOrder {
    /// How many buckets were taken.
    taken: usize,
    /// What is left of the last one, its end first.
    next: Vec<(KeyHash, u64)>,
}

impl KeysInOrder {
    fn next(&mut self, keys: &RecentKeys) -> Option<Key> {
        while self.next.is_empty() {
            self.next.extend_from_slice(keys.buckets.get(self.taken)?);
            self.next.sort_unstable_by_key(|(hash, position)| Reverse(hash.with(*position)));
            self.taken += 1;
        }
        self.next.pop().map(|(hash, position)| hash.at(position))
    }
}

/// Writes a closed stretch as runs.
#[derive(Debug)]
pub(super) struct StretchWriter {
    conversations: Option<(Writer, InOrder)>,
    keys: Option<(Writer, KeysInOrder)>,
}

impl StretchWriter {
    /// Begins a run of each kind that there is something of; `number` gives the runs' numbers.
    pub(super) fn new(stretch: &Stretch, mut number: impl FnMut() -> u64) -> Self {
        let mut begin = |kind, entries: usize| {
            let entries = u64::try_from(entries).ok().filter(|entries| *entries > 0)?;
            Some(Writer::new(number(), kind, entries))
        };
        let Stretch { conversations, keys } = stretch;
        let conversations = begin(RunKind::Conversations, conversations.len())
            .map(|writer| (writer, InOrder::new(conversations)));
        let keys = begin(RunKind::Keys, keys.len).map(|writer| {
            let counts = keys.counts.iter().map(|(account, count)| (*account, *count));
            (writer.counted(Counts::of(counts)), KeysInOrder::default())
        });
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
                && let Some(key) = order.next(&stretch.keys)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_come_in_order() {
        let mut keys = RecentKeys::default();
        // Some twice, as after a start that replays what a run has too.
        let hashes = (0..500).map(|n| KeyHash::new(1, AccountNumber(1), n % 300));
        let places: Vec<_> = hashes.zip(1..).collect();
        for (hash, position) in &places {
            keys.push(AccountNumber(1), *hash, *position);
        }
        for (hash, _) in &places {
            let same =
                places.iter().filter(|(other, _)| other == hash).map(|(_, position)| *position);
            assert_eq!(keys.positions(*hash).collect::<Vec<_>>(), same.collect::<Vec<_>>());
        }
        let mut order = KeysInOrder::default();
        let sorted: Vec<_> = std::iter::from_fn(|| order.next(&keys)).collect();
        let mut expected: Vec<_> =
            places.iter().map(|(hash, position)| hash.at(*position)).collect();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!((keys.len, keys.count(AccountNumber(1))), (500, 500));
    }
}
