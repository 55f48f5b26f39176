//! [`Backoff`]: how long to wait before the next try.

use std::time::Duration;

use crate::random::Source;

/// How long to wait before each try to reconnect: exponential backoff with full jitter. The wait is a random time between
/// zero and a bound that doubles from `first` to `longest`, so that the clients of a server that restarts do not all come
/// at once.
///
/// Default: 100 ms doubling to 30 s, without end. Once a connection has lasted for 10 s, the bound begins at `first` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: Option<u32>,
}

impl Backoff {
    /// Bounds that double from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: None }
    }

    /// Gives up after this many tries in a row. Default: never.
    #[must_use]
    pub const fn give_up_after(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// The wait before the try of that number, from 0; `None` to give up.
    pub(crate) fn delay(&self, attempt: u32, random: &Source) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return None;
        }
        let doubled = self.first.saturating_mul(2u32.saturating_pow(attempt));
        Some(random_up_to(doubled.min(self.longest), random.0.next_u64()))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

/// The fraction `random / 2^64` of `bound`. (A bound beyond 584 years counts as that.)
fn random_up_to(bound: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Random;

    struct Always(u64);

    impl Random for Always {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    fn delays(backoff: Backoff, random: u64) -> Vec<u128> {
        let source = Source(Arc::new(Always(random)));
        let delays = (0..12).map_while(|attempt| backoff.delay(attempt, &source));
        delays.map(|delay| delay.as_millis()).collect()
    }

    #[test]
    fn bounds_double_up_to_the_longest() {
        let half = delays(Backoff::default(), 1 << 63);
        assert_eq!(half[..5], [50, 100, 200, 400, 800]);
        assert_eq!(half[9..], [15_000, 15_000, 15_000]);
        assert!(delays(Backoff::default(), 0).iter().all(|delay| *delay == 0));
        assert_eq!(delays(Backoff::default(), u64::MAX)[11], 29_999);
    }

    #[test]
    fn gives_up_when_told_to() {
        assert_eq!(delays(Backoff::default().give_up_after(3), 0).len(), 3);
        assert!(delays(Backoff::default().give_up_after(0), 0).is_empty());
    }

    #[test]
    fn nothing_overflows() {
        let huge = Backoff::new(Duration::MAX, Duration::MAX);
        assert!(huge.delay(u32::MAX, &Source(Arc::new(Always(u64::MAX)))).is_some());
    }
}
