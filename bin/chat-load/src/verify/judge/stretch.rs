//! [`Stretch`]: one page or one watch, whose ids must follow each other.

use super::super::fact::Id;

/// What the ids of one page or one watch must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// All up to here was known to be confirmed when the stretch was asked for.
    floor: Id,
    next: Next,
    /// Ids that were just passed over. If the next id is one of them they came in the wrong order, else they are missing.
    passed_over: Option<(Id, Id)>,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Anything,
    /// At most the id behind this one, or behind the cursor if that has moved on.
    Behind(Id),
    Exactly(Id),
}

/// What is wrong with an id in its stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    AfterConfirmation { confirmed: Id },
    Repeated,
    Backwards { behind: Id },
    Missing { from: Id, to: Id },
}

impl Stretch {
    /// Nothing is known of what comes, but that all up to `floor` must not.
    pub(super) fn anything(floor: Id) -> Self {
        Self { floor, next: Next::Anything, passed_over: None }
    }

    /// What comes follows `after`, or the cursor.
    pub(super) fn behind(floor: Id, after: Id) -> Self {
        Self { floor, next: Next::Behind(after), passed_over: None }
    }

    /// What comes follows `after`.
    pub(super) fn right_behind(floor: Id, after: Id) -> Self {
        Self { floor, next: Next::Exactly(after.next()), passed_over: None }
    }

    /// Where the cursor was at least when the stretch was asked for.
    pub(super) fn floor(&self) -> Id {
        self.floor
    }

    /// Takes the next id. All up to `reach` may have been confirmed by now.
    pub(super) fn shown(&mut self, id: Id, reach: Id) -> Result<(), Flaw> {
        if id <= self.floor {
            return Err(Flaw::AfterConfirmation { confirmed: self.floor });
        }
        self.fills_what_was_passed_over(id)?;
        let exact = matches!(self.next, Next::Exactly(_));
        let expected = self.expected(id, reach);
        if exact && id < expected {
            return Err(Flaw::Repeated);
        }
        if id > expected {
            self.passed_over = Some((expected, id.previous()));
        }
        self.next = Next::Exactly(id.next());
        Ok(())
    }

    /// Takes the announcement that some ids do not come.
    pub(super) fn gap(&mut self, from: Id, to: Id, reach: Id) -> Result<(), Flaw> {
        let expected = self.expected(from, reach);
        if from > expected {
            return Err(Flaw::Missing { from: expected, to: from.previous() });
        }
        self.next = Next::Exactly(expected.max(to.next()));
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> Result<(), Flaw> {
        match self.passed_over.take() {
            Some((from, to)) => Err(Flaw::Missing { from, to }),
            None => Ok(()),
        }
    }

    /// The first id that must not be passed over, when `id` comes.
    fn expected(&self, id: Id, reach: Id) -> Id {
        match self.next {
            Next::Anything => id,
            Next::Behind(after) => after.max(reach).next(),
            Next::Exactly(next) => next,
        }
    }

    fn fills_what_was_passed_over(&mut self, id: Id) -> Result<(), Flaw> {
        match self.passed_over {
            Some((from, to)) if (from..=to).contains(&id) => {
                let Next::Exactly(next) = self.next else { return self.end() };
                Err(Flaw::Backwards { behind: next.previous() })
            }
            _ => self.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut stretch: Stretch, ids: &[u32]) -> Result<(), Flaw> {
        ids.iter().try_for_each(|&id| stretch.shown(Id(id), Id(4)))?;
        stretch.end()
    }

    #[test]
    fn a_page_begins_behind_the_cursor_wherever_that_may_be() {
        let page = || Stretch::behind(Id(2), Id(2));
        for first in 3..=5 {
            assert_eq!(run(page(), &[first, first + 1]), Ok(()));
        }
        assert_eq!(run(page(), &[2]), Err(Flaw::AfterConfirmation { confirmed: Id(2) }));
        assert_eq!(run(page(), &[7]), Err(Flaw::Missing { from: Id(5), to: Id(6) }));
        let following = Stretch::behind(Id(2), Id(9));
        assert_eq!(run(following, &[10]), Ok(()));
        assert_eq!(run(following, &[11]), Err(Flaw::Missing { from: Id(10), to: Id(10) }));
        assert_eq!(run(Stretch::anything(Id(2)), &[70, 71]), Ok(()));
    }

    #[test]
    fn within_a_stretch_each_id_follows_the_one_before() {
        let watch = || Stretch::right_behind(Id(2), Id(2));
        assert_eq!(run(watch(), &[3, 4, 5]), Ok(()));
        assert_eq!(run(watch(), &[3, 5, 6]), Err(Flaw::Missing { from: Id(4), to: Id(4) }));
        assert_eq!(run(watch(), &[3, 5]), Err(Flaw::Missing { from: Id(4), to: Id(4) }));
        assert_eq!(run(watch(), &[3, 5, 4]), Err(Flaw::Backwards { behind: Id(5) }));
        assert_eq!(run(watch(), &[3, 4, 4]), Err(Flaw::Repeated));
        assert_eq!(run(watch(), &[4]), Err(Flaw::Missing { from: Id(3), to: Id(3) }));
    }

    #[test]
    fn an_announced_gap_is_no_hole() {
        let mut watch = Stretch::right_behind(Id(0), Id(0));
        assert_eq!(watch.gap(Id(1), Id(7), Id(0)), Ok(()));
        assert_eq!(run(watch, &[8]), Ok(()));
        assert_eq!(run(watch, &[9]), Err(Flaw::Missing { from: Id(8), to: Id(8) }));
        let missing = Flaw::Missing { from: Id(8), to: Id(9) };
        assert_eq!(watch.gap(Id(10), Id(11), Id(0)), Err(missing));
    }
}
