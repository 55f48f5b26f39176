//! The embedded engine: a [`Backend`] on a [`Log`].
//!
//! The log is the truth. What is kept by person (heads, cursors, the index from ids to positions) is memory for the
//! newest stretch of the log and written behind it by `flush`, so that a commit only appends.

mod accounts;
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
mod watch;
mod watchers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backend::{Backend, Pages};
use super::request::{Answer, Operation, Outcome};
use super::{AccountNumber, ImportId, Message, SentId, SessionKey, StoreError, StoreOptions};
use crate::{MessageId, Timestamp};
use accounts::Overlay;
use attendance::Attendance;
use cache::Cache;
use calm::Calm;
use commit::UnderWay;
use flush::Flush;
use imports::Import;
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
use watchers::Watchers;

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
struct Replayed {
    /// Changes that the index does not have yet, and memory has again.
    records: usize,
    /// Batches whose rows the tables have again.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(dead_code, reason = "a store in memory has none")
    )]
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

/// Whether the disk takes writes.
#[derive(Debug, Clone, Copy)]
enum Health {
    Good,
    /// Writes are refused until a probe goes through.
    Poor {
        retry: Instant,
        backoff: Duration,
        /// There is no room.
        full: bool,
        /// When the log last said that it lasts.
        told: Instant,
    },
}

impl State {
    /// What its sender knows a message by that lies at the position.
    fn sent_id(&self, mailbox: AccountNumber, id: MessageId, position: u64) -> SentId {
        self.opaque.sent(mailbox, id, incarnation_tag(&self.incarnations, position))
    }

    /// What no run has yet: the newest stretch, and the one being written.
    fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        let flushing = self.flush.as_ref().map(|flush| &flush.stretch);
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

    /// Takes note of records that the runs do not have.
    fn replay(&mut self, records: &[(u64, Record)]) {
        self.mailboxes.replay(records);
        for (position, record) in records {
            self.stretch.push(*position, record, &mut self.runs);
        }
    }
}

/// Names the store's incarnation at a position.
fn incarnation_tag(incarnations: &[(u64, [u8; 16])], position: u64) -> u32 {
    let at = incarnations.iter().rev().find(|(began, _)| *began <= position);
    at.map_or(0, |(_, name)| opaque::tag(name))
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

    /// Makes the state anew from what the log holds.
    fn rebuild(&mut self) -> Result<(), LogError> {
        let now = self.options.clock.now();
        let recovered = self.log.recover()?;
        let next = recovered.end + 1;
        self.running.get_or_insert((recovered.running, Instant::now()));
        let numbers = recovered.runs.iter().map(|run| run.number);
        self.run_numbers = numbers.max().unwrap_or(0).max(self.run_numbers);
        let mut state = State {
            cache: Cache::new(recovered.next_account),
            to_know: Some(AccountNumber(0)),
            mailboxes: Mailboxes::new(self.quota(), next),
            sessions: Sessions::new(recovered.sessions, self.options.session_idle),
            imports: imports::left_over(&recovered.imports, recovered.next_account),
            recent: Recent::new(next, self.options.recent_bytes),
            pending: Batch { first: next, ..Batch::default() },
            overlay: Overlay::default(),
            incarnations: recovered.incarnations,
            opaque: Arc::new(Opaque::new(recovered.secret)),
            stretch: Stretch::default(),
            runs: Runs::recover(&recovered.runs)?,
            next_account: recovered.next_account,
            start: recovered.start,
            lacks_oldest: recovered.lacks_oldest,
            needed_from: None,
            covered: recovered.covered,
            flush: None,
            flush_timer: Timer::starting(now, FLUSH_EVERY),
            retention_timer: Timer::default(),
            expiry_timer: Timer::default(),
        };
        self.replayed = Replayed { records: 0, batches: recovered.caught_up };
        let mut from = recovered.covered + 1;
        loop {
            let records = self.log.records(from, REPLAY_CHUNK)?;
            let Some((last, _)) = records.last() else {
                break;
            };
            from = last + 1;
            self.replayed.records += records.len();
            state.replay(&records);
        }
        if recovered.may_have_lost {
            tracing::warn!("acknowledged messages may be missing: mailboxes get a new incarnation");
        }
        if recovered.may_have_lost || state.incarnations.is_empty() {
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

    fn can_write(&self) -> Result<(), StoreError> {
        match self.health {
            Health::Good => Ok(()),
            Health::Poor { full: true, .. } => Err(StoreError::NoSpace),
            Health::Poor { .. } => Err(StoreError::Unavailable),
        }
    }

    /// Logs why reading failed; the caller's operation is refused.
    fn unreadable(error: LogError) -> StoreError {
        error.tell_unreadable("cannot read the store");
        StoreError::Unavailable
    }

    fn apply(&mut self, operation: Operation, now: Timestamp) -> Outcome {
        let done = |()| Answer::Done;
        match operation {
            Operation::Credentials { username } => self.credentials(&username),
            Operation::OwnCredentials { session } => self.own_credentials(session, now),
            Operation::OpenSession { account, verified, session, rehash } => {
                self.open_session(account, &verified, session, rehash, now).map(done)
            }
            Operation::Attach { session, instead_of } => {
                self.attach(session, instead_of, now).map(done)
            }
            Operation::Detach { session } => {
                self.detach(session);
                Ok(Answer::Done)
            }
            Operation::Logout { session } => self.logout(session, now).map(done),
            Operation::Whoami { session } => self.whoami(session, now),
            Operation::Sessions { session } => self.sessions(session, now),
            Operation::Revoke { session, name } => self.revoke(session, &name, now).map(done),
            Operation::ChangePassword { session, verified, new } => {
                self.change_password(session, &verified, new, now)
            }
            Operation::Send(messages) => self.send(messages, now),
            Operation::Inbox { session, in_flight, messages } => {
                self.inbox(session, &in_flight, messages, now)
            }
            Operation::Peek { session, after, messages } => {
                self.peek(session, after, messages, now)
            }
            Operation::History { session, with, cursor, messages } => {
                self.history(session, &with, cursor, messages, now)
            }
            Operation::Ack { session, upto, basis } => {
                self.ack(session, upto, &basis, now).map(done)
            }
            Operation::Confirm(shown) => self.confirm(&shown, now).map(done),
            Operation::Status { session, id } => self.status(session, id, now),
            Operation::Block { session, username, on } => {
                self.block(session, &username, on, now).map(done)
            }
            Operation::SetPrivacy { session, subject, choice } => {
                self.set_privacy(session, subject, choice, now).map(done)
            }
            Operation::List { session, directory } => self.list(session, directory, now),
            Operation::Watch { session, from } => self.watch(session, from, now),
            Operation::CatchUp { account, watch, incarnation, after } => {
                self.catch_up((account, watch), &incarnation, after, now)
            }
            Operation::Create(account) => self.create_account(account, now),
            Operation::SetPassword { username, hash } => self.set_password(&username, hash, now),
            Operation::Rename { username, new_username, new_name } => {
                self.rename(&username, new_username, new_name, now).map(done)
            }
            Operation::Remove { username } => self.remove(&username, now),
            Operation::Release { username } => self.release(&username, now).map(done),
            Operation::Account { username } => self.account_summary(&username, now),
            Operation::Accounts { after, limit } => self.account_summaries(&after, limit, now),
            Operation::BeginImport => self.begin_import(),
            Operation::StageImport(import, accounts) => self.stage_import(import, accounts, now),
            Operation::CommitImport(import) => self.commit_import(import),
            Operation::AbortImport(import) => self.abort_import(import).map(done),
        }
    }

    /// Tries whether writes go through again, once it is time to.
    fn probe(&mut self) -> Option<Duration> {
        let Health::Poor { retry, backoff, mut told, .. } = self.health else {
            return None;
        };
        let now = Instant::now();
        if now < retry {
            return Some(retry - now);
        }
        let reopened = match &self.state {
            Some(_) => Ok(()),
            None => self.log.reopen().and_then(|()| self.rebuild()),
        };
        match reopened.and_then(|()| self.log.probe()) {
            Ok(()) => {
                tracing::info!("writes go through again");
                self.health = Health::Good;
                None
            }
            Err(error) => {
                if told + TELL_EVERY <= now {
                    tracing::warn!(%error, "writes still fail");
                    told = now;
                }
                let backoff = (backoff * 2).min(LONGEST_BACKOFF);
                let full = matches!(error, LogError::NoSpace(_));
                self.health = Health::Poor { retry: now + backoff, backoff, full, told };
                Some(backoff)
            }
        }
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
        // Where writes are refused nothing is put.
        if self.has_directory() && self.can_write().is_ok() {
            self.prepare_flush(now);
            self.prepare_runs();
        }
    }

    fn work(&mut self, now: Timestamp) -> Option<Duration> {
        if let Some(wait) = self.probe() {
            return Some(wait);
        }
        // A step that found nothing to write must not keep what it read in open.
        let worked = self.step(now).and_then(|more| self.log.rest().map(|()| more));
        match worked {
            Ok(true) => Some(Duration::ZERO),
            Ok(false) => Some(LOOK_AGAIN),
            Err(error) => {
                self.fail(error);
                Some(FIRST_BACKOFF)
            }
        }
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

impl<L: Log> Engine<L> {
    /// One step of background work; whether there is more to do at once.
    fn step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        self.bound_memory();
        self.calm.look();
        let put = self.put_runs()?;
        let gathered = self.has_directory() && self.gather_step();
        Ok(self.directory_step()?
            || self.flush_step(now)?
            || self.import_step()?
            || self.retention_step(now)?
            || self.watch_step(now)?
            || self.expiry_step(now)?
            || self.presence_step(now)?
            || put
            || gathered
            || self.runs_step()?
            || self.calm_step()?)
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

    /// Ends expired sessions once an hour; until then they are only refused.
    fn expiry_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        if !state.expiry_timer.is_due(now, EXPIRY_EVERY) {
            return Ok(false);
        }
        state.expiry_timer = Timer::starting(now, EXPIRY_EVERY);
        let ended = state.sessions.expire(now);
        if !ended.is_empty() {
            self.watchers.note_expired(&ended);
            state.pending.sessions.extend(ended);
            // A failure has been dealt with already.
            let _ = self.commit();
        }
        Ok(false)
    }
}

/// When something is due again, by a clock that may be set.
#[derive(Debug, Clone, Copy, Default)]
struct Timer(Option<Timestamp>);

impl Timer {
    fn starting(now: Timestamp, every: Duration) -> Self {
        Self(Some(now.plus(every)))
    }

    /// Due from the start, when the time has come, and when it is further off than it can be: the clock went back.
    fn is_due(self, now: Timestamp, every: Duration) -> bool {
        self.0.is_none_or(|due| now >= due) || self.is_ahead(now, every)
    }

    /// Whether it is further off than it can be.
    fn is_ahead(self, now: Timestamp, every: Duration) -> bool {
        self.0.is_some_and(|due| now.plus(every) < due)
    }
}

impl<L: Log> Engine<L> {
    /// Whose session it is, with this use noted.
    fn user(&mut self, session: SessionKey, now: Timestamp) -> Result<AccountNumber, StoreError> {
        let healthy = self.can_write().is_ok();
        let state = self.state()?;
        let (row, change) = state.sessions.touch(session, now).ok_or(StoreError::NoSession)?;
        // That a session was used is not worth refusing a read for when the disk is full.
        state.pending.sessions.extend(change.filter(|_| healthy));
        Ok(row.account)
    }
}

/// How many records are read at once when the state is made anew.
const REPLAY_CHUNK: usize = 1_000;
/// The first wait before a failed write is tried again.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How often the log says that writes still fail.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long an idle store waits before it looks for background work again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often expired sessions are cleared away.
const EXPIRY_EVERY: Duration = Duration::from_secs(60 * 60);
/// The newest stretch is written behind at least this often, however short it is: only what the index covers can be
/// trimmed.
const FLUSH_EVERY: Duration = Duration::from_secs(60 * 60);
