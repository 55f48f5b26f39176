//! [`Blocks`]: whom a user takes no messages from.

use super::log::{AccountRow, LogError, View};
use crate::store::AccountNumber;

/// The accounts that one account blocks, in order. As a rule there are none, which costs every message that is sent one
/// comparison.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocks(Vec<AccountNumber>);

impl Blocks {
    pub(crate) fn load(view: &impl View, row: &AccountRow) -> Result<Self, LogError> {
        let mut blocked = match row.blocks {
            0 => Vec::new(),
            _ => view.blocks(row.number)?,
        };
        blocked.sort_unstable();
        Ok(Self(blocked))
    }

    pub(crate) fn contains(&self, other: AccountNumber) -> bool {
        !self.0.is_empty() && self.0.binary_search(&other).is_ok()
    }

    pub(crate) fn set(&mut self, other: AccountNumber, on: bool) {
        match (self.0.binary_search(&other), on) {
            (Err(at), true) => self.0.insert(at, other),
            (Ok(at), false) => drop(self.0.remove(at)),
            _ => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = AccountNumber> {
        self.0.iter().copied()
    }
}
