//! [`Chains`]: entries that the index on disk does not have yet, of mailboxes of which memory has no more than the head.

use std::collections::VecDeque;

use super::index::Entry;
use crate::store::AccountNumber;

/// The newest entries by log position, each with where the one before it in its mailbox is, so that a mailbox needs to know
/// only its newest one. Messages to any number of mailboxes are so written to memory one behind the other.
#[derive(Debug)]
pub(crate) struct Chains {
    /// The position of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

/// Where an entry is: the low bits of its position. What is there says itself whether it is the entry meant, so a link may
/// lead to what is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Link(u32);

/// A mailbox that has an entry, and its position; or [`NOWHERE`] if the mailbox is to be written for another reason.
pub(crate) type Due = (AccountNumber, u64);

/// No record has this position.
pub(crate) const NOWHERE: u64 = 0;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Nobody's number, 0, if there is no entry.
    mailbox: u32,
    id: u32,
    sender: u32,
    size: u32,
    before: Link,
}

impl Chains {
    /// Empty; the next position is `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self { first: next, slots: VecDeque::new() }
    }

    /// Adds the entry of the newest message of a mailbox, behind all others; gives where it is. `None` if its numbers are
    /// larger than there is room for, and nothing is added.
    pub(crate) fn push(
        &mut self,
        mailbox: AccountNumber,
        id: u32,
        entry: Entry,
        before: Link,
    ) -> Option<Link> {
        let offset = usize::try_from(entry.position.checked_sub(self.first)?).ok()?;
        let (Ok(mailbox), Ok(sender)) = (u32::try_from(mailbox.0), u32::try_from(entry.sender.0))
        else {
            return None;
        };
        if offset != self.slots.len() {
            // Positions between went to other records.
            (offset > self.slots.len()).then(|| self.slots.resize(offset, Slot::default()))?;
        }
        self.slots.push_back(Slot { mailbox, id, sender, size: entry.size, before });
        Some(link(entry.position))
    }

    /// Takes the entries of a mailbox out, oldest first, given where its newest one is and the id of that.
    pub(crate) fn take(&mut self, mailbox: AccountNumber, newest: Link, id: u32) -> Vec<Entry> {
        let mut entries = Vec::new();
        let (mut at, mut id) = (newest, id);
        while let Some(slot) = self.slots.get_mut(offset(self.first, at)).filter(|slot| {
            u64::from(slot.mailbox) == mailbox.0 && slot.mailbox != 0 && slot.id == id
        }) {
            let distance = u64::from(at.0.wrapping_sub(link(self.first).0));
            entries.push(entry(slot, self.first.saturating_add(distance)));
            slot.mailbox = 0;
            (at, id) = (slot.before, id.wrapping_sub(1));
        }
        entries.reverse();
        entries
    }

    /// The entry of a mailbox at a position, if it still is here, and its message's id.
    pub(crate) fn get(&self, mailbox: AccountNumber, position: u64) -> Option<(u64, Entry)> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(at).filter(|slot| u64::from(slot.mailbox) == mailbox.0)?;
        Some((slot.id.into(), entry(slot, position)))
    }

    /// All entries up to a position, in no order.
    pub(crate) fn upto(&self, position: u64) -> impl Iterator<Item = Due> {
        let slots = (self.first..=position).zip(&self.slots);
        let taken = slots.filter(|(_, slot)| slot.mailbox != 0);
        taken.map(|(position, slot)| (AccountNumber(slot.mailbox.into()), position))
    }

    /// Lets go of all up to a position.
    pub(crate) fn forget(&mut self, position: u64) {
        let count = position.saturating_add(1).saturating_sub(self.first);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.drain(..count);
        self.first = self.first.max(position.saturating_add(1));
    }

    /// Gives back what a long stretch took.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }
}

fn entry(slot: &Slot, position: u64) -> Entry {
    Entry { position, sender: AccountNumber(slot.sender.into()), size: slot.size }
}

fn link(position: u64) -> Link {
    let [a, b, c, d, ..] = position.to_le_bytes();
    Link(u32::from_le_bytes([a, b, c, d]))
}

/// The slot that a link leads to, which need not be there.
fn offset(first: u64, to: Link) -> usize {
    usize::try_from(to.0.wrapping_sub(link(first).0)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn entry_at(position: u64) -> Entry {
        Entry { position, sender: AccountNumber(7), size: 5 }
    }

    proptest! {
        /// Near where the low bits of positions begin anew, too.
        #[test]
        fn it_keeps_what_lists_would(
            first in prop_oneof![Just(1), Just(u64::from(u32::MAX) - 20)],
            steps in prop::collection::vec((1..4u64, 0..10u32), 1..100),
        ) {
            let mut chains = Chains::new(first);
            let mut lists: HashMap<u64, (u32, Link, Vec<Entry>)> = HashMap::new();
            for (position, (mailbox, what)) in (first..).zip(steps) {
                let (id, newest, list) = lists.entry(mailbox).or_default();
                match what {
                    0 => {
                        let taken = chains.take(AccountNumber(mailbox), *newest, *id);
                        prop_assert_eq!(taken, std::mem::take(list));
                    }
                    1 => {
                        let upto = position.saturating_sub(3);
                        chains.forget(upto);
                        for (.., list) in lists.values_mut() {
                            list.retain(|entry| entry.position > upto);
                        }
                    }
                    // Another record has this position.
                    2 => {}
                    _ => {
                        *id += 1;
                        let entry = entry_at(position);
                        *newest = chains.push(AccountNumber(mailbox), *id, entry, *newest).unwrap();
                        list.push(entry);
                    }
                }
                let mut due: Vec<_> = chains.upto(u64::MAX).collect();
                due.sort_unstable();
                let listed = lists.iter().flat_map(|(mailbox, (.., list))| {
                    list.iter().map(|entry| (AccountNumber(*mailbox), entry.position))
                });
                let mut listed: Vec<_> = listed.collect();
                listed.sort_unstable();
                prop_assert_eq!(due, listed);
            }
        }
    }

    #[test]
    fn numbers_without_room_are_refused() {
        let mut chains = Chains::new(5);
        let far = AccountNumber(1 << 32);
        assert_eq!(chains.push(far, 1, entry_at(5), Link::default()), None);
        assert_eq!(chains.push(AccountNumber(1), 1, entry_at(4), Link::default()), None);
        let entry = Entry { sender: far, ..entry_at(5) };
        assert_eq!(chains.push(AccountNumber(1), 1, entry, Link::default()), None);
        assert_eq!(chains.upto(u64::MAX).count(), 0);
    }
}
