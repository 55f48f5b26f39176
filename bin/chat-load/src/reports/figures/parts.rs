//! The figures that stand together: of a kind of operation, of logging in, of memory, of an interval.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::outcome::{Interval, Operations, Outcome, ServerSample, Sparse, histogram};
use crate::reports::units::{float, ratio};

/// In microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    #[serde(rename = "p99.99")]
    pub(crate) p9999: f64,
    pub(crate) max: f64,
}

/// Operations of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct KindFigures {
    pub(crate) offered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) per_second: f64,
    /// `null` where none is measured.
    pub(crate) latency_us: Option<Latency>,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Connecting and logging in, before anything was measured.
#[derive(Debug, Serialize)]
pub(crate) struct SetupFigures {
    pub(crate) seconds: f64,
    /// Of what `logins` is the number: `login`, `session` with --tokens, or `connection` where nobody logs in.
    pub(crate) what: &'static str,
    pub(crate) logins: u64,
    pub(crate) login_latency_us: Option<Latency>,
}

/// Resident memory of the server's process, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// `pss` (shared pages divided among those who share them), or `rss` where the system does not show that.
    pub(crate) measure: &'static str,
    pub(crate) start: u64,
    pub(crate) peak: u64,
    pub(crate) end: u64,
}

/// A stretch of the measured time.
#[derive(Debug, Serialize)]
pub(crate) struct IntervalFigures {
    /// In seconds since measuring began.
    pub(crate) start: f64,
    pub(crate) seconds: f64,
    pub(crate) kinds: BTreeMap<&'static str, IntervalKind>,
}

/// Operations of one kind in one interval. Latencies are `null` where nothing was acknowledged.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct IntervalKind {
    pub(crate) offered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
}

impl Latency {
    /// Of a histogram of nanoseconds; `None` of an empty one.
    pub(crate) fn of(latency_ns: &Histogram<u64>) -> Option<Self> {
        if latency_ns.is_empty() {
            return None;
        }
        let micros = |ns: u64| float(ns) / 1e3;
        let at = |quantile: f64| micros(latency_ns.value_at_quantile(quantile));
        Some(Self {
            mean: latency_ns.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(latency_ns.max()),
        })
    }
}

impl KindFigures {
    pub(super) fn of(operations: &Operations, seconds: f64) -> Self {
        Self {
            offered: operations.offered,
            acknowledged: operations.acknowledged,
            per_second: ratio(float(operations.acknowledged), seconds),
            latency_us: Latency::of(&operations.latency_ns),
            errors: operations.errors.clone(),
        }
    }

    /// Whether some were done, but none of those that were due in the measured time.
    pub(crate) fn has_no_latency(&self) -> bool {
        self.acknowledged > 0 && self.latency_us.is_none()
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl SetupFigures {
    pub(super) fn of(outcome: &Outcome) -> Self {
        Self {
            seconds: outcome.setup.elapsed.as_secs_f64(),
            what: outcome.setup.what,
            logins: outcome.setup.logins.len(),
            login_latency_us: Latency::of(&outcome.setup.logins),
        }
    }
}

impl Memory {
    pub(super) fn of(samples: &[ServerSample]) -> Option<Self> {
        let all = |measure: fn(&ServerSample) -> Option<u64>| {
            samples.iter().map(measure).collect::<Option<Vec<_>>>()
        };
        let (measure, values) = match all(|sample| sample.pss_bytes) {
            Some(pss) => ("pss", pss),
            None => ("rss", all(|sample| sample.rss_bytes)?),
        };
        let (start, end) = (*values.first()?, *values.last()?);
        Some(Self { measure, start, peak: *values.iter().max()?, end })
    }
}

impl IntervalFigures {
    pub(super) fn of(interval: &Interval) -> Self {
        let kinds = interval.kinds.iter().filter_map(|(kind, operations)| {
            let figures = IntervalKind {
                offered: operations.offered,
                acknowledged: operations.acknowledged,
                refused: operations.refused,
                ..IntervalKind::latencies(&operations.latency_ns)
            };
            let is_used = figures.offered + figures.acknowledged + figures.refused > 0;
            is_used.then_some((kind.name(), figures))
        });
        Self {
            start: interval.start.as_secs_f64(),
            seconds: interval.length.as_secs_f64(),
            kinds: kinds.collect(),
        }
    }
}

impl IntervalKind {
    fn latencies(latency_ns: &Sparse) -> Self {
        let mut full = None;
        if latency_ns.len() > 0 {
            full = histogram().ok();
        }
        if let Some(full) = &mut full {
            latency_ns.add_to(full);
        }
        let latency = full.as_ref().and_then(Latency::of);
        Self {
            offered: 0,
            acknowledged: 0,
            refused: 0,
            p50_us: latency.map(|latency| latency.p50),
            p99_us: latency.map(|latency| latency.p99),
            max_us: latency.map(|latency| latency.max),
        }
    }
}
