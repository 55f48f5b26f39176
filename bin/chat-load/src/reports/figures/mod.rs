//! The figures of a run, worked out once for the table, the page and the JSON.

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

pub(crate) use self::parts::{IntervalFigures, KindFigures, Latency, Memory, SetupFigures};
use crate::outcome::{Kind, Operations, Outcome, ServerSample};
use crate::reports::units::{float, ratio};
use crate::tally::add_causes;

/// What `--json` prints. Latencies are in microseconds and run from the intended start in an open loop.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) server: String,
    pub(crate) protocol: String,
    pub(crate) clients: usize,
    pub(crate) watchers: usize,
    pub(crate) in_flight: usize,
    pub(crate) threads: usize,
    /// Operations asked for a second; `null` in a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) mix: String,
    pub(crate) size: String,
    /// The size when all messages have the same.
    pub(crate) message_bytes: Option<u64>,
    pub(crate) recipients: String,
    pub(crate) accounts: usize,
    /// In seconds, as in `0.5..2`; empty without think time.
    pub(crate) think: String,
    pub(crate) ramp_seconds: f64,
    /// Connections closed and made anew a second.
    pub(crate) churn: f64,
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    /// Messages acknowledged in that time, by `send` and `post` together.
    pub(crate) sends: u64,
    pub(crate) sends_per_second: f64,
    /// Of messages; in an open loop of those that were due in that time. `null` without any.
    pub(crate) latency_us: Option<Latency>,
    /// Operations of every kind that were acknowledged.
    pub(crate) operations: u64,
    /// Refused operations of all kinds, by cause.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) lost_connections: BTreeMap<String, u64>,
    pub(crate) unanswered: u64,
    pub(crate) not_started: u64,
    pub(crate) missing_pushes: u64,
    /// Messages from before the run that watchers were pushed; no latency has them in it.
    pub(crate) old_pushes: u64,
    pub(crate) inbox_pages: u64,
    pub(crate) connections_made: u64,
    pub(crate) connections_churned: u64,
    /// How many `churn` asked for, warm-up and all.
    pub(crate) connections_churn_due: u64,
    pub(crate) server_cpu_us_per_send: Option<f64>,
    pub(crate) server_cpu_us_per_operation: Option<f64>,
    pub(crate) server_cores: Option<f64>,
    /// Bytes that the server sent to storage, for each message acknowledged.
    pub(crate) server_written_bytes_per_send: Option<f64>,
    pub(crate) server_memory: Option<Memory>,
    pub(crate) server_open_files: Option<u64>,
    /// Why the server could not be watched to the end.
    pub(crate) server_trouble: Option<String>,
    pub(crate) own_cpu_us_per_send: f64,
    pub(crate) own_cores: f64,
    /// Of this machine, left by everything that runs on it.
    pub(crate) machine_idle_cores: Option<f64>,
    /// Only those that occurred.
    pub(crate) kinds: BTreeMap<&'static str, KindFigures>,
    /// Ended early by a signal: the figures are of the time until then.
    pub(crate) cut_short: bool,
    /// Logging in was all there was to do.
    pub(crate) logins_only: bool,
    pub(crate) setup: SetupFigures,
    pub(crate) intervals: Vec<IntervalFigures>,
}

impl Figures {
    pub(crate) fn new(outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let sends = sends(outcome);
        let answered = outcome.kinds.iter().filter(|(kind, _)| *kind != Kind::Push);
        let operations = answered.map(|(_, operations)| operations.acknowledged).sum();
        let cpu = used(&outcome.server, |sample| Some(micros(sample.cpu)));
        let written = used(&outcome.server, |sample| sample.written_bytes.map(float));
        // Of a server that ended, the last second is not known.
        let is_whole = outcome.server_trouble.is_none();
        let cost = |of: Option<f64>, count: u64| {
            of.filter(|_| is_whole && count > 0).map(|of| ratio(of, float(count)))
        };
        let plan = &outcome.plan;
        Self {
            server: plan.server.clone(),
            protocol: plan.protocol.clone(),
            clients: plan.clients,
            watchers: plan.watchers,
            in_flight: plan.in_flight,
            threads: plan.threads,
            rate: plan.rate,
            mix: plan.mix.clone(),
            size: plan.size.clone(),
            message_bytes: plan.size.parse().ok(),
            recipients: plan.recipients.clone(),
            accounts: plan.accounts,
            think: plan.think.clone(),
            ramp_seconds: plan.ramp.as_secs_f64(),
            churn: plan.churn,
            seed: plan.seed,
            seconds,
            sends,
            sends_per_second: ratio(float(sends), seconds),
            latency_us: Latency::of(&messages(outcome)),
            operations,
            errors: errors(outcome),
            lost_connections: outcome.connections.lost.clone(),
            unanswered: outcome.unanswered,
            not_started: outcome.not_started,
            missing_pushes: outcome.missing_pushes,
            old_pushes: outcome.old_pushes,
            inbox_pages: outcome.kinds.get(Kind::Inbox).acknowledged,
            connections_made: outcome.connections.made,
            connections_churned: outcome.connections.churned,
            connections_churn_due: outcome.connections.churn_due,
            server_cpu_us_per_send: cost(cpu, sends),
            server_cpu_us_per_operation: cost(cpu, operations),
            server_cores: cpu.map(|us| ratio(us, watched_us(&outcome.server))),
            server_written_bytes_per_send: cost(written, sends),
            server_memory: Memory::of(&outcome.server),
            server_open_files: outcome.server.iter().filter_map(|sample| sample.open_files).max(),
            server_trouble: outcome.server_trouble.clone(),
            own_cpu_us_per_send: ratio(micros(outcome.own_cpu), float(sends)),
            own_cores: ratio(outcome.own_cpu.as_secs_f64(), seconds),
            machine_idle_cores: outcome.machine_idle.map(|idle| ratio(idle.as_secs_f64(), seconds)),
            kinds: kinds(outcome, seconds),
            cut_short: outcome.is_cut_short,
            logins_only: outcome.logins_only,
            setup: SetupFigures::of(outcome),
            intervals: outcome.intervals.iter().map(IntervalFigures::of).collect(),
        }
    }

    /// Whether there was something to do, and all of it was acknowledged by a server that stayed.
    pub(crate) fn is_clean(&self) -> bool {
        !self.is_empty()
            && !self.cut_short
            && self.unanswered == 0
            && self.not_started == 0
            && self.missing_pushes == 0
            && self.lost_connections.is_empty()
            && self.errors.is_empty()
            && self.server_trouble.is_none()
    }

    /// Whether no operation was acknowledged in the measured time, where there were some to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.operations == 0 && !self.logins_only
    }

    /// In an open loop, how many operations were not answered in the measured time and how many were due in it, if they are
    /// more than is in flight at any moment anyway.
    pub(crate) fn late(&self) -> Option<(u64, u64)> {
        self.rate.filter(|_| !self.cut_short)?;
        let pushed = Kind::Push.name();
        let asked = || self.kinds.iter().filter(|(name, _)| **name != pushed).map(|(_, kind)| kind);
        let due: u64 = asked().map(|kind| kind.offered).sum();
        let answered: u64 = asked().map(|kind| kind.acknowledged + kind.refused()).sum();
        let late = due.saturating_sub(answered);
        (late > due / 20).then_some((late, due))
    }

    /// Whether far fewer connections were made anew than `--churn` asked for; one is always under way.
    pub(crate) fn falls_short_of_churn(&self) -> bool {
        let short = self.connections_churn_due.saturating_sub(self.connections_churned);
        let none = self.connections_churned == 0 && short > 0;
        none || (short > 1 && short > self.connections_churn_due / 10)
    }

    /// Whether the process of `--pid` was idle throughout a run in which the server cannot have been.
    pub(crate) fn is_another_process(&self) -> bool {
        self.server_cores == Some(0.0) && self.operations >= MANY_OPERATIONS
    }
}

/// How many messages were acknowledged, however they were sent.
fn sends(outcome: &Outcome) -> u64 {
    [Kind::Send, Kind::Post].into_iter().map(|kind| outcome.kinds.get(kind).acknowledged).sum()
}

/// Latencies of the messages that were acknowledged, however they were sent.
pub(crate) fn messages(outcome: &Outcome) -> Histogram<u64> {
    let mut all = outcome.kinds.get(Kind::Send).latency_ns.clone();
    // Both have the bounds of `histogram`.
    let _ = all.add(&outcome.kinds.get(Kind::Post).latency_ns);
    all
}

fn kinds(outcome: &Outcome, seconds: f64) -> BTreeMap<&'static str, KindFigures> {
    let used = outcome.kinds.iter().filter(|(_, operations)| is_used(operations));
    used.map(|(kind, operations)| (kind.name(), KindFigures::of(operations, seconds))).collect()
}

fn is_used(operations: &Operations) -> bool {
    operations.has_any() || !operations.errors.is_empty()
}

fn errors(outcome: &Outcome) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    outcome.kinds.iter().for_each(|(_, operations)| add_causes(&mut all, &operations.errors));
    all
}

/// How much a counter of the server grew from the first sample to the last.
fn used(samples: &[ServerSample], counter: impl Fn(&ServerSample) -> Option<f64>) -> Option<f64> {
    let [first, .., last] = samples else { return None };
    Some((counter(last)? - counter(first)?).max(0.0))
}

fn watched_us(samples: &[ServerSample]) -> f64 {
    used(samples, |sample| Some(micros(sample.at))).unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// No server does so many in less than the 10 ms in which the system counts CPU time.
const MANY_OPERATIONS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::parts::IntervalKind;
    use super::*;
    use crate::reports::documented::assert_documented;
    use crate::reports::example::{figures, outcome};

    fn close(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.002
    }

    #[test]
    fn every_key_is_documented() {
        let json = serde_json::to_value(figures(|_| ())).unwrap();
        assert_documented("A load", &json, &["errors", "lost_connections"]);
    }

    #[test]
    fn the_names_that_scripts_read_are_there() {
        let json = serde_json::to_value(figures(|_| ())).unwrap();
        assert_eq!(json["sends"], 1000);
        assert_eq!(json["sends_per_second"], 500.0);
        assert_eq!(json["server_cpu_us_per_send"], 400.0);
        assert_eq!(json["server_cores"], 0.2);
        assert_eq!(json["server_written_bytes_per_send"], 8192.0);
        assert_eq!(json["own_cpu_us_per_send"], 100.0);
        assert_eq!(json["machine_idle_cores"], 1.25);
        assert_eq!(json["message_bytes"], 100);
        assert!(close(json["latency_us"]["p50"].as_f64().unwrap(), 500_000.0));
        assert!(close(json["latency_us"]["p99"].as_f64().unwrap(), 990_000.0));
        assert!(close(json["latency_us"]["p99.9"].as_f64().unwrap(), 999_000.0));
    }

    #[test]
    fn messages_are_counted_apart_from_other_operations() {
        let figures = figures(|outcome| {
            outcome.kinds.get_mut(Kind::Login).acknowledged = 1000;
            outcome.kinds.get_mut(Kind::Push).acknowledged = 1;
        });
        assert_eq!((figures.sends, figures.operations), (1000, 2000));
        assert_eq!(figures.server_cpu_us_per_operation, Some(200.0));
        assert_eq!(figures.kinds.keys().copied().collect::<Vec<_>>(), ["login", "push", "send"]);
    }

    #[test]
    fn a_server_that_went_away_has_no_cost_an_operation() {
        let figures = figures(|outcome| outcome.server_trouble = Some("it ended".to_owned()));
        assert_eq!(figures.server_cpu_us_per_send, None);
        assert_eq!(figures.server_written_bytes_per_send, None);
        assert!(figures.server_cores.is_some());
        assert!(!figures.is_clean());
    }

    #[test]
    fn a_process_that_was_idle_is_not_the_server() {
        let idle = |outcome: &mut Outcome| {
            outcome.server.iter_mut().for_each(|sample| sample.cpu = Duration::ZERO);
        };
        let many = |outcome: &mut Outcome| {
            outcome.kinds.get_mut(Kind::Send).acknowledged += MANY_OPERATIONS;
        };
        assert!(figures(|outcome| (idle(outcome), many(outcome)).0).is_another_process());
        assert!(!figures(idle).is_another_process(), "too few to tell");
        assert!(!figures(many).is_another_process());
    }

    #[test]
    fn memory_is_given_at_its_peak_and_by_rss_where_pss_is_not_shown() {
        let memory = figures(|_| ()).server_memory.unwrap();
        assert_eq!((memory.measure, memory.start, memory.peak, memory.end), ("pss", 10, 30, 20));
        let hidden = |sample: &mut ServerSample| sample.pss_bytes = None;
        let memory = figures(|outcome| outcome.server.iter_mut().for_each(hidden)).server_memory;
        assert_eq!(memory.unwrap().measure, "rss");
    }

    #[test]
    fn anything_unacknowledged_spoils_a_run() {
        assert!(figures(|_| ()).is_clean());
        let spoils: [fn(&mut Outcome); 7] = [
            |outcome| outcome.is_cut_short = true,
            |outcome| outcome.unanswered = 1,
            |outcome| outcome.missing_pushes = 1,
            |outcome| _ = outcome.connections.lost.insert("reset".to_owned(), 1),
            |outcome| {
                outcome.kinds.get_mut(Kind::Inbox).errors.insert("no_session".to_owned(), 1);
            },
            |outcome| outcome.kinds.get_mut(Kind::Send).acknowledged = 0,
            |outcome| outcome.not_started = 1,
        ];
        for (nth, spoil) in spoils.into_iter().enumerate() {
            assert!(!figures(spoil).is_clean(), "{nth}");
        }
    }

    #[test]
    fn what_has_no_latency_has_none_in_the_json() {
        let json = serde_json::to_value(figures(|outcome| {
            outcome.kinds.get_mut(Kind::Send).latency_ns.reset();
            outcome.setup.logins.reset();
        }));
        let json = json.unwrap();
        assert_eq!(json["sends"], 1000);
        let latencies = [
            &json["latency_us"],
            &json["kinds"]["send"]["latency_us"],
            &json["setup"]["login_latency_us"],
        ];
        assert!(latencies.iter().all(|latency| latency.is_null()), "{json}");
    }

    #[test]
    fn intervals_without_an_answer_have_no_latency() {
        let figures = Figures::new(&outcome(2));
        let send = figures.intervals[0].kinds["send"];
        assert!(close(send.p50_us.unwrap(), 250_000.0), "{send:?}");
        let silent = outcome_with_silence();
        assert_eq!(silent.p99_us, None);
        assert_eq!(silent.offered, 7);
    }

    fn outcome_with_silence() -> IntervalKind {
        let mut outcome = outcome(2);
        let send = outcome.intervals[1].kinds.get_mut(Kind::Send);
        *send = crate::outcome::IntervalOperations { offered: 7, ..Default::default() };
        Figures::new(&outcome).intervals[1].kinds["send"]
    }
}
