//! What was sent: receipts, statuses, blocks, and the order of it all.

use std::collections::BTreeSet;

use super::{History, Moment, Seen, Tag, Verdict, fault};

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The one connection it was sent over once; what was repeated has no place in an order.
    connection: Option<u64>,
    pub(super) text: String,
    /// When it was first known to be stored.
    pub(super) stored: Option<Moment>,
    /// When its sender was told so.
    answered: Option<Moment>,
    pub(super) refused: bool,
    /// Tries whose outcome is not known. Each may still be on its way.
    open: usize,
    /// And when the connection was made over which it came.
    receipt: Option<(Receipt, Moment)>,
    state: State,
    /// The disk was set back to before the answer, so the message may be gone.
    pub(super) excused: bool,
}

/// What `post` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) time: String,
    pub(crate) duplicate: bool,
}

/// What `status` says, as far as it must not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum State {
    /// Or pushed, which a restart forgets.
    #[default]
    Stored,
    Delivered,
}

/// Whether one user blocks another, as far as is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// `None` while it is being changed, and after that if the changes may have crossed.
    on: Option<bool>,
    since: Moment,
    /// Changes asked for and not answered, by when.
    open: BTreeSet<Moment>,
    crossed: bool,
}

impl History {
    /// A message is about to be sent: its tag, and its text with this filling.
    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        connection: Option<u64>,
        filling: &str,
    ) -> (Tag, String) {
        let tag = self.sent.len();
        let text = format!("m{tag}.{filling}");
        self.sent.push(Sent {
            from,
            to,
            connection,
            text: text.clone(),
            stored: None,
            answered: None,
            refused: false,
            open: 0,
            receipt: None,
            state: State::default(),
            excused: false,
        });
        (tag, text)
    }

    /// A try of it came to no end that is known.
    pub(crate) fn unknown(&mut self, tag: Tag) {
        self.open(tag);
        self.sent[tag].connection = None;
    }

    /// A try of it is made. While it is open it may be on its way. Gives how many are.
    pub(crate) fn open(&mut self, tag: Tag) -> usize {
        let sent = &mut self.sent[tag];
        sent.open += 1;
        if sent.open > 1 {
            sent.connection = None;
        }
        sent.open
    }

    /// The try that was the so-manieth was answered.
    pub(crate) fn closed(&mut self, tag: Tag, open: usize) {
        self.sent[tag].open = open - 1;
    }

    /// To whom it was sent, and its text.
    pub(crate) fn message(&self, tag: Tag) -> (usize, String) {
        (self.sent[tag].to, self.sent[tag].text.clone())
    }

    /// The sender was told that it is stored, over a connection made at that moment.
    pub(crate) fn stored(&mut self, tag: Tag, connected: Moment) {
        let now = self.moment();
        self.exists(tag, connected, now);
        self.sent[tag].answered.get_or_insert(now);
    }

    /// Somebody was shown, or told, that it is stored, over a connection made at that moment.
    pub(super) fn exists(&mut self, tag: Tag, connected: Moment, now: Moment) {
        let undone = self.may_be_undone(connected, now);
        let sent = &mut self.sent[tag];
        sent.excused |= undone;
        sent.stored.get_or_insert(now);
        if !undone && !self.mailboxes[sent.to].has_shown(tag) {
            self.mailboxes[sent.to].unseen.entry(tag).or_insert(now);
        }
    }

    /// The sender was told that nothing was changed. What an earlier try does may still show.
    pub(crate) fn refused(&mut self, tag: Tag) {
        self.sent[tag].refused = self.sent[tag].open == 0 && self.sent[tag].stored.is_none();
    }

    /// A `post` was answered.
    pub(crate) fn posted(
        &mut self,
        tag: Tag,
        connected: Moment,
        receipt: Receipt,
    ) -> Result<(), Verdict> {
        let now = self.moment();
        let sent = &self.sent[tag];
        let before = sent.receipt.as_ref().filter(|(_, at)| !self.may_be_undone(*at, now));
        let first = sent.open == 0 && sent.receipt.is_none() && sent.stored.is_none();
        match before {
            Some((before, _)) if !receipt.duplicate || !before.is_like(&receipt) => {
                return fault(
                    format!("a repeated post was answered {receipt:?}, before {before:?}"),
                    Some(tag),
                );
            }
            None if first && receipt.duplicate => {
                return fault("a first post was answered as a duplicate".into(), Some(tag));
            }
            _ => {}
        }
        self.sent[tag].receipt = Some((receipt, connected));
        self.stored(tag, connected);
        Ok(())
    }

    /// The user was told, over a connection made at that moment, what another of their connections sent.
    pub(crate) fn sent_copy(
        &mut self,
        user: usize,
        copy: &Copy,
        connection: Option<u64>,
        connected: Moment,
    ) -> Result<(), Verdict> {
        let seen = Seen { id: 0, from: format!("u{user}"), text: copy.text.clone() };
        let Some(to) = copy.to.strip_prefix('u').and_then(|to| to.parse().ok()) else {
            return fault(format!("invented: {copy:?}"), None);
        };
        let tag = self.recognise(to, &seen)?;
        let now = self.moment();
        let sent = &self.sent[tag];
        if connection.is_some() && sent.connection == connection {
            return fault("a connection was told what it sent itself".into(), Some(tag));
        }
        if let Some((receipt, at)) = &sent.receipt
            && receipt.id != copy.id
            && !self.may_be_undone((*at).min(connected), now)
        {
            return fault(format!("{copy:?} has not the id of {receipt:?}"), Some(tag));
        }
        self.exists(tag, connected, now);
        Ok(())
    }

    /// A message the user posted, and the id it got, the n-th of those that there are.
    pub(crate) fn receipt(&self, user: usize, n: usize) -> Option<(Tag, String)> {
        let mine = self.sent.iter().enumerate().filter(|(_, sent)| sent.from == user);
        let mut with =
            mine.filter_map(|(tag, sent)| Some((tag, sent.receipt.as_ref()?.0.id.clone())));
        let count = with.clone().count();
        with.nth(n.checked_rem(count)?)
    }

    /// Whether the recipient has it, and that was answered.
    pub(crate) fn is_delivered(&self, tag: Tag) -> bool {
        self.set_back.is_empty() && self.mailboxes[self.sent[tag].to].is_delivered(tag)
    }

    /// `status` was answered. Whether the message was delivered is known from before it was asked. A recipient who blocks
    /// the sender tells nothing.
    pub(crate) fn status(
        &mut self,
        tag: Tag,
        was_delivered: bool,
        state: State,
    ) -> Result<(), Verdict> {
        let Sent { from, to, state: before, .. } = self.sent[tag];
        let may_be_hidden = self.may_be_blocked(to, from) || !self.set_back.is_empty();
        if state < before && !may_be_hidden {
            return fault(format!("the status went back from {before:?} to {state:?}"), Some(tag));
        }
        if was_delivered && state == State::Stored && !may_be_hidden {
            return fault("it is delivered, and status does not say so".into(), Some(tag));
        }
        self.sent[tag].state = state;
        if state == State::Delivered && !self.mailboxes[to].may_be_delivered(tag) {
            return fault("nobody acknowledged it, and it is called delivered".into(), Some(tag));
        }
        Ok(())
    }

    fn may_be_blocked(&self, user: usize, sender: usize) -> bool {
        self.blocks.get(&(user, sender)).is_some_and(|block| block.on != Some(false))
    }

    /// `status` was answered that there is no such message.
    pub(crate) fn unknown_status(&self, tag: Tag) -> Result<(), Verdict> {
        match self.may_be_gone(tag) || self.may_be_trimmed(tag) {
            true => Ok(()),
            false => fault("lost: status does not know it".into(), Some(tag)),
        }
    }

    /// Whether the store may not keep it any more because it is old, or because so many came after it; or does not tell,
    /// since the recipient blocks the sender.
    fn may_be_trimmed(&self, tag: Tag) -> bool {
        let Sent { from, to, .. } = self.sent[tag];
        // Not all that came after it need be known.
        let most = self.sent.iter().filter(|sent| sent.to == to).count();
        let id = self.mailboxes[to].id(tag).unwrap_or(0);
        let most_after = u64::try_from(most).unwrap().saturating_sub(id);
        let is_old = !self.keeps.all || most_after >= self.keeps.messages;
        is_old && (self.may_be_blocked(to, from) || self.mailboxes[to].may_be_delivered(tag))
    }

    /// Whether the message may be gone with what the disk held before it was set back.
    pub(crate) fn may_be_gone(&self, tag: Tag) -> bool {
        self.sent[tag].excused || !self.set_back.is_empty()
    }

    /// A block is about to be changed.
    pub(crate) fn blocking(&mut self, user: usize, other: usize) -> Moment {
        let since = self.moment();
        let block = self.blocks.entry((user, other)).or_default();
        block.crossed = !block.open.is_empty();
        (block.on, block.since) = (None, since);
        block.open.insert(since);
        since
    }

    /// That was answered.
    pub(crate) fn blocked(&mut self, user: usize, other: usize, asked: Moment, on: bool) {
        let now = self.moment();
        if let Some(block) = self.blocks.get_mut(&(user, other))
            && block.open.remove(&asked)
            && block.open.is_empty()
            && !block.crossed
        {
            (block.on, block.since) = (Some(on), now);
        }
    }

    /// What was sent for the first time then was refused by a block, or was not.
    pub(crate) fn sent_against_block(
        &mut self,
        tag: Tag,
        asked: Moment,
        refused: bool,
    ) -> Result<(), Verdict> {
        let sent = &self.sent[tag];
        let known = match self.blocks.get(&(sent.to, sent.from)) {
            Some(block) if block.since < asked => block.on,
            Some(_) => None,
            None => self.set_back.is_empty().then_some(false),
        };
        match known {
            Some(on) if on != refused => {
                fault(format!("blocked: {on}, refused for that: {refused}"), Some(tag))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn all_in_order(&self) -> Result<(), Verdict> {
        for mailbox in &self.mailboxes {
            for life in mailbox.lives.values() {
                let mut answers: Vec<_> = life
                    .ids
                    .iter()
                    .filter_map(|(tag, id)| {
                        let sent = &self.sent[*tag];
                        // What was stored once more after it was undone has another place.
                        let connection = sent.connection.filter(|_| !sent.excused)?;
                        Some((connection, sent.answered?, *id, *tag))
                    })
                    .collect();
                answers.sort_unstable();
                in_order(&answers)?;
            }
        }
        Ok(())
    }
}

/// What an event says that a user sent.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) id: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Receipt {
    fn is_like(&self, other: &Self) -> bool {
        self.id == other.id && self.time == other.time
    }
}

/// By connection and the moment of the answer: ids grow.
fn in_order(answers: &[(u64, Moment, u64, Tag)]) -> Result<(), Verdict> {
    for pair in answers.windows(2) {
        let [(connection, _, id, _), (next_connection, _, next_id, tag)] = pair else {
            continue;
        };
        if connection == next_connection && id >= next_id {
            return fault(
                format!("reordered: id {next_id} was answered after id {id}"),
                Some(*tag),
            );
        }
    }
    Ok(())
}
