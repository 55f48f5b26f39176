//! [`Memory`]: bytes that are read here and there, on large pages if they are many.

use std::ops::{Deref, DerefMut};

/// So many bytes, zero at first.
///
/// Each read of a page that was not read lately costs a walk through the tables of pages, which takes about as long as the read
/// itself and in a virtual machine several times that. Linux gives pages of 2 MiB to who asks for them, if it has any; elsewhere,
/// and below that size, this is a vector.
#[derive(Debug)]
pub(super) enum Memory {
    Small(Vec<u8>),
    #[cfg(target_os = "linux")]
    Large(memmap2::MmapMut),
}

impl Memory {
    pub(super) fn zeroed(len: usize) -> Self {
        Self::large(len).unwrap_or_else(|| Self::Small(vec![0; len]))
    }

    #[cfg(target_os = "linux")]
    fn large(len: usize) -> Option<Self> {
        if len < LARGE_PAGE {
            return None;
        }
        let memory = memmap2::MmapMut::map_anon(len).ok()?;
        // A kernel that has none leaves it with pages of the usual size.
        let _ = memory.advise(memmap2::Advice::HugePage);
        Some(Self::Large(memory))
    }

    #[cfg(not(target_os = "linux"))]
    fn large(_len: usize) -> Option<Self> {
        None
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Self::Large(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Self::Large(bytes) => bytes,
        }
    }
}

/// A large page of x86-64, and of AArch64 as a rule.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zero_and_keeps_what_is_put() {
        for len in [0, 64, (2 << 20) - 1, 2 << 20, (4 << 20) + 64] {
            let mut memory = Memory::zeroed(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|byte| *byte == 0));
            memory.fill(7);
            assert!(memory.iter().all(|byte| *byte == 7));
        }
    }
}
