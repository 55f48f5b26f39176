//! [`Cache`]: accounts in use, and whom every username leads to.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::blocks::Blocks;
use super::directory::{Directory, Recipient};
use super::log::{AccountRow, LogError, View};
use crate::store::{AccountNumber, PrivacyChoice};

/// What is known of an account in use.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) username: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) removed: bool,
    pub(crate) receipts: PrivacyChoice,
    pub(crate) presence: PrivacyChoice,
    pub(crate) blocks: Blocks,
    /// The generation in which it was last used.
    used: u64,
}

#[derive(Debug)]
pub(crate) struct Cache {
    by_number: HashMap<AccountNumber, Cached>,
    pub(crate) directory: Directory,
    generation: u64,
}

impl Cache {
    pub(crate) fn new(accounts: u64) -> Self {
        let accounts = usize::try_from(accounts).unwrap_or(0);
        Self {
            by_number: HashMap::new(),
            directory: Directory::with_capacity(accounts),
            generation: 0,
        }
    }

    pub(crate) fn get(&mut self, number: AccountNumber) -> Option<&mut Cached> {
        let cached = self.by_number.get_mut(&number)?;
        cached.used = self.generation;
        Some(cached)
    }

    /// Takes an account in.
    pub(crate) fn load(
        &mut self,
        view: &impl View,
        row: &AccountRow,
    ) -> Result<&mut Cached, LogError> {
        if !self.by_number.contains_key(&row.number) {
            let blocks = Blocks::load(view, row)?;
            self.insert(row, blocks);
        }
        self.get(row.number)
            .ok_or_else(|| LogError::Failed("an account just loaded is gone".into()))
    }

    /// Takes a changed or new account in; those it blocks stay.
    pub(crate) fn update(&mut self, row: &AccountRow, old_key: Option<&str>) {
        if let Some(old) = self.by_number.remove(&row.number) {
            self.insert(row, old.blocks);
        }
        if let Some(key) = old_key {
            self.directory.remove(key);
        }
        self.know(row);
    }

    /// Takes note of whom a username leads to; everybody sees the account unless it was removed.
    pub(crate) fn know(&mut self, row: &AccountRow) -> Recipient {
        let recipient = Recipient { number: row.number, blocks: row.blocks > 0 };
        // Who was removed is not found by name any more.
        if let Some(key) = row.key.as_ref().filter(|_| row.removed.is_none()) {
            self.directory.insert(key, recipient);
        }
        recipient
    }

    /// Begins another generation, and lets go of accounts that nobody used in the last one, beyond a number of them.
    pub(crate) fn shrink(&mut self, keep: usize) {
        let generation = self.generation;
        self.generation += 1;
        if self.by_number.len() > keep {
            self.by_number.retain(|_, cached| cached.used == generation);
        }
        self.bound(keep);
    }

    /// Lets go of all accounts if they are twice as many as shall be kept.
    pub(crate) fn bound(&mut self, keep: usize) {
        if self.by_number.len() > keep.saturating_mul(2) {
            self.clear();
        }
    }

    /// Lets go of all accounts.
    pub(crate) fn clear(&mut self) {
        self.by_number = HashMap::new();
    }

    fn insert(&mut self, row: &AccountRow, blocks: Blocks) {
        let cached = Cached {
            username: Arc::clone(&row.username),
            name: Arc::clone(&row.name),
            removed: row.removed.is_some(),
            receipts: row.receipts,
            presence: row.presence,
            blocks,
            used: self.generation,
        };
        self.by_number.insert(row.number, cached);
    }
}
