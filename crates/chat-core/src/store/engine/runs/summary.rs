//! What is kept of a run in memory besides its row, as bytes of that row.

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
    /// Whose entries are many, and how many.
    pub(super) heavy: Vec<(AccountNumber, u64)>,
    pub(super) filter: Option<Filter>,
}

impl Summary {
    pub(super) fn encode(&self) -> Box<[u8]> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.items);
        self.oldest.into_iter().for_each(&mut put);
        put(u64::try_from(self.heavy.len()).unwrap_or(0));
        for (account, count) in &self.heavy {
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
        let oldest = if kind == RunKind::Keys { Some(numbers.next()?) } else { None };
        let count = usize::try_from(numbers.next()?).ok()?;
        let heavy = (0..count)
            .map(|_| Some((AccountNumber(numbers.next()?), numbers.next()?)))
            .collect::<Option<Vec<_>>>()?;
        let filter = bytes.get(bytes.len().checked_sub(numbers.len() * 8)?..)?;
        Some((Self { items, oldest, heavy, filter: None }, filter))
    }
}
