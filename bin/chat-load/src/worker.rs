//! One thread of a run and its share of the clients.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::args::Protocol;
use crate::client::Client;
use crate::login::{LoggedIn, LoginError, login};
use crate::plan::Plan;
use crate::schedule::{Schedule, pace};
use crate::tally::{Tally, lock};
use crate::tokens::Session;
use crate::watcher::Watcher;
use crate::window::{Bell, GiveUp, Window};

/// What all threads see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    /// Bounds the logins that the server is asked for at once.
    logins: Semaphore,
    /// One a thread.
    pub(crate) tallies: Vec<Mutex<Tally>>,
    begun: Instant,
}

impl Shared {
    pub(crate) fn with_tallies(plan: Plan, tallies: Vec<Mutex<Tally>>) -> Self {
        let checks_passwords = matches!(plan.protocol, Protocol::Chat | Protocol::Old);
        let at_once = match plan.sessions {
            None if checks_passwords => PASSWORDS_AT_ONCE,
            _ if plan.protocol == Protocol::Irc => REGISTRATIONS_AT_ONCE,
            _ => CONNECTIONS_AT_ONCE,
        };
        Self {
            plan: Arc::new(plan),
            logins: Semaphore::new(at_once),
            tallies,
            begun: Instant::now(),
        }
    }
}

/// What a thread's logging in came to.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) errors: Vec<LoginError>,
    pub(crate) took: Vec<Duration>,
    /// By connection, if they are to be saved.
    pub(crate) sessions: Vec<(usize, Session)>,
}

impl Ready {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.errors.append(&mut other.errors);
        self.took.append(&mut other.took);
        self.sessions.append(&mut other.sessions);
    }
}

/// The side that drives clients.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) ready: mpsc::Sender<Ready>,
    pub(crate) start: watch::Receiver<Option<Window>>,
    pub(crate) give_up: watch::Receiver<GiveUp>,
    pub(crate) stop_watching: watch::Receiver<bool>,
    /// Told when the clients are done; the watchers are when it is dropped.
    pub(crate) done: mpsc::Sender<()>,
}

impl Worker {
    pub(crate) async fn work(mut self, thread: usize, shared: Arc<Shared>) {
        let Some(tally) = shared.tallies.get(thread) else { return };
        let (connections, ready) = tokio::select! {
            logged_in = log_in(thread, &shared) => logged_in,
            // The run was cut short.
            () = self.ready.closed() => return,
        };
        lock(tally).connections.made += u64::try_from(connections.len()).unwrap_or(u64::MAX);
        // Without a coordinator, or without a start, the run was given up.
        let _ = self.ready.send(ready).await;
        let window = self.start.wait_for(Option::is_some).await.ok().and_then(|window| *window);
        match window {
            Some(window) => self.drive(thread, &shared, connections, window).await,
            None => leave(&shared.plan, connections).await,
        }
    }

    async fn drive(
        &self,
        thread: usize,
        shared: &Arc<Shared>,
        connections: Vec<LoggedIn>,
        window: Window,
    ) {
        let plan = &shared.plan;
        let (watchers, clients): (Vec<_>, Vec<_>) =
            connections.into_iter().partition(|login| plan.is_watcher(login.connection));
        let mut watching = JoinSet::new();
        for login in watchers {
            let watcher = Watcher::new(Arc::clone(plan), login);
            let (shared, stop) = (Arc::clone(shared), self.stop_watching.clone());
            watching.spawn(async move {
                if let Some(tally) = shared.tallies.get(thread) {
                    watcher.drive(window, tally, stop).await;
                }
            });
        }
        let clients = self.drive_clients(thread, shared, clients, window).await;
        // Nobody to tell is nothing to do.
        let _ = self.done.send(()).await;
        // Nobody leaves while others may still send to them.
        let _ = self.stop_watching.clone().wait_for(|stop| *stop).await;
        let leaving: JoinSet<_> = clients.into_iter().flatten().map(Client::leave).collect();
        leaving.join_all().await;
        watching.join_all().await;
    }

    async fn drive_clients(
        &self,
        thread: usize,
        shared: &Arc<Shared>,
        clients: Vec<LoggedIn>,
        window: Window,
    ) -> Vec<Option<Client>> {
        let plan = &shared.plan;
        let bells: Arc<[_]> = clients.iter().map(|_| Arc::new(Bell::default())).collect();
        let rates = Rates::new(plan, clients.len(), window);
        let count = u64::try_from(clients.len()).unwrap_or(u64::MAX);
        let mut driven = JoinSet::new();
        for ((login, bell), nth) in clients.into_iter().zip(bells.iter()).zip(0_u64..) {
            let bell = Arc::clone(bell);
            let of = (nth, count);
            let client = Client::new(Arc::clone(plan), login, window, bell, rates.operations, of);
            let (shared, give_up) = (Arc::clone(shared), self.give_up.clone());
            driven.spawn(async move {
                let tally = shared.tallies.get(thread)?;
                Some(client.drive(tally, give_up).await)
            });
        }
        // Dropped, and so ended, when the clients are done.
        let mut timers = JoinSet::new();
        rates.keep(thread, shared, &bells, window, &mut timers);
        driven.join_all().await
    }
}

/// What a thread's share of `--rate` and `--churn` comes to.
#[derive(Debug, Clone, Copy)]
struct Rates {
    operations: Option<Schedule>,
    churn: Option<Schedule>,
}

impl Rates {
    fn new(plan: &Plan, clients: usize, window: Window) -> Self {
        let share = ratio(clients, plan.clients);
        let schedule = |rate: f64| Schedule::new(window.start, rate * share);
        Self { operations: plan.rate.map(schedule), churn: plan.churn.map(schedule) }
    }

    /// Spawns what rings the bells of the thread's clients.
    fn keep(
        self,
        thread: usize,
        shared: &Arc<Shared>,
        bells: &Arc<[Arc<Bell>]>,
        window: Window,
        timers: &mut JoinSet<()>,
    ) {
        let mut ring = |schedule, ring: fn(&Bell)| {
            let (shared, bells) = (Arc::clone(shared), Arc::clone(bells));
            timers.spawn(async move {
                let paced = ring_bells(schedule, &bells, window, ring).await;
                if let (Err(error), Some(tally)) = (paced, shared.tallies.get(thread)) {
                    lock(tally).lost(format!("no timer for --rate or --churn: {error}"), 0);
                }
            });
        };
        if let Some(schedule) = self.operations {
            ring(schedule, Bell::wake);
        }
        if let Some(schedule) = self.churn {
            ring(schedule, Bell::reconnect);
        }
    }
}

async fn ring_bells(
    schedule: Schedule,
    bells: &[Arc<Bell>],
    window: Window,
    ring: fn(&Bell),
) -> std::io::Result<()> {
    let count = u64::try_from(bells.len()).unwrap_or(u64::MAX);
    let wake = |nth| {
        let bell = usize::try_from(nth).ok().and_then(|nth| bells.get(nth));
        if let Some(bell) = bell {
            ring(bell);
        }
    };
    pace(schedule, window.until, count, wake).await
}

/// Ends the sessions of clients that have nothing to do.
async fn leave(plan: &Arc<Plan>, connections: Vec<LoggedIn>) {
    let leaving: JoinSet<_> = connections
        .into_iter()
        .map(|LoggedIn { wire, token, .. }| {
            let plan = Arc::clone(plan);
            async move { wire.leave(&plan, &token, BytesMut::new()).await }
        })
        .collect();
    leaving.join_all().await;
}

async fn log_in(thread: usize, shared: &Arc<Shared>) -> (Vec<LoggedIn>, Ready) {
    let mut logins = JoinSet::new();
    for connection in (thread..shared.plan.connections()).step_by(shared.plan.threads) {
        let shared = Arc::clone(shared);
        logins.spawn(async move {
            let plan = &shared.plan;
            if !plan.ramp.is_zero() {
                let share = ratio(connection, plan.connections());
                sleep_until(shared.begun + plan.ramp.mul_f64(share)).await;
            }
            // The semaphore is never closed.
            let _permit = shared.logins.acquire().await;
            login(plan, connection).await
        });
    }
    let (mut connections, mut ready) = (Vec::new(), Ready::default());
    while let Some(login) = logins.join_next().await {
        match login {
            Ok(Ok(login)) => {
                ready.took.push(login.took);
                ready.sessions.extend(to_save(&shared.plan, &login));
                connections.push(login);
            }
            Ok(Err(error)) => ready.errors.push(error),
            Err(error) => ready.errors.push(LoginError::Refused(error.to_string())),
        }
    }
    (connections, ready)
}

fn to_save(plan: &Plan, login: &LoggedIn) -> Option<(usize, Session)> {
    plan.save_tokens.as_ref()?;
    let account = plan.accounts.get(plan.user_of(login.connection)?)?;
    let session = Session { username: account.username, token: login.token.clone() };
    Some((login.connection, session))
}

/// A part of a whole, from 0 to 1.
#[expect(clippy::as_conversions, reason = "numbers of connections are far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Enough to keep a server's password checks busy, and few enough for its queue of them.
const PASSWORDS_AT_ONCE: usize = 16;
/// Where connecting is all there is: what a server's accept queue takes at least.
const CONNECTIONS_AT_ONCE: usize = 128;
/// ngIRCd has a queue of ten, and forgets for seconds what does not fit.
const REGISTRATIONS_AT_ONCE: usize = 8;
