//! [`History`]: what the clients asked, were told and were shown, and the judgement of it.
//!
//! The definitions are those of `chat-load --verify`:
//! * *lost*: a message whose storing was answered is not there;
//! * *duplicated*: one message under two ids, or an id given again after its `ack` was answered;
//! * *reordered*: the ids of what one connection sent one recipient are not in the order of the answers;
//! * *hole*: an id is missing;
//! * *invented*: a message that nobody sent, that was refused, or whose text is not what was sent.
//!
//! And an id names the same text for ever, within an incarnation.

use std::collections::BTreeMap;

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
    mailboxes: Vec<Mailbox>,
    /// When the disk was set back: to what it held when, and when that was done.
    set_back: Vec<(Moment, Moment)>,
}

#[derive(Debug)]
struct Sent {
    from: usize,
    to: usize,
    /// The connection it was sent over; those of a `post` that was repeated over several are not in order.
    connection: Option<u64>,
    text: String,
    outcome: Outcome,
    /// The disk was set back to before the answer, so the message may be gone.
    excused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Refused,
    Stored(Moment),
}

/// What is known of a user's mailbox.
#[derive(Debug, Default)]
struct Mailbox {
    /// By incarnation.
    lives: BTreeMap<String, Life>,
    /// Stored for the user and never shown.
    unseen: BTreeMap<Tag, Moment>,
}

#[derive(Debug, Default)]
struct Life {
    shown: BTreeMap<u64, Tag>,
    ids: BTreeMap<Tag, u64>,
    /// Everything up to this id was delivered, and that was answered.
    acked: u64,
}

/// What a page was asked for, as things stood before the question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    asked: Moment,
    /// Everything up to this id was delivered already.
    acked: u64,
}

/// A message as some reply or event showed it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) text: String,
}

impl History {
    pub(crate) fn new(users: usize) -> Self {
        let mailboxes = (0..users).map(|_| Mailbox::default()).collect();
        Self { mailboxes, ..Self::default() }
    }

    pub(crate) fn moment(&mut self) -> Moment {
        self.now.0 += 1;
        self.now
    }

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
            outcome: Outcome::Unknown,
            excused: false,
        });
        (tag, text)
    }

    /// The sender was told that it is stored, over a connection made at that moment.
    pub(crate) fn stored(&mut self, tag: Tag, connected: Moment) {
        let now = self.moment();
        let undone = self.may_be_undone(connected, now);
        let sent = &mut self.sent[tag];
        sent.outcome = Outcome::Stored(now);
        sent.excused |= undone;
        if undone {
            return;
        }
        let mailbox = &mut self.mailboxes[sent.to];
        if !mailbox.lives.values().any(|life| life.ids.contains_key(&tag)) {
            mailbox.unseen.insert(tag, now);
        }
    }

    /// The sender was told that nothing was changed.
    pub(crate) fn refused(&mut self, tag: Tag) {
        self.sent[tag].outcome = Outcome::Refused;
    }

    /// A question is about to be asked about a mailbox in this incarnation.
    pub(crate) fn ask(&mut self, user: usize, incarnation: &str) -> Question {
        let acked = self.mailboxes[user].lives.get(incarnation).map_or(0, |life| life.acked);
        Question { asked: self.moment(), acked }
    }

    /// An `ack`, or what stands for one, was answered.
    pub(crate) fn acked(&mut self, user: usize, incarnation: &str, upto: u64) {
        let life = self.mailboxes[user].lives.entry(incarnation.into()).or_default();
        life.acked = life.acked.max(upto);
    }

    /// How far one may ack: everything up to there was shown to the user.
    pub(crate) fn seen_upto(&self, user: usize, incarnation: &str) -> u64 {
        let Some(life) = self.mailboxes[user].lives.get(incarnation) else {
            return 0;
        };
        let mut upto = 0;
        while life.shown.contains_key(&(upto + 1)) {
            upto += 1;
        }
        upto
    }

    /// A message was shown.
    pub(crate) fn show(
        &mut self,
        user: usize,
        incarnation: &str,
        seen: &Seen,
    ) -> Result<Tag, Verdict> {
        let tag = self.recognise(user, seen)?;
        let mailbox = &mut self.mailboxes[user];
        mailbox.unseen.remove(&tag);
        let life = mailbox.lives.entry(incarnation.into()).or_default();
        let before = *life.shown.entry(seen.id).or_insert(tag);
        if before != tag {
            return Err(Verdict {
                what: format!("reused: id {} of u{user} named m{before} before", seen.id),
                tag: Some(tag),
            });
        }
        let id = *life.ids.entry(tag).or_insert(seen.id);
        if id != seen.id {
            return Err(Verdict {
                what: format!("duplicated: ids {id} and {} of u{user}", seen.id),
                tag: Some(tag),
            });
        }
        Ok(tag)
    }

    /// The tag of a message that was sent, and sent like this.
    fn recognise(&self, user: usize, seen: &Seen) -> Result<Tag, Verdict> {
        let number =
            seen.text.strip_prefix('m').and_then(|rest| rest.split('.').next()?.parse().ok());
        let known = number.and_then(|tag: Tag| Some((tag, self.sent.get(tag)?)));
        let Some((tag, sent)) = known else {
            return Err(Verdict { what: format!("invented: {seen:?}"), tag: None });
        };
        let is_right = sent.text == seen.text
            && sent.to == user
            && format!("u{}", sent.from) == seen.from
            && sent.outcome != Outcome::Refused;
        match is_right {
            true => Ok(tag),
            false => Err(Verdict {
                what: format!("invented: u{user} was shown {seen:?}, sent was {sent:?}"),
                tag: Some(tag),
            }),
        }
    }

    /// A page of undelivered messages was shown, behind `after` if that is said.
    pub(crate) fn page(
        &mut self,
        user: usize,
        incarnation: &str,
        question: Question,
        page: &Page,
    ) -> Result<(), Verdict> {
        for seen in &page.messages {
            let tag = self.show(user, incarnation, seen)?;
            if seen.id <= question.acked {
                return Err(Verdict {
                    what: format!(
                        "duplicated: id {} of u{user} again after the ack of {} was answered",
                        seen.id, question.acked
                    ),
                    tag: Some(tag),
                });
            }
        }
        let ids = page.messages.iter().map(|seen| seen.id);
        if let Some((id, _)) = ids.clone().zip(ids.clone().skip(1)).find(|(a, b)| a + 1 != *b) {
            return Err(Verdict { what: format!("hole: after id {id} of u{user}"), tag: None });
        }
        let Some(first) =
            page.messages.first().map_or(question.acked + 1, |seen| seen.id).checked_sub(1)
        else {
            return Err(Verdict { what: format!("invented: id 0 of u{user}"), tag: None });
        };
        if !page.skips {
            self.all_known(user, first)?;
        }
        match page.is_all {
            true => self.none_unseen(user, question.asked),
            false => Ok(()),
        }
    }

    /// Whether the user was shown everything up to this id.
    fn all_known(&self, user: usize, upto: u64) -> Result<(), Verdict> {
        let lives = &self.mailboxes[user].lives;
        let known = |id| lives.values().any(|life| life.shown.contains_key(&id));
        match (1..=upto).find(|id| !known(*id)) {
            Some(id) => Err(Verdict {
                what: format!("hole: id {id} of u{user} was never shown"),
                tag: None,
            }),
            None => Ok(()),
        }
    }

    /// Whether the user was shown everything that was stored before then.
    fn none_unseen(&self, user: usize, before: Moment) -> Result<(), Verdict> {
        let unseen = &self.mailboxes[user].unseen;
        match unseen.iter().find(|(_, stored)| **stored < before) {
            Some((tag, _)) => {
                Err(Verdict { what: format!("lost: m{tag} to u{user}"), tag: Some(*tag) })
            }
            None => Ok(()),
        }
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
            if !matches!(sent.outcome, Outcome::Stored(at) if at < then) {
                sent.excused = true;
                self.mailboxes[sent.to].unseen.remove(&tag);
            }
        }
    }

    /// Everything was drained: nothing may be missing, and all be in order.
    pub(crate) fn finish(&mut self) -> Result<(), Verdict> {
        let end = self.moment();
        for user in 0..self.mailboxes.len() {
            self.none_unseen(user, end)?;
            for life in self.mailboxes[user].lives.values() {
                self.in_order(life)?;
            }
        }
        Ok(())
    }

    fn in_order(&self, life: &Life) -> Result<(), Verdict> {
        let mut answers: Vec<_> = life
            .ids
            .iter()
            .filter_map(|(tag, id)| {
                let sent = &self.sent[*tag];
                match sent.outcome {
                    Outcome::Stored(at) => Some((sent.connection?, at, *id, *tag)),
                    _ => None,
                }
            })
            .collect();
        answers.sort_unstable();
        for pair in answers.windows(2) {
            let [(connection, _, id, _), (next_connection, _, next_id, tag)] = pair else {
                continue;
            };
            if connection == next_connection && id >= next_id {
                return Err(Verdict {
                    what: format!("reordered: id {next_id} was answered after id {id}"),
                    tag: Some(*tag),
                });
            }
        }
        Ok(())
    }

    /// How many messages were stored, and how many shown.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let stored = |sent: &&Sent| matches!(sent.outcome, Outcome::Stored(_));
        let lives = self.mailboxes.iter().flat_map(|mailbox| mailbox.lives.values());
        (self.sent.iter().filter(stored).count(), lives.map(|life| life.shown.len()).sum())
    }
}

/// A page of a mailbox as a client got it.
#[derive(Debug)]
pub(crate) struct Page {
    /// In order of id.
    pub(crate) messages: Vec<Seen>,
    /// Nothing waits behind it, and nothing was left out before it.
    pub(crate) is_all: bool,
    /// What comes before it may be undelivered and never shown: the client chose to begin later.
    pub(crate) skips: bool,
}
