//! Writing the newest stretch behind: heads, index and runs, in slices, off the commit path.

use std::sync::Arc;
use std::time::Duration;

use super::chains::{Due, NOWHERE};
use super::heads;
use super::index::{beyond_count, last_below, row_above};
use super::log::{Log, LogError, RunKind, Slice, View};
use super::mailboxes::Mailboxes;
use super::runs::{ENTRIES_A_SLICE, Run, Runs, Writer};
use super::stretch::{Finished, Stretch, StretchWriter};
use super::timer::Timer;
use super::work::Progress;
use super::worker::{Task, Worker};
use super::{Engine, State};
use crate::store::AccountNumber;
use crate::{MessageId, Timestamp};

/// A flush under way: heads and index, mailbox by mailbox, and meanwhile the other runs, which the worker writes; last, memory
/// lets go of what the index has.
#[derive(Debug)]
pub(super) struct Flush {
    /// The covered position once it is complete.
    target: u64,
    /// What to write, in order of mailbox.
    due: Vec<Due>,
    /// How much of that is written.
    written: usize,
    /// The run that gets the index.
    index: Option<Writer>,
    /// What is written as the other runs.
    pub(super) stretch: Arc<Stretch>,
    /// `None` once they are put.
    runs: Option<StretchRuns>,
    /// Of how much of that memory has let go, once everything is written.
    forgotten: Option<usize>,
    /// The end of the log at the last step.
    seen: u64,
    /// The same when the worker was given its last.
    runs_seen: u64,
    /// The step that is to be put next, if it is ready.
    prepared: Option<Result<Step, LogError>>,
}

/// How far the stretch is written as runs.
#[derive(Debug)]
enum StretchRuns {
    Begun(Box<StretchWriter>),
    /// The worker writes some more.
    Writing(Task<(Slice, Self)>),
    /// They are whole once this is put.
    Finished(Finished),
}

/// A step of a flush that is ready to be put.
#[derive(Debug)]
enum Step {
    /// What the disk lacks of some mailboxes.
    Rows(Box<Slice>),
    /// Memory let go of something; whether there is more to let go of.
    Forgot { more: bool },
}

impl<L: Log> Engine<L> {
    /// Makes one step ready, if a flush is under way or due and none is ready yet. It may tell of messages whose commit can
    /// still fail, so it is put, by [`flush_step`](Self::flush_step), once that has not, and before anything else is carried out.
    pub(super) fn prepare_flush(&mut self, now: Timestamp) {
        let is_due = self.is_flush_due(now);
        let Some(state) = &mut self.state else { return };
        if state.flush.as_ref().is_some_and(|flush| flush.prepared.is_some()) {
            return;
        }
        let end = state.pending.first - 1;
        if state.flush.is_none() {
            if !is_due {
                return;
            }
            state.flush = Some(Flush::new(state, end, &mut self.run_numbers));
        }
        let step = self.next_step(end);
        if let Some(flush) = self.state.as_mut().and_then(|state| state.flush.as_mut()) {
            flush.prepared = Some(step);
        }
    }

    /// Whether what is in memory alone is long enough, or old enough, to be written behind.
    pub(super) fn is_flush_due(&self, now: Timestamp) -> bool {
        let Some(state) = &self.state else { return false };
        let most = if self.calm.follows_a_storm() { CALM_LENGTH } else { u64::MAX };
        let length = state.pending.first - 1 - state.covered;
        length >= self.options.stretch.min(most).max(1)
            || (length > 0 && state.flush_timer.is_due(now, FLUSH_EVERY))
    }

    fn next_step(&mut self, end: u64) -> Result<Step, LogError> {
        let running = self.running().as_secs();
        let Some(State { flush: Some(flush), mailboxes, runs, worker, .. }) = &mut self.state
        else {
            return Ok(Step::Forgot { more: false });
        };
        let came = came_since(&mut flush.seen, end);
        if let Some(forgotten) = flush.forgotten {
            let room = entries_for(came, FORGOTTEN_A_MESSAGE, MOST_ENTRIES);
            return Ok(Step::Forgot { more: flush.forget(forgotten, room, mailboxes) });
        }
        let room = entries_for(came, INDEXED_A_MESSAGE, MOST_ENTRIES);
        flush.write_runs(worker, end, running);
        let mut slice = Slice::default();
        let most = due_a_slice(self.options.stretch);
        let (from, mut entries) = (flush.written, 0);
        while flush.written < flush.due.len()
            && flush.written - from < most
            && entries < room
            && slice.weight() < SLICE_WEIGHT
        {
            let kept = self.options.retention_messages;
            let numbers = &mut self.run_numbers;
            entries +=
                flush.write_row(&self.log, mailboxes, runs, kept, end, numbers, &mut slice)?;
        }
        Ok(Step::Rows(Box::new(slice)))
    }

    /// Puts the step that is ready, or the next one. A busy store does not wait for the worker.
    pub(super) fn flush_step(&mut self, now: Timestamp) -> Result<Progress, LogError> {
        self.prepare_flush(now);
        if self.state.as_ref().is_none_or(|state| state.flush.is_none()) {
            return Ok(Progress::Idle);
        }
        let (waits, running) = (!self.load.is_busy(), self.running());
        let flush = self.state.as_mut().and_then(|state| state.flush.as_mut());
        let Some(flush) = flush else { return Ok(Progress::Idle) };
        let Some(step) = flush.prepared.take() else { return Ok(Progress::Idle) };
        let mut slice = match step? {
            Step::Rows(slice) => slice,
            Step::Forgot { more } => {
                if !more && let Some(state) = &mut self.state {
                    state.flush = None;
                    state.cache.shrink(self.options.cached_mailboxes);
                }
                // Another flush may be due by now, and comes before other work.
                return Ok(Progress::More);
            }
        };
        let has_rows = !slice.heads.is_empty();
        if !flush.add_runs(waits && !has_rows, &mut slice)? && !has_rows {
            return Ok(Progress::Waits);
        }
        let completed = flush.complete(running, &mut slice);
        self.log.put(&slice)?;
        if let Some(state) = &mut self.state {
            state.put(&slice, completed, now);
        }
        Ok(Progress::More)
    }
}

impl State {
    /// Takes note of what the disk has now.
    fn put(&mut self, slice: &Slice, completed: Vec<(RunKind, Run)>, now: Timestamp) {
        let Some(flush) = &mut self.flush else { return };
        for (kind, run) in completed {
            self.runs.add_written(kind, run, &flush.stretch.keys.filters);
        }
        if let Some(covered) = slice.covered {
            self.covered = covered;
            self.mailboxes.indexed(covered);
            self.flush_timer = Timer::starting(now, FLUSH_EVERY);
            flush.stretch = Arc::default();
            flush.forgotten = Some(0);
        }
    }
}

impl Flush {
    fn new(state: &mut State, target: u64, numbers: &mut u64) -> Self {
        let mut stretch = std::mem::take(&mut state.stretch);
        stretch.close(&mut state.runs);
        let number = || {
            *numbers += 1;
            *numbers
        };
        let runs = StretchRuns::Begun(Box::new(StretchWriter::new(&stretch, number)));
        Self {
            target,
            due: state.mailboxes.take_due(target),
            written: 0,
            index: None,
            stretch: Arc::new(stretch),
            runs: Some(runs),
            forgotten: None,
            seen: target,
            runs_seen: target,
            prepared: None,
        }
    }

    /// Adds what the disk lacks of the mailboxes whose heads are in the next row, and that row; how many entries of the
    /// index that took.
    #[expect(
        clippy::too_many_arguments,
        reason = "parts of an engine that is borrowed piece by piece"
    )]
    fn write_row(
        &mut self,
        log: &impl View,
        mailboxes: &mut Mailboxes,
        runs: &Runs,
        kept: u64,
        end: u64,
        numbers: &mut u64,
        slice: &mut Slice,
    ) -> Result<usize, LogError> {
        let rest = self.due.get(self.written..).unwrap_or_default();
        let Some((row, _)) = rest.first().map(|(number, _)| heads::place(*number)) else {
            return Ok(0);
        };
        let upto = rest.partition_point(|(number, _)| heads::place(*number).0 <= row);
        let index = self.index.get_or_insert_with(|| {
            *numbers += 1;
            Writer::new(*numbers, RunKind::Index, 0)
        });
        let due = rest.get(..upto).unwrap_or_default();
        let mut entries = 0;
        for due in due.chunk_by(|(one, _), (other, _)| one == other) {
            entries +=
                write_mailbox((log, runs), mailboxes, due, (kept, self.target), index, slice)?;
        }
        self.written += upto;
        slice.heads.push((row, mailboxes.row(row, end)));
        Ok(entries)
    }

    /// Has the worker write some more of the stretch. `running` is the running time in seconds.
    fn write_runs(&mut self, worker: &mut Worker, end: u64, running: u64) {
        let (stretch, target) = (Arc::clone(&self.stretch), self.target);
        let mut writer = match self.runs.take() {
            Some(StretchRuns::Begun(writer)) => writer,
            other => {
                self.runs = other;
                return;
            }
        };
        let room = entries_for(came_since(&mut self.runs_seen, end), ASIDE_A_MESSAGE, MOST_ASIDE);
        self.runs = Some(StretchRuns::Writing(worker.begin(move || {
            let mut slice = Slice::default();
            let runs = match writer.step(&stretch, room, &mut slice) {
                true => StretchRuns::Finished(writer.finish(target, running)),
                false => StretchRuns::Begun(writer),
            };
            (slice, runs)
        })));
    }

    /// Adds what the worker has written; whether it is done with that.
    fn add_runs(&mut self, waits: bool, slice: &mut Slice) -> Result<bool, LogError> {
        let task = match self.runs.take() {
            Some(StretchRuns::Writing(task)) => task,
            other => {
                self.runs = other;
                return Ok(true);
            }
        };
        let written = if waits { Some(task.wait()) } else { task.poll() };
        let Some(written) = written else {
            self.runs = Some(StretchRuns::Writing(task));
            return Ok(false);
        };
        let (written, runs) = written?;
        slice.runs.extend(written.runs);
        self.runs = Some(runs);
        Ok(true)
    }

    /// Completes the runs, and with them the flush, if nothing is left to write.
    fn complete(&mut self, running: Duration, slice: &mut Slice) -> Vec<(RunKind, Run)> {
        let finished = match self.runs.take() {
            Some(StretchRuns::Finished(finished)) if self.written == self.due.len() => finished,
            other => {
                self.runs = other;
                return Vec::new();
            }
        };
        slice.covered = Some(self.target);
        slice.running = Some(running);
        slice.runs.extend(finished.last);
        let index = self.index.take().map(|writer| writer.finish(self.target, slice));
        let index = index.map(|run| (RunKind::Index, run));
        finished.runs.into_iter().chain(index).collect()
    }

    /// Lets go of what the index has now, for some mailboxes; whether there are more.
    fn forget(&mut self, from: usize, room: usize, mailboxes: &mut Mailboxes) -> bool {
        let upto = from.saturating_add(room).min(self.due.len());
        for (number, _) in self.due.get(from..upto).unwrap_or_default() {
            mailboxes.forget(*number, self.target);
        }
        self.forgotten = Some(upto);
        upto < self.due.len()
    }
}

/// Adds what the disk lacks of a mailbox, but for its head; how many entries of the index.
fn write_mailbox(
    (log, runs): (&impl View, &Runs),
    mailboxes: &mut Mailboxes,
    due: &[Due],
    (kept, target): (u64, u64),
    index: &mut Writer,
    slice: &mut Slice,
) -> Result<usize, LogError> {
    let Some((number, first)) = due.first().copied() else { return Ok(0) };
    if let Some(head) = mailboxes.packed_head(number).filter(|_| first != NOWHERE)
        && beyond_count(head.last, kept).min(head.cursor) == MessageId::ZERO
    {
        for (id, entry) in due.iter().filter_map(|due| mailboxes.chained(*due)) {
            index.push(entry.key(number, id), &entry.value(), slice);
        }
        return Ok(due.len());
    }
    write_in_use((log, runs), mailboxes, number, (kept, target), index, slice)
}

/// The same of one that is in use, or has to be for it.
fn write_in_use(
    (log, runs): (&impl View, &Runs),
    mailboxes: &mut Mailboxes,
    number: AccountNumber,
    (kept, target): (u64, u64),
    index: &mut Writer,
    slice: &mut Slice,
) -> Result<usize, LogError> {
    let mailbox = mailboxes.load(log, runs, number)?;
    if mailbox.removed {
        slice.drop_mailboxes.push(number);
        mailboxes.written(number, target);
        return Ok(0);
    }
    let entries = (mailbox.tail_first()..).zip(mailbox.tail.entries());
    let mut written = 0;
    for (id, entry) in entries.take_while(|(_, entry)| entry.position <= target) {
        index.push(entry.key(number, id), &entry.value(), slice);
        written += 1;
    }
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
    mailbox.head.floor = floor;
    mailboxes.written(number, target);
    Ok(written)
}

/// How many messages came since the log ended there.
pub(super) fn came_since(seen: &mut u64, end: u64) -> u64 {
    end - std::mem::replace(seen, end)
}

/// How many entries a step may write for so many messages that came since the one before, given how many for each.
pub(super) fn entries_for(came: u64, a_message: usize, most: usize) -> usize {
    let came = usize::try_from(came).unwrap_or(usize::MAX);
    came.saturating_mul(a_message).clamp(LEAST_ENTRIES, most)
}

/// How many due entries one slice may write, or a few more. A short stretch is cut small, too.
fn due_a_slice(stretch: u64) -> usize {
    let most = usize::try_from(stretch / LEAST_SLICES).unwrap_or(usize::MAX);
    most.clamp(1, DUE_A_SLICE)
}

/// The newest stretch is written behind at least this often, however short it is: only what the index covers can be
/// trimmed.
pub(super) const FLUSH_EVERY: Duration = Duration::from_secs(60 * 60);
/// After a storm a stretch is written that is so long. A shorter one keeps little in memory. But mailboxes with something
/// unwritten stay in use, and a few thousand of those that a storm left behind hold the pages of all the others as well: 8 MB
/// of 19,000, with 5,000 messages.
const CALM_LENGTH: u64 = 300;
/// Rows in one slice, which everybody waits for: meant to be a few milliseconds, not measured by itself. What any send
/// waited with flushes running is in `docs/performance.md`. Tests cut small, so that much happens between.
const SLICE_WEIGHT: usize = if cfg!(test) { 2 } else { 400 };
/// Due entries in one slice: each takes less than a microsecond, unless its mailbox's cursor moved.
const DUE_A_SLICE: usize = if cfg!(test) { 2 } else { 8_192 };
/// Entries of the index written for each message that came since the step before. A message has one, and is forgotten then, so
/// all of that takes less time than one stretch does to come. More of them would not be ready by the time that the sync is over
/// which they are made beside.
const INDEXED_A_MESSAGE: usize = 2;
/// Entries forgotten for each.
const FORGOTTEN_A_MESSAGE: usize = 8;
/// Entries of runs that the worker writes or merges for each. A message has one or two.
pub(super) const ASIDE_A_MESSAGE: usize = 4;
/// Entries in a step after a small commit, or none: about 0.2 ms, of which a fifth is the transaction. Tests cut small.
const LEAST_ENTRIES: usize = if cfg!(any(test, feature = "simulation")) { 3 } else { 1_024 };
/// Entries in a step after the largest of commits.
const MOST_ENTRIES: usize = 2 * ENTRIES_A_SLICE;
/// Entries that the worker writes or merges in a step at most, for which a busy store does not wait: about 10 ms of its time.
pub(super) const MOST_ASIDE: usize = 2 * MOST_ENTRIES;
/// A stretch of as many messages to as many mailboxes takes that many slices.
const LEAST_SLICES: u64 = 8;
