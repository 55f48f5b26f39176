//! [`Journal`]: every fact of a run with its time.

use std::collections::HashSet;
use std::time::Duration;

use super::fact::{Connection, Fact, Id, Tag, User};
use super::verdict::Violation;

/// The facts in order. Kept in pieces, so that it grows without being copied.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pieces: Vec<Vec<Entry>>,
    /// Of messages that nobody sent.
    texts: Vec<String>,
}

/// A fact and when it was noted, in milliseconds from the start of the run; for 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at_ms: u32,
    pub(crate) fact: Fact,
}

impl Journal {
    /// Appends a fact.
    pub(crate) fn note(&mut self, at: Duration, fact: Fact) {
        let entry = Entry { at_ms: u32::try_from(at.as_millis()).unwrap_or(u32::MAX), fact };
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < piece.capacity() => piece.push(entry),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    /// Keeps the text of a message that nobody sent, cut where it gets long, and gives its place.
    pub(crate) fn keep(&mut self, text: &str) -> u32 {
        self.texts.push(text.chars().take(LONGEST_TEXT).collect());
        u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX)
    }

    /// A text that was kept.
    pub(crate) fn text(&self, place: u32) -> &str {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        self.texts.get(place).map_or("", String::as_str)
    }

    /// The facts that a violation is about, in order: all of its messages, what its ids were shown to be, what
    /// confirmed them, what was asked when they were shown, and the ends of the server in between. `user_of` says whose
    /// connection it is.
    pub(crate) fn history(
        &self,
        violation: &Violation,
        user_of: impl Fn(Connection) -> Option<User>,
    ) -> Vec<Entry> {
        let subject = Subject::new(self, violation, user_of);
        let mut history = Vec::new();
        let mut context = Vec::new();
        for entry in self.entries() {
            if subject.is_about(&entry.fact) {
                subject.explain(&mut context, &entry.fact, history.is_empty());
                history.append(&mut context);
                history.push(*entry);
            } else if subject.may_explain(&entry.fact) {
                context.push(*entry);
            }
        }
        first_confirmations(&mut history);
        history
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flatten()
    }
}

/// What a history is to be about.
struct Subject<F> {
    tags: Vec<Tag>,
    /// From the first to the last, with one on either side of those that are missing.
    ids: HashSet<Id>,
    last: Id,
    user: User,
    user_of: F,
}

impl<F: Fn(Connection) -> Option<User>> Subject<F> {
    fn new(journal: &Journal, violation: &Violation, user_of: F) -> Self {
        let (tags, user) = (violation.tags(), violation.user);
        let mut ids: HashSet<Id> = match violation.ids() {
            Some((from, to)) => (from.previous().0
                ..=to.next().0.min(from.0.saturating_add(MOST_IDS)))
                .map(Id)
                .collect(),
            None => HashSet::new(),
        };
        if violation.ids().is_none() {
            ids.extend(journal.entries().filter_map(|entry| match entry.fact {
                Fact::Shown { tag, id, .. } if tags.contains(&tag) => Some(id),
                _ => None,
            }));
        }
        let last = ids.iter().copied().max().unwrap_or(Id::LAST);
        Self { tags, ids, last, user, user_of }
    }

    fn is_about(&self, fact: &Fact) -> bool {
        if fact.tag().is_some_and(|tag| self.tags.contains(&tag)) {
            return true;
        }
        let is_theirs = |connection| (self.user_of)(connection) == Some(self.user);
        match *fact {
            Fact::Shown { connection, id, .. } | Fact::Strange { connection, id, .. } => {
                self.ids.contains(&id) && is_theirs(connection)
            }
            Fact::Confirming { connection, id } | Fact::Confirmed { connection, id } => {
                id >= self.last && self.last != Id::LAST && is_theirs(connection)
            }
            Fact::Gap { connection, .. } => is_theirs(connection),
            _ => false,
        }
    }

    /// Facts that are told if something they are the reason for follows.
    fn may_explain(&self, fact: &Fact) -> bool {
        match *fact {
            Fact::Killed | Fact::Restarted => true,
            Fact::Asked { connection, .. } | Fact::Watching { connection, .. } => {
                (self.user_of)(connection) == Some(self.user)
            }
            _ => false,
        }
    }

    /// Leaves of what may explain a fact what does: the ends of the server, unless the story only begins, and what was
    /// last asked on its connection.
    fn explain(&self, context: &mut Vec<Entry>, fact: &Fact, is_first: bool) {
        let shown = matches!(fact, Fact::Shown { .. } | Fact::Strange { .. } | Fact::Gap { .. });
        let connection = fact.connection().filter(|_| shown);
        let asked = context.iter().rposition(|entry| {
            matches!(entry.fact, Fact::Asked { .. }) && entry.fact.connection() == connection
        });
        let mut place = 0;
        context.retain(|entry| {
            let keep = match entry.fact {
                Fact::Killed | Fact::Restarted => !is_first,
                _ => {
                    asked.is_some_and(|asked| place >= asked)
                        && entry.fact.connection() == connection
                }
            };
            place += 1;
            keep
        });
    }
}

/// Leaves only the first confirmation and the first answer to one on each connection.
fn first_confirmations(history: &mut Vec<Entry>) {
    let mut told = HashSet::new();
    history.retain(|entry| match entry.fact {
        Fact::Confirming { connection, .. } => told.insert((connection, false)),
        Fact::Confirmed { connection, .. } => told.insert((connection, true)),
        _ => true,
    });
}

/// Entries in a piece: 1.3 MB.
const PIECE: usize = 64 * 1024;
/// Characters of a text that is kept.
const LONGEST_TEXT: usize = 200;
/// Of a longer stretch of missing ids only the first are told of.
const MOST_IDS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fact::{Ending, Via};
    use crate::verify::verdict::Why;

    const SENDER: Connection = Connection(0);
    const READER: Connection = Connection(1);
    const ANOTHER: Connection = Connection(2);

    fn user_of(connection: Connection) -> Option<User> {
        Some(User(u32::from(connection == READER)))
    }

    fn facts(journal: &Journal, why: Why) -> Vec<Fact> {
        let violation = Violation { why, user: User(1) };
        journal.history(&violation, user_of).into_iter().map(|entry| entry.fact).collect()
    }

    #[test]
    fn a_history_has_all_of_a_message_and_nothing_of_others() {
        let (tag, other, id) = (Tag(0), Tag(1), Id(1));
        let shown = Fact::Shown { connection: READER, via: Via::Peek, id, tag };
        let asked =
            Fact::Asked { connection: READER, via: Via::Peek, resumes: false, after: Id(0) };
        let all = [
            Fact::Opened { connection: SENDER, user: User(0) },
            Fact::Sent { tag, connection: SENDER, to: User(1) },
            Fact::Sent { tag: other, connection: SENDER, to: User(0) },
            asked,
            Fact::Killed,
            Fact::Restarted,
            Fact::Answered { tag, connection: SENDER, repeat: false },
            asked,
            Fact::Asked { connection: ANOTHER, via: Via::Inbox, resumes: false, after: Id(0) },
            shown,
            Fact::Shown { connection: ANOTHER, via: Via::Inbox, id, tag: Tag(7) },
            Fact::Confirming { connection: READER, id: Id(3) },
            Fact::Confirmed { connection: READER, id: Id(3) },
            Fact::Confirmed { connection: READER, id: Id(9) },
            asked,
            shown,
            Fact::Ended { connection: READER, how: Ending::Lost },
        ];
        let mut journal = Journal::default();
        for fact in all {
            journal.note(Duration::ZERO, fact);
        }
        let told = facts(&journal, Why::AfterConfirmation { id, tag, confirmed: Id(3) });
        assert_eq!(
            told,
            [
                Fact::Sent { tag, connection: SENDER, to: User(1) },
                Fact::Killed,
                Fact::Restarted,
                Fact::Answered { tag, connection: SENDER, repeat: false },
                asked,
                shown,
                Fact::Confirming { connection: READER, id: Id(3) },
                Fact::Confirmed { connection: READER, id: Id(3) },
                asked,
                shown,
            ]
        );
        assert_eq!(facts(&journal, Why::NotThere { tag: other }).len(), 1);
    }

    #[test]
    fn it_grows_piece_by_piece() {
        let mut journal = Journal::default();
        for _ in 0..=PIECE {
            journal.note(Duration::from_millis(7), Fact::Killed);
        }
        assert_eq!(journal.pieces.len(), 2);
        assert_eq!(journal.entries().count(), PIECE + 1);
        assert!(size_of::<Entry>() <= 20);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut journal = Journal::default();
        let place = journal.keep(&"x".repeat(1000));
        assert_eq!(journal.text(place).len(), LONGEST_TEXT);
        assert_eq!(journal.text(place + 1), "");
    }
}
