//! [`KeyHash`]: what a posted message is found by.

use super::Key;
use super::filter::Probe;
use crate::store::AccountNumber;
use crate::store::mix::mix;

/// Forty bits of a hash over a sender and a key. Of ten million keys it is that of a new one once in 100,000; the message
/// itself tells whether it is the one. Kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// Of a key that starts so. The seed is the store's and known to nobody, so that nobody can choose keys that are alike.
    pub(crate) fn new(seed: u64, account: AccountNumber, start: u64) -> Self {
        Self(mix(mix(seed ^ account.0) ^ start) >> (64 - BITS))
    }

    /// That of a run's entry.
    pub(super) fn of(Key([hash, ..]): Key) -> Self {
        Self(hash)
    }

    /// The entry of a run for the message at a position.
    pub(crate) fn at(self, position: u64) -> Key {
        Key([self.0, position, 0])
    }

    /// Whether it is that of a run's entry.
    pub(crate) fn is_of(self, key: Key) -> bool {
        Self::of(key) == self
    }

    /// What the entries of runs are sorted by.
    pub(crate) fn with(self, position: u64) -> u128 {
        u128::from(self.0) << 64 | u128::from(position)
    }

    /// What filters are asked for. In the order of the hashes their lines follow one another.
    pub(crate) fn probe(self) -> Probe {
        Probe::of_hash(self.0 << (64 - BITS))
    }

    /// Buckets that are in the order of the hashes in them.
    pub(crate) const BUCKETS: usize = 1 << BUCKET_BITS;

    pub(crate) fn bucket(self) -> usize {
        usize::try_from(self.0 >> (BITS - BUCKET_BITS)).unwrap_or(0)
    }
}

const BITS: u32 = 40;
/// Of 200,000 keys a bucket has some 3,000, which are looked through in a microsecond; the ends of all buckets fit the nearest
/// cache.
const BUCKET_BITS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_the_order_of_hashes_and_about_alike() {
        let mut hashes: Vec<_> =
            (0..6_400).map(|n| KeyHash::new(9, AccountNumber(n % 7), n)).collect();
        hashes.sort_unstable_by_key(|hash| hash.with(0));
        assert!(hashes.is_sorted_by_key(|hash| hash.bucket()));
        for bucket in 0..KeyHash::BUCKETS {
            let count = hashes.iter().filter(|hash| hash.bucket() == bucket).count();
            assert!((50..150).contains(&count), "{count} in {bucket}");
        }
    }

    #[test]
    fn another_seed_gives_other_hashes() {
        let hash = |seed| KeyHash::new(seed, AccountNumber(1), 1);
        assert_ne!(hash(1), hash(2));
    }
}
