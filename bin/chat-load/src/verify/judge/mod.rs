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
mod messages;
mod stretch;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub(crate) use counts::Counts;
use mailbox::{Before, Incarnation, Mailbox};
use messages::Messages;
use stretch::{Flaw, Stretch};

use super::fact::{Connection, Fact, Id, Life, Tag, User, Via};
use super::verdict::{Violation, Why};

/// What is known after the facts so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    messages: Messages,
    mailboxes: Vec<Mailbox>,
    peers: Vec<Peer>,
    counts: Counts,
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
            Fact::Refused { tag, .. } => return self.messages.refused(tag),
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
        self.messages.all_answered_are_there()
    }

    /// Figures of the run so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The messages that were sent.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
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
        let from = self.user(connection).unwrap_or(to);
        self.messages.sent(tag, from, to);
    }

    fn answered(
        &mut self,
        tag: Tag,
        connection: Connection,
        repeat: bool,
    ) -> Result<(), Box<Violation>> {
        let to = self.messages.route(tag).map(|(_, to)| to);
        // An answer to a repeat does not tell when the message was stored.
        let previous = match (to, self.peer(connection)) {
            (Some(to), Some(peer)) if !repeat => peer.answered.insert(to, tag),
            _ => None,
        };
        self.messages.answered(tag, previous)
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
        self.messages.shown(tag, id)?;
        let outcome = self.with_life(connection, |life, peer| peer.stretch.shown(id, life.reach()));
        self.flaw(connection, id, Some(tag), outcome)?;
        self.messages.check(tag)
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
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
