//! [`SimulatedLog`]: a log in memory that can fail the way a disk does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::index::IndexRow;
use super::log::{
    AccountRow, Batch, Block, ImportChange, Log, LogError, PageSource, Parked, Record, Recovered,
    RunChange, RunRow, SessionChange, SessionRow, Slice, View,
};
use super::mailbox::Head;
use crate::store::{AccountNumber, ImportId, SessionKey};
use crate::{MessageId, Timestamp};

/// What is on the disk.
#[derive(Debug, Clone, Default)]
struct Tables {
    log: BTreeMap<u64, Record>,
    /// One past the newest position ever used.
    next: u64,
    covered: u64,
    heads: BTreeMap<AccountNumber, Head>,
    rows: BTreeMap<(AccountNumber, u64), Vec<u8>>,
    parked: BTreeMap<(AccountNumber, MessageId), Parked>,
    accounts: BTreeMap<AccountNumber, AccountRow>,
    keys: BTreeMap<Box<str>, AccountNumber>,
    sessions: BTreeMap<[u8; 32], SessionRow>,
    imports: BTreeMap<ImportId, AccountNumber>,
    incarnations: BTreeMap<u64, [u8; 16]>,
    deliveries: BTreeMap<(AccountNumber, MessageId), Timestamp>,
    blocks: BTreeSet<(AccountNumber, AccountNumber)>,
    runs: BTreeMap<u64, RunRow>,
    run_blocks: BTreeMap<BlockKey, Box<[u8]>>,
    running: Duration,
}

/// A run, and the key its block begins with.
type BlockKey = (u64, Box<[u8]>);

/// One write, kept until it is known to be synced.
#[derive(Debug, Clone)]
enum Write {
    Batch(Batch),
    Slice(Slice),
}

/// How the simulated disk shall fail.
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(dead_code, reason = "a store in memory does not fail")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No room: the write is refused whole.
    NoSpace,
    /// The write went out but its sync failed.
    SyncFailed,
    /// The machine goes down, and nothing is written any more.
    #[cfg(any(test, feature = "simulation"))]
    Down(Moment),
}

/// When, in the course of a write, the machine goes down.
#[cfg(any(test, feature = "simulation"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    Unsynced,
    Synced,
}

/// A fault built in on purpose, to see that tests find it.
#[cfg(feature = "simulation")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A commit is called durable before it is synced; the next one's sync makes up for it.
    AckBeforeSync,
    /// The first slice of a flush claims that everything is covered.
    CoveredEarly,
    /// The flush writes heads without the moves of the cursor.
    CursorForgotten,
}

#[derive(Debug, Default)]
struct Disk {
    tables: Tables,
    /// What survives a loss of power: `tables` without `unsynced`. Kept only where a test may pull the plug.
    synced: Option<Tables>,
    unsynced: Vec<Write>,
    fault: Option<Fault>,
    writes: u64,
    /// The fault strikes at this write.
    fault_at: Option<(u64, Fault)>,
    /// An older copy was put in place of what was there.
    is_old_copy: bool,
    #[cfg(feature = "simulation")]
    bug: Option<Bug>,
}

/// A log in memory. Clones share the disk, so a test can open it anew after a crash.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedLog {
    disk: Arc<Mutex<Disk>>,
}

impl SimulatedLog {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg_attr(
        not(feature = "simulation"),
        expect(unused_mut, reason = "only planted bugs change it")
    )]
    fn write(&self, mut write: Write) -> Result<(), LogError> {
        let mut disk = self.lock();
        disk.writes += 1;
        let writes = disk.writes;
        if let Some((_, fault)) = disk.fault_at.take_if(|(at, _)| *at <= writes) {
            disk.fault = Some(fault);
        }
        #[cfg(feature = "simulation")]
        disk.spoil(&mut write);
        let is_append = matches!(write, Write::Batch(_));
        match disk.fault {
            Some(Fault::NoSpace) => return Err(LogError::NoSpace("simulated".into())),
            #[cfg(any(test, feature = "simulation"))]
            Some(Fault::Down(moment)) => {
                disk.go_down(moment, write);
                return Err(LogError::Failed("simulated: the machine is down".into()));
            }
            fault => disk.put(write, fault.is_none()),
        }
        match disk.fault {
            Some(_) if is_append => Err(LogError::Failed("simulated: sync failed".into())),
            _ => Ok(()),
        }
    }
}

/// Handles for tests, and for simulations.
#[cfg(any(test, feature = "simulation"))]
#[cfg_attr(
    not(all(test, feature = "simulation")),
    allow(dead_code, reason = "each uses a part of them")
)]
impl SimulatedLog {
    /// A log whose plug can be pulled.
    pub(crate) fn with_power_switch() -> Self {
        let log = Self::new();
        log.lock().synced = Some(Tables::default());
        log
    }

    /// From now on every write fails like this; `None` heals the disk.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        let mut disk = self.lock();
        (disk.fault, disk.fault_at) = (fault, None);
    }

    /// The n-th write from now fails like this, and all after it.
    pub(crate) fn fail_at(&self, n: u64, fault: Fault) {
        let mut disk = self.lock();
        disk.fault_at = Some((disk.writes + n, fault));
    }

    /// Whether the machine went down at a write.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.lock().fault, Some(Fault::Down(_)))
    }

    pub(crate) fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Pulls the plug: of the writes that were not synced, `keep` survive whole; the next is torn, which a log that
    /// checks its commits takes for missing, and what follows it is gone.
    pub(crate) fn pull_plug(&self, keep: usize) {
        let mut disk = self.lock();
        let mut tables = disk.synced.clone().unwrap_or_default();
        for write in disk.unsynced.iter().take(keep) {
            tables.apply(write);
        }
        disk.hold(tables);
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Runs there are, and different runs that there are blocks of.
    pub(crate) fn runs(&self) -> (usize, usize) {
        let disk = self.lock();
        let of: BTreeSet<_> = disk.tables.run_blocks.keys().map(|(run, _)| *run).collect();
        (disk.tables.runs.len(), of.len())
    }

    /// Rows of delivery times.
    pub(crate) fn deliveries(&self) -> usize {
        self.lock().tables.deliveries.len()
    }

    /// A log of its own that holds what is synced here.
    pub(crate) fn copy(&self) -> Self {
        let tables = self.lock().synced.clone().unwrap_or_default();
        let log = Self::new();
        log.lock().hold(tables);
        log
    }

    /// Puts a copy in place of what is there; a store that opens it may or may not notice.
    pub(crate) fn put_back(&self, copy: &Self, noticed: bool) {
        let tables = copy.lock().tables.clone();
        let mut disk = self.lock();
        disk.hold(tables);
        disk.is_old_copy = noticed;
    }

    /// Positions still in the log, and messages parked.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let disk = self.lock();
        (disk.tables.log.len(), disk.tables.parked.len())
    }
}

#[cfg(feature = "simulation")]
impl SimulatedLog {
    pub(crate) fn plant(&self, bug: Bug) {
        self.lock().bug = Some(bug);
    }
}

impl Disk {
    fn put(&mut self, write: Write, syncs: bool) {
        let is_append = matches!(write, Write::Batch(_));
        self.tables.apply(&write);
        if self.synced.is_none() {
            return;
        }
        #[cfg(feature = "simulation")]
        if is_append && syncs && self.bug == Some(Bug::AckBeforeSync) {
            self.sync();
            self.unsynced.push(write);
            return;
        }
        self.unsynced.push(write);
        if is_append && syncs {
            self.sync();
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Disk {
    fn go_down(&mut self, moment: Moment, write: Write) {
        match moment {
            Moment::Before => {}
            Moment::Unsynced => self.put(write, false),
            Moment::Synced => self.put(write, true),
        }
        self.fault = Some(Fault::Down(Moment::Before));
    }

    /// Has these tables, all of them synced, and no trouble.
    fn hold(&mut self, tables: Tables) {
        *self = Self {
            synced: Some(tables.clone()),
            tables,
            #[cfg(feature = "simulation")]
            bug: self.bug,
            ..Self::default()
        };
    }
}

#[cfg(feature = "simulation")]
impl Disk {
    /// Changes a write as the planted bug would.
    fn spoil(&self, write: &mut Write) {
        let Write::Slice(slice) = write else {
            return;
        };
        match self.bug {
            Some(Bug::CoveredEarly) if !slice.heads.is_empty() => {
                slice.covered = Some(self.tables.next - 1);
            }
            Some(Bug::CursorForgotten) => {
                for (mailbox, head) in &mut slice.heads {
                    let old = self.tables.heads.get(mailbox).copied().unwrap_or_default();
                    head.cursor = old.cursor;
                }
            }
            _ => {}
        }
    }
}

impl Disk {
    fn sync(&mut self) {
        if let Some(synced) = &mut self.synced {
            for write in self.unsynced.drain(..) {
                synced.apply(&write);
            }
        }
    }
}

impl Tables {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Batch(batch) => self.apply_batch(batch),
            Write::Slice(slice) => self.apply_slice(slice),
        }
    }

    fn apply_batch(&mut self, batch: &Batch) {
        for (position, record) in (batch.first..).zip(&batch.records) {
            let before = self.log.insert(position, record.clone());
            debug_assert!(
                before.is_none() && position >= self.next,
                "position {position} used twice"
            );
            self.next = position + 1;
        }
        for row in &batch.accounts {
            if let Some(key) = self.accounts.insert(row.number, row.clone()).and_then(|old| old.key)
            {
                self.keys.remove(&key);
            }
            if let Some(key) = &row.key {
                self.keys.insert(key.clone(), row.number);
            }
        }
        for change in &batch.sessions {
            match change {
                SessionChange::Put(key, row) => self.sessions.insert(key.0, *row),
                SessionChange::Delete(key) => self.sessions.remove(&key.0),
            };
        }
        for change in &batch.imports {
            match change {
                ImportChange::Begin(import, first) => self.imports.insert(*import, *first),
                ImportChange::End(import) => self.imports.remove(import),
            };
        }
        for change in &batch.blocks {
            match change.on {
                true => self.blocks.insert((change.account, change.blocked)),
                false => self.blocks.remove(&(change.account, change.blocked)),
            };
        }
        self.incarnations.extend(batch.incarnation.map(|name| (batch.first, name)));
    }

    fn apply_slice(&mut self, slice: &Slice) {
        for (mailbox, number, row) in &slice.rows {
            self.rows.insert((*mailbox, *number), row.encode());
        }
        for (mailbox, head) in &slice.heads {
            self.heads.insert(*mailbox, *head);
        }
        for (mailbox, below) in &slice.drop_rows {
            self.rows.retain(|(owner, row), _| owner != mailbox || row >= below);
        }
        for (mailbox, upto) in &slice.drop_parked {
            self.parked.retain(|(owner, id), _| owner != mailbox || id > upto);
        }
        for mailbox in &slice.drop_mailboxes {
            self.heads.remove(mailbox);
            self.rows.retain(|(owner, _), _| owner != mailbox);
            self.parked.retain(|(owner, _), _| owner != mailbox);
            self.deliveries.retain(|(owner, _), _| owner != mailbox);
            self.blocks.retain(|(owner, _)| owner != mailbox);
        }
        for (mailbox, upto, time) in &slice.deliveries {
            self.deliveries.insert((*mailbox, *upto), *time);
        }
        for (mailbox, upto) in &slice.drop_deliveries {
            self.deliveries.retain(|(owner, id), _| owner != mailbox || id > upto);
        }
        for change in &slice.runs {
            self.change_run(change);
        }
        self.running = slice.running.unwrap_or(self.running);
        for (mailbox, parked) in &slice.park {
            self.parked.insert((*mailbox, parked.message.id), parked.clone());
        }
        self.covered = slice.covered.unwrap_or(self.covered);
        if let Some(before) = slice.trim_before {
            self.log = self.log.split_off(&before);
        }
        if let Some((import, from, to)) = slice.drop_accounts {
            let doomed: Vec<_> = self.accounts.range(from..to).map(|(number, _)| *number).collect();
            for number in doomed {
                if self.accounts.get(&number).is_some_and(|row| row.import == Some(import))
                    && let Some(key) = self.accounts.remove(&number).and_then(|row| row.key)
                {
                    self.keys.remove(&key);
                }
            }
        }
    }
}

impl Tables {
    fn change_run(&mut self, change: &RunChange) {
        match change {
            RunChange::Put(run) => {
                self.runs.insert(run.number, run.clone());
            }
            RunChange::Block { run, first, entries } => {
                self.run_blocks.insert((*run, first.clone()), entries.clone());
            }
            RunChange::Drop { run, blocks } => {
                let of_run = (*run, Box::default())..(*run + 1, Box::default());
                let keys = self.run_blocks.range(of_run).take(*blocks).map(|(key, _)| key.clone());
                let doomed: Vec<_> = keys.collect();
                if doomed.len() < *blocks {
                    self.runs.remove(run);
                }
                doomed.iter().for_each(|key| drop(self.run_blocks.remove(key)));
            }
        }
    }
}

impl Log for SimulatedLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let disk = self.lock();
        let tables = &disk.tables;
        let next = tables.next.max(tables.covered + 1);
        Ok(Recovered {
            covered: tables.covered,
            start: tables.log.keys().next().copied().unwrap_or(next),
            end: next - 1,
            next_account: tables.accounts.keys().next_back().map_or(1, |number| number.0 + 1),
            sessions: tables.sessions.iter().map(|(key, row)| (SessionKey(*key), *row)).collect(),
            imports: tables.imports.iter().map(|(import, first)| (*import, *first)).collect(),
            incarnations: tables.incarnations.iter().map(|(began, name)| (*began, *name)).collect(),
            runs: tables.runs.values().cloned().collect(),
            running: tables.running,
            secret: [7; 16],
            may_have_lost: disk.is_old_copy,
        })
    }

    fn recovered(&mut self) -> Result<(), LogError> {
        self.lock().is_old_copy = false;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn rest(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.write(Write::Batch(batch.clone()))
    }

    fn put(&mut self, slice: &Slice) -> Result<(), LogError> {
        self.write(Write::Slice(slice.clone()))
    }

    fn probe(&mut self) -> Result<(), LogError> {
        match self.lock().fault {
            None => Ok(()),
            Some(_) => Err(LogError::NoSpace("simulated".into())),
        }
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        let mut disk = self.lock();
        if disk.fault.is_some() {
            return Err(LogError::Failed("simulated".into()));
        }
        disk.sync();
        Ok(())
    }

    fn pages(&self) -> Arc<dyn PageSource> {
        Arc::new(self.clone())
    }

    fn close(&mut self) -> Result<(), LogError> {
        self.lock().sync();
        Ok(())
    }
}

impl PageSource for SimulatedLog {
    fn with_view(
        &self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        read(self)
    }
}

impl View for SimulatedLog {
    fn records(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LogError> {
        Ok(self
            .lock()
            .tables
            .log
            .range(from..)
            .take(limit)
            .map(|(position, record)| (*position, record.clone()))
            .collect())
    }

    fn record(&self, position: u64) -> Result<Option<Record>, LogError> {
        Ok(self.lock().tables.log.get(&position).cloned())
    }

    fn head(&self, mailbox: AccountNumber) -> Result<Option<Head>, LogError> {
        Ok(self.lock().tables.heads.get(&mailbox).copied())
    }

    fn index_row(&self, mailbox: AccountNumber, row: u64) -> Result<Option<IndexRow>, LogError> {
        let bytes = self.lock().tables.rows.get(&(mailbox, row)).cloned();
        Ok(bytes.and_then(|bytes| IndexRow::decode(row, &bytes)))
    }

    fn parked(&self, mailbox: AccountNumber, id: MessageId) -> Result<Option<Parked>, LogError> {
        Ok(self.lock().tables.parked.get(&(mailbox, id)).cloned())
    }

    fn delivery(
        &self,
        mailbox: AccountNumber,
        id: MessageId,
    ) -> Result<Option<Timestamp>, LogError> {
        let disk = self.lock();
        let later = disk.tables.deliveries.range((mailbox, id)..).next();
        Ok(later.filter(|((owner, _), _)| *owner == mailbox).map(|(_, time)| *time))
    }

    fn blocks(&self, account: AccountNumber) -> Result<Vec<AccountNumber>, LogError> {
        let disk = self.lock();
        let blocks = disk.tables.blocks.iter().filter(|(owner, _)| *owner == account);
        Ok(blocks.map(|(_, blocked)| *blocked).collect())
    }

    fn block_at(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        let disk = self.lock();
        let upto = (run, Box::default())..=(run, key.into());
        Ok(disk
            .tables
            .run_blocks
            .range(upto)
            .next_back()
            .map(|((_, first), entries)| (first.clone(), entries.clone())))
    }

    fn block_after(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        let disk = self.lock();
        let after =
            (Bound::Excluded((run, key.into())), Bound::Excluded((run + 1, Box::default())));
        Ok(disk
            .tables
            .run_blocks
            .range(after)
            .next()
            .map(|((_, first), entries)| (first.clone(), entries.clone())))
    }

    fn block_before(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        let disk = self.lock();
        let before = (run, Box::default())..(run, key.into());
        Ok(disk
            .tables
            .run_blocks
            .range(before)
            .next_back()
            .map(|((_, first), entries)| (first.clone(), entries.clone())))
    }

    fn run_is_complete(&self, run: u64) -> Result<bool, LogError> {
        Ok(self.lock().tables.runs.get(&run).is_some_and(|run| run.complete))
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>, LogError> {
        let disk = self.lock();
        Ok(disk.tables.keys.get(key).and_then(|number| disk.tables.accounts.get(number)).cloned())
    }

    fn account(&self, number: AccountNumber) -> Result<Option<AccountRow>, LogError> {
        Ok(self.lock().tables.accounts.get(&number).cloned())
    }

    fn accounts_after(&self, key: &str, limit: usize) -> Result<Vec<AccountRow>, LogError> {
        let disk = self.lock();
        let numbers = disk
            .tables
            .keys
            .range::<str, _>((Bound::Excluded(key), Bound::Unbounded))
            .map(|(_, number)| number);
        Ok(numbers
            .filter_map(|number| disk.tables.accounts.get(number))
            .take(limit)
            .cloned()
            .collect())
    }
}
