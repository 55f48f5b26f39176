//! What a run measured: plain data, filled by the load engine and read by the reports.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::{CreationError, Histogram};

use crate::tally::add_causes;

/// A run, measured from the end of the warm-up on.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Description,
    /// When measuring began.
    pub(crate) started_at: SystemTime,
    /// How long was measured: less than was asked for if all clients were lost before.
    pub(crate) elapsed: Duration,
    pub(crate) setup: Setup,
    pub(crate) kinds: PerKind<Operations>,
    /// The same in stretches of time, in order, without gaps; a second each, or more in a long run.
    pub(crate) intervals: Vec<Interval>,
    /// Operations of `--count`, or due in the measured time, that never began: the clients were all busy, or lost.
    pub(crate) not_started: u64,
    pub(crate) connections: Connections,
    /// Requests that were never answered.
    pub(crate) unanswered: u64,
    /// Messages acknowledged to their senders that a watcher should have been pushed and was not.
    pub(crate) missing_pushes: u64,
    /// Messages that were pushed to watchers and are not of this run: what waited in their mailboxes.
    pub(crate) old_pushes: u64,
    /// Ended early by a signal; what was in flight then is not counted.
    pub(crate) is_cut_short: bool,
    /// `--duration 0`: logging in was all there was to do.
    pub(crate) logins_only: bool,
    /// The server's process, with `--pid`: when measuring began, every second, and when it ended.
    pub(crate) server: Vec<ServerSample>,
    /// Why there are no more samples, when the server's process ended or could not be read.
    pub(crate) server_trouble: Option<String>,
    /// CPU time of this program while it measured.
    pub(crate) own_cpu: Duration,
    /// Of all cores of this machine together, while it measured; `None` where the system does not tell.
    pub(crate) machine_idle: Option<Duration>,
}

/// What was asked for, in the words of the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    pub(crate) server: String,
    pub(crate) protocol: String,
    pub(crate) clients: usize,
    pub(crate) watchers: usize,
    pub(crate) in_flight: usize,
    pub(crate) threads: usize,
    /// Operations a second of an open loop; `None` in a closed one.
    pub(crate) rate: Option<f64>,
    /// As in `send=80,inbox=20`.
    pub(crate) mix: String,
    /// As in `100` or `20..500`, in bytes.
    pub(crate) size: String,
    /// As in `uniform` or `zipf:1.1`.
    pub(crate) recipients: String,
    pub(crate) accounts: usize,
    /// As in `0.5` or `0.5..2`, in seconds; empty without think time.
    pub(crate) think: String,
    pub(crate) ramp: Duration,
    /// Connections a second that are closed and made anew; 0 without churn.
    pub(crate) churn: f64,
    pub(crate) seed: u64,
}

/// What came before measuring.
#[derive(Debug)]
pub(crate) struct Setup {
    /// From the first attempt to connect until everybody was ready.
    pub(crate) elapsed: Duration,
    /// What each connection began with: a login, a session made beforehand, or nothing but being a connection.
    pub(crate) what: &'static str,
    /// From connecting to the answer to `auth`, or to the first request with a token made beforehand.
    pub(crate) logins: Histogram<u64>,
}

/// A kind of operation. Each has a latency: from when it was due (in an open loop), or begun, to its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Send,
    Post,
    Inbox,
    /// An `auth` while measuring, as part of the mix.
    Login,
    /// A connection made anew, to the answer to the first request with its token.
    Reconnect,
    /// A message that reached a watcher: from when its send was due, or begun. Never offered and never refused.
    Push,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Send, Self::Post, Self::Inbox, Self::Login, Self::Reconnect, Self::Push];

    /// One lower-case word, as in `--mix`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Post => "post",
            Self::Inbox => "inbox",
            Self::Login => "login",
            Self::Reconnect => "reconnect",
            Self::Push => "push",
        }
    }
}

/// One value for each kind of operation.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerKind<T> {
    send: T,
    post: T,
    inbox: T,
    login: T,
    reconnect: T,
    push: T,
}

impl<T> PerKind<T> {
    /// One value of each, made by `make`.
    pub(crate) fn try_new<E>(mut make: impl FnMut(Kind) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            send: make(Kind::Send)?,
            post: make(Kind::Post)?,
            inbox: make(Kind::Inbox)?,
            login: make(Kind::Login)?,
            reconnect: make(Kind::Reconnect)?,
            push: make(Kind::Push)?,
        })
    }

    pub(crate) fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Send => &self.send,
            Kind::Post => &self.post,
            Kind::Inbox => &self.inbox,
            Kind::Login => &self.login,
            Kind::Reconnect => &self.reconnect,
            Kind::Push => &self.push,
        }
    }

    pub(crate) fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Send => &mut self.send,
            Kind::Post => &mut self.post,
            Kind::Inbox => &mut self.inbox,
            Kind::Login => &mut self.login,
            Kind::Reconnect => &mut self.reconnect,
            Kind::Push => &mut self.push,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.get(kind)))
    }
}

/// Operations of one kind.
#[derive(Debug)]
pub(crate) struct Operations {
    /// Acknowledged within the measured time, whenever they were due.
    pub(crate) acknowledged: u64,
    /// Latencies of what was acknowledged, in nanoseconds: in an open loop of all that was due within the measured
    /// time, however late the reply; in a closed one of what was acknowledged in it.
    pub(crate) latency_ns: Histogram<u64>,
    /// Begun while measuring; those refused or never answered too.
    pub(crate) offered: u64,
    /// Refused within the measured time, and in an open loop those due in it that were refused later; by the error's
    /// code, or by the sentence of servers without codes; a few causes, and what is left as one more.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Operations {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self { acknowledged: 0, latency_ns: histogram()?, offered: 0, errors: BTreeMap::new() })
    }

    /// Whether any began or were acknowledged.
    pub(crate) fn has_any(&self) -> bool {
        self.offered > 0 || self.acknowledged > 0 || !self.latency_ns.is_empty()
    }

    /// Adds another group's counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        if !other.latency_ns.is_empty() {
            // All are made by `new`, with the same bounds.
            let _ = self.latency_ns.add(&other.latency_ns);
        }
        self.acknowledged += other.acknowledged;
        self.offered += other.offered;
        add_causes(&mut self.errors, &other.errors);
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        if !self.latency_ns.is_empty() {
            self.latency_ns.reset();
        }
        self.acknowledged = 0;
        self.offered = 0;
        self.errors.clear();
    }
}

/// A stretch of the measured time.
#[derive(Debug)]
pub(crate) struct Interval {
    /// Since measuring began.
    pub(crate) start: Duration,
    pub(crate) length: Duration,
    pub(crate) kinds: PerKind<IntervalOperations>,
}

/// Operations of one kind that were answered in an interval; the last has the latencies of what was answered later.
#[derive(Debug, Default)]
pub(crate) struct IntervalOperations {
    pub(crate) latency_ns: Sparse,
    pub(crate) acknowledged: u64,
    /// Begun in the interval.
    pub(crate) offered: u64,
    pub(crate) refused: u64,
}

/// A histogram without its empty places.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Values and how often they occurred, in order of value.
    counts: Vec<(u64, u64)>,
}

impl Sparse {
    pub(crate) fn new(full: &Histogram<u64>) -> Self {
        let counts = full.iter_recorded();
        Self { counts: counts.map(|at| (at.value_iterated_to(), at.count_at_value())).collect() }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Adds the values to a full histogram made by [`histogram`].
    pub(crate) fn add_to(&self, full: &mut Histogram<u64>) {
        for &(value, count) in &self.counts {
            full.saturating_record_n(value, count);
        }
    }

    /// As a full histogram, with the bounds of [`histogram`].
    pub(crate) fn to_histogram(&self) -> Result<Histogram<u64>, CreationError> {
        let mut full = histogram()?;
        self.add_to(&mut full);
        Ok(full)
    }
}

/// What became of connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Made at all, at the start and anew.
    pub(crate) made: u64,
    /// Closed here on purpose, to be made anew.
    pub(crate) churned: u64,
    /// How many of those `--churn` asked for.
    pub(crate) churn_due: u64,
    /// Ended before their time, by cause.
    pub(crate) lost: BTreeMap<String, u64>,
}

/// What the system says of the server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerSample {
    /// Since measuring began.
    pub(crate) at: Duration,
    /// User and system time since the process began.
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: Option<u64>,
    /// Its share of shared pages counted (`/proc/PID/smaps_rollup`).
    pub(crate) pss_bytes: Option<u64>,
    /// Sent to the storage layer since the process began (`write_bytes` of `/proc/PID/io`).
    pub(crate) written_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
}

/// A histogram of nanoseconds: 1 ns to ten minutes, to one part in a thousand.
pub(crate) fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS)
}

/// Latencies beyond ten minutes count as ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;
/// To one part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_histogram_holds_what_the_full_one_does() {
        let mut full = histogram().unwrap();
        for value in [1, 900, 1_234_567, 1_234_567, 500_000_000_000] {
            full.record(value).unwrap();
        }
        let sparse = Sparse::new(&full);
        assert_eq!((sparse.len(), sparse.counts.len()), (5, 4));
        let again = sparse.to_histogram().unwrap();
        assert_eq!(again, full);
        assert_eq!(again.value_at_quantile(0.5), full.value_at_quantile(0.5));
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let names = PerKind::try_new(|kind| Ok::<_, ()>(kind.name())).unwrap();
        assert!(names.iter().all(|(kind, name)| kind.name() == *name));
    }
}
