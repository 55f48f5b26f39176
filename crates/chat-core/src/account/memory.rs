//! Memory for Argon2, kept by the thread that hashes from one hash to the next.

use std::cell::RefCell;

use argon2::{Block, Error};

/// Calls `hash` with so many blocks, whatever is in them. Those of a usual hash stay with the thread until it ends: it would
/// take a tenth of the time of a hash to get them from the system and to clear them for each.
pub(super) fn with_blocks<T>(
    count: usize,
    hash: impl FnOnce(&mut [Block]) -> Result<T, Error>,
) -> Result<T, Error> {
    // A thread that is ending has none any more.
    let mut blocks = KEPT.try_with(RefCell::take).unwrap_or_default();
    let missing = count.saturating_sub(blocks.len());
    blocks.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory)?;
    blocks.resize(blocks.len() + missing, Block::new());
    let hashed = hash(blocks.get_mut(..count).unwrap_or_default());
    if blocks.len() <= MOST_KEPT {
        let _ = KEPT.try_with(|kept| kept.replace(blocks));
    }
    hashed
}

thread_local! {
    static KEPT: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// 64 MiB, the next but one step in memory that is recommended (RFC 9106, section 4). What takes more takes so long that
/// getting memory for it does not count.
const MOST_KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn used(count: usize) -> usize {
        with_blocks(count, |blocks| Ok(blocks.len())).unwrap()
    }

    fn kept() -> usize {
        KEPT.with_borrow(Vec::len)
    }

    #[test]
    fn usual_memory_is_kept_and_more_is_not() {
        assert_eq!((used(16), kept()), (16, 16));
        assert_eq!((used(8), kept()), (8, 16));
        assert_eq!((used(MOST_KEPT + 1), kept()), (MOST_KEPT + 1, 0));
        assert_eq!((used(24), kept()), (24, 24));
    }

    #[test]
    fn too_much_is_an_error() {
        let outcome = with_blocks(usize::MAX / 1024, |_| Ok(()));
        assert_eq!(outcome, Err(Error::OutOfMemory));
    }
}
