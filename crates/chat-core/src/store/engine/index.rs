//! [`IndexRow`]: where 64 consecutive messages of a mailbox lie in the log.

use crate::MessageId;
use crate::store::AccountNumber;

/// How many consecutive ids one row covers. Ids are dense, so the row's number is the id divided by this.
pub(crate) const ROW_IDS: u64 = 64;

/// What the index knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it lies in the log.
    pub(crate) position: u64,
    pub(crate) sender: AccountNumber,
    /// Bytes of its body.
    pub(crate) size: u32,
}

/// The entries of up to [`ROW_IDS`] consecutive ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct IndexRow {
    /// The id of the first entry.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Entry>,
}

impl IndexRow {
    pub(crate) fn number(id: u64) -> u64 {
        id / ROW_IDS
    }

    /// The entry of an id, if the row has it.
    pub(crate) fn get(&self, id: u64) -> Option<Entry> {
        let offset = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.entries.get(offset).copied()
    }

    /// Keeps what comes before `id` and drops the rest.
    pub(crate) fn truncate(&mut self, id: u64) {
        let keep = usize::try_from(id.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
    }

    /// As bytes: the first id's place in the row, then for each entry the distance of its position from the one
    /// before, its sender and its size, as LEB128 numbers. About 7 bytes an entry.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + self.entries.len() * 8);
        put_number(&mut bytes, self.first % ROW_IDS);
        let mut before = 0;
        for entry in &self.entries {
            put_number(&mut bytes, entry.position.wrapping_sub(before));
            put_number(&mut bytes, entry.sender.0);
            put_number(&mut bytes, u64::from(entry.size));
            before = entry.position;
        }
        bytes
    }

    /// From its bytes; `None` if they are damaged.
    pub(crate) fn decode(row: u64, mut bytes: &[u8]) -> Option<Self> {
        let offset = take_number(&mut bytes)?;
        let first = row.checked_mul(ROW_IDS)?.checked_add(offset)?;
        let mut entries = Vec::new();
        let mut before: u64 = 0;
        while !bytes.is_empty() {
            let position = before.wrapping_add(take_number(&mut bytes)?);
            let sender = AccountNumber(take_number(&mut bytes)?);
            let size = u32::try_from(take_number(&mut bytes)?).ok()?;
            entries.push(Entry { position, sender, size });
            before = position;
        }
        Some(Self { first, entries })
    }
}

/// The last id that lies below a row.
pub(crate) fn last_below(row: u64) -> MessageId {
    MessageId::new(row.saturating_mul(ROW_IDS).saturating_sub(1))
}

pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = (u64, IndexRow)> {
        let entry =
            (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(position, sender, size)| Entry {
                position,
                sender: AccountNumber(sender),
                size,
            });
        (0..1_000_000u64, 0..ROW_IDS, prop::collection::vec(entry, 0..64)).prop_map(
            |(row, offset, entries)| (row, IndexRow { first: row * ROW_IDS + offset, entries }),
        )
    }

    proptest! {
        #[test]
        fn a_row_survives_its_bytes((number, row) in rows()) {
            prop_assert_eq!(IndexRow::decode(number, &row.encode()), Some(row));
        }

        #[test]
        fn damaged_bytes_never_panic(number in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = IndexRow::decode(number, &bytes);
        }
    }

    #[test]
    fn entries_are_found_by_id() {
        let entry = |position| Entry { position, sender: AccountNumber(1), size: 5 };
        let mut row = IndexRow { first: 70, entries: vec![entry(1), entry(4), entry(9)] };
        assert_eq!(row.get(71), Some(entry(4)));
        assert_eq!((row.get(69), row.get(73)), (None, None));
        row.truncate(72);
        assert_eq!((row.get(71), row.get(72)), (Some(entry(4)), None));
    }
}
