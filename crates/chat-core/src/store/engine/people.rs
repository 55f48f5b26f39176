//! Whom a user wants to hear from, and whom to let know what.

use super::Engine;
use super::log::{AccountChange, BlockChange, Log};
use crate::Timestamp;
use crate::store::{AccountNumber, PrivacyChoice, PrivacySubject, SessionKey, StoreError};

impl<L: Log> Engine<L> {
    pub(super) fn block(
        &mut self,
        session: SessionKey,
        username: &str,
        on: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let account = self.user(session, now)?;
        let other = match on {
            true => self.live_account(username)?.number,
            false => self.known_account(username)?.number,
        };
        if other == account {
            return Err(StoreError::BadArguments("nobody can block themselves"));
        }
        let blocks = &self.cached(account)?.blocks;
        if blocks.contains(other) == on {
            return Ok(());
        }
        if on && blocks.len() >= MOST_BLOCKS {
            self.unblock_removed(account, now)?;
            if self.cached(account)?.blocks.len() >= MOST_BLOCKS {
                return Err(StoreError::BadArguments("a user blocks at most 1000 others"));
            }
        }
        self.change_blocks(account, &[other], on, now)
    }

    /// Who was removed sends nothing any more, and may have left a name that nobody can unblock.
    fn unblock_removed(
        &mut self,
        account: AccountNumber,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut removed = Vec::new();
        let blocked: Vec<_> = self.cached(account)?.blocks.iter().collect();
        for other in blocked {
            if self.account_row(other)?.is_none_or(|row| row.removed.is_some()) {
                removed.push(other);
            }
        }
        match removed.is_empty() {
            true => Ok(()),
            false => self.change_blocks(account, &removed, false, now),
        }
    }

    fn change_blocks(
        &mut self,
        account: AccountNumber,
        others: &[AccountNumber],
        on: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut row = self.account_row(account)?.ok_or(StoreError::NoSession)?;
        let mut blocks = self.cached(account)?.blocks.clone();
        others.iter().for_each(|other| blocks.set(*other, on));
        row.blocks = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
        self.change_account(row, AccountChange::Changed, now)?;
        self.cached(account)?.blocks = blocks;
        let changes = others.iter().map(|other| BlockChange { account, blocked: *other, on });
        self.state()?.pending.blocks.extend(changes);
        Ok(())
    }

    pub(super) fn set_privacy(
        &mut self,
        session: SessionKey,
        subject: PrivacySubject,
        choice: PrivacyChoice,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let account = self.user(session, now)?;
        let mut row = self.account_row(account)?.ok_or(StoreError::NoSession)?;
        let chosen = match subject {
            PrivacySubject::Receipts => &mut row.receipts,
            PrivacySubject::Presence => &mut row.presence,
        };
        if *chosen == choice {
            return Ok(());
        }
        *chosen = choice;
        self.change_account(row, AccountChange::Changed, now)
    }

    /// Whether a user lets another know what was delivered.
    pub(super) fn lets_know_of_receipts(
        &mut self,
        user: AccountNumber,
        other: AccountNumber,
    ) -> Result<bool, StoreError> {
        let cached = self.cached(user)?;
        match cached.receipts {
            _ if user == other => Ok(true),
            _ if cached.blocks.contains(other) => Ok(false),
            PrivacyChoice::On => Ok(true),
            PrivacyChoice::Off => Ok(false),
            PrivacyChoice::Default => self.has_written(user, other),
        }
    }
}

/// Most users that one blocks: what is loaded with a mailbox, and what one user may have the store keep.
const MOST_BLOCKS: usize = 1_000;
