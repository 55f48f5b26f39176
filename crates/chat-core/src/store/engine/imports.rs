//! Imports: accounts staged out of sight, and made visible all at once.

use std::collections::HashMap;

use super::Engine;
use super::accounts::new_row;
use super::log::{Batch, ImportChange, Log, LogError, Slice};
use crate::Timestamp;
use crate::store::request::{Answer, Outcome};
use crate::store::{AccountNumber, HashedAccount, ImportId, StoreError};

/// An import that is not committed: whatever it staged is hidden.
#[derive(Debug)]
pub(super) struct Import {
    /// The first account number it may have.
    first: AccountNumber,
    staged: u64,
    /// It does not come about: accounts up to this number go, slice by slice.
    clear_to: Option<AccountNumber>,
}

/// What the last run left unfinished does not come about.
pub(super) fn left_over(
    imports: &[(ImportId, AccountNumber)],
    next_account: u64,
) -> HashMap<ImportId, Import> {
    let clear_to = Some(AccountNumber(next_account));
    imports
        .iter()
        .map(|(import, first)| (*import, Import { first: *first, staged: 0, clear_to }))
        .collect()
}

impl<L: Log> Engine<L> {
    pub(super) fn begin_import(&mut self) -> Outcome {
        self.can_write()?;
        // Random, because rows keep the number of the import they came with for ever.
        let random = self.options.random.next_u64();
        let import = ImportId(random >> 1);
        let state = self.state()?;
        let first = AccountNumber(state.next_account);
        state.imports.insert(import, Import { first, staged: 0, clear_to: None });
        state.pending.imports.push(ImportChange::Begin(import, first));
        Ok(Answer::Import(import))
    }

    pub(super) fn stage_import(
        &mut self,
        import: ImportId,
        accounts: Vec<HashedAccount>,
        now: Timestamp,
    ) -> Outcome {
        self.can_write()?;
        self.open_import(import)?;
        let mut taken = Vec::new();
        for account in accounts {
            if self.is_taken(&account.username.key())? {
                taken.push(account.username);
                continue;
            }
            let row = new_row(self.next_account()?, account, Some(import), now);
            self.state()?.put_account(row, None);
            self.open_import(import)?.staged += 1;
        }
        Ok(Answer::Taken(taken))
    }

    pub(super) fn commit_import(&mut self, import: ImportId) -> Outcome {
        self.can_write()?;
        let Import { staged, first, .. } = *self.open_import(import)?;
        let state = self.state()?;
        // Everybody sees its accounts from now on.
        let before = AccountNumber(first.0.saturating_sub(1));
        state.to_know = Some(state.to_know.map_or(before, |from| from.min(before)));
        state.imports.remove(&import);
        state.pending.imports.push(ImportChange::End(import));
        Ok(Answer::Count(staged))
    }

    pub(super) fn abort_import(&mut self, import: ImportId) -> Result<(), StoreError> {
        let next = AccountNumber(self.state()?.next_account);
        self.open_import(import)?.clear_to = Some(next);
        Ok(())
    }

    fn open_import(&mut self, import: ImportId) -> Result<&mut Import, StoreError> {
        let import =
            self.state()?.imports.get_mut(&import).filter(|import| import.clear_to.is_none());
        import.ok_or(StoreError::BadArguments("the import is not open"))
    }

    /// Clears one slice of an import that does not come about; whether there is more.
    pub(super) fn import_step(&mut self) -> Result<bool, LogError> {
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        let doomed =
            state.imports.iter_mut().find_map(|(id, import)| Some((*id, import.clear_to?, import)));
        let Some((id, to, import)) = doomed else {
            return Ok(false);
        };
        let upto = AccountNumber(to.0.min(import.first.0.saturating_add(SLICE_ACCOUNTS)));
        self.log
            .put(&Slice { drop_accounts: Some((id, import.first, upto)), ..Slice::default() })?;
        import.first = upto;
        if upto == to {
            let end = Batch {
                first: state.pending.first,
                imports: vec![ImportChange::End(id)],
                ..Batch::default()
            };
            self.log.append(&end)?;
            state.imports.remove(&id);
        }
        Ok(true)
    }
}

/// Accounts deleted in one slice: meant to be a few milliseconds, not measured.
const SLICE_ACCOUNTS: u64 = 1_000;
