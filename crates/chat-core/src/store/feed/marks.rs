//! [`Marks`]: up to which message was pushed when.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{MessageId, Timestamp};

/// What was pushed when, to the second, as far back as a number of marks reaches; what is older counts as pushed when
/// the oldest of them was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// What the watcher had when it began: not pushed, as far as anybody knows.
    had: MessageId,
    /// Growing ids, each with the time by which everything up to it was pushed.
    marks: VecDeque<(MessageId, Timestamp)>,
}

impl Marks {
    pub(crate) fn new(had: MessageId) -> Self {
        Self { had, marks: VecDeque::new() }
    }

    /// Notes that everything up to an id was pushed by now.
    pub(crate) fn push(&mut self, upto: MessageId, now: Timestamp) {
        if upto <= self.upto() {
            return;
        }
        match self.marks.back_mut() {
            Some((last, time)) if is_close(*time, now) => *last = upto,
            _ => self.marks.push_back((upto, now)),
        }
        if self.marks.len() > MOST_MARKS {
            self.marks.pop_front();
        }
    }

    /// When a message was pushed.
    pub(crate) fn at(&self, id: MessageId) -> Option<Timestamp> {
        if id <= self.had {
            return None;
        }
        let at = self.marks.partition_point(|(upto, _)| *upto < id);
        self.marks.get(at).map(|(_, time)| *time)
    }

    /// Takes what another watch of the mailbox pushed into account.
    pub(crate) fn fold(&mut self, other: Self) {
        self.had = self.had.min(other.had);
        for (upto, time) in other.marks {
            self.push(upto, time);
        }
    }

    /// Forgets what is delivered; whether anything is left.
    pub(crate) fn delivered(&mut self, cursor: MessageId) -> bool {
        self.marks.retain(|(upto, _)| *upto > cursor);
        !self.marks.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn upto(&self) -> MessageId {
        self.marks.back().map_or(self.had, |(upto, _)| *upto)
    }
}

/// Within a second of each other, whichever way the clock went.
fn is_close(a: Timestamp, b: Timestamp) -> bool {
    a.since(b).max(b.since(a)) < Duration::from_secs(1)
}

/// Most marks of one watch: 1 KiB.
const MOST_MARKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> MessageId {
        MessageId::new(id)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn one_mark_a_second() {
        let mut marks = Marks::new(id(10));
        marks.push(id(12), at(0));
        marks.push(id(14), at(999));
        marks.push(id(15), at(1_000));
        marks.push(id(13), at(5_000));
        assert_eq!(marks.marks, [(id(14), at(0)), (id(15), at(1_000))]);
        let times = [10, 11, 14, 15, 16].map(|n| marks.at(id(n)).map(Timestamp::as_millis));
        assert_eq!(times, [None, Some(0), Some(0), Some(1_000), None]);
        marks.push(id(20), at(-3_600_000));
        assert_eq!(marks.at(id(20)), Some(at(-3_600_000)), "the clock was set back");
    }

    #[test]
    fn marks_are_bounded_and_go_with_the_cursor() {
        let mut marks = Marks::new(id(0));
        for n in 1..=1_000 {
            marks.push(id(n), at(i64::try_from(n).unwrap() * 1_000));
        }
        assert_eq!(marks.marks.len(), 64);
        assert_eq!(marks.at(id(5)), Some(at(937_000)), "not later than the oldest mark kept");
        assert!(marks.delivered(id(999)));
        assert!(!marks.delivered(id(1_000)));
    }

    #[test]
    fn watches_that_went_are_folded_together() {
        let mut marks = Marks::new(id(5));
        marks.push(id(7), at(1_000));
        let mut other = Marks::new(id(3));
        other.push(id(6), at(0));
        other.push(id(9), at(2_000));
        marks.fold(other);
        assert_eq!(marks.at(id(4)), Some(at(1_000)));
        assert_eq!(marks.at(id(8)), Some(at(2_000)));
    }
}
