//! What a run had to keep to and did not.

use super::args::BoundArgs;
use super::report::{Idle, Report};

/// A sentence for each bound that was missed. What was not measured, as the run ended before, was missed too.
pub(super) fn missed(bounds: &BoundArgs, report: &Report) -> Vec<String> {
    let arrivals = || report.arrivals.iter();
    let pause = arrivals().map(|arrival| arrival.longest_pause_ms / 1e3).reduce(f64::max);
    let back = report.aftermath.as_ref().and_then(|after| after.back_after_seconds);
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let checks = [
        at_most(
            "seconds until all were answered",
            bounds.answered_within.map(seconds),
            report.answered_seconds,
        ),
        at_most("longest pause in seconds", bounds.longest_pause.map(seconds), pause),
        bytes_at_most(bounds.bytes_per_client, &report.idle),
        at_least("fairness", bounds.fairness, report.talk.as_ref().map(|talk| talk.fairness)),
        at_most("seconds until memory was back", bounds.back_within.map(seconds), back),
    ];
    checks.into_iter().flatten().collect()
}

/// Each of the figures is held to it; one that cannot be told keeps no bound.
fn bytes_at_most(bound: Option<f64>, idle: &[Idle]) -> Option<String> {
    if idle.iter().any(|idle| idle.bytes_per_client.is_none()) {
        return bound.map(|bound| {
            format!(
                "bytes per client: cannot be told, as memory did not grow (allowed {bound}): \
                 use more clients, or a longer --settle"
            )
        });
    }
    let most = idle.iter().filter_map(|idle| idle.bytes_per_client).reduce(f64::max);
    at_most("bytes per client", bound, most)
}

fn at_most(what: &str, bound: Option<f64>, value: Option<f64>) -> Option<String> {
    let bound = bound?;
    let kept = value.is_some_and(|value| value <= bound);
    (!kept).then(|| format!("{what}: {}, allowed {bound}", told(value)))
}

fn at_least(what: &str, bound: Option<f64>, value: Option<f64>) -> Option<String> {
    let bound = bound?;
    let kept = value.is_some_and(|value| value >= bound);
    (!kept).then(|| format!("{what}: {}, at least {bound} wanted", told(value)))
}

fn told(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::memory::Memory;

    #[test]
    fn memory_that_did_not_grow_keeps_no_bound() {
        let idle = |pss| Idle::new(10, Memory { pss: 500, rss: 0 }, Memory { pss, rss: 0 });
        assert_eq!(bytes_at_most(Some(9.0), &[idle(510), idle(590)]), None);
        assert_eq!(bytes_at_most(None, &[idle(500)]), None);
        for shrunk in [&[idle(400)][..], &[idle(500)], &[idle(500), idle(510)]] {
            let missed = bytes_at_most(Some(9.0), shrunk).unwrap();
            assert!(missed.contains("cannot be told") && missed.contains("--settle"), "{missed}");
        }
        assert_eq!(bytes_at_most(Some(9.0), &[]).unwrap(), "bytes per client: never, allowed 9");
    }

    #[test]
    fn a_bound_is_kept_up_to_itself_and_by_nothing_that_was_not_measured() {
        assert_eq!(at_most("x", Some(2.0), Some(2.0)), None);
        assert_eq!(at_least("x", Some(2.0), Some(2.0)), None);
        assert_eq!(at_most("x", None, Some(9.0)), None);
        assert_eq!(at_most("x", Some(2.0), Some(2.5)).unwrap(), "x: 2.500, allowed 2");
        assert_eq!(at_most("x", Some(2.0), None).unwrap(), "x: never, allowed 2");
        assert_eq!(at_least("x", Some(2.0), Some(1.0)).unwrap(), "x: 1.000, at least 2 wanted");
        assert!(at_least("x", Some(2.0), Some(f64::NAN)).is_some());
    }
}
