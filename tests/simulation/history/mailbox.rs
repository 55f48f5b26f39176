//! What was shown of each mailbox, and how far it was acknowledged.

use std::collections::BTreeMap;

use super::{History, Moment, Seen, Tag, Verdict, fault};

/// What is known of a user's mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// By incarnation.
    pub(super) lives: BTreeMap<String, Life>,
    /// Stored for the user and never shown.
    pub(super) unseen: BTreeMap<Tag, Moment>,
    /// The highest id that anybody ever asked to be delivered.
    may_be_acked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) shown: BTreeMap<u64, Tag>,
    pub(super) ids: BTreeMap<Tag, u64>,
    /// Everything up to this id was delivered, and that was answered.
    acked: u64,
    /// What the user need not be shown again in this life begins behind this id.
    base: Option<u64>,
}

/// What a page was asked for, as things stood before the question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) asked: Moment,
    /// Everything up to this id was delivered already.
    acked: u64,
    /// The highest id that was shown.
    newest: u64,
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

impl Mailbox {
    pub(super) fn has_shown(&self, tag: Tag) -> bool {
        self.lives.values().any(|life| life.ids.contains_key(&tag))
    }

    pub(super) fn count(&self) -> usize {
        self.lives.values().map(|life| life.shown.len()).sum()
    }

    /// The lowest id it was shown under.
    pub(super) fn id(&self, tag: Tag) -> Option<u64> {
        self.lives.values().filter_map(|life| life.ids.get(&tag)).min().copied()
    }

    /// Whether it was delivered, and that was answered.
    pub(super) fn is_delivered(&self, tag: Tag) -> bool {
        let lives = self.lives.values();
        lives.filter_map(|life| Some(*life.ids.get(&tag)? <= life.acked)).any(|is| is)
    }

    /// Whether anybody may have asked for it to be delivered.
    pub(super) fn may_be_delivered(&self, tag: Tag) -> bool {
        let ids = self.lives.values().filter_map(|life| life.ids.get(&tag));
        ids.min().is_some_and(|id| *id <= self.may_be_acked)
    }
}

impl History {
    /// A mailbox was said to have this incarnation.
    pub(crate) fn meet(&mut self, user: usize, incarnation: &str) -> Result<(), Verdict> {
        let lives = &mut self.mailboxes[user].lives;
        lives.entry(incarnation.into()).or_default();
        match lives.len() <= 1 + self.set_back.len() {
            true => Ok(()),
            false => fault(format!("u{user} has a new incarnation though nothing was lost"), None),
        }
    }

    /// A question is about to be asked about a mailbox in this incarnation.
    pub(crate) fn ask(&mut self, user: usize, incarnation: &str) -> Question {
        let life = self.mailboxes[user].lives.get(incarnation);
        let acked = life.map_or(0, |life| life.acked);
        let newest = life.and_then(|life| life.shown.keys().next_back()).copied().unwrap_or(0);
        Question { asked: self.moment(), acked, newest }
    }

    /// An `ack`, or what stands for one, is about to be asked for.
    pub(crate) fn acking(&mut self, user: usize, upto: u64) {
        let mailbox = &mut self.mailboxes[user];
        mailbox.may_be_acked = mailbox.may_be_acked.max(upto);
    }

    /// It was answered.
    pub(crate) fn acked(&mut self, user: usize, incarnation: &str, upto: u64) {
        let life = self.mailboxes[user].lives.entry(incarnation.into()).or_default();
        life.acked = life.acked.max(upto);
    }

    /// How far one may ack: everything up to there was shown to the user.
    pub(crate) fn seen_upto(&self, user: usize, incarnation: &str) -> u64 {
        let lives = &self.mailboxes[user].lives;
        let life = lives.get(incarnation);
        let base = life.and_then(|life| life.base).or((lives.len() == 1).then_some(0));
        let (Some(life), Some(mut upto)) = (life, base) else {
            return 0;
        };
        while life.shown.contains_key(&(upto + 1)) {
            upto += 1;
        }
        upto
    }

    /// In this life the user was shown, or shares with an earlier one, everything up to this id.
    pub(super) fn has_base(&mut self, user: usize, incarnation: &str, base: u64) {
        let life = self.mailboxes[user].lives.entry(incarnation.into()).or_default();
        life.base = life.base.max(Some(base));
    }

    /// The highest id that was shown in this incarnation.
    pub(crate) fn newest(&self, user: usize, incarnation: &str) -> u64 {
        let life = self.mailboxes[user].lives.get(incarnation);
        life.and_then(|life| life.shown.keys().next_back()).copied().unwrap_or(0)
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
            return fault(format!("reused: id {} of u{user} was m{before}.", seen.id), Some(tag));
        }
        let id = *life.ids.entry(tag).or_insert(seen.id);
        if id != seen.id {
            return fault(format!("duplicated: ids {id} and {} of u{user}", seen.id), Some(tag));
        }
        Ok(tag)
    }

    /// A page of undelivered messages was shown.
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
                let what = format!(
                    "duplicated: id {} of u{user} again after the ack of {} was answered",
                    seen.id, question.acked
                );
                return fault(what, Some(tag));
            }
        }
        let ids = page.messages.iter().map(|seen| seen.id);
        if let Some((id, _)) = ids.clone().zip(ids.clone().skip(1)).find(|(a, b)| a + 1 != *b) {
            return fault(format!("hole: after id {id} of u{user}"), None);
        }
        if page.skips {
            return Ok(());
        }
        let (first, last) = (page.messages.first(), page.messages.last());
        if let Some(first) = first {
            let base = first.id.saturating_sub(1);
            self.all_delivered(user, base)?;
            self.has_base(user, incarnation, base);
        }
        if !page.is_all {
            return Ok(());
        }
        match last {
            Some(last) if last.id < question.newest => {
                return fault(format!("lost: id {} of u{user}", question.newest), None);
            }
            Some(_) => {}
            None => self.all_delivered(user, question.newest)?,
        }
        self.none_unseen(user, question.asked)
    }

    /// Everything up to this id is called delivered: it was shown, and somebody asked for that.
    pub(super) fn all_delivered(&self, user: usize, upto: u64) -> Result<(), Verdict> {
        if let Some(id) = (1..=upto).find(|id| !self.is_known(user, *id)) {
            return fault(format!("hole: id {id} of u{user} was never shown"), None);
        }
        match self.mailboxes[user].may_be_acked {
            acked if acked < upto => {
                fault(format!("hole: id {upto} of u{user} is left out, acked was {acked}"), None)
            }
            _ => Ok(()),
        }
    }

    /// Whether the user was shown everything that was known to be stored before then.
    pub(super) fn none_unseen(&self, user: usize, before: Moment) -> Result<(), Verdict> {
        let unseen = &self.mailboxes[user].unseen;
        match unseen.iter().find(|(_, stored)| **stored < before) {
            Some((tag, _)) => fault(format!("lost: m{tag}. to u{user}"), Some(*tag)),
            None => Ok(()),
        }
    }

    fn is_known(&self, user: usize, id: u64) -> bool {
        self.mailboxes[user].lives.values().any(|life| life.shown.contains_key(&id))
    }
}

impl Question {
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }
}
