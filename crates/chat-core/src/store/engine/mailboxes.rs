//! [`Mailboxes`]: the heads of all mailboxes that were looked at, and those that are in use or not yet written behind.

use std::collections::hash_map::Entry as Slot;

use foldhash::{HashMap, HashMapExt as _};

use super::heads::{self, HeadBlock, HeadRow};
use super::index::{Entry, passed};
use super::log::{AccountChange, LogError, Record, View};
use super::mailbox::{Mailbox, Quota};
use super::runs::Runs;
use crate::store::AccountNumber;
use crate::{MessageId, Timestamp};

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
    /// Who holds how much has to be counted first ([`Mailbox::share_out`]).
    NeedsShares,
    /// There is no room.
    Full,
}

#[derive(Debug)]
pub(crate) struct Mailboxes {
    /// By row of heads.
    blocks: HashMap<u64, Box<HeadBlock>>,
    replayed: HashMap<AccountNumber, Vec<Replayed>>,
    /// Mailboxes whose head or index on disk is behind, in no order.
    dirty: Vec<AccountNumber>,
    quota: Quota,
    /// How many were loaded since it was looked which need not be in use any more.
    loaded: usize,
}

impl Mailboxes {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            blocks: HashMap::new(),
            replayed: HashMap::new(),
            dirty: Vec::new(),
            quota,
            loaded: 0,
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

    /// A mailbox, if it is in use.
    pub(crate) fn get(&mut self, number: AccountNumber) -> Option<&mut Mailbox> {
        let (row, at) = heads::place(number);
        self.blocks.get_mut(&row)?.get(at)
    }

    /// A mailbox, as head, index and log tell.
    pub(crate) fn load(
        &mut self,
        view: &impl View,
        runs: &Runs,
        number: AccountNumber,
    ) -> Result<&mut Mailbox, LogError> {
        let (row, at) = heads::place(number);
        let block = match self.blocks.entry(row) {
            Slot::Occupied(block) => block.into_mut(),
            Slot::Vacant(slot) => slot.insert(Box::new(HeadBlock::new(&view.heads(row)?))),
        };
        if block.get(at).is_none() {
            let mut mailbox = Mailbox::new(block.head(at));
            for replayed in self.replayed.get(&number).into_iter().flatten() {
                replay_one(view, runs, number, &mut mailbox, *replayed, self.quota)?;
            }
            // Nothing that was replayed is let go of before everything is read.
            mailbox.dirty = self.replayed.remove(&number).is_some();
            block.put(at, mailbox);
            self.loaded += 1;
        }
        block.get(at).ok_or_else(|| LogError::Failed("a mailbox just loaded is gone".into()))
    }

    /// Looks at what messages to these mailboxes need, a step for all before the next, so that memory is asked for many at
    /// once.
    pub(crate) fn glance(&self, numbers: &[AccountNumber]) {
        let places = numbers.iter().map(|number| heads::place(*number));
        let blocks: Vec<_> = places
            .filter_map(|(row, at)| Some((self.blocks.get(&row)?, at)))
            .map(|(block, at)| (block, at, block.slot(at)))
            .collect();
        let seen = blocks.iter().map(|(block, at, slot)| block.glance(*at, *slot));
        std::hint::black_box(seen.fold(0, u64::wrapping_add));
    }

    /// Adds a message to a mailbox and gives its id, if there is room for it.
    pub(crate) fn deliver(
        &mut self,
        number: AccountNumber,
        entry: Entry,
    ) -> Result<MessageId, Undeliverable> {
        let (row, at) = heads::place(number);
        let block = self.blocks.get_mut(&row).ok_or(Undeliverable::NotLoaded)?;
        if block.get(at).is_none() {
            if !self.replayed.is_empty() && self.replayed.contains_key(&number) {
                return Err(Undeliverable::NotLoaded);
            }
            block.put(at, Mailbox::new(block.head(at)));
        }
        let mailbox = block.get(at).ok_or(Undeliverable::NotLoaded)?;
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
        if let Some(mailbox) = self.get(number)
            && !mailbox.dirty
        {
            mailbox.dirty = true;
            self.dirty.push(number);
        }
    }

    /// The mailboxes to write behind, in order.
    pub(crate) fn take_dirty(&mut self) -> Vec<AccountNumber> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty
    }

    /// The heads of a row, which is loaded, as they are now: everything up to `end` is applied.
    pub(crate) fn row(&self, row: u64, end: u64) -> HeadRow {
        self.blocks.get(&row).map(|block| block.row(end)).unwrap_or_default()
    }

    /// The disk has the mailbox's head now, and its index will have everything up to a position.
    pub(crate) fn written(&mut self, number: AccountNumber, indexed: u64) {
        if let Some(mailbox) = self.get(number)
            && mailbox.written(indexed)
        {
            self.dirty.push(number);
        }
    }

    /// The index has everything up to this position: memory need not keep it.
    pub(crate) fn forget(&mut self, number: AccountNumber, indexed: u64) {
        let (row, at) = heads::place(number);
        if let Some(block) = self.blocks.get_mut(&row)
            && let Some(mailbox) = block.get(at)
        {
            mailbox.tail.forget(indexed);
            block.put_away(at);
        }
    }

    /// Puts mailboxes away that are not in use any more, if many were loaded.
    pub(crate) fn shrink(&mut self) {
        if self.loaded > MANY {
            self.blocks.values_mut().for_each(|block| block.shrink());
            self.loaded = 0;
        }
    }
}

/// Applies what the log says. The index has nothing of it, the head what lies no further than it is applied.
fn replay_one(
    view: &impl View,
    runs: &Runs,
    number: AccountNumber,
    mailbox: &mut Mailbox,
    replayed: Replayed,
    quota: Quota,
) -> Result<(), LogError> {
    let applied = mailbox.head.applied;
    match replayed {
        Replayed::Message { entry, .. } if entry.position <= applied => {
            mailbox.tail.push(entry);
        }
        Replayed::Message { entry, id } => {
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
            let delivered = passed(view, runs, number, mailbox, upto)?;
            mailbox.advance(upto, delivered, time, quota);
        }
        Replayed::Cursor { upto, time, .. } => mailbox.deliveries.note(upto, time),
        Replayed::Removed { position } if position > applied => mailbox.clear(),
        Replayed::Incarnation { position } if position > applied => mailbox.head.renew(position),
        Replayed::Removed { .. } | Replayed::Incarnation { .. } => {}
    }
    Ok(())
}

/// When so many were loaded, it is looked at all that are in use.
const MANY: usize = if cfg!(test) { 1 } else { 65_536 };
