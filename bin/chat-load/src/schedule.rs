//! When operations begin: [`Schedule`] of an open loop, and the timer that keeps it.

use std::time::Duration;

use tokio::time::Instant;

/// The moments at which the operations of an open loop are due, whether or not the server keeps up.
///
/// Operation n is due n times `every` after the start. When that is less than [`SHORTEST_STEP`], several are due at
/// once, so that one timer can serve them all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    /// In seconds.
    every: f64,
    /// How many are due at once.
    group: u64,
}

impl Schedule {
    /// `rate` operations a second, more than 0.
    pub(crate) fn new(start: Instant, rate: f64) -> Self {
        let group = whole((SHORTEST_STEP.as_secs_f64() * rate).ceil()).max(1);
        Self { start, every: 1.0 / rate, group }
    }

    /// When an operation is due.
    pub(crate) fn due(&self, operation: u64) -> Instant {
        let first_of_group = operation - operation % self.group;
        self.start + Duration::from_secs_f64(float(first_of_group) * self.every)
    }

    /// How many operations are due before `end`.
    pub(crate) fn before(&self, end: Instant) -> u64 {
        let time = end.saturating_duration_since(self.start).as_secs_f64();
        let groups = whole((time / (self.every * float(self.group))).ceil());
        let mut count = groups * self.group;
        // Rounding may have taken in a group too many.
        while count > 0 && self.due(count - 1) >= end {
            count -= self.group;
        }
        count
    }
}

/// One client's operations of a schedule: each so-many-th.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    schedule: Schedule,
    next: u64,
    step: u64,
}

impl Turns {
    /// The operations `first`, `first + step`, ... of a schedule.
    pub(crate) fn new(schedule: Schedule, first: u64, step: u64) -> Self {
        Self { schedule, next: first, step }
    }

    /// When the next is due.
    pub(crate) fn due(&self) -> Instant {
        self.schedule.due(self.next)
    }

    /// The next has begun.
    pub(crate) fn advance(&mut self) {
        self.next += self.step;
    }

    /// How many were due before `end` and have not begun.
    pub(crate) fn not_started(&self, end: Instant) -> u64 {
        self.schedule.before(end).saturating_sub(self.next).div_ceil(self.step)
    }
}

/// Wakes clients when their operations are due.
///
/// # Errors
///
/// When the system gives no timer.
pub(crate) async fn pace(
    schedule: Schedule,
    until: Option<Instant>,
    clients: u64,
    mut wake: impl FnMut(u64),
) -> std::io::Result<()> {
    let mut timer = Timer::new()?;
    let mut next = 0;
    loop {
        let due = schedule.due(next);
        if until.is_some_and(|until| due >= until) {
            return Ok(());
        }
        timer.sleep_until(due).await?;
        // Behind time, a client is woken once for all that is due.
        let now = Instant::now();
        let mut woken = 0;
        while woken < clients && schedule.due(next) <= now {
            wake(next % clients);
            next += 1;
            woken += 1;
        }
        if schedule.due(next) <= now {
            next = schedule.before(now);
        }
    }
}

#[cfg(all(target_os = "linux", not(test)))]
use precise::Timer;

#[cfg(not(all(target_os = "linux", not(test))))]
use coarse::Timer;

/// The runtime's timers end on the millisecond, which is longer than a reply takes; a timer of the system does not.
#[cfg(target_os = "linux")]
#[cfg_attr(
    test,
    expect(dead_code, reason = "tests pause the runtime's clock, which this one does not heed")
)]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "for files that are not what they say; the only other way is unsafe"
            )]
            AsyncFd::new(timer).map(Self)
        }

        pub(super) async fn sleep_until(&mut self, due: Instant) -> io::Result<()> {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The clients have their turn even when time runs ahead.
                tokio::task::yield_now().await;
                return Ok(());
            }
            let value = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let once =
                Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            // Setting it anew makes the next end an event of its own, so that nothing need be read.
            self.0.readable().await?.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(all(target_os = "linux", not(test))))]
mod coarse {
    use std::io;

    use tokio::time::{Instant, sleep_until};

    pub(super) struct Timer;

    impl Timer {
        #[expect(clippy::unnecessary_wraps, reason = "the precise one may fail")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn sleep_until(&mut self, due: Instant) -> io::Result<()> {
            sleep_until(due).await;
            Ok(())
        }
    }
}

#[expect(clippy::as_conversions, reason = "counts of operations are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never below zero, and saturating"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

/// On a virtual machine a wake-up costs some 30 microseconds of CPU, which are then not the server's.
const SHORTEST_STEP: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_the_rate() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 8.0);
        let due: Vec<_> = (0..4).map(|n| (schedule.due(n) - start).as_millis()).collect();
        assert_eq!(due, [0, 125, 250, 375]);
        for (ms, count) in [(0, 0), (1, 1), (125, 1), (126, 2), (1000, 8), (1001, 9)] {
            assert_eq!(schedule.before(start + Duration::from_millis(ms)), count, "{ms}");
        }
    }

    #[test]
    fn a_high_rate_comes_in_groups_and_loses_nothing() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100_000.0);
        let due: Vec<_> = (0..21).map(|n| (schedule.due(n) - start).as_micros()).collect();
        assert_eq!((&due[..10], &due[10..20], due[20]), (&[0; 10][..], &[100; 10][..], 200));
        assert_eq!(schedule.before(start + Duration::from_secs(3600)), 360_000_000);
    }

    #[test]
    fn turns_share_a_schedule_out_in_full() {
        let start = Instant::now();
        let end = start + Duration::from_secs(1);
        let schedule = Schedule::new(start, 1000.0);
        let mut shares: Vec<_> = (0..7).map(|first| Turns::new(schedule, first, 7)).collect();
        assert_eq!(shares.iter().map(|turns| turns.not_started(end)).sum::<u64>(), 1000);
        assert_eq!((shares[3].due() - start).as_millis(), 3);
        shares[3].advance();
        assert_eq!((shares[3].due() - start).as_millis(), 10);
        assert_eq!(shares.iter().map(|turns| turns.not_started(end)).sum::<u64>(), 999);
        assert_eq!(shares[0].not_started(start), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_woken_in_turn_when_their_operations_are_due() {
        let start = Instant::now();
        let mut woken = Vec::new();
        let until = start + Duration::from_millis(100);
        let schedule = Schedule::new(start, 50.0);
        let note = |client| woken.push((client, start.elapsed().as_millis()));
        pace(schedule, Some(until), 3, note).await.unwrap();
        assert_eq!(woken, [(0, 0), (1, 20), (2, 40), (0, 60), (1, 80)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pacer_wakes_everybody_once_and_goes_on_in_time() {
        let schedule = Schedule::new(Instant::now(), 100.0);
        let until = Instant::now() + Duration::from_millis(1030);
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut woken = Vec::new();
        pace(schedule, Some(until), 2, |client| woken.push(client)).await.unwrap();
        // 0 and 1 for what is due already (up to the 100th), then the 101st and 102nd.
        assert_eq!(woken.len(), 5, "{woken:?}");
    }
}
