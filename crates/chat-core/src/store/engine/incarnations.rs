//! Lives of a mailbox: how each is named, and how far two of them agree.
//!
//! Ids compare only within one incarnation. A new one begins for all mailboxes when acknowledged messages may be missing,
//! and for one mailbox when a client has more of it than the store does. The positions at which they began tell which
//! ids an older one shares with the present.

use super::log::{Batch, Log, LogError, Record};
use super::{Engine, State, index, opaque};
use crate::store::{AccountNumber, Incarnation, StoreError};
use crate::{MessageId, Timestamp};

impl State {
    /// Begins a new incarnation of all mailboxes, with a name that no other had.
    pub(super) fn begin_incarnation(
        &mut self,
        log: &mut impl Log,
        name: [u8; 16],
        now: Timestamp,
    ) -> Result<(), LogError> {
        // One that began here already has lost all its messages, or had none; but clients know it. With a position of its
        // own it goes on to be told from the new one.
        if self.incarnations.last().is_some_and(|(began, _)| *began == self.pending.first) {
            let filler = Record::Incarnation { mailbox: NOBODY, time: now };
            self.recent.push(&filler);
            self.pending.records.push(filler);
            log.append(&self.pending)?;
            self.pending = Batch { first: self.pending.next(), ..Batch::default() };
        }
        self.incarnations.push((self.pending.first, name));
        self.pending.incarnation = Some(name);
        log.append(&self.pending)?;
        self.pending.incarnation = None;
        Ok(())
    }
}

impl<L: Log> Engine<L> {
    /// The mailbox's present incarnation.
    pub(super) fn incarnation(
        &mut self,
        account: AccountNumber,
    ) -> Result<Incarnation, StoreError> {
        let began = self.head(account)?.began;
        let store = self.state()?.incarnations.last().map_or([0; 16], |(_, name)| *name);
        Ok(name(store, account, began))
    }

    /// Begins a new incarnation of one mailbox: of all messages it has now, and none that a client says it has beyond.
    pub(super) fn renew(
        &mut self,
        account: AccountNumber,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let position = self.state()?.pending.next();
        self.mailbox(account)?.head.renew(position);
        let state = self.state()?;
        state.pending.records.push(Record::Incarnation { mailbox: account, time: now });
        state.mailboxes.touch(account);
        Ok(())
    }

    /// The last id that an incarnation shares with the present one; 0 with one that never was, or is too long ago to tell.
    pub(super) fn shared(
        &mut self,
        account: AccountNumber,
        incarnation: &str,
    ) -> Result<MessageId, StoreError> {
        let head = self.head(account)?;
        let state = self.state()?;
        let start = state.start;
        let owns = owns(head.began_before, head.began);
        let Some(ended) = ended_at(&state.incarnations, &owns, account, incarnation) else {
            return Ok(MessageId::ZERO);
        };
        let (floor, last) = (head.floor.get(), head.last.get());
        let shared = self.first_placed(account, 1, last + 1, ended)? - 1;
        // What age has trimmed lay before the start of the log. Of what count has, nothing is known.
        let lies_before = match self.position(account, shared)? {
            Some(at) => at < ended,
            None => shared > floor && start <= ended,
        };
        Ok(MessageId::new(if lies_before { shared } else { 0 }))
    }

    /// The first id after this one that can be read. What is delivered may be gone.
    pub(super) fn first_kept(
        &mut self,
        account: AccountNumber,
        after: MessageId,
    ) -> Result<MessageId, StoreError> {
        let head = self.head(account)?;
        let first = after.get().saturating_add(1);
        let start = self.state()?.start;
        Ok(MessageId::new(match head.cursor.get() {
            cursor if first > cursor => first,
            cursor => {
                self.first_placed(account, first.max(head.floor.get() + 1), cursor + 1, start)?
            }
        }))
    }

    /// Of these ids the first that lies at this position or behind it; `to` if none does. Positions grow with the ids, and
    /// what the index does not have any more lay before what it has.
    fn first_placed(
        &mut self,
        account: AccountNumber,
        from: u64,
        to: u64,
        position: u64,
    ) -> Result<u64, StoreError> {
        let (mut from, mut to) = (from, to.max(from));
        // As a rule it is the first.
        let mut middle = from;
        while from < to {
            match self.position(account, middle)? {
                Some(at) if at >= position => to = middle,
                _ => from = middle + 1,
            }
            middle = from + (to - from) / 2;
        }
        Ok(from)
    }

    /// Where a message lies or lay in the log, as far as the index knows.
    fn position(&mut self, account: AccountNumber, id: u64) -> Result<Option<u64>, StoreError> {
        self.mailbox(account)?;
        let Self { state: Some(State { mailboxes, runs, .. }), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let mailbox = mailboxes.get(account).ok_or(StoreError::Internal)?;
        let entry = index::entry(log, runs, account, mailbox, id).map_err(Self::unreadable)?;
        Ok(entry.map(|entry| entry.position))
    }
}

/// Names the store's incarnation at a position.
pub(super) fn incarnation_tag(incarnations: &[(u64, [u8; 16])], position: u64) -> u32 {
    let at = incarnations.iter().rev().find(|(began, _)| *began <= position);
    at.map_or(0, |(_, name)| opaque::tag(name))
}

/// The mailbox's own incarnations by where they began, as far as they are remembered: the last two. 0 stands for what it
/// has before it ever had one.
fn owns(before: u64, began: u64) -> Vec<u64> {
    match began {
        0 => vec![0],
        _ => vec![before, began],
    }
}

/// Where the incarnation after this one began; `None` if there was no such incarnation, or it is the present one.
fn ended_at(
    stores: &[(u64, [u8; 16])],
    owns: &[u64],
    account: AccountNumber,
    incarnation: &str,
) -> Option<u64> {
    let ends = |next: Option<&u64>| next.copied().unwrap_or(u64::MAX);
    for (at, (began, store)) in stores.iter().enumerate() {
        let store_ended = ends(stores.get(at + 1).map(|(began, _)| began));
        for (at, own) in owns.iter().enumerate() {
            let ended = store_ended.min(ends(owns.get(at + 1)));
            let was = ended > *began.max(own) && ended != u64::MAX;
            if was && name(*store, account, *own).as_str() == incarnation {
                return Some(ended);
            }
        }
    }
    None
}

fn name(store: [u8; 16], account: AccountNumber, began: u64) -> Incarnation {
    use sha2::Digest as _;
    let digest = sha2::Sha256::new()
        .chain_update(store)
        .chain_update(account.0.to_le_bytes())
        .chain_update(began.to_le_bytes())
        .finalize();
    Incarnation(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// No account has this number.
const NOBODY: AccountNumber = AccountNumber(0);
