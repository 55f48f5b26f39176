//! [`Deliveries`]: when a mailbox's messages were delivered, as far as the disk does not have it. Pure state.

use std::time::Duration;

use crate::{MessageId, Timestamp};

/// The newest moves of a mailbox's cursor: everything up to an id was delivered at a time, what an entry before it does
/// not hold. At most one entry a second; what was delivered within it counts as delivered when it began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries(Vec<(MessageId, Timestamp)>);

impl Deliveries {
    /// The cursor moves up to an id.
    pub(crate) fn note(&mut self, upto: MessageId, now: Timestamp) {
        match self.0.last_mut() {
            Some((last, began)) if distance(*began, now) < RESOLUTION => *last = upto,
            _ => self.0.push((upto, now)),
        }
    }

    /// When a message was delivered; of one that the cursor passed before all this, some later time.
    pub(crate) fn of(&self, id: MessageId) -> Option<Timestamp> {
        let at = self.0.partition_point(|(upto, _)| *upto < id);
        self.0.get(at).map(|(_, time)| *time)
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, Timestamp)> {
        self.0.iter().copied()
    }
}

/// A clock that was set back does not stretch an entry.
fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// How exactly the time of a delivery is known (`docs/protocol.md`, `status`).
const RESOLUTION: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(moves: &[(u64, i64)]) -> Deliveries {
        let mut deliveries = Deliveries::default();
        for (upto, ms) in moves {
            deliveries.note(MessageId::new(*upto), Timestamp::from_millis(*ms));
        }
        deliveries
    }

    fn of(deliveries: &Deliveries, id: u64) -> Option<i64> {
        deliveries.of(MessageId::new(id)).map(Timestamp::as_millis)
    }

    #[test]
    fn the_first_move_past_a_message_delivered_it() {
        let deliveries = noted(&[(3, 1_000), (5, 9_000)]);
        let times = [1, 3, 4, 5, 6].map(|id| of(&deliveries, id));
        assert_eq!(times, [Some(1_000), Some(1_000), Some(9_000), Some(9_000), None]);
    }

    #[test]
    fn there_is_one_entry_a_second() {
        let moves: Vec<_> = (0..100).map(|n| (n + 1, i64::try_from(n).unwrap() * 50)).collect();
        let deliveries = noted(&moves);
        assert_eq!(deliveries.iter().count(), 5);
        assert_eq!((of(&deliveries, 20), of(&deliveries, 21)), (Some(0), Some(1_000)));
    }

    #[test]
    fn a_clock_set_back_begins_another_entry() {
        let deliveries = noted(&[(1, 3_600_000), (2, 10), (3, 20), (4, 3_600_010)]);
        let times = [1, 2, 3, 4].map(|id| of(&deliveries, id));
        assert_eq!(times, [Some(3_600_000), Some(10), Some(10), Some(3_600_010)]);
    }
}
