//! [`History`]: what the clients asked, were told and were shown, and the judgement of it.
//!
//! The definitions are those of `chat-load verify`:
//! * *lost*: a message whose storing was answered, or that was shown, is not there;
//! * *duplicated*: one message under two ids, or an id given again after its `ack` was answered;
//! * *reordered*: the ids of what one connection sent one recipient are not in the order of the answers;
//! * *hole*: an id is missing, or messages were called delivered that nobody acknowledged;
//! * *invented*: a message that nobody sent, that was refused, or whose text is not what was sent.
//!
//! And an id names the same text for ever, within an incarnation; incarnations change only when the disk was set back; a
//! watch neither skips nor repeats; what `post` answered once it answers always; and what became of a message does not
//! become undone.

mod conversation;
mod mailbox;
mod outbox;
mod stream;

use std::collections::BTreeMap;

pub(crate) use conversation::Entry;
use mailbox::Mailbox;
pub(crate) use mailbox::{Page, Question};
use outbox::{Block, Sent};
pub(crate) use outbox::{Copy, Receipt, State};
pub(crate) use stream::Stream;

/// The number of a message in this world; its text begins with it.
pub(crate) type Tag = usize;

/// A fault that was found: what, and the message it concerns.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) tag: Option<Tag>,
}

/// A point in the course of a world. What came before has a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(u64);

#[derive(Debug, Default)]
pub(crate) struct History {
    now: Moment,
    sent: Vec<Sent>,
    /// By user.
    mailboxes: Vec<Mailbox>,
    /// By who blocks and who is blocked.
    blocks: BTreeMap<(usize, usize), Block>,
    /// When the disk was set back: to what it held when, and when that was done.
    set_back: Vec<(Moment, Moment)>,
    keeps: Keeps,
}

/// What a store keeps of what is delivered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Keeps {
    /// Nothing gets so old that it goes.
    pub(crate) all: bool,
    /// So many messages of each mailbox.
    pub(crate) messages: u64,
}

/// A message as some reply or event showed it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) text: String,
}

impl History {
    pub(crate) fn new(users: usize, keeps: Keeps) -> Self {
        let mailboxes = (0..users).map(|_| Mailbox::default()).collect();
        Self { mailboxes, keeps, ..Self::default() }
    }

    pub(crate) fn moment(&mut self) -> Moment {
        self.now.0 += 1;
        self.now
    }

    /// Whether the disk may have been set back to before what was asked and answered at these moments.
    pub(crate) fn may_be_undone(&self, asked: Moment, answered: Moment) -> bool {
        self.set_back.iter().any(|(from, to)| asked <= *to && *from <= answered)
    }

    /// The disk was set back to what it held then.
    pub(crate) fn put_back(&mut self, then: Moment) {
        let now = self.moment();
        self.set_back.push((then, now));
        for (tag, sent) in self.sent.iter_mut().enumerate() {
            if sent.stored.is_none_or(|at| at >= then) {
                (sent.excused, sent.stored) = (true, None);
                self.mailboxes[sent.to].unseen.remove(&tag);
            }
        }
        self.blocks.clear();
    }

    /// Everything was drained: nothing may be missing, and all be in order.
    pub(crate) fn finish(&mut self) -> Result<(), Verdict> {
        let end = self.moment();
        for user in 0..self.mailboxes.len() {
            self.none_unseen(user, end)?;
        }
        self.all_in_order()
    }

    /// How many messages were stored, and how many shown.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let stored = self.sent.iter().filter(|sent| sent.stored.is_some()).count();
        (stored, self.mailboxes.iter().map(Mailbox::count).sum())
    }

    /// The tag of a message that was sent, and sent like this.
    fn recognise(&self, user: usize, seen: &Seen) -> Result<Tag, Verdict> {
        let number =
            seen.text.strip_prefix('m').and_then(|rest| rest.split('.').next()?.parse().ok());
        let known = number.and_then(|tag: Tag| Some((tag, self.sent.get(tag)?)));
        let Some((tag, sent)) = known else {
            return fault(format!("invented: {seen:?}"), None);
        };
        let is_right = sent.text == seen.text
            && sent.to == user
            && format!("u{}", sent.from) == seen.from
            && !sent.refused;
        match is_right {
            true => Ok(tag),
            false => {
                fault(format!("invented: u{user} was shown {seen:?}, sent was {sent:?}"), Some(tag))
            }
        }
    }
}

fn fault<T>(what: String, tag: Option<Tag>) -> Result<T, Verdict> {
    Err(Verdict { what, tag })
}
