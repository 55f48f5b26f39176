//! Background work on runs: what may go goes, and several become one.

use super::super::flush::{ASIDE_A_MESSAGE, MOST_ASIDE, came_since, entries_for};
use super::super::log::{Log, LogError, RunChange, RunKind, RunRow, Slice};
use super::super::worker::Task;
use super::super::{Engine, State};
use super::merge::Merge;
use super::{ENTRIES_A_SLICE, KINDS, Run, Runs};

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merging {
    kind: RunKind,
    inputs: Vec<u64>,
    /// `None` while the worker has it.
    merge: Option<Box<Merge>>,
}

/// What is put next.
#[derive(Debug)]
pub(super) enum Prepared {
    Slice(Result<Box<Slice>, LogError>),
    /// What the worker makes of a step of the merge under way.
    Merged(Task<Merged>),
}

type Merged = Result<(Slice, Step), LogError>;

#[derive(Debug)]
pub(super) enum Step {
    /// There is more to merge.
    More(Box<Merge>),
    /// This is the run.
    Whole(Run),
}

impl<L: Log> Engine<L> {
    /// One slice of work on the runs; whether there may be more.
    pub(in super::super) fn runs_step(&mut self) -> Result<bool, LogError> {
        self.prepare_runs();
        self.put_runs()
    }

    /// Makes one slice of work on the runs ready, if none is, which [`put_runs`](Self::put_runs) puts before any other work.
    /// While the store is busy, only of what there is too much already, kind by kind.
    pub(in super::super) fn prepare_runs(&mut self) {
        if self.state.as_ref().is_some_and(|state| state.runs.prepared.is_some()) {
            return;
        }
        let prepared = self.next_work().unwrap_or_else(|error| Some(Prepared::Slice(Err(error))));
        if let Some(state) = &mut self.state {
            state.runs.prepared = prepared;
        }
    }

    /// Puts the slice that is ready; whether there was one. A busy store does not wait for the worker.
    pub(in super::super) fn put_runs(&mut self) -> Result<bool, LogError> {
        let Self { state: Some(State { runs, .. }), load, .. } = self else { return Ok(false) };
        let prepared = runs.take_prepared(|| !load.is_busy());
        let Some(slice) = prepared.transpose()? else { return Ok(false) };
        if !slice.runs.is_empty() {
            self.log.put(&slice)?;
        }
        Ok(true)
    }

    /// Gathers some keys for the shared filters; whether any. A busy store does it beside its other work: looking for keys
    /// costs it more until all are gathered.
    pub(in super::super) fn gather_step(&mut self) -> bool {
        let Some(State { runs, .. }) = &mut self.state else { return false };
        runs.gather(&self.log, KEYS_A_STEP)
    }

    fn next_work(&mut self) -> Result<Option<Prepared>, LogError> {
        let is_busy = self.load.is_busy();
        let mut slice = Slice::default();
        if !self.expire_keys(&mut slice) {
            let room = self.room_to_merge(is_busy);
            if let Some(task) = self.merge(is_busy, room)? {
                return Ok(Some(Prepared::Merged(task)));
            }
            if !self.drop_runs(is_busy, &mut slice)? {
                return Ok(None);
            }
        }
        Ok(Some(Prepared::Slice(Ok(Box::new(slice)))))
    }

    /// How many entries the next step may merge: while the store is busy a few for each message that came since the last one.
    fn room_to_merge(&mut self, is_busy: bool) -> usize {
        let Some(state) = &mut self.state else { return 0 };
        let came = came_since(&mut state.runs.seen, state.pending.first);
        match is_busy {
            true => entries_for(came, ASIDE_A_MESSAGE, MOST_ASIDE),
            false => ENTRIES_A_SLICE,
        }
    }

    /// Ends the runs of keys whose time is over.
    fn expire_keys(&mut self, slice: &mut Slice) -> bool {
        let running = self.running().as_secs();
        let Some(State { runs, .. }) = &mut self.state else { return false };
        let mut ended = false;
        for kind in [RunKind::Keys, RunKind::KeysByAccount, RunKind::KeysInFull] {
            let over =
                runs.of(kind).iter().filter(|run| run.until.saturating_add(KEYS_LIVE_S) <= running);
            let mut over: Vec<_> = over.map(|run| run.number).collect();
            let merging = runs.merging.as_ref().map_or(&[][..], |merging| &merging.inputs);
            over.retain(|number| !merging.contains(number));
            if !over.is_empty() {
                runs.end(kind, &over, slice);
                ended = true;
            }
        }
        ended
    }

    /// Has the worker begin a merge of a kind that there are too many runs of, or go on with the one under way, which is in the
    /// way of such.
    fn merge(&mut self, is_busy: bool, room: usize) -> Result<Option<Task<Merged>>, LogError> {
        let hour = self.running().as_secs() / 3_600;
        let Self { state: Some(state), log, run_numbers, .. } = self else {
            return Ok(None);
        };
        if !KINDS.into_iter().any(|kind| state.runs.has_many(kind, is_busy)) {
            return Ok(None);
        }
        if state.runs.merging.is_none() {
            let next = state.runs.next_merge(hour, is_busy);
            let Some((kind, inputs)) = next else { return Ok(None) };
            *run_numbers += 1;
            let merge = Box::new(Merge::new(log, kind, &inputs, *run_numbers)?);
            let inputs = inputs.iter().map(|run| run.number).collect();
            state.runs.merging = Some(Merging { kind, inputs, merge: Some(merge) });
        }
        let merging = state.runs.merging.as_mut();
        let merge = merging.and_then(|merging| merging.merge.take());
        let Some(mut merge) = merge else { return Ok(None) };
        let (source, start) = (log.pages(), state.start);
        Ok(Some(state.worker.begin(move || {
            let (mut slice, mut is_whole) = (Slice::default(), false);
            source.with_view(&mut |view| {
                is_whole = merge.step(view, start, room, &mut slice)?;
                Ok(())
            })?;
            let step = match is_whole {
                true => Step::Whole(merge.finish(&mut slice)),
                false => Step::More(merge),
            };
            Ok((slice, step))
        })))
    }

    /// Drops some blocks of what is read no more; while the store is busy only if that are many runs.
    fn drop_runs(&mut self, is_busy: bool, slice: &mut Slice) -> Result<bool, LogError> {
        let Self { state: Some(state), log, .. } = self else { return Ok(false) };
        let enough = if is_busy { MANY_DOOMED } else { 0 };
        let doomed = state.runs.doomed.last().filter(|_| state.runs.doomed.len() > enough);
        let Some(run) = doomed.copied() else { return Ok(false) };
        slice.runs.push(RunChange::Drop { run, blocks: BLOCKS_A_SLICE });
        // The row goes with a slice that finds no block, or too few.
        if log.block_after(run, &[])?.is_none() {
            state.runs.doomed.pop();
        }
        Ok(true)
    }
}

impl Runs {
    /// The slice that is ready, or once it is, if that is waited for.
    fn take_prepared(&mut self, waits: impl FnOnce() -> bool) -> Option<Result<Slice, LogError>> {
        let task = match self.prepared.take()? {
            Prepared::Slice(slice) => return Some(slice.map(|slice| *slice)),
            Prepared::Merged(task) => task,
        };
        let merged = if waits() { Some(task.wait()) } else { task.poll() };
        if merged.is_none() {
            self.prepared = Some(Prepared::Merged(task));
        }
        Some(merged?.flatten().map(|(slice, step)| self.merged(step, slice)))
    }

    /// Takes note of a step of the merge under way; what is put of it.
    fn merged(&mut self, step: Step, mut slice: Slice) -> Slice {
        let Some(Merging { kind, inputs, .. }) = self.merging.take() else { return slice };
        match step {
            Step::More(merge) => self.merging = Some(Merging { kind, inputs, merge: Some(merge) }),
            Step::Whole(run) => {
                self.add_merged(kind, run, &inputs);
                self.end(kind, &inputs, &mut slice);
            }
        }
        slice
    }

    /// Marks runs as not to be read any more, here and on disk.
    fn end(&mut self, kind: RunKind, numbers: &[u64], slice: &mut Slice) {
        slice.runs.extend(numbers.iter().map(|number| {
            RunChange::Put(RunRow {
                number: *number,
                kind,
                complete: false,
                level: 0,
                entries: 0,
                until: 0,
                filter: Box::default(),
            })
        }));
        self.doom(kind, numbers);
    }
}

/// How long a key lives at least, in seconds of running time (guarantee 4 in `docs/protocol.md`).
pub(in super::super) const KEYS_LIVE_S: u64 = 24 * 60 * 60;
/// More runs than this that nobody reads take room in the file.
const MANY_DOOMED: usize = 64;
/// Blocks dropped in one slice. Tests cut small.
const BLOCKS_A_SLICE: usize = if cfg!(test) { 1 } else { 200 };
/// Keys gathered in a step. Tests cut small.
const KEYS_A_STEP: usize = if cfg!(test) { 2 } else { 4_096 };
