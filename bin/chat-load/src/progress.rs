//! The line that tells how a run goes, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use crate::outcome::{Kind, Operations, PerKind, histogram};

/// Writes over its line once a second; does nothing when stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    /// How long will be measured, if that is known.
    whole: Option<Duration>,
    before: u64,
    at: Duration,
}

impl Progress {
    pub(crate) fn new(whole: Option<Duration>) -> Self {
        Self { is_shown: stderr().is_terminal(), whole, before: 0, at: Duration::ZERO }
    }

    /// A word about what is going on before anything is measured.
    pub(crate) fn say(&self, text: &str) {
        self.write(text);
    }

    /// `now` after measuring began: what was acknowledged in all, what in the last second, and what went wrong in all.
    pub(crate) fn show(
        &mut self,
        now: Duration,
        acknowledged: u64,
        latest: &PerKind<Operations>,
        errors: u64,
    ) {
        if !self.is_shown {
            return;
        }
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        let rate = per_second(acknowledged.saturating_sub(self.before), seconds);
        self.write(&line(now, self.whole, rate, p99_ms(latest), errors));
        (self.before, self.at) = (acknowledged, now);
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&self) {
        self.write("");
    }

    fn write(&self, text: &str) {
        if self.is_shown {
            // Whoever closed stderr does not want to know.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        }
    }
}

fn line(
    now: Duration,
    whole: Option<Duration>,
    rate: f64,
    p99_ms: Option<f64>,
    errors: u64,
) -> String {
    let of = whole.map(|whole| format!(" of {:.0}", whole.as_secs_f64())).unwrap_or_default();
    let p99 = p99_ms.map(|ms| format!("   p99 {ms:.2} ms")).unwrap_or_default();
    format!("{:.0}{of} s   {rate:.0}/s{p99}   {errors} errors", now.as_secs_f64())
}

/// Of all that was asked for; pushes are its consequence.
fn p99_ms(latest: &PerKind<Operations>) -> Option<f64> {
    let mut all = histogram().ok()?;
    for (_, operations) in latest.iter().filter(|(kind, _)| *kind != Kind::Push) {
        all.add(&operations.latency_ns).ok()?;
    }
    let micros = Duration::from_nanos(all.value_at_quantile(0.99)).as_secs_f64();
    (!all.is_empty()).then_some(micros * 1e3)
}

#[expect(clippy::as_conversions, reason = "counts far below 2^53")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let (now, whole) = (Duration::from_secs(12), Some(Duration::from_secs(60)));
        let text = line(now, whole, 48_213.4, Some(1.234), 3);
        assert_eq!(text, "12 of 60 s   48213/s   p99 1.23 ms   3 errors");
        assert_eq!(line(now, None, 0.0, None, 0), "12 s   0/s   0 errors");
    }

    #[test]
    fn pushes_do_not_count_as_answers() {
        let mut kinds = PerKind::try_new(|_| Operations::new()).unwrap();
        kinds.get_mut(Kind::Push).latency_ns.record(5_000_000).unwrap();
        assert_eq!(p99_ms(&kinds), None);
        kinds.get_mut(Kind::Post).latency_ns.record(2_000_000).unwrap();
        assert!((p99_ms(&kinds).unwrap() - 2.0).abs() < 0.01);
    }
}
