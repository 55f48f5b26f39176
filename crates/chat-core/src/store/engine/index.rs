//! The index: where each message of a mailbox lies in the log.
//!
//! It is written as sorted runs. Earlier versions wrote a row for every 64 messages of a mailbox ([`IndexRow`]); those
//! are read until they are trimmed.

use super::log::{LogError, View};
use super::mailbox::Mailbox;
use super::runs::{Key, Runs, read_from};
use crate::MessageId;
use crate::store::AccountNumber;

/// What is let go of by count goes when so many are beyond it: ids divided by this. So many have a row of [`IndexRow`].
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

impl Entry {
    /// How many bytes stand beside the key of an entry in a run: sender and size.
    pub(crate) const VALUE_BYTES: usize = 12;

    /// Where the entry of a message stands in a run.
    pub(crate) fn key(self, mailbox: AccountNumber, id: u64) -> Key {
        Key([mailbox.0, id, self.position])
    }

    pub(crate) fn value(self) -> [u8; Self::VALUE_BYTES] {
        let mut value = [0; Self::VALUE_BYTES];
        let bytes = self.sender.0.to_le_bytes().into_iter().chain(self.size.to_le_bytes());
        value.iter_mut().zip(bytes).for_each(|(byte, part)| *byte = part);
        value
    }

    fn from_run(position: u64, value: &[u8]) -> Option<Self> {
        let (sender, size) = value.split_first_chunk()?;
        let sender = AccountNumber(u64::from_le_bytes(*sender));
        Some(Self { position, sender, size: u32::from_le_bytes(size.try_into().ok()?) })
    }
}

/// What the runs, and the rows of earlier versions, have of the ids from one to another: for each its entry, if they have
/// one. `runs` are those to look in, newest first; gives also the ones that were looked in.
pub(crate) fn look_up(
    view: &(impl View + ?Sized),
    runs: &[u64],
    mailbox: AccountNumber,
    from: u64,
    upto: u64,
) -> Result<(Vec<Option<Entry>>, Vec<u64>), LogError> {
    let count = (upto + 1).saturating_sub(from);
    let found = vec![None; usize::try_from(count).unwrap_or(0)];
    let mut search = Search { mailbox, from, upto, missing: found.len(), found };
    let mut order = Order::new(runs);
    while search.missing > 0
        && let Some((at, run)) = order.next()
    {
        let seen = search.look_in(view, run)?;
        order.narrow(at, &seen);
    }
    if search.missing > 0 {
        look_up_rows(view, mailbox, from, &mut search.found)?;
    }
    Ok((search.found, order.looked))
}

/// Entries looked for.
struct Search {
    mailbox: AccountNumber,
    from: u64,
    upto: u64,
    found: Vec<Option<Entry>>,
    missing: usize,
}

impl Search {
    /// Takes what a run has.
    fn look_in(&mut self, view: &(impl View + ?Sized), run: u64) -> Result<Seen, LogError> {
        let mut seen = Seen::default();
        read_from(view, run, Key([self.mailbox.0, self.from, 0]), |key, value| {
            let Key([owner, id, position]) = key;
            if owner != self.mailbox.0 {
                return owner < self.mailbox.0;
            }
            // Ids grow with positions, and runs follow one another.
            seen.not_older |= id <= self.from;
            seen.not_newer |= id >= self.upto;
            let place = id.checked_sub(self.from).and_then(|at| usize::try_from(at).ok());
            if let Some(place @ None) = place.and_then(|at| self.found.get_mut(at)) {
                *place = Entry::from_run(position, value);
                self.missing -= 1;
            }
            id < self.upto
        })?;
        Ok(seen)
    }
}

/// What a run says of those beside it.
#[derive(Debug, Default)]
struct Seen {
    /// Nothing that is looked for lies in an older one.
    not_older: bool,
    /// Nor in a newer one.
    not_newer: bool,
}

/// In which order runs are looked in: from the middle, as what is found there tells on which side to go on. Merged runs may
/// overlap, so if something is missing in the end the others are looked in, too.
struct Order<'a> {
    /// Newest first.
    runs: &'a [u64],
    /// Where those are that are left.
    likely: Vec<usize>,
    unlikely: Vec<usize>,
    looked: Vec<u64>,
}

impl<'a> Order<'a> {
    fn new(runs: &'a [u64]) -> Self {
        let likely = (0..runs.len()).collect();
        Self { runs, likely, unlikely: Vec::new(), looked: Vec::new() }
    }

    fn next(&mut self) -> Option<(usize, u64)> {
        let at = match self.likely.len() {
            0 => self.unlikely.pop()?,
            left => self.likely.remove(left / 2),
        };
        let run = *self.runs.get(at)?;
        self.looked.push(run);
        Some((at, run))
    }

    fn narrow(&mut self, looked: usize, seen: &Seen) {
        let is_unlikely = |at: &mut usize| match *at > looked {
            true => seen.not_older,
            false => seen.not_newer,
        };
        self.unlikely.extend(self.likely.extract_if(.., is_unlikely));
    }
}

/// Adds what rows of earlier versions have.
fn look_up_rows(
    view: &(impl View + ?Sized),
    mailbox: AccountNumber,
    from: u64,
    found: &mut [Option<Entry>],
) -> Result<(), LogError> {
    let mut row: Option<(u64, Option<IndexRow>)> = None;
    for (id, place) in (from..).zip(found).filter(|(_, place)| place.is_none()) {
        let wanted = IndexRow::number(id);
        if row.as_ref().is_none_or(|(have, _)| *have != wanted) {
            row = Some((wanted, view.index_row(mailbox, wanted)?));
        }
        *place = row.as_ref().and_then(|(_, row)| row.as_ref()?.get(id));
    }
    Ok(())
}

/// What is known of a message that the log had last.
pub(crate) fn entry(
    view: &impl View,
    runs: &Runs,
    number: AccountNumber,
    mailbox: &Mailbox,
    id: u64,
) -> Result<Option<Entry>, LogError> {
    if id >= mailbox.tail_first() {
        return Ok(mailbox.tail_entry(id));
    }
    if IndexRow::number(id) < row_above(mailbox.head.floor) {
        return Ok(None);
    }
    let (found, _) = look_up(view, &runs.index_order, number, id, id)?;
    Ok(found.into_iter().flatten().next())
}

/// What is known of the messages after one id up to another.
pub(crate) fn entries(
    view: &impl View,
    runs: &Runs,
    number: AccountNumber,
    mailbox: &Mailbox,
    after: MessageId,
    upto: MessageId,
) -> Result<Vec<Entry>, LogError> {
    // What is beyond the count that is kept is let go of.
    let kept = row_above(mailbox.head.floor).saturating_mul(ROW_IDS);
    let first = (after.get() + 1).max(kept);
    let tail = mailbox.tail_first();
    let mut found = Vec::new();
    if first < tail {
        let last = upto.get().min(tail - 1);
        let (written, _) = look_up(view, &runs.index_order, number, first, last)?;
        for (id, entry) in (first..).zip(written) {
            found.extend(match entry {
                Some(entry) => Some(entry),
                None => parked(view, number, id)?,
            });
        }
    }
    found.extend((first.max(tail)..=upto.get()).filter_map(|id| mailbox.tail_entry(id)));
    Ok(found)
}

/// The messages that the cursor passes on its way to an id, for what they take of the quota: none if it passes all.
pub(crate) fn passed(
    view: &impl View,
    runs: &Runs,
    number: AccountNumber,
    mailbox: &Mailbox,
    upto: MessageId,
) -> Result<Vec<Entry>, LogError> {
    match upto >= mailbox.head.last {
        true => Ok(Vec::new()),
        false => entries(view, runs, number, mailbox, mailbox.head.cursor, upto),
    }
}

/// What is known of a message that left the log undelivered.
fn parked(view: &impl View, mailbox: AccountNumber, id: u64) -> Result<Option<Entry>, LogError> {
    let parked = view.parked(mailbox, MessageId::new(id))?;
    Ok(parked.map(|parked| Entry {
        position: parked.position,
        sender: parked.message.sender,
        size: u32::try_from(parked.message.body.len()).unwrap_or(u32::MAX),
    }))
}

/// The newest message beyond the count that is kept.
pub(crate) fn beyond_count(last: MessageId, kept: u64) -> MessageId {
    MessageId::new(last.get().saturating_sub(kept))
}

/// The number of the first row with an id above this one.
pub(crate) fn row_above(id: MessageId) -> u64 {
    IndexRow::number(id.get() + 1)
}

/// The entries of up to [`ROW_IDS`] consecutive ids, as earlier versions wrote them.
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

    /// As bytes: the first id's place in the row, then for each entry the distance of its position from the one
    /// before, its sender and its size, as LEB128 numbers. About 7 bytes an entry.
    #[cfg(test)]
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
    #[cfg(any(test, feature = "embedded"))]
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

    use super::super::SimulatedLog;
    use super::super::log::{Log as _, RunKind, Slice};
    use super::super::runs::Writer;
    use super::*;

    const MAILBOX: AccountNumber = AccountNumber(7);

    /// A log with these ids of a mailbox in runs numbered from 0, among those of its neighbours.
    fn log_of(runs: &[Vec<u64>]) -> SimulatedLog {
        let mut slice = Slice::default();
        for (number, ids) in (0..).zip(runs) {
            let mut writer = Writer::new(number, RunKind::Index, 0);
            for mailbox in [6, 7, 8].map(AccountNumber) {
                for id in ids {
                    let entry = Entry { position: id * 10 + mailbox.0, sender: mailbox, size: 5 };
                    writer.push(entry.key(mailbox, *id), &entry.value(), &mut slice);
                }
            }
            writer.finish(0, &mut slice);
        }
        let mut log = SimulatedLog::new();
        log.put(&slice).unwrap();
        log
    }

    /// Looks up ten ids and gives how many runs that took.
    fn look_up_ten(log: &SimulatedLog, order: &[u64], from: u64) -> usize {
        let (found, looked) = look_up(log, order, MAILBOX, from, from + 9).unwrap();
        let positions = found.into_iter().map(|entry| entry.unwrap().position);
        assert!(positions.eq((from..from + 10).map(|id| id * 10 + MAILBOX.0)), "from {from}");
        looked.len()
    }

    #[test]
    fn what_one_mailbox_has_in_many_runs_is_found_in_few() {
        let runs: Vec<Vec<_>> =
            (0..16).map(|run| (run * 20 + 1..=run * 20 + 20).collect()).collect();
        let log = log_of(&runs);
        let order: Vec<_> = (0..16).rev().collect();
        for from in 1..=311 {
            let looked = look_up_ten(&log, &order, from);
            assert!(looked <= 6, "{looked} runs from {from}");
        }
    }

    #[test]
    fn what_lies_in_runs_that_overlap_is_found() {
        let (ends, middle) = ((1..=15).chain(70..=99).collect(), (16..=69).collect());
        let log = log_of(&[middle, ends, Vec::new()]);
        for order in [[2, 1, 0], [1, 0, 2], [0, 1, 2]] {
            (1..=90).for_each(|from| assert!(look_up_ten(&log, &order, from) <= 3));
        }
    }

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
        let row = IndexRow { first: 70, entries: vec![entry(1), entry(4), entry(9)] };
        assert_eq!(row.get(71), Some(entry(4)));
        assert_eq!((row.get(69), row.get(73)), (None, None));
    }
}
