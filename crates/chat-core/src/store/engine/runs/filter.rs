//! [`Filter`]: tells in one look at memory that a run has not what is looked for.

use crate::store::mix::mix;

/// A Bloom filter in lines of one cache line each; an item sets one bit in each of the eight words of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The one of an item is as far along them as its hash is along all numbers.
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// What is looked for, the same for every filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    hash: u64,
    /// Eight times six bits: which bit of each word.
    bits: u64,
}

impl Probe {
    pub(crate) fn new(item: [u64; 3]) -> Self {
        let hash = item.iter().fold(0, |hash, number| mix(hash ^ number));
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
        Self { lines: vec![Line::default(); lines_for(items.div_ceil(a_line))] }
    }

    pub(crate) fn insert(&mut self, probe: &Probe) {
        let at = self.line_of(probe);
        if let Some(line) = self.lines.get_mut(at) {
            line.0.iter_mut().zip(probe.bits()).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// Several, which wait for memory together.
    pub(crate) fn insert_all(&mut self, probes: &[Probe]) {
        for probes in probes.chunks(GLANCED) {
            let words = probes.iter().filter_map(|probe| self.lines.get(self.line_of(probe)));
            std::hint::black_box(words.fold(0, |seen, line| seen ^ line.0[0]));
            probes.iter().for_each(|probe| self.insert(probe));
        }
    }

    pub(crate) fn may_have(&self, probe: &Probe) -> bool {
        // Without branches: several filters are probed in a row, and their cache misses shall overlap.
        self.lines.get(self.line_of(probe)).is_none_or(|line| {
            line.0.iter().zip(probe.bits()).fold(0, |missing, (word, bit)| missing | (bit & !word))
                == 0
        })
    }

    /// As small as it may be for the items that it has: halved as long as that is enough.
    pub(crate) fn shrunk_to(mut self, items: u64, a_line: usize) -> Self {
        let wanted = usize::try_from(items).map_or(usize::MAX, |items| items.div_ceil(a_line));
        while let (halves, []) = self.lines.as_chunks::<2>()
            && halves.len() >= wanted.max(1)
        {
            self.lines = halves.iter().map(|[a, b]| a.union(*b)).collect();
        }
        self
    }

    pub(crate) fn write_to(&self, bytes: &mut Vec<u8>) {
        for word in self.lines.iter().flat_map(|line| line.0) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// From its bytes; `None` if they are none of a filter.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let (lines, []) = words.as_chunks::<8>() else { return None };
        let line = |line: &[[u8; 8]; 8]| Line(line.map(u64::from_le_bytes));
        let filter = Self { lines: lines.iter().map(line).collect() };
        (!filter.lines.is_empty()).then_some(filter)
    }

    fn line_of(&self, probe: &Probe) -> usize {
        let lines = u128::try_from(self.lines.len()).unwrap_or(0);
        usize::try_from((u128::from(probe.hash) * lines) >> 64).unwrap_or(0)
    }
}

impl Line {
    fn union(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
        self
    }
}

/// A number that can be halved until little is left, and not much more than it takes.
fn lines_for(wanted: usize) -> usize {
    let wanted = wanted.max(1);
    let unit = (wanted / 16).next_power_of_two();
    wanted.next_multiple_of(unit)
}

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
        assert!(shrunk.lines.len() < 10_000, "{} lines", shrunk.lines.len());
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
            let mut bytes = Vec::new();
            filter.write_to(&mut bytes);
            assert_eq!(Filter::from_bytes(&bytes), Some(filter));
        }
        assert_eq!(Filter::from_bytes(&[0; 63]), None);
        assert_eq!(Filter::from_bytes(&[]), None);
    }
}
