//! [`Directory`]: whom a username leads to, for every account.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::store::AccountNumber;

/// Who gets a message that is sent to a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) number: AccountNumber,
    /// Whether it blocks anybody.
    pub(crate) blocks: bool,
}

/// Accounts that everybody sees, by username in lower case. What is not here may be there all the same: the accounts'
/// table knows.
///
/// Of an account it takes 8 bytes in the table and its name and 5 bytes in a row with the others. The place of a name that
/// goes stays empty until the next start.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    table: HashTable<Place>,
    /// Number (4 bytes), flag and length (1 byte), and name, one behind the other.
    names: Vec<u8>,
    hasher: RandomState,
    /// Grows with every change, so that what was looked up before is known to stand.
    changes: u64,
}

/// Where a name lies, and half of its hash, so that neither growing nor a name that is not there costs a look.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    at: u32,
}

impl Directory {
    /// Empty, with room for so many.
    pub(crate) fn with_capacity(accounts: usize) -> Self {
        Self { table: HashTable::with_capacity(accounts), ..Self::default() }
    }

    /// How many are in it.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Recipient> {
        let hash = self.hash(key);
        let place = self.table.find(spread(hash), |place| is(&self.names, *place, hash, key))?;
        self.entry(*place).map(recipient)
    }

    /// Puts an account in, unless its number or name is larger than there is room for.
    pub(crate) fn insert(&mut self, key: &str, recipient: Recipient) {
        let number = u32::try_from(recipient.number.0);
        let (at, length) = (u32::try_from(self.names.len()), u8::try_from(key.len()));
        let (Ok(number), Ok(at), Ok(length @ ..BLOCKS)) = (number, at, length) else {
            return self.remove(key);
        };
        self.changes += 1;
        let hash = self.hash(key);
        let Self { table, names, .. } = self;
        names.extend_from_slice(&number.to_le_bytes());
        names.push(length | if recipient.blocks { BLOCKS } else { 0 });
        names.extend_from_slice(key.as_bytes());
        let place = Place { hash, at };
        match table.entry(
            spread(hash),
            |place| is(names, *place, hash, key),
            |place| spread(place.hash),
        ) {
            Entry::Occupied(mut old) => *old.get_mut() = place,
            Entry::Vacant(free) => drop(free.insert(place)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.changes += 1;
        let hash = self.hash(key);
        let Self { table, names, .. } = self;
        if let Ok(found) = table.find_entry(spread(hash), |place| is(names, *place, hash, key)) {
            found.remove();
        }
    }

    /// Looks many names up, in any case; a step for all before the next, so that memory is asked for many at once.
    pub(crate) fn get_all<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Vec<Option<Recipient>> {
        let hashes: Vec<_> = names.clone().map(|name| self.hash_of(name)).collect();
        let find = |hash: u32| self.table.find(spread(hash), |place| place.hash == hash).copied();
        let places: Vec<_> = hashes.into_iter().map(|hash| find(hash?)).collect();
        let found = places.into_iter().zip(names).map(|(place, name)| {
            let entry =
                self.entry(place?).filter(|(.., key)| name.as_bytes().eq_ignore_ascii_case(key));
            entry.map(recipient)
        });
        found.collect()
    }

    /// How often it was changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    fn hash_of(&self, name: &str) -> Option<u32> {
        let mut lower = [0; 64];
        lower_case(name, &mut lower).map(|key| self.hash(key))
    }

    fn hash(&self, key: &str) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(key).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn entry(&self, place: Place) -> Option<(u32, u8, &[u8])> {
        entry(&self.names, place)
    }
}

/// A username as accounts are found by; `None` if it is longer than any.
pub(crate) fn lower_case<'a>(username: &str, lower: &'a mut [u8; 64]) -> Option<&'a str> {
    let lower = lower.get_mut(..username.len())?;
    lower.copy_from_slice(username.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

fn recipient((number, flags, _): (u32, u8, &[u8])) -> Recipient {
    Recipient { number: AccountNumber(number.into()), blocks: flags & BLOCKS != 0 }
}

fn is(names: &[u8], place: Place, hash: u32, key: &str) -> bool {
    place.hash == hash && entry(names, place).is_some_and(|(.., name)| name == key.as_bytes())
}

/// Number, flag and length, and name.
fn entry(names: &[u8], place: Place) -> Option<(u32, u8, &[u8])> {
    let (number, rest) = names.get(usize::try_from(place.at).ok()?..)?.split_first_chunk()?;
    let (flags, rest) = rest.split_first()?;
    Some((u32::from_le_bytes(*number), *flags, rest.get(..usize::from(flags & !BLOCKS))?))
}

/// The table takes places by the low bits and tells them apart by the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Set beside the length of the name of an account that blocks somebody.
const BLOCKS: u8 = 0x80;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_answers_as_a_map_does(steps in prop::collection::vec(("[a-c]{1,3}", any::<u32>(), any::<bool>(), any::<bool>()), 0..200)) {
            let (mut directory, mut map) = (Directory::default(), HashMap::new());
            for (key, number, blocks, inserts) in steps {
                let recipient = Recipient { number: AccountNumber(number.into()), blocks };
                match inserts {
                    true => {
                        directory.insert(&key, recipient);
                        map.insert(key, recipient);
                    }
                    false => {
                        directory.remove(&key);
                        map.remove(&key);
                    }
                }
                prop_assert!(map.iter().all(|(key, recipient)| directory.get(key) == Some(*recipient)));
                let all = directory.get_all(["A", "Bc", "ab", "ccc"].into_iter());
                let each = ["a", "bc", "ab", "ccc"].map(|key| map.get(key).copied());
                prop_assert_eq!(all, each.to_vec());
                prop_assert_eq!(directory.table.len(), map.len());
            }
        }
    }

    #[test]
    fn a_number_too_large_is_left_out() {
        let mut directory = Directory::default();
        directory.insert("messi", Recipient { number: AccountNumber(1 << 32), blocks: false });
        assert_eq!(directory.get("messi"), None);
        let long = "x".repeat(65);
        assert_eq!(directory.get_all([long.as_str(), "messi"].into_iter()), [None, None]);
    }
}
