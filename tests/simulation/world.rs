//! [`World`]: one seed's life, from the first user to the judgement.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chat_core::store::simulation::{PlantedBug, SimulatedDisk};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::chaos::Chaos;
use crate::device::{Device, Style};
use crate::history::{History, Verdict};
use crate::host::Host;
use crate::network::{Network, Weather};
use crate::rng::percent;
use crate::trace::Trace;

/// What everybody in a world shares.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) users: usize,
    /// Most messages go to this user, if there is one who is written to more than others.
    favourite: Option<usize>,
    trace: Mutex<Trace>,
    history: Mutex<History>,
    fault: Mutex<Option<Verdict>>,
    /// Cancelled at the first fault.
    over: CancellationToken,
    connections: AtomicU64,
    /// Whether the disk may have refused writes since the server started.
    pub(crate) disk_trouble: AtomicBool,
}

/// What became of a seed.
pub(crate) struct Report {
    pub(crate) fault: Option<String>,
    /// Of everything that happened.
    pub(crate) digest: u64,
    /// Messages stored, and messages shown.
    pub(crate) counts: (usize, usize),
    pub(crate) trace: Vec<String>,
}

/// Lives one seed through.
pub(crate) fn run(seed: u64, bug: Option<PlantedBug>) -> Report {
    crate::panics::forget();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = runtime.block_on(live(seed, bug));
    // What still waits goes before the judgement, so that nothing it does is left out.
    drop(runtime);
    world.report(seed)
}

async fn live(seed: u64, bug: Option<PlantedBug>) -> Arc<World> {
    let mut rng = Rng::with_seed(seed);
    let users = rng.usize(2..=5);
    let devices: Vec<usize> = (0..users).flat_map(|user| vec![user; rng.usize(1..=3)]).collect();
    let network = Network::new(rng.fork(), weather(&mut rng), devices.len() + users);
    let disk = SimulatedDisk::new();
    if let Some(bug) = bug {
        disk.plant(bug);
    }
    let mut host = Host::new(disk, network.clone(), rng.fork());
    let world = Arc::new(World {
        network,
        users,
        favourite: rng.bool().then_some(0),
        trace: Mutex::new(Trace::new()),
        history: Mutex::new(History::new(users, host.keeps())),
        fault: Mutex::default(),
        over: CancellationToken::new(),
        connections: AtomicU64::new(0),
        disk_trouble: AtomicBool::new(false),
    });
    host.start();
    host.make_users(users).await;
    let over = world.over.clone();
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        () = play(&world, host, &devices, rng) => {}
    }
    world
}

/// Chaos, then calm, then the judgement.
async fn play(world: &Arc<World>, host: Host, devices: &[usize], mut rng: Rng) {
    let (mut acting, calm) = (JoinSet::new(), CancellationToken::new());
    let operations = rng.usize(5..25);
    for (number, user) in devices.iter().enumerate() {
        let actor = Actor::new(world, *user, number, &mut rng);
        acting.spawn(actor.live(operations));
    }
    let chaos = Chaos::new(Arc::clone(world), host, devices.len(), rng.fork());
    let mut raging = JoinSet::new();
    raging.spawn(chaos.rage(calm.clone()));
    // Whoever must have an answer waits for the calm.
    let most = Duration::from_secs(rng.u64(10..120));
    let mut done = Vec::new();
    let _ = timeout(most, gather(&mut acting, &mut done)).await;
    calm.cancel();
    let Some(Ok(mut host)) = raging.join_next().await else {
        return world.fail("the chaos panicked");
    };
    if timeout(PATIENCE, gather(&mut acting, &mut done)).await.is_err() {
        return world.fail("a device does not come to an end");
    }
    let mut answered = Vec::new();
    let mut waiting: JoinSet<_> = done.into_iter().map(Actor::get_answers).collect();
    if timeout(PATIENCE, gather(&mut waiting, &mut answered)).await.is_err() {
        return world.fail("a device does not get its answers");
    }
    let mut settling: JoinSet<()> =
        answered.into_iter().map(|actor| actor.settle_down(QUIET)).collect();
    if timeout(PATIENCE, async { while settling.join_next().await.is_some() {} }).await.is_err() {
        return world.fail("a device does not settle down");
    }
    for round in 0..2 {
        drain(world, devices.len(), round, &mut rng).await;
        host.stop().await;
        host.start();
    }
    host.crash(crate::network::Outage::Machine).await;
    let finished = world.history().finish();
    world.judge(finished);
}

/// Takes those that are done.
async fn gather(acting: &mut JoinSet<Actor>, done: &mut Vec<Actor>) {
    while let Some(actor) = acting.join_next().await {
        done.extend(actor.ok());
    }
}

/// What a user has.
enum Actor {
    Device(Device),
    App(App),
}

impl Actor {
    fn new(world: &Arc<World>, user: usize, link: usize, rng: &mut Rng) -> Self {
        let world = Arc::clone(world);
        match rng.u32(0..3) {
            0 => Self::Device(Device::new(world, user, link, Style::Old, rng.fork())),
            1 => Self::Device(Device::new(world, user, link, Style::Explicit, rng.fork())),
            _ => Self::App(App::new(world, user, link, rng.fork())),
        }
    }

    async fn live(self, operations: usize) -> Self {
        match self {
            Self::Device(device) => Self::Device(device.live(operations).await),
            Self::App(app) => Self::App(app.live(operations).await),
        }
    }

    async fn get_answers(self) -> Self {
        match self {
            Self::Device(device) => Self::Device(device.get_answers().await),
            Self::App(app) => Self::App(app.get_answers().await),
        }
    }

    async fn settle_down(self, quiet: Duration) {
        match self {
            Self::Device(device) => device.settle_down(quiet).await,
            Self::App(app) => app.settle_down(quiet).await,
        }
    }
}

/// Every user reads what there is, and the second time finds nothing left.
async fn drain(world: &Arc<World>, devices: usize, round: usize, rng: &mut Rng) {
    for user in 0..world.users {
        let device =
            Device::new(Arc::clone(world), user, devices + user, Style::Explicit, rng.fork());
        device.drain(round > 0).await;
    }
}

fn weather(rng: &mut Rng) -> Weather {
    Weather {
        latency: Duration::from_millis(rng.u64(0..=50)),
        window: rng.usize(64..8_192),
        jitter: rng.u8(0..80),
    }
}

impl World {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    pub(crate) fn note(&self, who: &str, what: &str) {
        self.trace.lock().unwrap().note(who, what);
    }

    /// To whom somebody writes.
    pub(crate) fn recipient(&self, rng: &mut Rng) -> usize {
        match self.favourite.filter(|_| percent(rng, 80)) {
            Some(favourite) => favourite,
            None => rng.usize(0..self.users),
        }
    }

    pub(crate) fn connection_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the world if this is a fault; gives what there is if not.
    pub(crate) fn judge<T>(&self, outcome: Result<T, Verdict>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(verdict) => {
                self.note("FAULT", &verdict.what);
                self.fault.lock().unwrap().get_or_insert(verdict);
                self.over.cancel();
                None
            }
        }
    }

    pub(crate) fn fail(&self, what: &str) {
        self.judge::<()>(Err(Verdict { what: what.into(), tag: None }));
    }

    fn report(&self, seed: u64) -> Report {
        if let Some(panic) = crate::panics::last() {
            self.fail(&format!("panicked: {panic}"));
        }
        let mut trace = self.trace.lock().unwrap();
        let fault = self.fault.lock().unwrap();
        let fault = fault.as_ref().map(|verdict| story(seed, verdict, trace.lines()));
        let (digest, trace) = (trace.digest(), trace.take());
        Report { fault, digest, trace, counts: self.history().counts() }
    }
}

/// What to print of a fault.
fn story(seed: u64, verdict: &Verdict, lines: &[String]) -> String {
    let mut story = format!("seed {seed}: {}\n", verdict.what);
    if let Some(tag) = verdict.tag {
        let name = format!("m{tag}.");
        story.push_str("\nthe message's history:\n");
        for line in lines.iter().filter(|line| line.contains(&name)) {
            story.push_str(&format!("{line}\n"));
        }
    }
    story.push_str("\nthe last of the trace (time in ms):\n");
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        story.push_str(&format!("{line}\n"));
    }
    story.push_str(&format!(
        "\nagain: CHAT_SIM_SEED={seed} cargo test -p chat-tests --test simulation\n"
    ));
    story
}

/// Far beyond what anything takes once it is calm.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How long it is quiet before everybody must have everything.
const QUIET: Duration = Duration::from_secs(5);

/// How much of a trace is printed.
const LAST_LINES: usize = 80;
