//! [`Tail`]: the newest entries of a mailbox.

use super::index::Entry;

/// Entries in the order of their ids, which is that of their positions. Among many mailboxes most have one at most, which
/// takes no allocation.
#[derive(Debug, Clone, Default)]
pub(crate) enum Tail {
    #[default]
    Empty,
    One(Entry),
    Many(Vec<Entry>),
}

impl Tail {
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Self::Empty => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        match self {
            Self::Empty => *self = Self::One(entry),
            Self::One(first) => *self = Self::Many(vec![*first, entry]),
            Self::Many(entries) => entries.push(entry),
        }
    }

    /// Lets go of what lies at this position or before it.
    pub(crate) fn forget(&mut self, position: u64) {
        let count = self.entries().partition_point(|entry| entry.position <= position);
        match self {
            _ if count == self.entries().len() => *self = Self::Empty,
            Self::Many(entries) => drop(entries.drain(..count)),
            Self::Empty | Self::One(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AccountNumber;

    #[test]
    fn what_was_pushed_is_there_until_it_is_forgotten() {
        for count in 0..5 {
            for position in 0..6 {
                let mut tail = Tail::default();
                for n in 1..=count {
                    tail.push(Entry { position: n, sender: AccountNumber(1), size: 1 });
                }
                tail.forget(position);
                let left: Vec<_> = tail.entries().iter().map(|entry| entry.position).collect();
                assert_eq!(left, (position + 1..=count).collect::<Vec<_>>());
            }
        }
    }
}
