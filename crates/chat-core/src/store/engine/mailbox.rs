//! [`Mailbox`]: a user's messages, as far as they are kept in memory. Pure state: no clock, no disk.

use std::collections::HashMap;

use super::deliveries::Deliveries;
use super::index::Entry;
use super::tail::Tail;
use crate::store::AccountNumber;
use crate::{MessageId, Timestamp};

/// What is kept of every mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// The id of the newest message.
    pub(crate) last: MessageId,
    /// Everything up to this id is delivered. Never goes back.
    pub(crate) cursor: MessageId,
    /// Bytes of the undelivered bodies.
    pub(crate) waiting_bytes: u64,
    /// Messages up to this id are beyond the count that is kept.
    pub(crate) floor: MessageId,
    /// On disk: the head holds every record of this mailbox up to this position.
    pub(crate) applied: u64,
    /// The position at which the mailbox's own incarnation began; 0 if it never had another than the store's.
    pub(crate) began: u64,
    /// The same of its own incarnation before that one.
    pub(crate) began_before: u64,
}

impl Head {
    /// An incarnation of the mailbox's own begins at this position.
    pub(crate) fn renew(&mut self, position: u64) {
        (self.began_before, self.began) = (self.began, position);
    }
}

/// What a mailbox may hold undelivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Messages and bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Quota {
    pub(crate) fn is_half_full(self, load: Load) -> bool {
        load.messages >= self.messages.div_ceil(2) || load.bytes >= self.bytes.div_ceil(2)
    }

    /// Whether one more message of this size fits, whoever sends it.
    pub(crate) fn has_room(self, load: Load, size: u32) -> bool {
        load.messages < self.messages && load.bytes.saturating_add(size.into()) <= self.bytes
    }
}

/// A mailbox: its head, and the entries the index on disk does not have yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailbox {
    pub(crate) head: Head,
    /// The newest entries, ending with `head.last`.
    pub(crate) tail: Tail,
    /// Who holds how much of it; kept only while the mailbox is, or lately was, half full.
    #[expect(clippy::box_collection, reason = "few mailboxes have it, and many are in memory")]
    senders: Option<Box<HashMap<AccountNumber, Load>>>,
    /// When the cursor moved, as far as the disk does not have it yet.
    pub(crate) deliveries: Deliveries,
    /// Whether the head or the index on disk is behind.
    pub(crate) dirty: bool,
    /// Whether the cursor moved since the head was written.
    pub(crate) cursor_moved: bool,
    /// Whether the account was removed, which the disk does not know yet.
    pub(crate) removed: bool,
}

impl Mailbox {
    pub(crate) fn new(head: Head) -> Self {
        Self { head, ..Self::default() }
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.head.last.get().saturating_sub(self.head.cursor.get())
    }

    /// The id of the first entry in the tail; one past the newest if it is empty.
    pub(crate) fn tail_first(&self) -> u64 {
        let len = u64::try_from(self.tail.entries().len()).unwrap_or(u64::MAX);
        self.head.last.get().saturating_add(1).saturating_sub(len)
    }

    /// The tail's entry for an id.
    pub(crate) fn tail_entry(&self, id: u64) -> Option<Entry> {
        let offset = usize::try_from(id.checked_sub(self.tail_first())?).ok()?;
        self.tail.entries().get(offset).copied()
    }

    /// Whether one more message needs [`share_out`](Self::share_out) to be called before [`admits`](Self::admits).
    pub(crate) fn needs_shares(&self, quota: Quota) -> bool {
        self.senders.is_none() && quota.is_half_full(self.load())
    }

    /// Takes note of who sent what waits: every undelivered entry.
    pub(crate) fn share_out(&mut self, waiting: impl IntoIterator<Item = Entry>) {
        let mut senders = HashMap::new();
        for entry in waiting {
            let load: &mut Load = senders.entry(entry.sender).or_default();
            load.messages += 1;
            load.bytes += u64::from(entry.size);
        }
        self.senders = Some(Box::new(senders));
    }

    /// Whether there is room for a message of this size from this sender: in the mailbox, and from half full on in
    /// the sender's quarter of it.
    pub(crate) fn admits(&self, sender: AccountNumber, size: u32, quota: Quota) -> bool {
        if !quota.has_room(self.load(), size) {
            return false;
        }
        if !quota.is_half_full(self.load()) {
            return true;
        }
        let held = self
            .senders
            .as_ref()
            .and_then(|senders| senders.get(&sender))
            .copied()
            .unwrap_or_default();
        held.messages < quota.messages.div_ceil(4)
            && held.bytes.saturating_add(size.into()) <= quota.bytes.div_ceil(4)
    }

    /// Adds a message and gives its id.
    pub(crate) fn append(&mut self, entry: Entry) -> MessageId {
        self.head.last = MessageId::new(self.head.last.get() + 1);
        self.head.waiting_bytes += u64::from(entry.size);
        self.tail.push(entry);
        self.dirty = true;
        if let Some(senders) = &mut self.senders {
            let load = senders.entry(entry.sender).or_default();
            load.messages += 1;
            load.bytes += u64::from(entry.size);
        }
        self.head.last
    }

    /// Moves the cursor up to an id; `delivered` are the entries it passes, and need not be given if it passes all.
    pub(crate) fn advance(
        &mut self,
        upto: MessageId,
        delivered: impl IntoIterator<Item = Entry>,
        now: Timestamp,
        quota: Quota,
    ) {
        self.head.cursor = upto;
        self.deliveries.note(upto, now);
        self.dirty = true;
        self.cursor_moved = true;
        for entry in delivered {
            self.head.waiting_bytes = self.head.waiting_bytes.saturating_sub(u64::from(entry.size));
            if let Some(load) =
                self.senders.as_mut().and_then(|senders| senders.get_mut(&entry.sender))
            {
                load.messages = load.messages.saturating_sub(1);
                load.bytes = load.bytes.saturating_sub(u64::from(entry.size));
            }
        }
        if self.waiting() == 0 {
            self.head.waiting_bytes = 0;
        }
        // Forgotten well below the half, so that a mailbox hovering about it is not counted over and over.
        if self.waiting() < quota.messages / 4 && self.head.waiting_bytes < quota.bytes / 4 {
            self.senders = None;
        }
    }

    /// Forgets everything: the account was removed.
    pub(crate) fn clear(&mut self) {
        let head = Head { applied: self.head.applied, ..Head::default() };
        *self = Self { head, dirty: self.dirty, removed: true, ..Self::default() };
    }

    /// The disk has the head now, and the index will have everything up to a position. Whether more is to be written.
    pub(crate) fn written(&mut self, indexed: u64) -> bool {
        self.deliveries = Deliveries::default();
        self.cursor_moved = false;
        self.removed = false;
        self.dirty = self.tail.entries().last().is_some_and(|entry| entry.position > indexed);
        self.dirty
    }

    /// Whether the head is all there is to know.
    pub(crate) fn is_idle(&self) -> bool {
        !self.dirty && self.tail.entries().is_empty() && self.senders.is_none()
    }

    /// What waits.
    fn load(&self) -> Load {
        Load { messages: self.waiting(), bytes: self.head.waiting_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { messages: 8, bytes: 800 };

    fn entry(sender: u64, size: u32) -> Entry {
        Entry { position: 1, sender: AccountNumber(sender), size }
    }

    fn send(mailbox: &mut Mailbox, sender: u64, size: u32) -> bool {
        if mailbox.needs_shares(QUOTA) {
            let tail: Vec<_> = mailbox.tail.entries().to_vec();
            mailbox.share_out(tail);
        }
        let room = mailbox.admits(AccountNumber(sender), size, QUOTA);
        if room {
            mailbox.append(entry(sender, size));
        }
        room
    }

    #[test]
    fn a_full_mailbox_refuses() {
        let mut mailbox = Mailbox::default();
        let sent = (0..20).filter(|n| send(&mut mailbox, *n, 1)).count();
        assert_eq!((sent, mailbox.waiting()), (8, 8));
    }

    #[test]
    fn from_half_full_on_one_sender_has_a_quarter() {
        let mut mailbox = Mailbox::default();
        assert!((0..4).all(|_| send(&mut mailbox, 1, 1)));
        assert!(!send(&mut mailbox, 1, 1), "holds a half already");
        assert!(send(&mut mailbox, 2, 1));
        assert!(send(&mut mailbox, 2, 1));
        assert!(!send(&mut mailbox, 2, 1), "holds a quarter");
        assert!(send(&mut mailbox, 3, 1));
    }

    #[test]
    fn bytes_count_too() {
        let mut mailbox = Mailbox::default();
        assert!(send(&mut mailbox, 1, 400));
        assert!(!send(&mut mailbox, 1, 1));
        assert!(send(&mut mailbox, 2, 200));
        assert!(!send(&mut mailbox, 3, 201));
        assert!(send(&mut mailbox, 3, 200));
        assert!(!send(&mut mailbox, 4, 1));
    }

    #[test]
    fn delivery_makes_room() {
        let mut mailbox = Mailbox::default();
        assert!((0..4).all(|_| send(&mut mailbox, 1, 100)));
        assert!(!send(&mut mailbox, 1, 100));
        let delivered = vec![entry(1, 100); 3];
        mailbox.advance(MessageId::new(3), delivered, Timestamp::default(), QUOTA);
        assert_eq!((mailbox.waiting(), mailbox.head.waiting_bytes), (1, 100));
        assert!(send(&mut mailbox, 1, 100));
    }

    #[test]
    fn the_tail_is_found_by_id() {
        let mut mailbox = Mailbox::new(Head { last: MessageId::new(10), ..Head::default() });
        assert_eq!(mailbox.tail_first(), 11);
        assert_eq!(mailbox.append(entry(7, 1)), MessageId::new(11));
        assert_eq!(mailbox.tail_first(), 11);
        assert_eq!(mailbox.tail_entry(11), Some(entry(7, 1)));
        assert_eq!((mailbox.tail_entry(10), mailbox.tail_entry(12)), (None, None));
    }
}
