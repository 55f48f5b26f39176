//! [`Tables`]: what a simulated disk holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::store::engine::heads::HeadRow;
use crate::store::engine::log::{
    AccountRow, Batch, ImportChange, Parked, Record, RunChange, RunRow, SessionChange, SessionRow,
    Slice,
};
use crate::store::{AccountNumber, ImportId};
use crate::{MessageId, Timestamp};

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) log: BTreeMap<u64, Record>,
    /// What was trimmed and is still answered from.
    pub(super) posted: BTreeMap<u64, Record>,
    /// One past the newest position ever used.
    pub(super) next: u64,
    pub(super) covered: u64,
    pub(super) heads: BTreeMap<u64, HeadRow>,
    pub(super) parked: BTreeMap<(AccountNumber, MessageId), Parked>,
    pub(super) accounts: BTreeMap<AccountNumber, AccountRow>,
    pub(super) keys: BTreeMap<Box<str>, AccountNumber>,
    pub(super) sessions: BTreeMap<[u8; 32], SessionRow>,
    pub(super) imports: BTreeMap<ImportId, AccountNumber>,
    pub(super) incarnations: BTreeMap<u64, [u8; 16]>,
    pub(super) deliveries: BTreeMap<(AccountNumber, MessageId), Timestamp>,
    pub(super) blocks: BTreeSet<(AccountNumber, AccountNumber)>,
    pub(super) runs: BTreeMap<u64, RunRow>,
    pub(super) run_blocks: BTreeMap<BlockKey, Box<[u8]>>,
    pub(super) running: Duration,
}

/// A run, and the key its block begins with.
type BlockKey = (u64, Box<[u8]>);

/// One write, kept until it is known to be synced.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Batch(Batch),
    Slice(Slice),
}

impl Tables {
    pub(super) fn apply(&mut self, write: &Write) {
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
        for (number, row) in &slice.heads {
            self.heads.insert(*number, HeadRow::decode(&row.0).unwrap_or_default());
        }
        for (mailbox, upto) in &slice.drop_parked {
            self.parked.retain(|(owner, id), _| owner != mailbox || id > upto);
        }
        for mailbox in &slice.drop_mailboxes {
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
            let kept = self.log.split_off(&before);
            self.posted.append(&mut std::mem::replace(&mut self.log, kept));
            self.posted = self.posted.split_off(&slice.posted_from.unwrap_or(before));
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
