//! [`Load`]: whether the store has time for work that can wait.

use std::time::Duration;

use tokio::time::Instant;

/// How much is asked of the store.
#[derive(Debug)]
pub(super) struct Load {
    since: Instant,
    /// Operations and messages since then.
    count: usize,
    busy: bool,
    /// It is busy if something is asked as often as this.
    often: Duration,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), count: 0, busy: false, often: OFTEN }
    }

    /// Busy until time passes.
    #[cfg(test)]
    pub(super) fn busy() -> Self {
        Self { busy: true, ..Self::new() }
    }

    /// Takes note of so many operations or messages.
    pub(super) fn add(&mut self, count: usize) {
        self.count += count;
    }

    /// Whether there lately was little time left for other work.
    pub(super) fn is_busy(&mut self) -> bool {
        let now = Instant::now();
        let span = now - self.since;
        if span >= SPAN {
            let count = u32::try_from(self.count).unwrap_or(u32::MAX);
            self.busy = self.often.saturating_mul(count) > span;
            (self.since, self.count) = (now, 0);
        }
        self.busy
    }
}

/// How often it is looked.
const SPAN: Duration = Duration::from_millis(100);
/// 10,000 messages a second take about a thirtieth of the time. Tests, which ask as fast as they can, are never busy.
const OFTEN: Duration = Duration::from_micros(if cfg!(test) { 0 } else { 100 });

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_busy_while_much_is_asked_and_not_after() {
        let mut load = Load { often: Duration::from_micros(100), ..Load::new() };
        let mut busy = async |count| {
            load.add(count);
            tokio::time::advance(SPAN).await;
            load.is_busy()
        };
        assert!(!busy(0).await);
        assert!(busy(1_001).await);
        assert!(busy(5_000).await);
        assert!(!busy(999).await);
    }
}
