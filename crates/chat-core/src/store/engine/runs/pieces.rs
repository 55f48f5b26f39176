//! [`Pieces`]: the newest keys of a kind in memory, until a run has them.

use super::Key;

/// Keys in the order they came, and soon in order: a piece is sorted once it is long enough, which spreads the work of
/// sorting over the time in which they come.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    sorted: Vec<Vec<Key>>,
    open: Vec<Key>,
}

impl Pieces {
    pub(crate) fn push(&mut self, key: Key) {
        self.open.push(key);
        if self.open.len() >= LONGEST_PIECE {
            self.close();
        }
    }

    /// Sorts what is long enough for it, before [`push`](Self::push) has to.
    pub(crate) fn tidy(&mut self) {
        if self.open.len() >= PIECE {
            self.close();
        }
    }

    /// Sorts what is not sorted yet.
    pub(crate) fn close(&mut self) {
        let mut piece = std::mem::take(&mut self.open);
        sort(&mut piece);
        self.sorted.extend(Some(piece).filter(|piece| !piece.is_empty()));
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.iter().map(Vec::len).sum::<usize>() + self.open.len()
    }

    /// The largest key below this one.
    pub(crate) fn last_below(&self, key: Key) -> Option<Key> {
        let sorted = self.sorted.iter().filter_map(|piece| below(piece, key).last());
        let open = self.open.iter().filter(|other| **other < key);
        sorted.chain(open).max().copied()
    }

    /// The smallest key that is not below this one.
    pub(crate) fn first_from(&self, key: Key) -> Option<Key> {
        let sorted = self.sorted.iter().filter_map(|piece| from(piece, key).first());
        let open = self.open.iter().filter(|other| **other >= key);
        sorted.chain(open).min().copied()
    }

    /// The keys from one to below another; of each piece at most the last `most`. In no order.
    pub(crate) fn range(&self, low: Key, high: Key, most: usize) -> impl Iterator<Item = Key> {
        let sorted = self
            .sorted
            .iter()
            .flat_map(move |piece| from(below(piece, high), low).iter().rev().take(most));
        sorted.chain(self.open.iter().filter(move |key| (low..high).contains(*key))).copied()
    }
}

/// Sorts by the first two numbers together, which takes no branches, and what is alike in these by the third: 31 ns a key in
/// pieces of 8,192, and 42 where keys are compared number by number.
fn sort(keys: &mut [Key]) {
    keys.sort_unstable_by_key(Key::owner_and_id);
    let alike = keys.chunk_by_mut(|one, other| one.owner_and_id() == other.owner_and_id());
    alike.for_each(|keys| keys.sort_unstable_by_key(|key| key.0[2]));
}

fn below(piece: &[Key], key: Key) -> &[Key] {
    piece.get(..piece.partition_point(|other| *other < key)).unwrap_or_default()
}

fn from(piece: &[Key], key: Key) -> &[Key] {
    piece.get(piece.partition_point(|other| *other < key)..).unwrap_or_default()
}

/// All keys of closed pieces in order, a few at a time.
///
/// What lies below a bound is copied from each piece and sorted: by then the pieces are in no cache, and in a row memory is
/// read much faster than key by key here and there.
#[derive(Debug)]
pub(crate) struct InOrder {
    /// How many keys of each piece were taken.
    taken: Vec<usize>,
    /// The next keys, the last one first.
    next: Vec<Key>,
}

impl InOrder {
    pub(crate) fn new(pieces: &Pieces) -> Self {
        Self { taken: vec![0; pieces.sorted.len()], next: Vec::new() }
    }

    /// The next key of the same pieces.
    pub(crate) fn next(&mut self, pieces: &Pieces) -> Option<Key> {
        if self.next.is_empty() {
            self.take(pieces);
        }
        self.next.pop()
    }

    /// Takes what lies below the first key that is [`TAKEN`] further on in its piece.
    fn take(&mut self, pieces: &Pieces) {
        let rests: Vec<&[Key]> = (pieces.sorted.iter().zip(&self.taken))
            .map(|(piece, taken)| piece.get(*taken..).unwrap_or_default())
            .collect();
        let bound = rests.iter().filter_map(|rest| rest.get(TAKEN)).min();
        for (rest, taken) in rests.iter().zip(&mut self.taken) {
            let most = rest.get(..TAKEN).unwrap_or(rest);
            let fitting = bound.map_or(most, |bound| below(most, *bound));
            self.next.extend_from_slice(fitting);
            *taken += fitting.len();
        }
        sort(&mut self.next);
        self.next.reverse();
    }
}

/// Keys in a piece at most: sorting them takes a quarter of a millisecond. Tests cut small.
const LONGEST_PIECE: usize = if cfg!(test) { 4 } else { 8_192 };
/// Keys that are taken of a piece at once at most. Tests cut small.
const TAKEN: usize = if cfg!(test) { 2 } else { 64 };
/// So many are worth sorting once there is time for it. What most commits add to them still fits into the piece.
const PIECE: usize = LONGEST_PIECE / 4 * 3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_answer_as_a_sorted_set_does(
            keys in Just((0..60u64).collect::<Vec<_>>()).prop_shuffle(),
            count in 0..40usize,
            tidy in prop::collection::vec(any::<bool>(), 40),
            low in 0..60u64,
            high in 0..60u64,
        ) {
            let keys: Vec<_> = keys.into_iter().take(count).collect();
            let key = |n: u64| Key([0, n / 9, n % 9]);
            let mut pieces = Pieces::default();
            for (n, tidy) in keys.iter().zip(tidy) {
                pieces.push(key(*n));
                if tidy {
                    pieces.tidy();
                }
            }
            let all: BTreeSet<_> = keys.iter().map(|n| key(*n)).collect();
            prop_assert_eq!(pieces.last_below(key(high)), all.range(..key(high)).next_back().copied());
            prop_assert_eq!(pieces.first_from(key(low)), all.range(key(low)..).next().copied());
            let found: BTreeSet<_> = pieces.range(key(low), key(high), 100).collect();
            let expected: BTreeSet<_> = all.iter().filter(|k| (key(low)..key(high)).contains(k)).copied().collect();
            prop_assert_eq!(found, expected);
            pieces.close();
            prop_assert_eq!(pieces.len(), all.len());
            let mut order = InOrder::new(&pieces);
            let sorted: Vec<_> = std::iter::from_fn(|| order.next(&pieces)).collect();
            prop_assert_eq!(sorted, all.into_iter().collect::<Vec<_>>());
        }
    }
}
