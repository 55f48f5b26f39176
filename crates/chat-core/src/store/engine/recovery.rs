//! Making the state from what the log holds: at the start, and after a write that failed.

use std::sync::Arc;

use tokio::time::Instant;

use super::accounts::Overlay;
use super::cache::Cache;
use super::flush::FLUSH_EVERY;
use super::imports;
use super::log::{Batch, Log, LogError, Recovered, View};
use super::mailboxes::Mailboxes;
use super::opaque::Opaque;
use super::recent::Recent;
use super::runs::Runs;
use super::sessions::Sessions;
use super::stretch::Stretch;
use super::timer::Timer;
use super::{Engine, Replayed, State};
use crate::Timestamp;
use crate::store::AccountNumber;

impl<L: Log> Engine<L> {
    /// Makes the state anew from what the log holds.
    pub(super) fn rebuild(&mut self) -> Result<(), LogError> {
        let now = self.options.clock.now();
        let recovered = self.log.recover()?;
        self.running.get_or_insert((recovered.running, Instant::now()));
        let numbers = recovered.runs.iter().map(|run| run.number);
        self.run_numbers = numbers.max().unwrap_or(0).max(self.run_numbers);
        let batches = recovered.caught_up;
        let may_have_lost = recovered.may_have_lost || recovered.is_copy;
        tell_loss(&recovered);
        let mut state = self.state_of(recovered, now)?;
        self.replayed = Replayed { records: state.replay(&self.log)?, batches };
        if may_have_lost || state.incarnations.is_empty() {
            let name = self.options.random.bytes();
            state.begin_incarnation(&mut self.log, name, now)?;
        }
        state.sessions.set_back(now);
        state.sessions.note_active(&self.presence, now);
        self.attendance.here().for_each(|account| state.sessions.note(account));
        self.log.recovered()?;
        self.state = Some(state);
        Ok(())
    }

    /// What is known without reading the records that the index does not cover.
    fn state_of(&self, recovered: Recovered, now: Timestamp) -> Result<State, LogError> {
        let next = recovered.end + 1;
        let opaque = Opaque::new(recovered.secret);
        Ok(State {
            cache: Cache::new(recovered.next_account),
            to_know: Some(AccountNumber(0)),
            mailboxes: Mailboxes::new(self.quota(), next),
            sessions: Sessions::new(recovered.sessions, self.options.session_idle),
            imports: imports::left_over(&recovered.imports, recovered.next_account),
            recent: Recent::new(next, self.options.recent_bytes),
            pending: Batch { first: next, ..Batch::default() },
            overlay: Overlay::default(),
            incarnations: recovered.incarnations,
            runs: Runs::recover(&recovered.runs, opaque.seed())?,
            opaque: Arc::new(opaque),
            stretch: Stretch::default(),
            worker: self.log.worker(),
            next_account: recovered.next_account,
            start: recovered.start,
            lacks_oldest: recovered.lacks_oldest,
            needed_from: None,
            covered: recovered.covered,
            flush: None,
            flush_timer: Timer::starting(now, FLUSH_EVERY),
            retention_timer: Timer::default(),
            expiry_timer: Timer::default(),
        })
    }
}

impl State {
    /// Takes note of the records that the index does not cover; how many there are.
    fn replay(&mut self, log: &impl View) -> Result<usize, LogError> {
        let (mut from, mut count) = (self.covered + 1, 0);
        loop {
            let records = log.records(from, REPLAY_CHUNK)?;
            let Some((last, _)) = records.last() else { return Ok(count) };
            from = last + 1;
            count += records.len();
            self.mailboxes.replay(&records);
            for (position, record) in &records {
                self.stretch.push(*position, record, &mut self.runs);
            }
        }
    }
}

/// Says in the log why acknowledged messages may be missing, if they may be.
fn tell_loss(recovered: &Recovered) {
    if recovered.is_copy {
        tracing::warn!(
            "the data directory is a copy, or was put back from a backup: what was acknowledged since that was made may be \
             missing, so all mailboxes get a new incarnation, by which clients notice"
        );
    } else if recovered.may_have_lost {
        tracing::warn!("acknowledged messages may be missing: mailboxes get a new incarnation");
    }
}

/// How many records are read at once.
const REPLAY_CHUNK: usize = 1_000;
