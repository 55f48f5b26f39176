//! [`Mailboxes`]: the heads of all mailboxes that were looked at, and those of which there is more to know.
//!
//! A message changes one of a million mailboxes, and the next one another: what it touches is a head, of 16 bytes, and the
//! end of [`Chains`]. Whoever asks more of a mailbox, be it to read it, takes it into use as a [`Mailbox`].

use foldhash::{HashMap, HashMapExt as _};

use super::chains::{Chains, Due, NOWHERE};
use super::heads::{self, HeadBlock, HeadBytes};
use super::index::{Entry, passed};
use super::log::{AccountChange, LogError, Record, View};
use super::mailbox::{Head, Mailbox, Quota};
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
    /// By row of heads, those that were looked at. Rows are numbered from 0 without holes to speak of.
    blocks: Vec<Option<Box<HeadBlock>>>,
    /// Those in use. Their heads are not in the blocks, nor their entries in the chains.
    in_use: HashMap<AccountNumber, Box<Mailbox>>,
    /// What the index lacks of the others.
    chains: Chains,
    replayed: HashMap<AccountNumber, Vec<Replayed>>,
    /// Mailboxes in use, or replayed, whose head or index on disk is behind, in no order.
    dirty: Vec<AccountNumber>,
    quota: Quota,
    /// How many were loaded since it was looked which need not be in use any more.
    loaded: usize,
}

impl Mailboxes {
    /// Empty; the next record has position `next`.
    pub(crate) fn new(quota: Quota, next: u64) -> Self {
        Self {
            blocks: Vec::new(),
            in_use: HashMap::new(),
            chains: Chains::new(next),
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
        self.in_use.get_mut(&number).map(Box::as_mut)
    }

    /// A mailbox's head as it is now. The mailbox need not be in use for that, and is not afterwards.
    pub(crate) fn head(
        &mut self,
        view: &impl View,
        runs: &Runs,
        number: AccountNumber,
    ) -> Result<Head, LogError> {
        if self.in_use.contains_key(&number) || self.replayed.contains_key(&number) {
            return self.load(view, runs, number).map(|mailbox| mailbox.head);
        }
        let (row, at) = heads::place(number);
        Ok(self.load_block(view, row)?.head(at))
    }

    /// Takes a mailbox into use, as head, index and log tell.
    pub(crate) fn load(
        &mut self,
        view: &impl View,
        runs: &Runs,
        number: AccountNumber,
    ) -> Result<&mut Mailbox, LogError> {
        if !self.in_use.contains_key(&number) {
            let (row, at) = heads::place(number);
            let head = self.load_block(view, row)?.head(at);
            let mut mailbox = Box::new(Mailbox::new(head));
            for replayed in self.replayed.get(&number).into_iter().flatten() {
                replay_one(view, runs, number, &mut mailbox, *replayed, self.quota)?;
            }
            // Nothing that was replayed is let go of before everything is read.
            mailbox.dirty = self.replayed.remove(&number).is_some();
            self.lend(number, &mut mailbox);
            self.in_use.insert(number, mailbox);
            self.loaded += 1;
        }
        self.get(number).ok_or_else(|| LogError::Failed("a mailbox just loaded is gone".into()))
    }

    fn load_block(&mut self, view: &impl View, row: u64) -> Result<&HeadBlock, LogError> {
        let at = usize::try_from(row).map_err(|_| LogError::Failed(format!("no row {row}")))?;
        if self.blocks.len() <= at {
            self.blocks.resize_with(at.saturating_add(1), || None);
        }
        match self.blocks.get_mut(at) {
            Some(Some(block)) => Ok(block),
            Some(none) => Ok(none.insert(Box::new(HeadBlock::new(&view.heads(row)?)))),
            None => Err(LogError::Failed(format!("no row {row}"))),
        }
    }

    /// Moves what there is in memory of a mailbox that was not in use.
    fn lend(&mut self, number: AccountNumber, mailbox: &mut Mailbox) {
        let (row, at) = heads::place(number);
        let Some(block) = block(&mut self.blocks, row) else { return };
        let (_, newest, id) = block.lend(at);
        for entry in self.chains.take(number, newest, id) {
            mailbox.tail.push(entry);
            if !mailbox.dirty {
                mailbox.dirty = true;
                self.dirty.push(number);
            }
        }
    }

    /// Looks at what messages to these mailboxes need, so that memory is asked for many at once.
    pub(crate) fn glance(&self, numbers: impl Iterator<Item = AccountNumber>) {
        let seen = numbers.map(|number| {
            let (row, at) = heads::place(number);
            let block = usize::try_from(row).ok().and_then(|row| self.blocks.get(row)?.as_ref());
            block.map_or(0, |block| block.glance(at))
        });
        std::hint::black_box(seen.fold(0, u32::wrapping_add));
    }

    /// Adds a message to a mailbox and gives its id, if there is room for it.
    pub(crate) fn deliver(
        &mut self,
        number: AccountNumber,
        entry: Entry,
    ) -> Result<MessageId, Undeliverable> {
        let (row, at) = heads::place(number);
        let block = block(&mut self.blocks, row).ok_or(Undeliverable::NotLoaded)?;
        if !block.is_packed(at) {
            return self.deliver_in_use(number, entry);
        }
        if !self.replayed.is_empty() && self.replayed.contains_key(&number) {
            return Err(Undeliverable::NotLoaded);
        }
        block.deliver(at, number, entry, self.quota, &mut self.chains)
    }

    fn deliver_in_use(
        &mut self,
        number: AccountNumber,
        entry: Entry,
    ) -> Result<MessageId, Undeliverable> {
        let mailbox = self.in_use.get_mut(&number).ok_or(Undeliverable::NotLoaded)?;
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

    /// What is to be written behind of entries up to a position, in order of mailbox and then of position; and the mailboxes
    /// that are to be for another reason.
    pub(crate) fn take_due(&mut self, upto: u64) -> Vec<Due> {
        let dirty = std::mem::take(&mut self.dirty).into_iter().map(|number| (number, NOWHERE));
        let mut due: Vec<_> = self.chains.upto(upto).chain(dirty).collect();
        due.sort_unstable();
        due
    }

    /// The head of a mailbox that is not in use, if it is of the small kind.
    pub(crate) fn packed_head(&self, number: AccountNumber) -> Option<Head> {
        let (row, at) = heads::place(number);
        let block = self.blocks.get(usize::try_from(row).ok()?)?.as_ref()?;
        block.is_packed(at).then(|| block.head(at))
    }

    /// The entry of a mailbox that is not in use at a position, if the index lacks it, and its message's id.
    pub(crate) fn chained(&self, (number, position): Due) -> Option<(u64, Entry)> {
        self.chains.get(number, position)
    }

    /// The heads of a row, which is loaded, as they are now and go to the disk: everything up to `end` is applied.
    pub(crate) fn row(&self, row: u64, end: u64) -> HeadBytes {
        let block = usize::try_from(row).ok().and_then(|row| self.blocks.get(row)?.as_ref());
        let lent = |at| self.in_use.get(&heads::mailbox(row, at)?).map(|mailbox| mailbox.head);
        block.map(|block| block.encode(end, lent)).unwrap_or_default()
    }

    /// The disk has the mailbox's head now, and its index will have everything up to a position.
    pub(crate) fn written(&mut self, number: AccountNumber, indexed: u64) {
        if let Some(mailbox) = self.get(number)
            && mailbox.written(indexed)
        {
            self.dirty.push(number);
        }
    }

    /// The index has everything up to this position.
    pub(crate) fn indexed(&mut self, position: u64) {
        self.chains.forget(position);
    }

    /// The index has everything of the mailbox up to this position: memory need not keep it.
    pub(crate) fn forget(&mut self, number: AccountNumber, indexed: u64) {
        if let Some(mailbox) = self.get(number) {
            mailbox.tail.forget(indexed);
            self.put_away(number);
        }
    }

    /// Keeps of a mailbox no more than its head, if that is all there is.
    fn put_away(&mut self, number: AccountNumber) {
        let (row, at) = heads::place(number);
        if self.in_use.get(&number).is_some_and(|mailbox| mailbox.is_idle())
            && let Some(block) = block(&mut self.blocks, row)
            && let Some(mailbox) = self.in_use.remove(&number)
        {
            block.set(at, mailbox.head);
        }
    }

    /// Puts mailboxes away that are not in use any more, if many were loaded.
    pub(crate) fn shrink(&mut self) {
        if self.loaded > MANY {
            self.put_idle_away();
        }
    }

    fn put_idle_away(&mut self) {
        let idle = self.in_use.iter().filter(|(_, mailbox)| mailbox.is_idle());
        let idle: Vec<_> = idle.map(|(number, _)| *number).collect();
        idle.into_iter().for_each(|number| self.put_away(number));
        self.loaded = 0;
    }

    /// How many are in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.in_use.len()
    }

    /// Gives back what a busy time took.
    pub(crate) fn give_back(&mut self) {
        self.put_idle_away();
        self.in_use.shrink_to_fit();
        self.chains.shrink();
    }
}

fn block(blocks: &mut [Option<Box<HeadBlock>>], row: u64) -> Option<&mut HeadBlock> {
    blocks.get_mut(usize::try_from(row).ok()?)?.as_deref_mut()
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
