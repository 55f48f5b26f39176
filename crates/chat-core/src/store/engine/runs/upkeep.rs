//! Background work on runs: what may go goes, and several become one.

use super::super::flush::entries_for;
use super::super::log::{Log, LogError, RunChange, RunKind, RunRow, Slice};
use super::super::{Engine, State};
use super::{ENTRIES_A_SLICE, KINDS, MANY, Merge, Runs};

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
        let prepared = self.next_slice().transpose();
        if let Some(state) = &mut self.state {
            state.runs.prepared = prepared;
        }
    }

    /// Puts the slice that is ready; whether there was one.
    pub(in super::super) fn put_runs(&mut self) -> Result<bool, LogError> {
        let prepared = self.state.as_mut().and_then(|state| state.runs.prepared.take());
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

    fn next_slice(&mut self) -> Result<Option<Slice>, LogError> {
        let spared = if self.load.is_busy() { MANY } else { 0 };
        let mut slice = Slice::default();
        if self.expire_keys(&mut slice) {
            return Ok(Some(slice));
        }
        let room = self.room_to_merge(spared);
        let worked = self.merge(spared, room, &mut slice)? || self.drop_runs(spared, &mut slice)?;
        Ok(worked.then_some(slice))
    }

    /// How many entries the next step may merge: while the store is busy a few for each message that came since the last one.
    fn room_to_merge(&mut self, spared: usize) -> usize {
        let Some(state) = &mut self.state else { return 0 };
        let end = state.pending.first;
        let came = end - std::mem::replace(&mut state.runs.seen, end);
        match spared {
            0 => ENTRIES_A_SLICE,
            _ => entries_for(came).min(ENTRIES_A_SLICE),
        }
    }

    /// Ends the runs of keys whose time is over.
    fn expire_keys(&mut self, slice: &mut Slice) -> bool {
        let running = self.running().as_secs();
        let Some(State { runs, .. }) = &mut self.state else { return false };
        let mut ended = false;
        for kind in [RunKind::Keys, RunKind::KeysInFull] {
            let over =
                runs.of(kind).iter().filter(|run| run.until.saturating_add(KEYS_LIVE_S) <= running);
            let mut over: Vec<_> = over.map(|run| run.number).collect();
            let merging = runs.merge.as_ref().map_or(&[][..], Merge::inputs);
            over.retain(|number| !merging.contains(number));
            if !over.is_empty() {
                runs.end(kind, &over, slice);
                ended = true;
            }
        }
        ended
    }

    /// Begins a merge of a kind with more runs than `spared`, or goes on with the one under way, which is in the way of such.
    fn merge(&mut self, spared: usize, room: usize, slice: &mut Slice) -> Result<bool, LogError> {
        let hour = self.running().as_secs() / 3_600;
        let Self { state: Some(state), log, run_numbers, .. } = self else { return Ok(false) };
        if !KINDS.into_iter().any(|kind| state.runs.count(kind) > spared) {
            return Ok(false);
        }
        let mut merge = match state.runs.merge.take() {
            Some(merge) => merge,
            None => {
                let next = state.runs.next_merge(hour, spared);
                let Some((kind, inputs)) = next else { return Ok(false) };
                *run_numbers += 1;
                Merge::new(log, kind, &inputs, *run_numbers, slice)?
            }
        };
        if merge.step(log, state.start, room, slice)? {
            let (kind, inputs) = (merge.kind(), merge.inputs().to_vec());
            let run = merge.finish(slice);
            state.runs.add_merged(kind, run, &inputs);
            state.runs.end(kind, &inputs, slice);
        } else {
            state.runs.merge = Some(merge);
        }
        Ok(true)
    }

    /// Drops some blocks of what is read no more, if that is more than `spared` runs.
    fn drop_runs(&mut self, spared: usize, slice: &mut Slice) -> Result<bool, LogError> {
        let Self { state: Some(state), log, .. } = self else { return Ok(false) };
        let doomed = state.runs.doomed.last().filter(|_| state.runs.doomed.len() > spared);
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
/// Blocks dropped in one slice. Tests cut small.
const BLOCKS_A_SLICE: usize = if cfg!(test) { 1 } else { 200 };
/// Keys gathered in a step. Tests cut small.
const KEYS_A_STEP: usize = if cfg!(test) { 2 } else { 4_096 };
