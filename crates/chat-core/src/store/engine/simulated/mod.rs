//! [`SimulatedLog`]: a log in memory that can fail the way a disk does.

#[cfg(feature = "simulation")]
mod bug;
mod disk;
mod tables;

#[cfg(test)]
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::Recipient;
use super::heads::HeadRow;
use super::index::IndexRow;
use super::log::{
    AccountRow, Batch, Block, DirectoryEntry, Log, LogError, PageSource, Parked, Record, Recovered,
    Slice, View,
};
use super::worker::Worker;
use crate::store::{AccountNumber, SessionKey};
use crate::{MessageId, Timestamp};
#[cfg(feature = "simulation")]
pub(crate) use bug::Bug;
use disk::Disk;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use disk::Fault;
#[cfg(feature = "simulation")]
pub(crate) use disk::Moment;
#[cfg(any(test, feature = "simulation"))]
use tables::Tables;
use tables::Write;

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

    fn write(&self, write: Write) -> Result<(), LogError> {
        self.lock().write(write)
    }
}

#[cfg(any(test, feature = "simulation"))]
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
}

#[cfg(test)]
impl SimulatedLog {
    pub(crate) fn writes(&self) -> u64 {
        self.lock().writes
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

    /// Positions still in the log, and messages parked.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let disk = self.lock();
        (disk.tables.log.len(), disk.tables.parked.len())
    }
}

#[cfg(feature = "simulation")]
impl SimulatedLog {
    /// Whether the machine went down at a write.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.lock().fault, Some(Fault::Down(_)))
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

    pub(crate) fn plant(&self, bug: Bug) {
        self.lock().bug = Some(bug);
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
            lacks_oldest: false,
            caught_up: 0,
            end: next - 1,
            next_account: tables.accounts.keys().next_back().map_or(1, |number| number.0 + 1),
            sessions: tables.sessions.iter().map(|(key, row)| (SessionKey(*key), *row)).collect(),
            imports: tables.imports.iter().map(|(import, first)| (*import, *first)).collect(),
            incarnations: tables.incarnations.iter().map(|(began, name)| (*began, *name)).collect(),
            runs: tables.runs.values().cloned().collect(),
            running: tables.running,
            secret: [7; 16],
            may_have_lost: false,
            is_copy: disk.is_old_copy,
        })
    }

    fn recovered(&mut self) -> Result<(), LogError> {
        self.lock().is_old_copy = false;
        Ok(())
    }

    fn rest(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn release_memory(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.write(Write::Batch(batch.clone()))
    }

    fn begin_append(&mut self, _: &Batch) -> Result<(), LogError> {
        Ok(())
    }

    /// Nothing of the batch is there before: whoever counts on it too soon finds out.
    fn end_append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.append(batch)
    }

    fn posted(&self, position: u64) -> Result<Option<Record>, LogError> {
        let tables = &self.lock().tables;
        Ok(tables.log.get(&position).or_else(|| tables.posted.get(&position)).cloned())
    }

    fn put(&mut self, slice: &Slice) -> Result<(), LogError> {
        self.write(Write::Slice(slice.clone()))
    }

    fn probe(&mut self) -> Result<(), LogError> {
        let fault = self.lock().fault;
        match fault {
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

    fn worker(&self) -> Worker {
        Worker::at_once()
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

    fn heads(&self, row: u64) -> Result<HeadRow, LogError> {
        Ok(self.lock().tables.heads.get(&row).cloned().unwrap_or_default())
    }

    fn index_row(&self, _: AccountNumber, _: u64) -> Result<Option<IndexRow>, LogError> {
        Ok(None)
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

    fn directory(
        &self,
        after: AccountNumber,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>, LogError> {
        let disk = self.lock();
        let later = disk.tables.accounts.range((Bound::Excluded(after), Bound::Unbounded));
        let entries = later.filter(|(_, row)| row.removed.is_none()).filter_map(|(number, row)| {
            let recipient = Recipient { number: *number, blocks: row.blocks > 0 };
            Some(DirectoryEntry { key: row.key.clone()?, recipient, import: row.import })
        });
        Ok(entries.take(limit).collect())
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
