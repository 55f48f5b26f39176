//! [`Content`]: the bytes of a file, changed wholly or as a loss of power leaves it.

use fastrand::Rng;

use super::Mood;

/// Bytes, which may be more than the length says.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    length: usize,
}

/// What was done to a file.
#[derive(Debug)]
pub(super) enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

impl Content {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, data } => {
                self.write(*offset, data);
                self.length = self.length.max(offset + data.len());
            }
            Change::Resize(length) => self.resize(*length),
        }
    }

    pub(super) fn apply_in_part(&mut self, change: &Change, mood: Mood, random: &mut Rng) {
        match change {
            Change::Write { offset, data } => {
                self.write_in_part(*offset, data, mood, random);
                let end = offset + data.len();
                if end > self.length && random.f64() < mood.keep.max(mood.tear) {
                    self.length = end;
                }
            }
            Change::Resize(length) => {
                if random.f64() < mood.keep {
                    self.resize(*length);
                }
            }
        }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.resize(self.length, 0);
        self.bytes
    }

    fn write_in_part(&mut self, offset: usize, data: &[u8], mood: Mood, random: &mut Rng) {
        if random.f64() < mood.keep {
            self.write(offset, data);
        } else if random.f64() < mood.tear {
            for (offset, sector) in sectors(offset, data) {
                if random.bool() {
                    self.write(offset, sector);
                }
            }
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn resize(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.length = length;
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(mut offset: usize, mut data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let room = SECTOR_BYTES - offset % SECTOR_BYTES;
        let (sector, rest) = data.split_at(room.min(data.len()));
        let at = offset;
        (offset, data) = (offset + sector.len(), rest);
        (!sector.is_empty()).then_some((at, sector))
    })
}

/// What a disk writes at once, or not at all.
const SECTOR_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: usize, text: &str) -> Change {
        Change::Write { offset, data: text.into() }
    }

    #[test]
    fn the_whole_of_it() {
        let mut content = Content::default();
        for change in [write(3, "ab"), write(4, "c"), Change::Resize(4), Change::Resize(6)] {
            content.apply(&change);
        }
        assert_eq!(content.into_bytes(), b"\0\0\0a\0\0");
    }

    #[test]
    fn a_write_is_kept_dropped_or_torn_at_sectors() {
        let (old, new) = ("o".repeat(2_000), "n".repeat(1_500));
        let mut random = Rng::with_seed(1);
        let mut after = |keep, tear| {
            let mut content = Content::default();
            content.apply(&write(0, &old));
            content.apply_in_part(&write(100, &new), Mood { keep, tear }, &mut random);
            content.into_bytes()
        };
        assert_eq!(after(0.0, 0.0), old.as_bytes());
        assert_eq!(&after(1.0, 0.0)[100..1_600], new.as_bytes());
        let torn: Vec<_> = (0..50).map(|_| after(0.0, 1.0)).collect();
        for torn in &torn {
            for sector in [100..512, 512..1_024, 1_024..1_536, 1_536..1_600] {
                assert!(torn[sector].windows(2).all(|pair| pair[0] == pair[1]));
            }
        }
        assert!(torn.iter().any(|torn| torn[100] != torn[512]), "all or nothing each time");
    }

    #[test]
    fn a_length_may_be_missing_and_what_was_not_kept_reads_as_zeros() {
        let mut random = Rng::with_seed(1);
        let lengths: Vec<_> = (0..50)
            .map(|_| {
                let mut content = Content::default();
                content.apply_in_part(&write(0, "abc"), Mood { keep: 0.5, tear: 0.0 }, &mut random);
                content.into_bytes()
            })
            .collect();
        for possible in [&b""[..], b"abc", b"\0\0\0"] {
            assert!(lengths.iter().any(|content| content == possible), "{possible:?}");
        }
    }
}
