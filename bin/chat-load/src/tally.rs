//! What happened: counts, latencies, errors by cause.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Counts of what a group of clients saw while it was measured, and of what went wrong at any time.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Latencies of acknowledged sends, in nanoseconds.
    pub(crate) latency_ns: Histogram<u64>,
    /// Refused sends, by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Connections that ended before their time, by cause.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Requests that were never answered.
    pub(crate) unanswered: u64,
    /// Replies to `inbox` (with `--drain`).
    pub(crate) inbox_pages: u64,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency_ns: Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS)?,
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            unanswered: 0,
            inbox_pages: 0,
        })
    }

    /// A send was acknowledged; it counts when that was in the measured window.
    pub(crate) fn sent_if(&mut self, measured: bool, latency: Duration) {
        if !measured {
            return;
        }
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record(ns);
    }

    /// A send was refused.
    pub(crate) fn refused(&mut self, cause: String) {
        *self.errors.entry(cause).or_default() += 1;
    }

    /// A connection ended with requests open.
    pub(crate) fn lost(&mut self, cause: String, unanswered: usize) {
        *self.lost.entry(cause).or_default() += 1;
        self.unanswered += u64::try_from(unanswered).unwrap_or(u64::MAX);
    }

    /// Adds another group's counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        // All histograms are made by `new`, with the same bounds.
        let _ = self.latency_ns.add(&other.latency_ns);
        for (cause, count) in &other.errors {
            *self.errors.entry(cause.clone()).or_default() += count;
        }
        for (cause, count) in &other.lost {
            *self.lost.entry(cause.clone()).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.inbox_pages += other.inbox_pages;
    }

    /// How many sends were acknowledged.
    pub(crate) fn sends(&self) -> u64 {
        self.latency_ns.len()
    }
}

/// Latencies beyond ten minutes count as ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;
/// To one part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds() {
        let mut all = Tally::new().unwrap();
        for ms in [1, 3] {
            let mut one = Tally::new().unwrap();
            one.sent_if(true, Duration::from_millis(ms));
            one.sent_if(false, Duration::from_millis(ms));
            one.refused("inbox_full".to_owned());
            one.lost("reset".to_owned(), 2);
            all.merge(&one);
        }
        assert_eq!((all.sends(), all.unanswered), (2, 4));
        assert_eq!(all.errors.get("inbox_full"), Some(&2));
        assert_eq!(all.lost.get("reset"), Some(&2));
        assert!(all.latency_ns.max() >= 2_990_000);
    }
}
