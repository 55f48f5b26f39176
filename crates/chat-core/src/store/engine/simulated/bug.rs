//! [`Bug`]: faults built in on purpose, to see that tests find them.

use super::tables::{Tables, Write};
use crate::MessageId;
use crate::store::engine::heads::{HeadBytes, HeadRow};
use crate::store::engine::log::{Batch, Record, Slice};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// One commit in sixteen is called durable before it is synced; the next one's sync makes up for it.
    AckBeforeSync,
    /// The first slice of a flush claims that everything is covered.
    CoveredEarly,
    /// The flush writes heads without the moves of the cursor.
    CursorForgotten,
    /// The log does not keep the keys of posted messages.
    KeysForgotten,
}

impl Bug {
    /// Changes a write as the bug would.
    pub(super) fn spoil(self, write: &mut Write, tables: &Tables) {
        match write {
            Write::Batch(batch) => self.spoil_batch(batch),
            Write::Slice(slice) => self.spoil_slice(slice, tables),
        }
    }

    pub(super) fn forgets_sync(self, writes: u64) -> bool {
        self == Self::AckBeforeSync && writes.is_multiple_of(16)
    }

    fn spoil_batch(self, batch: &mut Batch) {
        if self != Self::KeysForgotten {
            return;
        }
        for record in &mut batch.records {
            if let Record::Message { key, .. } = record {
                *key = None;
            }
        }
    }

    fn spoil_slice(self, slice: &mut Slice, tables: &Tables) {
        match self {
            Self::CoveredEarly if !slice.heads.is_empty() => {
                slice.covered = Some(tables.next - 1);
            }
            Self::CursorForgotten => {
                for (number, bytes) in &mut slice.heads {
                    let old = tables.heads.get(number);
                    let mut row = HeadRow::decode(&bytes.0).unwrap_or_default();
                    for (at, head) in row.0.iter_mut().enumerate() {
                        head.cursor = old
                            .and_then(|old| old.0.get(at))
                            .map_or(MessageId::ZERO, |old| old.cursor);
                    }
                    let applied = row.0.first().map_or(0, |head| head.applied);
                    *bytes = HeadBytes::of(row.0, applied);
                }
            }
            _ => {}
        }
    }
}
