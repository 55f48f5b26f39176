//! [`HeadRow`] and [`HeadBlock`]: the heads of neighbouring mailboxes, on disk and in memory.
//!
//! A head for itself would be a row for itself, and of a million mailboxes each message of a stretch changes another one.

use super::chains::{Chains, Link};
use super::index::{Entry, put_number, take_number};
use super::mailbox::{Head, Load, Quota};
use super::mailboxes::Undeliverable;
use crate::MessageId;
use crate::store::AccountNumber;

/// How many mailboxes with consecutive numbers have their heads in one row. Tests write many rows.
const ROW_HEADS: u64 = if cfg!(test) { 2 } else { 64 };
/// The same number.
const ROW_PLACES: usize = if cfg!(test) { 2 } else { 64 };

/// The row that has a mailbox's head, and the place there.
pub(crate) fn place(mailbox: AccountNumber) -> (u64, usize) {
    (mailbox.0 / ROW_HEADS, usize::try_from(mailbox.0 % ROW_HEADS).unwrap_or(0))
}

/// The mailbox that has its head at a place of a row.
pub(crate) fn mailbox(row: u64, at: usize) -> Option<AccountNumber> {
    let place = u64::try_from(at).ok()?;
    row.checked_mul(ROW_HEADS)?.checked_add(place).map(AccountNumber)
}

/// The mailboxes that have their heads in a row.
#[cfg(feature = "embedded")]
pub(crate) fn mailboxes(row: u64) -> impl Iterator<Item = AccountNumber> {
    let first = row.saturating_mul(ROW_HEADS);
    (first..first.saturating_add(ROW_HEADS)).map(AccountNumber)
}

/// The heads of [`ROW_HEADS`] mailboxes as they go to the disk and come from there; those missing at the end are as new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HeadRow(pub(crate) Vec<Head>);

/// The same as bytes: the position up to which all of them are applied; then for each the newest id times two, and, unless
/// that is 0, how many wait and their bytes; after an odd one floor and incarnations. All as LEB128 numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HeadBytes(pub(crate) Vec<u8>);

impl HeadBytes {
    pub(crate) fn of(heads: impl IntoIterator<Item = Head>, applied: u64) -> Self {
        let mut bytes = Vec::with_capacity(8 + ROW_PLACES * 5);
        put_number(&mut bytes, applied);
        heads.into_iter().for_each(|head| put_head(&mut bytes, &head));
        Self(bytes)
    }
}

fn put_head(bytes: &mut Vec<u8>, head: &Head) {
    let rare = [head.floor.get(), head.began, head.began_before];
    let is_rare = rare != [0; 3];
    let tag = head.last.get() << 1 | u64::from(is_rare);
    put_number(bytes, tag);
    if tag != 0 {
        put_number(bytes, head.last.get().saturating_sub(head.cursor.get()));
        put_number(bytes, head.waiting_bytes);
    }
    if is_rare {
        rare.into_iter().for_each(|number| put_number(bytes, number));
    }
}

impl HeadRow {
    /// From its bytes; `None` if they are damaged.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let applied = take_number(&mut bytes)?;
        let mut heads = Vec::new();
        while !bytes.is_empty() {
            let tag = take_number(&mut bytes)?;
            let mut head = Head { last: MessageId::new(tag >> 1), applied, ..Head::default() };
            if tag != 0 {
                let waiting = take_number(&mut bytes)?;
                head.cursor = MessageId::new(head.last.get().checked_sub(waiting)?);
                head.waiting_bytes = take_number(&mut bytes)?;
            }
            if tag & 1 == 1 {
                head.floor = MessageId::new(take_number(&mut bytes)?);
                head.began = take_number(&mut bytes)?;
                head.began_before = take_number(&mut bytes)?;
            }
            heads.push(head);
        }
        Some(Self(heads))
    }
}

/// The heads of neighbouring mailboxes in memory: 16 bytes each, as a rule. All together, as what is written in order of
/// number is then in memory in about that order.
#[derive(Debug)]
pub(crate) struct HeadBlock {
    packed: [Packed; ROW_PLACES],
    /// Heads that do not fit, by place.
    wide: Vec<(usize, Head)>,
    /// Everything up to here is applied to each that is not wide.
    applied: u64,
}

/// A head, and where the newest entry is that the index does not have yet. Of four, one line of the processor's cache.
#[derive(Debug, Clone, Copy, Default)]
struct Packed {
    last: u32,
    waiting: u32,
    waiting_bytes: u32,
    newest: Link,
}

/// What stands for `last` if the head is wide, or lent.
const ELSEWHERE: u32 = u32::MAX;

impl HeadBlock {
    pub(crate) fn new(row: &HeadRow) -> Self {
        let applied = row.0.iter().map(|head| head.applied).max().unwrap_or(0);
        let packed = [Packed::default(); ROW_PLACES];
        let mut block = Self { packed, wide: Vec::new(), applied };
        row.0.iter().enumerate().for_each(|(at, head)| block.set(at, *head));
        block
    }

    /// Something of what a message to the mailbox needs.
    pub(crate) fn glance(&self, at: usize) -> u32 {
        self.packed.get(at).map_or(0, |packed| packed.last)
    }

    /// Whether the head is here and small.
    pub(crate) fn is_packed(&self, at: usize) -> bool {
        self.packed.get(at).is_some_and(|packed| packed.last != ELSEWHERE)
    }

    /// Adds a message to a mailbox and gives its id, if there is room for it. Those of which there is more to know than a
    /// small head count as not loaded.
    pub(crate) fn deliver(
        &mut self,
        at: usize,
        mailbox: AccountNumber,
        entry: Entry,
        quota: Quota,
        chains: &mut Chains,
    ) -> Result<MessageId, Undeliverable> {
        let packed = self.packed.get_mut(at).filter(|packed| packed.last != ELSEWHERE);
        let packed = packed.ok_or(Undeliverable::NotLoaded)?;
        let load = packed.load();
        if quota.is_half_full(load) {
            return Err(Undeliverable::NeedsShares);
        }
        if !quota.has_room(load, entry.size) {
            return Err(Undeliverable::Full);
        }
        let grown = packed.grown(entry.size).ok_or(Undeliverable::NotLoaded)?;
        let newest = chains.push(mailbox, grown.last, entry, packed.newest);
        *packed = Packed { newest: newest.ok_or(Undeliverable::NotLoaded)?, ..grown };
        Ok(MessageId::new(grown.last.into()))
    }

    /// Gives the head away, and where the newest entry is, with its message's id: the mailbox is in use now.
    pub(crate) fn lend(&mut self, at: usize) -> (Head, Link, u32) {
        let head = self.head(at);
        self.wide.retain(|(place, _)| *place != at);
        let lent = Packed { last: ELSEWHERE, ..Packed::default() };
        let packed = self.packed.get_mut(at).map(|packed| std::mem::replace(packed, lent));
        let Packed { newest, last, .. } = packed.unwrap_or_default();
        (head, newest, last)
    }

    /// All heads as they are now and go to the disk: everything up to `end` is applied. `lent` knows those that are in use,
    /// by place.
    pub(crate) fn encode(&self, end: u64, lent: impl Fn(usize) -> Option<Head>) -> HeadBytes {
        let head = |at: usize| match self.is_packed(at) {
            true => self.head(at),
            false => lent(at).unwrap_or_else(|| self.head(at)),
        };
        HeadBytes::of((0..ROW_PLACES).map(head), end)
    }

    /// The head of a mailbox that is not in use.
    pub(crate) fn head(&self, at: usize) -> Head {
        let packed = self.packed.get(at).copied().unwrap_or_default();
        if packed.last == ELSEWHERE
            && let Some((_, head)) = self.wide.iter().find(|(place, _)| *place == at)
        {
            return *head;
        }
        let last = u64::from(packed.last);
        Head {
            last: MessageId::new(last),
            cursor: MessageId::new(last.saturating_sub(u64::from(packed.waiting))),
            waiting_bytes: u64::from(packed.waiting_bytes),
            applied: self.applied,
            ..Head::default()
        }
    }

    /// Takes a head in, of which the index has all entries.
    pub(crate) fn set(&mut self, at: usize, head: Head) {
        self.wide.retain(|(place, _)| *place != at);
        let packed = Packed::of(&head, self.applied).unwrap_or_else(|| {
            self.wide.push((at, head));
            Packed { last: ELSEWHERE, ..Packed::default() }
        });
        if let Some(place) = self.packed.get_mut(at) {
            *place = packed;
        }
    }
}

impl Packed {
    /// `None` if it does not fit. That it is applied further than others need not be known: only a start asks.
    fn of(head: &Head, applied: u64) -> Option<Self> {
        let rare = (head.floor, head.began, head.began_before) != Default::default();
        let waiting = head.last.get().saturating_sub(head.cursor.get());
        (!rare && head.applied >= applied).then_some(())?;
        Some(Self {
            last: u32::try_from(head.last.get()).ok().filter(|last| *last != ELSEWHERE)?,
            waiting: u32::try_from(waiting).ok()?,
            waiting_bytes: u32::try_from(head.waiting_bytes).ok()?,
            newest: Link::default(),
        })
    }

    fn load(&self) -> Load {
        Load { messages: self.waiting.into(), bytes: self.waiting_bytes.into() }
    }

    /// With one more message of this size; `None` if that does not fit.
    fn grown(&self, size: u32) -> Option<Self> {
        Some(Self {
            last: self.last.checked_add(1).filter(|last| *last != ELSEWHERE)?,
            waiting: self.waiting.checked_add(1)?,
            waiting_bytes: self.waiting_bytes.checked_add(size)?,
            newest: self.newest,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..3u64, 0..u64::from(u32::MAX) + 3, 0..u64::MAX / 2]
    }

    fn heads() -> impl Strategy<Value = Vec<Head>> {
        let head = (number(), number(), number(), prop::array::uniform3(number()), any::<bool>());
        let head = head.prop_map(|(last, waiting, waiting_bytes, rare, is_rare)| {
            let [floor, began, began_before] = if is_rare { rare } else { [0; 3] };
            let cursor = if last == 0 { 0 } else { last.saturating_sub(waiting) };
            Head {
                last: MessageId::new(last),
                cursor: MessageId::new(cursor),
                waiting_bytes: if last == 0 { 0 } else { waiting_bytes },
                floor: MessageId::new(floor),
                began,
                began_before,
                applied: 9,
            }
        });
        prop::collection::vec(head, 0..=usize::try_from(ROW_HEADS).unwrap())
    }

    proptest! {
        #[test]
        fn heads_survive_disk_and_memory(heads in heads()) {
            let row = HeadRow(heads.clone());
            let applied = if heads.is_empty() { 0 } else { 9 };
            let bytes = HeadBytes::of(heads.clone(), applied);
            prop_assert_eq!(HeadRow::decode(&bytes.0), Some(row.clone()));
            let block = HeadBlock::new(&row);
            let found: Vec<_> = (0..heads.len()).map(|at| block.head(at)).collect();
            prop_assert_eq!(found, heads);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = HeadRow::decode(&bytes);
        }
    }

    #[test]
    fn what_is_lent_is_told_apart_from_what_is_here() {
        let head = |last| Head { last: MessageId::new(last), applied: 9, ..Head::default() };
        let mut block = HeadBlock::new(&HeadRow(vec![head(5), head(6)]));
        let (lent, ..) = block.lend(1);
        assert_eq!((lent, block.is_packed(0), block.is_packed(1)), (head(6), true, false));
        let bytes = block.encode(9, |at| (at == 1).then(|| head(7)));
        assert_eq!(bytes, HeadBytes::of([head(5), head(7)], 9));
        block.set(1, head(8));
        assert_eq!(block.encode(9, |_| None), HeadBytes::of([head(5), head(8)], 9));
    }

    #[test]
    fn a_head_that_grows_too_large_counts_as_not_loaded() {
        let quota = Quota { messages: u64::MAX, bytes: u64::MAX };
        let full = MessageId::new(u64::from(u32::MAX) - 2);
        let head = Head { last: full, cursor: full, ..Head::default() };
        let mut block = HeadBlock::new(&HeadRow(vec![head]));
        let mut chains = Chains::new(1);
        let mut deliver = |position, size| {
            let entry = Entry { position, sender: AccountNumber(1), size };
            block.deliver(0, AccountNumber(5), entry, quota, &mut chains)
        };
        assert_eq!(deliver(1, 9), Ok(MessageId::new(full.get() + 1)));
        assert_eq!(deliver(2, 9), Err(Undeliverable::NotLoaded));
        assert_eq!(deliver(2, 9), Err(Undeliverable::NotLoaded));
        assert_eq!(block.head(0).waiting_bytes, 9);
    }

    #[test]
    fn rows_that_were_applied_one_by_one_are_told_apart() {
        let head = |applied| Head { last: MessageId::new(1), applied, ..Head::default() };
        let block = HeadBlock::new(&HeadRow(vec![head(7), head(3)]));
        assert_eq!((block.head(0).applied, block.head(1).applied), (7, 3));
    }
}
