//! [`Mailbox`]: what has been seen of one mailbox.

use super::super::fact::{Id, Life, Tag};

/// Which message each id was shown to be, and what is confirmed; for each incarnation.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    lives: Vec<Incarnation>,
    gaps: Vec<(Id, Id)>,
}

/// One incarnation. Ids mean the same as long as it lasts.
#[derive(Debug, Default)]
pub(super) struct Incarnation {
    /// Nothing up to here is kept.
    base: Id,
    /// Whether every id behind `base` must be seen.
    from_the_start: bool,
    /// The message of each id behind `base`, plus one; 0 for an id that was not shown.
    tags: Vec<u32>,
    /// The cursor is here at least: the confirmation was answered.
    confirmed: Id,
    /// The cursor is here at most: a confirmation was asked for.
    reach: Id,
}

/// What an id was before it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    New,
    Same,
    Other(Tag),
}

impl Mailbox {
    /// Everything up to `id` was read and confirmed before the run.
    pub(super) fn emptied(&mut self, id: Id) {
        self.lives = vec![Incarnation {
            base: id,
            from_the_start: true,
            confirmed: id,
            reach: id,
            ..Incarnation::default()
        }];
    }

    /// An incarnation, made when it is first spoken of.
    pub(super) fn life(&mut self, life: Life) -> &mut Incarnation {
        let at = usize::from(life.0);
        while self.lives.len() <= at {
            let (base, reach) = self
                .lives
                .last()
                .map_or_else(Default::default, |last| (last.confirmed, last.reach));
            self.lives.push(Incarnation { base, reach, ..Incarnation::default() });
        }
        self.lives.get_mut(at).unwrap_or_else(|| unreachable!("it was just made"))
    }

    pub(super) fn announce(&mut self, from: Id, to: Id) {
        self.gaps.push((from, to));
    }

    /// Ids that nobody was shown and that no gap was announced for, in front of one that somebody was shown.
    pub(super) fn hole(&self) -> Option<(Id, Id)> {
        let announced = |id: Id| self.gaps.iter().any(|&(from, to)| (from..=to).contains(&id));
        self.lives
            .iter()
            .flat_map(Incarnation::unseen)
            .find(|&id| !announced(id))
            .map(|id| (id, id))
    }
}

impl Incarnation {
    /// Notes that `id` was shown to be `tag`.
    pub(super) fn show(&mut self, id: Id, tag: Tag) -> Before {
        let Some(place) = self.place(id) else { return Before::New };
        if self.tags.len() <= place {
            self.tags.resize(place + 1, 0);
        }
        let Some(slot) = self.tags.get_mut(place) else { return Before::New };
        let before = std::mem::replace(slot, tag.0.saturating_add(1));
        match before.checked_sub(1) {
            None => Before::New,
            Some(same) if same == tag.0 => Before::Same,
            Some(other) => Before::Other(Tag(other)),
        }
    }

    pub(super) fn confirm(&mut self, id: Id) {
        self.confirmed = self.confirmed.max(id);
    }

    pub(super) fn may_confirm(&mut self, id: Id) {
        self.reach = self.reach.max(id);
    }

    pub(super) fn confirmed(&self) -> Id {
        self.confirmed
    }

    pub(super) fn reach(&self) -> Id {
        self.reach
    }

    /// Whether it is known where it began, so that a jump at the start is one.
    pub(super) fn is_from_the_start(&self) -> bool {
        self.from_the_start
    }

    /// Where an id is kept. None for one that is below what is kept, or so far off that it is a fault anyway.
    fn place(&self, id: Id) -> Option<usize> {
        let place = usize::try_from(id.0.checked_sub(self.base.0)?.checked_sub(1)?).ok()?;
        (place <= self.tags.len() + FARTHEST_JUMP).then_some(place)
    }

    fn unseen(&self) -> impl Iterator<Item = Id> {
        let skipped = if self.from_the_start {
            0
        } else {
            self.tags.iter().take_while(|&&tag| tag == 0).count()
        };
        let numbered = (self.base.next().0..).zip(&self.tags).skip(skipped);
        numbered.filter(|&(_, &tag)| tag == 0).map(|(id, _)| Id(id))
    }
}

/// More than any mailbox holds undelivered; what lies farther off is not given room.
const FARTHEST_JUMP: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_message() {
        let mut mailbox = Mailbox::default();
        mailbox.emptied(Id(10));
        let life = mailbox.life(Life(0));
        assert_eq!(life.show(Id(11), Tag(0)), Before::New);
        assert_eq!(life.show(Id(11), Tag(0)), Before::Same);
        assert_eq!(life.show(Id(11), Tag(1)), Before::Other(Tag(0)));
        assert_eq!(life.show(Id::LAST, Tag(2)), Before::New);
        assert_eq!(mailbox.hole(), None);
    }

    #[test]
    fn what_nobody_was_shown_is_a_hole_unless_announced() {
        let mut mailbox = Mailbox::default();
        mailbox.emptied(Id(10));
        mailbox.life(Life(0)).show(Id(13), Tag(0));
        assert_eq!(mailbox.hole(), Some((Id(11), Id(11))));
        mailbox.announce(Id(11), Id(11));
        assert_eq!(mailbox.hole(), Some((Id(12), Id(12))));
        mailbox.announce(Id(12), Id(40));
        assert_eq!(mailbox.hole(), None);
    }

    #[test]
    fn another_incarnation_begins_anywhere_and_knows_nothing_confirmed() {
        let mut mailbox = Mailbox::default();
        mailbox.emptied(Id(0));
        mailbox.life(Life(0)).show(Id(1), Tag(0));
        mailbox.life(Life(0)).confirm(Id(1));
        let life = mailbox.life(Life(1));
        assert_eq!((life.confirmed(), life.is_from_the_start()), (Id(0), false));
        assert_eq!(life.show(Id(5), Tag(1)), Before::New);
        assert_eq!(mailbox.hole(), None);
        mailbox.life(Life(1)).show(Id(7), Tag(2));
        assert_eq!(mailbox.hole(), Some((Id(6), Id(6))));
    }
}
