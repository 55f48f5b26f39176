//! Background work: what of it comes first.

use std::time::Duration;

use super::Engine;
use super::health::FIRST_BACKOFF;
use super::log::{Log, LogError};
use crate::Timestamp;

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Something was done, and there may be more to do.
    More,
    /// The worker has yet to do something.
    Waits,
    /// There was nothing to do.
    Idle,
}

impl<L: Log> Engine<L> {
    /// Puts in order what came, and makes ready what the next step puts.
    pub(super) fn prepare_step(&mut self, now: Timestamp) {
        if let Some(state) = &mut self.state {
            state.stretch.tidy(&mut state.runs);
        }
        // Where writes are refused nothing is put.
        if self.has_directory() && self.can_write().is_ok() {
            self.prepare_flush(now);
            self.prepare_runs();
        }
    }

    /// Tries to write again if that is due, or takes a step; says after how long it wants the next.
    pub(super) fn work_on(&mut self, now: Timestamp) -> Option<Duration> {
        if let Some(wait) = self.probe() {
            return Some(wait);
        }
        // A step that found nothing to write must not keep what it read in open.
        let worked = self.step(now).and_then(|more| self.log.rest().map(|()| more));
        match worked {
            Ok(Progress::More) => Some(Duration::ZERO),
            Ok(Progress::Waits) => Some(ASK_AGAIN),
            Ok(Progress::Idle) => Some(LOOK_AGAIN),
            Err(error) => {
                self.fail(error);
                Some(FIRST_BACKOFF)
            }
        }
    }

    /// One step of background work.
    fn step(&mut self, now: Timestamp) -> Result<Progress, LogError> {
        self.bound_memory();
        self.calm.look();
        let put = self.put_runs()?;
        let gathered = self.has_directory() && self.gather_step();
        if self.directory_step()? {
            return Ok(Progress::More);
        }
        // While a flush is under way nothing else is begun.
        match self.flush_step(now)? {
            Progress::Idle => {}
            flushing => return Ok(flushing),
        }
        let more = self.import_step()?
            || self.retention_step(now)?
            || self.watch_step(now)?
            || self.expiry_step(now)?
            || self.presence_step(now)?
            || put
            || gathered
            || self.runs_step()?;
        if more {
            return Ok(Progress::More);
        }
        self.calm_step()?;
        Ok(Progress::Idle)
    }

    /// Whether all usernames are known, which comes before all other work.
    fn has_directory(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.to_know.is_none())
    }

    /// Lets go of what was only read, if it is much: no flush comes for it.
    fn bound_memory(&mut self) {
        if let Some(state) = &mut self.state {
            state.cache.bound(self.options.cached_mailboxes);
            state.mailboxes.shrink();
        }
    }
}

/// How long a busy store leaves the worker alone, unless something is asked of it.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(1);
/// How long an idle store waits before it looks for background work again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
