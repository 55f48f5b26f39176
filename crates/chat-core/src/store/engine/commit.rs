//! Committing what a batch of operations changed, at once or while the next batch is carried out.

use super::Engine;
use super::accounts::Overlay;
use super::log::{Batch, Log, LogError};
use crate::Timestamp;
use crate::store::StoreError;
use crate::store::request::{Operation, Outcome};

/// A batch whose commit has begun, and what its operations gave if it succeeds.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Whether it was begun, and with what, if there was anything to commit.
    begun: Result<Option<Batch>, StoreError>,
    outcomes: Vec<Outcome>,
}

impl UnderWay {
    pub(super) fn batch(&self) -> Option<&Batch> {
        self.begun.as_ref().ok()?.as_ref()
    }
}

impl<L: Log> Engine<L> {
    /// Carries out operations and commits what they change.
    pub(super) fn run_at_once(
        &mut self,
        operations: Vec<Operation>,
        now: Timestamp,
    ) -> Vec<Outcome> {
        let outcomes = self.carry_out(operations, now);
        let committed = self.commit();
        self.presence.settle(committed.is_ok());
        settled(outcomes, &committed)
    }

    /// Carries out operations on top of what is being committed, waits for that, and begins to commit what they change.
    /// Gives the outcomes that are settled now.
    pub(super) fn begin_run(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome> {
        let outcomes = self.carry_out(operations, now);
        let (before, ended) = self.end_run();
        // What was carried out on top of a batch that failed has gone with it.
        let begun = ended.and_then(|()| self.begin_commit());
        self.under_way = Some(UnderWay { begun, outcomes });
        before
    }

    /// Waits for what is being committed.
    pub(super) fn end_run(&mut self) -> (Vec<Outcome>, Result<(), StoreError>) {
        let Some(UnderWay { begun, outcomes }) = self.under_way.take() else {
            return (Vec::new(), Ok(()));
        };
        let ended = begun.and_then(|batch| {
            let Some(batch) = batch else { return Ok(()) };
            let appended = self.log.end_append(&batch);
            self.committed(&batch, appended)
        });
        (settled(outcomes, &ended), ended)
    }

    fn carry_out(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome> {
        self.look_ahead(&operations);
        let weight = operations.iter().map(Operation::weight).sum();
        self.load.add(weight);
        self.calm.add(weight);
        operations.into_iter().map(|operation| self.apply(operation, now)).collect()
    }

    /// Commits what is pending. On failure nobody may be told anything but that the outcome is unknown.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.take_pending()? else { return Ok(()) };
        let appended = self.log.append(&batch);
        self.committed(&batch, appended)
    }

    fn begin_commit(&mut self) -> Result<Option<Batch>, StoreError> {
        let Some(batch) = self.take_pending()? else { return Ok(None) };
        match self.log.begin_append(&batch) {
            Ok(()) => Ok(Some(batch)),
            Err(error) => self.committed(&batch, Err(error)).map(|()| None),
        }
    }

    /// What is to be committed, if anything is.
    fn take_pending(&mut self) -> Result<Option<Batch>, StoreError> {
        let state = self.state.as_mut().ok_or(StoreError::Unavailable)?;
        if state.pending.is_empty() {
            return self.log.rest().map(|()| None).map_err(Self::unreadable);
        }
        let next = Batch { first: state.pending.next(), ..Batch::default() };
        Ok(Some(std::mem::replace(&mut state.pending, next)))
    }

    /// Makes known what was committed, or gives up what was not.
    fn committed(
        &mut self,
        batch: &Batch,
        appended: Result<(), LogError>,
    ) -> Result<(), StoreError> {
        if let Err(error) = appended {
            let refusal = error.refusal();
            self.fail(error);
            return Err(refusal);
        }
        let state = self.state.as_mut().ok_or(StoreError::Unavailable)?;
        for record in &batch.records {
            state.recent.push(record);
        }
        self.watchers.publish(state, batch);
        state.overlay = Overlay::default();
        Ok(())
    }
}

/// The outcomes, if what they tell of was committed.
fn settled(outcomes: Vec<Outcome>, committed: &Result<(), StoreError>) -> Vec<Outcome> {
    match committed {
        Ok(()) => outcomes,
        // Even what only read may have seen what is now undone.
        Err(error) => outcomes.into_iter().map(|_| Err(error.clone())).collect(),
    }
}
