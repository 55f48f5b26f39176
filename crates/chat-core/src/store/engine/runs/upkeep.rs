//! Background work on runs: what may go goes, and several become one.

use super::super::log::{Log, LogError, RunChange, RunKind, RunRow, Slice};
use super::super::{Engine, State};
use super::{ENTRIES_A_SLICE, KINDS, MANY, Merge, Runs};

impl<L: Log> Engine<L> {
    /// One slice of work on the runs; whether there may be more. While the store is busy, only of what there is too much
    /// already, kind by kind.
    pub(in super::super) fn runs_step(&mut self) -> Result<bool, LogError> {
        let is_busy = self.load.is_busy();
        let (spared, keys) = if is_busy { (MANY, FEW_KEYS) } else { (0, ENTRIES_A_SLICE) };
        let mut slice = Slice::default();
        let expired = self.expire_keys(&mut slice);
        if !expired
            && let Some(State { runs, .. }) = &mut self.state
            && runs.gather(&self.log, keys)
        {
            return Ok(true);
        }
        let worked =
            expired || self.merge(spared, &mut slice)? || self.drop_runs(spared, &mut slice)?;
        if worked {
            self.log.put(&slice)?;
        }
        Ok(worked)
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
    fn merge(&mut self, spared: usize, slice: &mut Slice) -> Result<bool, LogError> {
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
        if merge.step(log, state.start, slice)? {
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
/// Keys gathered after a commit of a busy store: about three blocks, which may have to come from the disk.
const FEW_KEYS: usize = if cfg!(test) { 2 } else { 1_024 };
