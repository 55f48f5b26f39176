//! A run from the first connection to the last reply.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Client, Window};
use crate::login::{LoggedIn, LoginError, LoginFailures, login};
use crate::plan::{Goal, Plan};
use crate::process::cpu_time;
use crate::report::{Cpu, Outcome};
use crate::tally::Tally;

/// Why a run has no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Logins(#[from] LoginFailures),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("cannot start: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("a load thread ended early")]
    ThreadLost,
}

/// Logs the clients in, lets them loose, and measures.
///
/// Each thread has a single-threaded runtime and a fixed share of the clients: no work moves between threads, so
/// the load costs as little as it can of the machine it shares with the server.
pub(crate) fn run(plan: Plan) -> Result<Outcome, RunError> {
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared {
        logins: Semaphore::new(LOGINS_AT_ONCE),
        tallies: (0..plan.threads)
            .map(|_| Tally::new().map(Mutex::new))
            .collect::<Result<_, _>>()?,
        plan,
    });
    let (coordinator, workers) = channels(shared.plan.threads);
    thread::scope(|scope| {
        for (thread, worker) in workers.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let runtime = runtime()?;
            scope.spawn(move || runtime.block_on(worker.work(thread, shared)));
        }
        runtime()?.block_on(coordinator.measure(&shared))
    })
}

/// What all threads see.
#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    /// Bounds the password checks that the server is asked for at once.
    logins: Semaphore,
    /// One a thread.
    tallies: Vec<Mutex<Tally>>,
}

/// The side that keeps the time.
#[derive(Debug)]
struct Coordinator {
    logins: mpsc::Receiver<Vec<LoginError>>,
    start: watch::Sender<Option<Window>>,
    give_up: watch::Sender<bool>,
    done: mpsc::Receiver<()>,
}

/// The side that drives clients.
#[derive(Debug)]
struct Worker {
    logins: mpsc::Sender<Vec<LoginError>>,
    start: watch::Receiver<Option<Window>>,
    give_up: watch::Receiver<bool>,
    done: mpsc::Sender<()>,
}

fn channels(threads: usize) -> (Coordinator, Vec<Worker>) {
    let (logins_sender, logins) = mpsc::channel(threads);
    let (done_sender, done) = mpsc::channel(threads);
    let (start, start_receiver) = watch::channel(None);
    let (give_up, give_up_receiver) = watch::channel(false);
    let workers = (0..threads)
        .map(|_| Worker {
            logins: logins_sender.clone(),
            start: start_receiver.clone(),
            give_up: give_up_receiver.clone(),
            done: done_sender.clone(),
        })
        .collect();
    (Coordinator { logins, start, give_up, done }, workers)
}

fn runtime() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

impl Worker {
    async fn work(mut self, thread: usize, shared: Arc<Shared>) {
        let (ready, errors) = log_in(thread, &shared).await;
        // Without a coordinator, or without a start, the run was given up.
        if self.logins.send(errors).await.is_err() {
            return;
        }
        let Ok(window) = self.start.wait_for(Option::is_some).await.map(|window| *window) else {
            return;
        };
        if let Some(window) = window {
            drive(thread, &shared, ready, window, &self.give_up).await;
        }
        let _ = self.done.send(()).await;
    }
}

async fn log_in(thread: usize, shared: &Arc<Shared>) -> (Vec<LoggedIn>, Vec<LoginError>) {
    let mut logins = JoinSet::new();
    for client in (thread..shared.plan.clients).step_by(shared.plan.threads) {
        let shared = Arc::clone(shared);
        logins.spawn(async move {
            // The semaphore is never closed.
            let _permit = shared.logins.acquire().await;
            login(&shared.plan, client).await
        });
    }
    let (mut ready, mut errors) = (Vec::new(), Vec::new());
    while let Some(login) = logins.join_next().await {
        match login {
            Ok(Ok(login)) => ready.push(login),
            Ok(Err(error)) => errors.push(error),
            Err(error) => errors.push(LoginError::Refused(error.to_string())),
        }
    }
    (ready, errors)
}

async fn drive(
    thread: usize,
    shared: &Arc<Shared>,
    ready: Vec<LoggedIn>,
    window: Window,
    give_up: &watch::Receiver<bool>,
) {
    let mut clients = JoinSet::new();
    for login in ready {
        let client = Client::new(Arc::clone(&shared.plan), login);
        let (shared, give_up) = (Arc::clone(shared), give_up.clone());
        clients.spawn(async move {
            if let Some(tally) = shared.tallies.get(thread) {
                client.drive(window, tally, give_up).await;
            }
        });
    }
    clients.join_all().await;
}

impl Coordinator {
    async fn measure(mut self, shared: &Shared) -> Result<Outcome, RunError> {
        let plan = &shared.plan;
        if let Some(failures) = LoginFailures::collect(plan, &self.logins(plan.threads).await?) {
            return Err(failures.into());
        }
        let window = window(plan.goal);
        self.start.send_replace(Some(window));
        sleep_until(window.from).await;
        let before = Cpu::now(plan.pid);
        let elapsed = match window.until {
            Some(until) => {
                sleep_until(until).await;
                until - window.from
            }
            None => {
                self.finish_counted(shared).await;
                window.from.elapsed()
            }
        };
        let cpu = Cpu::now(plan.pid).since(before);
        self.finish(plan).await;
        Ok(Outcome::new(plan, elapsed, &shared.total()?, cpu))
    }

    async fn logins(&mut self, threads: usize) -> Result<Vec<LoginError>, RunError> {
        let mut errors = Vec::new();
        for _ in 0..threads {
            errors.extend(self.logins.recv().await.ok_or(RunError::ThreadLost)?);
        }
        Ok(errors)
    }

    /// Waits for every client while there is progress.
    async fn finish_counted(&mut self, shared: &Shared) {
        let mut answered = shared.answered();
        let mut running = shared.plan.threads;
        while running > 0 {
            match timeout(shared.plan.timeout, self.done.recv()).await {
                Ok(_) => running -= 1,
                Err(_) if shared.answered() == answered => break,
                Err(_) => answered = shared.answered(),
            }
        }
        self.give_up.send_replace(true);
    }

    /// Waits for the last replies as long as `--timeout` says, then has the clients give up.
    async fn finish(&mut self, plan: &Plan) {
        let all = async { while self.done.recv().await.is_some() {} };
        if timeout(plan.timeout, all).await.is_err() {
            self.give_up.send_replace(true);
        }
        while self.done.recv().await.is_some() {}
    }
}

fn window(goal: Goal) -> Window {
    let now = Instant::now();
    match goal {
        Goal::Count(_) => Window { from: now, until: None },
        Goal::Duration { warmup, measured } => {
            Window { from: now + warmup, until: Some(now + warmup + measured) }
        }
    }
}

impl Shared {
    /// How many sends were answered so far, one way or the other.
    fn answered(&self) -> u64 {
        let answered = |tally: &Tally| tally.sends() + tally.errors.values().sum::<u64>();
        self.tallies
            .iter()
            .map(|t| answered(&t.lock().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }

    fn total(&self) -> Result<Tally, RunError> {
        let mut total = Tally::new()?;
        for tally in &self.tallies {
            total.merge(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(total)
    }
}

impl Cpu {
    /// What server and load program used so far. A server that is gone counts nothing.
    fn now(server: Option<u32>) -> Self {
        Self {
            server: server.and_then(|pid| cpu_time(pid).ok()),
            own: cpu_time(std::process::id()).unwrap_or(Duration::ZERO),
        }
    }
}

/// Enough to keep a server's password checks busy, and few enough for its queue of them.
const LOGINS_AT_ONCE: usize = 16;
