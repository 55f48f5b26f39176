//! [`Cache`]: accounts and their mailboxes, as many as are in use or not yet written behind.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::blocks::Blocks;
use super::index::{Entry, IndexRow};
use super::log::{AccountChange, AccountRow, LogError, Parked, Record, View};
use super::mailbox::{Mailbox, Quota};
use crate::store::{AccountNumber, PrivacyChoice};
use crate::{MessageId, Timestamp};

/// An account and its mailbox.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) username: Arc<str>,
    pub(crate) name: Arc<str>,
    key: Option<Box<str>>,
    pub(crate) removed: bool,
    pub(crate) receipts: PrivacyChoice,
    pub(crate) presence: PrivacyChoice,
    pub(crate) blocks: Blocks,
    pub(crate) mailbox: Mailbox,
    /// The generation in which it was last used.
    used: u64,
}

/// What the log says of a mailbox after the covered position, until the mailbox is loaded.
#[derive(Debug, Clone, Copy)]
enum Replayed {
    Message { entry: Entry, id: MessageId },
    Cursor { upto: MessageId, position: u64, time: Timestamp },
    Removed { position: u64 },
    Incarnation { position: u64 },
}

/// Why a message was not added to a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undeliverable {
    /// The mailbox is not in memory.
    NotLoaded,
    /// The account was removed.
    Removed,
    /// The recipient blocks the sender.
    Blocked,
    /// Who holds how much has to be counted first ([`Mailbox::share_out`]).
    NeedsShares,
    /// There is no room.
    Full,
}

#[derive(Debug)]
pub(crate) struct Cache {
    by_number: HashMap<AccountNumber, Cached>,
    by_key: HashMap<Box<str>, AccountNumber>,
    replayed: HashMap<AccountNumber, Vec<Replayed>>,
    /// Mailboxes whose head on disk is behind, in no order.
    dirty: Vec<AccountNumber>,
    generation: u64,
    quota: Quota,
}

impl Cache {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            by_number: HashMap::new(),
            by_key: HashMap::new(),
            replayed: HashMap::new(),
            dirty: Vec::new(),
            generation: 0,
            quota,
        }
    }

    /// Takes note of records that the index does not cover. Heads are read when a mailbox is first used, so that
    /// starting costs one pass over the end of the log and no random reads.
    pub(crate) fn replay(&mut self, records: &[(u64, Record)]) {
        for (position, record) in records {
            let position = *position;
            let replayed = match record {
                Record::Message { message, .. } => {
                    let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
                    Replayed::Message {
                        entry: Entry { position, sender: message.sender, size },
                        id: message.id,
                    }
                }
                Record::Cursor { upto, time, .. } => {
                    Replayed::Cursor { upto: *upto, position, time: *time }
                }
                Record::Account { change: AccountChange::Removed, .. } => {
                    Replayed::Removed { position }
                }
                Record::Account { .. } => continue,
                Record::Incarnation { .. } => Replayed::Incarnation { position },
            };
            let mailbox = record.mailbox();
            self.replayed.entry(mailbox).or_insert_with(|| {
                self.dirty.push(mailbox);
                Vec::new()
            });
            if let Some(list) = self.replayed.get_mut(&mailbox) {
                // What came before is void, and the head it builds on may be gone from the disk already.
                if matches!(replayed, Replayed::Removed { .. }) {
                    list.clear();
                }
                list.push(replayed);
            }
        }
    }

    pub(crate) fn number(&self, key: &str) -> Option<AccountNumber> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&mut self, number: AccountNumber) -> Option<&mut Cached> {
        let cached = self.by_number.get_mut(&number)?;
        cached.used = self.generation;
        Some(cached)
    }

    /// Takes an account in, and its mailbox as head, index and log tell.
    pub(crate) fn load(
        &mut self,
        view: &impl View,
        row: &AccountRow,
    ) -> Result<&mut Cached, LogError> {
        if !self.by_number.contains_key(&row.number) {
            let mut mailbox = Mailbox::new(view.head(row.number)?.unwrap_or_default());
            let applied = mailbox.head.applied;
            for replayed in self.replayed.get(&row.number).into_iter().flatten() {
                replay_one(view, row.number, &mut mailbox, *replayed, applied, self.quota)?;
            }
            // Nothing that was replayed is let go of before everything is read.
            let blocks = Blocks::load(view, row)?;
            mailbox.dirty = self.replayed.remove(&row.number).is_some();
            self.insert(row, mailbox, blocks);
        }
        self.get(row.number)
            .ok_or_else(|| LogError::Failed("an account just loaded is gone".into()))
    }

    /// Takes a changed or new account in; its mailbox stays, and so do those it blocks.
    pub(crate) fn update(&mut self, row: &AccountRow) {
        let (mailbox, blocks) = match self.by_number.remove(&row.number) {
            Some(old) => {
                if let Some(key) = &old.key {
                    self.by_key.remove(key);
                }
                (old.mailbox, old.blocks)
            }
            None => Default::default(),
        };
        self.insert(row, mailbox, blocks);
    }

    /// Adds a message to a mailbox and gives its id, if there is room for it.
    ///
    /// The one look-up of the path every message takes.
    pub(crate) fn deliver(
        &mut self,
        number: AccountNumber,
        entry: Entry,
    ) -> Result<MessageId, Undeliverable> {
        let cached = self.by_number.get_mut(&number).ok_or(Undeliverable::NotLoaded)?;
        cached.used = self.generation;
        let mailbox = &mut cached.mailbox;
        if cached.removed {
            return Err(Undeliverable::Removed);
        }
        if cached.blocks.contains(entry.sender) {
            return Err(Undeliverable::Blocked);
        }
        if mailbox.needs_shares(self.quota) {
            return Err(Undeliverable::NeedsShares);
        }
        if !mailbox.admits(entry.sender, entry.size, self.quota) {
            return Err(Undeliverable::Full);
        }
        if !mailbox.dirty {
            self.dirty.push(number);
        }
        Ok(mailbox.append(entry))
    }

    /// Notes that a mailbox is about to change.
    pub(crate) fn touch(&mut self, number: AccountNumber) {
        if let Some(cached) = self.by_number.get_mut(&number)
            && !cached.mailbox.dirty
        {
            cached.mailbox.dirty = true;
            self.dirty.push(number);
        }
    }

    /// The mailboxes to write behind, in order.
    pub(crate) fn take_dirty(&mut self) -> Vec<AccountNumber> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty
    }

    /// Lets go of mailboxes that nobody used since the last call, beyond a number of them.
    pub(crate) fn shrink(&mut self, keep: usize) {
        let generation = self.generation;
        self.generation += 1;
        if self.by_number.len() > keep {
            self.by_number.retain(|_, cached| cached.mailbox.dirty || cached.used == generation);
        }
        if self.by_number.len() > keep.saturating_mul(2) {
            self.by_number.retain(|_, cached| cached.mailbox.dirty);
        }
        let by_number = &self.by_number;
        self.by_key.retain(|_, number| by_number.contains_key(number));
    }

    fn insert(&mut self, row: &AccountRow, mailbox: Mailbox, blocks: Blocks) {
        // Who was removed is not found by name any more.
        if let Some(key) = row.key.as_ref().filter(|_| row.removed.is_none()) {
            self.by_key.insert(key.clone(), row.number);
        }
        let cached = Cached {
            username: Arc::clone(&row.username),
            name: Arc::clone(&row.name),
            key: row.key.clone(),
            removed: row.removed.is_some(),
            receipts: row.receipts,
            presence: row.presence,
            blocks,
            mailbox,
            used: self.generation,
        };
        self.by_number.insert(row.number, cached);
    }
}

fn replay_one(
    view: &impl View,
    number: AccountNumber,
    mailbox: &mut Mailbox,
    replayed: Replayed,
    applied: u64,
    quota: Quota,
) -> Result<(), LogError> {
    match replayed {
        Replayed::Message { entry, id } if entry.position > applied => {
            let given = mailbox.append(entry);
            if given != id {
                return Err(LogError::Failed(format!(
                    "message {id} of mailbox {} replays as {given}",
                    number.0
                )));
            }
        }
        Replayed::Cursor { upto, position, time }
            if position > applied && upto > mailbox.head.cursor =>
        {
            let delivered = entries(view, number, mailbox, mailbox.head.cursor, upto)?;
            mailbox.advance(upto, delivered, time, quota);
        }
        Replayed::Removed { position } if position > applied => *mailbox = Mailbox::default(),
        Replayed::Incarnation { position } if position > applied => mailbox.head.renew(position),
        _ => {}
    }
    Ok(())
}

/// What is known of the messages after one id up to another.
pub(crate) fn entries(
    view: &impl View,
    number: AccountNumber,
    mailbox: &Mailbox,
    after: MessageId,
    upto: MessageId,
) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::new();
    let mut row: Option<(u64, Option<IndexRow>)> = None;
    for id in after.get() + 1..=upto.get() {
        let mut entry = mailbox.tail_entry(id);
        if entry.is_none() {
            let wanted = IndexRow::number(id);
            if row.as_ref().is_none_or(|(have, _)| *have != wanted) {
                row = Some((wanted, view.index_row(number, wanted)?));
            }
            entry = row.as_ref().and_then(|(_, row)| row.as_ref()?.get(id));
        }
        if entry.is_none() {
            entry = view.parked(number, MessageId::new(id))?.map(|Parked { position, message }| {
                Entry {
                    position,
                    sender: message.sender,
                    size: u32::try_from(message.body.len()).unwrap_or(u32::MAX),
                }
            });
        }
        entries.extend(entry);
    }
    Ok(entries)
}
