//! [`Report`]: what came of a run, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::arrival::Arrival;
use super::client::Causes;
use super::memory::{Aftermath, Memory};
use super::talk::Talk;

/// What came of a run. What is absent was not asked for, or not come to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) server: String,
    pub(super) clients: usize,
    /// One, or two if some came first.
    pub(super) arrivals: Vec<Arrival>,
    /// How long all arrivals took together.
    pub(super) answered_seconds: Option<f64>,
    /// Before anybody came.
    pub(super) before: Option<Memory>,
    /// With silent clients, after each arrival.
    pub(super) idle: Vec<Idle>,
    pub(super) talk: Option<Talk>,
    /// When all had talked, and were still there.
    pub(super) after_talk: Option<Memory>,
    /// When all had left.
    pub(super) aftermath: Option<Aftermath>,
    /// Clients that were not served, by cause.
    pub(super) errors: Causes,
    /// Bounds that were missed.
    pub(super) missed: Vec<String>,
    /// Ended early by a signal: what is absent was not come to, and no bound was looked at.
    pub(super) cut_short: bool,
}

/// The server's memory with so many silent clients.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Idle {
    pub(super) clients: usize,
    pub(super) memory: Memory,
    /// How much the proportional size grew since nobody was there, divided by the clients. `None` where it did not grow:
    /// what the process gave back meanwhile hides what they take.
    pub(super) bytes_per_client: Option<f64>,
}

impl Report {
    /// Whether all were served and all bounds kept.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.missed.is_empty()
    }

    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Idle {
    pub(super) fn new(clients: usize, before: Memory, memory: Memory) -> Self {
        let grown = memory.pss.checked_sub(before.pss).filter(|grown| *grown > 0);
        let clients_float = signed(clients.try_into().unwrap_or(u64::MAX));
        Self { clients, memory, bytes_per_client: grown.map(|grown| signed(grown) / clients_float) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clients at {}", self.clients, self.server)?;
        if let Some(memory) = &self.before {
            write!(f, "\n  before       {memory}")?;
        }
        let idle = self.idle.iter().map(Some).chain(std::iter::repeat(None));
        for (arrival, idle) in self.arrivals.iter().zip(idle) {
            write!(f, "\n  arrival      {arrival}")?;
            if let Some(idle) = idle {
                write!(f, "\n  silent       {idle}")?;
            }
        }
        if let Some(talk) = &self.talk {
            write!(f, "\n  talk         {talk}")?;
        }
        if let Some(memory) = &self.after_talk {
            write!(f, "\n  after talk   {memory}")?;
        }
        if let Some(after) = &self.aftermath {
            write!(f, "\n  all gone     {after}")?;
        }
        if self.cut_short {
            write!(
                f,
                "\ncut short: what is not told here was not come to, and no bound was looked at"
            )?;
        }
        for (cause, count) in &self.errors {
            write!(f, "\nnot served: {count} x {cause}")?;
        }
        for missed in &self.missed {
            write!(f, "\nmissed: {missed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, seconds, connect_ms, answer_ms, longest_pause_ms } = self;
        write!(
            f,
            "{clients} answered in {seconds:.2} s; connected after {:.1} ms (p50), {:.1} (p99), {:.1} (max), \
             answered after {:.1}, {:.1}, {:.1}; longest pause {longest_pause_ms:.1} ms",
            connect_ms.p50,
            connect_ms.p99,
            connect_ms.max,
            answer_ms.p50,
            answer_ms.p99,
            answer_ms.max
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PSS {:.1} MB, RSS {:.1} MB", megabytes(self.pss), megabytes(self.rss))
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, memory, bytes_per_client } = self;
        write!(f, "{clients}: {memory}; ")?;
        match bytes_per_client {
            Some(bytes) => write!(f, "{bytes:.0} bytes a client"),
            None => f.write_str("bytes a client cannot be told, as memory did not grow"),
        }
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = &self.per_client;
        write!(
            f,
            "{:.0} messages/s for {:.1} s; one client {:.2}/s (min), {:.2} (median), {:.2} (max): fairness {:.2}; \
             longest wait {:.0} ms",
            self.answered_per_second,
            self.seconds,
            rates.min,
            rates.median,
            rates.max,
            self.fairness,
            self.longest_wait_ms
        )
    }
}

impl fmt::Display for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed_rss, back_after_seconds, followed_seconds, memory } = self;
        write!(
            f,
            "after {followed_seconds:.0} s {memory}; RSS below {:.1} MB ",
            megabytes(*allowed_rss)
        )?;
        match back_after_seconds {
            Some(seconds) => write!(f, "after {seconds:.1} s"),
            None => f.write_str("not yet"),
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    signed(bytes) / 1e6
}

/// Sizes of memory and numbers of clients lie far below what a float counts exactly.
#[expect(clippy::as_conversions, reason = "there is no other conversion, and none is exact")]
fn signed(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::super::arrival::Waits;
    use super::super::talk::Rates;
    use super::*;
    use crate::reports::documented::assert_documented;

    #[test]
    fn every_key_is_documented() {
        let memory = Memory { pss: 1, rss: 2 };
        let waits = Waits { p50: 1.0, p99: 1.0, max: 1.0 };
        let arrival = Arrival {
            clients: 1,
            seconds: 1.0,
            connect_ms: waits,
            answer_ms: waits,
            longest_pause_ms: 1.0,
        };
        let talk = Talk {
            seconds: 1.0,
            answered: 1,
            answered_per_second: 1.0,
            per_client: Rates { min: 1.0, median: 1.0, max: 1.0 },
            fairness: 1.0,
            longest_wait_ms: 1.0,
        };
        let aftermath =
            Aftermath { allowed_rss: 1, back_after_seconds: None, followed_seconds: 1.0, memory };
        let report = Report {
            arrivals: vec![arrival],
            before: Some(memory),
            idle: vec![Idle::new(1, memory, memory)],
            talk: Some(talk),
            after_talk: Some(memory),
            aftermath: Some(aftermath),
            ..Report::default()
        };
        let json = serde_json::to_value(report).unwrap();
        assert_documented("A crowd", &json, &["errors"]);
    }

    #[test]
    fn what_a_client_costs_is_the_growth() {
        let memory = |pss| Memory { pss, rss: 0 };
        let grown = Idle::new(500, memory(1_000_000), memory(2_000_000));
        assert_eq!(grown.bytes_per_client, Some(2000.0));
        for less in [400, 500] {
            let idle = Idle::new(10, memory(500), memory(less));
            assert_eq!(idle.bytes_per_client, None);
            assert!(idle.to_string().ends_with("cannot be told, as memory did not grow"), "{idle}");
        }
    }

    #[test]
    fn a_missed_bound_is_not_clean() {
        let mut report = Report { clients: 3, server: "here:1".to_owned(), ..Report::default() };
        assert!(report.is_clean());
        report.missed.push("fairness: 0.100, at least 0.33 wanted".to_owned());
        assert!(!report.is_clean());
        assert_eq!(
            report.to_string(),
            "3 clients at here:1\nmissed: fairness: 0.100, at least 0.33 wanted"
        );
    }
}
