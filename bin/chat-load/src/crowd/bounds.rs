//! What a run had to keep to and did not.

use super::args::BoundArgs;
use super::report::Report;

/// A sentence for each bound that was missed. What was not measured, as the run ended before, was missed too.
pub(super) fn missed(bounds: &BoundArgs, report: &Report) -> Vec<String> {
    let arrivals = || report.arrivals.iter();
    let pause = arrivals().map(|arrival| arrival.longest_pause_ms / 1e3).reduce(f64::max);
    let bytes = report.idle.iter().map(|idle| idle.bytes_per_client).reduce(f64::max);
    let back = report.aftermath.as_ref().and_then(|after| after.back_after_seconds);
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let checks = [
        at_most(
            "seconds until all were answered",
            bounds.answered_within.map(seconds),
            report.answered_seconds,
        ),
        at_most("longest pause in seconds", bounds.longest_pause.map(seconds), pause),
        at_most("bytes per client", bounds.bytes_per_client, bytes),
        at_least("fairness", bounds.fairness, report.talk.as_ref().map(|talk| talk.fairness)),
        at_most("seconds until memory was back", bounds.back_within.map(seconds), back),
    ];
    checks.into_iter().flatten().collect()
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
