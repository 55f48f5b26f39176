//! The embedded engine: a [`Backend`] on a [`Log`].
//!
//! The log is the truth. What is kept by person (heads, cursors, the index from ids to positions) is memory for the
//! newest stretch of the log and written behind it by `flush`, so that a commit only appends.

mod accounts;
mod apply;
mod attendance;
mod blocks;
mod cache;
mod calm;
mod chains;
mod commit;
mod conversations;
mod deliveries;
mod directory;
mod flush;
mod heads;
mod health;
mod history;
mod imports;
mod incarnations;
mod index;
#[cfg(feature = "embedded")]
mod journal;
mod keys;
mod load;
mod log;
mod mailbox;
mod mailboxes;
mod messages;
mod opaque;
mod pages;
mod people;
mod recent;
mod recovery;
mod retention;
mod runs;
mod sessions;
mod sign_in;
mod simulated;
#[cfg(feature = "embedded")]
mod sqlite;
mod status;
mod stretch;
mod tail;
#[cfg(test)]
mod tests;
mod timer;
mod watch;
mod watchers;
mod work;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backend::{Backend, Pages};
use super::request::{Operation, Outcome};
use super::{AccountNumber, ImportId, Message, SentId, StoreError, StoreOptions};
use crate::{MessageId, Timestamp};
use accounts::Overlay;
use attendance::Attendance;
use cache::Cache;
use calm::Calm;
use commit::UnderWay;
use flush::Flush;
use health::Health;
use imports::Import;
use incarnations::incarnation_tag;
use load::Load;
use log::{Batch, Keyed, Log, LogError, Record, Slice};
use mailbox::Quota;
use mailboxes::Mailboxes;
use messages::Ahead;
use opaque::Opaque;
use recent::Recent;
use runs::Runs;
use sessions::{Presence, Sessions};
use stretch::Stretch;
use timer::Timer;
use watchers::Watchers;
use worker::Worker;

pub(crate) use simulated::SimulatedLog;
#[cfg(feature = "simulation")]
pub(crate) use simulated::{Bug, Fault, Moment};
#[cfg(feature = "embedded")]
pub(crate) use sqlite::SqliteLog;

/// The backend that keeps everything in one log of its own.
pub(crate) struct Engine<L> {
    log: L,
    options: StoreOptions,
    /// `None` while the log could not be reopened.
    state: Option<State>,
    presence: Presence,
    attendance: Attendance,
    watchers: Watchers,
    health: Health,
    /// How long the store had been running when this engine began, and when that was.
    running: Option<(Duration, Instant)>,
    /// The highest number of a run ever. It grows when the state is made anew too: pages planned before are still read.
    run_numbers: u64,
    load: Load,
    calm: Calm,
    under_way: Option<UnderWay>,
    ahead: Ahead,
    replayed: Replayed,
}

/// What the log had that was not where it is looked for.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "a store in memory tells none"))]
struct Replayed {
    /// Changes that the index does not have yet, and memory has again.
    records: usize,
    /// Batches whose rows the tables have again.
    batches: usize,
}

/// Everything in memory. After a failed commit it is thrown away and made anew from the log.
struct State {
    cache: Cache,
    /// The directory gets accounts with numbers above this one next, until it has all.
    to_know: Option<AccountNumber>,
    mailboxes: Mailboxes,
    sessions: Sessions,
    imports: HashMap<ImportId, Import>,
    recent: Recent,
    /// What the operations of the batch in hand have changed so far.
    pending: Batch,
    /// The accounts among that, by number and by key.
    overlay: Overlay,
    /// The incarnations of the store, oldest first, each with the position it began at.
    incarnations: Vec<(u64, [u8; 16])>,
    opaque: Arc<Opaque>,
    /// What is looked up by content and was not being written when the flush under way began, if there is one.
    stretch: Stretch,
    runs: Runs,
    /// Writes and merges runs, as far as that is not putting them.
    worker: Worker,
    next_account: u64,
    /// The position of the oldest record in the log, or one past the end.
    start: u64,
    /// Records before that are missing, and may come back: nothing is trimmed.
    lacks_oldest: bool,
    /// The log was told that it needs nothing before this position; `None` since it was opened.
    needed_from: Option<u64>,
    /// Everything up to this position is in the index.
    covered: u64,
    flush: Option<Flush>,
    flush_timer: Timer,
    retention_timer: Timer,
    expiry_timer: Timer,
}

impl State {
    /// What its sender knows a message by that lies at the position.
    fn sent_id(&self, mailbox: AccountNumber, id: MessageId, position: u64) -> SentId {
        self.opaque.sent(mailbox, id, incarnation_tag(&self.incarnations, position))
    }

    /// What no run has yet: the newest stretch, and the one being written.
    fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        let flushing = self.flush.as_ref().map(|flush| flush.stretch.as_ref());
        std::iter::once(&self.stretch).chain(flushing)
    }

    /// Adds a message to the batch in hand; gives what its sender knows it by.
    fn push_message(
        &mut self,
        mailbox: AccountNumber,
        message: Arc<Message>,
        key: Option<Keyed>,
    ) -> SentId {
        let position = self.pending.next();
        let id = self.sent_id(mailbox, message.id, position);
        let record = Record::Message { mailbox, message, key };
        self.stretch.push(position, &record, &mut self.runs);
        self.pending.records.push(record);
        id
    }
}

impl<L: Log> Engine<L> {
    /// Recovers what the log holds.
    pub(crate) fn new(log: L, options: &StoreOptions) -> Result<Self, LogError> {
        let mut engine = Self {
            log,
            options: options.clone(),
            state: None,
            presence: Presence::default(),
            attendance: Attendance::default(),
            watchers: Watchers::default(),
            health: Health::Good,
            running: None,
            run_numbers: 0,
            load: Load::new(),
            calm: Calm::new(),
            under_way: None,
            ahead: Ahead::default(),
            replayed: Replayed::default(),
        };
        engine.rebuild()?;
        Ok(engine)
    }

    /// Says in the log what was replayed at the start, if anything was.
    #[cfg(feature = "embedded")]
    pub(crate) fn tell_replayed(&self, took: Duration) {
        let Replayed { records, batches } = self.replayed;
        if records > 0 || batches > 0 {
            tracing::info!(records, batches, ?took, "replayed the end of the journal");
        }
    }

    /// How long the store has been running, over all its lives; after a crash a little less is known.
    fn running(&self) -> Duration {
        self.running.map_or(Duration::ZERO, |(before, since)| before + since.elapsed())
    }

    fn quota(&self) -> Quota {
        Quota { messages: self.options.mailbox_messages, bytes: self.options.mailbox_bytes }
    }

    fn state(&mut self) -> Result<&mut State, StoreError> {
        self.state.as_mut().ok_or(StoreError::Unavailable)
    }

    /// Logs why reading failed; the caller's operation is refused.
    fn unreadable(error: LogError) -> StoreError {
        error.tell_unreadable("cannot read the store");
        StoreError::Unavailable
    }
}

impl<L: Log> Backend for Engine<L> {
    fn run(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome> {
        self.run_at_once(operations, now)
    }

    fn run_ahead(&mut self, operations: Vec<Operation>, now: Timestamp) -> Vec<Outcome> {
        self.begin_run(operations, now)
    }

    fn settle(&mut self) -> Vec<Outcome> {
        self.end_run().0
    }

    fn prepare(&mut self, now: Timestamp) {
        self.prepare_step(now);
    }

    fn work(&mut self, now: Timestamp) -> Option<Duration> {
        self.work_on(now)
    }

    fn pages(&self) -> Arc<dyn Pages> {
        Arc::new(pages::LogPages(self.log.pages()))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.state.is_some() && self.can_write().is_ok() {
            let running = Slice { running: Some(self.running()), ..Slice::default() };
            if let Err(error) = self.log.put(&running) {
                tracing::warn!(%error, "cannot note how long the store was running");
            }
        }
        // What is under way beside this thread still reads the log.
        self.state = None;
        self.log.rest().and_then(|()| self.log.close()).map_err(|error| match error {
            LogError::Unreadable { damaged: true, .. } => {
                tracing::error!(
                    %error,
                    "what was acknowledged and is only in this file is lost with the end of this process"
                );
                StoreError::Lost
            }
            error => {
                tracing::error!(%error, "cannot close the store cleanly; what was acknowledged is safe");
                error.refusal()
            }
        })
    }
}
