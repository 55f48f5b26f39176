//! Blocks: some thousand bytes of a run's entries, each key written as what it has not in common with the one before. The
//! index and the keys, which have an entry for each message, have their numbers as LEB128.

use super::super::index::{Entry, put_number, take_number};
use super::super::log::{Block, LogError, RunChange, RunKind, View};

use crate::store::AccountNumber;

/// What entries are sorted by: three numbers, and in that order their big-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(pub(crate) [u64; 3]);

/// Bytes of a key.
const KEY_BYTES: usize = 24;

impl Key {
    pub(crate) fn bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        for (chunk, number) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.as_chunks() {
            ([a, b, c], []) => Some(Self([*a, *b, *c].map(u64::from_be_bytes))),
            _ => None,
        }
    }

    /// The first two numbers as one.
    pub(crate) fn owner_and_id(&self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }

    /// How many leading bytes two keys have in common.
    fn shared(self, other: Self) -> usize {
        let mut shared = 0;
        for (a, b) in self.0.iter().zip(other.0) {
            let bits = (a ^ b).leading_zeros();
            shared += usize::try_from(bits / 8).unwrap_or(0);
            if bits < 64 {
                break;
            }
        }
        shared
    }
}

impl RunKind {
    /// Whether such a run has where posted messages lie, by their keys.
    pub(super) fn leads_to_posts(self) -> bool {
        matches!(self, Self::Keys | Self::KeysByAccount)
    }

    /// How many bytes stand beside each key.
    pub(crate) fn value_bytes(self) -> usize {
        match self {
            Self::Index => Entry::VALUE_BYTES,
            Self::Conversations | Self::Keys | Self::KeysByAccount => 0,
            Self::KeysInFull => 32,
        }
    }
}

/// A block as it is put together.
#[derive(Debug)]
pub(super) struct Builder {
    kind: RunKind,
    /// The first key and the last.
    ends: Option<(Key, Key)>,
    bytes: Vec<u8>,
}

impl Builder {
    pub(super) fn new(kind: RunKind) -> Self {
        Self { kind, ends: None, bytes: Vec::new() }
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, key: Key, value: &[u8]) {
        let (first, last) = self.ends.unwrap_or((key, key));
        match self.kind {
            RunKind::Index => put_entry(&mut self.bytes, last, key, value),
            RunKind::Keys => put_hash(&mut self.bytes, last, key),
            RunKind::KeysByAccount => put_place(&mut self.bytes, last, key),
            RunKind::Conversations | RunKind::KeysInFull => {
                let shared = key.shared(last);
                self.bytes.push(u8::try_from(shared).unwrap_or(0));
                self.bytes.extend(key.bytes().iter().skip(shared));
                self.bytes.extend_from_slice(value);
            }
        }
        self.ends = Some((first, key));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// What puts the block, unless it is empty; the builder is empty after it.
    pub(super) fn take(&mut self, run: u64) -> Option<RunChange> {
        let (first, _) = self.ends.take()?;
        let entries = std::mem::take(&mut self.bytes).into_boxed_slice();
        Some(RunChange::Block { run, first: first.bytes().into(), entries })
    }
}

/// The entries of a block.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) keys: Vec<Key>,
    /// The values one behind the other.
    values: Vec<u8>,
    value_bytes: usize,
}

impl Entries {
    pub(super) fn read(kind: RunKind, block: &Block) -> Result<Self, LogError> {
        let (first, bytes) = block;
        let entries = match kind {
            RunKind::Index => Self::decode_index(first, bytes),
            RunKind::Keys => Self::decode_keys(first, bytes, take_hash),
            RunKind::KeysByAccount => Self::decode_keys(first, bytes, take_place),
            RunKind::Conversations | RunKind::KeysInFull => {
                Self::decode(kind.value_bytes(), first, bytes)
            }
        };
        let entries = entries.ok_or_else(damaged)?;
        match entries.keys.is_empty() {
            true => Err(damaged()),
            false => Ok(entries),
        }
    }

    fn decode(value_bytes: usize, first: &[u8], mut bytes: &[u8]) -> Option<Self> {
        let mut entries = Self { value_bytes, ..Self::default() };
        let mut last: [u8; KEY_BYTES] = first.try_into().ok()?;
        while let Some((shared, rest)) = bytes.split_first() {
            let own = last.get_mut(usize::from(*shared)..)?;
            let (suffix, rest) = rest.split_at_checked(own.len())?;
            own.copy_from_slice(suffix);
            let (value, rest) = rest.split_at_checked(value_bytes)?;
            entries.keys.push(Key::from_bytes(&last)?);
            entries.values.extend_from_slice(value);
            bytes = rest;
        }
        Some(entries)
    }

    fn decode_index(first: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut entries = Self { value_bytes: Entry::VALUE_BYTES, ..Self::default() };
        each_of_index(first, bytes, |key, value| {
            entries.keys.push(key);
            entries.values.extend_from_slice(value);
            true
        })?;
        Some(entries)
    }

    fn decode_keys(
        first: &[u8],
        mut bytes: &[u8],
        take: impl Fn(&mut &[u8], Key) -> Option<Key>,
    ) -> Option<Self> {
        let mut entries = Self::default();
        let mut last = Key::from_bytes(first)?;
        while !bytes.is_empty() {
            last = take(&mut bytes, last)?;
            entries.keys.push(last);
        }
        Some(entries)
    }

    /// What stands beside the key at that place.
    pub(super) fn value(&self, at: usize) -> &[u8] {
        let from = at.saturating_mul(self.value_bytes);
        self.values.get(from..from.saturating_add(self.value_bytes)).unwrap_or_default()
    }
}

/// Gives the entries of a block of the index, as long as more are wanted; whether they still are. `None` if the block is
/// damaged.
fn each_of_index(
    first: &[u8],
    mut bytes: &[u8],
    mut take: impl FnMut(Key, &[u8]) -> bool,
) -> Option<bool> {
    let mut last = Key::from_bytes(first)?;
    while !bytes.is_empty() {
        let (key, value) = take_entry(&mut bytes, last)?;
        if !take(key, &value) {
            return Some(false);
        }
        last = key;
    }
    Some(true)
}

/// Gives a run of the index from a key on, and up to a block of what lies below it, as long as more is wanted.
pub(crate) fn read_from(
    view: &(impl View + ?Sized),
    run: u64,
    key: Key,
    mut take: impl FnMut(Key, &[u8]) -> bool,
) -> Result<(), LogError> {
    let bytes = key.bytes();
    let mut next = match view.block_at(run, &bytes)? {
        // The run begins after the key.
        None => view.block_after(run, &bytes)?,
        block => block,
    };
    while let Some((first, entries)) = next {
        if !each_of_index(&first, &entries, &mut take).ok_or_else(damaged)? {
            return Ok(());
        }
        next = view.block_after(run, &first)?;
    }
    Ok(())
}

fn damaged() -> LogError {
    LogError::damaged_tables("a block of a sorted run is damaged")
}

/// A key behind another, the last of whose numbers is a position: how much larger the first number is, and, if it is the
/// same, the second; the distance of the positions, its sign in the lowest bit.
fn put_place(bytes: &mut Vec<u8>, last: Key, key: Key) {
    let (Key([last_owner, last_id, last_position]), Key([owner, id, position])) = (last, key);
    put_number(bytes, owner.wrapping_sub(last_owner));
    put_number(bytes, if owner == last_owner { id.wrapping_sub(last_id) } else { id });
    put_distance(bytes, last_position, position);
}

fn put_distance(bytes: &mut Vec<u8>, last: u64, position: u64) {
    let distance = position.wrapping_sub(last).cast_signed();
    put_number(bytes, (distance << 1 ^ distance >> 63).cast_unsigned());
}

fn take_distance(bytes: &mut &[u8], last: u64) -> Option<u64> {
    let distance = take_number(bytes)?;
    Some(last.wrapping_add(distance >> 1 ^ (distance & 1).wrapping_neg()))
}

/// A hash and a position behind others: how much larger the hash is, and the distance of the positions.
fn put_hash(bytes: &mut Vec<u8>, last: Key, key: Key) {
    let (Key([last_hash, last_position, _]), Key([hash, position, _])) = (last, key);
    put_number(bytes, hash.wrapping_sub(last_hash));
    put_distance(bytes, last_position, position);
}

/// The same back; `None` if it is damaged.
fn take_hash(bytes: &mut &[u8], last: Key) -> Option<Key> {
    let Key([last_hash, last_position, _]) = last;
    let hash = last_hash.wrapping_add(take_number(bytes)?);
    Some(Key([hash, take_distance(bytes, last_position)?, 0]))
}

/// The same back; `None` if it is damaged.
fn take_place(bytes: &mut &[u8], last: Key) -> Option<Key> {
    let Key([last_owner, last_id, last_position]) = last;
    let owner = last_owner.wrapping_add(take_number(bytes)?);
    let id = take_number(bytes)?;
    let id = if owner == last_owner { last_id.wrapping_add(id) } else { id };
    Some(Key([owner, id, take_distance(bytes, last_position)?]))
}

/// An entry of the index behind another: its key, sender and size.
fn put_entry(bytes: &mut Vec<u8>, last: Key, key: Key, value: &[u8]) {
    put_place(bytes, last, key);
    let Some((sender, size)) = value.split_first_chunk() else { return };
    put_number(bytes, u64::from_le_bytes(*sender));
    put_number(bytes, size.try_into().map_or(0, u32::from_le_bytes).into());
}

/// The same back; `None` if it is damaged.
fn take_entry(bytes: &mut &[u8], last: Key) -> Option<(Key, [u8; Entry::VALUE_BYTES])> {
    let key = take_place(bytes, last)?;
    let sender = AccountNumber(take_number(bytes)?);
    let size = u32::try_from(take_number(bytes)?).ok()?;
    Some((key, Entry { position: 0, sender, size }.value()))
}

/// How large a block grows, and at most an entry beyond: with the longest, of 57 bytes, it still fits into a page of the file
/// (4,061 bytes with 4 before them: sqlite.org/fileformat2.html, "Cell payload overflow pages"). Tests cut small.
const BLOCK_BYTES: usize = if cfg!(test) { 60 } else { 4_000 };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(kind: RunKind, change: Option<RunChange>) -> Entries {
        let Some(RunChange::Block { first, entries, .. }) = change else { panic!("no block") };
        Entries::read(kind, &(first, entries)).unwrap()
    }

    proptest! {
        #[test]
        fn a_block_survives_its_bytes(
            mut keys in prop::collection::vec(prop::array::uniform3(prop_oneof![0..4u64, any::<u64>()]), 1..50),
            kind in prop::sample::select(vec![
                RunKind::Index,
                RunKind::Conversations,
                RunKind::Keys,
                RunKind::KeysByAccount,
                RunKind::KeysInFull,
            ]),
        ) {
            if kind == RunKind::Keys {
                keys.iter_mut().for_each(|key| key[2] = 0);
            }
            keys.sort_unstable();
            let value = |at: usize| vec![u8::try_from(at).unwrap(); kind.value_bytes()];
            let mut builder = Builder::new(kind);
            for (at, key) in keys.iter().enumerate() {
                builder.push(Key(*key), &value(at));
            }
            let entries = decoded(kind, builder.take(1));
            prop_assert!(builder.take(1).is_none());
            prop_assert_eq!(entries.keys.iter().map(|key| key.0).collect::<Vec<_>>(), keys.clone());
            for at in 0..keys.len() {
                prop_assert_eq!(entries.value(at), value(at));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(
            first in prop::collection::vec(any::<u8>(), 20..28),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            for kind in [RunKind::Index, RunKind::Keys, RunKind::KeysByAccount, RunKind::KeysInFull] {
                let _ = Entries::read(kind, &(first.clone().into(), bytes.clone().into()));
            }
        }

        #[test]
        fn keys_are_in_the_order_of_their_bytes(a in any::<[u64; 3]>(), b in any::<[u64; 3]>()) {
            prop_assert_eq!(Key(a).cmp(&Key(b)), Key(a).bytes().cmp(&Key(b).bytes()));
        }
    }
}
