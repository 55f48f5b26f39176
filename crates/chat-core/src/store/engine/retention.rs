//! Letting go of what is old: the log is trimmed at its old end; what is still undelivered moves to `parked` first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::index::{IndexRow, ROW_IDS, last_below};
use super::log::{Log, LogError, Parked, Record, Slice};
use super::timer::Timer;
use crate::Timestamp;
use crate::store::{AccountNumber, Message};

impl<L: Log> Engine<L> {
    /// Trims one slice of the log, if it is time to look and there is something old; whether there may be more.
    pub(super) fn retention_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        let every = LOOK_EVERY.min(self.options.retention);
        if state.lacks_oldest || !state.retention_timer.is_due(now, every) {
            return Ok(false);
        }
        let old = match state.start <= state.covered {
            true => self.log.records(state.start, SLICE_RECORDS),
            false => Ok(Vec::new()),
        };
        let mut old = match old {
            // No write has failed: those go on, and what is old stays until its file is back.
            Err(error @ LogError::Unreadable { .. }) => {
                error.tell_unreadable("cannot let go of old messages");
                state.retention_timer = Timer::starting(now, every);
                return Ok(false);
            }
            old => old?,
        };
        let (covered, retention) = (state.covered, self.options.retention);
        let count = old
            .iter()
            .take_while(|(at, record)| *at <= covered && now.since(record.time()) >= retention)
            .count();
        let full = count == SLICE_RECORDS;
        old.truncate(count);
        if !full {
            state.retention_timer = Timer::starting(now, every);
        }
        // However old it is by the clock: that may have been set, and the store long at rest.
        let posted_from = state.runs.oldest_posted();
        let before = old.last().map_or(state.start, |(last, _)| last + 1);
        let needed_from = posted_from.map_or(before, |posted| posted.min(before));
        // With nothing old, the time of a key may be over all the same, and what it led to goes.
        if old.is_empty() && state.needed_from.is_some_and(|known| known >= needed_from) {
            return Ok(false);
        }
        let mut slice = self.trim_slice(&old, before)?;
        slice.posted_from = posted_from;
        self.log.put(&slice)?;
        if let Some(state) = &mut self.state {
            (state.start, state.needed_from) = (before, Some(needed_from));
        }
        Ok(full)
    }

    /// What goes with these records, the oldest there are.
    fn trim_slice(&mut self, old: &[(u64, Record)], before: u64) -> Result<Slice, LogError> {
        let mut slice = Slice { trim_before: Some(before), ..Slice::default() };
        let mut drop_rows: BTreeMap<AccountNumber, u64> = BTreeMap::new();
        for (position, record) in old {
            let Record::Message { mailbox, message, .. } = record else {
                continue;
            };
            if self.is_undelivered(*mailbox, message)? {
                let parked = Parked { position: *position, message: Arc::clone(message) };
                slice.park.push((*mailbox, parked));
            }
            let id = message.id.get();
            // A row goes with its last message: whatever it still points to is trimmed.
            if id % ROW_IDS == ROW_IDS - 1 {
                drop_rows.insert(*mailbox, IndexRow::number(id) + 1);
            }
        }
        slice.drop_deliveries =
            drop_rows.iter().map(|(mailbox, row)| (*mailbox, last_below(*row))).collect();
        slice.drop_rows = drop_rows.into_iter().collect();
        Ok(slice)
    }

    fn is_undelivered(
        &mut self,
        mailbox: AccountNumber,
        message: &Message,
    ) -> Result<bool, LogError> {
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        let head = state.mailboxes.load(&self.log, &state.runs, mailbox)?.head;
        // Of who was removed nothing waits.
        Ok(message.id > head.cursor && message.id <= head.last)
    }
}

/// How often old records are looked for, unless they are to go even sooner.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Records trimmed in one slice: meant to be a few milliseconds, not measured.
const SLICE_RECORDS: usize = 400;
