//! [`Calm`]: after a busy time, memory that only a busy store has use for goes back to the system.

use std::time::Duration;

use tokio::time::Instant;

use super::log::{Log, LogError};
use super::{Engine, State};

/// How much was asked of the store lately, and since it last gave memory back.
#[derive(Debug)]
pub(super) struct Calm {
    since: Instant,
    /// Operations and messages since then.
    asked: usize,
    /// Whether little was asked in the span before.
    quiet: bool,
    /// Operations and messages since memory was given back.
    unrested: usize,
    /// The most that was asked in a span since then.
    busiest: usize,
}

impl Calm {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), asked: 0, quiet: false, unrested: 0, busiest: 0 }
    }

    /// Takes note of so many operations or messages. Much ends the quiet at once: in the first seconds of the next storm caches
    /// would be emptied over and over again.
    pub(super) fn add(&mut self, count: usize) {
        self.asked = self.asked.saturating_add(count);
        self.unrested = self.unrested.saturating_add(count);
        self.quiet &= self.asked <= self.little();
    }

    /// Looks at the time. Once a step: all its parts are to see the same, or memory would be given back before the flush
    /// that comes first, and nothing would bring that about any more.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if now - self.since >= SPAN {
            self.busiest = self.busiest.max(self.asked);
            self.quiet = self.asked <= self.little();
            (self.since, self.asked) = (now, 0);
        }
    }

    /// How much in a span is little beside the storm: everyday requests that go on must not keep its memory.
    fn little(&self) -> usize {
        LITTLE.max(self.busiest / STORM)
    }

    fn rested(&mut self) {
        (self.unrested, self.busiest) = (0, 0);
    }

    /// Whether a busy time is over, until memory was given back.
    pub(super) fn follows_a_storm(&self) -> bool {
        self.quiet && self.unrested >= MUCH
    }
}

impl<L: Log> Engine<L> {
    /// Gives memory back once a busy time is over, when there is nothing else to do: what the stretch had in memory was
    /// written behind by then. What is left are caches, mailboxes that nobody uses any more, and tables that grew.
    pub(super) fn calm_step(&mut self) -> Result<(), LogError> {
        if !self.calm.follows_a_storm() {
            return Ok(());
        }
        self.calm.rested();
        self.presence.shrink();
        self.attendance.shrink();
        if let Some(State { cache, mailboxes, recent, sessions, .. }) = &mut self.state {
            cache.clear();
            mailboxes.give_back();
            recent.clear();
            sessions.noted().shrink_to_fit();
        }
        self.log.release_memory()
    }
}

/// How often it is looked: longer than most programs pause between two bursts, and memory is given back soon.
const SPAN: Duration = Duration::from_secs(3);
/// So few in a span are no load: 100 a second.
const LITTLE: usize = 300;
/// A storm is so many times as much as what goes on after it.
const STORM: usize = 20;
/// So many may have filled caches.
const MUCH: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calm_comes_once_after_each_storm() {
        let mut calm = Calm::new();
        let after = async |calm: &mut Calm, asked| {
            calm.add(asked);
            tokio::time::advance(SPAN).await;
            calm.look();
            calm.follows_a_storm()
        };
        assert!(!after(&mut calm, 0).await, "nothing was asked");
        assert!(!after(&mut calm, MUCH).await, "it was busy just now");
        assert!(after(&mut calm, LITTLE).await);
        assert!(after(&mut calm, 0).await, "until it is done");
        calm.rested();
        assert!(!after(&mut calm, LITTLE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_every_day_is_calm_after_a_storm_and_no_storm_itself() {
        let mut calm = Calm::new();
        let mut follows = async |asked| {
            calm.add(asked);
            tokio::time::advance(SPAN).await;
            calm.look();
            let follows = calm.follows_a_storm();
            if follows {
                calm.rested();
            }
            follows
        };
        let everyday = 1_000;
        let storm = everyday * STORM;
        let mut days = Vec::new();
        for asked in
            [storm, everyday, everyday, everyday, storm - 1].into_iter().chain([everyday; 20])
        {
            days.push(follows(asked).await);
        }
        assert_eq!(days.iter().filter(|follows| **follows).count(), 1, "{days:?}");
        assert!(days[1]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_storm_ends_the_calm_at_once() {
        let mut calm = Calm::new();
        calm.add(MUCH);
        for _ in 0..2 {
            tokio::time::advance(SPAN).await;
            calm.look();
        }
        assert!(calm.follows_a_storm());
        calm.add(calm.little());
        assert!(calm.follows_a_storm());
        calm.add(1);
        assert!(!calm.follows_a_storm());
    }
}
