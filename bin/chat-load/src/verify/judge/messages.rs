//! [`Messages`]: what became of each message that was sent.

use super::super::fact::{Id, Tag, User};
use super::super::verdict::{Violation, Why};
use super::index;

/// The messages of a run, by their tags.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    all: Vec<Message>,
}

/// One message. The links lead to those answered before and after it on the same connection and for the same recipient.
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

impl Messages {
    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Who sent a message to whom.
    pub(crate) fn route(&self, tag: Tag) -> Option<(User, User)> {
        self.get(tag).map(|message| (message.from, message.to))
    }

    /// How many were never answered, and how many of those are there.
    pub(crate) fn unanswered(&self) -> (u64, u64) {
        let unanswered = self.all.iter().filter(|message| !message.answered);
        unanswered.fold((0, 0), |(all, there), message| {
            (all + 1, there + u64::from(message.id != Id::ZERO))
        })
    }

    /// Takes note of an attempt, the first or a later one.
    pub(super) fn sent(&mut self, tag: Tag, from: User, to: User) {
        if let Some(message) = self.get_mut(tag) {
            message.attempts = message.attempts.saturating_add(1);
            message.refused = false;
            return;
        }
        debug_assert_eq!(tag.0, self.count(), "tags are counted from 0");
        self.all.push(Message {
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

    /// Takes note of an OK. `previous` is what was answered before on this connection for this recipient.
    pub(super) fn answered(
        &mut self,
        tag: Tag,
        previous: Option<Tag>,
    ) -> Result<(), Box<Violation>> {
        if let Some(earlier) = previous.and_then(|previous| self.get_mut(previous)) {
            earlier.next = Some(tag);
        }
        if let Some(message) = self.get_mut(tag) {
            message.answered = true;
            message.previous = previous;
        }
        self.check(tag)
    }

    /// Takes note of a refusal that leaves nothing behind.
    pub(super) fn refused(&mut self, tag: Tag) -> Result<(), Box<Violation>> {
        if let Some(message) = self.get_mut(tag) {
            message.refused = true;
        }
        self.check(tag)
    }

    /// Takes note of the id it was shown under, which must not be another one than before.
    pub(super) fn shown(&mut self, tag: Tag, id: Id) -> Result<(), Box<Violation>> {
        let Some(message) = self.get_mut(tag) else { return Ok(()) };
        match std::mem::replace(&mut message.id, id) {
            Id::ZERO => Ok(()),
            known if known == id => Ok(()),
            known => violation(Why::TwoIds { tag, ids: (known, id) }, message.to),
        }
    }

    /// Whether a message fits what else is known: that it was not refused, and its place in the order of answers. It is
    /// compared with its neighbours, where both ids are known; when all are known, all have been compared.
    pub(super) fn check(&self, tag: Tag) -> Result<(), Box<Violation>> {
        let Some(message) = self.get(tag) else { return Ok(()) };
        // When there were more attempts, an earlier one may have stored it.
        if message.refused && message.attempts == 1 && message.id != Id::ZERO {
            return violation(Why::RefusedAndThere { tag }, message.to);
        }
        if let Some(previous) = message.previous {
            self.compare(previous, tag)?;
        }
        match message.next {
            Some(next) => self.compare(tag, next),
            None => Ok(()),
        }
    }

    /// At the end, when nothing is left unread.
    pub(super) fn all_answered_are_there(&self) -> Result<(), Box<Violation>> {
        let lost = |message: &&Message| message.answered && message.id == Id::ZERO;
        match (0..).map(Tag).zip(&self.all).find(|(_, message)| lost(message)) {
            Some((tag, message)) => violation(Why::NotThere { tag }, message.to),
            None => Ok(()),
        }
    }

    fn compare(&self, first: Tag, second: Tag) -> Result<(), Box<Violation>> {
        let (Some(a), Some(b)) = (self.get(first), self.get(second)) else { return Ok(()) };
        if a.id == Id::ZERO || b.id == Id::ZERO || a.id < b.id {
            return Ok(());
        }
        violation(Why::Overtaken { first: (first, a.id), second: (second, b.id) }, a.to)
    }

    fn get(&self, Tag(number): Tag) -> Option<&Message> {
        self.all.get(index(number))
    }

    fn get_mut(&mut self, Tag(number): Tag) -> Option<&mut Message> {
        self.all.get_mut(index(number))
    }
}

fn violation(why: Why, user: User) -> Result<(), Box<Violation>> {
    Err(Box::new(Violation { why, user }))
}
