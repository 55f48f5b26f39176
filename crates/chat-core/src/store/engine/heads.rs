//! [`HeadRow`] and [`HeadBlock`]: the heads of neighbouring mailboxes, on disk and in memory, and those in use.
//!
//! A head for itself would be a row for itself, and of a million mailboxes each message of a stretch changes another one.

#[cfg(any(test, feature = "embedded"))]
use super::index::{put_number, take_number};
use super::mailbox::{Head, Mailbox};
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

/// The mailboxes that have their heads in a row.
#[cfg(feature = "embedded")]
pub(crate) fn mailboxes(row: u64) -> impl Iterator<Item = AccountNumber> {
    let first = row.saturating_mul(ROW_HEADS);
    (first..first.saturating_add(ROW_HEADS)).map(AccountNumber)
}

/// The heads of [`ROW_HEADS`] mailboxes as they go to the disk and come from there; those missing at the end are as new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HeadRow(pub(crate) Vec<Head>);

impl HeadRow {
    /// As bytes: the position up to which all of them are applied; then for each the newest id times two, and, unless that
    /// is 0, how many wait and their bytes; after an odd one floor and incarnations. All as LEB128 numbers.
    #[cfg(any(test, feature = "embedded"))]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let applied = self.0.iter().map(|head| head.applied).max().unwrap_or(0);
        let mut bytes = Vec::with_capacity(8 + self.0.len() * 5);
        put_number(&mut bytes, applied);
        for head in &self.0 {
            let rare = [head.floor.get(), head.began, head.began_before];
            let is_rare = rare != [0; 3];
            let tag = head.last.get() << 1 | u64::from(is_rare);
            put_number(&mut bytes, tag);
            if tag != 0 {
                put_number(&mut bytes, head.last.get().saturating_sub(head.cursor.get()));
                put_number(&mut bytes, head.waiting_bytes);
            }
            if is_rare {
                rare.into_iter().for_each(|number| put_number(&mut bytes, number));
            }
        }
        bytes
    }

    /// From its bytes; `None` if they are damaged.
    #[cfg(any(test, feature = "embedded"))]
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

/// Neighbouring mailboxes in memory: 12 bytes each, as a rule, unless they are in use. All together, as what is written in
/// order of number is then in memory in about that order.
#[derive(Debug)]
pub(crate) struct HeadBlock {
    packed: [Packed; ROW_PLACES],
    /// By place: 0, or where in `in_use` the mailbox is, counted from 1.
    slots: [u8; ROW_PLACES],
    /// The mailboxes in use, with their places.
    in_use: Vec<(usize, Mailbox)>,
    /// Heads that do not fit, by place.
    wide: Vec<(usize, Head)>,
    /// Everything up to here is applied to each that is not wide.
    applied: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Packed {
    last: u32,
    waiting: u32,
    waiting_bytes: u32,
}

/// What stands for `last` if the head is wide.
const WIDE: u32 = u32::MAX;

impl HeadBlock {
    pub(crate) fn new(row: &HeadRow) -> Self {
        let applied = row.0.iter().map(|head| head.applied).max().unwrap_or(0);
        let mut block = Self {
            packed: [Packed::default(); ROW_PLACES],
            slots: [0; ROW_PLACES],
            in_use: Vec::new(),
            wide: Vec::new(),
            applied,
        };
        row.0.iter().enumerate().for_each(|(at, head)| block.set(at, *head));
        block
    }

    /// A mailbox, if it is in use.
    pub(crate) fn get(&mut self, at: usize) -> Option<&mut Mailbox> {
        let slot = self.slot(at)?;
        self.in_use.get_mut(slot).map(|(_, mailbox)| mailbox)
    }

    /// Where the mailbox is among those in use, if it is.
    pub(crate) fn slot(&self, at: usize) -> Option<usize> {
        usize::from(self.slots.get(at).copied()?).checked_sub(1)
    }

    /// Something of what a message to the mailbox needs.
    pub(crate) fn glance(&self, at: usize, slot: Option<usize>) -> u64 {
        let packed = self.packed.get(at).map_or(0, |packed| packed.last);
        // The next one comes behind the last.
        let near = slot.map_or_else(|| self.in_use.last(), |slot| self.in_use.get(slot));
        near.map_or(0, |(_, mailbox)| mailbox.head.waiting_bytes) ^ u64::from(packed)
    }

    /// Takes a mailbox into use.
    pub(crate) fn put(&mut self, at: usize, mailbox: Mailbox) {
        self.in_use.push((at, mailbox));
        if let (Some(slot), Ok(count)) = (self.slots.get_mut(at), u8::try_from(self.in_use.len())) {
            *slot = count;
        }
    }

    /// Keeps of a mailbox no more than its head, if that is all there is.
    pub(crate) fn put_away(&mut self, at: usize) {
        let Some(head) =
            self.get(at).filter(|mailbox| mailbox.is_idle()).map(|mailbox| mailbox.head)
        else {
            return;
        };
        self.set(at, head);
        let freed = self.slots.get_mut(at).map_or(0, std::mem::take);
        self.in_use.swap_remove(usize::from(freed).saturating_sub(1));
        // The last one has taken the place that was freed.
        if let Some((moved, _)) = self.in_use.get(usize::from(freed).saturating_sub(1))
            && let Some(slot) = self.slots.get_mut(*moved)
        {
            *slot = freed;
        }
        if self.in_use.is_empty() {
            self.in_use = Vec::new();
        }
    }

    /// The same of all.
    pub(crate) fn shrink(&mut self) {
        let idle = self.in_use.iter().filter(|(_, mailbox)| mailbox.is_idle());
        let idle: Vec<_> = idle.map(|(at, _)| *at).collect();
        idle.into_iter().for_each(|at| self.put_away(at));
    }

    /// All heads as they are now: everything up to `end` is applied.
    pub(crate) fn row(&self, end: u64) -> HeadRow {
        let mut heads: Vec<_> = (0..ROW_PLACES).map(|at| self.head(at)).collect();
        for (at, mailbox) in &self.in_use {
            if let Some(head) = heads.get_mut(*at) {
                *head = mailbox.head;
            }
        }
        heads.iter_mut().for_each(|head| head.applied = end);
        HeadRow(heads)
    }

    /// The head of a mailbox that is not in use.
    pub(crate) fn head(&self, at: usize) -> Head {
        let packed = self.packed.get(at).copied().unwrap_or_default();
        if packed.last == WIDE
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

    fn set(&mut self, at: usize, head: Head) {
        self.wide.retain(|(place, _)| *place != at);
        let packed = Packed::of(&head, self.applied).unwrap_or_else(|| {
            self.wide.push((at, head));
            Packed { last: WIDE, ..Packed::default() }
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
            last: u32::try_from(head.last.get()).ok().filter(|last| *last != WIDE)?,
            waiting: u32::try_from(waiting).ok()?,
            waiting_bytes: u32::try_from(head.waiting_bytes).ok()?,
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
            prop_assert_eq!(HeadRow::decode(&row.encode()), Some(row.clone()));
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
    fn mailboxes_in_use_are_told_apart_from_those_put_away() {
        let mut block = HeadBlock::new(&HeadRow::default());
        let head = |last| Head { last: MessageId::new(last), applied: 9, ..Head::default() };
        for at in 0..ROW_PLACES {
            block.put(at, Mailbox::new(head(u64::try_from(at).unwrap() + 5)));
        }
        for gone in 0..ROW_PLACES {
            block.put_away(gone);
            for at in 0..ROW_PLACES {
                assert_eq!(block.get(at).is_some(), at > gone);
                let last = block.row(9).0[at].last.get();
                assert_eq!(last, u64::try_from(at).unwrap() + 5);
            }
        }
        assert!(block.in_use.is_empty());
    }

    #[test]
    fn rows_that_were_applied_one_by_one_are_told_apart() {
        let head = |applied| Head { last: MessageId::new(1), applied, ..Head::default() };
        let block = HeadBlock::new(&HeadRow(vec![head(7), head(3)]));
        assert_eq!((block.head(0).applied, block.head(1).applied), (7, 3));
    }
}
