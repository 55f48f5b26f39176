//! A made-up run for the tests of the reports.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::outcome::{
    Connections, Description, Interval, IntervalOperations, Kind, Operations, Outcome, PerKind,
    ServerSample, Setup, Sparse, histogram,
};
use crate::reports::Figures;

/// A thousand sends of 1 to 1000 ms in 2 s, in so many intervals.
pub(crate) fn outcome(intervals: u32) -> Outcome {
    let mut kinds = PerKind::try_new(|_| Operations::new()).unwrap();
    for ms in 1..=1000 {
        kinds.get_mut(Kind::Send).latency_ns.record(ms * 1_000_000).unwrap();
    }
    kinds.get_mut(Kind::Send).acknowledged = 1000;
    kinds.get_mut(Kind::Send).offered = 1000;
    let mut logins = histogram().unwrap();
    logins.record(3_000_000).unwrap();
    Outcome {
        plan: plan(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_250),
        elapsed: Duration::from_secs(2),
        setup: Setup { elapsed: Duration::from_millis(40), what: "login", logins },
        kinds,
        intervals: (0..intervals).map(|nth| interval(nth, intervals)).collect(),
        not_started: 0,
        connections: Connections { made: 3, churned: 0, churn_due: 0, lost: BTreeMap::new() },
        unanswered: 0,
        missing_pushes: 0,
        old_pushes: 0,
        is_cut_short: false,
        logins_only: false,
        server: [10, 30, 20].into_iter().enumerate().map(sample).collect(),
        server_trouble: None,
        own_cpu: Duration::from_millis(100),
        machine_idle: Some(Duration::from_millis(2500)),
    }
}

/// The figures of [`outcome`], changed.
pub(crate) fn figures(change: impl FnOnce(&mut Outcome)) -> Figures {
    let mut outcome = outcome(2);
    change(&mut outcome);
    Figures::new(&outcome)
}

fn plan() -> Description {
    Description {
        server: "127.0.0.1:8889".to_owned(),
        protocol: "chat".to_owned(),
        clients: 3,
        in_flight: 2,
        threads: 1,
        mix: "send=100".to_owned(),
        size: "100".to_owned(),
        recipients: "uniform".to_owned(),
        accounts: 10_000,
        seed: 1,
        ..Description::default()
    }
}

/// The sends of [`outcome`] in order of their latency, dealt out to the intervals.
fn interval(nth: u32, of: u32) -> Interval {
    let length = Duration::from_secs(2) / of;
    let each = 1000 / u64::from(of);
    let mut latencies = histogram().unwrap();
    for ms in u64::from(nth) * each + 1..=u64::from(nth + 1) * each {
        latencies.record(ms * 1_000_000).unwrap();
    }
    let mut kinds = PerKind::<IntervalOperations>::default();
    let latency_ns = Sparse::new(&latencies);
    *kinds.get_mut(Kind::Send) =
        IntervalOperations { latency_ns, acknowledged: each, offered: each, refused: 0 };
    Interval { start: length * nth, length, kinds }
}

/// 0.2 cores, and two pages written a message.
fn sample((nth, memory): (usize, u64)) -> ServerSample {
    let seconds = u64::try_from(nth).unwrap();
    ServerSample {
        at: Duration::from_secs(seconds),
        cpu: Duration::from_millis(7_000 + 200 * seconds),
        rss_bytes: Some(memory + 1),
        pss_bytes: Some(memory),
        written_bytes: Some(4096 * 1000 * seconds),
        open_files: Some(105),
    }
}
