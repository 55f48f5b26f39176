//! A run from the first connection to the last reply.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::interrupt::Interrupt;
use crate::login::LoginFailures;
use crate::machine;
use crate::outcome::{Connections, Outcome, Setup, histogram};
use crate::plan::{Goal, Plan};
use crate::process::{Process, Watch, Watched};
use crate::progress::Progress;
use crate::tally::{Record, Tally, add_causes, lock};
use crate::tokens::{self, Session, TokensError};
use crate::window::{GiveUp, Window};
use crate::worker::{Ready, Shared, Worker};

/// Why a run has no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Logins(#[from] LoginFailures),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("cannot start: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("a load thread ended early")]
    ThreadLost,
    #[error("cut short before anything was measured")]
    CutShort,
}

/// Logs the clients in, lets them loose, and measures, until it is done or cut short.
///
/// Each thread has a single-threaded runtime and a fixed share of the clients: no work moves between threads, so
/// the load costs as little as it can of the machine it shares with the server.
pub(crate) fn run(plan: Plan, mut interrupt: Interrupt) -> Result<Outcome, RunError> {
    let shared = Arc::new(Shared::new(plan)?);
    let (coordinator, workers) = channels(shared.plan.threads);
    thread::scope(|scope| {
        for (thread, worker) in workers.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let runtime = runtime()?;
            scope.spawn(move || runtime.block_on(worker.work(thread, shared)));
        }
        runtime()?.block_on(coordinator.run(&shared, &mut interrupt))
    })
}

fn runtime() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// The side that keeps the time.
#[derive(Debug)]
struct Coordinator {
    ready: mpsc::Receiver<Ready>,
    start: watch::Sender<Option<Window>>,
    give_up: watch::Sender<GiveUp>,
    stop_watching: watch::Sender<bool>,
    done: mpsc::Receiver<()>,
    /// Threads whose clients are not done.
    running: usize,
}

fn channels(threads: usize) -> (Coordinator, Vec<Worker>) {
    let (ready_sender, ready) = mpsc::channel(threads);
    let (done_sender, done) = mpsc::channel(threads);
    let (start, start_receiver) = watch::channel(None);
    let (give_up, give_up_receiver) = watch::channel(GiveUp::No);
    let (stop_watching, stop_receiver) = watch::channel(false);
    let workers = (0..threads).map(|_| Worker {
        ready: ready_sender.clone(),
        start: start_receiver.clone(),
        give_up: give_up_receiver.clone(),
        stop_watching: stop_receiver.clone(),
        done: done_sender.clone(),
    });
    let workers = workers.collect();
    (Coordinator { ready, start, give_up, stop_watching, done, running: threads }, workers)
}

impl Coordinator {
    async fn run(
        mut self,
        shared: &Shared,
        interrupt: &mut Interrupt,
    ) -> Result<Outcome, RunError> {
        let plan = &shared.plan;
        let mut progress = Progress::new(measured(plan.goal));
        progress.say(&format!("logging {} connections in", plan.connections()));
        let ready = tokio::select! {
            ready = self.log_in(plan) => ready,
            () = interrupt.came() => Err(RunError::CutShort),
        };
        progress.clear();
        let (setup, sessions) = ready?;
        if let Some(path) = &plan.save_tokens {
            tokens::write(path, &sessions)?;
        }
        let outcome = self.measure(shared, setup, &mut progress, interrupt).await;
        progress.clear();
        outcome
    }

    async fn log_in(&mut self, plan: &Plan) -> Result<(Setup, Vec<Session>), RunError> {
        let begun = Instant::now();
        let mut all = Ready::default();
        for _ in 0..plan.threads {
            all.append(self.ready.recv().await.ok_or(RunError::ThreadLost)?);
        }
        if let Some(failures) = LoginFailures::collect(plan, &all.errors) {
            return Err(failures.into());
        }
        let mut setup =
            Setup { elapsed: begun.elapsed(), what: plan.setup_name(), logins: histogram()? };
        for took in all.took {
            setup.logins.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
        all.sessions.sort_unstable_by_key(|(connection, _)| *connection);
        Ok((setup, all.sessions.into_iter().map(|(_, session)| session).collect()))
    }

    async fn measure(
        mut self,
        shared: &Shared,
        setup: Setup,
        progress: &mut Progress,
        interrupt: &mut Interrupt,
    ) -> Result<Outcome, RunError> {
        let plan = &shared.plan;
        let window = window(plan);
        self.start.send_replace(Some(window));
        tokio::select! {
            biased;
            () = sleep_until(window.from) => {}
            () = interrupt.came() => return Err(RunError::CutShort),
        }
        let mut meter = Meter::start(shared, window)?;
        let is_cut_short = tokio::select! {
            done = self.seconds(shared, window, &mut meter, progress) => done.map(|()| false)?,
            () = interrupt.came() => true,
        };
        if is_cut_short {
            self.give_up.send_replace(GiveUp::CutShort);
        } else if window.until.is_none() {
            // All is done, or nothing came for as long as anybody is to wait.
            self.give_up.send_replace(GiveUp::TimedOut);
        }
        let elapsed = window.measured(Instant::now());
        meter.stop();
        let is_cut_short = self.finish_or_cut(shared, interrupt, is_cut_short).await;
        let outcome = meter.outcome(shared, setup, elapsed)?;
        Ok(Outcome { is_cut_short, ..outcome })
    }

    /// Sums up every second, until time is up or all clients are done.
    async fn seconds(
        &mut self,
        shared: &Shared,
        window: Window,
        meter: &mut Meter,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        let mut next = window.from;
        let mut sign_of_life = (shared.answered(), Instant::now());
        loop {
            next += SECOND;
            let last = window.until.filter(|until| next >= *until);
            let is_over = tokio::select! {
                () = sleep_until(last.unwrap_or(next)) => last.is_some(),
                () = self.clients_done() => true,
            };
            if is_over {
                return Ok(());
            }
            meter.second(shared, progress)?;
            let answered = shared.answered();
            if answered != sign_of_life.0 {
                sign_of_life = (answered, Instant::now());
            } else if window.until.is_none() && sign_of_life.1.elapsed() >= shared.plan.patience() {
                return Ok(());
            }
        }
    }

    /// Returns when every thread's clients are done. Cancel safe.
    async fn clients_done(&mut self) {
        while self.running > 0 {
            if self.done.recv().await.is_none() {
                break;
            }
            self.running -= 1;
        }
    }

    /// Finishes; a run that is cut short now, or was before, waits for no more replies. Tells whether that is so.
    async fn finish_or_cut(
        &mut self,
        shared: &Shared,
        interrupt: &mut Interrupt,
        was_cut_short: bool,
    ) -> bool {
        if !was_cut_short {
            tokio::select! {
                biased;
                () = self.finish(shared) => return false,
                () = interrupt.came() => {}
            }
        }
        self.give_up.send_replace(GiveUp::CutShort);
        self.finish(shared).await;
        true
    }

    /// Waits for the last replies as long as `--timeout` says, then has the clients give up; the same for pushes. Then all
    /// connections are closed. Cancel safe.
    async fn finish(&mut self, shared: &Shared) {
        let patience = shared.plan.timeout;
        if timeout(patience, self.clients_done()).await.is_err() {
            self.give_up.send_replace(GiveUp::TimedOut);
            self.clients_done().await;
        }
        let pushed = async {
            while shared.missing_pushes() > 0 {
                sleep(PUSH_PAUSE).await;
            }
        };
        // What is still missing then is counted.
        let _ = timeout(patience, pushed).await;
        self.stop_watching.send_replace(true);
        while self.done.recv().await.is_some() {}
    }
}

/// What the coordinator measures itself, and the sums.
#[derive(Debug)]
struct Meter {
    window: Window,
    started_at: SystemTime,
    record: Record,
    server: Option<Watch>,
    watched: Watched,
    own: Option<Process>,
    own_before: Duration,
    own_cpu: Duration,
    idle_before: Option<Duration>,
    machine_idle: Option<Duration>,
}

impl Meter {
    fn start(shared: &Shared, window: Window) -> Result<Self, RunError> {
        let own = Process::own().ok();
        Ok(Self {
            window,
            started_at: SystemTime::now(),
            record: Record::new()?,
            server: shared.plan.process.map(Watch::start).transpose()?,
            watched: Watched::default(),
            own,
            own_before: cpu(own),
            own_cpu: Duration::ZERO,
            idle_before: machine::idle(),
            machine_idle: None,
        })
    }

    fn second(&mut self, shared: &Shared, progress: &mut Progress) -> Result<(), RunError> {
        let now = self.window.from.elapsed();
        self.record.take(&shared.tallies);
        let (acknowledged, refused) = self.record.so_far();
        progress.show(now, acknowledged, self.record.latest(), refused + shared.lost());
        Ok(self.record.second(now, false)?)
    }

    /// The measured time is over; replies may still come.
    fn stop(&mut self) {
        let idle = machine::idle().zip(self.idle_before);
        self.machine_idle = idle.map(|(after, before)| after.saturating_sub(before));
        self.own_cpu = cpu(self.own).saturating_sub(self.own_before);
        self.watched = self.server.take().map(Watch::finish).unwrap_or_default();
    }

    fn outcome(
        mut self,
        shared: &Shared,
        setup: Setup,
        elapsed: Duration,
    ) -> Result<Outcome, RunError> {
        self.record.take(&shared.tallies);
        self.record.second(elapsed, true)?;
        let mut outcome = Outcome {
            plan: shared.plan.description.clone(),
            started_at: self.started_at,
            elapsed,
            setup,
            kinds: self.record.kinds,
            intervals: self.record.intervals,
            not_started: 0,
            connections: Connections {
                churn_due: shared.plan.churn_due(self.window.start, self.window.from + elapsed),
                ..Connections::default()
            },
            unanswered: 0,
            missing_pushes: shared.missing_pushes(),
            old_pushes: 0,
            is_cut_short: false,
            logins_only: shared.plan.logins_only(),
            server: self.watched.samples,
            server_trouble: self.watched.trouble.map(|trouble| trouble.to_string()),
            own_cpu: self.own_cpu,
            machine_idle: self.machine_idle,
        };
        for tally in &shared.tallies {
            let tally = lock(tally);
            outcome.not_started += tally.not_started;
            outcome.unanswered += tally.unanswered;
            outcome.old_pushes += tally.old_pushes;
            outcome.connections.made += tally.connections.made;
            outcome.connections.churned += tally.connections.churned;
            add_causes(&mut outcome.connections.lost, &tally.connections.lost);
        }
        Ok(outcome)
    }
}

fn cpu(process: Option<Process>) -> Duration {
    process.and_then(|process| process.cpu().ok()).unwrap_or_default()
}

fn measured(goal: Goal) -> Option<Duration> {
    match goal {
        Goal::Duration { measured, .. } => Some(measured),
        Goal::Count(_) => None,
    }
}

fn window(plan: &Plan) -> Window {
    let start = Instant::now();
    let (from, until) = match plan.goal {
        Goal::Count(_) => (start, None),
        // Nothing to measure needs no warm-up.
        Goal::Duration { measured: Duration::ZERO, .. } => (start, Some(start)),
        Goal::Duration { warmup, measured } => (start + warmup, Some(start + warmup + measured)),
    };
    Window { start, from, until, is_open_loop: plan.rate.is_some() }
}

impl Shared {
    fn new(plan: Plan) -> Result<Self, RunError> {
        let tallies = (0..plan.threads).map(|_| Tally::new().map(Mutex::new));
        let tallies = tallies.collect::<Result<_, _>>()?;
        Ok(Self::with_tallies(plan, tallies))
    }

    /// How many operations were answered so far, one way or the other.
    fn answered(&self) -> u64 {
        self.tallies.iter().map(|tally| lock(tally).answered).sum()
    }

    /// How many connections were lost so far.
    fn lost(&self) -> u64 {
        self.tallies.iter().map(|t| lock(t).connections.lost.values().sum::<u64>()).sum()
    }

    fn missing_pushes(&self) -> u64 {
        let counts = self.tallies.iter().map(|tally| {
            let tally = lock(tally);
            (tally.expected_pushes, tally.pushes)
        });
        let (expected, came) =
            counts.fold((0, 0), |(expected, came), one| (expected + one.0, came + one.1));
        expected.saturating_sub(came)
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// How often to look whether the last pushes came.
const PUSH_PAUSE: Duration = Duration::from_millis(10);
