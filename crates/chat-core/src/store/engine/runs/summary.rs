//! What is kept of a run in memory besides its row, as bytes of that row.

use std::cmp::Reverse;

use foldhash::HashMap;

use super::super::log::RunKind;
use super::filter::Filter;
use crate::store::AccountNumber;

/// What is known of a run's entries.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// How many different things there are to filter by.
    pub(super) items: u64,
    /// Of keys the first position in the log that one of them leads to.
    pub(super) oldest: Option<u64>,
    pub(super) counts: Counts,
    pub(super) filter: Option<Filter>,
}

/// How many keys accounts have in a run, as far as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Of those who have most, in order of account.
    heavy: Vec<(AccountNumber, u64)>,
    /// How many any other may have.
    others: u64,
}

impl Counts {
    pub(crate) fn of(counts: impl Iterator<Item = (AccountNumber, u64)>) -> Self {
        let mut heavy: Vec<_> = counts.collect();
        let mut others = 0;
        if heavy.len() > MOST_COUNTED {
            heavy.select_nth_unstable_by_key(MOST_COUNTED, |(_, count)| Reverse(*count));
            others = heavy.get(MOST_COUNTED).map_or(0, |(_, count)| *count);
            heavy.truncate(MOST_COUNTED);
        }
        heavy.sort_unstable_by_key(|(account, _)| *account);
        Self { heavy, others }
    }

    /// Of runs that become one.
    pub(super) fn of_all<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let (mut sums, mut others) = (HashMap::<_, u64>::default(), 0);
        for counts in all {
            counts.iter().for_each(|(account, count)| *sums.entry(account).or_default() += count);
            others += counts.others;
        }
        let counts = Self::of(sums.into_iter());
        Self { others: counts.others + others, ..counts }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AccountNumber, u64)> {
        self.heavy.iter().copied()
    }

    /// How many keys the account has, if it is counted.
    pub(super) fn get(&self, account: AccountNumber) -> Option<u64> {
        let at = self.heavy.binary_search_by_key(&account, |(account, _)| *account).ok()?;
        self.heavy.get(at).map(|(_, count)| *count)
    }

    pub(super) fn others(&self) -> u64 {
        self.others
    }
}

impl Summary {
    pub(super) fn encode(&self, kind: RunKind) -> Box<[u8]> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.items);
        self.oldest.into_iter().for_each(&mut put);
        let Counts { heavy, others } = &self.counts;
        (kind == RunKind::Keys).then_some(*others).into_iter().for_each(&mut put);
        put(u64::try_from(heavy.len()).unwrap_or(0));
        for (account, count) in heavy {
            put(account.0);
            put(*count);
        }
        if let Some(filter) = &self.filter {
            bytes.extend_from_slice(filter.as_bytes());
        }
        bytes.into()
    }

    /// The same from its bytes; `None` if they are damaged.
    pub(super) fn decode(kind: RunKind, bytes: &[u8]) -> Option<Self> {
        let (summary, filter) = Self::without_filter(kind, bytes)?;
        let filter = match filter {
            [] => None,
            bytes => Some(Filter::from_bytes(bytes)?),
        };
        Some(Self { filter, ..summary })
    }

    /// Whether bytes can be decoded, without the memory that a filter takes.
    #[cfg(feature = "embedded")]
    pub(super) fn is_whole(kind: RunKind, bytes: &[u8]) -> bool {
        Self::without_filter(kind, bytes)
            .is_some_and(|(_, filter)| filter.is_empty() || Filter::are_bytes(filter))
    }

    /// What stands before the filter's bytes, and these.
    fn without_filter(kind: RunKind, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let mut numbers = numbers.iter().copied().map(u64::from_le_bytes);
        let items = numbers.next()?;
        let oldest = if kind.leads_to_posts() { Some(numbers.next()?) } else { None };
        let others = match kind {
            RunKind::Keys => numbers.next()?,
            RunKind::KeysByAccount | RunKind::KeysInFull => EARLIER_UNCOUNTED,
            RunKind::Index | RunKind::Conversations => 0,
        };
        let count = usize::try_from(numbers.next()?).ok()?;
        let heavy = (0..count)
            .map(|_| Some((AccountNumber(numbers.next()?), numbers.next()?)))
            .collect::<Option<Vec<_>>>()?;
        let filter = bytes.get(bytes.len().checked_sub(numbers.len() * 8)?..)?;
        Some((Self { items, oldest, counts: Counts { heavy, others }, filter: None }, filter))
    }
}

/// Accounts that are counted in a run: 4 KiB. Tests have few.
const MOST_COUNTED: usize = if cfg!(test) { 2 } else { 256 };
/// Earlier versions counted those with more than so many.
const EARLIER_UNCOUNTED: u64 = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_is_taken_to_have_fewer_keys_than_it_has(
            runs in prop::collection::vec(prop::collection::btree_map(0..8u64, 1..9u64, 0..8), 1..5),
        ) {
            let count = |run: &std::collections::BTreeMap<u64, u64>| {
                Counts::of(run.iter().map(|(account, count)| (AccountNumber(*account), *count)))
            };
            let counts: Vec<_> = runs.iter().map(count).collect();
            let merged = Counts::of_all(counts.iter());
            for account in 0..8 {
                let real: u64 = runs.iter().filter_map(|run| run.get(&account)).sum();
                let most = |counts: &Counts| counts.get(AccountNumber(account)).unwrap_or(0) + counts.others();
                prop_assert!(most(&merged) >= real);
                prop_assert!(counts.iter().map(most).sum::<u64>() >= real);
            }
            prop_assert!(merged.iter().count() <= MOST_COUNTED);
        }
    }

    #[test]
    fn whoever_is_counted_is_counted_right() {
        let counts =
            Counts::of([(3, 5), (1, 2), (2, 9)].map(|(a, n)| (AccountNumber(a), n)).into_iter());
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [(AccountNumber(2), 9), (AccountNumber(3), 5)]
        );
        assert_eq!(counts.others(), 2);
    }
}
