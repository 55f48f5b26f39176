//! Writing the newest stretch behind: heads and index rows, in slices, off the commit path.

use std::time::Duration;

use super::index::{IndexRow, last_below};
use super::log::{Log, LogError, RunKind, Slice, View};
use super::mailbox::{Head, Mailbox};
use super::runs::Run;
use super::stretch::{Stretch, StretchWriter};
use super::{Engine, FLUSH_EVERY, State, Timer};
use crate::store::AccountNumber;
use crate::{MessageId, Timestamp};

/// A flush under way.
#[derive(Debug)]
pub(super) struct Flush {
    /// The covered position once it is complete.
    target: u64,
    /// Mailboxes still to be written, in order.
    mailboxes: std::vec::IntoIter<AccountNumber>,
    /// What is written as runs once all mailboxes are.
    pub(super) stretch: Stretch,
    writer: Option<StretchWriter>,
}

impl<L: Log> Engine<L> {
    /// Puts one slice, if a flush is under way or due; whether there is more to do.
    pub(super) fn flush_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        let running = self.running();
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        let end = state.pending.first - 1;
        if state.flush.is_none() {
            if !is_due(state, end, self.options.stretch, now) {
                return Ok(false);
            }
            state.flush = Some(Flush::new(state, end));
        }
        let Some(flush) = &mut state.flush else {
            return Ok(false);
        };
        let mut slice = Slice::default();
        let mut written: Vec<(AccountNumber, Head)> = Vec::new();
        while slice.weight() < slice_weight(self.options.stretch) {
            let Some(number) = flush.mailboxes.next() else {
                break;
            };
            let kept = self.options.retention_messages;
            if let Some(head) =
                write_mailbox(&self.log, &mut state.cache, number, kept, end, &mut slice)?
            {
                written.push((number, head));
            }
        }
        let runs = match slice.weight() {
            0 => flush.write_runs(&mut self.run_numbers, running, &mut slice),
            _ => Vec::new(),
        };
        self.log.put(&slice)?;
        for (kind, run) in runs {
            state.runs.add_written(kind, run, &flush.stretch.keys.filters);
        }
        settle(state, &slice, written, self.options.cached_mailboxes);
        if slice.covered.is_some() {
            state.flush_timer = Timer::starting(now, FLUSH_EVERY);
        }
        Ok(state.flush.is_some())
    }
}

impl Flush {
    fn new(state: &mut State, target: u64) -> Self {
        let mut stretch = std::mem::take(&mut state.stretch);
        stretch.close();
        let mailboxes = state.cache.take_dirty().into_iter();
        Self { target, mailboxes, stretch, writer: None }
    }

    /// Writes a slice of the runs. The last one completes them, and with them the flush.
    fn write_runs(
        &mut self,
        numbers: &mut u64,
        running: Duration,
        slice: &mut Slice,
    ) -> Vec<(RunKind, Run)> {
        let number = || {
            *numbers += 1;
            *numbers
        };
        let mut writer =
            self.writer.take().unwrap_or_else(|| StretchWriter::new(&self.stretch, number, slice));
        if !writer.step(&self.stretch, slice) {
            self.writer = Some(writer);
            return Vec::new();
        }
        slice.covered = Some(self.target);
        slice.running = Some(running);
        writer.finish(self.target, running.as_secs(), slice)
    }
}

/// What one slice may come to. A short stretch is cut small, too.
fn slice_weight(stretch: u64) -> usize {
    usize::try_from(stretch / LEAST_SLICES).unwrap_or(usize::MAX).clamp(1, SLICE_WEIGHT)
}

/// Whether the stretch is long enough, or old enough.
fn is_due(state: &State, end: u64, stretch: u64, now: Timestamp) -> bool {
    let length = end - state.covered;
    length >= stretch || (length > 0 && state.flush_timer.is_due(now, FLUSH_EVERY))
}

/// Adds what the disk lacks of a mailbox to the slice; gives the head as it will stand there.
fn write_mailbox<L: Log>(
    log: &L,
    cache: &mut super::cache::Cache,
    number: AccountNumber,
    kept: u64,
    end: u64,
    slice: &mut Slice,
) -> Result<Option<Head>, LogError> {
    let Some(row) = log.account(number)? else {
        return Ok(None);
    };
    let cached = cache.load(log, &row)?;
    if cached.removed {
        slice.drop_mailboxes.push(number);
        return Ok(Some(Head { applied: end, ..Head::default() }));
    }
    let mailbox = &cached.mailbox;
    if !mailbox.dirty {
        return Ok(None);
    }
    write_rows(log, number, mailbox, slice)?;
    let before = mailbox.head;
    let floor = before.floor.max(beyond_count(before.last, kept).min(before.cursor));
    if row_above(floor) > row_above(before.floor) {
        slice.drop_rows.push((number, row_above(floor)));
        slice.drop_deliveries.push((number, last_below(row_above(floor))));
    }
    if mailbox.cursor_moved {
        slice.drop_parked.push((number, before.cursor));
    }
    let deliveries = mailbox.deliveries.iter();
    slice.deliveries.extend(deliveries.map(|(upto, time)| (number, upto, time)));
    let head = Head { floor, applied: end, ..before };
    slice.heads.push((number, head));
    Ok(Some(head))
}

/// The index rows that the tail adds to. The first may be there in part.
fn write_rows(
    log: &impl View,
    number: AccountNumber,
    mailbox: &Mailbox,
    slice: &mut Slice,
) -> Result<(), LogError> {
    let first = mailbox.tail_first();
    let mut row: Option<(u64, IndexRow)> = None;
    for (id, entry) in (first..).zip(&mailbox.tail) {
        let wanted = IndexRow::number(id);
        if let Some((have, full)) = row.take_if(|(have, _)| *have != wanted) {
            slice.rows.push((number, have, full));
        }
        if row.is_none() {
            let mut there = match id == first {
                true => log.index_row(number, wanted)?.unwrap_or_default(),
                false => IndexRow::default(),
            };
            there.truncate(id);
            if there.entries.is_empty() {
                there.first = id;
            }
            row = Some((wanted, there));
        }
        if let Some((_, row)) = &mut row {
            row.entries.push(*entry);
        }
    }
    slice.rows.extend(row.map(|(have, row)| (number, have, row)));
    Ok(())
}

/// The newest message beyond the count that is kept.
pub(super) fn beyond_count(last: MessageId, kept: u64) -> MessageId {
    MessageId::new(last.get().saturating_sub(kept))
}

/// The number of the first row with an id above this one.
pub(super) fn row_above(id: MessageId) -> u64 {
    IndexRow::number(id.get() + 1)
}

/// The slice is on disk: memory need not keep what is there now.
fn settle(state: &mut State, slice: &Slice, written: Vec<(AccountNumber, Head)>, keep: usize) {
    for (number, head) in written {
        if let Some(cached) = state.cache.get(number) {
            cached.mailbox.flushed(head);
        }
    }
    if let Some(covered) = slice.covered {
        state.covered = covered;
        state.flush = None;
        state.cache.shrink(keep);
    }
}

/// Rows in one slice, which everybody waits for: meant to be a few milliseconds, not measured by itself. What any send
/// waited with flushes running is in `docs/performance.md`. Tests cut small, so that much happens between.
const SLICE_WEIGHT: usize = if cfg!(test) { 2 } else { 400 };
/// A stretch of as many messages to as many mailboxes takes twice that many slices.
const LEAST_SLICES: u64 = 8;
