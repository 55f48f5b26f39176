//! What is plotted: the charts of a run.

use hdrhistogram::Histogram;

use crate::outcome::{Interval, IntervalOperations, Kind, Outcome, ServerSample};
use crate::reports::chart::{Axis, Chart, Line, Scale};
use crate::reports::figures::Latency;
use crate::reports::units::{bytes, digits, float, micros, rate as per_second, ratio};

pub(crate) const RATE_NOTE: &str =
    "Operations acknowledged a second, and in an open loop those that were due.";
pub(crate) const LATENCY_NOTE: &str = "For each second: the middle one, the one that 99 of 100 did not exceed, and the slowest. Logarithmic.";
pub(crate) const PERCENTILES_NOTE: &str = "The share of operations that took at most so long; each step to the right is ten times as rare.";
pub(crate) const CPU_NOTE: &str = "Cores that the server's process kept busy.";
pub(crate) const MEMORY_NOTE: &str = "Resident memory of the server's process: RSS counts shared pages in full, PSS only its share of them.";
pub(crate) const WRITTEN_NOTE: &str =
    "What the server's process sent to storage, by its own count in the kernel.";

/// Acknowledged operations a second, of each kind and of all; what was due and what was refused, of all.
pub(crate) fn rate(outcome: &Outcome) -> Chart {
    let line = |name: &str, kinds: &[Kind], of: fn(&IntervalOperations) -> u64| {
        let point = |interval: &Interval| {
            let count = kinds.iter().map(|kind| of(interval.kinds.get(*kind))).sum();
            (middle(interval), ratio(float(count), interval.length.as_secs_f64()))
        };
        Line { name: name.to_owned(), points: outcome.intervals.iter().map(point).collect() }
    };
    let done = |operations: &IntervalOperations| operations.acknowledged;
    let used: Vec<_> = used(outcome).collect();
    let asked: Vec<_> = used.iter().copied().filter(|kind| *kind != Kind::Push).collect();
    let mut lines: Vec<_> = used.iter().map(|kind| line(kind.name(), &[*kind], done)).collect();
    if asked.len() > 1 {
        lines.push(line("all", &asked, done));
    }
    if outcome.plan.rate.is_some() {
        lines.push(line("due", &asked, |operations| operations.offered));
    }
    if asked.iter().any(|kind| !outcome.kinds.get(*kind).errors.is_empty()) {
        lines.push(line("refused", &asked, |operations| operations.refused));
    }
    over_time(outcome, "Operations a second", (Scale::Linear, per_second), lines)
}

/// p50, p99 and the maximum of each interval.
pub(crate) fn latency_over_time(outcome: &Outcome, kind: Kind) -> Chart {
    let latencies: Vec<_> = outcome
        .intervals
        .iter()
        .map(|interval| (middle(interval), latency(interval, kind)))
        .collect();
    let line = |name: &str, of: fn(Latency) -> f64| Line {
        name: name.to_owned(),
        points: latencies.iter().map(|(at, l)| (*at, l.map_or(f64::NAN, of))).collect(),
    };
    let lines = vec![line("p50", |l| l.p50), line("p99", |l| l.p99), line("max", |l| l.max)];
    over_time(outcome, title(kind), (Scale::Logarithmic, micros), lines)
}

/// Latency by share of operations, for each kind.
pub(crate) fn percentiles(outcome: &Outcome) -> Chart {
    let lines = used(outcome).map(|kind| Line {
        name: kind.name().to_owned(),
        points: curve(&outcome.kinds.get(kind).latency_ns),
    });
    Chart {
        title: "Latency by percentile",
        x: Axis::new(Scale::Nines, percent),
        y: Axis::new(Scale::Logarithmic, micros),
        lines: lines.collect(),
    }
}

/// Cores in use between two samples.
pub(crate) fn server_cpu(outcome: &Outcome) -> Chart {
    let cores = |sample: &ServerSample| Some(sample.cpu.as_secs_f64());
    let line = Line { name: "server".to_owned(), points: growth(&outcome.server, cores) };
    let format = |cores| format!("{} cores", digits(cores));
    over_time(outcome, "Server CPU", (Scale::Linear, format), vec![line])
}

pub(crate) fn server_memory(outcome: &Outcome) -> Chart {
    let line = |name: &str, of: fn(&ServerSample) -> Option<u64>| Line {
        name: name.to_owned(),
        points: outcome
            .server
            .iter()
            .filter_map(|sample| Some((sample.at.as_secs_f64(), float(of(sample)?))))
            .collect(),
    };
    let lines = [line("RSS", |sample| sample.rss_bytes), line("PSS", |sample| sample.pss_bytes)];
    let lines = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    over_time(outcome, "Server memory", (Scale::Linear, bytes), lines)
}

/// Bytes sent to storage a second.
pub(crate) fn server_written(outcome: &Outcome) -> Chart {
    let written = |sample: &ServerSample| sample.written_bytes.map(float);
    let line = Line { name: "written".to_owned(), points: growth(&outcome.server, written) };
    let format = |rate| format!("{}/s", bytes(rate));
    over_time(outcome, "Server writes", (Scale::Linear, format), vec![line])
}

/// Over the whole measured time, so that all such charts of a page can be compared.
fn over_time(
    outcome: &Outcome,
    title: &'static str,
    y: (Scale, fn(f64) -> String),
    lines: Vec<Line>,
) -> Chart {
    let seconds = Axis::new(Scale::Linear, |at| format!("{} s", digits(at)));
    let x = Axis { reaches: outcome.elapsed.as_secs_f64(), ..seconds };
    Chart { title, x, y: Axis::new(y.0, y.1), lines }
}

fn used(outcome: &Outcome) -> impl Iterator<Item = Kind> + '_ {
    let is_used = |kind: &Kind| outcome.kinds.get(*kind).has_any();
    Kind::ALL.into_iter().filter(is_used)
}

/// In seconds since measuring began.
fn middle(interval: &Interval) -> f64 {
    (interval.start + interval.length / 2).as_secs_f64()
}

fn latency(interval: &Interval, kind: Kind) -> Option<Latency> {
    let sparse = &interval.kinds.get(kind).latency_ns;
    let full = (sparse.len() > 0).then(|| sparse.to_histogram().ok())?;
    full.as_ref().and_then(Latency::of)
}

/// Up to the last percentile that a value stands for.
fn curve(latency_ns: &Histogram<u64>) -> Vec<(f64, f64)> {
    let rarest = 1.0 / float(latency_ns.len().max(1));
    std::iter::successors(Some(1.0), |rest| Some(rest * NEXT_REST))
        .take_while(|rest| *rest >= rarest * 0.999)
        .map(|rest| (1.0 - rest, float(latency_ns.value_at_quantile(1.0 - rest)) / 1e3))
        .filter(|_| !latency_ns.is_empty())
        .collect()
}

/// How fast a counter grew from each sample to the next.
fn growth(samples: &[ServerSample], of: impl Fn(&ServerSample) -> Option<f64>) -> Vec<(f64, f64)> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let steps = pairs.filter_map(|(from, to)| {
        let seconds = to.at.checked_sub(from.at)?.as_secs_f64();
        // The last one may follow at once, and says nothing then.
        (seconds > LEAST_SECONDS).then_some(())?;
        Some((to.at.as_secs_f64() - seconds / 2.0, ratio(of(to)? - of(from)?, seconds)))
    });
    steps.collect()
}

/// `99.9 %` of 0.999, with as many nines as there are.
fn percent(quantile: f64) -> String {
    let places = (-(1.0 - quantile).log10() - 2.0).max(0.0);
    let places: String = format!("{places:.0}");
    format!("{:.*} %", places.parse().unwrap_or_default(), quantile * 100.0)
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Send => "Latency of send",
        Kind::Post => "Latency of post",
        Kind::Inbox => "Latency of inbox",
        Kind::Login => "Latency of login",
        Kind::Reconnect => "Latency of reconnecting",
        Kind::Push => "Latency of a push",
    }
}

/// Twenty points for each further nine.
const NEXT_REST: f64 = 0.891_250_938_133_745_6;
/// A tenth of the time between samples: CPU time is counted in steps of 10 ms.
const LEAST_SECONDS: f64 = 0.1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reports::example::outcome;

    #[test]
    fn rates_are_a_second_whatever_the_interval() {
        let mut outcome = outcome(4);
        outcome.plan.rate = Some(500.0);
        let chart = rate(&outcome);
        let names: Vec<_> = chart.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["send", "due"]);
        assert_eq!(
            chart.lines[0].points,
            [(0.25, 500.0), (0.75, 500.0), (1.25, 500.0), (1.75, 500.0)]
        );
    }

    #[test]
    fn charts_over_time_end_alike() {
        let mut outcome = outcome(4);
        outcome.elapsed = Duration::from_secs(37);
        let charts =
            [rate(&outcome), latency_over_time(&outcome, Kind::Send), server_cpu(&outcome)];
        for svg in charts.map(|chart| chart.to_svg().unwrap()) {
            assert!(svg.contains(">40.0 s</text>"), "{svg}");
        }
        outcome.intervals.clear();
        assert!(rate(&outcome).to_svg().is_none(), "time alone is nothing to plot");
    }

    #[test]
    fn several_kinds_are_summed_up() {
        let mut outcome = outcome(4);
        let login = outcome.kinds.get_mut(Kind::Login);
        login.offered = 1;
        login.errors.insert("busy".to_owned(), 1);
        outcome.intervals[0].kinds.get_mut(Kind::Login).refused = 1;
        let chart = rate(&outcome);
        let names: Vec<_> = chart.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["send", "login", "all", "refused"]);
        assert_eq!(chart.lines[2].points[0], (0.25, 500.0));
        assert_eq!(chart.lines[3].points[0], (0.25, 2.0));
    }

    #[test]
    fn no_two_lines_of_the_fullest_chart_look_alike() {
        let mut outcome = outcome(4);
        outcome.plan.rate = Some(500.0);
        for kind in Kind::ALL {
            let operations = outcome.kinds.get_mut(kind);
            operations.offered = 1;
            operations.errors.insert("busy".to_owned(), 1);
        }
        let svg = rate(&outcome).to_svg().unwrap();
        let legend = svg.lines().filter(|line| line.contains("<line class=\"s"));
        let classes: Vec<_> = legend.map(|line| line.split('"').nth(1).unwrap()).collect();
        assert_eq!(classes, ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"]);
        // Its seven letters end within the 720 of the view box.
        let last = svg.rsplit_once("y=\"14\">refused<").unwrap().0.rsplit_once("x=\"").unwrap().1;
        assert!(last.trim_end_matches(['"', ' ']).parse::<f64>().unwrap() < 660.0, "{svg}");
    }

    #[test]
    fn the_curve_ends_where_the_values_do() {
        let chart = percentiles(&outcome(1));
        let points = &chart.lines[0].points;
        let last = points.last().unwrap();
        assert!((0.99..=0.9991).contains(&last.0), "{last:?}");
        assert!(points.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn counters_are_plotted_by_their_growth() {
        let mut outcome = outcome(1);
        let again = outcome.server[2];
        outcome.server.push(again);
        let cores = &server_cpu(&outcome).lines[0].points;
        assert_eq!(cores.len(), 2);
        assert!(cores.iter().all(|(_, cores)| (cores - 0.2).abs() < 1e-9), "{cores:?}");
        assert_eq!(server_written(&outcome).lines[0].points[0], (0.5, 4_096_000.0));
    }

    #[test]
    fn percentiles_have_as_many_nines_as_they_need() {
        let texts = [0.0, 0.9, 0.99, 0.999, 0.9999].map(percent);
        assert_eq!(texts, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
