//! The outcome of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::plan::Plan;
use crate::tally::Tally;

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    server: String,
    clients: usize,
    in_flight: usize,
    message_bytes: usize,
    accounts: usize,
    seconds: f64,
    /// Sends acknowledged in that time.
    sends: u64,
    sends_per_second: f64,
    latency_us: Latency,
    /// Refused sends by code.
    errors: BTreeMap<String, u64>,
    /// Connections lost by cause.
    lost_connections: BTreeMap<String, u64>,
    unanswered: u64,
    inbox_pages: u64,
    server_cpu_us_per_send: Option<f64>,
    server_cores: Option<f64>,
    own_cpu_us_per_send: f64,
    own_cores: f64,
}

/// From the write of a request to the read of its reply, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// CPU time of the server (when it is known) and of this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) server: Option<Duration>,
    pub(crate) own: Duration,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server.zip(before.server).map(|(now, then)| now.saturating_sub(then)),
            own: self.own.saturating_sub(before.own),
        }
    }
}

impl Outcome {
    pub(crate) fn new(plan: &Plan, elapsed: Duration, tally: &Tally, cpu: Cpu) -> Self {
        let seconds = elapsed.as_secs_f64();
        let sends = float(tally.sends());
        let micros_each = |cpu: Duration| ratio(cpu.as_secs_f64() * 1e6, sends);
        let cores = |cpu: Duration| ratio(cpu.as_secs_f64(), seconds);
        Self {
            server: plan.server.clone(),
            clients: plan.clients,
            in_flight: plan.in_flight,
            message_bytes: plan.body.len(),
            accounts: plan.accounts.len(),
            seconds,
            sends: tally.sends(),
            sends_per_second: ratio(sends, seconds),
            latency_us: Latency::new(tally),
            errors: tally.errors.clone(),
            lost_connections: tally.lost.clone(),
            unanswered: tally.unanswered,
            inbox_pages: tally.inbox_pages,
            server_cpu_us_per_send: cpu.server.map(micros_each),
            server_cores: cpu.server.map(cores),
            own_cpu_us_per_send: micros_each(cpu.own),
            own_cores: cores(cpu.own),
        }
    }

    /// Whether every request was answered, and every send acknowledged.
    pub(crate) fn is_clean(&self) -> bool {
        self.sends > 0
            && self.unanswered == 0
            && self.lost_connections.is_empty()
            && self.errors.is_empty()
    }

    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Latency {
    fn new(tally: &Tally) -> Self {
        let micros = |ns: u64| float(ns) / 1e3;
        let at = |quantile: f64| micros(tally.latency_ns.value_at_quantile(quantile));
        Self {
            mean: tally.latency_ns.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(tally.latency_ns.max()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} clients with {} in flight, {} accounts, {}-byte messages, {:.1} s",
            self.server,
            self.clients,
            self.in_flight,
            self.accounts,
            self.message_bytes,
            self.seconds
        )?;
        writeln!(
            f,
            "  sends        {:.0}/s acknowledged ({} in all)",
            self.sends_per_second, self.sends
        )?;
        writeln!(f, "  latency      {}", self.latency_us)?;
        if let (Some(micros), Some(cores)) = (self.server_cpu_us_per_send, self.server_cores) {
            writeln!(f, "  server CPU   {micros:.2} us a send ({cores:.2} cores)")?;
        }
        write!(
            f,
            "  own CPU      {:.2} us a send ({:.2} cores)",
            self.own_cpu_us_per_send, self.own_cores
        )?;
        if self.inbox_pages > 0 {
            write!(f, "\n  inbox pages  {} read to make room", self.inbox_pages)?;
        }
        self.failures(f)
    }
}

impl Outcome {
    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (cause, count) in &self.errors {
            write!(f, "\n  refused      {count} x {cause}")?;
            if cause == "inbox_full" && self.inbox_pages == 0 {
                write!(f, " (use more accounts, or --drain)")?;
            }
        }
        for (cause, count) in &self.lost_connections {
            write!(f, "\n  lost         {count} connections: {cause}")?;
        }
        if self.unanswered > 0 {
            write!(f, "\n  unanswered   {} requests", self.unanswered)?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p999),
            ("max", self.max),
        ];
        for (at, (name, us)) in points.into_iter().enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            if us < 1_000.0 {
                write!(f, "{gap}{name} {us:.0} us")?;
            } else {
                write!(f, "{gap}{name} {:.1} ms", us / 1e3)?;
            }
        }
        Ok(())
    }
}

/// Nothing out of nothing is nothing.
fn ratio(amount: f64, per: f64) -> f64 {
    if per > 0.0 { amount / per } else { 0.0 }
}

#[expect(
    clippy::as_conversions,
    reason = "counts far below 2^53, and no other way from u64 to f64"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn outcome(spoil: impl FnOnce(&mut Tally)) -> Outcome {
        let args = Args::try_parse_from(["chat-load", "-c", "3", "-k", "2"]).unwrap();
        let plan = Plan::new(&args.load).unwrap();
        let mut tally = Tally::new().unwrap();
        for ms in 1..=1000 {
            tally.sent_if(true, Duration::from_millis(ms));
        }
        spoil(&mut tally);
        let server = Some(Duration::from_millis(4));
        let cpu = Cpu { server, own: Duration::from_millis(2) };
        Outcome::new(&plan, Duration::from_secs(2), &tally, cpu)
    }

    #[test]
    fn the_figures_are_per_send_and_per_second() {
        let outcome = outcome(|_| ());
        assert!(outcome.is_clean());
        let json: serde_json::Value = serde_json::from_str(&outcome.to_json().unwrap()).unwrap();
        assert_eq!(json["sends_per_second"], 500.0);
        assert_eq!(json["server_cpu_us_per_send"], 4.0);
        assert_eq!(json["own_cpu_us_per_send"], 2.0);
        let p99 = json["latency_us"]["p99"].as_f64().unwrap();
        assert!((p99 / 990_000.0 - 1.0).abs() < 0.002, "{p99}");
        assert!(outcome.to_string().contains("500/s acknowledged (1000 in all)"), "{outcome}");
    }

    #[test]
    fn failures_are_named_and_spoil_the_run() {
        let outcome = outcome(|tally| {
            tally.refused("inbox_full".to_owned());
            tally.lost("reset".to_owned(), 4);
        });
        assert!(!outcome.is_clean());
        let text = outcome.to_string();
        assert!(text.contains("1 x inbox_full (use more accounts, or --drain)"), "{text}");
        assert!(text.contains("1 connections: reset"), "{text}");
        assert!(text.contains("4 requests"), "{text}");
    }
}
