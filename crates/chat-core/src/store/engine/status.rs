//! What became of a message, for its sender.

use super::incarnations::incarnation_tag;
use super::index::{self, Entry, IndexRow, entries};
use super::log::Log;
use super::{Engine, State, opaque, pages};
use crate::protocol::DeliveryState;
use crate::store::request::{Answer, Outcome};
use crate::store::{AccountNumber, DeliveryStatus, SentId, SessionKey, StoreError};
use crate::{MessageId, Timestamp};

/// A message that its sender asks for.
struct Sent {
    mailbox: AccountNumber,
    id: MessageId,
    stored: Timestamp,
    /// Whether it would not be kept any more had it been delivered.
    outlived: bool,
}

impl<L: Log> Engine<L> {
    pub(super) fn status(&mut self, session: SessionKey, id: SentId, now: Timestamp) -> Outcome {
        let sender = self.user(session, now)?;
        let sent = self.sent(sender, id)?.ok_or(StoreError::NoSuchMessage)?;
        let Sent { mailbox, id, stored, outlived } = sent;
        let (mut pushed, mut delivered) = (None, None);
        if self.lets_know_of_receipts(mailbox, sender)? {
            pushed = self.watchers.pushed(mailbox, id);
            delivered = self.delivered(mailbox, id)?.map(|time| time.max(stored));
        } else if outlived {
            // That only what is undelivered is kept so long must not tell what the recipient does not.
            return Err(StoreError::NoSuchMessage);
        }
        let state = match (pushed, delivered) {
            (_, Some(_)) => DeliveryState::Delivered,
            (Some(_), None) => DeliveryState::Pushed,
            (None, None) => DeliveryState::Stored,
        };
        Ok(Answer::Status(DeliveryStatus { state, stored, pushed, delivered }))
    }

    /// The message that an id stands for, if this user sent it and it is kept.
    fn sent(&mut self, sender: AccountNumber, sent: SentId) -> Result<Option<Sent>, StoreError> {
        let state = self.state()?;
        let (mailbox, id, tag) = state.opaque.open_sent(sent);
        // Whatever was made up opens as something, but hardly ever as this.
        if !state.incarnations.iter().any(|(_, name)| opaque::tag(name) == tag) {
            return Ok(None);
        }
        if self.account_row(mailbox)?.is_none_or(|row| row.removed.is_some()) {
            return Ok(None);
        }
        let entry = self.entry(mailbox, id)?.filter(|entry| entry.sender == sender);
        // A copy that was put back gives ids again, and what was sent before tells of other messages.
        let incarnations = &self.state()?.incarnations;
        let same = |entry: &Entry| incarnation_tag(incarnations, entry.position) == tag;
        let Some(entry) = entry.filter(same) else {
            return Ok(None);
        };
        let last = self.mailbox(mailbox)?.head.last;
        let beyond = index::beyond_count(last, self.options.retention_messages);
        let outlived = IndexRow::number(id.get()) < index::row_above(beyond)
            || entry.position < self.state()?.start;
        let stored = self.stored(mailbox, id, entry.position)?;
        Ok(stored.map(|stored| Sent { mailbox, id, stored, outlived }))
    }

    /// What is known of a message of a mailbox.
    fn entry(
        &mut self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Entry>, StoreError> {
        let last = self.mailbox(mailbox)?.head.last;
        let Some(before) = id.get().checked_sub(1).filter(|_| id <= last) else {
            return Ok(None);
        };
        let Self { state: Some(state), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let State { mailboxes, runs, .. } = state;
        let known = mailboxes.get(mailbox).ok_or(StoreError::Internal)?;
        let found = entries(log, runs, mailbox, known, MessageId::new(before), id);
        Ok(found.map_err(Self::unreadable)?.pop())
    }

    /// When a message was stored; `None` if it is not kept any more.
    fn stored(
        &mut self,
        mailbox: AccountNumber,
        id: MessageId,
        position: u64,
    ) -> Result<Option<Timestamp>, StoreError> {
        let state = self.state()?;
        // Memory may hold longer what retention let go of.
        if let Some(message) = state.recent.get(position).filter(|_| position >= state.start) {
            return Ok(Some(message.time));
        }
        if let Some(record) = state.pending.get(position) {
            return Ok(Some(record.time()));
        }
        let found = pages::find(&self.log, mailbox, id, Some(position));
        Ok(found.map_err(Self::unreadable)?.map(|message| message.time))
    }

    /// When a message was delivered.
    fn delivered(
        &mut self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Timestamp>, StoreError> {
        if id > self.mailbox(mailbox)?.head.cursor {
            return Ok(None);
        }
        // What is on disk is the older half: memory alone would answer with a later move.
        match self.log.delivery(mailbox, id).map_err(Self::unreadable)? {
            Some(time) => Ok(Some(time)),
            None => Ok(self.mailbox(mailbox)?.deliveries.of(id)),
        }
    }
}
