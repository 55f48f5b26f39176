//! [`Pacing`]: when one client begins its next operation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::schedule::Turns;
use crate::span::TimeSpan;

/// When a client's next operation may begin.
#[derive(Debug)]
pub(crate) enum Pacing {
    /// As soon as one is answered.
    Closed,
    /// Some time after one was answered; each place in flight thinks for itself.
    Thinking { time: TimeSpan, ready: BinaryHeap<Reverse<Instant>> },
    /// When the schedule says so.
    Open(Turns),
}

impl Pacing {
    /// Think time, with a first pause for each place in flight.
    pub(crate) fn thinking(
        time: TimeSpan,
        in_flight: usize,
        now: Instant,
        random: &mut Rng,
    ) -> Self {
        let ready = (0..in_flight).map(|_| Reverse(now + time.pick(random).mul_f64(random.f64())));
        Self::Thinking { time, ready: ready.collect() }
    }

    /// When the next operation counts as begun, if it may begin now.
    pub(crate) fn ready(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed => Some(now),
            Self::Thinking { ready, .. } => {
                ready.peek().is_some_and(|Reverse(at)| *at <= now).then_some(now)
            }
            Self::Open(turns) => Some(turns.due()).filter(|due| *due <= now),
        }
    }

    /// The operation that was ready has begun.
    pub(crate) fn begin(&mut self) {
        match self {
            Self::Closed => {}
            Self::Thinking { ready, .. } => drop(ready.pop()),
            Self::Open(turns) => turns.advance(),
        }
    }

    /// An operation has ended.
    pub(crate) fn ended(&mut self, now: Instant, random: &mut Rng) {
        if let Self::Thinking { time, ready } = self {
            ready.push(Reverse(now + time.pick(random)));
        }
    }

    /// Until when to sleep if no reply comes; `None` for those who are woken.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        match self {
            Self::Thinking { ready, .. } => ready.peek().map(|Reverse(at)| *at),
            Self::Closed | Self::Open(_) => None,
        }
    }

    /// Whether nothing may begin any more: time is up, and, in an open loop, what was due before has begun, or is so
    /// late that it never will.
    pub(crate) fn is_over(&self, now: Instant, end: Option<Instant>) -> bool {
        end.is_some_and(|end| now >= end && (now >= end + GRACE || self.not_started(end) == 0))
    }

    /// Operations due before `end` that did not begin.
    pub(crate) fn not_started(&self, end: Instant) -> u64 {
        if let Self::Open(turns) = self { turns.not_started(end) } else { 0 }
    }
}

/// What is due at the very end may begin this much later: some wake-ups of a busy machine.
const GRACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    #[test]
    fn a_closed_loop_is_always_ready() {
        let now = Instant::now();
        assert_eq!((Pacing::Closed.ready(now), Pacing::Closed.alarm()), (Some(now), None));
    }

    #[test]
    fn an_open_loop_counts_from_when_an_operation_was_due() {
        let start = Instant::now();
        let mut pacing = Pacing::Open(Turns::new(Schedule::new(start, 10.0), 1, 2));
        assert_eq!(pacing.ready(start), None);
        let late = start + Duration::from_secs(1);
        for due in [100, 300, 500, 700, 900] {
            assert_eq!(pacing.ready(late), Some(start + Duration::from_millis(due)));
            pacing.begin();
        }
        assert_eq!(pacing.ready(late), None);
    }

    #[test]
    fn an_open_loop_is_over_when_all_that_was_due_has_begun_or_is_too_late() {
        let start = Instant::now();
        let mut pacing = Pacing::Open(Turns::new(Schedule::new(start, 10.0), 0, 1));
        let end = start + Duration::from_millis(150);
        pacing.begin();
        assert!(!pacing.is_over(start, Some(end)) && !pacing.is_over(end, Some(end)));
        assert!(pacing.is_over(end + GRACE, Some(end)) && !pacing.is_over(end + GRACE, None));
        pacing.begin();
        assert!(!pacing.is_over(start, Some(end)) && pacing.is_over(end, Some(end)));
        assert!(Pacing::Closed.is_over(end, Some(end)));
    }

    #[test]
    fn each_place_in_flight_thinks_for_itself() {
        let (now, mut random) = (Instant::now(), Rng::with_seed(2));
        let time = crate::span::times("2").unwrap();
        let mut pacing = Pacing::thinking(time, 2, now, &mut random);
        let later = now + Duration::from_secs(2);
        assert_eq!(pacing.ready(later), Some(later));
        pacing.begin();
        pacing.begin();
        assert_eq!((pacing.ready(later), pacing.alarm()), (None, None));
        pacing.ended(later, &mut random);
        assert_eq!(pacing.alarm(), Some(later + Duration::from_secs(2)));
        assert_eq!(pacing.ready(later), None);
    }
}
