//! What is kept of a run in memory besides its row, as bytes of that row.

use super::filter::Filter;
use crate::store::AccountNumber;

/// How many items there are to filter by, who has many entries, and the filter.
pub(super) fn encode(
    items: u64,
    heavy: &[(AccountNumber, u64)],
    filter: Option<&Filter>,
) -> Box<[u8]> {
    let mut bytes = Vec::new();
    let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
    put(items);
    put(u64::try_from(heavy.len()).unwrap_or(0));
    for (account, count) in heavy {
        put(account.0);
        put(*count);
    }
    if let Some(filter) = filter {
        filter.write_to(&mut bytes);
    }
    bytes.into()
}

/// Items, accounts with many of them and how many, and the filter.
pub(super) type Summary = (u64, Vec<(AccountNumber, u64)>, Option<Filter>);

/// The same from its bytes; `None` if they are damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Summary> {
    let (numbers, []) = bytes.as_chunks::<8>() else { return None };
    let mut numbers = numbers.iter().copied().map(u64::from_le_bytes);
    let (items, count) = (numbers.next()?, usize::try_from(numbers.next()?).ok()?);
    let heavy = (0..count)
        .map(|_| Some((AccountNumber(numbers.next()?), numbers.next()?)))
        .collect::<Option<Vec<_>>>()?;
    let rest = bytes.get(bytes.len().checked_sub(numbers.len() * 8)?..)?;
    let filter = match rest {
        [] => None,
        rest => Some(Filter::from_bytes(rest)?),
    };
    Some((items, heavy, filter))
}
