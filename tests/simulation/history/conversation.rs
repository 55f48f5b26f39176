//! What a conversation was shown to hold.

use std::collections::BTreeSet;

use super::{History, Moment, Seen, Verdict, fault};

/// An entry of a conversation.
#[derive(Debug)]
pub(crate) struct Entry {
    /// To the user, and not from them.
    pub(crate) incoming: bool,
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl History {
    /// A user read the newest part of the conversation with another, oldest first, over a connection made then and asked for
    /// then; `is_all` if nothing may be missing before it.
    pub(crate) fn conversation(
        &mut self,
        (user, other): (usize, usize),
        incarnation: &str,
        (connected, asked): (Moment, Moment),
        entries: &[Entry],
        is_all: bool,
    ) -> Result<(), Verdict> {
        let now = self.moment();
        let mut tags = BTreeSet::new();
        let mut last = 0;
        for entry in entries {
            let (from, to) = match entry.incoming {
                true => (other, user),
                false => (user, other),
            };
            let id = if entry.incoming { entry.id.parse().unwrap_or(0) } else { 0 };
            let seen = Seen { id, from: entry.from.clone(), text: entry.text.clone() };
            if (format!("u{from}"), format!("u{to}")) != (entry.from.clone(), entry.to.clone()) {
                return fault(format!("{entry:?} is not of u{user} and u{other}"), None);
            }
            let tag = match entry.incoming {
                true => self.show(user, incarnation, &seen)?,
                false => self.recognise(to, &seen)?,
            };
            self.exists(tag, connected, now);
            if !tags.insert(tag) {
                return fault("duplicated: twice in a conversation".into(), Some(tag));
            }
            if entry.incoming && std::mem::replace(&mut last, id) >= id {
                return fault(format!("reordered: {id} in a conversation after {last}"), Some(tag));
            }
        }
        match is_all && self.keeps.all {
            true => self.all_in_conversation((user, other), asked, &tags),
            false => Ok(()),
        }
    }

    /// Whether these are all that was known to be stored before then.
    fn all_in_conversation(
        &self,
        (user, other): (usize, usize),
        asked: Moment,
        tags: &BTreeSet<usize>,
    ) -> Result<(), Verdict> {
        let missing = self.sent.iter().enumerate().find(|(tag, sent)| {
            let is_of_it =
                (sent.from, sent.to) == (user, other) || (sent.from, sent.to) == (other, user);
            is_of_it
                && sent.stored.is_some_and(|at| at < asked)
                && !sent.excused
                && !tags.contains(tag)
        });
        match missing {
            Some((tag, _)) => {
                fault(format!("lost: not in the conversation of u{user} and u{other}"), Some(tag))
            }
            None => Ok(()),
        }
    }
}
