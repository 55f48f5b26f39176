//! What is counted while a run goes on, a thread at a time, and how it becomes an outcome.

use std::collections::BTreeMap;
use std::mem;
use std::ops::AddAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::CreationError;
use tokio::time::Instant;

use crate::outcome::{
    Connections, Interval, IntervalOperations, Kind, Operations, PerKind, Sparse, histogram,
};
use crate::window::Window;

/// What the clients of one thread saw.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Since it was last taken.
    operations: PerKind<Operations>,
    pub(crate) connections: Connections,
    pub(crate) unanswered: u64,
    pub(crate) not_started: u64,
    /// Messages acknowledged, measured or not, that a watcher is to be pushed.
    pub(crate) expected_pushes: u64,
    /// Those of them that came.
    pub(crate) pushes: u64,
    /// Pushed messages that are not of this run.
    pub(crate) old_pushes: u64,
    /// Replies of any kind, measured or not: a sign of life.
    pub(crate) answered: u64,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            operations: PerKind::try_new(|_| Operations::new())?,
            connections: Connections::default(),
            unanswered: 0,
            not_started: 0,
            expected_pushes: 0,
            pushes: 0,
            old_pushes: 0,
            answered: 0,
        })
    }

    /// An operation that was due, or left, at `due` was acknowledged `now`, or a message pushed. It is done when that
    /// was in the window; what its latency belongs to the window says.
    pub(crate) fn done(&mut self, kind: Kind, due: Instant, now: Instant, window: &Window) {
        let operations = self.operations.get_mut(kind);
        if window.holds(now) {
            operations.acknowledged += 1;
        }
        if window.holds_latency(due, now) {
            let ns = u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX);
            operations.latency_ns.saturating_record(ns);
        }
    }

    /// Operations were begun.
    pub(crate) fn offered(&mut self, kind: Kind, count: u64) {
        self.operations.get_mut(kind).offered += count;
    }

    /// An operation that was due, or left, at `due` was refused `now`. It counts when that was in the window, as what is
    /// done does, and in an open loop also when it was due there: none of those goes without an end.
    pub(crate) fn refused(
        &mut self,
        kind: Kind,
        cause: String,
        due: Instant,
        now: Instant,
        window: &Window,
    ) {
        if window.holds(now) || window.holds_latency(due, now) {
            count_cause(&mut self.operations.get_mut(kind).errors, cause);
        }
    }

    /// A connection ended with requests open.
    pub(crate) fn lost(&mut self, cause: String, unanswered: usize) {
        count_cause(&mut self.connections.lost, cause);
        self.unanswered += u64::try_from(unanswered).unwrap_or(u64::MAX);
    }
}

/// Waits for the others of the thread's clients, and for whoever sums up.
pub(crate) fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sums up what the threads counted, an interval at a time.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) kinds: PerKind<Operations>,
    pub(crate) intervals: Vec<Interval>,
    /// Empty; changes places with a thread's.
    spare: PerKind<Operations>,
    /// How many seconds make an interval: it doubles whenever there are more than `most_intervals`.
    seconds_each: u32,
    most_intervals: usize,
    /// What was summed up and belongs to no whole interval yet.
    unfinished: PerKind<Operations>,
    unfinished_seconds: u32,
    unfinished_from: Duration,
}

impl Record {
    pub(crate) fn new() -> Result<Self, CreationError> {
        let empty = || PerKind::try_new(|_| Operations::new());
        Ok(Self {
            kinds: empty()?,
            intervals: Vec::new(),
            spare: empty()?,
            seconds_each: 1,
            most_intervals: MOST_INTERVALS,
            unfinished: empty()?,
            unfinished_seconds: 0,
            unfinished_from: Duration::ZERO,
        })
    }

    /// Takes what was counted since it was last called. The caller calls it once a second, and when measuring ends.
    pub(crate) fn take(&mut self, tallies: &[Mutex<Tally>]) {
        for tally in tallies {
            // Outside the lock is where the time goes.
            mem::swap(&mut lock(tally).operations, &mut self.spare);
            for kind in Kind::ALL {
                let counted = self.spare.get_mut(kind);
                self.unfinished.get_mut(kind).merge(counted);
                counted.clear();
            }
        }
    }

    /// What was acknowledged so far, and what was refused.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        let counted = self.kinds.iter().chain(self.unfinished.iter());
        counted.filter(|(kind, _)| *kind != Kind::Push).fold((0, 0), |(done, refused), (_, of)| {
            (done + of.acknowledged, refused + of.errors.values().sum::<u64>())
        })
    }

    /// What was taken since the last interval ended.
    pub(crate) fn latest(&self) -> &PerKind<Operations> {
        &self.unfinished
    }

    /// A second, or the last part of one, is over: `now` after measuring began.
    pub(crate) fn second(&mut self, now: Duration, is_last: bool) -> Result<(), CreationError> {
        self.unfinished_seconds += 1;
        if self.unfinished_seconds < self.seconds_each && !is_last {
            return Ok(());
        }
        let kinds = PerKind::try_new(|kind| {
            let counted = self.unfinished.get_mut(kind);
            self.kinds.get_mut(kind).merge(counted);
            let interval = IntervalOperations {
                latency_ns: Sparse::new(&counted.latency_ns),
                acknowledged: counted.acknowledged,
                offered: counted.offered,
                refused: counted.errors.values().sum(),
            };
            counted.clear();
            Ok::<_, CreationError>(interval)
        })?;
        let start = mem::replace(&mut self.unfinished_from, now);
        self.intervals.push(Interval { start, length: now.saturating_sub(start), kinds });
        self.unfinished_seconds = 0;
        if self.intervals.len() > self.most_intervals {
            self.halve()?;
        }
        Ok(())
    }

    /// Makes one interval of each two.
    fn halve(&mut self) -> Result<(), CreationError> {
        self.seconds_each *= 2;
        let mut halves = mem::take(&mut self.intervals).into_iter();
        while let Some(mut first) = halves.next() {
            if let Some(second) = halves.next() {
                first.append(&second)?;
            }
            self.intervals.push(first);
        }
        Ok(())
    }
}

impl Interval {
    fn append(&mut self, next: &Self) -> Result<(), CreationError> {
        self.length += next.length;
        for kind in Kind::ALL {
            let (own, next) = (self.kinds.get_mut(kind), next.kinds.get(kind));
            let mut both = histogram()?;
            own.latency_ns.add_to(&mut both);
            next.latency_ns.add_to(&mut both);
            own.latency_ns = Sparse::new(&both);
            own.acknowledged += next.acknowledged;
            own.offered += next.offered;
            own.refused += next.refused;
        }
        Ok(())
    }
}

/// Counts one more of a cause. It may be any text that a server sends: where there are many already, or it is long, it
/// takes no further room.
pub(crate) fn count_cause<N: AddAssign + From<u8>>(
    causes: &mut BTreeMap<String, N>,
    mut cause: String,
) {
    shorten(&mut cause);
    add_cause(causes, &cause, N::from(1));
}

/// Adds one group's counts by cause to another's.
pub(crate) fn add_causes(to: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (cause, count) in more {
        add_cause(to, cause, *count);
    }
}

fn add_cause<N: AddAssign>(causes: &mut BTreeMap<String, N>, cause: &str, times: N) {
    let has_place = causes.len() < MOST_CAUSES || causes.contains_key(cause);
    let cause = if has_place { cause } else { OTHER_CAUSES };
    match causes.get_mut(cause) {
        Some(counted) => *counted += times,
        None => _ = causes.insert(cause.to_owned(), times),
    }
}

fn shorten(cause: &mut String) {
    if cause.len() > LONGEST_CAUSE {
        let end = (0..=LONGEST_CAUSE).rev().find(|end| cause.is_char_boundary(*end));
        cause.truncate(end.unwrap_or_default());
        cause.push('…');
    }
}

/// More than a server has codes for what can go wrong here; a server whose every error has a text of its own fills memory
/// and reports with no more.
const MOST_CAUSES: usize = 20;
/// What all further ones are counted under.
const OTHER_CAUSES: &str = "other causes";
/// In bytes: some lines of a terminal, and more than this program's own longest, a failure to connect with its hint.
const LONGEST_CAUSE: usize = 400;

/// Twenty minutes of seconds: enough points for a plot, and some ten megabytes for each kind at most.
const MOST_INTERVALS: usize = 1200;

#[cfg(test)]
mod tests {
    use super::*;

    fn unbounded() -> Window {
        let start = Instant::now();
        Window { start, from: start, until: None, is_open_loop: false }
    }

    /// From second 1 to second 2.
    fn window(is_open_loop: bool) -> (Window, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |ms| start + Duration::from_millis(ms);
        (Window { start, from: at(1000), until: Some(at(2000)), is_open_loop }, at)
    }

    #[test]
    fn done_is_what_is_answered_in_the_window_and_an_open_loop_has_latencies_of_what_is_due_in_it()
    {
        for (is_open_loop, latencies, slowest_ms) in [(true, 2, 400), (false, 3, 200)] {
            let (window, at) = window(is_open_loop);
            let mut tally = Tally::new().unwrap();
            let times =
                [(500, 900), (900, 1100), (950, 1050), (1500, 1600), (1900, 2300), (2000, 2600)];
            for (due, answered) in times {
                tally.done(Kind::Send, at(due), at(answered), &window);
            }
            let sends = tally.operations.get(Kind::Send);
            assert_eq!((sends.acknowledged, sends.latency_ns.len()), (3, latencies));
            assert_eq!(sends.latency_ns.max() / 1_000_000, slowest_ms, "{is_open_loop}");
        }
    }

    #[test]
    fn refused_is_counted_over_the_same_time_as_done() {
        for (is_open_loop, refused) in [(true, 3), (false, 2)] {
            let (window, at) = window(is_open_loop);
            let mut tally = Tally::new().unwrap();
            let times = [(500, 900), (900, 1100), (1500, 1600), (1900, 2300), (2000, 2600)];
            for (due, answered) in times {
                let cause = "busy".to_owned();
                tally.refused(Kind::Reconnect, cause, at(due), at(answered), &window);
            }
            assert_eq!(tally.operations.get(Kind::Reconnect).errors["busy"], refused);
        }
    }

    #[test]
    fn threads_and_seconds_add_up() {
        let tallies = [(); 2].map(|()| Mutex::new(Tally::new().unwrap()));
        let mut record = Record::new().unwrap();
        let window = unbounded();
        let due = window.from;
        for second in 1..=3 {
            for tally in &tallies {
                let mut tally = tally.lock().unwrap();
                tally.offered(Kind::Send, 2);
                tally.done(Kind::Send, due, due + Duration::from_millis(second), &window);
                tally.refused(Kind::Send, "inbox_full".to_owned(), due, due, &window);
            }
            record.take(&tallies);
            assert_eq!(record.latest().get(Kind::Send).acknowledged, 2);
            record.second(Duration::from_secs(second), second == 3).unwrap();
        }
        let sends = record.kinds.get(Kind::Send);
        assert_eq!((sends.acknowledged, sends.offered), (6, 12));
        assert_eq!(sends.errors.get("inbox_full"), Some(&6));
        assert!(sends.latency_ns.max() >= 2_990_000);
        let second = record.intervals[1].kinds.get(Kind::Send);
        assert_eq!((second.latency_ns.len(), second.acknowledged), (2, 2));
        assert_eq!((second.offered, second.refused), (4, 2));
        assert_eq!(record.intervals[2].start, Duration::from_secs(2));
    }

    #[test]
    fn causes_beyond_the_first_are_one_in_each_thread_and_in_all_together() {
        let tallies = [0, 1].map(|thread| {
            let (mut tally, window) = (Tally::new().unwrap(), unbounded());
            for nth in 0..1000 {
                let cause = format!("{thread} {nth}");
                tally.refused(Kind::Send, cause.clone(), window.from, window.from, &window);
                tally.lost(cause, 0);
            }
            assert_eq!(tally.connections.lost.len(), MOST_CAUSES + 1);
            assert_eq!(tally.connections.lost[OTHER_CAUSES], 980);
            Mutex::new(tally)
        });
        let mut record = Record::new().unwrap();
        record.take(&tallies);
        record.second(Duration::from_secs(1), true).unwrap();
        let errors = &record.kinds.get(Kind::Send).errors;
        assert_eq!((errors.len(), errors["0 0"]), (MOST_CAUSES + 1, 1));
        assert_eq!((errors[OTHER_CAUSES], errors.values().sum::<u64>()), (1980, 2000));
    }

    #[test]
    fn a_long_cause_is_cut_between_letters() {
        let mut causes = BTreeMap::<_, u64>::new();
        for end in ["a", "b"] {
            count_cause(&mut causes, "x".to_owned() + &"é".repeat(LONGEST_CAUSE) + end);
        }
        let (cause, times) = causes.pop_first().unwrap();
        assert!((LONGEST_CAUSE..LONGEST_CAUSE + 3).contains(&cause.len()), "{cause}");
        assert!(cause.ends_with("é…") && times == 2 && causes.is_empty(), "{cause}");
    }

    #[test]
    fn a_long_run_has_longer_intervals_that_hold_the_same() {
        let tallies = [Mutex::new(Tally::new().unwrap())];
        let mut record = Record { most_intervals: 8, ..Record::new().unwrap() };
        let (seconds, window) = (37, unbounded());
        for second in 1..=seconds {
            let now = window.from + Duration::from_micros(second);
            tallies[0].lock().unwrap().done(Kind::Push, window.from, now, &window);
            record.take(&tallies);
            record.second(Duration::from_secs(second), second == seconds).unwrap();
        }
        assert!((5..=8).contains(&record.intervals.len()));
        let pushes: Vec<_> = record.intervals.iter().map(|i| i.kinds.get(Kind::Push)).collect();
        assert_eq!(pushes.iter().map(|of| of.latency_ns.len()).sum::<u64>(), seconds);
        assert_eq!(pushes.iter().map(|of| of.acknowledged).sum::<u64>(), seconds);
        let mut next = Duration::ZERO;
        for interval in &record.intervals {
            assert_eq!(interval.start, next);
            next += interval.length;
        }
        assert_eq!(next, Duration::from_secs(seconds));
    }
}
