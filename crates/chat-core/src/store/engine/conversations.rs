//! Conversations: who has written to whom, as far as it is in memory.

use super::Engine;
use super::log::Log;
use crate::store::{AccountNumber, StoreError};

impl<L: Log> Engine<L> {
    /// Whether the one ever wrote to the other.
    pub(super) fn has_written(
        &mut self,
        sender: AccountNumber,
        recipient: AccountNumber,
    ) -> Result<bool, StoreError> {
        let tail = &self.cached(recipient)?.mailbox.tail;
        Ok(tail.iter().any(|entry| entry.sender == sender))
    }

    /// Whom an account wrote to: up to `limit` of them.
    pub(super) fn contacts(
        &mut self,
        sender: AccountNumber,
        limit: usize,
    ) -> Result<Vec<AccountNumber>, StoreError> {
        Ok(self.state()?.cache.recipients_of(sender).take(limit).collect())
    }
}
