//! [`Filter`]: tells in one look at memory that a run has not what is looked for.

use super::memory::Memory;
use crate::store::mix::mix;

/// A Bloom filter in lines of one cache line each; an item sets one bit in each of the eight words of its line.
#[derive(Debug)]
pub(crate) struct Filter {
    /// The line of an item is as far along them as its hash is along all numbers.
    lines: Memory,
}

/// Eight words of eight bytes, the lowest first.
type Line = [[u8; 8]; 8];

/// What is looked for, the same for every filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    hash: u64,
    /// Eight times six bits: which bit of each word.
    bits: u64,
}

impl Probe {
    pub(crate) fn new(item: [u64; 3]) -> Self {
        Self::of_hash(item.iter().fold(0, |hash, number| mix(hash ^ number)))
    }

    /// Of what has that hash.
    pub(crate) fn of_hash(hash: u64) -> Self {
        Self { hash, bits: mix(hash) }
    }

    fn bits(self) -> [u64; 8] {
        [0, 6, 12, 18, 24, 30, 36, 42].map(|shift| 1 << (self.bits >> shift & 63))
    }
}

impl Filter {
    /// An empty one with room for that many items, so many to a line.
    pub(crate) fn for_items(items: u64, a_line: usize) -> Self {
        let items = usize::try_from(items).unwrap_or(usize::MAX);
        Self { lines: Memory::zeroed(lines_for(items.div_ceil(a_line)) * LINE) }
    }

    fn lines(&self) -> &[Line] {
        self.lines.as_chunks().0.as_chunks().0
    }

    pub(crate) fn insert(&mut self, probe: &Probe) {
        let at = self.line_of(probe);
        let lines: &mut [Line] = self.lines.as_chunks_mut().0.as_chunks_mut().0;
        if let Some(line) = lines.get_mut(at) {
            for (word, bit) in line.iter_mut().zip(probe.bits()) {
                *word = (u64::from_le_bytes(*word) | bit).to_le_bytes();
            }
        }
    }

    /// Several, which wait for memory together.
    pub(crate) fn insert_all(&mut self, probes: &[Probe]) {
        for probes in probes.chunks(GLANCED) {
            self.glance(probes.iter());
            probes.iter().for_each(|probe| self.insert(probe));
        }
    }

    pub(crate) fn may_have(&self, probe: &Probe) -> bool {
        // Without branches: several filters are probed in a row, and their cache misses shall overlap.
        self.lines().get(self.line_of(probe)).is_none_or(|line| {
            let mut bits = probe.bits;
            let all = line.iter().fold(1, |all, word| {
                let has = u64::from_le_bytes(*word) >> (bits & 63);
                bits >>= 6;
                all & has
            });
            all == 1
        })
    }

    /// Of several whether the filter has them not, where that is so of those before it; they wait for memory together.
    pub(crate) fn sift(&self, probes: &[Option<Probe>], new: &mut [bool]) {
        for (probes, new) in probes.chunks(GLANCED).zip(new.chunks_mut(GLANCED)) {
            self.glance(probes.iter().flatten());
            for (new, probe) in new.iter_mut().zip(probes) {
                *new &= !probe.as_ref().is_some_and(|probe| self.may_have(probe));
            }
        }
    }

    /// Has memory fetched what these need.
    fn glance<'a>(&self, probes: impl Iterator<Item = &'a Probe>) {
        let lines = probes.filter_map(|probe| self.lines().get(self.line_of(probe)));
        std::hint::black_box(lines.fold(0, |seen, line| seen ^ line[0][0]));
    }

    /// As small as it may be for the items that it has: halved as long as that is enough.
    pub(crate) fn shrunk_to(mut self, items: u64, a_line: usize) -> Self {
        let wanted = usize::try_from(items).map_or(usize::MAX, |items| items.div_ceil(a_line));
        while let (halves, []) = self.lines().as_chunks::<2>()
            && halves.len() >= wanted.max(1)
        {
            let mut lines = Memory::zeroed(halves.len() * LINE);
            for (line, [a, b]) in lines.chunks_exact_mut(LINE).zip(halves) {
                let both = a.as_flattened().iter().zip(b.as_flattened());
                line.iter_mut().zip(both).for_each(|(byte, (a, b))| *byte = a | b);
            }
            self.lines = lines;
        }
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// Whether bytes can be those of a filter.
    pub(crate) fn are_bytes(bytes: &[u8]) -> bool {
        !bytes.is_empty() && bytes.len().is_multiple_of(LINE)
    }

    /// From its bytes; `None` if they are none of a filter.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !Self::are_bytes(bytes) {
            return None;
        }
        let mut lines = Memory::zeroed(bytes.len());
        lines.copy_from_slice(bytes);
        Some(Self { lines })
    }

    fn line_of(&self, probe: &Probe) -> usize {
        let lines = u128::try_from(self.lines.len() / LINE).unwrap_or(0);
        usize::try_from((u128::from(probe.hash) * lines) >> 64).unwrap_or(0)
    }
}

/// A number that can be halved until little is left, and not much more than it takes.
fn lines_for(wanted: usize) -> usize {
    let wanted = wanted.max(1);
    let unit = (wanted / 16).next_power_of_two();
    wanted.next_multiple_of(unit)
}

/// Bytes of a line.
const LINE: usize = 64;
/// Items that are looked at before they are put: what they need is in the nearest cache then.
pub(crate) const GLANCED: usize = 64;
/// Conversations in a line: 25 bits each, so that about one in 20,000 of what is not there gets through. Dozens of filters
/// are asked for each, and each that is wrong costs a read.
pub(crate) const CONVERSATIONS_A_LINE: usize = 20;
/// Keys in a line: 16 bits each, so that about one in 1,500 of what is not there gets through. It has to get through two
/// filters.
pub(crate) const KEYS_A_LINE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(room: u64, items: u64) -> Filter {
        let mut filter = Filter::for_items(room, 20);
        (0..items).for_each(|n| filter.insert(&Probe::new([1, n, 7])));
        filter
    }

    #[test]
    fn what_is_in_it_passes_and_nearly_nothing_else_does() {
        let shrunk = filled(1_000_000, 100_000).shrunk_to(100_000, 20);
        assert!(shrunk.lines().len() < 10_000, "{} lines", shrunk.lines().len());
        for filter in [filled(100_000, 100_000), shrunk] {
            assert!((0..100_000).all(|n| filter.may_have(&Probe::new([1, n, 7]))));
            let passed = (0..100_000).filter(|n| filter.may_have(&Probe::new([2, *n, 7]))).count();
            assert!(passed < 20, "{passed} of 100,000");
        }
    }

    #[test]
    fn it_survives_its_bytes() {
        for items in [0, 1, 33, 5_000] {
            let filter = filled(items, items);
            let again = Filter::from_bytes(filter.as_bytes()).unwrap();
            assert_eq!(again.as_bytes(), filter.as_bytes());
        }
        assert!(Filter::from_bytes(&[0; 63]).is_none());
        assert!(Filter::from_bytes(&[]).is_none());
    }
}
