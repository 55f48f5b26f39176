//! [`Judge`]: takes the facts of a run in order and says which promise was broken first.
//!
//! It knows no socket and no clock. What it holds a server to:
//!
//! * **lost**: a message whose sending was answered must be there when all mailboxes have been read to their end;
//! * **duplicated**: a message has one id and an id one message, and an id must not be given to a request that was made
//!   after a confirmation of it had been answered, nor twice in one page or watch. Given again before that, it is
//!   counted as a redelivery;
//! * **reordered**: of one sending connection and one recipient, ids are in the order of the answers, and one page or
//!   watch gives ids upwards;
//! * **hole**: a page or watch begins right behind the cursor (or what it resumes from), goes on without a hole but for
//!   announced gaps, and at the end no id is unseen;
//! * **invented**: what is there was sent, and not refused for good.
//!
//! A message whose sending was never answered may be there or not.

mod counts;
mod mailbox;
mod stretch;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub(crate) use counts::Counts;
use mailbox::{Before, Incarnation, Mailbox};
use stretch::{Flaw, Stretch};

use super::fact::{Connection, Fact, Id, Life, Tag, User, Via};
use super::verdict::{Violation, Why};

/// What is known after the facts so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    messages: Vec<Message>,
    mailboxes: Vec<Mailbox>,
    peers: Vec<Peer>,
    counts: Counts,
}

/// A message that was sent, by its tag. The links lead to those answered before and after it on the same connection and
/// for the same recipient.
#[derive(Debug, Clone, Copy)]
struct Message {
    from: User,
    to: User,
    attempts: u16,
    answered: bool,
    refused: bool,
    /// [`Id::ZERO`] until it was shown.
    id: Id,
    previous: Option<Tag>,
    next: Option<Tag>,
}

/// One connection.
#[derive(Debug)]
struct Peer {
    user: User,
    life: Life,
    stretch: Stretch,
    /// The end of the last page of `inbox`: the next one follows it.
    in_flight: Id,
    /// The message last answered, for each recipient.
    answered: HashMap<User, Tag>,
}

impl Judge {
    /// Takes the next fact.
    pub(crate) fn take(&mut self, fact: &Fact, text: &str) -> Result<(), Box<Violation>> {
        self.counts.add(fact);
        match *fact {
            Fact::Emptied { user, id } => self.mailbox(user).emptied(id),
            Fact::Opened { connection, user } => self.opened(connection, user),
            Fact::Living { connection, life } => self.living(connection, life),
            Fact::Sent { tag, connection, to } => self.sent(tag, connection, to),
            Fact::Answered { tag, connection, repeat } => {
                return self.answered(tag, connection, repeat);
            }
            Fact::Refused { tag, .. } => return self.refused(tag),
            Fact::Asked { connection, via, resumes, after } => {
                return self.asked(connection, via, resumes.then_some(after));
            }
            Fact::Watching { connection, after, gap } => {
                return self.watching(connection, after, gap);
            }
            Fact::Shown { connection, via, id, tag } => {
                return self.shown(connection, via, id, tag);
            }
            Fact::Strange { connection, id, .. } => {
                let why = Why::NeverSent { id, text: text.to_owned() };
                return Err(self.violation(connection, why));
            }
            Fact::Gap { connection, from, to } => return self.gap(connection, from, to),
            Fact::Unwatched { connection } => return self.end_stretch(connection),
            Fact::Ended { connection, .. } => return self.ended(connection),
            Fact::Confirming { connection, id } => {
                self.with_life(connection, |life, _| life.may_confirm(id));
            }
            Fact::Confirmed { connection, id } => {
                self.with_life(connection, |life, _| life.confirm(id));
            }
            Fact::Lagging { .. } | Fact::Unsure { .. } | Fact::Killed | Fact::Restarted => {}
        }
        Ok(())
    }

    /// Judges what can only be judged when every mailbox was read to its end.
    pub(crate) fn finish(&mut self) -> Result<(), Box<Violation>> {
        for connection in 0..u32::try_from(self.peers.len()).unwrap_or(u32::MAX) {
            self.end_stretch(Connection(connection))?;
        }
        for (user, mailbox) in (0..).map(User).zip(&self.mailboxes) {
            if let Some((from, to)) = mailbox.hole() {
                return Err(Box::new(Violation { why: Why::Missing { from, to }, user }));
            }
        }
        let lost = |message: &&Message| message.answered && message.id == Id::ZERO;
        let found = (0..).map(Tag).zip(&self.messages).find(|(_, message)| lost(message));
        match found {
            Some((tag, message)) => {
                Err(Box::new(Violation { why: Why::NotThere { tag }, user: message.to }))
            }
            None => Ok(()),
        }
    }

    /// Figures of the run so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many messages were never answered, and how many of those are there.
    pub(crate) fn unanswered(&self) -> (u64, u64) {
        let unanswered = self.messages.iter().filter(|message| !message.answered);
        unanswered.fold((0, 0), |(all, there), message| {
            (all + 1, there + u64::from(message.id != Id::ZERO))
        })
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    /// Who sent a message to whom.
    pub(crate) fn route(&self, tag: Tag) -> Option<(User, User)> {
        self.message(tag).map(|message| (message.from, message.to))
    }

    /// Whose connection it is.
    pub(crate) fn user(&self, connection: Connection) -> Option<User> {
        self.peers.get(index(connection.0)).map(|peer| peer.user)
    }

    fn opened(&mut self, Connection(number): Connection, user: User) {
        let peer = Peer {
            user,
            life: Life::default(),
            stretch: Stretch::anything(Id::ZERO),
            in_flight: Id::ZERO,
            answered: HashMap::new(),
        };
        debug_assert_eq!(index(number), self.peers.len(), "connections are counted from 0");
        self.peers.push(peer);
    }

    fn living(&mut self, connection: Connection, life: Life) {
        if let Some(peer) = self.peer(connection) {
            peer.life = life;
        }
    }

    fn ended(&mut self, connection: Connection) -> Result<(), Box<Violation>> {
        self.end_stretch(connection)?;
        if let Some(peer) = self.peer(connection) {
            peer.answered = HashMap::new();
        }
        Ok(())
    }

    fn sent(&mut self, tag: Tag, connection: Connection, to: User) {
        if let Some(message) = self.message_mut(tag) {
            message.attempts = message.attempts.saturating_add(1);
            message.refused = false;
            return;
        }
        debug_assert_eq!(index(tag.0), self.messages.len(), "tags are counted from 0");
        let from = self.user(connection).unwrap_or(to);
        self.messages.push(Message {
            from,
            to,
            attempts: 1,
            answered: false,
            refused: false,
            id: Id::ZERO,
            previous: None,
            next: None,
        });
    }

    fn answered(
        &mut self,
        tag: Tag,
        connection: Connection,
        repeat: bool,
    ) -> Result<(), Box<Violation>> {
        let Some(message) = self.message_mut(tag) else { return Ok(()) };
        message.answered = true;
        // An answer to a repeat does not tell when the message was stored.
        if repeat {
            return Ok(());
        }
        let to = message.to;
        let Some(peer) = self.peer(connection) else { return Ok(()) };
        let previous = peer.answered.insert(to, tag);
        if let Some(earlier) = previous.and_then(|previous| self.message_mut(previous)) {
            earlier.next = Some(tag);
        }
        if let Some(message) = self.message_mut(tag) {
            message.previous = previous;
        }
        self.check_order(tag)
    }

    fn refused(&mut self, tag: Tag) -> Result<(), Box<Violation>> {
        if let Some(message) = self.message_mut(tag) {
            message.refused = true;
        }
        self.check_refusal(tag)
    }

    /// A refusal leaves nothing behind. When there were more attempts, an earlier one may have stored it.
    fn check_refusal(&self, tag: Tag) -> Result<(), Box<Violation>> {
        match self.message(tag) {
            Some(&Message { refused: true, attempts: 1, id, to, .. }) if id != Id::ZERO => {
                Err(Box::new(Violation { why: Why::RefusedAndThere { tag }, user: to }))
            }
            _ => Ok(()),
        }
    }

    fn asked(
        &mut self,
        connection: Connection,
        via: Via,
        after: Option<Id>,
    ) -> Result<(), Box<Violation>> {
        self.end_stretch(connection)?;
        self.with_life(connection, |life, peer| {
            let confirmed = life.confirmed();
            peer.stretch = match (via, after) {
                (_, _) if !life.is_from_the_start() => Stretch::anything(confirmed),
                // Resumed, a watch gives what is behind AFTER, delivered or not.
                (Via::Watch, Some(after)) => Stretch::right_behind(confirmed.min(after), after),
                (Via::Inbox, _) => Stretch::behind(confirmed, confirmed.max(peer.in_flight)),
                (_, after) => Stretch::behind(confirmed, confirmed.max(after.unwrap_or_default())),
            };
        });
        Ok(())
    }

    /// What `watch` said it goes on from must be where it was asked to.
    fn watching(
        &mut self,
        connection: Connection,
        after: Id,
        gap: bool,
    ) -> Result<(), Box<Violation>> {
        let outcome = self.with_life(connection, |life, peer| {
            let mut asked = peer.stretch;
            let floor = if gap { asked.floor().min(after) } else { asked.floor() };
            peer.stretch = Stretch::right_behind(floor, after);
            if gap || !life.is_from_the_start() {
                return Ok(());
            }
            // As if the first event had come, so that a watch in which nothing happens is judged, too.
            asked.shown(after.next(), life.reach())?;
            asked.end()
        });
        self.flaw(connection, after.next(), None, outcome)
    }

    fn gap(&mut self, connection: Connection, from: Id, to: Id) -> Result<(), Box<Violation>> {
        let outcome =
            self.with_life(connection, |life, peer| peer.stretch.gap(from, to, life.reach()));
        if let Some(user) = self.user(connection) {
            self.mailbox(user).announce(from, to);
        }
        self.flaw(connection, from, None, outcome)
    }

    fn end_stretch(&mut self, connection: Connection) -> Result<(), Box<Violation>> {
        let outcome = self.with_life(connection, |_, peer| peer.stretch.end());
        self.flaw(connection, Id::ZERO, None, outcome)
    }

    fn shown(
        &mut self,
        connection: Connection,
        via: Via,
        id: Id,
        tag: Tag,
    ) -> Result<(), Box<Violation>> {
        let before = self.with_life(connection, |life, peer| {
            if via == Via::Inbox {
                peer.in_flight = peer.in_flight.max(id);
            }
            life.show(id, tag)
        });
        match before {
            Some(Before::Other(other)) => {
                return Err(self.violation(connection, Why::ReusedId { id, tags: (other, tag) }));
            }
            Some(Before::Same) => self.counts.redelivered += 1,
            Some(Before::New) | None => {}
        }
        let Some(message) = self.message_mut(tag) else { return Ok(()) };
        match std::mem::replace(&mut message.id, id) {
            Id::ZERO => {}
            known if known == id => {}
            known => return Err(self.violation(connection, Why::TwoIds { tag, ids: (known, id) })),
        }
        let outcome = self.with_life(connection, |life, peer| peer.stretch.shown(id, life.reach()));
        self.flaw(connection, id, Some(tag), outcome)?;
        self.check_refusal(tag)?;
        self.check_order(tag)
    }

    /// Compares a message with its neighbours in the order of answers, where both ids are known. When all are known,
    /// all have been compared.
    fn check_order(&self, tag: Tag) -> Result<(), Box<Violation>> {
        let Some(message) = self.message(tag) else { return Ok(()) };
        if let Some(previous) = message.previous {
            self.compare(previous, tag)?;
        }
        if let Some(next) = message.next {
            self.compare(tag, next)?;
        }
        Ok(())
    }

    fn compare(&self, first: Tag, second: Tag) -> Result<(), Box<Violation>> {
        let id = |tag| self.message(tag).map_or(Id::ZERO, |message| message.id);
        let (a, b) = (id(first), id(second));
        if a == Id::ZERO || b == Id::ZERO || a < b {
            return Ok(());
        }
        let user = self.message(first).map_or(User(0), |message| message.to);
        Err(Box::new(Violation {
            why: Why::Overtaken { first: (first, a), second: (second, b) },
            user,
        }))
    }

    fn flaw(
        &self,
        connection: Connection,
        id: Id,
        tag: Option<Tag>,
        outcome: Option<Result<(), Flaw>>,
    ) -> Result<(), Box<Violation>> {
        let Some(Err(flaw)) = outcome else { return Ok(()) };
        let why = match (flaw, tag) {
            (Flaw::Missing { from, to }, _) => Why::Missing { from, to },
            (Flaw::AfterConfirmation { confirmed }, Some(tag)) => {
                Why::AfterConfirmation { id, tag, confirmed }
            }
            (Flaw::Repeated, Some(tag)) => Why::Repeated { id, tag },
            (Flaw::Backwards { behind }, Some(tag)) => Why::Backwards { id, tag, behind },
            // A watch that says it begins with ids that are confirmed: if it does, that is seen when it shows one.
            (Flaw::AfterConfirmation { .. } | Flaw::Repeated | Flaw::Backwards { .. }, None) => {
                return Ok(());
            }
        };
        Err(self.violation(connection, why))
    }

    fn violation(&self, connection: Connection, why: Why) -> Box<Violation> {
        let user = self.user(connection).unwrap_or(User(0));
        Box::new(Violation { why, user })
    }

    /// A connection, and the incarnation of its mailbox that it was told of.
    fn with_life<T>(
        &mut self,
        connection: Connection,
        work: impl FnOnce(&mut Incarnation, &mut Peer) -> T,
    ) -> Option<T> {
        let peer = self.peers.get_mut(index(connection.0))?;
        let user = index(peer.user.0);
        if self.mailboxes.len() <= user {
            self.mailboxes.resize_with(user + 1, Mailbox::default);
        }
        let mailbox = self.mailboxes.get_mut(user)?;
        Some(work(mailbox.life(peer.life), peer))
    }

    fn mailbox(&mut self, User(user): User) -> &mut Mailbox {
        let user = index(user);
        if self.mailboxes.len() <= user {
            self.mailboxes.resize_with(user + 1, Mailbox::default);
        }
        self.mailboxes.get_mut(user).unwrap_or_else(|| unreachable!("it was just made"))
    }

    fn peer(&mut self, Connection(number): Connection) -> Option<&mut Peer> {
        self.peers.get_mut(index(number))
    }

    fn message(&self, Tag(number): Tag) -> Option<&Message> {
        self.messages.get(index(number))
    }

    fn message_mut(&mut self, Tag(number): Tag) -> Option<&mut Message> {
        self.messages.get_mut(index(number))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
