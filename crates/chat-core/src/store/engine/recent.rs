//! [`Recent`]: the newest messages, so that reading soon after sending costs no disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::log::Record;
use crate::store::Message;

/// The newest committed messages by log position, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The position of the first slot.
    first: u64,
    /// One slot a position; only messages fill theirs.
    slots: VecDeque<Option<Arc<Message>>>,
    bytes: usize,
    max_bytes: usize,
}

impl Recent {
    /// Empty; the next record committed will have position `next`.
    pub(crate) fn new(next: u64, max_bytes: usize) -> Self {
        Self { first: next, slots: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Takes note of the next record.
    pub(crate) fn push(&mut self, record: &Record) {
        let message = match record {
            Record::Message { message, .. } => Some(Arc::clone(message)),
            _ => None,
        };
        self.bytes += cost(message.as_ref());
        self.slots.push_back(message);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.slots.pop_front() else {
                break;
            };
            self.first += 1;
            self.bytes -= cost(oldest.as_ref());
        }
    }

    /// Forgets all messages so far.
    pub(crate) fn clear(&mut self) {
        let slots = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        *self = Self::new(self.first.saturating_add(slots), self.max_bytes);
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Arc<Message>> {
        let offset = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.slots.get(offset)?.as_ref()
    }
}

/// What a slot takes: the message's bytes and about what it costs to hold it.
fn cost(message: Option<&Arc<Message>>) -> usize {
    8 + message.map_or(0, |message| size_of::<Message>() + message.body.len())
}
